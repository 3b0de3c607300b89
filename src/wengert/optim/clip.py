"""Gradient clipping: by value, by norm, by global norm, and by unit. All take and return a tree of gradients."""

from __future__ import annotations

from typing import Any

from wengert import tree
from wengert.array.elementwise import abs as absolute
from wengert.array.elementwise import maximum, minimum, sqrt
from wengert.array.manipulation import stack
from wengert.array.reductions import max as largest
from wengert.array.reductions import sum as total
from wengert.array.searching import where
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ops.promote import as_array, as_setting
from wengert.optim.parameters import matching_gradients, slots
from wengert.source import at_user_line

__all__ = ["adaptive_clip", "clip_by_global_norm", "clip_by_norm", "clip_by_value", "global_norm"]

_TINY = 1e-6  # PyTorch's, so that a gradient of zeros is not divided by 0


def clip_by_value(grads: Any, low: float, high: float | None = None) -> Any:
    """Each number of the gradients, cut off at `-low` and `low`, or at `low` and `high`.

    Args:
        grads: a tree of arrays.
        low: the largest size; with `high`, the smallest value.
        high: the largest value.

    Raises:
        ArgumentError: the bounds are in the wrong order.

    Example:
        >>> grads = optim.clip_by_value(grads, 0.5)
    """
    below, above = as_setting((-low, low) if high is None else (low, high))
    if not below <= above:
        raise ArgumentError(f"clip_by_value: the bounds are {below} and {above}{at_user_line()}")
    return tree.map(lambda g: minimum(maximum(g, below), above), grads)


def clip_by_norm(grads: Any, max_norm: Any) -> Any:
    """Each array of the gradients, scaled down where its own 2-norm is above `max_norm`: `g · min(1, max_norm/‖g‖)`.

    Example:
        >>> grads = optim.clip_by_norm(grads, 1.0)
    """
    max_norm = _positive(max_norm, "clip_by_norm")
    return tree.map(lambda g: g * minimum(max_norm / (sqrt(_squares(g)) + _TINY), 1.0), grads)


def global_norm(grads: Any, norm_type: float = 2.0) -> Array:
    """The norm of all gradients as one vector: `(Σ |gᵢ|ᵖ)^(1/p)`, p = norm_type, which may be `inf`."""
    leaves = [as_array(g) for g in tree.leaves(grads)]
    if not leaves:
        raise ArgumentError(
            f"global_norm: there is no array in the gradients, a {type(grads).__name__}{at_user_line()}"
        )
    if norm_type == float("inf"):
        return largest(stack([largest(absolute(g)) for g in leaves]))
    if norm_type == 2:
        return sqrt(sum([_squares(g) for g in leaves[1:]], start=_squares(leaves[0])))
    return sum(
        [total(absolute(g) ** norm_type) for g in leaves[1:]], start=total(absolute(leaves[0]) ** norm_type)
    ) ** (1 / norm_type)


def clip_by_global_norm(grads: Any, max_norm: Any, norm_type: float = 2.0) -> tuple[Any, Array]:
    """The gradients, scaled down together where their common norm is above `max_norm`; and that norm.

    `g · min(1, max_norm / (norm + 1e-6))`, as PyTorch's `clip_grad_norm_`.

    Args:
        grads: a tree of arrays.
        max_norm: the largest norm that stays as it is.
        norm_type: the p of the norm; `inf` for the largest size.

    Returns:
        `(grads, norm)`: the norm is the one before clipping.

    Example:
        >>> grads, norm = optim.clip_by_global_norm(grads, 1.0)

    Source: Pascanu, Mikolov, Bengio 2013, *On the difficulty of training recurrent neural networks* (arXiv 1211.5063).
    """
    max_norm = _positive(max_norm, "clip_by_global_norm")
    norm = global_norm(grads, norm_type)
    factor = minimum(max_norm / (norm + _TINY), 1.0)
    return tree.map(lambda g: g * factor, grads), norm


def adaptive_clip(model: Any, grads: Any, clipping: float = 0.01, eps: float = 1e-3) -> Any:
    """Gradients clipped by unit: where `‖gᵢ‖ > clipping · max(‖wᵢ‖, eps)`, gᵢ is scaled down to that.

    A unit is an output of a layer: a row of a matrix, a filter of a convolution (all axes but the first); a vector
    counts as a whole.

    Args:
        model: what the gradients belong to.
        grads: gradients of the model.
        clipping: the largest share of its weights' norm that a unit's gradient may have.
        eps: what weights count at least, so that parameters at zero can move.

    Raises:
        ArgumentError: gradients of another tree.

    Source: Brock et al. 2021, *High-performance large-scale image recognition…* (arXiv 2102.06171), section 4.
    """

    clipping, eps = as_setting((clipping, eps))

    def by_unit(w: Any, g: Any) -> Any:
        if g is None:
            return None
        most = clipping * maximum(_unit_norm(as_array(w)), eps)
        norm = _unit_norm(as_array(g))
        return where(norm > most, g * (most / maximum(norm, _TINY)), g)

    every = slots(model)
    found = matching_gradients(model, every, grads)
    by_leaf = {id(s.value): (g if s.buffer else by_unit(s.value, g)) for s, g in zip(every, found, strict=True)}
    leaves, treedef = tree.flatten(model)
    return tree.unflatten(treedef, [by_leaf.get(id(leaf)) for leaf in leaves])


def _unit_norm(x: Array) -> Array:
    axes = tuple(range(1, x.ndim)) if x.ndim > 1 else None
    return sqrt(_squares(x, axes, keepdims=x.ndim > 1))


def _squares(g: Array, axis: Any = None, keepdims: bool = False) -> Array:
    size = absolute(g) if as_array(g).dtype.kind == "c" else g
    return total(size * size, axis=axis, keepdims=keepdims)


def _positive(max_norm: Any, what: str) -> Any:
    max_norm = as_setting(max_norm)
    if isinstance(max_norm, (int, float)) and not max_norm > 0:
        raise ArgumentError(f"{what}: the largest norm is {max_norm}; expected a number above 0{at_user_line()}")
    return max_norm
