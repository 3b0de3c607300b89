"""Samples of the gamma distribution, differentiable in its shape.

G. Marsaglia and W. W. Tsang, *A simple method for generating gamma variables* (ACM TOMS 26, 2000): draw until accepted.
Which draw is accepted may jump with the shape parameter `a`, but the distribution moves smoothly: at a fixed value F of
its distribution function, `d log z / da = -∂F/∂a / (∂F/∂log z)` (implicit reparameterisation, Figurnov, Mohamed and
Mnih 2018, arXiv 1805.08498). Here `∂F/∂a` is an integral, taken by the double exponential rule of Takahasi
and Mori (1974).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.maps import Map
from wengert.ir.primitive import Params, Primitive, Unsupported
from wengert.ir.types import ArrayType, uint32
from wengert.ops.approximation import in_double
from wengert.ops.compare import equal, select
from wengert.ops.elementwise import Elementwise, Scale
from wengert.ops.erf import SQRT_2, _erfinv
from wengert.ops.gamma import _digamma, digamma
from wengert.ops.random import check_key, threefry
from wengert.ops.shape import broadcast_to, to_front
from wengert.ops.transcendental import exp, log
from wengert.source import at_user_line

BOOST, TRIALS = 16, 32  # first words of the counters: beside those of `ops.random`


class RandomGamma(Primitive):
    """A sample of the gamma distribution of shape `a` and scale 1 for each element of `a`, or its logarithm.

    `key` is (B…, 2) and `a` (B…, …): each key draws the elements of its own part of `a`, with their own counters.
    """

    def type(self, key: ArrayType, a: ArrayType, *, log: bool) -> ArrayType:  # type: ignore[override]
        check_key(key, "random.gamma")
        if a.dtype.kind != "f":
            raise DTypeError(f"random.gamma: the shape parameter is {a!r}; expected real floats{at_user_line()}")
        if a.shape[: key.ndim - 1] != key.shape[:-1]:
            raise ShapeError(f"random.gamma: keys {key.shape} for parameters {a.shape}{at_user_line()}")
        return a

    def weak_result(self, args: Sequence[Any], params: Params) -> bool:
        return False

    def evaluate(self, key: Any, a: Any, *, log: bool) -> Any:  # type: ignore[override]
        if key.dtype != uint32 or key.shape[-1:] != (2,) or a.shape[: key.ndim - 1] != key.shape[:-1]:
            raise ValueError("key")
        flat = key.reshape(-1, 2)
        each = a.size // len(flat) if len(flat) else 0
        owner = np.repeat(flat, each, axis=0)
        index = np.tile(np.arange(each, dtype=uint32), len(flat))
        out = np.empty(a.size)
        for start in range(0, a.size, 8192):
            part = slice(start, start + 8192)
            words = _Words(owner[part, 0], owner[part, 1], index[part])
            out[part] = _sample(a.reshape(-1)[part].astype(np.float64), words, log)
        return out.reshape(a.shape).astype(a.dtype)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        if i == 0:
            return None
        a = values[1]
        if params["log"]:
            return Scale(log_gamma_slope(a, out), a.shape, a.shape)
        gone = equal(out, 0)  # too small for its type, and so is its change
        change = out * log_gamma_slope(a, log(select(gone, 1, out)))
        return Scale(select(gone, 0, change), a.shape, a.shape)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (key, a), (key_at, a_at) = values, axes
        key = broadcast_to(key, (size, *key.shape)) if key_at is None else to_front(key, key_at)
        a = broadcast_to(a, (size, *a.shape)) if a_at is None else to_front(a, a_at)
        return self.bind(key, a, **params), 0

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        return patterns[1]


class _Words:
    """Uniform numbers in (0, 1) for chosen elements, each from its own key and counter."""

    def __init__(self, k0: Any, k1: Any, index: Any):
        self.k0, self.k1, self.index = k0, k1, index

    def uniform(self, stream: int, chosen: Any) -> Any:
        x0, x1 = np.full(len(chosen), stream, uint32), self.index[chosen]
        threefry(self.k0[chosen], self.k1[chosen], x0, x1)
        return ((x0 >> np.uint32(5)) * 2.0**26 + (x1 >> np.uint32(6)) + 0.5) * 2.0**-53


def _sample(a: Any, words: _Words, logarithm: bool) -> Any:
    small = a < 1
    d = np.where(small, a + 1, a) - 1 / 3
    c = 1 / np.sqrt(9 * d)
    v = np.full(a.shape, np.nan)
    left = np.flatnonzero((a > 0) & (a < np.inf))
    trial = TRIALS
    while left.size:
        x = SQRT_2 * _erfinv(2 * (words.uniform(trial, left) - 0.5))
        u = words.uniform(trial + 1, left)
        scale = d[left]
        cube = (1 + c[left] * x) ** 3
        with np.errstate(all="ignore"):
            accepted = (cube > 0) & (np.log(u) < 0.5 * x * x + scale * (1 - cube + np.log(cube)))
        v[left[accepted]] = cube[accepted]
        left = left[~accepted]
        trial += 2
    boost = np.zeros(a.shape)
    less = np.flatnonzero(small)
    boost[less] = np.log(words.uniform(BOOST, less)) / a[less]
    out = np.log(d * v) + boost if logarithm else d * v * np.exp(boost)
    out[a == np.inf] = np.inf
    out[a == 0] = -np.inf if logarithm else 0.0
    return out


_NODES = np.arange(-3.7, 3.85, 0.1)
_X = np.exp(_NODES - np.exp(-_NODES))
_WEIGHTS = 0.1 * _X * (1 + np.exp(-_NODES))


def _log_gamma_slope(a: Any, log_z: Any) -> Any:
    # ∂F/∂a over the density = ∫ (log z + u - ψ(a)) exp(a·u - z·(e^u - 1)) du, with t = z·e^u in the integral that
    # defines F: over u < 0, or from 1 - F, with the other sign, over u > 0, whichever side holds less
    z = np.exp(log_z)
    right = z > a + 1
    gap = np.abs(z - a)
    length = 2 / (gap + np.sqrt(gap * gap + 2 * z))  # in which the exponent falls by about 1
    length = np.where(right, length, -np.maximum(length, 1 / a))
    mean = log_z - _digamma(a)
    total = np.zeros_like(a)
    for x, w in zip(_X, _WEIGHTS, strict=True):
        u = length * x
        total += w * (mean + u) * np.exp(a * u - z * np.expm1(u))
    return length * total


def _no_second(*_: Any) -> Any:
    return Unsupported("the second derivative of a gamma sample by its shape parameter has no closed form here")()


log_gamma_slope = Elementwise(
    "log_gamma_slope",
    in_double(_log_gamma_slope),
    _no_second,
    lambda s, a, log_z: digamma(a) - log_z - s * (a - exp(log_z)),
    takes="f",
    doc="How the logarithm of a gamma sample changes with its shape parameter, at a fixed value of the distribution.",
)
random_gamma_p = RandomGamma("random_gamma")
