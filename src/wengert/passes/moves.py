"""Moving elements: chains of reshapes, permutations, broadcasts and slices become one step or none; sums over what was
broadcast, or over one element, become no sums."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wengert.ir.array import Array
from wengert.ir.graph import Graph
from wengert.ir.primitive import Params, Primitive
from wengert.ops.arithmetic import add, multiply, negative, subtract
from wengert.ops.elementwise import Elementwise
from wengert.ops.reduce import max_p, min_p, sum_p
from wengert.ops.shape import broadcast_to_p, concat_p, flip_p, pad_p, permute, permute_p, reshape, reshape_p, slice_p
from wengert.passes.constants import leading_ones
from wengert.passes.facts import is_zero, splat, value
from wengert.passes.rewrite import Rewriter, rewrite

Args = Sequence[Array]


def simplify_moves(graph: Graph) -> Graph:
    """`graph` with elements moved in the fewest steps."""
    return rewrite(graph, RULES)


def _of_one_number(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    """An array of one repeated number, moved, is one of another shape."""
    one = splat(r, args[0])
    if one is None or p is broadcast_to_p:
        return None
    return r.stretch(one, p.type(args[0].type, **params).shape)


def _reshape(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    (x,), shape = args, params["shape"]
    if x.shape == shape:
        return x
    if (node := r.made_by(x, reshape_p)) is not None:
        return reshape(node.inputs[0], shape)
    if (node := r.made_by(x, broadcast_to_p)) is not None and leading_ones(x.shape) == leading_ones(shape):
        return r.stretch(reshape(node.inputs[0], leading_ones(node.inputs[0].shape)), shape)
    return None


def _permute(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    (x,), axes = args, params["axes"]
    if (node := r.made_by(x, permute_p)) is not None:
        return permute(node.inputs[0], tuple(node.params["axes"][a] for a in axes))
    real = [a for a in axes if x.shape[a] != 1]
    if real == sorted(real):  # only axes of length 1 move
        return reshape(x, tuple(x.shape[a] for a in axes))
    return None


def _broadcast_to(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    (x,), shape = args, params["shape"]
    if x.shape == shape:
        return x
    if (node := r.made_by(x, broadcast_to_p)) is not None:
        return r.stretch(node.inputs[0], shape)
    if (node := r.made_by(x, reshape_p)) is not None and leading_ones(x.shape) == node.inputs[0].shape != x.shape:
        return r.stretch(node.inputs[0], shape)
    return None


def _slice(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    (x,), start, stop, step = args, params["start"], params["stop"], params["step"]
    shape = p.type(x.type, **params).shape
    if shape == x.shape:
        return x
    if (node := r.made_by(x, slice_p)) is not None:
        a, s = node.params["start"], node.params["step"]
        first = tuple(i + j * k for i, j, k in zip(a, start, s, strict=True))
        steps = tuple(j * k for j, k in zip(s, step, strict=True))
        ends = tuple(i + (n - 1) * k + 1 if n else i for i, n, k in zip(first, shape, steps, strict=True))
        return slice_p.bind(node.inputs[0], start=first, stop=ends, step=steps)
    if (node := r.made_by(x, concat_p)) is not None:
        axis, at = node.params["axis"], 0
        for part in node.inputs:  # inside one of the parts
            if at <= start[axis] and stop[axis] <= at + part.shape[axis]:
                begin, end = list(start), list(stop)
                begin[axis], end[axis] = start[axis] - at, stop[axis] - at
                return slice_p.bind(part, start=tuple(begin), stop=tuple(end), step=step)
            at += part.shape[axis]
    return None


def _pad(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    x, fill = args
    if not any(low or high or inner for low, high, inner in params["padding"]):
        return x
    if 0 in x.shape or _same_number(r, x, fill):
        return r.stretch(fill, p.type(x.type, fill.type, **params).shape)
    padding = params["padding"]
    if any(low < 0 or high < 0 for low, high, _ in padding) and not any(inner for _, _, inner in padding):
        start = tuple(min(max(0, -low), d) for (low, _, _), d in zip(padding, x.shape, strict=True))
        stop = tuple(max(d - max(0, -high), s) for (_, high, _), d, s in zip(padding, x.shape, start, strict=True))
        if all(s < e for s, e in zip(start, stop, strict=True)):  # what is cut off, and then what is put on
            inside = slice_p.bind(x, start=start, stop=stop, step=(1,) * x.ndim)
            return p.bind(inside, fill, padding=tuple((max(0, low), max(0, high), 0) for low, high, _ in padding))
    return None


def _same_number(r: Rewriter, x: Array, y: Array) -> bool:
    a, b = value(r, x), value(r, y)
    return a is not None and b is not None and a.tobytes() == b.tobytes()


def _add_of_pads(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    """Parts side by side, each padded with zeros, then added, as slices are differentiated: one after the other."""
    for one, other in (args, args[::-1]):
        if (whole := _side_by_side(r, one, other)) is not None:
            return whole
        if not r.used_once(one) or r.made_by(other, pad_p) is None:
            continue
        if (node := r.made_by(one, add)) is not None:  # (x + one part) + another
            for x, part in (node.inputs, node.inputs[::-1]):
                if x.shape == other.shape and (whole := _side_by_side(r, part, other)) is not None:
                    return p.bind(x, whole)
        elif (node := r.made_by(one, subtract)) is not None:  # (one part - x) + another
            part, x = node.inputs
            if x.shape == other.shape and (whole := _side_by_side(r, part, other)) is not None:
                return subtract.bind(whole, x)
    return None


def _side_by_side(r: Rewriter, one: Array, other: Array) -> Array | None:
    a, b = r.made_by(one, pad_p), r.made_by(other, pad_p)
    if a is None or b is None or one.shape != other.shape:
        return None
    if any(not is_zero(v) or np.signbit(v) for v in (value(r, n.inputs[1]) for n in (a, b))):
        return None
    (x, fill), (y, _) = a.inputs, b.inputs
    first, second = a.params["padding"], b.params["padding"]
    axes = [k for k, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if len(axes) != 1 or any(low < 0 or high < 0 or inner for low, high, inner in (*first, *second)):
        return None
    (axis,) = axes
    if first[axis][0] > second[axis][0]:
        x, y, first, second = y, x, second, first
    if first[axis][0] + x.shape[axis] != second[axis][0]:
        return None
    padding = list(first)
    padding[axis] = (first[axis][0], second[axis][1], 0)
    return pad_p.bind(concat_p.bind(x, y, axis=axis), fill, padding=tuple(padding))


def _concat(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    parts = [a for a in args if a.shape[params["axis"]]] or args[:1]
    if len(parts) == 1:
        return parts[0]
    if all(_same_number(r, parts[0], a) for a in parts[1:]):
        one = splat(r, parts[0])
        assert one is not None
        return r.stretch(one, p.type(*(a.type for a in args), **params).shape)
    for i, a in enumerate(parts):
        node = r.made_by(a, p)
        if node is not None and node.params == params and r.used_once(a):
            return p.bind(*parts[:i], *node.inputs, *parts[i + 1 :], **params)
    slices = [r.made_by(a, slice_p) for a in parts]
    signs = [None if n is None else r.made_by(n.inputs[0], negative) for n in slices]
    if None not in signs:  # the sign goes on to the reader, which may subtract
        return negative.bind(
            p.bind(*(slice_p.bind(s.inputs[0], **n.params) for s, n in zip(signs, slices, strict=True)), **params)  # type: ignore[union-attr]
        )
    return p.bind(*parts, **params) if len(parts) < len(args) else None


def _flip(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    (x,) = args
    axes = tuple(a for a in params["axes"] if x.shape[a] > 1)
    if not axes:
        return x
    if (node := r.made_by(x, flip_p)) is not None:
        return p.bind(node.inputs[0], axes=tuple(sorted(set(axes) ^ set(node.params["axes"]))))
    return p.bind(x, axes=axes) if axes != params["axes"] else None


def _reduce(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    """Sums and extremes over one element, or over copies of one."""
    (x,), axes = args, params["axes"]
    single = [a for a in axes if x.shape[a] == 1]
    if single or not axes:
        kept = [a for a in range(x.ndim) if a not in single]
        left = tuple(kept.index(a) for a in axes if a not in single)
        small = reshape(x, tuple(x.shape[a] for a in kept))
        return p.bind(small, axes=left) if left else small
    if (node := r.made_by(x, broadcast_to_p)) is not None:
        y = node.inputs[0]
        before = (1,) * (x.ndim - y.ndim) + y.shape
        copied = [a for a in axes if before[a] == 1]
        count = math.prod(x.shape[a] for a in copied)
        if copied and count and (x.dtype.kind in "iu" or p is not sum_p or count <= _largest(x.dtype)):
            shape = tuple(1 if a in copied else d for a, d in enumerate(x.shape))
            inner = p.bind(r.stretch(reshape(y, before), shape), axes=axes)
            return inner if p is not sum_p else multiply.bind(inner, Array(np.asarray(count).astype(x.dtype)[()]))
    if p is sum_p and (node := r.made_by(x, negative)) is not None:  # the sign of fewer elements
        return negative.bind(p.bind(node.inputs[0], axes=axes))
    twice = r.made_by(x, add) if p is sum_p and r.used_once(x) else None
    if twice is not None and twice.inputs[0] is twice.inputs[1]:  # twice the sum
        return multiply.bind(p.bind(twice.inputs[0], axes=axes), Array(x.dtype.type(2)))
    if p is sum_p and (node := r.made_by(x, sum_p)) is not None:  # the order of a sum is free
        gone = node.params["axes"]
        kept = [a for a in range(node.inputs[0].ndim) if a not in gone]
        return p.bind(node.inputs[0], axes=tuple(sorted((*gone, *(kept[a] for a in axes)))))
    return None


def _largest(dtype: np.dtype) -> float:
    """Up to where every whole number is one of this type."""
    return 2.0 ** (np.finfo(dtype).nmant + 1)


def _reshape_late(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    """A reshape goes behind an elementwise step, nearer to its reader and away from the step's maker."""
    nodes = [r.made_by(a, reshape_p) for a in args]
    sources = [
        a if not a.shape and a.trace is None else n.inputs[0] if n else None for a, n in zip(args, nodes, strict=True)
    ]
    shapes = {
        (a.shape, s.shape) for a, s, n in zip(args, sources, nodes, strict=True) if n is not None and s is not None
    }
    if len(shapes) != 1 or any(s is None for s in sources):
        return None
    ((shape, _),) = shapes
    return reshape(p.bind(*(s for s in sources if s is not None), **params), shape)


RULES = {
    add: (_add_of_pads,),
    Elementwise: (_reshape_late,),
    reshape_p: (_of_one_number, _reshape),
    permute_p: (_of_one_number, _permute),
    broadcast_to_p: (_broadcast_to,),
    slice_p: (_of_one_number, _slice),
    flip_p: (_of_one_number, _flip),
    pad_p: (_pad,),
    concat_p: (_concat,),
    sum_p: (_reduce,),
    max_p: (_reduce,),
    min_p: (_reduce,),
}
