"""Dropout: elements or whole channels set to 0 at random, the others made larger so that the mean stays."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ir.scope import region
from wengert.ir.types import Shape
from wengert.nn.functional.inputs import as_floating
from wengert.ops.compare import less, select
from wengert.ops.promote import number
from wengert.ops.random import DRAW, random_bits_p
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


def _given(key: Any) -> Array:
    if key is None:
        raise ArgumentError(
            "dropout draws random numbers: pass key=wg.random.key(0), or use nn.Dropout, which holds a key"
            + at_user_line()
        )
    return one_key(key, "dropout")
