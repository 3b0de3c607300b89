"""The page in headless Chromium: it opens without a complaint, answers mouse and keys, in both languages and themes."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import PROGRAM, Chromium
from tests.flow_pages import deep, repair, training
from tests.test_web import NASTY
from wengert.web import Server, page

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def full() -> str:
    return page(deep() | {"training": training(), "repair": repair()})


def texts(browser: Chromium, selector: str) -> list[str]:
    return browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)")


def press_button(browser: Chromium, text: str) -> None:
    wanted = f"b => b.textContent.includes({json.dumps(text)}) && b.offsetParent"
    browser.run(f"[...document.querySelectorAll('button')].find({wanted}).click()")
    browser.frames(2)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_opens_without_a_complaint(browser: Chromium, full: str, tmp_path: Path, language: str, theme: str) -> None:
    browser.open_text(full, tmp_path, f"#language={language}&theme={theme}")
    assert browser.complaints() == []
    assert {url.split("#")[0] for url in browser.requests()} <= {
        "about:blank",
        (tmp_path / "page.html").as_uri(),
        "data:,",
    }
    assert browser.run("document.documentElement.lang") == {"en": "en", "zh": "zh-Hans"}[language]
    verdict = browser.run("document.querySelector('#hero .verdict').lastChild.textContent")
    assert verdict == {"en": "Vanishing", "zh": "梯度消失"}[language]
    assert (
        texts(browser, "section[data-part]:not([hidden]) h2")
        == {
            "en": ["Causes", "Paths and lags", "Training", "Repair"],
            "zh": ["原因", "路径与时滞", "训练过程", "修复"],
        }[language]
    )
    # no text runs out of its card, and nothing makes the page wider than the window
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    cards = "[...document.querySelectorAll('.card, .finding, #aside')]"
    assert browser.run(f"{cards}.filter(e => e.scrollWidth > e.clientWidth + 1).length") == 0


def test_the_picture_is_there_in_the_frame_that_changes_its_size(browser: Chromium, full: str, tmp_path: Path) -> None:
    """A canvas whose size is set is black until it is drawn on; an observer that is called right after ours looks."""
    browser.open_text(full, tmp_path, "#language=en&theme=light")
    corners = browser.run("""(async () => {
      const canvas = document.getElementById("canvas"), seen = [];
      let told;
      const watch = new ResizeObserver(() => {
        seen.push([...canvas.getContext("2d").getImageData(2, 2, 1, 1).data].join());
        if (seen.length === 3) told(seen);
      });
      const done = new Promise(r => told = r);
      watch.observe(canvas);
      for (const width of ["300px", "400px"]) {
        await new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)));
        canvas.style.width = width;
      }
      return done;
    })()""")
    assert len(set(corners)) == 1 and corners[0] != "0,0,0,255"


def test_the_picture_is_drawn_and_answers_the_mouse(browser: Chromium, full: str, tmp_path: Path) -> None:
    browser.open_text(full, tmp_path, "#language=en&theme=light")
    pixels = "(c => new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer))"
    colours = browser.run(f"new Set({pixels}(document.getElementById('canvas'))).size")
    assert colours > 50
    x, y, w, h = browser.run(
        "(r => [r.x, r.y, r.width, r.height])(document.getElementById('canvas').getBoundingClientRect())"
    )
    before = browser.run("document.getElementById('details').textContent")
    browser.click(x + w / 2 - 60, y + h / 2)
    browser.frames(2)
    after = browser.run("document.getElementById('details').textContent")
    assert after != before
    assert browser.run("document.getElementById('said').textContent") != ""


def test_the_keyboard_goes_through_the_network(browser: Chromium, full: str, tmp_path: Path) -> None:
    browser.open_text(full, tmp_path, "#language=en&theme=light")
    browser.run("document.getElementById('canvas').focus()")
    said = "document.getElementById('said').textContent"
    browser.press("Escape")  # closes the twenty folded blocks around the first finding's module
    browser.frames(2)
    assert browser.run(said).startswith("20 × Linear + Sigmoid")
    browser.press("ArrowDown")
    assert browser.run(said).startswith("loss")
    browser.press("ArrowUp")
    browser.press("ArrowUp")
    assert browser.run(said).startswith("x")
    browser.press("ArrowDown")
    browser.press("Enter")  # opens
    browser.press("ArrowDown")
    assert not browser.run(said).startswith("20")
    assert browser.complaints() == []


def test_the_table_says_what_the_picture_says(browser: Chromium, full: str, tmp_path: Path) -> None:
    browser.open_text(full, tmp_path, "#language=en&theme=light&view=table")
    assert browser.run("document.getElementById('canvas').hidden")
    rows = texts(browser, ".tree tbody tr")
    assert len(rows) == 43 and rows[0].startswith("x")  # x, the folded blocks and the forty in them, the loss
    assert any(r.startswith("▸1Sigmoid−0.") for r in rows)
    browser.run("document.querySelector('.tree tbody tr').focus()")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):  # the first Linear, opened
        browser.press(key)
    browser.frames(3)
    rows = texts(browser, ".tree tbody tr")
    assert len(rows) == 47 and "weight" in rows[3] + rows[4]
    assert browser.run("document.activeElement.closest('tr').getAttribute('aria-expanded')") == "true"
    press_button(browser, "forward")
    assert "forward" in texts(browser, ".tree thead th")[2]


def test_everything_has_a_name_for_the_screen_reader(browser: Chromium, full: str, tmp_path: Path) -> None:
    browser.open_text(full, tmp_path, "#language=en&theme=light")
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    seen: dict[str, list[str]] = {}
    for n in nodes:
        if not n.get("ignored"):
            seen.setdefault(n.get("role", {}).get("value", ""), []).append(n.get("name", {}).get("value", "").strip())
    for role in ("button", "radio", "radiogroup", "slider", "image", "application", "link", "heading"):
        assert seen.get(role), role
        assert all(seen[role]), (role, seen[role])
    assert len(seen["main"]) == 1 and len(seen["navigation"]) == 1


CONTRAST = """(() => {
  const light = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const read = text => (text.match(/[\\d.]+/g) || []).map(Number), weak = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || /^(script|style|noscript|title)$/i.test(e.tagName) || e.closest(".unseen, .skip, [hidden]")) continue;
    let behind = e, ground = [255, 255, 255];
    for (; behind; behind = behind.parentElement) {
      const c = read(getComputedStyle(behind).backgroundColor);
      if (c.length === 3 || c[3] === 1) { ground = c; break; }
    }
    const style = getComputedStyle(e), ink = read(e instanceof SVGElement ? style.fill : style.color);
    const [low, high] = [luminance(ink), luminance(ground)].sort((a, b) => a - b);
    if ((high + 0.05) / (low + 0.05) < 4.5) weak.push(e.textContent.slice(0, 30));
  }
  return weak;
})()"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out(browser: Chromium, full: str, tmp_path: Path, theme: str) -> None:
    """A contrast of 4.5, as the Web Content Accessibility Guidelines 2.2 ask (1.4.3)."""
    browser.open_text(full, tmp_path, f"#language=en&theme={theme}")
    assert browser.run(CONTRAST) == []
    weakened = CONTRAST.replace("4.5", "22")  # nothing is better than 21: so the search does look at texts
    assert len(browser.run(weakened)) > 100


