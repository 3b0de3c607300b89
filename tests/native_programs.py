"""Random programs under the native executor: values, gradients and batched gradients equal to the reference evaluation.

python -m tests.native_programs --count 20000 --seed 1
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import wengert as wg
from tests.programs import Program, from_seed, inputs_of, run
from wengert.execute import native
from wengert.execute import numpy as reference


def check(program: Program, seed: int) -> int:
    """Compare the executors on this program and its derivative; returns how many graphs were compared."""
    xs = inputs_of(program, seed)

    def value(*a: Any) -> Any:
        return run(program, a)

    def gradient(*a: Any) -> Any:
        out, pullback = wg.vjp(value, *a)
        return out, pullback(wg.ones_like(out))

    for f, what in ((value, "value"), (gradient, "gradient")):
        graph = wg.jit(f).lower(*xs).graph
        compiled = native.compiled(graph)
        first, again = compiled(xs), compiled(xs)
        for got, repeated, wanted in zip(first, again, reference.run(graph, xs), strict=True):
            assert np.array_equal(got, repeated, equal_nan=True), f"{what} differs from run to run for\n{program}"
            assert got.shape == wanted.shape and got.dtype == wanted.dtype
            finite = np.abs(wanted[np.isfinite(wanted)])
            scale = max(1.0, float(finite.max(initial=0.0)))
            if not np.allclose(got, wanted, rtol=1e-9, atol=1e-9 * scale, equal_nan=True):
                raise AssertionError(f"{what}:\n{got!r}\nexpected\n{wanted!r}\nfor\n{program}\n{graph}")
    return 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Check `--count` programs from `--seed` on; prints progress, and each program that fails."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    failed, start = 0, time.perf_counter()
    for done, seed in enumerate(range(options.seed, options.seed + options.count), 1):
        try:
            check(from_seed(seed), seed)
        except Exception as error:  # a program that breaks is what the search is for: say which, and go on
            failed += 1
            print(f"\nseed {seed}: {type(error).__name__}: {error}", flush=True)
        if done % 100 == 0 or done == options.count:
            rate = done / (time.perf_counter() - start)
            print(f"\r{done} programs, {failed} failed, {rate:.0f} a second", end="", flush=True)
    print()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
