"""Convolutions as statements of their own; where the sum falls into blocks, a reduction adds them up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wengert.execute.native.conv import ConvSpec, conv_plan, conv_spec, out_shape
from wengert.execute.native.conv.formula import Formula
from wengert.execute.native.lower import LOWERINGS, Lowering, NoCodeError, load
from wengert.execute.native.products import product_scratch
from wengert.execute.native.statements import Convolution, Expr, Reduction, Root
from wengert.execute.native.views import Buffer, View, dense, row_major
from wengert.ir.graph import Node

CHEAP = {"add", "subtract", "multiply", "maximum", "minimum", "negative", "abs", "square"}  # when done again and again


def conv(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    out = node.outputs[0]
    dims = len(out.shape) - 2
    if out.dtype.kind != "f" or not 1 <= dims <= 3:
        raise NoCodeError

    def spec_of(x: tuple[int, ...], kernel: tuple[int, ...]) -> ConvSpec:
        shapes = (args[0].shape, x), (args[1].shape, kernel)
        return conv_spec(out.dtype.name, *shapes, **node.params)

    if conv_plan(spec_of(row_major(args[0].shape), row_major(args[1].shape)), lowering.target) is None:
        raise NoCodeError
    (x, formula), kernel = _operand(lowering, args[0]), _placed(lowering, args[1])
    spec = replace(spec_of(x.strides, kernel.strides), formula=formula)
    shape = out_shape(spec, lowering.target)
    blocked = len(shape) == 6  # (blocks, *places, n, channels), with three axes of places
    shape = (shape[0], *shape[4 - dims :]) if blocked else (*shape[:2], *shape[5 - dims :])
    value = Expr("product", (), shape, out.dtype)
    target = dense(Buffer("work", -1, out.dtype, int(np.prod(shape))), shape)
    loaded = load(target)
    lowering.stored[id(value)] = loaded
    statement = Convolution(x, kernel, shape, out.dtype, value, [Root(value, target, loaded)], spec=spec)
    statement.scratch = product_scratch(statement, lowering.target)
    lowering.append(statement, target)
    return {out.index: load(_summed(lowering, loaded, target)) if blocked else loaded}


def _operand(lowering: Lowering, x: Expr) -> tuple[View, Formula | None]:
    """Where the input lies, and what is still to be done to each of its numbers: little, else they are stored."""
    if x.view is None and id(x) not in lowering.stored:
        if x.op == "permute":
            view, formula = _operand(lowering, x.args[0])
            return view.permuted(x.params), formula
        leaves: list[View] = []
        formula = _formula(x, x, leaves)
        if formula is not None and leaves:
            return leaves[0], formula
    return _placed(lowering, x), None


def _formula(e: Expr, whole: Expr, leaves: list[View]) -> Formula | None:
    """A part of the expression `whole` as a formula of one window, which that reads at its own index."""
    if e.dtype != whole.dtype:
        return None
    if e.view is not None:
        leaves.append(e.view)
        return ("x",) if e.view is leaves[0] and e.shape == whole.shape else None
    if e.op == "number":
        return ("number", e.params)
    if e.op == "broadcast" and not e.args[0].shape:
        return _formula(e.args[0], whole, leaves)
    if e.op not in CHEAP or e.depth > 4 or any(a.shape not in (e.shape, ()) for a in e.args):
        return None
    args = [_formula(a, whole, leaves) for a in e.args]
    return None if None in args else (e.op, e.params, *args)


def _placed(lowering: Lowering, x: Expr) -> View:
    """Where an operand lies, in whatever order of its axes: the kernel copies it anyway."""
    if x.view is None and x.op == "permute":
        return _placed(lowering, x.args[0]).permuted(x.params)
    return lowering.place(x)


def _summed(lowering: Lowering, blocks: Expr, target: View) -> View:
    """The blocks added up, with the axes in the order of the primitive."""
    shape = target.shape[1:]
    order = (len(shape) - 2, len(shape) - 1, *range(len(shape) - 2))
    if target.shape[0] == 1:
        whole = target.reshaped(shape)
        assert whole is not None
        return whole.permuted(order)
    whole = dense(Buffer("work", -1, blocks.dtype, int(np.prod(shape))), shape)
    lowering.append(Reduction("sum", blocks, (0,), whole), whole)
    return whole.permuted(order)


LOWERINGS["conv"] = conv
