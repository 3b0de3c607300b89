"""Frame times of the report page with 10,000 steps on the canvas, in headless Chromium without a graphics card.

    PYTHONPATH=src python benchmarks/page.py [steps] [--tiny]

A frame is the time from one animation frame to the next while the picture is dragged, or zoomed in and out; 16.7 ms is
the screen's own pace. Each row opens the page anew: with its repeated blocks folded, and with every module open.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.chromium import PROGRAM, Chromium
from tests.flow_pages import deep
from wengert.web import page

MOVE = """(async () => {
  const canvas = document.getElementById("canvas"), box = canvas.getBoundingClientRect();
  const frame = () => new Promise(requestAnimationFrame), drag = [], zoom = [];
  const point = (type, x, y) =>
    canvas.dispatchEvent(new PointerEvent(type, {clientX: x, clientY: y, pointerId: 1, bubbles: true}));
  canvas.setPointerCapture = () => {};
  let x = box.left + 300, y = box.top + 300, last = await frame();
  point("pointerdown", x, y);
  for (let k = 0; k < 120; k++) {
    point("pointermove", x += 5 * Math.cos(k / 9), y += 5 * Math.sin(k / 7));
    const now = await frame();
    drag.push(now - last);
    last = now;
  }
  point("pointerup", x, y);
  for (let k = 0; k < 120; k++) {
    const deltaY = k % 80 < 40 ? -60 : 60;
    canvas.dispatchEvent(new WheelEvent("wheel", {deltaY, clientX: x, clientY: y, ctrlKey: true, cancelable: true}));
    const now = await frame();
    zoom.push(now - last);
    last = now;
  }
  const at = (list, share) => [...list].sort((a, b) => a - b)[Math.floor(share * (list.length - 1))];
  return [drag, zoom].map(list => [0.5, 0.95, 1].map(share => at(list, share)));
})()"""


def main() -> None:
    tiny = "--tiny" in sys.argv
    counts = [int(text) for text in sys.argv[1:] if text.isdigit()]
    if PROGRAM is None:
        sys.exit("there is no Chromium on this machine")
    data = deep((counts or [500 if tiny else 10_000])[0] // 5, -0.005)
    text = page(data)
    print(f"{len(data['nodes'])} steps and parameters, {len(data['edges'])} edges, page of {len(text) / 1e6:.1f} MB")
    head = f"| {'modules':8} | {'ready':>8} | {'drag: median, 95 %, worst':>28} | {'zoom: median, 95 %, worst':>28} |"
    print("\n" + head)
    print(re.sub("[^|]", "-", head))
    with tempfile.TemporaryDirectory() as folder, Chromium() as browser:
        for name in ("folded", "open"):
            start = time.perf_counter()
            browser.open_text(text, Path(folder), "#language=en&theme=light")
            if name == "open":
                browser.run(
                    "[...document.querySelectorAll('#tools button')].find(b => b.textContent === 'Open all').click()"
                )
                browser.frames(2)
            ready = time.perf_counter() - start
            drag, zoom = (", ".join(f"{t:5.1f}" for t in times) + " ms" for times in browser.run(MOVE))
            print(f"| {name:8} | {ready:6.2f} s | {drag:>28} | {zoom:>28} |", flush=True)


if __name__ == "__main__":
    main()
