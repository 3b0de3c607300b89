"""Linearise: run a function once and keep its linearised graph, to push tangents and pull cotangents through."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wengert.diff.pull import Cotangents, pull, transpose
from wengert.diff.push import Dual, Forward, Tangents, push
from wengert.diff.zeros import zeros
from wengert.ir.array import Array
from wengert.ir.graph import Graph, replay
from wengert.ir.record import Staging, Tape, stage

Function = Callable[..., Sequence[Array]]


class Linearized:
    """The derivative of one run: `push` applies it, `pull` its transpose."""

    __slots__ = ("graph", "outputs")

    def __init__(self, graph: Graph):
        self.graph = graph
        tape = graph.trace
        self.outputs = [o.data if o.trace is tape else o for o in graph.outputs]

    def push(self, tangents: Sequence[Array | None]) -> Tangents:
        return push(self.graph, tangents)

    def pull(self, cotangents: Sequence[Array | None], *, once: bool = False) -> Cotangents:
        return pull(self.graph, cotangents, once=once)


def linearize(function: Function, values: Sequence[Array]) -> Linearized:
    """Run `function` (flat arrays in, flat arrays out) on `values` and keep its derivative by all of them."""
    tape = Tape()
    try:
        return Linearized(tape.finish(function(*[tape.input(v) for v in values])))
    finally:
        tape.close()


def forward(
    function: Function, values: Sequence[Array], tangents: Sequence[Array | None]
) -> tuple[list[Array], Tangents]:
    """Run `function` with tangents travelling along; returns outputs and their tangents."""
    trace = Forward()
    try:
        outs = function(*[v if t is None else Dual(trace, v, t) for v, t in zip(values, tangents, strict=True)])
    finally:
        trace.closed = True
    mine = [o.trace is trace for o in outs]
    return (
        [o.data if m else o for o, m in zip(outs, mine, strict=True)],
        [o.tangent if m else None for o, m in zip(outs, mine, strict=True)],  # type: ignore[attr-defined]
    )


class SplitGraph:
    """A graph split for differentiation.

    `primal` computes the outputs and, after them, the *residuals*; `linear` takes the residuals and the tangents of the
    active inputs to the tangents of the active outputs. The two are one recording on two levels: what depends on
    tangents lands in `linear`, and what it uses of the rest are the residuals.
    """

    __slots__ = ("active_in", "active_out", "linear", "num_residuals", "primal")

    def __init__(self, graph: Graph, active: Sequence[bool]):
        self.active_in = list(active)
        below = Staging()
        inputs = [below.input(v.type) for v in graph.inputs]
        tape = Tape()
        wrapped = [tape.input(v) if a else v for v, a in zip(inputs, active, strict=True)]
        outs = replay(graph, wrapped)
        values = [o.data if o.trace is tape else o for o in outs]
        recorded = tape.finish(outs)
        types = [v.type for v, a in zip(inputs, active, strict=True) if a]
        self.active_out: list[bool] = []

        def linear(*tangents: Array) -> list[Array]:
            pushed = push(recorded, tangents)
            self.active_out = [t is not None for t in pushed]
            return [t for t in pushed if t is not None]

        self.linear, residuals = stage(linear, types, f"{graph.name}: linear")
        self.num_residuals = len(residuals)
        lifted = [below.lift(v) for v in (*values, *residuals)]
        self.primal = below.finish(lifted, f"{graph.name}: primal")


def split(graph: Graph, active: Sequence[bool]) -> SplitGraph:
    """`graph` split for differentiation by its `active` inputs; computed once per graph."""
    key = ("split", tuple(active))
    if key not in graph.cache:
        graph.cache[key] = SplitGraph(graph, active)
    return graph.cache[key]


def transposed(linear: Graph, num_fixed: int) -> Graph:
    """The transpose of a staged linear graph as a graph: (fixed inputs, cotangents) -> cotangents of the other inputs.

    Zeros are made explicit, so that the types are those of the linear inputs.
    """
    from_cache = linear.cache.get(("transposed", num_fixed))
    if from_cache is not None:
        return from_cache
    fixed_types = linear.in_types[:num_fixed]

    def back(*args: Array) -> list[Array]:
        fixed, cotangents = args[:num_fixed], args[num_fixed:]
        return transpose_at(linear, fixed, cotangents)

    graph, outer = stage(back, [*fixed_types, *linear.out_types], f"{linear.name}: transposed")
    assert not outer
    linear.cache[("transposed", num_fixed)] = graph
    return graph


def transpose_at(linear: Graph, fixed: Sequence[Array], cotangents: Sequence[Array | None]) -> list[Array]:
    """Pull cotangents through a staged linear graph whose first inputs are `fixed`."""
    types = list(linear.in_types[len(fixed) :])
    back = transpose(lambda *ts: replay(linear, [*fixed, *ts]), types)
    return [zeros(t) if c is None else c for t, c in zip(types, back(cotangents), strict=True)]
