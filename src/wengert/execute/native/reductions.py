"""Reductions over axes, and what is made of them."""

from __future__ import annotations

import numpy as np

from wengert.execute.native.lower import LOWERINGS, Lowering, NoCodeError, elements, load
from wengert.execute.native.statements import Expr, Reduction
from wengert.execute.native.views import Buffer, dense
from wengert.ir.graph import Node
from wengert.ir.types import Shape

INT32, BOOL = np.dtype(np.int32), np.dtype(np.bool_)
LONGEST = 2**16  # an axis whose positions are kept as constants: 256 KiB at most


def reduced(lowering: Lowering, op: str, x: Expr, axes: tuple[int, ...]) -> Expr:
    kept = tuple(d for k, d in enumerate(x.shape) if k not in axes)
    target = dense(Buffer("work", -1, x.dtype, elements(kept)), kept)
    lowering.append(Reduction(op, x, axes, target), target)
    return load(target)


def finite_or_zero(x: Expr) -> Expr:
    return _op("select", _op("isfinite", x, dtype=BOOL), x, number(0.0, x.dtype))


def reduction(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    (x,), out, name = args, node.outputs[0], node.primitive.name
    if not out.size or x.dtype.kind not in "fi":
        raise NoCodeError
    result = reduced(lowering, "max" if name == "peak" else name, x, node.params["axes"])
    return {out.index: finite_or_zero(result) if name == "peak" else result}


def truth(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    """`any` is the largest of truth values as numbers, `all` the least."""
    (x,), out = args, node.outputs[0]
    if not out.size or not elements(x.shape):
        raise NoCodeError
    if x.dtype != BOOL:
        x = _op("not_equal", x, number(0, x.dtype), dtype=BOOL)
    op = "max" if node.primitive.name == "any" else "min"
    result = reduced(lowering, op, _op("select", x, number(1, INT32), number(0, INT32)), node.params["axes"])
    return {out.index: _op("not_equal", result, number(0, INT32), dtype=BOOL)}


def logsumexp(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    """The largest element first, then the sum of exponentials below it: two passes over the operand."""
    (x,), out, axes = args, node.outputs[0], node.params["axes"]
    if not out.size:
        raise NoCodeError
    x = load(lowering.place(x))
    shift = finite_or_zero(reduced(lowering, "max", x, axes))
    below = _op("subtract", x, widened(shift, x.shape, axes), shape=x.shape)
    total = reduced(lowering, "sum", _op("exp", below), axes)
    result = _op("add", _op("log", total), shift)
    return {out.index: lowering.store(result) if lowering.uses[out.index] > 1 else result}


def position(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    """Where the largest or least element stands first: the least position of those equal to it. NaN beats all."""
    (x,), out = args, node.outputs[0]
    (axis,) = node.params["axes"]
    if not out.size or x.dtype.kind not in "fi" or not 0 < x.shape[axis] <= LONGEST:
        raise NoCodeError
    x = load(lowering.place(x))
    count = x.shape[axis]
    best = widened(reduced(lowering, "max" if node.primitive.name == "argmax" else "min", x, (axis,)), x.shape, (axis,))
    chosen = _op("equal", x, best, shape=x.shape, dtype=BOOL)
    if x.dtype.kind == "f":
        chosen = _op("logical_or", chosen, _op("isnan", x, dtype=BOOL))
    places = np.arange(count, dtype=INT32).reshape(tuple(count if k == axis else 1 for k in range(len(x.shape))))
    lowering.constants.append(places)
    here = load(dense(Buffer("constant", len(lowering.constants) - 1, INT32, count), places.shape))
    candidates = _op("select", chosen, here, number(count, INT32), shape=x.shape)
    return {out.index: _op("convert", reduced(lowering, "min", candidates, (axis,)), dtype=out.dtype)}


def widened(x: Expr, shape: Shape, axes: tuple[int, ...]) -> Expr:
    """With the reduced axes back, of length 1."""
    return Expr("squeeze", (x,), tuple(1 if k in axes else d for k, d in enumerate(shape)), x.dtype)


def number(value: float, dtype: np.dtype) -> Expr:
    return Expr("number", (), (), dtype, params=value)


def _op(name: str, *args: Expr, shape: Shape | None = None, dtype: np.dtype | None = None) -> Expr:
    """An elementwise step; of the shape of its longest operand's axes and the type of the last one unless told."""
    widest = max((a.shape for a in args), key=len)
    return Expr(name, args, widest if shape is None else shape, dtype or args[-1].dtype, params=())


LOWERINGS.update(dict.fromkeys(("sum", "prod", "max", "min", "peak"), reduction))
LOWERINGS.update(any=truth, all=truth, logsumexp=logsumexp, argmax=position, argmin=position)
