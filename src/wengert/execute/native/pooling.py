"""Pooling: windows are views shifted against each other, combined element by element.

The largest and the sum go axis by axis; which element is the largest is asked of all places of the window together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from functools import reduce

import numpy as np

from wengert.execute.native.lower import LOWERINGS, Lowering, NoCodeError, load
from wengert.execute.native.statements import Expr, Nest, Reduction, Root
from wengert.execute.native.views import Buffer, View, dense
from wengert.ir.graph import Node
from wengert.ir.primitive import Params
from wengert.ir.types import Shape
from wengert.ops.window import Pairs

FEW = 12  # places along an axis that become one expression
MOST = 64  # places of a window that do
BOOL, INT = np.dtype(np.bool_), np.dtype(np.int32)


def number(value: float, dtype: np.dtype) -> Expr:
    return Expr("number", (), (), dtype, params=value)


def _expr(op: str, *args: Expr, dtype: np.dtype | None = None) -> Expr:
    shape = max((a.shape for a in args), key=len)
    return Expr(op, args, shape, args[-1].dtype if dtype is None else dtype, params=())


def reduced(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    """The largest, or the sum, axis by axis."""
    (x,), out, params = args, node.outputs[0], node.params
    if x.dtype.kind not in "fi" or not out.size:
        raise NoCodeError
    largest = node.primitive.name == "max_pool"
    view = _padded(lowering, x, params["padding"], _lowest(x.dtype) if largest else 0)

    def combined(windows: Iterable[View]) -> Expr:
        return reduce(lambda left, right: _expr("maximum" if largest else "add", left, right), map(load, windows))

    if math.prod(params["window"]) <= FEW:
        return {out.index: combined(_windows(view, out.shape, params))}
    lead = len(out.shape) - len(params["window"])
    steps = zip(params["window"], params["stride"], params["dilation"], strict=True)
    for axis, (window, stride, dilation) in reversed(list(enumerate(steps, lead))):
        shape = (*view.shape[:axis], out.shape[axis], *view.shape[axis + 1 :])
        only = {"window": (window,), "stride": (stride,), "dilation": (dilation,)}
        taps = list(_windows(view, shape, only, axis))
        if window == 1:
            view = taps[0]
        elif window <= FEW:
            view = lowering.place(lowering.store(combined(taps)))
        else:  # an axis more, along which neighbours overlap
            strides = (*taps[0].strides, view.strides[axis] * dilation)
            along = View(view.buffer, (*shape, window), strides, view.offset, view.steps)
            target = dense(Buffer("work", -1, x.dtype, math.prod(shape)), shape)
            lowering.append(Reduction("max" if largest else "sum", load(along), (len(shape),), target), target)
            view = target
    return {out.index: load(view)}


def first_largest(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    (x,), out, params = args, node.outputs[0], node.params
    if x.dtype.kind not in "fi" or not out.size or math.prod(params["window"]) > MOST:
        raise NoCodeError
    view = _padded(lowering, x, params["padding"], _lowest(x.dtype))
    best, first = None, number(0, INT)
    for k, seen in enumerate(map(load, _windows(view, out.shape, params))):
        if best is None:
            best = seen
            continue
        better = _expr("greater", seen, best, dtype=BOOL)
        if x.dtype.kind == "f":  # the first NaN
            nan = _expr("logical_and", _expr("isnan", seen, dtype=BOOL), _expr("equal", best, best, dtype=BOOL))
            better = _expr("logical_or", better, nan)
        first = _expr("select", better, number(k, INT), first)
        best = _expr("select", better, seen, best)
    if not first.shape:
        first = Expr("broadcast", (first,), out.shape, INT)
    return {out.index: lowering.store(first)}


def taken(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    (x, tap), out, params = args, node.outputs[0], node.params
    if not out.size or math.prod(params["window"]) > MOST:
        raise NoCodeError
    view = _padded(lowering, x, params["padding"], 0)
    which = load(lowering.place(tap))
    result = number(0, x.dtype)
    for k, seen in enumerate(_windows(view, out.shape, params)):
        chosen = _expr("equal", which, number(k, tap.dtype), dtype=BOOL)
        result = _expr("select", chosen, load(seen), result)
    return {out.index: lowering.store(result)}


def put(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    (ct, tap), out, params = args, node.outputs[0], node.params
    if not out.size or not math.prod(ct.shape) or math.prod(params["window"]) > MOST:
        raise NoCodeError
    if any(min(pair) < 0 for pair in params["padding"]):
        raise NoCodeError
    lead = out.shape[: len(out.shape) - len(params["window"])]
    wide = (*lead, *(d + sum(pair) for d, pair in zip(params["lengths"], params["padding"], strict=True)))
    given, which = load(lowering.place(ct)), load(lowering.place(tap))
    target = dense(Buffer("work", -1, ct.dtype, math.prod(wide)), wide)
    lowering.copy(Expr("broadcast", (number(0, ct.dtype),), wide, ct.dtype), target)
    apart = all(s > (w - 1) * d for w, s, d in zip(params["window"], params["stride"], params["dilation"], strict=True))
    parts = [
        (_expr("select", _expr("equal", which, number(k, tap.dtype), dtype=BOOL), given, number(0, ct.dtype)), window)
        for k, window in enumerate(_windows(target, ct.shape, params))
    ]
    if apart:  # windows that don't meet
        roots = [Root(value, window, load(window)) for value, window in parts]
        lowering.append(Nest(ct.shape, roots), target)
    else:
        for value, window in parts:
            lowering.copy(_expr("add", load(window), value), window)
    start = (*(0 for _ in lead), *(low for low, _ in params["padding"]))
    return {out.index: load(target.sliced(start, (1,) * len(wide), out.shape))}


def _windows(view: View, shape: Shape, params: Params, first: int | None = None) -> Iterator[View]:
    """For each place of the window, in row-major order, what all windows see there; its axes are the last ones."""
    window, stride, dilation = (params[k] for k in ("window", "stride", "dilation"))
    first = len(shape) - len(window) if first is None else first
    rest = len(shape) - first - len(window)
    step = ((1,) * first) + tuple(stride) + (1,) * rest
    for tap in itertools.product(*map(range, window)):
        start = (*(0,) * first, *(t * d for t, d in zip(tap, dilation, strict=True)), *(0,) * rest)
        yield view.sliced(start, step, shape)


def _lowest(dtype: np.dtype) -> float:
    return -math.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _padded(lowering: Lowering, x: Expr, padding: Pairs, fill: float) -> View:
    """Where `x` lies, with the fill around its last axes; negative padding cuts off."""
    lead = len(x.shape) - len(padding)
    pairs = [(0, 0)] * lead + [tuple(pair) for pair in padding]
    view = lowering.place(x)
    kept = tuple(d + min(low, 0) + min(high, 0) for d, (low, high) in zip(x.shape, pairs, strict=True))
    if min(kept) < 1:
        raise NoCodeError
    ones = (1,) * len(kept)
    view = view.sliced(tuple(max(-low, 0) for low, _ in pairs), ones, kept)
    if all(max(pair) <= 0 for pair in pairs):
        return view
    shape = tuple(d + max(low, 0) + max(high, 0) for d, (low, high) in zip(kept, pairs, strict=True))
    target = dense(Buffer("work", -1, x.dtype, math.prod(shape)), shape)
    lowering.copy(Expr("broadcast", (number(fill, x.dtype),), shape, x.dtype), target)
    lowering.copy(load(view), target.sliced(tuple(max(low, 0) for low, _ in pairs), ones, kept))
    return target


LOWERINGS.update(max_pool=reduced, sum_pool=reduced, argmax_pool=first_largest, take_window=taken, put_window=put)
