"""The parameters of a model: what they are called, where they stand, how they are chosen and assigned.

A parameter is a real or complex array somewhere in a module that its module doesn't call a buffer (a running mean,
say, is state that no optimizer may touch). A frozen one is a parameter that the model holds fixed.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wengert import tree
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.source import at_user_line

Where = Any  # a pattern, a module, an array, a predicate of (name, array), or a sequence of these; see `Chooser`


class Slot:
    """One array of a model: its dotted name, its value, and every place where it stands (several if it is tied)."""

    __slots__ = ("buffer", "frozen", "name", "owners", "path", "places", "value")

    def __init__(self, path: tuple[Any, ...], value: Any, owners: tuple[int, ...], owner: Any, attribute: Any):
        self.path = path
        self.name = dotted(path)
        self.value = value
        self.owners = owners  # identities of the modules and containers around it
        self.buffer = attribute in getattr(owner, "_buffers", ())
        self.frozen = attribute in getattr(owner, "_frozen", ())
        self.places: list[tuple[Any, Any]] = []  # (holder, attribute, index or key)

    def assign(self, value: Any) -> None:
        self.check()
        for holder, key in self.places:
            if isinstance(holder, (list, dict)):
                holder[key] = value
            else:
                setattr(holder, key, value)

    def check(self) -> None:
        """Refuse an array that stands where nothing can be assigned."""
        for holder, key in self.places:
            if not isinstance(holder, (list, dict)) and not (
                isinstance(key, str) and key in getattr(holder, "__dict__", ())
            ):
                raise ArgumentError(
                    f"the parameter {self.name!r} stands in a {type(holder).__name__}, which can't be assigned to; "
                    "keep parameters as attributes of a Module, or in a list or dict there; an array that is no "
                    f"parameter, as a buffer{at_user_line()}"
                )


def dotted(path: Sequence[Any]) -> str:
    """`('layers', 0, 'weight')` as `layers.0.weight`, PyTorch's way."""
    return ".".join(map(str, path))


def slots(model: Any, tied: bool = True, kinds: str = "fc") -> list[Slot]:
    """Every array of a model whose type is of these kinds (real and complex by default), buffers included.

    An array that stands in several places of a module is one slot, unless `tied` is false.
    """
    found: list[Slot] = []
    known: dict[int, Slot] = {}  # by identity of the array
    seen: set[int] = set()

    def visit(x: Any, path: tuple[Any, ...], owners: tuple[int, ...], place: tuple[Any, Any], of: Any) -> None:
        inside = of[0] is not None
        if is_array(x, kinds):
            slot = known.get(id(x)) if inside and tied else None
            if slot is None:
                slot = known[id(x)] = Slot(path, x, owners, *of)
                found.append(slot)
            slot.places.append(place)
            return
        module = isinstance(x, tree.Module)
        if module or (dataclasses.is_dataclass(x) and not isinstance(x, type)):
            if id(x) in seen:
                return
            seen.add(id(x))
        for key, child in children(x):
            visit(child, (*path, key), (*owners, id(x)), (x, key), (x, key) if module else of)

    visit(model, (), (), (None, None), (None, None))  # `of`: the innermost module, and its attribute that this is in
    return found


def is_array(x: Any, kinds: str) -> bool:
    return isinstance(x, (Array, np.ndarray)) and x.dtype.kind in kinds


def children(x: Any) -> Iterator[tuple[Any, Any]]:
    """The parts of a module or container with their names."""
    if isinstance(x, dict):
        yield from x.items()
    elif isinstance(x, (list, tuple)):
        yield from enumerate(x)
    elif type(x) in tree._registered:
        yield from enumerate(tree._registered[type(x)].flatten(x)[0])
    elif isinstance(x, tree.Module) or (dataclasses.is_dataclass(x) and not isinstance(x, type)):
        yield from vars(x).items()


def parameters(model: Any) -> list[Slot]:
    """The parameters of a model, frozen ones among them, in the order of its attributes.

    Raises:
        ArgumentError: the model is no Module, so that nothing could be assigned to it in place, or has no parameter.
    """
    if not isinstance(model, tree.Module) and not (dataclasses.is_dataclass(model) and not isinstance(model, type)):
        raise ArgumentError(
            f"an optimizer updates a Module in place, got a {type(model).__name__}; pass the model itself, not its "
            "parameters. Arrays without a model: make them attributes of a wg.nn.Module (a dict or list of arrays may "
            f"be one).{at_user_line()}"
        )
    return [s for s in slots(model) if not s.buffer]


