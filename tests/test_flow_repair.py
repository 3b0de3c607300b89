"""Remedies as changes of models, what verification says of them, and whole repairs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import wengert as wg
from tests.test_flow_diagnose import X, Y, loss_fn, plain
from wengert import flow, nn, optim
from wengert.errors import ArgumentError
from wengert.flow import remedies
from wengert.flow.repair import Record
from wengert.flow.search import AT_FIRST, Attempt
from wengert.flow.verify import Pair, Spread

F = nn.functional


def calls(model):
    return remedies.calls(model, loss_fn, (X, Y))


def test_another_activation_leaves_weights_and_the_given_model():
    model = nn.Sequential(nn.Linear(10, 8), nn.Sigmoid(), nn.Residual(nn.Linear(8, 8), nn.Sigmoid()), nn.Linear(8, 3))
    new = remedies.with_activation(model, "elu")
    assert isinstance(new[1], nn.ELU) and isinstance(new[2].branch[1], nn.ELU) and isinstance(model[1], nn.Sigmoid)
    np.testing.assert_array_equal(np.asarray(new[0].weight), np.asarray(model[0].weight))
    assert new[0].weight is not model[0].weight
    with pytest.raises(ArgumentError, match="no part"):
        remedies.with_activation(nn.Linear(2, 2), "relu")


@pytest.mark.parametrize("act", ["relu", "tanh", "gelu"])
def test_weights_drawn_anew_keep_the_signal_and_leave_what_is_frozen(act):
    model = plain(10, {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[act], width=64, gain=0.05)
    model.freeze("0.*")
    kept = np.asarray(model[0].weight).copy()
    new = remedies.reinitialised(model, {"relu": 2**0.5, "tanh": 1.1, "gelu": 1.5}[act], "20")
    np.testing.assert_array_equal(np.asarray(new[0].weight), kept)
    assert np.asarray(new[2].weight).std() * 8 == pytest.approx(
        {"relu": 2**0.5, "tanh": 1.1, "gelu": 1.5}[act], rel=0.1
    )


def test_lsuv_gives_every_layer_variance_one():
    model = remedies.lsuv(plain(5, nn.Tanh, gain=4.0), loss_fn, (X, Y), "10")
    found = flow.profile.profile(model, loss_fn, (X, Y)).layers
    assert [float(c.made.var()) for c in found] == pytest.approx([1, 1, 1, 1, 1, 0.1], rel=0.05)


def test_normalisation_by_what_a_layer_puts_out():
    model = plain(2, nn.ReLU)
    batch = remedies.with_normalisation(model, calls(model), "4", True)
    assert [type(m).__name__ for m in batch][:3] == ["Linear", "BatchNorm1d", "ReLU"] and len(batch) == 7
    layer = remedies.with_normalisation(model, calls(model), "4", False)
    assert isinstance(layer[1], nn.LayerNorm)

    class Own(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(64, 3)

        def forward(self, x):
            return self.b(F.relu(self.a(x)).mean(axis=1).reshape(-1, 64))

    x = np.random.default_rng(0).standard_normal((64, 1, 8, 8)).astype(np.float32)
    own = Own()
    new = remedies.with_normalisation(own, remedies.calls(own, loss_fn, (x, Y)), "b", True)
    assert isinstance(new.a[1], nn.BatchNorm2d) and isinstance(new.b, nn.Linear)
    assert np.isfinite(float(loss_fn(new, x, Y)))


def test_shortcuts_around_blocks_of_equal_width_let_the_gradient_pass():
    model = plain(12, nn.Tanh, gain=0.2)
    new = remedies.with_shortcuts(model, calls(model))
    assert sum(isinstance(m, nn.Residual) for m in new.modules()) == 11
    before, after = (flow.profile.profile(m, loss_fn, (X, Y)).decades()[0] for m in (model, new))
    assert before < -6 and abs(after) < 1.5


def test_gates_for_plain_recurrence_keep_its_weights_as_candidates():
    class Net(nn.Module):
        def __init__(self):
            self.rnn, self.out = nn.RNN(3, 5, 2), nn.Linear(5, 3)

        def forward(self, x):
            return self.out(self.rnn(x)[1][-1])

    net, x = Net(), np.random.default_rng(1).standard_normal((9, 64, 3)).astype(np.float32)
    for kind in ("gru", "lstm"):
        new = remedies.gated(net, kind, 50)
        assert isinstance(new.rnn, nn.GRU if kind == "gru" else nn.LSTM)
        np.testing.assert_array_equal(np.asarray(new.rnn.weight_hh_l1)[10:15], np.asarray(net.rnn.weight_hh_l1))
        assert np.isfinite(float(loss_fn(new, x, Y)))
        bias = np.asarray(new.rnn.bias_ih_l0)[5:10]
        assert (bias >= math.log(24)).all() and (bias <= math.log(101)).all()
    turned = np.asarray(remedies.orthogonal_recurrence(net).rnn.weight_hh_l0)
    np.testing.assert_allclose(turned @ turned.T, np.eye(5), atol=1e-5)


def test_recipes_take_settings_of_an_optimizer_and_penalties():
    model = plain(1, nn.ReLU)
    recipe = flow.Recipe.of(model, loss_fn, optim.SGD(model, 0.05, momentum=0.9, nesterov=True))
    assert (recipe.optimizer, recipe.learning_rate, recipe.settings["momentum"]) == (optim.SGD, 0.05, 0.9)
    start = recipe.objective()(model, X, Y)
    weights = sum(float((np.asarray(p) ** 2).sum()) for p in model.parameters() if p.ndim == 2)
    assert float(recipe.but(l2=0.1).objective()(model, X, Y)) == pytest.approx(float(start) + 0.05 * weights, rel=1e-5)
    a, b = (recipe.train((X, Y), 5, seed=1).losses for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_verification_tells_help_from_none_and_from_harm():
    broken = plain(10, nn.Sigmoid)
    better = flow.diagnose(broken, loss_fn, X, Y).findings[0].remedies[0].apply(broken)
    proof = flow.verify(broken, better, loss_fn, (X, Y), steps=60, seeds=2, executor="numpy", optimizer=optim.Adam)
    assert proof.verdict == "helped" and proof.loss.after.mean < proof.loss.before.mean
    assert proof.criterion.before.mean > 5 > proof.criterion.after.mean and proof.before.shape == (2, 60)
    assert "helped" in str(proof) and proof.data()["verdict"] == "helped"
    same = flow.verify(broken, broken.copy(), loss_fn, (X, Y), steps=10, seeds=2, executor="numpy")
    worse = flow.verify(
        better, broken, loss_fn, [(X[:32], Y[:32]), (X[32:], Y[32:])], steps=60, seeds=2, executor="numpy"
    )
    assert same.verdict == worse.verdict == "did not help"
    assert str(Pair(Spread(1.0, 0.0), Spread(2.0, 0.5))) == "1 → 2 ± 0.5"


def test_a_run_that_fails_is_no_number_to_compare():
    model = plain(3, nn.ReLU, gain=1.4)
    wild = flow.Recipe(model, loss_fn, optim.SGD, 1e6)
    calm = wild.but(learning_rate=1e-2)
    proof = flow.verify(wild, calm, batches=(X, Y), steps=20, seeds=2, executor="numpy")
    assert (proof.helped and "finite" in proof.reason) or proof.loss.before.mean > proof.loss.after.mean
    assert not flow.verify(calm, wild, batches=(X, Y), steps=20, seeds=2, executor="numpy").helped


def test_repair_of_a_vanishing_net_with_its_record():
    broken = plain(12, nn.Sigmoid)
    weights = np.asarray(broken[0].weight).copy()
    mended = flow.repair(broken, loss_fn, X, Y, steps=60, seeds=2, executor="numpy", progress=False)
    assert mended.repaired and mended.record.before.verdict == "vanishing"
    assert any(a.kept and a.verdict == "helped" for a in mended.attempts)
    assert mended.record.after.verdict != "vanishing"
    np.testing.assert_array_equal(np.asarray(broken[0].weight), weights)
    model, record, *_ = mended
    assert "→" in str(record) and mended.data()["attempts"] and model is not broken


def test_repair_of_a_learning_rate_and_of_nothing():
    model = plain(2, nn.Tanh)
    wild = flow.repair(model, loss_fn, X, Y, optimizer=optim.SGD(model, 300.0), steps=40, seeds=2, executor="numpy")
    assert wild.repaired and wild.recipe.learning_rate < 100 and wild.record.before.verdict == "learning rate too high"
    fine = flow.repair(model, loss_fn, X, Y, steps=10, seeds=1, executor="numpy")
    assert fine.repaired and not fine.attempts and fine.model is model


def test_what_is_missing_is_asked_for():
    with pytest.raises(ArgumentError, match="batches to train on"):
        flow.verify(plain(1, nn.ReLU), plain(1, nn.ReLU), loss_fn)
    with pytest.raises(ArgumentError, match="needs a batch"):
        flow.repair(plain(1, nn.ReLU), loss_fn)
    with pytest.raises(ArgumentError, match="no loss_fn"):
        flow.Recipe(plain(1, nn.ReLU)).objective()


def test_parts_at_which_the_gradient_ends_and_nets_that_are_held_are_repaired():
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Lambda(wg.stop_gradient), nn.Linear(16, 3))
    cut = flow.repair(model, loss_fn, X, Y, steps=60, seeds=2, executor="numpy", optimizer=optim.Adam(model, 1e-2))
    assert cut.record.before.verdict == "disconnected" and isinstance(cut.model[2], nn.Identity)
    held = plain(2, nn.ReLU)
    held.freeze()
    free = flow.repair(held, loss_fn, X, Y, steps=60, seeds=2, executor="numpy")
    assert free.repaired and free.model.trainable and not held.trainable


def test_remedies_together_look_at_the_model_that_the_first_has_made():
    """In a row with names, normalisation put in before shortcuts: blocks are found anew."""
    parts = {"inside": nn.Linear(10, 16), "act": nn.Tanh()}
    for i in range(3):
        parts |= {f"layer{i}": nn.Linear(16, 16), f"act{i}": nn.Tanh()}
    model = nn.Sequential({**parts, "out": nn.Linear(16, 3)})
    look = remedies.calls
    normed = remedies.with_normalisation(model, look(model, loss_fn, (X, Y)), "out", True)
    both = remedies.with_shortcuts(normed, look(normed, loss_fn, (X, Y)))
    assert sum(isinstance(m, nn.Residual) for m in both.modules()) == 3
    assert any(isinstance(m, nn.BatchNorm1d) for b in both.modules() if isinstance(b, nn.Residual) for m in b.modules())
    assert np.isfinite(float(loss_fn(both, X, Y)))


def test_a_record_says_what_a_remedy_that_helped_leaves():
    report = flow.diagnose(nn.Linear(4, 2), lambda m, x: wg.sum(m(x) ** 2), np.ones((3, 4), "f4"))
    attempts = [
        Attempt("short memory", "GRU for RNN", "", None, "helped", "short memory", False),
        Attempt("short memory", "LSTM for RNN", "", None, "helped", "healthy", True),
        Attempt("short memory", "clip", "", None, AT_FIRST, "short memory", True),
    ]
    assert str(Record(report, report, attempts)).split("\n")[1:] == [
        "· short memory: GRU for RNN — helped, but leaves short memory",
        "✓ short memory: LSTM for RNN — helped",
        "✓ short memory: clip — helped in short runs only",
    ]