def test_the_slider_moves_everything_through_the_training(browser: Chromium, full: str, tmp_path: Path) -> None:
    browser.open_text(full, tmp_path, "#language=en&theme=light")
    slider = "document.querySelector('#scrub input')"
    move = f"(s => {{{{ s.value = {{}}; s.dispatchEvent(new Event('input')); }}}})({slider})"
    browser.run(move.format(5))
    browser.frames(2)
    assert texts(browser, "#scrub output") == ["step 50"]
    assert browser.run("document.querySelectorAll('#training-list .now').length") == 3
    assert "Training step 50" in browser.run("document.getElementById('details').textContent")
    browser.run(move.format(60))
    browser.frames(2)
    assert texts(browser, "#scrub output") == ["latest"]
    press_button(browser, "update ratio")
    assert browser.complaints() == []


def test_dead_and_saturated_shares_over_the_training(browser: Chromium, full: str, tmp_path: Path) -> None:
    browser.open_text(full, tmp_path, "#language=en&theme=light")
    charts = texts(browser, "#training-list .pair figcaption")
    assert "Dead and saturated, in the worst layerdeadsaturated" in charts
    said = browser.run("document.querySelector('#training-list svg[aria-label^=dead]').getAttribute('aria-label')")
    assert said == "dead and saturated, in the worst layer: dead 25, saturated 1.5"
    press_button(browser, "saturated share of values")
    picture = "document.querySelector('#training-list .wide svg')"
    assert browser.run(f"{picture}.getAttribute('aria-label')").startswith(
        "saturated share of values: 1 1.5 %, 3 1.5 %"
    )
    colours = browser.run(
        f"[...{picture}.querySelectorAll('rect[height]')].slice(0, 60).map(r => r.getAttribute('fill'))"
    )
    assert len(set(colours)) > 10 and colours == sorted(colours, key=colours.index)  # it fades, and doesn't come back
    assert len(texts(browser, "#training-list .wide svg rect title")) == 60 * 20  # rows of the activations only
    press_button(browser, "effective rank")
    assert len(texts(browser, "#training-list .wide svg rect title")) == 6 * 40  # looks at which it was taken
    assert browser.complaints() == []


