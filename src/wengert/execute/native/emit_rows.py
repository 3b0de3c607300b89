"""Rows to LLVM: a vector holds one element of several rows; what lies along a row is written out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from llvmlite import ir

from wengert.execute.native import elementwise
from wengert.execute.native.columns import columns, rows_of
from wengert.execute.native.elementwise import llvm_type
from wengert.execute.native.emit import I8, I64, LANE, ZERO, Body, Function, memory_type
from wengert.execute.native.emit_reduction import PARTS, across, identity
from wengert.execute.native.lower import elements
from wengert.execute.native.statements import Expr, Root, Rows
from wengert.execute.native.views import View

STRIP = 16  # vectors of rows
MOST_CELLS = 16  # results that fit registers, beside what they are computed from
MOST_COLUMNS = 16  # elements of a row that is taken apart in registers
DOUBLE = ir.DoubleType()
GUARDED = ("guarded_multiply", "annihilating_multiply")
PASSING = ("add", "subtract", "negative", "multiply", "scale", "square", "copy", "broadcast", "squeeze", "permute")
Cells = dict[int, list[tuple[ir.Value, ir.Value]]]  # by id of a root: a vector and a single number for each element


def emit_rows(f: Function, s: Rows) -> None:
    """All rows, or a part of them after the other."""
    (count,) = s.shape
    if s.parts is None:
        _run(f, s, f.part() if f.split == 0 else None, [])
        return
    size, extent = s.parts.size, I64(count)

    def one(p: ir.Value) -> None:
        begin = f.b.mul(p, I64(size))
        end = f.b.add(begin, I64(size))
        _run(f, s, (begin, f.b.select(f.b.icmp_signed("<", end, extent), end, extent)), [p])

    begin, end = f.part() if f.split == PARTS else (0, s.parts.count)
    f.loop(end, one, start=begin)


def _run(f: Function, s: Rows, part: tuple[ir.Value, ir.Value] | None, place: list[ir.Value]) -> None:
    b = f.b
    roots = [r for r in s.roots if r.over is not None or r.stored]
    cells: Cells = {id(r): _cells(f, r) for r in roots if r.over is not None}
    loose = loose_guards(roots)

    def strip(free: Collection[int], start: ir.Value, lanes: int) -> None:
        body = RowBody(free, b, f.pointer, start, lanes)
        for r in roots:
            if r.over is not None:
                _add_up(body, r, start, cells[id(r)])
            else:
                _store(body, r, start)

    _begin(f, roots, cells)
    if f.lanes > 1 and any(r.over is not None and len(cells[id(r)]) > MOST_CELLS for r in roots):
        _in_strips(f, s.shape[0], part, roots, cells, loose)
        whole = I64(s.shape[0] // f.lanes * f.lanes)
        begin, end = part or (I64(0), I64(s.shape[0]))
        rest = b.select(b.icmp_signed("<", begin, whole), whole, begin)
        f.loop(end, lambda i: strip(loose, i, 1), start=rest)
    else:
        f.lanes_of(s.shape[0], partial(strip, loose), part)
    if loose:
        total: ir.Value = ir.Constant(DOUBLE, 0.0)
        for r in roots:
            for pair in cells[id(r)] if r.over == "sum" and r.expr.dtype.kind == "f" else ():
                x = _total(f, r, *pair)
                total = b.fadd(total, x if x.type == DOUBLE else b.fpext(x, DOUBLE))
        with b.if_then(b.fcmp_unordered("uno", total, total), likely=False):
            _begin(f, roots, cells)
            first, last = part or (0, s.shape[0])
            f.loop(last, lambda i: strip((), i, 1), start=first)
    body = f.body(None, 1)
    for r in roots:
        for at, pair in zip(np.ndindex(*r.expr.shape[1:]), cells.get(id(r), ()), strict=False):
            body.store(_total(f, r, *pair), r.target, [*place, *map(index_of, at)])


def _in_strips(
    f: Function,
    count: int,
    part: tuple[ir.Value, ir.Value] | None,
    roots: Sequence[Root],
    cells: Cells,
    loose: Collection[int],
) -> None:
    """Whole vectors of rows, some at a time: first what is the same for many results, into memory that stays in the
    nearest cache; then as many results as there are registers for, and the next ones.
    """
    b, lanes = f.b, f.lanes
    many = [r for r in roots if r.over is not None and len(cells[id(r)]) > MOST_CELLS]
    held = {id(e): e for r in many for e in _narrow(r.expr, count, elements(r.expr.shape[1:]) // 4)}
    first: dict[int, int] = {}
    slots = 0
    for key, e in held.items():
        first[key], slots = slots, slots + elements(e.shape[1:])
    widest = max((e.dtype.itemsize for e in held.values()), default=8)
    with b.goto_entry_block():
        room = b.alloca(ir.ArrayType(ir.IntType(8 * widest), lanes * STRIP * max(slots, 1)))
        room.align = 64

    def slot(e: Expr, at: Sequence[int], v: ir.Value) -> ir.Value:
        k = first[id(e)] + int(np.ravel_multi_index(tuple(at), e.shape[1:]) if at else 0)
        p = b.gep(room, [I64(0), b.add(I64(k * STRIP * lanes), b.mul(v, I64(lanes)))])
        return b.bitcast(p, ir.VectorType(llvm_type(e.dtype), lanes).as_pointer())

    whole = I64(count // lanes * lanes)
    begin, end = part or (I64(0), I64(count))
    until = b.select(b.icmp_signed("<", end, whole), end, whole)

    def strip(start: ir.Value) -> None:
        left = b.sdiv(b.sub(until, start), I64(lanes))
        vectors = b.select(b.icmp_signed("<", left, I64(STRIP)), left, I64(STRIP))

        def ahead(v: ir.Value) -> None:
            row = b.add(start, b.mul(v, I64(lanes)))
            body = RowBody(loose, b, f.pointer, row, lanes)
            for e in held.values():
                for at in np.ndindex(*e.shape[1:]):
                    b.store(body.at(e, [LANE, *map(index_of, at)]), slot(e, at, v), align=widest)
            for r in roots:
                if r.over is None:
                    _store(body, r, row)
                elif r not in many:
                    _add_up(body, r, row, cells[id(r)])

        f.loop(vectors, ahead)
        for r in many:
            places = list(np.ndindex(*r.expr.shape[1:]))
            for k in range(0, len(places), MOST_CELLS):
                some = slice(k, k + MOST_CELLS)

                def group(v: ir.Value, r: Root = r, some: slice = some, places: Any = places) -> None:
                    row = b.add(start, b.mul(v, I64(lanes)))
                    body = RowBody(loose, b, f.pointer, row, lanes)
                    body.held = {key: partial(slot, e, v=v) for key, e in held.items()}
                    _add_up(body, r, row, cells[id(r)][some], places[some])

                f.loop(vectors, group)

    with b.if_then(b.icmp_signed("<", begin, until)):
        span = b.sub(until, begin)
        step = STRIP * lanes
        strips = b.sdiv(b.add(span, I64(step - 1)), I64(step))
        f.loop(strips, lambda k: strip(b.add(begin, b.mul(k, I64(step)))))


def _narrow(e: Expr, count: int, most: int) -> list[Expr]:
    """The largest parts of an expression that have few elements a row."""
    if e.op == "number" or e.shape[:1] != (count,):
        return []
    if elements(e.shape[1:]) <= most and e.dtype.kind == "f":
        return [e]
    return [p for a in e.args for p in _narrow(a, count, most)] if e.op != "fold" else []


def _total(f: Function, r: Root, wide: ir.Value, single: ir.Value) -> ir.Value:
    b = f.b
    combine = partial(combined, b, r.over or "", r.expr.dtype)
    return combine(across(b, b.load(wide), combine), b.load(single)) if f.lanes > 1 else b.load(single)


def _starts(f: Function, r: Root) -> tuple[ir.Value, ir.Value]:
    scalar = llvm_type(r.expr.dtype)
    one = ir.Constant(scalar, identity(r.over or "", r.expr.dtype))
    return (ir.Constant(ir.VectorType(scalar, f.lanes), [one] * f.lanes) if f.lanes > 1 else one), one


def _cells(f: Function, r: Root) -> list[tuple[ir.Value, ir.Value]]:
    """Running results; registers, as far as there are enough."""
    wide, one = _starts(f, r)
    with f.b.goto_entry_block():
        return [(f.b.alloca(wide.type), f.b.alloca(one.type)) for _ in np.ndindex(*r.expr.shape[1:])]


def _begin(f: Function, roots: Sequence[Root], cells: Cells) -> None:
    for r in roots:
        for pair in cells.get(id(r), ()):
            for cell, x in zip(pair, _starts(f, r), strict=True):
                f.b.store(x, cell)


def _add_up(body: Body, r: Root, start: ir.Value, cells: list[tuple[ir.Value, ir.Value]], places: Any = None) -> None:
    b, e = body.b, r.expr
    for at, (wide, single) in zip(places or np.ndindex(*e.shape[1:]), cells, strict=True):
        cell = wide if body.lanes > 1 else single
        index = [LANE if body.lanes > 1 else start, *map(index_of, at)]
        b.store(combined(b, r.over or "", e.dtype, b.load(cell), body.at(e, index)), cell)


class RowBody(Body):
    """Evaluates at constant indices along a row; takes the guarded products in `free`, by id, for plain ones."""

    def __init__(self, free: Collection[int], *args: Any):
        super().__init__(*args)
        self.free = free
        self.held: dict[int, Any] = {}  # where values of expressions lie, by id

    def combine(self, e: Expr, args: list[ir.Value]) -> ir.Value:
        if id(e) in self.free:
            return elementwise.emit(self.b, "multiply", e.dtype, e.dtype, (), args)
        return super().combine(e, args)

    def _at(self, e: Expr, index: Sequence[Any]) -> ir.Value:
        if id(e) in self.held:
            at = [i.constant for i in index[1:]]
            return self.b.load(self.held[id(e)](at), align=e.dtype.itemsize)
        return self.folded(e, index) if e.op == "fold" else super()._at(e, index)

    def load(self, view: View, index: Sequence[Any]) -> ir.Value:
        width = self.columns_of(view, index)
        return super().load(view, index) if width is None else self.column(view, index, width)

    def folded(self, e: Expr, index: Sequence[Any]) -> ir.Value:
        """The elements along short axes, combined one by one."""
        (x,), (op, axes) = e.args, e.params
        place = fold_place(index, axes, len(x.shape))
        result: ir.Value | None = None
        for at in np.ndindex(*(x.shape[k] for k in axes)):
            for k, i in zip(axes, at, strict=True):
                place[k] = index_of(i)
            value = self.at(x, list(place))
            result = value if result is None else combined(self.b, op, x.dtype, result, value)
        assert result is not None
        return result

    def columns_of(self, view: View, index: Sequence[Any]) -> int | None:
        """The elements of a row, where a vector along dense short rows reads or writes one of them; else None."""
        if self.lanes == 1 or self.valid != self.lanes or not index or index[0] is not LANE:
            return None
        width = view.strides[0]
        fits = 1 < width <= MOST_COLUMNS and not view.offset and not view.steps
        if (
            not fits
            or view.buffer.size < view.shape[0] * width
            or not all(isinstance(i, ir.Constant) for i in index[1:])
        ):
            return None
        return width if 0 <= _offset(view, index) < width and min(view.strides) >= 0 else None

    def column(self, view: View, index: Sequence[Any], width: int) -> ir.Value:
        """One element of each row: the rows are read as they lie, and taken apart in registers."""
        key = "columns", id(self.pointers(view)), width
        if key not in self.memo:
            b, t = self.b, ir.VectorType(memory_type(view.buffer.dtype), self.lanes)
            self.keep.append(p := b.gep(self.pointers(view), [b.mul(self.start, I64(width))]))
            whole = [
                b.load(b.bitcast(b.gep(p, [I64(k * self.lanes)]), t.as_pointer()), align=view.buffer.dtype.itemsize)
                for k in range(width)
            ]
            self.memo[key] = columns(b, whole)
        return self._from_memory(self.memo[key][_offset(view, index)], view.buffer.dtype)

    def store_columns(self, values: Sequence[ir.Value], view: View) -> None:
        """Whole rows, given element by element."""
        b, dtype, width = self.b, view.buffer.dtype, len(values)
        p = b.gep(self.pointers(view), [b.mul(self.start, I64(width))])
        if dtype.kind == "b":
            values = [b.zext(v, ir.VectorType(I8, self.lanes)) for v in values]
        for k, v in enumerate(rows_of(b, values)):
            at = b.bitcast(b.gep(p, [I64(k * self.lanes)]), v.type.as_pointer())
            b.store(v, at, align=dtype.itemsize)


def loose_guards(roots: Sequence[Root]) -> set[int]:
    """The guarded products, by id, whose NaN would be seen in a sum over the rows.

    Where there is none, the guards would have changed nothing; else the rows are gone through again, with them.
    """
    found: set[int] = set()
    firm: set[int] = set()
    seen: set[tuple[int, bool]] = set()
    left = [(r.expr, r.over == "sum" and r.expr.dtype.kind == "f") for r in roots]
    while left:
        e, passes = left.pop()
        if (id(e), passes) in seen:
            continue
        seen.add((id(e), passes))
        if e.op in GUARDED and e.dtype.kind == "f":
            (found if passes else firm).add(id(e))
        passes = passes and (e.op in PASSING or e.op in GUARDED or (e.op == "fold" and e.params[0] == "sum"))
        left += [(a, passes) for a in e.args]
    return found - firm


def _store(body: RowBody, r: Root, start: ir.Value) -> None:
    first: list[Any] = [LANE if body.lanes > 1 else start]
    places = [[*first, *map(index_of, at)] for at in np.ndindex(*r.expr.shape[1:])]
    values = [body.at(r.expr, place) for place in places]
    if body.lanes > 1 and 1 < len(values) <= MOST_COLUMNS:
        body.store_columns(values, r.target)
        return
    for place, value in zip(places, values, strict=True):
        body.store(value, r.target, place)


@cache
def index_of(i: int) -> ir.Constant:
    """An index as a constant, always the same object."""
    return I64(i) if i else ZERO


def _offset(view: View, index: Sequence[Any]) -> int:
    """Where in its row an element stands."""
    return sum(s * i.constant for d, s, i in zip(view.shape[1:], view.strides[1:], index[1:], strict=True) if d != 1)


def fold_place(index: Sequence[Any], axes: Sequence[int], rank: int) -> list[Any]:
    """The index into what is folded, but for the folded axes."""
    rest = iter(index)
    return [ZERO if k in axes else next(rest) for k in range(rank)]


def combined(b: ir.IRBuilder, op: str, dtype: np.dtype, x: ir.Value, y: ir.Value) -> ir.Value:
    """Two results of a reduction as one; NaN of either side comes through."""
    if op in ("sum", "prod") or dtype.kind != "f":
        name = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}[op]
        return elementwise.emit(b, name, dtype, dtype, (), [x, y])
    best = b.select(b.fcmp_ordered(">" if op == "max" else "<", x, y), x, y)  # y if there is a NaN
    return b.select(b.fcmp_unordered("uno", x, x), x, best)
