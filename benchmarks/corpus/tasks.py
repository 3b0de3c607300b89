"""What the networks of the corpus learn: small data sets, their losses, and a score from 0 (guessing) to 1."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import wengert as wg
from wengert import data, nn

EXAMPLES, TESTS = 1400, 350


class Task(NamedTuple):
    """Arrays to learn from and to be scored by; `classes` is 0 for a regression of one number."""

    name: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int

    @property
    def outputs(self) -> int:
        return self.classes or 1

    def score(self, output: Any) -> float:
        """How far above guessing: `(accuracy - chance) / (1 - chance)`, or `1 - squared error / variance`."""
        made = np.asarray(output, np.float64)
        if not np.isfinite(made).all():
            return -1.0
        if self.classes:
            chance = float(np.bincount(self.y_test).max() / len(self.y_test))
            hits = float(np.mean(made.argmax(axis=-1) == self.y_test))
            return (hits - chance) / (1 - chance)
        return max(-1.0, 1 - float(np.mean((made - self.y_test) ** 2) / self.y_test.var()))


def _split(name: str, x: np.ndarray, y: np.ndarray, classes: int) -> Task:
    return Task(name, x[TESTS:], y[TESTS:], x[:TESTS], y[:TESTS], classes)


def _digits(shape: tuple[int, ...], name: str) -> Task:
    (x, y), (xt, yt) = data.digits()
    return Task(name, x.reshape(-1, *shape), y, xt.reshape(-1, *shape), yt, 10)


def _spirals() -> Task:
    x, y = data.spirals(0, EXAMPLES + TESTS, turns=0.7)
    return _split("spirals", *_mixed(2 * x, y), 2)


def _mixed(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(0).permutation(len(x))
    return x[order], y[order]


def _blobs() -> Task:
    """Six heaps of points in 16 dimensions, two for each of three classes: no line separates them."""
    rng = np.random.default_rng(1)
    centres = 1.6 * rng.standard_normal((6, 16))
    k = rng.integers(0, 6, EXAMPLES + TESTS)
    x = centres[k] + rng.standard_normal((len(k), 16))
    return _split("blobs", x.astype(np.float32), k % 3, 3)


def _teacher() -> Task:
    """A smooth function of ten numbers: a sum of three ridges."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((EXAMPLES + TESTS, 10)).astype(np.float32)
    y = np.tanh(x @ rng.standard_normal((10, 3)) * 0.5).sum(axis=1, keepdims=True)
    return _split("teacher", x, ((y - y.mean()) / y.std()).astype(np.float32), 0)


def _words() -> Task:
    """Texts of 12 words out of 400, most of them rare (Zipf); a text's class is the topic that most words are from."""
    rng = np.random.default_rng(3)
    n, vocabulary, topics = EXAMPLES + TESTS, 400, 4
    y = rng.integers(0, topics, n)
    rank = np.minimum(rng.zipf(1.3, (n, 12)) - 1, vocabulary // topics - 1)
    topic = np.where(rng.random((n, 12)) < 0.55, y[:, None], rng.integers(0, topics, (n, 12)))
    return _split("words", rank * topics + topic, y, topics)


def _adding(length: int) -> Task:
    x, y = data.adding_problem(0, EXAMPLES + TESTS, length)
    return _split(f"adding{length}", x, y, 0)


def _recall(length: int) -> Task:
    """Which of four symbols came first, with noise behind it."""
    rng = np.random.default_rng(4)
    n = EXAMPLES + TESTS
    y = rng.integers(0, 4, n)
    x = 0.3 * rng.standard_normal((n, length, 5))
    x[:, 0] = 0
    x[np.arange(n), 0, y] = 1
    x[:, 0, 4] = 1
    return _split(f"recall{length}", x.astype(np.float32), y, 4)


MAKERS: dict[str, Callable[[], Task]] = {
    "digits": lambda: _digits((64,), "digits"),
    "images": lambda: _digits((1, 8, 8), "images"),
    "rows": lambda: _digits((8, 8), "rows"),
    "pixels": lambda: _digits((16, 4), "pixels"),
    "spirals": _spirals,
    "blobs": _blobs,
    "teacher": _teacher,
    "words": _words,
}


@functools.lru_cache(maxsize=32)
def task(name: str) -> Task:
    """A task by name; `recall30` and `adding20` say how long their sequences are."""
    for prefix, maker in (("recall", _recall), ("adding", _adding)):
        if name.startswith(prefix):
            return maker(int(name.removeprefix(prefix)))
    return MAKERS[name]()


def cross_entropy(model: Any, x: Any, y: Any) -> Any:
    return nn.functional.cross_entropy(model(x), y)


def squared_error(model: Any, x: Any, y: Any) -> Any:
    return nn.functional.mse_loss(model(x), y)


def smoothed(model: Any, x: Any, y: Any) -> Any:
    return nn.functional.cross_entropy(model(x), y, label_smoothing=0.1)


def small_loss(model: Any, x: Any, y: Any) -> Any:
    return 1e-3 * cross_entropy(model, x, y)


def summed(model: Any, x: Any, y: Any) -> Any:
    return nn.functional.cross_entropy(model(x), y, reduction="sum")


def log_of_softmax(model: Any, x: Any, y: Any) -> Any:
    return nn.functional.nll_loss(wg.log(nn.functional.softmax(model(x), -1)), y)


def negative_probability(model: Any, x: Any, y: Any) -> Any:
    """`nll_loss` of probabilities whose logarithm was forgotten."""
    return nn.functional.nll_loss(nn.functional.softmax(model(x), -1), y)


LOSSES = {
    f.__name__: f
    for f in (cross_entropy, squared_error, smoothed, small_loss, summed, log_of_softmax, negative_probability)
}


def loss_name(t: Task) -> str:
    return "cross_entropy" if t.classes else "squared_error"
