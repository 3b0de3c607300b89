"""The logarithm of the gamma function and its derivatives.

For small arguments, rational formulas that interpolate at Chebyshev nodes (relative error under 1e-16), with the zeros
of the function taken out as factors so that accuracy holds beside them; above, Stirling's formula with a rational
remainder (DLMF 5.11.1, 5.11.2); for negative arguments, reflection (DLMF 5.5.3, 5.5.4). Polygamma functions are sums by
Euler and Maclaurin (DLMF 25.11.28 with 5.15).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ops.approximation import by_region, in_double, nearest_whole, polynomial, rational
from wengert.ops.elementwise import Elementwise
from wengert.ops.promote import promote
from wengert.source import at_user_line

# lgamma(x) / ((x - 1)(x - 2)) as a function of x - 1, x in [1, 2.5]
_LGAMMA = (
    (
        0.5772156649015329, 1.6127980988295134, 1.70581416294524, 0.8520513981541668, 0.20439108881700774,
        0.021203176043154633, 0.0006980166023666075, 1.617450683823641e-06,
    ),
    (
        1.0, 3.218986559675325, 4.0536681493160565, 2.531159284096056, 0.8203148799058525, 0.13188406729040505,
        0.009078152769591183, 0.0001821462808366695,
    ),
)  # fmt: skip
# the same as a function of x - 2.5, x in [2.5, 4.5]
_LGAMMA_MIDDLE = (
    (
        0.37957716063055885, 0.3781554106347295, 0.13641703918644224, 0.021580210072111045, 0.0014290688430626316,
        2.986458472254053e-05, 4.245954157021447e-08,
    ),
    (
        1.0, 1.1929563518442454, 0.5416086404650787, 0.11668624938671396, 0.01209648221304919, 0.0005366224184647483,
        7.066289774347162e-06,
    ),
)  # fmt: skip
# what Stirling's formula leaves, times x, as a function of 1/x², x >= 4.5
_STIRLING = (
    (0.08333333333333333, 0.5785459289680467, 0.849672385487098, 0.21156138431141222, -0.0028936031783050706),
    (1.0, 6.975884480949747, 10.419074299083746, 2.8267449395244935),
)
# digamma(x) / (x - x₀) as a function of x - 1, x in [1, 2.5], where x₀ is the zero, in two parts
_ROOT, _ROOT_REST = 1.4616321449683622, 9.549995429965697e-17
_DIGAMMA = (
    (
        1.2503801375034054, 1.8488025338240082, 0.9463058025681106, 0.20584084112744175, 0.018342400959839154,
        0.0005070298880934333, 8.733472502621917e-07,
    ),
    (
        1.0, 2.1621391873864675, 1.6329462354635018, 0.5511193748765835, 0.08574448941694736, 0.005535922301322456,
        0.00010377232969374496,
    ),
)  # fmt: skip
# x²·(log(x) - 1/(2x) - digamma(x)) as a function of 1/x², x >= 2.5
_DIGAMMA_FAR = (
    (
        0.08333333333333331, 1.4684043103814937, 7.9463778604536826, 15.658463037457798, 10.200180953595154,
        1.342219375483397, -0.027029038231282394,
    ),
    (1.0, 17.7208517245776, 97.08100045038772, 196.81580639838268, 138.25598183707754, 24.056176470224596),
)  # fmt: skip
HALF_LOG_2PI = 0.9189385332046728
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)


def _lgamma_small(x: Any) -> Any:
    return x * (x - 1) * rational(x, *_LGAMMA) - np.log(x)  # lgamma(1 + x) - log(x)


def _lgamma_stirling(x: Any) -> Any:
    r = 1 / x
    return (x - 0.5) * (np.log(x) - 1) + (r * rational(r * r, *_STIRLING) + (HALF_LOG_2PI - 0.5))


def _lgamma_positive(x: Any) -> Any:
    return by_region(
        x,
        [1.0, 2.5, 4.5],
        [
            _lgamma_small,
            lambda x: (x - 1) * (x - 2) * rational(x - 1, *_LGAMMA),
            lambda x: (x - 1) * (x - 2) * rational(x - 2.5, *_LGAMMA_MIDDLE),
            _lgamma_stirling,
        ],
        x,
    )


def _lgamma_reflected(x: Any) -> Any:
    # Γ(x)·Γ(-x) = -π / (x·sin πx)
    x = -x
    sine = np.abs(np.sin(np.pi * nearest_whole(x)[1]))
    out = np.log(np.pi / sine / x) - _lgamma_positive(x)
    return np.where(x < 1e-20, -np.log(x), np.where(x == np.inf, np.inf, out))


def _lgamma(x: Any) -> Any:
    return by_region(x, [0.0], [_lgamma_reflected, _lgamma_positive], x)


def _digamma_small(x: Any) -> Any:
    return (x - (_ROOT - 1) - _ROOT_REST) * rational(x, *_DIGAMMA) - 1 / x


def _digamma_far(x: Any) -> Any:
    r = 1 / x
    return np.log(x) - r * (0.5 + r * rational(r * r, *_DIGAMMA_FAR))


def _digamma_positive(x: Any) -> Any:
    return by_region(
        x,
        [1.0, 2.5],
        [
            _digamma_small,
            lambda x: ((x - _ROOT) - _ROOT_REST) * rational(x - 1, *_DIGAMMA),
            _digamma_far,
        ],
        x,
    )


def _digamma_reflected(x: Any) -> Any:
    rest = nearest_whole(x)[1]
    out = _digamma_positive(1 - x) - np.pi / np.tan(np.pi * rest)
    return np.where(x == 0, -1 / x, np.where(rest == 0, np.nan, out))


def _digamma(x: Any) -> Any:
    return by_region(x, [0.0], [_digamma_reflected, _digamma_positive], x)


def _zeta_far(x: Any, s: int, start: Any) -> Any:
    """`start + Σ_{k≥0} (x + k)^-s` by the formula of Euler and Maclaurin, for `x` large beside `s`."""
    r = 1 / x
    series = [b * math.prod(range(s, s + 2 * j - 1)) / math.factorial(2 * j) for j, b in enumerate(_BERNOULLI, 1)]
    return start + x ** (1.0 - s) * (1 / (s - 1) + r * (0.5 + r * polynomial(r * r, tuple(series))))


def _polygamma_positive(x: Any, order: int) -> Any:
    s, enough = order + 1, max(10, order + 8)

    def near(x: Any) -> Any:
        head = sum((x + k) ** -float(s) for k in range(enough - 1, 0, -1)) + x ** -float(s)
        return _zeta_far(x + enough, s, head)

    sign = 1 if order % 2 else -1
    zeta = by_region(x, [float(enough)], [near, lambda x: _zeta_far(x, s, 0)], x)
    return sign * math.factorial(order) * np.where(x == np.inf, 0, zeta)


def _polygamma_reflected(x: Any, order: int) -> Any:
    # derivatives of ψ(1-x) - ψ(x) = π·cot πx, whose derivatives are polynomials in the cotangent c: c' = -π(1 + c²)
    coefficients = [0.0, 1.0]
    for _ in range(order):
        slopes = [k * c for k, c in enumerate(coefficients)][1:]
        coefficients = [-(a + b) for a, b in zip([*slopes, 0.0, 0.0], [0.0, 0.0, *slopes], strict=True)]
    rest = nearest_whole(x)[1]
    turned = math.pi ** (order + 1) * polynomial(1 / np.tan(np.pi * rest), tuple(coefficients))
    out = (-1) ** order * _polygamma_positive(1 - x, order) - turned
    pole = np.inf if order % 2 else np.nan
    return np.where(
        x == 0, -(np.copysign(1.0, x) ** (order + 1)) * (-1.0) ** order * np.inf, np.where(rest == 0, pole, out)
    )


def _polygamma(x: Any, *, order: int) -> Any:
    return by_region(x, [0.0], [lambda x: _polygamma_reflected(x, order), lambda x: _polygamma_positive(x, order)], x)


digamma = Elementwise(
    "digamma", in_double(_digamma), lambda y, x: polygamma(1, x), takes="f", doc="The derivative of `log Γ(x)`."
)
lgamma = Elementwise(
    "lgamma", in_double(_lgamma), lambda y, x: digamma(x), takes="f", doc="`log |Γ(x)|`; infinite at 0, -1, -2, …"
)


class Polygamma(Elementwise):
    """The derivative of that order of `digamma`."""

    def evaluate(self, x: Any, *, order: int) -> Any:  # type: ignore[override]
        return self.ufunc(x, order=order)


polygamma_p = Polygamma(
    "polygamma",
    in_double(_polygamma),
    lambda y, x, order: polygamma(order + 1, x),
    takes="f",
    doc="The derivative of that order of `digamma`.",
)


def polygamma(n: int, x: Any) -> Array:
    """The n-th derivative of `digamma`, `(-1)ⁿ⁺¹ n! Σ_{k≥0} (x + k)^-(n+1)` for n ≥ 1, elementwise in `x`.

    Args:
        n: a Python integer, 0 (digamma itself) to 100; it is part of the program, not a value in it.
        x: array of real floats (integers become floats).

    Returns:
        An array of the shape of `x`. At 0, -1, -2, …: infinite for odd n, NaN for even n (signed infinity at ±0).

    Raises:
        ArgumentError: `n` is not such an integer.

    Example:
        >>> wg.polygamma(1, 1.0)
        Array(1.64493407, weak)
    """
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or not 0 <= n <= 100:
        raise ArgumentError(f"polygamma: the order is a Python integer from 0 to 100, got {n!r}{at_user_line()}")
    if n == 0:
        return digamma(x)
    (x,) = promote("polygamma", (x,))
    if x.dtype.kind not in "f":
        x = polygamma_p._coerce([x], x.dtype.kind)[0]
    return polygamma_p.bind(x, order=int(n))
