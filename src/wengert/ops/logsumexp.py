"""The logarithm of a sum of exponentials, and softmax: stable, and finite behind -inf masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import DTypeError
from wengert.ir.array import Array
from wengert.ir.maps import Compose, Linear, Map
from wengert.ir.primitive import Params, Unsupported
from wengert.ir.types import float_dtype, normalize_axes
from wengert.ops.compare import equal, isinf, select
from wengert.ops.elementwise import Scale
from wengert.ops.promote import as_array, convert
from wengert.ops.reduce import Reduction, expand, kept_shape, sum_p
from wengert.ops.shape import reshape
from wengert.ops.transcendental import exp, log
from wengert.source import at_user_line


def _peak(x: Any, axis: tuple[int, ...]) -> Any:
    largest = np.max(x, axis=axis, initial=-np.inf)
    return np.where(np.isfinite(largest), largest, x.dtype.type(0))


def _logsumexp(x: Any, axis: tuple[int, ...]) -> Any:
    shift = _peak(x, axis)
    wide = np.expand_dims(shift, axis)
    return np.log(np.sum(np.exp(x - wide), axis=axis)) + shift


class Peak(Reduction):
    """The largest element, or 0 where it is not finite: a shift for exponentials, whose choice changes no result."""

    differentiable = False
    partial = Unsupported("a shift that cancels out has no influence on the result")  # type: ignore[assignment]


class LogSumExp(Reduction):
    """`log Σ exp(x)` over `axes`; the derivative is softmax.

    Where the result is -inf (all elements are) the derivative is 0; where it is +inf, the infinite elements share it
    equally.
    """

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map:
        (x,), axes = values, params["axes"]
        total = expand(out, x.shape, axes)
        unbounded = isinf(total)
        top = convert(equal(x, np.inf), x.dtype)
        count = expand(sum_p.bind(top, axes=axes), x.shape, axes)
        share = top / select(equal(count, 0), 1, count)
        weight = select(unbounded, share, exp(select(unbounded, 0, x - total)))
        return Compose(Scale(weight, x.shape, x.shape), Linear(sum_p, 0, (x,), params))


peak_p = Peak("peak", _peak, "f", doc=Peak.__doc__ or "")
logsumexp_p = LogSumExp("logsumexp", _logsumexp, "f", doc=LogSumExp.__doc__ or "")


def _prepared(x: Any, axis: Any, what: str) -> tuple[Array, tuple[int, ...]]:
    x = as_array(x, what)
    if x.dtype.kind == "c":
        raise DTypeError(f"{what} is not defined for complex numbers ({x.dtype.name}){at_user_line()}")
    if x.dtype.kind != "f":
        x = convert(x, float_dtype(x.dtype, x.weak), x.weak)
    return x, normalize_axes(axis, x.ndim, what)


def logsumexp(x: Any, /, axis: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Array:
    """`log Σ exp(x)` over `axis` (all by default), computed as `m + log Σ exp(x - m)` with `m = max x`.

    Args:
        x: array of real numbers; integers become floats.
        axis: one axis, several, or None for all.
        keepdims: keep the reduced axes with length 1.

    Returns:
        -inf where every element is -inf (or there is none), with derivative 0; else the derivative is softmax.

    Raises:
        ShapeError: an axis does not exist.
        DTypeError: complex numbers.

    Example:
        >>> wg.logsumexp(wg.asarray([1000.0, 1000.0]))
        Array(1000.6931, dtype=float32)
    """
    x, axes = _prepared(x, axis, "logsumexp")
    out = logsumexp_p.bind(x, axes=axes)
    return reshape(out, kept_shape(x.shape, axes)) if keepdims else out


def softmax(x: Any, /, axis: int | Sequence[int] = -1) -> Array:
    """`exp(x) / Σ exp(x)`, the sum over `axis`.

    An element -inf (a mask) has probability 0. Where *all* are -inf the result is 0, not NaN: nothing is chosen. Values
    and gradients stay finite in both cases. An element +inf gives NaN.

    Args:
        x: array of real numbers; integers become floats.
        axis: one axis or several.

    Returns:
        An array of the shape of `x`.

    Raises:
        ShapeError: an axis does not exist.
        DTypeError: complex numbers.

    Example:
        >>> wg.softmax(wg.asarray([0.0, 0.0, -float("inf")]))
        Array([0.5, 0.5, 0. ], dtype=float32)
    """
    x, axes = _prepared(x, axis, "softmax")
    raised = exp(x - reshape(peak_p.bind(x, axes=axes), kept_shape(x.shape, axes)))
    total = reshape(sum_p.bind(raised, axes=axes), kept_shape(x.shape, axes))
    return raised / select(equal(total, 0), 1, total)


def log_softmax(x: Any, /, axis: int | Sequence[int] = -1) -> Array:
    """`x - log Σ exp(x)`, the logarithm of `softmax(x)` without its loss of digits.

    An element -inf (a mask) gives -inf; where all are, all results are -inf. Gradients stay finite in both cases.
    Arguments and errors as for `softmax`.

    Example:
        >>> wg.log_softmax(wg.asarray([0.0, 0.0]))
        Array([-0.6931472, -0.6931472], dtype=float32)
    """
    x, axes = _prepared(x, axis, "log_softmax")
    shifted = x - reshape(peak_p.bind(x, axes=axes), kept_shape(x.shape, axes))
    total = reshape(sum_p.bind(exp(shifted), axes=axes), kept_shape(x.shape, axes))
    return shifted - log(select(equal(total, 0), 1, total))
