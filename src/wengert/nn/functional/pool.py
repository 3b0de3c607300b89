"""Pooling over 1, 2 or 3 axes, with PyTorch's settings: windows of fixed size, or as many as are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.array.conv import Setting
from wengert.array.conv import max_pool as max_pool_
from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.scope import region
from wengert.nn.functional.inputs import as_floating
from wengert.ops.contract import dot_general
from wengert.ops.index import gather, iota
from wengert.ops.pool import argmax_pool_p, sum_pool_p
from wengert.ops.promote import as_array, convert
from wengert.ops.reduce import max_p
from wengert.ops.shape import permute
from wengert.ops.transcendental import sqrt
from wengert.ops.window import Pairs, spread
from wengert.source import at_user_line


class Windows:
    """Where the windows of a pooling layer lie over the last n axes of an array."""

    def __init__(
        self, what: str, n: int, x: Array, size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
    ):
        if x.ndim not in (n + 1, n + 2):
            raise ShapeError(
                f"{what}: the input has shape {x.shape}; expected (batch, channels, *{n} spatial axes), the batch "
                f"optional{at_user_line()}"
            )
        self.size = _numbers(what, "kernel_size", size, n)
        self.stride = self.size if stride is None else _numbers(what, "stride", stride, n)
        self.low = _numbers(what, "padding", padding, n, least=0)
        self.dilation = _numbers(what, "dilation", dilation, n)
        pairs = []
        for d, w, s, p, step in zip(x.shape[-n:], self.size, self.stride, self.low, self.dilation, strict=True):
            reach = spread(w, step)
            if 2 * p > w:
                raise ArgumentError(f"{what}: padding {p} is more than half the window of {w}{at_user_line()}")
            high = p
            if ceil_mode and (rest := (d + 2 * p - reach) % s):
                last = d + 2 * p - reach + s - rest  # where one more window would start
                if last < d + p:  # it must start inside, or in the padding before
                    high = last + reach - d - p
            pairs.append((p, high))
        self.padding: Pairs = tuple(pairs)
        self.params = {"window": self.size, "stride": self.stride, "padding": self.padding, "dilation": self.dilation}


def _numbers(what: str, name: str, value: Any, n: int, least: int = 1) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * n
    if len(values) == 1:
        values *= n
    if len(values) != n or not all(
        isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v >= least for v in values
    ):
        raise ArgumentError(
            f"{what}: {name} is {value!r}; expected an integer of at least {least}, or one for each of {n} axes"
            + at_user_line()
        )
    return tuple(int(v) for v in values)


@region("pooling")
def max_pool_n(
    n: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, return_indices: bool
) -> Any:
    """What `max_pool1d`, `max_pool2d` and `max_pool3d` are."""
    x = as_array(x, f"max_pool{n}d")
    w = Windows(f"max_pool{n}d", n, x, kernel_size, stride, padding, dilation, ceil_mode)
    out = max_pool_(x, w.size, stride=w.stride, padding=w.padding, dilation=w.dilation)
    return (out, _flat_positions(x, w)) if return_indices else out


def _flat_positions(x: Array, w: Windows) -> Array:
    """Where in the flattened spatial axes of `x` each window's largest element stands."""
    tap = convert(argmax_pool_p.bind(x, **w.params), np.dtype(np.int64))
    n, flat, rest = len(w.size), as_array(np.int64(0)), tap
    step = 1
    for k in reversed(range(n)):
        axis = tap.ndim - n + k
        place = rest % w.size[k]
        rest = rest // w.size[k]
        start = iota(tap.shape[axis], axis, tap.ndim) * w.stride[k] - w.low[k]
        flat = flat + (start + place * w.dilation[k]) * step
        step *= x.shape[axis]
    return flat


