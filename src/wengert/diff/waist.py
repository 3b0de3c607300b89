"""The narrowest place of a recorded graph, from which a Jacobian is computed both ways.

Cut the list of nodes at position p. The values that are made before p and used after it are all that the rest of the
program knows of the inputs, so the Jacobian is the product of one Jacobian up to the cut and one from the cut on:

    J = J_after · J_before,      J_before by w pulls, J_after by w pushes,      w = the numbers that cross the cut.

A function 1000 → 10 → 1000 costs 10 + 10 sweeps through half of the graph each, instead of 1000 through the whole.
More cuts cannot help: a stretch between two cuts takes as many sweeps as the narrower of them is wide, and none is
narrower than the narrowest, whose w sweeps cross every stretch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wengert.diff.cost import node_cost
from wengert.ir.graph import Graph, Node, Var


class Cut(NamedTuple):
    """The values that cross one position of the list of nodes."""

    position: int
    values: tuple[Var, ...]
    width: int

    @property
    def real(self) -> bool:
        return all(v.dtype.kind == "f" for v in self.values)


class Part(NamedTuple):
    """A stretch of the graph between two cuts, to be swept one way: `flops` in all."""

    start: Cut
    stop: Cut
    way: str  # "forward" or "reverse"
    sweeps: int
    flops: int


class Profile:
    """The active part of a linearised graph: its nodes, what each costs in a sweep, and how wide it is where."""

    def __init__(self, graph: Graph):
        self.trace = graph.trace
        self.size = graph.size
        self.outputs = _distinct([o for o in graph.outputs if o.trace is graph.trace and o.dtype.kind in "fc"])  # type: ignore[misc]
        active = [False] * graph.size
        for v in graph.inputs:
            active[v.index] = True
        followed = []
        for node in graph.nodes:
            if any(a.trace is self.trace and active[a.index] for a in node.inputs):  # type: ignore[attr-defined]
                for o in node.outputs:
                    active[o.index] = o.dtype.kind in "fc"
                followed.append(node)
        self.outputs = [o for o in self.outputs if active[o.index]]
        needed = {o.index for o in self.outputs}
        self.nodes: list[Node] = []
        for node in reversed(followed):
            if any(o.index in needed for o in node.outputs):
                self.nodes.append(node)
                needed.update(a.index for a in node.inputs if a.trace is self.trace and active[a.index])  # type: ignore[attr-defined]
        self.nodes.reverse()
        self.inputs = [v for v in graph.inputs if v.index in needed]
        self.active = active
        self.before = [0]  # flops of one sweep through the nodes before each position
        for node in self.nodes:
            edges = sum(a.trace is self.trace and active[a.index] for a in node.inputs)  # type: ignore[attr-defined]
            self.before.append(self.before[-1] + max(1, edges) * node_cost(node).flops)

    @property
    def sweep_flops(self) -> int:
        return max(1, self.before[-1])

    def _lifetimes(self) -> list[tuple[Var, int, int]]:
        """Each active value with the first and the last position that it crosses."""
        born = {v.index: (v, 0) for v in self.inputs}
        last: dict[int, int] = {}
        for k, node in enumerate(self.nodes):
            for a in node.inputs:
                if a.trace is self.trace and self.active[a.index]:  # type: ignore[attr-defined]
                    last[a.index] = k  # type: ignore[attr-defined]
            for o in node.outputs:
                if self.active[o.index]:
                    born[o.index] = (o, k + 1)
        for o in self.outputs:
            last[o.index] = len(self.nodes)
        return [(v, b, last[i]) for i, (v, b) in born.items() if last.get(i, -1) >= b]

    @property
    def first(self) -> Cut:
        return Cut(0, tuple(self.inputs), sum(v.size for v in self.inputs))

    @property
    def final(self) -> Cut:
        return Cut(len(self.nodes), tuple(self.outputs), sum(v.size for v in self.outputs))

    def narrowest(self) -> Cut | None:
        """The narrowest cut between inputs and outputs that no complex value crosses."""
        n = len(self.nodes)
        lives = self._lifetimes()
        change, barred = [0] * (n + 2), [0] * (n + 2)
        for v, b, e in lives:
            for count, amount in ((change, v.size), (barred, v.dtype.kind == "c")):
                count[b] += amount
                count[e + 1] -= amount
        width = obstacles = 0
        best: tuple[int, int] | None = None
        for p in range(n):
            width += change[p]
            obstacles += barred[p]
            if p and not obstacles and (best is None or width < best[0]):
                best = width, p
        if best is None:
            return None
        width, p = best
        return Cut(p, tuple(v for v, b, e in lives if b <= p <= e), width)

    def part(self, start: Cut, stop: Cut, way: str) -> Part:
        """A stretch, swept one way."""
        sweeps = start.width if way == "forward" else stop.width
        per_sweep = max(1, self.before[stop.position] - self.before[start.position])
        return Part(start, stop, way, sweeps, sweeps * per_sweep)

    def stretch(self, start: Cut, stop: Cut) -> Graph:
        """The nodes between two cuts as a linearised graph of its own."""
        return Graph(start.values, self.nodes[start.position : stop.position], stop.values, self.trace, self.size)


def _distinct(values: Sequence[Var]) -> list[Var]:
    return list({v.index: v for v in values}.values())
