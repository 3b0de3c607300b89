"""Networks of `nn` in `fit`: batch statistics, dropout keys, frozen parts, types, and resuming with all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import data, nn, optim, train
from wengert.errors import ArgumentError

rng = np.random.default_rng(0)
X = rng.normal(size=(96, 3, 6, 6)).astype(np.float32)
Y = (X.mean(axis=(1, 2, 3)) > 0).astype(np.int64)


def network() -> Any:
    nn.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3),
        nn.Residual(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return nn.functional.cross_entropy(model(x), y)


def arrays(model: Any) -> dict[str, np.ndarray]:
    return {n: np.array(a) for n, a in model.state_dict(transient=True).items()}


def fitted(folder: Any, epochs: int, executor: str) -> Any:
    model = network()
    optimizer = optim.AdamW(model, lr=1e-2, schedule=optim.schedule.LinearWarmup(4, optim.schedule.Exponential(0.99)))
    batches = data.Batches(X, Y, batch_size=32, shuffle=2)
    history = train.fit(
        model, optimizer, loss_fn, batches, epochs, validation=(X, Y), metrics={"accuracy": train.accuracy},
        checkpoint=folder, save_every=2, executor=executor,
    )  # fmt: skip
    return model, history


@pytest.mark.parametrize("executor", ["numpy", "native"])
def test_statistics_and_keys_are_trained_saved_and_resumed(tmp_path: Path, executor: str) -> None:
    start = arrays(network())
    model, history = fitted(tmp_path / "whole", 4, executor)
    after = arrays(model)
    changed = {n for n, a in after.items() if not np.array_equal(a, start[n])}
    assert changed == set(after), f"left as they were: {set(after) - changed}"
    assert model.training
    fitted(tmp_path / "parts", 2, executor)
    resumed, its_history = fitted(tmp_path / "parts", 4, executor)
    assert list(its_history) == list(history)
    for name, a in arrays(resumed).items():
        assert a.tobytes() == after[name].tobytes(), name
    z = train.predict(resumed, X, executor=executor)
    score = np.mean(np.asarray(z).argmax(-1) == Y)
    assert history[-1]["val_accuracy"] == pytest.approx(score) and resumed.training
    np.testing.assert_array_equal(z, train.predict(resumed, X, executor=executor))


def test_batch_statistics_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    nn.manual_seed(0)
    mine = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    mine.load_state_dict(theirs.state_dict())
    x, y = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 2, 60)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for i in range(0, 60, 20):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(torch.tensor(x[i : i + 20])), torch.tensor(y[i : i + 20])).backward()
        optimizer.step()
    train.fit(mine, optim.SGD(mine, lr=0.1, momentum=0.9), loss_fn, (x, y), 1, batch_size=20)
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(mine.state_dict()[name], value.numpy(), rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_frozen_part_stays_and_costs_nothing() -> None:
    model = network()
    model.freeze("0.*", "4")
    before = arrays(model)
    optimizer = optim.Adam(model, lr=0.1)
    assert not [n for n in optimizer.plan.names if n.startswith(("0.", "4."))]
    train.fit(model, optimizer, loss_fn, (X, Y), 1, batch_size=32)
    frozen = [n for n, _ in model.named_parameters() if n.startswith(("0.", "4."))]
    assert len(frozen) == 6
    for name in frozen:
        np.testing.assert_array_equal(before[name], arrays(model)[name])
    graph = wg.jit(train.TrainingStep(loss_fn)).lower(model, optimizer, None, train.step.Totals(), (X, Y)).graph
    model.unfreeze()
    whole = optim.Adam(model, lr=0.1)
    bigger = wg.jit(train.TrainingStep(loss_fn)).lower(model, whole, None, train.step.Totals(), (X, Y)).graph
    assert len(graph.nodes) < len(bigger.nodes) - 50


def test_double_precision_stays() -> None:
    model = network().double()
    optimizer = optim.AdamW(model, lr=1e-2)
    history = train.fit(model, optimizer, loss_fn, (X.astype(np.float64), Y), 1, batch_size=32, clip_norm=1.0)
    assert history[0]["loss"] > 0
    assert {a.dtype for a in arrays(model).values() if a.dtype.kind == "f"} == {np.dtype(np.float64)}
    assert {a.dtype for s in optimizer.state.values() for a in s.values()} == {np.dtype(np.float64)}


def test_statistics_of_an_averaged_model_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))
    mine = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    mine.load_state_dict(theirs.state_dict())
    mine.eval()
    x = rng.normal(size=(60, 4)).astype(np.float32) + 3
    train.update_statistics(mine, (x,), executor="native")
    torch.optim.swa_utils.update_bn([torch.tensor(x)], theirs)
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        np.testing.assert_allclose(mine.state_dict()[name], theirs.state_dict()[name].numpy(), rtol=1e-5)
    assert not mine.training and mine[1].momentum == 0.1
    train.update_statistics(nn.Linear(2, 2), (x,))
    with pytest.raises(ArgumentError, match="no batch"):
        train.update_statistics(mine, lambda: iter(()))
