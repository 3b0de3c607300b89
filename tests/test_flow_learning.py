"""What counts as learned, and repairs that go by it."""

from __future__ import annotations

import math

import numpy as np
import pytest

import wengert as wg
from tests.test_flow_diagnose import X, Y, loss_fn, plain
from wengert import flow, nn, optim
from wengert.flow.learning import LEARNS, constant_loss, learned, split
from wengert.flow.recipe import Recipe, Run

F = nn.functional
RNG = np.random.default_rng(8)
MANY = RNG.standard_normal((600, 10)).astype(np.float32)
LABELS = (MANY[:, 0] > 0).astype(np.int64) + (MANY[:, 1] > 0)


def squares(model, x, y):
    return wg.mean((model(x)[:, 0] - y) ** 2)


def test_the_best_constant_is_the_entropy_of_classes_and_the_variance_of_numbers():
    model = plain(3, nn.Tanh)
    share = np.bincount(LABELS) / len(LABELS)
    entropy = -float((share * np.log(share)).sum())
    assert constant_loss(model, loss_fn, (MANY, LABELS)) == pytest.approx(entropy, rel=1e-3)
    y = (5 + 2 * MANY[:, 0]).astype(np.float32)
    linear = nn.Sequential(nn.Linear(10, 4), nn.ReLU(), nn.Linear(4, 1))
    assert constant_loss(linear, squares, (MANY, y)) == pytest.approx(float(y.var()), rel=1e-4)
    broken = nn.Sequential(nn.Linear(10, 4), nn.Lambda(lambda x: x * math.inf), nn.Linear(4, 1))
    assert constant_loss(broken, squares, (MANY, y)) == pytest.approx(float(y.var()), rel=1e-4)


def test_the_share_that_is_learned():
    y = MANY[:, 0].copy()
    exact = nn.Linear(10, 1)
    exact.weight = wg.array(np.eye(1, 10, dtype=np.float32))
    exact.bias = wg.array(np.zeros(1, np.float32))
    constant = constant_loss(exact, squares, (MANY, y))
    assert learned(exact, squares, (MANY, y), constant) == pytest.approx(1.0, abs=1e-6)
    exact.weight = exact.weight * 0.5  # a quarter of the variance stays
    assert learned(exact, squares, (MANY, y), constant) == pytest.approx(0.75, abs=0.01)
    exact.weight = exact.weight * math.nan
    assert learned(exact, squares, (MANY, y), constant) == -math.inf


def test_a_fifth_is_kept_back_and_never_trained_on():
    (x, y), (kept, labels) = split((np.arange(100.0), np.arange(100)))
    assert len(kept) == 20 and len(x) == 80 and not set(y) & set(labels)
    batches = [(MANY[i : i + 20], LABELS[i : i + 20]) for i in range(0, 600, 20)]
    rest, kept = split(batches)
    assert len(rest) == 24 and len(kept[0]) == 120 and np.array_equal(kept[0][:20], batches[24][0])
    few = [(X, Y)]
    assert split(few)[0] is few and split((X[:8], Y[:8]))[0][0] is not None


def test_a_run_that_is_gone_on_with_is_the_longer_run():
    recipe = Recipe(plain(2, nn.Tanh), loss_fn, optim.Adam, 1e-2)
    run = Run(recipe, (X, Y), 3, "numpy").go(7).go(5)
    np.testing.assert_array_equal(run.losses, recipe.train((X, Y), 12, 3, executor="numpy").losses)


def test_nothing_is_called_repaired_that_does_not_learn():
    """Labels that have nothing to do with the inputs can be learned by heart, and by nothing else."""
    labels = RNG.integers(0, 3, len(MANY))
    mended = flow.repair(
        plain(12, nn.Sigmoid), loss_fn, MANY, labels, steps=30, seeds=2, most=4, executor="numpy", progress=False
    )
    assert mended.record.before.verdict == "vanishing" and not mended.repaired
    assert len(mended.attempts) <= 4


def test_what_is_repaired_has_learned_on_examples_that_were_kept_back():
    mended = flow.repair(
        plain(12, nn.Sigmoid), loss_fn, MANY, LABELS, steps=60, seeds=2, executor="numpy", progress=False
    )
    kept = [a for a in mended.attempts if a.kept]
    assert mended.repaired and kept[-1].verification.learned.after.mean > LEARNS
    assert kept[0].verification.learned.before.mean < 0.1 and "learned" in str(kept[0].verification)
    assert mended.data()["attempts"][-1]["learned"]["after"] > LEARNS


