"""What holds a model back on purpose, and too much."""

from __future__ import annotations

import re

import numpy as np
import pytest

from wengert import flow, nn, optim
from wengert.nn import functional as F

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 4, 256)
X = (2 * RNG.normal(size=(4, 10))[Y] + RNG.normal(size=(256, 10))).astype("f4")


def loss_fn(model, x, y):
    return F.cross_entropy(model(x), y)


def net(p=0.0):
    nn.manual_seed(0)
    return nn.Sequential(
        nn.Linear(10, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 4)
    )


def diagnosed(model, **settings):
    return flow.diagnose(model, loss_fn, X, Y, optimizer=optim.AdamW(model, **settings))


def test_weight_decay_that_leaves_nothing_of_the_weights():
    model = net()
    report = diagnosed(model, lr=1e-2, weight_decay=50.0)
    first = report.findings[0]
    assert report.verdict == "regularisation too strong" and "weight decay 50" in first.cause
    recipe = first.remedies[0].apply(flow.Recipe.of(model, loss_fn, optim.AdamW(model, 1e-2, weight_decay=50.0)))
    assert recipe.settings["weight_decay"] == pytest.approx(0.01)
    assert recipe.train((X, Y), 60).losses[-1] < 0.1
    assert diagnosed(net(), lr=1e-2, weight_decay=1e-2).healthy


def test_dropout_that_leaves_nothing_of_the_signal():
    model = net(0.98)
    report = diagnosed(model, lr=1e-3)
    first = report.findings[0]
    assert report.verdict == "regularisation too strong" and first.where == ["2", "5"] and "98 %" in first.cause
    mended = first.remedies[0].apply(model)
    assert mended[2].p == mended[5].p == 0.2 and model[2].p == 0.98
    for p in (0.2, 0.5, 0.7):
        assert diagnosed(net(p), lr=1e-3).healthy


def test_units_that_dropout_left_out_are_not_dead():
    few = slice(0, 48)
    model = net(0.97)
    report = flow.diagnose(model, loss_fn, X[few], Y[few])
    assert "dead units" not in [f.kind for f in report.findings]
    model[0].bias = model[0].bias - 30
    assert "dead units" in [f.kind for f in flow.diagnose(model, loss_fn, X[few], Y[few]).findings]


def test_a_rate_is_too_low_only_if_another_one_ends_lower():
    """With nearly all left out, a thousand times the rate throws the loss away; it must not be called better."""
    model = net(0.98)
    report = diagnosed(model, lr=1e-3)
    assert "learning rate too low" not in [f.kind for f in report.findings]


def test_a_trial_tells_the_losses_of_the_same_examples():
    """With a rate of nearly nothing the loss stays what it is, to the last digit that is shown."""
    model = net()
    (found,) = flow.diagnose(model, loss_fn, X, Y, optimizer=optim.SGD(model, 1e-9)).findings
    assert found.kind == "learning rate too low"
    before, after = re.findall(r"from (\S+) to (\S+),", found.cause)[0]
    assert before == after
