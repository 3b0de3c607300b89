"""Every kind of finding is reached by a network that has it: with its place, a cause in numbers, and evidence."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import wengert as wg
from tests.test_flow_diagnose import X, Y, loss_fn, plain
from wengert import flow, nn, optim
from wengert.flow.finding import KINDS, Case
from wengert.flow.findings_depth import likeness

F = nn.functional
RNG = np.random.default_rng(5)
SEQUENCE = RNG.standard_normal((40, 32, 3)).astype(np.float32)
FIRST = (SEQUENCE[0, :, 0] > 0).astype(np.int64)


class Last(nn.Module):
    """A recurrent layer, of which the last state is read."""

    def __init__(self, rnn):
        self.rnn, self.out = rnn, nn.Linear(12, 3)

    def forward(self, x):
        return self.out(self.rnn(x)[0][-1])


def recurrent(times=1.0, **settings):
    nn.manual_seed(0)
    layer = nn.RNN(3, 12, **settings)
    layer.weight_hh_l0 = nn.init.orthogonal((12, 12), key=1) * times
    return Last(layer)


def dead():
    model = plain(4, nn.ReLU, gain=1.41)
    model[4].bias = model[4].bias - 30.0
    return model


def frozen():
    model = plain(2, nn.ReLU)
    model.freeze()
    return model


def cut():
    nn.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Lambda(wg.round), nn.Linear(8, 3))


def logarithm(model, x, y):
    return wg.mean(wg.log(model(x) * 0.0)) + loss_fn(model, x, y)


def equal():
    """Units that are all alike."""
    model = plain(3, nn.Tanh)
    model[2].weight = model[2].weight * 0 + 0.1
    return model


def deep(act, depth=24):
    return plain(depth, act, gain={nn.ReLU: 2**0.5, nn.Tanh: 1.02}[act])


def normed(depth):
    """Without normalisation, what a deep rectifier net makes of all inputs becomes the same."""
    nn.manual_seed(0)
    rows = [[nn.Linear(32 if i else 10, 32), nn.BatchNorm1d(32), nn.ReLU()] for i in range(depth)]
    return nn.Sequential(*[part for row in rows for part in row], nn.Linear(32, 3))


# kind: model, loss, batch, settings, where it lies, words of the cause
CASES = {
    "vanishing": (lambda: plain(12, nn.Sigmoid, gain=1.0), loss_fn, (X, Y), {}, "0", "Sigmoid derivatives"),
    "exploding": (lambda: plain(14, nn.ReLU, gain=6.0), loss_fn, (X, Y), {}, "0", "from the weights"),
    "exploding in time": (lambda: recurrent(2.0, nonlinearity="relu"), loss_fn, (SEQUENCE, FIRST), {}, "rnn", "a step"),
    "dead units": (dead, loss_fn, (X, Y), {}, "4", "bias is -30"),
    "saturation": (lambda: plain(5, nn.Tanh, gain=40.0), loss_fn, (X, Y), {}, "1", "flat"),
    "large initialisation": (lambda: plain(2, nn.ReLU, gain=30.0), loss_fn, (X, Y), {}, "0", "would keep the scale"),
    "large initialisation in time": (lambda: recurrent(6.0), loss_fn, (SEQUENCE, FIRST), {}, "rnn", "at every step"),
    "small initialisation": (equal, loss_fn, (X, Y), {}, "2", "same weights"),
    "missing shortcut": (lambda: deep(nn.Tanh, 40), loss_fn, (X, Y), {}, "0", "no way around"),
    "shattered": (lambda: normed(40), loss_fn, (X, Y), {}, "0", "cosine"),
    "short memory": (lambda: recurrent(0.4), loss_fn, (SEQUENCE, FIRST), {}, "rnn", "of 40 steps"),
    "learning rate too high": (lambda: plain(2, nn.Tanh), loss_fn, (X, Y), {"rate": 300.0}, None, "rate 300"),
    "learning rate too low": (lambda: plain(2, nn.Tanh), loss_fn, (X, Y), {"rate": 1e-6}, None, "rate 1e-06"),
    "non-finite": (lambda: plain(2, nn.ReLU), logarithm, (X, Y), {}, None, "log made"),
    "disconnected": (cut, loss_fn, (X, Y), {}, "0.weight", "2 of 4 parameters"),
    "frozen": (frozen, loss_fn, (X, Y), {}, "0.weight", "all 6 parameters"),
    "loss pairing": (lambda: nn.Sequential(plain(2, nn.ReLU), nn.Softmax(-1)), loss_fn, (X, Y), {}, "1", "0.55"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_kind_is_found_with_place_cause_and_evidence(name):
    make, loss, batch, settings, where, words = CASES[name]
    model, kind = make(), name.removesuffix(" in time")
    optimizer = optim.SGD(model, settings["rate"]) if settings else None
    report = flow.diagnose(model, loss, *batch, optimizer=optimizer)
    found = [f for f in report.findings if f.kind == kind]
    assert found, (report.verdict, [str(f) for f in report.findings])
    first = found[0]
    assert words in first.cause and re.search(r"\d", first.cause), first.cause
    assert where is None or where in first.where
    assert first.evidence or kind == "loss pairing"
    assert first.remedies and all(r.reason for r in first.remedies)
    assert sum(first.shares.values()) == pytest.approx(1, abs=1e-6) or not first.shares
    assert kind in str(report) and first.cause in str(report)


def test_a_gradient_of_noise_is_told_and_is_no_fault():
    """Labels that have nothing to do with the inputs."""
    labels = np.random.default_rng(1).integers(0, 3, len(X))
    linear = nn.Linear(10, 3)
    linear.weight = linear.weight * 0
    trained = flow.Recipe(linear, loss_fn, optim.SGD, 0.3).train([(X, labels)], 300).model
    report = flow.diagnose(trained, loss_fn, X, labels)
    noise = [f for f in report.findings if f.kind == "gradient noise"]
    assert noise and report.healthy and noise[0].evidence["noise scale"] > 100 * len(X)


def test_kinds_are_those_that_are_tested():
    seen = {n.removesuffix(" in time") for n in CASES} | {"gradient noise"}
    assert set(KINDS) - seen == {
        "input scale",
        "target scale",
        "identical inputs",
        "regularisation too strong",
    }  # test_flow_data, _penalties


def test_neighbours_gradients_in_plain_and_residual_nets():
    """Balduzzi et al.: in plain rectifier nets they agree less with every layer, with shortcuts they go on agreeing."""
    residual = [nn.Residual(nn.LayerNorm(32), nn.Linear(32, 32), nn.ReLU()) for _ in range(30)]
    short = nn.Sequential(nn.Linear(10, 32), *residual, nn.Linear(32, 3))
    found = [likeness(Case(flow.Recipe(m, loss_fn), (X, Y))) for m in (normed(2), normed(8), normed(40), short)]
    assert found[0] > found[1] > found[2] + 0.1 and found[3] > 0.8


def test_activations_by_functions_are_named_with_the_line_to_change():
    class Net(nn.Module):
        def __init__(self):
            nn.manual_seed(0)
            self.layers = nn.ModuleList([nn.Linear(16 if i else 10, 16) for i in range(12)])
            self.out = nn.Linear(16, 3)

        def forward(self, x):
            for layer in self.layers:
                x = F.sigmoid(layer(x))
            return self.out(x)

    first = flow.diagnose(Net(), loss_fn, X, Y).findings[0]
    advice = next(r for r in first.remedies if "by hand" in r.name)
    assert "nn.functional.relu" in advice.reason and "x = F.sigmoid(layer(x))" in advice.reason
    with pytest.raises(wg.errors.ArgumentError, match=r"F\.sigmoid"):
        advice.apply(Net())
    assert math.isfinite(float(loss_fn(first.remedies[0].apply(Net()), X, Y)))
