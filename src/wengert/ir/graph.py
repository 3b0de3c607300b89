"""The graph: values, the nodes that make them, and nothing else.

    Var     a value: input of the graph or output of a node; may know its number (`data`)
    Node    primitive, inputs, parameters, outputs, and the user's line
    Graph   inputs, nodes in an order that can be executed, outputs

An input of a node is a `Var` of the same graph or a concrete `Array`, which is a constant. Nodes stand in a list, and
every walk is a loop over it: a chain of 100,000 nodes is no deeper than one of ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert.ir.array import Array, Trace, Tracer
from wengert.ir.primitive import Params, Primitive, watchers
from wengert.ir.types import ArrayType, Shape
from wengert.source import Source, standing_at


class Var(Tracer):
    """A value in a graph. `index` counts the values of one recording, so that walks can use lists."""

    __slots__ = ("_type", "index")

    def __init__(self, trace: Trace, data: Array | None, index: int, type: ArrayType | None = None):
        self.trace = trace
        self.data = data
        self.index = index
        self._type: Any = type

    @property
    def type(self) -> ArrayType:
        return self._type if self.data is None else self.data.type

    @property
    def shape(self) -> Shape:
        data = self.data
        return self._type.shape if data is None else data.shape

    @property
    def dtype(self) -> np.dtype:
        data = self.data
        return self._type.dtype if data is None else data.dtype

    @property
    def weak(self) -> bool:  # type: ignore[override]
        return self._type.weak if self.data is None else self.data.weak


class Node:
    """One application of a primitive."""

    __slots__ = ("inputs", "outputs", "params", "primitive")
    source: Source | None = None  # the user's line
    differential: Any = None  # what `primitive.linearize` made, if it states that facet
    scope: Any = None  # the modules, regions and turns that it ran in, if anybody looked on; see `ir.scope`

    def __init__(self, primitive: Primitive, inputs: Sequence[Array], params: Params, outputs: Sequence[Var]):
        self.primitive = primitive
        self.inputs = inputs
        self.params = params
        self.outputs = outputs

    def __repr__(self) -> str:
        return f"<{self.primitive.name}: {', '.join(repr(o.type) for o in self.outputs)}>"


class NotedNode(Node):
    """A node that also knows its user line or its differential; a plain tape does without, for speed."""

    __slots__ = ("differential", "scope", "source")

    def __init__(
        self,
        primitive: Primitive,
        inputs: Sequence[Array],
        params: Params,
        outputs: Sequence[Var],
        source: Source | None = None,
        differential: Any = None,
        scope: Any = None,
    ):
        super().__init__(primitive, inputs, params, outputs)
        self.scope = scope
        self.source = source
        self.differential = differential


class Graph:
    """A program: `inputs`, `nodes` in order, `outputs`. `name` is shown; `trace` is what recorded it."""

    __slots__ = ("__weakref__", "cache", "inputs", "name", "nodes", "outputs", "size", "trace")

    def __init__(
        self,
        inputs: Sequence[Var],
        nodes: list[Node],
        outputs: Sequence[Array],
        trace: Trace | None,
        size: int,
        name: str = "",
    ):
        self.inputs = list(inputs)
        self.nodes = nodes
        self.outputs = list(outputs)
        self.trace = trace
        self.size = size  # how many Vars: indices run below it
        self.name = name
        self.cache: dict[Any, Any] = {}  # derived graphs: its linearisation, its batched form, its compiled forms

    @property
    def in_types(self) -> tuple[ArrayType, ...]:
        return tuple(v.type for v in self.inputs)

    @property
    def out_types(self) -> tuple[ArrayType, ...]:
        return tuple(v.type for v in self.outputs)

    def subgraphs(self) -> Iterator[tuple[Node, str, Graph]]:
        """Every graph that a node carries as a parameter (the body of a loop, say)."""
        for node in self.nodes:
            for key, value in node.params.items():
                if isinstance(value, Graph):
                    yield node, key, value
                elif isinstance(value, tuple) and value and isinstance(value[0], Graph):
                    for i, graph in enumerate(value):
                        yield node, f"{key}[{i}]", graph


def interpret(graph: Graph, args: Sequence[Any], apply: Any, constant: Any) -> list[Any]:
    """Run the nodes in order: `apply(node, values)` gives a node's outputs, `constant(array)` a constant's value.

    Values are dropped after their last use.
    """
    trace = graph.trace
    env: list[Any] = [None] * graph.size
    for var, value in zip(graph.inputs, args, strict=True):
        env[var.index] = value
    for node, dying in zip(graph.nodes, last_uses(graph), strict=True):
        values = [env[a.index] if a.trace is trace else constant(a) for a in node.inputs]
        outs = apply(node, values)
        for var, out in zip(node.outputs, outs, strict=True):
            env[var.index] = out
        for i in dying:
            env[i] = None
    return [env[a.index] if a.trace is trace else constant(a) for a in graph.outputs]


def last_uses(graph: Graph) -> list[list[int]]:
    """For each node, the indices of the values that are needed by no later node and are no output."""
    if (known := graph.cache.get("last_uses")) is not None:
        return known
    trace = graph.trace
    needed = {a.index for a in graph.outputs if a.trace is trace}
    result: list[list[int]] = []
    for node in reversed(graph.nodes):
        dying = []
        for a in (*node.inputs, *node.outputs):
            if a.trace is trace and a.index not in needed:  # type: ignore[union-attr]
                needed.add(a.index)  # type: ignore[union-attr]
                dying.append(a.index)  # type: ignore[union-attr]
        result.append(dying)
    result.reverse()
    graph.cache["last_uses"] = result
    return result


def replay(graph: Graph, args: Sequence[Array]) -> list[Array]:
    """Apply every step of `graph` to arrays of whatever transformation is running."""

    def apply(node: Node, values: list[Array]) -> Sequence[Array]:
        if watchers:
            with standing_at(node.source):
                out = node.primitive.bind(*values, **node.params)
        else:
            out = node.primitive.bind(*values, **node.params)
        return out if node.primitive.multiple else (out,)

    return interpret(graph, args, apply, lambda a: a)


def evaluate(graph: Graph, args: Sequence[Any]) -> list[Any]:
    """Run `graph` on ndarrays by the reference rules, one step at a time."""

    def apply(node: Node, values: list[Any]) -> Sequence[Any]:
        out = node.primitive.evaluate(*values, **node.params)
        return out if node.primitive.multiple else (out,)

    return interpret(graph, args, apply, lambda a: a.data)
