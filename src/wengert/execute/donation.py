"""Memory that arguments give up to results: which could go where, and what is left of an argument."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from wengert.errors import ArgumentError
from wengert.ir.types import ArrayType
from wengert.source import at_user_line
from wengert.tree import TreeDef


class Donated:
    """Stands in an Array for the numbers that it has given up."""

    __slots__ = ("_taker",)

    def __init__(self, taker: str):
        self._taker = taker

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise ArgumentError(
            f"this array was given up to {self._taker}, as its donate_argnums say: a result may have been written over "
            f"its numbers. Use what the call returned, or call it with a copy (x + 0).{at_user_line()}"
        )

    def __getattr__(self, name: str) -> Any:
        return self._refuse()

    __array__ = __len__ = __iter__ = __bool__ = __int__ = __float__ = __complex__ = __index__ = _refuse
    __getitem__ = __eq__ = __hash__ = _refuse  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<given up to {self._taker}>"


def candidates(
    arguments: TreeDef,
    assigned: Sequence[tuple[int, str, TreeDef | None]],
    num_outputs: int,
    spent: Sequence[int],
    in_types: Sequence[ArrayType],
    out_types: Sequence[ArrayType],
) -> dict[int, list[int]]:
    """For each output of a program the inputs of its type that it could be written over.

    A new value of a module's attribute, over the old one; a result, over any array that the caller gives up.
    """
    found = {o: [j for j in spent if in_types[j] == out_types[o]] for o in range(num_outputs)} if spent else {}
    old: dict[tuple[int, str], tuple[TreeDef, int]] = {}
    _attributes(arguments, old)
    o = num_outputs
    for number, name, treedef in assigned:
        if treedef is None:
            continue
        if (number, name) in old:
            was, first = old[number, name]
            for new, j in _pairs(treedef, o, was, first):
                if in_types[j] == out_types[new]:
                    found[new] = [j]
        o += treedef.num_leaves
    return {o: js for o, js in found.items() if js}


def _attributes(arguments: TreeDef, found: dict[tuple[int, str], tuple[TreeDef, int]]) -> None:
    """The structure of every attribute of every object, and the number of its first leaf."""
    objects = leaves = 0
    left: list[tuple[TreeDef, Any]] = [(arguments, None)]
    while left:
        d, key = left.pop()
        if key is not None:
            found[key] = d, leaves
        leaves += d.kind == "leaf"
        keys: Sequence[Any] = [None] * len(d.children)
        if d.kind == "object":
            keys = [(objects, name) for name in d.meta[1]]
            objects += 1
        left += reversed(list(zip(d.children, keys, strict=True)))


def _pairs(a: TreeDef, i: int, b: TreeDef, j: int) -> Iterator[tuple[int, int]]:
    """Leaves at the same place of two structures; the first ones have the numbers `i` and `j`."""
    if a.kind == b.kind == "leaf":
        yield i, j
    elif a.kind == b.kind and len(a.children) == len(b.children):
        for c, d in zip(a.children, b.children, strict=True):
            yield from _pairs(c, i, d, j)
            i, j = i + c.num_leaves, j + d.num_leaves
