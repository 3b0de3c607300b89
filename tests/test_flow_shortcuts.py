"""Ways around layers, read from the graph."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import flow, nn
from wengert.flow.diagnose import findings_of
from wengert.flow.finding import Case


class Around(nn.Module):
    """Layers that only the function that calls them goes around: by a sum, by putting results side by side, or not."""

    def __init__(self, how, count=30):
        self.how, self.first, self.last = how, nn.Linear(6, 16), nn.Linear(16 + 4 * count * (how == "beside"), 3)
        widths = [16 + 4 * k * (how == "beside") for k in range(count)]
        self.layers = [nn.Sequential(nn.LayerNorm(w), nn.Linear(w, 4 if how == "beside" else 16)) for w in widths]

    def forward(self, x):
        h = self.first(x)
        for layer in self.layers:
            new = wg.tanh(layer(h))
            h = h + new if self.how == "sum" else wg.concat([h, new], axis=1) if self.how == "beside" else new
        return self.last(h)


@pytest.mark.parametrize(("how", "there"), [("sum", True), ("beside", True), ("not", False)])
def test_shortcuts_are_read_from_the_graph(how, there):
    nn.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((48, 6)).astype("f4")
    y = (x[:, 0] * x[:, 1]).astype("f4") * np.ones((3, 1), "f4")  # a float target, which is no way into the model

    def loss_fn(model, x, y):
        return wg.mean((model(x) - y) ** 2)

    case = Case(flow.Recipe.of(Around(how), loss_fn), (x, y.T.copy()))
    assert case.shortcuts is there
    told = [f for f in findings_of(case) if f.kind in ("missing shortcut", "shattered")]
    assert bool(told) is not there
