"""Single numbers made of inputs alone come first: an optimizer's rate and corrections, say.

A compiler lets a step's results leave together with the loop that makes their operands; a number that is known only
later would force a loop of its own behind it.
"""

from __future__ import annotations

from wengert.ir.graph import Graph, Node
from wengert.ops.elementwise import Elementwise


def numbers_first(graph: Graph) -> Graph:
    """`graph` with elementwise steps on single numbers, that wait for nothing else, at its beginning."""
    known = {v.index for v in graph.inputs}
    first: list[Node] = []
    rest: list[Node] = []
    for node in graph.nodes:
        plain = isinstance(node.primitive, Elementwise) and node.outputs[0].shape == ()
        if plain and all(a.trace is not graph.trace or a.index in known for a in node.inputs):  # type: ignore[attr-defined]
            known.add(node.outputs[0].index)
            first.append(node)
        else:
            rest.append(node)
    order = first + rest
    if all(a is b for a, b in zip(order, graph.nodes, strict=True)):
        return graph
    return Graph(graph.inputs, order, graph.outputs, graph.trace, graph.size, graph.name)
