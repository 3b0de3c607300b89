"""What watching costs: training steps with `flow.Monitor` beside the same without, on the models of `train_steps.py`.

    python benchmarks/monitor.py                 # the table: MLP and ResNet
    python benchmarks/monitor.py --tiny          # small shapes, hardly any repetitions: for the tests
    python benchmarks/monitor.py transformer     # other rows

A step of a user's loop (`monitor.jit`, `monitor.value_and_grad`) is timed as a plain one, a light look and a thorough
look, in turns in one process, with everything that Python does for a record. A run with `every=n` makes one look in n
steps, so its cost per step follows by arithmetic ("every=50", "every=1"); beside it stands what epochs of `fit` took.
Compiling the steps that look is extra, once: it stands in a column of its own.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from typing import Any

from networks import loss_fn
from timing import best_in_turns, duration, machine, print_table
from train_steps import ROWS

import wengert as wg
from wengert import flow, optim, train


def steps_of(row: str, tiny: bool) -> tuple[dict[str, Any], float]:
    """A plain step, one with a light look and one with a thorough one; and the seconds it took to compile these two."""
    work = ROWS[row][0](tiny)
    x, y = wg.asarray(work.x), wg.asarray(work.y)

    def make(every: int | None, thorough: int | None) -> Any:
        model, _ = work.network(work.params)
        optimizer = optim.SGD(model, learning_rate=1e-4)
        if every is None:

            def plain(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
                loss, grads = wg.value_and_grad(loss_fn)(model, x, y)
                optimizer.update(model, grads)
                return loss

            step = wg.jit(plain)
        else:
            monitor = flow.Monitor(every, thorough, keep=100)

            def watched(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
                loss, grads = monitor.value_and_grad(loss_fn)(model, x, y)
                optimizer.update(model, grads)
                return loss

            step = monitor.jit(watched)
        return lambda: step(model, optimizer, x, y)

    calls = {"plain": make(None, None), "light": make(1, 1 << 40), "thorough": make(1, 1)}
    calls["plain"]()
    start = time.perf_counter()
    calls["light"]()
    calls["thorough"]()
    return calls, time.perf_counter() - start


class Clock(train.Callback):
    """When epochs end."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_epoch(self, run: train.Run) -> None:
        self.times.append(time.perf_counter())


def epochs_of(row: str, tiny: bool, rounds: int) -> dict[str, float]:
    """Seconds of an epoch of 400 steps (of small ones) in `fit`, the least of several: plain and watched."""
    work = ROWS[row][0](tiny)
    steps = 400 if row in ("mlp", "tiny") or tiny else 50
    batches = [(wg.asarray(work.x), wg.asarray(work.y))] * steps
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, every in (("plain", None), ("every=50", 50), ("every=1", 1)):
            model, _ = work.network(work.params)
            clock = Clock()
            callbacks = [clock] if every is None else [clock, flow.Monitor(every)]
            optimizer = optim.SGD(model, learning_rate=1e-4)
            train.fit(model, optimizer, loss_fn, batches, 2 if tiny else 4, callbacks, progress=False)
            took = min(b - a for a, b in pairwise(clock.times))  # the first epoch, which compiles, is before that
            best[name] = min(took, best.get(name, took))
    return best


def cost(every: int, light: float, thorough: float) -> float:
    """Of a step, on average, in a run with `Monitor(every)`."""
    period = flow.Monitor(every).thorough
    return ((period // every - 1) * light + thorough) / period


def percent(x: float) -> str:
    return f"{100 * x:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=["mlp", "resnet"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--budget", type=float, default=3.0, help="seconds for each contender")
    parser.add_argument("--rounds", type=int, default=3, help="runs of `fit` for each contender")
    args = parser.parse_args()
    print(machine(), end="\n\n")
    table = []
    for row in args.rows:
        calls, compiling = steps_of(row, args.tiny)
        found = best_in_turns(calls, budget=0.01 if args.tiny else args.budget)
        plain = found["plain"]
        light, thorough = found["light"] / plain - 1, found["thorough"] / plain - 1
        by_fit = epochs_of(row, args.tiny, 1 if args.tiny else args.rounds)
        measured = [by_fit[n] / by_fit["plain"] - 1 for n in ("every=50", "every=1")]
        shares = [light, thorough, cost(50, light, thorough), cost(1, light, thorough), *measured]
        table.append([ROWS[row][1], duration(plain), *map(percent, shares), duration(compiling)])
    looks = ["light look", "thorough look"]
    head = ["step", "plain", *looks, "every=50", "every=1", "every=50, in fit", "every=1, in fit", "compiling both"]
    print_table(head, table)


if __name__ == "__main__":
    main()
