"""A recipe: a model with everything that training it needs beside the data. Remedies change recipes, never in place."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from wengert import optim, tree
from wengert.data.arrays import arguments
from wengert.data.streams import batches as as_source
from wengert.errors import ArgumentError
from wengert.execute.jit import jit
from wengert.nn.module import Module
from wengert.optim.parameters import parameters
from wengert.source import at_user_line
from wengert.train.step import Totals, TrainingStep

BATCH = 32  # examples, where batches are given as arrays


class Curve(NamedTuple):
    """One short run of training: the loss before each update, and the model as it ended."""

    losses: np.ndarray
    model: Any

    @property
    def finite(self) -> bool:
        """Whether no loss was NaN or infinite."""
        return bool(np.isfinite(self.losses).all())

    def end(self, share: float = 0.2) -> float:
        """The mean loss over the last part of the run; infinite if it went wrong."""
        if not self.finite or not len(self.losses):
            return math.inf
        return float(self.losses[-max(1, int(len(self.losses) * share)) :].mean())


class Held(Module):
    """A plain tree of arrays as a module, so that optimizers can update it in place."""

    def __init__(self, held: Any):
        self.held = held


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Model, loss and training settings.

    Attributes:
        model: a module, or any tree of arrays.
        loss_fn: `loss_fn(model, *batch)`.
        optimizer: a class of `wg.optim`.
        learning_rate: for it.
        settings: its other settings, by name (`{"momentum": 0.9}`).
        schedule: of the learning rate, or None.
        clip_norm: bound of the gradients' global norm, or None.
        clip_value: bound of each number of the gradients, or None.
        l1, l2: weights of `Σ|w|` and `½Σw²` over matrices and kernels, added to the loss.
        left_out: names of parameters that the optimizer was told to leave as they are.

    Example:
        >>> recipe = flow.Recipe(model, loss_fn, optim.SGD, learning_rate=0.1)
        >>> calmer = recipe.but(learning_rate=0.01, clip_norm=1.0)
    """

    model: Any
    loss_fn: Callable[..., Any] | None = None
    optimizer: Callable[..., Any] = optim.Adam
    learning_rate: float = 1e-3
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    schedule: Any = None
    clip_norm: float | None = None
    clip_value: float | None = None
    l1: float = 0.0
    l2: float = 0.0
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: Any, loss_fn: Any = None, optimizer: Any = None, **changes: Any) -> Recipe:
        """The recipe of a model and its optimizer: an object made for the model, or a class; None for Adam."""
        if isinstance(model, Recipe):
            return dataclasses.replace(model, loss_fn=model.loss_fn or loss_fn, **changes)
        if optimizer is None:
            return cls(model, loss_fn, **changes)
        if isinstance(optimizer, type):
            return cls(model, loss_fn, optimizer, **changes)
        if not isinstance(optimizer, optim.Optimizer):
            theirs = " of PyTorch" if type(optimizer).__module__.startswith("torch") else ""
            raise ArgumentError(
                f"flow: optimizer is a {type(optimizer).__name__}{theirs}; expected an optimizer of wg.optim made for "
                f"the model, or its class{at_user_line()}"
            )
        rate, settings = float(optimizer.learning_rate), dict(optimizer.plan.groups[0])
        held = _left_out(model, optimizer.plan)
        return cls(model, loss_fn, type(optimizer), rate, settings, optimizer.schedule, left_out=held, **changes)

    def but(self, **changes: Any) -> Recipe:
        """The same with other settings."""
        return dataclasses.replace(self, **changes)

    def make_optimizer(self, model: Any) -> Any:
        """A new optimizer for `model` with these settings."""
        there = {s.name for s in parameters(model)}
        held = [name for name in self.left_out if name in there]
        chosen = {"frozen": held} if held else {}
        return self.optimizer(model, self.learning_rate, schedule=self.schedule, **self.settings, **chosen)

    def objective(self) -> Callable[..., Any]:
        """The loss with its penalties, as a function of the model and a batch."""
        if self.loss_fn is None:
            raise ArgumentError(f"flow.Recipe: there is no loss_fn to train with{at_user_line()}")
        held = not isinstance(self.model, Module)
        return _objective(self.loss_fn, self.l1, self.l2, held)

    def train(
        self, batches: Any, steps: int, seed: int = 0, each: Callable[[int, float], None] | None = None,
        executor: str | None = None,
    ) -> Curve:  # fmt: skip
        """Train a copy of the model for some steps; the given model stays as it is.

        Args:
            batches: what `data.batches` takes; a tuple of arrays is shuffled by the seed.
            steps: how many updates.
            seed: of the order of batches and of random numbers in the model.
            each: called with the number and loss of each step.

        The run ends early at a loss that isn't finite.
        """
        started = Run(self, batches, seed, executor)
        started.go(steps, each)
        return started.curve()

    def describe(self) -> str:
        """The settings in a line."""
        parts = [f"{self.optimizer.__name__}({self.learning_rate:.3g})"]
        parts += [f"clip_norm={self.clip_norm:.3g}"] if self.clip_norm else []
        parts += [f"clip_value={self.clip_value:.3g}"] if self.clip_value else []
        parts += [f"l1={self.l1:.3g}"] if self.l1 else []
        parts += [f"l2={self.l2:.3g}"] if self.l2 else []
        parts += [f"schedule={self.schedule!r}"] if self.schedule else []
        return ", ".join(parts)


