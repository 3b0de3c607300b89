"""The walk: pull the loss's derivative back over a recording, and note what every edge does to it.

Let δ be the cotangents that arrive at a step, N their norm (the root of the sum of squares over its outputs), and k_i
what the step sends along edge i. Where several edges lead to one value v, the cotangent there is the sum of what they
bring: δ_v = Σ k_i. All norms are 2-norms, taken in double precision, and kept as decimal logarithms.

Pulling is linear, so a cotangent that becomes small or large is multiplied by a power of two on the way, which is taken
back out of the norms: the walk goes on, exactly, where the gradient itself would underflow or overflow its type.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from wengert.diff.pull import pull_node
from wengert.flow.kinds import kinds_of, parameters_only
from wengert.flow.probe import Recording
from wengert.ir.array import Array
from wengert.ir.graph import Var
from wengert.module import Module

FAR = 20  # powers of two that a cotangent's norm may be from 1 before it is brought back
LOG2 = math.log10(2.0)


class Edge(NamedTuple):
    """One edge of the walk.

    Attributes:
        step: the position of the step whose input it leads to.
        source: the index of the value that the step reads there, which is where the cotangent goes.
        arriving: log10 N, of what arrives at the step.
        leaving: log10 ‖k‖, of what goes along this edge.
    """

    step: int
    source: int
    arriving: float
    leaving: float

    @property
    def gain(self) -> float:
        """log10(‖k‖ / N), in decades; -inf where nothing goes on."""
        return self.leaving - self.arriving


@dataclass(eq=False)
class Walk:
    """What a walk found; values are known by their `index`.

    Attributes:
        recording: what was walked over.
        edges: in the order of the walk, from the loss back.
        into: for each value, its edges.
        norms: for each value, log10 ‖δ_v‖; -inf where nothing arrived.
        sizes: for each value, log10 of its root mean square, as the forward pass left it.
        kinds: for each step, its kind.
        alone: for each value, whether it comes from parameters alone.
    """

    recording: Recording
    edges: list[Edge]
    into: list[list[Edge]]
    norms: list[float]
    sizes: list[float]
    kinds: list[str]
    alone: list[bool]


def times(x: Array, power: float) -> Array:
    """`x` times a power of two, which may be out of reach of its type."""
    wide = np.result_type(x.dtype, np.float64)
    return Array(np.asarray(np.asarray(x.data, wide) * power, x.dtype))


class Scaled(NamedTuple):
    """A cotangent `array · 2**exponent`."""

    array: Array
    exponent: int

    def near_one(self) -> tuple[Scaled, float]:
        """The same with an array of ordinary size, and log10 of its norm."""
        array, exponent = self
        size = norm(array.data)
        if 0 < size < math.inf:
            shift = math.frexp(size)[1]
            if abs(shift) > FAR:
                array, exponent, size = times(array, 2.0**-shift), exponent + shift, size * 2.0**-shift
        return Scaled(array, exponent), log10(size) + exponent * LOG2

    def plus(self, other: Scaled) -> Scaled:
        large, small = (self, other) if self.exponent >= other.exponent else (other, self)
        if large.exponent == small.exponent:
            return Scaled(Array(np.asarray(large.array.data + small.array.data)), large.exponent)
        moved = times(small.array, 2.0 ** max(small.exponent - large.exponent, -1000))
        return Scaled(Array(np.asarray(large.array.data + moved.data)), large.exponent)

    @property
    def value(self) -> np.ndarray:
        """The cotangent itself, in double precision."""
        return np.asarray(self.array.data, np.result_type(self.array.dtype, np.float64)) * 2.0**self.exponent


def walk(recording: Recording, seen: Callable[[Var, Scaled], Any] | None = None) -> Walk:
    """Pull back from the loss.

    `seen(value, cotangent)` is shown each value's finished cotangent, from the loss back.
    """
    graph, loss = recording.graph, recording.loss
    tape, nodes = graph.trace, graph.nodes
    norms = [-math.inf] * graph.size
    into: list[list[Edge]] = [[] for _ in range(graph.size)]
    edges: list[Edge] = []
    cotangents: list[Scaled | None] = [None] * graph.size
    if loss is not None:
        cotangents[loss.index] = Scaled(Array(np.ones((), loss.dtype)), 0)

    def finished(v: Var) -> Scaled | None:
        """The cotangent of a value that nothing more is added to."""
        c, cotangents[v.index] = cotangents[v.index], None
        if c is None:
            return None
        c, norms[v.index] = c.near_one()
        if seen is not None:
            seen(v, c)
        return c

    with np.errstate(all="ignore"):
        for at in reversed(range(len(nodes))):
            node = nodes[at]
            arriving = [finished(o) for o in node.outputs]
            exponent = max((c.exponent for c in arriving if c is not None), default=None)
            if exponent is None:
                continue
            whole = _together([norms[o.index] for o in node.outputs])
            for v, k in pull_node(node, tape, [_at(c, exponent) for c in arriving]):
                sent = Scaled(k, exponent)
                edge = Edge(at, v.index, whole, log10(norm(k.data)) + exponent * LOG2)
                edges.append(edge)
                into[v.index].append(edge)
                known = cotangents[v.index]
                cotangents[v.index] = sent if known is None else known.plus(sent)
        for v in graph.inputs:
            finished(v)
    alone = parameters_only(nodes, list(recording.parameters.values()), graph.size, tape)
    kinds = kinds_of(nodes, alone, tape, isinstance(recording.model, Module))
    return Walk(recording, edges, into, norms, _sizes(recording), kinds, alone)


def _at(c: Scaled | None, exponent: int) -> Array | None:
    """The array of a cotangent for another exponent, at least its own."""
    if c is None or c.exponent == exponent:
        return None if c is None else c.array
    return times(c.array, 2.0 ** max(c.exponent - exponent, -1000))


def _together(logs: list[float]) -> float:
    """log10 of the root of a sum of squares, from log10 of the roots of its parts."""
    most = max(logs)
    if len(logs) == 1 or not math.isfinite(most):
        return most
    return most + 0.5 * math.log10(math.fsum(100.0 ** (x - most) for x in logs))


def _sizes(recording: Recording) -> list[float]:
    sizes = [-math.inf] * recording.graph.size
    for v in (*recording.graph.inputs, *(o for node in recording.steps for o in node.outputs)):
        data = np.asarray(v.data.data)
        if data.size and data.dtype.kind in "fc":
            sizes[v.index] = log10(norm(data) / math.sqrt(data.size))
    return sizes


def norm(x: Any) -> float:
    """The 2-norm in double precision, without overflow."""
    x = np.asarray(x)
    if not x.size:
        return 0.0
    values = np.abs(x.ravel()).astype(np.float64)
    square = float(values @ values)
    if 1e-280 < square < 1e280:
        return math.sqrt(square)
    most = float(values.max())
    if not 0 < most < math.inf:
        return most
    values /= most
    return most * math.sqrt(float(values @ values))


def log10(x: float) -> float:
    """The decimal logarithm; -inf of 0."""
    return math.log10(x) if x > 0 else (-math.inf if x == 0 else math.nan)
