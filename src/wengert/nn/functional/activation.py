"""Activation functions: elementwise formulas, and softmax. At a kink the derivative is PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.scope import region
from wengert.ir.types import normalize_axis
from wengert.linalg.norms import vector_norm
from wengert.nn.functional.inputs import as_floating, as_input
from wengert.ops import logsumexp
from wengert.ops import transcendental as t
from wengert.ops.arithmetic import abs_, maximum, minimum
from wengert.ops.compare import select
from wengert.ops.erf import erf
from wengert.ops.promote import as_array
from wengert.ops.shape import reshape
from wengert.source import at_user_line

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@region("activation")
def sigmoid(x: Any) -> Array:
    """`1 / (1 + e⁻ˣ)`; derivative at most 1/4."""
    return t.logistic(as_floating(x, "sigmoid"))


@region("activation")
def tanh(x: Any) -> Array:
    """`(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)`; derivative at most 1."""
    return t.tanh(as_floating(x, "tanh"))


@region("activation")
def relu(x: Any) -> Array:
    """`max(x, 0)`; the derivative at 0 is 0, NaN stays NaN."""
    x = as_floating(x, "relu")
    return select(x <= 0, 0, x)


@region("activation")
def relu6(x: Any) -> Array:
    """`min(max(x, 0), 6)`."""
    return hardtanh(x, 0.0, 6.0)


@region("activation")
def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """`x` held between `min_val` and `max_val`; the derivative on a bound is 0."""
    x = as_floating(x, "hardtanh")
    return select(x <= min_val, min_val, select(x >= max_val, max_val, x))


@region("activation")
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Array:
    """`x` where positive, else `negative_slope · x`."""
    x = as_floating(x, "leaky_relu")
    return select(x > 0, x, negative_slope * x)


@region("activation")
def prelu(x: Any, weight: Any) -> Array:
    """`x` where positive, else `weight · x`, the weight one for all channels (axis 1) or one for each.

    He et al. 2015, *Delving deep into rectifiers* (arXiv 1502.01852).
    """
    weight = as_array(weight, "prelu: the weight")
    x = as_input(x, weight, "prelu")
    if weight.size != 1:
        channels = x.shape[1] if x.ndim > 1 else x.shape[0] if x.ndim else 1
        if weight.shape != (channels,):
            raise ShapeError(
                f"prelu: the weight of shape {weight.shape} for an input of shape {x.shape}, which has {channels} "
                f"channels; expected one weight, or one for each{at_user_line()}"
            )
        weight = reshape(weight, (channels, *(1,) * max(x.ndim - 2, 0)))
    else:
        weight = reshape(weight, ())
    return select(x > 0, x, weight * x)


@region("activation")
def elu(x: Any, alpha: float = 1.0) -> Array:
    """`x` where positive, else `α (eˣ - 1)` (Clevert, Unterthiner and Hochreiter 2015, arXiv 1511.07289)."""
    x = as_floating(x, "elu")
    return select(x > 0, x, alpha * t.expm1(x))


@region("activation")
def selu(x: Any) -> Array:
    """`s · x` where positive, else `s α (eˣ - 1)`, with α ≈ 1.6733 and s ≈ 1.0507 (Klambauer 2017, 1706.02515)."""
    x = as_floating(x, "selu")
    return select(x > 0, SELU_SCALE * x, SELU_SCALE * SELU_ALPHA * t.expm1(x))


@region("activation")
def celu(x: Any, alpha: float = 1.0) -> Array:
    """`x` where positive, else `α (e^(x/α) - 1)` (Barron 2017, arXiv 1704.07483)."""
    x = as_floating(x, "celu")
    return select(x > 0, x, alpha * t.expm1(x / alpha))


@region("activation")
def gelu(x: Any, approximate: str = "none") -> Array:
    """`x Φ(x)`, Φ the standard normal distribution function (Hendrycks and Gimpel 2016, arXiv 1606.08415).

    With `approximate="tanh"`, `x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`.
    """
    x = as_floating(x, "gelu")
    if approximate == "none":
        return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))
    if approximate == "tanh":
        return 0.5 * x * (1 + t.tanh(math.sqrt(2 / math.pi) * x * (1 + 0.044715 * x * x)))
    raise ArgumentError(f'gelu: approximate is {approximate!r}; expected "none" or "tanh"{at_user_line()}')


@region("activation")
def silu(x: Any) -> Array:
    """`x · sigmoid(x)`, also called swish."""
    x = as_floating(x, "silu")
    return x * t.logistic(x)


@region("activation")
def mish(x: Any) -> Array:
    """`x · tanh(log(1 + eˣ))` (Misra 2019, arXiv 1908.08681)."""
    x = as_floating(x, "mish")
    return x * t.tanh(t.softplus(x))


@region("activation")
def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """`log(1 + e^(βx)) / β`; `x` itself where `βx > threshold`."""
    x = as_floating(x, "softplus")
    scaled = x if beta == 1 else beta * x
    soft = t.softplus(scaled)
    return select(scaled > threshold, x, soft if beta == 1 else soft / beta)


@region("activation")
def softsign(x: Any) -> Array:
    """`x / (1 + |x|)`."""
    x = as_floating(x, "softsign")
    return x / (1 + abs_(x))


@region("activation")
def hardsigmoid(x: Any) -> Array:
    """`min(max(x + 3, 0), 6) / 6`."""
    x = as_floating(x, "hardsigmoid")
    return select(x <= -3, 0, select(x >= 3, 1, x / 6 + 0.5))


@region("activation")
def hardswish(x: Any) -> Array:
    """`x · min(max(x + 3, 0), 6) / 6` (Howard et al. 2019, arXiv 1905.02244)."""
    x = as_floating(x, "hardswish")
    return select(x <= -3, 0, select(x >= 3, x, x * (x + 3) / 6))


@region("activation")
def logsigmoid(x: Any) -> Array:
    """`-log(1 + e⁻ˣ)`, without overflow."""
    return -t.softplus(-as_floating(x, "logsigmoid"))


@region("activation")
def tanhshrink(x: Any) -> Array:
    """`x - tanh(x)`."""
    x = as_floating(x, "tanhshrink")
    return x - t.tanh(x)


@region("activation")
def softshrink(x: Any, lambd: float = 0.5) -> Array:
    """`x` moved towards 0 by `lambd`, and 0 where it is nearer than that."""
    x = as_floating(x, "softshrink")
    return select(x > lambd, x - lambd, select(x < -lambd, x + lambd, 0 * x))


@region("activation")
def hardshrink(x: Any, lambd: float = 0.5) -> Array:
    """0 where `|x| ≤ lambd`, else `x`."""
    x = as_floating(x, "hardshrink")
    return select(abs_(x) <= lambd, 0, x)


@region("activation")
def threshold(x: Any, threshold: float, value: float) -> Array:
    """`x` where it is above the threshold, else `value`."""
    x = as_floating(x, "threshold")
    return select(x <= threshold, value, x)


@region("activation")
def glu(x: Any, dim: int = -1) -> Array:
    """`a · sigmoid(b)`, with the halves a and b of `x` along `dim` (Dauphin et al. 2016, arXiv 1612.08083)."""
    x = as_floating(x, "glu")
    axis = normalize_axis(dim, x.ndim, "glu")
    n = x.shape[axis]
    if n % 2:
        raise ShapeError(f"glu halves axis {axis} of an input of shape {x.shape}; {n} is odd{at_user_line()}")
    lead = (slice(None),) * axis
    return x[(*lead, slice(0, n // 2))] * t.logistic(x[(*lead, slice(n // 2, n))])


@region("activation")
def softmax(x: Any, dim: int | Sequence[int] = -1) -> Array:
    """`exp(x) / Σ exp(x)`, the sum along `dim`; 0 for -inf, also where all are."""
    return logsumexp.softmax(x, axis=dim)


@region("activation")
def softmin(x: Any, dim: int | Sequence[int] = -1) -> Array:
    """`softmax(-x)`."""
    return logsumexp.softmax(-as_floating(x, "softmin"), axis=dim)


@region("activation")
def log_softmax(x: Any, dim: int | Sequence[int] = -1) -> Array:
    """`x - log Σ exp(x)`, the sum along `dim`."""
    return logsumexp.log_softmax(x, axis=dim)


def normalize(x: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Array:
    """`x / max(‖x‖ₚ, eps)`, the norm along `dim`; p may be `inf`."""
    x = as_floating(x, "normalize")
    axis = normalize_axis(dim, x.ndim, "normalize")
    return x / maximum(vector_norm(x, axis=axis, keepdims=True, ord=p), eps)


def clamp(x: Any, min: Any = None, max: Any = None) -> Array:
    """`x` between two bounds, either of which may be None."""
    x = as_array(x, "clamp")
    x = x if min is None else maximum(x, min)
    return x if max is None else minimum(x, max)
