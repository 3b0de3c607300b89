"""Algebra: identities of arithmetic that hold for every input, NaN, infinities and -0 included.

`x + 0` is not `x` for x = -0, and `0·x` is not 0 for x = inf, so these go only where `facts` knows more of x. Three
freedoms are taken with the sign of a zero: that of a sum (`sum`, a product of matrices), whose order is ours; that of a
product with a zero (co)tangent (`scale`, `guarded_multiply`), which is +0; that of padded parts when added up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.diff.stop_gradient import stop_gradient_p
from wengert.ir.array import Array
from wengert.ir.graph import Graph
from wengert.ir.primitive import Params, Primitive
from wengert.ir.types import broadcast_shapes
from wengert.ops.arithmetic import (
    add,
    annihilating_multiply,
    divide,
    guarded_multiply,
    integer_power,
    multiply,
    negative,
    positive,
    power,
    reciprocal,
    scale,
    square,
    subtract,
)
from wengert.ops.compare import equal, logical_and, logical_not, logical_or, not_equal, select
from wengert.ops.elementwise import convert_p
from wengert.ops.reduce import sum_p
from wengert.ops.shape import broadcast_to_p, reshape, reshape_p
from wengert.passes.facts import is_a_sum, is_finite, is_zero, never_minus_zero, never_negative, value
from wengert.passes.rewrite import Rewriter, rewrite

Args = Sequence[Array]


def simplify_algebra(graph: Graph) -> Graph:
    """`graph` with arithmetic that does nothing left out, and the rest in its cheapest exact form."""
    return rewrite(graph, RULES)


def _whole(r: Rewriter, x: Array, args: Args) -> Array:
    """`x` in the shape that a step on `args` has."""
    return r.stretch(x, broadcast_shapes([a.shape for a in args]))


def _zero(r: Rewriter, args: Args) -> Array:
    return _whole(r, Array(args[0].dtype.type(0)), args)


def _negated(r: Rewriter, a: Array) -> Array | None:
    """y where `a` is -y, also with a reshape after the sign."""
    if (node := r.made_by(a, negative)) is not None:
        return node.inputs[0]
    if (outer := r.made_by(a, reshape_p)) is not None and (node := r.made_by(outer.inputs[0], negative)) is not None:
        return reshape(node.inputs[0], a.shape)
    return None


def _each(args: Args) -> Sequence[tuple[Array, Array]]:
    return ((args[0], args[1]), (args[1], args[0]))


def _adds_nothing(r: Rewriter, zero: Array, x: Array, minus: bool = False) -> bool:
    """Whether `x + zero` (or `x - zero`) is `x`."""
    v = value(r, zero)
    if not is_zero(v):
        return False
    if x.dtype.kind in "iu":
        return True
    if x.dtype.kind == "c":
        return is_a_sum(r, x)
    return bool(np.signbit(v)) != minus or never_minus_zero(r, x) or is_a_sum(r, x)


def _add(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    for x, y in _each(args):
        if _adds_nothing(r, y, x):
            return _whole(r, x, args)
        if (z := _negated(r, y)) is not None:
            return subtract.bind(x, z)
    return None


def _subtract(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    x, y = args
    if _adds_nothing(r, y, x, minus=True):
        return _whole(r, x, args)
    if (z := _negated(r, y)) is not None:
        return add.bind(x, z)
    v = value(r, x)
    if is_zero(v) and (v.dtype.kind in "iu" or (v.dtype.kind == "f" and np.signbit(v))):
        return _whole(r, negative.bind(y), args)
    return None


def _multiply(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    for x, y in _each(args):
        v = value(r, y)
        if v is None:
            continue
        if v == 1:
            return _whole(r, x, args)
        if v == -1 and v.dtype.kind != "c":
            return _whole(r, negative.bind(x), args)
        if v == 0 and (x.dtype.kind in "iu" or (not np.signbit(v.real) and is_finite(r, x) and never_negative(r, x))):
            return _zero(r, args)
        if v.dtype.kind == "f" and (z := _negated(r, x)) is not None:
            return p.bind(z, Array(-v)) if x is args[0] else p.bind(Array(-v), z)
    a, b = _negated(r, args[0]), _negated(r, args[1])
    return None if a is None or b is None else p.bind(a, b)


def _scale(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    return _zero(r, args) if is_zero(value(r, args[0])) else multiply.bind(*args)


def _guarded_multiply(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    t, d = args
    v = value(r, t)
    if is_zero(v):
        return _zero(r, args)
    return multiply.bind(t, d) if v is not None or is_finite(r, d) else None


def _annihilating_multiply(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    x, y = args
    u, v = value(r, x), value(r, y)
    if is_zero(u) or is_zero(v):
        return _zero(r, args)
    if v is not None or is_finite(r, x):  # only x = 0 beside an infinite y needs the guard
        return guarded_multiply.bind(x, y)
    if u is not None or is_finite(r, y):
        return guarded_multiply.bind(y, x)
    return None


def _divide(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    x, y = args
    v = value(r, y)
    if v is not None and v.dtype.kind == "f" and v != 0 and np.isfinite(v):
        info = np.finfo(v.dtype)
        mantissa, _ = math.frexp(float(v))
        if abs(mantissa) == 0.5 and info.tiny <= abs(1 / float(v)) <= info.max and abs(v) >= info.tiny:
            return multiply.bind(x, Array(v.dtype.type(1 / float(v))))
    if y.size < x.size and _truths(r, x) and _counts(r, y):  # 0 or 1 times 1/n is exact, and takes fewer divisions
        return multiply.bind(x, reciprocal.bind(y))
    return None


def _truths(r: Rewriter, x: Array) -> bool:
    """Whether every element is 0 or 1."""
    node = r.made_by(x, convert_p)
    return node is not None and node.inputs[0].dtype.kind == "b"


def _counts(r: Rewriter, x: Array) -> bool:
    """Whether every element is a whole number: 0, or one with a finite reciprocal."""
    v = value(r, x)
    if v is not None:
        return bool(v == 1)
    for p in (reshape_p, broadcast_to_p):
        if (node := r.made_by(x, p)) is not None:
            return _counts(r, node.inputs[0])
    if (node := r.made_by(x, sum_p)) is not None:
        return _truths(r, node.inputs[0])
    return (node := r.made_by(x, select)) is not None and all(_counts(r, a) for a in node.inputs[1:])


def _negative(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    (x,) = args
    if (y := _negated(r, x)) is not None:
        return y
    node = r.made_by(x, multiply)
    if node is not None and x.dtype.kind == "f" and r.used_once(x):
        for a, b in _each(node.inputs):
            v = value(r, b)
            if v is not None:
                return _whole(r, multiply.bind(a, Array(-v)), node.inputs)
    return None


def _itself(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array:
    return args[0]


def _square(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array:
    return multiply.bind(args[0], args[0])


def _integer_power(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    return _to_the(r, args[0], params["exponent"], args)


def _power(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    v = value(r, args[1])
    return None if v is None or v.dtype.kind == "c" or v not in (0, 1, 2, -1) else _to_the(r, args[0], int(v), args)


def _to_the(r: Rewriter, x: Array, n: int, args: Args) -> Array | None:
    if n == 0:
        return _whole(r, Array(x.dtype.type(1)), args)
    if n == -1 and x.dtype.kind == "f":
        return _whole(r, reciprocal.bind(x), args)
    return _whole(r, x, args) if n == 1 else _whole(r, multiply.bind(x, x), args) if n == 2 else None


def _select(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    condition, x, y = args
    v = value(r, condition)
    if v is not None or x is y:
        return _whole(r, x if v is None or v else y, args)
    if (node := r.made_by(condition, logical_not)) is not None:
        return select.bind(node.inputs[0], y, x)
    return None


def _convert(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    (x,), dtype = args, params["dtype"]
    if x.dtype == dtype:
        return x
    node = r.made_by(x, convert_p)
    if node is not None and _holds(x.dtype, source := node.inputs[0].dtype):
        if dtype == source:
            return node.inputs[0]
        # a negative float has no unsigned integer, where an integer would wrap around
        if dtype.kind not in "iu" or (source.kind in "biu") == (x.dtype.kind in "biu"):
            return convert_p.bind(node.inputs[0], **params)
    return None


def _holds(wide: np.dtype, narrow: np.dtype) -> bool:
    """Whether every number of type `narrow` is one of type `wide`."""
    return np.can_cast(narrow, wide) and not (narrow.kind in "iu" and narrow.itemsize == 8 and wide.kind in "fc")


def _logical(absorbing: bool) -> Any:
    def rule(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
        for x, y in _each(args):
            v = value(r, y)
            if v is not None:
                return _whole(r, Array(np.bool_(absorbing)) if bool(v) == absorbing else x, args)
        return _whole(r, args[0], args) if args[0] is args[1] else None

    return rule


def _logical_not(r: Rewriter, p: Primitive, args: Args, params: Params) -> Array | None:
    for made, opposite in ((equal, not_equal), (not_equal, equal)):
        if (node := r.made_by(args[0], made)) is not None:
            return opposite.bind(*node.inputs)
    node = r.made_by(args[0], logical_not)
    return None if node is None else node.inputs[0]


RULES = {
    add: (_add,),
    subtract: (_subtract,),
    multiply: (_multiply,),
    scale: (_scale,),
    guarded_multiply: (_guarded_multiply,),
    annihilating_multiply: (_annihilating_multiply,),
    divide: (_divide,),
    negative: (_negative,),
    positive: (_itself,),
    stop_gradient_p: (_itself,),
    square: (_square,),
    integer_power: (_integer_power,),
    power: (_power,),
    select: (_select,),
    convert_p: (_convert,),
    logical_and: (_logical(False),),
    logical_or: (_logical(True),),
    logical_not: (_logical_not,),
}
