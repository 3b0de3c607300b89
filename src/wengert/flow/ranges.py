"""The ranges of parameters, gradients or activations over a training, as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from wengert.errors import ArgumentError
from wengert.source import at_user_line

WIDTH, HEIGHT, LEFT, TOP, GAP = 720, 84, 150, 34, 12  # of the picture, of a strip, of the margins, between strips
KINDS = ("parameters", "gradients", "activations")

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #333 } .small { font-size: 10px; fill: #777 }
  .range { fill: #9ecae1; fill-opacity: .55 } .spread { fill: #3182bd; fill-opacity: .45 }
  .mean { fill: none; stroke: #08306b; stroke-width: 1.5 } .zero { stroke: #999; stroke-dasharray: 2 3 }
  .frame { fill: none; stroke: #ccc }
  @media (prefers-color-scheme: dark) { text { fill: #ddd } .small { fill: #aaa } .mean { stroke: #deebf7 } }
"""


def ranges_picture(records: Sequence[Mapping[str, Any]], what: str = "parameters") -> str:
    """A strip for each array: from its least to its largest number (pale), mean ± standard deviation (dark), mean.

    Args:
        records: of a monitor, or of a run folder; thorough looks hold ranges.
        what: "parameters", "gradients" (of parameters) or "activations".

    Returns:
        SVG.

    Raises:
        ArgumentError: there is nothing to draw.

    Example:
        >>> Path("ranges.svg").write_text(flow.ranges_picture(monitor.records))
    """
    if what not in KINDS:
        raise ArgumentError(f"ranges of {what!r}; expected one of {', '.join(KINDS)}{at_user_line()}")
    strips: dict[str, list[tuple[int, float, float, float, float]]] = {}
    for record in records:
        for name, entry in record.get("activations" if what == "activations" else "parameters", {}).items():
            found = entry.get("gradient", {}) if what == "gradients" else entry
            row = [found.get(key) for key in ("min", "max", "mean", "std")]
            if all(isinstance(v, (int, float)) and math.isfinite(v) for v in row):
                strips.setdefault(name, []).append((record["step"], *row))
    if not strips:
        raise ArgumentError(
            f"no record has ranges of {what}: a monitor takes them at every thorough look{at_user_line()}"
        )
    first = min(rows[0][0] for rows in strips.values())
    last = max(rows[-1][0] for rows in strips.values())
    height = TOP + len(strips) * (HEIGHT + GAP) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Ranges of {what} over training"><style>{STYLE}</style>',
        f'<text x="8" y="20">Ranges of {what}, steps {first} to {last}</text>',
    ]
    for k, (name, rows) in enumerate(strips.items()):
        parts += _strip(name, rows, TOP + k * (HEIGHT + GAP), first, last)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _strip(name: str, rows: Sequence[tuple[int, float, float, float, float]], top: float, first: int, last: int) -> Any:
    low, high = min(r[1] for r in rows), max(r[2] for r in rows)
    span = (high - low) or abs(high) or 1.0

    def x(step: int) -> float:
        return LEFT + (WIDTH - LEFT - 10) * ((step - first) / (last - first) if last > first else 0.5)

    def y(value: float) -> float:
        return top + HEIGHT * (1 - (min(max(value, low), high) - low) / span)

    def band(lower: Sequence[float], upper: Sequence[float], kind: str) -> str:
        steps = [r[0] for r in rows]
        points = [*zip(steps, upper, strict=True), *reversed([*zip(steps, lower, strict=True)])]
        return f'<polygon class="{kind}" points="{_points((x(s), y(v)) for s, v in points)}"/>'

    yield f'<text x="8" y="{top + HEIGHT / 2:.0f}">{escape(name)}</text>'
    yield f'<text class="small" x="{LEFT - 6}" y="{top + 9:.0f}" text-anchor="end">{high:.3g}</text>'
    yield f'<text class="small" x="{LEFT - 6}" y="{top + HEIGHT:.0f}" text-anchor="end">{low:.3g}</text>'
    yield f'<rect class="frame" x="{LEFT}" y="{top}" width="{WIDTH - LEFT - 10}" height="{HEIGHT}"/>'
    if low < 0 < high:
        yield f'<line class="zero" x1="{LEFT}" x2="{WIDTH - 10}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>'
    yield band([r[1] for r in rows], [r[2] for r in rows], "range")
    yield band([r[3] - r[4] for r in rows], [r[3] + r[4] for r in rows], "spread")
    yield f'<polyline class="mean" points="{_points((x(r[0]), y(r[3])) for r in rows)}"/>'


def _points(points: Any) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
