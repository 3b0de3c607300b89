"""Kernels of 3 × 3 by Winograd's minimal filtering: a convolution with many places.

It is 16 products of matrices, one for each number of a transformed tile, between transforms that vectors of channels
make cheap. What is not finite is computed anew, directly, because the sum of an infinity and its opposite is NaN.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache

from llvmlite import ir

from wengert.execute.native.conv.forward import Forward, ForwardPlan, forward_plan
from wengert.execute.native.conv.image import Packed, divide, pack_image
from wengert.execute.native.conv.places import Finish
from wengert.execute.native.conv.spec import Axis, ConvSpec, round_up
from wengert.execute.native.conv.tile import Panels, balanced, multiply
from wengert.execute.native.conv.tiling import FEWEST, MANY, PAD, Ahead, Tiling, fits
from wengert.execute.native.conv.transforms import F2, Walk, transform_function
from wengert.execute.native.product.code import I64, Code, Index, Machine, value
from wengert.execute.native.product.plan import row_limit
from wengert.execute.native.product.spec import Target


@dataclass(frozen=True)
class WinogradPlan:
    spec: ConvSpec
    direct: ForwardPlan
    tiling: Tiling

    @property
    def kernels(self) -> int:
        return self.spec.c * self.tiling.results + PAD

    @property
    def inputs(self) -> int:
        return self.tiling.tiles * self.tiling.channels + PAD

    @property
    def outputs(self) -> int:
        return self.tiling.tiles * self.tiling.results + PAD

    @property
    def sums(self) -> int:
        return self.tiling.tiles * F2.m**2 * self.tiling.results

    @property
    def units(self) -> int:
        return -(-self.spec.n // self.tiling.examples) * self.tiling.bands

    @property
    def elements(self) -> int:
        many = F2.size**2 * (self.kernels + self.inputs + self.outputs)
        return self.direct.kernel + max(self.direct.image, self.tiling.image) + self.sums + many


@lru_cache(maxsize=1024)
def winograd_plan(spec: ConvSpec, target: Target) -> WinogradPlan | None:
    """None where the direct way is as good."""
    machine = Machine(spec.dtype, target)
    d, h, w = spec.axes
    if spec.groups > 1 or d != replace(Axis(), x=d.x, kernel=d.kernel) or not (fits(h, h.taps) and fits(w, w.taps)):
        return None
    if min(spec.c, spec.o) < FEWEST or min(h.places, w.places) < 4:
        return None
    channels, results = round_up(spec.c, machine.lanes), round_up(spec.o, machine.lanes)
    kernels = F2.size**2 * spec.c * results * spec.itemsize
    if kernels > target.caches[2] // 2:
        return None
    down, right = -(-h.places // F2.m), -(-w.places // F2.m)
    each = F2.size**2 * right * (channels + results) * spec.itemsize  # bytes for a row of tiles
    rows = max(1, min(down, machine.block // 2 // each))
    rows = -(-down // -(-down // rows))
    examples = 1
    if kernels > 2 * machine.block:  # they come from afar: for as many tiles as there may be
        rows = -(-down // -(-down // max(rows, -(-MANY // right))))
        examples = min(spec.n, -(-MANY // (rows * right))) if rows == down else 1
        if examples * rows * right < MANY:
            return None
    direct = forward_plan(spec, target, rows * F2.m, whole=True)
    assert direct is not None
    vectors = min(direct.tile[1], results // machine.lanes)
    tile = (balanced(examples * rows * right, row_limit(machine, vectors)), vectors)
    return WinogradPlan(spec, direct, Tiling(down, right, rows, examples, channels, results, tile))


class Winograd:
    """Emits the loops of a convolution with many places."""

    def __init__(
        self, code: Code, plan: WinogradPlan, x: ir.Value, kernel: ir.Value, scratch: ir.Value, finish: Finish
    ):
        self.code, self.plan, self.x, self.finish, self.scratch = code, plan, x, finish, scratch
        self.direct = Forward(code, plan.direct, x, kernel, scratch, None)
        self.places = Places(code, plan, scratch)

    def pack_kernel(self) -> None:
        code, plan = self.code, self.plan
        self.direct.pack_kernel()
        lanes, size = code.machine.lanes, plan.spec.c * plan.tiling.results
        g = transform_function(
            code.b.module, code.machine, "g", F2.g, Walk(3 * size, size, 0),
            Walk(F2.size * plan.kernels, plan.kernels, 0), 1, size // lanes,
        )  # fmt: skip
        code.b.call(g, [self.scratch, self.places.kernels])

    def unit(self, unit: Index) -> None:
        code, plan, spec = self.code, self.plan, self.plan.spec
        group, band = divide(code, unit, plan.tiling.bands)
        first = code.mul(group, plan.tiling.examples)
        count = code.least(plan.tiling.examples, code.add(spec.n, code.mul(first, -1)))
        code.b.call(
            band_function(code.b.module, code.machine, plan),
            [code.at(self.x, code.mul(first, spec.x[0])), self.scratch, value(band), value(count)],
        )
        top = code.mul(band, plan.direct.band)
        row = plan.tiling.right * F2.m * plan.tiling.results
        for i in code.loop(0, count):
            sums = code.at(self.places.sums, code.mul(i, plan.tiling.rows * F2.m * row))
            for h in code.loop(0, code.least(plan.direct.band, code.add(spec.axes[1].places, code.mul(top, -1)))):
                index = (code.add(first, i), 0, code.add(top, h))
                self.finish.row(code.at(sums, code.mul(h, row)), spec.axes[2].places, spec.o, 0, index)


class Places:
    """Where things lie in the scratch memory of a convolution with many places."""

    def __init__(self, code: Code, plan: WinogradPlan, scratch: ir.Value):
        many = F2.size**2
        self.image = code.at(scratch, plan.direct.kernel)
        self.sums = code.at(self.image, max(plan.direct.image, plan.tiling.image))
        self.kernels = code.at(self.sums, plan.sums)
        self.inputs = code.at(self.kernels, many * plan.kernels)
        self.outputs = code.at(self.inputs, many * plan.inputs)


def band_function(module: ir.Module, machine: Machine, plan: WinogradPlan) -> ir.Function:
    """`void band(T* x, T* scratch, i64 band, i64 count)`: the sums of a band of so many examples.

    All convolutions that differ in what follows share it.
    """
    spec = replace(plan.spec, n=1, kernel=(0, 0), axes=tuple(replace(a, kernel=0) for a in plan.spec.axes))  # type: ignore[arg-type]
    name = f"winograd_band_{hashlib.sha1(repr((spec, plan.tiling)).encode()).hexdigest()[:16]}"
    function = module.globals.get(name)
    if function is not None:
        return function
    pointer = machine.number.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer, I64, I64]), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    code = Code(ir.IRBuilder(function.append_basic_block()), machine)
    x, scratch, band, count = function.args
    at, tiling, size = Places(code, plan, scratch), plan.tiling, F2.size
    height, width = tiling.extents
    _, h, w = spec.axes
    packed = (Packed(1, 0, 1, ()), Packed(height, h.low, 1, ()), Packed(width, w.low, 1, ()))
    shift = code.mul(band, -plan.direct.band) if tiling.bands > 1 else 0
    row, out = width * tiling.channels, F2.m * tiling.right * tiling.results
    forth = transform_function(
        module, machine, "b", F2.b, Walk(row, tiling.channels, F2.m * tiling.channels),
        Walk(size * plan.inputs, plan.inputs, tiling.channels), tiling.right, tiling.channels // machine.lanes,
    )  # fmt: skip
    back = transform_function(
        module, machine, "a", F2.a, Walk(size * plan.outputs, plan.outputs, tiling.results),
        Walk(out, tiling.results, F2.m * tiling.results), tiling.right, tiling.results // machine.lanes,
    )  # fmt: skip
    examples: Index = count if tiling.examples > 1 else 1
    for i in code.loop(0, examples):
        here = code.at(x, code.mul(i, spec.x[0]))
        pack_image(
            code, spec.axes, packed, (0, shift), (spec.c, spec.x[1], tiling.channels), here, at.image, spec.formula
        )
        for r in code.loop(0, tiling.rows):
            there = code.mul(code.add(code.mul(i, tiling.rows), r), tiling.right * tiling.channels)
            code.b.call(forth, [code.at(at.image, code.mul(r, F2.m * row)), code.at(at.inputs, there)])
    panel = min(tiling.tile[1] * machine.lanes, tiling.results)
    ahead = Ahead(code, spec.axes, (spec.c, spec.x[1]), tiling, x, spec.x[0] * tiling.examples, band, max(2 - h.low, 0))
    for n in code.loop(0, size**2):
        ahead.fetch(n)
        multiply(
            code,
            (tiling.tiles, tiling.results // machine.lanes),
            (code.at(at.inputs, code.mul(n, plan.inputs)), tiling.channels),
            Panels(code.at(at.kernels, code.mul(n, plan.kernels)), spec.c * panel, lambda width: ((spec.c, 1, width),)),
            (code.at(at.outputs, code.mul(n, plan.outputs)), tiling.results),
            tiling.tile,
        )
    for i in code.loop(0, examples):
        fine: list[ir.Value] = [ir.IntType(1)(1)]
        first = code.mul(i, tiling.rows)
        for r, state in code.fold(0, tiling.rows, fine):
            at_tile = code.add(first, r)
            source = code.at(at.outputs, code.mul(at_tile, tiling.right * tiling.results))
            finite = code.b.call(back, [source, code.at(at.sums, code.mul(at_tile, F2.m * out))])
            state[0] = code.b.and_(state[0], finite)
        with code.b.if_then(code.b.not_(fine[0]), likely=False):
            direct = Forward(code, plan.direct, x, x, scratch, None)
            direct.pack_image(code.at(x, code.mul(i, spec.x[0])), band)
            phases = [a.phases[0] for a in plan.direct.axes]
            for r in code.loop(0, plan.direct.band):
                place = code.add(code.mul(first, F2.m), r)
                direct.row((phases[0], phases[1]), (0, r), scratch, code.at(at.sums, code.mul(place, out)))
    code.b.ret_void()
    return function
