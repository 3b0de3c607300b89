"""Layers and functions with random settings and shapes: what a draw is, and the tables that families fill."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import wengert as wg
from tests.torch_layers import TOLERANCE, compare_layer, move
from wengert import nn


@dataclasses.dataclass(frozen=True)
class Part:
    """A layer that is an argument of another."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Settings and inputs of one comparison.

    `call(layer or function, *inputs)` runs it where it is not just called with the inputs; of a function it is given
    one that has the settings already. `once` is that of `compare_layer`.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[np.ndarray]
    call: Callable[..., Any] | None = None
    once: str | None = None
    tolerance: Mapping[str, float] = dataclasses.field(default_factory=lambda: TOLERANCE)


Draw = Callable[[np.random.Generator], Drawn]
LAYERS: dict[str, tuple[Draw, int]] = {}
FUNCTIONS: dict[str, tuple[Draw, int]] = {}


def layer(*names: str, seeds: int = 4) -> Callable[[Callable[..., Drawn]], Callable[..., Drawn]]:
    """Enter a draw for layers. With `{n}` in a name, for one, two and three dimensions, each `draw(rng, n)`."""
    return lambda draw: _enter(LAYERS, draw, names, seeds)


def function(*names: str, seeds: int = 4) -> Callable[[Callable[..., Drawn]], Callable[..., Drawn]]:
    """Enter a draw for functions: inputs come first, then the settings."""
    return lambda draw: _enter(FUNCTIONS, draw, names, seeds)


def _enter(
    table: dict[str, tuple[Draw, int]], draw: Callable[..., Drawn], names: tuple[str, ...], seeds: int
) -> Callable[..., Drawn]:
    for name in names:
        for n in (1, 2, 3) if "{n}" in name else (0,):
            own = name.format(n=n)
            assert own not in table, f"{own} is drawn twice"
            table[own] = ((lambda rng, n=n: draw(rng, n)) if n else draw), seeds
    return draw


def cases(table: dict[str, tuple[Draw, int]]) -> list[tuple[str, int]]:
    return [(name, seed) for name, (_, seeds) in table.items() for seed in range(seeds)]


def compare_drawn_layer(name: str, drawn: Drawn) -> None:
    """In training, and again in use where that differs."""
    theirs, mine = move(*(made(Part(name, drawn.args, drawn.kwargs), lib) for lib in (__import__("torch"), wg)))
    compare_layer(theirs, mine, drawn.inputs, drawn.call, drawn.tolerance, drawn.once)
    if list(mine.buffers()):
        compare_layer(theirs.eval(), mine.eval(), drawn.inputs, drawn.call, drawn.tolerance, drawn.once)


def compare_drawn_function(name: str, drawn: Drawn) -> None:
    torch = __import__("torch")
    mine, theirs = getattr(nn.functional, name), getattr(torch.nn.functional, name, None) or getattr(torch, name)

    def run(_: Any, *xs: Any) -> Any:
        tensors = isinstance(xs[0], torch.Tensor)
        args, kwargs = (made(s, torch if tensors else wg) for s in (drawn.args, drawn.kwargs))

        def f(*xs: Any, **more: Any) -> Any:
            return (theirs if tensors else mine)(*xs, *args, **kwargs, **more)

        return drawn.call(f, *xs) if drawn.call else f(*xs)

    compare_layer(torch.nn.Identity(), nn.Identity(), drawn.inputs, run, drawn.tolerance, drawn.once)


def made(settings: Any, lib: Any) -> Any:
    """Settings with their parts made by a library, and their arrays as tensors for PyTorch."""
    if isinstance(settings, Part):
        return getattr(lib.nn, settings.name)(*made(settings.args, lib), **made(settings.kwargs, lib))
    if isinstance(settings, np.ndarray) and lib is not wg:
        return lib.tensor(settings)
    if type(settings) is tuple:
        return tuple(made(s, lib) for s in settings)
    return {k: made(v, lib) for k, v in settings.items()} if isinstance(settings, dict) else settings


def library(x: Any) -> Any:
    """The one that an input belongs to, for calls that are written for both."""
    return wg if isinstance(x, wg.Array) else __import__("torch")


def like(x: Any, constant: Any) -> Any:
    """An array that is no input, for the library of `x`."""
    return constant if isinstance(x, wg.Array) else __import__("torch").tensor(constant)


def number(rng: np.random.Generator, low: int, high: int) -> int:
    """Between two bounds, both of which may come."""
    return int(rng.integers(low, high + 1))


def sizes(rng: np.random.Generator, low: int, high: int, n: int) -> tuple[int, ...]:
    return tuple(number(rng, low, high) for _ in range(n))


def some(rng: np.random.Generator, low: int, high: int, n: int) -> Any:
    """A number for all axes, or one each."""
    values = sizes(rng, low, high, n)
    return values[0] if rng.uniform() < 0.4 else values


def each(v: Any, n: int) -> tuple[int, ...]:
    return v if isinstance(v, tuple) else (v,) * n


def coin(rng: np.random.Generator, p: float = 0.5) -> bool:
    return bool(rng.uniform() < p)


def one_of(rng: np.random.Generator, *values: Any) -> Any:
    return values[number(rng, 0, len(values) - 1)]


def batch(rng: np.random.Generator, *rest: int) -> tuple[int, ...]:
    """A shape with a batch in front, or one example's."""
    return rest if coin(rng, 0.2) else (number(rng, 1, 3), *rest)
