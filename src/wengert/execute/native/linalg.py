"""Small matrices, by direct methods as code; larger ones, and what needs iterations, are left to LAPACK."""

from __future__ import annotations

from typing import Any

from wengert.execute.native.lower import LOWERINGS, Lowering, NoCodeError, load
from wengert.execute.native.statements import Direct, Expr
from wengert.execute.native.views import Buffer, View, dense
from wengert.ir.graph import Node
from wengert.ir.types import Shape

LARGEST = 128  # rows of a matrix, from which on LAPACK's blocked methods win
WIDEST = 16  # numbers in a vector


def _direct(lowering: Lowering, node: Node, args: list[Expr], shape: Shape | None = None, params: Any = ()) -> View:
    out = node.outputs[0]
    if not out.size or args[0].shape[-1] > LARGEST or out.dtype.kind != "f":
        raise NoCodeError
    if shape is None:
        target = lowering.new(out)
    else:
        target = dense(Buffer("work", -1, out.dtype, 2 * out.size), shape)
    operands = tuple(load(lowering.place(a)) for a in args)
    name = node.primitive.name
    statement = Direct(name, Expr(name, operands, target.shape, out.dtype, params=params), (), target)
    n = args[0].shape[-1]
    columns = out.shape[-1] if len(args) > 1 else n if name == "inv" else 0
    statement.scratch = n * (_whole(n) + _whole(columns)) * out.dtype.itemsize
    lowering.append(statement, target)
    return target


def _whole(columns: int) -> int:
    """Columns in whole vectors, however many numbers these have."""
    return -(-columns // WIDEST) * WIDEST


def solve(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    return {node.outputs[0].index: load(_direct(lowering, node, args, params=(node.params["flipped"],)))}


def triangular_solve(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    params = tuple(node.params[k] for k in ("is_lower", "flipped", "unit"))
    return {node.outputs[0].index: load(_direct(lowering, node, args, params=params))}


def of_one(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    return {node.outputs[0].index: load(_direct(lowering, node, args))}


def slogdet(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    """Sign and logarithm side by side."""
    stack = node.outputs[0].shape
    both = _direct(lowering, node, args, (*stack, 2))
    found = {}
    for k, out in enumerate(node.outputs):
        one = both.sliced((*(0 for _ in stack), k), (1,) * (len(stack) + 1), (*stack, 1)).reshaped(stack)
        assert one is not None
        found[out.index] = load(one)
    return found


LOWERINGS.update(
    solve=solve, linear_solve=solve, triangular_solve=triangular_solve, inv=of_one, cholesky=of_one, det=of_one,
    slogdet=slogdet,
)  # fmt: skip
