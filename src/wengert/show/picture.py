"""What is drawn: boxes and links. Single numbers stand in the formulas, and the middle of a big graph is folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wengert.ir.graph import Graph
from wengert.show.node import Edge, GraphNode
from wengert.show.numbers import number_text, value_text

if TYPE_CHECKING:
    from wengert.show.graph import ComputationGraph


class Box:
    """A node in the picture, or (`node` None) a fold that stands for `count` operations."""

    __slots__ = ("count", "node")

    def __init__(self, node: GraphNode | None, count: int = 0):
        self.node = node
        self.count = count

    @property
    def kind(self) -> str:
        return "fold" if self.node is None else self.node.kind

    @property
    def title(self) -> str:
        return f"… {self.count:,} operations folded …" if self.node is None else self.node.name


class Link:
    """A line from a box to a box that uses it; `edge` is its derivative, where the graph knows one."""

    __slots__ = ("edge", "source", "target")

    def __init__(self, source: int, target: int, edge: Edge | None):
        self.source = source
        self.target = target
        self.edge = edge


class Picture:
    """The boxes of a graph, in an order that can be executed, and the links between them."""

    def __init__(self, graph: ComputationGraph, limit: int):
        self.boxes: list[Box] = []
        self.links: list[Link] = []
        self.folded = 0
        operations = [n for n in graph.nodes if n.step is not None]
        middle: set[int] = set()
        if len(operations) > limit:
            head = (limit + 1) // 2
            tail = len(operations) - (limit - head)
            middle = {n.index for n in operations[head:tail]}
            self.folded = len(middle)
        place: dict[int, int] = {}
        fold = -1
        seen: set[tuple[int, int]] = set()

        def box(n: GraphNode) -> int:
            if n.index in middle:
                return fold
            if n.index not in place:
                place[n.index] = len(self.boxes)
                self.boxes.append(Box(n))
            return place[n.index]

        if not middle:  # inputs that nothing uses
            used = {m.index for n in operations for m in n.inputs} | {n.index for n in graph.outputs}
            for n in graph.inputs:
                if n.index not in used:
                    box(n)
        for n in operations:
            if n.index in middle:
                if fold < 0:
                    fold = len(self.boxes)
                    self.boxes.append(Box(None, self.folded))
                for m in n.inputs:  # what only the folded part uses is folded with it
                    s = fold if m.index in middle else place.get(m.index, fold)
                    if s != fold and (s, fold) not in seen:
                        seen.add((s, fold))
                        self.links.append(Link(s, fold, None))
                continue
            edges = {e.slot: e for e in n.edges}
            sources = [(i, box(m)) for i, m in enumerate(n.inputs) if not m.is_number]
            target = box(n)
            for i, s in sources:
                if s != fold or (s, target) not in seen:
                    seen.add((s, target))
                    self.links.append(Link(s, target, edges.get(i)))
        for n in graph.outputs:
            box(n)


def adjoint_name(of: str, n: GraphNode) -> str:
    return f"∂{of}/∂{n.name}"


def edge_lines(edge: Edge) -> list[str]:
    """What stands on an edge: the formula of the local derivative, and its value, or its kind and gain."""
    symbol = edge.symbol
    value = edge.value
    if value is not None:
        number = value_text(value)
        return [number] if symbol in (None, number) else [str(symbol), number]
    gain = edge.gain
    factor = edge.factor
    head = symbol if symbol is not None and symbol not in ("1", "-1") else edge.kind
    if factor is not None and factor.ndim <= 1 and factor.size <= 3:
        return [head, value_text(factor)] if head != value_text(factor) else [head]
    return [head] if gain is None else [head, f"gain {number_text(gain, 3)}"]


def short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def has_body(n: GraphNode) -> bool:
    """Whether the operation carries a graph (a jitted function, the body of a loop)."""
    values = n.params.values()
    return any(isinstance(v, Graph) or (isinstance(v, tuple) and v and isinstance(v[0], Graph)) for v in values)
