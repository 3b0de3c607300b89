"""Systems with a general square matrix, and the inverse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.ir.array import Array
from wengert.ir.maps import Linear, Map
from wengert.ir.primitive import Params
from wengert.ir.types import ArrayType
from wengert.ops.linalg.lu import factorize
from wengert.ops.linalg.matrix import MatrixPrimitive, check_matrix, check_system, transpose
from wengert.ops.linalg.triangular import substitute
from wengert.ops.shape import permute, reshape, to_front


def _solve(a: Any, b: Any) -> Any:
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:  # a singular matrix in the stack: divide by its zero pivot, as LAPACK's steps would
        lu, _, permutation = factorize(a)
        b = np.take_along_axis(b, permutation[..., None], axis=-2)
        return substitute(lu, substitute(lu, b, True, True), False, False)


class LinearSolve(MatrixPrimitive):
    """`x` with `a x = b`, or `aᵀ x = b` if `flipped`; infinite or NaN where `a` is singular. See `Solve`."""

    ranks = (2, 2)

    def type(self, a: ArrayType, b: ArrayType, *, flipped: bool) -> ArrayType:  # type: ignore[override]
        check_system("solve", a, b)
        return b

    def evaluate(self, a: Any, b: Any, *, flipped: bool) -> Any:  # type: ignore[override]
        if a.shape[-1] != a.shape[-2] or a.shape[:-1] != b.shape[:-1] or a.dtype != b.dtype:
            raise ValueError("the shapes do not fit")
        return _solve(a.swapaxes(-1, -2) if flipped else a, b)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map:
        return Linear(self, 1, values, params) if i == 1 else ByMatrix(values[0], out, params)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        return solve_p.bind(values[0], ct, flipped=not params["flipped"])

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (a, b), (at_a, at_b) = values, axes
        if at_a is not None or at_b is None or a.ndim != 2:
            return super().batch(values, axes, size, params)
        # one matrix for all examples: their right sides are more columns of one system
        b = to_front(b, at_b)
        n, k = b.shape[1:]
        x = self.bind(a, reshape(permute(b, (1, 0, 2)), (n, size * k)), **params)
        return permute(reshape(x, (n, size, k)), (1, 0, 2)), 0


class Solve(LinearSolve):
    """`LinearSolve` with both derivatives in one system: `dx = a⁻¹ (db - da x)`."""

    def jvp(
        self, values: Sequence[Array], outs: Sequence[Array], tangents: Sequence[Array | None], params: Params
    ) -> Any:  # type: ignore[override]
        (a, _), (x,), (da, db) = values, outs, tangents
        change = db
        if da is not None:
            moved = (transpose(da) if params["flipped"] else da) @ x
            change = -moved if db is None else db - moved
        return [None if change is None else linear_solve_p.bind(a, change, **params)]


class ByMatrix(Map):
    """How the solution of a system changes with its matrix: `dx = -a⁻¹ da x`."""

    __slots__ = ("a", "params", "x")
    kind = "solve"

    def __init__(self, a: Array, x: Array, params: Params):
        self.a, self.x, self.params = a, x, params

    def push(self, tangent: Array) -> Array:
        t = transpose(tangent) if self.params["flipped"] else tangent
        return -linear_solve_p.bind(self.a, t @ self.x, **self.params)

    def pull(self, cotangent: Array) -> Array:
        y = linear_solve_p.transpose(1, cotangent, (self.a, self.x), self.params)
        left, right = (self.x, y) if self.params["flipped"] else (y, self.x)
        return -(left @ transpose(right))


class Inverse(MatrixPrimitive):
    """`a⁻¹`; infinite or NaN where `a` is singular. `d(a⁻¹) = -a⁻¹ da a⁻¹`."""

    def type(self, a: ArrayType) -> ArrayType:  # type: ignore[override]
        check_matrix("inv", a, square=True)
        return a

    def evaluate(self, a: Any) -> Any:  # type: ignore[override]
        if a.shape[-1] != a.shape[-2]:
            raise ValueError("not square")
        return _solve(a, np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape))

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map:
        return ByInverse(out)


class ByInverse(Map):
    """`da ↦ -x da x`."""

    __slots__ = ("x",)
    kind = "inv"

    def __init__(self, x: Array):
        self.x = x

    def push(self, tangent: Array) -> Array:
        return -(self.x @ tangent @ self.x)

    def pull(self, cotangent: Array) -> Array:
        back = transpose(self.x)
        return -(back @ cotangent @ back)


linear_solve_p, solve_p, inv_p = LinearSolve("linear_solve"), Solve("solve"), Inverse("inv")


def solve(a: Array, b: Array) -> Array:
    """`a⁻¹ b` for stacks of equal leading shape."""
    return solve_p.bind(a, b, flipped=False)
