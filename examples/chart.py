"""Charts as SVG files, without any library: curves over steps, and small grey images with a caption."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

COLOURS = ("#1f6fb2", "#d1495b", "#3a7d44", "#e0a030", "#6b4e9b", "#00798c")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 64, 16, 36, 44


def lines(
    path: Path, title: str, curves: Mapping[str, Any], across: str = "step", up: str = "", log: bool = False
) -> None:
    """Curves over their index, or over their own x values where a curve is a pair (x, y); names stand beside them."""
    right = RIGHT + 14 + max(round(6.2 * len(n)) for n in curves)
    points = {n: c if isinstance(c, tuple) else (range(len(c)), c) for n, c in curves.items()}
    seen = [
        (float(x), math.log10(float(y)) if log else float(y))
        for xs, ys in points.values()
        for x, y in zip(xs, ys, strict=True)
        if not log or y > 0
    ]
    x0, x1 = min(x for x, _ in seen), max(x for x, _ in seen)
    y0, y1 = min(y for _, y in seen), max(y for _, y in seen)
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        across_share, up_share = (x - x0) / (x1 - x0), (y - y0) / (y1 - y0)
        return LEFT + across_share * (WIDTH - LEFT - right), HEIGHT - BOTTOM - up_share * (HEIGHT - TOP - BOTTOM)

    parts = [text(WIDTH / 2, 20, title, size=15, anchor="middle")]
    for y in powers(y0, y1) if log else ticks(y0, y1):
        _, py = at(x0, y)
        parts.append(f'<path d="M{LEFT} {py:.1f}H{WIDTH - right}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, py + 4, f"{10**y:.1g}" if log else f"{y:.4g}", anchor="end"))
    for x in ticks(x0, x1):
        px, _ = at(x, y0)
        parts.append(text(px, HEIGHT - BOTTOM + 16, f"{x:.4g}", anchor="middle"))
    parts.append(text((LEFT + WIDTH - right) / 2, HEIGHT - 8, across, anchor="middle"))
    parts.append(text(8, 20, up))
    ends: dict[str, float] = {}
    for i, (name, (xs, ys)) in enumerate(points.items()):
        colour = COLOURS[i % len(COLOURS)]
        shown = [
            at(float(x), math.log10(float(y)) if log else float(y))
            for x, y in zip(xs, ys, strict=True)
            if not log or y > 0
        ]
        path_data = "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in shown)
        parts.append(f'<path d="{path_data}" fill="none" stroke="{colour}" stroke-width="2"/>')
        ends[name] = shown[-1][1] + 4
    for name, y in apart(ends).items():
        colour = COLOURS[list(points).index(name) % len(COLOURS)]
        parts.append(text(WIDTH - right + 8, y, name, colour=colour))
    write(path, WIDTH, HEIGHT, parts)


def images(path: Path, title: str, pictures: Sequence[Any], captions: Sequence[str], columns: int = 10) -> None:
    """Images with values from 0 (white) to 1 (black), a caption under each; "!" at its start makes it red."""
    size, cell = 6, 8 * 6 + 28
    rows = -(-len(pictures) // columns)
    parts = [text(columns * cell / 2, 20, title, size=15, anchor="middle")]
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = (i % columns) * cell + 12, (i // columns) * cell + 34
        parts.append(f'<rect x="{left}" y="{top}" width="{8 * size}" height="{8 * size}" fill="none" stroke="#ccc"/>')
        for r, row in enumerate(picture):
            for c, value in enumerate(row):
                if value > 0:
                    grey = round(255 * (1 - float(value)))
                    parts.append(
                        f'<rect x="{left + c * size}" y="{top + r * size}" width="{size}" height="{size}" '
                        f'fill="rgb({grey},{grey},{grey})"/>'
                    )
        colour = COLOURS[1] if caption.startswith("!") else "#333"
        parts.append(text(left + 4 * size, top + 8 * size + 14, caption.lstrip("!"), anchor="middle", colour=colour))
    write(path, columns * cell + 12, rows * cell + 44, parts)


def text(x: float, y: float, what: str, size: int = 11, anchor: str = "start", colour: str = "#333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(what)}</text>'
    )


def ticks(low: float, high: float) -> list[float]:
    """Some five round numbers between two."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 6)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def powers(low: float, high: float) -> list[float]:
    """Logarithms of some five round numbers: powers of ten, or where these are few, 1, 2 and 5 times such."""
    step = max(1, math.ceil((high - low) / 6))
    tens = [float(k) for k in range(math.ceil(low), math.floor(high) + 1) if k % step == 0]
    if len(tens) > 2:
        return tens
    fine = [k + math.log10(m) for k in range(math.floor(low), math.ceil(high)) for m in (1, 2, 5)]
    return [y for y in [*fine, float(math.ceil(high))] if low <= y <= high]


def apart(places: Mapping[str, float], least: float = 14.0) -> dict[str, float]:
    """Heights of labels, moved so that none stands on another."""
    found: dict[str, float] = {}
    for name in sorted(places, key=lambda n: places[n]):
        found[name] = max([places[name], *(y + least for y in found.values())])
    excess = max(found.values()) - (HEIGHT - BOTTOM + 4)
    if excess > 0:
        above = float("inf")
        for name in sorted(found, key=lambda n: -found[n]):
            found[name] = above = min(found[name], above - least, HEIGHT - BOTTOM + 4)
    return found


def write(path: Path, width: float, height: float, parts: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "\n".join(parts)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n',
        encoding="utf-8",
    )


def bands(path: Path, title: str, panels: Mapping[str, Sequence[Any]], across: str = "step") -> None:
    """One panel for each name, in it one strip for each layer: arrays (n, 3) of least, middle and largest value."""
    wide, strip = 250, 46
    most = max(len(layers) for layers in panels.values())
    parts = [text(len(panels) * wide / 2, 20, title, size=15, anchor="middle")]
    for p, (name, layers) in enumerate(panels.items()):
        left = p * wide + 40
        parts.append(text(left, 44, name, size=12))
        for k, values in enumerate(layers):
            parts += band(values, left, 54 + k * (strip + 8), wide - 52, strip, COLOURS[p % len(COLOURS)])
    height = 54 + most * (strip + 8) + 24
    note = f"{across}; a strip for each layer, input on top"
    parts.append(text(len(panels) * wide / 2, height - 8, note, anchor="middle"))
    write(path, len(panels) * wide, height, parts)


def band(values: Any, left: float, top: float, wide: float, tall: float, colour: str) -> list[str]:
    """The area between least and largest value, and the line of the middle one."""
    low, high = float(min(v[0] for v in values)), float(max(v[2] for v in values))
    span = (high - low) or 1.0

    def curve(which: int) -> list[str]:
        return [
            f"{left + wide * i / max(len(values) - 1, 1):.1f} {top + tall * (high - float(v[which])) / span:.1f}"
            for i, v in enumerate(values)
        ]

    return [
        f'<path d="M{"L".join(curve(2) + curve(0)[::-1])}Z" fill="{colour}" opacity="0.35"/>',
        f'<path d="M{"L".join(curve(1))}" fill="none" stroke="{colour}"/>',
        text(left - 4, top + 10, f"{high:.2g}", size=9, anchor="end"),
        text(left - 4, top + tall, f"{low:.2g}", size=9, anchor="end"),
    ]
