"""asin, acos, atan, atan2."""

from __future__ import annotations

import math

from wengert.execute.native.vmath.constants import PI, pieces
from wengert.execute.native.vmath.lanes import Lanes, at_most, copysign, fma, polynomial, where
from wengert.execute.native.vmath.twofold import Pair, ordered_sum, quotient, root, two_sum

TAN_EIGHTH = math.sqrt(2) - 1  # tan(π/8)


def arc(x: Lanes, part: float) -> Pair:
    """`part·π` as a pair."""
    from_pi = pieces(PI * int(4 * part) / 4, x.format.digits, x.format.digits)
    return x.like(from_pi[0]), x.like(from_pi[1])


def angle(a: Lanes, b: Lanes) -> Pair:
    """atan(a/b) for finite a, b ≥ 0 that are not both 0.

    The quotient is that of a rotation by 0, π/4 or π/2, so that it is at most tan(π/8).
    """
    # a power of two that keeps sums and products, and what they round off, within the range
    larger, range_ = where(a > b, a, b), a.format.bias // 2
    up, further = a.like(2.0 ** (range_ // 2)), 2.0**range_
    scale = where(larger > further, 1 / further, where(larger < 1.0, further, up))
    a, b = a * scale, b * scale
    near, far = a <= TAN_EIGHTH * b, b < TAN_EIGHTH * a
    middle = ~(near | far)
    less, more = two_sum(a, -b), two_sum(a, b)
    zero = a.like(0.0)
    over = where(near, a, where(far, -b, less[0])), where(middle, less[1], zero)
    under = where(near, b, where(far, a, more[0])), where(middle, more[1], zero)
    u, rest = quotient(over, under)
    z = u * u
    rest = fma(u * z, polynomial(z, u.table["ATAN"]), rest)
    quarter, half = arc(a, 0.25), arc(a, 0.5)
    base = where(near, zero, where(far, half[0], quarter[0]))
    low = where(near, zero, where(far, half[1], quarter[1]))
    high, error = ordered_sum(base, u)
    return high, error + (low + rest)


def atan(x: Lanes) -> Lanes:
    high, low = angle(at_most(abs(x), 2.0**64), x.like(1.0))
    return copysign(high + low, x)


def atan2(y: Lanes, x: Lanes) -> Lanes:
    """The angle of (|x|, |y|), reflected. Infinities count as 1 beside 0, or beside 1; 0/0 is the angle 0."""
    a, b = abs(y), abs(x)
    a_infinite, b_infinite = a.equals(math.inf), b.equals(math.inf)
    a, b = where(a_infinite, 1.0, where(b_infinite, 0.0, a)), where(b_infinite, 1.0, where(a_infinite, 0.0, b))
    b = where(a.equals(0.0) & b.equals(0.0), 1.0, b)
    high, low = angle(a, b)
    pi = arc(x, 1.0)
    other, error = ordered_sum(pi[0], -high)
    result = where(x.bits < 0, other + (error + (pi[1] - low)), high + low)
    return copysign(where(x.is_nan() | y.is_nan(), math.nan, result), y)


def _small(x: Lanes) -> tuple[Lanes, Lanes, Pair]:
    """Of |x|: (whether it is over ½, asin(u) - u, u as a pair), where u is |x| or, over ½, `√((1 - |x|)/2)`."""
    a = abs(x)
    large = a > 0.5
    z = where(large, 0.5 - 0.5 * a, a * a)
    high, low = root((z, x.like(0.0)))
    u = where(large, high, a)
    rest = where(large, low, 0.0)
    return large, fma(u * z, polynomial(z, x.table["ASIN"]), rest), (u, rest)


def asin(x: Lanes) -> Lanes:
    """Over ½ it is `π/2 - 2·asin(√((1 - x)/2))`."""
    large, rest, (u, _) = _small(x)
    half = arc(x, 0.5)
    high, error = ordered_sum(half[0], -2 * u)
    return copysign(where(large, high + (error + (half[1] - 2 * rest)), u + rest), x)


def acos(x: Lanes) -> Lanes:
    """`π/2 - asin(x)`, or over ½ `2·asin(√((1 - x)/2))`, and `π` less that for negative x."""
    large, rest, (u, _) = _small(x)
    half, pi = arc(x, 0.5), arc(x, 1.0)
    negative = x < 0.0
    u2, rest2 = where(large, 2 * u, u), where(large, 2 * rest, rest)
    turned = where(negative, u2, -u2)  # what is added to π/2 in the middle
    high, error = ordered_sum(half[0], turned)
    middle = high + (error + (half[1] + where(negative, rest2, -rest2)))
    far, lost = ordered_sum(pi[0], -u2)
    return where(large, where(negative, far + (lost + (pi[1] - rest2)), u2 + rest2), middle)
