"""Pictures of another size: interpolation along each axis, and channels exchanged for places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.nn.functional.inputs import as_floating
from wengert.nn.functional.pool import adaptive_avg_pool_n
from wengert.ops.contract import dot_general
from wengert.ops.index import gather
from wengert.ops.promote import as_array
from wengert.ops.shape import broadcast_to, permute, reshape
from wengert.source import at_user_line

LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}  # and the number of axes that each is for
MODES = ("nearest", "nearest-exact", *LINEAR, "bicubic", "area")
CUBIC = -0.75  # the slope of the kernel at distance 1


def interpolate(
    x: Any, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest", align_corners: bool | None = None,
) -> Array:  # fmt: skip
    """`x` with other lengths of its spatial axes.

    Args:
        x: (N, C, …), with one to three spatial axes.
        size: the lengths wanted, a number or one for each axis; or
        scale_factor: by what lengths are multiplied, rounded down; linear modes leave an axis that keeps its length.
        mode: "nearest", "nearest-exact", "linear" (one axis), "bilinear" (two), "trilinear" (three), "bicubic" (two) or
            "area" (means).
        align_corners: of linear and cubic modes, whether the outermost places coincide, not the outermost borders.

    Returns:
        (N, C, …): along each axis a linear map of that axis.

    Raises:
        ArgumentError: not exactly one of size and scale_factor, or a mode for another number of axes.
    """
    x = as_floating(x, "interpolate")
    n = x.ndim - 2
    if not 1 <= n <= 3 or mode not in MODES or LINEAR.get(mode, n) != n or (mode == "bicubic" and n != 2):
        raise ArgumentError(f"interpolate: mode {mode!r} for an input of shape {x.shape}{at_user_line()}")
    if (size is None) == (scale_factor is None):
        raise ArgumentError(f"interpolate takes either size or scale_factor{at_user_line()}")
    given: Any = size if scale_factor is None else scale_factor
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * n
    lengths = x.shape[2:]
    if len(values) != n:
        raise ArgumentError(f"interpolate: {given!r} for {n} spatial axes of shape {x.shape}{at_user_line()}")
    wanted = values if scale_factor is None else [math.floor(d * s) for d, s in zip(lengths, values, strict=True)]
    if min(wanted) < 1 or min(lengths) < 1:
        raise ShapeError(f"interpolate: from {lengths} to {tuple(wanted)}, which is empty{at_user_line()}")
    if mode == "area":
        return adaptive_avg_pool_n(n, x, tuple(wanted))
    for k, (d, c) in enumerate(zip(lengths, wanted, strict=True)):
        step = d / c if scale_factor is None else 1 / values[k]
        if mode.startswith("nearest"):
            x = _nearest(x, k + 2, c, step, mode)
        elif c != d or mode == "bicubic":  # as PyTorch, whose linear modes leave an axis that keeps its length
            x = _blended(x, k + 2, c, step, mode, align_corners)
    return x


def _nearest(x: Array, axis: int, count: int, step: float, mode: str) -> Array:
    d = x.shape[axis]
    if count % d == 0 and step == d / count:  # each place so many times
        lead, tail = x.shape[:axis], x.shape[axis + 1 :]
        wide = broadcast_to(reshape(x, (*lead, d, 1, *tail)), (*lead, d, count // d, *tail))
        return reshape(wide, (*lead, count, *tail))
    places = np.floor((np.arange(count) + (0.5 if mode == "nearest-exact" else 0)) * step).astype(np.int64)
    taken = gather(x, [Array(np.minimum(places, d - 1))], (axis,))  # the new axis comes first
    return permute(taken, (*range(1, axis + 1), 0, *range(axis + 1, x.ndim)))


def _blended(x: Array, axis: int, count: int, step: float, mode: str, align: bool | None) -> Array:
    """A product with the matrix of weights along one axis."""
    d = x.shape[axis]
    i = np.arange(count)
    source = i * ((d - 1) / (count - 1) if count > 1 else 0.0) if align else (i + 0.5) * step - 0.5
    if mode != "bicubic" and not align:
        source = np.maximum(source, 0)
    first = np.floor(source).astype(np.int64)
    t = source - first
    if mode == "bicubic":
        taps = [(k, _cubic(np.abs(t - k))) for k in (-1, 0, 1, 2)]
    else:
        taps = [(0, 1 - t), (1, t)]
    weights = np.zeros((d, count))
    for k, w in taps:
        np.add.at(weights, (np.clip(first + k, 0, d - 1), i), w)
    out = dot_general(x, Array(weights.astype(x.dtype)), ((), ()), ((axis,), (0,)))
    return permute(out, (*range(axis), x.ndim - 1, *range(axis, x.ndim - 1)))


def _cubic(u: Any) -> Any:
    """Keys' kernel at a distance (1981, doi 10.1109/TASSP.1981.1163711)."""
    near = ((CUBIC + 2) * u - (CUBIC + 3)) * u * u + 1
    far = ((CUBIC * u - 5 * CUBIC) * u + 8 * CUBIC) * u - 4 * CUBIC
    return np.where(u <= 1, near, far)


def pixel_shuffle(x: Any, upscale_factor: int) -> Array:
    """(…, C·r², H, W) -> (…, C, H·r, W·r): channels become places (Shi et al. 2016, arXiv 1609.05158)."""
    x, r = as_array(x, "pixel_shuffle"), upscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-3] % (r * r):
        raise ShapeError(
            f"pixel_shuffle by {r} of an input of shape {x.shape}; axis -3 isn't divisible{at_user_line()}"
        )
    *lead, c, h, w = x.shape
    k = len(lead)
    apart = permute(reshape(x, (*lead, c // (r * r), r, r, h, w)), (*range(k), k, k + 3, k + 1, k + 4, k + 2))
    return reshape(apart, (*lead, c // (r * r), h * r, w * r))


def pixel_unshuffle(x: Any, downscale_factor: int) -> Array:
    """(…, C, H·r, W·r) -> (…, C·r², H, W): the inverse of `pixel_shuffle`."""
    x, r = as_array(x, "pixel_unshuffle"), downscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-1] % r or x.shape[-2] % r:
        raise ShapeError(f"pixel_unshuffle by {r} of an input of shape {x.shape}; not divisible{at_user_line()}")
    *lead, c, h, w = x.shape
    k = len(lead)
    apart = permute(reshape(x, (*lead, c, h // r, r, w // r, r)), (*range(k), k, k + 2, k + 4, k + 1, k + 3))
    return reshape(apart, (*lead, c * r * r, h // r, w // r))
