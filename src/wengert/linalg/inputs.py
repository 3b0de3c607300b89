"""What users pass to linear algebra, made into arrays of one floating type."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.errors import ShapeError
from wengert.ir.array import Array
from wengert.ir.types import ArrayType, float_dtype, real_dtype
from wengert.ops.linalg.matrix import check_matrix
from wengert.ops.promote import convert, promote
from wengert.ops.shape import broadcast_to
from wengert.source import at_user_line


def floating(name: str, *args: Any) -> list[Array]:
    """The arguments as arrays of one floating type; integers become the default float."""
    arrays = promote(name, args)
    dtype = float_dtype(arrays[0].dtype, arrays[0].weak)
    return [convert(a, dtype, a.weak) for a in arrays]


def matrices(name: str, x: Any, square: bool = False) -> Array:
    """One stack of matrices."""
    (a,) = floating(name, x)
    check_matrix(name, a.type, square)
    return a


def tolerance(name: str, rtol: Any, x: ArrayType) -> Array:
    """The relative tolerance for each matrix: by default, the larger of its lengths times machine epsilon."""
    dtype = real_dtype(x.dtype)
    if rtol is None:
        rtol = max(x.shape[-2:]) * float(np.finfo(dtype).eps)
    (a,) = floating(name, rtol)
    lead = x.shape[:-2]
    if a.ndim > len(lead) or any(d not in (1, n) for d, n in zip(a.shape[::-1], lead[::-1], strict=False)):
        raise ShapeError(
            f"{name}: rtol of shape {a.shape} for matrices of shape {x.shape}; it broadcasts against {lead}"
            + at_user_line()
        )
    return broadcast_to(convert(a, dtype), lead)
