"""Pictures of another size, and padding, as layers."""

from __future__ import annotations

from typing import Any, ClassVar

from wengert.errors import ShapeError
from wengert.ir.array import Array
from wengert.nn import functional as F
from wengert.nn.functional.pad import pad_last
from wengert.nn.module import Module
from wengert.nn.sizes import per_axis
from wengert.ops.promote import as_array
from wengert.source import at_user_line


class Upsample(Module):
    """`x` (N, C, …) with other lengths of its spatial axes; arguments as for `nn.functional.interpolate`."""

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
    ):
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners

    def forward(self, x: Any) -> Array:
        return F.interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        which = "size" if self.scale_factor is None else "scale_factor"
        return f"{which}={getattr(self, which)}, mode={self.mode!r}"


class Unfold(Module):
    """(N, C, H, W) -> (N, C·kh·kw, L): the patches that a convolution would see; see `nn.functional.unfold`."""

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1):
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, x: Any) -> Array:
        return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        names = ("kernel_size", "dilation", "padding", "stride")
        return ", ".join(f"{n}={getattr(self, n)}" for n in names)


class Fold(Module):
    """(N, C·kh·kw, L) -> (N, C, H, W): the sum of patches in their places; see `nn.functional.fold`."""

    def __init__(self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1):
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, x: Any) -> Array:
        return F.fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        names = ("output_size", "kernel_size", "dilation", "padding", "stride")
        return ", ".join(f"{n}={getattr(self, n)}" for n in names)


class ChannelShuffle(Module):
    """(N, C, …): the channels of the groups in turn."""

    def __init__(self, groups: int):
        self.groups = groups

    def forward(self, x: Any) -> Array:
        return F.channel_shuffle(x, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class PixelShuffle(Module):
    """(…, C·r², H, W) -> (…, C, H·r, W·r)."""

    def __init__(self, upscale_factor: int):
        self.upscale_factor = upscale_factor

    def forward(self, x: Any) -> Array:
        return F.pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """(…, C, H·r, W·r) -> (…, C·r², H, W)."""

    def __init__(self, downscale_factor: int):
        self.downscale_factor = downscale_factor

    def forward(self, x: Any) -> Array:
        return F.pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class _Pad(Module):
    """`padding`: a number for all sides, or before and after the last axis, then the last but one, …"""

    axes: ClassVar[int]
    mode: ClassVar[str]
    value: float = 0.0

    def __init__(self, padding: Any):
        self.padding = per_axis(padding, 2 * self.axes, f"{type(self).__name__}: padding", least=-(2**31))

    def forward(self, x: Any) -> Array:
        x = as_array(x, type(self).__name__)
        if x.ndim not in (self.axes + 1, self.axes + 2):
            raise ShapeError(
                f"{self!r}: the input has shape {x.shape}; expected (batch, channels, *{self.axes} spatial axes), the "
                f"batch optional{at_user_line()}"
            )
        pairs = tuple(zip(self.padding[::2], self.padding[1::2], strict=True))[::-1]
        return pad_last(x, pairs, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Any, value: float):
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


def _family(name: str, parent: type[_Pad], mode: str, what: str) -> list[type[_Pad]]:
    """The layers of a kind for one, two and three axes."""
    return [
        type(f"{name}{n}d", (parent,), {"axes": n, "mode": mode, "__module__": __name__, "__doc__": f"{what}, {tail}."})
        for n, tail in ((1, "along the last axis"), (2, "along the last two axes"), (3, "along the last three axes"))
    ]


ConstantPad1d, ConstantPad2d, ConstantPad3d = _family("ConstantPad", _ConstantPad, "constant", "A number put around")
ZeroPad1d, ZeroPad2d, ZeroPad3d = _family("ZeroPad", _Pad, "constant", "Zeros put around")
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = _family("ReflectionPad", _Pad, "reflect", "Mirrored edges")
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = _family("ReplicationPad", _Pad, "replicate", "Repeated edges")
CircularPad1d, CircularPad2d, CircularPad3d = _family("CircularPad", _Pad, "circular", "The other end")
