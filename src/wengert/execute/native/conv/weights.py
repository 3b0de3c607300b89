"""A convolution with few places and many taps, such as the adjoint by the kernel: the sum runs over pictures.

In the terms of the primitive `c` counts pictures and `n` channels; tiles are (places, n) × channels out.

unit   (block of c, group, block of channels out)
  each c of the block   input and kernel, as n and channels out innermost, are copied to scratch memory
    tile                sums over all taps, added to those of the c before
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from llvmlite import ir

from wengert.execute.native.conv.gather import clear, gather_function
from wengert.execute.native.conv.image import Packed, divide, pack_image
from wengert.execute.native.conv.places import Finish
from wengert.execute.native.conv.spec import ConvSpec, round_up
from wengert.execute.native.conv.tile import Panels, balanced, merged, multiply
from wengert.execute.native.product.code import Code, Index, Machine, value
from wengert.execute.native.product.plan import choose_tile
from wengert.execute.native.product.spec import Target
from wengert.execute.native.product.tile import FEW

BLOCKS = 8  # that c falls into: their sums are added up afterwards, in order
BLOCK_FLOPS = 4_000_000  # a block should be worth handing to a thread
MOST_BYTES = 16 << 20  # for the sums of all blocks


@dataclass(frozen=True)
class WeightsPlan:
    spec: ConvSpec
    diagonal: bool  # a group for each channel: these are the n and o of `spec`
    rows: int  # n of a sum
    room: int  # n in the packed input
    axes: tuple[Packed, Packed, Packed]
    blocks: int  # of c
    each: int  # c in a block
    parts: int  # of channels out
    o: int  # channels out in a part
    width: int  # the same in whole vectors
    tile: tuple[int, int]
    image: int  # elements of scratch memory
    kernel: int
    sums: int

    @property
    def units(self) -> int:
        return self.blocks * self.spec.groups * self.parts

    @property
    def elements(self) -> int:
        return self.image + self.kernel + self.sums


@lru_cache(maxsize=1024)
def weights_plan(spec: ConvSpec, target: Target, whole: bool = False) -> WeightsPlan:
    """With `whole`, a unit has all channels out."""
    machine = Machine(spec.dtype, target)
    lanes = machine.lanes
    diagonal = spec.groups > 1 and spec.n == spec.o == 1
    if diagonal:
        groups, (_, xc) = spec.groups, spec.x
        spec = replace(spec, groups=1, n=groups, o=groups, x=(spec.c * xc, xc))
    rows = 1 if diagonal else spec.n
    room = round_up(spec.n, lanes) if diagonal else spec.n
    axes = [Packed(a.reach, a.low, a.base, ()) for a in spec.axes]
    results = spec.places * rows * spec.o
    most = MOST_BYTES // (results * spec.groups * spec.itemsize)
    blocks = max(1, min(BLOCKS, spec.c, spec.flops // BLOCK_FLOPS, most))
    blocks = -(-spec.c // -(-spec.c // blocks))
    each = -(-spec.c // blocks)  # in blocks that are equal, if their number divides c
    o = spec.o
    while not (whole or diagonal) and o % (4 * lanes) == 0 and spec.places * rows * o * spec.itemsize > machine.block:
        o //= 2
    width = round_up(o, lanes)
    together = spec.axes[2].places if diagonal or spec.axes[2].stride == 1 else 1
    limit = choose_tile(rows * together, o, spec.taps, width * spec.itemsize, machine)
    if diagonal:
        limit = (balanced(together, FEW), 1 if together > 4 else 2)
    image = axes[0].extent * axes[1].extent * axes[2].extent * room
    return WeightsPlan(
        spec, diagonal, rows, room, (axes[0], axes[1], axes[2]), -(-spec.c // each), each, spec.o // o, o, width,
        limit, round_up(image, lanes), spec.taps * width, spec.places * rows * width,
    )  # fmt: skip


class Weights:
    """Emits the loops of one convolution."""

    def __init__(
        self, code: Code, plan: WeightsPlan, x: ir.Value, kernel: ir.Value, scratch: ir.Value, finish: Finish | None
    ):
        self.code, self.plan, self.spec, self.finish = code, plan, plan.spec, finish
        self.x, self.kernel = x, kernel
        self.image = scratch
        self.packed_kernel = code.at(scratch, plan.image)
        self.sums = code.at(self.packed_kernel, plan.kernel)

    def unit(self, unit: Index) -> None:
        code, plan, spec = self.code, self.plan, self.spec
        rest, part = divide(code, unit, plan.parts)
        block, g = divide(code, rest, spec.groups)
        first_o = code.add(code.mul(g, spec.o), code.mul(part, plan.o))
        self.add_up(block, g, first_o)
        self.hand_over(block, first_o)

    def examples(self, block: Index, g: Index, first_o: Index, step: int = 1) -> Iterator[tuple[ir.Value, ir.Value]]:
        """A loop over the c of a block: the operands there."""
        code, plan, spec = self.code, self.plan, self.spec
        first = code.mul(block, plan.each)
        for c in code.loop(first, code.least(code.add(first, plan.each), spec.c), step):
            x = code.at(self.x, code.mul(code.add(c, code.mul(g, spec.c)), spec.x[1]))
            yield x, code.at(self.kernel, code.add(code.mul(c, spec.kernel[1]), code.mul(first_o, spec.kernel[0])))

    def add_up(self, block: Index, g: Index, first_o: Index) -> None:
        code, plan, spec = self.code, self.plan, self.spec
        clear(code, self.sums, plan.sums)
        for x, kernel in self.examples(block, g, first_o):
            pack_image(code, spec.axes, plan.axes, (0, 0), (spec.n, spec.x[0], plan.room), x, self.image, spec.formula)
            self.pack_kernel(kernel)
            self.add()

    def hand_over(self, block: Index, first_o: Index) -> None:
        code, plan, spec = self.code, self.plan, self.spec
        assert self.finish is not None
        d, h, w = spec.axes
        for i in code.loop(0, d.places):
            for j in code.loop(0, h.places):
                for k in code.loop(0, w.places):
                    for n in code.loop(0, plan.rows):
                        at = code.add(code.mul(code.add(code.mul(i, h.places), j), w.places), k)
                        row = code.mul(code.add(code.mul(at, plan.rows), n), plan.width)
                        index = [value(v) for v in (block, i, j, k, n)]
                        self.finish.hand_over(code.at(self.sums, row), index, first_o, plan.o)

    def pack_kernel(self, kernel: ir.Value) -> None:
        code, plan, (d, h, w) = self.code, self.plan, self.spec.axes
        source = (w.kernel, self.spec.kernel[0])
        gather = gather_function(code.b.module, code.machine, w.taps, plan.o, source, plan.width)
        for i in code.loop(0, d.taps):
            for j in code.loop(0, h.taps):
                here = code.add(code.mul(i, d.kernel), code.mul(j, h.kernel))
                there = code.mul(code.add(code.mul(i, h.taps), j), w.taps * plan.width)
                code.b.call(gather, [code.at(kernel, here), code.at(self.packed_kernel, there)])

    def add(self) -> None:
        """The products of one picture, added to the sums."""
        code, plan, spec = self.code, self.plan, self.spec
        d, h, w = spec.axes
        row = plan.axes[2].extent * plan.room
        plane = plan.axes[1].extent * row
        nest = merged(
            (
                (d.taps, d.dilation * plane, h.taps * w.taps * plan.width),
                (h.taps, h.dilation * row, w.taps * plan.width),
                (w.taps, w.dilation * plan.room, plan.width),
            )
        )
        panels = Panels(self.packed_kernel, min(plan.tile[1] * code.machine.lanes, plan.width), lambda _: nest)
        # places whose rows follow each other
        together = w.places if plan.diagonal or w.stride == 1 else 1
        for i in code.loop(0, d.places):
            for j in code.loop(0, h.places):
                for k in code.loop(0, w.places, together):
                    at = code.add(code.mul(i, d.stride * plane), code.mul(j, h.stride * row))
                    at = code.add(at, code.mul(k, w.stride * plan.room))
                    out = code.add(code.mul(code.add(code.mul(i, h.places), j), w.places), k)
                    multiply(
                        code,
                        (together * plan.rows, plan.width // code.machine.lanes),
                        (code.at(self.image, at), w.stride * plan.room if plan.diagonal else 1),
                        panels,
                        (code.at(self.sums, code.mul(out, plan.rows * plan.width)), plan.width),
                        plan.tile,
                        resume=True,
                        diagonal=plan.diagonal,
                    )
