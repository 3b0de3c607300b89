"""Bands of Winograd's tiles: how many, where what is made of them lies, and what the next one will read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from wengert.execute.native.conv.spec import Axis
from wengert.execute.native.conv.transforms import F2
from wengert.execute.native.product.code import I64, Code, Index, value

FEWEST = 12  # channels, for which transforms pay
MANY = 64  # tiles that make it worth while to read large kernels
PAD = 16  # elements between matrices, which would else meet in the same sets of the cache


@dataclass(frozen=True)
class Tiling:
    """A band of tiles, and the strides of what is made of it in scratch memory."""

    down: int  # tiles of the picture
    right: int
    rows: int  # tiles down a band
    examples: int  # whose tiles are multiplied together; more than one only where a band is a whole picture
    channels: int  # rounded up
    results: int
    tile: tuple[int, int]

    @property
    def tiles(self) -> int:
        return self.examples * self.rows * self.right

    @property
    def bands(self) -> int:
        return -(-self.down // self.rows)

    @property
    def extents(self) -> tuple[int, int]:
        """Of a band of the picture, in places."""
        return self.rows * F2.m + 2, self.right * F2.m + 2

    @property
    def image(self) -> int:
        return self.extents[0] * self.extents[1] * self.channels


def fits(axis: Axis, taps: int) -> bool:
    return taps == 3 and axis.stride == axis.base == axis.dilation == 1


class Ahead:
    """Asks for what the next band reads, while the products of this one are computed."""

    def __init__(
        self,
        code: Code,
        axes: Sequence[Axis],
        channels: tuple[int, int],
        tiling: Tiling,
        x: ir.Value,
        step: int,
        band: ir.Value | int,
        overlap: int = 0,
    ):
        self.code, self.tiling, self.channels = code, tiling, channels
        self.overlap = overlap  # rows that it shares with the band after it
        _, self.h, self.w = axes
        b = code.b
        if tiling.bands == 1:
            self.start, self.row = code.at(x, step), value(0)
        else:
            following = code.add(band, 1)
            last = b.icmp_signed("==", value(following), I64(tiling.bands))
            self.start = code.at(x, b.select(last, I64(step), I64(0)))
            self.row = b.select(last, I64(0), value(code.mul(following, tiling.rows * F2.m)))

    def fetch(self, n: Index) -> None:
        """The n-th part of it."""
        code, (count, across) = self.code, self.channels
        if self.w.x != 1:
            return
        each = -(-count // F2.size**2)
        line = 64 // code.machine.itemsize
        first = code.mul(n, each)
        start = code.at(self.start, code.mul(self.row, self.h.x))
        for c in code.loop(first, code.least(code.add(first, each), count)):
            for r in code.loop(0, self.tiling.rows * F2.m + self.overlap):
                place = code.at(start, code.add(code.mul(c, across), code.mul(r, self.h.x)))
                for w in range(0, self.w.size, line):
                    prefetch(code, code.at(place, w))


def prefetch(code: Code, pointer: ir.Value) -> None:
    """Into the second-level cache; an address where nothing is does no harm."""
    b, name = code.b, "llvm.prefetch.p0"
    i32 = ir.IntType(32)
    function = b.module.globals.get(name)
    if function is None:
        function = ir.Function(b.module, ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32]), name)
    b.call(function, [pointer, i32(0), i32(2), i32(1)])
