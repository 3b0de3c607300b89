"""Reading and writing at positions that are data: `gather`, `scatter`, and windows that begin there."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.execute.native.lower import LOWERINGS, Lowering, NoCodeError, elements, load
from wengert.execute.native.statements import Expr, Scatter
from wengert.execute.native.views import View
from wengert.ir.graph import Node
from wengert.ir.types import Shape, broadcast_shapes
from wengert.ops.index import others

INT32, INT64, BOOL = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.bool_)
COMBINE = {"set": "set", "add": "add", "mul": "multiply", "min": "minimum", "max": "maximum"}
WRITERS = ("scatter", "dynamic_update_slice")
CHEAP = 4  # as deep an expression is computed again for every element that it chooses


def gather(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    """What stands at positions: an expression with another index, or a window where each position is one number."""
    x, axes, out, outside = args[0], node.params["axes"], node.outputs[0], node.params["outside"]
    if not out.size or not elements(x.shape):
        raise NoCodeError
    if outside == "clip" and not any(a.shape for a in args[1:]):
        view = lowering.place(x)
        for axis, position in sorted(zip(axes, args[1:], strict=True), key=lambda pair: -pair[0]):
            view = view.chosen(axis, lowering.place(position))
        return {out.index: _before_written(lowering, node, load(view))}
    sizes = [x.shape[a] for a in axes]
    places, inside = _places(lowering, node, args[1:], sizes, len(out.shape), outside == "drop", clip=True)
    result = Expr("gather", (load(lowering.place(x)), *places), out.shape, x.dtype, params=axes)
    if inside is not None:
        none = Expr("number", (), (), x.dtype, params=False if x.dtype == BOOL else 0)
        result = Expr("select", (inside, result, none), out.shape, x.dtype, params=())
    return {out.index: lowering.store(result) if lowering.uses[out.index] > 1 else result}


def scatter(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    """A copy of the operand, then one update after another. What an earlier step made for this one needs no copy."""
    (x, updates), axes, mode, out = args[:2], node.params["axes"], node.params["mode"], node.outputs[0]
    if not out.size or not elements(updates.shape) or (x.dtype == BOOL and mode != "set"):
        raise NoCodeError
    rest = others(axes, len(x.shape))
    sizes = [x.shape[a] for a in axes]
    drop = node.params["outside"] == "drop"
    places, inside = _places(lowering, node, args[2:], sizes, len(updates.shape), drop, clip=not drop)
    old = node.inputs[0]
    again = id(x) in lowering.written and lowering.uses[old.index] == 1 and all(a is not old for a in node.inputs[1:])  # type: ignore[attr-defined]
    x = load(lowering.place(x)) if lowering.outer is not None and not again else x
    if updates.view is None and (updates.depth > CHEAP or _reads(updates, x)):
        updates = lowering.store(updates)  # so that a loop's carry can be written where it lies
    target = lowering.place(x) if again else lowering.new(out)
    if not again:
        lowering.copy(x, target)
    operands = (updates, *places, *(() if inside is None else (inside,)))
    written = Expr("written", operands, updates.shape, x.dtype)
    lead = tuple(range(len(updates.shape) - len(rest)))
    window = target.permuted((*axes, *rest))
    lowering.append(Scatter(COMBINE[mode], written, lead, window), window)
    result = load(target)
    lowering.written[id(result)] = result
    return {out.index: result}


def dynamic_slice(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    window = load(_window(lowering, lowering.place(args[0]), args[1:], node.params["sizes"]))
    return {node.outputs[0].index: _before_written(lowering, node, window)}


def dynamic_update_slice(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    x, update, *starts = args
    target = lowering.new(node.outputs[0])
    if not elements(update.shape):
        raise NoCodeError
    update = load(lowering.place(update))
    window = _window(lowering, target, starts, update.shape)
    lowering.copy(x, target)
    lowering.copy(update, window)
    return {node.outputs[0].index: load(target)}


def _window(lowering: Lowering, view: View, starts: list[Expr], sizes: Shape) -> View:
    fixed = [n == d for n, d in zip(sizes, view.shape, strict=True)]
    return view.beginning(tuple(None if f else lowering.place(s) for s, f in zip(starts, fixed, strict=True)), sizes)


def _places(
    lowering: Lowering, node: Node, indices: list[Expr], sizes: list[int], rank: int, drop: bool, clip: bool
) -> tuple[list[Expr], Expr | None]:
    """The positions counted from the front, with axes of length 1 for those that are not indexed, and whether they lie
    inside (None where all surely do); `clip` moves those outside inside.
    """
    given = node.inputs[len(node.inputs) - len(indices) :]
    lead = broadcast_shapes([i.shape for i in indices], "indices") if indices else ()
    ones = (1,) * (rank - len(lead))
    places: list[Expr] = []
    inside: Expr | None = None
    for a, index, size in zip(given, indices, sizes, strict=True):
        if a.trace is not lowering.graph.trace and (data := np.asarray(a.data)).size:
            if data.min() >= 0 and data.max() < size:
                places.append(_wider(index, ones))
                continue
        if index.view is None and index.depth > CHEAP:
            index = lowering.store(index)
        if index.dtype == np.uint64:
            index = _op("minimum", index, _number(2**63 - 1, index.dtype))
        kind = INT32 if index.dtype.itemsize <= 4 and index.dtype != np.uint32 and size < 2**31 else INT64
        if index.dtype != kind:
            index = Expr("convert", (index,), index.shape, kind, params=())
        place = index
        if a.dtype.kind == "i":
            negative = _op("less", index, _number(0, kind), dtype=BOOL)
            place = _op("select", negative, _op("add", index, _number(size, kind)), index)
        if drop:
            high = _op("less", place, _number(size, kind), dtype=BOOL)
            here = _op("logical_and", _op("greater_equal", place, _number(0, kind), dtype=BOOL), high)
            inside = here if inside is None else _both(inside, here)
        if clip:
            place = _op("maximum", _op("minimum", place, _number(size - 1, kind)), _number(0, kind))
        places.append(_wider(place, ones))
    return places, None if inside is None else _wider(inside, ones)


def _before_written(lowering: Lowering, node: Node, window: Expr) -> Expr:
    """A copy of what a turn reads of a carry that it writes to, so that it can be written in place."""
    x, view = node.inputs[0], window.view
    assert view is not None
    if lowering.changing is None or id(view.buffer) not in lowering.changing:
        return window
    if any(n.primitive.name in WRITERS and n.inputs[0] is x for n in lowering.graph.nodes):
        return lowering.store(Expr("copy", (window,), window.shape, window.dtype))
    return window


def _reads(e: Expr, x: Expr) -> bool:
    """Whether an expression reads from where `x` lies."""
    own = x.view is not None and e.view is not None and e.view.buffer is x.view.buffer
    return own or any(_reads(a, x) for a in e.args)


def _both(x: Expr, y: Expr) -> Expr:
    return Expr("logical_and", (x, y), broadcast_shapes([x.shape, y.shape], "indices"), BOOL, params=())


def _wider(x: Expr, ones: Shape) -> Expr:
    return Expr("squeeze", (x,), x.shape + ones, x.dtype) if ones else x


def _number(value: int, dtype: np.dtype) -> Expr:
    return Expr("number", (), (), dtype, params=value)


def _op(name: str, *args: Expr, dtype: np.dtype | None = None) -> Expr:
    shape: Any = max((a.shape for a in args), key=len)
    return Expr(name, args, shape, dtype or args[-1].dtype, params=())


LOWERINGS.update(gather=gather, scatter=scatter, dynamic_slice=dynamic_slice, dynamic_update_slice=dynamic_update_slice)