def test_remedies_on_top_of_each_other():
    """A rounding in the middle, and a learning rate with which nothing gets anywhere."""
    nn.manual_seed(0)
    parts = [nn.Linear(10, 16), nn.Tanh(), nn.Lambda(wg.round), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3)]
    recipe = flow.Recipe(nn.Sequential(*parts), loss_fn, optim.Adam, 1e-6)
    mended = flow.repair(recipe, None, MANY, LABELS, steps=60, seeds=2, executor="numpy", progress=False)
    assert mended.repaired and mended.recipe.learning_rate > 1e-4
    assert not any(isinstance(m, nn.Lambda) and m is mended.model[2] for m in mended.model.modules())
    assert sum(a.kept for a in mended.attempts) >= 2


def test_losses_of_different_kinds_are_not_compared():
    def forgotten(model, x, y):
        return F.nll_loss(F.softmax(model(x), -1), y)

    recipe = flow.Recipe(plain(1, nn.ReLU, 32), forgotten, optim.SGD, 0.1)
    first = flow.diagnose(recipe, None, MANY, LABELS).findings[0]
    assert first.kind == "loss pairing"
    proof = flow.verify(recipe, first.remedies[0].apply(recipe), batches=(MANY, LABELS), steps=150, executor="numpy")
    assert proof.helped and "loss that fits" in proof.reason and proof.loss.after.mean > proof.loss.before.mean


def test_a_model_of_pytorch_is_diagnosed_mended_and_given_back():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs, ours = ([m(10, 16), *[p for _ in range(9) for p in (s(), m(16, 16))], s(), m(16, 3)]
                    for m, s in ((torch.nn.Linear, torch.nn.Sigmoid), (nn.Linear, nn.Sigmoid)))  # fmt: skip
    theirs, ours = torch.nn.Sequential(*theirs), nn.Sequential(*ours)
    ours.load_state_dict(theirs.state_dict())
    x, y = torch.tensor(MANY), torch.tensor(LABELS)
    report = flow.diagnose(ours, loss_fn, x, y, optimizer=optim.Adam(ours, 1e-3))
    assert report.verdict == "vanishing" and report.findings[0].source == "activation"
    mended = report.findings[0].remedies[0].apply(ours)
    theirs.load_state_dict({k: torch.tensor(np.asarray(v)) for k, v in mended.state_dict().items()})
    for i in range(1, 21, 2):
        theirs[i] = torch.nn.ReLU()
    np.testing.assert_allclose(theirs(x).detach().numpy(), np.asarray(mended(x)), rtol=1e-4, atol=1e-5)


def test_what_an_optimizer_leaves_out_is_told_and_stays_out_of_trials():
    model = plain(1, nn.ReLU)
    report = flow.diagnose(model, loss_fn, MANY, LABELS, optimizer=optim.Adam(model, 1e-2, frozen=["0"]))
    (told,) = [f for f in report.findings if f.kind == "frozen"]
    assert told.where == ["0.weight", "0.bias"] and "leaves 2 of 4 parameters" in told.cause and told.severity < 0.5
    recipe = report.case.recipe
    trained = recipe.train((MANY, LABELS), 5).model
    np.testing.assert_array_equal(np.asarray(trained[0].weight), np.asarray(model[0].weight))
    assert np.any(np.asarray(trained[2].weight) != np.asarray(model[2].weight))
    freed = told.remedies[0].apply(recipe).train((MANY, LABELS), 5).model
    assert np.any(np.asarray(freed[0].weight) != np.asarray(model[0].weight))


def test_a_repair_of_a_healthy_model_says_so():
    told = str(flow.repair(plain(2, nn.ReLU), loss_fn, MANY, LABELS, seeds=2))
    assert told == "healthy, and it learns: nothing to repair"


def test_what_is_learned_by_heart_is_told():
    """Labels that have nothing to do with the inputs: the training's own loss falls, that of others does not."""
    labels = np.random.default_rng(5).integers(0, 2, len(MANY))
    model = nn.Sequential(nn.Linear(10, 128), nn.ReLU(), nn.Linear(128, 2))
    mended = flow.repair(
        model, loss_fn, MANY[:200], labels[:200], optimizer=optim.Adam(model, 1e-2), steps=100, seeds=2, most=1
    )
    assert not mended.repaired and mended.record.by_heart
    assert "the losses of training fell, those of examples that were kept back did not" in str(mended)
