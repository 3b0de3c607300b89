"""A window whose place is data: reading it and writing it, each the adjoint of the other.

The starts are single integers. Negative ones count from the end; then the window is moved so that it lies inside, as in
JAX (`lax.dynamic_slice`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.maps import Linear, Map
from wengert.ir.primitive import Params, Primitive
from wengert.ir.types import ArrayType, Shape
from wengert.ops.compare import select
from wengert.ops.index import gather_p, iota, others, scatter_p, zeros
from wengert.ops.promote import as_array, convert, number, promote
from wengert.ops.shape import broadcast_to, permute, reshape, to_front
from wengert.source import at_user_line

_INT = np.dtype(np.int64)


def _check(name: str, x: ArrayType, starts: Sequence[ArrayType], sizes: Shape) -> None:
    if len(starts) != x.ndim or len(sizes) != x.ndim:
        raise ShapeError(
            f"{name}: {len(starts)} starts and a window of {len(sizes)} axes for an array of shape {x.shape}; give one "
            f"for each axis{at_user_line()}"
        )
    for s in starts:
        if s.dtype.kind not in "iu" or s.shape != ():
            raise DTypeError(f"{name}: a start is one integer, got {s!r}{at_user_line()}")
    for axis, (n, d) in enumerate(zip(sizes, x.shape, strict=True)):
        if not 0 <= n <= d:
            raise ShapeError(f"{name}: a window of length {n} on axis {axis} of length {d}{at_user_line()}")


def _window(shape: Shape, starts: Sequence[Any], sizes: Shape) -> tuple[slice, ...]:
    window = []
    for d, start, n in zip(shape, starts, sizes, strict=True):
        if start.dtype.kind not in "iu":
            raise TypeError("a start is an integer")
        s = int(start)
        first = min(max(s + d if s < 0 else s, 0), d - n)
        window.append(slice(first, first + n))
    return tuple(window)


def _fixed(
    shape: Shape, starts: Sequence[Array], at: Sequence[int | None], sizes: Shape
) -> tuple[list[Array], list[Any]]:
    """Starts and their batch axes, with a 0 on every axis where the window is the whole axis and cannot move."""
    whole = [n == d for n, d in zip(sizes, shape, strict=True)]
    return (
        [number(0, _INT) if w else s for s, w in zip(starts, whole, strict=True)],
        [None if w else a for a, w in zip(at, whole, strict=True)],
    )


def _positions(shape: Shape, starts: Sequence[Array], sizes: Shape) -> tuple[tuple[int, ...], list[Array]]:
    """The window as index arrays with a leading batch axis: the axes that it cuts, and the positions along each.

    `starts` have shape () or (batch,).
    """
    axes = tuple(k for k, (n, d) in enumerate(zip(sizes, shape, strict=True)) if n != d)
    indices = []
    for at, k in enumerate(axes):
        d, start = shape[k], convert(starts[k], _INT)
        start = select(start < 0, start + d, start)
        start = select(start < 0, 0, select(start > d - sizes[k], d - sizes[k], start))
        start = reshape(start, (start.size, *(1,) * len(axes)))
        indices.append(start + iota(sizes[k], at + 1, len(axes) + 1))
    return axes, indices


class DynamicSlice(Primitive):
    """The window of `sizes` that begins at `starts`, one integer for each axis."""

    def type(self, x: ArrayType, *starts: ArrayType, sizes: Shape) -> ArrayType:  # type: ignore[override]
        _check(self.name, x, starts, sizes)
        return ArrayType(sizes, x.dtype)

    def weak_result(self, args: Sequence[Any], params: Params) -> bool:
        return args[0].weak

    def evaluate(self, x: Any, *starts: Any, sizes: Shape) -> Any:  # type: ignore[override]
        out = x[_window(x.shape, starts, sizes)]
        if out.shape != sizes:
            raise ValueError("window")
        return out

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        return Linear(self, 0, values, params) if i == 0 and out.dtype.kind in "fc" else None

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        x, *starts = values
        return dynamic_update_slice_p.bind(zeros(x.shape, ct.dtype), ct, *starts)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (x, *starts), (at, *starts_at), sizes = values, axes, params["sizes"]
        shape = x.shape if at is None else x.shape[:at] + x.shape[at + 1 :]
        starts, starts_at = _fixed(shape, starts, starts_at, sizes)
        if all(a is None for a in starts_at):
            if at is None:
                return self.bind(x, *starts, sizes=sizes), None
            moved = [*starts[:at], number(0, _INT), *starts[at:]]
            return self.bind(x, *moved, sizes=(*sizes[:at], size, *sizes[at:])), at
        x = x if at is None else to_front(x, at)
        cut, positions = _positions(shape, starts, sizes)
        up = tuple(k + (at is not None) for k in cut)
        if at is not None:
            up, positions = (0, *up), [iota(size, 0, len(cut) + 1), *positions]
        out = gather_p.bind(x, *positions, axes=up, outside="clip", unique=at is not None)
        order = (*cut, *others(cut, len(shape)))
        return permute(out, (0, *(order.index(k) + 1 for k in range(len(shape))))), 0

    def sparsity(
        self,
        patterns: Sequence[Any],
        types: Sequence[ArrayType],
        params: Params,
        constants: Sequence[Any] | None = None,
    ) -> Any:
        # with the starts known, the bits in the window; without, along every cut axis all that might be in it
        pattern, sizes, x = patterns[0], params["sizes"], types[0]
        if pattern is None:
            return None
        if constants is not None and all(c is not None for c in constants[1:]):
            return pattern[_window(x.shape, constants[1:], sizes)]
        cut = tuple(k for k, (n, d) in enumerate(zip(sizes, x.shape, strict=True)) if n != d)
        merged = np.bitwise_or.reduce(pattern, axis=cut, keepdims=True)
        return np.broadcast_to(merged, (*sizes, pattern.shape[-1]))


class DynamicUpdateSlice(Primitive):
    """A copy of `x` with `update` in the window that begins at `starts`, one integer for each axis."""

    def type(self, x: ArrayType, update: ArrayType, *starts: ArrayType) -> ArrayType:  # type: ignore[override]
        _check(self.name, x, starts, update.shape)
        if x.dtype != update.dtype:
            raise DTypeError(f"{self.name}: an update of {update.dtype.name} into {x.dtype.name}{at_user_line()}")
        return ArrayType(x.shape, x.dtype)

    def weak_result(self, args: Sequence[Any], params: Params) -> bool:
        return args[0].weak and args[1].weak

    def evaluate(self, x: Any, update: Any, *starts: Any) -> Any:  # type: ignore[override]
        window = _window(x.shape, starts, update.shape)
        if x.dtype != update.dtype or any(n > d for n, d in zip(update.shape, x.shape, strict=True)):
            raise ValueError("window")
        out = np.array(x)
        out[window] = update
        return out

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        if i > 1 or out.dtype.kind not in "fc":
            return None
        x, update, *starts = values
        if i == 0:
            return Linear(self, 0, (x, zeros(update.shape, x.dtype), *starts), params)
        return Linear(self, 1, (zeros(x.shape, x.dtype), update, *starts), params)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        _, update, *starts = values
        if i == 0:
            return self.bind(ct, zeros(update.shape, ct.dtype), *starts)
        return dynamic_slice_p.bind(ct, *starts, sizes=update.shape)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (x, update, *starts), (x_at, update_at, *starts_at) = values, axes
        x = broadcast_to(x, (size, *x.shape)) if x_at is None else to_front(x, x_at)
        update = broadcast_to(update, (size, *update.shape)) if update_at is None else to_front(update, update_at)
        shape, sizes = x.shape[1:], update.shape[1:]
        starts, starts_at = _fixed(shape, starts, starts_at, sizes)
        if all(a is None for a in starts_at):
            return self.bind(x, update, number(0, _INT), *starts), 0
        cut, positions = _positions(shape, starts, sizes)
        order = (*cut, *others(cut, len(shape)))
        update = permute(update, (0, *(k + 1 for k in order)))
        positions = [iota(size, 0, len(cut) + 1), *positions]
        over = (0, *(k + 1 for k in cut))
        return scatter_p.bind(x, update, *positions, axes=over, mode="set", outside="drop", unique=True), 0

    def sparsity(
        self,
        patterns: Sequence[Any],
        types: Sequence[ArrayType],
        params: Params,
        constants: Sequence[Any] | None = None,
    ) -> Any:
        # with the starts known, as the elements move; without, along every cut axis the update may lie anywhere
        kept, new = patterns[:2]
        if kept is None and new is None:
            return None
        (x, update), words = types[:2], (new if kept is None else kept).shape[-1]
        kept = np.zeros((*x.shape, words), np.uint64) if kept is None else kept
        new = np.zeros((*update.shape, words), np.uint64) if new is None else new
        if constants is not None and all(c is not None for c in constants[2:]):
            out = np.array(kept)
            out[_window(x.shape, constants[2:], update.shape)] = new
            return out
        cut = tuple(k for k, (n, d) in enumerate(zip(update.shape, x.shape, strict=True)) if n != d)
        return kept | np.bitwise_or.reduce(new, axis=cut, keepdims=True)


dynamic_slice_p = DynamicSlice("dynamic_slice")
dynamic_update_slice_p = DynamicUpdateSlice("dynamic_update_slice")


def dynamic_slice(x: Any, starts: Any, sizes: Sequence[int]) -> Array:
    """The window of shape `sizes` of `x` that begins at `starts`, which may be traced.

    Args:
        x: array of n axes.
        starts: n single integers (a sequence, or an integer array of shape `(n,)`). Negative ones count from the end;
            then the window is moved so that it lies inside `x`, as in JAX.
        sizes: n Python integers, each at most the length of the axis.

    Returns:
        An array of shape `sizes`. The derivative by `x` is zero outside the window.

    Raises:
        ShapeError: numbers of starts or sizes are not that of the axes, or a size is longer than its axis.
        DTypeError: a start is no integer.

    Example:
        >>> wg.dynamic_slice(wg.asarray([1.0, 2.0, 3.0, 4.0]), [wg.asarray(1)], [2])
        Array([2., 3.], dtype=float32)
    """
    x = as_array(x, "dynamic_slice")
    return dynamic_slice_p.bind(x, *_starts(starts, "dynamic_slice"), sizes=tuple(int(n) for n in sizes))


def dynamic_update_slice(x: Any, update: Any, starts: Any) -> Array:
    """A copy of `x` with `update` written in the window that begins at `starts`, which may be traced.

    Shapes as in `dynamic_slice`: `update` has the number of axes of `x` and is at most as long on each. The window is
    moved to lie inside `x`, as in JAX. Linear in `x` and in `update`.

    Raises:
        ShapeError: `update` does not fit into `x`, or the number of starts is not that of the axes.
        DTypeError: a start is no integer, or `update` has a wider type than `x`.

    Example:
        >>> wg.dynamic_update_slice(wg.asarray([1.0, 2.0, 3.0]), wg.asarray([9.0]), [wg.asarray(-1)])
        Array([1., 2., 9.], dtype=float32)
    """
    x, update = as_array(x, "dynamic_update_slice"), as_array(update, "dynamic_update_slice")
    common, update = promote("dynamic_update_slice", (x, update))
    if common.dtype != x.dtype:
        raise DTypeError(
            f"dynamic_update_slice: an update of {update.dtype.name} does not fit into {x.dtype.name}; convert one of "
            f"them (wg.astype){at_user_line()}"
        )
    return dynamic_update_slice_p.bind(common, update, *_starts(starts, "dynamic_update_slice"))


def _starts(starts: Any, what: str) -> list[Array]:
    if isinstance(starts, (Array, np.ndarray)) and starts.ndim == 1:
        vector = as_array(starts, what)
        return [
            gather_p.bind(vector, number(k, _INT), axes=(0,), outside="clip", unique=True) for k in range(vector.size)
        ]
    if not isinstance(starts, (list, tuple)):
        starts = (starts,)
    return [as_array(s, what) for s in starts]
