"""Exponentials, logarithms, roots, circular and hyperbolic functions and their inverses."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.ir.array import Array
from wengert.ops.arithmetic import hypot
from wengert.ops.compare import equal, isinf, logical_and, select
from wengert.ops.elementwise import Elementwise


def _smooth(name: str, ufunc: Any, factor: Any, doc: str, bounded: bool = False, takes: str = "fc") -> Elementwise:
    return Elementwise(name, ufunc, factor, takes=takes, bounded=bounded, doc=doc)


LN2 = 0.6931471805599453
LN10 = 2.302585092994046


def _expm1(x: Any) -> Any:
    if x.dtype.kind == "f":
        return np.expm1(x)
    special = ~np.isfinite(x) | (x == 0)  # where NumPy's complex expm1 departs from the standard
    return np.where(special, np.exp(x) - x.dtype.type(1), np.expm1(x)) if np.any(special) else np.expm1(x)


exp = _smooth("exp", np.exp, lambda y, x: y, "`eˣ`.")
exp2 = _smooth("exp2", np.exp2, lambda y, x: y * LN2, "`2ˣ`.", takes="f")
expm1 = _smooth("expm1", _expm1, lambda y, x: y + 1, "`eˣ - 1`, exact near 0.")
log = _smooth("log", np.log, lambda y, x: 1 / x, "The natural logarithm.")
log1p = _smooth("log1p", np.log1p, lambda y, x: 1 / (1 + x), "`log(1 + x)`, exact near 0.")
log2 = _smooth("log2", np.log2, lambda y, x: 1 / (x * LN2), "The logarithm to base 2.")
log10 = _smooth("log10", np.log10, lambda y, x: 1 / (x * LN10), "The logarithm to base 10.")
sqrt = _smooth("sqrt", np.sqrt, lambda y, x: 0.5 / y, "The square root.")
rsqrt = _smooth("rsqrt", lambda x: 1 / np.sqrt(x), lambda y, x: -0.5 * (y / x), "`1 / sqrt(x)`.")
cbrt = _smooth("cbrt", np.cbrt, lambda y, x: 1 / (3 * y * y), "The real cube root.", takes="f")

sin = _smooth("sin", np.sin, lambda y, x: cos(x), "The sine of `x` in radians.")
cos: Elementwise = _smooth("cos", np.cos, lambda y, x: -sin(x), "The cosine of `x` in radians.")
tan = _smooth("tan", np.tan, lambda y, x: 1 + y * y, "The tangent of `x` in radians.")
asin = _smooth("asin", np.arcsin, lambda y, x: 1 / sqrt((1 - x) * (1 + x)), "The inverse sine, in radians.")
acos = _smooth("acos", np.arccos, lambda y, x: -1 / sqrt((1 - x) * (1 + x)), "The inverse cosine, in radians.")
atan = _smooth("atan", np.arctan, lambda y, x: 1 / (1 + x * x), "The inverse tangent, in radians.")


def _atan2_factor(numerator_is_x: bool) -> Any:
    def factor(o: Array, y: Array, x: Array) -> Array:
        r = hypot(y, x)
        return (x / r) / r if numerator_is_x else -((y / r) / r)

    return factor


atan2 = Elementwise(
    "atan2",
    np.arctan2,
    _atan2_factor(True),
    _atan2_factor(False),
    takes="f",
    doc="The angle of the point `(x, y)`, in radians; called `atan2(y, x)`.",
)

sinh = _smooth("sinh", np.sinh, lambda y, x: cosh(x), "The hyperbolic sine.")
cosh: Elementwise = _smooth("cosh", np.cosh, lambda y, x: sinh(x), "The hyperbolic cosine.")
tanh = _smooth("tanh", np.tanh, lambda y, x: 1 - y * y, "The hyperbolic tangent.")
asinh = _smooth("asinh", np.arcsinh, lambda y, x: 1 / sqrt(1 + x * x), "The inverse hyperbolic sine.")
acosh = _smooth("acosh", np.arccosh, lambda y, x: 1 / (sqrt(x - 1) * sqrt(x + 1)), "The inverse hyperbolic cosine.")
atanh = _smooth("atanh", np.arctanh, lambda y, x: 1 / ((1 - x) * (1 + x)), "The inverse hyperbolic tangent.")


def _logistic(x: Any) -> Any:
    # exp of -|x| cannot overflow
    e = np.exp(-np.abs(x)) if x.dtype.kind == "f" else np.exp(-x)
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype) if x.dtype.kind == "f" else 1 / (1 + e)


def _logaddexp_factor(i: int) -> Any:
    # as for logsumexp: where both are -inf the derivative is 0, where both are +inf they share it equally
    def factor(o: Array, *xs: Array) -> Array:
        both = logical_and(isinf(o), equal(xs[0], xs[1]))
        return select(equal(o, -np.inf), 0, logistic(select(both, 0, xs[i] - xs[1 - i])))

    return factor


logistic = _smooth("logistic", _logistic, lambda y, x: y * (1 - y), "`1 / (1 + e⁻ˣ)`, the sigmoid.")
softplus = _smooth(
    "softplus",
    lambda x: np.logaddexp(x, x.dtype.type(0)),
    lambda y, x: logistic(x),
    "`log(1 + eˣ)` without overflow.",
    takes="f",
)
logaddexp = Elementwise(
    "logaddexp",
    np.logaddexp,
    _logaddexp_factor(0),
    _logaddexp_factor(1),
    takes="f",
    doc="`log(eˣ + eʸ)` without overflow.",
)
