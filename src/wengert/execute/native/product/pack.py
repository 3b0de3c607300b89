"""Panels: a strip of an operand, copied so that the tile reads it from end to end."""

from __future__ import annotations

from llvmlite import ir

from wengert.execute.native.product.code import I64, Code, Machine, Piece, value


def pack(
    code: Code, source: ir.Value, along: int, across: int, target: ir.Value, k: int, count: int, width: int
) -> None:
    """`target[q · width + c] = source[q · along + c · across]` for q < k and c < count.

    `width` is a multiple of the vector's length; the columns beyond `count` are filled with something that is there.
    """
    m = code.machine
    if across == 1:
        pieces = m.pieces(count) if m.masks else ()
        for q in code.loop(0, k):
            here, there = code.at(source, code.mul(q, along)), code.at(target, code.mul(q, width))
            for p in pieces:
                x = code.load(code.at(here, p.offset), p)
                code.store(x, code.at(there, p.offset), Piece(p.offset, p.lanes, p.lanes))
            for c in range(0, 0 if m.masks else width, m.lanes):
                x = code.load_some(code.at(here, c), max(0, min(m.lanes, count - c)))
                code.store(x, code.at(there, c), Piece(c, m.lanes, m.lanes))
    elif along == 1:
        lanes = m.lanes
        for c in range(0, count, lanes):
            columns = min(lanes, count - c)
            here, there = code.at(source, c * across), code.at(target, c)
            whole = k - k % lanes
            for q in code.loop(0, whole, lanes):
                _turn(code, code.at(here, q), across, columns, lanes, code.at(there, code.mul(q, width)), width)
            if k % lanes:
                place = code.at(there, code.mul(whole, width))
                _turn(code, code.at(here, whole), across, columns, k % lanes, place, width)
    else:
        for q in code.loop(0, k):
            for c in code.loop(0, width):
                last = code.least(c, count - 1)  # what fills up is never looked at
                x = code.b.load(code.at(source, code.add(code.mul(q, along), code.mul(last, across))), typ=m.number)
                code.b.store(x, code.at(target, code.add(code.mul(q, width), c)))


def _turn(code: Code, source: ir.Value, across: int, columns: int, valid: int, target: ir.Value, width: int) -> None:
    """One square of vectors, transposed: `columns` vectors of `valid` numbers become `valid` rows."""
    function = turn_function(code.b.module, code.machine, columns, valid)
    code.b.call(function, [source, value(across), target, value(width)])


def turn_function(module: ir.Module, machine: Machine, columns: int, valid: int) -> ir.Function:
    """`void turn(T* source, i64 source_stride, T* target, i64 target_stride)`."""
    name = f"turn_{machine.suffix}_{columns}_{valid}"
    function = module.globals.get(name)
    if function is not None:
        return function
    pointer = machine.number.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, I64, pointer, I64]), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    code = Code(ir.IRBuilder(function.append_basic_block()), machine)
    source, across, target, width = function.args
    lanes = machine.lanes
    vectors = [code.load_some(code.at(source, code.mul(across, c)), valid) for c in range(columns)]
    vectors += [machine.zero(lanes)] * (lanes - columns)
    for q, x in enumerate(transposed(code, vectors)[:valid]):
        code.store(x, code.at(target, code.mul(width, q)), Piece(0, lanes, lanes))
    code.b.ret_void()
    return function


def transposed(code: Code, vectors: list[ir.Value]) -> list[ir.Value]:
    """A square of numbers: squares of half the size change places, then within each, and so on."""
    lanes = len(vectors)
    vectors = list(vectors)
    half = 1
    while half < lanes:
        for i in range(lanes):
            if not i & half:
                x, y = vectors[i], vectors[i | half]
                low = [lane if not lane & half else lanes + lane - half for lane in range(lanes)]
                high = [lane + half if not lane & half else lanes + lane for lane in range(lanes)]
                vectors[i], vectors[i | half] = code.shuffle(x, y, low), code.shuffle(x, y, high)
        half *= 2
    return vectors


def pack_function(
    module: ir.Module, machine: Machine, along: int, across: int, k: int, count: int, width: int
) -> ir.Function:
    """`void pack(T* source, T* target)`, shared by the kernels of a module."""
    name = f"pack_{machine.suffix}_{along}_{across}_{k}_{count}_{width}"
    function = module.globals.get(name)
    if function is not None:
        return function
    pointer = machine.number.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer]), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    code = Code(ir.IRBuilder(function.append_basic_block()), machine)
    source, target = function.args
    pack(code, source, along, across, target, k, count, width)
    code.b.ret_void()
    return function
