"""Choosing between arrays, and comparing them up to rounding."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from wengert.array import reductions
from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array, concrete
from wengert.ir.types import float64
from wengert.ops.arithmetic import abs_, maximum, minimum
from wengert.ops.compare import equal, isfinite, isnan, less_equal, select
from wengert.ops.index import gather
from wengert.ops.promote import as_array, convert, promote
from wengert.ops.search import searchsorted_p
from wengert.source import at_user_line


def where(condition: Any, x1: Any, x2: Any, /) -> Array:
    """`x1` where the condition holds, else `x2`.

    The side that is not taken has derivative exactly 0, even if its own derivative is infinite or NaN there.

    Args:
        condition: array of booleans.
        x1, x2: arrays; the three shapes broadcast.

    Raises:
        DTypeError: the condition is not boolean.
        ShapeError: the shapes do not broadcast.

    Example:
        >>> x = wg.asarray([-1.0, 4.0])
        >>> wg.where(x > 0, wg.sqrt(x), 0)
        Array([0., 2.], dtype=float32)
    """
    return select(condition, x1, x2)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Array:
    """`x` held between `min` and `max` (None: no bound); the type of `x` stays.

    The derivative by `x` is 1 between the bounds, 0 outside, and 1/2 on a bound.

    Raises:
        ShapeError: the shapes do not broadcast.

    Example:
        >>> wg.clip(wg.asarray([-1.0, 0.5, 2.0]), 0, 1)
        Array([0. , 0.5, 1. ], dtype=float32)
    """
    x = as_array(x, "clip")
    out = x
    for bound, hold in ((min, maximum), (max, minimum)):
        if bound is not None:
            out = hold(out, _as_bound(bound, x))
    return convert(out, x.dtype, x.weak)


def _as_bound(bound: Any, x: Array) -> Any:
    """A bound of an integer array that the type cannot hold bounds nothing more than the last number that it can."""
    if x.dtype.kind in "iu" and isinstance(bound, (int, float)) and not isinstance(bound, bool):
        limits = np.iinfo(x.dtype)
        if isinstance(bound, int) and not limits.min <= bound <= limits.max:
            return limits.min if bound < limits.min else limits.max
    return bound


def nonzero(x: Any, /) -> tuple[Array, ...]:
    """The indices of the elements that are not 0, one int64 array for each axis.

    The shape depends on the numbers, so this works eagerly only; inside `jit` and `vmap` use `wg.where`.

    Raises:
        AbstractValueError: the numbers are not known.
        ShapeError: a single number has no axis.

    Example:
        >>> wg.nonzero(wg.asarray([0, 7, 8]))
        (Array([1, 2], dtype=int64),)
    """
    x = as_array(x, "nonzero")
    if x.ndim == 0:
        raise ShapeError(f"nonzero: a single number (shape ()) has no axis{at_user_line()}")
    return tuple(Array(i) for i in np.nonzero(np.asarray(concrete(x, "the number of non-zero elements"))))


def searchsorted(x1: Any, x2: Any, /, *, side: Literal["left", "right"] = "left", sorter: Any = None) -> Array:
    """The indices at which the numbers `x2` keep the sorted array `x1` sorted.

    Args:
        x1: sorted array of shape (n,).
        x2: array of any shape.
        side: "left" gives i with `x1[i-1] < v <= x1[i]`, "right" with `x1[i-1] <= v < x1[i]`.
        sorter: indices of shape (n,) that sort `x1`, as from `wg.argsort`.

    Returns:
        int64 indices from 0 to n, of the shape of `x2`. They have no derivative.

    Raises:
        ShapeError: `x1` is not one-dimensional.
        DTypeError: complex numbers, which have no order.
        ArgumentError: another `side`.

    Example:
        >>> wg.searchsorted(wg.asarray([1.0, 2.0, 3.0]), 2.5)
        Array(2, dtype=int64)
    """
    if side not in ("left", "right"):
        raise ArgumentError(f"searchsorted: side is 'left' or 'right', got {side!r}{at_user_line()}")
    a, v = promote("searchsorted", (x1, x2))
    if sorter is not None:
        a = gather(a, [as_array(sorter, "searchsorted")], (0,))
    return searchsorted_p.bind(a, v, side=side, lead=0)


def isclose(x1: Any, x2: Any, /, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Array:
    """`|x1 - x2| <= atol + rtol·|x2|`, elementwise; infinities are close to themselves, and NaN to NaN if `equal_nan`.

    Raises:
        ShapeError: the shapes do not broadcast.
    """
    a, b = promote("isclose", (x1, x2))
    if a.dtype.kind not in "fc":  # differences of unsigned integers would wrap round
        a, b = convert(a, float64), convert(b, float64)
    out = (less_equal(abs_(a - b), atol + rtol * abs_(b)) & isfinite(b)) | equal(a, b)
    return out | (isnan(a) & isnan(b)) if equal_nan else out


def allclose(x1: Any, x2: Any, /, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Array:
    """Whether all elements are close; see `isclose`."""
    out = isclose(x1, x2, rtol=rtol, atol=atol, equal_nan=equal_nan)
    return reductions.all(out)
