"""Eigenvalues and eigenvectors of Hermitian matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

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
    hermitian_part,
    or_nan,
    reciprocal_where_distinct,
    rows,
    symmetrize,
)
from wengert.ops.promote import convert


class Eigh(MatrixPrimitive):
    """`(w, v)` of `h = (a + aᴴ) / 2`: `h v = v diag(w)` with `w` increasing and `vᴴ v = 1`.

    With `C = vᴴ dh v`: `dw = diag C` and `dv = v (F ∘ C)`, `F[i, j] = 1 / (w[j] - w[i])`. Within a group of equal
    eigenvalues (closer than machine epsilon times the largest) F is 0: the basis of their space is arbitrary, so only
    functions that do not depend on it have a derivative, and for them `dw` is right as a set. In general the true
    derivative there is infinite; here it is finite.
    """

    multiple = True

    def type(self, a: ArrayType) -> tuple[ArrayType, ...]:  # type: ignore[override]
        check_matrix("eigh", a, square=True)
        return ArrayType(a.shape[:-1], real_dtype(a.dtype)), a

    def evaluate(self, a: Any) -> Any:  # type: ignore[override]
        return or_nan(self, lambda x: tuple(np.linalg.eigh(x)), hermitian_part(a))

    def jvp(
        self, values: Sequence[Array], outs: Sequence[Array], tangents: Sequence[Array | None], params: Params
    ) -> Any:  # type: ignore[override]
        (w, v), (t,) = outs, tangents
        if t is None or v.size == 0:
            return [None, None]
        c = adjoint(v) @ symmetrize(t) @ v
        f = reciprocal_where_distinct(rows(w) - column(w), rows(extent(w)))
        return [real(diagonal(c)), v @ (c * convert(f, v.dtype))]


class Eigvalsh(MatrixPrimitive):
    """The eigenvalues of `(a + aᴴ) / 2` alone, increasing. `dw = diag(vᴴ dh v)`."""

    def type(self, a: ArrayType) -> ArrayType:  # type: ignore[override]
        check_matrix("eigvalsh", a, square=True)
        return ArrayType(a.shape[:-1], real_dtype(a.dtype))

    def evaluate(self, a: Any) -> Any:  # type: ignore[override]
        return or_nan(self, np.linalg.eigvalsh, hermitian_part(a))

    def jvp(
        self, values: Sequence[Array], outs: Sequence[Array], tangents: Sequence[Array | None], params: Params
    ) -> Any:  # type: ignore[override]
        (a,), (t,) = values, tangents
        if t is None or a.size == 0:
            return [None]
        _, v = eigh_p.bind(a)
        return [real(diagonal(adjoint(v) @ symmetrize(t) @ v))]


eigh_p, eigvalsh_p = Eigh("eigh"), Eigvalsh("eigvalsh")
