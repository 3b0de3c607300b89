"""One page that works offline: the picture, the details of each node, and both passes step by step."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.errors import DTypeError, UnsupportedError
from wengert.ir.array import Array
from wengert.ir.graph import Graph
from wengert.ir.text import graph_text
from wengert.show.node import GraphNode
from wengert.show.numbers import adjoint_text, ndarray_or_none, norm, number_text, shape_text, value_text
from wengert.show.page import PAGE
from wengert.show.picture import Picture, adjoint_name, edge_lines, has_body
from wengert.show.step import steps
from wengert.show.svg import svg

if TYPE_CHECKING:
    from wengert.show.graph import ComputationGraph

_WRITTEN = 64  # elements of an array that the panel writes out


def html(graph: ComputationGraph, limit: int = 400) -> str:
    """The graph as a page. The derivative is added where there is one."""
    if not hasattr(graph, "label"):
        with suppress(DTypeError, UnsupportedError):  # else the forward pass alone
            graph = graph.derivative()
    picture = Picture(graph, limit)
    label = getattr(graph, "label", None)
    place = {b.node.index: k for k, b in enumerate(picture.boxes) if b.node is not None}
    data = {
        "boxes": [None if b.node is None else _details(b.node, label) for b in picture.boxes],
        "steps": _steps(graph, place, label),
        "label": label,
    }
    # "<" would end the script element, and U+2028 a line
    payload = json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    title = escape(f"{graph.name}: computation graph")
    values = {"TITLE": title, "SVG": svg(graph, limit, controls=True), "DATA": payload}
    # split once, so that no text of the user's is taken for a place holder
    parts = re.split("@(TITLE|SVG|DATA)@", PAGE)
    return "".join(values[part] if i % 2 else part for i, part in enumerate(parts))


def _steps(graph: ComputationGraph, place: dict[int, int], label: str | None) -> list[dict[str, Any]]:
    result = []
    for step in steps(graph.nodes, label or ""):
        k = place.get(step.node.index)
        if k is None:
            continue
        result.append({"phase": step.phase, "box": k, "lines": step.lines})
    return result


def _details(n: GraphNode, label: str | None) -> dict[str, Any]:
    rows: list[list[str]] = [["kind", n.kind if n.step is None else f"{n.kind}: {n.operation}"]]
    if n.aliases:
        rows.append(["also called", ", ".join(n.aliases)])
    if n.step is not None:
        rows.append(["formula", f"{n.name} = {n.expression}"])
        if numbers := n.expression_with_values():
            rows.append(["with numbers", f"{numbers} = {value_text(n.value)}"])
    rows.append(["type", shape_text(n.value.type)])
    rows.append(["value", _written(n.value)])
    if label is not None and n.dtype.kind in "fc":
        rows.append([adjoint_name(label, n), "0: no path leads to it" if n.adjoint is None else _written(n.adjoint)])
    for e in n.edges:
        lines = edge_lines(e)
        gain = "" if e.value is not None or e.gain is None else f" · gain {number_text(e.gain)}"
        kind = "" if e.value is not None else f" ({e.kind}, Jacobian {'×'.join(map(str, e.shape))})"
        text = " = ".join(lines) if e.value is not None else f"{e.symbol or ''}{kind}{gain}".strip()
        if e.contribution is not None:
            text += f"\nadds {adjoint_text(e.contribution)} to {adjoint_name(label or '', e.source)}"
        rows.append([e.name, text])
    if n.source is not None:
        rows.append(
            ["line", f"{n.source.text}\n{os.path.basename(n.source.filename)}:{n.source.line} in {n.source.function}"]
        )
    if has_body(n):
        bodies = [v for p in n.params.values() for v in (p if isinstance(p, tuple) else (p,)) if isinstance(v, Graph)]
        rows.append(["body", "\n".join(graph_text(b) for b in bodies)])
    return {"name": n.name, "rows": rows}


def _written(x: Array) -> str:
    data = ndarray_or_none(x)
    if data is None or data.ndim == 0 or data.size > _WRITTEN:
        if data is None or data.ndim == 0 or data.dtype.kind not in "fiu":
            return value_text(x)
        finite = data[np.isfinite(data)] if data.dtype.kind == "f" else data
        lost = data.size - finite.size
        mean = number_text(finite.mean(dtype=np.float64)) if finite.size else "none"
        return f"{value_text(x)}\nmean {mean} · norm {number_text(norm(x))}" + (f" · {lost} not finite" if lost else "")
    return np.array2string(data, precision=4, separator=", ", max_line_width=48)
