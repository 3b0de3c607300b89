"""Normalisations: the same formula, `(x - mean) / √(var + eps) · weight + bias`, over different axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.scope import region
from wengert.nn.functional.inputs import as_floating, as_input
from wengert.ops.pool import sum_pool_p
from wengert.ops.promote import as_array
from wengert.ops.shape import reshape
from wengert.ops.transcendental import rsqrt
from wengert.source import at_user_line


def moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Over `axes`, which stay with length 1: `x - mean`, the mean, and the variance (of these numbers)."""
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    return centred, mean, (centred * centred).mean(axis=axes, keepdims=True)


def scaled(centred: Array, var: Array, weight: Array | None, bias: Array | None, eps: float) -> Array:
    """`centred / √(var + eps) · weight + bias`, all shapes aligned."""
    factor = rsqrt(var + eps)
    out = centred * (factor if weight is None else factor * weight)
    return out if bias is None else out + bias


def per_channel(p: Any, ndim: int) -> Array | None:
    """A parameter for each channel (axis 1), as an array that stretches along the others."""
    return None if p is None else reshape(as_array(p), (1, p.shape[0], *(1,) * (ndim - 2)))


@region("normalisation")
def batch_norm(
    x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Array:  # fmt: skip
    """Each channel normalised by the statistics given, or in training by those of the batch.

    Args:
        x: (N, C, …).
        running_mean, running_var, weight, bias: (C,), or None.
        momentum: is not used: nothing is assigned here; `nn.BatchNorm1d` keeps running statistics.

    Ioffe and Szegedy 2015, *Batch normalization* (arXiv 1502.03167).
    """
    x = as_floating(x, "batch_norm")
    weight, bias = per_channel(weight, x.ndim), per_channel(bias, x.ndim)
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError(f"batch_norm outside training needs running_mean and running_var{at_user_line()}")
        mean, var = per_channel(running_mean, x.ndim), per_channel(running_var, x.ndim)
        assert mean is not None and var is not None
        return scaled(x - mean, var, weight, bias, eps)
    centred, _, var = moments(x, (0, *range(2, x.ndim)))
    return scaled(centred, var, weight, bias, eps)


@region("normalisation")
def instance_norm(
    x: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Array:  # fmt: skip
    """Each channel of each example normalised by its own statistics (or those given): x is (N, C, …).

    Ulyanov, Vedaldi and Lempitsky 2016 (arXiv 1607.08022).
    """
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    x = as_floating(x, "instance_norm")
    centred, _, var = moments(x, tuple(range(2, x.ndim)))
    return scaled(centred, var, per_channel(weight, x.ndim), per_channel(bias, x.ndim), eps)


def _last_axes(x: Any, normalized_shape: Any, weight: Any, what: str) -> tuple[Array, tuple[int, ...]]:
    shape = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    shape = tuple(shape)
    x = as_input(x, weight, what)
    if x.shape[max(x.ndim - len(shape), 0) :] != shape or not shape:
        raise ShapeError(
            f"{what}: the input has shape {x.shape}, whose last axes should be {shape}, the normalized_shape"
            + at_user_line()
        )
    return x, tuple(range(x.ndim - len(shape), x.ndim))


@region("normalisation")
def layer_norm(
    x: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Array:
    """Each example normalised over its last axes, of the given shape, which weight and bias have too.

    Ba, Kiros and Hinton 2016 (arXiv 1607.06450).
    """
    x, axes = _last_axes(x, normalized_shape, weight, "layer_norm")
    centred, _, var = moments(x, axes)
    return scaled(centred, var, weight, bias, eps)


@region("normalisation")
def rms_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Array:
    """`x / √(mean(x²) + eps) · weight` over the last axes; eps is the type's rounding unit by default.

    Zhang and Sennrich 2019 (arXiv 1910.07467).
    """
    x, axes = _last_axes(x, normalized_shape, weight, "rms_norm")
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    return scaled(x, (x * x).mean(axis=axes, keepdims=True), weight, None, eps)


@region("normalisation")
def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
    """Channels in groups, each normalised by its own statistics: x is (N, C, …), weight and bias (C,).

    Wu and He 2018 (arXiv 1803.08494).
    """
    x = as_floating(x, "group_norm")
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise ShapeError(
            f"group_norm: an input of shape {x.shape}; its axis 1 must be divisible into {num_groups} groups"
            + at_user_line()
        )
    n, c, *rest = x.shape
    grouped = reshape(x, (n, num_groups, c // num_groups, *rest))
    centred, _, var = moments(grouped, tuple(range(2, grouped.ndim)))
    ones = (1,) * len(rest)
    by_group = [
        None
        if p is None
        else reshape(as_input(p, x, "group_norm", "a parameter", "the input"), (1, num_groups, c // num_groups, *ones))
        for p in (weight, bias)
    ]
    return reshape(scaled(centred, var, by_group[0], by_group[1], eps), x.shape)


@region("normalisation")
def local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    """`x / (k + α · mean of x² over the `size` channels around)^β`, for x (N, C, …); beyond the channels are zeros.

    Krizhevsky, Sutskever and Hinton 2012, *ImageNet classification with deep convolutional neural networks*.
    """
    x = as_floating(x, "local_response_norm")
    if x.ndim < 3 or size < 1:
        raise ShapeError(
            f"local_response_norm over {size} channels of an input of shape {x.shape}; expected (N, C, …) and at least "
            f"one channel{at_user_line()}"
        )
    squares = reshape(x * x, (*x.shape[:2], math.prod(x.shape[2:])))
    around = ((size // 2, (size - 1) // 2), (0, 0))
    total = sum_pool_p.bind(squares, window=(size, 1), stride=(1, 1), padding=around, dilation=(1, 1))
    return x / (k + alpha * reshape(total, x.shape) / size) ** beta
