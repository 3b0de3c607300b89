"""Where threads wait for each other: what each statement touches, and who touches it.

A barrier stands before a statement only if it touches something that another thread may have touched since the last
one: where a statement reads by grains what others wrote by the same grains, each thread meets its own numbers, and none
waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wengert.execute.native.pending import Access, Grains, Pending
from wengert.execute.native.plan import asked, inner_statements, windows_read, windows_written
from wengert.execute.native.statements import (
    Barrier,
    Block,
    Branch,
    Convolution,
    Evaluate,
    Expr,
    Kernel,
    Loop,
    Nest,
    Product,
    Program,
    Reduction,
    Rows,
    Single,
    Split,
    Statement,
)
from wengert.execute.native.views import Store, View


@dataclass
class Barriers:
    """Walks over statements with what was touched since the last barrier."""

    in_place: Mapping[int, int]  # result -> the input that it is written over

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """All threads have met."""
        self.pending = Pending(self.in_place)

    def placed(self, statements: Sequence[Statement]) -> list[Statement]:
        result: list[Statement] = []
        for s in statements:
            if self._together(s):
                self._enter(s, result)
                continue
            accesses = list(touched(s))
            if self.pending.clash(accesses):
                self._meet(result)
            self.pending.add(accesses)
            if isinstance(s, (Nest, Reduction, Product)) and s.split is not None:
                result.append(s)
            elif result and isinstance(result[-1], Single):
                result[-1].body.append(s)
            else:
                result.append(Single([s]))
        return result

    def _together(self, s: Statement) -> bool:
        """A loop or branch that all threads go through."""
        if isinstance(s, Loop) and s.store is not None:
            return False
        return isinstance(s, (Loop, Branch)) and _dealt(s)

    def _enter(self, s: Statement, result: list[Statement]) -> None:
        read = [Access(buffer, False, "all") for buffer in asked(s)]
        if isinstance(s, Branch):
            if self.pending.clash(read):
                self._meet(result)
            self.pending.add(read)
            before, after = self.pending, Pending(self.in_place)
            for k, body in enumerate(s.bodies):
                self.pending = before.copy()
                s.bodies[k] = self.placed(body)
                after.add(self.pending)
            self.pending = after
            result.append(s)
            return
        assert isinstance(s, Loop)
        if isinstance(s.turns, Store):
            if self.pending.has(s.turns):
                self._meet(result)
        inside = [a for inner in inner_statements(s) for a in _deep(inner)]
        if self.pending.clash([*inside, *read]):  # better once, before the loop, than at every turn
            self._meet(result)
        # what the end of one turn leaves pending meets the beginning of the next
        self.pending.add([*inside, *read])
        test = self.placed(s.test)
        if self.pending.clash(read):
            self._meet(test)
        self.pending.add(read)
        before = self.pending.copy()
        s.test, s.body = test, self.placed(s.body)
        if not isinstance(s.turns, int) or s.turns == 0:  # perhaps nobody meets inside, as there is no turn
            self.pending.add(before)
        result.append(s)

    def _meet(self, result: list[Statement]) -> None:
        result.append(Barrier())
        self.forget()


def place_barriers(program: Program, in_place: Mapping[int, int]) -> None:
    """Barriers into each run between two of NumPy's steps in which anything is dealt; `in_place` as in `Barriers`."""
    result: list[Statement] = []
    for run in runs(program.statements):
        result += Barriers(in_place).placed(run) if any(k.split is not None for k in kernels_in(run)) else run
    program.statements = result


def runs(statements: Sequence[Statement]) -> Iterator[list[Statement]]:
    """The statements between NumPy's steps, and each of those by itself."""
    run: list[Statement] = []
    for s in statements:
        if isinstance(s, Evaluate):
            yield run
            yield [s]
            run = []
        else:
            run.append(s)
    yield run


def kernels_in(statements: Sequence[Statement]) -> Iterator[Kernel]:
    """Every kernel among the statements, however deep."""
    for s in statements:
        if isinstance(s, (Nest, Reduction, Product)):
            yield s
        elif isinstance(s, (Loop, Branch, Block)):
            yield from kernels_in(inner_statements(s))
        elif isinstance(s, Single):
            yield from kernels_in(s.body)


def _dealt(s: Statement) -> bool:
    """Whether anything in a loop or a branch is shared out."""
    return any(k.split is not None for k in kernels_in([s]))


def _deep(s: Statement) -> Iterator[Access]:
    if isinstance(s, (Loop, Branch)) and _dealt(s):
        for inner in inner_statements(s):
            yield from _deep(inner)
    else:
        yield from touched(s)


