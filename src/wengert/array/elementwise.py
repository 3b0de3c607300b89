"""The elementwise functions of the standard: a table of primitives with their documentation.

Each is a plain function in front of its primitive: shapes broadcast, types promote (`wg.result_type`), Python numbers
follow the arrays they meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.ir.array import Array
from wengert.ops import arithmetic, bits, compare, transcendental
from wengert.ops import complex as complex_ops
from wengert.ops.elementwise import Elementwise
from wengert.ops.operators import _power

_KINDS = {"b": "booleans", "i": "integers", "f": "real floats", "c": "complex numbers"}


def _document(function: Callable[..., Array], name: str, primitive: Elementwise, text: str, example: str) -> None:
    kinds = [_KINDS[k] for k in "bifc" if k in primitive.takes]
    if "i" not in primitive.takes and "f" in primitive.takes:
        kinds.append("integers and booleans, which become the default float")
    what = "x: array" if primitive.arity == 1 else "x1, x2: arrays whose shapes broadcast; elements"
    gives = {"same": "their type", "bool": "booleans", "real": "the real type of theirs"}[primitive.gives]
    raises = "" if primitive.arity == 1 else "\n        ShapeError: the shapes do not broadcast."
    call, _, result = example.partition(" -> ")
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{text}

    Args:
        {what} of {", ".join(kinds)}.

    Returns:
        An array of {"the same" if primitive.arity == 1 else "the common"} shape, of {gives}.

    Raises:
        DTypeError: elements of another kind.{raises}

    Example:
        >>> {call}
        {result}
    """


def unary(name: str, primitive: Elementwise, text: str, example: str) -> Callable[[Any], Array]:
    """The public function in front of a primitive of one argument."""

    single = primitive.single

    def function(x: Any, /) -> Array:
        out = single(x) if isinstance(x, Array) else None
        return primitive(x) if out is None else out

    _document(function, name, primitive, text, example)
    return function


def binary(name: str, primitive: Elementwise, text: str, example: str) -> Callable[[Any, Any], Array]:
    """The public function in front of a primitive of two arguments."""

    def function(x1: Any, x2: Any, /) -> Array:
        return primitive(x1, x2)

    _document(function, name, primitive, text, example)
    return function


# Arithmetic and rounding.

