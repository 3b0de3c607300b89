"""The forward and the backward pass, one node at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wengert.ir.array import Array
from wengert.show.node import Edge, GraphNode
from wengert.show.numbers import adjoint_text, value_text


class Step:
    """One node's turn. `print` shows what is computed.

    Attributes:
        phase: "forward" or "backward".
        node: the node whose value (forward) or adjoint (backward) is computed.
        value: that value or adjoint.
        edges: backward, the edges along which it arrives; their `contribution`s add up to it.
        number: counts from 1 through both passes.
    """

    __slots__ = ("edges", "node", "number", "of", "phase")

    def __init__(self, number: int, phase: str, node: GraphNode, edges: Sequence[Edge] = (), of: str = ""):
        self.number = number
        self.phase = phase
        self.node = node
        self.edges = list(edges)
        self.of = of  # what is differentiated

    @property
    def value(self) -> Array:
        if self.phase == "forward":
            return self.node.value
        assert self.node.adjoint is not None
        return self.node.adjoint

    @property
    def lines(self) -> list[str]:
        """What is computed: a formula, then with numbers, then the result."""
        n = self.node
        if self.phase == "forward":
            if not n.inputs:
                return [f"{n.name} = {value_text(n.value)}"]
            numbers = n.expression_with_values()
            return [f"{n.name} = {n.expression}", *([f"= {numbers}"] if numbers else []), f"= {value_text(n.value)}"]
        name = f"∂{self.of}/∂{n.name}"
        if not self.edges:
            return [f"{name} = {adjoint_text(self.value)}   (where the backward pass starts)"]
        lines = [name + " = " + " + ".join(f"∂{self.of}/∂{e.target.name} · {e.name}" for e in self.edges)]
        products = [_product(e) for e in self.edges]
        if all(products):
            lines.append("= " + " + ".join(products))
        else:
            lines += [f"  through {e.target.name}: {_through(e)}" for e in self.edges]
        return [*lines, f"= {adjoint_text(self.value)}"]

    def __str__(self) -> str:
        head = f"{self.number:>4}  {self.phase:<8}  "
        first, *rest = self.lines
        pad = " " * (len(head) + (len(first.partition(" = ")[0]) + 1 if " = " in first else 0))
        return head + "\n".join([first, *(pad + line for line in rest)])

    __repr__ = __str__


def _product(e: Edge) -> str:
    arriving, value = e.target.adjoint, e.value
    if value is None or arriving is None:
        return ""
    a, b = value_text(arriving), value_text(value)
    return f"{a}·{f'({b})' if b.startswith('-') else b}"


def _through(e: Edge) -> str:
    gain = "" if e.gain is None else f", gain {e.gain:.3g}"
    return f"{e.kind}{gain}, adds {adjoint_text(e.contribution) if e.contribution is not None else 0}"


def steps(nodes: Sequence[GraphNode], of: str) -> Iterator[Step]:
    """Every value in the order of computation, then every adjoint in reverse."""
    number = 0
    outgoing: dict[int, list[Edge]] = {}
    for n in nodes:
        for e in n.edges:
            if e.contribution is not None:
                outgoing.setdefault(e.source.index, []).append(e)
        if n.kind != "constant":
            number += 1
            yield Step(number, "forward", n)
    for n in reversed(nodes):
        if n.adjoint is not None:
            number += 1
            yield Step(number, "backward", n, outgoing.get(n.index, ()), of)
