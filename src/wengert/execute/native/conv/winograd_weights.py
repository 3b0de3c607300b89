"""The adjoint by a kernel of 3 × 3, by Winograd's minimal filtering: 16 products that sum over tiles of pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from llvmlite import ir

from wengert.execute.native.conv.gather import clear
from wengert.execute.native.conv.image import Packed, pack_image
from wengert.execute.native.conv.places import Finish
from wengert.execute.native.conv.spec import Axis, ConvSpec, round_up
from wengert.execute.native.conv.tile import Panels, multiply
from wengert.execute.native.conv.tiling import FEWEST, MANY, PAD, Ahead, Tiling, fits
from wengert.execute.native.conv.transforms import F2, Walk, transform_function, turned
from wengert.execute.native.conv.weights import Weights, WeightsPlan, weights_plan
from wengert.execute.native.product.code import Code, Index, Machine
from wengert.execute.native.product.plan import choose_tile
from wengert.execute.native.product.spec import Target


@dataclass(frozen=True)
class WinogradWeightsPlan:
    spec: ConvSpec
    direct: WeightsPlan
    tiling: Tiling

    @property
    def blocks(self) -> int:
        return self.direct.blocks

    @property
    def inputs(self) -> int:
        return self.tiling.tiles * self.tiling.channels + PAD

    @property
    def kernels(self) -> int:
        return self.tiling.tiles * self.tiling.results + PAD

    @property
    def products(self) -> int:
        return self.spec.n * self.tiling.results + PAD

    @property
    def picture(self) -> int:
        """Elements of a band of the kernel."""
        return self.tiling.rows * self.tiling.right * F2.m**2 * self.tiling.results

    @property
    def units(self) -> int:
        return self.direct.units

    @property
    def elements(self) -> int:
        many = F2.size**2 * (self.inputs + self.kernels + self.products)
        return max(self.direct.image + self.direct.kernel, self.tiling.image + self.picture + many) + self.direct.sums


@lru_cache(maxsize=1024)
def winograd_weights_plan(spec: ConvSpec, target: Target) -> WinogradWeightsPlan | None:
    """None where the direct way is as good."""
    machine = Machine(spec.dtype, target)
    d, h, w = spec.axes
    direct = weights_plan(spec, target, whole=True)
    if spec.groups > 1 or d != replace(Axis(), x=d.x, kernel=d.kernel):
        return None
    if not (fits(h, h.places) and fits(w, w.places)) or min(spec.n, spec.o) < FEWEST or min(h.taps, w.taps) < 4:
        return None
    channels, results = round_up(spec.n, machine.lanes), round_up(spec.o, machine.lanes)
    products = F2.size**2 * spec.n * results * spec.itemsize
    if products > target.caches[2] // 2:
        return None
    down, right = -(-h.taps // F2.m), -(-w.taps // F2.m)
    each = F2.size**2 * right * (channels + results) * spec.itemsize
    rows = max(1, min(down, machine.block // 2 // each))
    rows = -(-down // -(-down // rows))
    examples = 1
    if products > 2 * machine.block:  # the sums come from afar: for as many tiles as there may be
        rows = -(-down // -(-down // max(rows, -(-MANY // right))))
        alike = math.gcd(direct.each, spec.c)
        few = [e for e in range(1, alike + 1) if alike % e == 0 and e * rows * right <= 2 * MANY]
        examples = max(few) if rows == down and few else 1
        if examples * rows * right < MANY // 2:
            return None
    tile = choose_tile(spec.n, spec.o, examples * rows * right, 0, machine)
    return WinogradWeightsPlan(spec, direct, Tiling(down, right, rows, examples, channels, results, tile))


class WinogradWeights:
    """Emits the loops of the adjoint by the kernel."""

    def __init__(
        self, code: Code, plan: WinogradWeightsPlan, x: ir.Value, kernel: ir.Value, scratch: ir.Value, finish: Finish
    ):
        self.code, self.plan = code, plan
        many = F2.size**2
        self.direct = Weights(code, plan.direct, x, kernel, scratch, finish)
        self.direct.sums = scratch
        self.image = self.direct.image = code.at(scratch, plan.direct.sums)
        self.direct.packed_kernel = code.at(self.image, plan.direct.image)
        self.picture = code.at(self.image, plan.tiling.image)
        self.inputs = code.at(self.picture, plan.picture)
        self.kernels = code.at(self.inputs, many * plan.inputs)
        self.products = code.at(self.kernels, many * plan.kernels)

    def unit(self, unit: Index) -> None:
        code, plan, tiling, direct = self.code, self.plan, self.plan.tiling, self.direct
        clear(code, self.products, F2.size**2 * plan.products)
        for x, kernel in direct.examples(unit, 0, 0, tiling.examples):
            for band in code.loop(0, tiling.bands):
                self.add(x, kernel, band)
        size, lanes = plan.spec.n * tiling.results, code.machine.lanes
        transform = transform_function(
            code.b.module, code.machine, "gt", turned(F2.g), Walk(F2.size * plan.products, plan.products, 0),
            Walk(3 * size, size, 0), 1, size // lanes,
        )  # fmt: skip
        finite = code.b.call(transform, [self.products, direct.sums])
        with code.b.if_then(code.b.not_(finite), likely=False):
            direct.add_up(unit, 0, 0)
        direct.hand_over(unit, 0)

    def add(self, x: ir.Value, kernel: ir.Value, band: Index) -> None:
        """The products of one band of one picture, added to the sums."""
        code, plan, spec, tiling = self.code, self.plan, self.plan.spec, self.plan.tiling
        module, machine, size = code.b.module, code.machine, F2.size
        _, h, w = spec.axes
        shift = code.mul(band, -tiling.rows * F2.m)
        height, width = tiling.extents
        first = Packed(1, 0, 1, ())
        packed = (first, Packed(height, h.low, 1, ()), Packed(width, w.low, 1, ()))
        axes = [Axis(size=a.taps, x=a.kernel) for a in spec.axes]
        whole = (first, Packed(height - 2, 0, 1, ()), Packed(width - 2, 0, 1, ()))
        row, out = width * tiling.channels, (width - 2) * tiling.results
        b = transform_function(
            module, machine, "b", F2.b, Walk(row, tiling.channels, F2.m * tiling.channels),
            Walk(size * plan.inputs, plan.inputs, tiling.channels), tiling.right, tiling.channels // machine.lanes,
        )  # fmt: skip
        a = transform_function(
            module, machine, "at", turned(F2.a), Walk(out, tiling.results, F2.m * tiling.results),
            Walk(size * plan.kernels, plan.kernels, tiling.results), tiling.right, tiling.results // machine.lanes,
        )  # fmt: skip
        step = spec.x[1], spec.kernel[1]
        for e in code.loop(0, tiling.examples):
            source = code.at(x, code.mul(e, step[0]))
            channels = (spec.n, spec.x[0], tiling.channels)
            pack_image(code, spec.axes, packed, (0, shift), channels, source, self.image, spec.formula)
            source = code.at(kernel, code.mul(e, step[1]))
            pack_image(code, axes, whole, (0, shift), (spec.o, spec.kernel[0], tiling.results), source, self.picture)
            for r in code.loop(0, tiling.rows):
                there = code.mul(code.add(code.mul(e, tiling.rows), r), tiling.right)
                source = code.at(self.image, code.mul(r, F2.m * row))
                code.b.call(b, [source, code.at(self.inputs, code.mul(there, tiling.channels))])
                source = code.at(self.picture, code.mul(r, F2.m * out))
                code.b.call(a, [source, code.at(self.kernels, code.mul(there, tiling.results))])
        nest = ((tiling.tiles, tiling.channels, tiling.results),)
        panel = min(tiling.tile[1] * machine.lanes, tiling.results)
        ahead = [
            Ahead(code, spec.axes, (spec.n, spec.x[0]), tiling, x, step[0] * tiling.examples, band, max(2 - h.low, 0)),
            Ahead(code, axes, (spec.o, spec.kernel[0]), tiling, kernel, step[1] * tiling.examples, band),
        ]
        for n in code.loop(0, size**2):
            for a in ahead:
                a.fetch(n)
            multiply(
                code,
                (spec.n, tiling.results // machine.lanes),
                (code.at(self.inputs, code.mul(n, plan.inputs)), 1),
                Panels(code.at(self.kernels, code.mul(n, plan.kernels)), panel, lambda _: nest),
                (code.at(self.products, code.mul(n, plan.products)), tiling.results),
                tiling.tile,
                resume=True,
            )
