"""The network as data for the page: it says what the ledger and the recording say, in a tree that holds together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import flow, nn, optim, train
from wengert.flow.picture import picture, statistics
from wengert.nn import functional as F

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 12)).astype(np.float32)
Y = np.arange(8) % 4


def classify(model: Any, x: Any, y: Any) -> Any:
    return F.cross_entropy(model(x), y)


def fit(model: Any, x: Any, y: Any) -> Any:
    return F.mse_loss(model(x), y)


class Last(nn.Module):
    """A recurrent network that is asked at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.RNN(3, 5, batch_first=True), nn.Linear(5, 1)

    def forward(self, x: Any) -> Any:
        return self.out(self.rnn(x)[0][:, -1])


def block() -> nn.Module:
    return nn.Residual(nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 12), nn.Tanh()))


SEQUENCE = RNG.normal(size=(4, 7, 3)).astype(np.float32), RNG.normal(size=(4, 1)).astype(np.float32)
CASES = {
    "plain": lambda: (nn.Sequential(nn.Linear(12, 12), nn.Sigmoid(), nn.Linear(12, 4)), classify, X, Y),
    "residual": lambda: (nn.Sequential(block(), block(), nn.Linear(12, 4)), classify, X, Y),
    "recurrent": lambda: (Last(), fit, *SEQUENCE),
}


@pytest.mark.parametrize("name", CASES)
def test_the_tree_holds_together_and_the_sums_are_the_ledger_s(name: str) -> None:
    model, loss_fn, *batch = CASES[name]()
    data = json.loads(json.dumps(picture(model, loss_fn, *batch), allow_nan=False))
    ids = [n["id"] for n in data["nodes"]]
    assert len(set(ids)) == len(ids)
    for e in data["edges"]:
        assert e["from"] in ids and e["to"] in ids and e["kind"] in flow.kinds.KINDS
    paths = {m["path"] for m in data["modules"]}
    assert {n["module"] for n in data["nodes"]} <= paths
    for way, forward in (("backward", False), ("forward", True)):
        found = flow.ledger(flow.walk(flow.record(model, loss_fn, *batch)), forward=forward)
        told = data["ledger"][way]
        assert told["total"] == pytest.approx(found.total, abs=1e-4)
        assert sum(told["by_kind"].values()) == pytest.approx(told["total"], abs=2e-3)
        outermost = [m for m in told["by_module"] if not any(m["path"].startswith(p + ".") for p in paths if p)]
        outside = told["total"] - sum(m["total"] for m in outermost)
        if name != "recurrent":  # there, steps stand in the model itself, too
            assert outside == pytest.approx(0, abs=2e-3)
        assert sum(m["total"] for m in told["by_layer"]) == pytest.approx(told["total"], abs=2e-3)


def test_each_step_has_its_numbers_and_its_line() -> None:
    model, loss_fn, *batch = CASES["plain"]()
    data = picture(model, loss_fn, *batch)
    steps = {n["primitive"]: n for n in data["nodes"] if n["role"] == "step" and n["module"] in ("0", "1", "2")}
    sigmoid = steps["sigmoid"]
    s = np.asarray(model[1](model[0](wg.asarray(X))), np.float64)
    assert sigmoid["forward"]["mean"] == pytest.approx(s.mean(), rel=1e-4)
    assert (
        sigmoid["derivative"]["max"] == pytest.approx((s * (1 - s)).max(), rel=1e-4)
        and sigmoid["derivative"]["max"] <= 0.25
    )
    assert sum(sigmoid["forward"]["histogram"]["counts"]) == s.size
    assert sigmoid["line"]["function"] == "classify" and sigmoid["line"]["file"] == Path(__file__).name
    weight = next(n for n in data["nodes"] if n.get("name") == "0.weight")
    gradient = wg.grad(loss_fn)(model, *batch)[0].weight
    assert weight["gradient"]["norm"] == pytest.approx(np.linalg.norm(np.asarray(gradient)), rel=1e-4)
    assert weight["module"] == "0" and weight["role"] == "parameter"


def test_turns_paths_and_lags() -> None:
    model, loss_fn, *batch = CASES["recurrent"]()
    data = picture(model, loss_fn, *batch)
    turns = [m["path"] for m in data["modules"] if m["class"] == "turn"]
    assert len(turns) == 7 and all(p.startswith("rnn.") for p in turns)
    assert {n["turn"] for n in data["nodes"] if "turn" in n} == set(range(7))
    assert len(data["lag"]["shares"]) == 7 and sum(data["lag"]["shares"]) == pytest.approx(1, abs=1e-3)
    model, loss_fn, *batch = CASES["residual"]()
    data = picture(model, loss_fn, *batch)
    assert "lag" not in data and len(data["path_length"]["shares"]) == 4
    assert sum(data["path_length"]["shares"]) == pytest.approx(1, abs=1e-3)


def test_statistics_of_numbers_that_are_out_of_reach() -> None:
    assert statistics(np.zeros((0,))) == {}
    found = statistics(np.array([1.0, -3.0]), exponent=-300)
    assert found["norm"] == pytest.approx(np.sqrt(10.0) * 2.0**-300) and found["min"] == pytest.approx(-3 * 2.0**-300)
    assert statistics(np.array([1.0, 2.0]), exponent=4000)["norm"] is None
    assert statistics(np.array([1.0, 2.0]), exponent=-4000)["norm"] == 0.0
    assert statistics(np.array([1.0, np.nan]))["mean"] is None
    assert json.dumps(statistics(np.array([np.inf, 1.0])), allow_nan=False)


def test_a_report_saves_the_page(tmp_path: Path) -> None:
    model, loss_fn, *batch = CASES["plain"]()
    report = flow.diagnose(model, loss_fn, *batch)
    report.save(tmp_path / "flow.html")
    text = (tmp_path / "flow.html").read_text()
    assert text.startswith("<!doctype html>") and "Content-Security-Policy" in text and '"primitive":"sigmoid"' in text


def test_a_report_shows_the_training_that_a_monitor_saw(tmp_path: Path) -> None:
    model, loss_fn, *batch = CASES["plain"]()
    report = flow.diagnose(model, loss_fn, *batch)
    monitor = flow.Monitor(every=1, folder=tmp_path / "run", pace=0)
    train.fit(model, optim.SGD(model, 0.1), loss_fn, [tuple(batch)] * 3, epochs=1, callbacks=[monitor], progress=False)
    report.training = monitor
    live = report.data()["training"]
    report.training = tmp_path / "run"
    read = report.data()["training"]
    for found in (live, read):
        assert [r["step"] for r in found["records"] if r["kind"] == "step"] == [1, 2, 3]
        assert [m["class"] for m in found["run"]["modules"]][-3:] == ["Linear", "Sigmoid", "Linear"]
    report.save(tmp_path / "flow.html")
    assert '"training":{' in (tmp_path / "flow.html").read_text()
