"""The distinct elements of an array.

The shapes of the results depend on the numbers, so these functions work eagerly only: inside `jit` and `vmap` they
raise `AbstractValueError`. Derivatives pass through the values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from wengert.ir.array import Array, concrete
from wengert.ops.promote import as_array
from wengert.ops.shape import reshape


class UniqueAll(NamedTuple):
    """What `wg.unique_all` returns."""

    values: Array
    indices: Array
    inverse_indices: Array
    counts: Array


class UniqueCounts(NamedTuple):
    """What `wg.unique_counts` returns."""

    values: Array
    counts: Array


class UniqueInverse(NamedTuple):
    """What `wg.unique_inverse` returns."""

    values: Array
    inverse_indices: Array


def unique_all(x: Any, /) -> UniqueAll:
    """The distinct elements in increasing order, where each stands first, which of them stands where, how often each.

    Every NaN is distinct. `values[inverse_indices]` is `x`.

    Returns:
        `(values, indices, inverse_indices, counts)`; the indices are int64 and count in row-major order.

    Raises:
        AbstractValueError: the numbers are not known.

    Example:
        >>> wg.unique_all(wg.asarray([3, 1, 3])).counts
        Array([1, 2], dtype=int64)
    """
    x = as_array(x, "unique")
    numbers = np.asarray(concrete(x, "the distinct elements")).reshape(-1)
    _, first, inverse, counts = np.unique(
        numbers, return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    indices = Array(first.astype(np.int64))
    flat = reshape(x, (x.size,))
    values = Array(numbers[first]) if x.trace is None else flat[indices]  # type: ignore[index]
    return UniqueAll(values, indices, Array(inverse.reshape(x.shape).astype(np.int64)), Array(counts.astype(np.int64)))


def unique_counts(x: Any, /) -> UniqueCounts:
    """The distinct elements in increasing order, and how often each occurs; see `unique_all`."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Any, /) -> UniqueInverse:
    """The distinct elements in increasing order, and which of them stands where in `x`; see `unique_all`."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Any, /) -> Array:
    """The distinct elements in increasing order; see `unique_all`.

    Example:
        >>> wg.unique_values(wg.asarray([3, 1, 3]))
        Array([1, 3], dtype=int64)
    """
    return unique_all(x).values
