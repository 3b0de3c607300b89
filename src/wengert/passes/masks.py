"""Where a rectifier let nothing through: seen from its result, which is kept anyway, instead of its argument.

`relu x ≤ 0` holds where `x ≤ 0` does, and for NaN neither does. The argument need not be kept then.
"""

from __future__ import annotations

from collections.abc import Sequence

from wengert.ir.array import Array
from wengert.ir.primitive import Params, Primitive
from wengert.ops.compare import less_equal, select
from wengert.ops.elementwise import Elementwise
from wengert.passes.facts import is_zero, value
from wengert.passes.rewrite import Rewriter

FUSED = frozenset(("sum", "prod", "max", "min", "peak", "broadcast_to", "permute"))


def _select(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    condition, zero, kept = args
    node = r.made_by(condition, less_equal)
    if node is None or r.share is None or not is_zero(value(r, zero)) or not is_zero(value(r, node.inputs[1])):
        return None
    x, bound = node.inputs
    rectified = r.known.get(r.share(p, (condition, zero, x), params))
    if rectified is None or (kept.trace is r and kept.index == x.index):  # type: ignore[attr-defined]
        return None
    if rectified[0].index not in _operands(r):  # type: ignore[attr-defined]
        return None
    return p.bind(less_equal(rectified[0], bound), zero, kept, **params)


def _operands(r: Rewriter) -> set[int]:
    """What stands in memory since a product, say, reads it: all but operands of elementwise steps and reductions."""
    done, found = r.facts.setdefault("operands", [0, set()])
    for node in r.nodes[done:]:
        if not isinstance(node.primitive, Elementwise) and node.primitive.name not in FUSED:
            found.update(a.index for a in node.inputs if a.trace is r)  # type: ignore[attr-defined]
    r.facts["operands"][0] = len(r.nodes)
    return found


RULES = {select: (_select,)}
