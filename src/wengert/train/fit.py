"""fit: the training loop for those who don't write one."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wengert.data.arrays import arguments
from wengert.data.streams import batches as as_source
from wengert.errors import ArgumentError, NonFiniteError, OutOfRangeError
from wengert.execute.jit import jit
from wengert.optim.accumulate import Accumulate
from wengert.optim.average import Average
from wengert.optim.optimizer import Optimizer
from wengert.source import at_user_line
from wengert.train.callbacks import Callback, EpochFunction
from wengert.train.checkpoint import Checkpoints
from wengert.train.evaluate import evaluate
from wengert.train.objective import checked_loss_fn
from wengert.train.progress import Progress
from wengert.train.replay import Replay
from wengert.train.step import Loss, Totals, TrainingStep

NEVER = 1 << 62


class History(list[dict[str, float]]):
    """The numbers of each epoch, oldest first; `history["loss"]` is one of them over time."""

    stopped: str | None = None  # why the training ended before its last epoch

    def __getitem__(self, key: Any) -> Any:
        return [epoch[key] for epoch in self] if isinstance(key, str) else super().__getitem__(key)


class Run:
    """A training run as its callbacks see it.

    Attributes:
        model, optimizer, loss_fn, batches: what `fit` was given.
        epoch, epochs: the number of the epoch under way, from 0, and how many there are to be.
        step: how many steps have been made, in all epochs.
        batch: the arguments that the last step's loss function got beside the model.
        loss: of the last step.
        metrics: the numbers of the epoch that has just ended.
        history: those of all epochs.
    """

    def __init__(self, model: Any, optimizer: Any, loss_fn: Loss, batches: Any, epochs: int):
        self.model, self.optimizer, self.loss_fn, self.batches = model, optimizer, loss_fn, batches
        self.epoch, self.epochs, self.step = 0, epochs, 0
        self.batch: tuple[Any, ...] = ()
        self.loss: Any = None
        self.metrics: dict[str, float] = {}
        self.history = History()
        self.stopping: str | None = None

    def stop(self, why: str = "a callback asked for it") -> None:
        """End the training after this step or epoch."""
        self.stopping = why


def fit(
    model: Any,
    optimizer: Any,
    loss_fn: Loss,
    batches: Any,
    epochs: int = 1,
    callbacks: Sequence[Any] = (),
    *,
    batch_size: int = 32,
    shuffle: Any = False,
    validation: Any = None,
    metrics: Mapping[str, Loss] | None = None,
    clip_norm: float | None = None,
    clip: Callable[[Any], Any] | None = None,
    accumulate: int = 1,
    average: Average | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoints | None = None,
    save_every: int | None = None,
    resume: bool = True,
    also: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    executor: str | None = None,
) -> History:
    """Train a model. Forward, backward, clipping and update are one compiled program; see `TrainingStep`.

    Args:
        model: a module, changed in place.
        optimizer: made for it.
        loss_fn: `loss_fn(model, *batch)` returns the loss, or a pair of the loss and a dict of metrics.
        batches: whatever `data.batches` takes: a tuple of arrays, a loader, a function that makes a generator, ….
        epochs: how often to go through the batches.
        callbacks: see `Callback`; a plain function is called with the run after each epoch.
        batch_size, shuffle: where `batches` are arrays.
        validation: batches to evaluate after each epoch; its numbers are called `val_…`.
        metrics: functions `f(model, *batch)` evaluated on the validation data, such as `train.accuracy`.
        clip_norm: bound of the gradients' global norm.
        clip: a function of the gradients, such as `lambda g: optim.clip_by_value(g, 0.5)`.
        accumulate: how many batches make one update.
        average: an `optim.EMA` or `optim.SWA`, updated at every step.
        checkpoint: a folder (or `Checkpoints`). A checkpoint is written after each epoch, and every `save_every` steps.
        save_every: steps between checkpoints within an epoch.
        resume: go on from the newest checkpoint that is whole, if there is one: bit for bit as without interruption.
        also: more things to save and restore, by name (schedulers, say).
        progress: whether to show a progress bar; None: if the error output is a terminal.
        executor: see `wg.jit`.

    Returns:
        The means of loss and metrics for each epoch.

    Raises:
        NonFiniteError: the loss became NaN or infinite. The message names the step of the program that made the first
            such number; the model is left as it was before the step of training that went wrong.
        OutOfRangeError: a label that is no class; the model is left as it was before that step.
        ArgumentError: an optimizer that can't be used here, or no batches.

    Example:
        >>> history = train.fit(model, optimizer, loss_fn, (x, y), epochs=5, validation=(x_test, y_test))
        >>> history["val_loss"]
    """
    if not hasattr(optimizer, "advance") and not isinstance(optimizer, Accumulate):
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(
                f"train.fit: the optimizer is a {type(optimizer).__name__}; expected one of wg.optim, and in this "
                f"order: train.fit(model, optimizer, loss_fn, batches){at_user_line()}"
            )
        raise ArgumentError(
            f"fit takes an optimizer that updates from gradients, got a {type(optimizer).__name__}; one that evaluates "
            "the loss itself (LBFGS) wants a loop of your own: optimizer.update(model, lambda m: evaluate(m, x, y)), "
            f"with evaluate = wg.jit(wg.value_and_grad(loss_fn)){at_user_line()}"
        )
    if accumulate != 1:
        optimizer = Accumulate(optimizer, accumulate)
    checked_loss_fn(loss_fn, "train.fit")
    run = Run(model, optimizer, loss_fn, as_source(batches, batch_size=batch_size, shuffle=shuffle), epochs)
    hung = [c if isinstance(c, Callback) else EpochFunction(c) for c in callbacks]
    loop = _Loop(run, hung, clip_norm, clip, average, executor)
    if checkpoint is not None:
        loop.checkpoints = checkpoint if isinstance(checkpoint, Checkpoints) else Checkpoints(checkpoint)
        loop.save_every, loop.also = save_every, dict(also or {})
        if resume:
            loop.resume()
    shown = Progress(progress)
    if hasattr(model, "train"):
        model.train()
    for c in hung:
        c.on_start(run)
    try:
        for epoch in range(run.epoch, epochs):
            run.epoch = epoch
            loop.epoch(shown)
            run.metrics = loop.means()
            if validation is not None:
                found = evaluate(model, loss_fn, validation, metrics, executor)
                run.metrics |= {f"val_{n}": v for n, v in found.items()}
            run.history.append(run.metrics)
            for c in hung:
                c.on_epoch(run)
            shown.end(f"epoch {run.epoch + 1}/{epochs}", loop.done, run.metrics)
            loop.totals.clear()
            if loop.checkpoints is not None:
                loop.save(run.epoch + 1)
            if run.stopping:
                shown.say(f"stopped: {run.stopping}")
                break
    finally:
        for c in hung:
            c.on_end(run)
    run.history.stopped = run.stopping
    return run.history


def compiled(
    loss_fn: Loss, clip_norm: float | None, clip: Any, executor: str | None, watches: Any = (), looks: Any = ()
) -> tuple[TrainingStep, Any]:
    """The step of training, and its compiled form."""
    step = TrainingStep(loss_fn, clip_norm, clip, watches, looks)
    return step, jit(step, executor)


remembered = functools.lru_cache(maxsize=16)(compiled)  # another `fit` of the same model compiles nothing


class _Loop:
    """One run's compiled steps, and what it does at each."""

    def __init__(
        self, run: Run, callbacks: Sequence[Callback], clip_norm: float | None, clip: Any, average: Any, executor: Any
    ):
        self.run = run
        self.callbacks = callbacks
        self.clip_norm, self.clip = clip_norm, clip
        self.average = average
        self.executor = executor
        self.totals = Totals()
        self.checkpoints: Checkpoints | None = None
        self.save_every: int | None = None
        self.also: dict[str, Any] = {}
        self.done = 0  # batches of this epoch
        self.programs: dict[tuple[Any, ...], tuple[TrainingStep, Any]] = {}
        self.specials: dict[tuple[Any, ...], tuple[Any, tuple[int, ...]]] = {}
        self.plain, self.step = self.program((), ())
        changed = (run.model, run.optimizer, self.totals, *([average] if average is not None else []))
        self.replay = Replay(run.batches, *changed)

    def program(self, watches: tuple[Any, ...], looks: tuple[Any, ...]) -> tuple[TrainingStep, Any]:
        """The step with what is watched in it: as an object that knows the names of its sums, and compiled."""
        if (watches, looks) not in self.programs:
            make = compiled if watches or looks else remembered
            common = self.run.loss_fn, self.clip_norm, self.clip, self.executor
            self.programs[watches, looks] = make(*common, watches, looks) if watches or looks else make(*common)
        return self.programs[watches, looks]

    def means(self) -> dict[str, float]:
        return self.totals.means(next(s.names for s, _ in self.programs.values() if s.names)) if self.done else {}

    def watched(self, due: tuple[int, ...], looks: tuple[Any, ...]) -> tuple[Any, tuple[int, ...]]:
        """The compiled step in which these callbacks see something, and whose each of the things seen is."""
        watching = tuple(i for i in due if self.callbacks[i].watch is not None)
        looking = tuple(i for i, look in zip(due, looks, strict=True) if look is not None)
        watches = tuple(self.callbacks[i].watch for i in watching)
        _, step = self.program(watches, tuple(look for look in looks if look is not None))
        return step, watching + looking

    def due(self, step: int) -> tuple[int, ...]:
        """Which callbacks look at this step."""
        return tuple([i for i, c in enumerate(self.callbacks) if c.every and step % c.every == 0])

    def next_due(self, step: int) -> int:
        """The next step after `step` at which anything has to be done beside it."""
        periods = [c.every for c in self.callbacks if c.every] + ([self.save_every] if self.save_every else [])
        return min(((step // n + 1) * n for n in periods), default=NEVER)

    def epoch(self, shown: Progress) -> None:
        run, totals, average, step = self.run, self.totals, self.average, self.step
        model, optimizer = run.model, run.optimizer
        source = run.batches
        self.replay.forget()  # what callbacks did after the last epoch is not in it
        note, finite, drawing = self.replay.note, math.isfinite, shown.shown
        self.done = source.state()["position"] if hasattr(source, "state") else 0
        total = length(source)
        shown.begin(self.done)
        due = self.next_due(run.step)
        for batch in source:
            run.batch = batch = arguments(batch)
            if run.step + 1 == due:
                self.special(batch)
                due = self.next_due(run.step)
            else:
                note(step, batch)
                try:
                    run.loss = step(model, optimizer, average, totals, batch)
                except OutOfRangeError:
                    self.replay.explain(self.call, self.plain)  # which raises it, the model being as it was before
                    raise
                run.step += 1
                self.done += 1
            if not finite(run.loss.data):
                self.blame()
            if drawing and shown.due():
                shown.draw(f"epoch {run.epoch + 1}/{run.epochs}", self.done, total, self.means())
            if run.stopping:
                return
        if not self.done:
            raise ArgumentError(f"fit: the batches hold nothing to train on{at_user_line()}")

    def special(self, batch: tuple[Any, ...]) -> None:
        """A step at which somebody looks, or a checkpoint is due."""
        run = self.run
        run.step += 1
        self.done += 1
        due = self.due(run.step)
        looks = tuple([self.callbacks[i].looking_at(run.step) for i in due])
        special = self.specials.get((due, looks))
        if special is None:
            special = self.specials[due, looks] = self.watched(due, looks)
        step, seeing = special
        self.replay.note(step, batch)
        try:
            out = self.call(step, batch)
        except OutOfRangeError:
            self.replay.explain(self.call, self.plain)
            raise
        run.loss, seen = out if seeing else (out, ())
        if math.isfinite(run.loss.data):
            by_callback = dict(zip(seeing, seen, strict=True))
            for i in due:
                self.callbacks[i].on_step(run, by_callback.get(i))
                if not self.callbacks[i].passive:
                    self.replay.forget()
            if self.checkpoints is not None and self.save_every and run.step % self.save_every == 0:
                self.save(run.epoch)

    # Checkpoints.

    def parts(self) -> dict[str, Any]:
        source = self.run.batches
        parts = {"totals": self.totals, "average": self.average, **self.also}
        if hasattr(source, "state"):
            parts["batches"] = source
        return {n: x for n, x in parts.items() if x is not None}

    def save(self, epoch: int) -> None:
        run = self.run
        plain = {
            "epoch": epoch,
            "step": run.step,
            "history": list(run.history),
            "callbacks": [c.state() for c in self.callbacks],
            "names": list(next((s.names for s, _ in self.programs.values() if s.names), ())),
            "stopping": run.stopping,
        }
        assert self.checkpoints is not None
        self.checkpoints.save(run.step, run.model, run.optimizer, **self.parts(), **self.kept(), fit=plain)

    def kept(self) -> dict[str, Any]:
        """The arrays of the callbacks, by the callback's number and their own name."""
        return {f"callback{i}/{n}": a for i, c in enumerate(self.callbacks) for n, a in c.arrays().items()}

    def resume(self) -> None:
        run = self.run
        assert self.checkpoints is not None
        loaded = self.checkpoints.load_latest(run.model, run.optimizer, **self.parts())
        if loaded is None:
            return
        plain = loaded["fit"]
        run.epoch, run.step, run.stopping = plain["epoch"], plain["step"], plain["stopping"]
        run.history.extend(plain["history"])
        if run.stopping:
            run.epoch = run.epochs
        for c, state in zip(self.callbacks, plain["callbacks"], strict=False):
            if state is not None:
                c.restore(state)
        for i, c in enumerate(self.callbacks):
            start = f"callback{i}/"
            c.restore_arrays({n.removeprefix(start): a for n, a in loaded.items() if n.startswith(start)})
        self.plain.names = tuple(plain["names"])

    # A loss that is no number.

    def call(self, program: Callable[..., Any], batch: tuple[Any, ...]) -> Any:
        return program(self.run.model, self.run.optimizer, self.average, self.totals, batch)

    def blame(self) -> None:
        """Run the last steps again, and say which operation made the first NaN or infinity."""
        run, loss = self.run, float(self.run.loss)
        why = self.replay.explain(self.call, self.plain)
        raise NonFiniteError(
            f"the loss became {loss} at step {run.step} (epoch {run.epoch + 1}, batch {self.done}). "
            + (
                f"The first number that was not finite: {why}"
                if why
                else "Run again one operation at a time, nothing went wrong: it is at the edge of what its type holds."
            )
        )


def length(source: Any) -> int | None:
    """How many batches an epoch has, where that is known."""
    try:
        return len(source)
    except TypeError:
        return None
