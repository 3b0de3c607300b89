"""What the arrays of a module are called, PyTorch's way (`layers.0.weight`), where they stand and what they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from wengert import tree
from wengert.errors import TreeError
from wengert.ir.array import Array
from wengert.module import Module
from wengert.source import at_user_line


class Entry:
    """One array of a model: its dotted name, the module and attribute it belongs to, and where to assign it."""

    __slots__ = ("attribute", "key", "name", "owner", "place", "value")

    def __init__(self, name: str, value: Any, owner: Module, attribute: str, place: Any, key: Any):
        self.name = name
        self.value = value
        self.owner = owner
        self.attribute = attribute
        self.place = place  # the module, list or dict that holds it
        self.key = key

    @property
    def buffer(self) -> bool:
        """Whether it is state and no parameter: declared so, or of a type without derivatives."""
        return self.attribute in self.owner._buffers or self.value.dtype.kind not in "fc"

    @property
    def trainable(self) -> bool:
        return not self.buffer and self.attribute not in self.owner._frozen

    @property
    def saved(self) -> bool:
        """Whether it belongs into a state dict."""
        return self.attribute not in getattr(self.owner, "_transient", ())

    @property
    def assignable(self) -> bool:
        holder = self.place
        if isinstance(holder, (list, dict)) or holder is self.owner:
            return True
        return is_record(holder) and not holder.__dataclass_params__.frozen

    def assign(self, value: Any) -> None:
        if isinstance(self.place, (list, dict)):
            self.place[self.key] = value
        elif self.assignable:
            setattr(self.place, self.key, value)
        else:
            raise TreeError(
                f"{self.name!r} stands in a {type(self.place).__name__}, which can't be assigned to; keep arrays as "
                f"attributes of a module, or in a list or dict there{at_user_line()}"
            )


def is_record(x: Any) -> bool:
    return dataclasses.is_dataclass(x) and not isinstance(x, (type, Module))


def parts(x: Any) -> Iterator[tuple[Any, Any]]:
    """What a module or container holds, with its names."""
    if isinstance(x, Module):
        yield from vars(x).items()
    elif isinstance(x, dict):
        yield from x.items()
    elif isinstance(x, (list, tuple)):
        yield from enumerate(x)
    elif type(x) in tree._registered:
        yield from enumerate(tree._registered[type(x)].flatten(x)[0])
    elif is_record(x):
        yield from ((f.name, getattr(x, f.name)) for f in dataclasses.fields(x))


def entries(model: Module) -> Iterator[Entry]:
    """Every array of a model, in the order of attributes; a module that stands in two places counts in both.

    Raises:
        TreeError: a module contains itself.
    """
    above: set[int] = set()

    def visit(x: Any, name: str, owner: Module, attribute: str, place: Any, key: Any) -> Iterator[Entry]:
        if isinstance(x, (Array, np.ndarray)):
            yield Entry(name, x, owner, attribute, place, key)
        elif isinstance(x, Module):
            if id(x) in above:
                raise TreeError(
                    f"{type(x).__name__} contains itself, at {name!r}; a model must be a tree. For a way back to the "
                    f"parent keep a weak reference or a plain function instead.{at_user_line()}"
                )
            above.add(id(x))
            for k, part in parts(x):
                yield from visit(part, f"{name}.{k}" if name else str(k), x, k, x, k)
            above.discard(id(x))
        else:
            for k, part in parts(x):
                yield from visit(part, f"{name}.{k}", owner, attribute, x, k)

    yield from visit(model, "", model, "", model, "")


def submodules(model: Module) -> Iterator[tuple[str, Module]]:
    """The modules directly inside `model`, also those in its lists and dicts, with dotted names."""

    def visit(x: Any, name: str) -> Iterator[tuple[str, Module]]:
        if isinstance(x, Module):
            yield name, x
        else:
            for k, part in parts(x):
                yield from visit(part, f"{name}.{k}")

    for k, part in parts(model):
        yield from visit(part, str(k))
