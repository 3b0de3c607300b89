"""Compiling a program and running it."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from wengert.errors import UnsupportedError
from wengert.execute.native import products, workspaces
from wengert.execute.native.barriers import place_barriers
from wengert.execute.native.blocks import lanes, make_blocks, optimize_block
from wengert.execute.native.code import Code
from wengert.execute.native.collapse import collapse_axes
from wengert.execute.native.copies import join_copies
from wengert.execute.native.emit import Function, Windows, emit_nest, memory_type
from wengert.execute.native.emit_linalg import emit_direct
from wengert.execute.native.emit_reduction import emit_reduction
from wengert.execute.native.emit_rows import emit_rows
from wengert.execute.native.emit_scatter import emit_scatter
from wengert.execute.native.evaluate import Steps, evaluated
from wengert.execute.native.flow import Flow
from wengert.execute.native.inplace import write_over_inputs
from wengert.execute.native.lower import lower
from wengert.execute.native.neighbours import Behind, emit_neighbours, neighbours
from wengert.execute.native.objects import loaded
from wengert.execute.native.parts import make_parts
from wengert.execute.native.plan import drop_unread, plan
from wengert.execute.native.rows import join_rows
from wengert.execute.native.schedule import deal
from wengert.execute.native.segments import emit_segment
from wengert.execute.native.statements import (
    Direct,
    Evaluate,
    Kernel,
    Nest,
    Product,
    Program,
    Reduction,
    Rows,
    Scatter,
    Statement,
)
from wengert.execute.native.sums import join_sums
from wengert.execute.native.target import Target
from wengert.execute.native.threads import connect, most_threads
from wengert.execute.native.views import STATE_BYTES, Buffer, View, row_major
from wengert.ir.graph import Graph

empty = np.empty
_DATA = object.__basicsize__  # where an ndarray object keeps its data pointer: behind the header of every object


def _checked_layout() -> None:
    """Passing objects instead of addresses saves most of a small call's time; make sure that they look as expected."""
    probe = np.zeros(1)
    if ctypes.c_void_p.from_address(id(probe) + _DATA).value != probe.ctypes.data:
        raise UnsupportedError("the native executor needs CPython, whose ndarray objects start with their data pointer")


_checked_layout()


class Build:
    """A graph on its way to machine code: `.program`, its statements; `.text`, the LLVM code; `code()`, the end."""

    flow: Callable[..., Flow] = Flow
    by_grains = True  # whether statements may run grain by grain
    by_table = True  # whether long programs may become tables

    def __init__(self, graph: Graph, target: Target, donated: Mapping[int, Sequence[int]] | None = None):
        self.target = target
        self.program = lower(graph, target)
        join_sums(self.program, target)
        join_rows(self.program)
        self.in_place = write_over_inputs(self.program, donated or {})  # result -> input that it is written over
        join_copies(self.program)
        drop_unread(self.program)
        collapse_axes(self.program)
        make_parts(self.program)
        make_blocks(self.program)
        deal(self.program, self.in_place, target)
        self.scratch_at = plan(self.program)
        place_barriers(self.program, self.in_place)
        self.threads = most_threads() if self.program.parallel else 1
        self.workspace_bytes = self.scratch_at + self.program.scratch * self.threads
        self.outputs = [(o.shape, o.dtype) for o in graph.outputs]
        self.inputs = [(v.shape, v.dtype) for v in graph.inputs]
        self.module = ir.Module("wengert")
        self.functions: dict[Any, ir.Function] = {}
        self.steps: list[Evaluate] = []  # that code calls for
        self.segments = self._segments()
        self.module.triple = target.triple
        self.text = str(self.module)

    def _segments(self) -> list[Any]:
        """Runs of statements with code, each one function, and the steps between them."""
        segments: list[Any] = []
        run: list[Statement] = []
        for statement in self.program.statements:
            if isinstance(statement, Evaluate):
                if run:
                    segments.append(self._segment(run, len(segments)))
                    run = []
                segments.append(statement)
            else:
                run.append(statement)
        if run:
            segments.append(self._segment(run, len(segments)))
        return segments

    def _segment(self, statements: list[Statement], number: int) -> str:
        name = f"segment{number}"
        emit_segment(self, statements, name)
        return name

    def slot(self, buffer: Buffer) -> int:
        """Its place in the table that a segment is given."""
        return slot(buffer, len(self.inputs), len(self.outputs))

    @property
    def steps_slot(self) -> int:
        """There, what runs `steps`."""
        return len(self.inputs) + len(self.outputs) + len(self.program.constants)

    def kernel(self, statement: Kernel) -> tuple[ir.Function, Windows]:
        """The function that runs a statement, and the windows that it is given."""
        target = self.target
        windows = Windows()
        signature, behind = _signature(statement, windows), neighbours(statement, target)
        key = signature, *((windows.number(v), windows.number(last), *far) for v, last, *far in behind.values())
        if key not in self.functions:
            name = f"{type(statement).__name__.lower()}{len(self.functions)}"
            if isinstance(statement, Product):
                self.functions[key] = products.emit_product_statement(self.module, name, statement, windows, target)
            else:
                axis = None if statement.split is None else statement.split.axis
                own = memory_type(statement.expr.dtype) if isinstance(statement, Direct) else None
                f = Function(self.module, name, windows, lanes(statement, target), axis, own)
                _emit(f, statement, behind)
                f.b.ret_void()
                self.functions[key] = f.function
        return self.functions[key], windows

    def code(self) -> Code:
        """Let LLVM make machine code."""
        machine = self.target.target_machine()
        module = optimized(self.text, machine)
        constants = [np.ascontiguousarray(c) for c in self.program.constants]
        return Code(
            machine.emit_object(module),
            self.segments,
            self.steps,
            self.inputs,
            self.outputs,
            constants,
            self.in_place,
            self.workspace_bytes,
            self.program.stores,
            self.program.parallel,
        )


