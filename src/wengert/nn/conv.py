"""Convolutions and transposed convolutions over 1, 2 or 3 axes: one class each, and the number of axes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from wengert.array.conv import Padding, Setting
from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.nn.functional.conv import conv_n, conv_transpose_n
from wengert.nn.functional.inputs import as_input
from wengert.nn.functional.pad import pad_last
from wengert.nn.init.distributions import uniform
from wengert.nn.module import Module
from wengert.nn.seed import next_key
from wengert.nn.sizes import per_axis, size
from wengert.ops.window import spread
from wengert.random.keys import split
from wengert.source import at_user_line

PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class _ConvNd(Module):
    """What both kinds share: settings, the weight's distribution, and how they are shown."""

    axes: ClassVar[int]
    weight: Array
    bias: Array | None

    def _start(
        self, in_channels: int, out_channels: int, kernel_size: Setting, stride: Setting, padding: Padding,
        dilation: Setting, groups: int, padding_mode: str, bias: bool, dtype: Any, key: Any, transposed: bool,
    ) -> None:  # fmt: skip
        name, n = type(self).__name__, self.axes
        for given, what in ((in_channels, "in_channels"), (out_channels, "out_channels"), (groups, "groups")):
            size(given, f"{name}: {what}")
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"{name}: {in_channels} channels in and {out_channels} out must be divisible by groups = {groups}"
                + at_user_line()
            )
        if padding_mode not in PADDING_MODES:
            raise ArgumentError(
                f"{name}: padding_mode is {padding_mode!r}; expected one of {', '.join(PADDING_MODES)}{at_user_line()}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = per_axis(kernel_size, n, f"{name}: kernel_size")
        self.stride = per_axis(stride, n, f"{name}: stride")
        self.dilation = per_axis(dilation, n, f"{name}: dilation")
        self.padding = padding if isinstance(padding, str) else per_axis(padding, n, f"{name}: padding", least=0)
        self.groups = groups
        self.padding_mode = padding_mode
        channels = (in_channels, out_channels // groups) if transposed else (out_channels, in_channels // groups)
        fan_in = channels[1] * math.prod(self.kernel_size)
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        keys = split(next_key(key))
        self.weight = uniform((*channels, *self.kernel_size), -bound, bound, key=keys[0], dtype=dtype)
        self.bias = uniform((out_channels,), -bound, bound, key=keys[1], dtype=dtype) if bias else None

    def _checked(self, x: Any) -> Array:
        x = as_input(x, self.weight, self)
        if x.ndim not in (self.axes + 1, self.axes + 2) or x.shape[-self.axes - 1] != self.in_channels:
            raise ShapeError(
                f"{self!r}: the input has shape {x.shape}; expected (batch, {self.in_channels} channels, *{self.axes} "
                f"spatial axes), the batch optional{at_user_line()}"
            )
        return x

    def extra_repr(self) -> str:
        n = self.axes
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * n:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * n:
            text += f", dilation={self.dilation}"
        if getattr(self, "output_padding", (0,) * n) != (0,) * n:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class _Conv(_ConvNd):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Setting, stride: Setting = 1, padding: Padding = 0,
        dilation: Setting = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", dtype: Any = None,
        key: Any = None,
    ):  # fmt: skip
        if isinstance(padding, str) and padding not in ("valid", "same"):
            raise ArgumentError(
                f'{type(self).__name__}: padding is {padding!r}; expected numbers, "valid" or "same"{at_user_line()}'
            )
        self._start(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, bias, dtype, key,
            transposed=False,
        )  # fmt: skip
        if padding == "same" and self.stride != (1,) * self.axes:
            raise ArgumentError(f'{type(self).__name__}: padding "same" needs stride 1{at_user_line()}')

    def forward(self, x: Any) -> Array:
        x, padding = self._checked(x), self.padding
        if self.padding_mode != "zeros":
            x, padding = pad_last(x, self._pairs(), PADDING_MODES[self.padding_mode]), (0,) * self.axes
        return conv_n(self.axes, x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _pairs(self) -> tuple[tuple[int, int], ...]:
        if self.padding == "valid":
            return ((0, 0),) * self.axes
        if self.padding == "same":
            reach = [spread(k, d) - 1 for k, d in zip(self.kernel_size, self.dilation, strict=True)]
            return tuple((r // 2, r - r // 2) for r in reach)
        return tuple((p, p) for p in self.padding)  # type: ignore[misc]


class Conv1d(_Conv):
    """A convolution along one axis, `y[n, o, p] = b[o] + Σ_{c, k} x[n, c, p·stride + k·dilation - padding] W[o, c, k]`.

    Args:
        in_channels, out_channels: lengths of the channel axis of `x` and `y`.
        kernel_size, stride, dilation: a number for all axes, or one each.
        padding: how far `x` is made longer on both sides, "valid" (not) or "same" (`y` as long as `x`).
        groups: channels are divided into that many groups, each with its own part of the kernel.
        bias: whether b is there.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        dtype, key: as for `Linear`.

    Parameters: `weight` (out, in / groups, K) and `bias` (out,), uniform within `±1/√(in·K/groups)`. The input is
    (N, in, L), or (in, L).
    """

    axes = 1


class Conv2d(_Conv):
    """A convolution along two axes, of inputs (N, in, H, W); everything else as for `Conv1d`.

    Example:
        >>> nn.Conv2d(3, 8, 3, padding=1)(wg.ones((2, 3, 16, 16))).shape
        (2, 8, 16, 16)
    """

    axes = 2


class Conv3d(_Conv):
    """A convolution along three axes, of inputs (N, in, D, H, W); everything else as for `Conv1d`."""

    axes = 3


class _ConvTranspose(_ConvNd):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Setting, stride: Setting = 1, padding: Setting = 0,
        output_padding: Setting = 0, groups: int = 1, bias: bool = True, dilation: Setting = 1,
        padding_mode: str = "zeros", dtype: Any = None, key: Any = None,
    ):  # fmt: skip
        if padding_mode != "zeros":
            raise ArgumentError(f'{type(self).__name__}: only padding_mode "zeros" exists{at_user_line()}')
        self._start(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, bias, dtype, key,
            transposed=True,
        )  # fmt: skip
        self.output_padding = per_axis(output_padding, self.axes, f"{type(self).__name__}: output_padding", least=0)

    def forward(self, x: Any, output_size: Any = None) -> Array:
        """`output_size`, the lengths of the result, chooses the output padding."""
        x = self._checked(x)
        extra = self.output_padding if output_size is None else self._extra(x, output_size)
        return conv_transpose_n(
            self.axes, x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _extra(self, x: Array, output_size: Any) -> tuple[int, ...]:
        wanted = tuple(output_size)[-self.axes :]
        least = [
            (d - 1) * s - 2 * p + spread(k, step)  # type: ignore[operator]
            for d, s, p, k, step in zip(
                x.shape[-self.axes :], self.stride, self.padding, self.kernel_size, self.dilation, strict=True
            )
        ]
        extra = tuple(w - at_least for w, at_least in zip(wanted, least, strict=True))
        if not all(0 <= e < max(s, d) for e, s, d in zip(extra, self.stride, self.dilation, strict=True)):
            raise ShapeError(
                f"{self!r}: output_size {wanted} for an input of shape {x.shape}; the least is {tuple(least)}, and "
                f"less than a stride may be added{at_user_line()}"
            )
        return extra


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of `Conv1d` by its input, plus a bias: upsampling by `stride`.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as for `Conv1d`.
        output_padding: how much longer the result is than the shortest that the convolution would map to the input.

    Parameters: `weight` (in, out / groups, K) and `bias` (out,), uniform within `±1/√(out·K/groups)`. The result has
    length `(L - 1)·stride - 2·padding + dilation·(K - 1) + output_padding + 1`.
    """

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The adjoint of `Conv2d` by its input; everything else as for `ConvTranspose1d`."""

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """The adjoint of `Conv3d` by its input; everything else as for `ConvTranspose1d`."""

    axes = 3
