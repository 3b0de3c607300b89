"""Zero tangents and cotangents. A zero that is known to be zero is None, and costs nothing."""

from __future__ import annotations

import numpy as np

from wengert.ir.array import Array, WeakArray
from wengert.ir.types import ArrayType
from wengert.ops.promote import number
from wengert.ops.shape import broadcast_to


def filled(value: float, type: ArrayType) -> Array:
    """An array of one repeated number, stored once."""
    if type.weak:
        one: Array = WeakArray(type.dtype.type(value))
    else:
        one = number(value, type.dtype)
    return broadcast_to(one, type.shape)


def zeros(type: ArrayType) -> Array:
    return filled(0, type)


def zeros_like(x: Array) -> Array:
    """Zeros of the type of `x`, also where its length is known only at run time."""
    if all(isinstance(d, (int, np.integer)) for d in x.shape):
        return filled(0, x.type)
    return x * 0


def ones_like(x: Array) -> Array:
    return number(1, x.dtype) if x.shape == () and not x.weak else filled(1, x.type)
