"""Determinants. Derivatives go through the adjugate, so that they are right for singular matrices too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.ir.array import Array
from wengert.ir.maps import Compose, Linear, Map
from wengert.ir.primitive import Params
from wengert.ir.types import ArrayType, real_dtype
from wengert.ops.complex import imag, real
from wengert.ops.elementwise import Scale
from wengert.ops.linalg.matrix import MatrixPrimitive, check_matrix, number_of, or_nan, trace, transpose
from wengert.ops.linalg.solve import inv_p, linear_solve_p
from wengert.ops.promote import number
from wengert.ops.reduce import sum_p


class Determinant(MatrixPrimitive):
    """`det a`. Its derivative by an element is that element's cofactor."""

    def type(self, a: ArrayType) -> ArrayType:  # type: ignore[override]
        check_matrix("det", a, square=True)
        return ArrayType(a.shape[:-2], a.dtype)

    def evaluate(self, a: Any) -> Any:  # type: ignore[override]
        return np.linalg.det(a)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map:
        (a,) = values
        matrix = {"axes": (a.ndim - 2, a.ndim - 1)}
        return Compose(Scale(cofactor_p.bind(a), a.shape, a.shape), Linear(sum_p, 0, (a,), matrix))


def _frame(a: Any) -> tuple[Any, Any, Any, Any]:
    # a = u diag(s) vh, and cofactors multiply: cof(a) = det(u vh) · conj(u) cof(diag(s)) conj(vh)
    u, s, vh = np.linalg.svd(a)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return u, s, vh, sign[..., None, None]


def _products_of_others(s: Any) -> Any:
    # for each element the product of all others along the last axis, without a division
    before = np.ones_like(s)
    after = np.ones_like(s)
    before[..., 1:] = np.cumprod(s[..., :-1], axis=-1)
    after[..., :-1] = np.cumprod(s[..., :0:-1], axis=-1)[..., ::-1]
    return before * after


def _cofactors(a: Any) -> Any:
    u, s, vh, sign = _frame(a)
    return (sign * ((u.conj() * _products_of_others(s)[..., None, :]) @ vh.conj())).astype(a.dtype, copy=False)


def _cofactor_change(a: Any, t: Any) -> Any:
    u, s, vh, sign = _frame(a)
    n = s.shape[-1]
    e = u.conj().swapaxes(-1, -2) @ t @ vh.conj().swapaxes(-1, -2)
    identity = np.eye(n, dtype=s.dtype)
    pairs = _products_of_others(np.where(identity == 1, 1, s[..., None, :])) * (1 - identity)  # all but i and j
    inner = -e.swapaxes(-1, -2) * pairs
    at = np.arange(n)
    inner[..., at, at] = np.einsum("...ij,...jj->...i", pairs, e)
    return (sign * (u.conj() @ inner @ vh.conj())).astype(a.dtype, copy=False)


class Cofactors(MatrixPrimitive):
    """The matrix of cofactors, `det(a) a⁻ᵀ`, by singular values: it exists for a singular `a` too."""

    def type(self, a: ArrayType) -> ArrayType:  # type: ignore[override]
        check_matrix("the cofactors", a, square=True)
        return a

    def evaluate(self, a: Any) -> Any:  # type: ignore[override]
        return or_nan(self, _cofactors, a)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map:
        return Linear(cofactor_change_p, 1, (values[0], values[0]), {})


class CofactorChange(MatrixPrimitive):
    """The derivative of the cofactors of `a` in direction `t`: linear in `t`, and its own transpose.

    With `a = u diag(s) vᴴ` it is made of the products of all singular values but two, and exists for every `a`. Its
    derivative by `a`, the third of the determinant, is taken through `a⁻¹` and is infinite or NaN for a singular `a`.
    """

    ranks = (2, 2)

    def type(self, a: ArrayType, t: ArrayType) -> ArrayType:  # type: ignore[override]
        check_matrix("the cofactors", a, square=True)
        return a

    def evaluate(self, a: Any, t: Any) -> Any:  # type: ignore[override]
        return or_nan(self, _cofactor_change, a, t)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map:
        return Linear(self, 1, values, params) if i == 1 else ThirdForm(values[0], values[1], out)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        return self.bind(values[0], ct)


class ThirdForm(Map):
    """`s ↦ D²cof(a)[t, s]`, symmetric like every third derivative: `push` and `pull` are one."""

    __slots__ = ("a", "change", "t")
    kind = "cofactor_change"

    def __init__(self, a: Array, t: Array, change: Array):
        self.a, self.t, self.change = a, t, change

    def push(self, tangent: Array) -> Array:
        x, adjugate = inv_p.bind(self.a), transpose(cofactor_p.bind(self.a))
        xt = x @ self.t
        xsxt = x @ tangent @ xt
        turned = transpose(cofactor_change_p.bind(self.a, tangent))
        total = number_of(trace(xt)) * turned - number_of(trace(xsxt)) * adjugate + xsxt @ adjugate - xt @ turned
        return transpose(total)

    def pull(self, cotangent: Array) -> Array:
        return self.push(cotangent)


class SignAndLogDeterminant(MatrixPrimitive):
    """`(sign, log|det a|)` with `det a = sign · e^log`; sign 0 and log -inf for a singular `a`.

    `d log|det a| = Re tr(a⁻¹ da)`; a complex sign turns by `i·Im tr(a⁻¹ da)`, a real one is constant.
    """

    multiple = True

    def type(self, a: ArrayType) -> tuple[ArrayType, ...]:  # type: ignore[override]
        check_matrix("slogdet", a, square=True)
        return ArrayType(a.shape[:-2], a.dtype), ArrayType(a.shape[:-2], real_dtype(a.dtype))

    def evaluate(self, a: Any) -> Any:  # type: ignore[override]
        return tuple(np.linalg.slogdet(a))

    def jvp(
        self, values: Sequence[Array], outs: Sequence[Array], tangents: Sequence[Array | None], params: Params
    ) -> Any:  # type: ignore[override]
        (a,), (sign, _), (t,) = values, outs, tangents
        if t is None:
            return [None, None]
        rate = trace(linear_solve_p.bind(a, t, flipped=False))
        if a.dtype.kind == "f":
            return [None, rate]
        return [sign * number(1j, a.dtype) * imag(rate), real(rate)]


det_p, cofactor_p, cofactor_change_p = Determinant("det"), Cofactors("cofactors"), CofactorChange("cofactor_change")
slogdet_p = SignAndLogDeterminant("slogdet")
