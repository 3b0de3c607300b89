"""Padding of the last axes: by a number, or by what stands at or near the edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ops.promote import as_array, number
from wengert.ops.shape import broadcast_to, concat_p, flip_p, pad_p, slice_p
from wengert.ops.window import Pairs
from wengert.source import at_user_line

MODES = ("constant", "reflect", "replicate", "circular")


def pad(x: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Array:
    """`x` made longer along its last axes (shorter, by negative numbers).

    Args:
        x: array.
        pad: numbers before and after the last axis, then before and after the last but one, and so on.
        mode: what is put there: "constant" (`value`), "reflect" (mirrored, the edge not repeated), "replicate" (the
            edge) or "circular" (the other end).

    Raises:
        ShapeError: more is asked for than the axis has to mirror or to wrap.

    Example:
        >>> nn.functional.pad(wg.asarray([1.0, 2.0, 3.0]), (2, 0), mode="reflect")
        Array([3., 2., 1., 2., 3.], dtype=float32)
    """
    x = as_array(x, "pad")
    pads = tuple(pad)
    if len(pads) % 2 or len(pads) > 2 * x.ndim or not all(isinstance(p, (int, np.integer)) for p in pads):
        raise ArgumentError(
            f"pad: {pads} for an input of shape {x.shape}; expected two integers for each of the last axes, the last "
            f"axis first{at_user_line()}"
        )
    return pad_last(x, tuple(zip(pads[::2], pads[1::2], strict=True))[::-1], mode, value)


def pad_last(x: Array, pairs: Pairs, mode: str, value: float = 0.0) -> Array:
    """`x` padded along its last axes by a pair (before, after) for each, in their order."""
    if mode not in MODES:
        raise ArgumentError(f"pad: mode is {mode!r}; expected one of {', '.join(MODES)}{at_user_line()}")
    first = x.ndim - len(pairs)
    if mode == "constant":
        if not any(map(any, pairs)):
            return x
        lead = ((0, 0, 0),) * first
        return pad_p.bind(x, number(value, x.dtype), padding=(*lead, *((low, high, 0) for low, high in pairs)))
    for k, (low, high) in enumerate(pairs):
        if low or high:
            x = _extended(x, first + k, low, high, mode)
    return x


def _extended(x: Array, axis: int, low: int, high: int, mode: str) -> Array:
    n = x.shape[axis]
    most = n - 1 if mode == "reflect" else n
    if min(low, high) < 0 or (max(low, high) > most and mode != "replicate") or n == 0:
        raise ShapeError(
            f'pad: {low} before and {high} after axis {axis} of length {n}; mode "{mode}" allows 0 to {most}'
            + at_user_line()
        )

    def cut(start: int, stop: int) -> Array:
        starts = tuple(start if k == axis else 0 for k in range(x.ndim))
        stops = tuple(stop if k == axis else d for k, d in enumerate(x.shape))
        return slice_p.bind(x, start=starts, stop=stops, step=(1,) * x.ndim)

    def edge(place: int, count: int) -> Array:
        part = cut(place, place + 1)
        return broadcast_to(part, (*x.shape[:axis], count, *x.shape[axis + 1 :]))

    if mode == "reflect":
        parts = [flip_p.bind(cut(1, low + 1), axes=(axis,)), x, flip_p.bind(cut(n - 1 - high, n - 1), axes=(axis,))]
    elif mode == "replicate":
        parts = [edge(0, low), x, edge(n - 1, high)]
    else:
        parts = [cut(n - low, n), x, cut(0, high)]
    return concat_p.bind(*(p for p in parts if p.shape[axis]), axis=axis)
