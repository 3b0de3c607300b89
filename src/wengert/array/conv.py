"""Convolution and pooling as users call them: numbers or tuples for the settings, PyTorch's layouts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import float_dtype
from wengert.ops.conv import conv_p, turned
from wengert.ops.pool import max_pool_p, sum_pool_p
from wengert.ops.promote import as_array, convert, promote
from wengert.ops.shape import reshape
from wengert.ops.window import Pairs, Steps, spread, window_reduce
from wengert.source import at_user_line

Setting = int | Sequence[int]
Padding = int | str | Sequence[int] | Sequence[tuple[int, int]]


def conv(
    x: Any, kernel: Any, *, stride: Setting = 1, padding: Padding = 0, dilation: Setting = 1, groups: int = 1
) -> Array:
    """The convolution of `x` with `kernel` over any number of axes (a correlation: the kernel is not flipped).

    `out[n, o, p] = Σ_{c, k} x[n, c, p·stride + k·dilation - padding] · kernel[o, c, k]`, where p and k run
    over all spatial axes.

    Args:
        x: array of shape (batch, channels, *spatial), or (channels, *spatial) for one example.
        kernel: array of shape (channels out, channels / groups, *window).
        stride, dilation: a number for all spatial axes, or one each: the distance between places, and between the
            elements of the kernel.
        padding: zeros put around `x`: a number, one for each spatial axis, a pair (low, high) for each (negative
            numbers cut off), "valid" (none) or "same" (the output is as long as the input; stride 1 only).
        groups: channels are divided into that many groups, each with its own part of the kernel.

    Returns:
        An array of shape (batch, channels out, *places).

    Raises:
        ShapeError: channels do not match, or the kernel is larger than the padded input.
        ArgumentError: a setting of the wrong kind.

    Example:
        >>> wg.conv(wg.ones((1, 1, 5)), wg.ones((1, 1, 3)), padding="same")
        Array([[[2., 3., 3., 3., 2.]]], dtype=float32)

    Dumoulin and Visin 2016, *A guide to convolution arithmetic for deep learning* (arXiv 1603.07285).
    """
    x, kernel = promote("conv", (x, kernel))
    n, x, single = _spatial("conv", x, kernel)
    strides, steps = _steps("conv: stride", stride, n), _steps("conv: dilation", dilation, n)
    if padding == "same":
        if any(s != 1 for s in strides):
            raise ArgumentError(f'conv: padding "same" needs stride 1, got {strides}; pad by numbers{at_user_line()}')
        reach = [spread(k, d) - 1 for k, d in zip(kernel.shape[2:], steps, strict=True)]
        pairs: Pairs = tuple((r // 2, r - r // 2) for r in reach)
    else:
        pairs = _pairs("conv", padding, n)
    params = {"stride": strides, "padding": pairs, "input_dilation": (1,) * n, "kernel_dilation": steps}
    out = conv_p.bind(x, kernel, **params, groups=_groups("conv", groups))
    return reshape(out, out.shape[1:]) if single else out


def conv_transpose(
    x: Any,
    kernel: Any,
    *,
    stride: Setting = 1,
    padding: Padding = 0,
    output_padding: Setting = 0,
    dilation: Setting = 1,
    groups: int = 1,
) -> Array:
    """The adjoint of `conv` by its input: the map that takes cotangents of `conv(·, kernel)` back, as a layer.

    Args:
        x: array of shape (batch, channels, *spatial), or (channels, *spatial).
        kernel: array of shape (channels, channels out / groups, *window): that of the `conv` that it is the adjoint of.
        stride, padding, dilation, groups: those of that `conv`.
        output_padding: how much longer the output is than the shortest that `conv` would map onto the shape of `x`.

    Returns:
        An array of shape (batch, channels out, *places), with
        `places = (spatial - 1)·stride - 2·padding + dilation·(window - 1) + output_padding + 1`.

    Raises:
        ShapeError: channels do not match, or the output would be empty.

    Example:
        >>> wg.conv_transpose(wg.ones((1, 1, 3)), wg.ones((1, 1, 2)), stride=2).shape
        (1, 1, 6)
    """
    x, kernel = promote("conv_transpose", (x, kernel))
    n, x, single = _spatial("conv_transpose", x, kernel)
    groups = _groups("conv_transpose", groups)
    if kernel.shape[0] != x.shape[1] or x.shape[1] % groups:
        raise ShapeError(
            f"conv_transpose of {x.shape} with kernel {kernel.shape}: x has {x.shape[1]} channels and the kernel "
            f"reads {kernel.shape[0]}; both must be equal, and divisible by groups = {groups}{at_user_line()}"
        )
    steps = _steps("conv_transpose: dilation", dilation, n)
    extra = _steps("conv_transpose: output_padding", output_padding, n, least=0)
    pairs = _pairs("conv_transpose", padding, n)
    reach = [spread(k, d) - 1 for k, d in zip(kernel.shape[2:], steps, strict=True)]
    out = conv_p.bind(
        x,
        turned(kernel, groups),
        stride=(1,) * n,
        padding=tuple((r - low, r - high + e) for r, (low, high), e in zip(reach, pairs, extra, strict=True)),
        input_dilation=_steps("conv_transpose: stride", stride, n),
        kernel_dilation=steps,
        groups=groups,
    )
    return reshape(out, out.shape[1:]) if single else out


def max_pool(
    x: Any, window: Setting, *, stride: Setting | None = None, padding: Padding = 0, dilation: Setting = 1
) -> Array:
    """The largest element of each window over the last axes of `x`.

    Args:
        x: array of shape (batch, channels, *spatial); with a tuple as `window`, any axes before the spatial ones.
        window: the lengths of a window along each spatial axis, or one number for all axes behind the first two.
        stride: the distance between windows; by default the window, so that they do not overlap.
        padding: how far windows reach beyond the edge, less than their own length; no padding is ever the largest.
        dilation: the distance between the elements of a window.

    Returns:
        An array of shape (…, *places). Its derivative goes to the first largest element of each window.

    Raises:
        ShapeError: the window does not fit.

    Example:
        >>> wg.max_pool(wg.asarray([[[1.0, 3.0, 2.0, 0.0]]]), 2)
        Array([[[3., 2.]]], dtype=float32)
    """
    x = as_array(x, "max_pool")
    params = _pooling("max_pool", x, window, stride, padding, dilation)
    return max_pool_p.bind(x, **params)


def avg_pool(
    x: Any, window: Setting, *, stride: Setting | None = None, padding: Padding = 0, count_include_pad: bool = True
) -> Array:
    """The mean of each window over the last axes of `x`; arguments as for `max_pool`.

    Args:
        count_include_pad: whether padding counts as zeros; otherwise only elements of `x` are counted.

    Example:
        >>> wg.avg_pool(wg.asarray([[[1.0, 3.0, 2.0, 0.0]]]), 2)
        Array([[[2., 1.]]], dtype=float32)
    """
    x = as_array(x, "avg_pool")
    x = convert(x, float_dtype(x.dtype, x.weak), x.weak)
    params = _pooling("avg_pool", x, window, stride, padding, 1)
    total = sum_pool_p.bind(x, **params)
    if count_include_pad or all(p == (0, 0) for p in params["padding"]):
        return total / math.prod(params["window"])
    n = len(params["window"])
    ones = np.pad(np.ones(x.shape[x.ndim - n :], total.dtype), params["padding"])
    counts = window_reduce(ones, np.add, params["window"], params["stride"], total.shape[-n:], params["dilation"])
    return total / Array(counts)


def _spatial(what: str, x: Array, kernel: Array) -> tuple[int, Array, bool]:
    """How many spatial axes there are, `x` with a batch axis, and whether it had none."""
    n = kernel.ndim - 2
    if n < 0 or x.ndim not in (n + 1, n + 2):
        raise ShapeError(
            f"{what} of {x.shape} with kernel {kernel.shape}: expected x of shape (batch, channels, *spatial) and a "
            f"kernel of shape (channels, channels, *window) with as many spatial axes{at_user_line()}"
        )
    single = x.ndim == n + 1
    return n, reshape(x, (1, *x.shape)) if single else x, single


def _whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _steps(what: str, value: Any, n: int, least: int = 1) -> Steps:
    values = (value,) * n if _whole(value) else value
    if not isinstance(values, (tuple, list)) or len(values) != n or not all(_whole(v) and v >= least for v in values):
        raise ArgumentError(
            f"{what} is {value!r}; expected an integer of at least {least}, or one for each of the {n} spatial axes"
            + at_user_line()
        )
    return tuple(int(v) for v in values)


def _pairs(what: str, value: Any, n: int) -> Pairs:
    if value == "valid":
        return ((0, 0),) * n
    values = (value,) * n if _whole(value) else value
    if isinstance(values, (tuple, list)) and len(values) == n:
        pairs = [(v, v) if _whole(v) else v for v in values]
        if all(isinstance(p, (tuple, list)) and len(p) == 2 and all(map(_whole, p)) for p in pairs):
            return tuple((int(low), int(high)) for low, high in pairs)
    words = '"valid" or "same"' if what == "conv" else '"valid"'
    raise ArgumentError(
        f"{what}: padding is {value!r}; expected an integer, one (or a pair) for each of the {n} spatial axes, or "
        + words
        + at_user_line()
    )


def _groups(what: str, groups: Any) -> int:
    if not _whole(groups) or groups < 1:
        raise ArgumentError(f"{what}: groups is {groups!r}; expected a positive integer{at_user_line()}")
    return int(groups)


def _pooling(what: str, x: Array, window: Any, stride: Any, padding: Any, dilation: Any) -> dict[str, Any]:
    n = max(x.ndim - 2, 0) if _whole(window) else len(window) if isinstance(window, (tuple, list)) else 0
    if not 0 < n <= x.ndim:
        raise ShapeError(
            f"{what} of shape {x.shape} with window {window!r}: expected an array (batch, channels, *spatial) and an "
            f"integer, or a tuple with a length for each of the last axes{at_user_line()}"
        )
    lengths, pairs = _steps(f"{what}: window", window, n), _pairs(what, padding, n)
    steps = _steps(f"{what}: dilation", dilation, n)
    for pair, w, d in zip(pairs, lengths, steps, strict=True):
        if min(pair) < 0 or max(pair) >= spread(w, d):
            raise ArgumentError(
                f"{what}: padding {pair} for a window that reaches over {spread(w, d)} places; expected 0 to "
                f"{spread(w, d) - 1}, so that no window lies outside{at_user_line()}"
            )
    strides = lengths if stride is None else _steps(f"{what}: stride", stride, n)
    return {"window": lengths, "stride": strides, "padding": pairs, "dilation": steps}
