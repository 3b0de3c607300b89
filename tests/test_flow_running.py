"""Findings from the records of trainings that were made to go well or wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wengert import flow, nn, optim, train
from wengert.flow.findings_running import running_findings

datasets = pytest.importorskip("sklearn.datasets")
DIGITS = datasets.load_digits()
X, Y = (DIGITS.data / 16).astype(np.float32), DIGITS.target


def loss_fn(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


def records(make, activation=nn.Tanh, epochs=4, seed=0, **settings):
    nn.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 48), activation(), nn.Linear(48, 48), activation(), nn.Linear(48, 10))
    monitor = flow.Monitor(10, 10)
    settings = {"batch_size": 32, "shuffle": seed, "progress": False, **settings}
    train.fit(model, make(model), loss_fn, (X, Y), epochs, [monitor], **settings)
    return monitor.records


def kinds(found):
    return {f.kind for f in found if f.severity >= 0.5}


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize(
    "make",
    [
        lambda m: optim.SGD(m, 0.1),
        lambda m: optim.SGD(m, 0.05, momentum=0.9),
        lambda m: optim.Adam(m, 1e-3),
        lambda m: optim.AdamW(m, 3e-3),
    ],
)
def test_nothing_is_found_where_all_is_well(make, activation):
    found = running_findings(records(make, activation))
    assert not kinds(found), [str(f) for f in found]


@pytest.mark.parametrize("make", [lambda m: optim.SGD(m, 6.0), lambda m: optim.Adam(m, 0.2)])
def test_steps_that_are_too_long(make):
    found = running_findings(records(make, epochs=6))
    assert found[0].kind == "learning rate too high" and found[0].severity > 0.5
    assert all(float(r.name.split("×")[1]) < 0.6 for r in found[0].remedies)
    assert "learning rate × " in str(found[0])


def test_the_remedy_scales_the_rate():
    (remedy, *_) = running_findings(records(lambda m: optim.SGD(m, 6.0), epochs=6))[0].remedies
    recipe = flow.Recipe(nn.Linear(2, 2), loss_fn, optim.SGD, learning_rate=6.0)
    assert remedy.apply(recipe).learning_rate == pytest.approx(6.0 * float(remedy.name.split("×")[1]), rel=0.05)


def test_steps_that_are_too_short():
    found = running_findings(records(lambda m: optim.SGD(m, 1e-6)))
    assert "learning rate too low" in {f.kind for f in found} and not kinds(found)


def test_units_that_die_on_the_way():
    found = running_findings(records(lambda m: optim.SGD(m, 10.0), nn.ReLU))
    assert "dead units" in kinds(found)
    (dead,) = [f for f in found if f.kind == "dead units"]
    assert set(dead.where) <= {"0", "1", "2", "3"} and dead.evidence["now"][dead.where[0]] >= 0.9


def test_noise_is_named_where_the_batch_is_small_beside_it():
    rng = np.random.default_rng(0)

    def looks(scale, count=60, batch=8, features=40):
        """Records with estimates from samples of Gaussian gradients whose noise scale is known."""
        mean = np.zeros(features)
        mean[0] = math.sqrt(features / scale)
        for k in range(count):
            g = mean + rng.standard_normal((batch, features))
            trace = g.var(0, ddof=1).sum()
            whole = {"noise_trace": trace, "noise_square": np.sum(g.mean(0) ** 2) - trace / batch, "batch": batch}
            yield {"kind": "step", "step": k, "loss": 1.0, "whole": whole}

    assert running_findings(list(looks(8 * 5))) == []
    (found,) = running_findings(list(looks(8 * 4000, count=4000)))
    assert found.kind == "gradient noise" and found.severity < 0.5
