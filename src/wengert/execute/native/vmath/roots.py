"""sqrt, rsqrt, cbrt, hypot."""

from __future__ import annotations

import math

from wengert.execute.native.vmath import lanes
from wengert.execute.native.vmath.lanes import Lanes, copysign, fma, polynomial, power_of_two, where
from wengert.execute.native.vmath.logarithm import as_number
from wengert.execute.native.vmath.twofold import product, two_product


def sqrt(x: Lanes) -> Lanes:
    return lanes.sqrt(x)


def rsqrt(x: Lanes) -> Lanes:
    return 1 / lanes.sqrt(x)


def hypot(x: Lanes, y: Lanes) -> Lanes:
    """`√(x² + y²)`, scaled where squares would leave the range. Infinite if either is, even beside NaN."""
    a, b = abs(x), abs(y)
    large, small = where(a > b, a, b), where(a > b, b, a)
    top = 2.0 ** (x.format.bias // 2 - 1)
    far, near = large > top, large < 1 / top
    one = x.like(1.0)
    scale = where(far, 1 / top**2 * 4, where(near, top**2 / 4, one))
    back = where(far, top**2 / 4, where(near, 1 / top**2 * 4, one))
    u, v = large * scale, small * scale
    (square, error), (other, other_error) = two_product(u, u), two_product(v, v)
    total = square + other
    low = (other - (total - square)) + (error + other_error)
    root = lanes.sqrt(total)
    p, e = two_product(root, root)
    rest = ((total - p) - e) + low
    root = root + where(total > 0.0, rest / (root + root), 0.0)
    return where(a.equals(math.inf) | b.equals(math.inf), math.inf, root * back)


def cbrt(x: Lanes) -> Lanes:
    """x = 2^(3k + j)·m; a polynomial for the root of m, then Newton's steps, the last with the residual as a pair."""
    a = abs(x)
    tiny = a < x.format.smallest_normal
    up = 3 * ((x.format.digits + 3) // 3)
    scaled = where(tiny, a * 2.0**up, a)
    biased = scaled.bits >> x.format.fraction
    m = ((scaled.bits & ((1 << x.format.fraction) - 1)) | x.like(1.0).bits).as_float
    e = as_number(biased, x)
    k, integer = lanes.whole(e - 1, 1 / 3, x.format.bias)
    j = e - 3 * k  # 0, 1 or 2
    m = m * where(j.equals(0.0), 1.0, where(j.equals(1.0), 2.0, x.like(4.0)))
    guess = polynomial(m * where(j.equals(0.0), 1.0, where(j.equals(1.0), 0.5, x.like(0.25))), x.table["CBRT"])
    guess = guess * where(j.equals(0.0), 1.0, where(j.equals(1.0), 2 ** (1 / 3), x.like(4 ** (1 / 3))))
    if x.format.width == 64:
        rough = guess * guess
        guess = guess - fma(rough, guess, -m) / (3 * rough)
    square = two_product(guess, guess)
    cube = product(square, (guess, x.like(0.0)))
    guess = guess + ((m - cube[0]) - cube[1]) / (3 * square[0])
    y = guess * power_of_two(integer) * where(tiny, 2.0 ** (-up // 3), x.like(1.0))
    return copysign(where((a > 0.0) & (a < math.inf), y, a), x)
