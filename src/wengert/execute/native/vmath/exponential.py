"""exp, exp2, expm1: `eˣ = 2ⁿ·eʳ`, where n is whole and |r| ≤ log(2)/2, and a polynomial for eʳ.

`n·log 2` is subtracted in two pieces, the first of which has so few digits that its product with n is exact (W. J. Cody
and W. Waite, *Software Manual for the Elementary Functions*, 1980).
"""

from __future__ import annotations

from wengert.execute.native.vmath.constants import LN2, pieces
from wengert.execute.native.vmath.lanes import (
    Lanes,
    clamp,
    copysign,
    fma,
    polynomial,
    power_of_two,
    where,
    whole,
)  # fmt: skip
from wengert.execute.native.vmath.twofold import Pair, ordered_sum

# the first piece of log 2 leaves room for the digits of n
LN2_PIECES = {32: pieces(LN2, 12, 24), 64: pieces(LN2, 40, 53)}
# beyond the first of these the result is 0, beyond the second infinite
EXP_LIMITS = {32: (-104.5, 89.0), 64: (-746.0, 710.0)}
EXP2_LIMITS = {32: (-151.0, 129.0), 64: (-1076.0, 1025.0)}
EXPM1_LOWEST = {32: -18.0, 64: -39.0}  # below, the result is -1


def reduced(x: Lanes) -> tuple[Lanes, Lanes, Lanes, Lanes]:
    """`x = n·log 2 + r + rest`: (n, n + 2·bias in low bits of an integer, r, rest)."""
    first, second = LN2_PIECES[x.format.width]
    n, integer = whole(x, float(1 / LN2), 2 * x.format.bias)
    near = fma(n, -first, x)
    r = fma(n, -second, near)
    return n, integer, r, fma(n, -second, near - r)


def scaled(x: Lanes, integer: Lanes) -> Lanes:
    """`x·2ⁿ`, given n + 2·bias: in two steps, so that neither factor leaves the range and only the last rounds."""
    half = integer >> 1
    return x * power_of_two(half) * power_of_two(integer - half)


def tail(r: Lanes) -> Lanes:
    """`eʳ - 1 - r`."""
    return polynomial(r, r.table["EXP"]) * (r * r)


def exp(x: Lanes) -> Lanes:
    _, integer, r, _ = reduced(clamp(x, EXP_LIMITS[x.format.width]))
    return scaled(1 + fma(polynomial(r, r.table["EXP"]), r * r, r), integer)


def exp_pair(x: Pair) -> tuple[Pair, Lanes]:
    """`e^(high + low)` as a pair to be `scaled` by the integer beside it; the argument must be within the limits."""
    _, integer, r, rest = reduced(x[0])
    r, rest = ordered_sum(r, rest + x[1])
    small, error = ordered_sum(r, tail(r) + fma(rest, r, rest))
    high, low = ordered_sum(x[0].like(1.0), small)
    return (high, low + error), integer


def exp2(x: Lanes) -> Lanes:
    first, second = pieces(LN2, x.format.digits, x.format.digits)
    x = clamp(x, EXP2_LIMITS[x.format.width])
    n, integer = whole(x, 1.0, 2 * x.format.bias)
    d = x - n
    r = fma(d, first, d * second)
    return scaled(1 + fma(polynomial(r, r.table["EXP"]), r * r, r), integer)


def expm1(x: Lanes) -> Lanes:
    """`2ⁿ·((1 - 2⁻ⁿ) + r + (eʳ - 1 - r))`, where the first sum keeps what it rounds off."""
    width = x.format.width
    n, integer, r, rest = reduced(clamp(x, (EXPM1_LOWEST[width], EXP_LIMITS[width][1])))
    inverse = where(n > 60, 0.0, power_of_two(3 * x.format.bias - integer))
    high, low = ordered_sum(1 - inverse, r)
    return copysign(scaled(high + (low + (tail(r) + rest)), integer), x)
