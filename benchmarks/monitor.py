"""What watching costs: training steps with `flow.Monitor` beside the same without, on the models of `train_steps.py`.

    python benchmarks/monitor.py                 # the table: MLP and ResNet
    python benchmarks/monitor.py --tiny          # small shapes, hardly any repetitions: for the tests
    python benchmarks/monitor.py transformer     # other rows

A step of a user's loop (`monitor.jit`, `monitor.value_and_grad`) is timed as a plain one, a light look and a thorough
look, in turns in one process, with everything that Python does for a record. A run with `every=n` makes one look in n
steps, so its cost per step follows by arithmetic; `--fit` measures whole runs of `fit` beside that.
Compiling the steps that look is extra, once: it stands in a column of its own.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
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


def fits(row: str, tiny: bool) -> dict[str, Any]:
    """A run of `fit` without a monitor, with one at every 50th step and with one at every step."""
    work = ROWS[row][0](tiny)
    steps = 10 if tiny else 200
    x, y = np.concatenate([work.x] * 2), np.concatenate([work.y] * 2)

    def make(every: int | None) -> Any:
        model, _ = work.network(work.params)
        optimizer = optim.SGD(model, learning_rate=1e-4)
        monitor = [] if every is None else [flow.Monitor(every, keep=100)]

        def run() -> None:
            train.fit(model, optimizer, loss_fn, (x, y), steps // 2, monitor, batch_size=len(work.x), progress=False)

        return run

    return {"fit": make(None), "fit, every=50": make(50), "fit, every=1": make(1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=["mlp", "resnet"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--budget", type=float, default=3.0, help="seconds for each contender")
    parser.add_argument("--fit", action="store_true", help="measure whole runs, too")
    args = parser.parse_args()
    print(machine(), end="\n\n")
    table = []
    for row in args.rows:
        calls, compiling = steps_of(row, args.tiny)
        found = best_in_turns(calls, budget=0.01 if args.tiny else args.budget)
        plain, light, thorough = (
            found["plain"],
            found["light"] / found["plain"] - 1,
            found["thorough"] / found["plain"] - 1,
        )
        table.append(
            [
                ROWS[row][1],
                duration(plain),
                f"{100 * light:.1f} %",
                f"{100 * thorough:.1f} %",
                f"{100 * thorough / 50:.2f} %",
                f"{100 * (light * 49 + thorough) / 50:.1f} %",
                duration(compiling),
            ]
        )
    head = ["step", "plain", "light look", "thorough look", "every=50", "every=1", "compiling both"]
    print_table(head, table)
    if args.fit:
        print()
        rows = []
        for row in args.rows:
            calls = fits(row, args.tiny)
            found = best_in_turns(calls, budget=0.01 if args.tiny else 2 * args.budget)
            base = found["fit"]
            rows.append(
                [ROWS[row][1], duration(base), *(f"{100 * (found[n] / base - 1):.2f} %" for n in list(calls)[1:])]
            )
        print_table(["run of `fit`, 200 steps", "plain", "every=50", "every=1"], rows)


if __name__ == "__main__":
    main()
