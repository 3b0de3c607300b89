"""Narrow places of a recorded graph, and the cheapest way to multiply a Jacobian together from the parts between them.

Cut the list of nodes at position p. The values that are made before p and used after it are all that the rest of the
program knows of the inputs, so the Jacobian is the product of one Jacobian up to the cut and one from the cut on:

    J = J_after · J_before,      J_before by w pulls, J_after by w pushes,      w = the numbers that cross the cut.

A function 1000 → 10 → 1000 costs 10 + 10 sweeps instead of 1000. With several cuts the parts form a chain, and the
order of products is chosen by dynamic programming, as in the matrix-chain problem (Godbole 1973).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wengert.diff.cost import node_cost
from wengert.ir.graph import Graph, Node, Var

CANDIDATES = 24  # cuts that the dynamic programme looks at: the narrowest


class Cut(NamedTuple):
    """The values that cross one position of the list of nodes."""

    position: int
    values: tuple[Var, ...]
    width: int


class Part(NamedTuple):
    """A stretch of the graph between two cuts: swept one way, or cut again into two parts that are multiplied."""

    start: int  # numbers of cuts
    stop: int
    flops: int
    way: str  # "forward", "reverse" or "product"
    left: Part | None = None  # nearer to the inputs
    right: Part | None = None


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

    def cuts(self) -> list[Cut]:
        """The inputs, the narrowest places between, and the outputs, in order."""
        n = len(self.nodes)
        lives = self._lifetimes()
        change, complex_change = [0] * (n + 2), [0] * (n + 2)
        for v, b, e in lives:
            change[b] += v.size
            change[e + 1] -= v.size
            if v.dtype.kind == "c":  # half of its directions only: no cut through a complex value
                complex_change[b] += 1
                complex_change[e + 1] -= 1
        widths, count, complex_count = [], 0, 0
        for p in range(n + 1):
            count += change[p]
            complex_count += complex_change[p]
            widths.append((count, complex_count))
        ends = max(_total(self.inputs), _total(self.outputs))
        inner = [p for p in range(1, n) if widths[p][1] == 0 and widths[p][0] < ends]
        # of neighbours with one width the cut that comes first will do
        inner = [p for p in inner if widths[p] != widths[p - 1]]
        chosen = sorted(sorted(inner, key=lambda p: widths[p][0])[:CANDIDATES])
        crossing: dict[int, list[Var]] = {p: [] for p in chosen}
        for v, b, e in lives:
            for p in chosen:
                if b <= p <= e:
                    crossing[p].append(v)
        first = Cut(0, tuple(self.inputs), _total(self.inputs))
        final = Cut(n, tuple(self.outputs), _total(self.outputs))
        return [first, *(Cut(p, tuple(crossing[p]), widths[p][0]) for p in chosen), final]

    def stretch(self, start: Cut, stop: Cut) -> Graph:
        """The nodes between two cuts as a linearised graph of its own."""
        return Graph(start.values, self.nodes[start.position : stop.position], stop.values, self.trace, self.size)


def best_chain(profile: Profile, cuts: Sequence[Cut], holomorphic: bool) -> Part:
    """The cheapest way from the first cut to the last: sweeps through stretches, and products of their Jacobians."""
    n = len(cuts)
    best: dict[tuple[int, int], Part] = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            part = direct(profile, cuts, i, j, holomorphic)
            for k in range(i + 1, j):
                left, right = best[i, k], best[k, j]
                multiply = 2 * cuts[i].width * cuts[k].width * cuts[j].width
                flops = left.flops + right.flops + multiply
                if part is None or flops < part.flops:
                    part = Part(i, j, flops, "product", left, right)
            assert part is not None
            best[i, j] = part
    return best[0, n - 1]


def direct(profile: Profile, cuts: Sequence[Cut], i: int, j: int, holomorphic: bool, way: str = "") -> Part | None:
    """One stretch swept forward or in reverse, whichever takes fewer sweeps and is allowed (or as `way` says)."""
    per_sweep = max(1, profile.before[cuts[j].position] - profile.before[cuts[i].position])
    allowed = []
    if holomorphic or _real(cuts[i].values):
        allowed.append(Part(i, j, cuts[i].width * per_sweep, "forward"))
    if holomorphic or _real(cuts[j].values):
        allowed.append(Part(i, j, cuts[j].width * per_sweep, "reverse"))
    allowed = [p for p in allowed if not way or p.way == way]
    return min(allowed, key=lambda p: p.flops) if allowed else None


def leaves(part: Part) -> list[Part]:
    """The stretches that are swept, from inputs to outputs."""
    if part.left is None or part.right is None:
        return [part]
    return leaves(part.left) + leaves(part.right)


def _real(values: Sequence[Var]) -> bool:
    return all(v.dtype.kind == "f" for v in values)


def _total(values: Sequence[Var]) -> int:
    return sum(v.size for v in values)


def _distinct(values: Sequence[Var]) -> list[Var]:
    return list({v.index: v for v in values}.values())
