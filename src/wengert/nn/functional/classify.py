"""Losses of classifiers: cross entropy, negative log likelihood and their binary forms."""

from __future__ import annotations

from typing import Any

from wengert.array.special import xlogy
from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.scope import region
from wengert.nn.functional.inputs import as_floating, as_input
from wengert.nn.functional.reducing import check_labels, check_reduction, reduce_terms, same_shape
from wengert.ops import transcendental as t
from wengert.ops.arithmetic import maximum
from wengert.ops.compare import select
from wengert.ops.index import iota
from wengert.ops.logsumexp import log_softmax, peak_p
from wengert.ops.promote import as_array, convert
from wengert.ops.reduce import sum_p
from wengert.ops.shape import reshape
from wengert.source import at_user_line


@region("loss")
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """The cross entropy of `softmax(input)` against a target: `-Σ_c w_c q_c log softmax(x)_c`.

    Args:
        input: logits of shape (N, C, …), or (C,).
        target: class indices, integers of shape (N, …) or (); or probabilities q of the shape of `input`.
        weight: a weight for each class, (C,).
        ignore_index: examples with this label don't count (class indices only).
        reduction: "mean" (over the weights of the labels, as in PyTorch), "sum" or "none".
        label_smoothing: ε in [0, 1]; q becomes `(1 - ε) q + ε / C`.

    Returns:
        A number, or with "none" an array of shape (N, …).

    Raises:
        OutOfRangeError: a label is not a class. A program of `jit` says so at the end of the call that was given such
            labels; in the body of a loop, a branch or a checkpoint they only make the loss NaN.
        ShapeError, DTypeError: input and target do not belong together.

    Example:
        >>> nn.functional.cross_entropy(wg.zeros((1, 4)), wg.asarray([2]))
        Array(1.3862944, dtype=float32)
    """
    what = "cross_entropy"
    x, target, axis = _logits(input, target, what)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"{what}: label_smoothing is {label_smoothing}; expected 0 to 1{at_user_line()}")
    if target.dtype.kind == "f":
        return _against_probabilities(x, target, axis, _class_weight(weight, x, axis, what), reduction, label_smoothing)
    check_labels(target, x.shape[axis], what, ignore_index)
    shifted, total = _normalizer(x, axis)
    return _against_labels(shifted, total, target, axis, weight, ignore_index, reduction, label_smoothing, what)


@region("loss")
def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Array:
    """`-w_y · input_y` for log probabilities `input`; arguments as for `cross_entropy`, the target class indices."""
    x, target, axis = _logits(input, target, "nll_loss")
    if target.dtype.kind == "f":
        raise DTypeError(f"nll_loss: the target is {target.dtype.name}; expected integer class indices{at_user_line()}")
    check_labels(target, x.shape[axis], "nll_loss", ignore_index)
    return _against_labels(x, None, target, axis, weight, ignore_index, reduction, 0.0, "nll_loss")


def _logits(input: Any, target: Any, what: str) -> tuple[Array, Array, int]:
    """Input, target and the axis of classes, checked against each other."""
    x, target = as_floating(input, what), as_array(target, what)
    if x.ndim == 0:
        raise ShapeError(f"{what}: the input is a single number; expected shape (N, C, …){at_user_line()}")
    axis = 0 if x.ndim == 1 else 1
    if target.dtype.kind == "f":
        if target.shape != x.shape:
            hint = " (class indices must be integers)" if target.ndim < x.ndim else ""
            raise ShapeError(
                f"{what}: the input has shape {x.shape}, the target of probabilities {target.shape}; expected the "
                f"same{hint}{at_user_line()}"
            )
        return x, as_input(target, x, what, "the target", "the input"), axis
    if target.dtype.kind not in "iu":
        raise DTypeError(
            f"{what}: the target is {target.dtype.name}; expected class indices or probabilities{at_user_line()}"
        )
    if target.shape != (*x.shape[:axis], *x.shape[axis + 1 :]):
        raise ShapeError(
            f"{what}: the input has shape {x.shape}, so class indices are of shape "
            f"{(*x.shape[:axis], *x.shape[axis + 1 :])}, got {target.shape}{at_user_line()}"
        )
    return x, target, axis


