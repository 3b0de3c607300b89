"""Products: linear and bilinear maps, with PyTorch's weight layout."""

from __future__ import annotations

from typing import Any

from wengert.errors import ShapeError
from wengert.ir.array import Array
from wengert.nn.functional.inputs import as_input
from wengert.ops.contract import dot_general
from wengert.ops.promote import as_array
from wengert.source import at_user_line


def linear(x: Any, weight: Any, bias: Any = None) -> Array:
    """`x Wᵀ + b`.

    Args:
        x: array of shape (…, in).
        weight: (out, in), or (in,) for one output without an axis.
        bias: (out,), or None.

    Returns:
        An array of shape (…, out).

    Raises:
        ShapeError: `x` and `weight` have different numbers of features.
        DTypeError: they have different types.

    Example:
        >>> nn.functional.linear(wg.ones((1, 2)), wg.asarray([[1.0, 2.0]]))
        Array([[3.]], dtype=float32)
    """
    weight = as_array(weight, "linear: the weight")
    x = as_input(x, weight, "linear")
    if weight.ndim not in (1, 2) or x.ndim < 1 or x.shape[-1] != weight.shape[-1]:
        raise ShapeError(
            f"linear: the input of shape {x.shape} has {x.shape[-1] if x.ndim else 'no'} features, the weight of shape "
            f"{weight.shape} expects {weight.shape[-1] if weight.ndim else 'none'}{at_user_line()}"
        )
    out = dot_general(x, weight, ((), ()), ((x.ndim - 1,), (weight.ndim - 1,)))
    return out if bias is None else out + bias


def bilinear(x1: Any, x2: Any, weight: Any, bias: Any = None) -> Array:
    """`yₖ = x₁ᵀ Wₖ x₂ + bₖ`.

    Args:
        x1, x2: arrays of shapes (…, in1) and (…, in2), with equal axes in front.
        weight: (out, in1, in2).
        bias: (out,), or None.

    Returns:
        An array of shape (…, out).
    """
    weight = as_array(weight, "bilinear: the weight")
    x1, x2 = as_input(x1, weight, "bilinear"), as_input(x2, weight, "bilinear")
    if weight.ndim != 3 or (x1.shape[-1:], x2.shape[-1:]) != (weight.shape[1:2], weight.shape[2:]):
        raise ShapeError(
            f"bilinear: inputs of shapes {x1.shape} and {x2.shape}, but a weight of shape {weight.shape}; expected "
            f"(…, in1), (…, in2) and (out, in1, in2){at_user_line()}"
        )
    if x1.shape[:-1] != x2.shape[:-1]:
        raise ShapeError(
            f"bilinear: inputs of shapes {x1.shape} and {x2.shape} differ in front of their features{at_user_line()}"
        )
    left = dot_general(x1, weight, ((), ()), ((x1.ndim - 1,), (1,)))  # (…, out, in2)
    lead = tuple(range(x2.ndim - 1))
    out = dot_general(left, x2, (lead, lead), ((left.ndim - 1,), (x2.ndim - 1,)))
    return out if bias is None else out + bias
