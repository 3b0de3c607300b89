"""What a gradient costs in each mode: reverse, forward and central differences, for 10 to 10,000,000 parameters.

    python benchmarks/modes.py                      # everything, some minutes, up to 2 GB
    python benchmarks/modes.py --largest 10000      # up to that many parameters
    python benchmarks/modes.py --tiny               # a few seconds: for the tests

A gradient of `n` parameters takes one reverse sweep, or `n` forward sweeps (a `jvp` along each axis), or `2n` runs of
the primal (central differences). The last two are run in full while that takes less than a budget, and beyond it
computed as n times the measured cost of a sweep; such times are marked `~`. Everything is float64, because
differences need it, and the same type makes the columns comparable. The gradients are checked against each other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from timing import amount, best_in_turns, duration, machine, peak_bytes, print_table, seconds, times

import wengert as wg

STEP = 1e-6  # of the central differences, whose error is of the order of step² and of eps/step
BAR = 4.0  # a reverse gradient is to stay under so many primals
SHORTEST = 1e-3  # where the primal takes at least so many seconds


class Program(NamedTuple):
    """A function of an array of parameters, and where to differentiate it."""

    f: Callable[[Any], Any]
    at: np.ndarray


def network(n: int) -> Program:
    """One tanh layer on 32 examples, by its weight."""
    columns = {10: 2, 1000: 25, 100_000: 250, 10_000_000: 2500}.get(n) or round(n**0.5)
    rng = np.random.default_rng(n)
    rows = n // columns
    x = wg.asarray(rng.standard_normal((32, rows)))
    return Program(lambda w: wg.sum(wg.tanh(x @ w)), rng.standard_normal((rows, columns)) / rows**0.5)


def logistic(n: int) -> Program:
    """An elementwise program: logistic loss, each parameter on an example of its own."""
    rng = np.random.default_rng(n)
    x = wg.asarray(rng.standard_normal(n))
    return Program(lambda w: wg.sum(wg.log(1 + wg.exp(-w * x))), rng.standard_normal(n))


PROGRAMS = {"network, sum(tanh(X @ W))": network, "logistic loss, sum(log(1 + exp(-w * x)))": logistic}


class Sweeps:
    """The three ways to a gradient of one program."""

    def __init__(self, program: Program):
        self.f, self.at = program
        self.here = wg.asarray(self.at)
        self.gradient = wg.grad(self.f)

    def primal(self) -> Any:
        return self.f(self.here)

    def reverse(self) -> Any:
        return self.gradient(self.here)

    def forward(self, k: int = 0) -> float:
        """The derivative by parameter `k`."""
        axis = np.zeros(self.at.shape)
        axis.flat[k] = 1.0
        return float(wg.jvp(self.f, (self.here,), (wg.asarray(axis),))[1])

    def central(self, k: int = 0) -> float:
        """The derivative by parameter `k`, by differences; moves it and puts it back, which copies nothing."""
        flat = self.at.reshape(-1)
        kept = flat[k]
        flat[k] = kept + STEP
        above = float(self.f(self.here))
        flat[k] = kept - STEP
        below = float(self.f(self.here))
        flat[k] = kept
        return (above - below) / (2 * STEP)

    def check(self) -> None:
        """Stop where the ways disagree at some of the parameters."""
        reverse = np.asarray(self.reverse()).reshape(-1)
        for k in {0, self.at.size // 3, self.at.size - 1}:
            # a difference of values of size |f| loses eps·|f|/step; ten times that is granted
            lost = 10 * 2.3e-16 * abs(float(self.primal())) / STEP
            if not np.isclose(reverse[k], self.forward(k), rtol=1e-9, atol=1e-12):
                sys.exit(f"reverse and forward mode differ at parameter {k}")
            if not np.isclose(reverse[k], self.central(k), rtol=1e-6, atol=1e-8 + lost):
                sys.exit(f"reverse mode and central differences differ at parameter {k}")


class Row(NamedTuple):
    """What was measured for one number of parameters, in seconds and bytes."""

    n: int
    primal: float
    reverse: float
    forward: float
    central: float
    forward_measured: bool
    central_measured: bool
    primal_peak: int
    reverse_peak: int
    forward_peak: int


def measure(program: Program, budget: float) -> Row:
    """Time the primal and a sweep of each mode in turns; run the n sweeps themselves where the budget allows."""
    sweeps, n = Sweeps(program), program.at.size
    sweeps.check()
    calls = {name: getattr(sweeps, name) for name in ("primal", "reverse", "forward", "central")}
    best = best_in_turns(calls, budget)
    whole, measured = {}, {}
    for name in ("forward", "central"):
        sweep = getattr(sweeps, name)
        whole[name], measured[name] = n * best[name], n * best[name] < budget
        if measured[name]:
            whole[name] = min(seconds(lambda sweep=sweep: [sweep(k) for k in range(n)]) for _ in range(3))
    peaks = [peak_bytes(calls[name]) for name in ("primal", "reverse", "forward")]
    return Row(n, best["primal"], best["reverse"], *whole.values(), *measured.values(), *peaks)


def cells(row: Row) -> list[str]:
    forward, central = ("" if m else "~ " for m in (row.forward_measured, row.central_measured))
    return [
        f"{row.n:,}",
        times(row.reverse / row.primal),
        times(row.forward / row.reverse),
        times(row.central / row.reverse),
        duration(row.primal),
        duration(row.reverse),
        forward + duration(row.forward),
        central + duration(row.central),
        amount(8 * row.n),
        amount(row.primal_peak),
        amount(row.reverse_peak),
        amount(row.forward_peak),
    ]


HEADER = (
    "n", "reverse / primal", "forward / reverse", "central / reverse", "primal", "reverse", "forward", "central",
    "parameters", "peak, primal", "peak, reverse", "peak, a forward sweep",
)  # fmt: skip


def report(rows: list[Row]) -> None:
    """Say whether the bar was held, and what the largest row makes of the saying about ten million."""
    long = [r for r in rows if r.primal >= SHORTEST]
    for row in long:
        if row.reverse >= BAR * row.primal:
            print(f"MISSED: at n = {row.n:,} reverse mode takes {times(row.reverse / row.primal)} the primal")
    if long:
        worst = max(r.reverse / r.primal for r in long)
        print(
            f"reverse / primal is at most {times(worst)} where the primal takes over {duration(SHORTEST)}; bar {BAR:g}×"
        )
    last = rows[-1]
    central, forward = last.central / last.reverse, last.forward / last.reverse
    print(f"at n = {last.n:,} reverse mode is {central:,.0f} times faster than central differences and {forward:,.0f}")
    one_central, one_forward = last.central / last.n / last.primal, last.forward / last.n / last.primal
    print(
        f"times faster than forward mode, because a sweep of those takes {times(one_central)} and {times(one_forward)}"
    )
    print(f"the primal, and reverse mode {times(last.reverse / last.primal)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=10_000_000, help="the largest number of parameters")
    parser.add_argument("--budget", type=float, default=3.0, help="seconds for each column of each row")
    parser.add_argument("--tiny", action="store_true", help="up to 1000 parameters and hardly any repetitions")
    options = parser.parse_args()
    if options.tiny:
        options.largest, options.budget = 1000, 0.01
    print(machine())
    print("float64; ~: n times a measured sweep; peak: arrays and objects made during the call, counted by tracemalloc")
    for title, make in PROGRAMS.items():
        print(f"\n{title}\n")
        rows = [measure(make(10**k), options.budget) for k in range(1, 8) if 10**k <= options.largest]
        print_table(HEADER, [cells(r) for r in rows])
        print()
        report(rows)


if __name__ == "__main__":
    main()
