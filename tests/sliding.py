"""The families of random programs that multiply and slide: batched products, convolutions, pooling, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import wengert as wg
from tests.families import Pick, Proposal, Shape, Value, family, small
from wengert.ops.window import spread

FORMS = ("bij,bjk->bik", "bij,bkj->bik", "bji,bjk->bik", "bji,bkj->bik", "bij,bjk->kib", "ibj,jbk->bik")


def _lengths(form: str, x: Shape, y: Shape) -> dict[str, int] | None:
    """The length of each letter, if the shapes agree on it."""
    terms = form.split("->", maxsplit=1)[0].split(",")
    found: dict[str, int] = {}
    for letters, shape in zip(terms, (x, y), strict=True):
        for letter, d in zip(letters, shape, strict=True):
            if found.setdefault(letter, d) != d:
                return None
    return found


def _batched(values: Sequence[Value], pick: Pick) -> Proposal | None:
    three = [i for i, v in enumerate(values) if len(v.shape) == 3]
    fit = [
        (i, j, form, tuple(n[letter] for letter in form.split("->")[1]), n["j"])
        for i in three
        for j in three
        for form in FORMS
        if (n := _lengths(form, values[i].shape, values[j].shape)) is not None
    ]
    fit = [f for f in fit if small(f[3])]
    if not fit:
        return None
    i, j, form, out, depth = fit[pick(len(fit))]
    return Proposal((i, j), (form,), Value(out, depth * values[i].bound * values[j].bound))


@family(_batched)
def batched(x: Any, y: Any, form: str) -> Any:
    return wg.einsum(form, x, y)


def _images(values: Sequence[Value], pick: Pick) -> int | None:
    fit = [i for i, v in enumerate(values) if len(v.shape) == 3]
    return fit[pick(len(fit))] if fit else None


def _slide(values: Sequence[Value], pick: Pick) -> Proposal | None:
    """Settings for a convolution of (batch, channels, places) by kernels cut from it, or for its adjoint."""
    i = _images(values, pick)
    if i is None:
        return None
    (n, c, d), b = values[i]
    transposed = bool(pick(2))
    groups = c if pick(3) == 2 and n % c == 0 and not transposed else 1
    taps, stride, dilation = 1 + pick(min(d, 4)), 1 + pick(2), 1 + pick(2)
    low, high = pick(taps), pick(taps)
    reach = spread(taps, dilation)
    length = (d - 1) * stride + reach - 2 * low if transposed else (d + low + high - reach) // stride + 1
    if length < 1 or (not transposed and d + low + high < reach):
        return None
    out = (n, n, length)
    params = (transposed, taps, stride, dilation, (low, low if transposed else high), groups)
    return Proposal((i,), params, Value(out, c * taps * b)) if small(out) else None


@family(_slide)
def slide(
    x: Any, transposed: bool, taps: int, stride: int, dilation: int, padding: tuple[int, int], groups: int
) -> Any:
    kernel = wg.sin(x[:, : x.shape[1] // groups, :taps])
    if transposed:
        kernel = wg.permute_dims(kernel, (1, 0, 2))
        return wg.conv_transpose(x, kernel, stride=stride, dilation=dilation, padding=padding[0])
    return wg.conv(x, kernel, stride=stride, dilation=dilation, padding=(padding,), groups=groups)


def _picture(values: Sequence[Value], pick: Pick) -> Proposal | None:
    """The same in two dimensions, for one example of shape (channels, height, width)."""
    i = _images(values, pick)
    if i is None:
        return None
    (c, h, w), b = values[i]
    rows, columns = 1 + pick(min(h, 3)), 1 + pick(min(w, 3))
    stride, padding, filters = (1 + pick(2), 1 + pick(2)), (pick(rows), pick(columns)), 1 + pick(3)
    places = zip((h, w), (rows, columns), stride, padding, strict=True)
    out = (filters, *((d + 2 * p - k) // s + 1 for d, k, s, p in places))
    params = (rows, columns, stride, padding, filters)
    return Proposal((i,), params, Value(out, c * rows * columns * b)) if small(out) else None


@family(_picture)
def picture(x: Any, rows: int, columns: int, stride: tuple[int, int], padding: tuple[int, int], filters: int) -> Any:
    one = x[:, :rows, :columns]
    kernel = wg.stack([wg.sin((k + 1.0) * one) for k in range(filters)])
    return wg.conv(x, kernel, stride=stride, padding=padding)


def _pool(values: Sequence[Value], pick: Pick) -> Proposal | None:
    fit = [i for i, v in enumerate(values) if len(v.shape) >= 2]
    if not fit:
        return None
    i = fit[pick(len(fit))]
    shape, b = values[i]
    n = 1 + pick(len(shape) - 1)
    window = tuple(1 + pick(min(d, 3)) for d in shape[-n:])
    stride, padding = tuple(1 + pick(2) for _ in window), tuple(pick((k + 1) // 2 + 1) if k > 1 else 0 for k in window)
    padding = tuple(min(p, k // 2) for p, k in zip(padding, window, strict=True))
    places = zip(shape[-n:], window, stride, padding, strict=True)
    out = (*shape[:-n], *((d + 2 * p - k) // s + 1 for d, k, s, p in places))
    return Proposal((i,), (bool(pick(2)), window, stride, padding), Value(out, b)) if small(out) else None


@family(_pool)
def pool(x: Any, greatest: bool, window: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> Any:
    return (wg.max_pool if greatest else wg.avg_pool)(x, window, stride=stride, padding=padding)
