"""Losses of several labels at once, and of triplets with any distance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.array.cumulative import cumulative_prod
from wengert.errors import ShapeError
from wengert.ir.array import Array
from wengert.ir.scope import region
from wengert.nn.functional.inputs import as_floating, as_input, as_integers
from wengert.nn.functional.reducing import check_labels, reduce_terms, same_shape
from wengert.nn.functional.regress import pairwise_distance
from wengert.ops import transcendental as t
from wengert.ops.compare import select
from wengert.ops.index import iota
from wengert.ops.promote import convert
from wengert.ops.shape import reshape
from wengert.source import at_user_line


@region("loss")
def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Array:
    """`-Σ_c w_c (y_c log σ(x_c) + (1 - y_c) log σ(-x_c)) / C`: binary cross entropies of C labels, averaged.

    Args:
        input: scores (N, C), or (C,).
        target: 0 or 1 for each.
        weight: a weight for each class, (C,).
    """
    what = "multilabel_soft_margin_loss"
    x, y = same_shape(as_floating(input, what), target, what)
    y = convert(y, x.dtype)
    terms = t.softplus(x) - x * y
    if weight is not None:
        terms = terms * as_input(weight, x, what, "the weight", "the input")
    return reduce_terms(terms.mean(axis=-1), reduction, what)


@region("loss")
def multilabel_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Array:
    """`Σ_{j in labels, i not} max(0, 1 - x_j + x_i) / C`: each label's score above every other's, by a margin.

    Args:
        input: scores (N, C), or (C,).
        target: integers of that shape: the labels of each example, ended by -1.

    Raises:
        OutOfRangeError: a label is no class, as for `cross_entropy`.
    """
    what = "multilabel_margin_loss"
    x, y = as_floating(input, what), as_integers(target, f"{what}: the labels")
    if x.shape != y.shape or x.ndim not in (1, 2):
        raise ShapeError(
            f"{what}: the input has shape {x.shape}, the labels {y.shape}; expected (N, C) or (C,) for both"
            + at_user_line()
        )
    n = x.shape[-1]
    named = cumulative_prod(convert(y >= 0, np.dtype(np.int64)), axis=-1) > 0  # up to the first -1
    y = select(named, convert(y, np.dtype(np.int64)), -1)
    check_labels(y, n, what, -1)
    fits = (reshape(y, (*y.shape, 1)) == iota(n, y.ndim, y.ndim + 1)) & reshape(named, (*named.shape, 1))
    own = select(fits, reshape(x, (*x.shape[:-1], 1, n)), 0).sum(axis=-1)  # the score of each label
    other = ~fits.any(axis=-2)
    over = 1 - reshape(own, (*own.shape, 1)) + reshape(x, (*x.shape[:-1], 1, n))
    counts = reshape(named, (*named.shape, 1)) & reshape(other, (*x.shape[:-1], 1, n)) & (over > 0)
    return reduce_terms(select(counts, over, 0).sum(axis=(-2, -1)) / n, reduction, what)


@region("loss")
def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Array:
    """`max(0, d(a, p) - d(a, n) + margin)` for a distance d of two arrays, by default `pairwise_distance`."""
    d = pairwise_distance if distance_function is None else distance_function
    near, far = d(anchor, positive), d(anchor, negative)
    if swap:
        other = d(positive, negative)
        far = select(other < far, other, far)
    over = near - far + margin
    return reduce_terms(select(over <= 0, 0, over), reduction, "triplet_margin_with_distance_loss")
