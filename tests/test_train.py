"""fit, evaluate and predict: the loop, its callbacks, its progress bar, and its stops."""

from __future__ import annotations

import io
import re
from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import data, nn, optim, train, tree
from wengert.errors import ArgumentError, NonFiniteError
from wengert.module import Module
from wengert.train.progress import Progress, bar, clock
from wengert.train.replay import contents, put_back

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4)).astype(np.float32)
Y = (X[:, :1] * X[:, 1:2] > 0).astype(np.int64)[:, 0]


class Net(Module):
    """Two layers; counts its calls, and behaves otherwise in use."""

    def __init__(self, hidden: int = 16, seed: int = 0):
        draw = np.random.default_rng(seed)
        self.w = wg.asarray(draw.normal(size=(4, hidden)).astype(np.float32))
        self.b = wg.zeros(hidden)
        self.v = wg.asarray(draw.normal(size=(hidden, 2)).astype(np.float32) / 4)
        self.calls = wg.asarray(0)
        self.training = True

    def __call__(self, x: Any) -> Any:
        self.calls = self.calls + 1
        return wg.tanh(x @ self.w + self.b) @ self.v

    def train(self) -> Any:
        self.training = True

    def eval(self) -> Any:
        self.training = False


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return -wg.mean(wg.sum(wg.one_hot(y, 2) * wg.log_softmax(model(x)), axis=-1))


def with_metric(model: Any, x: Any, y: Any) -> Any:
    z = model(x)
    loss = -wg.mean(wg.sum(wg.one_hot(y, 2) * wg.log_softmax(z), axis=-1))
    return loss, {"accuracy": wg.mean((wg.argmax(z, axis=-1) == y).astype(wg.float32))}


def batches(**settings: Any) -> Any:
    return data.Batches(X, Y, batch_size=16, shuffle=0, **settings)


def test_fit_is_the_loop_written_out() -> None:
    model, other = Net(), Net()
    history = train.fit(model, optim.Adam(model, lr=0.05), loss_fn, batches(), epochs=4, progress=False)
    optimizer = optim.Adam(other, lr=0.05)
    source = batches()
    for epoch in range(4):
        losses, sizes = [], []
        for x, y in source:
            loss, grads = wg.value_and_grad(loss_fn)(other, x, y)
            optimizer.update(other, grads)
            losses.append(float(loss))
            sizes.append(len(x))
        assert history[epoch]["loss"] == pytest.approx(np.average(losses, weights=sizes), rel=1e-4)
    np.testing.assert_allclose(model.w, other.w, rtol=1e-3, atol=1e-5)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert int(model.calls) == 12


def test_the_step_is_compiled_once() -> None:
    traced = []

    def counting(model: Any, x: Any, y: Any) -> Any:
        traced.append(x.shape)
        return with_metric(model, x, y)

    model = Net()
    settings: dict[str, Any] = {"batch_size": 10, "shuffle": 3, "clip_norm": 1.0, "average": optim.EMA(model, 0.9)}
    history = train.fit(model, optim.SGD(model, lr=0.1, momentum=0.9), counting, (X, Y), 3, **settings)
    assert traced == [(10, 4)]
    train.fit(model, optim.SGD(model, lr=0.1, momentum=0.9), counting, (X, Y), 3, **settings)
    assert traced == [(10, 4)], "another fit of the same model goes on with the same program"
    assert set(history[0]) == {"loss", "accuracy", "grad_norm"}
    assert int(settings["average"].count) == 24