abs = unary(
    "abs", arithmetic.abs_, "`|x|`. Its derivative is the sign of `x`, 0 at 0.", "wg.abs(-2.0) -> Array(2., weak)"
)
add = binary("add", arithmetic.add, "`x1 + x2`.", "wg.add(1, 2) -> Array(3, weak)")
ceil = unary("ceil", arithmetic.ceil, "The smallest whole number not below `x`.", "wg.ceil(1.2) -> Array(2., weak)")
copysign = binary(
    "copysign", arithmetic.copysign, "`|x1|` with the sign of `x2`.", "wg.copysign(2.0, -1.0) -> Array(-2., weak)"
)
divide = binary("divide", arithmetic.divide, "`x1 / x2`.", "wg.divide(1.0, 4.0) -> Array(0.25, weak)")
floor = unary("floor", arithmetic.floor, "The largest whole number not above `x`.", "wg.floor(1.7) -> Array(1., weak)")
floor_divide = binary(
    "floor_divide", arithmetic.floor_divide, "`floor(x1 / x2)`.", "wg.floor_divide(-7, 2) -> Array(-4, weak)"
)
fmod = binary(
    "fmod", arithmetic.fmod, "`x1 - trunc(x1 / x2)·x2`, with the sign of `x1`.", "wg.fmod(-7, 4) -> Array(-3, weak)"
)
hypot = binary(
    "hypot",
    arithmetic.hypot,
    "`sqrt(x1² + x2²)` without overflow. Its derivatives at (0, 0) are 0.",
    "wg.hypot(3.0, 4.0) -> Array(5., weak)",
)
maximum = binary(
    "maximum",
    arithmetic.maximum,
    "The larger of `x1` and `x2`; NaN if either is. Where they are equal each has derivative 1/2.",
    "wg.maximum(1, 2) -> Array(2, weak)",
)
minimum = binary(
    "minimum",
    arithmetic.minimum,
    "The smaller of `x1` and `x2`; NaN if either is. Where they are equal each has derivative 1/2.",
    "wg.minimum(1, 2) -> Array(1, weak)",
)
multiply = binary("multiply", arithmetic.multiply, "`x1 · x2`.", "wg.multiply(2, 3) -> Array(6, weak)")
negative = unary("negative", arithmetic.negative, "`-x`.", "wg.negative(2.0) -> Array(-2., weak)")
nextafter = binary(
    "nextafter",
    arithmetic.nextafter,
    "The next number of this type after `x1` towards `x2`.",
    "wg.nextafter(wg.float16.type(1), wg.float16.type(2)) -> Array(1.001, dtype=float16)",
)
positive = unary("positive", arithmetic.positive, "`+x`.", "wg.positive(2.0) -> Array(2., weak)")
reciprocal = unary("reciprocal", arithmetic.reciprocal, "`1 / x`.", "wg.reciprocal(4.0) -> Array(0.25, weak)")
remainder = binary(
    "remainder",
    arithmetic.remainder,
    "`x1 - floor(x1 / x2)·x2`, with the sign of `x2` (Python's `%`).",
    "wg.remainder(-7, 4) -> Array(1, weak)",
)
round = unary(
    "round",
    arithmetic.round_,
    "The nearest whole number; halves go to the even one.",
    "wg.round(2.5) -> Array(2., weak)",
)
sign = unary(
    "sign", arithmetic.sign, "-1, 0 or 1; for complex `x`, `x / |x|` (0 at 0).", "wg.sign(-2.0) -> Array(-1., weak)"
)
square = unary("square", arithmetic.square, "`x²`.", "wg.square(3.0) -> Array(9., weak)")
subtract = binary("subtract", arithmetic.subtract, "`x1 - x2`.", "wg.subtract(1, 2) -> Array(-1, weak)")
trunc = unary(
    "trunc", arithmetic.trunc, "The whole number next to `x` towards 0.", "wg.trunc(-1.7) -> Array(-1., weak)"
)


def pow(x1: Any, x2: Any, /) -> Array:
    """`x1 ** x2`; `0 ** 0 = 1`, with derivative 0 by either argument.

    A Python integer as exponent needs no logarithm: the derivative by `x1` is `x2 · x1 ** (x2 - 1)` for every `x1`.

    Args:
        x1, x2: arrays or numbers whose shapes broadcast; integers, real floats or complex numbers.

    Returns:
        An array of the common shape and the promoted type.

    Raises:
        DTypeError: an integer to a negative power, or booleans.
        ShapeError: the shapes do not broadcast.

    Example:
        >>> wg.pow(wg.asarray([2.0, 3.0]), 2)
        Array([4., 9.], dtype=float32)
    """
    return _power(x1, x2)


# Exponentials, logarithms, roots.

