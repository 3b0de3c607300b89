"""erf and erfc.

Up to 1, `erf(x) = x + x·p(x²)`. Beyond, erfc is `exp(-x²)·g/(1 + 2x)`, where g is a polynomial in
(x - c)/(x + c), smooth up to infinity (M. M. Shepherd and J. G. Laframboise, *Chebyshev approximation of
(1 + 2x)exp(x²)erfc x in 0 ≤ x < ∞*, Math. Comp. 36, 1981). For erf in float32 it is enough to know erfc roughly: it is
`exp(x·p(x))` there.
"""

from __future__ import annotations

from wengert.execute.native.vmath.exponential import EXP_LIMITS, exp, exp_pair, scaled
from wengert.execute.native.vmath.lanes import Lanes, at_least, at_most, clamp, copysign, fma, polynomial, where
from wengert.execute.native.vmath.twofold import Pair, ordered_sum, product, quotient, two_product, two_sum

CENTRE = 4.0
ERF_ONE = 3.95  # beyond, erf is 1 in float32
ERFC_ZERO = 27.3  # beyond, erfc is 0 in float64


def erf(x: Lanes) -> Lanes:
    a = abs(x)
    z = a * a
    near = fma(a, polynomial(z, x.table["ERF"]), a)
    if x.format.width == 32:
        b = at_most(a, ERF_ONE)
        far = 1 - exp(b * polynomial(b, x.table["LOG_ERFC"]))
    else:
        far = 1 - roughly(at_most(a, 6.0))
    return copysign(where(a < 1.0, near, far), x)


def erfc(x: Lanes) -> Lanes:
    """Under ½ it is `1 - erf(x)`, with `1 - x` as a pair."""
    a = abs(x)
    inside = copysign(at_most(a, 1.0), x)
    high, low = ordered_sum(x.like(1.0), -inside)
    near = high + (low - inside * polynomial(inside * inside, x.table["ERF"]))
    far = complement(clamp(a, (0.5, ERFC_ZERO)))
    far = where(x < 0.0, 2 - far, far)
    return where((x < 0.5) & (x > -1.0), near, far)


def roughly(x: Lanes) -> Lanes:
    """erfc(x) for ½ ≤ x ≤ 27.3, with an error of some units in the last place."""
    (p, p_low), integer = _gauss(x)
    return scaled((p + p_low) * (polynomial((x - CENTRE) / (x + CENTRE), x.table["ERFC"]) / (1 + 2 * x)), integer)


def complement(x: Lanes) -> Lanes:
    """erfc(x) for ½ ≤ x ≤ 27.3."""
    if x.code.digits < x.format.digits:
        return roughly(x)
    table = x.table["ERFC"]
    gauss, integer = _gauss(x)
    t, t_low = quotient(two_sum(x, -CENTRE), two_sum(x, CENTRE))
    g, g_low = two_product(t, polynomial(t, table[1:]))
    g, error = ordered_sum(x.like(table[0]), g)
    slope = polynomial(t, [k * c for k, c in enumerate(table)][1:8])  # the derivative, roughly
    high, low = quotient(product(gauss, (g, error + g_low + slope * t_low)), two_sum(2 * x, 1.0))
    return scaled(high + low, integer)


def _gauss(x: Lanes) -> tuple[Pair, Lanes]:
    """exp(-x²), to be `scaled`."""
    high, low = two_product(x, x)
    return exp_pair((at_least(-high, EXP_LIMITS[x.format.width][0]), -low))
