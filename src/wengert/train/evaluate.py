"""evaluate and predict: a model as it is used, over many batches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from wengert import tree
from wengert.array.dtypes import astype
from wengert.array.reductions import argmax, mean
from wengert.data.arrays import arguments, as_ndarray
from wengert.data.streams import batches as as_source
from wengert.errors import ArgumentError
from wengert.execute.jit import jit
from wengert.ir.array import Array
from wengert.ir.types import float32
from wengert.source import at_user_line
from wengert.train.replay import contents, put_back
from wengert.train.step import EvaluationStep, Loss, Totals


def evaluate(
    model: Any,
    loss_fn: Loss | None,
    batches: Any,
    metrics: Mapping[str, Loss] | None = None,
    executor: str | None = None,
) -> dict[str, float]:
    """Means of the loss and of metrics over all examples, the model being in its mode of use (`model.eval()`).

    Args:
        model: a module; nothing of it changes.
        loss_fn: `loss_fn(model, *batch)`, a loss or a pair of a loss and a dict of metrics; None for metrics alone.
        batches: whatever `data.batches` takes.
        metrics: more functions `f(model, *batch)`, each a mean over the batch; such as `train.accuracy`.
        executor: see `wg.jit`.

    Returns:
        The means by name, weighted by the batches' sizes.

    Raises:
        ArgumentError: there is no example, or nothing to compute.

    Example:
        >>> train.evaluate(model, loss_fn, (x_test, y_test), {"accuracy": train.accuracy})
        {'loss': 0.08, 'accuracy': 0.98}
    """
    if loss_fn is None and not metrics:
        raise ArgumentError(f"evaluate needs a loss function or metrics{at_user_line()}")
    step, run = _compiled(loss_fn, tuple((metrics or {}).items()), executor)
    totals = Totals()
    with in_use(model):
        for batch in as_source(batches, batch_size=256):
            run(model, totals, arguments(batch))
    means = totals.means(step.names)
    if not means:
        raise ArgumentError(f"evaluate: the batches hold no example{at_user_line()}")
    return means


@functools.lru_cache(maxsize=64)  # the same functions are evaluated after every epoch
def _compiled(
    loss_fn: Loss | None, metrics: tuple[tuple[str, Loss], ...], executor: str | None
) -> tuple[EvaluationStep, Callable[..., Any]]:
    step = EvaluationStep(loss_fn, metrics)
    return step, jit(step, executor)


@functools.lru_cache(maxsize=8)
def _forward(executor: str | None) -> Callable[..., Any]:
    def forward(model: Any, *inputs: Any) -> Any:
        return model(*inputs)

    return jit(forward, executor)


def predict(model: Any, inputs: Any, batch_size: int = 256, executor: str | None = None) -> Any:
    """The model's outputs for many examples, computed in batches, the model being in its mode of use.

    Args:
        model: called as `model(x)`.
        inputs: an array with one entry for each example along the first axis; a tuple of them for several arguments; or
            a source of batches (`data.Batches` and the like), whose items are the arguments.
        batch_size: examples at a time, where `inputs` are arrays.
        executor: see `wg.jit`.

    Returns:
        The outputs, put together along the first axis, as Arrays in the structure that the model returns.

    Example:
        >>> labels = np.argmax(train.predict(model, images), axis=-1)
    """
    if isinstance(inputs, (Array, np.ndarray)) or hasattr(inputs, "detach"):
        inputs = (inputs,)
    run = _forward(executor)
    with in_use(model):
        outs = [run(model, *arguments(batch)) for batch in as_source(inputs, batch_size=batch_size)]
    if not outs:
        raise ArgumentError(f"predict: there is no example{at_user_line()}")
    columns = [tree.leaves(o) for o in outs]
    joined = [Array(np.concatenate([as_ndarray(a) for a in rows])) for rows in zip(*columns, strict=True)]
    return tree.unflatten(tree.flatten(outs[0])[1], joined)


@contextmanager
def in_use(model: Any) -> Iterator[None]:
    """The model in its mode of use (`model.eval()`), and as it was afterwards: modes and buffers too."""
    before = contents(model)
    if hasattr(model, "eval"):
        model.eval()
    try:
        yield
    finally:
        put_back(before)


def accuracy(model: Any, x: Any, y: Any) -> Array:
    """The share of examples whose largest output is the label: `mean(argmax(model(x), -1) == y)`.

    Example:
        >>> train.evaluate(model, None, (x, y), {"accuracy": train.accuracy})
    """
    return mean(astype(argmax(model(x), axis=-1) == y, float32))
