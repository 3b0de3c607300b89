"""Products of matrices and vectors, over the one contraction primitive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.errors import ShapeError
from wengert.ir.array import Array
from wengert.ir.types import broadcast_shapes, normalize_axis
from wengert.ops import contract
from wengert.ops.complex import conj
from wengert.ops.promote import promote
from wengert.ops.shape import broadcast_to, move_axis
from wengert.source import at_user_line


def matmul(x1: Any, x2: Any, /) -> Array:
    """The matrix product `Σ_k x1[…, i, k] · x2[…, k, j]`; leading axes broadcast, one-dimensional operands are vectors.

    Args:
        x1: array of shape (…, m, k) or (k,).
        x2: array of shape (…, k, n) or (k,).

    Returns:
        An array of shape (…, m, n), without the axis of a vector operand.

    Raises:
        ShapeError: the inner lengths differ, leading axes do not broadcast, or an operand is a single number.

    Example:
        >>> wg.matmul(wg.ones((2, 3)), wg.ones(3))
        Array([3., 3.], dtype=float32)
    """
    return contract.matmul(*promote("matmul", (x1, x2)))


def tensordot(x1: Any, x2: Any, /, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Array:
    """The product summed over several axes: the last `axes` of `x1` with the first of `x2`, or the axes of two lists.

    Returns:
        An array with the remaining axes of `x1`, then those of `x2`.

    Raises:
        ShapeError: paired axes differ in length or in number.

    Example:
        >>> wg.tensordot(wg.ones((2, 3)), wg.ones((3, 4)), axes=1).shape
        (2, 4)
    """
    a, b = promote("tensordot", (x1, x2))
    if isinstance(axes, int):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise ShapeError(f"tensordot: {axes} axes of shapes {a.shape} and {b.shape}{at_user_line()}")
        left, right = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        left, right = (
            tuple(normalize_axis(i, x.ndim, "tensordot") for i in side) for x, side in zip((a, b), axes, strict=True)
        )
        if len(left) != len(right):
            raise ShapeError(
                f"tensordot: {len(left)} axes of the first with {len(right)} of the second{at_user_line()}"
            )
    return contract.dot_general(a, b, ((), ()), (left, right))


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    """`Σ conj(x1) · x2` over one axis; the others broadcast.

    Raises:
        ShapeError: the lengths of the axis differ, or the other axes do not broadcast.

    Example:
        >>> wg.vecdot(wg.asarray([1.0, 2.0]), wg.asarray([3.0, 4.0]))
        Array(11., dtype=float32)
    """
    a, b = promote("vecdot", (x1, x2))
    a, b = (move_axis(x, normalize_axis(axis, x.ndim, "vecdot"), x.ndim - 1) for x in (a, b))
    if a.shape[-1] != b.shape[-1]:
        raise ShapeError(
            f"vecdot: lengths {a.shape[-1]} and {b.shape[-1]} along axis {axis} must be equal{at_user_line()}"
        )
    shape = broadcast_shapes([a.shape, b.shape], "vecdot")
    lead = tuple(range(len(shape) - 1))
    last = ((len(lead),), (len(lead),))
    return contract.dot_general(broadcast_to(conj(a), shape), broadcast_to(b, shape), (lead, lead), last)


def outer(x1: Any, x2: Any, /) -> Array:
    """`x1[i] · x2[j]` of two vectors.

    Raises:
        ShapeError: an operand has not just one axis.
    """
    a, b = promote("outer", (x1, x2))
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(f"outer: vectors are wanted, got shapes {a.shape} and {b.shape}{at_user_line()}")
    return contract.dot_general(a, b, ((), ()), ((), ()))
