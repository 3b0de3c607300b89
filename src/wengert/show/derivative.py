"""The linearised graph: a map on every edge, and the adjoints that one walk backwards leaves on the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.diff.pull import pull_node
from wengert.diff.push import push_node
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node, NotedNode, Var
from wengert.ir.maps import Map
from wengert.ops.arithmetic import add
from wengert.show.node import Edge, GraphNode

Maps = list[list[tuple[int, Map]]]  # for each node, the inputs that it depends on smoothly, with the maps


class StepMap(Map):
    """The map from one input to one output of a step that states no map for each edge: it is asked as a whole."""

    __slots__ = ("slot", "step")

    def __init__(self, step: _Step, slot: int):
        self.step = step
        self.slot = slot

    @property
    def kind(self) -> str:
        return self.step.node.primitive.name

    def push(self, tangent: Array) -> Array:
        return self.step.push(self.slot, tangent)

    def pull(self, cotangent: Array) -> Array:
        return self.step.pull(self.slot, cotangent)


class _Step:
    """One output of such a step, with a variable of its own at every input, so that inputs can be told apart."""

    __slots__ = ("last", "node", "output", "tape", "variables")

    def __init__(self, node: Node, tape: Any, output: int, differential: Any):
        values = [a.data if a.trace is tape else a for a in node.inputs]
        self.variables = {
            i: Var(tape, v, -1) for i, v in enumerate(values) if node.inputs[i].trace is tape and v.dtype.kind in "fc"
        }
        inputs = [self.variables.get(i, v) for i, v in enumerate(values)]
        self.node = NotedNode(node.primitive, inputs, node.params, node.outputs, node.source, differential)
        self.tape = tape
        self.output = output
        self.last: tuple[Any, dict[int, Array]] | None = None  # one walk serves all inputs

    def pull_all(self, cotangent: Array) -> dict[int, Array]:
        if self.last is None or self.last[0] is not cotangent:
            arriving: list[Array | None] = [None] * len(self.node.outputs)
            arriving[self.output] = cotangent
            found = {id(a): c for a, c in pull_node(self.node, self.tape, arriving)}
            self.last = cotangent, {i: found[id(v)] for i, v in self.variables.items() if id(v) in found}
        return self.last[1]

    def pull(self, slot: int, cotangent: Array) -> Array:
        found = self.pull_all(cotangent).get(slot)
        return self.variables[slot].data * 0 if found is None else found

    def push(self, slot: int, tangent: Array) -> Array:
        tangents = [tangent if i == slot else None for i in range(len(self.node.inputs))]
        out = push_node(self.node, self.tape, tangents)[self.output]
        return self.node.outputs[self.output].data * 0 if out is None else out


def edge_maps(graph: Graph, nodes: Sequence[GraphNode]) -> Maps:
    """The map on every edge, computed once, in the order of the nodes."""
    tape = graph.trace
    differentials: dict[int, Any] = {}
    return [_maps_into(n, tape, differentials) for n in nodes]


def _maps_into(n: GraphNode, tape: Any, differentials: dict[int, Any]) -> list[tuple[int, Map]]:
    node = n.step
    if node is None or not node.primitive.differentiable or n.dtype.kind not in "fc":
        return []
    primitive, params = node.primitive, node.params
    slots = [i for i, a in enumerate(node.inputs) if a.trace is tape and a.dtype.kind in "fc"]
    if primitive.jvp is None and primitive.linearize is None:
        values = [a.data if a.trace is tape else a for a in node.inputs]
        found = [(i, primitive.partial(i, values, n.value, params)) for i in slots]
        return [(i, m) for i, m in found if m is not None]
    if primitive.linearize is not None and id(node) not in differentials:
        values = [a.data if a.trace is tape else a for a in node.inputs]
        active = [a.trace is tape for a in node.inputs]
        differentials[id(node)] = primitive.linearize(values, params, active)[1]
    step = _Step(node, tape, n.output, differentials.get(id(node)))
    return [(i, StepMap(step, i)) for i in slots]


def connect(nodes: Sequence[GraphNode], maps: Maps) -> None:
    """Put the edges on the nodes."""
    for n, found in zip(nodes, maps, strict=True):
        n.edges = [Edge(n.inputs[i], n, i, m) for i, m in found]


def sweep(nodes: Sequence[GraphNode], seeds: dict[int, Array]) -> None:
    """Walk backwards from the seeds (cotangents, by node index) and leave each node's adjoint on it."""
    for index, c in seeds.items():
        nodes[index].adjoint = c
    for n in reversed(nodes):
        arriving = n.adjoint
        if arriving is None:
            continue
        for edge in n.edges:
            c = edge.pull(arriving)
            edge.contribution = c
            known = edge.source.adjoint
            edge.source.adjoint = c if known is None else add.bind(known, c)
