"""Diagnoses of networks whose fault is known, and of healthy ones that look odd."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

import wengert as wg
from wengert import flow, nn, optim
from wengert.errors import ArgumentError
from wengert.flow.profile import profile

F = nn.functional
RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 10)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 0)


def loss_fn(model, x, y):
    return F.cross_entropy(model(x), y)


def plain(depth, act, width=16, gain=None, seed=0):
    nn.manual_seed(seed)
    sizes = [10, *[width] * depth]
    parts = []
    for a, b in itertools.pairwise(sizes):
        layer = nn.Linear(a, b)
        if gain is not None:
            layer.weight = nn.init.normal(layer.weight, 0.0, gain / math.sqrt(a))
            layer.bias = nn.init.zeros(layer.bias)
        parts += [layer, act()]
    return nn.Sequential(*parts, nn.Linear(width, 3))


def test_vanishing_by_sigmoid_with_its_shares():
    report = flow.diagnose(plain(12, nn.Sigmoid, gain=1.0), loss_fn, X, Y)
    first = report.findings[0]
    assert report.verdict == first.kind == "vanishing" and first.source == "activation"
    assert first.shares["activation"] > 0.8 and abs(sum(first.shares.values()) - 1) < 1e-6
    assert "Sigmoid" in first.cause and "decades" in first.cause
    assert first.where[0] == "0" and first.remedies[0].name == "ReLU for Sigmoid"


def test_the_gradient_in_a_profile_is_that_of_the_taps_place():
    """Against the derivative by the layer's bias, which is the sum of what arrives over the examples."""
    model = plain(3, nn.Tanh)
    found = profile(model, loss_fn, (X, Y))
    by_name = {p.name: p for p in found.parameters}
    for c in found.layers:
        np.testing.assert_allclose(by_name[c.name + ".bias"].gradient, c.gradient.sum(axis=0), rtol=1e-4, atol=1e-8)


def test_small_weights_are_the_cause_and_not_their_relu():
    first = flow.diagnose(plain(14, nn.ReLU, gain=0.2), loss_fn, X, Y).findings[0]
    assert (first.kind, first.source) == ("vanishing", "weights")


def test_exploding_by_large_weights():
    first = flow.diagnose(plain(14, nn.ReLU, gain=6.0), loss_fn, X, Y).findings[0]
    assert (first.kind, first.source) == ("exploding", "weights")
    assert any("clip" in r.name for r in first.remedies)


def test_dead_units_at_their_layer():
    model = plain(4, nn.ReLU, gain=1.41)
    model[4].bias = model[4].bias - 30.0
    report = flow.diagnose(model, loss_fn, X, Y)
    assert report.verdict == "dead units" and report.findings[0].where == ["4"]


def test_saturation_by_weights():
    first = flow.diagnose(plain(5, nn.Tanh, gain=40.0), loss_fn, X, Y).findings[0]
    assert first.kind in ("saturation", "exploding") and first.source == "weights"


def test_softmax_twice_and_what_it_costs():
    model = nn.Sequential(plain(2, nn.ReLU), nn.Softmax(-1))
    first = flow.diagnose(model, loss_fn, X, Y).findings[0]
    assert first.kind == "loss pairing" and first.where == ["1"]
    assert first.evidence["lowest loss possible"] == pytest.approx(math.log(1 + 2 / math.e), rel=1e-2)
    mended = first.remedies[0].apply(model)
    assert isinstance(mended[1], nn.Identity) and isinstance(model[1], nn.Softmax)


def test_a_softmax_by_a_function_is_turned_back_into_logits():
    class Net(nn.Module):
        def __init__(self):
            self.body = plain(2, nn.ReLU)

        def forward(self, x):
            return F.softmax(self.body(x), -1)

    model = Net()
    first = flow.diagnose(model, loss_fn, X, Y).findings[0]
    mended = first.remedies[0].apply(model)
    right = loss_fn(model.body, X, Y)
    np.testing.assert_allclose(float(loss_fn(mended, X, Y)), float(right), rtol=1e-5)


def test_disconnected_parameters_are_named_and_a_zero_last_layer_is_not():
    class Net(nn.Module):
        def __init__(self):
            self.a, self.b, self.unused = nn.Linear(10, 8), nn.Linear(8, 3), nn.Linear(4, 4)

        def forward(self, x):
            return self.b(wg.stop_gradient(F.relu(self.a(x))))

    report = flow.diagnose(Net(), loss_fn, X, Y)
    assert report.verdict == "disconnected"
    assert set(report.findings[0].where) == {"a.weight", "a.bias", "unused.weight", "unused.bias"}
    model = plain(2, nn.ReLU, gain=1.41)
    model[-1].weight = model[-1].weight * 0
    assert flow.diagnose(model, loss_fn, X, Y).healthy


