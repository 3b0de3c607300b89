"""What a step costs: floating-point operations and bytes, counted from types alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from wengert.ir.graph import Graph, Node
from wengert.ir.types import ArrayType


class Cost(NamedTuple):
    """Floating-point operations, and bytes read and written."""

    flops: int
    bytes: int


MOVES = frozenset(
    ("reshape", "permute", "broadcast_to", "slice", "pad", "concat", "flip", "convert", "stop_gradient", "positive")
)


def node_cost(node: Node) -> Cost:
    """The cost of one node: exact for products, one operation an element elsewhere, nothing for moving elements."""
    ins = [a.type for a in node.inputs]
    outs = [o.type for o in node.outputs]
    moved = sum(_size(t) * t.dtype.itemsize for t in (*ins, *outs))
    bodies = _bodies(node)
    if bodies:
        turns = node.params.get("length", 1)
        turns = turns if isinstance(turns, int) else 1  # unknown until the program runs
        inside = [graph_cost(g) for g in bodies]
        return Cost(turns * sum(c.flops for c in inside), turns * sum(c.bytes for c in inside))
    return Cost(_flops(node, ins, outs), moved)


def graph_cost(graph: Graph) -> Cost:
    """The cost of all nodes of a graph, bodies of loops counted once for each turn that is known."""
    each = [node_cost(n) for n in graph.nodes]
    return Cost(sum(c.flops for c in each), sum(c.bytes for c in each))


def _flops(node: Node, ins: Sequence[ArrayType], outs: Sequence[ArrayType]) -> int:
    name = node.primitive.name
    made = sum(_size(t) for t in outs)
    if name in MOVES:
        return 0
    if name == "dot_general":
        depth = 1
        for axis in node.params["contract"][0]:
            depth *= _length(ins[0].shape[axis])
        return 2 * made * depth
    if name.startswith("conv") and len(ins) == 2 and ins[1].shape:
        # each output element meets one filter: all elements of the kernel but those of its output channels
        return 2 * made * max(1, _size(ins[1]) // max(1, _length(ins[1].shape[0])))
    return max([made, *(_size(t) for t in ins)])


def _bodies(node: Node) -> list[Graph]:
    found: list[Graph] = []
    for value in node.params.values():
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Graph):
                found.append(part)
    return found


def _length(d: Any) -> int:
    return d if isinstance(d, int) else 1


def _size(t: ArrayType) -> int:
    n = 1
    for d in t.shape:
        n *= _length(d)
    return n
