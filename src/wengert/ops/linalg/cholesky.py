"""The Cholesky factor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.ir.array import Array
from wengert.ir.primitive import Params
from wengert.ir.types import ArrayType
from wengert.ops.complex import conj
from wengert.ops.linalg.matrix import MatrixPrimitive, check_matrix, hermitian_part, or_nan, symmetrize, transpose
from wengert.ops.linalg.triangular import solve_lower


@lru_cache(maxsize=64)
def _half_lower(n: int, dtype: np.dtype) -> Array:
    return Array((np.tri(n) - 0.5 * np.eye(n)).astype(dtype))


class Cholesky(MatrixPrimitive):
    """The lower triangular `L` with `L Lᴴ = a`, positive on the diagonal; NaN where `a` is not positive definite.

    It reads `(a + aᴴ) / 2`, so the derivative is Hermitian: `dL = L Φ(L⁻¹ da L⁻ᴴ)`, where Φ takes the lower triangle
    and half of the diagonal (Murray 2016, arXiv 1602.07527).
    """

    def type(self, a: ArrayType) -> ArrayType:  # type: ignore[override]
        check_matrix("cholesky", a, square=True)
        return a

    def evaluate(self, a: Any) -> Any:  # type: ignore[override]
        return or_nan(self, np.linalg.cholesky, hermitian_part(a))

    def jvp(
        self, values: Sequence[Array], outs: Sequence[Array], tangents: Sequence[Array | None], params: Params
    ) -> Any:  # type: ignore[override]
        (factor,), (t,) = outs, tangents
        if t is None:
            return [None]
        left = solve_lower(factor, symmetrize(t))
        both = transpose(solve_lower(conj(factor), transpose(left)))
        return [factor @ (both * _half_lower(factor.shape[-1], factor.dtype))]


cholesky_p = Cholesky("cholesky")
