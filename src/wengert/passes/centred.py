"""Sums that are known already: `Σ (x - mean x)` is nothing, and `Σ (s·g + k·(x - mean x))` is `s · Σ g`.

The derivative of a normalisation is full of them: where a mean was taken away, its adjoint takes away the mean of the
cotangent, whose sum follows from sums that stand in the graph. The rule replaces a sum only if no pass over the numbers
is left to do. What is not finite still makes the result NaN, by `Σ x - Σ x`.

Ioffe and Szegedy 2015, *Batch normalization* (arXiv 1502.03167), §3: the derivative with these sums worked out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wengert.ir.array import Array
from wengert.ir.primitive import Params, Primitive
from wengert.ops.arithmetic import add, divide, guarded_multiply, multiply, negative, subtract
from wengert.ops.reduce import sum_p
from wengert.ops.shape import broadcast_to_p, reshape, reshape_p
from wengert.passes.facts import value
from wengert.passes.rewrite import Rewriter

Axes = tuple[int, ...]
NEAR = 4  # spacings of its type: how far a number may be, by rounding, from the one that it stands for
DEEPEST = 6  # steps between a sum and the sums that it follows from


def _sum(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    (x,), axes = args, params["axes"]
    if r.share is None or x.trace is not r or x.dtype.kind != "f" or not x.size:
        return None
    if all(r.made_by(x, how) is None for how in (add, subtract, multiply, guarded_multiply)):
        return None
    total = _total(r, x, axes, DEEPEST)
    kept = tuple(d for k, d in enumerate(x.shape) if k not in axes)
    if total is None or total.shape != kept:
        return None
    r.facts["total", x.index, axes] = total  # type: ignore[attr-defined]
    return total


def _known(r: Rewriter, x: Array, axes: Axes) -> Array | None:
    """The sum of `x`, if it stands in the graph."""
    if x.trace is not r:
        return None
    if (total := r.facts.get(("total", x.index, axes))) is not None:  # type: ignore[attr-defined]
        return total
    assert r.share is not None
    outs = r.known.get(r.share(sum_p, (x,), {"axes": axes}))
    return None if outs is None else outs[0]


def _total(r: Rewriter, x: Array, axes: Axes, depth: int) -> Array | None:
    """The sum of `x` without a pass over it."""
    if (known := _known(r, x, axes)) is not None or not depth:
        return known
    sums: tuple[Primitive, ...] = (add, subtract)
    factors: tuple[Primitive, ...] = (multiply, guarded_multiply)
    for how in sums:
        if (node := r.made_by(x, how)) is not None:
            u, v = node.inputs
            if (centred := _centred(r, u, v, how is subtract, axes)) is not None:
                return subtract(centred, centred)
            if how is add and (centred := _centred(r, v, u, False, axes)) is not None:
                return subtract(centred, centred)
            if u.shape == v.shape == x.shape:
                first = _total(r, u, axes, depth - 1)
                second = first if u is v or first is None else _total(r, v, axes, depth - 1)
                return None if first is None or second is None else how.bind(first, second)
    for how in factors:
        if (node := r.made_by(x, how)) is not None:
            u, v = node.inputs
            for i, (one, other) in enumerate(((u, v), (v, u))):
                factor = _constant_along(r, other, x.ndim, axes)
                if factor is not None and one.shape == x.shape:
                    total = _total(r, one, axes, depth - 1)
                    if total is not None:
                        return how.bind(factor, total) if i else how.bind(total, factor)
    return None


def _constant_along(r: Rewriter, a: Array, ndim: int, axes: Axes) -> Array | None:
    """`a` without these axes, if it is the same all along them."""
    while (node := r.made_by(a, broadcast_to_p)) is not None:
        (a,) = node.inputs
    shape = (1,) * (ndim - a.ndim) + a.shape
    if any(shape[k] != 1 for k in axes):
        return None
    if a.ndim == 0:
        return a
    return reshape(a, tuple(d for k, d in enumerate(shape) if k not in axes))


def _centred(r: Rewriter, x: Array, shift: Array, minus: bool, axes: Axes) -> Array | None:
    """The sum of `x`, if `shift` is its mean (or, added, the opposite), each beside the numbers it is the mean of."""
    total = _known(r, x, axes)
    if total is None or total.trace is not r:
        return None
    while (node := r.made_by(shift, broadcast_to_p)) is not None:
        (shift,) = node.inputs
    if (1,) * (x.ndim - shift.ndim) + shift.shape != tuple(1 if k in axes else d for k, d in enumerate(x.shape)):
        return None  # of as many numbers as sums, the first belongs to the first: steps between keep the order
    factor = math.prod(x.shape[k] for k in axes) * (1.0 if minus else -1.0)
    for _ in range(DEEPEST):
        if shift.trace is r and shift.index == total.index:  # type: ignore[attr-defined]
            return total if abs(factor - 1) < NEAR * np.finfo(x.dtype).eps else None
        if (found := _multiple(r, shift)) is None:
            return None
        shift, factor = found[0], factor * found[1]
    return None


def _multiple(r: Rewriter, a: Array) -> tuple[Array, float] | None:
    """What `a` is a multiple of, in whatever shape, and which."""
    for how in (reshape_p, broadcast_to_p, negative):
        if (node := r.made_by(a, how)) is not None:
            return node.inputs[0], -1.0 if how is negative else 1.0
    if (node := r.made_by(a, divide)) is not None:
        number = _number(r, node.inputs[1])
        return None if not number else (node.inputs[0], 1 / number)
    if (node := r.made_by(a, multiply)) is not None:
        for x, other in (node.inputs, node.inputs[::-1]):
            if (number := _number(r, other)) is not None:
                return x, number
    return None


def _number(r: Rewriter, a: Array) -> float | None:
    found = value(r, a)
    return None if found is None else float(found)


RULES = {sum_p: (_sum,)}
