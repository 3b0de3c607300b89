"""Constants: what does not depend on inputs is computed here; an array of one repeated number is that number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wengert.errors import WengertError
from wengert.ir.array import Array
from wengert.ir.graph import Graph
from wengert.ir.primitive import Params, Primitive, out_type
from wengert.ir.types import Shape, broadcast_shapes
from wengert.ops.elementwise import Elementwise
from wengert.ops.shape import broadcast_to_p, reshape_p
from wengert.passes.facts import splat
from wengert.passes.rewrite import Rewriter, rewrite

LARGEST = 4096  # elements: a larger result is left for the program to compute


def fold_constants(graph: Graph) -> Graph:
    """`graph` with steps on constants computed, and repeated numbers stored once."""
    return rewrite(graph, RULES)


def fold(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    """A step on small constants is computed now."""
    if p.multiple or p is broadcast_to_p or not args or any(a.trace is not None or a.size > LARGEST for a in args):
        return None
    if out_type(p, args, params).size > LARGEST:
        return None
    try:
        return p.bind(*args, **params)
    except WengertError:  # bad numbers: when the program runs it will say so
        return None


def store_once(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | Sequence[Array] | None:
    """An input that is a constant array of one repeated number becomes that number, stretched."""
    if isinstance(p, Elementwise):
        return None  # they stretch by themselves: `stretch_late`
    ones = [splat(r, a) if a.trace is None and a.size > 1 else None for a in args]
    if all(one is None for one in ones):
        return None
    return r.step(p, [a if s is None else r.stretch(s, a.shape) for a, s in zip(args, ones, strict=True)], params)


def stretch_late(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    """An elementwise step reads what was broadcast, not the broadcast: the step broadcasts by itself, or after it."""
    small = [_unstretched(r, a) for a in args]
    if all(s is a for s, a in zip(small, args, strict=True)):
        return None
    shape = broadcast_shapes([a.shape for a in args])
    inner = broadcast_shapes([s.shape for s in small])
    if inner != shape and math.prod(inner) == math.prod(shape):
        return None  # only axes of length 1 would come off
    return r.stretch(p.bind(*small, **params), shape)


def _unstretched(r: Rewriter, a: Array) -> Array:
    if a.trace is None:
        one = splat(r, a)
        return a if one is None else one
    node = r.makers.get(a.index) if a.trace is r else None  # type: ignore[attr-defined]
    if node is None:
        return a
    if node.primitive is broadcast_to_p:
        return _unstretched(r, node.inputs[0])
    if node.primitive is reshape_p and leading_ones(a.shape) == node.inputs[0].shape:
        return node.inputs[0]
    return a


def leading_ones(shape: Shape) -> Shape:
    """`shape` without the ones in front, which broadcasting puts there by itself."""
    k = 0
    while k < len(shape) and shape[k] == 1:
        k += 1
    return shape[k:]


RULES = {Elementwise: (stretch_late,), Primitive: (store_once, fold)}
