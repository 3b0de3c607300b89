"""sinh, cosh, tanh and their inverses."""

from __future__ import annotations

import math

from wengert.execute.native.vmath.exponential import LN2_PIECES, reduced
from wengert.execute.native.vmath.lanes import Lanes, at_most, copysign, fma, polynomial, power_of_two, where
from wengert.execute.native.vmath.logarithm import as_number, correction, exponent
from wengert.execute.native.vmath.twofold import Pair, ordered_sum, quotient, root, two_product, two_sum

HIGHEST = {32: 90.0, 64: 711.0}  # beyond, sinh and cosh are infinite
TANH_HIGHEST = {32: 9.5, 64: 20.0}  # beyond, tanh is 1
TANH_NEAR = 0.55


def _parts(x: Lanes) -> tuple[Lanes, Lanes, Pair, Lanes]:
    """For x = n·log 2 + r ≥ 0: a quarter of sinh and of cosh of n·log 2, sinh(r) as a pair, and cosh(r) - 1."""
    n, integer, r, rest = reduced(at_most(x, HIGHEST[x.format.width]))
    bias = x.format.bias
    up = power_of_two(integer, -bias - 3)  # of 2ⁿ an eighth, which is finite
    down = where(n > float(bias - 10), 0.0, power_of_two(3 * bias - 3 - integer))
    z = r * r
    return (
        up - down,
        up + down,
        (r, fma(r * z, polynomial(z, r.table["SINH"]), rest)),
        z * polynomial(z, r.table["COSH"]),
    )


def sinh(x: Lanes) -> Lanes:
    s, c, (r, rest), more = _parts(abs(x))
    high, error = ordered_sum(s, c * r)
    y = 4 * (high + (error + fma(c, rest, s * more)))
    return copysign(where(abs(x) < 2.0 ** (-x.format.digits // 2 - 2), x, y), x)


def cosh(x: Lanes) -> Lanes:
    s, c, (r, rest), more = _parts(abs(x))
    high, error = ordered_sum(c, s * r)
    return 4 * (high + (error + fma(s, rest, c * more)))


def tanh(x: Lanes) -> Lanes:
    """`x + x³·p(x²)` near 0, and beyond `1 - 2/(e^(2|x|) + 1)`."""
    a = abs(x)
    _, integer, r, _ = reduced(2 * at_most(a, TANH_HIGHEST[x.format.width]))
    e = (1 + fma(polynomial(r, r.table["EXP"]), r * r, r)) * power_of_two(integer, -x.format.bias)
    z = a * a
    near = fma(a * z, polynomial(z, x.table["TANH"]), a)
    return copysign(where(a < TANH_NEAR, near, 1 - 2 / (e + 1)), x)


def _log(high: Lanes, low: Lanes, doublings: Lanes | float) -> Lanes:
    """`log((high + low)·2^doublings)` for high ≥ 1."""
    first, second = LN2_PIECES[high.format.width]
    biased, m = exponent(high)
    f = fma(low, power_of_two(2 * high.format.bias - biased), m - 1)
    e = as_number(biased, high) + doublings
    return fma(e, first, f - (correction(f) - e * second))


def asinh(x: Lanes) -> Lanes:
    """`log(x + √(x² + 1))`, its argument as a pair."""
    a = abs(x)
    large = a > 2.0 ** (x.format.digits + 4)  # where the root is x
    inside = where(large, x.like(1.0), a)
    square = two_product(inside, inside)
    one, error = two_sum(square[0], 1.0)
    r = root((one, error + square[1]))
    high, low = two_sum(r[0], inside)
    y = _log(where(large, 0.25 * a, high), where(large, 0.0, low + r[1]), where(large, 3.0, x.like(0.0)))
    tiny = a < 2.0 ** (-x.format.digits // 2 - 2)
    return copysign(where((a < math.inf) & ~tiny, y, a), x)


def acosh(x: Lanes) -> Lanes:
    """`log(x + √(x² - 1))`, its argument as a pair."""
    large = x > 2.0 ** (x.format.digits + 4)
    inside = where(large, 2.0, x)
    square = two_product(inside, inside)
    one, error = ordered_sum(square[0], -1.0)
    r = root((one, error + square[1]))
    high, low = ordered_sum(inside, r[0])
    y = _log(where(large, 0.25 * x, high), where(large, 0.0, low + r[1]), where(large, 3.0, x.like(0.0)))
    return where(x < 1.0, math.nan, where(x < math.inf, y, x))


def atanh(x: Lanes) -> Lanes:
    """`½·log((1 + x)/(1 - x))`: with 2ᵉ near the quotient, `s = (1 + x - 2ᵉ(1 - x))/(1 + x + 2ᵉ(1 - x))`."""
    first, second = LN2_PIECES[x.format.width]
    a = abs(x)
    biased, _ = exponent((1 + a) / (1 - a))
    p = power_of_two(biased)
    e = as_number(biased, x)
    one = x.like(1.0)
    (over, over_low), (under, under_low) = ordered_sum(one, a), ordered_sum(one, -a)
    under, under_low = p * under, p * under_low
    (less, less_low), (more, more_low) = two_sum(over, -under), two_sum(over, under)
    s, rest = quotient(
        ordered_sum(less, less_low + (over_low - under_low)), ordered_sum(more, more_low + (over_low + under_low))
    )
    z = s * s
    rest = fma(s * z, 0.5 * polynomial(z, x.table["LOG"]), fma(e, 0.5 * second, rest))
    high, low = ordered_sum(e * (0.5 * first), s)
    y = high + (low + rest)
    return copysign(where(a < 1.0, y, where(a.equals(1.0), math.inf, x.like(math.nan))), x)
