"""Functions that run a row of statements: a call for each kernel or, in long programs, a table of calls.

Code for thousands of calls is slow to make, and nearly always the same few kernels are called with other addresses.
There a loop goes through a table instead: for each call the number of a case, which knows the kernel, and the places
of its windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from llvmlite import ir

from wengert.execute.native.blocks import call_block
from wengert.execute.native.costs import cost as moved
from wengert.execute.native.emit import I8, I64, memory_type
from wengert.execute.native.evaluate import call_step, still
from wengert.execute.native.flow import Turns
from wengert.execute.native.plan import flat
from wengert.execute.native.schedule import cost
from wengert.execute.native.statements import (
    Barrier,
    Block,
    Direct,
    Evaluate,
    Kernel,
    Nest,
    Product,
    Reduction,
    Single,
    Split,
    Statement,
)
from wengert.execute.native.threads import part_of, run_by_all
from wengert.execute.native.views import Buffer, View

LONG = 100  # statements from which on they stand in a table
NEAR = 1.0  # of each thread's second-level cache: what touches less finds its numbers there anyway
_DATA = object.__basicsize__  # where an ndarray object keeps its data pointer: behind the header of every object


def emit_segment(build: Any, statements: list[Statement], name: str) -> None:
    """`name(table, work)` in the module of a `Build`; several threads run its part."""
    segment = _Segment(build, statements, name)
    rows = list(_singly(statements))
    if build.by_table and len(rows) >= LONG:
        segment.run_table(rows)
    else:
        for group in _together(statements, build) if build.by_grains else [statements]:
            if len(group) > 1 and build.by_grains:
                segment.run_by_grains(group)
            else:
                segment.flow.run(group, {})
    segment.b.ret_void()
    if segment.me:
        run_by_all(build.module, name, segment.function, build.threads, sum(map(cost, statements)))


class _Segment:
    def __init__(self, build: Any, statements: list[Statement], name: str):
        table = I8.as_pointer().as_pointer()
        parallel = any(isinstance(s, (Single, Barrier)) or getattr(s, "split", None) for s in flat(statements))
        kinds = [*([I64, I64] if parallel else []), table, I8.as_pointer()]
        kind = ir.FunctionType(ir.VoidType(), kinds)
        self.build = build
        self.function = ir.Function(build.module, kind, f"{name}.part" if parallel else name)
        *self.me, self.given, self.work = self.function.args
        self.b = b = ir.IRBuilder(self.function.append_basic_block())
        self.scratch = b.gep(self.work, [I64(build.scratch_at)])
        if parallel:
            self.scratch = b.gep(self.scratch, [b.mul(self.me[0], I64(build.program.scratch))])
        self.parts: dict[Split, list[ir.Value]] = {}
        self.flow = build.flow(b, self.function, self.base, self.call)

    def base(self, buffer: Buffer) -> ir.Value:
        """The first byte of a buffer."""
        if buffer.kind == "work":
            return self.b.gep(self.work, [I64(buffer.index)])
        return self.data(I64(self.build.slot(buffer)))

    def data(self, slot: ir.Value) -> ir.Value:
        """The table holds ndarray objects; their data pointer follows the object's header."""
        array = self.b.load(self.b.gep(self.given, [slot]))
        return self.b.load(self.b.bitcast(self.b.gep(array, [I64(_DATA)]), self.given.type))

    def call(self, statement: Kernel | Block | Evaluate, turns: Turns) -> None:
        if isinstance(statement, Evaluate):
            steps = self.b.load(self.b.gep(self.given, [I64(self.build.steps_slot)]))
            call_step(self.b, len(self.build.steps), statement, steps, lambda v: self.flow.pointer(v, turns))
            self.build.steps.append(still(statement))
            return
        if isinstance(statement, Block):
            call_block(self.flow, statement, turns, self.build.target)
            return
        kernel, windows = self.build.kernel(statement)
        self.invoke(statement, kernel, [self.flow.pointer(v, turns) for v in windows.views])

    def invoke(self, statement: Kernel, kernel: ir.Function, args: list[ir.Value]) -> None:
        if isinstance(statement, (Product, Direct)):
            dtype = statement.dtype if isinstance(statement, Product) else statement.expr.dtype
            args.append(self.b.bitcast(self.scratch, memory_type(dtype).as_pointer()))
        if statement.split is not None:
            if statement.split not in self.parts:
                with self.b.goto_entry_block():
                    self.parts[statement.split] = part_of(self.b, statement.split, *self.me)
            args += self.parts[statement.split]
        self.b.call(kernel, args)

    # Grain by grain

    def run_by_grains(self, group: Sequence[Statement]) -> None:
        """All statements for one grain of the thread after the other: what one leaves, the next finds in the cache."""
        b, (thread, threads) = self.b, self.me
        kernels = [self.build.kernel(s) for s in group]
        args = [[self.flow.pointer(v, {}) for v in windows.views] for _, windows in kernels]
        number = I64(_grains(group[0]))

        def bound(t: ir.Value) -> ir.Value:
            return b.udiv(b.mul(t, number), threads)

        first, last = bound(thread), bound(b.add(thread, I64(1)))
        before, (head, body, after) = b.block, (self.function.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        grain = b.phi(I64)
        grain.add_incoming(first, before)
        b.cbranch(b.icmp_unsigned("<", grain, last), body, after)
        b.position_at_end(body)
        for s, (kernel, _), pointers in zip(group, kernels, args, strict=True):
            split = s.split  # type: ignore[union-attr]
            assert split is not None
            begin = b.mul(grain, I64(split.size))
            end = b.add(begin, I64(split.size))
            if split.grains * split.size != split.extent:
                end = b.select(b.icmp_unsigned("<", end, I64(split.extent)), end, I64(split.extent))
            b.call(kernel, [*pointers, begin, end])
        grain.add_incoming(b.add(grain, I64(1)), b.block)
        b.branch(head)
        b.position_at_end(after)

    # By a table

    def run_table(self, rows: Sequence[tuple[Statement, bool]]) -> None:
        """Each row: a statement, and whether it is the first thread's."""
        cases: dict[Any, tuple[int, Statement, bool, list[View] | None]] = {}
        words: list[int] = []
        for s, first in rows:
            key, views = self._case(s)
            number, *_ = cases.setdefault((key, first), (len(cases) + 1, s, first, views))
            words.append(number)
            for v in views or ():
                offset = v.offset * v.buffer.dtype.itemsize
                work = v.buffer.kind == "work"
                words += [v.buffer.index + offset] if work else [self.build.slot(v.buffer), offset]
        words.append(0)
        b, function = self.b, self.function
        first_word = self._constant(words)
        before, (head, after, done) = b.block, (function.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        at = b.phi(I64)
        at.add_incoming(I64(0), before)
        choice = b.switch(b.load(b.gep(first_word, [at])), done)
        b.position_at_end(after)
        later = b.phi(I64)
        at.add_incoming(later, after)
        b.branch(head)
        for number, s, first, views in cases.values():
            block = function.append_basic_block()
            choice.add_case(I64(number), block)
            b.position_at_end(block)
            rest = b.gep(first_word, [b.add(at, I64(1))])
            if first:
                with b.if_then(b.icmp_unsigned("==", self.me[0], I64(0))):
                    self._row(s, views, rest)
            else:
                self._row(s, views, rest)
            length = 1 + sum(1 if v.buffer.kind == "work" else 2 for v in views or ())
            later.add_incoming(b.add(at, I64(length)), b.block)
            b.branch(after)
        b.position_at_end(done)

    def _case(self, s: Statement) -> tuple[Any, list[View] | None]:
        """What is equal for statements of the same case, and the windows that tell them apart."""
        if isinstance(s, Barrier):
            return Barrier, None
        if not isinstance(s, (Nest, Reduction, Product)):
            return id(s), None
        kernel, windows = self.build.kernel(s)
        views = list(windows.views)
        if any(v.steps or v.buffer.store is not None for v in views):
            return id(s), None
        return (kernel.name, tuple(v.buffer.kind == "work" for v in views)), views

    def _row(self, s: Statement, views: list[View] | None, words: ir.Value) -> None:
        if views is None:
            self.flow.run([s], {})
            return
        b = self.b
        assert isinstance(s, (Nest, Reduction, Product))
        kernel, _ = self.build.kernel(s)
        args: list[ir.Value] = []
        at = 0
        for v, arg in zip(views, kernel.args, strict=False):
            place = self.work
            if v.buffer.kind != "work":
                place = self.data(b.load(b.gep(words, [I64(at)])))
                at += 1
            args.append(b.bitcast(b.gep(place, [b.load(b.gep(words, [I64(at)]))]), arg.type))
            at += 1
        self.invoke(s, kernel, args)

    def _constant(self, words: list[int]) -> ir.Value:
        data = bytearray(np.array(words, np.int64).tobytes())
        kind = ir.ArrayType(I8, len(data))
        table = ir.GlobalVariable(self.b.module, kind, f"{self.function.name}.table")
        table.initializer, table.global_constant, table.linkage = ir.Constant(kind, data), True, "internal"
        table.align = I64.width // 8
        return self.b.bitcast(table, I64.as_pointer())


def _grains(s: Statement) -> int:
    """How many grains a statement is dealt in, if it may run grain by grain with its neighbours; else 0."""
    return s.split.grains if type(s) in (Nest, Reduction) and s.split is not None else 0  # type: ignore[union-attr]


def _together(statements: Sequence[Statement], build: Any) -> Iterator[list[Statement]]:
    """Rows of statements that are dealt alike, without a barrier between, and go over more than a cache holds.

    Where no barrier stands, what a grain of one statement reads was written by the same grain of others, if by any of
    these; so the grains might as well be threads, and their order is free.
    """
    for grains, row in groupby(statements, _grains):
        group = list(row)
        cache = build.target.caches[1]
        if grains and len(group) > 1 and sum(moved(s)[1] for s in group) > NEAR * cache * build.threads:
            yield group
        else:
            yield from ([s] for s in group)


def _singly(statements: Sequence[Statement]) -> Iterator[tuple[Statement, bool]]:
    for s in statements:
        if isinstance(s, Single):
            yield from ((inner, True) for inner in s.body)
        else:
            yield s, False
