"""Singular values and vectors, and the pseudoinverse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ShapeError, UnsupportedError
from wengert.ir.array import Array
from wengert.ir.primitive import Params
from wengert.ir.types import ArrayType, real_dtype
from wengert.ops.complex import real
from wengert.ops.linalg.matrix import (
    MatrixPrimitive,
    adjoint,
    check_matrix,
    column,
    diagonal,
    extent,
    eye,
    or_nan,
    reciprocal_where_distinct,
    rows,
)
from wengert.ops.promote import convert
from wengert.source import at_user_line


class SVD(MatrixPrimitive):
    """`(u, s, vh)`: `a = u diag(s) vh`, `s` decreasing, `u` and `vhᴴ` with orthonormal columns.

    With `C = uᴴ da v`, `ds = Re diag C`. With `F[i, j] = 1 / (s[j]² - s[i]²)`, 0 on the diagonal:
    `du = u (F ∘ (C s + s Cᴴ) + (C - Cᴴ) / 2s) + (1 - u uᴴ) da v / s`, where the middle term counts on the diagonal
    only, and alike for v (Townsend 2016, "Differentiating the singular value decomposition"). F is 0 where singular
    values are equal and 1/s is 0 where s is 0, to rounding (machine epsilon times the largest): vectors are arbitrary
    there.
    """

    multiple = True

    def type(self, a: ArrayType, *, full_matrices: bool) -> tuple[ArrayType, ...]:  # type: ignore[override]
        check_matrix("svd", a)
        lead, (m, n) = a.shape[:-2], a.shape[-2:]
        k = min(m, n)
        return (
            ArrayType((*lead, m, m if full_matrices else k), a.dtype),
            ArrayType((*lead, k), real_dtype(a.dtype)),
            ArrayType((*lead, n if full_matrices else k, n), a.dtype),
        )

    def evaluate(self, a: Any, *, full_matrices: bool) -> Any:  # type: ignore[override]
        return or_nan(self, lambda x: tuple(np.linalg.svd(x, full_matrices)), a, full_matrices=full_matrices)

    def jvp(
        self, values: Sequence[Array], outs: Sequence[Array], tangents: Sequence[Array | None], params: Params
    ) -> Any:  # type: ignore[override]
        (u, s, vh), (t,) = outs, tangents
        if t is None or t.size == 0:
            return [None, None, None]
        m, n = t.shape[-2:]
        if params["full_matrices"] and m != n:
            raise UnsupportedError(
                f"svd with full_matrices=True of a matrix that is not square, shape {t.shape}, has no derivative: the "
                f"last {abs(m - n)} vectors are any basis of what is left. Use full_matrices=False, or svdvals."
                + at_user_line()
            )
        v = adjoint(vh)
        tv = t @ v
        c = adjoint(u) @ tv
        ch = adjoint(c)
        scale = extent(s)
        gap = rows(s) - column(s)
        f = convert(reciprocal_where_distinct(gap, rows(scale)), c.dtype)
        # 1 / (s_j + s_i): where it is infinite the gap is 0 as well
        f = f * convert(reciprocal_where_distinct(rows(s) + column(s), rows(scale)), c.dtype)
        s_inverse = convert(reciprocal_where_distinct(s, scale), c.dtype)
        over_s = rows(s_inverse)
        along, across = rows(convert(s, c.dtype)), column(convert(s, c.dtype))
        turn_u = f * (c * along + across * ch)
        turn_v = f * (across * c + ch * along)
        if c.dtype.kind == "c":  # the phase that u and v share is arbitrary; u takes it
            turn_u = turn_u + (c - ch) * eye(s.shape[-1], c.dtype) * over_s * 0.5
        du, dv = u @ turn_u, v @ turn_v
        if m > n:
            du = du + (tv - u @ c) * over_s
        if n > m:
            tu = adjoint(t) @ u
            dv = dv + (tu - v @ ch) * over_s
        return [du, real(diagonal(c)), adjoint(dv)]


class SingularValues(MatrixPrimitive):
    """The singular values alone, decreasing. `ds = Re diag(uᴴ da v)`; a value 0 counts as a limit from above."""

    def type(self, a: ArrayType) -> ArrayType:  # type: ignore[override]
        check_matrix("svdvals", a)
        return ArrayType((*a.shape[:-2], min(a.shape[-2:])), real_dtype(a.dtype))

    def evaluate(self, a: Any) -> Any:  # type: ignore[override]
        return or_nan(self, lambda x: np.linalg.svd(x, compute_uv=False), a)

    def jvp(
        self, values: Sequence[Array], outs: Sequence[Array], tangents: Sequence[Array | None], params: Params
    ) -> Any:  # type: ignore[override]
        (a,), (t,) = values, tangents
        if t is None or a.size == 0:
            return [None]
        u, _, vh = svd_p.bind(a, full_matrices=False)
        return [real(diagonal(adjoint(u) @ t @ adjoint(vh)))]


class PseudoInverse(MatrixPrimitive):
    """The Moore-Penrose inverse `p` of `a`; singular values up to `rtol` times the largest count as 0.

    Where the rank does not change: `dp = -p da p + p pᴴ daᴴ (1 - a p) + (1 - p a) daᴴ pᴴ p`
    (Golub & Pereyra 1973, doi 10.1137/0710036).
    """

    ranks = (2, 0)

    def type(self, a: ArrayType, rtol: ArrayType) -> ArrayType:  # type: ignore[override]
        check_matrix("pinv", a)
        if rtol.shape != a.shape[:-2]:
            raise ShapeError(f"pinv: rtol of shape {rtol.shape} for matrices of shape {a.shape}{at_user_line()}")
        return ArrayType((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)

    def evaluate(self, a: Any, rtol: Any) -> Any:  # type: ignore[override]
        return or_nan(self, np.linalg.pinv, a, rtol)

    def jvp(
        self, values: Sequence[Array], outs: Sequence[Array], tangents: Sequence[Array | None], params: Params
    ) -> Any:  # type: ignore[override]
        (a, _), (p,), (t, _) = values, outs, tangents
        if t is None:
            return [None]
        m, n = a.shape[-2:]
        th, ph = adjoint(t), adjoint(p)
        beside = p @ ph @ th @ (eye(m, a.dtype) - a @ p)
        above = (eye(n, a.dtype) - p @ a) @ th @ ph @ p
        return [beside + above - p @ t @ p]


svd_p, svdvals_p, pinv_p = SVD("svd"), SingularValues("svdvals"), PseudoInverse("pinv")
