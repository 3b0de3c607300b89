"""Random programs: typed lists of steps over the families of `families.py`, and the identities that each must keep.

`drawing.draw(pick)` makes a program from a source of choices: hypothesis (`programs()`), or a seeded generator
(`from_seed`). `drawing.run(program, inputs)` runs it with `wg` functions, under whatever transformation its inputs
belong to.

    python -m tests.programs --count 1000000 --seed 1
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import wengert as wg
from tests import counting as counting  # with its families
from tests import lookalikes as lookalikes
from tests import loops as loops
from tests import sliding as sliding
from tests.checks import arrays, inner
from tests.drawing import Program, draw, run
from tests.rearranging import FAMILIES as FAMILIES  # with its own families in it
from wengert.ir.graph import evaluate
from wengert.ir.record import stage
from wengert.ir.verify import verify
from wengert.ops.promote import as_array

# Sources of choices


@st.composite
def programs(draw_choice: Any) -> tuple[Program, int]:
    """A hypothesis strategy: a program and the seed of its inputs. Shrinks towards few steps of the first families."""
    return draw(lambda n: draw_choice(st.integers(0, n - 1))), draw_choice(st.integers(0, 2**16))


def from_seed(seed: int) -> Program:
    """The program of this seed."""
    return draw(random.Random(seed).randrange)


def inputs_of(program: Program, seed: int) -> list[np.ndarray]:
    """Inputs in double precision, in the range that the bounds assume."""
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1.5, 1.5, s) for s in program.inputs]


# Identities


class Verdict(NamedTuple):
    """How sharp the finite differences of first and second order were: their own estimated errors."""

    first: float
    second: float


def difference(f: Any, xs: list[np.ndarray], vs: list[np.ndarray], step: float) -> tuple[list[np.ndarray], float]:
    """The derivative of `f` along `vs` by a five-point central difference, and an estimate of its error.

    The estimate is the distance to a difference twice as coarse; where a kink is nearby it is large.
    """

    def along(t: float) -> list[np.ndarray]:
        return arrays(f(*[x + t * v for x, v in zip(xs, vs, strict=True)]))

    slopes = [[(a - b) / (2 * t) for a, b in zip(along(t), along(-t), strict=True)] for t in (step / 2, step, 2 * step)]
    fine, coarse = [
        [(4 * a - b) / 3 for a, b in zip(narrow, wide, strict=True)] for narrow, wide in itertools.pairwise(slopes)
    ]
    return fine, max(float(np.max(np.abs(a - b), initial=0.0)) for a, b in zip(fine, coarse, strict=True))


def compare(got: Any, wanted: Any, tolerance: float, what: str, program: Program) -> None:
    for g, w in zip(arrays(got), arrays(wanted), strict=True):
        scale = max(1.0, float(np.max(np.abs(w), initial=0.0)))
        if g.shape != w.shape or g.dtype != w.dtype or not np.all(np.abs(g - w) <= tolerance * scale):
            raise AssertionError(f"{what}:\n{g!r}\nexpected\n{w!r}\nfor\n{program}")


def check(program: Program, seed: int) -> Verdict:
    """Every identity for this program at inputs of this seed."""
    xs = inputs_of(program, seed)
    rng = np.random.default_rng(seed + 1)
    vs, ws = ([rng.standard_normal(x.shape) for x in xs] for _ in range(2))

    def f(*a: Any) -> Any:
        return run(program, a)

    out, pushed = wg.jvp(f, xs, vs)
    assert out.shape == program.out.shape, f"shape {out.shape}, expected {program.out.shape} for\n{program}"
    compare(f(*map(as_array, xs)), out, 1e-13, "the value beside the tangent", program)
    u = rng.standard_normal(out.shape)

    def gradient(*a: Any) -> Any:
        return wg.vjp(f, *a)[1](u)

    pulled = arrays(gradient(*xs))
    left, right = inner(pulled, vs), inner([u], arrays(pushed))
    size_ = sum(float(np.sum(np.abs(c * v))) for c, v in zip(pulled, vs, strict=True))
    assert abs(left - right) <= 1e-10 * max(1.0, size_), f"⟨pull(u), v⟩ = {left}, ⟨u, push(v)⟩ = {right} for\n{program}"

    plain, first = difference(f_plain(f), xs, vs, 1e-3)
    compare(pushed, plain, 1e-7 + 10 * first, "push against finite difference", program)

    _, curved = wg.jvp(gradient, xs, vs)
    plain, second = difference(gradient, xs, vs, 1e-3)
    compare(curved, plain, 1e-7 + 10 * second, "push over pull against the difference of pull", program)
    bent = arrays(wg.vjp(gradient, *xs)[1](tuple(ws)))
    left, right = inner(bent, vs), inner(ws, arrays(curved))
    size_ = sum(float(np.sum(np.abs(c * v))) for c, v in zip(bent, vs, strict=True))
    assert abs(left - right) <= 1e-9 * max(1.0, size_), f"pull over pull {left}, push over pull {right} for\n{program}"

    for g, eager, what in ((f, [out], "the value"), (gradient, pulled, "the gradient")):
        staged = evaluate_staged(g, xs)
        compare(staged, eager, 1e-12, f"{what}, staged against eager", program)
    many = [np.stack([x, -0.5 * x, 0.9 * x]) for x in xs]
    for g, what in ((f, "the value"), (gradient, "the gradient")):
        each = [arrays(g(*map(as_array, row))) for row in zip(*many, strict=True)]
        looped = [np.stack(rows) for rows in zip(*each, strict=True)]
        compare(wg.vmap(g)(*many), looped, 1e-11, f"{what}, vmap against a loop", program)
    return Verdict(first, second)


def f_plain(f: Any) -> Any:
    return lambda *a: f(*map(as_array, a))


def evaluate_staged(f: Any, xs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of `f` by way of a recorded and verified graph."""

    def flat(*a: Any) -> list[Any]:
        out = f(*a)
        return list(out) if isinstance(out, (tuple, list)) else [out]

    graph, _ = stage(flat, [as_array(x).type for x in xs])
    with np.errstate(all="ignore"):  # as executors do
        return [np.asarray(o) for o in evaluate(verify(graph), xs)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Check `--count` programs from `--seed` on; prints progress, and each program that fails."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    failed = blunt = 0
    start = time.perf_counter()
    for done, seed in enumerate(range(options.seed, options.seed + options.count), 1):
        try:
            verdict = check(from_seed(seed), seed)
            blunt += max(verdict) > 1e-4
        except Exception as error:  # a program that breaks is what the search is for: say which, and go on
            failed += 1
            print(f"\nseed {seed}: {type(error).__name__}: {error}", flush=True)
        if done % 100 == 0 or done == options.count:
            rate = done / (time.perf_counter() - start)
            print(f"\r{done} programs, {failed} failed, {blunt} near a kink, {rate:.0f} a second", end="", flush=True)
    print()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
