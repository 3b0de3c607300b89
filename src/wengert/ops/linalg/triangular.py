"""Systems with a triangular matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.ir.array import Array
from wengert.ir.maps import Linear, Map
from wengert.ir.primitive import Params
from wengert.ir.types import ArrayType
from wengert.ops.linalg.matrix import MatrixPrimitive, check_system, lower, transpose, upper

BLOCK = 32


def substitute(a: Any, b: Any, is_lower: bool, unit: bool) -> Any:
    """Forward or backward substitution, a block of rows at a time, for all matrices of a stack together.

    A zero on the diagonal divides: the result is infinite or NaN there, as in BLAS.
    """
    n, x = a.shape[-1], b.copy()
    blocks = [range(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
    for block in blocks if is_lower else reversed(blocks):
        rows, done = slice(block.start, block.stop), slice(0, block.start) if is_lower else slice(block.stop, n)
        if done.start < done.stop:
            x[..., rows, :] -= a[..., rows, done] @ x[..., done, :]
        for i in block if is_lower else reversed(block):
            done = slice(block.start, i) if is_lower else slice(i + 1, block.stop)
            if done.start < done.stop:
                x[..., i : i + 1, :] -= a[..., i : i + 1, done] @ x[..., done, :]
            if not unit:
                x[..., i, :] /= a[..., i, i, None]
    return x


class TriangularSolve(MatrixPrimitive):
    """`x` with `t(a) x = b`, where `t(a)` is the lower or upper triangle of `a` (`is_lower`), transposed if `flipped`.

    With `unit` the diagonal counts as ones. The other triangle is not read.
    """

    ranks = (2, 2)

    def type(self, a: ArrayType, b: ArrayType, *, is_lower: bool, flipped: bool, unit: bool) -> ArrayType:  # type: ignore[override]
        check_system("solve_triangular", a, b)
        return b

    def evaluate(self, a: Any, b: Any, *, is_lower: bool, flipped: bool, unit: bool) -> Any:  # type: ignore[override]
        if a.shape[-1] != a.shape[-2] or a.shape[:-1] != b.shape[:-1] or a.dtype != b.dtype:
            raise ValueError("the shapes do not fit")
        if flipped:
            a, is_lower = a.swapaxes(-1, -2), not is_lower
        return substitute(a, b, is_lower, unit)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map:
        return Linear(self, 1, values, params) if i == 1 else ByTriangle(values[0], out, params)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        return self.bind(values[0], ct, **{**params, "flipped": not params["flipped"]})


class ByTriangle(Map):
    """How the solution of a triangular system changes with its matrix: `dx = -t(a)⁻¹ t(da) x`."""

    __slots__ = ("a", "params", "x")
    kind = "triangular_solve"

    def __init__(self, a: Array, x: Array, params: Params):
        self.a, self.x, self.params = a, x, params

    def _triangle(self, t: Array) -> Array:
        beside = int(self.params["unit"])  # a unit diagonal is not read
        return lower(t, -beside) if self.params["is_lower"] else upper(t, beside)

    def push(self, tangent: Array) -> Array:
        t = self._triangle(tangent)
        t = transpose(t) if self.params["flipped"] else t
        return -triangular_solve_p.bind(self.a, t @ self.x, **self.params)

    def pull(self, cotangent: Array) -> Array:
        y = triangular_solve_p.transpose(1, cotangent, (self.a, self.x), self.params)
        left, right = (self.x, y) if self.params["flipped"] else (y, self.x)
        return -self._triangle(left @ transpose(right))


triangular_solve_p = TriangularSolve("triangular_solve")


def solve_lower(a: Array, b: Array, flipped: bool = False, unit: bool = False) -> Array:
    """`t(a)⁻¹ b` with the lower triangle of `a`, or its transpose."""
    return triangular_solve_p.bind(a, b, is_lower=True, flipped=flipped, unit=unit)


def solve_upper(a: Array, b: Array, flipped: bool = False) -> Array:
    """`t(a)⁻¹ b` with the upper triangle of `a`, or its transpose."""
    return triangular_solve_p.bind(a, b, is_lower=False, flipped=flipped, unit=False)


def divide_by_upper(b: Array, a: Array) -> Array:
    """`b t(a)⁻¹` with the upper triangle of `a`."""
    return transpose(solve_upper(a, transpose(b), flipped=True))
