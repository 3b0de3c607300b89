"""How parts of a model are exchanged: on a copy, wherever they stand; and what each part was called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from wengert.flow.recipe import copied
from wengert.module import Module as Traced
from wengert.nn.containers import Sequential
from wengert.nn.init.whole import is_weighted
from wengert.nn.module import Module, around_calls
from wengert.nn.naming import parts


class Call(NamedTuple):
    """One call of a part: its name, the part, and the shapes that came and went."""

    name: str
    module: Module
    given: tuple[int, ...] | None
    made: tuple[int, ...] | None


def calls(model: Module, loss_fn: Callable[..., Any], batch: tuple[Any, ...]) -> list[Call]:
    """The calls of a model's parts while the loss is computed once, in the order in which they end.

    A copy is run, so that running statistics and random keys stay.
    """
    model = copied(model)
    names = {id(m): n for n, m in model.named_modules()}
    found: list[Call] = []

    def around(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = module.forward(*args, **kwargs)
        first = out[0] if isinstance(out, tuple) and out else out
        if id(module) in names:
            found.append(Call(names[id(module)], module, _shape(args[0] if args else None), _shape(first)))
        return out

    with around_calls(around):
        loss_fn(model, *batch)
    return found


def _shape(x: Any) -> tuple[int, ...] | None:
    return tuple(x.shape) if hasattr(x, "shape") else None


def exchange(model: Module, change: Callable[[str, Module], Module | None]) -> tuple[Module, int]:
    """A copy of the model in which `change(name, part)` has put others in the places of parts; and how many.

    Where `change` returns None, the part stays and its own parts are asked about.
    """
    model = copied(model)
    done: dict[int, Module] = {}
    count = 0

    def exchanged(name: str, x: Any) -> Any:
        nonlocal count
        if isinstance(x, Module):
            if id(x) not in done:
                done[id(x)] = x  # a part that contains itself is refused elsewhere
                new = change(name, x)
                if new is None:
                    inside(name, x)
                else:
                    count += 1
                    done[id(x)] = new
                    new.train(x.training)
            return done[id(x)]
        if isinstance(x, Traced | list | dict):
            inside(name, x)
        elif type(x) is tuple:
            return tuple(exchanged(f"{name}.{i}", v) for i, v in enumerate(x))
        return x

    def inside(name: str, x: Any) -> None:
        for key, part in list(parts(x)):
            if isinstance(part, (Traced, list, dict, tuple)) and not isinstance(part, np.ndarray):
                new = exchanged(f"{name}.{key}" if name else str(key), part)
                if new is not part:
                    if isinstance(x, (list, dict)):
                        x[key] = new
                    else:
                        setattr(x, key, new)
        if type(x) is Sequential:
            _spell(x)

    return exchanged("", model), count


def weighted(found: list[Call]) -> list[Call]:
    """The calls of linear layers and convolutions, each layer's first."""
    seen: set[int] = set()
    out = []
    for c in found:
        if is_weighted(c.module) and id(c.module) not in seen:
            seen.add(id(c.module))
            out.append(c)
    return out


class Spliced(Sequential):
    """Parts that are to stand in the place of one; a numbered row around them takes them in."""


def _spell(row: Sequential) -> None:
    """Take the parts of what is spliced into the row itself."""
    parts = list(row.named_children())
    if not any(isinstance(p, Spliced) for _, p in parts):
        return
    if all(k.isdecimal() for k, _ in parts):
        row._set([q for _, p in parts for q in (p if isinstance(p, Spliced) else [p])])
        return
    for k, _ in parts:
        delattr(row, k)
    for k, p in parts:
        for i, q in enumerate(p if isinstance(p, Spliced) else [p]):
            setattr(row, k if not i else f"{k}_then{i}", q)
