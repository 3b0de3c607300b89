"""Contractions as products of matrices: axes are merged into rows, columns and depth where they can be, else copied."""

from __future__ import annotations

from wengert.execute.native.lower import LOWERINGS, Lowering, NoCodeError, elements, load, matrices_first
from wengert.execute.native.products import product_scratch
from wengert.execute.native.statements import Expr, Product, Root
from wengert.execute.native.views import Buffer, View, dense
from wengert.ir.graph import Node
from wengert.ir.types import Shape


def dot_general(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    out = node.outputs[0]
    if out.dtype.kind != "f" or not out.size:
        raise NoCodeError
    (bx, by), (cx, cy) = node.params["batch"], node.params["contract"]
    lead = tuple(out.shape[: len(bx)])
    fx, fy = (
        tuple(a for a in range(len(e.shape)) if a not in b + c)
        for e, b, c in zip(args, (bx, by), (cx, cy), strict=True)
    )
    m, n, k = (elements(tuple(e.shape[a] for a in axes)) for e, axes in ((args[0], fx), (args[1], fy), (args[0], cx)))
    args = [_placed(lowering, e, batch) for e, batch in zip(args, (bx, by), strict=True)]
    x = _as_matrices(lowering, args[0], bx + fx + cx, (*lead, m, k))
    y = _as_matrices(lowering, args[1], by + cy + fy, (*lead, k, n))
    if y.strides[-1] != 1 and m > 1 and n > 1:  # the kernel would put it in order in each turn of a loop
        y = lowering.in_order(y)
    shape = (*lead, m, n)
    value = Expr("product", (), shape, out.dtype)
    target = dense(Buffer("work", -1, out.dtype, out.size), shape)
    loaded = load(target)
    lowering.stored[id(value)] = loaded
    statement = Product(x, y, shape, out.dtype, value, [Root(value, target, loaded)])
    statement.scratch = product_scratch(statement, lowering.target)
    lowering.append(statement, target)
    reshaped = target.reshaped(out.shape)
    assert reshaped is not None
    return {out.index: loaded if shape == out.shape else load(reshaped)}


def _placed(lowering: Lowering, x: Expr, batch: tuple[int, ...]) -> Expr:
    """The operand, computed matrix by matrix if it lies nowhere yet."""
    if x.view is not None or id(x) in lowering.stored:
        return x
    return lowering.store(x, lowering.ordered(x, matrices_first(x.shape, batch)))


def _as_matrices(lowering: Lowering, x: Expr, axes: tuple[int, ...], shape: Shape) -> View:
    """The operand as a stack of matrices: a window where its axes merge, else a copy."""
    view = lowering.place(x).permuted(axes)
    merged = view.reshaped(shape)
    if merged is None:
        merged = lowering.place(lowering.store(Expr("copy", (load(view),), view.shape, x.dtype))).reshaped(shape)
    assert merged is not None
    return merged


LOWERINGS["dot_general"] = dot_general
