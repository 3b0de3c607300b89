"""The register tile: rows × width sums over k, held in registers, as a function that kernels of one module share."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from wengert.execute.native.product.code import I64, Code, Index, Machine, Piece

FEW = 8  # two multiply-adds a cycle that take four: so many independent sums keep the units busy
STRAIGHT = 48  # up to so many multiply-adds are written without a loop


def tile_function(
    module: ir.Module,
    machine: Machine,
    rows: int,
    pieces: Sequence[Piece],
    a: tuple[int, int],
    b_stride: int,
    k: int | None,
    resume: bool,
) -> ir.Function:
    """`void tile(T* A, T* B, T* sums, i64 k)`: `sums[r, :] (+)= sum over k of A[r, k] · B[k, :]`.

    `a` holds A's strides along rows and k, and `b_stride` that of B along k. The pieces say how a row of B is read; the
    sums lie densely, in rows of whole vectors, aligned. `k` is None if it is known only when the function is called.
    With `resume`, the sums start from what is there.
    """
    shape = "_".join(f"{p.offset}.{p.valid}.{p.lanes}" for p in pieces)
    depth = "n" if k is None else k
    name = f"tile_{machine.suffix}_{rows}x{shape}_{a[0]}_{a[1]}_{b_stride}_{depth}_{'on' if resume else 'new'}"
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
    pa, pb, out, count = function.args
    stride = row_stride(machine, pieces)
    places = [(r, p, r * stride + p.offset) for r in range(rows) for p in pieces]
    start = [
        code.load(code.at(out, o), whole(p), aligned=True) if resume else machine.zero(p.lanes) for _, p, o in places
    ]
    sums = accumulate(code, pa, pb, start, rows, pieces, a, b_stride, count if k is None else k)
    for (_, p, offset), x in zip(places, sums, strict=True):
        code.store(x, code.at(out, offset), whole(p), aligned=True)
    code.b.ret_void()
    return function


def whole(piece: Piece) -> Piece:
    return Piece(piece.offset, piece.lanes, piece.lanes)


def row_stride(machine: Machine, pieces: Sequence[Piece]) -> int:
    """Numbers from one row of sums to the next: whole vectors."""
    end = pieces[-1].offset + pieces[-1].lanes
    return -(-end // machine.lanes) * machine.lanes


def accumulate(
    code: Code,
    pa: ir.Value,
    pb: ir.Value,
    sums: list[ir.Value],
    rows: int,
    pieces: Sequence[Piece],
    a: tuple[int, int],
    b_stride: int,
    k: Index,
) -> list[ir.Value]:
    """The sums, row by row, after the loop over k."""
    each = rows * len(pieces)
    ways = 1  # k is dealt to several sets of sums where one has too few sums to hide the latency
    if isinstance(k, int):
        ways = max(1, min(FEW // each, k))
        if k * each <= STRAIGHT:
            ways = min(ways, 2)
    sets = [list(sums)] + [[code.machine.zero(p.lanes) for _ in range(rows) for p in pieces] for _ in range(ways - 1)]

    def step(pa: ir.Value, pb: ir.Value, n: int, state: list[ir.Value]) -> None:
        row = [code.load(code.at(pb, n * b_stride + p.offset), p) for p in pieces]
        for r in range(rows):
            wide: dict[int, ir.Value] = {}
            for c, p in enumerate(pieces):
                if p.lanes not in wide:
                    wide[p.lanes] = code.splat(code.at(pa, r * a[0] + n * a[1]), p.lanes)
                at = r * len(pieces) + c
                state[at] = code.multiply_add(wide[p.lanes], row[c], state[at])

    if isinstance(k, int) and k * each <= STRAIGHT:
        for n in range(k):
            step(pa, pb, n, sets[n % ways])
    else:
        trips = k // ways if isinstance(k, int) else k
        start = [pa, pb, *(x for s in sets for x in s)]
        for _, state in code.fold(0, trips, start):
            now = [state[2 + w * each : 2 + (w + 1) * each] for w in range(ways)]
            for w in range(ways):
                step(state[0], state[1], w, now[w])
            state[:] = [
                code.at(state[0], ways * a[1]),
                code.at(state[1], ways * b_stride),
                *(x for s in now for x in s),
            ]
        state = start
        sets = [state[2 + w * each : 2 + (w + 1) * each] for w in range(ways)]
        if isinstance(k, int):
            for n in range(k % ways):
                step(state[0], state[1], n, sets[n])
    while len(sets) > 1:
        half = (len(sets) + 1) // 2
        for low, high in zip(sets, sets[half:], strict=False):
            low[:] = [code.b.fadd(x, y) for x, y in zip(low, high, strict=True)]
        del sets[half:]
    return sets[0]
