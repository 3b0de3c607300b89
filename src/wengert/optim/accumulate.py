"""Gradient accumulation: one update for several batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.array.creation import zeros_like
from wengert.array.searching import where
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ir.types import int64
from wengert.module import Module
from wengert.ops.promote import as_array
from wengert.optim.optimizer import Optimizer
from wengert.optim.parameters import matching_gradients
from wengert.source import at_user_line


class Accumulate(Module):
    """An optimizer that updates at every `every`-th call, by the mean of the gradients of those calls.

    Equal to one step on the `every` batches together, where the loss is a mean over equal batches. The update is
    computed at every call, and chosen at each `every`-th: compiled, that costs less than a branch, because it is done
    while the gradient is in registers, in place.

    Args:
        optimizer: what makes the update; made for the same model.
        every: how many calls make one update.

    Example:
        >>> optimizer = optim.Accumulate(optim.Adam(model), every=4)
        >>> optimizer.update(model, grads)
    """

    def __init__(self, optimizer: Optimizer, every: int):
        if not isinstance(optimizer, Optimizer) or every < 1:
            raise ArgumentError(
                f"Accumulate takes an optimizer and a number of calls of at least 1, got a {type(optimizer).__name__} "
                f"and {every!r}{at_user_line()}"
            )
        self.optimizer = optimizer
        self.every = every
        self.calls = Array(np.zeros((), int64))
        self.sums = [Array(np.zeros(shape, dtype)) for shape, dtype in optimizer.plan.types]

    def update(self, model: Any, grads: Any) -> None:
        """Add the gradients; at every `every`-th call update the model in place. Arguments as `Optimizer.update`."""
        o = self.optimizer
        mine = o.own(model)
        found = matching_gradients(model, mine, grads)
        given = [i for i, g in enumerate(found) if g is not None]
        values = [as_array(s.value) for s in mine]
        sums = [s if g is None else s + g for s, g in zip(self.sums, found, strict=True)]
        self.calls = self.calls + 1
        means = [sums[i] / self.every if i in given else None for i in range(len(sums))]
        new, state, shared = o.advance(values, means, o.state, o.shared, o.steps)
        due = self.calls % self.every == 0

        def chosen(new: Any, old: Any) -> Any:
            return new if new is old else where(due, new, old)

        self.sums = [where(due, zeros_like(s), s) for s in sums]
        o.state = {n: {k: chosen(v, o.state[n][k]) for k, v in s.items()} for n, s in state.items()}
        o.shared = [{k: chosen(v, h[k]) for k, v in s.items()} for s, h in zip(shared, o.shared, strict=True)]
        o.steps = where(due, o.steps + 1, o.steps)
        for slot, value, old in zip(mine, new, values, strict=True):
            slot.assign(chosen(value, old))

    @property
    def learning_rate(self) -> Array:
        """The learning rate of the optimizer inside."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.optimizer.learning_rate = value
