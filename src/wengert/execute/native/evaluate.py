"""Steps that NumPy evaluates, where the values lie: between the compiled parts of a program, or called from one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from wengert.execute.native.emit import I8, I64
from wengert.execute.native.statements import Evaluate
from wengert.execute.native.views import Buffer, View
from wengert.ir.quiet import SILENCE, quiet

EVALUATE = "wengert_evaluate"
POINTERS = I8.as_pointer().as_pointer()


def evaluated(step: Evaluate, values: Sequence[np.ndarray]) -> tuple[Any, ...]:
    """What the step makes of these values."""
    primitive = step.node.primitive
    token = quiet.set(SILENCE)
    try:
        out = primitive.evaluate(*values, **step.node.params)
    finally:
        quiet.reset(token)
    return tuple(out) if primitive.multiple else (out,)


def still(step: Evaluate) -> Evaluate:
    """The step with windows that begin where a pointer says."""

    def at(v: View) -> View:
        return View(Buffer("work", 0, v.buffer.dtype, v.buffer.size), v.shape, v.strides)

    return Evaluate(step.node, list(map(at, step.inputs)), list(map(at, step.outputs)))


def call_step(
    b: ir.IRBuilder, number: int, step: Evaluate, program: ir.Value, pointer: Callable[[View], ir.Value]
) -> None:
    """Code that calls for step `number` of `program`, with the addresses of its operands and results."""
    views = [*step.inputs, *step.outputs]
    with b.goto_entry_block():
        places = b.alloca(I8.as_pointer(), len(views))
    for k, view in enumerate(views):
        b.store(b.bitcast(pointer(view), I8.as_pointer()), b.gep(places, [I64(k)]))
    kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I64, POINTERS])
    function = b.module.globals.get(EVALUATE) or ir.Function(b.module, kind, EVALUATE)
    b.call(function, [program, I64(number), places])


class Steps:
    """The steps that a program's code calls for, one thread at a time. `error` is what the first that failed raised."""

    def __init__(self, steps: Sequence[Evaluate]):
        self.steps = [(s, [_Window(v) for v in s.inputs], [_Window(v) for v in s.outputs]) for s in steps]
        self.error: BaseException | None = None

    def run(self, number: int, pointers: Any) -> None:
        """Evaluate a step; after an error, none."""
        if self.error is not None:
            return
        step, inputs, outputs = self.steps[number]
        try:
            made = evaluated(step, [w.at(pointers[k]) for k, w in enumerate(inputs)])
            for k, (w, value) in enumerate(zip(outputs, made, strict=True), len(inputs)):
                w.at(pointers[k])[...] = value
        except BaseException as error:  # also Ctrl-C: no exception can cross the code that called
            self.error = error

    def check(self) -> None:
        """Raise what a step has raised."""
        error, self.error = self.error, None
        if error is not None:
            raise error


class _Window:
    """How a window lies around its first element."""

    def __init__(self, view: View):
        size = view.buffer.dtype.itemsize
        self.shape, self.dtype = view.shape, view.buffer.dtype
        self.strides = tuple(s * size for s in view.strides)
        reach = [(d - 1) * s for d, s in zip(view.shape, self.strides, strict=True)]
        self.before = -sum(r for r in reach if r < 0)
        self.kind = ctypes.c_ubyte * (self.before + sum(r for r in reach if r > 0) + size)

    def at(self, pointer: int) -> np.ndarray:
        memory: Any = self.kind.from_address(pointer - self.before)
        return np.ndarray(self.shape, self.dtype, memory, self.before, self.strides)


@ctypes.CFUNCTYPE(None, ctypes.py_object, ctypes.c_int64, ctypes.POINTER(ctypes.c_void_p))
def _evaluate(steps: Steps, number: int, pointers: Any) -> None:
    steps.run(number, pointers)


llvm.add_symbol(EVALUATE, ctypes.cast(_evaluate, ctypes.c_void_p).value)
