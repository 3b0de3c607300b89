"""The LU decomposition with partial pivoting."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.ir.array import Array
from wengert.ir.primitive import Params
from wengert.ir.types import ArrayType, int64
from wengert.ops.linalg.matrix import MatrixPrimitive, check_matrix, lower, permutation_rows, upper
from wengert.ops.linalg.triangular import BLOCK, divide_by_upper, solve_lower, substitute
from wengert.ops.promote import number
from wengert.ops.shape import pad_p, slice_p


def factorize(a: Any) -> tuple[Any, Any, Any]:
    """`lu`, `pivots` and `permutation` of each matrix of a stack: panels of columns, each column for the whole stack.

    In step j the row of the largest magnitude (`|re| + |im|`, as LAPACK measures it) changes places with row j.
    """
    *lead, m, n = a.shape
    k = min(m, n)
    lu = a.reshape((-1, m, n)) if a.size else np.zeros((int(np.prod(lead, dtype=int)), m, n), a.dtype)
    lu = lu.copy()
    count = np.arange(len(lu))
    pivots = np.empty((len(lu), k), np.int64)
    permutation = np.tile(np.arange(m), (len(lu), 1))
    for start in range(0, k, BLOCK):
        stop = min(start + BLOCK, k)
        for j in range(start, stop):
            candidates = lu[:, j:, j]
            size = np.abs(candidates.real) + np.abs(candidates.imag)
            p = pivots[:, j] = j + np.argmax(size, axis=-1)
            for rows in (lu, permutation):
                kept = rows[:, j].copy()
                rows[:, j] = rows[count, p]
                rows[count, p] = kept
            pivot = lu[:, j, j]
            lu[:, j + 1 :, j] /= np.where(pivot == 0, pivot.dtype.type(1), pivot)[:, None]
            lu[:, j + 1 :, j + 1 : stop] -= lu[:, j + 1 :, j, None] * lu[:, j, None, j + 1 : stop]
        if stop < n:
            right = substitute(lu[:, start:stop, start:stop], lu[:, start:stop, stop:], True, True)
            lu[:, start:stop, stop:] = right
            lu[:, stop:, stop:] -= lu[:, stop:, start:stop] @ right
    return lu.reshape(a.shape), pivots.reshape((*lead, k)), permutation.reshape((*lead, m))


class LU(MatrixPrimitive):
    """`(lu, pivots, permutation)`: `a[permutation] = L U`, both kept in `lu` (the ones on the diagonal of L are not).

    `pivots[j]` is the row that changed places with row j. The derivative, for a square matrix, splits
    `F = L⁻¹ P da U⁻¹` into its triangles: `dL = L tril(F, -1)`, `dU = triu(F) U`; a matrix that is taller (wider)
    borrows columns (rows) of the identity for L (U). It is infinite or NaN where the leading square part is singular.
    """

    multiple = True

    def type(self, a: ArrayType) -> tuple[ArrayType, ...]:  # type: ignore[override]
        check_matrix("lu", a)
        lead, (m, n) = a.shape[:-2], a.shape[-2:]
        return a, ArrayType((*lead, min(m, n)), int64), ArrayType((*lead, m), int64)

    def evaluate(self, a: Any) -> Any:  # type: ignore[override]
        if a.ndim < 2 or a.dtype.kind not in "fc":
            raise ValueError("no matrix of floats")
        return factorize(a)

    def weak_result(self, args: Sequence[Any], params: Params) -> Any:
        return False

    def jvp(
        self, values: Sequence[Array], outs: Sequence[Array], tangents: Sequence[Array | None], params: Params
    ) -> Any:  # type: ignore[override]
        (lu, _, permutation), (t,) = outs, tangents
        if t is None or lu.size == 0:
            return [None, None, None]
        m, n = lu.shape[-2:]
        k = min(m, n)
        left = square(lower(part(lu, m, k), -1), m, 0)
        right = square(upper(part(lu, k, n)), n, k)
        t = permutation_rows(permutation, t.dtype) @ t
        f = divide_by_upper(solve_lower(left, t, unit=True), right)
        return [left @ lower(f, -1) + upper(f) @ right, None, None]


def part(x: Array, m: int, n: int) -> Array:
    """The first m rows and n columns of each matrix."""
    if x.shape[-2:] == (m, n):
        return x
    return slice_p.bind(x, start=(0,) * x.ndim, stop=(*x.shape[:-2], m, n), step=(1,) * x.ndim)


@lru_cache(maxsize=64)
def _ones_from(n: int, first: int, dtype: np.dtype) -> Array:
    return Array(np.diag(np.arange(n) >= first).astype(dtype))


def square(x: Array, n: int, first: int) -> Array:
    """A triangle made an n×n matrix by zeros behind it, with ones added on the diagonal from element `first` on."""
    lengths = x.shape[-2:]
    if lengths != (n, n):
        padding = ((0, 0, 0),) * (x.ndim - 2) + tuple((0, n - d, 0) for d in lengths)
        x = pad_p.bind(x, number(0, x.dtype), padding=padding)
    return x + _ones_from(n, first, x.dtype)


lu_p = LU("lu")
