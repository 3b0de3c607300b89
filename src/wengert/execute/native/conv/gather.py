"""Copying an operand into scratch memory with its channels innermost, so that vectors run along channels.

There, what a kernel reads for one tap lies side by side, whatever the strides, dilations and padding: a convolution is
a product of matrices whose rows overlap.
"""

from __future__ import annotations

from llvmlite import ir

from wengert.execute.native.conv.formula import Formula, evaluated, formula_name
from wengert.execute.native.product.code import I64, Code, Machine, Piece
from wengert.execute.native.product.pack import transposed, turn_function


def gather_function(
    module: ir.Module,
    machine: Machine,
    count: int,
    channels: int,
    source: tuple[int, int],
    step: int,
    formula: Formula | None = None,
) -> ir.Function:
    """`void gather(T* x, T* y)`: `y[i · step + c] = f(x[i · source[0] + c · source[1]])`, i < count, c < channels."""
    name = f"gather_{machine.suffix}_{count}_{channels}_{source[0]}_{source[1]}_{step}{formula_name(formula)}"
    function = module.globals.get(name)
    if function is not None:
        return function
    pointer = machine.number.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer]), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    code = Code(ir.IRBuilder(function.append_basic_block()), machine)
    x, y = function.args
    along, across = source
    if channels == 1 and along == step == 1:
        _copy(code, x, y, count, formula)
    elif channels > 1 and across == 1:
        for i in code.loop(0, count):
            _copy(code, code.at(x, code.mul(i, along)), code.at(y, code.mul(i, step)), channels, formula)
    elif along == 1 and min(count, channels) > 1:
        lanes = machine.lanes
        for i, valid in spans(code, count, lanes):
            for c, columns in spans(code, channels, lanes):
                here = code.at(code.at(x, i), code.mul(c, across))
                there = code.at(code.at(y, c), code.mul(i, step))
                if columns == lanes and formula is None:
                    turn = turn_function(module, machine, columns, valid)
                    code.b.call(turn, [here, I64(across), there, I64(step)])
                    continue
                vectors = [code.load_some(code.at(here, k * across), valid) for k in range(columns)]
                vectors = [evaluated(code.b, formula, v) for v in vectors]
                vectors += [machine.zero(lanes)] * (lanes - columns)
                for k, v in enumerate(transposed(code, vectors)[:valid]):
                    store_some(code, v, code.at(there, k * step), columns)
    else:
        for i in code.loop(0, count):
            for c in code.loop(0, channels):
                number = code.b.load(code.at(code.at(x, code.mul(i, along)), code.mul(c, across)), typ=machine.number)
                number = evaluated(code.b, formula, number)
                code.b.store(number, code.at(code.at(y, code.mul(i, step)), c))
    code.b.ret_void()
    return function


def spans(code: Code, count: int, lanes: int):  # type: ignore[no-untyped-def]
    """(start, valid) of the vectors along an axis: a loop over whole ones, then what is left."""
    whole = count // lanes * lanes
    for i in code.loop(0, whole, lanes):
        yield i, lanes
    if count > whole:
        yield whole, count - whole


def _copy(code: Code, x: ir.Value, y: ir.Value, count: int, formula: Formula | None) -> None:
    for i, valid in spans(code, count, code.machine.lanes):
        store_some(code, evaluated(code.b, formula, code.load_some(code.at(x, i), valid)), code.at(y, i), valid)


def store_some(code: Code, x: ir.Value, pointer: ir.Value, valid: int) -> None:
    """The first `valid` lanes of a whole vector, with or without masks."""
    m = code.machine
    if valid == m.lanes or m.masks:
        code.store(x, pointer, Piece(0, m.lanes, valid))
    else:
        for lane in range(valid):
            code.b.store(code.b.extract_element(x, ir.IntType(32)(lane)), code.at(pointer, lane))


def clear(code: Code, pointer: ir.Value, count: int) -> None:
    """Zeros; `count` is rounded up to whole vectors, so that there must be room."""
    lanes = code.machine.lanes
    for i in code.loop(0, -(-count // lanes) * lanes, lanes):
        code.store(code.machine.zero(lanes), code.at(pointer, i), Piece(0, lanes, lanes))
