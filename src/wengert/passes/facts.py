"""What is known of a value without running the program: the number that fills it, whether it is finite or -0."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.ir.array import Array
from wengert.ir.primitive import registry
from wengert.ops.arithmetic import abs_, multiply, negative, square
from wengert.ops.compare import select
from wengert.ops.elementwise import convert_p
from wengert.ops.reduce import sum_p
from wengert.ops.shape import broadcast_to_p, permute_p, reshape_p, slice_p
from wengert.ops.transcendental import exp
from wengert.passes.rewrite import Rewriter

_DEPTH = 4  # how many steps back a question goes
_MOVES = (reshape_p, permute_p, broadcast_to_p, slice_p)


def splat(r: Rewriter, a: Array) -> Array | None:
    """The single number that all elements of `a` are, as a constant of shape ()."""
    if a.trace is None:
        if not a.data.shape:
            return a
        key = ("splat", id(a))
        if key not in r.facts:
            r.facts[key] = (_uniform(a), a)  # the array is kept alive with its id
        return r.facts[key][0]
    node = r.makers.get(a.index) if a.trace is r else None  # type: ignore[attr-defined]
    if node is None or node.primitive is not broadcast_to_p or node.inputs[0].trace is not None:
        return None
    return splat(r, node.inputs[0])


def _uniform(a: Array) -> Array | None:
    data = np.asarray(a.data)
    if data.size == 0:
        return None
    first = data[(0,) * data.ndim]
    # bit by bit, because 0 and -0 are equal and NaN is not; a few elements first, because most constants differ early
    if not all(s == 0 for s in data.strides):
        bits = np.ascontiguousarray(data).reshape(-1).view(np.uint8).reshape(data.size, -1)
        for part in (bits[:16], bits):
            if (part != bits[0]).any():
                return None
    return Array(first)


def value(r: Rewriter, a: Array) -> Any:
    """The number that fills `a`, as a NumPy scalar; None if it is not known, or not one number."""
    found = splat(r, a)
    return None if found is None else np.asarray(found.data)[()]


def is_zero(v: Any) -> bool:
    """Whether a number is known, and 0 or -0."""
    return v is not None and bool(v == 0)


def is_finite(r: Rewriter, a: Array, depth: int = _DEPTH) -> bool:
    """Whether every element is known to be neither infinite nor NaN."""
    if a.dtype.kind in "biu":
        return True
    if a.trace is None:
        key = ("finite", id(a))
        if key not in r.facts:
            r.facts[key] = (bool(np.isfinite(a.data).all()), a)
        return r.facts[key][0]
    node = r.makers.get(a.index) if a.trace is r else None  # type: ignore[attr-defined]
    if node is None or depth == 0:
        return False
    p, args = node.primitive, node.inputs
    if p is convert_p:
        return args[0].dtype.kind == "b" or (
            args[0].dtype.kind in "iu" and np.iinfo(args[0].dtype).max < float(np.finfo(a.dtype).max)
        )
    if p is select:
        return is_finite(r, args[1], depth - 1) and is_finite(r, args[2], depth - 1)
    if p in (negative, abs_, *_MOVES):
        return is_finite(r, args[0], depth - 1)
    return False


def is_a_sum(r: Rewriter, a: Array) -> bool:
    """Whether `a` is a sum of numbers, whose order, and with it the sign of a zero result, is ours to choose."""
    node = r.makers.get(a.index) if a.trace is r else None  # type: ignore[attr-defined]
    while node is not None and node.primitive in (reshape_p, permute_p):
        a = node.inputs[0]
        node = r.makers.get(a.index) if a.trace is r else None  # type: ignore[attr-defined]
    if node is None:
        return False
    if node.primitive.name == "dot_general":
        return bool(node.params["contract"][0])
    return node.primitive is sum_p


def never_minus_zero(r: Rewriter, a: Array, depth: int = _DEPTH) -> bool:
    """Whether no element is -0, the one number that adding 0 changes."""
    if a.dtype.kind in "biu":
        return True
    if a.dtype.kind == "c":
        return False
    if a.trace is None:
        if a.size > 4096 and splat(r, a) is None:
            return False
        data = np.asarray(a.data)
        return not bool((np.signbit(data) & (data == 0)).any())
    node = r.makers.get(a.index) if a.trace is r else None  # type: ignore[attr-defined]
    if node is None or depth == 0:
        return False
    p, args = node.primitive, node.inputs
    if p in (exp, abs_, square, registry["cosh"]) or p in _BOOLEAN:
        return True
    if p is multiply:
        return args[0] is args[1]
    if p is convert_p:
        exact = np.can_cast(args[0].dtype, a.dtype)  # in a narrower type, a small negative number is -0
        return args[0].dtype.kind in "biu" or (exact and never_minus_zero(r, args[0], depth - 1))
    if p is select:
        return never_minus_zero(r, args[1], depth - 1) and never_minus_zero(r, args[2], depth - 1)
    if p.name == "add":
        return any(never_minus_zero(r, x, depth - 1) for x in args)
    if p in _MOVES:
        return never_minus_zero(r, args[0], depth - 1)
    return False


def never_negative(r: Rewriter, a: Array) -> bool:
    """Whether no element is below 0, -0 or NaN: as shallow as it is useful, for masks turned into numbers."""
    if a.trace is None:
        return bool((np.asarray(a.data) >= 0).all()) and never_minus_zero(r, a)
    node = r.made_by(a, convert_p)
    return node is not None and node.inputs[0].dtype.kind in "bu"


_BOOLEAN = frozenset(registry[n] for n in ("equal", "less", "greater"))
