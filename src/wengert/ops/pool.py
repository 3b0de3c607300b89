"""Pooling: the largest element, or the sum, of each window over the last axes.

The derivative of the largest element goes to the first that is largest (as in PyTorch): `argmax_pool` says which place
of its window that is, `take_window` reads there and `put_window`, its adjoint, writes there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import DTypeError
from wengert.ir.array import Array
from wengert.ir.maps import Linear, Map
from wengert.ir.primitive import Params, Primitive, Unsupported
from wengert.ir.types import ArrayType, Shape, int32
from wengert.ops.promote import number
from wengert.ops.shape import broadcast_to, pad_p, to_front
from wengert.ops.window import Pairs, Steps, padded, places, spread, tap_views, window_reduce
from wengert.source import at_user_line


class Pool(Primitive):
    """What all share: windows lie over the last axes, so that an axis of a batch simply comes first."""

    def _type(self, x: ArrayType, window: Steps, stride: Steps, padding: Pairs, dilation: Steps) -> ArrayType:
        counts = places(self.name, x.shape, window, stride, padding, dilation)
        return x.with_shape((*x.shape[: x.ndim - len(window)], *counts))

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        moved = [
            broadcast_to(v, (size, *v.shape)) if at is None else to_front(v, at)
            for v, at in zip(values, axes, strict=True)
        ]
        return self.bind(*moved, **params), 0

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        if patterns[0] is None:
            return None
        shape = self.type(*types, **params).shape
        window, counts = params["window"], shape[len(shape) - len(params["window"]) :]
        x = padded(np.moveaxis(patterns[0], -1, 0), params["padding"], (1,) * len(window), np.uint64(0))
        seen = window_reduce(x, np.bitwise_or, window, params["stride"], counts, params["dilation"])
        return np.moveaxis(seen, 0, -1)


class MaxPool(Pool):
    """The largest element of each window; padding never wins against an element. NaN wins."""

    def type(self, x: ArrayType, *, window: Steps, stride: Steps, padding: Pairs, dilation: Steps) -> ArrayType:  # type: ignore[override]
        if x.dtype.kind == "c":
            raise DTypeError(f"{self.name} of complex numbers, which have no order; pool wg.abs(x){at_user_line()}")
        return self._type(x, window, stride, padding, dilation)

    def _prepared(self, x: Any, window: Steps, stride: Steps, padding: Pairs, dilation: Steps) -> Any:
        if x.dtype.kind == "c":
            raise ValueError("complex")
        counts = places(self.name, x.shape, window, stride, padding, dilation)
        lowest = -np.inf if x.dtype.kind == "f" else False if x.dtype.kind == "b" else np.iinfo(x.dtype).min
        return padded(x, padding, (1,) * len(window), x.dtype.type(lowest)), counts

    def evaluate(self, x: Any, *, window: Steps, stride: Steps, padding: Pairs, dilation: Steps) -> Any:  # type: ignore[override]
        x, counts = self._prepared(x, window, stride, padding, dilation)
        return window_reduce(x, np.maximum, window, stride, counts, dilation)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        if out.dtype.kind != "f":
            return None
        first = argmax_pool_p.bind(*values, **params)
        return Linear(take_window_p, 0, (values[0], first), params)


class ArgMaxPool(MaxPool):
    """Which place of its window, in row-major order, holds the first largest element."""

    differentiable = False
    partial = Unsupported("an index does not change continuously")  # type: ignore[assignment]

    def type(self, x: ArrayType, **params: Any) -> ArrayType:  # type: ignore[override]
        return ArrayType(super().type(x, **params).shape, int32)

    def evaluate(self, x: Any, *, window: Steps, stride: Steps, padding: Pairs, dilation: Steps) -> Any:  # type: ignore[override]
        x, counts = self._prepared(x, window, stride, padding, dilation)
        best: Any = None
        for k, seen in enumerate(tap_views(x, window, stride, counts, dilation)):
            if best is None:
                best, first = seen.copy(), np.zeros(seen.shape, int32)
                continue
            better = (seen > best) | ((seen != seen) & (best == best))
            np.copyto(best, seen, where=better)
            first[better] = k
        return first


class TakeWindow(Pool):
    """`out[p…] = x[place tap[p…] of window p]`, 0 in the padding: linear in `x`."""

    def type(  # type: ignore[override]
        self, x: ArrayType, tap: ArrayType, *, window: Steps, stride: Steps, padding: Pairs, dilation: Steps
    ) -> ArrayType:
        return self._type(x, window, stride, padding, dilation)

    def evaluate(self, x: Any, tap: Any, *, window: Steps, stride: Steps, padding: Pairs, dilation: Steps) -> Any:  # type: ignore[override]
        counts = places(self.name, x.shape, window, stride, padding, dilation)
        x = padded(x, padding, (1,) * len(window), x.dtype.type(0))
        out = np.zeros(tap.shape, x.dtype)
        for k, seen in enumerate(tap_views(x, window, stride, counts, dilation)):
            np.copyto(out, seen, where=tap == k)
        return out

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        return Linear(self, 0, values, params) if i == 0 and out.dtype.kind in "fc" else None

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        x, tap = values
        return put_window_p.bind(ct, tap, lengths=x.shape[x.ndim - len(params["window"]) :], **params)


class PutWindow(Pool):
    """The adjoint of `take_window`: adds `ct[p…]` to place `tap[p…]` of window p, in an array of spatial `lengths`."""

    def type(self, ct: ArrayType, tap: ArrayType, *, lengths: Shape, window: Steps, **params: Any) -> ArrayType:  # type: ignore[override]
        return ct.with_shape((*ct.shape[: ct.ndim - len(window)], *lengths))

    def evaluate(  # type: ignore[override]
        self, ct: Any, tap: Any, *, lengths: Shape, window: Steps, stride: Steps, padding: Pairs, dilation: Steps
    ) -> Any:
        return self._put(ct, tap, np.add, lengths, window, stride, padding, dilation)

    def _put(
        self,
        ct: Any,
        tap: Any,
        combine: Any,
        lengths: Shape,
        window: Steps,
        stride: Steps,
        padding: Pairs,
        dilation: Steps,
    ) -> Any:
        n = len(window)
        wide = tuple(d + low + high for d, (low, high) in zip(lengths, padding, strict=True))
        out = np.zeros((*ct.shape[: ct.ndim - n], *wide), ct.dtype)
        for k, seen in enumerate(tap_views(out, window, stride, ct.shape[ct.ndim - n :], dilation)):
            combine(seen, ct if tap is None else np.where(tap == k, ct, ct.dtype.type(0)), out=seen)
        return padded(out, tuple((-low, -high) for low, high in padding), (1,) * n, out.dtype.type(0))

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        return Linear(self, 0, values, params) if i == 0 and out.dtype.kind in "fc" else None

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        return take_window_p.bind(ct, values[1], **{k: v for k, v in params.items() if k != "lengths"})

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        if patterns[0] is None:
            return None
        return np.moveaxis(self._put(np.moveaxis(patterns[0], -1, 0), None, np.bitwise_or, **params), 0, -1)


class SumPool(Pool):
    """The sum over each window; padding counts as 0, negative padding cuts off."""

    def type(self, x: ArrayType, *, window: Steps, stride: Steps, padding: Pairs, dilation: Steps) -> ArrayType:  # type: ignore[override]
        return self._type(x, window, stride, padding, dilation)

    def evaluate(self, x: Any, *, window: Steps, stride: Steps, padding: Pairs, dilation: Steps) -> Any:  # type: ignore[override]
        counts = places(self.name, x.shape, window, stride, padding, dilation)
        x = padded(x, padding, (1,) * len(window), x.dtype.type(0))
        return window_reduce(x, np.add, window, stride, counts, dilation)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        return Linear(self, 0, values, params) if out.dtype.kind in "fc" else None

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        # an element is in the windows that end within its reach: a sum over windows of the spread cotangent
        window, stride, dilation = params["window"], params["stride"], params["dilation"]
        n, x = len(window), values[0]
        lead = ((0, 0, 0),) * (ct.ndim - n)
        ct = pad_p.bind(ct, number(0, ct.dtype), padding=(*lead, *((0, 0, s - 1) for s in stride)))
        padding = []
        for d, o, w, step, (low, _) in zip(
            x.shape[x.ndim - n :], ct.shape[ct.ndim - n :], window, dilation, params["padding"], strict=True
        ):
            padding.append((spread(w, step) - 1 - low, d - o + low))
        return self.bind(ct, window=window, stride=(1,) * n, padding=tuple(padding), dilation=dilation)


max_pool_p, argmax_pool_p = MaxPool("max_pool"), ArgMaxPool("argmax_pool")
take_window_p, put_window_p, sum_pool_p = TakeWindow("take_window"), PutWindow("put_window"), SumPool("sum_pool")
