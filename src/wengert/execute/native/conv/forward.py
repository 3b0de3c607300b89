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

from llvmlite import ir

from wengert.execute.native.conv.gather import clear
from wengert.execute.native.conv.image import Packed, Phase, divide, pack_image, packed
from wengert.execute.native.conv.places import Finish
from wengert.execute.native.conv.spec import ConvSpec, round_up
from wengert.execute.native.conv.tile import merged, multiply
from wengert.execute.native.product.code import Code, Index, Machine
from wengert.execute.native.product.pack import pack_function
from wengert.execute.native.product.plan import choose_tile
from wengert.execute.native.product.spec import Target

PHASES = 64  # parts that a convolution of dilated input may fall into


@dataclass(frozen=True)
class ForwardPlan:
    spec: ConvSpec
    axes: tuple[Packed, Packed, Packed]  # of a band
    banded: int  # the axis cut into bands
    band: int  # its places in one
    bands: int
    width: int  # channels out, in whole vectors
    tile: tuple[int, int]  # rows and vectors
    kernel: int  # elements of scratch memory: the packed kernel, the input of a band, a row of sums
    image: int
    sums: int

    @property
    def units(self) -> int:
        return self.spec.n * self.bands * self.spec.groups

    @property
    def elements(self) -> int:
        return self.kernel + self.image + self.sums


