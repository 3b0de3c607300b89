"""The time of each statement: the same program compiled with a clock around each, run again and again."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from wengert.errors import UnsupportedError
from wengert.execute.native.emit import I64
from wengert.execute.native.flow import Flow, Turns
from wengert.execute.native.program import Build, Compiled
from wengert.execute.native.statements import Evaluate, Single, Statement
from wengert.execute.native.target import Target
from wengert.ir.graph import Graph

CLOCK = "clock_gettime"
ENOUGH = 0.2  # seconds of runs
MOST_RUNS = 200


class TimedBuild(Build):
    """Adds up the nanoseconds that the first thread spends in each statement, in a global of its own."""

    by_grains = by_table = False

    def __init__(self, graph: Graph, target: Target, donated: Any):
        self.timed: list[tuple[Statement, str]] = []
        self.flow = partial(TimedFlow, self.timed)
        super().__init__(graph, target, donated)


class TimedFlow(Flow):
    def __init__(self, timed: list[tuple[Statement, str]], *args: Any):
        super().__init__(*args)
        self.timed = timed
        self.inside = False
        pair = ir.ArrayType(I64, 2)
        self.now = self.b.alloca(pair)  # seconds, nanoseconds

    def run(self, statements: list[Statement], turns: Turns) -> None:
        if self.inside:
            super().run(statements, turns)
            return
        for s in statements:
            if isinstance(s, Single):
                super().run([s], turns)  # which comes back here with its body
                continue
            start = self.clock()
            self.inside = True
            super().run([s], turns)
            self.inside = False
            self.add(s, self.b.sub(self.clock(), start))

    def clock(self) -> ir.Value:
        b = self.b
        pointer = self.now.type
        function = b.module.globals.get(CLOCK)
        if function is None:
            function = ir.Function(b.module, ir.FunctionType(ir.IntType(32), [ir.IntType(32), pointer]), CLOCK)
        b.call(function, [ir.IntType(32)(time.CLOCK_MONOTONIC), self.now])
        seconds, nanoseconds = (b.load(b.gep(self.now, [I64(0), I64(k)])) for k in range(2))
        return b.add(b.mul(seconds, I64(10**9)), nanoseconds)

    def add(self, s: Statement, took: ir.Value) -> None:
        b, name = self.b, f"time{len(self.timed)}"
        self.timed.append((s, name))
        total = ir.GlobalVariable(b.module, I64, name)
        total.initializer = I64(0)
        if len(self.function.args) == 2:
            b.store(b.add(b.load(total), took), total)
        else:  # several threads run this
            with b.if_then(b.icmp_unsigned("==", self.function.args[0], I64(0))):
                b.store(b.add(b.load(total), took), total)


class TimedCompiled(Compiled):
    """Notes how long NumPy takes for its steps."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.took: dict[int, float] = {}

    def _evaluate(self, statement: Evaluate, *args: Any) -> None:
        start = time.perf_counter()
        super()._evaluate(statement, *args)
        self.took[id(statement)] = time.perf_counter() - start


def _connect() -> bool:
    """Let code find the clock; False where there is none."""
    try:
        llvm.add_symbol(CLOCK, ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value)
    except (AttributeError, OSError, TypeError):
        return False
    return hasattr(time, "CLOCK_MONOTONIC")


def profile(
    graph: Graph, target: Target, donated: Any, values: Sequence[np.ndarray]
) -> tuple[TimedBuild, dict[int, float], float]:
    """The build, seconds in each statement by its id (the least of several runs), and of a whole run."""
    if not _connect():
        raise UnsupportedError("profile=True needs clock_gettime, which this system lacks")
    build = TimedBuild(graph, target, donated)
    compiled = TimedCompiled(build.code(), target, lambda: build)
    compiled(values)
    address = compiled.engine.get_global_value_address
    totals = [(id(s), ctypes.c_int64.from_address(address(name))) for s, name in build.timed]
    best: dict[int, float] = {}
    whole, start, runs = math.inf, time.perf_counter(), 0
    while runs < 3 or (time.perf_counter() - start < ENOUGH and runs < MOST_RUNS):
        before = [total.value for _, total in totals]
        begun = time.perf_counter()
        compiled(values)
        whole, runs = min(whole, time.perf_counter() - begun), runs + 1
        taken = {key: (total.value - b) * 1e-9 for (key, total), b in zip(totals, before, strict=True)}
        for key, took in {**taken, **compiled.took}.items():
            best[key] = min(best.get(key, math.inf), took)
    return build, best, whole
