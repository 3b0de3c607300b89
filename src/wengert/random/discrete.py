"""Whole numbers, choices and orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import Shape, as_dtype, broadcast_shapes, float64, int64, normalize_axis, uint64
from wengert.ops.arithmetic import minimum, remainder
from wengert.ops.compare import less
from wengert.ops.cumulative import cumulative_sum
from wengert.ops.index import gather
from wengert.ops.promote import as_array, convert
from wengert.ops.reduce import argmax_p
from wengert.ops.search import searchsorted_p
from wengert.ops.shape import move_axis, permute, reshape, slice_p
from wengert.ops.sort import argsort_p
from wengert.ops.transcendental import log
from wengert.random.continuous import gumbel, ordered, parameters, uniform
from wengert.random.keys import as_shape, draw, one_key
from wengert.source import at_user_line


def bernoulli(key: Any, p: Any = 0.5, shape: int | Sequence[int] | None = None) -> Array:
    """True with probability `p`.

    Args:
        p: array of probabilities that stretches to the shape (by default, its own).

    Returns:
        An array of booleans. It has no derivative; for one in `p`, use `gumbel` or a score-function estimate.

    Raises:
        ArgumentError: a probability, where its number is known, outside [0, 1] (or NaN).

    Example:
        >>> wg.random.bernoulli(wg.random.key(0), 0.3, (4,)).dtype
        dtype('bool')
    """
    (p,), shape, dtype = parameters("bernoulli", shape, None, p)
    _probabilities(p, "bernoulli")
    return less(uniform(key, shape, dtype), p)


def categorical(key: Any, logits: Any, axis: int = -1, shape: int | Sequence[int] | None = None) -> Array:
    """Positions along `axis`, drawn with probabilities softmax(logits), by the largest of `logits + gumbel`.

    Args:
        logits: real array with at least one axis; -inf is never drawn (unless there is nothing else).
        shape: of the result; by default that of `logits` without `axis`, which must stretch to it.

    Returns:
        An array of int64.

    Example:
        >>> wg.random.categorical(wg.random.key(0), wg.zeros((5, 3))).shape
        (5,)
    """
    logits = as_array(logits, "random.categorical")
    if logits.ndim == 0:
        raise ShapeError(f"random.categorical: logits is one number; expected an axis to draw from{at_user_line()}")
    (logits,), _, dtype = parameters("categorical", None, None, logits)
    logits = move_axis(logits, normalize_axis(axis, logits.ndim, "random.categorical"), logits.ndim - 1)
    theirs, k = logits.shape[:-1], logits.shape[-1]
    shape = theirs if shape is None else as_shape(shape, "categorical")
    if broadcast_shapes([shape, theirs], "random.categorical") != shape:
        raise ShapeError(f"random.categorical: logits of {theirs} do not stretch to shape {shape}{at_user_line()}")
    noise = gumbel(key, (*shape, k), dtype)
    return argmax_p.bind(logits + noise, axes=(len(shape),))


def randint(key: Any, shape: int | Sequence[int], minval: Any, maxval: Any, dtype: Any = int64) -> Array:
    """Whole numbers from `minval` to `maxval - 1`, by the remainder of 64 random bits.

    No number is likelier than another by more than `(maxval - minval) / 2⁶⁴` of its probability.

    Args:
        minval, maxval: integers or integer arrays that stretch to the shape, also traced ones.
        dtype: an integer type.

    Raises:
        ArgumentError: `minval` is not below `maxval`, where both are known.
        DTypeError: bounds or type are not integers.

    Example:
        >>> wg.random.randint(wg.random.key(0), (3,), 0, 10).shape
        (3,)
    """
    dtype = as_dtype(dtype)
    if dtype.kind not in "iu":
        raise DTypeError(f"random.randint of {dtype.name}; expected an integer type{at_user_line()}")
    low, high = (_bound(v, dtype) for v in (minval, maxval))
    shape = as_shape(shape, "randint")
    ordered(low, high, "randint: minval", "maxval")
    start = convert(low, uint64)
    span = convert(high, uint64) - start  # modulo 2⁶⁴, which is right for negative numbers too
    words = draw(one_key(key, "randint"), shape, uint64)
    out = convert(start + remainder(words, span), dtype)
    if out.shape != shape:
        raise ShapeError(f"random.randint: bounds of {low.shape} and {high.shape} for shape {shape}{at_user_line()}")
    return out


def permutation(key: Any, x: Any, axis: int = 0) -> Array:
    """The numbers 0 to n - 1 in random order, or the parts of an array along `axis` in random order.

    Args:
        x: a Python integer n, or an array.
        axis: which axis of the array is put into another order.

    Example:
        >>> wg.sort(wg.random.permutation(wg.random.key(0), 4))
        Array([0, 1, 2, 3], dtype=int64)
    """
    key = one_key(key, "permutation")
    if isinstance(x, (int, np.integer)) and not isinstance(x, bool):
        return _order(key, as_shape(x, "permutation"))
    x = as_array(x, "random.permutation")
    if x.ndim == 0:
        raise ShapeError(f"random.permutation of one number in an array; pass a Python integer{at_user_line()}")
    axis = normalize_axis(axis, x.ndim, "random.permutation")
    return _along(x, _order(key, (x.shape[axis],)), axis, unique=True)


def choice(
    key: Any, a: Any, shape: int | Sequence[int] = (), replace: bool = True, p: Any = None, axis: int = 0
) -> Array:
    """Elements drawn from 0 to n - 1, or from an array along `axis`.

    Args:
        a: a Python integer n, or an array.
        shape: how many; in the result it stands in the place of `axis`.
        replace: whether an element may be drawn twice.
        p: probabilities, of shape (n,), that sum to 1; by default all equal. Without replacement each further element
            is drawn in proportion to what is left.

    Raises:
        ArgumentError: more elements without replacement than there are, or a probability that is negative or NaN.
        ShapeError: `p` has another shape.

    Example:
        >>> wg.random.choice(wg.random.key(0), 5, (3,)).shape
        (3,)
    """
    key = one_key(key, "choice")
    whole = isinstance(a, (int, np.integer)) and not isinstance(a, bool)
    x = None if whole else as_array(a, "random.choice")
    if x is not None and x.ndim == 0:
        raise ShapeError(f"random.choice from one number in an array; pass a Python integer{at_user_line()}")
    axis = 0 if x is None else normalize_axis(axis, x.ndim, "random.choice")
    n = int(a) if x is None else x.shape[axis]
    shape = as_shape(shape, "choice")
    count = int(np.prod(shape, dtype=np.int64))
    if (count > n and not replace) or (count and n < 1):
        raise ArgumentError(
            f"random.choice: {count} of {n} elements{'' if replace else ' without replacement'}{at_user_line()}"
        )
    if p is not None:
        (p,), theirs, _ = parameters("choice", None, None, p)
        if theirs != (n,):
            raise ShapeError(
                f"random.choice: p has shape {theirs}; expected ({n},), one for each element{at_user_line()}"
            )
        _probabilities(p, "choice")
    if replace:
        places = randint(key, shape, 0, n) if p is None else _by_weight(key, p, shape)
    else:
        order = _order(key, (n,)) if p is None else _weighted_order(key, p)
        places = reshape(slice_p.bind(order, start=(0,), stop=(count,), step=(1,)), shape)
    return places if x is None else _along(x, places, axis, unique=not replace)


def _by_weight(key: Array, p: Array, shape: Shape) -> Array:
    total = cumulative_sum(convert(p, float64), axis=0)
    last = slice_p.bind(total, start=(p.size - 1,), stop=(p.size,), step=(1,))
    found = searchsorted_p.bind(total, uniform(key, shape, float64) * reshape(last, ()), side="right", lead=0)
    return minimum(found, p.size - 1)


def _weighted_order(key: Array, p: Array) -> Array:
    return argsort_p.bind(log(p) + gumbel(key, p.shape, p.dtype), axis=0, descending=True)


def _order(key: Array, shape: Shape) -> Array:
    """A random order of n elements: that of 64 random bits each, which are all different (but for 1 case in 2⁶⁴/n²)."""
    return argsort_p.bind(draw(key, shape, uint64), axis=0, descending=False)


def _along(x: Array, places: Array, axis: int, unique: bool) -> Array:
    """`x` read along `axis` at `places`, whose axes stand in its stead."""
    out = gather(x, [places], (axis,), unique=unique)
    k = places.ndim
    order = (*range(k, k + axis), *range(k), *range(k + axis, out.ndim))
    return permute(out, order)


def _bound(value: Any, dtype: np.dtype) -> Array:
    x = as_array(value, "random.randint")
    if x.dtype.kind not in "iu":
        raise DTypeError(f"random.randint: the bound {value!r} is no integer{at_user_line()}")
    return convert(x, uint64 if dtype == uint64 and x.dtype.kind == "u" else int64 if x.dtype != uint64 else uint64)


def _probabilities(p: Array, what: str) -> None:
    if p.trace is None and not np.all((p.data >= 0) & (p.data <= 1)):
        worst = np.asarray(p.data).reshape(-1)
        worst = worst[~((worst >= 0) & (worst <= 1))][0]
        raise ArgumentError(f"random.{what}: a probability is {worst}; expected 0 to 1{at_user_line()}")
