"""The graph in the language of Graphviz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wengert.show.numbers import adjoint_equation, value_text
from wengert.show.picture import Box, Picture, adjoint_name, edge_lines

if TYPE_CHECKING:
    from wengert.show.graph import ComputationGraph

_STYLE = {
    "input": 'style="rounded,filled" fillcolor="#eff6ff" color="#3b82f6"',
    "constant": 'style="rounded,filled,dashed" fillcolor="#f1f5f9"',
    "output": 'style="rounded,filled,bold" fillcolor="#f0fdf4" color="#16a34a"',
    "operation": 'style="rounded,filled" fillcolor="#f8fafc" color="#94a3b8"',
    "fold": 'style="dotted"',
}


def dot(graph: ComputationGraph, limit: int) -> str:
    """The graph as DOT: values on nodes, local derivatives on edges."""
    picture = Picture(graph, limit)
    label = getattr(graph, "label", None)
    lines = [f"digraph {_quoted([graph.name])} {{", "  rankdir=LR;", '  node [shape=box fontname="Helvetica"];']
    for k, box in enumerate(picture.boxes):
        lines.append(f"  n{k} [label={_quoted(box_lines(box, label))} {_STYLE[box.kind]}];")
    for link in picture.links:
        if link.edge is not None:
            look = f' [label={_quoted(edge_lines(link.edge))} fontcolor="#b45309"]'
        else:
            look = " [style=dashed]" if label is not None else ""
        lines.append(f"  n{link.source} -> n{link.target}{look};")
    return "\n".join([*lines, "}", ""])


def box_lines(box: Box, label: str | None) -> list[str]:
    """What stands in a box: name, formula, value, adjoint."""
    n = box.node
    if n is None:
        return [box.title]
    lines = [n.name, *([n.expression] if n.step is not None else []), value_text(n.value)]
    if label is not None and n.dtype.kind in "fc":
        lines.append(adjoint_equation(adjoint_name(label, n), n.adjoint))
    return lines


def _quoted(lines: list[str]) -> str:
    safe = [s.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for s in lines]
    return '"' + "\\n".join(safe) + '"'
