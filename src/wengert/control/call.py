"""Calling a graph as one step, and `checkpoint`: calling it again when its derivative is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.batch import batched_graph
from wengert.control.functions import check_types
from wengert.diff.linearize import Linearized, SplitGraph, forward, linearize, split, transposed
from wengert.diff.pull import dense
from wengert.diff.sparse.pattern import walk
from wengert.diff.zeros import zeros
from wengert.ir.array import Array
from wengert.ir.graph import Graph, evaluate, replay
from wengert.ir.primitive import Params, Primitive, watchers
from wengert.ir.record import stage
from wengert.ir.types import ArrayType
from wengert.ops.shape import to_front

Run = Callable[[Graph, Sequence[Any]], Sequence[Any]]


class GraphCall(Primitive):
    """Apply `graph`; `run(graph, ndarrays)` is how an executor evaluates it at once."""

    multiple = True

    def type(self, *types: ArrayType, graph: Graph, run: Run) -> Any:
        check_types(graph, types, self.name)
        return graph.out_types

    def evaluate(self, *values: Any, graph: Graph, run: Run) -> Any:
        return tuple(run(graph, values))

    def bind(self, *args: Array, **params: Any) -> Any:
        return self.expand(args, params) if watchers else super().bind(*args, **params)  # step by step, to be looked at

    def expand(self, args: Sequence[Array], params: Params) -> Any:
        return tuple(replay(params["graph"], args))

    def weak_result(self, args: Sequence[Any], params: Params) -> tuple[bool, ...]:
        return tuple(t.weak for t in params["graph"].out_types)

    def forward(self, values: Sequence[Array], tangents: Sequence[Array | None], params: Params) -> Any:
        graph, run = params["graph"], params["run"]
        active = [t is not None for t in tangents]
        both, marks = forward_graph(graph, active)
        outs = self.bind(*values, *[t for t in tangents if t is not None], graph=both, run=run)
        n = len(graph.outputs)
        rest = iter(outs[n:])
        return outs[:n], [next(rest) if m else None for m in marks]

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        graph, marks = batched_graph(params["graph"], [a is not None for a in axes], size)
        moved = [v if a is None else to_front(v, a) for v, a in zip(values, axes, strict=True)]
        outs = self.bind(*moved, graph=graph, run=params["run"])
        return outs, [0 if m else None for m in marks]

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        return walk(params["graph"], patterns)


class Call(GraphCall):
    """A compiled call: its derivative is two compiled calls with residuals between them."""

    inline = True

    def linearize(self, values: Sequence[Array], params: Params, active: Sequence[bool]) -> Any:
        graph, run = params["graph"], params["run"]
        parts = split_static(graph, floating(values, active))
        outs = self.bind(*values, graph=parts.primal, run=run)
        n = len(graph.outputs)
        return outs[:n], LinearCall(parts.linear, list(outs[n:]), parts.active_in, parts.active_out, run)


class LinearCall:
    """The derivative of a call: a staged linear graph with its residuals."""

    __slots__ = ("active_in", "active_out", "linear", "residuals", "run")

    def __init__(
        self, linear: Graph, residuals: list[Array], active_in: Sequence[bool], active_out: Sequence[bool], run: Run
    ):
        self.linear = linear
        self.residuals = residuals
        self.active_in = active_in
        self.active_out = active_out
        self.run = run

    def push(self, tangents: Sequence[Array | None]) -> list[Array | None]:
        types = self.linear.in_types[len(self.residuals) :]
        mine = [t for t, a in zip(tangents, self.active_in, strict=True) if a]
        filled = [zeros(k) if t is None else t for t, k in zip(mine, types, strict=True)]
        outs = iter(call_p.bind(*self.residuals, *filled, graph=self.linear, run=self.run))
        return [next(outs) if a else None for a in self.active_out]

    def pull(self, cotangents: Sequence[Array | None]) -> list[Array | None]:
        mine = [c for c, a in zip(cotangents, self.active_out, strict=True) if a]
        filled = [zeros(k) if c is None else c for c, k in zip(mine, self.linear.out_types, strict=True)]
        graph = transposed(self.linear, len(self.residuals))
        outs = iter(call_p.bind(*self.residuals, *filled, graph=graph, run=self.run))
        return [next(outs) if a else None for a in self.active_in]


class Checkpoint(GraphCall):
    """A call that keeps only its inputs: its derivative runs the graph again."""

    def linearize(self, values: Sequence[Array], params: Params, active: Sequence[bool]) -> Any:
        outs = self.bind(*values, **params)
        marks = floating(values, active)
        kept = list(values)
        linear_from = params["graph"].cache.get("linear from")
        if linear_from is not None and not any(marks[:linear_from]):
            # in these inputs the graph is linear: its derivative by them does not depend on their values
            kept[linear_from:] = [zeros(v.type) for v in kept[linear_from:]]
        return outs, Recomputed(params["graph"], kept, marks, params["run"])


class Recomputed:
    """The derivative of a checkpointed call: forward and backward in one graph, from the inputs."""

    __slots__ = ("active", "graph", "run", "values")

    def __init__(self, graph: Graph, values: list[Array], active: list[bool], run: Run):
        self.graph = graph
        self.values = values
        self.active = active
        self.run = run

    def push(self, tangents: Sequence[Array | None]) -> list[Array | None]:
        graph, marks = pushforward_graph(self.graph, [t is not None for t in tangents])
        given = [t for t in tangents if t is not None]
        outs = iter(checkpoint_p.bind(*self.values, *given, graph=graph, run=self.run))
        return [next(outs) if m else None for m in marks]

    def pull(self, cotangents: Sequence[Array | None]) -> list[Array | None]:
        graph = pullback_graph(self.graph, self.active, [c is not None for c in cotangents])
        given = [c for c in cotangents if c is not None]
        outs = iter(checkpoint_p.bind(*self.values, *given, graph=graph, run=self.run))
        return [next(outs) if a else None for a in self.active]


def floating(values: Sequence[Array], active: Sequence[bool]) -> list[bool]:
    """Which inputs a derivative follows: those active and of a floating type."""
    return [a and v.dtype.kind in "fc" for v, a in zip(values, active, strict=True)]


def forward_graph(graph: Graph, active: Sequence[bool]) -> tuple[Graph, list[bool]]:
    """`graph` with tangents travelling along: (inputs, tangents of the active ones) -> (outputs, tangents).

    Also tells which outputs have a tangent.
    """
    key = ("forward", tuple(active))
    if key not in graph.cache:
        marks: list[bool] = []
        n = len(graph.inputs)

        def run(*args: Array) -> list[Array]:
            rest = iter(args[n:])
            tangents = [next(rest) if a else None for a in active]
            outs, pushed = forward(lambda *vs: replay(graph, vs), args[:n], tangents)
            marks.extend(t is not None for t in pushed)
            return outs + [t for t in pushed if t is not None]

        types = [*graph.in_types, *(t for t, a in zip(graph.in_types, active, strict=True) if a)]
        graph.cache[key] = stage(run, types, f"{graph.name}: forward")[0], marks
    return graph.cache[key]


def pushforward_graph(graph: Graph, active: Sequence[bool]) -> tuple[Graph, list[bool]]:
    """(inputs, tangents of the active ones) -> tangents of outputs; and which outputs have one."""
    key = ("pushforward", tuple(active))
    if key not in graph.cache:
        both, marks = forward_graph(graph, active)
        linear, _ = stage(lambda *args: replay(both, args)[len(marks) :], both.in_types, f"{graph.name}: pushforward")
        linear.cache["linear from"] = len(graph.inputs)
        graph.cache[key] = linear, marks
    return graph.cache[key]


def pullback_graph(graph: Graph, active: Sequence[bool], given: Sequence[bool]) -> Graph:
    """(inputs, the given cotangents of outputs) -> cotangents of the active inputs."""
    key = ("pullback", tuple(active), tuple(given))
    if key not in graph.cache:
        n = len(graph.inputs)

        def run(*args: Array) -> list[Array]:
            values, rest = args[:n], iter(args[n:])
            slots = [i for i, a in enumerate(active) if a]

            def function(*variables: Array) -> list[Array]:
                inputs = list(values)
                for i, v in zip(slots, variables, strict=True):
                    inputs[i] = v
                return replay(graph, inputs)

            linear: Linearized = linearize(function, [values[i] for i in slots])
            back = linear.pull([next(rest) if g else None for g in given])
            return [dense(c, values[i]) for i, c in zip(slots, back, strict=True)]

        types = [*graph.in_types, *(t for t, g in zip(graph.out_types, given, strict=True) if g)]
        graph.cache[key] = stage(run, types, f"{graph.name}: pullback")[0]
        graph.cache[key].cache["linear from"] = n
    return graph.cache[key]


call_p = Call("call")
checkpoint_p = Checkpoint("checkpoint")
reference_run: Run = evaluate


def split_static(graph: Graph, active: Sequence[bool]) -> SplitGraph:
    """`graph` split for differentiation with residuals of known shapes: a loop can stack them, a call return them.

    Where a residual's length is known only at run time (the turns of an inner `while_loop`), the graph is checkpointed:
    its inputs are the residuals then.
    """
    parts = split(graph, active)
    if all(isinstance(d, int) for r in parts.primal.outputs[len(graph.outputs) :] for d in r.shape):
        return parts
    if "checkpointed" not in graph.cache:
        graph.cache["checkpointed"], _ = stage(
            lambda *args: checkpoint_p.bind(*args, graph=graph, run=reference_run), graph.in_types, graph.name
        )
    return split(graph.cache["checkpointed"], active)
