"""Findings about data, each with the remedy that it names: trained with it, the model learns."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import flow, nn, optim


def network(outputs: int = 1, last: nn.Module | None = None) -> nn.Sequential:
    layers = [nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, outputs)]
    return nn.Sequential(*layers, *([] if last is None else [last]))


def squares(model, x, y):
    return wg.mean((model(x)[:, 0] - y) ** 2)


def entropy(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(128, 6)).astype("f")
    y = np.sin(x[:, 0]) + 0.5 * x[:, 1] * x[:, 2]
    return x, y.astype("f"), (y > 0).astype("i4")


def verdict(model, loss_fn, x, y) -> flow.Report:
    return flow.diagnose(model, loss_fn, x, y, optimizer=optim.Adam(model, learning_rate=1e-3))


def trained(model, loss_fn, x, y, steps: int = 400) -> float:
    optimizer = optim.Adam(model, learning_rate=1e-2)

    @wg.jit
    def step(model, optimizer):
        loss, grads = wg.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        return loss

    for _ in range(steps):
        loss = step(model, optimizer)
    return float(loss)


def test_data_of_usual_size_is_healthy(data):
    x, y, labels = data
    assert verdict(network(), squares, x, y).verdict == "healthy"
    assert verdict(network(2), entropy, x, labels).verdict == "healthy"
    assert verdict(network(2), entropy, x * 3 + 1, labels).verdict == "healthy"
    assert verdict(network(1, nn.Sigmoid()), squares, x, labels.astype("f")).verdict == "healthy"


@pytest.mark.parametrize("change", [lambda x: x * 1000 + 500, lambda x: x * np.logspace(0, 4, 6, dtype="f")])
def test_inputs_of_wild_scale(data, change):
    x, _, labels = data
    x = change(x).astype("f")
    model = network(2)
    report = verdict(model, entropy, x, labels)
    assert report.findings[0].kind == "input scale"  # a fault, or, where the batch is learned by heart, a remark
    assert report.findings[0].where == ["0"] and "size" in report.findings[0].cause
    mended = report.findings[0].remedies[0].apply(model)
    assert verdict(mended, entropy, x, labels).verdict == "healthy"
    assert trained(mended, entropy, x, labels) < 0.1


def test_inputs_that_are_normalised_in_the_model_are_no_finding(data):
    x, _, labels = data
    model = nn.Sequential(nn.BatchNorm1d(6), *network(2).children())
    assert not [f for f in verdict(model, entropy, x * 1000, labels).findings if f.kind == "input scale"]


def test_targets_out_of_proportion(data):
    x, y, _ = data
    y = (y * 7e3 + 5e4).astype("f")
    model = network()
    report = verdict(model, squares, x, y)
    assert report.verdict == "target scale"
    mended = report.findings[0].remedies[0].apply(model)
    assert trained(mended, squares, x, y) < 0.05 * y.var() < 0.05 * trained(model, squares, x, y)


def test_targets_that_the_output_cannot_reach(data):
    x, y, _ = data
    for last, target in ((nn.Sigmoid(), y), (nn.ReLU(), y - 3), (nn.Tanh(), 4 * y)):
        model = network(1, last)
        report = verdict(model, squares, x, target)
        found = report.findings[0]
        assert report.verdict == "loss pairing" and found.where == ["5"] and type(last).__name__ in found.cause
        low, high = {"Sigmoid": (0, 1), "ReLU": (0, np.inf), "Tanh": (-1, 1)}[type(last).__name__]
        assert found.evidence["least"] == pytest.approx(np.mean((np.clip(target, low, high) - target) ** 2), rel=1e-3)
        mended = found.remedies[0].apply(model)
        assert trained(mended, squares, x, target) < 0.1 * found.evidence["least"]


def test_outputs_and_targets_that_broadcast(data):
    x, y, _ = data

    def crossed(model, x, y):
        return wg.mean((model(x) - y) ** 2)

    model = network()
    report = verdict(model, crossed, x, y)
    assert report.verdict == "loss pairing" and "(128, 128)" in report.findings[0].cause
    mended = report.findings[0].remedies[0].apply(model)
    assert mended(wg.asarray(x)).shape == y.shape
    assert trained(mended, crossed, x, y) < 0.05 < 0.8 * y.var() < trained(model, crossed, x, y)
    assert verdict(network(), crossed, x, y[:, None]).verdict == "healthy"


def test_examples_that_are_all_alike(data):
    x, _, labels = data
    report = verdict(network(2), entropy, np.ones_like(x), labels)
    assert report.verdict == "identical inputs" and "128" in report.findings[0].cause


def test_a_part_of_the_output_against_targets_of_another_shape():
    """Only some of what the model makes is compared, so the step that compares is asked; ranking pairs is no fault."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    x = np.random.default_rng(0).standard_normal((64, 4)).astype("f4")
    y = x[:, 0].copy()

    def crossed(model, x, y):
        return wg.mean((model(x)[:, :1] - y) ** 2)

    def ranked(model, x, y):
        z = model(x)[:, 0]
        return wg.mean(wg.logaddexp(0.0, -(z[:, None] - z) * np.sign(y[:, None] - y)))

    first = flow.diagnose(model, crossed, x, y).findings[0]
    assert first.kind == "loss pairing" and "(64, 1) and targets of shape (64,) broadcast to (64, 64)" in first.cause
    assert "crossed" in str(first.line)
    for fine in (
        ranked,
        lambda m, x, y: wg.mean((m(x)[:, 0] - y) ** 2),
        lambda m, x, y: wg.mean((m(x)[:, :1] - y[:, None]) ** 2),
    ):
        assert "loss pairing" not in [f.kind for f in flow.diagnose(model, fine, x, y).findings]
