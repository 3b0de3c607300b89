"""Losses of regression and of pairs: squared, absolute and Huber's, Gaussian, Poisson, margins and cosines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.diff.stop_gradient import stop_gradient_p
from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.scope import region
from wengert.linalg.norms import vector_norm
from wengert.nn.functional.inputs import as_floating, as_input, as_integers
from wengert.nn.functional.reducing import check_labels, reduce_terms, same_shape
from wengert.ops.arithmetic import abs_, maximum
from wengert.ops.compare import select
from wengert.ops.index import iota
from wengert.ops.promote import as_array, convert
from wengert.ops.shape import reshape
from wengert.ops.transcendental import exp, log, softplus, sqrt
from wengert.source import at_user_line


def _pair(input: Any, target: Any, what: str) -> tuple[Array, Array]:
    x, y = same_shape(as_floating(input, what), target, what)
    return x, as_input(y, x, what, "the target", "the input")


@region("loss")
def mse_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Array:
    """`(x - y)²`, the mean by a weight for each element if one is given."""
    x, y = _pair(input, target, "mse_loss")
    d = x - y
    return reduce_terms(d * d, reduction, "mse_loss", weight)


@region("loss")
def l1_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Array:
    """`|x - y|`, weighted as `mse_loss`; the derivative at 0 is 0."""
    x, y = _pair(input, target, "l1_loss")
    return reduce_terms(abs_(x - y), reduction, "l1_loss", weight)


@region("loss")
def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Array:
    """`d²/2β` where `|d| < β`, else `|d| - β/2`, for `d = x - y`."""
    if beta < 0:
        raise ArgumentError(f"smooth_l1_loss: beta is {beta}; expected at least 0{at_user_line()}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    x, y = _pair(input, target, "smooth_l1_loss")
    d = abs_(x - y)
    return reduce_terms(select(d < beta, d * d * (0.5 / beta), d - 0.5 * beta), reduction, "smooth_l1_loss")


@region("loss")
def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Array:
    """`d²/2` where `|d| ≤ δ`, else `δ (|d| - δ/2)`, for `d = x - y`; times a weight for each element, if given.

    Huber 1964, *Robust estimation of a location parameter* (doi 10.1214/aoms/1177703732).
    """
    if delta <= 0:
        raise ArgumentError(f"huber_loss: delta is {delta}; expected a positive number{at_user_line()}")
    x, y = _pair(input, target, "huber_loss")
    d = abs_(x - y)
    terms = select(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta))
    return reduce_terms(terms if weight is None else terms * weight, reduction, "huber_loss")


@region("loss")
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Array:
    """`(log v + (x - y)²/v) / 2` with `v = max(var, eps)`; with `full`, plus `log(2π)/2`.

    The variance is of the shape of the input, or lacks its last axis or has length 1 there. The derivative by `var` is
    as if there were no bound (Nix and Weigend 1994, doi 10.1109/ICNN.1994.374138).
    """
    what = "gaussian_nll_loss"
    x, y = _pair(input, target, what)
    v = as_input(var, x, what, "the variance", "the input")
    if v.shape != x.shape:
        if v.shape == x.shape[:-1]:
            v = reshape(v, (*v.shape, 1))
        elif v.ndim and v.shape != (*x.shape[:-1], 1):
            raise ShapeError(
                f"{what}: the variance has shape {v.shape}, the input {x.shape}; expected the same, or one variance "
                f"for each line of the last axis{at_user_line()}"
            )
    if v.trace is None and v.size and float(np.min(v.data)) < 0:
        raise ArgumentError(f"{what}: a variance is negative{at_user_line()}")
    v = v + stop_gradient_p.bind(maximum(v, eps) - v)
    d = x - y
    terms = 0.5 * (log(v) + d * d / v)
    return reduce_terms(terms + 0.5 * math.log(2 * math.pi) if full else terms, reduction, what)


@region("loss")
def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"
) -> Array:
    """`eˣ - y x`, or without `log_input` `x - y log(x + eps)`; with `full`, Stirling's terms where `y > 1`."""
    x, y = _pair(input, target, "poisson_nll_loss")
    terms = exp(x) - y * x if log_input else x - y * log(x + eps)
    if full:
        safe = select(y > 1, y, 1)
        terms = terms + select(y > 1, y * log(safe) - y + 0.5 * log(2 * math.pi * safe), 0)
    return reduce_terms(terms, reduction, "poisson_nll_loss")


@region("loss")
def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Array:
    """`x` where the target is 1, `max(0, margin - x)` where it is -1."""
    x, y = same_shape(as_floating(input, "hinge_embedding_loss"), target, "hinge_embedding_loss")
    return reduce_terms(select(y == 1, x, _positive_part(margin - x)), reduction, "hinge_embedding_loss")


