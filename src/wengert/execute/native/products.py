"""Product statements: the matrix kernel, with the roots evaluated on each finished piece as its epilogue."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from wengert.execute.native.emit import I64, LANE, Body, Windows, memory_type, store_roots
from wengert.execute.native.product import ProductSpec, emit_product, scratch_bytes, units
from wengert.execute.native.statements import Product
from wengert.execute.native.target import Target
from wengert.execute.native.views import View


def spec_of(p: Product) -> ProductSpec:
    """What the kernel generator needs to know."""
    *lead, m, n = p.shape
    return ProductSpec(
        dtype=p.dtype.name,  # type: ignore[arg-type]
        batch=tuple(lead),
        m=m,
        n=n,
        k=p.x.shape[-1],
        a=(p.x.strides[:-2], p.x.strides[-2], p.x.strides[-1]),
        b=(p.y.strides[:-2], p.y.strides[-2], p.y.strides[-1]),
    )


def product_scratch(p: Product, target: Target) -> int:
    """Bytes of scratch memory that the kernel packs operands into."""
    return scratch_bytes(spec_of(p), target)


def emit_product_statement(module: ir.Module, name: str, p: Product, windows: Windows, target: Target) -> ir.Function:
    """A function of the windows' pointers that computes the product and its roots."""
    types = [memory_type(v.buffer.dtype).as_pointer() for v in windows.views]

    def epilogue(b: ir.IRBuilder, value: Any, batch: Any, i: Any, j: Any, lanes: int, mask: Any, extra: Any) -> None:
        valid = lanes if mask is None else sum(bit.constant for bit in mask.constant)
        body = Body(b, lambda view: extra[windows.numbers[id(view)]], j, lanes, valid)
        index = [*batch, i, j if lanes == 1 else LANE]
        body.set(p.value, index, value)
        store_roots(body, p.roots, index)

    kernel = emit_product(module, f"{name}.kernel", spec_of(p), epilogue, types, target)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
    function.linkage = "internal"
    b = ir.IRBuilder(function.append_basic_block())

    def pointer(view: View) -> ir.Value:
        return function.args[windows.numbers[id(view)]]

    number = memory_type(p.dtype).as_pointer()
    scratch = ir.Constant(number, None) if p.scratch is None else b.bitcast(pointer(p.scratch), number)
    whole = units(spec_of(p), target)
    b.call(kernel, [pointer(p.x), pointer(p.y), scratch, I64(0), I64(whole), *function.args])
    b.ret_void()
    return function
