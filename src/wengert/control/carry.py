"""The carry of a loop has one type for all turns: made so where it is harmless, refused where it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert import tree
from wengert.control.functions import Staged
from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import ArrayType
from wengert.ops.promote import as_array, convert
from wengert.source import at_user_line

_ORDER = "biufc"


def follow_types(carry: Any, types: list[ArrayType]) -> Any:
    """`carry` with its Python numbers made into arrays of these types."""
    leaves, treedef = tree.flatten(carry)
    if len(leaves) != len(types):
        return carry
    followed = []
    for leaf, t in zip(leaves, types, strict=True):
        a = as_array(leaf, "a loop's carry")
        fits = a.weak and not t.weak and _ORDER.index(a.dtype.kind) <= _ORDER.index(t.dtype.kind)
        followed.append(convert(a, t.dtype) if fits else a)
    return tree.unflatten(treedef, followed)


def settle_carry(
    stage: Callable[[list[ArrayType]], Staged], carry: list[Array], carry_tree: tree.TreeDef, what: str
) -> tuple[list[Array], Staged]:
    """Stage a loop's body until the carry it returns has the types it takes.

    Python numbers in the first carry take the type that the body returns; any other difference is an error.
    """
    while True:
        staged = stage([c.type for c in carry])
        out_tree = staged.out_tree.children[0] if what == "scan" else staged.out_tree
        if out_tree != carry_tree:
            raise ArgumentError(
                f"{what}: the carry went in with structure {carry_tree} and came out with {out_tree}; they must be "
                f"equal{at_user_line()}"
            )
        outs = staged.graph.outputs[: len(carry)]
        changed = False
        for k, (c, o) in enumerate(zip(carry, outs, strict=True)):
            if c.type == o.type or (c.type.shape == o.shape and c.dtype == o.dtype and not c.weak):
                continue
            if c.shape == o.shape and c.weak and _ORDER.index(c.dtype.kind) <= _ORDER.index(o.dtype.kind):
                carry[k] = convert(c, o.dtype, o.weak)
                changed = True
                continue
            raise (ShapeError if c.shape != o.shape else DTypeError)(
                f"{what}: part {k} of the carry went in as {c.type!r} and came out as {o.type!r}; a loop needs one "
                "type for all turns. Start it with that type (astype, broadcast_to), or convert at the end of the "
                f"function.{at_user_line()}"
            )
        if not changed:
            return carry, staged
