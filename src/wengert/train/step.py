"""The steps of training and of evaluation: each one compiled program, with sums that stay inside."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wengert import tree
from wengert.array.manipulation import concat, stack
from wengert.diff.derivatives import value_and_grad
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ir.types import float64
from wengert.module import Module
from wengert.ops.promote import as_array, convert
from wengert.optim.clip import clip_by_global_norm
from wengert.source import at_user_line
from wengert.train.look import Look

Loss = Callable[..., Any]
Watch = Callable[[Any, Any, Any], Any]


CAPACITY = 16  # numbers that an epoch sums up: examples, loss and metrics


class Totals(Module):
    """Sums over the examples of an epoch, kept as one array: nothing is read until somebody looks.

    Which number is which is known when a step is traced (`names` of that step), so that the structure never changes.
    """

    def __init__(self) -> None:
        self.sums = Array(np.zeros(CAPACITY, float64))

    def clear(self) -> None:
        self.sums = Array(np.zeros(CAPACITY, float64))

    def add(self, numbers: Mapping[str, Any], count: float) -> None:
        """Take in means over `count` examples."""
        if len(numbers) >= CAPACITY:
            raise ArgumentError(
                f"at most {CAPACITY - 1} numbers are summed up in training, the loss among them; got {list(numbers)}"
                + at_user_line()
            )
        row = [convert(as_array(v, f"the metric {n!r}"), float64) * count for n, v in numbers.items()]
        rest = Array(np.zeros(CAPACITY - 1 - len(row), float64))
        self.sums = self.sums + concat([stack([Array(np.array(count, float64)), *row]), rest])

    def means(self, names: Sequence[str]) -> dict[str, float]:
        """The means so far; nothing where there was no example."""
        count, *sums = np.asarray(self.sums).tolist()
        return {n: s / count for n, s in zip(names, sums, strict=False)} if count else {}


def loss_and_metrics(loss_fn: Loss) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """A loss function that returns the loss alone, or a pair with a dict of numbers, as one that returns the pair."""

    def with_metrics(model: Any, *batch: Any) -> tuple[Any, dict[str, Any]]:
        check_arguments(loss_fn, "the loss function", batch)
        out = loss_fn(model, *batch)
        loss, metrics = out if isinstance(out, tuple) and len(out) == 2 else (out, {})
        if not isinstance(metrics, Mapping):
            raise ArgumentError(
                f"the loss function returned a loss and a {type(metrics).__name__}; expected the loss, or the loss "
                f"and a dict of metrics{at_user_line()}"
            )
        return loss, dict(metrics)

    with_metrics.__name__ = getattr(loss_fn, "__name__", "loss_fn")
    return with_metrics


def check_arguments(f: Callable[..., Any], what: str, batch: Sequence[Any]) -> None:
    """Refuse a function that doesn't take a model and the parts of a batch."""
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # of some builtins nothing is known
        return
    try:
        signature.bind(None, *batch)
    except TypeError as reason:
        parts = ", ".join(_text(part) for part in batch)
        raise ArgumentError(
            f"{what} {getattr(f, '__name__', type(f).__name__)}{signature} is called with the model and the parts of a "
            f"batch, of which there {'is 1' if len(batch) == 1 else f'are {len(batch)}'} ({parts}): {reason}. Let it "
            f"take them as arguments, in this order{at_user_line()}"
        ) from None


def _text(part: Any) -> str:
    if isinstance(part, Mapping):
        return f"a dict of {', '.join(map(str, part))}"
    return repr(part.type) if isinstance(part, Array) else type(part).__name__


def examples_in(batch: Sequence[Any]) -> int:
    """How many examples a batch has: the first length of its first array."""
    for leaf in tree.leaves(tuple(batch)):
        if getattr(leaf, "shape", ()):
            return int(leaf.shape[0])
    return 1


class TrainingStep:
    """`step(model, optimizer, average, totals, batch)`: loss, gradient, clipping, update, averages and sums.

    Args:
        loss_fn: `loss_fn(model, *batch)`, a loss, or a loss and a dict of metrics.
        clip_norm: bound of the gradients' global norm; None for no clipping.
        clip: another function of the gradients, applied before that.
        watches: functions `watch(model, grads, loss)`, whose results are returned beside the loss.
        looks: functions of a `Look`, likewise; their results come behind those.
    """

    def __init__(
        self,
        loss_fn: Loss,
        clip_norm: float | None = None,
        clip: Callable[[Any], Any] | None = None,
        watches: Sequence[Watch] = (),
        looks: Sequence[Callable[[Look], Any]] = (),
    ):
        self.loss_fn = loss_and_metrics(loss_fn)
        self.derivative = value_and_grad(self.loss_fn, has_aux=True)
        self.clip_norm = clip_norm
        self.clip = clip
        self.watches = tuple(watches)
        self.looks = tuple(looks)
        self.names: tuple[str, ...] = ()  # of what is summed up; known when the step has been traced
        self.__name__ = "train_step"

    def __call__(self, model: Any, optimizer: Any, average: Any, totals: Any, batch: Any) -> Any:
        look = None
        if self.looks:
            look = Look(self.loss_fn, model, batch)
            (loss, metrics), grads = look.derivative()
        else:
            (loss, metrics), grads = self.derivative(model, *batch)
        seen = [watch(model, grads, loss) for watch in self.watches]
        if self.clip is not None:
            grads = self.clip(grads)
        if self.clip_norm is not None:
            grads, norm = clip_by_global_norm(grads, self.clip_norm)
            metrics = {**metrics, "grad_norm": norm}
        optimizer.update(model, grads)
        if average is not None:
            average.update(model)
        numbers = {"loss": loss, **metrics}
        self.names = tuple(numbers)
        totals.add(numbers, examples_in(batch))
        if look is not None:
            look.updated()
            seen += [f(look) for f in self.looks]
        return (loss, seen) if seen else loss


class EvaluationStep:
    """`step(model, totals, batch)`: loss and metrics of a batch, added to the sums."""

    def __init__(self, loss_fn: Loss | None, metrics: Sequence[tuple[str, Loss]]):
        self.loss_fn = None if loss_fn is None else loss_and_metrics(loss_fn)
        self.metrics = metrics
        self.names: tuple[str, ...] = ()
        self.__name__ = "evaluation_step"

    def __call__(self, model: Any, totals: Any, batch: Any) -> None:
        found: dict[str, Any] = {}
        if self.loss_fn is not None:
            loss, more = self.loss_fn(model, *batch)
            found = {"loss": loss, **more}
        for name, f in self.metrics:
            check_arguments(f, f"the metric {name!r},", batch)
            found[name] = f(model, *batch)
        self.names = tuple(found)
        totals.add(found, examples_in(batch))
