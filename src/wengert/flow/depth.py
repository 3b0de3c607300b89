"""Mean-field theory: how deep a signal and its gradient get through layers of random weights, before any training.

In a wide net with weights of variance `σ_w²/fan_in` and biases of variance `σ_b²`, pre-activations are Gaussian. Their
variance q and the correlation c of those of two examples go from layer to layer by

    q' = σ_w² E[φ(√q z)²] + σ_b²            c' = (σ_w² E[φ(u₁) φ(u₂)] + σ_b²) / q'

(z standard normal, u₁ and u₂ normal with variance q and correlation c), and the squared norm of the gradient is
multiplied by `χ = σ_w² E[φ'(√q z)²]` on its way back. Both approach their fixed point
exponentially, with the depth scales ξ.

Poole et al. 2016, *Exponential expressivity in deep neural networks through transient chaos* (arXiv 1606.05340);
Schoenholz, Gilmer, Ganguli and Sohl-Dickstein 2017, *Deep information propagation* (arXiv 1611.01232).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from wengert.diff.derivatives import jvp
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.nn import functional as F
from wengert.nn.module import Module
from wengert.source import at_user_line

SMALL, LARGE = 1e-12, 1e12  # variances that stand for 0 and infinity
TRAINABLE = 6.0  # depth scales that a trainable net may have, as Schoenholz et al. found
CRITICAL = 1e-3  # |χ - 1| that counts as the edge


def _rule(panels: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for the expectation over a standard normal; kinks at 0 lie between panels."""
    x, w = np.polynomial.legendre.leggauss(points)
    edges = np.linspace(-10, 10, panels + 1)
    half = (edges[1:] - edges[:-1]) / 2
    z = (edges[:-1, None] + half[:, None] * (x + 1)).ravel()
    weight = (half[:, None] * w).ravel() * np.exp(-z * z / 2)
    return z, weight / weight.sum()


Z, WEIGHT = _rule(160, 4)
Z2, WEIGHT2 = _rule(80, 2)  # for pairs


class Activation:
    """An elementwise function as mean-field theory sees it: its expectations over Gaussian pre-activations.

    Args:
        function: a function of an array, an activation module, or a name in `nn.functional`.
    """

    def __init__(self, function: Any):
        if isinstance(function, str):
            if not hasattr(F, function):
                raise ArgumentError(f"nn.functional has no activation {function!r}{at_user_line()}")
            function = getattr(F, function)
        if not callable(function):
            raise ArgumentError(
                f"expected an elementwise function, a module or a name; got {function!r}{at_user_line()}"
            )
        self.name = type(function).__name__ if isinstance(function, Module) else getattr(function, "__name__", "φ")
        self.function: Callable[[Any], Any] = function

    def values(self, u: np.ndarray, slope: bool = False) -> np.ndarray:
        """φ(u), or φ'(u)."""
        x = Array(np.asarray(u, np.float64))
        found = jvp(self.function, (x,), (Array(np.ones_like(u)),))[1] if slope else self.function(x)
        out = np.asarray(found, np.float64)
        if out.shape != u.shape:
            raise ArgumentError(
                f"{self.name} turns an array of shape {u.shape} into {out.shape}; mean-field theory is for elementwise "
                f"functions{at_user_line()}"
            )
        return out

    def moment(self, q: float, mean: float = 0.0, power: int = 2, slope: bool = False) -> float:
        """`E[φ(u)^power]`, or of φ', for u normal with this mean and variance q."""
        return float(WEIGHT @ self.values(mean + math.sqrt(q) * Z, slope) ** power)

    def moment_slope(self, q: float) -> float:
        """`d E[φ(√q z)²] / dq`."""
        u = math.sqrt(q) * Z
        return float(WEIGHT @ (self.values(u) * self.values(u, slope=True) * Z)) / math.sqrt(q)

    def product(self, q: float, c: float, mean: float = 0.0, slope: bool = False) -> float:
        """`E[φ(u₁) φ(u₂)]`, or of φ', for variance q and correlation c."""
        c = min(max(c, -1.0), 1.0)
        first = mean + math.sqrt(q) * Z2
        second = mean + math.sqrt(q) * (c * Z2[:, None] + math.sqrt(1 - c * c) * Z2)
        inner = self.values(second.ravel(), slope).reshape(second.shape) @ WEIGHT2
        return float((WEIGHT2 * self.values(first, slope)) @ inner)


