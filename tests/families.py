"""The operations that random programs are made of: families of steps on real arrays, with their shapes and bounds.

A family proposes a step from the values at hand: which of them it takes, its plain Python parameters, and the shape and
a bound of what it makes. Bounds keep programs tame, so that finite differences are sharp. Nothing here knows the graph:
a step is an expression in `wg` functions that any executor can run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import wengert as wg

Pick = Callable[[int], int]  # pick(n) chooses one of 0 … n-1
Shape = tuple[int, ...]


@dataclass
class Limits:
    """How large values may get: elements, axes, and the lengths of the inputs' axes."""

    size: int = 36
    ndim: int = 3
    extents: tuple[int, ...] = (1, 2, 3)


limits = Limits()


@contextmanager
def larger() -> Iterator[None]:
    """What is drawn inside has axes with whole vectors and something left over, and products with several tiles."""
    before = vars(limits).copy()
    limits.size, limits.extents = 1500, (1, 2, 3, 5, 8, 9, 16, 17, 31, 40)
    try:
        yield
    finally:
        vars(limits).update(before)


class Value(NamedTuple):
    """What is known of a value: its shape, and a number that its elements do not exceed in size."""

    shape: Shape
    bound: float


class Proposal(NamedTuple):
    """A step: the values that it takes, by number, its parameters, and what it makes: one value, or several."""

    args: tuple[int, ...]
    params: tuple[Any, ...]
    value: Value
    before: tuple[Value, ...] = ()  # those before the last one


class Family(NamedTuple):
    """`propose(values, pick)` gives a step or None where there is none; `apply(*arrays, *params)` does it."""

    propose: Callable[[Sequence[Value], Pick], Proposal | None]
    apply: Callable[..., Any]


FAMILIES: dict[str, Family] = {}


def family(propose: Callable[[Sequence[Value], Pick], Proposal | None]) -> Callable[..., Any]:
    """Registers the decorated function as what the steps of `propose` do; the family has its name."""

    def register(apply: Callable[..., Any]) -> Callable[..., Any]:
        FAMILIES[apply.__name__] = Family(propose, apply)
        return apply

    return register


def size(shape: Shape) -> int:
    return math.prod(shape)


def small(shape: Shape) -> bool:
    return size(shape) <= limits.size and len(shape) <= limits.ndim


def any_value(values: Sequence[Value], pick: Pick, at_least: int = 0) -> int | None:
    """The number of a value of at least so many dimensions, later ones as likely as earlier ones."""
    fit = [i for i, v in enumerate(values) if len(v.shape) >= at_least]
    return fit[pick(len(fit))] if fit else None


def broadcast(a: Shape, b: Shape) -> Shape | None:
    try:
        shape = np.broadcast_shapes(a, b)
    except ValueError:
        return None
    return shape if size(shape) <= limits.size else None


# Elementwise: a function, smooth nearly everywhere, and its bound by the bound of what it is given.


def _compiled(x: Any) -> Any:
    return wg.exp(-x * x) * wg.cos(x)


@wg.custom_jvp
def _ruled(x: Any) -> Any:
    return wg.sin(x) * wg.cos(x)


_ruled.defjvp(lambda primals, tangents: (_ruled(primals[0]), wg.cos(2 * primals[0]) * tangents[0]))


