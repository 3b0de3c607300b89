"""Schedules: the learning rate as a function of the step, computed inside the compiled step.

    optimizer = optim.AdamW(model, learning_rate=1e-3, schedule=optim.schedule.CosineAnnealing(T_max=1000))

A schedule is called with the rate that the optimizer was given and the number of updates made so far, and returns
the rate of the next one. `every=n` makes it count epochs of n steps instead. `Sequential` and `Chained` combine them.
The forms and names are those of `torch.optim.lr_scheduler`; `optim.lr_scheduler` has PyTorch's way to drive them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from wengert.array.elementwise import cos, floor, log, maximum, minimum
from wengert.array.searching import where
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ir.types import float64
from wengert.ops.promote import as_array, convert
from wengert.source import at_user_line


class Schedule:
    """Base: `schedule(rate, step)`; a subclass states `at(rate, t)`, t being a number of steps or epochs from 0.

    Args:
        every: how many steps count as one: the number of batches in an epoch, say.
    """

    def __init__(self, every: int = 1):
        if every < 1:
            raise ArgumentError(f"{type(self).__name__}: every is {every}; expected at least 1{at_user_line()}")
        self.every = every

    def __call__(self, rate: Any, step: Any) -> Array:
        return convert(as_array(self.at(as_array(rate), self.time(step))), float64, True)

    def time(self, step: Any) -> Array:
        t = convert(as_array(step), float64, True)
        return t if self.every == 1 else floor(t / self.every)

    def at(self, rate: Array, t: Array) -> Any:
        raise NotImplementedError

    def adjust(self, settings: dict[str, Any], step: Any) -> None:
        """Put other settings of the optimizer (its momentum) to their values of this step."""

    def _key(self) -> Any:
        return (type(self), tuple(sorted(vars(self).items(), key=lambda item: item[0])))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


class Constant(Schedule):
    """`rate · factor` for the first `total_iters`, then the rate itself."""

    def __init__(self, factor: float = 1 / 3, total_iters: int = 5, every: int = 1):
        super().__init__(every)
        self.factor, self.total_iters = factor, total_iters

    def at(self, rate: Array, t: Array) -> Any:
        return rate * where(t < self.total_iters, self.factor, 1.0)


class Linear(Schedule):
    """A factor that goes in equal steps from `start_factor` to `end_factor` over `total_iters`, and stays there."""

    def __init__(self, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5, every: int = 1):
        super().__init__(every)
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters

    def at(self, rate: Array, t: Array) -> Any:
        share = minimum(t, float(self.total_iters)) / self.total_iters
        return rate * (self.start_factor + (self.end_factor - self.start_factor) * share)


class LinearWarmup(Schedule):
    """`rate · (t + 1)/(steps + 1)` in the first `steps`; then the rate, or what `then` makes of it from there."""

    def __init__(self, steps: int, then: Schedule | None = None, every: int = 1):
        super().__init__(every)
        self.steps, self.then = steps, then

    def at(self, rate: Array, t: Array) -> Any:
        later = rate if self.then is None else self.then(rate, maximum(t - self.steps, 0.0))
        return where(t < self.steps, rate * (t + 1) / (self.steps + 1), later)


class Step(Schedule):
    """`rate · gamma^⌊t/step_size⌋`."""

    def __init__(self, step_size: int, gamma: float = 0.1, every: int = 1):
        super().__init__(every)
        self.step_size, self.gamma = step_size, gamma

    def at(self, rate: Array, t: Array) -> Any:
        return rate * self.gamma ** floor(t / self.step_size)


class MultiStep(Schedule):
    """`rate · gammaⁿ`, n being how many of the `milestones` are reached."""

    def __init__(self, milestones: Sequence[int], gamma: float = 0.1, every: int = 1):
        super().__init__(every)
        self.milestones, self.gamma = tuple(sorted(milestones)), gamma

    def at(self, rate: Array, t: Array) -> Any:
        for milestone in self.milestones:
            rate = rate * where(t >= milestone, self.gamma, 1.0)
        return rate


class Exponential(Schedule):
    """`rate · gammaᵗ`."""

    def __init__(self, gamma: float, every: int = 1):
        super().__init__(every)
        self.gamma = gamma

    def at(self, rate: Array, t: Array) -> Any:
        return rate * self.gamma**t


class Polynomial(Schedule):
    """`rate · (1 - t/total_iters)^power`, and 0 from there on."""

    def __init__(self, total_iters: int = 5, power: float = 1.0, every: int = 1):
        super().__init__(every)
        self.total_iters, self.power = total_iters, power

    def at(self, rate: Array, t: Array) -> Any:
        return rate * (1 - minimum(t, float(self.total_iters)) / self.total_iters) ** self.power


class CosineAnnealing(Schedule):
    """`eta_min + (rate - eta_min)(1 + cos(πt/T_max))/2`; it rises again after T_max.

    Source: Loshchilov and Hutter 2017, *SGDR: stochastic gradient descent with warm restarts* (arXiv 1608.03983).
    """

    def __init__(self, T_max: int, eta_min: float = 0.0, every: int = 1):
        super().__init__(every)
        self.T_max, self.eta_min = T_max, eta_min

    def at(self, rate: Array, t: Array) -> Any:
        return self.eta_min + (rate - self.eta_min) * (1 + cos(math.pi * t / self.T_max)) / 2


class CosineAnnealingWarmRestarts(Schedule):
    """Cosine annealing that starts anew after T_0 steps, then after T_mult times as many, and so on.

    Source: as for `CosineAnnealing`.
    """

    def __init__(self, T_0: int, T_mult: int = 1, eta_min: float = 0.0, every: int = 1):
        super().__init__(every)
        if T_0 < 1 or T_mult < 1:
            raise ArgumentError(
                f"CosineAnnealingWarmRestarts: T_0 is {T_0} and T_mult {T_mult}; expected integers of at least 1"
                + at_user_line()
            )
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min

    def at(self, rate: Array, t: Array) -> Any:
        if self.T_mult == 1:
            length: Any = float(self.T_0)
            start: Any = floor(t / self.T_0) * self.T_0
        else:
            m = self.T_mult
            # cycle n begins at T_0 (mⁿ - 1)/(m - 1); the small addend keeps an exact power from falling below itself
            n = floor(log(t / self.T_0 * (m - 1) + 1) / math.log(m) + 1e-9)
            start = self.T_0 * (m**n - 1) / (m - 1)
            length = self.T_0 * m**n
        return self.eta_min + (rate - self.eta_min) * (1 + cos(math.pi * (t - start) / length)) / 2


class OneCycle(Schedule):
    """Up from `max_lr/div_factor` to `max_lr` in the first `pct_start` of the steps, then far down.

    The rate that the optimizer was given does not count. Momentum (β₁ where there are betas) falls from `max_momentum`
    to `base_momentum` while the rate rises, and comes back, unless `cycle_momentum` is false.

    Args:
        max_lr: the highest rate.
        total_steps: length of the cycle.
        pct_start: share of the steps in which the rate rises.
        anneal_strategy: "cos" or "linear".
        div_factor, final_div_factor: first rate `max_lr/div_factor`; last that over `final_div_factor`.
        three_phase: down to the first rate as slowly as up, then to the last.

    Source: Smith and Topin 2017, *Super-convergence* (arXiv 1708.07120); PyTorch's form.
    """

    def __init__(
        self,
        max_lr: float,
        total_steps: int,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        every: int = 1,
    ):
        super().__init__(every)
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(
                f'OneCycle: anneal_strategy is {anneal_strategy!r}; expected "cos" or "linear"{at_user_line()}'
            )
        self.total_steps, self.strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        first, last = max_lr / div_factor, max_lr / div_factor / final_div_factor
        up = pct_start * total_steps - 1
        high, low = max_momentum, base_momentum
        if three_phase:
            ends: tuple[float, ...] = (up, 2 * pct_start * total_steps - 2, total_steps - 1)
            self.rates: tuple[float, ...] = (first, max_lr, first, last)
            self.momenta: tuple[float, ...] = (high, low, high, high)
        else:
            ends = (up, total_steps - 1)
            self.rates, self.momenta = (first, max_lr, last), (high, low, high)
        self.ends = tuple(float(e) for e in ends)

    def at(self, rate: Array, t: Array) -> Any:
        return self._between(self.rates, t)

    def adjust(self, settings: dict[str, Any], step: Any) -> None:
        if not self.cycle_momentum:
            return
        momentum = convert(as_array(self._between(self.momenta, self.time(step))), float64, True)
        if "betas" in settings:
            settings["betas"] = (momentum, *settings["betas"][1:])
        elif settings.get("momentum"):
            settings["momentum"] = momentum
        else:
            raise ArgumentError(
                "OneCycle cycles the momentum, but the optimizer has none; give it some, or cycle_momentum=False"
                + at_user_line()
            )

    def _between(self, levels: Sequence[float], t: Array) -> Any:
        begins = (0.0, *self.ends[:-1])
        value: Any = levels[-1]
        for i in reversed(range(len(self.ends))):
            share = (t - begins[i]) / (self.ends[i] - begins[i])
            low, high = levels[i + 1], levels[i]
            if self.strategy == "cos":
                here = low + (high - low) / 2 * (1 + cos(math.pi * share))
            else:
                here = high + (low - high) * share
            value = where(t <= self.ends[i], here, value)
        return value


class Sequential(Schedule):
    """One schedule after the other: `schedules[i]` from `milestones[i-1]` on, counted from there."""

    def __init__(self, schedules: Sequence[Schedule], milestones: Sequence[int], every: int = 1):
        super().__init__(every)
        if len(milestones) != len(schedules) - 1:
            raise ArgumentError(
                f"Sequential: {len(schedules)} schedules need {len(schedules) - 1} milestones between them, got "
                f"{len(milestones)}{at_user_line()}"
            )
        self.schedules, self.milestones = tuple(schedules), tuple(milestones)

    def at(self, rate: Array, t: Array) -> Any:
        value: Any = self.schedules[0](rate, t)
        for schedule, begin in zip(self.schedules[1:], self.milestones, strict=True):
            value = where(t >= begin, schedule(rate, maximum(t - begin, 0.0)), value)
        return value


class Chained(Schedule):
    """Schedules one upon the other: each is given the rate that the former made."""

    def __init__(self, *schedules: Schedule, every: int = 1):
        super().__init__(every)
        self.schedules = tuple(schedules)

    def at(self, rate: Array, t: Array) -> Any:
        for schedule in self.schedules:
            rate = schedule(rate, t)
        return rate


class Lambda(Schedule):
    """`rate · f(t)`, f being written with Wengert's functions (t is a number known only when the step runs)."""

    def __init__(self, lr_lambda: Callable[[Array], Any], every: int = 1):
        super().__init__(every)
        self.lr_lambda = lr_lambda

    def at(self, rate: Array, t: Array) -> Any:
        return rate * self.lr_lambda(t)