@region("pooling")
def avg_pool_n(
    n: int, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool,
    divisor_override: int | None,
) -> Array:  # fmt: skip
    """What `avg_pool1d`, `avg_pool2d` and `avg_pool3d` are."""
    x = as_floating(x, f"avg_pool{n}d")
    w = Windows(f"avg_pool{n}d", n, x, kernel_size, stride, padding, 1, ceil_mode)
    total = sum_pool_p.bind(x, **w.params)
    if divisor_override is not None:
        return total / divisor_override
    if all(low == high and (low == 0 or count_include_pad) for low, high in w.padding):
        return total / math.prod(w.size)
    counts = np.ones((1,) * n)
    for k in range(n):  # an element counts inside, and in the padding that was asked for
        d, low = x.shape[x.ndim - n + k], w.low[k]
        first = np.arange(total.shape[total.ndim - n + k]) * w.stride[k] - low
        begin, end = (-low, d + low) if count_include_pad else (0, d)
        here = np.minimum(first + w.size[k], end) - np.maximum(first, begin)
        counts = counts * here.reshape(tuple(-1 if j == k else 1 for j in range(n)))
    return total / Array(counts.astype(x.dtype))


def _output_size(what: str, n: int, x: Array, output_size: Any) -> tuple[int, ...]:
    values = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * n
    if x.ndim not in (n + 1, n + 2) or len(values) != n:
        raise ShapeError(
            f"{what}: output_size {output_size!r} for an input of shape {x.shape}; expected {n} lengths and an input "
            f"(batch, channels, *{n} spatial axes), the batch optional{at_user_line()}"
        )
    wanted = tuple(x.shape[x.ndim - n + k] if v is None else v for k, v in enumerate(values))
    return _numbers(what, "output_size", wanted, n)


def _borders(length: int, count: int) -> list[tuple[int, int]]:
    """`count` windows that cover an axis: from ⌊i·length/count⌋ up to ⌈(i+1)·length/count⌉."""
    return [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]


