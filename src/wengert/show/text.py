"""The graph as text: a list of all values, and a drawing with rails for a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wengert.ir.graph import Graph
from wengert.ir.text import graph_text
from wengert.show.node import Edge, GraphNode
from wengert.show.numbers import adjoint_equation, value_text
from wengert.show.picture import Picture, adjoint_name, edge_lines, short
from wengert.source import Source

if TYPE_CHECKING:
    from wengert.show.graph import ComputationGraph

_WIDE = 40  # columns are not made wider than this for the sake of one long entry
_RAILS = 30  # rails that are drawn


def line_text(source: Source) -> str:
    """`model.py:12  h = w @ x`, without the folder, which is nobody's business in a picture that is passed on."""
    return f"{os.path.basename(source.filename)}:{source.line}  {short(source.text, 60)}".rstrip()


class _Lines:
    """The user's lines, each looked up once."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], str] = {}

    def __call__(self, source: Source | None) -> str:
        if source is None:
            return ""
        key = id(source.code), source.lasti
        if key not in self.known:
            self.known[key] = line_text(source)
        return self.known[key]


def heading(graph: ComputationGraph) -> str:
    """`loss(w1, x): 2 inputs, 5 operations`."""
    names = [n.name for n in graph.inputs]
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    operations = sum(n.step is not None for n in graph.nodes)
    label = getattr(graph, "label", None)
    rest = "" if label is None else f", with local derivatives and ∂{label}"
    return f"{graph.name}({shown}): {_count(len(names), 'input')}, {_count(operations, 'operation')}{rest}"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def listing(graph: ComputationGraph) -> str:
    """Every value on a line: name, formula, number and the user's line; in a derivative graph also its derivatives."""
    return "\n".join(_rows(graph))


def _rows(graph: ComputationGraph) -> Iterator[str]:
    yield heading(graph)
    label = getattr(graph, "label", None)
    lines = _Lines()
    shown = [n for n in graph.nodes if not n.is_number]
    cells = [(n.name, n.expression or n.kind, value_text(n.value)) for n in shown]
    w1, w2, w3 = (min(_WIDE, max(map(len, column), default=0)) for column in zip(*cells, strict=True))
    adjoints = [_adjoint(n, label) if label else "" for n in shown]
    w4 = min(_WIDE, max((len(a) for a in adjoints), default=0))
    for n, (name, formula, value), adjoint in zip(shown, cells, adjoints, strict=True):
        sign = "=" if n.step is not None else "·"
        row = f"  {name:<{w1}} {sign} {formula:<{w2}}  {value:<{w3}}"
        if label:
            row += f"  {adjoint:<{w4}}"
        mark = "→ output" if n in graph.outputs else ""
        yield f"{row}  {lines(n.source)}{'  ' if mark else ''}{mark}".rstrip()
        for edge in n.edges:
            yield f"  {'':<{w1}}   {edge.name} = {_local(edge)}"
        if n.output == 0:
            yield from _bodies(n)


def _local(edge: Edge) -> str:
    lines = edge_lines(edge)
    return ", ".join(lines) if edge.value is None else " = ".join(lines)


def _adjoint(n: GraphNode, label: str) -> str:
    return adjoint_equation(adjoint_name(label, n), n.adjoint) if n.dtype.kind in "fc" else ""


def _bodies(n: GraphNode) -> Iterator[str]:
    for value in n.params.values():
        for body in value if isinstance(value, tuple) else (value,):
            if isinstance(body, Graph):
                yield graph_text(body, "        ")


def rails(graph: ComputationGraph, limit: int = 200) -> str:
    """A drawing for a terminal: a line down for every value that is still needed, joined where an operation uses it."""
    return "\n".join([heading(graph), *_drawn(graph, limit)])


def _drawn(graph: ComputationGraph, limit: int) -> Iterator[str]:
    picture = Picture(graph, limit)
    label = getattr(graph, "label", None)
    sources: list[list[int]] = [[] for _ in picture.boxes]
    last = list(range(len(picture.boxes)))
    for link in picture.links:
        sources[link.target].append(link.source)
        last[link.source] = max(last[link.source], link.target)
    outputs = {n.index for n in graph.outputs}
    columns: list[int | None] = []  # the box whose value runs down each rail
    rows: list[tuple[str, str]] = []
    for k, box in enumerate(picture.boxes):
        used = {c for c, b in enumerate(columns) if b is not None and b in sources[k]}
        dying = {c for c in used if last[columns[c]] == k}  # type: ignore[index]
        free = [c for c, b in enumerate(columns) if b is None]
        own = min(dying) if dying else free[0] if free else len(columns)
        if own == len(columns):
            columns.append(None)
        span = range(min(used | {own}), max(used | {own}) + 1)
        cells = []
        for c in range(len(columns)):
            alive = columns[c] is not None
            if c == own:
                mark = "○" if not sources[k] else "◆" if box.node is None or box.node.index in outputs else "●"
            elif c in used:
                left, right = c == span[0], c == span[-1]
                ends = "╰" if left else "╯" if right else "┴"
                mark = ends if c in dying else "├" if left else "┤" if right else "┼"
            else:
                mark = "│" if alive else "─" if c in span else " "
            cells.append(mark + ("─" if c in span and c != span[-1] else " "))
        for c in dying:
            columns[c] = None
        if last[k] > k:
            columns[own] = k
        while columns and columns[-1] is None:
            columns.pop()
        art = "".join(cells[:_RAILS]) + ("…" if len(cells) > _RAILS else "")
        rows.append((art, _caption(box.node, box.title, label)))
    width = max((len(a) for a, _ in rows), default=0)
    for art, caption in rows:
        yield f"  {art:<{width}} {caption}"


def _caption(n: GraphNode | None, title: str, label: str | None) -> str:
    if n is None:
        return title
    formula = f" = {n.expression}" if n.step is not None else ""
    adjoint = f"   {_adjoint(n, label)}" if label else ""
    return f"{n.name}{short(formula, 60)} = {value_text(n.value)}{adjoint}"
