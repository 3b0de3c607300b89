"""Sliding windows over the last axes of an array: their geometry, shared by convolution and pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.errors import ShapeError
from wengert.ir.types import Shape
from wengert.source import at_user_line

Steps = tuple[int, ...]  # one number for each spatial axis
Pairs = tuple[tuple[int, int], ...]  # (low, high) for each spatial axis; negative numbers cut off


def spread(length: int, step: int) -> int:
    """From the first to the last of `length` places that lie `step` apart, both included."""
    return (length - 1) * step + 1 if length else 0


def places(what: str, shape: Shape, window: Steps, stride: Steps, padding: Pairs, dilation: Steps) -> Shape:
    """How many windows fit along each of the last axes of `shape`; an error where none does."""
    if len(shape) < len(window):
        raise ShapeError(f"{what}: a window of {len(window)} axes on an array of shape {shape}{at_user_line()}")
    result = []
    spatial = shape[len(shape) - len(window) :]
    for d, w, s, (low, high), step in zip(spatial, window, stride, padding, dilation, strict=True):
        length, reach = d + low + high, spread(w, step)
        if w < 1 or length < reach:
            raise ShapeError(
                f"{what} of shape {shape}: a window that reaches over {reach} places does not fit into an axis of "
                f"length {d}, {length} with its padding {low, high}{at_user_line()}"
            )
        result.append((length - reach) // s + 1)
    return tuple(result)


def padded(x: Any, padding: Pairs, dilation: Steps, fill: Any) -> Any:
    """`x` with `dilation - 1` fills between neighbours along its last axes, then padded or cut; `x` itself if none."""
    if all(p == (0, 0) for p in padding) and all(d == 1 for d in dilation):
        return x
    first = x.ndim - len(padding)
    shape = list(x.shape[:first])
    inner: list[slice] = [slice(None)] * first
    outer: list[slice] = [slice(None)] * first
    for d, (low, high), step in zip(x.shape[first:], padding, dilation, strict=True):
        length = spread(d, step) + low + high
        begin = max(0, -(-max(-low, 0) // step))  # the first and behind the last element that stay
        end = max(begin, min(d, -(-(length - low) // step)))
        shape.append(max(length, 0))
        inner.append(slice(begin, end))
        start = low + begin * step
        outer.append(slice(start, start + spread(end - begin, step), step))
    out = np.full(shape, fill, x.dtype) if fill else np.zeros(shape, x.dtype)
    out[tuple(outer)] = x[tuple(inner)]
    return out


def windows(x: Any, window: Steps, stride: Steps, dilation: Steps) -> Any:
    """A view `(…, *places, *window)` of the windows over the last axes of `x`."""
    n = len(window)
    first = x.ndim - n
    spatial, strides = x.shape[first:], x.strides[first:]
    counts = tuple(
        (d - spread(w, step)) // s + 1 for d, w, s, step in zip(spatial, window, stride, dilation, strict=True)
    )
    if any(c < 1 for c in counts):
        raise ValueError("a window that does not fit")
    shape = (*x.shape[:first], *counts, *window)
    steps = (
        *x.strides[:first],
        *(b * s for b, s in zip(strides, stride, strict=True)),
        *(b * d for b, d in zip(strides, dilation, strict=True)),
    )
    return np.lib.stride_tricks.as_strided(x, shape, steps, writeable=False)


def tap_views(x: Any, window: Steps, stride: Steps, counts: Shape, dilation: Steps) -> Any:
    """For each element of the window, in row-major order, the view of `x` that it sees from all places."""
    lead = (slice(None),) * (x.ndim - len(window))
    for tap in np.ndindex(*window):
        cut = (slice(t * d, t * d + spread(c, s), s) for t, d, c, s in zip(tap, dilation, counts, stride, strict=True))
        yield x[(*lead, *cut)]


def window_reduce(
    x: Any, combine: Callable[..., Any], window: Steps, stride: Steps, counts: Shape, dilation: Steps
) -> Any:
    """The windows of `x` reduced by an associative and commutative ufunc, one axis after the other."""
    n = len(window)
    for k in reversed(range(n)):
        axis = x.ndim - n + k
        lead = (slice(None),) * axis
        reach = spread(counts[k], stride[k])
        cuts = [slice(t * dilation[k], t * dilation[k] + reach, stride[k]) for t in range(window[k])]
        out = x[(*lead, cuts[0])]
        if len(cuts) > 1:
            out = combine(out, x[(*lead, cuts[1])])
            for cut in cuts[2:]:
                combine(out, x[(*lead, cut)], out=out)
        x = out
    return x
