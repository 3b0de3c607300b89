"""Pictures cut into patches and put together from them, and channels in another order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.nn.functional.inputs import as_integers
from wengert.ops.index import scatter
from wengert.ops.promote import as_array, number
from wengert.ops.shape import broadcast_to, concat_p, pad_p, permute, reshape, slice_p
from wengert.ops.window import spread
from wengert.source import at_user_line

Setting = int | Sequence[int]
Pair = tuple[int, int]


def unfold(
    x: Any, kernel_size: Setting, dilation: Setting = 1, padding: Setting = 0, stride: Setting = 1
) -> Array:  # fmt: skip
    """The patches that a convolution would see, as columns.

    Args:
        x: (N, C, H, W), or (C, H, W).
        kernel_size, dilation, padding, stride: a number, or one for each of the two axes.

    Returns:
        (N, C·kh·kw, L) for L patches, row by row; a column holds channel by channel the patch, row by row.

    Raises:
        ShapeError: a patch doesn't fit into the picture.

    Example:
        >>> nn.functional.unfold(wg.ones((1, 3, 4, 5)), 2).shape
        (1, 12, 12)
    """
    x = as_array(x, "unfold")
    if x.ndim not in (3, 4):
        raise ShapeError(f"unfold: the input has shape {x.shape}; expected (N, C, H, W) or (C, H, W){at_user_line()}")
    p = Patches("unfold", x.shape[-2:], kernel_size, dilation, padding, stride)
    lead = x.shape[:-2]
    none = ((0, 0, 0),) * len(lead)
    wide = pad_p.bind(x, number(0, x.dtype), padding=(*none, *((n, n, 0) for n in p.padding)))
    parts = []
    for tap in np.ndindex(*p.size):
        start = tuple(t * d for t, d in zip(tap, p.dilation, strict=True))
        stop = tuple(b + spread(c, s) for b, c, s in zip(start, p.counts, p.stride, strict=True))
        bounds = {"start": (0,) * len(lead) + start, "stop": (*lead, *stop), "step": (1,) * len(lead) + p.stride}
        parts.append(reshape(slice_p.bind(wide, **bounds), (*lead, 1, math.prod(p.counts))))
    columns = concat_p.bind(*parts, axis=len(lead))
    return reshape(columns, (*lead[:-1], lead[-1] * math.prod(p.size), math.prod(p.counts)))


def fold(
    x: Any, output_size: Setting, kernel_size: Setting, dilation: Setting = 1, padding: Setting = 0,
    stride: Setting = 1,
) -> Array:  # fmt: skip
    """The sum of patches in their places: the adjoint of `unfold`.

    Args:
        x: (N, C·kh·kw, L), or without N.
        output_size: (H, W) of the picture.
        kernel_size, dilation, padding, stride: as for `unfold` of that picture.

    Returns:
        (N, C, H, W).

    Raises:
        ShapeError: there are not as many patches as that picture has.
    """
    x = as_array(x, "fold")
    height_width = _pair("fold", "output_size", output_size)
    p = Patches("fold", height_width, kernel_size, dilation, padding, stride)
    size, length = math.prod(p.size), math.prod(p.counts)
    if x.ndim not in (2, 3) or x.shape[-2] % size or x.shape[-1] != length:
        raise ShapeError(
            f"fold: the input has shape {x.shape}; a picture of {height_width} has {length} patches of {p.size}, so "
            f"(N, C·{size}, {length}) is expected{at_user_line()}"
        )
    lead = (*x.shape[:-2], x.shape[-2] // size)
    taps = reshape(x, (*lead, *p.size, *p.counts))
    none, k = ((0, 0, 0),) * len(lead), len(lead)
    total = None
    for tap in np.ndindex(*p.size):
        bounds = {
            "start": (0,) * k + tap + (0, 0), "stop": (*lead, *(t + 1 for t in tap), *p.counts),
            "step": (1,) * taps.ndim,
        }  # fmt: skip
        part = reshape(slice_p.bind(taps, **bounds), (*lead, *p.counts))
        where = []
        for t, d, c, s, n, size_ in zip(
            tap, p.dilation, p.counts, p.stride, p.padding, height_width, strict=True
        ):  # fmt: skip
            low = t * d - n
            where.append((low, size_ - low - spread(c, s), s - 1))
        part = pad_p.bind(part, number(0, x.dtype), padding=(*none, *where))
        total = part if total is None else total + part
    assert total is not None
    return total


def channel_shuffle(x: Any, groups: int) -> Array:
    """(N, C, …): the channels of the groups in turn, so that later groups see all (Zhang 2017, arXiv 1707.01083)."""
    x = as_array(x, "channel_shuffle")
    if x.ndim < 3 or groups < 1 or x.shape[1] % groups:
        raise ShapeError(
            f"channel_shuffle: the input has shape {x.shape}; expected (N, C, …) with C divisible by {groups} groups"
            + at_user_line()
        )
    n, c, *rest = x.shape
    apart = reshape(x, (n, groups, c // groups, *rest))
    return reshape(permute(apart, (0, 2, 1, *range(3, apart.ndim))), x.shape)


def max_unpool_n(
    n: int, x: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Array:  # fmt: skip
    """What `max_unpool1d`, `max_unpool2d` and `max_unpool3d` are."""
    what = f"max_unpool{n}d"
    x, at = as_array(x, what), as_integers(indices, f"{what}: the indices")
    if x.shape != at.shape or x.ndim not in (n + 1, n + 2):
        raise ShapeError(
            f"{what}: the input has shape {x.shape}, the indices {at.shape}; expected the same, with {n} spatial axes"
            + at_user_line()
        )
    size = _each(what, "kernel_size", kernel_size, n)
    step = size if stride is None else _each(what, "stride", stride, n)
    edge = _each(what, "padding", padding, n, least=0)
    lead, inner = x.shape[: x.ndim - n], x.shape[x.ndim - n :]
    smallest = tuple((d - 1) * s - 2 * p + w for d, s, p, w in zip(inner, step, edge, size, strict=True))
    wanted = smallest if output_size is None else tuple(output_size)[-n:]
    if any(abs(a - b) >= s for a, b, s in zip(wanted, smallest, step, strict=True)):
        raise ShapeError(
            f"{what}: output_size {wanted} for an input of shape {x.shape}, which gives {smallest} or, along each "
            f"axis, less than {step} more or less{at_user_line()}"
        )
    room = math.prod(wanted)
    if at.trace is None and at.size and not 0 <= at.data.min() <= at.data.max() < room:
        raise ArgumentError(
            f"{what}: indices lie between {at.data.min()} and {at.data.max()}, but there are {room} places"
            + at_user_line()
        )
    rows, columns = math.prod(lead), math.prod(inner)
    flat = broadcast_to(number(0, x.dtype), (rows * room,))
    first = reshape(Array(np.arange(rows, dtype=at.dtype) * room), (rows, 1))
    places = reshape(reshape(at, (rows, columns)) + first, (rows * columns,))
    out = scatter(flat, reshape(x, (rows * columns,)), [places], (0,), "set")
    return reshape(out, (*lead, *wanted))


def max_unpool1d(
    x: Any, indices: Any, kernel_size: Setting, stride: Setting | None = None, padding: Setting = 0,
    output_size: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """Each element where `max_pool1d(…, return_indices=True)` found it, 0 elsewhere.

    Args:
        x, indices: what the pooling returned, (N, C, L) or (C, L).
        kernel_size, stride, padding: of the pooling.
        output_size: of its input, where several lengths give the same number of windows.

    Raises:
        ShapeError, ArgumentError: sizes or indices that no such pooling gives.
    """
    return max_unpool_n(1, x, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    x: Any, indices: Any, kernel_size: Setting, stride: Setting | None = None, padding: Setting = 0,
    output_size: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """`max_unpool1d` over two axes; indices count in the flattened picture."""
    return max_unpool_n(2, x, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    x: Any, indices: Any, kernel_size: Setting, stride: Setting | None = None, padding: Setting = 0,
    output_size: Sequence[int] | None = None,
) -> Array:  # fmt: skip
    """`max_unpool1d` over three axes."""
    return max_unpool_n(3, x, indices, kernel_size, stride, padding, output_size)


class Patches:
    """Where the patches of a picture lie."""

    def __init__(self, what: str, shape: Sequence[int], size: Any, dilation: Any, padding: Any, stride: Any):
        self.size = _pair(what, "kernel_size", size)
        self.dilation = _pair(what, "dilation", dilation)
        self.padding = _pair(what, "padding", padding, least=0)
        self.stride = _pair(what, "stride", stride)
        self.counts: Pair = tuple(  # type: ignore[assignment]
            (d + 2 * p - spread(w, step)) // s + 1
            for d, w, step, p, s in zip(shape, self.size, self.dilation, self.padding, self.stride, strict=True)
        )
        if min(self.counts) < 1:
            raise ShapeError(
                f"{what}: patches of {self.size} with dilation {self.dilation} do not fit into a picture of "
                f"{tuple(shape)} with padding {self.padding}{at_user_line()}"
            )


def _pair(what: str, name: str, value: Any, least: int = 1) -> Pair:
    return _each(what, name, value, 2, least)  # type: ignore[return-value]


def _each(what: str, name: str, value: Any, n: int, least: int = 1) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * n
    if len(values) != n or not all(
        isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v >= least for v in values
    ):
        raise ArgumentError(
            f"{what}: {name} is {value!r}; expected an integer of at least {least}, or {n} of them{at_user_line()}"
        )
    return tuple(int(v) for v in values)