def test_validation_metrics_and_modes() -> None:
    modes = []

    def looking(model: Any, x: Any, y: Any) -> Any:
        modes.append(model.training)
        return loss_fn(model, x, y)

    model = Net()
    history = train.fit(
        model, optim.Adam(model), looking, batches(), 2, validation=(X, Y), metrics={"accuracy": train.accuracy}
    )
    assert set(history[0]) == {"loss", "val_loss", "val_accuracy"}
    assert modes.count(False) == 1 and model.training, "the evaluation is compiled once, in the mode of use"
    assert int(model.calls) == 6, "evaluation leaves no trace in the model"
    out = np.asarray(wg.log_softmax(model(X)))
    want = -out[np.arange(40), Y].mean()
    got = train.evaluate(model, loss_fn, (X, Y), {"accuracy": train.accuracy})
    assert got["loss"] == pytest.approx(want, rel=1e-5) == history[-1]["val_loss"]
    assert got["accuracy"] == pytest.approx(np.mean(out.argmax(-1) == Y)) == history[-1]["val_accuracy"]


def test_predict_puts_batches_together() -> None:
    model = Net()
    want = np.asarray(model(X))
    np.testing.assert_allclose(train.predict(model, X, batch_size=7), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(train.predict(model, data.Batches(X, batch_size=9)), want, rtol=1e-5, atol=1e-6)
    assert int(model.calls) == 1


def test_accumulation_and_clipping_by_a_function() -> None:
    model, other = Net(), Net()
    train.fit(model, optim.SGD(model, lr=0.5), loss_fn, (X, Y), 2, batch_size=10, accumulate=4)
    train.fit(other, optim.SGD(other, lr=0.5), loss_fn, (X, Y), 2, batch_size=40)
    np.testing.assert_allclose(model.w, other.w, rtol=1e-4, atol=1e-6)
    before = np.asarray(model.w)
    train.fit(
        model, optim.SGD(model, lr=1.0), loss_fn, (X, Y), 1, batch_size=40, clip=lambda g: optim.clip_by_value(g, 1e-3)
    )
    assert np.abs(np.asarray(model.w) - before).max() <= 1.001e-3


# Callbacks


def test_callbacks_come_at_their_steps_and_see_norms() -> None:
    class Norms(train.Callback):
        every = 4

        def __init__(self) -> None:
            self.seen: list[tuple[int, float]] = []
            self.traced = 0
            self.ended = 0

        def watch(self, model: Any, grads: Any, loss: Any) -> Any:
            self.traced += 1
            return {"norm": optim.global_norm(grads), "loss": loss}

        def on_step(self, run: Any, seen: Any) -> None:
            assert float(seen["loss"]) == pytest.approx(float(run.loss), rel=1e-6)
            assert run.batch[0].shape[1] == 4
            self.seen.append((run.step, float(seen["norm"])))

        def on_end(self, run: Any) -> None:
            self.ended += 1

    class Counting(train.Callback):
        every = 6

        def __init__(self) -> None:
            self.seen: list[int] = []

        def on_step(self, run: Any, seen: Any) -> None:
            assert seen is None
            self.seen.append(run.step)

    model, norms, counting, epochs = Net(), Norms(), Counting(), []
    watched = train.fit(
        model, optim.SGD(model, lr=0.1), loss_fn, batches(drop_last=True), 7,
        callbacks=[norms, counting, lambda run: epochs.append(run.epoch)],
    )  # fmt: skip
    assert [s for s, _ in norms.seen] == [4, 8, 12] and counting.seen == [6, 12]
    assert all(n > 0 for _, n in norms.seen) and norms.ended == 1 and epochs == list(range(7))
    assert norms.traced == 1, "traced into one program, for the steps that it looks at"
    other = Net()
    alone = train.fit(other, optim.SGD(other, lr=0.1), loss_fn, batches(drop_last=True), 7)
    np.testing.assert_allclose(watched["loss"], alone["loss"], rtol=1e-5)


def test_early_stop_gives_back_the_best_model() -> None:
    model = Net()
    stop = train.EarlyStopping("val_loss", patience=2)
    seen = []

    def spoil(run: Any) -> None:
        seen.append(np.asarray(run.model.w))
        if run.epoch >= 3:
            run.optimizer.learning_rate = 3.0

    history = train.fit(
        model, optim.SGD(model, lr=0.1), loss_fn, batches(), 50, validation=(X, Y), callbacks=[stop, spoil]
    )
    best = int(np.argmin(history["val_loss"]))
    assert len(history) == best + 4 < 50 and "val_loss has not improved" in history.stopped
    np.testing.assert_array_equal(model.w, seen[best])
    with pytest.raises(ArgumentError, match=r"'val_loss', but an epoch has loss"):
        train.fit(model, optim.SGD(model), loss_fn, batches(), 1, callbacks=[train.EarlyStopping()])


def test_a_callback_stops_in_the_middle_of_an_epoch() -> None:
    class Stop(train.Callback):
        every = 4

        def on_step(self, run: Any, seen: Any) -> None:
            run.stop("enough")

    model = Net()
    history = train.fit(model, optim.SGD(model), loss_fn, batches(), 9, callbacks=[Stop()])
    assert len(history) == 2 and history.stopped == "enough" and int(model.calls) == 4


# The first number that isn't finite


def test_a_loss_that_is_not_finite_names_what_made_it() -> None:
    class Root(Net):
        def __call__(self, x: Any) -> Any:
            return wg.log(wg.sum(x @ self.w, axis=-1, keepdims=True) - 1e3) @ self.v[:1]

    model = Root()
    before = np.asarray(model.w)
    with pytest.raises(
        NonFiniteError, match=r"(?s)became nan at step 1 \(epoch 1, batch 1\).*log made 16 NaN.*wg\.log"
    ):
        train.fit(model, optim.SGD(model), loss_fn, batches(), 1)
    np.testing.assert_array_equal(before, model.w)


def test_a_gradient_that_is_not_finite_is_found_one_step_later() -> None:
    """The loss is finite, its derivative isn't: only the next loss is NaN, but the first step is to blame."""

    class Cusp(Module):
        def __init__(self) -> None:
            self.w = wg.zeros(())

        def __call__(self, x: Any) -> Any:
            return wg.sqrt(self.w * x[0, 0])

    def loss(model: Any, x: Any) -> Any:
        return model(x)

    model = Cusp()
    with pytest.raises(NonFiniteError, match=r"(?s)at step 2.*the derivative of sqrt, going backward, made 1 infinity"):
        train.fit(model, optim.SGD(model), loss, (np.ones((8, 1), np.float32),), 1, batch_size=2)
    assert float(model.w) == 0


def test_what_is_put_back_was_not_written_over() -> None:
    """A compiled step writes over arrays that nobody else holds; those of the optimizer stand in dicts."""
    model = Net()
    optimizer = optim.AdamW(model, lr=0.1)
    step = wg.jit(train.TrainingStep(loss_fn), executor="native")
    totals = train.step.Totals()
    for _ in range(4):
        step(model, optimizer, None, totals, (X, Y))
    before = [np.array(a) for a in tree.leaves((model, optimizer))]
    kept = contents(model, optimizer)
    for _ in range(3):
        step(model, optimizer, None, totals, (X, Y))
    put_back(kept)
    for a, b in zip(before, tree.leaves((model, optimizer)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("wrap", [lambda b: b, data.prefetch], ids=["arrays", "prefetched"])
@pytest.mark.parametrize("executor", ["native", "numpy"])
def test_the_step_to_blame_is_found_after_many_steps(executor: str, wrap: Any) -> None:
    """Steps since the last moment of remembering are repeated, and lead to the same place."""

    class Bound(Net):
        def __call__(self, x: Any) -> Any:
            return wg.log(wg.mean(wg.abs(self.w)) - 0.5) + super().__call__(x)

    states = []

    class Look(train.Callback):
        every = 37

        def on_step(self, run: Any, seen: Any) -> None:
            states.append(run.step)

    def loss(model: Any, x: Any, y: Any) -> Any:
        return wg.mean(model(x))

    model = Bound()
    with pytest.raises(NonFiniteError, match=r"(?s)became (nan|-inf) at step \d+.*log made \d+ (NaN|infinit)") as error:
        source = wrap(data.Batches(X, Y, batch_size=20, shuffle=7))
        train.fit(model, optim.Adam(model, lr=2e-3), loss, source, 500, callbacks=[Look()], executor=executor)
    step = int(re.search(r"at step (\d+)", str(error.value))[1])  # type: ignore[index]
    assert step > 80 and len(states) >= 2
    other = Bound()
    optimizer = optim.Adam(other, lr=2e-3)
    one = wg.jit(train.TrainingStep(loss), executor=executor)
    totals, batches = train.step.Totals(), data.Batches(X, Y, batch_size=20, shuffle=7)
    for _, batch in zip(range(step - 1), chain.from_iterable(repeat(batches)), strict=False):
        one(other, optimizer, None, totals, batch)
    np.testing.assert_array_equal(model.w, other.w, "the model is as it was before that step")


# The progress bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_loss_metric_speed_and_time_left(monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = Progress(True, Terminal()).line("epoch 2/5", 30, 120, {"loss": 0.51234, "accuracy": 0.9}, 6.0)
    assert text == "epoch 2/5  ━━━━━                 30/120  loss 0.5123  accuracy 0.9  5 it/s  0:18 left"
    assert bar(0.98) == "━" * 19 + "╸" and bar(2) == "━" * 20
    assert clock(59.6) == "1:00" and clock(3725) == "1:02:05"
    assert "left" not in Progress(True, Terminal()).line("epoch 1/1", 3, None, {}, 1.0)


def test_the_bar_is_drawn_on_terminals_only(monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("wengert.train.progress.OFTEN", 0.0)
    for output, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", output)
        model = Net()
        train.fit(model, optim.SGD(model), with_metric, batches(), 2, validation=(X, Y))
        text = output.getvalue()
        if not shown:
            assert text == ""
            continue
        assert re.search(r"\repoch 1/2 .* 2/3  loss 0\.\d+  accuracy 0\.\d+  \S+ it/s  \d+:\d\d left", text)
        lines = text.split("\n")
        assert len(lines) == 3 and "val_loss" in lines[0].split("\r")[-1] and "epoch 2/2" in lines[1].split("\r")[-1]


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: train.fit(m, optim.LBFGS(m), loss_fn, batches()), "got a LBFGS"),
        (lambda m: train.fit(m, optim.SGD(m), loss_fn, lambda: iter(())), "nothing to train on"),
        (lambda m: train.fit(m, optim.SGD(m), lambda m, x, y: (loss_fn(m, x, y), 3), batches()), "a loss and a int"),
        (lambda m: train.fit(m, optim.SGD(m), loss_fn, 7), "got a int"),
        (lambda m: train.evaluate(m, None, batches()), "loss function or metrics"),
        (lambda m: train.evaluate(m, loss_fn, lambda: iter(())), "no example"),
        (lambda m: train.EarlyStopping(mode="low"), "'low'"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(Net())


def test_a_loss_function_that_does_not_take_the_batch() -> None:
    model = nn.Linear(3, 2)
    x, y = np.zeros((8, 3), np.float32), np.zeros(8, np.int64)
    with pytest.raises(ArgumentError, match=r"ours\(model.*batch.*are 2 \(float32\[8,3\], int64"):

        def ours(model: Any, batch: Any) -> Any:
            return batch

        train.fit(model, optim.SGD(model, 0.1), ours, (x, y))
    with pytest.raises(ArgumentError, match=r"of which there is 1 \(a dict of x, y\)"):
        train.fit(model, optim.SGD(model, 0.1), lambda m, x, y: x.sum(), {"x": x, "y": y})
    with pytest.raises(ArgumentError, match="the metric 'first', "):
        train.evaluate(model, None, (x, y), {"first": lambda m, x: x.mean()})
