"""Convolutions as statements of their own; where the sum falls into blocks, a reduction adds them up."""

from __future__ import annotations

import numpy as np

from wengert.execute.native.conv import ConvSpec, conv_plan, conv_spec, out_shape
from wengert.execute.native.lower import LOWERINGS, Lowering, NoCodeError, load
from wengert.execute.native.products import product_scratch
from wengert.execute.native.statements import Convolution, Expr, Reduction, Root
from wengert.execute.native.views import Buffer, View, dense, row_major
from wengert.ir.graph import Node


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
    x, kernel = (_placed(lowering, a) for a in args)
    spec = spec_of(x.strides, kernel.strides)
    shape = out_shape(spec, lowering.target)
    blocked = len(shape) == 6  # (blocks, *places, n, channels), with three axes of places
    shape = (shape[0], *shape[4 - dims :]) if blocked else (*shape[:2], *shape[5 - dims :])
    value = Expr("product", (), shape, out.dtype)
    target = dense(Buffer("work", -1, out.dtype, int(np.prod(shape))), shape)
    loaded = load(target)
    lowering.stored[id(value)] = loaded
    statement = Convolution(x, kernel, shape, out.dtype, value, [Root(value, target, loaded)], spec=spec)
    scratch = product_scratch(statement, lowering.target)
    statement.scratch = dense(Buffer("work", -1, np.dtype(np.uint8), scratch), (scratch,))
    lowering.append(statement, target)
    return {out.index: load(_summed(lowering, loaded, target)) if blocked else loaded}


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
