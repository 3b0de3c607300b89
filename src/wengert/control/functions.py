"""A user's function of pytrees, staged as a flat graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert import tree
from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.graph import Graph
from wengert.ir.record import stage
from wengert.ir.types import ArrayType
from wengert.ops.promote import as_array
from wengert.source import at_user_line


class Staged:
    """A graph together with the structures around it: apply it to `[*captured, *leaves of the arguments]`."""

    __slots__ = ("captured", "graph", "out_tree")

    def __init__(self, graph: Graph, captured: list[Array], out_tree: tree.TreeDef):
        self.graph = graph
        self.captured = captured
        self.out_tree = out_tree


def stage_function(f: Callable[..., Any], in_tree: tree.TreeDef, types: Sequence[ArrayType], what: str) -> Staged:
    """Record `f(*args)` on types; `in_tree` is the structure of the tuple of arguments."""
    if not callable(f):
        raise ArgumentError(f"{what} takes a function, got {type(f).__name__}{at_user_line()}")
    structure: list[tree.TreeDef] = []

    def flat(*leaves: Array) -> list[Array]:
        opened = tree.Opened(())
        opened.treedef = in_tree
        out = f(*opened.rebuild(leaves))
        if opened.copies:
            _refuse_lost(opened, out, what)
        out_leaves, out_tree = tree.flatten(out)
        structure.append(out_tree)
        return [as_array(o, f"the result of a function given to {what}") for o in out_leaves]

    graph, captured = stage(flat, types, getattr(f, "__name__", what))
    return Staged(graph, captured, structure[0])


def _refuse_lost(opened: tree.Opened, out: Any, what: str) -> None:
    """Refuse a function that assigned attributes of an argument without returning it: the values would be lost."""
    returned = {type(x) for x in tree.Opened(out).objects}  # a loop's carry may have been rebuilt, in its own types
    for i, name, _ in opened.changes()[1]:
        if type(opened.copies[i]) not in returned:
            raise ArgumentError(
                f"{what}: {type(opened.copies[i]).__name__}.{name} was assigned inside the function, which nothing "
                "carries out. Return the module (in a loop, as part of the carry), or return the value and assign it "
                f"behind {what}.{at_user_line()}"
            )


def flatten_arrays(x: Any, what: str) -> tuple[list[Array], tree.TreeDef]:
    """The leaves of `x` as arrays, and its structure."""
    leaves, treedef = tree.flatten(x)
    return [as_array(v, what) for v in leaves], treedef


def check_types(graph: Graph, types: Sequence[ArrayType], what: str) -> None:
    """Refuse inputs that are not of the types that `graph` was staged for."""
    for k, (given, expected) in enumerate(zip(types, graph.in_types, strict=True)):
        if given.dtype != expected.dtype:
            raise DTypeError(f"{what}: input {k} is {given!r}, but its graph takes {expected!r}{at_user_line()}")
        if len(given.shape) != len(expected.shape) or any(
            a != b
            for a, b in zip(given.shape, expected.shape, strict=True)
            if isinstance(a, int) and isinstance(b, int)
        ):
            raise ShapeError(f"{what}: input {k} is {given!r}, but its graph takes {expected!r}{at_user_line()}")