@pytest.mark.parametrize(
    ("low", "high"), [(0.024, 0.03), (0.3, 0.5), (1e-9, 2e-9), (1e-7, 3.0), (5.0, 5.0), (1e-30, 1e30)]
)
def test_marks_of_an_axis_lie_within_it(browser: Chromium, tmp_path: Path, low: float, high: float) -> None:
    records = [{"kind": "step", "step": s, "loss": 1.0, "whole": {"grad_norm": v}} for s, v in enumerate((low, high))]
    browser.open_text(page({"training": {"run": {}, "records": records}}), tmp_path, "#language=en&theme=light")
    chart = "document.querySelector('svg[aria-label^=\"gradient norm\"]')"
    marks = browser.run(f"[...{chart}.querySelectorAll('.grid')].map(l => +l.getAttribute('y1'))")
    assert len(marks) >= 2 and all(10 <= y <= 166 for y in marks), marks
    names = browser.run(f"[...{chart}.querySelectorAll('text')].map(e => e.textContent)")
    assert len(set(names[: len(marks)])) == len(marks), names
    assert browser.complaints() == []


def test_singular_values_from_layer_to_layer(browser: Chromium, full: str, tmp_path: Path) -> None:
    browser.open_text(full, tmp_path, "#language=en&theme=light")
    assert browser.run("document.querySelectorAll('.spectra g').length") == 19
    assert browser.run("document.querySelectorAll('.spectra .value').length") == 19 * 16
    low, high = browser.run("[0, 15].map(k => +document.querySelectorAll('.spectra .value')[k].getAttribute('y1'))")
    assert low < high  # the largest stands highest
    rows = texts(browser, "#cause-list table:has(th) tbody tr")
    assert "0 → 20.50.03130.25" in rows


def test_before_and_after_of_a_repair(browser: Chromium, full: str, tmp_path: Path) -> None:
    browser.open_text(full, tmp_path, "#language=en&theme=light")
    assert texts(browser, ".attempt .tag") == ["Did not help", "Helped"]
    assert "10.1 % → 96.3 %" in texts(browser, ".metric")[0]
    press_button(browser, "after")
    assert texts(browser, "#hero .verdict")[0].endswith("Healthy")
    press_button(browser, "before")
    assert texts(browser, "#hero .verdict")[0].endswith("Vanishing")
    assert browser.complaints() == []


def test_names_are_shown_and_never_run(browser: Chromium, tmp_path: Path) -> None:
    data = deep(4)
    for entry in (data, *data["findings"], *data["findings"][0]["remedies"], *data["nodes"], *data["modules"]):
        for key, value in entry.items():
            if isinstance(value, str) and key not in ("role", "module", "path"):
                entry[key] = NASTY
    data["findings"][0]["line"] = {"file": NASTY, "line": 1, "function": NASTY, "text": NASTY}
    made = {
        "run": {},
        "records": [{"kind": "step", "step": s, "loss": 1.0, "parameters": {NASTY: {"std": 1}}} for s in (0, 1)],
    }
    browser.open_text(page(data | {"training": made}), tmp_path, "#language=en&theme=light&view=table")
    assert browser.complaints() == []
    assert browser.run("document.querySelectorAll('main img, main script').length") == 0
    assert NASTY in browser.run("document.getElementById('finding-list').textContent")


