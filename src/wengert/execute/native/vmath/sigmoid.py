"""logistic, softplus, logaddexp: built on `e = exp(-|x|)`, which cannot overflow."""

from __future__ import annotations

import math

from wengert.execute.native.vmath.constants import LN2, pieces
from wengert.execute.native.vmath.exponential import EXP_LIMITS, exp, exp_pair, scaled
from wengert.execute.native.vmath.lanes import Lanes, at_least, fma, where
from wengert.execute.native.vmath.logarithm import correction
from wengert.execute.native.vmath.twofold import ordered_sum, two_sum


def logistic(x: Lanes) -> Lanes:
    """`1/(1 + e)` for x ≥ 0 and `e/(1 + e)` for x < 0, corrected for the rounding of `1 + e`."""
    e = exp(-abs(x))
    below, lost = ordered_sum(x.like(1.0), e)
    y = where(x < 0.0, e, 1.0) / below
    inverse = where(x < 0.0, 1 - y, y)  # of 1 + e
    return fma(-(y * inverse), lost, y)


def log1p_of_fraction(e: Lanes) -> Lanes:
    """`log(1 + e)` for 0 ≤ e ≤ 1: over √2 - 1 it is `log 2 + log((1 + e)/2)`."""
    first, second = pieces(LN2, e.format.digits, e.format.digits)
    large = e > math.sqrt(2) - 1
    f = where(large, 0.5 * e - 0.5, e)
    base, low = where(large, first, e.like(0.0)), where(large, second, e.like(0.0))
    high, error = ordered_sum(base, f)
    return high + (error + (low - correction(f)))


def softplus(x: Lanes) -> Lanes:
    return where(x > 0.0, x, where(x.is_nan(), x, 0.0)) + log1p_of_fraction(exp(-abs(x)))


def logaddexp(x: Lanes, y: Lanes) -> Lanes:
    """`max(x, y) + log(1 + exp(-|x - y|))`; where these cancel it is only as exact as the larger argument."""
    larger = where(x > y, x, y)
    smaller = where(x > y, y, x)
    d, rest = two_sum(smaller, -larger)
    same = x.equals(y)  # also both infinite
    d = where(same, 0.0, at_least(d, EXP_LIMITS[x.format.width][0]))
    rest = where(abs(rest) < 1.0, rest, 0.0)
    (high, low), integer = exp_pair((d, rest))
    result = larger + log1p_of_fraction(scaled(high + low, integer))
    return where(x.is_nan() | y.is_nan(), x + y, result)
