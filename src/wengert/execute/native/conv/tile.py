"""A register tile whose sum runs over several axes: channels, and the taps that are reached by steps through memory."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from wengert.execute.native.product.code import I64, Code, Index, Machine, Piece
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
) -> ir.Function:
    """`void tile(T* A, T* B, T* out, i64 k)`: `out[r, :] (+)= Σ over the nest of A[r, …] · B[…, :]`.

    A row of B is so many whole vectors; rows of A lie `a_row` apart, rows of sums `out_row`. An innermost count of 0
    stands for `k`. With `resume` the sums start from what is there.
    """
    steps = "_".join(f"{c}.{a}.{b}" for c, a, b in nest)
    name = f"nest_{machine.suffix}_{rows}x{vectors}_{a_row}_{out_row}_{steps}_{'on' if resume else 'new'}"
    function = module.globals.get(name)
    if function is not None:
        return function
    pointer = machine.number.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer, pointer, I64]), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    for arg in function.args[:3]:
        arg.add_attribute("noalias")
    code = Code(ir.IRBuilder(function.append_basic_block()), machine)
    pa, pb, out, k = function.args
    pieces = [Piece(v * machine.lanes, machine.lanes, machine.lanes) for v in range(vectors)]
    places = [(code.at(out, r * out_row + p.offset), p) for r in range(rows) for p in pieces]
    sums = [code.load(at, p) if resume else machine.zero(p.lanes) for at, p in places]
    for (at, p), x in zip(places, _nested(code, pa, pb, sums, rows, pieces, a_row, nest, k), strict=True):
        code.store(x, at, whole(p))
    code.b.ret_void()
    return function


def _nested(
    code: Code,
    pa: ir.Value,
    pb: ir.Value,
    sums: list[ir.Value],
    rows: int,
    pieces: Sequence[Piece],
    a_row: int,
    nest: Nest,
    k: Index,
) -> list[ir.Value]:
    (count, a, b), *inner = nest
    if not inner:
        return accumulate(code, pa, pb, sums, rows, pieces, (a_row, a), b, count or k)
    for i, state in code.fold(0, count, sums):
        here, there = code.at(pa, code.mul(i, a)), code.at(pb, code.mul(i, b))
        state[:] = _nested(code, here, there, list(state), rows, pieces, a_row, tuple(inner), k)
    return sums


def multiply(
    code: Code,
    shape: tuple[Index, int, int],
    a: tuple[ir.Value, int],
    b: ir.Value,
    out: tuple[ir.Value, int],
    nest: Nest,
    limit: tuple[int, int],
    resume: bool = False,
    k: Index = 0,
) -> None:
    """Tiles over `shape`: rows (`most` of them, if their number is known only later), and whole vectors of columns.

    `limit` holds the rows and vectors of a tile. Pointers come with the stride of their rows.
    """
    m, most, n = shape
    module, machine = code.b.module, code.machine
    rows, vectors = min(limit[0], most), min(limit[1], n)

    def panel(j: Index, vectors: int) -> None:
        start = code.mul(j, machine.lanes)

        def tile(i: Index, rows: int) -> None:
            function = nest_tile(module, machine, rows, vectors, a[1], nest, out[1], resume)
            place = code.at(code.at(out[0], code.mul(i, out[1])), start)
            count = k if isinstance(k, ir.Value) else I64(k)
            code.b.call(function, [code.at(a[0], code.mul(i, a[1])), code.at(b, start), place, count])

        if isinstance(m, int) and resume:
            for i in code.loop(0, m - m % rows, rows):
                tile(i, rows)
            if m % rows:
                tile(m - m % rows, m % rows)
        else:  # the last tile reaches back over its neighbour, or over what is there but not wanted
            for i in code.loop(0, m, rows):
                tile(code.least(i, most - rows), rows)

    for j in code.loop(0, n - n % vectors, vectors):
        panel(j, vectors)
    if n % vectors:
        panel(n - n % vectors, n % vectors)
