"""The rules that every graph keeps, checked: after recording, and after every pass."""

from __future__ import annotations

from wengert.errors import GraphError
from wengert.ir.array import Array
from wengert.ir.graph import Graph
from wengert.ir.primitive import out_type
from wengert.ir.text import value_name


def verify(graph: Graph) -> Graph:
    """Check that every value is made once, before its use, with the type that its primitive states."""
    trace = graph.trace
    made: set[int] = set()

    def make(a: Array, where: str) -> None:
        if a.trace is not trace or not 0 <= a.index < graph.size:  # type: ignore[attr-defined]
            raise GraphError(f"{where}: {a.type!r} is no value of this graph")
        if a.index in made:  # type: ignore[attr-defined]
            raise GraphError(f"{where}: {value_name(a, graph)} is made twice")
        made.add(a.index)  # type: ignore[attr-defined]

    def use(a: Array, where: str) -> None:
        if a.trace is trace:
            if a.index not in made:  # type: ignore[attr-defined]
                raise GraphError(f"{where}: {value_name(a, graph)} is used before it is made")
        elif a.trace is not None and trace is not None and a.trace.level > trace.level:
            raise GraphError(f"{where}: a value of an inner trace stands in this graph")

    for var in graph.inputs:
        make(var, "inputs")
    for k, node in enumerate(graph.nodes):
        where = f"node {k} ({node.primitive.name})"
        for a in node.inputs:
            use(a, where)
        stated = out_type(node.primitive, node.inputs, node.params)
        stated = stated if node.primitive.multiple else (stated,)
        if len(stated) != len(node.outputs):
            raise GraphError(f"{where}: {len(node.outputs)} outputs, but its type rule states {len(stated)}")
        for var, type in zip(node.outputs, stated, strict=True):
            make(var, where)
            if var.dtype != type.dtype or not _same_shape(var.shape, type.shape):
                raise GraphError(
                    f"{where}: output {value_name(var, graph)} is {var.type!r}, but its type rule states {type!r}"
                )
    for a in graph.outputs:
        use(a, "outputs")
    for _, _, body in graph.subgraphs():
        verify(body)
    return graph


def _same_shape(a: tuple[object, ...], b: tuple[object, ...]) -> bool:
    # a length known only at run time is equal to itself alone, and a type rule may state it anew
    return len(a) == len(b) and all(
        x == y or not (isinstance(x, int) and isinstance(y, int)) for x, y in zip(a, b, strict=True)
    )
