"""The picture: boxes with values, lines with local derivatives, for light and dark pages. No external program."""

from __future__ import annotations

import unicodedata
from html import escape
from typing import TYPE_CHECKING

from wengert.show.layout import Layout, Point
from wengert.show.node import Edge
from wengert.show.numbers import adjoint_equation, value_text
from wengert.show.picture import Box, Picture, adjoint_name, edge_lines, short
from wengert.show.text import heading, line_text

if TYPE_CHECKING:
    from wengert.show.graph import ComputationGraph

MARGIN = 24.0
HEAD = 58.0
LINE = 17.0
CHAR, BOLD = 7.25, 8.2  # widths of a character of 12 pixels (monospaced) and of a title

STYLE = """
.wg{--page:#fff;--box:#f8fafc;--rim:#94a3b8;--ink:#0f172a;--soft:#64748b;--value:#1d4ed8;--local:#b45309;--adjoint:#be123c;
--input:#eff6ff;--inputrim:#3b82f6;--output:#f0fdf4;--outputrim:#16a34a;--constant:#f1f5f9;--wire:#94a3b8}
@media (prefers-color-scheme:dark){.wg{--page:#0f172a;--box:#1e293b;--rim:#64748b;--ink:#f1f5f9;--soft:#94a3b8;
--value:#93c5fd;--local:#fbbf24;--adjoint:#fda4af;--input:#172554;--inputrim:#60a5fa;--output:#052e16;--outputrim:#4ade80;
--constant:#334155;--wire:#64748b}}
.wg .page{fill:var(--page)}
.wg text{font:12px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:var(--ink)}
.wg .name{font:600 14px system-ui,'Segoe UI','DejaVu Sans',sans-serif}
.wg .head{font:600 16px system-ui,'Segoe UI','DejaVu Sans',sans-serif}
.wg .note,.wg .soft{fill:var(--soft)}
.wg .note{font:13px system-ui,'Segoe UI','DejaVu Sans',sans-serif}
.wg .value{fill:var(--value)}.wg .local{fill:var(--local);font-weight:600}.wg .adjoint{fill:var(--adjoint)}
.wg .box rect{fill:var(--box);stroke:var(--rim);stroke-width:1.2}
.wg .input rect{fill:var(--input);stroke:var(--inputrim)}.wg .output rect{fill:var(--output);stroke:var(--outputrim)}
.wg .output rect{stroke-width:2}.wg .constant rect{fill:var(--constant);stroke-dasharray:4 3}
.wg .fold rect{stroke-dasharray:2 4}
.wg .line{fill:none;stroke:var(--wire);stroke-width:1.5}.wg .flat{stroke-dasharray:5 4}
.wg .tip{fill:var(--wire)}.wg .plate{fill:var(--page)}
""".strip()


def svg(graph: ComputationGraph, limit: int = 600, *, controls: bool = False) -> str:
    """The graph as an SVG document. With `controls`, boxes can be focused and carry their number, for the page."""
    picture = Picture(graph, limit)
    label = getattr(graph, "label", None)
    contents = [_box_lines(b, label) for b in picture.boxes]
    labels = [None if link.edge is None else edge_lines(link.edge) for link in picture.links]
    layout = Layout(
        [_box_size(c) for c in contents],
        [(link.source, link.target) for link in picture.links],
        [None if x is None else _label_size(x) for x in labels],
    )
    head = [short(heading(graph), 120)]
    if label is not None:
        head.append(f"blue: values · orange: local derivatives · red: ∂{label} by each value")
        if all(n.value.ndim == 0 for n in graph.nodes):
            head.append("Multiply the orange numbers along a path, add over paths: the red number where they begin.")
        else:
            head.append("gain: what a step does to the norm of the derivative that is pulled back through it")
    if picture.folded:
        head.append(f"{picture.folded:,} operations in the middle are folded; save(..., max_nodes=...) shows more.")
    if layout.stubs:
        head.append("Dashed ends belong to lines that are too long to draw; the name says where they come from.")
    width = max(layout.width, *(8.6 * _columns(h) for h in head)) + 2 * MARGIN
    top = HEAD - 18 + 18 * len(head)
    height = layout.height + top + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="wg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{escape(head[0])}">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="wg-tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="10" markerHeight="10" '
        'markerUnits="userSpaceOnUse" orient="auto"><path class="tip" d="M0 0.8 10 5 0 9.2z"/></marker></defs>',
        '<rect class="page" width="100%" height="100%"/>',
    ]
    for i, line in enumerate(head):
        style = "head" if not i else "note"
        parts.append(f'<text class="{style}" x="{MARGIN:.0f}" y="{30 + 20 * i if i else 30}">{escape(line)}</text>')
    shift = (width - layout.width) / 2 if layout.width < width / 2 else MARGIN
    parts.append(f'<g transform="translate({shift:.1f} {top:.1f})">')
    for i, link in enumerate(picture.links):
        flat = label is not None and link.edge is None
        mark = _marks(link.source, link.target, link.edge, controls)
        if i in layout.stubs:
            parts += _stub(layout.routes[i], picture.boxes[link.source], mark)
        else:
            look = "line flat" if flat else "line"
            parts.append(f'<path class="{look}"{mark} d="{_curve(layout.routes[i])}" marker-end="url(#wg-tip)"/>')
    for i, link in enumerate(picture.links):
        center, lines = layout.label_centers[i], labels[i]
        if center is not None and lines is not None:
            parts.append(_label(center, lines, _marks(link.source, link.target, link.edge, controls)))
    for k, box in enumerate(picture.boxes):
        parts.append(_box(layout.centers[k], layout.sizes[k], box, contents[k], k if controls else None))
    parts.append("</g></svg>")
    return "\n".join(parts)


