"""Sorting and searching. The order is stable, ascending or descending; NaN comes last in either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.maps import Map
from wengert.ir.primitive import Params, Primitive, Unsupported
from wengert.ir.source import at_user_line
from wengert.ir.types import ArrayType, int64, normalize_axis
from wengert.ops.index import along_axis, along_axis_map, gather
from wengert.ops.promote import as_array, promote
from wengert.ops.shape import broadcast_to, slice_p, to_front


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
        return _key(np.sort(_key(x, descending), axis=axis, kind="stable"), descending)

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


class SearchSorted(Primitive):
    """For each of `values` where it would stand in ascending `x`: before equal elements ("left") or behind ("right").

    `x` has shape `(b…, n)` and `values` shape `(b…, m…)`; `lead` counts the batch axes b.
    """

    differentiable = False
    partial = Unsupported("a position does not change continuously")  # type: ignore[assignment]

    def type(self, x: ArrayType, values: ArrayType, *, side: str, lead: int) -> ArrayType:  # type: ignore[override]
        if x.ndim != lead + 1 or x.shape[:lead] != values.shape[:lead]:
            raise ShapeError(
                f"searchsorted: the sorted array has shape {x.shape[lead:]}; expected one axis (see wg.vmap for several)"
                + at_user_line()
            )
        if x.dtype != values.dtype or x.dtype.kind == "c":
            raise DTypeError(
                f"searchsorted: {values.dtype.name} among {x.dtype.name}; expected one real type{at_user_line()}"
            )
        return ArrayType(values.shape, int64)

    def evaluate(self, x: Any, values: Any, *, side: str, lead: int) -> Any:  # type: ignore[override]
        if x.ndim != lead + 1 or x.dtype != values.dtype or x.dtype.kind == "c":
            raise ValueError("sorted array")
        if not lead:
            return np.asarray(np.searchsorted(x, values, side=side), int64)  # type: ignore[call-overload]
        out = np.empty(values.shape, int64)
        for k in np.ndindex(*x.shape[:lead]):
            out[k] = np.searchsorted(x[k], values[k], side=side)  # type: ignore[call-overload]
        return out

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (x, v), (x_at, v_at), lead = values, axes, params["lead"]
        if x_at is None and not lead:  # one sorted array for all
            return self.bind(x, v, **params), v_at
        x = broadcast_to(x, (size, *x.shape)) if x_at is None else to_front(x, x_at)
        v = broadcast_to(v, (size, *v.shape)) if v_at is None else to_front(v, v_at)
        return self.bind(x, v, side=params["side"], lead=lead + 1), 0

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        return None


sort_p, argsort_p = Sort("sort"), ArgSort("argsort")
searchsorted_p = SearchSorted("searchsorted")


def _line(x: Any, axis: int, what: str) -> tuple[Array, int]:
    x = as_array(x, what)
    if x.ndim == 0:
        raise ShapeError(f"{what} of a single number (shape ()); it has no axis to order along{at_user_line()}")
    return x, normalize_axis(axis, x.ndim, what)


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
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


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
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


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Array:
    """Where each element of `x2` would have to be put into `x1` to keep it sorted.

    Args:
        x1: array of shape (n,), in ascending order (after `sorter`, if given).
        x2: the values, of any shape.
        side: "left" gives i with `x1[i-1] < v <= x1[i]`, "right" with `x1[i-1] <= v < x1[i]`.
        sorter: positions of shape (n,) that sort `x1`, as from `argsort`.

    Returns:
        int64 positions from 0 to n, of the shape of `x2`. They have no derivative.

    Raises:
        ShapeError: `x1` has not exactly one axis.
        DTypeError: complex numbers, which have no order here.

    Example:
        >>> wg.searchsorted(wg.asarray([1.0, 2.0, 3.0]), 2.5)
        Array(2, dtype=int64)
    """
    if side not in ("left", "right"):
        raise ArgumentError(f'searchsorted: side is {side!r}; expected "left" or "right"{at_user_line()}')
    x1, x2 = promote("searchsorted", (x1, x2))
    if sorter is not None:
        x1 = gather(x1, [as_array(sorter, "searchsorted")], (0,))
    return searchsorted_p.bind(x1, x2, side=side, lead=0)
