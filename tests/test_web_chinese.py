"""The page in Chinese: nothing that the instrument writes is left in English."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.chromium import PROGRAM, Chromium
from wengert import flow, nn, optim
from wengert.web import page

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as browser:
        yield browser


ENGLISH = """(() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), parent = walker.currentNode.parentElement;
    if (parent.offsetParent && !parent.closest("script, style, code, pre, canvas")) found.push(text);
  }
  return found.filter(text => /[a-z]{3,} [a-z]{2,}/.test(text) && !text.includes("et al."));
})()"""


def broken() -> Iterator[tuple[str, flow.Report]]:
    """Diagnoses of networks with a fault each."""
    x, y = np.random.default_rng(0).standard_normal((32, 8)).astype("f"), np.arange(32) % 3

    def loss_fn(model: Any, x: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(model(x), y)

    def net(depth: int, act: Any, gain: float = 1.4, bias: float = 0.0, width: int = 16) -> Any:
        nn.manual_seed(0)
        parts: list[Any] = []
        for k in range(depth):
            layer = nn.Linear(width if k else 8, width)
            layer.weight = nn.init.normal(layer.weight, 0.0, gain / math.sqrt(layer.weight.shape[1]))
            layer.bias = layer.bias * 0 + bias
            parts += [layer, act()]
        return nn.Sequential(*parts, nn.Linear(width, 3))

    yield "activations", flow.diagnose(net(12, nn.Sigmoid, 1.0), loss_fn, x, y)
    yield "small weights", flow.diagnose(net(8, nn.ReLU, 0.05), loss_fn, x, y)
    yield "no weights", flow.diagnose(net(4, nn.ReLU, 0.0), loss_fn, x, y)
    yield "large weights", flow.diagnose(net(6, nn.ReLU, 20.0), loss_fn, x, y)
    yield "saturated", flow.diagnose(net(5, nn.Tanh, 40.0), loss_fn, x, y)
    yield "dead", flow.diagnose(net(3, nn.ReLU, 1.0, -20.0), loss_fn, x, y)
    yield "twice", flow.diagnose(nn.Sequential(net(2, nn.ReLU), nn.Softmax(-1)), loss_fn, x, y)
    yield "cut", flow.diagnose(nn.Sequential(nn.Linear(8, 8), nn.Lambda(wg.sign), nn.Linear(8, 3)), loss_fn, x, y)
    yield "not finite", flow.diagnose(nn.Sequential(nn.ReLU(), nn.Lambda(wg.log), nn.Linear(8, 3)), loss_fn, x, y)
    yield "far too fast", flow.diagnose(net(3, nn.ReLU), loss_fn, x, y, optimizer=optim.SGD(net(3, nn.ReLU), 50.0))
    yield (
        "axis",
        flow.diagnose(net(2, nn.ReLU), lambda m, x, y: nn.functional.nll_loss(wg.log_softmax(m(x), 0), y), x, y),
    )
    yield "sign", flow.diagnose(net(2, nn.ReLU), lambda m, x, y: -loss_fn(m, x, y), x, y)
    yield (
        "stopped",
        flow.diagnose(net(2, nn.ReLU), lambda m, x, y: loss_fn(lambda x: m[-1](wg.round(m[0](x))), x, y), x, y),
    )
    yield "counted", flow.diagnose(net(2, nn.ReLU), lambda m, x, y: wg.mean(1.0 * (wg.argmax(m(x), 1) == y)), x, y)
    decayed = optim.AdamW(net(2, nn.ReLU), 1e-2, weight_decay=60.0)
    yield "decay", flow.diagnose(net(2, nn.ReLU), loss_fn, x, y, optimizer=decayed)
    dropped = nn.Sequential(net(2, nn.ReLU)[:-1], nn.Dropout(0.99), nn.Linear(16, 3))
    yield "dropout", flow.diagnose(dropped, loss_fn, x, y, optimizer=optim.Adam(dropped, 3e-3))
    yield "inputs", flow.diagnose(net(3, nn.ReLU), loss_fn, 1e4 * x + 3e5, y)


def test_findings_are_told_in_chinese(browser: Chromium, tmp_path: Path) -> None:
    """What the instrument writes today, whole: a sentence that changes has to change here, too."""
    for name, report in broken():
        data = json.loads(report.to_json())
        assert data["verdict"] != "healthy", name
        browser.open_text(page(data), tmp_path, "#language=zh&theme=light")
        assert browser.run(ENGLISH) == [], name
        browser.open_text(page(data), tmp_path, "#language=en&theme=light")
        assert len(browser.run(ENGLISH)) > 5, name
