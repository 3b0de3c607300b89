"""Special functions, elementwise: a table of primitives with their documentation."""

from __future__ import annotations

from wengert.array.elementwise import binary, unary
from wengert.ops import erf as e
from wengert.ops import gamma as g
from wengert.ops import special as s
from wengert.ops import transcendental

erf = unary(
    "erf",
    e.erf,
    "The error function, `2/√π ∫₀ˣ exp(-t²) dt`. Error below 4 units in the last place.",
    "wg.erf(0.5) -> Array(0.52049988, weak)",
)
erfc = unary(
    "erfc",
    e.erfc,
    "`1 - erf(x)`, to full relative accuracy also where it is tiny.",
    "wg.erfc(5.0) -> Array(1.53745979e-12, weak)",
)
erfinv = unary(
    "erfinv",
    e.erfinv,
    "The inverse of `erf`: infinite at -1 and 1, NaN beyond.",
    "wg.erfinv(0.5) -> Array(0.47693628, weak)",
)
ndtr = unary(
    "ndtr",
    e.ndtr,
    "The standard normal distribution function, `(1 + erf(x/√2)) / 2`, accurate in both tails.",
    "wg.ndtr(-1.0) -> Array(0.15865525, weak)",
)
ndtri = unary(
    "ndtri",
    e.ndtri,
    "The standard normal quantile, the inverse of `ndtr`: infinite at 0 and 1, NaN outside [0, 1].",
    "wg.ndtri(0.975) -> Array(1.95996398, weak)",
)
lgamma = unary(
    "lgamma",
    g.lgamma,
    "`log |Γ(x)|`, for integers `log (x-1)!`; infinite at 0, -1, -2, … Its derivative is `digamma`.",
    "wg.lgamma(10.0) -> Array(12.80182748, weak)",
)
digamma = unary(
    "digamma",
    g.digamma,
    "The derivative of `log Γ(x)`; ∓∞ at ±0, NaN at -1, -2, … Its derivative is `polygamma(1, x)`.",
    "wg.digamma(1.0) -> Array(-0.57721566, weak)",
)
xlogy = binary(
    "xlogy",
    s.xlogy,
    "`x1 · log(x2)`, but 0 where `x1 = 0` (unless `x2` is NaN).\n\n"
    "    Where `x1 = 0` the derivative by `x2` is 0; at (0, 0) both derivatives are 0.",
    "wg.xlogy(0.0, 0.0) -> Array(0., weak)",
)
xlog1py = binary(
    "xlog1py",
    s.xlog1py,
    "`x1 · log(1 + x2)`, but 0 where `x1 = 0` (unless `x2` is NaN).\n\n"
    "    Where `x1 = 0` the derivative by `x2` is 0; at (0, -1) both derivatives are 0.",
    "wg.xlog1py(0.0, -1.0) -> Array(0., weak)",
)
logit = unary(
    "logit",
    s.logit,
    "`log(x / (1 - x))`, the inverse of `expit`: infinite at 0 and 1, NaN outside [0, 1].",
    "wg.logit(0.75) -> Array(1.09861229, weak)",
)
expit = unary(
    "expit", transcendental.logistic, "`1 / (1 + exp(-x))`, the logistic sigmoid.", "wg.expit(0.0) -> Array(0.5, weak)"
)
sinc = unary("sinc", s.sinc, "`sin(πx) / (πx)`, and 1 at 0.", "wg.sinc(0.5) -> Array(0.63661977, weak)")

polygamma = g.polygamma
