"""The families of random programs that move elements: shapes and indexing. Importing it registers them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import wengert as wg
from tests.families import (
    FAMILIES,
    Pick,
    Proposal,
    Shape,
    Value,
    any_value,
    broadcast,
    family,
    limits,
    size,
    small,
)

__all__ = ["FAMILIES"]  # with the families of this file in it


def _factorisations(n: int) -> list[Shape]:
    two = [(a, n // a) for a in range(1, n + 1) if n % a == 0]
    return [(n,), *two, *[(a, b, c // b) for a, c in two for b in range(1, c + 1) if c % b == 0]]


def _reshape(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = pick(len(values))
    shapes = _factorisations(size(values[i].shape))
    shape = shapes[pick(len(shapes))]
    return Proposal((i,), (shape,), Value(shape, values[i].bound))


@family(_reshape)
def reshape(x: Any, shape: Shape) -> Any:
    return wg.reshape(x, shape)


def _permute(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 2)
    if i is None:
        return None
    rest, axes = list(range(len(values[i].shape))), []
    while rest:
        axes.append(rest.pop(pick(len(rest))))
    return Proposal((i,), (tuple(axes),), Value(tuple(values[i].shape[a] for a in axes), values[i].bound))


@family(_permute)
def permute(x: Any, axes: tuple[int, ...]) -> Any:
    return wg.permute_dims(x, axes)


REARRANGE: dict[str, tuple[Callable[[Any, int], Any], Callable[[Shape, int], Shape]]] = {
    "flip": (lambda x, k: wg.flip(x, axis=k), lambda s, k: s),
    "roll": (lambda x, k: wg.roll(x, 2, axis=k), lambda s, k: s),
    "tile": (
        lambda x, k: wg.tile(x, (*(1,) * k, 2, *(1,) * (x.ndim - k - 1))),
        lambda s, k: (*s[:k], 2 * s[k], *s[k + 1 :]),
    ),
    "repeat": (lambda x, k: wg.repeat(x, 2, axis=k), lambda s, k: (*s[:k], 2 * s[k], *s[k + 1 :])),
    "expand": (lambda x, k: wg.expand_dims(x, axis=k), lambda s, k: (*s[:k], 1, *s[k:])),
    "stretch": (lambda x, k: wg.broadcast_to(x, (2, *x.shape)), lambda s, k: (2, *s)),
}


def _rearrange(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    k, how = pick(len(values[i].shape)), list(REARRANGE)[pick(len(REARRANGE))]
    out = REARRANGE[how][1](values[i].shape, k)
    return Proposal((i,), (how, k), Value(out, values[i].bound)) if small(out) else None


@family(_rearrange)
def rearrange(x: Any, how: str, axis: int) -> Any:
    return REARRANGE[how][0](x, axis)


def _join(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    shape = values[i].shape
    fit = [j for j, v in enumerate(values) if v.shape == shape]
    j, k, stacked = fit[pick(len(fit))], pick(len(shape)), bool(pick(2))
    out = (*shape[:k], 2, *shape[k:]) if stacked else (*shape[:k], 2 * shape[k], *shape[k + 1 :])
    return Proposal((i, j), (k, stacked), Value(out, max(values[i].bound, values[j].bound))) if small(out) else None


@family(_join)
def join(x: Any, y: Any, axis: int, stacked: bool) -> Any:
    return wg.stack([x, y], axis=axis) if stacked else wg.concat([x, y], axis=axis)


# Indexing


def _slice(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    key: list[Any] = []
    out: list[int] = []
    for d in values[i].shape:
        how = pick(5)
        if how == 0:
            key.append(pick(d) - (d if pick(2) else 0))
            continue
        start = pick(d)
        part = (slice(None), slice(start, None), slice(None, None, -1), slice(None, start + 1, 2))[how - 1]
        key.append(part)
        out.append(len(range(*part.indices(d))))
    if pick(4) == 0 and len(out) < limits.ndim:
        key.append(None)
        out.append(1)
    return Proposal((i,), (tuple(key),), Value(tuple(out), values[i].bound))


@family(_slice)
def index(x: Any, key: tuple[Any, ...]) -> Any:
    return x[key]


def _gather(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    shape, b = values[i]
    k = pick(len(shape))
    chosen = tuple(pick(shape[k]) for _ in range(1 + pick(4)))
    out = (*shape[:k], len(chosen), *shape[k + 1 :])
    how = ("take", "index", "along")[pick(3)]
    if how == "along":  # the same places in every row
        chosen, out = tuple(pick(shape[k]) for _ in range(shape[k])), shape
    return Proposal((i,), (how, k, chosen), Value(out, b)) if size(out) <= limits.size else None


@family(_gather)
def gather(x: Any, how: str, axis: int, chosen: tuple[int, ...]) -> Any:
    places = np.asarray(chosen)
    if how == "take":
        return wg.take(x, wg.asarray(places), axis=axis)
    if how == "index":
        return x[(slice(None),) * axis + (places,)]
    column = places.reshape([-1 if k == axis else 1 for k in range(x.ndim)])
    return wg.take_along_axis(x, wg.asarray(np.broadcast_to(column, x.shape).copy()), axis=axis)


def _scatter(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    shape, b = values[i]
    places = tuple(pick(shape[0]) for _ in range(1 + pick(3)))
    how = ("set", "add")[pick(2)]
    if how == "set":
        places = tuple(dict.fromkeys(places))  # a place that is set twice has no one derivative
    fit = [
        j for j, v in enumerate(values) if broadcast((len(places), *shape[1:]), v.shape) == (len(places), *shape[1:])
    ]
    if not fit:
        return None
    j = fit[pick(len(fit))]
    return Proposal((i, j), (how, places), Value(shape, b + len(places) * values[j].bound))


@family(_scatter)
def scatter(x: Any, y: Any, how: str, places: tuple[int, ...]) -> Any:
    return getattr(x.at[np.asarray(places)], how)(y)


def _sort(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    return None if i is None else Proposal((i,), (pick(len(values[i].shape)), bool(pick(2))), values[i])


@family(_sort)
def sort(x: Any, axis: int, descending: bool) -> Any:
    return wg.sort(x, axis=axis, descending=descending)