def touched(s: Statement) -> Iterator[Access]:
    """What a statement reads and writes, and which thread does."""
    split = s.split if isinstance(s, (Nest, Reduction, Product)) else None
    if split is None:
        yield from (Access(b, False, "first") for b in windows_read(s))
        yield from (Access(b, True, "first") for b in windows_written(s))
        return
    if split.axis is None:
        yield from (Access(b, False, "all") for b in windows_read(s))
        yield from (Access(b, True, "all") for b in windows_written(s))
        return
    if isinstance(s, Convolution):
        yield from _examples(s, split)
    elif isinstance(s, Product):
        rank = len(s.shape)
        yield Access(s.x.buffer, False, _grains(s.x, split.axis if split.axis != rank - 1 else None, split))
        yield Access(s.y.buffer, False, _grains(s.y, split.axis if split.axis != rank - 2 else None, split))
        yield from (Access(p.buffer, False, "all") for v in (s.x, s.y) for p in v.positions)
        if s.sums is not None:
            yield Access(s.sums.buffer, True, _grains(s.sums, 0, split) if split.axis == rank - 1 else "all")
    if isinstance(s, Reduction) and s.parts is not None:
        along = Split(s.parts.axis, s.expr.shape[s.parts.axis], s.parts.count, s.parts.size)
        if split.size == 1:
            yield from _loads(s.expr, along.axis, along, {})
        else:
            yield from (Access(b, False, "all") for b in windows_read(s))
        yield Access(s.target.buffer, True, _grains(s.target, 0, split))
        return
    if isinstance(s, Reduction):
        yield from _loads(s.expr, split.axis, split, {})
        indexed = len(s.target.shape) - (len(s.expr.shape) - len(s.axes))  # of a scatter
        axis = indexed + sum(k not in s.axes for k in range(split.axis))
        yield Access(s.target.buffer, True, _grains(s.target, axis, split))
        return
    assert isinstance(s, (Nest, Product))
    if isinstance(s, Rows) and s.parts is not None:
        rows = Split(0, s.shape[0], s.parts.count, s.parts.size)
        within: dict[Any, None] = {}
        for r in s.roots:
            if split.size == 1:
                yield from _loads(r.expr, 0, rows, within)
            if r.stored:
                yield Access(r.target.buffer, True, _grains(r.target, 0, split if r.over is not None else rows))
        if split.size != 1:
            yield from (Access(b, False, "all") for b in windows_read(s))
        return
    kept = {id(r.loaded) for r in s.roots}
    seen: dict[Any, None] = {(e, a): None for e in kept for a in (split.axis, None)}
    for r in s.roots:
        yield from _loads(r.expr, split.axis, split, seen)
        yield from (Access(p.buffer, False, "all") for p in r.target.positions)
        if r.stored:
            yield Access(r.target.buffer, True, _grains(r.target, split.axis, split))


def _examples(s: Convolution, split: Split) -> Iterator[Access]:
    """What a convolution reads that is split by examples, or by blocks of them, which are the channels of its input."""
    assert s.spec is not None
    blocked, c = len(s.shape) > len(s.x.shape), s.spec.c
    if blocked and s.spec.groups == 1 and c % split.extent == 0:
        split = Split(1, c, split.grains, split.size * (c // split.extent))
        yield from (Access(v.buffer, False, _grains(v, 1, split)) for v in (s.x, s.y))
    else:
        yield Access(s.x.buffer, False, _grains(s.x, None if blocked else 0, split))
        yield Access(s.y.buffer, False, "all")
    yield from (Access(p.buffer, False, "all") for v in (s.x, s.y) for p in v.positions)


def _loads(e: Expr, axis: int | None, split: Split, seen: dict[Any, None]) -> Iterator[Access]:
    """The windows that an expression reads; `axis` is the split one, as the expression counts."""
    if (id(e), axis) in seen:
        return
    seen[id(e), axis] = None
    if e.view is not None:
        yield Access(e.view.buffer, False, _grains(e.view, axis, split))
        yield from (Access(p.buffer, False, "all") for p in e.view.positions)
    for a in e.args:
        yield from _loads(a, _inner_axis(e, a, axis), split, seen)


def _inner_axis(e: Expr, a: Expr, axis: int | None) -> int | None:
    """Where an expression's axis is found in its operand, if there."""
    if axis is None or (e.op == "gather" and a is e.args[0]):
        return None
    if e.op == "permute":
        return e.params[axis]
    if e.op == "squeeze":
        if e.shape[axis] == 1:
            return None
        before = sum(d != 1 for d in e.shape[:axis])
        return [k for k, d in enumerate(a.shape) if d != 1][before]
    if e.op == "fold":
        return [k for k in range(len(a.shape)) if k not in e.params[1]][axis]
    inner = axis - (len(e.shape) - len(a.shape))
    return inner if inner >= 0 and a.shape[inner] != 1 else None


def _grains(view: View, axis: int | None, split: Split) -> Any:
    """The pattern in which the threads touch a window; "all" if each may touch anything."""
    if axis is None or view.shape[axis] != split.extent:
        return "all"
    unit = view.buffer.dtype.itemsize
    stride = view.strides[axis] * unit
    size = stride * split.size
    whole = size * split.grains
    others = [
        (d, s * unit) for k, (d, s) in enumerate(zip(view.shape, view.strides, strict=True)) if k != axis and d > 1
    ]
    if stride <= 0 or any(s < 0 for _, s in others):
        return "all"
    # along an axis of such wholes, a grain comes again and again
    span = sum((d - 1) * s for d, s in others if s % whole) + unit + stride * (split.size - 1)
    start = view.offset * unit
    if start % size + span > size or any(s * unit % whole for _, s in view.steps):
        return "all"
    return Grains(split.grains, size, start // size % split.grains)
