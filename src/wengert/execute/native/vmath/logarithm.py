"""log, log1p, log2, log10: `x = 2ᵉ·(1 + f)` with √½ ≤ 1 + f < √2, `s = f/(2 + f)`, and `log(1 + f) = 2·atanh(s)`.

With `2s = f - s·f` the logarithm is `f` less a small correction, whose rounding matters little (the arrangement of
K. C. Ng in the Berkeley mathematical library, 1985).
"""

from __future__ import annotations

import math
from fractions import Fraction

from wengert.execute.native.vmath.constants import LN2, LN10, pieces
from wengert.execute.native.vmath.exponential import LN2_PIECES
from wengert.execute.native.vmath.lanes import Lanes, bit_constant, fma, polynomial, power_of_two, where
from wengert.execute.native.vmath.twofold import Pair, ordered_sum, product, quotient, two_product

LOG10_2 = LN2 / LN10
LOG10_2_PIECES = {32: pieces(LOG10_2, 12, 24), 64: pieces(LOG10_2, 40, 53)}
TWO_THIRDS = pieces(Fraction(2, 3), 53, 53)
NAN, INFINITY = math.nan, math.inf


def exponent(x: Lanes) -> tuple[Lanes, Lanes]:
    """`x = 2ᵉ·m` with √½ ≤ m < √2, for a positive normal x: (an integer e + bias, m)."""
    low = bit_constant(x, math.sqrt(0.5))
    shifted = x.bits + (bit_constant(x, 1.0) - low)
    m = ((shifted & ((1 << x.format.fraction) - 1)) + low).as_float
    return shifted >> x.format.fraction, m


def as_number(biased: Lanes, like: Lanes) -> Lanes:
    """A small integer, less the bias, as a float."""
    large = 2.0**like.format.fraction
    return (biased | bit_constant(like, large)).as_float - (large + like.format.bias)


def split(x: Lanes) -> tuple[Lanes, Lanes]:
    """`x = 2ᵉ·m` for any positive x: (e, m) as floats."""
    tiny = x < x.format.smallest_normal
    up = x.format.digits + 1
    biased, m = exponent(where(tiny, x * 2.0**up, x))
    e = as_number(biased, x)
    return where(tiny, e - float(up), e), m


def correction(f: Lanes) -> Lanes:
    """`f - log(1 + f)`."""
    s = f / (2 + f)
    z = s * s
    return s * (f - z * polynomial(z, f.table["LOG"]))


def domain(y: Lanes, x: Lanes, lowest: float) -> Lanes:
    """The logarithm `y` of `x` at the ends of its domain and outside."""
    y = where(x < INFINITY, y, x)
    return where(x > lowest, y, where(x.equals(lowest), -INFINITY, x.like(NAN)))


def natural(e: Lanes, f: Lanes) -> Lanes:
    first, second = LN2_PIECES[f.format.width]
    return fma(e, first, f - (correction(f) - e * second))


def log(x: Lanes) -> Lanes:
    e, m = split(x)
    return domain(natural(e, m - 1), x, 0.0)


def log1p(x: Lanes) -> Lanes:
    u = 1 + x
    biased, m = exponent(u)
    down = power_of_two(2 * x.format.bias - biased)
    f = where(u > 2.0**30, m - 1, fma(x, down, down - 1))  # f of 1 + x, not of what it was rounded to
    y = natural(as_number(biased, x), f)
    return where(x.equals(0.0), x, domain(y, x, -1.0))


def log2(x: Lanes) -> Lanes:
    first, second = pieces(1 / LN2, x.format.digits, x.format.digits)
    e, m = split(x)
    f = m - 1
    high, low = two_product(f, f.like(first))
    whole, rest = ordered_sum(e, high)
    return domain(whole + (rest + (low + fma(f, second, -(correction(f) * first)))), x, 0.0)


def log10(x: Lanes) -> Lanes:
    first, second = pieces(1 / LN10, x.format.digits, x.format.digits)
    large, small = LOG10_2_PIECES[x.format.width]
    e, m = split(x)
    f = m - 1
    high, low = two_product(f, f.like(first))
    whole, rest = ordered_sum(e * large, high)
    return domain(whole + (rest + (low + fma(f, second, fma(e, small, -(correction(f) * first))))), x, 0.0)


def log_pair(x: Lanes) -> Pair:
    """`log x` of a positive x to some ten digits more than the type has."""
    first, second = LN2_PIECES[x.format.width]
    e, m = split(x)
    f = m - 1
    s = quotient((f, x.like(0.0)), ordered_sum(x.like(2.0), f))
    square = product(s, s)
    cubic = product(product(square, s), (x.like(TWO_THIRDS[0]), x.like(TWO_THIRDS[1])))
    fifth = square[0] * cubic[0] * (1.5 * polynomial(square[0], x.table["LOG_REST"]))
    high, error = ordered_sum(2 * s[0], cubic[0])
    whole, lost = ordered_sum(e * first, high)
    return ordered_sum(whole, lost + (error + (fma(s[1], 2.0, cubic[1]) + fma(e, second, fifth))))
