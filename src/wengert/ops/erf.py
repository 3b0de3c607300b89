"""The error function, its complement, its inverse, and the normal distribution's integral and quantile.

The rational formulas below interpolate each function at Chebyshev nodes; their relative error is under 1e-16. The
division of the line into regions, and the splitting of `exp(-x²)`, follow W. J. Cody, *Rational Chebyshev
approximations for the error function*, Math. Comp. 23 (1969); the variable `sqrt(-log p)` in the tails of the inverse
follows M. J. Wichura, *Algorithm AS 241*, Appl. Statist. 37 (1988).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.ir.array import Array
from wengert.ops.approximation import by_region, in_double, rational
from wengert.ops.arithmetic import square
from wengert.ops.elementwise import Elementwise
from wengert.ops.transcendental import exp

SQRT_2 = 1.4142135623730951
SQRT_HALF = 0.7071067811865476
TWO_BY_SQRT_PI = 1.1283791670955126
SQRT_PI_BY_TWO = 0.886226925452758
SQRT_2PI = 2.5066282746310002
INV_SQRT_2PI = 0.3989422804014327

# erf(x)/x as a function of x², x in [0, 0.47]
_ERF = (
    (1.1283791670955126, 0.13220092931101957, 0.03998631604632404, 0.0010964655543008177, 6.53930507136489e-05),
    (1.0, 0.4504933564586356, 0.08560140208279557, 0.008265706154932016, 0.00034945092707041497),
)
# exp(x²)·erfc(x) as a function of x - 0.47, x in [0.47, 1.5]
_ERFC_NEAR = (
    (
        0.6314005166600343, 0.7197484253682309, 0.39145404045859256, 0.1163849679384454, 0.0188834996144503,
        0.0013160373781631275, 1.9993799892042197e-07, -8.259085735673197e-09,
    ),
    (
        1.0, 1.9870289518290543, 1.7013394651938012, 0.8057813707028968, 0.22341432803916686, 0.0345308304856566,
        0.0023370365399104026,
    ),
)  # fmt: skip
# the same as a function of x - 1.5, x in [1.5, 4]
_ERFC = (
    (
        0.3215854164543175, 0.37805054818536604, 0.19154308257163424, 0.051548076787701326, 0.00734264773935576,
        0.00044274160103116177, 5.311878930593605e-10, -1.3814639950411708e-11,
    ),
    (
        1.0, 1.6843844223106177, 1.215838519012774, 0.4824547222779219, 0.11128269713224476, 0.014191403391213447,
        0.0007847572654777302,
    ),
)  # fmt: skip
# x·exp(x²)·erfc(x) as a function of 1/x², x >= 4
_ERFC_FAR = (
    (
        0.5641895835477563, 12.093210395801552, 82.56124631689788, 207.73564374780346, 163.47249502903318,
        18.095628728457065,
    ),
    (1.0, 21.934657335848947, 156.553327637958, 431.90251252429334, 422.8486998035103, 98.69338018994513),
)  # fmt: skip
# erfinv(y)/y as a function of y², |y| <= 0.5
_ERFINV_NEAR = (
    (
        0.886226925452758, -1.8502304361316728, 1.2673113459042178, -0.30927830646280174, 0.016796422128533845,
        0.0002950619560059347,
    ),
    (1.0, -2.3495608662561773, 1.9011895864761166, -0.6062007249913259, 0.060181743371872314),
)  # fmt: skip
# the same as a function of y² - 0.85², |y| in [0.5, 0.85]
_ERFINV = (
    (
        1.1975323115670913, -12.088008240503097, 46.252174679796546, -83.91215116833419, 73.86982488314972,
        -28.86729988960678, 3.891430658329242, -0.08079699611502782,
    ),
    (
        1.0, -10.845412076363203, 45.392592282541436, -92.47782620254269, 95.24799815200736, -46.751276647615725,
        9.177877793524681, -0.4556972131746246,
    ),
)  # fmt: skip
# r - z, where erfc(z) = 2·exp(-r²), as a function of r - 1.6, r in [1.6, 6]
_QUANTILE = (
    (
        0.593477966396312, 1.0809154224834987, 0.788696451074169, 0.30018710270971455, 0.0642096067083463,
        0.007468357186594552, 0.00041008552242840845, 7.723046553559473e-06, 9.979450421684092e-09,
        -3.476850928748803e-11,
    ),
    (
        1.0, 2.1710597094072788, 1.9416086357045363, 0.9330549561898209, 0.26250867993128624, 0.043569014688207876,
        0.003995365832794398, 0.00017251249024641374, 2.4376177275630632e-06,
    ),
)  # fmt: skip
# the same as a function of r - 6, r in [6, 28]
_QUANTILE_FAR = (
    (
        0.2578723723463599, 0.11546344672742354, 0.01952575437116499, 0.0015754915296094312, 6.340795764697403e-05,
        1.2189758198957714e-06, 9.7530306318371e-09, 2.2976867807693874e-11, 2.163047041508255e-15,
    ),
    (
        1.0, 0.5630624047549445, 0.12547792661990534, 0.014139908134864404, 0.0008568509045755279,
        2.7560192974922585e-05, 4.369835039101899e-07, 2.899128243882516e-09, 5.425263059487451e-12,
    ),
)  # fmt: skip


def _near_zero(x: Any) -> Any:
    return x * rational(x * x, *_ERF)


def _gauss(x: Any) -> Any:
    """`exp(-x²)` without the error of squaring: `h` has few bits, so `h²` is exact."""
    h = np.rint(x * 2.0**20) * 2.0**-20
    return np.exp(-(h * h)) * np.exp(-(x - h) * (x + h))


def _gauss_half(x: Any) -> Any:
    """`exp(-x²/2)`, likewise."""
    h = np.rint(x * 2.0**20) * 2.0**-20
    return np.exp(-(0.5 * h * h)) * np.exp(-0.5 * (x - h) * (x + h))


def _beyond(x: Any, gauss: Any) -> Any:
    """erfc(x) for x >= 0.47, given exp(-x²)."""
    return by_region(
        x,
        [1.5, 4.0],
        [
            lambda x, gauss: gauss * rational(x - 0.47, *_ERFC_NEAR),
            lambda x, gauss: gauss * rational(x - 1.5, *_ERFC),
            lambda x, gauss: gauss / x * rational(1 / (x * x), *_ERFC_FAR),
        ],
        x,
        gauss,
    )


def _far(x: Any) -> Any:
    x = np.minimum(x, 30)  # where erfc has become 0
    return _beyond(x, _gauss(x))


def _erf(x: Any) -> Any:
    return by_region(np.abs(x), [0.47], [_near_zero, lambda x: np.copysign(1 - _far(np.abs(x)), x)], x)


def _erfc(x: Any) -> Any:
    return by_region(x, [-0.47, 0.47], [lambda x: 2 - _far(-x), lambda x: 1 - _near_zero(x), _far], x)


def _ndtr(x: Any) -> Any:
    def tail(x: Any) -> Any:  # for x < 0
        x = np.minimum(-x, 40)
        return 0.5 * _beyond(SQRT_HALF * x, _gauss_half(x))

    def middle(x: Any) -> Any:
        return 0.5 + 0.5 * _near_zero(SQRT_HALF * x)

    return by_region(x, [-0.665, 0.665], [tail, middle, lambda x: 1 - tail(-x)], x)


def _quantile(p: Any) -> Any:
    """The z with erfc(z) = 2p, for p < 0.075."""
    r = np.sqrt(-np.log(p))
    near, far = (lambda r: r - rational(r - 1.6, *_QUANTILE)), (lambda r: r - rational(r - 6, *_QUANTILE_FAR))
    return np.where(p == 0, np.inf, by_region(r, [6.0], [near, far], r))


def _erfinv_near(y: Any) -> Any:
    return y * rational(y * y, *_ERFINV_NEAR)


def _erfinv_middle(y: Any) -> Any:
    return y * rational((y - 0.85) * (y + 0.85), *_ERFINV)


def _erfinv(y: Any) -> Any:
    def tail(y: Any) -> Any:
        return np.copysign(_quantile((1 - np.abs(y)) / 2), y)

    return by_region(np.abs(y), [0.5, 0.85], [_erfinv_near, _erfinv_middle, tail], y)


def _ndtri(p: Any) -> Any:
    def tail(p: Any, q: Any) -> Any:
        return np.copysign(_quantile(np.minimum(p, 1 - p)), q)

    q = 2 * (p - 0.5)
    near, middle = (lambda p, q: _erfinv_near(q)), (lambda p, q: _erfinv_middle(q))
    return SQRT_2 * by_region(np.abs(q), [0.5, 0.85], [near, middle, tail], p, q)


def _slope(y: Array, x: Array) -> Array:
    return TWO_BY_SQRT_PI * exp(-square(x))


erf = Elementwise("erf", in_double(_erf), _slope, takes="f", doc="The error function, `2/√π ∫₀ˣ exp(-t²) dt`.")
erfc = Elementwise(
    "erfc",
    in_double(_erfc),
    lambda y, x: -_slope(y, x),
    takes="f",
    doc="`1 - erf(x)`, to full relative accuracy also where it is tiny.",
)
erfinv = Elementwise(
    "erfinv",
    in_double(_erfinv),
    lambda x, y: SQRT_PI_BY_TWO * exp(square(x)),
    takes="f",
    doc="The `x` with `erf(x) = y`, for `y` in [-1, 1]; NaN outside.",
)
ndtr = Elementwise(
    "ndtr",
    in_double(_ndtr),
    lambda y, x: INV_SQRT_2PI * exp(-0.5 * square(x)),
    takes="f",
    doc="The integral of the standard normal density up to `x`.",
)
ndtri = Elementwise(
    "ndtri",
    in_double(_ndtri),
    lambda x, p: SQRT_2PI * exp(0.5 * square(x)),
    takes="f",
    doc="The quantile of the standard normal distribution: the `x` with `ndtr(x) = p`; NaN outside [0, 1].",
)
