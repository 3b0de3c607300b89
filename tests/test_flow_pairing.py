"""Losses that don't fit what the model makes, told apart from those that only look alike."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import flow, nn
from wengert.errors import ArgumentError
from wengert.nn import functional as F

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 6)).astype("f4")
BITS = (X[:, 0] > 0).astype("f4")
CLASSES = np.argmax(X[:, :3], axis=1)


def net(outputs, *behind):
    nn.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, outputs), *behind)


def with_logits(model, x, y):
    return F.binary_cross_entropy_with_logits(model(x)[:, 0], y)


def first_of(model, loss_fn, y):
    report = flow.diagnose(model, loss_fn, X, y)
    assert report.verdict == "loss pairing", report
    return report.findings[0]


def test_logits_between_0_and_1_by_chance_are_no_sigmoid():
    model = net(1)
    model[2].weight, model[2].bias = model[2].weight * 0.1, model[2].bias * 0 + 0.5
    made = np.asarray(model(X))
    assert made.min() > 0 and made.max() < 1
    assert flow.diagnose(model, with_logits, X, BITS).healthy
    assert flow.diagnose(model, lambda m, x, y: with_logits(m, x, y[:, 0]), X, BITS[:, None]).healthy


def test_a_sigmoid_twice_is_found_behind_an_index():
    model = net(1, nn.Sigmoid())
    first = first_of(model, with_logits, BITS)
    assert first.where == ["3"] and "sigmoid already" in first.cause
    assert isinstance(first.remedies[0].apply(model)[3], nn.Identity)


@pytest.mark.parametrize("sigmoid", [F.sigmoid, lambda z: 1 / (1 + wg.exp(-z))])
def test_a_sigmoid_in_the_loss_function_is_for_its_author_to_change(sigmoid):
    def loss_fn(model, x, y):
        return F.binary_cross_entropy_with_logits(sigmoid(model(x)[:, 0]), y)

    first = first_of(net(1), loss_fn, BITS)
    assert first.line is not None and "test_flow_pairing.py" in str(first.line)
    with pytest.raises(ArgumentError, match=r"by hand: change .*test_flow_pairing.py"):
        first.remedies[0].apply(net(1))
    mended = flow.repair(net(1), loss_fn, X, BITS, steps=5, seeds=1)
    assert not mended.repaired and [a.verdict[:16] for a in mended.attempts] == ["can't be applied"]


def hand(z, axis):
    e = wg.exp(z - wg.max(z, axis=axis, keepdims=True))
    return wg.log(e / wg.sum(e, axis=axis, keepdims=True))


WAYS = [lambda z, axis: F.log_softmax(z, dim=axis), lambda z, axis: wg.log(wg.softmax(z, axis=axis)), hand]


@pytest.mark.parametrize("logs", WAYS)
def test_a_softmax_over_the_examples(logs):
    def loss_of(axis):
        return lambda model, x, y: F.nll_loss(logs(model(x), axis), y)

    first = first_of(net(3), loss_of(0), CLASSES)
    assert "axis 0, the 96 examples, instead of axis 1, the 3 classes" in first.cause
    assert first.remedies[0].name == "cross entropy of the logits"
    assert flow.diagnose(net(3), loss_of(1), X, CLASSES).healthy


def test_a_module_over_the_examples_is_turned():
    model = net(3, nn.LogSoftmax(dim=0))
    first = first_of(model, lambda m, x, y: F.nll_loss(m(x), y), CLASSES)
    mended = first.remedies[0].apply(model)
    np.testing.assert_allclose(np.exp(np.asarray(mended(X))).sum(1), 1, rtol=1e-5)


def test_similarities_of_pairs_may_be_compared_both_ways():
    """A contrastive loss takes the softmax of a square table over both axes."""

    def loss_fn(model, x, y):
        z = model(x)
        table = z @ z.T
        here = np.arange(len(table))
        return F.cross_entropy(table, here) + F.nll_loss(F.log_softmax(table, dim=0).T, here)

    assert "loss pairing" not in [f.kind for f in flow.diagnose(net(3), loss_fn, X, CLASSES).findings]


def logarithm(model, x, y):
    return wg.mean(wg.log(F.softmax(model(x), -1)[np.arange(len(y)), y]))


UPSIDE_DOWN = [
    (net(3), lambda m, x, y: -F.cross_entropy(m(x), y), CLASSES),
    (net(3), logarithm, CLASSES),
    (net(3, nn.LogSoftmax(-1)), lambda m, x, y: -F.nll_loss(m(x), y), CLASSES),
    (net(1), lambda m, x, y: -with_logits(m, x, y), BITS),
    (net(1, nn.Sigmoid()), lambda m, x, y: -F.binary_cross_entropy(m(x)[:, 0], y), BITS),
]


@pytest.mark.parametrize("case", UPSIDE_DOWN)
def test_a_loss_with_its_sign_turned(case):
    model, loss_fn, y = case
    first = first_of(model, loss_fn, y)
    assert "sign turned" in first.cause
    recipe = first.remedies[0].apply(flow.Recipe(model, loss_fn))
    assert float(recipe.loss_fn(model, X, y)) == pytest.approx(-float(loss_fn(model, X, y)))
    assert flow.diagnose(recipe, None, X, y).verdict != "loss pairing"


class Stopped(nn.Module):
    def __init__(self, stop):
        self.first, self.second, self.last = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.stop = stop

    def forward(self, x):
        h = self.stop(F.relu(self.first(x)))
        return self.last(F.relu(self.second(h)))


def to_whole(x):
    return (4 * x).astype(wg.int32).astype(wg.float32)


STOPS = {"stop_gradient": wg.stop_gradient, "round": wg.round, "floor": wg.floor, "a conversion to int32": to_whole,
         "greater": lambda x: (x > 0.5).astype(wg.float32)}  # fmt: skip


@pytest.mark.parametrize("name", STOPS)
def test_the_step_where_the_gradient_ends_is_named_with_its_line(name):
    model = Stopped(STOPS[name])
    report = flow.diagnose(model, lambda m, x, y: F.cross_entropy(m(x), y), X, CLASSES)
    assert "vanishing" not in [f.kind for f in report.findings]  # which would only follow from it
    first = report.findings[0]
    assert first.where == ["first.weight", "first.bias"] and f"through {name}, which has no derivative" in first.cause
    assert "test_flow_pairing.py" in str(first.line)
    assert first.remedies[0].name == f"the loss without {name}, by hand"


def test_a_loss_that_counts_errors_has_no_derivative():
    def loss_fn(model, x, y):
        return wg.mean((wg.argmax(model(x), axis=1) != y).astype(wg.float32))

    first = flow.diagnose(net(3), loss_fn, X, CLASSES).findings[0]
    assert first.kind == "disconnected" and "through argmax, which has no derivative" in first.cause
    mended = flow.repair(net(3), loss_fn, X, CLASSES, steps=5, seeds=1)
    assert not mended.repaired and len(mended.attempts) == 1  # no settings are tried on it


class Attending(nn.Module):
    def __init__(self, mask):
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mask = nn.Buffer(mask)

    def forward(self, x):
        h = self.first(x[:, None, :] * np.ones((1, 4, 1), "f4"))
        return self.last((h + self.attention(h, h, h, attn_mask=self.mask)[0])[:, -1])


def test_an_attention_whose_mask_hides_all_looks_at_nothing():
    nn.manual_seed(0)

    def loss_fn(model, x, y):
        return F.cross_entropy(model(x), y)

    for hidden in (np.ones((4, 4), bool), np.full((4, 4), -np.inf, "f4")):
        first = flow.diagnose(Attending(hidden), loss_fn, X, CLASSES).findings[0]
        assert first.kind == "disconnected" and first.where == ["attention"] and "hides every place" in first.cause
    assert flow.diagnose(Attending(np.triu(np.ones((4, 4), bool), 1)), loss_fn, X, CLASSES).healthy
    blank = Attending(np.zeros((4, 4), bool))
    blank.attention.out_proj.weight = blank.attention.out_proj.weight * 0  # a branch that begins at 0 is no fault
    assert flow.diagnose(blank, loss_fn, X, CLASSES).healthy
