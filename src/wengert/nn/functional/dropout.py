"""Dropout: elements or whole channels set to 0 at random, the others made larger so that the mean stays."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.array.reductions import argmax
from wengert.diff.stop_gradient import stop_gradient_p
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ir.scope import region
from wengert.ir.types import Shape
from wengert.nn.functional.inputs import as_floating
from wengert.ops.compare import less, select
from wengert.ops.index import iota
from wengert.ops.logsumexp import softmax
from wengert.ops.promote import convert, number
from wengert.ops.random import DRAW, random_bits_p
from wengert.random.continuous import gumbel, uniform
from wengert.random.keys import one_key
from wengert.source import at_user_line

SELU_LIMIT = -1.7580993408473766  # of selu(x) for x towards -∞


def check_probability(p: Any, what: str) -> None:
    if not isinstance(p, (int, float, np.number)) or isinstance(p, bool) or not 0 <= p <= 1:
        raise ArgumentError(f"{what}: the probability is {p!r}; expected a number from 0 to 1{at_user_line()}")


def kept(key: Array, p: float, shape: Shape) -> Array:
    """Booleans, each false with probability p (to within 2⁻³²)."""
    bits = random_bits_p.bind(key, shape=shape, stream=DRAW)
    return less(bits, number(min(round((1 - p) * 2**32), 2**32 - 1), np.dtype(np.uint32)))


@region("dropout")
def dropout(x: Any, p: float = 0.5, training: bool = True, *, key: Any = None, axes: int | None = None) -> Array:
    """`x / (1 - p)` where a coin of probability 1 - p falls so, else 0.

    Args:
        x: array of real numbers.
        p: the probability that an element is set to 0.
        training: whether to do anything.
        key: a random key; `nn.Dropout` holds one.
        axes: how many of the last axes share one coin (whole channels are dropped); None for none.

    Srivastava et al. 2014, *Dropout: a simple way to prevent neural networks from overfitting*.
    """
    x = as_floating(x, "dropout")
    check_probability(p, "dropout")
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0
    shape = x.shape if not axes else (*x.shape[: x.ndim - axes], *(1,) * axes)
    return select(kept(_given(key), p, shape), x * (1 / (1 - p)), 0)


@region("dropout")
def alpha_dropout(x: Any, p: float = 0.5, training: bool = True, *, key: Any = None) -> Array:
    """Dropout that keeps mean 0 and variance 1 behind SELU: dropped elements become its limit, then all are scaled.

    Klambauer et al. 2017 (arXiv 1706.02515).
    """
    x = as_floating(x, "alpha_dropout")
    check_probability(p, "alpha_dropout")
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0
    a = ((1 - p) * (1 + p * SELU_LIMIT**2)) ** -0.5
    return a * select(kept(_given(key), p, x.shape), x, SELU_LIMIT) - a * p * SELU_LIMIT


@region("activation")
def rrelu(x: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, *, key: Any = None) -> Array:
    """`x` where positive, else a slope times `x`: drawn between `lower` and `upper`, or in use their mean.

    Xu et al. 2015, *Empirical evaluation of rectified activations in convolutional network* (arXiv 1505.00853).
    """
    x = as_floating(x, "rrelu")
    if not lower <= upper:
        raise ArgumentError(
            f"rrelu: the slopes lie between {lower} and {upper}; expected lower ≤ upper{at_user_line()}"
        )
    if not training:
        return select(x >= 0, x, (lower + upper) / 2 * x)
    slope = uniform(_given(key), x.shape, x.dtype, lower, upper)
    return select(x >= 0, x, slope * x)


def gumbel_softmax(logits: Any, tau: float = 1.0, hard: bool = False, dim: int = -1, *, key: Any = None) -> Array:
    """Samples of classes that can be differentiated: `softmax((logits + Gumbel noise) / τ)`.

    Args:
        logits: unnormalised log probabilities along `dim`.
        tau: τ, the temperature: the smaller, the nearer to one class.
        hard: whether the result is exactly one class, with the derivative of the soft one.
        key: a random key.

    Jang, Gu and Poole 2017 (arXiv 1611.01144).
    """
    x = as_floating(logits, "gumbel_softmax")
    soft = softmax((x + gumbel(_given(key), x.shape, x.dtype)) / tau, axis=dim)
    if not hard:
        return soft
    axis = dim % x.ndim
    chosen = argmax(soft, axis=axis, keepdims=True) == iota(x.shape[axis], axis, x.ndim)
    return stop_gradient_p.bind(convert(chosen, x.dtype) - soft) + soft


def _given(key: Any) -> Array:
    if key is None:
        raise ArgumentError(
            "a function that draws random numbers in use needs key=wg.random.key(0); nn.Dropout and nn.RReLU hold one"
            + at_user_line()
        )
    return one_key(key, "dropout")
