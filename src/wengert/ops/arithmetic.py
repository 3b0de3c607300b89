"""Arithmetic, powers and rounding."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import DTypeError
from wengert.ir.array import Array
from wengert.ir.maps import Compose, Linear, Map
from wengert.ir.primitive import Params, registry
from wengert.ir.types import ArrayType
from wengert.ops.compare import equal, greater, less, select
from wengert.ops.elementwise import MINUS, ONE, Elementwise, Guarded, NotDifferentiable, Scale, Signed
from wengert.ops.promote import convert, number
from wengert.source import at_user_line


def _squares(x: Any) -> Any:
    """Their sum, which is NaN just when some element is: squares cannot cancel."""
    return x.dot(x) if x.ndim == 1 else np.vdot(x, x)


def _guarded(t: Any, d: Any) -> Any:
    product = t * d
    if product.ndim == 0:
        return product if product == product else np.where(t == 0, np.zeros_like(product), product)
    squares = _squares(product)
    if squares == squares:
        return product
    return np.where(t == 0, product.dtype.type(0), product)


def _annihilating(x: Any, y: Any) -> Any:
    product = _guarded(x, y)
    if product.ndim == 0:
        return product if product == product else np.where(y == 0, np.zeros_like(product), product)
    squares = _squares(product)
    if squares == squares:
        return product
    return np.where(y == 0, product.dtype.type(0), product)


add = Signed("add", operator.add, ONE, ONE, takes="ifc", doc="`x + y`.")
subtract = Signed("subtract", operator.sub, ONE, MINUS, takes="ifc", doc="`x - y`.")
multiply = Elementwise("multiply", operator.mul, lambda o, x, y: y, lambda o, x, y: x, doc="`x * y`.")
guarded_multiply = Elementwise(
    "guarded_multiply",
    _guarded,
    lambda o, t, d: d,
    lambda o, t, d: Guarded(t, d.shape, o.shape),
    doc="`t * d`, but exactly 0 where `t` is 0, whatever `d`: how a (co)tangent meets a derivative.",
)
annihilating_multiply = Elementwise(
    "annihilating_multiply",
    _annihilating,
    lambda o, x, y: Guarded(y, x.shape, o.shape),
    lambda o, x, y: Guarded(x, y.shape, o.shape),
    doc="`x * y`, but exactly 0 where either is 0: how a derivative meets the (co)tangent of a derivative.",
)
scale = Elementwise(
    "scale",
    operator.mul,
    lambda o, t, d: d,
    lambda o, t, d: t,
    bounded=True,
    doc="`t * d` where `d` is a derivative known to be finite: `guarded_multiply` without its guard.",
)
divide = Elementwise(
    "divide", operator.truediv, lambda o, x, y: 1 / y, lambda o, x, y: -(o / y), takes="fc", doc="`x / y`."
)
negative = Signed("negative", operator.neg, MINUS, doc="`-x`.")
positive = Signed("positive", np.positive, ONE, doc="`+x`.")
square = Elementwise("square", np.square, lambda o, x: 2 * x, doc="`x²`.")
reciprocal = Elementwise("reciprocal", np.reciprocal, lambda o, x: -(o * o), takes="fc", doc="`1 / x`.")


class Sign(Elementwise):
    """-1, 0 or 1; for complex `x`, `x / |x|`, whose derivative turns along the circle (0 at 0)."""

    def __init__(self) -> None:
        super().__init__("sign", np.sign, self._turn, takes="ifc")
        self.__doc__ = type(self).__doc__

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        return super().partial(i, values, out, params) if out.dtype.kind == "c" else None

    def _turn(self, o: Array, x: Array) -> Map:
        # t -> i·o·Im(conj(o)·t) / |x|
        across = registry["conj"].bind(o)
        size = convert(abs_.bind(x), x.dtype)
        along = number(1j, x.dtype) * o / select(equal(size, 0), 1, size)
        angle = registry["imag"].bind(across)
        widen = Linear(registry["convert"], 0, (angle,), {"dtype": x.dtype, "weak": x.weak})
        imag = Linear(registry["imag"], 0, (x,), {})
        return Compose(
            *(Scale(f, x.shape, x.shape, True) if isinstance(f, Array) else f for f in (across, imag, widen, along))
        )


sign = Sign()


def _abs_factor(o: Array, x: Array) -> Any:
    if x.dtype.kind != "c":
        return sign(x)
    direction = registry["conj"].bind(sign(x))
    return Compose(Scale(direction, x.shape, x.shape), Linear(registry["real"], 0, (x,), {}))


abs_ = Elementwise("abs", np.absolute, _abs_factor, gives="real", doc="`|x|`; the derivative at 0 is 0.")


def _power(x: Any, y: Any) -> Any:
    if x.dtype.kind in "iu" and np.any(y < 0):
        raise DTypeError("power: an integer to a negative power is no integer; convert to float first (wg.astype)")
    return np.power(x, y)


def _power_by_base(o: Array, x: Array, y: Array) -> Array:
    # y·x^(y-1), but 0 for y = 0 even at x = 0
    at_zero = equal(y, 0)
    return select(at_zero, 0, y * power(x, select(at_zero, 1, y - 1)))


def _power_by_exponent(o: Array, x: Array, y: Array) -> Array:
    # x^y·log x, whose limit at x = 0 is 0 for y > 0 (and for y = 0 the power is 1 whatever x)
    return select(equal(x, 0), 0, registry["log"].bind(select(equal(x, 0), 1, x)) * o)


power = Elementwise(
    "power",
    _power,
    _power_by_base,
    _power_by_exponent,
    doc="`x ** y`; `0 ** 0 = 1`, with derivative 0 by either argument.",
)


def _integer_power(x: Any, *, exponent: int) -> Any:
    return np.power(x, exponent) if x.dtype.kind in "iu" else np.power(x, x.dtype.type(exponent))


class IntegerPower(Elementwise):
    """`x ** n` for a Python integer n: no logarithm, exact for negative x, derivative `n·x^(n-1)`."""

    def __init__(self) -> None:
        super().__init__("integer_power", _integer_power, self._factor)

    def type(self, x: ArrayType, *, exponent: int) -> ArrayType:  # type: ignore[override]
        if exponent < 0 and x.dtype.kind in "iu":
            raise DTypeError(
                f"power: an integer to the power {exponent} is no integer; convert to float first{at_user_line()}"
            )
        return x

    def _factor(self, o: Array, x: Array, *, exponent: int) -> Any:
        if exponent == 0:
            return number(0, x.dtype)
        return number(exponent, x.dtype) * (x if exponent == 2 else self.bind(x, exponent=exponent - 1))

    def evaluate(self, x: Any, *, exponent: int) -> Any:  # type: ignore[override]
        if exponent < 0 and x.dtype.kind in "iu":
            raise ValueError("negative power of an integer")
        return np.square(x) if exponent == 2 else _integer_power(x, exponent=exponent)


integer_power = IntegerPower()


def _prefer_first(better: Any) -> Any:
    def first(o: Array, x: Array, y: Array) -> Array:
        return select(equal(x, y), 0.5, convert(better(x, y), x.dtype))

    def second(o: Array, x: Array, y: Array) -> Array:
        return select(equal(x, y), 0.5, convert(better(y, x), x.dtype))

    return first, second


maximum = Elementwise(
    "maximum",
    np.maximum,
    *_prefer_first(greater),
    takes="bif",
    bounded=True,
    doc="The larger of `x` and `y`; NaN if either is. Where they are equal each has derivative 1/2.",
)
minimum = Elementwise(
    "minimum",
    np.minimum,
    *_prefer_first(less),
    takes="bif",
    bounded=True,
    doc="The smaller of `x` and `y`; NaN if either is. Where they are equal each has derivative 1/2.",
)


remainder = Elementwise(
    "remainder",
    np.remainder,
    ONE,
    lambda o, x, y: -floor(divide(x, y)),
    takes="if",
    doc="`x - floor(x / y)·y`, with the sign of `y` (Python's `%`).",
)
fmod = Elementwise(
    "fmod",
    np.fmod,
    ONE,
    lambda o, x, y: -trunc(divide(x, y)),
    takes="if",
    doc="`x - trunc(x / y)·y`, with the sign of `x` (C's `fmod`).",
)


def _floor_divide(x: Any, y: Any) -> Any:
    out = np.floor_divide(x, y)
    if out.dtype.kind == "f":
        unbounded = np.isinf(x) | np.isinf(y)
        if np.any(unbounded):  # the standard has inf // 2 = inf and -2 // inf = -0, where NumPy says NaN and -1
            return np.where(unbounded, np.divide(x, y), out)
    return out


floor_divide = NotDifferentiable("floor_divide", _floor_divide, arity=2, takes="if", doc="`floor(x / y)`.")


def _whole(f: Any) -> Any:
    return lambda x: x if x.dtype.kind in "iub" else f(x)


floor: Elementwise = NotDifferentiable(
    "floor", _whole(np.floor), arity=1, takes="if", doc="The largest whole number not above `x`."
)
ceil = NotDifferentiable("ceil", _whole(np.ceil), arity=1, takes="if", doc="The smallest whole number not below `x`.")
trunc: Elementwise = NotDifferentiable(
    "trunc", _whole(np.trunc), arity=1, takes="if", doc="The whole number next to `x` towards 0."
)
round_ = NotDifferentiable(
    "round", _whole(np.round), arity=1, takes="ifc", doc="The nearest whole number; halves go to the even one."
)
copysign = Elementwise(
    "copysign",
    np.copysign,
    lambda o, x, y: sign(x) * sign(o),
    None,
    takes="f",
    doc="`|x|` with the sign of `y`.",
)
nextafter = NotDifferentiable(
    "nextafter", np.nextafter, arity=2, takes="f", doc="The next number of this type after `x` towards `y`."
)
hypot = Elementwise(
    "hypot",
    np.hypot,
    lambda o, x, y: select(equal(o, 0), 0, x / select(equal(o, 0), 1, o)),
    lambda o, x, y: select(equal(o, 0), 0, y / select(equal(o, 0), 1, o)),
    takes="f",
    doc="`sqrt(x² + y²)` without overflow; the derivative at (0, 0) is 0.",
)