def _columns(text: str) -> int:
    """How many monospaced columns a text takes: wide characters take two, combining ones none."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)


def _box_lines(box: Box, label: str | None) -> list[tuple[str, str]]:
    n = box.node
    if n is None:
        return [("name", box.title)]
    lines = [("name", short(n.name, 32))]
    if n.step is not None:
        lines.append(("soft", short(n.expression, 34)))
    lines.append(("value", short(value_text(n.value), 40)))
    if label is not None and n.dtype.kind in "fc":
        lines.append(("adjoint", short(adjoint_equation(adjoint_name(label, n), n.adjoint), 40)))
    return lines


def _box_size(lines: list[tuple[str, str]]) -> tuple[float, float]:
    width = max(_columns(t) * (BOLD if style == "name" else CHAR) for style, t in lines)
    return max(56.0, width + 22), LINE * len(lines) + 13


def _label_size(lines: list[str]) -> tuple[float, float]:
    return max(_columns(short(t, 26)) for t in lines) * CHAR + 10, 15.0 * len(lines) + 4


def _marks(source: int, target: int, edge: Edge | None, controls: bool) -> str:
    if not controls:
        return ""
    return f' data-from="{source}" data-to="{target}"' + (' data-edge="1"' if edge is not None else "")


def _curve(points: list[Point]) -> str:
    x, y = points[0]
    parts = [f"M{x:.1f} {y:.1f}"]
    for u, v in points[1:]:
        if abs(v - y) < 0.05:
            parts.append(f"L{u:.1f} {v:.1f}")
        else:
            middle = (x + u) / 2
            parts.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {v:.1f} {u:.1f} {v:.1f}")
        x, y = u, v
    return "".join(parts)


def _stub(points: list[Point], source: Box, mark: str) -> list[str]:
    """The two ends of a line that is too long to draw."""
    (x, y), (u, v) = points[0], points[-1]
    ways = [f"M{x:.1f} {y:.1f}h14", f"M{u - 16:.1f} {v:.1f}H{u:.1f}"]
    if len(points) > 2:  # a label stands before the target
        a, b = points[-3]
        c, d = points[-2]
        ways[1] = f"M{a - 12:.1f} {b:.1f}H{a:.1f}" + _curve([(a, b), (c, d), (u, v)])
    name = escape(short(source.title, 12))
    tx, ty = (points[-3][0] - 12, points[-3][1]) if len(points) > 2 else (u - 16, v)
    return [
        f'<path class="line flat"{mark} d="{ways[0]}"/>',
        f'<path class="line flat"{mark} d="{ways[1]}" marker-end="url(#wg-tip)"/>',
        f'<text class="soft"{mark} x="{tx:.1f}" y="{ty - 5:.1f}" text-anchor="end">{name}</text>',
    ]


def _label(center: Point, lines: list[str], mark: str) -> str:
    x, y = center
    w, h = _label_size(lines)
    first = y - 15.0 * len(lines) / 2 + 11.5
    texts = "".join(
        f'<text class="{"local" if i == len(lines) - 1 else "soft"}" x="{x:.1f}" y="{first + 15 * i:.1f}" '
        f'text-anchor="middle">{escape(short(t, 26))}</text>'
        for i, t in enumerate(lines)
    )
    plate = f'<rect class="plate" x="{x - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" rx="3"/>'
    return f'<g class="label"{mark}>{plate}{texts}</g>'


def _box(center: Point, size: tuple[float, float], box: Box, lines: list[tuple[str, str]], number: int | None) -> str:
    x, y = center[0] - size[0] / 2, center[1] - size[1] / 2
    n = box.node
    about = box.title if n is None else f"{n.kind} {n.name}, value {value_text(n.value)}"
    focus = "" if number is None or n is None else f' data-box="{number}" tabindex="0" role="button"'
    texts = "".join(
        f'<text class="{style}" x="{center[0]:.1f}" y="{y + 20 + LINE * i:.1f}" text-anchor="middle">{escape(t)}</text>'
        for i, (style, t) in enumerate(lines)
    )
    hint = "" if n is None or n.source is None else f"<title>{escape(line_text(n.source))}</title>"
    rx = 8 if n is None or n.step is not None else 16
    return (
        f'<g class="box {box.kind}"{focus} aria-label="{escape(about)}">{hint}'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{size[0]:.1f}" height="{size[1]:.1f}" rx="{rx}"/>{texts}</g>'
    )