def _normalizer(x: Array, axis: int) -> tuple[Array, Array]:
    """`x` less its largest along an axis, and `log Σ exp` of that: two parts whose derivatives share one pass."""
    peak = peak_p.bind(x, axes=(axis,))
    shifted = x - reshape(peak, (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
    return shifted, t.log(sum_p.bind(t.exp(shifted), axes=(axis,)))


def _class_weight(weight: Any, x: Array, axis: int, what: str) -> Array | None:
    if weight is None:
        return None
    weight = as_input(weight, x, what, "the weight", "the input")
    if weight.shape != (x.shape[axis],):
        raise ShapeError(
            f"{what}: the weight has shape {weight.shape}, but there are {x.shape[axis]} classes{at_user_line()}"
        )
    return reshape(weight, (weight.shape[0], *(1,) * (x.ndim - axis - 1)))


def _against_labels(
    x: Array, total: Array | None, target: Array, axis: int, weight: Any, ignore: int, reduction: str, smooth: float,
    what: str,
) -> Array:  # fmt: skip
    """The terms `total - x_y`; a comparison picks x_y, whose derivative is one pass without scattered writes."""
    check_reduction(reduction, what)
    n = x.shape[axis]
    places = iota(n, axis, x.ndim)
    target = convert(target, places.dtype)
    chosen = reshape(target, (*target.shape[:axis], 1, *target.shape[axis:])) == places
    wide = _class_weight(weight, x, axis, what)
    counted = target != ignore
    terms = -select(chosen, x, 0).sum(axis=axis)
    if total is not None:
        terms = total + terms
    share = convert(counted, x.dtype)
    if wide is not None:
        share = share * select(chosen, wide, 0).sum(axis=axis)
        terms = terms * share
    if smooth and total is not None:
        even = total - x.sum(axis=axis) / n if wide is None else (total * wide.sum() - (x * wide).sum(axis=axis)) / n
        terms = (1 - smooth) * terms + smooth * even
    if target.trace is not None:  # of unknown labels those that are no class make the loss NaN
        terms = select((target >= 0) & (target < n), terms, float("nan"))
    terms = select(counted, terms, 0)
    if reduction == "none":
        return terms
    if terms.size == 0 and reduction == "mean":
        raise ShapeError(f"{what}: the mean of an empty batch (input of shape {x.shape}){at_user_line()}")
    return terms.sum() if reduction == "sum" else terms.sum() / share.sum()


def _against_probabilities(
    x: Array, target: Array, axis: int, weight: Array | None, reduction: str, smooth: float
) -> Array:
    if smooth:
        target = (1 - smooth) * target + smooth / x.shape[axis]
    terms = log_softmax(x, axis=axis) * target
    terms = -(terms if weight is None else terms * weight).sum(axis=axis)
    return reduce_terms(terms, reduction, "cross_entropy")


@region("loss")
def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Array:
    """`-w (y log p + (1 - y) log(1 - p))` for probabilities p; each logarithm is held at -100 or above.

    Raises:
        ArgumentError: a probability is known not to lie between 0 and 1.
    """
    p, y = _binary(input, target, "binary_cross_entropy")
    if p.trace is None and p.size and not bool(((p.data >= 0) & (p.data <= 1)).all()):
        raise ArgumentError(
            "binary_cross_entropy: an input is not between 0 and 1; for logits take "
            f"binary_cross_entropy_with_logits{at_user_line()}"
        )
    terms = (y - 1) * maximum(t.log1p(-p), -100.0) - y * maximum(t.log(p), -100.0)
    return reduce_terms(terms if weight is None else terms * weight, reduction, "binary_cross_entropy")


@region("loss")
def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Array:
    """`-w (v y log σ(x) + (1 - y) log(1 - σ(x)))` for logits x, stable for all of them; v is `pos_weight`."""
    what = "binary_cross_entropy_with_logits"
    x, y = _binary(input, target, what)
    if pos_weight is None:
        terms = t.softplus(x) - x * y
    else:
        terms = (1 - y) * x + (1 + (pos_weight - 1) * y) * t.softplus(-x)
    return reduce_terms(terms if weight is None else terms * weight, reduction, what)


def _binary(input: Any, target: Any, what: str) -> tuple[Array, Array]:
    x = as_floating(input, what)
    x, y = same_shape(x, target, what)
    if y.dtype.kind in "biu":
        return x, convert(y, x.dtype)
    return x, as_input(y, x, what, "the target", "the input")


@region("loss")
def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Array:
    """`q (log q - input)`, the pointwise divergence from log probabilities `input` to the target q.

    With `log_target`, the target is log q. The reduction "batchmean" divides the sum by the first axis, which makes it
    the mathematical divergence.
    """
    x, q = same_shape(as_floating(input, "kl_div"), target, "kl_div")
    q = as_input(q, x, "kl_div", "the target", "the input")
    terms = t.exp(q) * (q - x) if log_target else xlogy(q, q) - q * x
    if reduction == "batchmean":
        return terms.sum() / x.shape[0]
    return reduce_terms(terms, reduction, "kl_div")
