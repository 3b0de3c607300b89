"""Sums over the rows of a panel, while it is in the cache."""

from __future__ import annotations

from llvmlite import ir

from wengert.execute.native.product.code import I64, Code, Machine

WAYS = 4  # rows that are added up apart, so that one addition need not wait for another


def column_sums_function(module: ir.Module, machine: Machine, count: int, stride: int) -> ir.Function:
    """`void sums(T* rows, T* out, i64 k, i64 seen)`: adds up k rows, `stride` apart, of `count` columns each.

    What stands in `out` is added if `seen`, the number of rows before, isn't 0.
    """
    name = f"sums_{machine.suffix}_{count}_{stride}"
    function = module.globals.get(name)
    if function is not None:
        return function
    pointer = machine.number.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer, I64, I64]), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    rows, out, k, seen = function.args
    code = Code(ir.IRBuilder(function.append_basic_block()), machine)
    b = code.b
    whole = b.and_(k, I64(-WAYS))
    for piece in machine.pieces(count):
        zero = machine.zero(piece.lanes)
        state: list[ir.Value] = [zero] * WAYS
        for row, now in code.fold(I64(0), whole, state, WAYS):
            for way in range(WAYS):
                here = code.at(rows, code.add(code.mul(code.add(row, way), stride), piece.offset))
                now[way] = b.fadd(now[way], code.load(here, piece))
        for row, now in code.fold(whole, k, state):
            here = code.at(rows, code.add(code.mul(row, stride), piece.offset))
            now[0] = b.fadd(now[0], code.load(here, piece))
        total = b.fadd(b.fadd(state[0], state[1]), b.fadd(state[2], state[3]))
        place = code.at(out, piece.offset)
        before = b.select(b.icmp_signed("==", seen, I64(0)), zero, code.load(place, piece))
        code.store(b.fadd(before, total), place, piece)
    b.ret_void()
    return function
