"""Elements at given positions along one axis, and positions as vectors of zeros with a one."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.array.indexing import check_range
from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import DEFAULT_FLOAT, as_dtype, broadcast_shapes, normalize_axis
from wengert.ops.compare import equal
from wengert.ops.index import along_axis, gather, iota
from wengert.ops.promote import as_array, convert
from wengert.ops.shape import broadcast_to, permute, reshape
from wengert.source import at_user_line


def _positions(indices: Any, what: str) -> Array:
    if isinstance(indices, (list, tuple)) and not len(indices):
        return Array(np.zeros(0, np.int64))
    a = as_array(indices, what)
    if a.dtype.kind not in "iu":
        raise DTypeError(f"{what}: the indices are {a.type!r}; expected integers{at_user_line()}")
    return a


def take(x: Any, indices: Any, /, axis: int | None = None) -> Array:
    """The elements of `x` at positions `indices` along `axis`.

    Args:
        x: array with at least one axis.
        indices: integers of any shape; negative ones count from the end.
        axis: the axis to take along; it may be left out if there is only one.

    Returns:
        An array of the shape of `x` with the shape of `indices` in place of the axis.

    Raises:
        ShapeError: an index is out of range (where its number is known; a traced one is clipped), or the axis does not
            exist.
        DTypeError: the indices are no integers.
        ArgumentError: no axis given for an array of several.

    Example:
        >>> wg.take(wg.asarray([10.0, 20.0, 30.0]), wg.asarray([2, 0]))
        Array([30., 10.], dtype=float32)
    """
    x, positions = as_array(x, "take"), _positions(indices, "take")
    if axis is None:
        if x.ndim != 1:
            raise ArgumentError(f"take from an array of shape {x.shape}: name the axis{at_user_line()}")
        axis = 0
    axis = normalize_axis(axis, x.ndim, "take")
    check_range(positions, axis, x.shape)
    out, n = gather(x, [positions], (axis,)), positions.ndim
    return permute(out, (*range(n, n + axis), *range(n), *range(n + axis, out.ndim)))


def take_along_axis(x: Any, indices: Any, /, axis: int = -1) -> Array:
    """`out[…, i, …] = x[…, indices[…, i, …], …]`: for each line along `axis` its own positions (of `argsort`, say).

    Args:
        x: array of n axes.
        indices: integers of n axes; lengths are equal or 1 except along `axis`, where they are free.
        axis: the axis to take along.

    Returns:
        An array of the broadcast shape, with the length of `indices` along `axis`.

    Raises:
        ShapeError: shapes do not fit, or an index is out of range (where its number is known; a traced one is clipped).
        DTypeError: the indices are no integers.

    Example:
        >>> x = wg.asarray([[3.0, 1.0], [2.0, 4.0]])
        >>> wg.take_along_axis(x, wg.argsort(x), axis=-1)
        Array([[1., 3.],
               [2., 4.]], dtype=float32)
    """
    x, positions = as_array(x, "take_along_axis"), _positions(indices, "take_along_axis")
    if x.ndim != positions.ndim:
        raise ShapeError(
            f"take_along_axis: {x.ndim} axes of shape {x.shape}, but indices of shape {positions.shape}{at_user_line()}"
        )
    axis = normalize_axis(axis, x.ndim, "take_along_axis")
    check_range(positions, axis, x.shape)
    one = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    wide = broadcast_shapes([one, (*positions.shape[:axis], 1, *positions.shape[axis + 1 :])], "take_along_axis")
    positions = broadcast_to(positions, (*wide[:axis], positions.shape[axis], *wide[axis + 1 :]))
    x = broadcast_to(x, (*wide[:axis], x.shape[axis], *wide[axis + 1 :]))
    return gather(x, along_axis(positions, axis), tuple(range(x.ndim)))


def one_hot(x: Any, num_classes: int, *, dtype: Any = DEFAULT_FLOAT, axis: int = -1) -> Array:
    """Zeros with a 1 at position `x` along a new axis of length `num_classes`; only zeros where `x` is outside.

    Args:
        x: integers of any shape.
        num_classes: length of the new axis, a Python integer.
        dtype: type of the result.
        axis: where the new axis stands in the result.

    Raises:
        DTypeError: `x` holds no integers.

    Example:
        >>> wg.one_hot(wg.asarray([0, 2]), 3)
        Array([[1., 0., 0.],
               [0., 0., 1.]], dtype=float32)
    """
    x = _positions(x, "one_hot")
    if not isinstance(num_classes, (int, np.integer)) or isinstance(num_classes, bool) or num_classes < 0:
        raise ArgumentError(f"one_hot: num_classes is a Python integer, got {num_classes!r}{at_user_line()}")
    at = normalize_axis(axis, x.ndim + 1, "one_hot")
    x = reshape(x, (*x.shape[:at], 1, *x.shape[at:]))
    return convert(equal(x, iota(int(num_classes), at, x.ndim)), as_dtype(dtype))
