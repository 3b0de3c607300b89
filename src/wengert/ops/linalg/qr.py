"""The QR decomposition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, UnsupportedError
from wengert.ir.array import Array
from wengert.ir.primitive import Params
from wengert.ir.types import ArrayType
from wengert.ops.complex import conj
from wengert.ops.linalg.lu import part
from wengert.ops.linalg.matrix import MatrixPrimitive, adjoint, check_matrix, diagonal, diagonal_matrix, lower
from wengert.ops.linalg.triangular import divide_by_upper
from wengert.ops.shape import concat_p, slice_p
from wengert.source import at_user_line


class QR(MatrixPrimitive):
    """`(q, r)`: `a = q r`, `qᴴ q = 1`, `r` upper triangular; `mode` is "reduced" or "complete".

    For M ≥ N, reduced: with `C = qᴴ da r⁻¹` and the skew-Hermitian Ω that has C's lower triangle,
    `dq = da r⁻¹ + q (Ω - C)`, `dr = (C - Ω) r` (Walter, Lehmann & Lamour 2012, doi 10.1080/10556788.2011.610454). A
    wide matrix takes this for its first M columns, and `dr₂ = dqᴴ a₂ + qᴴ da₂` for the others.
    """

    multiple = True

    def type(self, a: ArrayType, *, mode: str) -> tuple[ArrayType, ...]:  # type: ignore[override]
        check_matrix("qr", a)
        if mode not in ("reduced", "complete"):
            raise ArgumentError(f"qr: mode {mode!r}; expected 'reduced' or 'complete'{at_user_line()}")
        lead, (m, n) = a.shape[:-2], a.shape[-2:]
        k = min(m, n) if mode == "reduced" else m
        return ArrayType((*lead, m, k), a.dtype), ArrayType((*lead, k, n), a.dtype)

    def evaluate(self, a: Any, *, mode: Any) -> Any:  # type: ignore[override]
        if mode not in ("reduced", "complete"):  # NumPy knows more
            raise ValueError(mode)
        return tuple(np.linalg.qr(a, mode))

    def jvp(
        self, values: Sequence[Array], outs: Sequence[Array], tangents: Sequence[Array | None], params: Params
    ) -> Any:  # type: ignore[override]
        (a,), (q, r), (t,) = values, outs, tangents
        if t is None or 0 in a.shape:
            return [None, None]
        m, n = a.shape[-2:]
        if m >= n:
            if params["mode"] == "complete" and m > n:
                raise UnsupportedError(
                    f"qr with mode='complete' of a tall matrix, shape {a.shape}, has no derivative: the last {m - n} "
                    f"columns of Q are any basis of what the matrix does not reach. Use mode='reduced'.{at_user_line()}"
                )
            return list(_push(q, r, t))
        dq, left = _push(q, part(r, m, m), part(t, m, m))
        right = adjoint(dq) @ _behind(a, m) + adjoint(q) @ _behind(t, m)
        return [dq, concat_p.bind(left, right, axis=a.ndim - 1)]


def _push(q: Array, r: Array, t: Array) -> tuple[Array, Array]:
    scaled = divide_by_upper(t, r)
    c = adjoint(q) @ scaled
    below = lower(c, -1)
    skew = below - adjoint(below)
    if c.dtype.kind == "c":  # the diagonal of r stays real
        d = diagonal(c)
        skew = skew + diagonal_matrix(d - conj(d)) * 0.5
    return scaled + q @ (skew - c), (c - skew) @ r


def _behind(x: Array, start: int) -> Array:
    return slice_p.bind(x, start=(*(0,) * (x.ndim - 1), start), stop=x.shape, step=(1,) * x.ndim)


qr_p = QR("qr")
