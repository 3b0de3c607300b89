"""Reductions over axes."""

from __future__ import annotations

import numpy as np

from wengert.execute.native.lower import LOWERINGS, Lowering, NoCodeError, load
from wengert.execute.native.statements import Expr, Reduction
from wengert.ir.graph import Node


def reduction(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    (x,), out, name = args, node.outputs[0], node.primitive.name
    if not out.size or x.dtype.kind not in "fi":
        raise NoCodeError
    target = lowering.new(out)
    lowering.append(Reduction("max" if name == "peak" else name, x, node.params["axes"], target), target)
    result = load(target)
    if name == "peak":  # the largest where it is finite, else 0
        finite = Expr("isfinite", (result,), target.shape, np.dtype(np.bool_))
        zero = Expr("number", (), (), result.dtype, params=0.0)
        result = Expr("select", (finite, result, zero), target.shape, result.dtype)
    return {out.index: result}


LOWERINGS.update(dict.fromkeys(("sum", "prod", "max", "min", "peak"), reduction))
