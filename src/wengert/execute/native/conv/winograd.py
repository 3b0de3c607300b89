"""Kernels of 3 × 3 by Winograd's minimal filtering: a convolution with many places, and its adjoint by the kernel.

Both are 16 products of matrices, one for each number of a transformed tile, between transforms that vectors of channels
make cheap. What is not finite is computed anew, directly, because the sum of an infinity and its opposite is NaN.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from llvmlite import ir

from wengert.execute.native.conv.forward import Forward, ForwardPlan, forward_plan
from wengert.execute.native.conv.gather import clear
from wengert.execute.native.conv.image import Packed, divide, pack_image
from wengert.execute.native.conv.places import Finish
from wengert.execute.native.conv.spec import Axis, ConvSpec, round_up
from wengert.execute.native.conv.tile import Panels, balanced, multiply
from wengert.execute.native.conv.transforms import F2, Walk, transform_function, turned
from wengert.execute.native.conv.weights import Weights, WeightsPlan, weights_plan
from wengert.execute.native.product.code import I64, Code, Index, Machine, value
from wengert.execute.native.product.plan import choose_tile, row_limit
from wengert.execute.native.product.spec import Target

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
    name = f"winograd_band_{hashlib.sha1(repr(spec).encode()).hexdigest()[:16]}"
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
        pack_image(code, spec.axes, packed, (0, shift), (spec.c, spec.x[1], tiling.channels), here, at.image)
        for r in code.loop(0, tiling.rows):
            there = code.mul(code.add(code.mul(i, tiling.rows), r), tiling.right * tiling.channels)
            code.b.call(forth, [code.at(at.image, code.mul(r, F2.m * row)), code.at(at.inputs, there)])
    panel = min(tiling.tile[1] * machine.lanes, tiling.results)
    ahead = Ahead(code, spec.axes, (spec.c, spec.x[1]), tiling, x, spec.x[0] * tiling.examples, band)
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
    ):
        self.code, self.tiling, self.channels = code, tiling, channels
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
            for r in code.loop(0, self.tiling.rows * F2.m):
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
        return self.tiling.tiles * F2.m**2 * self.tiling.results

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
    if F2.size**2 * spec.n * results * spec.itemsize > 2 * machine.block:
        return None
    down, right = -(-h.taps // F2.m), -(-w.taps // F2.m)
    each = F2.size**2 * right * (channels + results) * spec.itemsize
    rows = max(1, min(down, machine.block // 2 // each))
    rows = -(-down // -(-down // rows))
    tile = choose_tile(spec.n, spec.o, rows * right, 0, machine)
    return WinogradWeightsPlan(spec, direct, Tiling(down, right, rows, 1, channels, results, tile))


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
        for x, kernel in direct.examples(unit, 0, 0):
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
        pack_image(code, spec.axes, packed, (0, shift), (spec.n, spec.x[0], tiling.channels), x, self.image)
        axes = [Axis(size=a.taps, x=a.kernel) for a in spec.axes]
        packed = (first, Packed(height - 2, 0, 1, ()), Packed(width - 2, 0, 1, ()))
        pack_image(code, axes, packed, (0, shift), (spec.o, spec.kernel[0], tiling.results), kernel, self.picture)
        row, out = width * tiling.channels, (width - 2) * tiling.results
        b = transform_function(
            module, machine, "b", F2.b, Walk(row, tiling.channels, F2.m * tiling.channels),
            Walk(size * plan.inputs, plan.inputs, tiling.channels), tiling.right, tiling.channels // machine.lanes,
        )  # fmt: skip
        a = transform_function(
            module, machine, "at", turned(F2.a), Walk(out, tiling.results, F2.m * tiling.results),
            Walk(size * plan.kernels, plan.kernels, tiling.results), tiling.right, tiling.results // machine.lanes,
        )  # fmt: skip
        for r in code.loop(0, tiling.rows):
            there = code.mul(r, tiling.right)
            source = code.at(self.image, code.mul(r, F2.m * row))
            code.b.call(b, [source, code.at(self.inputs, code.mul(there, tiling.channels))])
            source = code.at(self.picture, code.mul(r, F2.m * out))
            code.b.call(a, [source, code.at(self.kernels, code.mul(there, tiling.results))])
        nest = ((tiling.tiles, tiling.channels, tiling.results),)
        panel = min(tiling.tile[1] * machine.lanes, tiling.results)
        step = spec.x[1], spec.kernel[1]
        ahead = [
            Ahead(code, spec.axes, (spec.n, spec.x[0]), tiling, x, step[0], band),
            Ahead(code, axes, (spec.o, spec.kernel[0]), tiling, kernel, step[1], band),
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