@region("loss")
def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Array:
    """`max(0, -y (x₁ - x₂) + margin)`: 1 says that the first should be larger, -1 the second."""
    what = "margin_ranking_loss"
    x1, x2 = _pair(input1, input2, what)
    y = convert(as_array(target, what), x1.dtype)
    return reduce_terms(_positive_part(margin - y * (x1 - x2)), reduction, what)


@region("loss")
def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Array:
    """`Σ_{c≠y} max(0, margin - x_y + x_c)ᵖ / C`: the hinge loss of several classes.

    Args:
        input: scores of shape (N, C), or (C,).
        target: class indices (N,), or ().
        weight: a weight for each class, (C,).

    Crammer and Singer 2001, *On the algorithmic implementation of multiclass kernel-based vector machines*.
    """
    what = "multi_margin_loss"
    x, y = as_floating(input, what), as_integers(target, f"{what}: the labels")
    if x.ndim not in (1, 2) or y.shape != x.shape[:-1]:
        raise ShapeError(f"{what}: input {x.shape} and labels {y.shape}; expected (N, C) and (N,){at_user_line()}")
    n = x.shape[-1]
    check_labels(y, n, what)
    chosen = convert(reshape(y, (*y.shape, 1)), np.dtype(np.int64)) == iota(n, x.ndim - 1, x.ndim)
    own = select(chosen, x, 0).sum(axis=-1, keepdims=True)
    over = _positive_part(margin - own + x)
    over = select(chosen, 0, over if p == 1 else over**p)
    if weight is not None:
        over = over * select(chosen, as_input(weight, x, what, "the weight", "the input"), 0).sum(
            axis=-1, keepdims=True
        )
    return reduce_terms(over.sum(axis=-1) / n, reduction, what)


@region("loss")
def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Array:
    """`log(1 + e^(-y x))`, for targets 1 and -1."""
    x, y = same_shape(as_floating(input, "soft_margin_loss"), target, "soft_margin_loss")
    return reduce_terms(softplus(-convert(y, x.dtype) * x), reduction, "soft_margin_loss")


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Array:
    """`x₁·x₂ / (max(‖x₁‖, eps) max(‖x₂‖, eps))` along `dim`."""
    x1 = as_floating(x1, "cosine_similarity")
    x2 = as_input(x2, x1, "cosine_similarity", "the second", "the first")
    norms = [sqrt(maximum((x * x).sum(axis=dim), eps * eps)) for x in (x1, x2)]
    return (x1 * x2).sum(axis=dim) / (norms[0] * norms[1])


@region("loss")
def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Array:
    """`1 - cos(x₁, x₂)` where the target is 1, `max(0, cos(x₁, x₂) - margin)` where it is -1.

    Args:
        input1, input2: arrays of shape (N, D), or (D,).
        target: 1 or -1 for each pair, (N,) or ().
    """
    what = "cosine_embedding_loss"
    x1, x2 = _pair(input1, input2, what)
    y = as_array(target, what)
    if x1.ndim not in (1, 2) or y.shape != x1.shape[:-1]:
        raise ShapeError(
            f"{what}: inputs of shape {x1.shape} and a target of shape {y.shape}; expected (N, D) and (N,)"
            + at_user_line()
        )
    tiny = 1e-12  # PyTorch's
    squares = ((x1 * x1).sum(axis=-1) + tiny) * ((x2 * x2).sum(axis=-1) + tiny)
    cosine = (x1 * x2).sum(axis=-1) / sqrt(squares)
    return reduce_terms(select(y == 1, 1 - cosine, _positive_part(cosine - margin)), reduction, what)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Array:
    """`‖x₁ - x₂ + eps‖ₚ` along the last axis; p may be `inf`."""
    x1 = as_floating(x1, "pairwise_distance")
    d = x1 - as_input(x2, x1, "pairwise_distance", "the second", "the first") + eps
    return vector_norm(d, axis=-1, keepdims=keepdim, ord=p)


@region("loss")
def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
    swap: bool = False, reduction: str = "mean",
) -> Array:  # fmt: skip
    """`max(0, ‖a - p‖ - ‖a - n‖ + margin)`; with `swap`, the nearer of `‖a - n‖` and `‖p - n‖`."""
    what = "triplet_margin_loss"
    a, b = _pair(anchor, positive, what)
    a, c = _pair(a, negative, what)

    far = pairwise_distance(a, c, p, eps)
    if swap:
        other = pairwise_distance(b, c, p, eps)
        far = select(other < far, other, far)
    return reduce_terms(_positive_part(pairwise_distance(a, b, p, eps) - far + margin), reduction, what)


def _positive_part(x: Array) -> Array:
    return select(x <= 0, 0, x)
