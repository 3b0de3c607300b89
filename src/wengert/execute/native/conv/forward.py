"""A convolution with many places: vectors run along output channels, tiles along a row of places.

unit   (example, band of outputs along the first axis that has any, group)
  the band's input, padded, is copied to scratch memory with its channels innermost
  row of places     tiles of places × channels, summed over taps and channels in registers; then the epilogue
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from llvmlite import ir

from wengert.execute.native.conv.gather import clear, gather_function
from wengert.execute.native.conv.image import Packed, Phase, divide, pack_image, packed
from wengert.execute.native.conv.places import Finish
from wengert.execute.native.conv.spec import ConvSpec, round_up
from wengert.execute.native.conv.tile import Panels, balanced, merged, multiply
from wengert.execute.native.product.code import Code, Index, Machine
from wengert.execute.native.product.plan import choose_tile
from wengert.execute.native.product.spec import Target
from wengert.execute.native.product.tile import FEW

PHASES = 64  # parts that a convolution of dilated input may fall into


@dataclass(frozen=True)
class ForwardPlan:
    spec: ConvSpec
    diagonal: bool  # a group for each channel: these are the channels of `spec`
    axes: tuple[Packed, Packed, Packed]  # of a band
    banded: int  # the axis cut into bands
    band: int  # its places in one
    bands: int
    depth: int  # channels of a sum
    chunk: int  # of these so many at a time, whose part of the kernel stays in the cache
    room: int  # channels in the packed input
    width: int  # channels out, in whole vectors
    tile: tuple[int, int]  # rows and vectors
    kernel: int  # elements of scratch memory: the packed kernel, the input of a band, its sums or those of a row
    image: int
    sums: int

    @property
    def units(self) -> int:
        return self.spec.n * self.bands * self.spec.groups

    @property
    def elements(self) -> int:
        return self.kernel + self.image + self.sums


@lru_cache(maxsize=1024)
def forward_plan(spec: ConvSpec, target: Target, rows: int = 0, whole: bool = False) -> ForwardPlan | None:
    """None where the convolution falls into too many phases.

    A band has as many places as fit, or `rows`; with `whole`, a sum takes all channels at once.
    """
    machine = Machine(spec.dtype, target)
    lanes = machine.lanes
    diagonal = spec.groups > 1 and spec.c == spec.o == 1
    if diagonal:
        spec = replace(spec, groups=1, c=spec.groups, o=spec.groups)
    width = round_up(spec.o, lanes)
    depth, room = (1, width) if diagonal else (spec.c, spec.c)
    axes = [packed(a) for a in spec.axes]
    if math.prod(len(a.phases) for a in axes) > PHASES:
        return None
    banded = 0 if spec.axes[0].places > 1 else 1
    axis = spec.axes[banded]
    period = axes[banded].phases[0].period
    # a band: what its input takes fits into the cache
    band = axis.places
    if rows:
        band, axes[banded] = rows, packed(replace(axis, places=rows))
    while not rows and band > period and math.prod(a.extent for a in axes) * room * spec.itemsize > machine.block:
        band = max(round_up(-(-band // 2), period), period)
        axes[banded] = packed(replace(axis, places=band))
    places = -(-spec.axes[2].places // axes[2].phases[0].period)
    taps = max(math.prod(p.taps for p in c) for c in itertools.product(*[a.phases for a in axes]))
    tile = (balanced(places, FEW), 1) if diagonal else choose_tile(places, spec.o, depth * taps, 0, machine)
    image = round_up(math.prod(a.extent for a in axes) * room, lanes)
    chunk = depth
    while not whole and chunk % 2 == 0 and spec.taps * chunk * width * spec.itemsize > machine.block:
        chunk //= 2
    held = 1 if chunk == depth else band * (spec.axes[1].places if banded == 0 else 1)
    return ForwardPlan(
        spec, diagonal, (axes[0], axes[1], axes[2]), banded, band, -(-axis.places // band), depth, chunk, room, width,
        tile, spec.groups * spec.taps * depth * width, image, held * spec.axes[2].places * width,
    )  # fmt: skip


class Forward:
    """Emits the loops of one convolution."""

    def __init__(
        self, code: Code, plan: ForwardPlan, x: ir.Value, kernel: ir.Value, scratch: ir.Value, finish: Finish | None
    ):
        self.code, self.plan, self.spec, self.finish = code, plan, plan.spec, finish
        self.x, self.kernel = x, kernel
        self.packed_kernel = scratch
        self.image = code.at(scratch, plan.kernel)
        self.sums = code.at(self.image, plan.image)
        extents = [a.extent for a in plan.axes]
        self.steps = (extents[1] * extents[2] * plan.room, extents[2] * plan.room, plan.room)  # of the packed input
        taps, one = [a.taps for a in self.spec.axes], plan.depth * plan.width
        self.tap_steps = (taps[1] * taps[2] * one, taps[2] * one, one)
        self.row_of_sums = self.spec.axes[2].places * plan.width

    def pack_kernel(self) -> None:
        """Tap by tap, in panels of as many channels out as a tile has."""
        code, spec, plan = self.code, self.spec, self.plan
        lanes = code.machine.lanes
        panel = min(plan.tile[1] * lanes, plan.width)
        for g in code.loop(0, spec.groups):
            source = code.at(self.kernel, code.mul(g, spec.o * spec.kernel[0]))
            target = code.at(self.packed_kernel, code.mul(g, spec.taps * plan.depth * plan.width))
            for number in code.loop(0, spec.o // panel):
                there = code.at(target, code.mul(number, panel * plan.depth))
                self.pack_panel(code.at(source, code.mul(number, panel * spec.kernel[0])), there, panel, panel)
            if rest := spec.o % panel:
                first = spec.o - rest
                there = code.at(target, first * plan.depth)
                self.pack_panel(code.at(source, first * spec.kernel[0]), there, rest, round_up(rest, lanes))

    def pack_panel(self, source: ir.Value, target: ir.Value, count: int, width: int) -> None:
        code, spec, plan = self.code, self.spec, self.plan
        (ko, kc), axes, one = spec.kernel, spec.axes, self.tap_steps[2]
        if count < width:  # what fills up is never looked at, but may be slow
            for t in code.loop(0, spec.taps):
                clear(code, code.at(target, code.mul(t, one)), plan.depth * width)
        steps = [(a.taps, a.kernel) for a in axes if a.taps > 1]
        turned = [(n, -s) for n, s in steps]
        if spec.taps > 1 and (_dense(steps) or _dense(turned)):  # taps side by side: many channels out at once
            backwards = not _dense(steps)
            gather = gather_function(code.b.module, code.machine, spec.taps, count, (1, ko), -one if backwards else one)
            first = (spec.taps - 1) if backwards else 0
            for c in code.loop(0, plan.depth):
                here = code.at(code.at(source, code.mul(c, kc)), -first)
                code.b.call(gather, [here, code.at(code.at(target, code.mul(c, width)), first * one)])
            return
        gather = gather_function(code.b.module, code.machine, plan.depth, count, (kc, ko), width)
        for i in code.loop(0, axes[0].taps):
            for j in code.loop(0, axes[1].taps):
                for k in code.loop(0, axes[2].taps):
                    here = 0
                    there = 0
                    for t, axis, step in zip((i, j, k), axes, self.tap_steps, strict=True):
                        here, there = code.add(here, code.mul(t, axis.kernel)), code.add(there, code.mul(t, step))
                    code.b.call(gather, [code.at(source, here), code.at(target, there)])

    def unit(self, unit: Index) -> None:
        code, plan, spec = self.code, self.plan, self.spec
        rest, g = divide(code, unit, spec.groups)
        i, band = divide(code, rest, plan.bands)
        self.pack_image(code.at(self.x, code.add(code.mul(i, spec.x[0]), code.mul(g, spec.c * spec.x[1]))), band)
        kernel = code.at(self.packed_kernel, code.mul(g, spec.taps * plan.depth * plan.width))
        start = code.mul(band, plan.band)
        count = code.least(plan.band, code.add(spec.axes[plan.banded].places, code.mul(start, -1)))
        counts = (count, spec.axes[1].places) if plan.banded == 0 else (spec.axes[0].places, count)
        first = (start, 0) if plan.banded == 0 else (0, start)
        assert self.finish is not None

        def finish(sums: ir.Value, d: Index, h: Index) -> None:
            assert self.finish is not None
            index = (i, code.add(first[0], d), code.add(first[1], h))
            self.finish.row(sums, spec.axes[2].places, spec.o, code.mul(g, spec.o), index)

        def sums(d: Index, h: Index) -> ir.Value:
            place = code.add(code.mul(d, 1 if plan.banded else spec.axes[1].places), h)
            return code.at(self.sums, code.mul(place, self.row_of_sums))

        if plan.chunk == plan.depth:
            for phases, (d, h), at in self.rows(counts):
                self.row(phases, at, kernel, self.sums)
                finish(self.sums, d, h)
            return
        clear(code, self.sums, plan.sums)
        for chunk in code.loop(0, plan.depth, plan.chunk):
            for phases, (d, h), at in self.rows(counts):
                self.row(phases, at, kernel, sums(d, h), chunk)
        for d in code.loop(0, counts[0]):
            for h in code.loop(0, counts[1]):
                finish(sums(d, h), d, h)

    def pack_image(self, x: ir.Value, band: Index) -> None:
        """What a band sees of one example and group."""
        code, plan, spec = self.code, self.plan, self.spec
        phase = plan.axes[plan.banded].phases[0]
        shift = code.mul(band, -(plan.band * phase.step // phase.period))
        shifts = (shift, 0) if plan.banded == 0 else (0, shift)
        pack_image(code, spec.axes, plan.axes, shifts, (spec.c, spec.x[1], plan.room), x, self.image, spec.formula)

    def rows(self, counts: tuple[Index, Index]) -> Iterator[tuple[tuple[Phase, Phase], tuple[Index, Index], Any]]:
        """Loops over the outer axes of a band, phase by phase: the phases, the place, and that within the phase."""
        for d_phase, d, at_d in self.along(0, counts[0]):
            for h_phase, h, at_h in self.along(1, counts[1]):
                yield (d_phase, h_phase), (d, h), (at_d, at_h)

    def along(self, axis: int, places: Index) -> Iterator[tuple[Phase, Index, Index]]:
        code = self.code
        for phase in self.plan.axes[axis].phases:
            number, _ = divide(code, code.add(places, phase.period - 1 - phase.first), phase.period)
            for q in code.loop(0, number):
                yield phase, code.add(code.mul(q, phase.period), phase.first), q

    def row(
        self,
        outer: tuple[Phase, Phase],
        at: tuple[Index, Index],
        kernel: ir.Value,
        sums: ir.Value,
        chunk: Index | None = None,
    ) -> None:
        """The sums of a row of places, or what a chunk of the channels adds to them."""
        code, plan, spec = self.code, self.plan, self.spec
        for phase in plan.axes[2].phases:
            count = -(-(spec.axes[2].places - phase.first) // phase.period)
            phases = (*outer, phase)
            source: Index = phase.start * self.steps[2]
            for p, q, step in zip(outer, at, self.steps, strict=False):
                source = code.add(source, code.mul(code.add(code.mul(q, p.step), p.start), step))
            out, step = code.at(sums, phase.first * plan.width), phase.period * plan.width
            if 0 in [p.taps for p in phases]:  # nothing is seen
                for q in code.loop(0, count if chunk is None else 0):
                    clear(code, code.at(out, code.mul(q, step)), plan.width)
                continue
            taps = tuple(
                (p.taps, p.tap_step * step, p.every * tap_step)
                for p, step, tap_step in zip(phases, self.steps, self.tap_steps, strict=True)
            )
            first = sum(p.tap * tap_step for p, tap_step in zip(phases, self.tap_steps, strict=True))
            panels = Panels(
                code.at(kernel, first),
                plan.depth * min(plan.tile[1] * code.machine.lanes, plan.width),
                lambda width, taps=taps: merged((*taps, (plan.chunk, 1, width))),  # type: ignore[misc]
                0 if chunk is None else chunk,
            )
            multiply(
                code,
                (count, plan.width // code.machine.lanes),
                (code.at(code.at(self.image, source), panels.skip), phase.step * self.steps[2]),
                panels,
                (out, step),
                plan.tile,
                resume=chunk is not None,
                diagonal=plan.diagonal,
            )


def _dense(steps: list[tuple[int, int]]) -> bool:
    """Whether axes of these lengths and strides lie side by side."""
    expected = 1
    for count, step in reversed(steps):
        if step != expected:
            return False
        expected *= count
    return True
