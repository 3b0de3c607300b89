"""PyTorch's way to drive a schedule: an object made for an optimizer, whose `step()` is called after each epoch.

    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)
    for epoch in range(100):
        train(...)
        scheduler.step()

It assigns the optimizer's learning rate, which is an array: nothing is compiled anew. Passed to a jitted function as
an argument, a scheduler may be stepped there. Where the step count is enough, `optim.schedule` needs no call at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.array.elementwise import logical_and, maximum
from wengert.array.searching import where
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ir.types import float64, int64
from wengert.module import Module
from wengert.ops.promote import as_array, convert
from wengert.optim import schedule as forms
from wengert.optim.optimizer import Optimizer
from wengert.source import at_user_line


class LRScheduler(Module):
    """Drives the learning rates of an optimizer by a `Schedule`; `step()` goes on by one.

    Args:
        optimizer: whose learning rates are assigned; those it has now are the ones that the schedule starts from.
        schedule: a function of (rate, step), such as those in `wengert.optim.schedule`.
    """

    def __init__(self, optimizer: Any, schedule: forms.Schedule):
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(
                f"{type(self).__name__} drives an optimizer, got a {type(optimizer).__name__}{at_user_line()}"
            )
        if optimizer.schedule is not None:
            raise ArgumentError(
                f"{type(self).__name__}: the optimizer follows a schedule of its own, {optimizer.schedule!r}; "
                f"use one of the two{at_user_line()}"
            )
        self.optimizer = optimizer
        self.schedule = schedule
        self.base_lrs = list(optimizer.rates)
        self.last_epoch = Array(np.zeros((), int64))
        self._assign()

    def step(self) -> None:
        """Go on by one, and assign the optimizer's learning rates."""
        self.last_epoch = self.last_epoch + 1
        self._assign()

    def _assign(self) -> None:
        self.optimizer.rates = [self.schedule(rate, self.last_epoch) for rate in self.base_lrs]

    def get_last_lr(self) -> list[float]:
        """The learning rates of the groups."""
        return [float(r) for r in self.optimizer.rates]


def _driver(name: str, form: type[forms.Schedule]) -> type[LRScheduler]:
    def __init__(self: LRScheduler, optimizer: Any, *args: Any, **settings: Any) -> None:
        LRScheduler.__init__(self, optimizer, form(*args, **settings))

    text = f"`optim.schedule.{form.__name__}`, driven by `step()`. Arguments: the optimizer, then that schedule's.\n\n"
    return type(
        name, (LRScheduler,), {"__init__": __init__, "__doc__": text + (form.__doc__ or ""), "__module__": __name__}
    )


ConstantLR = _driver("ConstantLR", forms.Constant)
LinearLR = _driver("LinearLR", forms.Linear)
LinearWarmup = _driver("LinearWarmup", forms.LinearWarmup)
StepLR = _driver("StepLR", forms.Step)
MultiStepLR = _driver("MultiStepLR", forms.MultiStep)
ExponentialLR = _driver("ExponentialLR", forms.Exponential)
PolynomialLR = _driver("PolynomialLR", forms.Polynomial)
CosineAnnealingLR = _driver("CosineAnnealingLR", forms.CosineAnnealing)
CosineAnnealingWarmRestarts = _driver("CosineAnnealingWarmRestarts", forms.CosineAnnealingWarmRestarts)
LambdaLR = _driver("LambdaLR", forms.Lambda)


class OneCycleLR(LRScheduler):
    """`optim.schedule.OneCycle`, driven by `step()`: the learning rates only.

    The momentum is cycled where the schedule is the optimizer's own (`schedule=optim.schedule.OneCycle(…)`).
    """

    def __init__(self, optimizer: Any, max_lr: float, total_steps: int, **settings: Any):
        if settings.setdefault("cycle_momentum", False):
            raise ArgumentError(
                "OneCycleLR drives learning rates only; for the momentum give the optimizer "
                f"schedule=optim.schedule.OneCycle(…){at_user_line()}"
            )
        super().__init__(optimizer, forms.OneCycle(max_lr, total_steps, **settings))


class SequentialLR(LRScheduler):
    """Schedules one after the other (those of `optim.schedule`); see `optim.schedule.Sequential`."""

    def __init__(self, optimizer: Any, schedules: Sequence[forms.Schedule], milestones: Sequence[int]):
        super().__init__(optimizer, forms.Sequential(schedules, milestones))


class ChainedScheduler(LRScheduler):
    """Schedules one upon the other (those of `optim.schedule`); see `optim.schedule.Chained`."""

    def __init__(self, optimizer: Any, schedules: Sequence[forms.Schedule]):
        super().__init__(optimizer, forms.Chained(*schedules))


class ReduceLROnPlateau(Module):
    """Multiplies the learning rates by `factor` when a measure has not improved for more than `patience` steps.

    Args:
        optimizer: whose learning rates are assigned.
        mode: "min" for a measure that should fall (a loss), "max" for one that should rise.
        factor: below 1.
        patience: steps without improvement that are allowed.
        threshold, threshold_mode: what counts as improvement: by the share `threshold` ("rel") or by itself ("abs").
        cooldown: steps after a reduction in which nothing is counted.
        min_lr: the smallest rate.
        eps: a smaller change of the rate is left out.

    Example:
        >>> scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=5)
        >>> scheduler.step(validation_loss)

    Source: PyTorch's class of that name.
    """

    def __init__(
        self,
        optimizer: Any,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ):
        if not 0 < factor < 1 or mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ArgumentError(
                f"ReduceLROnPlateau: factor {factor} (expected between 0 and 1), mode {mode!r} (min or max), "
                f"threshold_mode {threshold_mode!r} (rel or abs){at_user_line()}"
            )
        self.optimizer = optimizer
        self.mode, self.factor, self.patience, self.cooldown = mode, factor, patience, cooldown
        self.threshold, self.threshold_mode, self.min_lr, self.eps = threshold, threshold_mode, min_lr, eps
        self.best = convert(as_array(float("inf") if mode == "min" else -float("inf")), float64)
        self.bad_steps = Array(np.zeros((), int64))
        self.cooling = Array(np.zeros((), int64))

    def step(self, metric: Any) -> None:
        """Take note of the measure, and reduce the rates if it is time to; usable inside `jit`."""
        value = convert(as_array(metric, "ReduceLROnPlateau"), float64)
        sign = 1 if self.mode == "min" else -1
        margin = sign * self.threshold
        bound = self.best * (1 - margin) if self.threshold_mode == "rel" else self.best - margin
        better = sign * value < sign * bound
        self.best = where(better, value, self.best)
        bad = where(better, 0, self.bad_steps + 1)
        cooling = self.cooling > 0
        self.cooling = where(cooling, self.cooling - 1, self.cooling)
        bad = where(cooling, 0, bad)
        reduce = bad > self.patience
        rates = []
        for rate in self.optimizer.rates:
            lower = maximum(rate * self.factor, self.min_lr)
            new = where(logical_and(reduce, rate - lower > self.eps), lower, rate)
            rates.append(convert(new, float64, True))
        self.optimizer.rates = rates
        self.cooling = where(reduce, self.cooldown, self.cooling)
        self.bad_steps = where(reduce, 0, bad)

    def get_last_lr(self) -> list[float]:
        """The learning rates of the groups."""
        return [float(r) for r in self.optimizer.rates]
