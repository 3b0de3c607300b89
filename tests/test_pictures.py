"""Pictures and files: what they show, that they are whole and safe, big graphs, and the layout."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError
from wengert.show.layout import Layout, separated
from wengert.show.picture import Picture


def net(w1: Any, b1: Any, w2: Any, x: Any) -> Any:
    h = wg.tanh(w1 * x + b1)
    y = w2 * h
    loss = (y - 1.0) ** 2
    return loss


@pytest.fixture
def g() -> Any:
    return wg.graph(net)(0.5, 0.1, -1.2, 2.0)


# Files.


def test_svg_shows_values_and_derivatives(g: Any, tmp_path: Path) -> None:
    g.save(tmp_path / "plain.svg")
    g.derivative().save(str(tmp_path / "local.SVG"))
    plain, local = (ET.parse(tmp_path / name).getroot() for name in ("plain.svg", "local.SVG"))
    texts = ["".join(e.itertext()) for e in local.iter("{http://www.w3.org/2000/svg}text")]
    for wanted in ("loss", "tanh(add1)", "0.8005", "1 - h²", "0.3592", "∂loss/∂loss = 1"):
        assert wanted in texts
    assert not any("∂" in "".join(e.itertext()) for e in plain.iter("{http://www.w3.org/2000/svg}text"))
    arrows = [e for e in local.iter("{http://www.w3.org/2000/svg}path") if e.get("marker-end")]
    assert len(arrows) == len(g.derivative().edges)
    assert "prefers-color-scheme:dark" in (tmp_path / "plain.svg").read_text()


class _Page(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data


EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)> @SVG@ \"'&"


def test_everything_from_the_user_is_escaped(tmp_path: Path) -> None:
    def f(params: Any) -> Any:
        return params[EVIL] * 2.0

    f.__name__ = EVIL
    d = wg.graph(f)({EVIL: 1.5}).derivative()
    for suffix in ("svg", "html", "dot", "mmd", "txt"):
        d.save(tmp_path / f"g.{suffix}")
    page = _Page((tmp_path / "g.html").read_text())
    assert len(page.scripts) == 2 and not any(tag == "img" for tag, _ in page.tags)
    names = {b["name"] for b in json.loads(page.scripts[0])["boxes"] if b}
    assert f"params[{EVIL!r}]" in names
    root = ET.parse(tmp_path / "g.svg").getroot()
    assert not [e for e in root.iter() if e.tag.endswith(("script", "img"))]
    assert "<script>" not in (tmp_path / "g.mmd").read_text()
    for line in (tmp_path / "g.dot").read_text().splitlines()[1:]:  # quotes are balanced
        assert len(re.findall(r'(?<!\\)"', line)) % 2 == 0


def test_page_is_offline_and_has_both_passes(g: Any, tmp_path: Path) -> None:
    g.save(tmp_path / "g.html")
    text = (tmp_path / "g.html").read_text()
    page = _Page(text)
    addresses = [v for _, attrs in page.tags for k, v in attrs.items() if k in ("src", "href")]
    assert not addresses and "@import" not in text and "url(http" not in text
    data = json.loads(page.scripts[0])
    phases = [s["phase"] for s in data["steps"]]
    assert phases == sorted(phases, reverse=True) and {"forward", "backward"} == set(phases)
    boxes = [attrs for tag, attrs in page.tags if "data-box" in attrs]
    assert len(boxes) == 10  # the number 1 stands in its formula
    assert all(b["tabindex"] == "0" and b["aria-label"] for b in boxes)
    rows = dict(next(b for b in data["boxes"] if b["name"] == "h")["rows"])
    assert rows["value"] == "0.8005" and "∂loss/∂h" in rows and rows["line"].startswith("h = wg.tanh")
    assert rows["∂h/∂add1"].startswith("1 - h² = 0.3592")


def test_page_without_a_derivative_has_the_forward_pass(tmp_path: Path) -> None:
    wg.graph(lambda x: x > 0)(1.0).save(tmp_path / "g.html")
    data = json.loads(_Page((tmp_path / "g.html").read_text()).scripts[0])
    assert {s["phase"] for s in data["steps"]} == {"forward"}


def test_dot_and_mermaid(g: Any, tmp_path: Path) -> None:
    d = g.derivative()
    d.save(tmp_path / "g.dot")
    d.save(tmp_path / "g.mmd")
    dot, mermaid = (tmp_path / "g.dot").read_text(), (tmp_path / "g.mmd").read_text()
    assert dot.count("->") == mermaid.count("-->") == len(d.edges)
    assert '[label="1 - h²\\n0.3592"' in dot and '-- "1 - h²<br>0.3592" -->' in mermaid
    assert dot.startswith('digraph "net" {') and mermaid.startswith("flowchart LR")


def test_saving_is_whole_or_not_at_all(g: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "g.svg"
    target.write_text("older")

    def fails(a: Any, b: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        g.save(target)
    assert [p.name for p in tmp_path.iterdir()] == ["g.svg"] and target.read_text() == "older"


def test_bad_files(g: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"suffix '.png' names no format; use one of .svg, .html, .dot, .mmd"):
        g.save(tmp_path / "g.png")
    with pytest.raises(ArgumentError, match="no suffix"):
        g.save(tmp_path / "g")
    with pytest.raises(ArgumentError, match="at least 2"):
        g.save(tmp_path / "g.svg", max_nodes=1)
    assert not list(tmp_path.iterdir())


def test_notebook_picture(g: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert g._repr_html_().startswith("<div") and "<svg" in g._repr_html_()
    shown = []

    class Display:
        display = staticmethod(shown.append)

    class Shell:
        kernel = object()

    class IPython:
        display = Display
        get_ipython = staticmethod(Shell)

    monkeypatch.setitem(sys.modules, "IPython", IPython)
    g.show()
    assert shown == [g] and not capsys.readouterr().out


# Big graphs.


def chain(x: Any, w: Any, n: int) -> Any:
    for _ in range(n):
        x = wg.tanh(x * w)
    return x


def test_big_graphs_are_folded_and_quick(tmp_path: Path) -> None:
    g = wg.graph(chain, argnums=(0, 1))(0.5, 1.0, 5_000)
    d = g.derivative()
    for suffix in ("svg", "html", "dot", "mmd", "txt"):
        start = time.process_time()
        d.save(tmp_path / f"g.{suffix}")
        assert time.process_time() - start < 5.0
        text = (tmp_path / f"g.{suffix}").read_text()
        assert "operations folded" in text and len(text) < 3_000_000
    assert "9,400 operations in the middle are folded" in (tmp_path / "g.svg").read_text()
    start = time.process_time()
    g.save(tmp_path / "all.svg", max_nodes=20_000)
    assert time.process_time() - start < 15.0
    assert (tmp_path / "all.svg").read_text().count('class="box') == 10_002


def test_folding_keeps_both_ends_connected() -> None:
    g = wg.graph(chain, argnums=(0, 1))(0.5, 1.0, 50)
    picture = Picture(g, 10)
    assert picture.folded == 90 and sum(b.kind == "fold" for b in picture.boxes) == 1
    assert len([b for b in picture.boxes if b.node is not None and b.node.step is not None]) == 10
    assert all(link.source < link.target for link in picture.links)
    reached = {0}
    for link in picture.links:
        if link.source in reached:
            reached.add(link.target)
    assert len(picture.boxes) - 1 in reached


# The layout.


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("labels", [False, True])
def test_layout_overlaps_nothing(seed: int, labels: bool) -> None:
    rng = np.random.default_rng(seed)
    n = 30
    sizes = [(float(rng.integers(40, 160)), float(rng.integers(20, 90))) for _ in range(n)]
    lines = [(int(rng.integers(0, t)), t) for t in range(1, n) for _ in range(int(rng.integers(1, 4)))]
    layout = Layout(sizes, lines, [(60.0, 30.0) if labels else None for _ in lines])
    placed = [(*c, *s) for c, s in zip(layout.centers, sizes, strict=True)]
    placed += [(*c, 60.0, 30.0) for c in layout.label_centers if c is not None]
    for i, (x, y, w, h) in enumerate(placed):
        assert x - w / 2 >= -1e-6 and x + w / 2 <= layout.width + 1e-6
        assert y - h / 2 >= -1e-6 and y + h / 2 <= layout.height + 1e-6
        for u, v, a, b in placed[:i]:
            assert abs(x - u) >= (w + a) / 2 - 1e-6 or abs(y - v) >= (h + b) / 2 - 1e-6
    for (s, t), points in zip(lines, layout.routes, strict=True):
        assert layout.centers[s][0] < layout.centers[t][0]
        assert all(p[0] <= q[0] + 1e-6 for p, q in pairwise(points))
        if (s, t) not in layout.stubs:  # a line crosses the layers beside the boxes, never through one
            for (x, y), (u, v) in zip(points[1::2], points[2::2], strict=False):
                assert abs(y - v) < 1e-6
                for bx, by, bw, bh in placed[:n]:
                    assert not (x < bx < u and abs(by - y) < bh / 2 - 1e-6), (bw, s, t)


def test_layout_of_a_tree_has_no_crossings() -> None:
    lines = [(i, (i + 16) // 2) for i in range(14)]  # eight leaves meet in pairs
    layout = Layout([(50.0, 30.0)] * 15, lines, [None] * len(lines))
    heights = [layout.centers[i][1] for i in range(8)]
    pairs = [tuple(sorted(heights[2 * k : 2 * k + 2])) for k in range(4)]
    assert sorted(heights) == [h for pair in sorted(pairs) for h in pair]


def test_isotonic_placement_is_the_least_squares_answer() -> None:
    rng = np.random.default_rng(0)
    wanted, weights = rng.normal(size=6) * 3, rng.uniform(0.5, 2, size=6)
    offsets = np.cumsum(rng.uniform(0.2, 1, size=6))
    found = np.array(separated(wanted.tolist(), weights.tolist(), offsets.tolist()))
    gaps = np.diff(offsets)
    assert (np.diff(found) >= gaps - 1e-12).all()
    best = (weights * (found - wanted) ** 2).sum()
    for _ in range(2000):  # no feasible neighbour is better
        other = np.maximum.accumulate(found - offsets + rng.normal(size=6) * rng.choice([1e-3, 0.1, 1])) + offsets
        assert (weights * (other - wanted) ** 2).sum() >= best - 1e-9