exp = unary("exp", transcendental.exp, "`eˣ`, its own derivative.", "wg.exp(0.0) -> Array(1., weak)")
exp2 = unary("exp2", transcendental.exp2, "`2ˣ`.", "wg.exp2(3.0) -> Array(8., weak)")
expm1 = unary("expm1", transcendental.expm1, "`eˣ - 1`, exact near 0.", "wg.expm1(0.0) -> Array(0., weak)")
log = unary("log", transcendental.log, "The natural logarithm; derivative `1 / x`.", "wg.log(1.0) -> Array(0., weak)")
log1p = unary("log1p", transcendental.log1p, "`log(1 + x)`, exact near 0.", "wg.log1p(0.0) -> Array(0., weak)")
log2 = unary("log2", transcendental.log2, "The logarithm to base 2.", "wg.log2(8.0) -> Array(3., weak)")
log10 = unary("log10", transcendental.log10, "The logarithm to base 10.", "wg.log10(100.0) -> Array(2., weak)")
logaddexp = binary(
    "logaddexp",
    transcendental.logaddexp,
    "`log(exp(x1) + exp(x2))` without overflow.",
    "wg.logaddexp(0.0, -wg.inf) -> Array(0., weak)",
)
sqrt = unary(
    "sqrt", transcendental.sqrt, "The square root; derivative `1 / (2·sqrt(x))`.", "wg.sqrt(9.0) -> Array(3., weak)"
)
rsqrt = unary("rsqrt", transcendental.rsqrt, "`1 / sqrt(x)`.", "wg.rsqrt(4.0) -> Array(0.5, weak)")
cbrt = unary("cbrt", transcendental.cbrt, "The real cube root.", "wg.cbrt(8.0) -> Array(2., weak)")

# Circular and hyperbolic functions; angles are in radians.

acos = unary(
    "acos",
    transcendental.acos,
    "The angle in [0, π] with cosine `x`; derivative `-1 / sqrt(1 - x²)`.",
    "wg.acos(1.0) -> Array(0., weak)",
)
acosh = unary(
    "acosh",
    transcendental.acosh,
    "The inverse of `cosh`; derivative `1 / sqrt(x² - 1)`.",
    "wg.acosh(1.0) -> Array(0., weak)",
)
asin = unary(
    "asin",
    transcendental.asin,
    "The angle in [-π/2, π/2] with sine `x`; derivative `1 / sqrt(1 - x²)`.",
    "wg.asin(0.0) -> Array(0., weak)",
)
asinh = unary(
    "asinh",
    transcendental.asinh,
    "The inverse of `sinh`; derivative `1 / sqrt(1 + x²)`.",
    "wg.asinh(0.0) -> Array(0., weak)",
)
atan = unary(
    "atan",
    transcendental.atan,
    "The angle in (-π/2, π/2) with tangent `x`; derivative `1 / (1 + x²)`.",
    "wg.atan(0.0) -> Array(0., weak)",
)
atan2 = binary(
    "atan2",
    transcendental.atan2,
    "The angle of the point `(x2, x1)` in the plane, in [-π, π].",
    "wg.atan2(0.0, 1.0) -> Array(0., weak)",
)
atanh = unary(
    "atanh",
    transcendental.atanh,
    "The inverse of `tanh`; derivative `1 / (1 - x²)`.",
    "wg.atanh(0.0) -> Array(0., weak)",
)
cos = unary("cos", transcendental.cos, "The cosine of `x`; derivative `-sin x`.", "wg.cos(0.0) -> Array(1., weak)")
cosh = unary("cosh", transcendental.cosh, "`(eˣ + e⁻ˣ) / 2`; derivative `sinh x`.", "wg.cosh(0.0) -> Array(1., weak)")
sin = unary("sin", transcendental.sin, "The sine of `x`; derivative `cos x`.", "wg.sin(0.0) -> Array(0., weak)")
sinh = unary("sinh", transcendental.sinh, "`(eˣ - e⁻ˣ) / 2`; derivative `cosh x`.", "wg.sinh(0.0) -> Array(0., weak)")
tan = unary("tan", transcendental.tan, "The tangent of `x`; derivative `1 + tan² x`.", "wg.tan(0.0) -> Array(0., weak)")
tanh = unary(
    "tanh",
    transcendental.tanh,
    "`(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)`; derivative `1 - tanh² x`.",
    "wg.tanh(0.0) -> Array(0., weak)",
)

# Complex numbers.

