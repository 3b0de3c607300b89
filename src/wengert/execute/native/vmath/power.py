"""power: `x^y = exp(y·log |x|)`, with a logarithm of more digits than the result; the corners are those of C's pow."""

from __future__ import annotations

import math

from wengert.execute.native.vmath.exponential import EXP_LIMITS, exp_pair, scaled
from wengert.execute.native.vmath.lanes import Lanes, clamp, copysign, where
from wengert.execute.native.vmath.logarithm import log_pair, natural, split
from wengert.execute.native.vmath.twofold import two_product


def power(x: Lanes, y: Lanes) -> Lanes:
    a = abs(x)
    size = abs(y)
    half = size * 0.5
    whole = x.code.intrinsic("floor", size).equals(size)
    odd = whole & ~x.code.intrinsic("floor", half).equals(half)
    base = where(a > 0.0, where(a < math.inf, a, 1.0), 1.0)
    if x.code.digits < x.format.digits:
        e, m = split(base)
        product, low = y * natural(e, m - 1), x.like(0.0)
    else:
        log_high, log_low = log_pair(base)
        # an exponent so large that products would be infinite gives 0, 1 or infinity all the same
        tame = where(size < 2.0**300, y, copysign(x.like(2.0**300), y))
        product, low = two_product(tame, log_high)
        low = low + tame * log_low
    limits = EXP_LIMITS[x.format.width]
    inside = clamp(product, limits)
    (high, rest), integer = exp_pair((inside, where(inside.equals(product), low, 0.0)))
    result = scaled(high + rest, integer)
    # zeros and infinities: the result is 0 or infinite by the signs of the exponent and of log |x|
    grows = where(a > 1.0, y, -y) > 0.0
    extreme = where(grows, math.inf, x.like(0.0))
    result = where(a.equals(0.0) | a.equals(math.inf) | (size.equals(math.inf)), extreme, result)
    result = where((x < 0.0) & ~whole, where(a.equals(math.inf) | size.equals(math.inf), result, math.nan), result)
    result = where(odd & (size < math.inf), copysign(result, x), result)
    result = where(x.is_nan() | y.is_nan(), x + y, result)
    one = x.equals(1.0) | y.equals(0.0) | (a.equals(1.0) & size.equals(math.inf))
    return where(one, 1.0, result)
