"""Graphs as text, one node a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from wengert.ir.array import Array
from wengert.ir.graph import Graph


def graph_text(graph: Graph, indent: str = "") -> str:
    """The graph as lines `name: type = primitive[params] inputs`."""
    return "\n".join(_lines(graph, indent))


def value_name(a: Array, graph: Graph) -> str:
    """`%3` for a value of `graph`; a constant as its number or type."""
    if a.trace is graph.trace:
        return f"%{a.index}"  # type: ignore[attr-defined]
    return format(a.data, ".6g") if a.size == 1 and a.ndim == 0 and a.trace is None else f"<{a.type!r}>"


def _lines(graph: Graph, indent: str) -> Iterator[str]:
    inputs = ", ".join(f"{value_name(v, graph)}: {v.type!r}" for v in graph.inputs)
    yield f"{indent}graph {graph.name}({inputs}):"
    for node in graph.nodes:
        outs = ", ".join(f"{value_name(o, graph)}: {o.type!r}" for o in node.outputs)
        args = ", ".join(value_name(a, graph) for a in node.inputs)
        plain = ", ".join(f"{k}={param_text(v)}" for k, v in node.params.items() if not _is_graph(v))
        yield f"{indent}  {outs} = {node.primitive.name}{f'[{plain}]' if plain else ''} {args}".rstrip()
        for value in node.params.values():
            for body in value if isinstance(value, tuple) else (value,):
                if isinstance(body, Graph):
                    yield graph_text(body, indent + "      ")
    yield f"{indent}  return {', '.join(value_name(a, graph) for a in graph.outputs)}"


def _is_graph(value: Any) -> bool:
    return isinstance(value, Graph) or (isinstance(value, tuple) and bool(value) and isinstance(value[0], Graph))


def param_text(value: Any) -> str:
    """A parameter, short."""
    if isinstance(value, np.dtype):
        return value.name
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return repr(value).replace(" ", "")


Graph.__str__ = graph_text  # type: ignore[method-assign, assignment]
