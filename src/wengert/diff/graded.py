"""The graded pull: cotangents are polynomials in t, and an edge of degree d multiplies by t^d.

What arrives at a value is then sorted by how many marked edges it has crossed: `Σ g_k t^k`, where g_k is the part of
the gradient that came along paths with k of them. With the edges into weighted layers marked, that is the gradient by
path length; with a state's edges from turn to turn, by time lag. The parts add up to the gradient.

The coefficients stand side by side along a first axis, and are pulled through a step together. They are kept near 1 by
a common power of two, so that none underflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.batch import batched, place_batch
from wengert.diff.pull import pull_node
from wengert.errors import AbstractValueError
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node, Var

FAR = 20


class Graded(NamedTuple):
    """A polynomial `2^exponent · Σ parts[k] t^(low + k)`, of ndarrays."""

    parts: np.ndarray
    low: int = 0
    exponent: int = 0

    @property
    def high(self) -> int:
        """The highest degree."""
        return self.low + len(self.parts) - 1

    def spread(self, low: int, high: int, exponent: int) -> np.ndarray:
        """The parts from one degree to another, for an exponent at least its own; not to be written to."""
        if (low, high, exponent) == (self.low, self.high, self.exponent):
            return self.parts
        whole = np.zeros((high - low + 1, *self.parts.shape[1:]), self.parts.dtype)
        whole[self.low - low : self.high - low + 1] = _times(self.parts, self.exponent - exponent)
        return whole

    def plus(self, other: Graded) -> Graded:
        low, high = min(self.low, other.low), max(self.high, other.high)
        exponent = max(self.exponent, other.exponent)
        one, more = (self, other) if (low, high) == (self.low, self.high) else (other, self)
        whole = one.spread(low, high, exponent)
        whole = whole.copy() if whole is one.parts else whole
        whole[more.low - low : more.high - low + 1] += _times(more.parts, more.exponent - exponent)
        return Graded(whole, low, exponent)

    def trimmed(self) -> Graded:
        """The same near 1, without zero parts at its ends nor high ones too small for the type's full precision."""
        first, end = 0, len(self.parts)
        while first < end - 1 and not self.parts[first].any():
            first += 1
        least = np.finfo(self.parts.dtype).tiny  # below, numbers lose digits and processors their speed
        while end - 1 > first and not (np.abs(self.parts[end - 1]) >= least).any():
            end -= 1
        parts, low = self.parts[first:end], self.low + first
        size = float(np.abs(parts).max(initial=0.0))
        shift = math.frexp(size)[1] if size < math.inf else 0
        return (
            Graded(_times(parts, -shift), low, self.exponent + shift)
            if abs(shift) > FAR
            else Graded(parts, low, self.exponent)
        )

    def shifted(self, degree: int) -> Graded:
        return Graded(self.parts, self.low + degree, self.exponent)

    def shares(self) -> dict[int, float]:
        """By degree: `⟨g_k, g⟩ / ⟨g, g⟩` of the sum g; they add up to 1. Empty where the sum is 0."""
        parts = self.parts.reshape(len(self.parts), -1).astype(np.result_type(self.parts.dtype, np.float64))
        whole = parts.sum(axis=0)
        square = float(np.real(np.vdot(whole, whole)))
        if not square > 0:
            return {}
        return {self.low + k: float(np.real(np.vdot(whole, p))) / square for k, p in enumerate(parts)}

    def norms(self) -> dict[int, float]:
        """By degree: log10 of the 2-norm."""
        found = {}
        for k, part in enumerate(self.parts):
            size = float(np.sqrt(np.sum(np.abs(part.astype(np.result_type(part.dtype, np.float64))) ** 2)))
            found[self.low + k] = math.log10(size) + self.exponent * math.log10(2) if size > 0 else -math.inf
        return found


