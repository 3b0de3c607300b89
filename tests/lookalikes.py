"""The families of random programs that look like what a graph pass knows, and are it or are not quite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import wengert as wg
from tests.families import Pick, Proposal, Value, any_value, broadcast, family

__all__ = ["centre"]


def _centre(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    shape, b = values[i]
    k = pick(len(shape))
    mean = (*shape[:k], *shape[k + 1 :])
    beside = [m for m in range(len(shape)) if broadcast(shape, (*mean[:m], 1, *mean[m:])) == shape]
    m = k if pick(2) else beside[pick(len(beside))]
    how = ("mean", "mean", "near", "opposite")[pick(4)]
    summed = k if pick(3) else pick(len(shape))
    left = (*shape[:summed], *shape[summed + 1 :])
    return Proposal((i,), (k, m, how, summed), Value(shape, 2 * b), (Value(left, 2 * b * shape[summed] + 1),))


@family(_centre)
def centre(x: Any, axis: int, beside: int, how: str, summed: int) -> Any:
    """`x` without its mean, which stands where it was taken or beside other numbers, and a sum of that."""
    total = wg.sum(x, axis=axis)
    shift = wg.expand_dims(wg.mean(x, axis=axis) if how == "mean" else total / x.shape[axis], axis=beside)
    if how == "near":
        shift = wg.expand_dims(total * round(1 / x.shape[axis], 4), axis=beside)
    left = x + -shift if how == "opposite" else x - shift
    return wg.sum(0.5 * left, axis=summed) + wg.mean(wg.sin(x), axis=summed), left  # not all equal but for rounding


CONSTANT: dict[str, tuple[Callable[[Any], Any], Callable[[float], float]]] = {
    "plus 0": (lambda x: x + 0.0, lambda b: b),
    "0 minus": (lambda x: 0.0 - x, lambda b: b),
    "times 0": (lambda x: x * 0.0, lambda b: 0.5),
    "times 1": (lambda x: 1.0 * x, lambda b: b),
    "times -1": (lambda x: x * -1.0, lambda b: b),
    "times 2, negative": (lambda x: -(x * 2.0), lambda b: 2 * b),
    "over 4": (lambda x: x / 4.0, lambda b: b),
    "over 3": (lambda x: x / -3.0, lambda b: b),
    "to the 0": (lambda x: x**0.0 + x, lambda b: b + 1),
    "to the 2": (lambda x: x**2.0, lambda b: b * b),
    "to the -1": (lambda x: (1.5 + x * x) ** -1.0, lambda b: 0.7),
    "twice": (lambda x: x + x, lambda b: 2 * b),
    "zeros": (lambda x: x + wg.zeros_like(x) * wg.exp(x), lambda b: b),
    "ones": (lambda x: x * wg.ones((*x.shape,), dtype=x.dtype), lambda b: b),
    "number": (lambda x: wg.zeros_like(x) + 0.7, lambda b: 0.7),
}


def _constant(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i, name = pick(len(values)), list(CONSTANT)[pick(len(CONSTANT))]
    return Proposal((i,), (name,), Value(values[i].shape, CONSTANT[name][1](values[i].bound)))


@family(_constant)
def constant(x: Any, name: str) -> Any:
    return CONSTANT[name][0](x)


def _masked(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = pick(len(values))
    fit = [j for j, v in enumerate(values) if broadcast(values[i].shape, v.shape) == values[i].shape]
    j = fit[pick(len(fit))]
    params = (bool(pick(2)), (0.0, 0.0, 0.3)[pick(3)], (0.0, 0.0, -0.2)[pick(3)])
    b = max(values[i].bound, values[j].bound, 1)
    return Proposal((i, j), params, Value(values[i].shape, b), (Value(values[i].shape, b),))


@family(_masked)
def masked(x: Any, y: Any, strict: bool, bound: float, instead: float) -> Any:
    """A rectifier, or nearly one, and its mask on something else."""
    low = x < bound if strict else x <= bound
    return wg.where(low, instead, x), wg.where(low, instead, y)
