"""What a user can hang into `fit`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.errors import ArgumentError
from wengert.ir.array import Array, WeakArray, concrete
from wengert.optim.parameters import slots
from wengert.source import at_user_line
from wengert.train.checkpoint import KINDS

if TYPE_CHECKING:
    from wengert.train.fit import Run


class Callback:
    """Base of the callbacks: each method is called at its moment; all do nothing until a subclass says what.

    `every` is the number of steps between calls of `on_step`; None means never, and steps in between cost nothing. If a
    class states `watch(model, grads, loss)`, that is traced into the compiled step which runs at those steps alone (the
    model before its update, the gradients before clipping), and its result comes to `on_step` as arrays. `look` is the
    same with more to see: it takes a `Look` (every module's call with its cotangent, parameters before and after).
    A class that wants to see different things at different steps states `looking_at(step)`.

    `passive` says that `on_step` changes neither model nor optimizer, which saves keeping their state.

    `state()` and `restore(state)` carry what a checkpoint should keep, as plain data for JSON; `arrays` and
    `restore_arrays`, arrays by name.

    Example:
        >>> class Norms(train.Callback):
        ...     every = 50
        ...     def watch(self, model, grads, loss):
        ...         return optim.global_norm(grads)
        ...     def on_step(self, run, seen):
        ...         print(run.step, float(seen))
    """

    every: int | None = None
    watch: Any = None
    look: Any = None
    passive = False

    def looking_at(self, step: int) -> Any:
        """The function to trace into the step of this number: one of a `Look`, or None; the same object each time."""
        return self.look

    def on_start(self, run: Run) -> None:
        """Before the first step, and after a resume."""

    def on_step(self, run: Run, seen: Any) -> None:
        """After a step whose number is a multiple of `every`; `seen` is what `watch` returned, else None."""

    def on_epoch(self, run: Run) -> None:
        """After an epoch, when `run.metrics` holds its numbers, those of the validation too."""

    def on_end(self, run: Run) -> None:
        """After the last step, also when an error ended the run."""

    def state(self) -> Any:
        return None

    def restore(self, state: Any) -> None:
        pass

    def arrays(self) -> Mapping[str, Any]:
        return {}

    def restore_arrays(self, arrays: Mapping[str, Any]) -> None:
        pass


class EpochFunction(Callback):
    """A plain function `f(run)`, called after each epoch."""

    def __init__(self, f: Any):
        self.f = f

    def on_epoch(self, run: Run) -> None:
        self.f(run)


class EarlyStopping(Callback):
    """Ends the training when a number has not improved for more than `patience` epochs.

    Args:
        monitor: its name in `run.metrics`: "val_loss" with validation data, "loss" without.
        patience: epochs without improvement that are allowed.
        min_delta: what counts as improvement.
        mode: "min" for a number that should fall, "max" for one that should rise.
        restore_best: whether the model gets back the arrays of its best epoch at the end. They are kept in memory,
            and in checkpoints.

    Example:
        >>> train.fit(..., callbacks=[train.EarlyStopping("val_accuracy", patience=3, mode="max")])
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "min",
        restore_best: bool = True,
    ):
        if mode not in ("min", "max") or patience < 0:
            raise ArgumentError(
                f'EarlyStopping: mode is {mode!r} (expected "min" or "max"), patience {patience}{at_user_line()}'
            )
        self.monitor, self.patience, self.min_delta, self.sign = (
            monitor,
            patience,
            min_delta,
            1 if mode == "min" else -1,
        )
        self.restore_best = restore_best
        self.best = math.inf * self.sign
        self.best_epoch = 0
        self.bad = 0
        self._kept: dict[str, np.ndarray] = {}

    def on_epoch(self, run: Run) -> None:
        if self.monitor not in run.metrics:
            raise ArgumentError(
                f"EarlyStopping looks at {self.monitor!r}, but an epoch has {', '.join(run.metrics)}{at_user_line()}"
            )
        value = run.metrics[self.monitor]
        if self.sign * value < self.sign * self.best - self.min_delta:
            self.best, self.best_epoch, self.bad = value, run.epoch, 0
            if self.restore_best:
                self._kept = {s.name: np.array(concrete(s.value)) for s in slots(run.model, kinds=KINDS)}
        else:
            self.bad += 1
            if self.bad > self.patience:
                run.stop(f"{self.monitor} has not improved on {self.best:.6g} for {self.bad} epochs")

    def on_end(self, run: Run) -> None:
        for s in slots(run.model, kinds=KINDS) if self._kept else ():
            s.assign((WeakArray if isinstance(s.value, WeakArray) else Array)(self._kept[s.name]))

    def state(self) -> Any:
        return {"best": self.best, "best_epoch": self.best_epoch, "bad": self.bad}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch, self.bad = state["best"], state["best_epoch"], state["bad"]

    def arrays(self) -> Mapping[str, Any]:
        return self._kept

    def restore_arrays(self, arrays: Mapping[str, Any]) -> None:
        self._kept = {n: np.asarray(a) for n, a in arrays.items()}
