"""Products of few rows with a transposed matrix: vectors run along k, and a square of sums is folded at the end."""

from __future__ import annotations

from llvmlite import ir

from wengert.execute.native.product.code import Code, Index, Machine, Piece
from wengert.execute.native.product.tile import FEW


def dot_function(module: ir.Module, machine: Machine, k: int, across: int, count: int) -> ir.Function:
    """`void dots(T* x, T* Y, T* out)`: `out[c] = sum over k of x[k] · Y[c · across + k]`, c < count; then zeros."""
    name = f"dots_{machine.suffix}_{k}_{across}_{count}"
    function = module.globals.get(name)
    if function is not None:
        return function
    pointer = machine.number.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer] * 3), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    code = Code(ir.IRBuilder(function.append_basic_block()), machine)
    x, y, out = function.args
    lanes = machine.lanes
    sums: list[ir.Value] = []
    for c in range(0, count, FEW):  # more streams at once than this would be slower to fetch
        sums += _sums(code, x, code.at(y, c * across), k, across, min(FEW, count - c))
    code.store(folded(code, sums), out, Piece(0, lanes, lanes), aligned=True)
    code.b.ret_void()
    return function


def _sums(code: Code, x: ir.Value, y: ir.Value, k: int, across: int, count: int) -> list[ir.Value]:
    """For each of `count` rows of Y, its products with x, summed up lane by lane."""
    lanes = code.machine.lanes
    ways = max(1, min(FEW // count, k // lanes))
    state: list[ir.Value] = [code.machine.zero(lanes)] * (count * ways)

    def step(first: Index, way: int, valid: int, state: list[ir.Value]) -> None:
        left = code.load_some(code.at(x, first), valid)
        for c in range(count):
            right = code.load_some(code.at(code.at(y, first), c * across), valid)
            at = way * count + c
            state[at] = code.multiply_add(left, right, state[at])

    whole = k // (lanes * ways) * (lanes * ways)
    for first, now in code.fold(0, whole, state, lanes * ways):
        for way in range(ways):
            step(code.add(first, way * lanes), way, lanes, now)
    for n, first in enumerate(range(whole, k, lanes)):
        step(first, n % ways, min(lanes, k - first), state)
    sums = state[:count]
    for c in range(count):
        for way in range(1, ways):
            sums[c] = code.b.fadd(sums[c], state[way * count + c])
    return sums


def folded(code: Code, vectors: list[ir.Value]) -> ir.Value:
    """One vector whose lane c is the sum of the lanes of `vectors[c]`: neighbours are added until one is left."""
    lanes = code.machine.lanes
    vectors = vectors + [code.machine.zero(lanes)] * (lanes - len(vectors))
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [
            code.b.fadd(code.shuffle(x, y, range(0, 2 * lanes, 2)), code.shuffle(x, y, range(1, 2 * lanes, 2)))
            for x, y in pairs
        ]
    return vectors[0]