class Chooser:
    """Whether a parameter belongs to `where`.

    A string is a pattern for dotted names: `"*.bias"`, `"encoder"` (everything below it), `"layers.[01].*"`. A module
    stands for all its parameters, an array for itself; a function is asked `where(name, array)`; a sequence means
    any of its items.
    """

    def __init__(self, where: Where):
        items = where if isinstance(where, (list, tuple, set, frozenset)) else [where]
        self.patterns: list[str] = []
        self.identities: set[int] = set()
        self.predicates: list[Callable[[str, Any], bool]] = []
        for item in items:
            if isinstance(item, str):
                self.patterns += [item, f"{item}.*"]
            elif isinstance(item, (tree.Module, Array, np.ndarray)):
                self.identities.add(id(item))
            elif callable(item):
                self.predicates.append(item)
            else:
                raise ArgumentError(
                    f"parameters are chosen by a name pattern, a module, an array or a function of (name, array), got "
                    f"a {type(item).__name__}{at_user_line()}"
                )

    def __call__(self, slot: Slot) -> bool:
        return (
            any(fnmatch.fnmatchcase(slot.name, p) for p in self.patterns)
            or id(slot.value) in self.identities
            or not self.identities.isdisjoint(slot.owners)
            or any(p(slot.name, slot.value) for p in self.predicates)
        )


def choose(model: Any, where: Where) -> list[Slot]:
    """The parameters of `model` that `where` names.

    Raises:
        ArgumentError: there are none, which is likely a slip of the pen.
    """
    every = parameters(model)
    chooser = Chooser(where)
    found = [s for s in every if chooser(s)]
    if not found:
        raise ArgumentError(
            f"no parameter of the {type(model).__name__} is meant by {describe(where)}; its parameters are "
            f"{listed([s.name for s in every])}{at_user_line()}"
        )
    return found


def describe(where: Where) -> str:
    return repr(where) if isinstance(where, str) else f"the given {type(where).__name__}"


def listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(names[:most]) or "none"
    return f"{shown}, … ({len(names)} in all)" if len(names) > most else shown


def matching_gradients(model: Any, mine: Sequence[Slot], grads: Any) -> list[Any]:
    """The gradient of each parameter of `mine`, or None where `grads` holds None.

    Raises:
        ArgumentError: `grads` is a tree of another model, or a gradient has another shape.
    """
    if grads is None or isinstance(grads, (bool, int, float, str)):
        raise ArgumentError(
            f"update takes the gradients of a {type(model).__name__}, got {grads!r}; pass what "
            f"wg.grad(loss_fn)(model, …) returned{at_user_line()}"
        )
    theirs = {s.path: s.value for s in slots(grads, tied=False)}
    known = {s.path for s in slots(model, tied=False)}
    wrong = [dotted(p) for p in theirs if p not in known]
    missing = [s.name for s in mine if s.path not in theirs and not holds_none(grads, s.path)]
    both = f"the gradients are a {type(grads).__name__}, the model is a {type(model).__name__}"
    if wrong or missing:
        raise ArgumentError(
            f"the gradients belong to another tree: {both}; only in the gradients: {listed(wrong)}; only in the model: "
            f"{listed(missing)}. Pass what wg.grad(loss_fn)(model, …) returned for this very model.{at_user_line()}"
        )
    found = [theirs.get(s.path) for s in mine]
    for slot, g in zip(mine, found, strict=True):
        if g is not None and tuple(g.shape) != tuple(slot.value.shape):
            raise ArgumentError(
                f"the gradient of {slot.name!r} has shape {tuple(g.shape)}, the parameter {tuple(slot.value.shape)}; "
                f"{both}{at_user_line()}"
            )
    return found


def holds_none(x: Any, path: Sequence[Any]) -> bool:
    """Whether a tree like the model's holds None at `path`."""
    for key in path:
        if x is None:
            return True
        if isinstance(x, Mapping):
            if key not in x:
                return False
            x = x[key]
        elif isinstance(x, (list, tuple)):
            if not isinstance(key, int) or key >= len(x):
                return False
            x = x[key]
        elif key in getattr(x, "__dict__", ()):
            x = vars(x)[key]
        else:
            return False
    return x is None
