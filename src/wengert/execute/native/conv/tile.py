"""A register tile whose sum runs over several axes: channels, and the taps that are reached by steps through memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from wengert.execute.native.product.code import Code, Index, Machine, Piece
from wengert.execute.native.product.tile import accumulate, whole

Nest = tuple[tuple[int, int, int], ...]  # (count, step in A, step in B), the innermost last


def merged(nest: Nest) -> Nest:
    """Axes that continue each other in both operands as one."""
    result: list[tuple[int, int, int]] = []
    for count, a, b in nest:
        if count == 1 and nest != ((count, a, b),):
            continue
        if result and result[-1][1:] == (count * a, count * b):
            result[-1] = (result[-1][0] * count, a, b)
        else:
            result.append((count, a, b))
    return tuple(result) or ((1, 0, 0),)


def nest_tile(
    module: ir.Module,
    machine: Machine,
    rows: int,
    vectors: int,
    a_row: int,
    nest: Nest,
    out_row: int,
    resume: bool,
    diagonal: bool,
) -> ir.Function:
    """`void tile(T* A, T* B, T* out)`: `out[r, :] (+)= Σ over the nest of A[r, …] · B[…, :]`.

    A row of B is so many whole vectors; rows of A lie `a_row` apart, rows of sums `out_row`. With `resume` the sums
    start from what is there. With `diagonal` A, too, has a number for each column.
    """
    steps = "_".join(f"{c}.{a}.{b}" for c, a, b in nest)
    name = (
        f"nest_{machine.suffix}_{rows}x{vectors}_{a_row}_{out_row}_{steps}_{'on' if resume else 'new'}{'_d' * diagonal}"
    )
    function = module.globals.get(name)
    if function is not None:
        return function
    pointer = machine.number.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer, pointer]), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    for arg in function.args:
        arg.add_attribute("noalias")
    code = Code(ir.IRBuilder(function.append_basic_block()), machine)
    pa, pb, out = function.args
    pieces = [Piece(v * machine.lanes, machine.lanes, machine.lanes) for v in range(vectors)]
    places = [(code.at(out, r * out_row + p.offset), p) for r in range(rows) for p in pieces]
    sums = [code.load(at, p) if resume else machine.zero(p.lanes) for at, p in places]
    tile = Tile(code, rows, pieces, a_row, diagonal)
    for (at, p), x in zip(places, tile.nested(pa, pb, sums, nest), strict=True):
        code.store(x, at, whole(p))
    code.b.ret_void()
    return function


@dataclass(frozen=True)
class Tile:
    code: Code
    rows: int
    pieces: Sequence[Piece]
    a_row: int
    diagonal: bool

    def nested(self, pa: ir.Value, pb: ir.Value, sums: list[ir.Value], nest: Nest) -> list[ir.Value]:
        """The sums after the loops over the nest."""
        code = self.code
        (count, a, b), *inner = nest
        if not inner and not self.diagonal:
            return accumulate(code, pa, pb, sums, self.rows, self.pieces, (self.a_row, a), b, count)
        for i, state in code.fold(0, count, sums):
            here, there = code.at(pa, code.mul(i, a)), code.at(pb, code.mul(i, b))
            state[:] = self.nested(here, there, list(state), tuple(inner)) if inner else self.step(here, there, state)
        return sums

    def step(self, pa: ir.Value, pb: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        """A product for each row and column."""
        code = self.code
        row = [code.load(code.at(pb, p.offset), p) for p in self.pieces]
        places = [(r, p) for r in range(self.rows) for p in range(len(self.pieces))]
        left = [code.load(code.at(pa, r * self.a_row + self.pieces[p].offset), self.pieces[p]) for r, p in places]
        return [code.multiply_add(x, row[p], y) for x, (_, p), y in zip(left, places, sums, strict=True)]


@dataclass(frozen=True)
class Panels:
    """B as the tiles read it: a panel of columns after the other, `apart` elements from each other where they are full.

    `nest` are the steps of the sum for panels of so many columns, of which `skip` rows are left out.
    """

    start: ir.Value
    apart: int
    nest: Callable[[int], Nest]
    skip: Index = 0


def multiply(
    code: Code,
    shape: tuple[int, int],
    a: tuple[ir.Value, int],
    b: Panels,
    out: tuple[ir.Value, int],
    limit: tuple[int, int],
    resume: bool = False,
    diagonal: bool = False,
) -> None:
    """Tiles over `shape`: rows, and whole vectors of columns; `limit` holds the rows and vectors of a tile.

    A and the sums come with the stride of their rows.
    """
    m, n = shape
    module, machine = code.b.module, code.machine
    rows, vectors = min(limit[0], m), min(limit[1], n)

    def panel(number: Index, vectors: int) -> None:
        width = vectors * machine.lanes
        column = code.mul(number, min(limit[1], n) * machine.lanes)
        there = code.at(code.at(b.start, code.mul(number, b.apart)), code.mul(b.skip, width))
        left = code.at(a[0], column) if diagonal else a[0]

        def tile(i: Index, rows: int) -> None:
            function = nest_tile(module, machine, rows, vectors, a[1], b.nest(width), out[1], resume, diagonal)
            place = code.at(code.at(out[0], code.mul(i, out[1])), column)
            code.b.call(function, [code.at(left, code.mul(i, a[1])), there, place])

        if resume:
            for i in code.loop(0, m - m % rows, rows):
                tile(i, rows)
            if m % rows:
                tile(m - m % rows, m % rows)
        else:  # the last tile reaches back over its neighbour
            for i in code.loop(0, m, rows):
                tile(code.least(i, m - rows), rows)

    for number in code.loop(0, n // vectors):
        panel(number, vectors)
    if n % vectors:
        panel(n // vectors, n % vectors)


def balanced(m: int, limit: int) -> int:
    """Rows of a tile, so that tiles of at most `limit` rows are equal."""
    return -(-m // -(-m // limit))
