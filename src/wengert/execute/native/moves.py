"""Moving elements: windows where the operand has a place, a changed index where it has none, else copies."""

from __future__ import annotations

from collections.abc import Callable

from wengert.execute.native.lower import LOWERINGS, Lowering, NoCodeError, elements, load
from wengert.execute.native.statements import Expr
from wengert.execute.native.views import Buffer, View, dense
from wengert.ir.graph import Node
from wengert.ir.primitive import Params
from wengert.ir.types import Shape

HALO = 8  # elements on each side of a copy that goes on as if it were a circle

Move = Callable[[Lowering, Expr, Shape, Params], Expr]


def broadcast_to(lowering: Lowering, x: Expr, shape: Shape, params: Params) -> Expr:
    return load(x.view.broadcast(shape)) if x.view is not None else Expr("broadcast", (x,), shape, x.dtype)


def permute(lowering: Lowering, x: Expr, shape: Shape, params: Params) -> Expr:
    axes = params["axes"]
    if x.view is not None:
        return load(x.view.permuted(axes))
    return Expr("permute", (x,), shape, x.dtype, params=axes)


def reshape(lowering: Lowering, x: Expr, shape: Shape, params: Params) -> Expr:
    if x.view is None and [d for d in x.shape if d != 1] == [d for d in shape if d != 1]:
        return Expr("squeeze", (x,), shape, x.dtype)
    view = lowering.place(x).reshaped(shape)
    if view is None:
        moved = lowering.store(Expr("copy", (x,), x.shape, x.dtype)).view
        assert moved is not None
        view = moved.reshaped(shape)
    assert view is not None
    return load(view)


def slice_(lowering: Lowering, x: Expr, shape: Shape, params: Params) -> Expr:
    return load(lowering.place(x).sliced(params["start"], params["step"], shape))


def flip(lowering: Lowering, x: Expr, shape: Shape, params: Params) -> Expr:
    return load(lowering.place(x).flipped(params["axes"]))


def pad(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    """The fill everywhere, then the operand into its window."""
    (x, fill), padding = args, node.params["padding"]
    if not node.outputs[0].size:
        raise NoCodeError
    target = lowering.new(node.outputs[0])
    lowering.copy(Expr("broadcast", (fill,), target.shape, fill.dtype), target)
    source = lowering.place(x)
    # what negative padding cuts off lies before `start` or from `stop` on, counted in the operand's own elements
    start: list[int] = []
    first: list[int] = []
    count: list[int] = []
    for d, (low, _, inner) in zip(x.shape, padding, strict=True):
        step = inner + 1
        skip = -(-max(-low, 0) // step)
        size = max(target.shape[len(start)], 0)
        begin = low + skip * step
        n = 0 if begin >= size or skip >= d else min(d - skip, (size - 1 - begin) // step + 1)
        start.append(skip)
        first.append(max(begin, 0) if n else 0)
        count.append(n)
    if all(count):
        shape = tuple(count)
        window = target.sliced(tuple(first), tuple(p[2] + 1 for p in padding), shape)
        lowering.copy(load(source.sliced(tuple(start), (1,) * len(shape), shape)), window)
    return {node.outputs[0].index: load(target)}


def concat(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    if not node.outputs[0].size:
        raise NoCodeError
    axis = node.params["axis"]
    if (turned := rotated(lowering, args, axis)) is not None:
        return {node.outputs[0].index: load(turned)}
    target, at, last = lowering.new(node.outputs[0]), 0, 0
    for x in args:
        if elements(x.shape):
            start = tuple(at if k == axis else 0 for k in range(len(x.shape)))
            lowering.put(x, target.sliced(start, (1,) * len(start), x.shape))
            last = max(last, lowering.made_by[id(target.buffer)])
        at += x.shape[axis]
    lowering.made_by[id(target.buffer)] = last
    return {node.outputs[0].index: load(target)}


def rotated(lowering: Lowering, args: list[Expr], axis: int) -> View | None:
    """The end of a window followed by its beginning, by few places: a window onto a copy that goes on at both ends.

    What is rotated by 1, -1 and 2 places, as in differences on a circle, is copied once, most of it by the loop that
    computes it.
    """
    if len(args) != 2 or any(a.view is None for a in args):
        return None
    (n, end), (m, begin) = ((a.shape[axis], a.view) for a in args)
    assert end is not None and begin is not None
    whole = (*begin.shape[:axis], n + m, *begin.shape[axis + 1 :])
    follows = end.buffer is begin.buffer and end.strides == begin.strides and end.steps == begin.steps
    if not follows or min(n, m) >= HALO or n + m <= HALO or end.offset != begin.offset + m * begin.strides[axis]:
        return None
    view = View(begin.buffer, whole, begin.strides, begin.offset, begin.steps)
    key = id(view.buffer), view.shape, view.strides, view.offset, tuple((id(s), k) for s, k in view.steps), axis
    if key not in lowering.circles:
        long = tuple(d + 2 * HALO * (k == axis) for k, d in enumerate(whole))
        target = dense(Buffer("work", -1, view.buffer.dtype, elements(long)), long)
        ones = (1,) * len(whole)

        def part(v: View, first: int, length: int) -> View:
            start = tuple(first if k == axis else 0 for k in range(len(whole)))
            return v.sliced(start, ones, tuple(length if k == axis else d for k, d in enumerate(whole)))

        size, places = n + m, [0]
        for to, source, length in ((HALO, 0, size), (0, size, HALO), (HALO + size, HALO, HALO)):
            value = load(part(target, source, length)) if length < size else lowering.made(view)
            lowering.store(Expr("copy", (value,), value.shape, value.dtype), part(target, to, length))
            places.append(lowering.made_by[id(target.buffer)])
            lowering.made_by[id(target.buffer)] = places[1]  # both ends are copied from the middle
        lowering.made_by[id(target.buffer)] = max(places)
        lowering.circles[key] = view, target
    _, target = lowering.circles[key]
    shift = n if n < HALO else -m
    start = tuple(HALO - shift if k == axis else 0 for k in range(len(whole)))
    return target.sliced(start, (1,) * len(whole), whole)


def _moved(move: Move) -> Callable[[Lowering, Node, list[Expr]], dict[int, Expr]]:
    return lambda lowering, node, args: {
        node.outputs[0].index: move(lowering, args[0], node.outputs[0].shape, node.params)
    }


MOVES = {"broadcast_to": broadcast_to, "permute": permute, "reshape": reshape, "slice": slice_, "flip": flip}
LOWERINGS.update({name: _moved(move) for name, move in MOVES.items()})
LOWERINGS.update(pad=pad, concat=concat)
