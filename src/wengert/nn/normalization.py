"""Normalisation layers. Running statistics are buffers, assigned in training and written back by the transformation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import int64
from wengert.nn import functional as F
from wengert.nn.functional.inputs import as_input
from wengert.nn.functional.norm import moments, per_channel, scaled
from wengert.nn.init.distributions import ones, zeros
from wengert.nn.module import Module
from wengert.nn.sizes import lengths, size
from wengert.ops.promote import convert
from wengert.ops.shape import reshape
from wengert.source import at_user_line


class _RunningNorm(Module):
    """Batch and instance normalisation: statistics of each channel, with a running average for use after training."""

    _buffers = frozenset(("running_mean", "running_var", "num_batches_tracked"))
    per_example = False
    ranks: tuple[int, ...]  # how many axes an input may have
    unbatched: int | None = None  # how many axes one example has, where it may come alone

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, dtype: Any = None, *, bias: bool = True,
    ):  # fmt: skip
        self.num_features = size(num_features, f"{type(self).__name__}: num_features")
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight = ones(num_features, dtype=dtype) if affine else None
        self.bias = zeros(num_features, dtype=dtype) if affine and bias else None
        self.running_mean = zeros(num_features, dtype=dtype) if track_running_stats else None
        self.running_var = ones(num_features, dtype=dtype) if track_running_stats else None
        self.num_batches_tracked = Array(np.zeros((), int64)) if track_running_stats else None

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        if self.track_running_stats:
            self.running_mean = zeros(self.running_mean)
            self.running_var = ones(self.running_var)
            self.num_batches_tracked = Array(np.zeros((), int64))

    def forward(self, x: Any) -> Array:
        x = as_input(x, self.weight if self.affine else self.running_mean, self)
        if alone := x.ndim == self.unbatched:
            x = reshape(x, (1, *x.shape))
        if x.ndim not in self.ranks or x.shape[1] != self.num_features:
            raise ShapeError(
                f"{self!r}: the input has shape {x.shape}; expected {' or '.join(map(str, self.ranks))} axes, the "
                f"second of {self.num_features} channels{at_user_line()}"
            )
        if self.track_running_stats and not self.training:
            centred = x - per_channel(self.running_mean, x.ndim)
            var: Any = per_channel(self.running_var, x.ndim)
        else:
            axes = (() if self.per_example else (0,)) + tuple(range(2, x.ndim))
            count = math.prod(x.shape[a] for a in axes)
            if count <= 1:
                raise ShapeError(
                    f"{self!r}: more than one value per channel is needed to normalise by, the input has shape "
                    f"{x.shape}{at_user_line()}"
                )
            centred, mean, var = moments(x, axes)
            if self.track_running_stats:
                self._track(mean, var, count)
        y = scaled(centred, var, per_channel(self.weight, x.ndim), per_channel(self.bias, x.ndim), self.eps)
        return reshape(y, y.shape[1:]) if alone else y

    def _track(self, mean: Array, var: Array, count: int) -> None:
        """Move the running statistics towards those of the batch, whose variance is made unbiased."""
        share: Any = self.momentum
        if not self.per_example:  # PyTorch's instance normalisation doesn't count
            tracked: Any = self.num_batches_tracked
            self.num_batches_tracked = tracked + 1
            if share is None:  # the average over all batches
                share = 1 / convert(tracked + 1, mean.dtype)
        c = self.num_features
        new_mean = mean.mean(axis=0) if self.per_example else mean
        new_var = var.mean(axis=0) if self.per_example else var
        self.running_mean = (1 - share) * self.running_mean + share * reshape(new_mean, (c,))
        self.running_var = (1 - share) * self.running_var + share * (count / (count - 1)) * reshape(new_var, (c,))

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_RunningNorm):
    """Each channel normalised over the batch: `y = (x - mean) / √(var + eps) · weight + bias`.

    Args:
        num_features: C, of inputs (N, C) or (N, C, L).
        eps: keeps the root from 0.
        momentum: share of the newest batch in the running statistics; None for their average over all batches.
        affine: whether weight (1 at first) and, with `bias`, bias (0) are learned.
        track_running_stats: whether running statistics are kept; after `eval()` they replace those of the batch.

    Parameters `weight`, `bias`, buffers `running_mean`, `running_var` (unbiased), `num_batches_tracked`. In training
    they are assigned, so a transformed function takes the model as an argument.

    Ioffe and Szegedy 2015, *Batch normalization* (arXiv 1502.03167).

    Raises:
        ShapeError: other channels, or a batch of one value per channel in training.
    """

    ranks = (2, 3)


class BatchNorm2d(_RunningNorm):
    """`BatchNorm1d` for inputs (N, C, H, W)."""

    ranks = (4,)


class BatchNorm3d(_RunningNorm):
    """`BatchNorm1d` for inputs (N, C, D, H, W)."""

    ranks = (5,)


class _InstanceNorm(_RunningNorm):
    per_example = True

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, dtype: Any = None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias=bias)


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each example normalised over its places, for inputs (N, C, L) or (C, L).

    Arguments as for `BatchNorm1d`, with `affine` and `track_running_stats` False. Ulyanov 2016 (arXiv 1607.08022).
    """

    ranks, unbatched = (3,), 2