def _times(x: np.ndarray, power: int) -> np.ndarray:
    if power == 0:
        return x
    return (x.astype(np.result_type(x.dtype, np.float64)) * 2.0 ** max(power, -1000)).astype(x.dtype)


def pull_graded(
    graph: Graph, out: Var, degree: Callable[[int, Var], int], wanted: Sequence[Var]
) -> dict[int, Graded | None]:
    """Pull back from a scalar `out` through a recording on numbers.

    Args:
        graph: recorded by a tape on concrete arrays.
        out: a single number of it.
        degree: of the edge that leads from the step at a position in `graph.nodes` to one of its inputs.
        wanted: the values whose polynomials are returned, by index.
    """
    tape = graph.trace
    keep = {v.index for v in wanted}
    found: dict[int, Graded | None] = dict.fromkeys(keep)
    leading = _leading(graph, keep)
    cotangents: list[Graded | None] = [None] * graph.size
    cotangents[out.index] = Graded(np.ones((1,), out.dtype))
    with np.errstate(all="ignore"):
        for at in reversed(range(len(graph.nodes))):
            node = graph.nodes[at]
            arriving = [cotangents[o.index] for o in node.outputs]
            if all(a is None for a in arriving):
                continue
            for o, a in zip(node.outputs, arriving, strict=True):
                cotangents[o.index] = None
                if o.index in keep:
                    found[o.index] = a
            for v, g in _through(node, tape, [None if a is None else a.trimmed() for a in arriving]):
                if not leading[v.index]:
                    continue
                g = g.shifted(degree(at, v))
                known = cotangents[v.index]
                cotangents[v.index] = g if known is None else known.plus(g)
    for v in graph.inputs:
        if v.index in keep:
            found[v.index] = cotangents[v.index]
    return found


def _leading(graph: Graph, wanted: set[int]) -> list[bool]:
    """For each value, whether it is wanted or computed from one that is."""
    leading = [k in wanted for k in range(graph.size)]
    for node in graph.nodes:
        if any(a.trace is graph.trace and leading[a.index] for a in node.inputs):  # type: ignore[attr-defined]
            for o in node.outputs:
                leading[o.index] = True
    return leading


def _through(node: Node, tape: Any, arriving: Sequence[Graded | None]) -> list[tuple[Var, Graded]]:
    """What a step sends to its inputs."""
    present = [a for a in arriving if a is not None]
    low, high = min(a.low for a in present), max(a.high for a in present)
    exponent = max(a.exponent for a in present)
    spread = [None if a is None else a.spread(low, high, exponent) for a in arriving]
    count = high - low + 1
    if count > 1 and node.differential is None:
        try:
            return _batched(node, tape, spread, count, low, exponent)
        except (NotImplementedError, AbstractValueError):  # a rule that cannot be batched: one by one does the same
            pass
    sums = []
    for k in range(count):
        for v, c in pull_node(node, tape, [None if s is None else Array(s[k]) for s in spread]):
            sums.append((v, Graded(np.asarray(c.data)[None], low + k, exponent)))
    return sums


def _batched(
    node: Node, tape: Any, spread: Sequence[np.ndarray | None], count: int, low: int, exponent: int
) -> list[tuple[Var, Graded]]:
    slots = [k for k, s in enumerate(spread) if s is not None]
    targets: list[Var] = []

    def run(*parts: Array) -> list[Array]:
        arriving: list[Array | None] = [None] * len(spread)
        for k, p in zip(slots, parts, strict=True):
            arriving[k] = p
        sent = pull_node(node, tape, arriving)
        targets[:] = [v for v, _ in sent]
        return [c for _, c in sent]

    given = [Array(s) for s in spread if s is not None]
    outs, axes = batched(run, given, [0] * len(given), count)
    placed = [place_batch(o, at, 0, count) for o, at in zip(outs, axes, strict=True)]
    return [(v, Graded(np.asarray(o.data), low, exponent)) for v, o in zip(targets, placed, strict=True)]
