"""Running sums, products, extremes and log-sums, and the recurrence that their derivatives are.

Each runs along one axis, from the front or (`reverse`) from the end, and includes the element itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.maps import Compose, Linear, Map
from wengert.ir.primitive import Params, Primitive, Unsupported, registry
from wengert.ir.types import ArrayType, float_dtype, int64, normalize_axis
from wengert.ops.compare import equal, isinf, select
from wengert.ops.elementwise import Scale
from wengert.ops.index import along_axis_map
from wengert.ops.promote import as_array, convert, number
from wengert.ops.shape import broadcast_to, concat_p, pad_p, to_front
from wengert.ops.transcendental import exp
from wengert.source import at_user_line


def previous(x: Array, axis: int, reverse: bool, fill: float) -> Array:
    """`x` one step later: the element before each, in the running direction, and `fill` before the first."""
    if x.shape[axis] == 0:
        return x
    step = (-1, 1, 0) if reverse else (1, -1, 0)
    return pad_p.bind(x, number(fill, x.dtype), padding=tuple(step if k == axis else (0, 0, 0) for k in range(x.ndim)))


def _along(f: Callable[[Any], Any], x: Any, axis: int, reverse: bool) -> Any:
    return np.flip(f(np.flip(x, axis)), axis) if reverse else f(x)


class Cumulative(Primitive):
    """What all running operations share; `ufunc` combines the running result with the next element."""

    def __init__(self, name: str, ufunc: np.ufunc, takes: str, doc: str = ""):
        super().__init__(name)
        self.ufunc = ufunc
        self.takes = takes
        self.__doc__ = doc

    def type(self, x: ArrayType, *, axis: int, reverse: bool) -> ArrayType:  # type: ignore[override]
        kind = "i" if x.dtype.kind == "u" else x.dtype.kind
        if kind not in self.takes:
            raise DTypeError(f"{self.name} is not defined for {x.dtype.name}{at_user_line()}")
        return ArrayType(x.shape, x.dtype)

    def evaluate(self, x: Any, *, axis: int, reverse: bool) -> Any:  # type: ignore[override]
        if ("i" if x.dtype.kind == "u" else x.dtype.kind) not in self.takes:
            raise TypeError(f"{self.name} of {x.dtype}")
        return _along(lambda v: self.ufunc.accumulate(v, axis=axis, dtype=x.dtype), x, axis, reverse)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (x,), (at,) = values, axes
        assert at is not None
        return self.bind(x, **{**params, "axis": params["axis"] + (params["axis"] >= at)}), at

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        axis = params["axis"]
        return _along(lambda p: np.bitwise_or.accumulate(p, axis=axis), patterns[0], axis, params["reverse"])


class CumulativeSum(Cumulative):
    """`y[i] = x[0] + … + x[i]`. Its transpose runs the other way."""

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        return Linear(self, 0, values, params) if out.dtype.kind in "fc" else None

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        return self.bind(ct, axis=params["axis"], reverse=not params["reverse"])


class CumulativeProduct(Cumulative):
    """`y[i] = x[0]·…·x[i]`, whose change is `dy[i] = x[i]·dy[i-1] + y[i-1]·dx[i]`: no division, so zeros do no harm."""

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        (x,) = values
        before = previous(out, **params, fill=1)
        return Compose(Scale(before, x.shape, x.shape), Linear(linear_recurrence_p, 1, (x, x), params))


class CumulativeExtreme(Cumulative):
    """The largest or smallest element so far. The derivative goes to the first place where it was reached."""

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        if out.dtype.kind not in "fc":
            return None
        at = registry[f"{self.name}_position"].bind(values[0], **params)
        return along_axis_map(values[0], at, params["axis"], unique=False)


class CumulativePosition(Cumulative):
    """Where along `axis` the largest or smallest element so far was first reached."""

    differentiable = False
    partial = Unsupported("a position does not change continuously")  # type: ignore[assignment]

    def type(self, x: ArrayType, *, axis: int, reverse: bool) -> ArrayType:  # type: ignore[override]
        return ArrayType(super().type(x, axis=axis, reverse=reverse).shape, int64)

    def evaluate(self, x: Any, *, axis: int, reverse: bool) -> Any:  # type: ignore[override]
        def first_reached(v: Any) -> Any:
            v = np.moveaxis(v, axis, 0)
            best = self.ufunc.accumulate(v, axis=0)
            new = np.ones(v.shape, bool)
            new[1:] = (best[1:] != best[:-1]) & ~(
                (best[1:] != best[1:]) & (best[:-1] != best[:-1])
            )  # NaN is reached once
            turn = np.arange(len(v)).reshape(-1, *(1,) * (v.ndim - 1))
            return np.moveaxis(np.maximum.accumulate(np.where(new, turn, 0), axis=0), 0, axis)

        at = _along(first_reached, x, axis, reverse)
        return x.shape[axis] - 1 - at if reverse else at

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        return None


class CumulativeLogSumExp(Cumulative):
    """`y[i] = log(exp(x[0]) + … + exp(x[i]))`, with `dy[i] = exp(y[i-1]-y[i])·dy[i-1] + exp(x[i]-y[i])·dx[i]`.

    Where y is -inf the derivative is 0; where it is +inf, the infinite elements share it equally.
    """

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        (x,) = values
        before = previous(out, **params, fill=-np.inf)
        unbounded = isinf(out)
        top = convert(equal(x, np.inf), x.dtype)
        count = cumsum_p.bind(top, **params)
        full = select(equal(count, 0), 1, count)
        keep = select(unbounded, (count - top) / full, exp(select(unbounded, 0, before - out)))
        enter = select(unbounded, top / full, exp(select(unbounded, 0, x - out)))
        return Compose(Scale(enter, x.shape, x.shape), Linear(linear_recurrence_p, 1, (keep, x), params))


def _recurrence(a: Any, b: Any) -> Any:
    h, out = 0.0, []
    for factor, term in zip(a.tolist(), b.tolist(), strict=True):
        h = factor * h + term
        out.append(h)
    return np.array(out, b.dtype)


class LinearRecurrence(Primitive):
    """`h[i] = a[i]·h[i-1] + b[i]` along `axis`, starting from `h = 0` before the first.

    Linear in b; its adjoint runs the other way. The derivative of every running operation is one of these.
    """

    def type(self, a: ArrayType, b: ArrayType, *, axis: int, reverse: bool) -> ArrayType:  # type: ignore[override]
        if a.shape != b.shape or a.dtype != b.dtype:
            raise ShapeError(f"linear_recurrence: {a!r} and {b!r} must be of one shape and type{at_user_line()}")
        if a.dtype.kind not in "fciu":
            raise DTypeError(f"linear_recurrence is not defined for {a.dtype.name}{at_user_line()}")
        return ArrayType(b.shape, b.dtype)

    def evaluate(self, a: Any, b: Any, *, axis: int, reverse: bool) -> Any:  # type: ignore[override]
        if a.shape != b.shape or a.dtype != b.dtype or a.dtype.kind == "b":
            raise ValueError("types of linear_recurrence")
        if b.ndim == 1 and b.dtype.kind in "fc":  # Python's numbers are quicker one by one
            return _recurrence(a[::-1], b[::-1])[::-1] if reverse else _recurrence(a, b)
        out = np.array(b)
        factors, h = np.moveaxis(a, axis, 0), np.moveaxis(out, axis, 0)
        steps = range(len(h) - 2, -1, -1) if reverse else range(1, len(h))
        for i in steps:
            h[i] += factors[i] * h[i + 1 if reverse else i - 1]
        return out

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        if out.dtype.kind not in "fc":
            return None
        a, b = values
        run = Linear(self, 1, (a, b), params)
        return run if i == 1 else Compose(Scale(previous(out, **params, fill=0), a.shape, a.shape), run)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        axis, back = params["axis"], not params["reverse"]
        return self.bind(previous(values[0], axis, back, 0), ct, axis=axis, reverse=back)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        a, b = (
            broadcast_to(v, (size, *v.shape)) if at is None else to_front(v, at)
            for v, at in zip(values, axes, strict=True)
        )
        return self.bind(a, b, axis=params["axis"] + 1, reverse=params["reverse"]), 0

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        known = [p for p in patterns if p is not None]
        merged = known[0] if len(known) == 1 else known[0] | known[1]
        axis = params["axis"]
        return _along(lambda p: np.bitwise_or.accumulate(p, axis=axis), merged, axis, params["reverse"])


linear_recurrence_p = LinearRecurrence("linear_recurrence")
cumsum_p = CumulativeSum("cumulative_sum", np.add, "ifc")
cumprod_p = CumulativeProduct("cumulative_prod", np.multiply, "ifc")
cummax_p = CumulativeExtreme("cumulative_max", np.maximum, "bif")
cummin_p = CumulativeExtreme("cumulative_min", np.minimum, "bif")
cummax_position_p = CumulativePosition("cumulative_max_position", np.maximum, "bif")
cummin_position_p = CumulativePosition("cumulative_min_position", np.minimum, "bif")
cumlogsumexp_p = CumulativeLogSumExp("cumulative_logsumexp", np.logaddexp, "f")


def _run(primitive: Cumulative, x: Any, axis: int | None, reverse: bool) -> tuple[Array, int]:
    what = primitive.name
    x = as_array(x, what)
    if x.dtype.kind in "biu" and primitive.takes == "f":
        x = convert(x, float_dtype(x.dtype, x.weak), x.weak)
    if axis is None:
        if x.ndim != 1:
            raise ArgumentError(f"{what} of an array of shape {x.shape}: name the axis to run along{at_user_line()}")
        axis = 0
    axis = normalize_axis(axis, x.ndim, what)
    return primitive.bind(x, axis=axis, reverse=bool(reverse)), axis


def _with_initial(y: Array, axis: int, reverse: bool, value: int) -> Array:
    edge = broadcast_to(number(value, y.dtype), tuple(1 if k == axis else d for k, d in enumerate(y.shape)))
    return concat_p.bind(*((y, edge) if reverse else (edge, y)), axis=axis)


def cumulative_sum(x: Any, *, axis: int | None, include_initial: bool = False, reverse: bool = False) -> Array:
    """The running sum in the type of `x`; see `wg.cumulative_sum`."""
    y, axis = _run(cumsum_p, x, axis, reverse)
    return _with_initial(y, axis, reverse, 0) if include_initial else y


def cumulative_prod(x: Any, *, axis: int | None, include_initial: bool = False, reverse: bool = False) -> Array:
    """The running product in the type of `x`; see `wg.cumulative_prod`."""
    y, axis = _run(cumprod_p, x, axis, reverse)
    return _with_initial(y, axis, reverse, 1) if include_initial else y


def cumulative_max(x: Any, /, *, axis: int | None = None, reverse: bool = False) -> Array:
    """The largest element so far, `y[i] = max(x[0], …, x[i])`; NaN once there was one.

    The derivative goes to the first element that reached the maximum.

    Args:
        x: array of real numbers with at least one axis.
        axis: the axis to run along; it may be left out if there is only one.
        reverse: run from the end: `y[i] = max(x[i], …, x[n-1])`.

    Returns:
        An array of the shape and type of `x`.

    Raises:
        ArgumentError: no axis given for an array of several axes.
        ShapeError: the axis does not exist.
        DTypeError: complex numbers, which have no order.

    Example:
        >>> wg.cumulative_max(wg.asarray([1.0, 3.0, 2.0]))
        Array([1., 3., 3.], dtype=float32)
    """
    return _run(cummax_p, x, axis, reverse)[0]


def cumulative_min(x: Any, /, *, axis: int | None = None, reverse: bool = False) -> Array:
    """The smallest element so far, `y[i] = min(x[0], …, x[i])`; everything else as for `cumulative_max`.

    Example:
        >>> wg.cumulative_min(wg.asarray([3.0, 1.0, 2.0]))
        Array([3., 1., 1.], dtype=float32)
    """
    return _run(cummin_p, x, axis, reverse)[0]


def cumulative_logsumexp(x: Any, /, *, axis: int | None = None, reverse: bool = False) -> Array:
    """`y[i] = log(exp(x[0]) + … + exp(x[i]))`, without overflow; integers become floats.

    Where y is -inf its derivative is 0. Arguments and errors as for `cumulative_max`.

    Example:
        >>> wg.cumulative_logsumexp(wg.asarray([0.0, 0.0]))
        Array([0.       , 0.6931472], dtype=float32)
    """
    return _run(cumlogsumexp_p, x, axis, reverse)[0]
