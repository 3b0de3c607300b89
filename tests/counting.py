"""The families of random programs in which whole numbers and truth values are at work. Importing it registers them.

Their steps are flat nearly everywhere, or move elements to positions that the program computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import wengert as wg
from tests.families import Pick, Proposal, Value, any_value, broadcast, family, limits, size, small

__all__ = ["whole"]


def whole(x: Any) -> Any:
    """Integers between -3 and 3; what is exactly 0 or 1 doesn't come to lie on an edge."""
    return wg.astype(wg.floor(3.1 * wg.sin(x) + 0.37), wg.int64)


def _truth(x: Any) -> Any:
    return (x > 0.11) & ~(x > 0.93) | (whole(x) == 1) ^ (x < -1.07)


COUNT: dict[str, tuple[Callable[[Any], Any], float]] = {
    "floor divide": (lambda x: (whole(x) * 7 + 3) // 4, 6),
    "remainder": (lambda x: (whole(x) * 7 + 3) % 5, 4),
    "bits": (lambda x: ((whole(x) & 6) ^ (whole(x) << 1)) | 1, 15),
    "bytes": (lambda x: wg.astype(wg.astype(whole(x), wg.int8) * wg.asarray(41, dtype=wg.int8), wg.int64) // 32, 4),
    "unsigned": (lambda x: wg.astype(whole(x) + 5, wg.uint32) >> 1, 4),
    "truth": (_truth, 1),
    "choice": (lambda x: wg.where(_truth(x), whole(x), 2), 3),
    "rounded": (lambda x: wg.round(2.3 * wg.sin(x) + 0.21), 3),
    "sign": (lambda x: wg.sign(wg.sin(x) + 0.013), 1),
}


def _count(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i, name = pick(len(values)), list(COUNT)[pick(len(COUNT))]
    return Proposal((i,), (name,), Value(values[i].shape, values[i].bound + COUNT[name][1]))


@family(_count)
def count(x: Any, name: str) -> Any:
    return x + wg.astype(COUNT[name][0](x), x.dtype)


ALONG: dict[str, tuple[Callable[[Any, int], Any], Callable[[int], float], bool]] = {
    "argmax": (lambda x, k: wg.argmax(x, axis=k), lambda n: n, True),
    "argmin": (lambda x, k: wg.argmin(x, axis=k), lambda n: n, True),
    "nonzero": (lambda x, k: wg.count_nonzero(_truth(x), axis=k), lambda n: n, True),
    "all": (lambda x, k: wg.all(_truth(x), axis=k), lambda n: 1, True),
    "any": (lambda x, k: wg.any(_truth(x), axis=k), lambda n: 1, True),
    "sum": (lambda x, k: wg.sum(whole(x), axis=k), lambda n: 3 * n, True),
    "greatest": (lambda x, k: wg.max(whole(x), axis=k), lambda n: 3, True),
    "ranks": (lambda x, k: wg.argsort(x, axis=k), lambda n: n, False),
    "running": (lambda x, k: wg.cumulative_sum(whole(x), axis=k), lambda n: 3 * n, False),
}


def _along(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    shape = values[i].shape
    k, name = pick(len(shape)), list(ALONG)[pick(len(ALONG))]
    _, bound, less = ALONG[name]
    return Proposal((i,), (name, k), Value((*shape[:k], *shape[k + 1 :]) if less else shape, bound(shape[k])))


@family(_along)
def along(x: Any, name: str, axis: int) -> Any:
    return wg.astype(ALONG[name][0](x, axis), x.dtype)


def _find(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i, j = any_value(values, pick, 1), pick(len(values))
    if i is None:
        return None
    n = size(values[i].shape)
    return Proposal((i, j), (bool(pick(2)),), Value(values[j].shape, values[j].bound + n))


@family(_find)
def find(x: Any, y: Any, right: bool) -> Any:
    """How many elements of x are below those of y."""
    found = wg.searchsorted(wg.sort(wg.reshape(x, (-1,))), y, side="right" if right else "left")
    return y + wg.astype(found, y.dtype)


# Positions that the program computes


def _fetch(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i, j = any_value(values, pick, 1), pick(len(values))
    if i is None:
        return None
    shape, at = values[i].shape, values[j].shape
    k = pick(len(shape))
    out = (*shape[:k], *at, *shape[k + 1 :])
    return Proposal((i, j), (k,), Value(out, values[i].bound)) if small(out) else None


@family(_fetch)
def fetch(x: Any, y: Any, axis: int) -> Any:
    return wg.take(x, whole(y) % x.shape[axis], axis=axis)


def _lookup(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i, j = any_value(values, pick, 1), pick(len(values))
    if i is None:
        return None
    return Proposal((i, j), (pick(3),), Value(values[i].shape[1:], values[i].bound))


@family(_lookup)
def lookup(x: Any, y: Any, hops: int) -> Any:
    """A row of x: the one that y says, or the one that stands there in a table."""
    n = x.shape[0]
    table, place = (3 * wg.arange(n) + 1) % n, whole(wg.reshape(y, (-1,))[0]) % n
    for _ in range(hops):
        place = table[place]
    return x[place]


def _store(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    shape, b = values[i]
    n = 1 + pick(4)
    fit = [j for j, v in enumerate(values) if broadcast((n, *shape[1:]), v.shape) == (n, *shape[1:])]
    if not fit:
        return None
    j = fit[pick(len(fit))]
    return Proposal((i, j), (n, ("add", "max")[pick(2)]), Value(shape, b + n * values[j].bound))


@family(_store)
def store(x: Any, y: Any, n: int, how: str) -> Any:
    """Rows of y are put where x says; several may meet in one place."""
    flat = wg.reshape(x, (-1,))
    places = whole(wg.take(flat, wg.arange(n) % flat.shape[0])) % x.shape[0]
    return getattr(x.at[places], how)(y)


def _window(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    shape, b = values[i]
    sizes = tuple(1 + pick(d) for d in shape)
    back = bool(pick(2))
    return Proposal((i,), (sizes, back), Value(shape if back else sizes, b + 1))


@family(_window)
def window(x: Any, sizes: tuple[int, ...], back: bool) -> Any:
    """A window that begins where the first element says, or one that is written there."""
    start = whole(wg.reshape(x, (-1,))[0])
    starts = [start % d for d in x.shape]
    piece = wg.dynamic_slice(x, starts, sizes)
    return wg.dynamic_update_slice(x, wg.sin(piece), [start + 1] * x.ndim) if back else piece


def _largest(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    shape, b = values[i]
    axis = pick(len(shape))
    k = 1 + pick(shape[axis])
    return Proposal((i,), (k, axis), Value((*shape[:axis], k, *shape[axis + 1 :]), b + shape[axis]))


@family(_largest)
def largest(x: Any, k: int, axis: int) -> Any:
    found, places = wg.top_k(x, k, axis=axis)
    return found + wg.astype(places, x.dtype)


def _draws(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = pick(len(values))
    return Proposal((i,), (pick(100), bool(pick(2))), Value(values[i].shape, values[i].bound + 1))


@family(_draws)
def noise(x: Any, seed: int, coins: bool) -> Any:
    """What is drawn is the same everywhere, bit for bit."""
    key = wg.random.fold_in(wg.random.key(seed), 3)
    if coins:
        return wg.where(wg.random.bernoulli(key, 0.4, x.shape), x, 0.5)
    return x + wg.astype(wg.random.uniform(key, x.shape), x.dtype)


def _hot(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = pick(len(values))
    shape = (*values[i].shape, 4)
    fits = len(shape) <= limits.ndim and size(shape) <= limits.size
    return Proposal((i,), (), Value(shape, values[i].bound)) if fits else None


@family(_hot)
def hot(x: Any) -> Any:
    """Each element at one of four places."""
    return wg.expand_dims(x, axis=-1) * wg.one_hot(whole(x) % 4, 4, dtype=x.dtype)
