"""flow.Monitor: how a network does while it trains, computed inside the compiled step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import tree
from wengert.diff.derivatives import value_and_grad
from wengert.errors import ArgumentError
from wengert.execute.jit import jit
from wengert.flow import looking
from wengert.flow.ranges import ranges_picture
from wengert.flow.records import Packed, Record, unpacked, value_at
from wengert.flow.run import RunWriter
from wengert.flow.statistics import Sheet
from wengert.flow.tensorboard import TensorBoard
from wengert.ir.array import Array
from wengert.nn.module import Module
from wengert.nn.naming import entries
from wengert.source import at_user_line
from wengert.train.callbacks import Callback
from wengert.train.fit import Run
from wengert.train.look import Look
from wengert.train.step import loss_and_metrics

SELDOM = 1000  # steps between thorough looks, at least, unless asked for otherwise


class Monitor(Callback):
    """Watches a training: norms, ranges and histograms of parameters, activations and gradients, and what follows.

    Everything is computed inside the compiled step of those steps at which it looks; the others run as without it. A
    light look (sizes of parameters, gradients, updates and activations) is taken every `every` steps, a thorough one
    (ranges, histograms, ranks, shattering, noise, curvature) every `thorough`, and at the first look.

    Args:
        every: steps between looks.
        thorough: steps between thorough looks, a multiple of `every`; by default the first one from 1000.
        sample: how many numbers of one activation are looked at, at most: the first examples of the batch that hold so
            many. None: all of them.
        keep: how many records are kept in memory. When there are more, every other one of the older half goes.
        folder: a run folder to write (`flow.run`), which `wengert watch` shows and `flow.read_run` reads.
        tensorboard: a folder for TensorBoard's event files; needs the extra `tensorboard`.
        pace: seconds between records of a kind that are written there, at least; 0 for all of them.

    `monitor.records` is a list of dicts:

    - `kind` "step", `step`, `epoch`, `time` (seconds since the start), `thorough`, `loss`;
    - `whole`: `batch` (examples), `param_norm`, `grad_norm`, `update_norm`, `update_ratio`; from a thorough look also
      `loss_change` (of the same batch, by the step), `loss_promised` (`⟨g, Δ⟩`), `gain_ratio` (their quotient: 1 for a
      small step; for a quadratic loss 1/2 at the best one, 0 at one twice as long; negative where the loss rose),
      `curvature` (`2 (change - promised) / ‖Δ‖²`), `noise_trace`, `noise_square` and `noise_scale`, the batch size
      beyond which larger ones pay less (of linear layers on matrices, for losses that are means);
    - `parameters[name]`: `rms`, `norm`, `update_norm`, `update_ratio`, and `gradient` with the first two; thorough also
      `mean`, `std`, `min`, `max`, `zero` (fraction) and `histogram` (`low`, `high`, `counts`);
    - `activations[call]`: `module` and `class` (or function), `rms`, `norm`, `saturated` (fraction of numbers, for
      bounded activations), `dead` (fraction of units that are 0 for every example), `gradient`; thorough also the
      above, `dead` of layers with weights (units that get gradient 0), `rank` (effective, of at most `rank_most`) and
      `shattering`. Calls inside compiled loops and checkpoints are not seen.

    Example:
        >>> monitor = flow.Monitor(every=50)
        >>> train.fit(model, optimizer, loss_fn, (x, y), epochs=5, callbacks=[monitor])
        >>> steps, values = monitor.series("parameters/0.weight/update_ratio")

    In a loop of one's own, without `fit`:
        >>> def train_step(model, optimizer, x, y):
        ...     loss, grads = monitor.value_and_grad(loss_fn)(model, x, y)
        ...     optimizer.update(model, grads)
        ...     return loss
        >>> step = monitor.jit(train_step)  # in place of wg.jit
        >>> for x, y in batches:
        ...     loss = step(model, optimizer, x, y)
    """

    passive = True

    def __init__(
        self,
        every: int = 50,
        thorough: int | None = None,
        sample: int | None = 1 << 16,
        keep: int = 10_000,
        folder: str | os.PathLike[str] | None = None,
        tensorboard: str | os.PathLike[str] | None = None,
        pace: float = 1.0,
    ):
        if thorough is None:
            thorough = -(-SELDOM // max(every, 1)) * every
        if every < 1 or thorough < 1 or thorough % every or keep < 2 or (sample is not None and sample < 1):
            raise ArgumentError(
                f"Monitor: every is {every}, thorough {thorough}, keep {keep}, sample {sample}; expected positive "
                f"numbers, thorough a multiple of every{at_user_line()}"
            )
        self.every: int = every
        self.thorough = thorough
        self.sample = sample
        self.keep = keep
        self._packed: list[Packed] = []
        self._read: dict[int, Record] = {}  # by step
        self._layouts: dict[tuple[bool, int], Sheet] = {}
        self._start: float | None = None
        self._earlier = 0.0  # seconds, of a run that is resumed
        self._calls = 0
        self._last = 0  # number of the last step that was looked at
        self._folder, self._board_folder, self.pace = folder, tensorboard, pace
        self._writers: list[Any] = []
        self._written: dict[bool, float] = {}  # when, by whether the look was thorough
        self._unwritten: Packed | None = None
        self._look: Look | None = None
        self._looking = False
        self.started: Record | None = None  # what the model is

    # As a callback of `fit`.

    def looking_at(self, step: int) -> Callable[[Look], Array]:
        return self._thorough if self._is_thorough(step) else self._light

    def _is_thorough(self, step: int) -> bool:
        return step == self.every or step % self.thorough == 0

    def _light(self, look: Look) -> Array:
        return self._packing(looking.light(look, self._most()), False)

    def _thorough(self, look: Look) -> Array:
        return self._packing(looking.thorough(look, self._most()), True)

    def _most(self) -> int:
        return 1 << 62 if self.sample is None else self.sample

    def _packing(self, sheet: Sheet, thorough: bool) -> Array:
        row = sheet.pack()
        sheet.values = []
        self._layouts[thorough, row.size] = sheet
        return row

    def on_start(self, run: Run) -> None:
        self.begin(run.model, run.step)

    def on_step(self, run: Run, seen: Any) -> None:
        self.add(run.step, run.epoch, seen)

    def on_epoch(self, run: Run) -> None:
        about = {"step": run.step, "epoch": run.epoch, "time": self._seconds()}
        self._write({"kind": "epoch", **about, "metrics": run.metrics})

    def on_end(self, run: Run) -> None:
        self._last = run.step
        self.close(run.stopping or "done")

    def state(self) -> Any:
        return {"time": self._seconds()}

    def restore(self, state: Any) -> None:
        self._earlier = float(state["time"])

    # What is recorded.

    def begin(self, model: Any, step: int = 0) -> None:
        """A training of this model starts, or goes on from a step."""
        if self._start is None:
            self._start = time.perf_counter()
        self.started = described(model, self.every, self.thorough)
        if self._folder is not None:
            self._writers.append(RunWriter(self._folder, self.started, step))
        if self._board_folder is not None:
            self._writers.append(TensorBoard(self._board_folder))

    def note(self, text: str) -> None:
        """Put a remark among what is written."""
        self._write({"kind": "note", "step": self._last, "time": self._seconds(), "text": text})

    def close(self, reason: str = "done") -> None:
        """End what is written; `fit` does it by itself."""
        if self._unwritten is not None:
            self._write(unpacked(self._unwritten))
            self._unwritten = None
        self._write({"kind": "end", "step": self._last, "time": self._seconds(), "reason": reason})
        for writer in self._writers:
            writer.close()
        self._writers = []

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.close("done" if error is None else f"{kind.__name__}: {error}")

    def _write(self, record: Record) -> None:
        for writer in self._writers:
            writer.write(record)

    def _seconds(self) -> float:
        return self._earlier + (time.perf_counter() - self._start if self._start is not None else 0.0)

    def add(self, step: int, epoch: int, seen: Array) -> Packed:
        """Take in what a look returned."""
        row = np.asarray(seen)
        thorough = self._is_thorough(step)
        sheet = self._layouts[thorough, row.size]
        packed = Packed(step, epoch, self._seconds(), thorough, sheet.paths, sheet.labels, row)
        if len(self._packed) >= self.keep:
            half = len(self._packed) // 2
            self._packed[:half] = self._packed[1:half:2]
            self._read.clear()
        self._packed.append(packed)
        self._last = step
        if self._writers:
            if packed.time - self._written.get(thorough, -self.pace) >= self.pace:
                self._written[thorough] = packed.time
                self._write(unpacked(packed))
                self._unwritten = None
            else:
                self._unwritten = packed
        return packed

    @property
    def records(self) -> list[Record]:
        """All that is kept, oldest first."""
        for p in self._packed:
            if p.step not in self._read:
                self._read[p.step] = unpacked(p)
        return [self._read[p.step] for p in self._packed]

    def series(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        """One number over time, as steps and values: `series("whole/grad_norm")`, `series("parameters/0.weight/max")`.

        Raises:
            ArgumentError: no record has it.
        """
        found = [(r["step"], v) for r in self.records if (v := value_at(r, path)) is not None]
        if not found:
            raise ArgumentError(
                f"no record has {path!r}; records are made of {', '.join(sorted(some_paths(self.records)))}"
                + at_user_line()
            )
        steps, values = zip(*found, strict=True)
        return np.array(steps), np.array(values, float)

    def picture(self, what: str = "parameters") -> str:
        """Ranges over the training of all "parameters", "activations" or "gradients", as SVG; see `ranges_picture`."""
        return ranges_picture(self.records, what)

    # In a user's own loop.

    def value_and_grad(self, loss_fn: Callable[..., Any], has_aux: bool = False) -> Callable[..., Any]:
        """As `wg.value_and_grad(loss_fn)`; inside `jit` of this monitor, what it computes can be looked at."""
        plain = value_and_grad(loss_fn, has_aux=has_aux)

        def watched(model: Any, *batch: Any) -> Any:
            if not self._looking:
                return plain(model, *batch)
            f = loss_fn if has_aux else loss_and_metrics(loss_fn)
            self._look = look = Look(f, model, batch)
            (loss, aux), grads = look.derivative()
            return ((loss, aux), grads) if has_aux else (loss, grads)

        return watched

    def jit(self, train_step: Callable[..., Any], executor: str | None = None) -> Callable[..., Any]:
        """As `wg.jit(train_step)`, with a look at every call whose number is a multiple of `every`.

        The function takes the model as its first argument, computes loss and gradients by this monitor's
        `value_and_grad`, and updates the model in place.

        Raises:
            ArgumentError: the function did not call that.
        """

        def seeing(look_at: Callable[[Look], Array]) -> Callable[..., Any]:
            def step(*args: Any, **kwargs: Any) -> Any:
                self._look, self._looking = None, True
                try:
                    out = train_step(*args, **kwargs)
                finally:
                    self._looking = False
                look, self._look = self._look, None
                if look is None:
                    raise ArgumentError(
                        "Monitor.jit: the function calls no monitor.value_and_grad(loss_fn)(model, …), so there is "
                        f"nothing to look at{at_user_line()}"
                    )
                look.updated()
                return out, look_at(look)

            step.__name__ = getattr(train_step, "__name__", "train_step")
            return step

        plain = jit(train_step, executor)
        programs: dict[Callable[[Look], Array], Any] = {
            f: jit(seeing(f), executor) for f in (self._light, self._thorough)
        }

        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls += 1
            if self._calls % self.every:
                return plain(*args, **kwargs)
            if self._start is None:
                self.begin(args[0] if args else None)
            out, seen = programs[self.looking_at(self._calls)](*args, **kwargs)
            self.add(self._calls, 0, seen)
            return out

        return call


def described(model: Any, every: int, thorough: int) -> Record:
    """What a run folder says of a model."""
    record: Record = {"every": every, "thorough": thorough, "model": repr(model), "modules": [], "parameters": []}
    if isinstance(model, Module):
        record["modules"] = [{"name": n, "class": type(m).__name__} for n, m in model.named_modules()]
        record["parameters"] = [
            {
                "name": e.name,
                "shape": list(e.value.shape),
                "dtype": e.value.dtype.name,
                "size": int(np.prod(e.value.shape)),
                "module": e.name.rpartition(".")[0],
                "trained": e.trainable,
            }
            for e in entries(model)
            if not e.buffer
        ]
    else:
        record["parameters"] = [{"name": n} for n in tree.leaf_paths(model)]
    return record


def some_paths(records: list[Record]) -> set[str]:
    """What can be asked for, names of parameters and calls left open."""
    found: set[str] = set()

    def visit(x: Any, path: tuple[str, ...]) -> None:
        if isinstance(x, dict):
            for k, v in x.items():
                visit(v, (*path, "*" if len(path) == 1 and path[0] != "whole" else k))
        elif isinstance(x, (int, float)):
            found.add("/".join(path))

    for record in records[-1:]:
        visit(record, ())
    return found