def _left_out(model: Any, plan: Any) -> tuple[str, ...]:
    """The parameters of a model that an optimizer was made not to update."""
    inner = model if isinstance(model, Module) else Held(model)
    free = [s.name for s in parameters(inner) if not s.frozen]
    return tuple(n for n in free if n in plan.left_out) if len(free) > len(plan.left_out) else ()


class Run:
    """A training that can be gone on with: after `go(60)` and `go(40)` it stands where `go(100)` would have left it.

    Attributes:
        recipe: what is trained; its model stays as it is.
        losses: the loss before each update so far.
        model: as it stands now.
        failed: whether the last loss wasn't finite; nothing is trained any more then.
    """

    def __init__(self, recipe: Recipe, batches: Any, seed: int = 0, executor: str | None = None):
        self.recipe, self.losses, self.failed = recipe, list[float](), False
        self.model = copied(recipe.model, seed)
        self._inner = self.model if isinstance(self.model, Module) else Held(self.model)
        self._inner.train()
        self._stream = endless(batches, seed)
        self._held = all(s.frozen for s in parameters(self._inner))  # nothing will change
        self._totals = Totals()
        if not self._held:
            self._optimizer = recipe.make_optimizer(self._inner)
            self._step = _compiled(recipe.objective(), recipe.clip_norm, recipe.clip_value, executor)

    def go(self, steps: int, each: Callable[[int, float], None] | None = None) -> Run:
        """Train for so many steps more; the run ends early at a loss that isn't finite."""
        if self._held and not self.losses:  # what the loss is now says it all
            self.losses.append(float(np.asarray(self.recipe.objective()(self._inner, *next(self._stream)))))
            steps -= 1
        if self._held:
            self.losses += self.losses[:1] * steps
            return self
        for _ in range(0 if self.failed else steps):
            batch = next(self._stream, None)
            if batch is None:
                break
            loss = float(np.asarray(self._step(self._inner, self._optimizer, None, self._totals, batch)))
            self.losses.append(loss)
            if each is not None:
                each(len(self.losses) - 1, loss)
            if not math.isfinite(loss):
                self.failed = True
                break
        self.model = self._inner.held if isinstance(self._inner, Held) else self._inner
        return self

    def curve(self) -> Curve:
        """The run so far."""
        return Curve(np.array(self.losses), self.model)


def copied(model: Any, seed: int | None = None) -> Any:
    """A model with arrays of its own."""
    if isinstance(model, Module):
        return model.copy(fold=seed)
    leaves, structure = tree.flatten(model)
    return tree.unflatten(structure, [np.array(x) if isinstance(x, np.ndarray) else x for x in leaves])


def endless(batches: Any, seed: int = 0) -> Iterator[tuple[Any, ...]]:
    """The batches of one epoch after the other; arrays are shuffled by the seed."""
    source: Any
    if isinstance(batches, (tuple, list)) and len(batches) and all(map(_is_batch, batches)):
        source = list(batches)  # a list of batches: in an order of its own
        order = np.random.default_rng(seed)
        while True:
            for i in order.permutation(len(source)):
                yield tuple(source[i])
    arrays = isinstance(batches, tuple)
    source = as_source(
        batches, batch_size=BATCH, shuffle=seed if arrays else False, drop_last=arrays and _long(batches)
    )
    while True:
        found = False
        for batch in source:
            found = True
            yield arguments(batch)
        if not found:
            raise ArgumentError(f"flow: the batches hold nothing to train on{at_user_line()}")


def _is_batch(x: Any) -> bool:
    return isinstance(x, (tuple, list)) and bool(x) and all(hasattr(a, "shape") for a in x)


def _long(arrays: Any) -> bool:
    return len(arrays) > 0 and len(arrays[0]) >= BATCH


@functools.lru_cache(maxsize=64)
def _objective(loss_fn: Callable[..., Any], l1: float, l2: float, held: bool) -> Callable[..., Any]:
    if not l1 and not l2 and not held:
        return loss_fn

    def objective(model: Any, *batch: Any) -> Any:
        loss = loss_fn(model.held if held else model, *batch)
        loss = loss[0] if isinstance(loss, tuple) else loss
        weights = [s.value for s in parameters(model) if s.value.ndim >= 2] or [s.value for s in parameters(model)]
        if l1:
            loss = loss + l1 * sum(abs(w).sum() for w in weights)
        if l2:
            loss = loss + l2 / 2 * sum((w * w).sum() for w in weights)
        return loss

    return objective


@functools.lru_cache(maxsize=32)
def _compiled(
    objective: Callable[..., Any], clip_norm: float | None, clip_value: float | None, executor: str | None
) -> Any:
    bound = clip_value
    clip = None if bound is None else lambda grads: optim.clip_by_value(grads, bound)
    return jit(TrainingStep(objective, clip_norm, clip), executor)
