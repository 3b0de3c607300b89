"""Pooling layers over 1, 2 or 3 axes."""

from __future__ import annotations

from typing import Any, ClassVar

from wengert.array.conv import Setting
from wengert.ir.array import Array
from wengert.nn.functional import pool
from wengert.nn.functional.patches import max_unpool_n
from wengert.nn.module import Module
from wengert.nn.sizes import per_axis


class _MaxPool(Module):
    axes: ClassVar[int]

    def __init__(
        self, kernel_size: Setting, stride: Setting | None = None, padding: Setting = 0, dilation: Setting = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ):  # fmt: skip
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, x: Any) -> Any:
        return pool.max_pool_n(
            self.axes, x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            self.return_indices,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of each window along the last axis of (N, C, L).

    Args:
        kernel_size: length of a window.
        stride: from one window to the next; by default the window.
        padding: how far windows reach beyond both ends, at most half of one; padding is never the largest.
        dilation: distance between the elements of a window.
        return_indices: whether to return where the elements stand as well.
        ceil_mode: whether a last window may reach beyond the end.
    """

    axes = 1


class MaxPool2d(_MaxPool):
    """`MaxPool1d` over two axes, of (N, C, H, W)."""

    axes = 2


class MaxPool3d(_MaxPool):
    """`MaxPool1d` over three axes, of (N, C, D, H, W)."""

    axes = 3


class _AvgPool(Module):
    axes: ClassVar[int]
    divisor_override: int | None = None

    def __init__(
        self, kernel_size: Setting, stride: Setting | None = None, padding: Setting = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ):  # fmt: skip
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Any) -> Array:
        return pool.avg_pool_n(
            self.axes, x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The mean of each window along the last axis of (N, C, L).

    Args:
        kernel_size, stride, padding, ceil_mode: as for `MaxPool1d`.
        count_include_pad: whether padding counts as zeros; otherwise only elements of the input count.
        divisor_override: what the sums are divided by instead.
    """

    axes = 1


class AvgPool2d(_AvgPool):
    """`AvgPool1d` over two axes, of (N, C, H, W)."""

    axes = 2


class AvgPool3d(_AvgPool):
    """`AvgPool1d` over three axes, of (N, C, D, H, W)."""

    axes = 3


class _Adaptive(Module):
    axes: ClassVar[int]

    def __init__(self, output_size: Any):
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvg(_Adaptive):
    def forward(self, x: Any) -> Array:
        return pool.adaptive_avg_pool_n(self.axes, x, self.output_size)


class _AdaptiveMax(_Adaptive):
    def forward(self, x: Any) -> Array:
        return pool.adaptive_max_pool_n(self.axes, x, self.output_size)


class AdaptiveAvgPool1d(_AdaptiveAvg):
    """The mean over `output_size` windows, window i from ⌊i·L/n⌋ up to ⌈(i+1)·L/n⌉."""

    axes = 1


class AdaptiveAvgPool2d(_AdaptiveAvg):
    """`AdaptiveAvgPool1d` over two axes; `output_size` is a number or a pair, None for as many as there are."""

    axes = 2


class AdaptiveAvgPool3d(_AdaptiveAvg):
    """`AdaptiveAvgPool1d` over three axes."""

    axes = 3


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The largest element in each of `output_size` windows, which lie as for `AdaptiveAvgPool1d`."""

    axes = 1


class AdaptiveMaxPool2d(_AdaptiveMax):
    """`AdaptiveMaxPool1d` over two axes."""

    axes = 2


class AdaptiveMaxPool3d(_AdaptiveMax):
    """`AdaptiveMaxPool1d` over three axes."""

    axes = 3


class _LPPool(Module):
    axes: ClassVar[int]

    def __init__(
        self, norm_type: float, kernel_size: Setting, stride: Setting | None = None, ceil_mode: bool = False
    ):  # fmt: skip
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, x: Any) -> Array:
        return pool.lp_pool_n(self.axes, x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """`(Σ xᵖ)^(1/p)` over each window along the last axis of (N, C, L), p being `norm_type`."""

    axes = 1


class LPPool2d(_LPPool):
    """`LPPool1d` over two axes."""

    axes = 2


class LPPool3d(_LPPool):
    """`LPPool1d` over three axes."""

    axes = 3


class _MaxUnpool(Module):
    axes: ClassVar[int]

    def __init__(self, kernel_size: Setting, stride: Setting | None = None, padding: Setting = 0):
        what = type(self).__name__
        self.kernel_size = per_axis(kernel_size, self.axes, f"{what}: kernel_size")
        self.stride = self.kernel_size if stride is None else per_axis(stride, self.axes, f"{what}: stride")
        self.padding = per_axis(padding, self.axes, f"{what}: padding", least=0)

    def forward(self, x: Any, indices: Any, output_size: Any = None) -> Array:
        return max_unpool_n(self.axes, x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Each element where `MaxPool1d(…, return_indices=True)` found it, 0 elsewhere; called with both.

    Args:
        kernel_size, stride, padding: of the pooling. `output_size` of the call is the length that it was given.
    """

    axes = 1


class MaxUnpool2d(_MaxUnpool):
    """`MaxUnpool1d` over two axes."""

    axes = 2


class MaxUnpool3d(_MaxUnpool):
    """`MaxUnpool1d` over three axes."""

    axes = 3