conj = unary(
    "conj",
    complex_ops.conj,
    "The complex conjugate; a real number is its own.",
    "wg.conj(1 + 2j) -> Array(1.-2.j, weak)",
)
imag = unary("imag", complex_ops.imag, "The imaginary part; 0 for a real number.", "wg.imag(1 + 2j) -> Array(2., weak)")
real = unary("real", complex_ops.real, "The real part; a real number is its own.", "wg.real(1 + 2j) -> Array(1., weak)")
angle = complex_ops.angle

# Comparisons and logic; no derivative passes through them.

equal = binary("equal", compare.equal, "`x1 == x2`.", "wg.equal(1, 2) -> Array(False, weak)")
greater = binary("greater", compare.greater, "`x1 > x2`.", "wg.greater(1, 2) -> Array(False, weak)")
greater_equal = binary(
    "greater_equal", compare.greater_equal, "`x1 >= x2`.", "wg.greater_equal(1, 2) -> Array(False, weak)"
)
isfinite = unary(
    "isfinite",
    compare.isfinite,
    "Whether `x` is neither NaN nor infinite.",
    "wg.isfinite(1.0) -> Array(True, weak)",
)
isinf = unary("isinf", compare.isinf, "Whether `x` is infinite.", "wg.isinf(1.0) -> Array(False, weak)")
isnan = unary("isnan", compare.isnan, "Whether `x` is NaN.", "wg.isnan(1.0) -> Array(False, weak)")
less = binary("less", compare.less, "`x1 < x2`.", "wg.less(1, 2) -> Array(True, weak)")
less_equal = binary("less_equal", compare.less_equal, "`x1 <= x2`.", "wg.less_equal(1, 2) -> Array(True, weak)")
logical_and = binary(
    "logical_and", compare.logical_and, "`x1 and x2`.", "wg.logical_and(True, False) -> Array(False, dtype=bool)"
)
logical_not = unary("logical_not", compare.logical_not, "`not x`.", "wg.logical_not(True) -> Array(False, dtype=bool)")
logical_or = binary(
    "logical_or", compare.logical_or, "`x1 or x2`.", "wg.logical_or(True, False) -> Array(True, dtype=bool)"
)
logical_xor = binary(
    "logical_xor",
    compare.logical_xor,
    "Exactly one of `x1` and `x2`.",
    "wg.logical_xor(True, False) -> Array(True, dtype=bool)",
)
not_equal = binary("not_equal", compare.not_equal, "`x1 != x2`.", "wg.not_equal(1, 2) -> Array(True, weak)")
signbit = unary(
    "signbit",
    compare.signbit,
    "Whether the sign bit of `x` is set (also for -0.0).",
    "wg.signbit(-0.0) -> Array(True, weak)",
)

# Bits of integers.

bitwise_and = binary("bitwise_and", bits.bitwise_and, "The bits set in both.", "wg.bitwise_and(6, 3) -> Array(2, weak)")
bitwise_invert = unary(
    "bitwise_invert", bits.bitwise_invert, "Every bit changed.", "wg.bitwise_invert(0) -> Array(-1, weak)"
)
bitwise_left_shift = binary(
    "bitwise_left_shift",
    bits.left_shift,
    "`x1 · 2 ** x2`; bits that leave are lost.",
    "wg.bitwise_left_shift(1, 3) -> Array(8, weak)",
)
bitwise_or = binary("bitwise_or", bits.bitwise_or, "The bits set in either.", "wg.bitwise_or(6, 3) -> Array(7, weak)")
bitwise_right_shift = binary(
    "bitwise_right_shift",
    bits.right_shift,
    "`floor(x1 / 2 ** x2)`: the sign is kept.",
    "wg.bitwise_right_shift(8, 3) -> Array(1, weak)",
)
bitwise_xor = binary(
    "bitwise_xor", bits.bitwise_xor, "The bits set in exactly one.", "wg.bitwise_xor(6, 3) -> Array(5, weak)"
)
bitwise_count = unary(
    "bitwise_count", bits.population_count, "How many bits are set.", "wg.bitwise_count(7) -> Array(3, weak)"
)
