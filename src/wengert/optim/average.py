"""Averages of a model's parameters over training: exponential (EMA) and equal (SWA)."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import tree
from wengert.array.searching import where
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ir.types import float64, int64
from wengert.module import Module
from wengert.ops.promote import as_array, as_setting, convert
from wengert.optim.parameters import Slot, listed, parameters
from wengert.source import at_user_line


class Average(Module):
    """Base of the averages: `update(model)` takes the parameters in, `averaged(model)` is a model that has them.

    Args:
        model: whose parameters are averaged; no reference to it is kept. The first `update` takes them as they are.
    """

    def __init__(self, model: Any):
        self.model_name = type(model).__name__
        self.count = Array(np.zeros((), int64))
        self.average = {s.name: Array(np.array(s.value)) for s in parameters(model)}

    def update(self, model: Any) -> None:
        """Take in the model's parameters; usable inside `jit`.

        Raises:
            ArgumentError: a model with other parameters.
        """
        n = convert(self.count, float64, True)
        new = {}
        for slot in self._own(model):
            p = as_array(slot.value)
            old = self.average[slot.name]
            new[slot.name] = where(self.count == 0, p, self.mixed(old, p, n))
        self.average = new
        self.count = self.count + 1

    def mixed(self, old: Array, p: Array, n: Array) -> Array:
        """The new average from the old one, the parameter, and the number of updates so far."""
        raise NotImplementedError

    def averaged(self, model: Any) -> Any:
        """A new model: like `model`, with averaged parameters. Buffers are the model's."""
        by_leaf = {id(s.value): self.average[s.name] for s in self._own(model)}
        leaves, treedef = tree.flatten(model)
        return tree.unflatten(treedef, [by_leaf.get(id(leaf), leaf) for leaf in leaves])

    def copy_to(self, model: Any) -> None:
        """Assign the averages to the model's parameters, in place."""
        for slot in self._own(model):
            slot.assign(self.average[slot.name])

    def _own(self, model: Any) -> list[Slot]:
        mine = parameters(model)
        names = [s.name for s in mine]
        if names != list(self.average):
            raise ArgumentError(
                f"{type(self).__name__} averages a {self.model_name} with {listed(list(self.average))}; the "
                f"{type(model).__name__} given has {listed(names)}{at_user_line()}"
            )
        return mine


class EMA(Average):
    """The exponential moving average: `a = decay · a + (1 - decay) · p`; the first update sets a = p.

    Args:
        model: whose parameters are averaged.
        decay: how much of the average is kept, in [0, 1).

    Example:
        >>> average = optim.EMA(model, decay=0.999)
        >>> average.update(model)          # after each step
        >>> smooth = average.averaged(model)

    Source: Polyak and Juditsky 1992, *Acceleration of stochastic approximation by averaging*.
    """

    def __init__(self, model: Any, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ArgumentError(f"EMA: decay is {decay}; expected a number in [0, 1){at_user_line()}")
        super().__init__(model)
        self.decay = as_setting(decay)

    def mixed(self, old: Array, p: Array, n: Array) -> Array:
        return old + (1 - self.decay) * (p - old)


class SWA(Average):
    """The plain mean of the parameters at all updates: `a += (p - a)/(n + 1)`.

    Args:
        model: whose parameters are averaged; update once an epoch, say, in the last quarter of training.

    Example:
        >>> average = optim.SWA(model)

    Source: Izmailov et al. 2018, *Averaging weights leads to wider optima* (arXiv 1803.05407).
    """

    def mixed(self, old: Array, p: Array, n: Array) -> Array:
        return old + (p - old) / (n + 1)