UNARY: dict[str, tuple[Callable[[Any], Any], Callable[[float], float]]] = {
    "sin": (wg.sin, lambda b: 1),
    "negative": (lambda x: -x, lambda b: b),
    "cos": (wg.cos, lambda b: 1),
    "tanh": (wg.tanh, lambda b: 1),
    "tan": (lambda x: wg.tan(0.5 * wg.tanh(x)), lambda b: 0.6),
    "atan": (wg.atan, lambda b: 1.6),
    "asin": (lambda x: wg.asin(0.7 * wg.sin(x)), lambda b: 0.8),
    "acosh": (lambda x: wg.acosh(1.5 + x * x), lambda b: math.acosh(1.5 + b * b)),
    "atanh": (lambda x: wg.atanh(0.7 * wg.sin(x)), lambda b: 0.9),
    "exp": (lambda x: wg.exp(0.5 * x), lambda b: math.exp(0.5 * b)),
    "expm1": (lambda x: wg.expm1(0.5 * x), lambda b: math.exp(0.5 * b)),
    "log": (lambda x: wg.log(1.5 + x * x), lambda b: math.log(1.5 + b * b)),
    "log1p": (lambda x: wg.log1p(x * x), lambda b: math.log1p(b * b)),
    "sqrt": (lambda x: wg.sqrt(0.5 + x * x), lambda b: 0.8 + b),
    "reciprocal": (lambda x: 1 / (1.5 + x * x), lambda b: 0.7),
    "square": (wg.square, lambda b: b * b),
    "cube": (lambda x: x**3, lambda b: b**3),
    "half_power": (lambda x: (1.0 + x * x) ** 1.5, lambda b: (1 + b * b) ** 1.5),
    "sinh": (lambda x: wg.sinh(0.5 * x), lambda b: math.sinh(0.5 * b)),
    "logistic": (lambda x: 1 / (1 + wg.exp(-x)), lambda b: 1),
    "abs": (wg.abs, lambda b: b),
    "relu": (lambda x: wg.maximum(x, 0.0), lambda b: b),
    "clip": (lambda x: wg.clip(x, -0.7, 0.8), lambda b: 0.8),
    "fraction": (lambda x: x - wg.floor(x), lambda b: 1),
    "erf": (wg.erf, lambda b: 1),
    "erfc": (wg.erfc, lambda b: 2),
    "asinh": (wg.asinh, lambda b: b),
    "log2": (lambda x: wg.log2(1.5 + x * x), lambda b: math.log2(1.5 + b * b)),
    "rsqrt": (lambda x: wg.rsqrt(0.5 + x * x), lambda b: 1.5),
    "digamma": (lambda x: wg.digamma(1.5 + x * x), lambda b: 1 + math.log(1.5 + b * b)),
    "gradient": (lambda x: wg.grad(lambda y: wg.sum(y * wg.tanh(y)))(x), lambda b: 1.2),
    "tangent": (lambda x: wg.jvp(lambda y: wg.sin(y) * y, (x,), (wg.cos(x),))[1], lambda b: 1 + b),
    "rule": (lambda x: _ruled(x), lambda b: 1),
    "lgamma": (lambda x: wg.lgamma(1.5 + x * x), lambda b: math.lgamma(2.5 + b * b)),
    "expit": (wg.expit, lambda b: 1),
    "xlogy": (lambda x: wg.xlogy(x * x, x * x), lambda b: 1 + b**4),
    "checkpoint": (lambda x: wg.checkpoint(lambda y: wg.sin(y) * wg.tanh(y))(x), lambda b: 1),
    "jit": (lambda x: wg.jit(_compiled)(x), lambda b: 1),
    "float32_constant": (lambda x: x * wg.asarray(0.5), lambda b: 0.5 * b),
}

BINARY: dict[str, tuple[Callable[[Any, Any], Any], Callable[[float, float], float]]] = {
    "add": (lambda x, y: x + y, lambda a, b: a + b),
    "subtract": (lambda x, y: x - y, lambda a, b: a + b),
    "multiply": (lambda x, y: x * y, lambda a, b: a * b),
    "divide": (lambda x, y: x / (1.5 + y * y), lambda a, b: 0.7 * a),
    "power": (lambda x, y: (1.5 + wg.tanh(x)) ** wg.sin(y), lambda a, b: 2.5),
    "maximum": (wg.maximum, max),
    "minimum": (wg.minimum, max),
    "atan2": (lambda x, y: wg.atan2(x, 1.0 + y * y), lambda a, b: 1.6),
    "hypot": (lambda x, y: wg.hypot(x, 1.0 + y * y), lambda a, b: a + 1 + b * b),
    "logaddexp": (wg.logaddexp, lambda a, b: max(a, b) + 0.7),
    "remainder": (lambda x, y: wg.remainder(x, 2.0 + wg.cos(y)), lambda a, b: 3),
    "where": (lambda x, y: wg.where(x > y, x * 0.5, wg.sin(y)), lambda a, b: max(a, 1)),
}


def _unary(values: Sequence[Value], pick: Pick) -> Proposal | None:
    name = list(UNARY)[pick(len(UNARY))]
    i = pick(len(values))
    return Proposal((i,), (name,), Value(values[i].shape, UNARY[name][1](values[i].bound)))


@family(_unary)
def unary(x: Any, name: str) -> Any:
    return UNARY[name][0](x)


def _binary(values: Sequence[Value], pick: Pick) -> Proposal | None:
    name = list(BINARY)[pick(len(BINARY))]
    i = pick(len(values))
    fit = [(j, s) for j, v in enumerate(values) if (s := broadcast(values[i].shape, v.shape)) is not None]
    j, shape = fit[pick(len(fit))]
    return Proposal((i, j), (name,), Value(shape, BINARY[name][1](values[i].bound, values[j].bound)))


@family(_binary)
def binary(x: Any, y: Any, name: str) -> Any:
    return BINARY[name][0](x, y)


# Reductions: bounds by the bound of an element and the number of elements.

REDUCE: dict[str, tuple[Callable[..., Any], Callable[[float, int], float]]] = {
    "sum": (wg.sum, lambda b, n: b * n),
    "mean": (wg.mean, lambda b, n: b),
    "max": (wg.max, lambda b, n: b),
    "min": (wg.min, lambda b, n: b),
    "prod": (lambda x, **k: wg.prod(1.0 + 0.2 * wg.sin(x), **k), lambda b, n: 1.2**n),
    "var": (wg.var, lambda b, n: b * b),
    "logsumexp": (lambda x, **k: wg.log(wg.sum(wg.exp(0.5 * x), **k)), lambda b, n: 0.5 * b + math.log(n)),
}