class InstanceNorm2d(_InstanceNorm):
    """`InstanceNorm1d` for inputs (N, C, H, W) or (C, H, W)."""

    ranks, unbatched = (4,), 3


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm1d` for inputs (N, C, D, H, W) or (C, D, H, W)."""

    ranks, unbatched = (5,), 4


class LayerNorm(Module):
    """Each example normalised over its last axes.

    Args:
        normalized_shape: their lengths.
        elementwise_affine: whether `weight` (1 at first) and, with `bias`, `bias` (0), of that shape, are learned.

    Ba, Kiros and Hinton 2016 (arXiv 1607.06450).
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, dtype: Any = None,
    ):  # fmt: skip
        self.normalized_shape = lengths(normalized_shape, f"{type(self).__name__}: normalized_shape")
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.weight = ones(self.normalized_shape, dtype=dtype) if elementwise_affine else None
        self.bias = zeros(self.normalized_shape, dtype=dtype) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Array:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """`x / √(mean(x²) + eps) · weight` over the last axes; eps None is the type's rounding unit.

    Zhang and Sennrich 2019 (arXiv 1910.07467).
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
        dtype: Any = None,
    ):  # fmt: skip
        self.normalized_shape = lengths(normalized_shape, f"{type(self).__name__}: normalized_shape")
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.weight = ones(self.normalized_shape, dtype=dtype) if elementwise_affine else None

    def forward(self, x: Any) -> Array:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Channels in groups, each normalised by its own statistics, for inputs (N, C, …).

    Parameters: `weight` (1 at first) and `bias` (0), (C,), if `affine`. Wu and He 2018 (arXiv 1803.08494).
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, dtype: Any = None, *,
        bias: bool = True,
    ):  # fmt: skip
        if size(num_channels, "GroupNorm: num_channels") % size(num_groups, "GroupNorm: num_groups"):
            raise ArgumentError(
                f"GroupNorm: {num_channels} channels can't be divided into {num_groups} groups{at_user_line()}"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.weight = ones(num_channels, dtype=dtype) if affine else None
        self.bias = zeros(num_channels, dtype=dtype) if affine and bias else None

    def forward(self, x: Any) -> Array:
        x = as_input(x, self.weight, self)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ShapeError(
                f"{self!r}: the input has shape {x.shape}, the layer expects {self.num_channels} channels (axis 1)"
                + at_user_line()
            )
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        settings = f"eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"
        return f"{self.num_groups}, {self.num_channels}, {settings}"


class LocalResponseNorm(Module):
    """`x / (k + α · mean of x² over the `size` channels around)^β`, for x (N, C, …)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        self.size = lengths(size, "LocalResponseNorm: size")[0]
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Any) -> Array:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
