"""Sums, means, extremes and tests over axes.

Every function takes `axis` (one, a tuple, or None for all) and `keepdims` (the reduced axes stay, with length 1).
"""

from __future__ import annotations

import builtins
import math
from typing import Any

from wengert.errors import DTypeError
from wengert.ir.array import Array
from wengert.ir.primitive import Primitive
from wengert.ir.types import DEFAULT_INT, Shape, as_dtype, float16, float32, float_dtype, int64, normalize_axes, uint64
from wengert.ops import reduce as ops
from wengert.ops.arithmetic import square
from wengert.ops.compare import equal, not_equal, select
from wengert.ops.complex import imag, real
from wengert.ops.promote import as_array, convert
from wengert.ops.shape import reshape
from wengert.ops.transcendental import sqrt
from wengert.source import at_user_line

Axis = int | tuple[int, ...] | None


def _kept(shape: Shape, axes: tuple[int, ...]) -> Shape:
    return tuple(1 if i in axes else d for i, d in enumerate(shape))


def _reduce(primitive: Primitive, x: Array, axis: Axis, keepdims: bool) -> Array:
    axes = tuple(range(x.ndim)) if axis is None else normalize_axes(axis, x.ndim, primitive.name)
    out = primitive.bind(x, axes=axes)
    return reshape(out, _kept(x.shape, axes)) if keepdims else out


def widened(x: Any, dtype: Any, what: str) -> Array:
    """Small integers are summed in the default integer, as the standard demands; floats keep their type."""
    x = as_array(x, what)
    if dtype is not None:
        return convert(x, as_dtype(dtype))
    if x.dtype.kind == "f":
        return x
    if x.dtype.kind in "ib" and x.dtype != DEFAULT_INT:
        return convert(x, int64)
    return convert(x, uint64) if x.dtype.kind == "u" else x


def sum(x: Any, /, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False) -> Array:
    """`Σ x` over axes. The sum over nothing is 0.

    Args:
        x: array of any shape.
        axis: one axis, a tuple of axes, or None for all.
        dtype: the type to sum in; by default floats keep theirs, integers and booleans become int64 (or uint64).
        keepdims: whether the reduced axes stay, with length 1.

    Raises:
        ShapeError: an axis does not exist.

    Example:
        >>> wg.sum(wg.asarray([[1.0, 2.0], [3.0, 4.0]]), axis=0)
        Array([4., 6.], dtype=float32)
    """
    return _reduce(ops.sum_p, widened(x, dtype, "sum"), axis, keepdims)


def prod(x: Any, /, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False) -> Array:
    """`Π x` over axes. The product over nothing is 1. Its derivative is right also where elements are 0.

    Arguments, types and errors as for `sum`.

    Example:
        >>> wg.prod(wg.asarray([2.0, 3.0]))
        Array(6., dtype=float32)
    """
    return _reduce(ops.prod_p, widened(x, dtype, "prod"), axis, keepdims)


def _ordered(x: Any, what: str) -> Array:
    x = as_array(x, what)
    if x.dtype.kind == "c":
        raise DTypeError(f"{what}: complex numbers have no order; take wg.abs(x) first{at_user_line()}")
    return x


def max(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The largest element over axes; NaN if there is one. Elements that tie share the derivative equally.

    Raises:
        ShapeError: an axis does not exist, or there is no element to choose from.
        DTypeError: complex numbers, which have no order.
    """
    return _reduce(ops.max_p, _ordered(x, "max"), axis, keepdims)


def min(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The smallest element over axes; NaN if there is one. Elements that tie share the derivative equally.

    Raises:
        ShapeError: an axis does not exist, or there is no element to choose from.
        DTypeError: complex numbers, which have no order.
    """
    return _reduce(ops.min_p, _ordered(x, "min"), axis, keepdims)


def _floating(x: Any, what: str) -> Array:
    x = as_array(x, what)
    return convert(x, float_dtype(x.dtype, x.weak), x.weak)


def _count(shape: Shape, axes: tuple[int, ...]) -> int:
    return math.prod(shape[i] for i in axes)


def mean(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """`Σ x / n` over axes, NaN where n is 0. Integers give the default float; float16 is summed in float32.

    Raises:
        ShapeError: an axis does not exist.

    Example:
        >>> wg.mean(wg.asarray([1.0, 2.0, 6.0]))
        Array(3., dtype=float32)
    """
    x = _floating(x, "mean")
    if x.dtype == float16:
        return convert(mean(convert(x, float32), axis, keepdims=keepdims), float16)
    axes = normalize_axes(axis, x.ndim, "mean")
    return _reduce(ops.sum_p, x, axes, keepdims) / _count(x.shape, axes)


def var(x: Any, /, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False) -> Array:
    """The variance `Σ |x - mean(x)|² / (n - correction)` over axes.

    Args:
        x: array of any shape; of complex numbers the result is real.
        axis: one axis, a tuple of axes, or None for all.
        correction: 0 for the variance of these numbers, 1 for the unbiased estimate from a sample.
        keepdims: whether the reduced axes stay, with length 1.

    Example:
        >>> wg.var(wg.asarray([1.0, 3.0]))
        Array(1., dtype=float32)
    """
    x = _floating(x, "var")
    if x.dtype == float16:
        return convert(var(convert(x, float32), axis, correction=correction, keepdims=keepdims), float16)
    axes = normalize_axes(axis, x.ndim, "var")
    centred = x - mean(x, axes, keepdims=True)
    squares = square(real(centred)) + square(imag(centred)) if x.dtype.kind == "c" else square(centred)
    return _reduce(ops.sum_p, squares, axes, keepdims) / builtins.max(_count(x.shape, axes) - correction, 0)


def std(x: Any, /, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False) -> Array:
    """The standard deviation `sqrt(var(x))` over axes; see `var`. Where it is 0 its derivative is taken as 0."""
    v = var(x, axis, correction=correction, keepdims=keepdims)
    flat = equal(v, 0)
    return select(flat, 0, sqrt(select(flat, 1, v)))


def any(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """Whether some element over axes is not 0; False where there is none."""
    return _reduce(ops.any_p, as_array(x, "any"), axis, keepdims)


def all(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """Whether every element over axes is not 0; True where there is none."""
    return _reduce(ops.all_p, as_array(x, "all"), axis, keepdims)


def count_nonzero(x: Any, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """How many elements over axes are not 0, as int64."""
    x = as_array(x, "count_nonzero")
    return _reduce(ops.sum_p, convert(x if x.dtype.kind == "b" else not_equal(x, 0), int64), axis, keepdims)


def argmax(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """The index of the largest element along an axis, the first of those that tie; of the flattened array without one.

    Raises:
        ShapeError: the axis does not exist or has no element.
    """
    return _place(ops.argmax_p, x, axis, keepdims)


def argmin(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """The index of the smallest element along an axis, the first of those that tie; of the flattened array without one.

    Raises:
        ShapeError: the axis does not exist or has no element.
    """
    return _place(ops.argmin_p, x, axis, keepdims)


def _place(primitive: Primitive, x: Any, axis: int | None, keepdims: bool) -> Array:
    x = _ordered(x, primitive.name)
    if axis is None:
        out = primitive.bind(reshape(x, (x.size,)), axes=(0,))
        return reshape(out, (1,) * x.ndim) if keepdims else out
    return _reduce(primitive, x, normalize_axes(axis, x.ndim, primitive.name), keepdims)


__all__ = [
    "all", "any", "argmax", "argmin", "count_nonzero", "max", "mean", "min", "prod", "std", "sum", "var",
]  # fmt: skip
