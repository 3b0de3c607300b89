"""Winograd's minimal filtering: the matrices, and their application to tiles whose numbers are vectors of channels.

`F(m, 3)` computes m neighbouring outputs of three taps with m + 2 multiplications: `Aᵀ((G g) ⊙ (Bᵀ d))`, in two
dimensions `Aᵀ((G g Gᵀ) ⊙ (Bᵀ d B)) A`. It is bilinear, so its adjoint by g is `Gᵀ((A y Aᵀ) ⊙ (Bᵀ d B)) G`.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016 (arXiv 1509.09308), §4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llvmlite import ir

from wengert.execute.native.product.code import Code, Machine, Piece

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Filtering:
    """F(m, 3): each output depends on its own three numbers only, so that what is not finite stays where it belongs."""

    m: int
    b: Matrix  # Bᵀ
    g: Matrix  # G
    a: Matrix  # Aᵀ

    @property
    def size(self) -> int:
        return self.m + 2


F2 = Filtering(
    2,
    ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
    ((1, 1, 1, 0), (0, 1, -1, -1)),
)


def turned(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def apply(code: Code, matrix: Matrix, vectors: Sequence[ir.Value]) -> list[ir.Value]:
    """The matrix times a column of vectors; what its entries leave out costs nothing."""
    b, result = code.b, []
    for row in matrix:
        sums: dict[float, ir.Value] = {}  # by the size of the factor: what is multiplied by it
        for factor, v in sorted(zip(row, vectors, strict=True), key=lambda pair: -pair[0]):
            size = abs(factor)
            if factor > 0:
                sums[size] = v if size not in sums else b.fadd(sums[size], v)
            elif factor < 0:
                sums[size] = b.fneg(v) if size not in sums else b.fsub(sums[size], v)
        total: ir.Value | None = None
        for size, x in sums.items():
            if size != 1:
                x = b.fmul(x, ir.Constant(x.type, [ir.Constant(x.type.element, size)] * x.type.count))
            total = x if total is None else b.fadd(total, x)
        result.append(total)
    return result


class Walk(NamedTuple):
    """Where the numbers of a tile lie, in elements: one step down, one to the right, and from tile to tile."""

    down: int
    right: int
    tile: int


def transform_function(
    module: ir.Module,
    machine: Machine,
    what: str,
    matrix: Matrix,
    source: Walk,
    target: Walk,
    tiles: int,
    vectors: int,
) -> ir.Function:
    """`i1 transform(T* x, T* y)`: `Y = L X Lᵀ` for a row of tiles and so many vectors of channels.

    The result says whether everything written is finite.
    """
    shape = "_".join(str(v) for v in (*source, *target, tiles, vectors)).replace("-", "m")
    name = f"winograd_{machine.suffix}_{what}_{len(matrix)}x{len(matrix[0])}_{shape}"
    function = module.globals.get(name)
    if function is not None:
        return function
    pointer = machine.number.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.IntType(1), [pointer, pointer]), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    for arg in function.args:
        arg.add_attribute("noalias")
    code = Code(ir.IRBuilder(function.append_basic_block()), machine)
    b, lanes = code.b, machine.lanes
    x, y = function.args
    whole = Piece(0, lanes, lanes)
    rows, columns = len(matrix), len(matrix[0])
    zero = machine.zero(lanes)
    state: list[ir.Value] = [zero]
    for t, carried in code.fold(0, tiles, state):
        inner = list(carried)
        for c, sums in code.fold(0, vectors * lanes, inner, lanes):
            here = code.at(code.at(x, code.mul(t, source.tile)), c)
            there = code.at(code.at(y, code.mul(t, target.tile)), c)
            half = []  # column by column
            for j in range(columns):
                places = [code.at(here, i * source.down + j * source.right) for i in range(columns)]
                half.append(apply(code, matrix, [code.load(p, whole) for p in places]))
            for i in range(rows):
                for j, v in enumerate(apply(code, matrix, [column[i] for column in half])):
                    code.store(v, code.at(there, i * target.down + j * target.right), whole)
                    if rows < columns:  # results
                        sums[0] = code.multiply_add(v, zero, sums[0])
        carried[:] = inner
    bad = b.fcmp_unordered("uno", state[0], zero)
    b.ret(b.icmp_unsigned("==", b.bitcast(bad, ir.IntType(lanes)), ir.IntType(lanes)(0)))
    return function