class DepthScales(NamedTuple):
    """What mean-field theory says of layers `h = W φ(h) + b` without end.

    Attributes:
        weight_variance, bias_variance: σ_w² (variance of a weight times fan-in) and σ_b².
        q: the variance of pre-activations at the fixed point: 0 where the signal dies, infinite where it blows up.
        chi: χ₁ = σ_w² E[φ'(√q z)²], by which the squared norm of the gradient is multiplied a layer. Below 1 (ordered)
            it vanishes and all inputs end alike; above 1 (chaotic) it explodes and near inputs end apart.
        c: the correlation of two inputs at the fixed point.
        xi_q: layers in which the distance of the variance from q falls by e.
        xi_c: the same for the correlation: how far a signal gets. Nets of more than about `6 ξ_c` layers don't train.
        xi_gradient: layers in which the squared norm of the gradient changes by e, `1 / |ln χ₁|`.
    """

    weight_variance: float
    bias_variance: float
    q: float
    chi: float
    c: float
    xi_q: float
    xi_c: float
    xi_gradient: float

    @property
    def phase(self) -> str:
        return "critical" if abs(self.chi - 1) <= CRITICAL else "ordered" if self.chi < 1 else "chaotic"

    @property
    def depth(self) -> float:
        """Layers that a signal passes, `6 ξ_c`."""
        return TRAINABLE * self.xi_c

    @property
    def decades(self) -> float:
        """log10 of the gradient's gain in one layer, going back."""
        return math.log10(self.chi) / 2 if self.chi > 0 else -math.inf

    def __str__(self) -> str:
        return (
            f"σ_w² = {self.weight_variance:.4g}, σ_b² = {self.bias_variance:.4g}: q* = {self.q:.4g}, "
            f"χ₁ = {self.chi:.4g} ({self.phase}), ξ_c = {self.xi_c:.4g}: a signal passes {self.depth:.3g} layers; "
            f"the gradient changes by {self.decades:+.3g} decades a layer"
        )


def depth_scales(activation: Any, weight_variance: float, bias_variance: float = 0.0) -> DepthScales:
    """The fixed point and the depth scales of fully connected layers with random weights.

    Args:
        activation: a function, a module, or a name in `nn.functional`.
        weight_variance: σ_w², the variance of a weight times the number of inputs.
        bias_variance: σ_b².

    `ξ_q = -1 / ln(σ_w² d E[φ(√q z)²]/dq)` (equal to Schoenholz's formula by partial integration),
    `ξ_c = -1 / ln(σ_w² E[φ'(u₁) φ'(u₂)])` at the stable c; both are infinite at the edge of chaos.

    Raises:
        ArgumentError: a variance is negative, or the function is not elementwise.

    Example:
        >>> flow.depth_scales("tanh", 1.5, 0.05).phase
        'chaotic'
    """
    if not (weight_variance >= 0 and bias_variance >= 0):
        raise ArgumentError(
            f"variances are at least 0; got {weight_variance} for weights, {bias_variance} for biases{at_user_line()}"
        )
    phi = activation if isinstance(activation, Activation) else Activation(activation)
    w, b = float(weight_variance), float(bias_variance)
    found = _fixed_variance(phi, w, b)
    q = min(max(found, SMALL), LARGE)
    chi = w * phi.moment(q, slope=True)
    c, slope = _fixed_correlation(phi, w, b, q, chi)
    q_slope = w * phi.moment_slope(q)
    return DepthScales(w, b, found, chi, c, _scale(q_slope), _scale(slope), _scale(chi))


def _scale(slope: float) -> float:
    """-1 / ln(slope), its absolute value: layers for a factor e."""
    if slope <= 0:
        return 0.0
    return math.inf if abs(slope - 1) < 1e-9 else 1 / abs(math.log(slope))


def _fixed_variance(phi: Activation, w: float, b: float) -> float:
    """The variance that layers after layers lead to, from 1."""

    def excess(log_q: float) -> float:
        q = math.exp(log_q)
        return (w * phi.moment(q) + b) / q - 1

    start = excess(0.0)
    if abs(start) < 1e-9:
        return 1.0
    end = math.log(LARGE) if start > 0 else math.log(SMALL)
    grid = np.linspace(0.0, end, 113)
    for near, far in pairwise(grid):
        if excess(far) * start <= 0:
            for _ in range(60):
                middle = (near + far) / 2
                near, far = (near, middle) if excess(middle) * start <= 0 else (middle, far)
            return math.exp((near + far) / 2)
    return math.inf if start > 0 else 0.0


def _fixed_correlation(phi: Activation, w: float, b: float, q: float, chi: float) -> tuple[float, float]:
    """The stable correlation, and the slope of its map there."""
    if chi <= 1 + 1e-9:
        return 1.0, chi
    total = w * phi.moment(q) + b

    def excess(c: float) -> float:
        return (w * phi.product(q, c) + b) / total - c

    low, high = (0.0, 1 - 1e-4) if excess(0.0) > 0 else (-1.0, 0.0)
    if excess(high) > 0:  # so near the edge that the rule can't tell c from 1
        return 1.0, chi
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    c = (low + high) / 2
    return c, w * phi.product(q, c, slope=True)
