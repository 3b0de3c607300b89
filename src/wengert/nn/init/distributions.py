"""Initial values drawn element by element: `shape` or an array like the result comes first, `key` says which draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ir.types import DEFAULT_FLOAT, Shape, as_dtype
from wengert.nn.seed import next_key
from wengert.ops.promote import convert
from wengert.random import continuous
from wengert.random.keys import as_shape
from wengert.source import at_user_line


def shape_and_dtype(like: Any, dtype: Any, what: str) -> tuple[Shape, np.dtype]:
    """Shape and type of a result that is described by an array or a shape."""
    if hasattr(like, "shape") and hasattr(like, "dtype") and not isinstance(like, np.integer):
        return tuple(like.shape), as_dtype(like.dtype if dtype is None else dtype)
    return as_shape(like, f"init.{what}"), DEFAULT_FLOAT if dtype is None else as_dtype(dtype)


def uniform(like: Any, a: float = 0.0, b: float = 1.0, *, key: Any = None, dtype: Any = None) -> Array:
    """Uniform in [a, b).

    Args:
        like: the shape of the result, or an array whose shape and type it gets.
        key: a random key or seed; by default the next of the package's (`nn.manual_seed`).
        dtype: float32 by default, or that of `like`.
    """
    shape, dtype = shape_and_dtype(like, dtype, "uniform")
    return continuous.uniform(next_key(key), shape, dtype, a, b)


def normal(like: Any, mean: float = 0.0, std: float = 1.0, *, key: Any = None, dtype: Any = None) -> Array:
    """Normal with a mean and a standard deviation; arguments as for `uniform`."""
    shape, dtype = shape_and_dtype(like, dtype, "normal")
    return mean + std * continuous.normal(next_key(key), shape, dtype)


def trunc_normal(
    like: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, *, key: Any = None,
    dtype: Any = None,
) -> Array:  # fmt: skip
    """Normal given that the result lies in [a, b] (not in units of `std`, as in PyTorch)."""
    shape, dtype = shape_and_dtype(like, dtype, "trunc_normal")
    if not a < b:
        raise ArgumentError(f"init.trunc_normal: a = {a} is not below b = {b}{at_user_line()}")
    z = continuous.truncated_normal(next_key(key), (a - mean) / std, (b - mean) / std, shape, dtype)
    return convert(mean + std * z, dtype)


def constant(like: Any, val: float, *, dtype: Any = None) -> Array:
    """`val` everywhere."""
    shape, dtype = shape_and_dtype(like, dtype, "constant")
    return Array(np.full(shape, val, dtype))


def zeros(like: Any, *, dtype: Any = None) -> Array:
    """0 everywhere."""
    return constant(like, 0.0, dtype=dtype)


def ones(like: Any, *, dtype: Any = None) -> Array:
    """1 everywhere."""
    return constant(like, 1.0, dtype=dtype)
