"""Arrays in other shapes and orders. No number changes, so every derivative is the same motion backwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wengert.array.creation import as_shape, copied
from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array, concrete
from wengert.ir.types import broadcast_shapes, normalize_axes, normalize_axis
from wengert.ops import shape as ops
from wengert.ops.promote import as_array, promote
from wengert.source import at_user_line


def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Array:
    """The same elements in row-major order in another shape; one length may be -1 and is then worked out.

    Args:
        x: array of any shape.
        shape: the new lengths; their product is the number of elements.
        copy: True gives memory of its own, False raises where memory cannot be shared.

    Raises:
        ShapeError: the number of elements differs.

    Example:
        >>> wg.reshape(wg.arange(6), (2, -1)).shape
        (2, 3)
    """
    x = as_array(x, "reshape")
    lengths = [shape] if not isinstance(shape, (tuple, list)) else list(shape)
    if -1 in lengths:
        lengths = _fill(lengths, x)
    target = as_shape(tuple(lengths), "reshape")
    if copy is False and x.trace is None:
        try:
            np.asarray(x.data).view().shape = target
        except AttributeError:
            raise ArgumentError(
                f"reshape: {x.type!r} needs a copy here, but copy=False was given{at_user_line()}"
            ) from None
        except ValueError:
            pass  # does not fit: said below
    out = ops.reshape(x, target)
    return copied(out) if copy else out


def _fill(lengths: list[Any], x: Array) -> list[Any]:
    known = math.prod(n for n in lengths if n != -1)
    if lengths.count(-1) > 1 or known == 0 or x.size % known:
        raise ShapeError(f"reshape: shape {tuple(lengths)} does not work out for shape {x.shape}{at_user_line()}")
    return [x.size // known if n == -1 else n for n in lengths]


def ravel(x: Any, /) -> Array:
    """All elements along one axis, in row-major order."""
    x = as_array(x, "ravel")
    return ops.reshape(x, (x.size,))


def permute_dims(x: Any, /, axes: Sequence[int]) -> Array:
    """The axes in another order: output axis k is input axis `axes[k]`.

    Raises:
        ShapeError: `axes` is no permutation.

    Example:
        >>> wg.permute_dims(wg.zeros((2, 3, 4)), (2, 0, 1)).shape
        (4, 2, 3)
    """
    x = as_array(x, "permute_dims")
    order = tuple(normalize_axis(a, x.ndim, "permute_dims") for a in axes)
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(f"permute_dims: axes {axes} are no permutation of the axes of shape {x.shape}{at_user_line()}")
    return ops.permute(x, order)


def transpose(x: Any, /, axes: Sequence[int] | None = None) -> Array:
    """The axes in another order, reversed where none is given; see `permute_dims`."""
    x = as_array(x, "transpose")
    return permute_dims(x, tuple(range(x.ndim))[::-1] if axes is None else axes)


def matrix_transpose(x: Any, /) -> Array:
    """The last two axes exchanged.

    Raises:
        ShapeError: fewer than two axes.
    """
    x = as_array(x, "matrix_transpose")
    if x.ndim < 2:
        raise ShapeError(f"matrix_transpose: a matrix has two axes, got shape {x.shape}{at_user_line()}")
    return ops.move_axis(x, x.ndim - 1, x.ndim - 2)


def swapaxes(x: Any, axis1: int, axis2: int, /) -> Array:
    """Two axes exchanged."""
    x = as_array(x, "swapaxes")
    a, b = (normalize_axis(i, x.ndim, "swapaxes") for i in (axis1, axis2))
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    return ops.permute(x, tuple(order))


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int], /) -> Array:
    """Axes moved to other places, the rest in their order.

    Raises:
        ShapeError: an axis does not exist or is named twice, or the numbers of axes differ.

    Example:
        >>> wg.moveaxis(wg.zeros((2, 3, 4)), 0, -1).shape
        (3, 4, 2)
    """
    x = as_array(x, "moveaxis")
    origin, target = (
        tuple(normalize_axis(a, x.ndim, "moveaxis") for a in ((v,) if isinstance(v, (int, np.integer)) else v))
        for v in (source, destination)
    )
    if len(origin) != len(target) or len(set(origin)) < len(origin) or len(set(target)) < len(target):
        raise ShapeError(f"moveaxis: axes {source} cannot be moved to {destination}{at_user_line()}")
    order = [i for i in range(x.ndim) if i not in origin]
    for to, come in sorted(zip(target, origin, strict=True)):
        order.insert(to, come)
    return ops.permute(x, tuple(order))


def expand_dims(x: Any, /, axis: int | tuple[int, ...] = 0) -> Array:
    """An axis of length 1 inserted so that it is axis `axis` of the result (several: a tuple).

    Raises:
        ShapeError: the axis would lie outside.

    Example:
        >>> wg.expand_dims(wg.zeros(3), axis=-1).shape
        (3, 1)
    """
    x = as_array(x, "expand_dims")
    count = 1 if isinstance(axis, (int, np.integer)) else len(tuple(axis))
    new = normalize_axes(axis, x.ndim + count, "expand_dims")
    rest = iter(x.shape)
    return ops.reshape(x, tuple(1 if i in new else next(rest) for i in range(x.ndim + count)))


def squeeze(x: Any, /, axis: int | tuple[int, ...] | None = None) -> Array:
    """Axes of length 1 taken away: those named, or all.

    Raises:
        ShapeError: a named axis is longer.
    """
    x = as_array(x, "squeeze")
    gone = (
        tuple(i for i, d in enumerate(x.shape) if d == 1) if axis is None else normalize_axes(axis, x.ndim, "squeeze")
    )
    for i in gone:
        if x.shape[i] != 1:
            raise ShapeError(f"squeeze: axis {i} of shape {x.shape} has length {x.shape[i]}, not 1{at_user_line()}")
    return ops.reshape(x, tuple(d for i, d in enumerate(x.shape) if i not in gone))


def broadcast_to(x: Any, /, shape: Any) -> Array:
    """`x` stretched to `shape` by NumPy's rule: aligned at the right, length 1 stretches. Its derivative is a sum.

    Raises:
        ShapeError: the shape does not fit.
    """
    return ops.broadcast_to(as_array(x, "broadcast_to"), as_shape(shape, "broadcast_to"))


def broadcast_arrays(*arrays: Any) -> list[Array]:
    """Arrays stretched to their common shape.

    Raises:
        ShapeError: there is none.
    """
    xs = [as_array(a, "broadcast_arrays") for a in arrays]
    if not xs:
        return []
    shape = broadcast_shapes([x.shape for x in xs], "broadcast_arrays")
    return [ops.broadcast_to(x, shape) for x in xs]


def concat(arrays: Iterable[Any], /, axis: int | None = 0) -> Array:
    """Arrays one after the other along an axis; with `axis=None` all are flattened first. Types promote.

    Raises:
        ShapeError: shapes differ on another axis, or there is no array.

    Example:
        >>> wg.concat([wg.zeros(2), wg.ones(1)])
        Array([0., 0., 1.], dtype=float32)
    """
    xs = _several(arrays, "concat")
    if axis is None:
        xs, axis = [ops.reshape(x, (x.size,)) for x in xs], 0
    if xs[0].ndim == 0:
        raise ShapeError(f"concat: a single number has no axis; use wg.stack{at_user_line()}")
    at = normalize_axis(axis, xs[0].ndim, "concat")
    return ops.concat_p.bind(*xs, axis=at) if len(xs) > 1 else xs[0]


def stack(arrays: Iterable[Any], /, axis: int = 0) -> Array:
    """Arrays of one shape along a new axis. Types promote.

    Raises:
        ShapeError: shapes differ, or there is no array.

    Example:
        >>> wg.stack([wg.zeros(2), wg.ones(2)], axis=1).shape
        (2, 2)
    """
    xs = _several(arrays, "stack")
    for x in xs:
        if x.shape != xs[0].shape:
            raise ShapeError(
                f"stack: shapes {xs[0].shape} and {x.shape} differ; see wg.broadcast_arrays{at_user_line()}"
            )
    at = normalize_axis(axis, xs[0].ndim + 1, "stack")
    rows = [ops.reshape(x, (*x.shape[:at], 1, *x.shape[at:])) for x in xs]
    return ops.concat_p.bind(*rows, axis=at) if len(rows) > 1 else rows[0]


def _several(arrays: Iterable[Any], what: str) -> list[Array]:
    xs = list(unstack(arrays)) if isinstance(arrays, Array) else list(arrays)
    if not xs:
        raise ShapeError(f"{what}: needs at least one array{at_user_line()}")
    return promote(what, xs)


def unstack(x: Any, /, axis: int = 0) -> tuple[Array, ...]:
    """The slices along one axis, as a tuple: the inverse of `stack`."""
    x = as_array(x, "unstack")
    at = normalize_axis(axis, x.ndim, "unstack")
    rest = (*x.shape[:at], *x.shape[at + 1 :])
    return tuple(ops.reshape(_cut(x, at, i, i + 1), rest) for i in range(x.shape[at]))


def _cut(x: Array, axis: int, start: int, stop: int) -> Array:
    if start == 0 and stop == x.shape[axis]:
        return x
    begin, end = [0] * x.ndim, list(x.shape)
    begin[axis], end[axis] = start, stop
    return ops.slice_p.bind(x, start=tuple(begin), stop=tuple(end), step=(1,) * x.ndim)


def flip(x: Any, /, axis: int | tuple[int, ...] | None = None) -> Array:
    """Elements in reverse order along the named axes, or along all."""
    x = as_array(x, "flip")
    axes = normalize_axes(axis, x.ndim, "flip")
    return ops.flip_p.bind(x, axes=axes) if axes else x


def roll(x: Any, /, shift: int | tuple[int, ...], axis: int | tuple[int, ...] | None = None) -> Array:
    """Elements moved round by `shift` places along each named axis; without one, in row-major order.

    Raises:
        ShapeError: the numbers of shifts and axes differ.

    Example:
        >>> wg.roll(wg.arange(4), 1)
        Array([3, 0, 1, 2], dtype=int64)
    """
    x = as_array(x, "roll")
    if axis is None:
        if not isinstance(shift, (int, np.integer)):
            raise ShapeError(f"roll: several shifts {shift} need as many axes{at_user_line()}")
        return ops.reshape(_rolled(ops.reshape(x, (x.size,)), 0, int(shift)), x.shape)
    axes = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    shifts = (shift,) * len(axes) if isinstance(shift, (int, np.integer)) else tuple(shift)
    if len(axes) != len(shifts):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes{at_user_line()}")
    for a, s in zip(axes, shifts, strict=True):
        x = _rolled(x, normalize_axis(a, x.ndim, "roll"), int(s))
    return x


def _rolled(x: Array, axis: int, shift: int) -> Array:
    n = x.shape[axis]
    if n == 0 or shift % n == 0:
        return x
    at = n - shift % n
    return ops.concat_p.bind(_cut(x, axis, at, n), _cut(x, axis, 0, at), axis=axis)


def tile(x: Any, repetitions: int | Sequence[int], /) -> Array:
    """The whole array repeated along each axis; the shorter of shape and `repetitions` is filled with 1 at the left.

    Example:
        >>> wg.tile(wg.arange(2), (2,))
        Array([0, 1, 0, 1], dtype=int64)
    """
    x = as_array(x, "tile")
    times = as_shape(repetitions, "tile")
    n = max(x.ndim, len(times))
    times = (1,) * (n - len(times)) + times
    shape = (1,) * (n - x.ndim) + x.shape
    x = ops.reshape(x, tuple(d for pair in zip((1,) * n, shape, strict=True) for d in pair))
    x = ops.broadcast_to(x, tuple(d for pair in zip(times, shape, strict=True) for d in pair))
    return ops.reshape(x, tuple(t * d for t, d in zip(times, shape, strict=True)))


def repeat(x: Any, repeats: Any, /, axis: int | None = None) -> Array:
    """Each element repeated along an axis; without one, the array is flattened first.

    Args:
        x: array of any shape.
        repeats: one integer, or one for each element along the axis. Several must be known without running the
            program, because the shape of the result depends on them.

    Raises:
        ShapeError: as many repeats as elements are needed.
        AbstractValueError: `repeats` is traced.

    Example:
        >>> wg.repeat(wg.arange(2), 2)
        Array([0, 0, 1, 1], dtype=int64)
    """
    x = as_array(x, "repeat")
    if axis is None:
        x, axis = ops.reshape(x, (x.size,)), 0
    at = normalize_axis(axis, x.ndim, "repeat")
    counts = np.asarray(concrete(as_array(repeats, "repeat"), "the repeats"))
    if counts.dtype.kind not in "iu" or counts.ndim > 1 or (counts.size and counts.min() < 0):
        raise ShapeError(f"repeat: repeats are integers of at least 0 along one axis, got {repeats!r}{at_user_line()}")
    if counts.size == 1:
        n = int(counts.reshape(()))
        x = ops.reshape(x, (*x.shape[: at + 1], 1, *x.shape[at + 1 :]))
        x = ops.broadcast_to(x, (*x.shape[: at + 1], n, *x.shape[at + 2 :]))
        return ops.reshape(x, (*x.shape[:at], x.shape[at] * n, *x.shape[at + 2 :]))
    if counts.size != x.shape[at]:
        raise ShapeError(f"repeat: {counts.size} repeats for {x.shape[at]} elements along axis {at}{at_user_line()}")
    if counts.size == 0:
        return x
    parts = [_stretched(_cut(x, at, i, i + 1), at, int(n)) for i, n in enumerate(counts)]
    return ops.concat_p.bind(*parts, axis=at)


def _stretched(x: Array, axis: int, n: int) -> Array:
    return ops.broadcast_to(x, (*x.shape[:axis], n, *x.shape[axis + 1 :]))
