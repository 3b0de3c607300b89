"""The graph in the language of Mermaid, which many wikis and READMEs draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wengert.show.dot import box_lines
from wengert.show.picture import Picture, edge_lines

if TYPE_CHECKING:
    from wengert.show.graph import ComputationGraph


def mermaid(graph: ComputationGraph, limit: int) -> str:
    """The graph as a Mermaid flowchart."""
    picture = Picture(graph, limit)
    label = getattr(graph, "label", None)
    lines = ["flowchart LR"]
    for k, box in enumerate(picture.boxes):
        left, right = ('(["', '"])') if box.kind in ("input", "constant") else ('["', '"]')
        lines.append(f"  n{k}{left}{'<br>'.join(map(_safe, box_lines(box, label)))}{right}:::{box.kind}")
    for link in picture.links:
        if link.edge is not None:
            arrow = f'-- "{"<br>".join(map(_safe, edge_lines(link.edge)))}" -->'
        else:
            arrow = "-->" if label is None else "-.->"
        lines.append(f"  n{link.source} {arrow} n{link.target}")
    lines += [
        "  classDef input fill:#eff6ff,stroke:#3b82f6,color:#0f172a",
        "  classDef constant fill:#f1f5f9,stroke:#94a3b8,color:#0f172a,stroke-dasharray:4 3",
        "  classDef operation fill:#f8fafc,stroke:#94a3b8,color:#0f172a",
        "  classDef output fill:#f0fdf4,stroke:#16a34a,color:#0f172a,stroke-width:2px",
        "  classDef fold fill:#ffffff,stroke:#94a3b8,color:#0f172a,stroke-dasharray:2 4",
    ]
    return "\n".join([*lines, ""])


def _safe(text: str) -> str:
    """Characters that Mermaid or HTML would read as their own, as entity codes."""
    return "".join(f"#{ord(c)};" if c in "\"'<>&#`[](){}|\\;" else " " if c == "\n" else c for c in text)
