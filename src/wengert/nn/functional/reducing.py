"""What losses share: how the terms become one number, and how labels select."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.errors import ArgumentError, OutOfRangeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.claims import claim
from wengert.ops.promote import as_array
from wengert.source import at_user_line


def reduce_terms(terms: Array, reduction: str, what: str, weight: Any = None) -> Array:
    """The mean or the sum of the terms of a loss, or the terms themselves ("none"); the mean by `weight`, if given."""
    check_reduction(reduction, what)
    if weight is not None:
        weight = as_array(weight, f"{what}: the weight")
        if weight.shape != terms.shape:
            raise ShapeError(f"{what}: the weight has shape {weight.shape}, the input {terms.shape}{at_user_line()}")
        total = reduce_terms(terms * weight, "sum" if reduction == "mean" else reduction, what)
        return total / weight.sum() if reduction == "mean" else total
    if reduction == "none":
        return terms
    if reduction == "sum":
        return terms.sum()
    if terms.size == 0:
        raise ShapeError(f"{what}: the mean of an empty batch (terms of shape {terms.shape}){at_user_line()}")
    return terms.mean()


def check_reduction(reduction: Any, what: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f'{what}: reduction is {reduction!r}; expected "mean", "sum" or "none"{at_user_line()}')


def check_labels(labels: Array, classes: int, what: str, ignore_index: int | None = None) -> None:
    """Refuse labels outside 0 … classes - 1: at once where their numbers are known, else where the loss is NaN."""
    line = at_user_line()

    def complaint(values: np.ndarray) -> OutOfRangeError | None:
        if ignore_index is not None:
            values = values[values != ignore_index]
        if not values.size or 0 <= values.min() <= values.max() < classes:
            return None
        return OutOfRangeError(
            f"{what}: labels lie between {values.min()} and {values.max()}, but there are {classes} classes, counted "
            f"from 0 to {classes - 1}{line}"
        )

    claim(labels, complaint)


def same_shape(x: Any, y: Any, what: str) -> tuple[Array, Array]:
    """Input and target as arrays of one shape; they are not stretched, which is nearly always a slip."""
    x, y = as_array(x, what), as_array(y, what)
    if x.shape != y.shape and x.ndim and y.ndim:
        raise ShapeError(
            f"{what}: the input has shape {x.shape}, the target {y.shape}; expected the same (reshape one of them)"
            + at_user_line()
        )
    return x, y