def test_a_nonfinite_loss_names_its_first_operation_and_line():
    def bad(model, x, y):
        return wg.mean(wg.log(model(x) * 0.0)) + loss_fn(model, x, y)

    report = flow.diagnose(plain(2, nn.ReLU), bad, X, Y)
    assert report.verdict == "non-finite"
    assert "log made" in report.findings[0].cause and "wg.log(model(x) * 0.0)" in str(report.findings[0].line)


def test_learning_rates():
    model = plain(2, nn.Tanh)
    high = flow.diagnose(model, loss_fn, X, Y, optimizer=optim.SGD(model, 300.0))
    low = flow.diagnose(model, loss_fn, X, Y, optimizer=optim.SGD(model, 1e-6))
    fine = flow.diagnose(model, loss_fn, X, Y, optimizer=optim.Adam(model, 1e-2))
    assert (high.verdict, low.verdict, fine.verdict) == ("learning rate too high", "learning rate too low", "healthy")
    recipe = high.findings[0].remedies[0].apply(model)
    assert isinstance(recipe, flow.Recipe) and recipe.learning_rate < 300


def test_short_memory_of_a_plain_recurrent_net():
    class Net(nn.Module):
        def __init__(self):
            self.rnn, self.out = nn.RNN(3, 12), nn.Linear(12, 3)

        def forward(self, x):
            return self.out(self.rnn(x)[0][-1])

    nn.manual_seed(0)
    x = RNG.standard_normal((40, 32, 3)).astype(np.float32)
    y = (x[0, :, 0] > 0).astype(np.int64)
    report = flow.diagnose(Net(), loss_fn, x, y)
    first = report.findings[0]
    assert first.kind == "short memory" and first.where == ["rnn"] and first.source == "recurrence"
    better = first.remedies[0].apply(Net())
    assert isinstance(better.rnn, nn.GRU)
    assert all(f.kind != "short memory" for f in flow.diagnose(better, loss_fn, x, y).faults)


def test_odd_but_healthy():
    good = plain(3, nn.ReLU)
    trained = flow.Recipe(good, loss_fn, optim.Adam, 1e-2).train((X, Y), 300).model
    frozen = plain(3, nn.ReLU)
    frozen.freeze("0.*", "2.*")
    normed = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
    for model in (good, trained, frozen, normed):
        assert flow.diagnose(model, loss_fn, X, Y).verdict == "healthy"
    assert flow.diagnose(good, loss_fn, X[:2], Y[:2]).healthy
    assert any(f.kind == "frozen" for f in flow.diagnose(frozen, loss_fn, X, Y).findings)


def test_sparse_embeddings_and_plain_trees():
    words = nn.Sequential(nn.Embedding(1000, 8), nn.Flatten(), nn.Linear(32, 3))
    assert flow.diagnose(words, loss_fn, RNG.integers(0, 1000, (64, 4)), Y).healthy
    tree = {"w": [0.3 * RNG.standard_normal((10, 8)), 0.3 * RNG.standard_normal((8, 3))]}

    def on_tree(p, x, y):
        return F.cross_entropy(wg.tanh(x @ p["w"][0]) @ p["w"][1], y)

    assert flow.diagnose(tree, on_tree, X, Y).healthy


def test_nothing_of_the_model_changes():
    model = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    before = {k: np.array(v) for k, v in model.state_dict(transient=True).items()}
    report = flow.diagnose(model, loss_fn, X, Y)
    str(report), report.to_json()
    for name, value in model.state_dict(transient=True).items():
        np.testing.assert_array_equal(np.asarray(value), before[name])


def test_report_as_text_data_and_file(tmp_path):
    report = flow.diagnose(plain(8, nn.Sigmoid), loss_fn, X, Y)
    assert "VANISHING" in str(report) and "decades" in str(report)
    data = json.loads(report.to_json())
    assert data["verdict"] == "vanishing" and data["findings"][0]["remedies"] and data["modules"]
    for name in ("r.txt", "r.json", "r.html"):
        report.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 200
    assert "<td>" in report._repr_html_()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flow.diagnose(plain(1, nn.ReLU), lambda m, x: m(x), X), "expected one number"),
        (lambda: flow.diagnose(nn.ReLU(), lambda m, x: m(x).sum(), X), "no parameters"),
        (lambda: flow.diagnose(plain(1, nn.ReLU), loss_fn, X * np.nan, Y), "NaN"),
        (lambda: flow.diagnose(plain(1, nn.ReLU), loss_fn, X[:0], Y[:0]), "empty"),
        (lambda: flow.diagnose(plain(1, nn.ReLU)), "needs a loss function"),
        (lambda: flow.diagnose(plain(1, nn.ReLU), loss_fn, X, Y).save("/nowhere/at/all.html"), "can't be written"),
        (lambda: flow.diagnose(plain(1, nn.ReLU), loss_fn, X, Y).save("report.doc"), "expected .html"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