@lru_cache(maxsize=1024)
def forward_plan(spec: ConvSpec, target: Target, rows: int = 0) -> ForwardPlan | None:
    """None where the convolution falls into too many phases. A band has as many places as fit, or `rows`."""
    machine = Machine(spec.dtype, target)
    lanes = machine.lanes
    width = round_up(spec.o, lanes)
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
    while not rows and band > period and math.prod(a.extent for a in axes) * spec.c * spec.itemsize > machine.block:
        band = max(round_up(-(-band // 2), period), period)
        axes[banded] = packed(replace(axis, places=band))
    places = -(-spec.axes[2].places // axes[2].phases[0].period)
    depth = spec.c * max(math.prod(p.taps for p in c) for c in itertools.product(*[a.phases for a in axes]))
    tile = choose_tile(places, spec.o, depth, 0, machine)
    image = round_up(math.prod(a.extent for a in axes) * spec.c, lanes)
    return ForwardPlan(
        spec, (axes[0], axes[1], axes[2]), banded, band, -(-axis.places // band), width, tile,
        spec.groups * spec.taps * spec.c * width, image, spec.axes[2].places * width,
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
        c = self.spec.c
        extents = [a.extent for a in plan.axes]
        self.steps = (extents[1] * extents[2] * c, extents[2] * c, c)  # of the packed input
        taps, row = [a.taps for a in self.spec.axes], c * plan.width
        self.tap_steps = (taps[1] * taps[2] * row, taps[2] * row, row)

    def pack_kernel(self) -> None:
        """Tap by tap, channels in by channels out."""
        code, spec, plan = self.code, self.spec, self.plan
        ko, kc = spec.kernel
        pack = pack_function(code.b.module, code.machine, kc, ko, spec.c, spec.o, plan.width)
        for g in code.loop(0, spec.groups):
            source = code.at(self.kernel, code.mul(g, spec.o * ko))
            target = code.at(self.packed_kernel, code.mul(g, spec.taps * spec.c * plan.width))
            for at, there in self.places(tuple(a.taps for a in spec.axes), self.tap_steps):
                here: Index = 0
                for t, a in zip(at, spec.axes, strict=True):
                    here = code.add(here, code.mul(t, a.kernel))
                code.b.call(pack, [code.at(source, here), code.at(target, there)])

    def places(self, counts: tuple[int, ...], steps: tuple[int, ...]) -> Iterator[tuple[tuple[Index, ...], Index]]:
        """Loops over some axes: the index, and its distance from the first."""
        code = self.code
        if not counts:
            yield (), 0
            return
        for i in code.loop(0, counts[0]):
            for rest, offset in self.places(counts[1:], steps[1:]):
                yield (i, *rest), code.add(code.mul(i, steps[0]), offset)

    def unit(self, unit: Index) -> None:
        code, plan, spec = self.code, self.plan, self.spec
        rest, g = divide(code, unit, spec.groups)
        i, band = divide(code, rest, plan.bands)
        x = code.at(self.x, code.add(code.mul(i, spec.x[0]), code.mul(g, spec.c * spec.x[1])))
        self.pack_image(x, band)
        kernel = code.at(self.packed_kernel, code.mul(g, spec.taps * spec.c * plan.width))
        first = code.mul(band, plan.band)
        count = code.least(plan.band, code.add(spec.axes[plan.banded].places, code.mul(first, -1)))
        outer = [self.rows(k, first, count) for k in (0, 1)]
        for d_phase, d, at_d in outer[0]():
            for h_phase, h, at_h in outer[1]():
                for phase in plan.axes[2].phases:
                    self.row((d_phase, h_phase, phase), (at_d, at_h), kernel, self.sums)
                assert self.finish is not None
                self.finish.row(self.sums, spec.axes[2].places, spec.o, code.mul(g, spec.o), (i, d, h))

    def pack_image(self, x: ir.Value, band: Index) -> None:
        """What a band sees of one example and group."""
        code, plan, spec = self.code, self.plan, self.spec
        phase = plan.axes[plan.banded].phases[0]
        shift = code.mul(band, -(plan.band * phase.step // phase.period))
        shifts = (shift, 0) if plan.banded == 0 else (0, shift)
        pack_image(code, spec.axes, plan.axes, shifts, (spec.c, spec.x[1], spec.c), x, self.image)

    def rows(self, axis: int, first: Index, count: Index):  # type: ignore[no-untyped-def]
        """Loops over an outer axis, phase by phase: the phase, the output place, and the row within the phase."""
        code, plan = self.code, self.plan

        def emit() -> Iterator[tuple[Phase, Index, Index]]:
            start, places = (first, count) if axis == plan.banded else (0, self.spec.axes[axis].places)
            for phase in plan.axes[axis].phases:
                missing = phase.period - 1 - phase.first
                number, _ = divide(code, code.add(places, missing), phase.period)
                for q in code.loop(0, number):
                    place = code.add(start, code.add(code.mul(q, phase.period), phase.first))
                    yield phase, place, q

        return emit

    def row(
        self, phases: tuple[Phase, Phase, Phase], at: tuple[Index, Index], kernel: ir.Value, sums: ir.Value
    ) -> None:
        """The sums of one phase of a row of places."""
        code, plan, spec = self.code, self.plan, self.spec
        count = -(-(spec.axes[2].places - phases[2].first) // phases[2].period)
        source: Index = phases[2].start * self.steps[2]
        b = 0
        for phase, q, step in zip(phases, at, self.steps, strict=False):
            source = code.add(source, code.mul(code.add(code.mul(q, phase.step), phase.start), step))
        nest = []
        for phase, step, tap_step in zip(phases, self.steps, self.tap_steps, strict=True):
            nest.append((phase.taps, phase.tap_step * step, phase.every * tap_step))
            b += phase.tap * tap_step
        nest.append((spec.c, 1, plan.width))
        out = code.at(sums, phases[2].first * plan.width)
        if 0 in [n for n, _, _ in nest]:
            for q in code.loop(0, count):
                clear(code, code.at(out, code.mul(q, phases[2].period * plan.width)), plan.width)
            return
        multiply(
            code,
            (count, count, plan.width // code.machine.lanes),
            (code.at(self.image, source), phases[2].step * self.steps[2]),
            code.at(kernel, b),
            (out, phases[2].period * plan.width),
            merged(tuple(nest)),
            plan.tile,
        )