@region("pooling")
def adaptive_avg_pool_n(n: int, x: Any, output_size: Any) -> Array:
    """The mean over `output_size` windows along each of the last n axes, whose borders are spread evenly."""
    what = f"adaptive_avg_pool{n}d"
    x = as_floating(x, what)
    counts = _output_size(what, n, x, output_size)
    lengths = x.shape[x.ndim - n :]
    if counts == (1,) * n:
        return x.mean(axis=tuple(range(x.ndim - n, x.ndim)), keepdims=True)
    if all(d % c == 0 for d, c in zip(lengths, counts, strict=True)):
        return avg_pool_n(n, x, [d // c for d, c in zip(lengths, counts, strict=True)], None, 0, False, True, None)
    for k, (d, c) in enumerate(zip(lengths, counts, strict=True)):  # a product with the weights along each axis
        weights = np.zeros((d, c), x.dtype)
        for i, (begin, end) in enumerate(_borders(d, c)):
            weights[begin:end, i] = 1 / (end - begin)
        axis = x.ndim - n + k
        out = dot_general(x, Array(weights), ((), ()), ((axis,), (0,)))
        x = permute(out, (*range(axis), x.ndim - 1, *range(axis, x.ndim - 1)))
    return x


@region("pooling")
def adaptive_max_pool_n(n: int, x: Any, output_size: Any) -> Array:
    """The largest element in each of `output_size` windows along each of the last n axes."""
    what = f"adaptive_max_pool{n}d"
    x = as_array(x, what)
    counts = _output_size(what, n, x, output_size)
    lengths = x.shape[x.ndim - n :]
    if all(d % c == 0 for d, c in zip(lengths, counts, strict=True)):
        sizes = [d // c for d, c in zip(lengths, counts, strict=True)]
        return max_pool_n(n, x, sizes, None, 0, 1, False, False)
    for k, (d, c) in enumerate(zip(lengths, counts, strict=True)):
        borders = _borders(d, c)
        widest = max(end - begin for begin, end in borders)
        places = np.array([[min(begin + j, end - 1) for j in range(widest)] for begin, end in borders])
        axis = x.ndim - n + k
        taken = gather(x, [Array(places)], (axis,))  # (count, widest, others)
        x = permute(max_p.bind(taken, axes=(1,)), (*range(1, axis + 1), 0, *range(axis + 1, x.ndim)))
    return x


def max_pool1d(
    x: Any, kernel_size: Setting, stride: Setting | None = None, padding: Setting = 0, dilation: Setting = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window along the last axis.

    Args:
        x: (N, C, L), or (C, L).
        kernel_size, stride, padding, dilation: a number, or one for each axis; the stride is the window by default.
        ceil_mode: whether a last window may reach beyond the end.
        return_indices: whether to return where the elements stand as well.

    Returns:
        (N, C, L'); its derivative goes to the first largest element of each window.
    """
    return max_pool_n(1, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    x: Any, kernel_size: Setting, stride: Setting | None = None, padding: Setting = 0, dilation: Setting = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool1d` over two axes."""
    return max_pool_n(2, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    x: Any, kernel_size: Setting, stride: Setting | None = None, padding: Setting = 0, dilation: Setting = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """`max_pool1d` over three axes."""
    return max_pool_n(3, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    x: Any, kernel_size: Setting, stride: Setting | None = None, padding: Setting = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:  # fmt: skip
    """The mean of each window along the last axis; padding counts as zeros, or not at all."""
    return avg_pool_n(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    x: Any, kernel_size: Setting, stride: Setting | None = None, padding: Setting = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """`avg_pool1d` over two axes; `divisor_override` is divided by instead of the number of elements."""
    return avg_pool_n(2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    x: Any, kernel_size: Setting, stride: Setting | None = None, padding: Setting = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """`avg_pool2d` over three axes."""
    return avg_pool_n(3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def adaptive_avg_pool1d(x: Any, output_size: int | Sequence[int]) -> Array:
    """The mean over `output_size` windows that cover the last axis evenly."""
    return adaptive_avg_pool_n(1, x, output_size)


def adaptive_avg_pool2d(x: Any, output_size: int | Sequence[int | None]) -> Array:
    """`adaptive_avg_pool1d` over two axes; None for as many as there are."""
    return adaptive_avg_pool_n(2, x, output_size)


def adaptive_avg_pool3d(x: Any, output_size: int | Sequence[int | None]) -> Array:
    """`adaptive_avg_pool1d` over three axes."""
    return adaptive_avg_pool_n(3, x, output_size)


def adaptive_max_pool1d(x: Any, output_size: int | Sequence[int]) -> Array:
    """The largest element in each of `output_size` windows that cover the last axis evenly."""
    return adaptive_max_pool_n(1, x, output_size)


def adaptive_max_pool2d(x: Any, output_size: int | Sequence[int | None]) -> Array:
    """`adaptive_max_pool1d` over two axes."""
    return adaptive_max_pool_n(2, x, output_size)


def adaptive_max_pool3d(x: Any, output_size: int | Sequence[int | None]) -> Array:
    """`adaptive_max_pool1d` over three axes."""
    return adaptive_max_pool_n(3, x, output_size)


@region("pooling")
def lp_pool_n(n: int, x: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Array:
    """What `lp_pool1d`, `lp_pool2d` and `lp_pool3d` are."""
    x = as_floating(x, f"lp_pool{n}d")
    w = Windows(f"lp_pool{n}d", n, x, kernel_size, stride, 0, 1, ceil_mode)
    p = float(norm_type)
    powers = x if p == 1 else x * x if p == 2 else x**p
    total = sum_pool_p.bind(powers, **w.params)
    if ceil_mode:  # PyTorch takes the mean of what is there, times the window
        ones = Array(np.ones(x.shape[x.ndim - n :], x.dtype))
        total = total / sum_pool_p.bind(ones, **w.params) * math.prod(w.size)
    return total if p == 1 else sqrt(total) if p == 2 else total ** (1 / p)


def lp_pool1d(
    x: Any, norm_type: float, kernel_size: Setting, stride: Setting | None = None, ceil_mode: bool = False
) -> Array:
    """`(Σ xᵖ)^(1/p)` over each window along the last axis of (N, C, L), p being `norm_type`."""
    return lp_pool_n(1, x, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    x: Any, norm_type: float, kernel_size: Setting, stride: Setting | None = None, ceil_mode: bool = False
) -> Array:
    """`lp_pool1d` over two axes."""
    return lp_pool_n(2, x, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    x: Any, norm_type: float, kernel_size: Setting, stride: Setting | None = None, ceil_mode: bool = False
) -> Array:
    """`lp_pool1d` over three axes."""
    return lp_pool_n(3, x, norm_type, kernel_size, stride, ceil_mode)