def optimized(text: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """The module as it goes to LLVM's code generator: blocks by LLVM's usual passes, the rest by next to none."""
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    passes = llvm.create_pass_builder(machine, options)
    manager = llvm.create_new_function_pass_manager()
    manager.add_sroa_pass()
    manager.add_instruction_combine_pass()
    for function in module.functions:
        if function.name.startswith("block"):
            optimize_block(function, machine)
        elif not function.is_declaration:
            manager.run(function, passes)
    return module


class Compiled:
    """Machine code ready to run. Between its segments NumPy evaluates what has no code.

    `build()` makes the stages that led to it again, for somebody who wants to look at them.
    """

    def __init__(self, code: Code, target: Target, build: Callable[[], Build]):
        self.target = target
        self._build = build
        self.in_place, self.workspace_bytes, self.stores = code.in_place, code.workspace_bytes, code.stores
        self.outputs, self.inputs, self.constants = code.outputs, code.inputs, code.constants
        self.lock = threading.Lock()
        self.work: Any = None
        self.lent = not self.stores and self.workspace_bytes >= workspaces.LENT  # what stores know of themselves stays
        if self.lent:
            workspaces.announce(self, self.workspace_bytes)
        if code.parallel:
            connect()
        self.engine = loaded(code.object, target)
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
        address = self.engine.get_function_address
        self.calls: list[Any] = [s if isinstance(s, Evaluate) else kind(address(s)) for s in code.segments]
        self.steps = Steps(code.steps)
        alone = len(self.calls) == 1 and not isinstance(self.calls[0], Evaluate) and not code.steps
        self.whole: Any = self.calls[0] if alone else None
        self.table_type = ctypes.c_void_p * (len(self.inputs) + len(self.outputs) + len(self.constants) + 1)
        self.input_strides = [tuple(s * dtype.itemsize for s in row_major(shape)) for shape, dtype in self.inputs]

    @cached_property
    def build(self) -> Build:
        return self._build()

    @property
    def program(self) -> Program:
        return self.build.program

    @property
    def functions(self) -> dict[Any, ir.Function]:
        return self.build.functions

    @property
    def text(self) -> str:
        return self.build.text

    def assembly(self) -> str:
        """The machine code as text; made anew, since only its bytes were kept."""
        machine = self.target.target_machine()
        return machine.emit_assembly(optimized(self.text, machine))

    # Running

    def __call__(self, values: Sequence[Any]) -> list[np.ndarray]:
        arrays = [
            v if type(v) is np.ndarray and v.strides == strides else np.ascontiguousarray(v)
            for v, strides in zip(values, self.input_strides, strict=True)
        ]
        outputs = [empty(shape, dtype) for shape, dtype in self.outputs]
        for o, i in self.in_place.items():  # who calls this way keeps the inputs
            outputs[o] = arrays[i] = arrays[i].reshape(outputs[o].shape).copy()
        arrays += outputs
        arrays += self.constants
        table = self.table_type(*map(id, arrays), id(self.steps))
        with self.lock:
            if self.work is None:
                self._open()
            try:
                self._run(table, arrays)
            finally:
                if self.lent:
                    work, self.work = self.work, None
                    workspaces.give_back(work)
        return outputs

    def _run(self, table: Any, arrays: Sequence[np.ndarray]) -> None:
        address = self.work.ctypes.data
        if self.whole is not None:
            self.whole(table, address)
            return
        loose: dict[int, np.ndarray] = {}  # values whose size only the run knows
        for call in self.calls:
            if isinstance(call, Evaluate):
                self._evaluate(call, arrays, loose)
            else:
                call(table, address)
                self.steps.check()

    def _open(self) -> None:
        """Have a workspace for calls that come this way; `entry` has its own, or borrows one."""
        if self.lent:
            self.work = workspaces.borrow(self.workspace_bytes)
            return
        self.work = workspaces.aligned(self.workspace_bytes)
        self._closing = weakref.finalize(self, free_stores, self.work, self.stores)

    def close(self) -> None:
        """Give an own workspace back, until the next call that comes this way."""
        with self.lock:
            if self.work is not None:
                self._closing()
                self.work = None

    def _memory(self, buffer: Buffer, arrays: Sequence[np.ndarray]) -> np.ndarray:
        if buffer.kind == "work":
            size = buffer.size * buffer.dtype.itemsize
            return self.work[buffer.index : buffer.index + size].view(buffer.dtype)
        return arrays[slot(buffer, len(self.inputs), len(self.outputs))].reshape(-1)

    def _stored(self, view: View) -> np.ndarray:
        """The records of a store that there are now."""
        buffer = view.buffer
        assert buffer.store is not None
        state = self.work[STATE_BYTES * buffer.store.index :][:STATE_BYTES].view(np.int64)
        address, _, count = map(int, state)
        shape = (count, *view.shape[1:])
        if not count:
            return np.empty(shape, buffer.dtype)
        memory: Any = (ctypes.c_ubyte * (count * buffer.store.record)).from_address(address)
        strides = tuple(s * buffer.dtype.itemsize for s in view.strides)
        return np.ndarray(shape, buffer.dtype, memory, buffer.index + view.offset * buffer.dtype.itemsize, strides)

    def _evaluate(self, statement: Evaluate, arrays: Sequence[np.ndarray], loose: dict[int, np.ndarray]) -> None:
        values = [
            loose[id(v.buffer)]
            if v.buffer.kind == "loose"
            else self._stored(v)
            if v.buffer.kind == "store"
            else v.array(self._memory(v.buffer, arrays))
            for v in statement.inputs
        ]
        for view, value in zip(statement.outputs, evaluated(statement, values), strict=True):
            if view.buffer.kind == "loose":
                loose[id(view.buffer)] = np.array(value)
            else:
                view.array(self._memory(view.buffer, arrays))[...] = value


def _emit(f: Function, statement: Nest | Reduction, behind: Mapping[int, Behind]) -> None:
    if isinstance(statement, Rows):
        emit_rows(f, statement)
    elif isinstance(statement, Nest):
        emit_neighbours(f, statement, behind) if behind else emit_nest(f, statement)
    elif isinstance(statement, Scatter):
        emit_scatter(f, statement)
    elif isinstance(statement, Direct):
        emit_direct(f, statement)
    else:
        emit_reduction(f, statement)


def slot(buffer: Buffer, inputs: int, outputs: int) -> int:
    """The place of an argument, a result or a constant in the table of objects that a segment is given."""
    return {"input": 0, "output": inputs, "constant": inputs + outputs}[buffer.kind] + buffer.index


def _signature(statement: Kernel, windows: Windows) -> Any:
    """Equal for statements that compile to the same code; numbers the windows on the way."""
    known: dict[int, int] = {}
    if isinstance(statement, Reduction):
        body: Any = (
            statement.op,
            statement.axes,
            statement.expr.key(windows, known),
            _target(statement.target, windows),
        )
        return type(statement).__name__, statement.expr.shape, body, statement.split, statement.parts
    head: Any = ()
    if isinstance(statement, Product):
        known[id(statement.value)] = -1
        operands = [statement.x, statement.y, *([statement.sums] if statement.sums is not None else [])]
        head = (*(_target(v, windows) for v in operands), getattr(statement, "spec", None))
    roots = []
    for r in statement.roots:
        roots.append((r.expr.key(windows, known), _target(r.target, windows) if r.stored else None, r.over))
        known[id(r.loaded)] = known.get(id(r.expr), -2)
    if isinstance(statement, Rows):
        head = statement.parts, tuple((v.offset, len(v.steps), v.buffer.size) for v in windows.views)
    return type(statement).__name__, statement.shape, head, tuple(roots), statement.split


def _target(view: View, windows: Windows) -> Any:
    return windows.number(view), view.shape, view.strides, view.buffer.dtype.num


def free_stores(work: np.ndarray, stores: int) -> None:
    """Give back what the stores in a workspace have grown to."""
    for address in work[: STATE_BYTES * stores].view(np.int64)[::3]:
        ctypes.pythonapi.PyMem_RawFree(ctypes.c_void_p(int(address)))
