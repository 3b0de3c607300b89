"""Labels that are no classes, given to compiled programs: an error at the end of that call, however it is made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import nn, optim, train
from wengert.errors import OutOfRangeError

F = nn.functional
X = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)
GOOD = np.arange(16) % 4
BAD = np.where(np.arange(16) == 3, 7, GOOD)
MESSAGE = r"cross_entropy: labels lie between 0 and 7, but there are 4 classes(.|\n)*loss_fn"


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return F.cross_entropy(model(x), y)


def made() -> tuple[Any, Any]:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    return model, optim.Adam(model, 1e-3)


def train_step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    loss, grads = wg.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return loss


@pytest.mark.parametrize("executor", ["numpy", "native"])
@pytest.mark.parametrize("calls", [0, 1, 6])
def test_a_training_step_says_so_at_every_call(executor: str, calls: int) -> None:
    step, (model, optimizer) = wg.jit(train_step, executor), made()
    for _ in range(calls):
        assert np.isfinite(step(model, optimizer, X, GOOD))
    for _ in range(2):
        with pytest.raises(OutOfRangeError, match=MESSAGE):
            step(model, optimizer, X, BAD)


@pytest.mark.parametrize(
    "what",
    [
        lambda model, x, y: F.cross_entropy(model(x), y, reduction="none"),
        lambda model, x, y: (model(x), {"loss": loss_fn(model, x, y)}),
        lambda model, x, y: wg.jit(loss_fn)(model, x, y),
        lambda model, x, y: wg.value_and_grad(wg.jit(loss_fn))(model, x, y),
        lambda model, x, y: wg.vmap(lambda a, b: loss_fn(model, a[None], b[None]))(x, y),
        lambda model, x, y: loss_fn(model, x, wg.concat([y[:8] + 0, y[8:]])),
    ],
)
def test_whatever_is_made_of_the_loss(what: Any) -> None:
    def call(model: Any, x: Any, y: Any) -> Any:
        return what(model, x, y)

    model, f = made()[0], wg.jit(call)
    for _ in range(4):
        f(model, X, GOOD)
    with pytest.raises(OutOfRangeError, match="7, but there are 4"):
        f(model, X, BAD)
    f(model, X, GOOD)


def test_a_program_that_only_assigns() -> None:
    def step(model: Any, x: Any, y: Any) -> None:
        model.seen = loss_fn(model, x, y)

    model, f = made()[0], wg.jit(step)
    model.seen = wg.asarray(0.0)
    for _ in range(4):
        f(model, X, GOOD)
    with pytest.raises(OutOfRangeError, match="7, but there are 4"):
        f(model, X, BAD)


def test_a_loss_that_is_nan_for_other_reasons_is_returned() -> None:
    f = wg.jit(loss_fn)
    for _ in range(5):
        assert np.isnan(f(made()[0], X * np.nan, GOOD))


def test_in_a_loop_the_loss_is_nan() -> None:
    logits, labels = X[:, None, :4], BAD[:, None]
    f = wg.jit(lambda x, y: wg.scan(lambda s, xy: (s + F.cross_entropy(*xy), None), np.float32(0), (x, y))[0])
    assert np.isnan(f(logits, labels)) and np.isfinite(f(logits, GOOD[:, None]))
    assert np.isnan(wg.jit(wg.checkpoint(loss_fn))(made()[0], X, BAD))


def test_fit_leaves_the_model_as_it_was() -> None:
    model, optimizer = made()
    train.fit(model, optimizer, loss_fn, (X, GOOD), epochs=3, batch_size=16)
    before = {n: np.asarray(p).copy() for n, p in model.named_parameters()}
    with pytest.raises(OutOfRangeError, match=MESSAGE):
        train.fit(model, optimizer, loss_fn, (X, BAD), epochs=2, batch_size=16)
    for n, p in model.named_parameters():
        np.testing.assert_array_equal(np.asarray(p), before[n])
    with pytest.raises(OutOfRangeError, match=MESSAGE):
        train.evaluate(model, loss_fn, (X, BAD))
