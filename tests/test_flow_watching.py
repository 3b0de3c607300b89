"""How a monitor is used: when it looks and at what, in `fit` and in a loop of one's own; and what that leaves alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

import wengert as wg
from tests.test_flow_monitor import X, Y, loss_fn, net, one_look
from wengert import flow, nn, optim, train
from wengert.errors import ArgumentError
from wengert.flow.run import as_json


def test_looking_does_not_change_the_training():
    found = []
    for monitor in ([], [flow.Monitor(1, 2)]):
        model = net()
        train.fit(model, optim.AdamW(model, 0.01), loss_fn, (X, Y), 4, monitor, batch_size=16, progress=False)
        found.append([np.asarray(p) for p in model.parameters()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_looks_come_when_they_are_due_and_series_read_them():
    model, monitor = net(), flow.Monitor(every=4, thorough=8)
    train.fit(model, optim.SGD(model, 0.1), loss_fn, (X, Y), 4, [monitor], batch_size=8, progress=False)
    assert [(r["step"], r["thorough"]) for r in monitor.records] == [(4 * k, k == 1 or k % 2 == 0) for k in range(1, 7)]
    assert [r["epoch"] for r in monitor.records] == [0, 1, 1, 2, 3, 3]
    steps, values = monitor.series("whole/grad_norm")
    assert list(steps) == [4, 8, 12, 16, 20, 24] and np.all(values > 0)
    assert list(monitor.series("parameters/0.weight/max")[0]) == [4, 8, 16, 24]
    with pytest.raises(ArgumentError, match="whole/grad_norm"):
        monitor.series("whole/no_such")
    assert json.loads(as_json(monitor.records[1]))["whole"]["gain_ratio"] is not None
    few = flow.Monitor(1, 50, keep=6)
    train.fit(model, optim.SGD(model, 0.1), loss_fn, (X, Y), 4, [few], batch_size=8, progress=False)
    kept = [r["step"] for r in few.records]
    assert len(kept) <= 6 and kept[-1] == 24 and kept == sorted(kept)


def test_a_loop_of_ones_own_is_watched_alike():
    model, other = net(), net()
    monitor = flow.Monitor(every=2, thorough=4)

    def train_step(model, optimizer, x, y):
        loss, grads = monitor.value_and_grad(loss_fn)(model, x, y)
        grads, _ = optim.clip_by_global_norm(grads, 0.5)
        optimizer.update(model, grads)
        return loss

    step, optimizer = monitor.jit(train_step), optim.SGD(model, 0.1)
    reference = flow.Monitor(every=2, thorough=4)
    for _ in range(8):
        loss = step(model, optimizer, X, Y)
    train.fit(
        other, optim.SGD(other, 0.1), loss_fn, (X, Y), 8, [reference], batch_size=48, clip_norm=0.5, progress=False
    )
    assert loss.shape == () and len(monitor.records) == 4
    for a, b in zip(monitor.records, reference.records, strict=True):
        assert a["step"] == b["step"] and a["thorough"] == b["thorough"]
        assert a["whole"]["update_norm"] == pytest.approx(b["whole"]["update_norm"], rel=1e-5)
        assert a["activations"]["1"]["rms"] == pytest.approx(b["activations"]["1"]["rms"], rel=1e-5)
    np.testing.assert_allclose(np.asarray(model[0].weight), np.asarray(other[0].weight), rtol=1e-12)
    monitor.begin(model)  # needs no fit

    def blind(model, optimizer, x, y):
        return wg.value_and_grad(loss_fn)(model, x, y)[0]

    with pytest.raises(ArgumentError, match="nothing to look at"):
        flow.Monitor(1).jit(blind)(model, optimizer, X, Y)


def test_calls_have_names_of_their_own_and_those_in_loops_are_left_out():
    class Twice(nn.Module):
        def __init__(self):
            self.same, self.memory, self.out = nn.Linear(6, 6), nn.LSTM(6, 5), nn.Linear(5, 3)
            self.act = nn.Tanh()

        def forward(self, x):
            x = self.act(self.same(self.act(self.same(x))))
            _, (h, _) = self.memory(x[None])

            def body(c, v):
                c = self.act(c + v)
                return c, c

            c, _ = wg.scan(body, h[0], wg.stack([h[0]] * 3))
            return self.out(c)

    nn.manual_seed(0)
    record, _ = one_look(Twice().to(np.float64))
    assert list(record["activations"]) == ["same", "act", "same#2", "act#2", "memory", "out"]
    assert "saturated" in record["activations"]["act#2"]


def test_activation_functions_without_modules_are_seen():
    class Net(nn.Module):
        def __init__(self):
            self.hidden, self.inner, self.out = nn.Linear(6, 10), Inner(), nn.Linear(10, 3)
            self.act, self.six = Only(), nn.ReLU6()

        def forward(self, x):
            f = nn.functional
            return self.out(f.relu6(self.six(f.tanh(self.act(self.inner(f.relu(self.hidden(x))))))))

    class Inner(nn.Module):
        def __init__(self):
            self.linear = nn.Linear(10, 10)

        def forward(self, x):
            return nn.functional.tanh(self.linear(x))

    class Only(nn.Module):
        def forward(self, x):
            return nn.functional.sigmoid(x)

    nn.manual_seed(0)
    seen = one_look(Net().to(np.float64))[0]["activations"]
    assert list(seen) == ["hidden", "relu", "inner.linear", "inner.tanh", "act", "tanh", "six", "relu6", "out"]
    assert (seen["inner.tanh"]["module"], seen["inner.tanh"]["class"]) == ("inner", "tanh")
    assert (seen["six"]["module"], seen["six"]["class"]) == ("six", "ReLU6")
    assert "dead" in seen["relu"] and "dead" in seen["six"] and "saturated" in seen["relu6"]
    assert all("saturated" in seen[n] for n in ("inner.tanh", "act", "tanh", "six"))


def test_frozen_parameters_and_tied_ones():
    model = net()
    model.freeze("0.*")
    record, _ = one_look(model)
    assert list(record["parameters"]) == ["2.weight", "2.bias"]
    tied = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3)).to(np.float64)
    tied[2].weight = tied[0].weight
    record, _ = one_look(tied)
    assert [n for n in record["parameters"] if n.endswith("weight")] == ["0.weight", "3.weight"]


@pytest.mark.parametrize("settings", [{"every": 0}, {"every": 4, "thorough": 6}, {"keep": 1}, {"sample": 0}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ArgumentError, match="Monitor"):
        flow.Monitor(**settings)


def test_looks_and_watches_of_several_callbacks_come_to_their_owners():
    class Watching(train.Callback):
        every = 2

        def __init__(self):
            self.seen = []

        def watch(self, model, grads, loss):
            return loss

        def on_step(self, run, seen):
            self.seen.append((run.step, float(seen)))

    class Looking(Watching):
        every, passive, watch = 3, True, None

        def look(self, step):
            assert [c.function for c in step.calls] == ["Linear", "relu", "Linear"]
            return step.loss + 100

    model, both = net(), [Watching(), Looking()]
    train.fit(model, optim.SGD(model, 0.1), loss_fn, (X, Y), 1, both, batch_size=8, progress=False)
    assert [s for s, _ in both[0].seen] == [2, 4, 6] and [s for s, _ in both[1].seen] == [3, 6]
    assert both[1].seen[1][1] == pytest.approx(both[0].seen[2][1] + 100)


def test_steps_in_between_run_the_same_program_as_without_a_monitor():
    traced = []

    def counting(model, x, y):
        traced.append(1)
        return loss_fn(model, x, y)

    def run(*monitors):
        model = net()
        train.fit(model, optim.SGD(model, 0.1), counting, (X, Y), 2, monitors, batch_size=8, progress=False)

    run()
    assert len(traced) == 1
    run(flow.Monitor(every=1000))
    assert len(traced) == 1  # nothing was compiled, so it was that program
    run(flow.Monitor(every=5, thorough=5))
    assert len(traced) == 3  # the step that looks, where the loss stands twice
