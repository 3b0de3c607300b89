"""Product statements: the matrix kernel, with the roots evaluated on each finished piece as its epilogue."""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir

from wengert.execute.native.conv import ConvSpec, conv_run, conv_scratch, conv_units, emit_conv
from wengert.execute.native.emit import I64, LANE, Body, Windows, memory_type, store_roots
from wengert.execute.native.product import ProductSpec, emit_product, has_column_sums, panel_width, scratch_bytes, units
from wengert.execute.native.statements import Convolution, Product
from wengert.execute.native.target import Target
from wengert.execute.native.views import View

LARGE = 256 << 10  # bytes, of a weight that had better stay in one core's cache


def spec_of(p: Product) -> ProductSpec | ConvSpec:
    """What the kernel generator needs to know."""
    if isinstance(p, Convolution):
        assert p.spec is not None
        return p.spec
    *lead, m, n = p.shape
    return ProductSpec(
        dtype=p.dtype.name,  # type: ignore[arg-type]
        batch=tuple(lead),
        m=m,
        n=n,
        k=p.x.shape[-1],
        a=(p.x.strides[:-2], p.x.strides[-2], p.x.strides[-1]),
        b=(p.y.strides[:-2], p.y.strides[-2], p.y.strides[-1]),
        rows=p.rows,
    )


def product_scratch(p: Product, target: Target) -> int:
    """Bytes of scratch memory that the kernel packs operands into."""
    spec = spec_of(p)
    return conv_scratch(spec, target) if isinstance(spec, ConvSpec) else scratch_bytes(spec, target)


def product_units(p: Product, target: Target) -> int:
    """How many units the kernel is cut into."""
    spec = spec_of(p)
    return conv_units(spec, target) if isinstance(spec, ConvSpec) else units(spec, target)


def product_run(p: Product, target: Target) -> tuple[int, int]:
    """(rows, units): so many indices of the first axis take so many units, which come in order."""
    spec = spec_of(p)
    return conv_run(spec, target) if isinstance(spec, ConvSpec) else (1, product_units(p, target) // p.shape[0])


def product_flops(p: Product) -> int:
    """Multiplications and additions."""
    spec = spec_of(p)
    if isinstance(spec, ConvSpec):
        return 2 * spec.n * spec.groups * spec.o * spec.c * spec.places * spec.taps
    return spec.flops


def has_rows(p: Product, target: Target) -> bool:
    """Whether the kernel can compute any rows of the product by themselves."""
    spec = spec_of(p)
    return isinstance(spec, ProductSpec) and math.prod(spec.batch) == 1 and panel_width(spec, target) > 0


def sums_columns(p: Product, target: Target) -> bool:
    """Whether the kernel can add up the rows of `y` on the way: those of one matrix, which it reads once."""
    spec = spec_of(p)
    return isinstance(spec, ProductSpec) and has_column_sums(spec, target)


def columns_to_deal(p: Product, target: Target) -> int:
    """The width of a panel where threads should share out columns: where most is to be had from not meeting each
    other's part of a large operand or result. 0 elsewhere."""
    if not has_rows(p, target):
        return 0
    m, n, k = p.shape[-2], p.shape[-1], p.x.shape[-1]
    spec = spec_of(p)
    assert isinstance(spec, ProductSpec)
    width, most = panel_width(spec, target), max(m * k, m * n, k * n)
    large = most > (m * k + m * n + k * n) * 0.6 and most * p.dtype.itemsize > LARGE
    return width if large and most != m * k and n >= 4 * width else 0


def emit_product_statement(module: ir.Module, name: str, p: Product, windows: Windows, target: Target) -> ir.Function:
    """A function of the windows' pointers, of scratch memory and, if it is split, of which part of it is wanted."""
    types = [memory_type(v.buffer.dtype).as_pointer() for v in windows.views]

    def finish(b: ir.IRBuilder, value: Any, outer: Any, j: Any, lanes: int, mask: Any, extra: Any) -> None:
        valid = lanes if mask is None else sum(bit.constant for bit in mask.constant)
        body = Body(b, lambda view: extra[windows.numbers[id(view)]], j, lanes, valid)
        filled = len(outer) + 1 - len(p.shape)  # axes in front of a convolution's places, which the statement lacks
        first = 6 - len(outer)
        outer = [*outer[:first], *outer[first + filled :]] if filled else outer
        index = [*outer, j if lanes == 1 else LANE]
        body.set(p.value, index, value)
        store_roots(body, p.roots, index)

    def epilogue(b: ir.IRBuilder, value: Any, batch: Any, i: Any, j: Any, lanes: int, mask: Any, extra: Any) -> None:
        finish(b, value, [*batch, i], j, lanes, mask, extra)

    spec = spec_of(p)
    split = p.split
    along: Any = "units"
    if split is not None and split.axis is not None and split.axis >= len(p.shape) - 2:
        along = "rows" if split.axis == len(p.shape) - 2 else "columns"
    if isinstance(spec, ConvSpec):
        kernel = emit_conv(module, f"{name}.kernel", spec, finish, types, target)
    else:
        kernel = emit_product(module, f"{name}.kernel", spec, epilogue, types, target, along, p.sums is not None)
    number = memory_type(p.dtype).as_pointer()
    span = [I64, I64] if split is not None else []
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [*types, number, *span]), name)
    function.linkage = "internal"
    b = ir.IRBuilder(function.append_basic_block())
    windows_given, scratch = function.args[: len(types)], function.args[len(types)]
    begin, end = (I64(0), I64(product_units(p, target))) if split is None else function.args[-2:]
    if split is not None and split.axis is not None and along == "units":  # whole matrices, of several units each
        rows, each = product_run(p, target)
        end = b.add(end, I64(rows - 1))
        begin, end = (b.mul(b.udiv(x, I64(rows)), I64(each)) for x in (begin, end))

    def pointer(view: View) -> ir.Value:
        return windows_given[windows.numbers[id(view)]]

    sums = [] if p.sums is None else [pointer(p.sums)]
    b.call(kernel, [pointer(p.x), pointer(p.y), scratch, begin, end, *windows_given, *sums])
    b.ret_void()
    return function
