"""Trainings that are killed at random moments and resumed, compared bit for bit with one that was left alone.

    python -m tests.kill_training --count 200 --seed 1

Each training runs in a forked process. The parent kills it (SIGKILL) after a random time, looks whether the newest
whole checkpoint holds all but the steps since the last save, and starts it again in the same folder, until it comes to
its end; then the final arrays must be those of the training that nobody disturbed.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import wengert as wg
from wengert import data, optim, train
from wengert.module import Module

EPOCHS, SAVE_EVERY = 6, 4


class Net(Module):
    """Has everything that must survive: parameters, a buffer, a random key that each step uses up."""

    _buffers = frozenset({"mean"})

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        self.w = wg.asarray(draw.normal(size=(6, 32)).astype(np.float32))
        self.v = wg.asarray(draw.normal(size=(32, 1)).astype(np.float32) / 8)
        self.mean = wg.zeros(6)
        self.key = wg.random.key(1)

    def __call__(self, x: Any) -> Any:
        self.mean = 0.9 * self.mean + 0.1 * wg.mean(wg.asarray(x), axis=0)
        self.key, mine = wg.random.split(self.key)
        keep = wg.random.bernoulli(mine, 0.8, (32,))
        return wg.tanh((x - wg.stop_gradient(self.mean)) @ self.w) * keep @ self.v


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return wg.mean((model(x) - y) ** 2)


def training(
    folder: Path, shared: Any = None, executor: str = "numpy"
) -> tuple[dict[str, np.ndarray], list[dict[str, float]]]:
    """Train to the end, from wherever the folder's checkpoints are; returns the final arrays and the history."""
    draw = np.random.default_rng(5)
    x = draw.normal(size=(200, 6)).astype(np.float32)
    y = np.sin(x[:, :1]) * x[:, 1:2]
    model = Net()
    optimizer = optim.AdamW(model, lr=1e-2, schedule=optim.schedule.CosineAnnealing(100))
    average = optim.EMA(model, 0.9)
    plateau = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)

    class Report(train.Callback):
        every = 1

        def on_step(self, run: Any, seen: Any) -> None:
            shared[0] = run.step

    class Saved(train.Checkpoints):
        def save(self, step: int, *args: Any, **more: Any) -> Path:
            path = super().save(step, *args, **more)
            if shared is not None:
                shared[1] = step
            return path

    history = train.fit(
        model, optimizer, loss_fn, data.prefetch(data.Batches(x, y, batch_size=16, shuffle=3)), EPOCHS,
        callbacks=[lambda run: plateau.step(run.metrics["loss"]), *([Report()] if shared is not None else [])],
        checkpoint=Saved(folder, keep=2), save_every=SAVE_EVERY, average=average, also={"plateau": plateau},
        validation=(x[:50], y[:50]), executor=executor,
    )  # fmt: skip
    parts = {"model": model, "optimizer": optimizer, "average": average, "plateau": plateau}
    return {s.name: np.asarray(s.value) for s in train.checkpoint.found(parts)}, list(history)


def child(folder: Path, shared: Any, executor: str) -> int:
    """Fork a training; returns its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            training(folder, shared, executor)
            os._exit(0)
        except BaseException as error:
            print(f"the training failed: {error!r}", file=sys.stderr)
            os._exit(1)
    return pid


def main(count: int, seed: int, executor: str = "numpy") -> dict[str, int]:
    """Kill `count` trainings; returns what happened, or raises AssertionError."""
    chance = random.Random(seed)
    block = mmap.mmap(-1, 16)
    shared = np.frombuffer(block, np.int64)
    totals = {"kills": 0, "trainings": 0, "lost at most": 0, "torn files": 0}
    with tempfile.TemporaryDirectory() as base:
        start = time.perf_counter()
        want, history = training(Path(base) / "whole", executor=executor)
        whole = time.perf_counter() - start
        while totals["kills"] < count:
            folder = Path(base) / f"run{totals['trainings']}"
            finished = False
            while not finished:
                shared[:] = 0
                pid = child(folder, shared, executor)
                if totals["kills"] < count:
                    time.sleep(chance.uniform(0, 0.6 * whole))
                    done, status = os.waitpid(pid, os.WNOHANG)
                    if not done:
                        os.kill(pid, signal.SIGKILL)
                        _, status = os.waitpid(pid, 0)
                        totals["kills"] += 1
                else:
                    _, status = os.waitpid(pid, 0)
                assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "a training failed"
                finished = os.WIFEXITED(status)
                totals["torn files"] += len(list(folder.glob(".*.tmp")))
                if shared[1]:
                    newest = train.Checkpoints(folder).latest()
                    assert newest is not None
                    kept = int(newest.stem.removeprefix("step-"))
                    assert kept >= shared[1], "a checkpoint that was written is lost"
                    lost = int(shared[0]) - kept
                    assert lost <= SAVE_EVERY, f"{lost} steps are lost"
                    totals["lost at most"] = max(totals["lost at most"], lost)
            totals["trainings"] += 1
            got, its_history = training(folder, executor=executor)  # nothing is left to do: it only loads
            assert its_history == history, "the numbers of the epochs differ"
            for name, value in want.items():
                assert value.dtype == got[name].dtype and value.tobytes() == got[name].tobytes(), f"{name} differs"
    return totals


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--executor", default="numpy")
    options = parser.parse_args()
    print(main(options.count, options.seed, options.executor))
