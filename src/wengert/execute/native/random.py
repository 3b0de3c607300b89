"""Random bits: the generator of `ops.random` in registers, so that what is drawn needs no memory of its own."""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir

from wengert.execute.native.elementwise import EMIT
from wengert.execute.native.lower import LOWERINGS, Lowering, NoCodeError, load
from wengert.execute.native.statements import Expr
from wengert.ir.graph import Node
from wengert.ir.types import uint32
from wengert.ops.random import PARITY, ROTATIONS

DEEP = 8  # counts as that deep an expression: what follows from it is rather stored than computed twice


def random_bits(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    """Element i of n is a word of block `i mod m`, m = ⌈n/2⌉: the first word where i < m, else the second."""
    (key,), out = args, node.outputs[0]
    n = math.prod(out.shape)
    if key.shape != (2,) or not 0 < n <= 2**31:
        raise NoCodeError
    words = lowering.place(key)
    k0, k1 = (load(words.sliced((i,), (1,), (1,)).reshaped(())) for i in (0, 1))  # type: ignore[arg-type]
    counter = lowering._constant(np.arange(n, dtype=uint32).reshape(out.shape))
    stream, half = (Expr("number", (), (), uint32, params=v) for v in (node.params["stream"], -(-n // 2)))
    bits = Expr("threefry", (k0, k1, counter, stream, half), out.shape, uint32)
    bits.depth = DEEP
    return {out.index: lowering.store(bits) if lowering.uses[out.index] > 1 else bits}


def threefry(
    b: ir.IRBuilder, dtype: np.dtype, k0: ir.Value, k1: ir.Value, i: ir.Value, stream: ir.Value, half: ir.Value
) -> ir.Value:
    """One word of the block that belongs to element `i`."""

    def number(value: int) -> ir.Constant:
        if isinstance(i.type, ir.VectorType):
            return ir.Constant(i.type, [ir.Constant(i.type.element, value)] * i.type.count)
        return ir.Constant(i.type, value)

    second = b.icmp_unsigned(">=", i, half)
    schedule = (k0, k1, b.xor(b.xor(k0, k1), number(PARITY)))
    x0 = b.add(stream, k0)
    x1 = b.add(b.select(second, b.sub(i, half), i), k1)
    for group in range(5):
        for r in ROTATIONS[group % 2]:
            x0 = b.add(x0, x1)
            x1 = b.or_(b.shl(x1, number(r)), b.lshr(x1, number(32 - r)))
            x1 = b.xor(x1, x0)
        x0 = b.add(x0, schedule[(group + 1) % 3])
        x1 = b.add(b.add(x1, schedule[(group + 2) % 3]), number(group + 1))
    return b.select(second, x1, x0)


EMIT["threefry"] = threefry
LOWERINGS["random_bits"] = random_bits
