"""Running sums and products in the standard's types, and differences of neighbours."""

from __future__ import annotations

from typing import Any

from wengert.array.manipulation import concat
from wengert.array.reductions import widened
from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import normalize_axis
from wengert.ops import cumulative as ops
from wengert.ops.arithmetic import subtract
from wengert.ops.compare import not_equal
from wengert.ops.promote import as_array
from wengert.ops.shape import reshape, slice_p
from wengert.source import at_user_line


def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False, reverse: bool = False
) -> Array:
    """The running sum `y[i] = x[0] + … + x[i]` along an axis.

    Args:
        x: array of at least one axis.
        axis: the axis to run along; it may be left out if there is only one.
        dtype: the type to sum in; by default floats keep theirs, integers and booleans become int64 (or uint64).
        include_initial: put a 0 before the first element, so that the axis is longer by 1.
        reverse: run from the end.

    Raises:
        ArgumentError: no axis given for an array of several axes.
        ShapeError: the axis does not exist.

    Example:
        >>> wg.cumulative_sum(wg.asarray([1.0, 2.0, 3.0]))
        Array([1., 3., 6.], dtype=float32)
    """
    x = widened(x, dtype, "cumulative_sum")
    return ops.cumulative_sum(x, axis=axis, include_initial=include_initial, reverse=reverse)


def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False, reverse: bool = False
) -> Array:
    """The running product `y[i] = x[0]·…·x[i]` along an axis; arguments and errors as for `cumulative_sum`.

    With `include_initial` a 1 stands before the first element. The derivative is right also where elements are 0.
    """
    x = widened(x, dtype, "cumulative_prod")
    return ops.cumulative_prod(x, axis=axis, include_initial=include_initial, reverse=reverse)


def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Array:
    """NumPy's spelling of `cumulative_sum`; without an axis the array is flattened first."""
    x = as_array(x, "cumsum")
    return cumulative_sum(reshape(x, (x.size,)) if axis is None else x, axis=axis, dtype=dtype)


def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Array:
    """NumPy's spelling of `cumulative_prod`; without an axis the array is flattened first."""
    x = as_array(x, "cumprod")
    return cumulative_prod(reshape(x, (x.size,)) if axis is None else x, axis=axis, dtype=dtype)


def diff(x: Any, /, n: int = 1, axis: int = -1, *, prepend: Any = None, append: Any = None) -> Array:
    """The differences `x[i+1] - x[i]` along an axis, taken `n` times; of booleans, whether neighbours differ.

    Args:
        x: array of at least one axis.
        axis: the axis to run along.
        n: how often.
        prepend, append: arrays put before and behind `x` first.

    Raises:
        ShapeError: a single number, or an axis that does not exist.
        ArgumentError: negative `n`.

    Example:
        >>> wg.diff(wg.asarray([1, 4, 9]))
        Array([3, 5], dtype=int64)
    """
    if n < 0:
        raise ArgumentError(f"diff: n is {n}, expected 0 or more{at_user_line()}")
    x = as_array(x, "diff")
    if x.ndim == 0:
        raise ShapeError(f"diff: a single number (shape ()) has no neighbours{at_user_line()}")
    at = normalize_axis(axis, x.ndim, "diff")
    parts = [p for p in (prepend, x, append) if p is not None]
    if len(parts) > 1:
        x = concat(parts, axis=at)
    step = not_equal if x.dtype.kind == "b" else subtract
    for _ in range(min(n, x.shape[at])):
        x = step(_part(x, at, 1, x.shape[at]), _part(x, at, 0, x.shape[at] - 1))
    return x


def _part(x: Array, axis: int, start: int, stop: int) -> Array:
    lengths = [(start, stop) if k == axis else (0, d) for k, d in enumerate(x.shape)]
    begin, end = zip(*lengths, strict=True)
    return slice_p.bind(x, start=begin, stop=end, step=(1,) * x.ndim)