def _reduce(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    name = list(REDUCE)[pick(len(REDUCE))]
    shape = values[i].shape
    chosen = tuple(k for k in range(len(shape)) if pick(2)) or (pick(len(shape)),)
    keep = bool(pick(2))
    out = tuple(1 if k in chosen else d for k, d in enumerate(shape) if keep or k not in chosen)
    n = size(tuple(shape[k] for k in chosen))
    axis = chosen[0] - len(shape) if len(chosen) == 1 else chosen
    return Proposal((i,), (name, axis, keep), Value(out, REDUCE[name][1](values[i].bound, n)))


@family(_reduce)
def reduce(x: Any, name: str, axis: Any, keep: bool) -> Any:
    return REDUCE[name][0](x, axis=axis, keepdims=keep)


RUNNING: dict[str, tuple[Callable[[Any, int], Any], Callable[[float, int], float]]] = {
    "sum": (lambda x, k: wg.cumulative_sum(x, axis=k), lambda b, n: b * n),
    "prod": (lambda x, k: wg.cumulative_prod(1.0 + 0.2 * wg.sin(x), axis=k), lambda b, n: 1.2**n),
    "max": (lambda x, k: wg.cumulative_max(x, axis=k), lambda b, n: b),
    "logsumexp": (lambda x, k: wg.cumulative_logsumexp(x, axis=k), lambda b, n: b + math.log(n)),
    "softmax": (lambda x, k: wg.softmax(x, axis=k), lambda b, n: 1),
    "spectrum": (lambda x, k: wg.abs(wg.fft.fft(x, axis=k) + (7.0 + 1j)), lambda b, n: b * n + 8),
    "combine": (lambda x, k: wg.associative_scan(lambda a, b: wg.sin(a) * b + b, x, axis=k), lambda b, n: 2 * b),
}


def _cumulative(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    shape, b = values[i]
    axis, how = pick(len(shape)), list(RUNNING)[pick(len(RUNNING))]
    return Proposal((i,), (axis, how), Value(shape, RUNNING[how][1](b, shape[axis])))


@family(_cumulative)
def cumulative(x: Any, axis: int, how: str) -> Any:
    return RUNNING[how][0](x, axis)


# Products


def _contract(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    a = values[i].shape
    k = pick(len(a))
    fit = [
        (j, m)
        for j, v in enumerate(values)
        for m, d in enumerate(v.shape)
        if d == a[k] and size(a) * size(v.shape) <= limits.size * d * d and len(a) + len(v.shape) - 2 <= limits.ndim
    ]
    if not fit:
        return None
    j, m = fit[pick(len(fit))]
    b = values[j].shape
    out = (*a[:k], *a[k + 1 :], *b[:m], *b[m + 1 :])
    return Proposal((i, j), (k, m), Value(out, a[k] * values[i].bound * values[j].bound))


@family(_contract)
def contract(x: Any, y: Any, k: int, m: int) -> Any:
    if (k, m) == (x.ndim - 1, max(y.ndim - 2, 0)) and y.ndim <= 2:
        return x @ y
    return wg.tensordot(x, y, axes=((k,), (m,)))


def _convolve(values: Sequence[Value], pick: Pick) -> Proposal | None:
    fit = [i for i, v in enumerate(values) if len(v.shape) == 3]
    if not fit:
        return None
    i, padding = fit[pick(len(fit))], pick(2)
    n, c, d = values[i].shape
    taps = 1 + pick(d)
    out = (n, n, d + 2 * padding - taps + 1)
    return Proposal((i,), (taps, padding), Value(out, c * taps * values[i].bound ** 2)) if small(out) else None


@family(_convolve)
def convolve(x: Any, taps: int, padding: int) -> Any:
    return wg.conv(x, wg.sin(x[:, :, :taps]), padding=padding)


def _matrix(values: Sequence[Value], pick: Pick) -> Proposal | None:
    fit = [i for i, v in enumerate(values) if len(v.shape) >= 2 and v.shape[-1] == v.shape[-2]]
    if not fit:
        return None
    i, how = fit[pick(len(fit))], ("solve", "inv", "cholesky", "det")[pick(4)]
    shape, n = values[i].shape, values[i].shape[-1]
    if how == "det" and n > 6:  # beyond the range of single precision
        how = "inv"
    bound = {"solve": 1, "inv": 1, "cholesky": 2 + n, "det": (3.0 + n) ** n}[how]
    return Proposal((i,), (how,), Value(shape[:-2] if how == "det" else shape, bound))


@family(_matrix)
def matrix(x: Any, how: str) -> Any:
    tame = wg.sin(x)
    strong = tame + (1.5 + x.shape[-1]) * wg.eye(x.shape[-1], dtype=x.dtype)  # diagonally dominant
    if how == "solve":
        return wg.linalg.solve(strong, tame)
    if how == "inv":
        return wg.linalg.inv(strong)
    if how == "det":
        return wg.linalg.det(strong)
    return wg.linalg.cholesky(tame @ tame.mT + 2.0 * wg.eye(x.shape[-1], dtype=x.dtype))
