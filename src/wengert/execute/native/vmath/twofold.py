"""Sums, products, quotients and roots with what their rounding loses: pairs `(high, low)` of twice the precision.

T. J. Dekker, *A floating-point technique for extending the available precision*, Numer. Math. 18 (1971); D. E. Knuth,
*The Art of Computer Programming* vol. 2, section 4.2.2, for the sum in any order.
"""

from __future__ import annotations

from wengert.execute.native.vmath.lanes import Lanes, fma, sqrt

Pair = tuple[Lanes, Lanes]


def ordered_sum(a: Lanes, b: Lanes | float) -> Pair:
    """`a + b` for |a| ≥ |b| or a = 0."""
    high = a + b
    return high, b - (high - a)


def two_sum(a: Lanes, b: Lanes | float) -> Pair:
    """`a + b`."""
    high = a + b
    other = high - a
    return high, (a - (high - other)) + (b - other)


def _halves(a: Lanes) -> Pair:
    big = a * (2.0 ** ((a.format.digits + 1) // 2) + 1)
    high = big - (big - a)
    return high, a - high


def two_product(a: Lanes, b: Lanes) -> Pair:
    """`a·b`, unless it overflows or its low part underflows."""
    high = a * b
    if a.code.has_fma:
        return high, fma(a, b, -high)
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return high, ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2


def product(a: Pair, b: Pair) -> Pair:
    high, low = two_product(a[0], b[0])
    return ordered_sum(high, fma(a[0], b[1], fma(a[1], b[0], low)))


def quotient(a: Pair, b: Pair) -> Pair:
    """`a / b`: a first quotient, and its correction by the remainder that it leaves. `1/b` must be finite."""
    inverse = 1 / b[0]
    high = a[0] * inverse
    p, e = two_product(high, b[0])
    rest = ((a[0] - p) - e) + fma(-high, b[1], a[1])
    return ordered_sum(high, rest * inverse)


def root(a: Pair) -> Pair:
    """`√a`; of 0 it is 0."""
    high = sqrt(a[0])
    p, e = two_product(high, high)
    rest = ((a[0] - p) - e) + a[1]
    return high, rest / (high + high + a[0].format.smallest_normal)
