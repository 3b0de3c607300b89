"""power: `x^y = exp(y·log |x|)`, with a logarithm of more digits than the result; the corners are those of C's pow."""

from __future__ import annotations

import math

from wengert.execute.native.vmath.exponential import EXP_LIMITS, exp_pair, reduced, scaled
from wengert.execute.native.vmath.lanes import Lanes, clamp, copysign, fma, polynomial, power_of_two, where
from wengert.execute.native.vmath.logarithm import as_number, exponent, log_pair, natural
from wengert.execute.native.vmath.twofold import two_product

LARGE = 2.0**900


def power(x: Lanes, y: Lanes) -> Lanes:
    """The product `y·log |x|` settles zeros and infinities, with log 0 = -inf.

    What is left: a power with exponent 0 and a power of 1 are 1, even of or to NaN, and so is (-1)^±inf; odd whole
    exponents keep the sign; other powers of negative numbers are NaN.
    """
    a, size = abs(x), abs(y)
    half = 0.5 * size
    whole = x.code.intrinsic("floor", size).equals(size)
    odd = whole & (x.code.intrinsic("floor", half) < half)
    result = (_single if x.format.width == 32 else _double)(a, y)
    result = where((x < 0.0) & (a < math.inf) & ~whole, math.nan, result)
    result = where(odd, copysign(result, x), result)
    one = y.equals(0.0) | x.equals(1.0) | (a.equals(1.0) & size.equals(math.inf))
    return where(one, 1.0, result)


def _log_of_ends(y: Lanes, a: Lanes) -> Lanes:
    """The logarithm `y` of `a`, made right for 0, infinity and NaN."""
    return where(a < math.inf, where(a.equals(0.0), -math.inf, y), a)


def _single(a: Lanes, y: Lanes) -> Lanes:
    """In float64, where float32's results are normal numbers."""
    wide, y = a.widened(), y.widened()
    biased, m = exponent(wide)
    product = clamp(y * _log_of_ends(natural(as_number(biased, wide), m - 1), wide), EXP_LIMITS[32])
    _, integer, r, _ = reduced(product)
    p = 1 + fma(polynomial(r, r.table["EXP"]), r * r, r)
    return (p * power_of_two(integer, -wide.format.bias)).narrowed(a)


def _double(a: Lanes, y: Lanes) -> Lanes:
    high, low = log_pair(a)
    y = clamp(y, (-LARGE, LARGE))  # a larger one gives 0, 1 or infinity too, and its products might not be finite
    product, rest = two_product(y, _log_of_ends(high, a))
    inside = clamp(product, EXP_LIMITS[64])
    rest = where(inside.equals(product), fma(y, low, rest), 0.0)
    (p, p_low), integer = exp_pair((inside, rest))
    return scaled(p + p_low, integer)
