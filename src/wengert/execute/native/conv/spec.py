"""What a convolution is to its kernels: extents, steps, and where its operands' elements lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Axis:
    """A spatial axis: `out[p] = Σ over t of x[(p · stride + t · dilation - low) / base] · kernel[t]`.

    Only places of `x` count that exist and that the division by `base` meets without a rest.
    """

    size: int = 1  # of x
    places: int = 1  # of the output
    taps: int = 1
    stride: int = 1
    low: int = 0
    base: int = 1  # the dilation of x
    dilation: int = 1  # of the kernel
    x: int = 0  # strides of the operands, in elements
    kernel: int = 0

    @property
    def reach(self) -> int:
        """Places of the padded input that the outputs see."""
        return (self.places - 1) * self.stride + (self.taps - 1) * self.dilation + 1


@dataclass(frozen=True)
class ConvSpec:
    """`out[i, g·O + o, p…] = Σ over c and t… of x[i, g·C + c, …] · kernel[g·O + o, c, t…]`, along three axes.

    Fewer are filled up in front. `x` and `kernel` hold the strides of the operands' first two axes.
    """

    dtype: Literal["float32", "float64"]
    n: int
    groups: int
    c: int
    o: int
    axes: tuple[Axis, Axis, Axis]
    x: tuple[int, int]
    kernel: tuple[int, int]
    formula: tuple[Any, ...] | None = None  # of each number of x, on the way in (see `formula`)

    @property
    def itemsize(self) -> int:
        return 4 if self.dtype == "float32" else 8

    @property
    def taps(self) -> int:
        return math.prod(a.taps for a in self.axes)

    @property
    def places(self) -> int:
        return math.prod(a.places for a in self.axes)

    @property
    def flops(self) -> int:
        """Those of multiplications with what is not padding, roughly."""
        return (
            2 * self.n * self.groups * self.c * self.o * self.taps * self.places // math.prod(a.base for a in self.axes)
        )


def conv_spec(
    dtype: str,
    x: tuple[Sequence[int], Sequence[int]],
    kernel: tuple[Sequence[int], Sequence[int]],
    *,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    input_dilation: Sequence[int],
    kernel_dilation: Sequence[int],
    groups: int,
) -> ConvSpec:
    """From shapes and strides of the operands and the parameters of the primitive, with one to three spatial axes."""
    (n, _, *sizes), (xn, xc, *x_steps) = x
    (o, c, *taps), (ko, kc, *k_steps) = kernel
    axes = [Axis()] * (3 - len(sizes))
    for k, (size, count) in enumerate(zip(sizes, taps, strict=True)):
        base, dilation = input_dilation[k], kernel_dilation[k]
        length = ((size - 1) * base + 1 if size else 0) + sum(padding[k])
        places = (length - (count - 1) * dilation - 1) // stride[k] + 1
        axes.append(Axis(size, places, count, stride[k], padding[k][0], base, dilation, x_steps[k], k_steps[k]))
    d, h, w = axes
    return ConvSpec(dtype, n, groups, c, o // groups, (d, h, w), (xn, xc), (ko, kc))  # type: ignore[arg-type]


def round_up(x: int, unit: int) -> int:
    return -(-x // unit) * unit
