"""Sorting. The order is stable, ascending or descending; NaN comes last in either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.maps import Map
from wengert.ir.primitive import Params, Primitive, Unsupported
from wengert.ir.types import ArrayType, int64, normalize_axis
from wengert.ops.index import along_axis, along_axis_map, gather
from wengert.ops.promote import as_array
from wengert.ops.shape import slice_p
from wengert.source import at_user_line


def _key(x: Any, descending: bool) -> Any:
    """An array whose ascending order is the wanted one; NaN stays NaN, and integers cannot overflow."""
    if not descending:
        return x
    return -x if x.dtype.kind in "fc" else ~x


class Sort(Primitive):
    """The elements in order along `axis`. The derivative goes where the element went."""

    def type(self, x: ArrayType, *, axis: int, descending: bool) -> ArrayType:  # type: ignore[override]
        return ArrayType(x.shape, x.dtype)

    def evaluate(self, x: Any, *, axis: int, descending: bool) -> Any:  # type: ignore[override]
        # equal numbers are the same number, so the quicker sort that need not be stable will do
        return _key(np.sort(_key(x, descending), axis=axis), descending)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        if out.dtype.kind not in "fc":
            return None
        return along_axis_map(values[0], argsort_p.bind(values[0], **params), params["axis"], unique=True)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (x,), (at,) = values, axes
        assert at is not None
        return self.bind(x, **{**params, "axis": params["axis"] + (params["axis"] >= at)}), at

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        # any element of the line may come to stand anywhere in it
        merged = np.bitwise_or.reduce(patterns[0], axis=params["axis"], keepdims=True)
        return np.broadcast_to(merged, patterns[0].shape)


class ArgSort(Sort):
    """The positions along `axis` of the elements in order."""

    differentiable = False
    partial = Unsupported("a position does not change continuously")  # type: ignore[assignment]

    def type(self, x: ArrayType, *, axis: int, descending: bool) -> ArrayType:  # type: ignore[override]
        return ArrayType(x.shape, int64)

    def evaluate(self, x: Any, *, axis: int, descending: bool) -> Any:  # type: ignore[override]
        return np.argsort(_key(x, descending), axis=axis, kind="stable")


sort_p, argsort_p = Sort("sort"), ArgSort("argsort")


def _line(x: Any, axis: int, what: str) -> tuple[Array, int]:
    x = as_array(x, what)
    if x.ndim == 0:
        raise ShapeError(f"{what} of a single number (shape ()); it has no axis to order along{at_user_line()}")
    return x, normalize_axis(axis, x.ndim, what)


def sort(x: Any, /, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Array:
    """The elements of `x` in order along `axis`; NaN comes last in either direction.

    Args:
        x: array with at least one axis; complex numbers are ordered by real, then imaginary part.
        axis: the axis to sort along.
        descending: largest first.
        stable: equal elements keep their order. It always holds here.

    Returns:
        An array of the shape and type of `x`. Its derivative is the permutation that sorts.

    Raises:
        ShapeError: `x` has no axes, or not this one.

    Example:
        >>> wg.sort(wg.asarray([3, 1, 2]), descending=True)
        Array([3, 2, 1], dtype=int64)
    """
    x, axis = _line(x, axis, "sort")
    return sort_p.bind(x, axis=axis, descending=bool(descending))


def argsort(x: Any, /, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Array:
    """The positions along `axis` of the elements of `x` in order, as int64; arguments as for `sort`.

    Example:
        >>> wg.argsort(wg.asarray([3, 1, 2]))
        Array([1, 2, 0], dtype=int64)
    """
    x, axis = _line(x, axis, "argsort")
    return argsort_p.bind(x, axis=axis, descending=bool(descending))


def top_k(x: Any, k: int, *, axis: int = -1) -> tuple[Array, Array]:
    """The `k` largest elements along `axis`, largest first, and their positions.

    Of equal elements the first are taken; NaN counts as smallest. Differentiable in `x`.

    Args:
        x: array with at least one axis.
        k: how many, between 0 and the length of the axis.
        axis: the axis to choose along.

    Returns:
        `(values, positions)`, of the shape of `x` with length `k` on `axis`; the positions are int64.

    Raises:
        ShapeError: `k` is negative or longer than the axis.

    Example:
        >>> wg.top_k(wg.asarray([3.0, 1.0, 2.0]), 2)
        (Array([3., 2.], dtype=float32), Array([0, 2], dtype=int64))
    """
    x, axis = _line(x, axis, "top_k")
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool):
        raise ArgumentError(f"top_k: k is {k!r}; expected a Python integer, because it decides a shape{at_user_line()}")
    if not 0 <= k <= x.shape[axis]:
        raise ShapeError(f"top_k: {k} elements of axis {axis}, which has length {x.shape[axis]}{at_user_line()}")
    order = argsort_p.bind(x, axis=axis, descending=True)
    stop = tuple(int(k) if i == axis else d for i, d in enumerate(x.shape))
    positions = slice_p.bind(order, start=(0,) * x.ndim, stop=stop, step=(1,) * x.ndim)
    return gather(x, along_axis(positions, axis), tuple(range(x.ndim)), unique=True), positions
