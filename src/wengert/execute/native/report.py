"""What `wg.explain` says of a native program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.execute.native import costs
from wengert.execute.native.costs import Kernel
from wengert.execute.native.plan import flat
from wengert.execute.native.profile import profile
from wengert.execute.native.program import Build
from wengert.execute.native.statements import Barrier, Evaluate, Statement
from wengert.execute.native.target import Target
from wengert.ir.graph import Graph

WIDEST = 70  # characters of a kernel's name


class NativeSummary:
    """A native program, kernel by kernel; prints as a table, in which equal kernels share a row.

    kernels: in the order in which they run, each with `name`, `flops`, `bytes`, `floor` (seconds; see `native.costs`)
        and, if measured, `seconds`. A loop is one kernel with all its turns (one turn, where their number isn't known).
    callbacks: the steps that NumPy evaluates, likewise, those in loops among them; nothing is known of their costs.
    workspace_bytes: the most that intermediate values take at once, scratch memory of the kernels included.
    threads: how many may share a kernel.
    waiting, seconds: if measured, the time spent at barriers, and that of a whole call by way of Python.
    """

    def __init__(self, graph: Graph, target: Target, donated: Any, values: Sequence[np.ndarray] | None = None):
        took: dict[int, float] = {}
        self.seconds: float | None = None
        if values is None:
            build = Build(graph, target, donated)
        else:
            build, took, self.seconds = profile(graph, target, donated, values)
        self.name = graph.name
        self.threads = build.threads
        self.workspace_bytes = build.workspace_bytes
        self.sizes = len(graph.nodes), len(graph.inputs), len(graph.outputs)
        statements: list[Statement] = build.program.statements
        self.kernels: list[Kernel] = []
        for s, kernel in costs.kernels(statements, self.threads):
            kernel.seconds = took.get(id(s))
            self.kernels.append(kernel)
        steps = [s for s in flat(statements) if isinstance(s, Evaluate)]
        self.callbacks = [Kernel(costs.name(s), 0, 0, 0.0, took.get(id(s))) for s in steps]
        barriers = [took[id(s)] for s in statements if isinstance(s, Barrier) and id(s) in took]
        self.waiting = sum(barriers) if took else None
        self.flops = sum(k.flops for k in self.kernels)
        self.bytes = sum(k.bytes for k in self.kernels)
        self.floor = sum(k.floor for k in self.kernels)

    def __str__(self) -> str:
        counted = zip(self.sizes, ("step", "input", "output"), strict=True)
        steps, inputs, outputs = (_count(n, what) for n, what in counted)
        lines = [
            f"{self.name or 'program'}: {inputs}, {steps}, {outputs}, as {_count(len(self.kernels), 'kernel')} "
            f"for up to {_count(self.threads, 'thread')}",
            f"  {self.flops:,} floating-point operations, {self.bytes:,} bytes read and written, "
            f"workspace {self.workspace_bytes:,} bytes",
            f"  floor {_time(self.floor)}"
            + ("" if self.seconds is None else f", a call takes {_time(self.seconds)} with clocks and through Python")
            + (f", of which {_time(self.waiting)} waiting for other threads" if self.waiting else ""),
            "",
        ]
        head = ["", "kernel", "flop", "bytes", "floor", *(["time", "of floor"] if self.seconds is not None else [])]
        rows = [_row(group, self.seconds is not None) for group in _groups(self.kernels)]
        rows += [_row(group, self.seconds is not None, "NumPy: ") for group in _groups(self.callbacks)]
        return "\n".join(lines + _table([head, *rows]))

    __repr__ = __str__


def _groups(kernels: Sequence[Kernel]) -> list[list[Kernel]]:
    """Equal ones together, the most expensive first."""
    found: dict[str, list[Kernel]] = {}
    for k in kernels:
        found.setdefault(k.name, []).append(k)
    return sorted(found.values(), key=lambda g: -sum(k.floor if k.seconds is None else k.seconds for k in g))


def _row(group: list[Kernel], timed: bool, prefix: str = "") -> list[str]:
    name = prefix + group[0].name
    floor, took = sum(k.floor for k in group), sum(k.seconds or 0.0 for k in group)
    costs = (
        ["", "", ""]
        if prefix
        else [f"{sum(k.flops for k in group):,}", f"{sum(k.bytes for k in group):,}", _time(floor)]
    )
    share = [_time(took), "" if prefix or not took else f"{100 * floor / took:.0f} %"] if timed else []
    return [f"{len(group)} ×", name if len(name) <= WIDEST else f"{name[: WIDEST - 1]}…", *costs, *share]


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = (1,)
    return [
        "  "
        + "  ".join(c.ljust(w) if k in left else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"