PARTS = ["findings", "nodes", "edges", "modules", "ledger", "path_length", "lag", "verdict", "loss", "summary"]


@pytest.mark.parametrize("missing", [*PARTS, "all"])
def test_what_is_missing_is_left_out(browser: Chromium, tmp_path: Path, missing: str) -> None:
    data: dict[str, Any] = {"format": "wengert-flow"} if missing == "all" else deep(6)
    data.pop(missing, None)
    browser.open_text(page(data), tmp_path, "#language=en&theme=light")
    assert browser.complaints() == []
    shown = {
        part: not browser.run(f"document.getElementById('{part}').hidden") for part in ("causes", "shares", "training")
    }
    shares = "path_length" in data or "lag" in data
    assert shown == {"causes": "ledger" in data, "shares": shares, "training": False}
    assert browser.run("document.getElementById('network').hidden") == (missing == "all")


def spoiled(x: Any, rng: random.Random, much: float) -> Any:
    """Data with parts left out, and numbers replaced by what no run should give."""
    if isinstance(x, dict):
        return {k: spoiled(v, rng, much) for k, v in x.items() if rng.random() > much / 3}
    if isinstance(x, list):
        return [spoiled(v, rng, much) for v in x if rng.random() > much / 3]
    if isinstance(x, (int, float)) and rng.random() < much:
        return rng.choice([None, 0, -1e300, 1e300, math.inf, 1e-320])
    return x


@pytest.mark.parametrize("seed", range(8))
def test_damaged_data_is_shown_as_far_as_it_goes(browser: Chromium, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    data = spoiled(deep(6) | {"training": training(4, 9), "repair": repair(5)}, rng, (0.02, 0.1, 0.3)[seed % 3])
    browser.open_text(page(data), tmp_path, ("#language=zh&theme=dark", "#language=en&view=table")[seed % 2])
    browser.run("[...document.querySelectorAll('button')].forEach(b => b.offsetParent && b.click())")
    assert browser.complaints() == []


def test_ten_thousand_steps_open(browser: Chromium, tmp_path: Path) -> None:
    browser.open_text(page(deep(2000, -0.005)), tmp_path, "#language=en&theme=light")
    press_button(browser, "Open all")
    assert browser.complaints() == []
    press_button(browser, "Close all")
    assert browser.complaints() == []


def test_a_run_is_watched_while_it_goes_on(browser: Chromium, tmp_path: Path) -> None:
    made = training(3, 6)
    (tmp_path / "run.json").write_text(json.dumps(made["run"]))
    records = tmp_path / "records.jsonl"
    records.write_text("".join(json.dumps(r) + "\n" for r in made["records"][:3]))
    with Server(tmp_path) as server:
        browser.open(server.url + "#language=en&theme=light")
        slider = "document.querySelector('#scrub input')?.max"
        browser.until(f"{slider} === '3'")
        assert texts(browser, "#live") == ["live"]
        with records.open("a") as file:
            file.write("".join(json.dumps(r) + "\n" for r in made["records"][3:]))
            file.write("not a record\n" + json.dumps({"kind": "end", "reason": "epochs"}) + "\n")
        browser.until(f"{slider} === '6'")
        browser.until("document.getElementById('live').textContent === 'ended'")
        (tmp_path / "report.json").write_text(json.dumps(deep(3)))
        with records.open("a") as file:
            file.write(json.dumps({"kind": "note", "text": "diagnosed"}) + "\n")
        browser.until("document.querySelector('#hero .verdict')?.textContent.endsWith('Vanishing')")
        assert [c for c in browser.complaints() if "404" not in c] == []
        assert {url.split("/")[2] for url in browser.requests() if url.startswith("http")} == {
            f"127.0.0.1:{server.port}"
        }
