"""Statistics of parameters, activations and gradients, as operations inside a compiled step.

Everything a look takes in is put on a `Sheet` and leaves the program as one vector, whose layout is known when the step
is traced: a record costs Python next to nothing until somebody reads it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.array.creation import arange
from wengert.array.manipulation import concat
from wengert.array.reductions import max as max_
from wengert.array.reductions import mean
from wengert.array.reductions import min as min_
from wengert.array.reductions import sum as sum_
from wengert.array.searching import where
from wengert.ir.array import Array
from wengert.ir.types import float32
from wengert.ops.promote import convert
from wengert.ops.shape import reshape

Path = tuple[str, ...]

BINS = 32
SAMPLE = 512  # numbers that a histogram is made of
EXAMPLES = 32  # from which ranks are taken
FEATURES = 1024  # likewise


class Sheet:
    """Numbers by name, in the order in which they are added.

    A number that stands for another until it is read (a sum of squares for a norm) is finished in `flow.records`.
    """

    def __init__(self) -> None:
        self.paths: list[tuple[Path, int]] = []  # with how many numbers each has
        self.values: list[Array] = []
        self.labels: dict[str, dict[str, str]] = {}  # of calls: what was called

    def add(self, path: Path, value: Any) -> None:
        value = convert(value, float32) if isinstance(value, Array) else Array(np.asarray(value, float32))
        self.paths.append((path, value.size))
        self.values.append(reshape(value, (value.size,)))

    def pack(self) -> Array:
        """All of it as one vector."""
        return concat(self.values)


def layout(paths: Sequence[tuple[Path, int]], row: np.ndarray) -> dict[Path, Any]:
    """The numbers of a packed sheet by name: a float, or an array where there are several."""
    found: dict[Path, Any] = {}
    at = 0
    for path, size in paths:
        found[path] = float(row[at]) if size == 1 else row[at : at + size]
        at += size
    return found


def square(x: Array) -> Array:
    """`Σ x²`."""
    return sum_(x * x)


def ranges(sheet: Sheet, path: Path, x: Array) -> None:
    """Least and largest, the fraction of zeros, and a histogram of `BINS` bins between those two.

    The counts are of a sample: of every k-th element, with k prime to the length of a row, so that all columns are met.
    """
    low, high = min_(x), max_(x)
    sheet.add((*path, "min"), low)
    sheet.add((*path, "max"), high)
    sheet.add((*path, "zero"), mean(where(x == 0, 1.0, 0.0)))
    values = sampled(x)
    inner = low + (high - low) * (arange(1, BINS, dtype=float32) / BINS)
    below = sum_(where(reshape(values, (1, values.size)) < reshape(inner, (BINS - 1, 1)), 1.0, 0.0), axis=1)
    sheet.add((*path, "below"), below)
    sheet.add((*path, "count"), values.size)


def sampled(x: Array) -> Array:
    """At most about `SAMPLE` of the elements, spread evenly."""
    step = max(1, x.size // SAMPLE)
    while step > 1 and x.shape and math.gcd(step, x.shape[-1]) != 1:
        step -= 1
    flat = reshape(x, (x.size,))
    return flat if step == 1 else flat[::step]


def some_examples(x: Array, most: int) -> Array:
    """The first examples of a batch, as many as hold `most` numbers together, but at least one."""
    if x.ndim < 2 or x.size <= most:
        return x
    return x[: max(1, most * x.shape[0] // x.size)]


def units(x: Array) -> tuple[int, ...]:
    """The axes over which a unit is repeated: all but the channels (axis 1; where there are three axes, the last)."""
    if x.ndim <= 1:
        return ()
    channel = x.ndim - 1 if x.ndim == 3 else 1
    return tuple(k for k in range(x.ndim) if k != channel)


def never(x: Array) -> Array:
    """The fraction of units that are 0 for every example."""
    if x.ndim < 2:
        return mean(where(x == 0, 1.0, 0.0))
    return mean(where(sum_(where(x == 0, 0.0, 1.0), axis=units(x)) == 0, 1.0, 0.0))


def matrix(x: Array) -> Array | None:
    """Some examples by some features; None for a single example."""
    if x.ndim < 2 or x.shape[0] < 2:
        return None
    x = x[:EXAMPLES]
    x = reshape(x, (x.shape[0], x.size // x.shape[0]))
    step = max(1, x.shape[1] // FEATURES)
    return x if step == 1 else x[:, ::step][:, :FEATURES]


def effective_rank(a: Array) -> Array:
    """`(Σ λ)² / Σ λ²` over the eigenvalues of the examples' covariance: how many directions activations use."""
    a = a - mean(a, axis=0, keepdims=True)
    gram = a @ a.T
    return _trace(gram) ** 2 / square(gram)


def shattering(g: Array) -> Array:
    """The effective rank `tr(GGᵀ) / ‖G‖₂²` of the examples' gradients, as a share of that of white noise.

    Near 1, gradients of different examples have as little in common as noise: they are shattered (Balduzzi et al. 2017,
    *The shattered gradients problem*, arXiv 1702.08591). The rank is Vershynin's (2012, arXiv 1011.3027), who also
    gives `‖G‖₂ ≈ √n + √d` for white noise of n × d numbers. The largest eigenvalue is found by squaring the matrix,
    as in the power method.
    """
    n, d = g.shape
    gram = g @ g.T
    total = _trace(gram)
    gram = gram / total  # eigenvalues add up to 1
    power = gram
    for _ in range(4):
        power = power @ power
        power = power / _trace(power)
    largest = sum_(power * gram) / _trace(power)  # at the 16th power, an average led by the largest
    return (1 / largest) * (math.sqrt(n) + math.sqrt(d)) ** 2 / (n * d)


def _trace(a: Array) -> Array:
    return sum_(a * Array(np.eye(a.shape[0], dtype=np.float32)))


def noise(x: Array, cotangent: Array, gradient: Array, bias: bool) -> tuple[Array, Array]:
    """Of a linear layer: the trace of the covariance of single examples' gradients, and `‖G‖²`, without bias.

    For a loss that is a mean, example i has the gradient `n xᵢ δᵢᵀ`, of squared norm `n² ‖xᵢ‖² ‖δᵢ‖²`
    (Goodfellow 2015, arXiv 1510.01799), so nothing has to be differentiated again. McCandlish et al. 2018, *An
    empirical model of large-batch training* (arXiv 1812.06162): the noise scale is the quotient of the two.
    """
    n = x.shape[0]
    inputs = sum_(x * x, axis=1) + (1.0 if bias else 0.0)
    each = n * sum_(inputs * sum_(cotangent * cotangent, axis=1))  # mean of the squared norms
    both = square(gradient) + (square(sum_(cotangent, axis=0)) if bias else 0.0)
    trace = (each - both) * (n / (n - 1))
    return trace, both - trace / n
