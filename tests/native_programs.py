"""Random programs under the native executor: every result equal to the reference evaluation of the same graph.

    python -m tests.native_programs --count 20000 --seed 200000 --workers 2
    python -m tests.native_programs --count 2000 --seed 1 --guard

A program (`programs.py`) is a few steps out of the families in `families`, `rearranging`, `sliding` and `counting`:
elementwise functions of one and two arguments with broadcasting; sums, means, products, extremes, variances and
log-sum-exps over any axes; running sums, products and extremes; reshapes, permutations, windows with steps and from
behind, joins, rotations; products of all transpositions, batched, of more axes, with vectors; convolutions in one and
two dimensions with strides, padding, dilation, groups, and their adjoints; pooling; gathers and scatters at fixed
positions and at those that the program computes; sorts, the largest k, ranks, searches; whole numbers, bits and truth
values; random bits; factorisations and Fourier transforms, which are NumPy's; loops that are counted, that ask, with
rows of results, forward and in reverse; branches; bodies mapped over rows; derivatives, tangents, custom rules,
checkpoints and compiled functions inside.

A seed also says what is done with it (`Case`): small axes, or axes with whole vectors and something left over; in
double or single precision; its value, gradient, tangent, second derivative, or those of a stack of inputs by `vmap`;
by one thread, by a team of two or three to which every kernel is dealt, or by a team whose threads take turns at
random; called as a compiled graph, as a jitted function from Python's side and from machine code's, or with arguments
that are given up; with equal arguments that are one array, or lie in memory from behind; with results on the way that
are returned too. The reference evaluates the graph as it was before the passes.
`--census` counts what the programs of these seeds consist of.

Programs run in a process of their own: one that brings it down is told like any other failure. With `--guard` all
memory lies between pages that may not be touched (`guarded.py`).
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import pytest

import wengert as wg
from tests.drawing import Program, drawn, values_of
from tests.families import larger
from tests.guarded import Guarded
from tests.programs import inputs_of
from tests.team_orders import Team, eager
from wengert.execute import native
from wengert.execute import numpy as reference
from wengert.execute.native.plan import flat
from wengert.execute.native.statements import Block, Evaluate
from wengert.ir.graph import Graph
from wengert.ir.primitive import registry
from wengert.ops.elementwise import Elementwise

TRANSFORMS = ("value", "gradient", "gradient", "gradient", "tangent", "second", "batched value", "batched gradient")
THREADS = ("one", "one", "team", "turns")
CALLS = ("graph", "graph", "jit", "given up")
GIVEN = ("arrays", "arrays", "equal ones are the same", "from behind")


class Case(NamedTuple):
    """What is done with a program."""

    program: Program
    dtype: str
    transform: str
    threads: str
    call: str
    given: str
    kept: tuple[int, ...]  # values that are returned as well, by number

    def __str__(self) -> str:
        how = ", ".join((self.dtype, self.transform, self.threads, self.call, self.given))
        return f"{how}, also v{self.kept}\n{self.program}"


NEIGHBOURS = 10  # ways to round that are tried where a program may be beside a jump


class BluntError(Exception):
    """The reference is not sure: other precision, or rounding to a neighbour, changes it, as beside a jump."""


def case(seed: int) -> Case:
    """The case of this seed."""
    pick = random.Random(seed).randrange
    with ExitStack() as stack:
        if pick(2):
            stack.enter_context(larger())
        program, values = drawn(pick)
    choices = (("float64", "float64", "float32"), TRANSFORMS, THREADS, CALLS, GIVEN)
    how = [c[pick(len(c))] for c in choices]
    return Case(program, *how, tuple(pick(len(values)) for _ in range(max(0, pick(5) - 1))))


def function(c: Case) -> Callable[..., Any]:
    """The case as a function of arrays."""

    def value(*a: Any) -> Any:
        values = values_of(c.program, a)
        return [*(values[k] for k in c.kept), values[-1]] if c.kept else values[-1]

    def gradient(*a: Any) -> Any:
        out, pullback = wg.vjp(value, *a)
        return out, pullback(wg.tree.map(wg.ones_like, out))

    def tangent(*a: Any) -> Any:
        return wg.jvp(value, a, tuple(wg.cos(x) for x in a))

    def second(*a: Any) -> Any:
        _, pullback = wg.vjp(lambda *a: gradient(*a)[1], *a)
        return pullback(tuple(wg.sin(x) for x in a))

    known = {"value": value, "gradient": gradient, "tangent": tangent, "second": second}
    name = c.transform.removeprefix("batched ")
    return known[name] if name == c.transform else wg.vmap(known[name])


def inputs(c: Case, seed: int) -> list[np.ndarray]:
    """The inputs of a case, as arrays in its precision."""
    xs = [np.asarray(x, c.dtype) for x in inputs_of(c.program, seed)]
    if c.transform.startswith("batched"):
        xs = [np.stack([x, -x / 2, x * np.asarray(0.9, x.dtype)]) for x in xs]
    if c.given == "from behind":
        return [np.flip(np.flip(x).copy()) for x in xs]
    if c.given == "equal ones are the same":
        first = {x.shape: x for x in reversed(xs)}
        return [first[x.shape] for x in xs]
    return xs


def compare(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray], exact: Sequence[np.ndarray] | None) -> None:
    """Equal to rounding. In single precision: as far from the truth as NumPy is, times some."""
    for k, (g, w) in enumerate(zip(got, wanted, strict=True)):
        assert g.shape == w.shape and g.dtype == w.dtype, f"{g.dtype} {g.shape}, expected {w.dtype} {w.shape}"
        finite = np.abs(w[np.isfinite(w)])
        scale = max(1.0, float(finite.max(initial=0.0)))
        if exact is None or w.dtype.kind != "f":
            close = np.allclose(g, w, rtol=1e-9, atol=1e-9 * scale, equal_nan=True)
        else:
            with np.errstate(invalid="ignore"):
                doubt = float(np.nanmax(np.abs(w - exact[k]), initial=0.0))
            if not doubt <= 1e-3 * scale:
                raise BluntError
            close = np.allclose(g, exact[k], rtol=0, atol=30 * doubt + 3e-5 * scale, equal_nan=True)
        if not close:
            raise AssertionError(f"result {k}:\n{g!r}\nexpected\n{w!r}")


def results(c: Case, graph: Graph, f: Callable[..., Any], xs: list[np.ndarray], guard: int | None) -> list[list[Any]]:
    """What several calls give: with `guard`, between guards, buffers at the end (1) or the beginning (0) of pages."""
    if guard is not None:
        guarded = Guarded(graph, bool(guard))
        return [guarded(xs), guarded(xs)]
    if c.call == "graph":
        compiled = native.compiled(graph)
        return [compiled(xs), compiled(xs)]
    given = tuple(range(len(xs))) if c.call == "given up" else ()
    jitted = wg.jit(f, executor="native", donate_argnums=given)
    calls = []
    for _ in range(3):
        copies = {id(x): wg.asarray(x.copy(order="K")) for x in xs}
        calls.append(jitted(*[copies[id(x)] for x in xs]))
    return [[np.asarray(v) for v in wg.tree.leaves(out)] for out in calls]


def check(c: Case, seed: int, guard: bool = False) -> None:
    """Run a case; raises AssertionError, or whatever broke."""
    f, xs = function(c), inputs(c, seed)
    graph = wg.jit(f).lower(*xs).graph
    wanted = reference.run(graph, xs)
    exact = None
    if c.dtype == "float32":
        doubles = [x.astype("float64") for x in xs]
        exact = reference.run(wg.jit(f).lower(*doubles).graph, doubles)
    with ExitStack() as stack:
        if c.threads != "one":
            stack.enter_context(eager(2 + seed % 2))
        if c.threads == "turns":
            stack.enter_context(Team(2 + seed % 2, seed))
        found = results(c, graph, f, xs, seed // 2 % 2 if guard else None)
    for again in found[1:]:
        same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found[0], again, strict=True))
        assert same, f"differs from run to run: {found[0]} {again}"
    try:
        compare(found[0], wanted, exact)
    except AssertionError:
        if jumps(graph, xs, wanted, exact):
            raise BluntError from None
        raise


def jumps(graph: Graph, xs: list[np.ndarray], wanted: list[np.ndarray], exact: list[np.ndarray] | None) -> bool:
    """Whether the reference's own result changes where its elementwise steps round to a neighbouring number."""
    rng = np.random.default_rng(0)

    def nudged(evaluate: Callable[..., Any]) -> Callable[..., Any]:
        def otherwise(*values: Any, **params: Any) -> Any:
            out = np.asarray(evaluate(*values, **params))
            if out.dtype.kind != "f":
                return out
            return np.nextafter(out, rng.choice([-np.inf, np.inf], out.shape).astype(out.dtype))

        return otherwise

    for _ in range(NEIGHBOURS):
        with pytest.MonkeyPatch.context() as patch:
            for p in registry.values():
                if isinstance(p, Elementwise):
                    patch.setattr(p, "evaluate", nudged(p.evaluate))
            beside = reference.run(graph, xs)
        try:
            compare(beside, wanted, exact)
        except AssertionError:
            return True
    return False


def census(seeds: Sequence[int]) -> dict[str, Counter[str]]:
    """How many programs of these seeds have each family, mode, primitive, statement, and step that is left to NumPy."""
    found = {what: Counter[str]() for what in ("family", "mode", "primitive", "statement", "NumPy")}
    for seed in seeds:
        c = case(seed)
        graph = wg.jit(function(c)).lower(*inputs(c, seed)).graph
        program = native.Build(native.simplify(graph), native.host_target()).program
        statements = [
            inner for s in flat(program.statements) for inner in (s, *(s.body if isinstance(s, Block) else ()))
        ]
        found["family"].update({s.family for s in c.program.steps})
        found["mode"].update(c[1:-1])
        found["primitive"].update({n.primitive.name for n in graph.nodes})
        found["statement"].update({type(s).__name__ for s in statements})
        found["NumPy"].update({s.node.primitive.name for s in statements if isinstance(s, Evaluate)})
    return found


# Many of them, each process going on until a program brings it down


def _work(first: int, last: int, guard: bool, at: Any, failed: Any, blunt: Any) -> None:
    os.environ["WENGERT_CACHE_DIR"] = "0"
    for seed in range(first, last):
        at.value = seed
        try:
            check(case(seed), seed, guard)
        except BluntError:
            with blunt.get_lock():
                blunt.value += 1
        except Exception as error:  # a program that breaks is what the search is for: say which, and go on
            with failed.get_lock():
                failed.value += 1
            print(f"\nseed {seed}: {type(error).__name__}: {error}\nfor {case(seed)}", flush=True)
    at.value = last


class Worker:
    """A process for seeds from `first` to `last`, and the next one when it comes to grief."""

    context = multiprocessing.get_context("spawn")

    def __init__(self, first: int, last: int, guard: bool, failed: Any, blunt: Any):
        self.first, self.last = first, last
        self.at = self.context.Value("q", first)
        self.given = guard, self.at, failed, blunt
        self.failed = failed
        self._start()

    def _start(self) -> None:
        self.process = self.context.Process(target=_work, args=(self.at.value, self.last, *self.given))
        self.process.start()

    def going(self) -> bool:
        """Wait a little; whether there is more to do."""
        self.process.join(2)
        if self.process.is_alive():
            return True
        if self.process.exitcode != 0:
            with self.failed.get_lock():
                self.failed.value += 1
            seed = self.at.value
            print(f"\nseed {seed}: the process ended with {self.process.exitcode}\nfor {case(seed)}", flush=True)
            self.at.value += 1
        if self.at.value < self.last:
            self._start()
        return self.at.value < self.last


def main(arguments: Sequence[str] | None = None) -> int:
    """Check `--count` programs from `--seed` on; prints progress, and each program that fails."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--guard", action="store_true", help="between pages that may not be touched")
    parser.add_argument("--census", action="store_true", help="count what the programs consist of, and run none")
    options = parser.parse_args(arguments)
    first, count = options.seed, options.count
    if options.census:
        for what, counts in census(range(first, first + count)).items():
            print(f"{what}: " + ", ".join(f"{name} {n}" for name, n in counts.most_common()))
        return 0
    failed, blunt = (Worker.context.Value("q", 0) for _ in range(2))
    start = time.perf_counter()
    bounds = [first + count * k // options.workers for k in range(options.workers + 1)]
    workers = [Worker(a, b, options.guard, failed, blunt) for a, b in itertools.pairwise(bounds)]
    left = workers
    while left:
        left = [w for w in left if w.going()]
        done = sum(w.at.value - w.first for w in workers)
        rate = done / (time.perf_counter() - start)
        text = f"{done} programs, {failed.value} failed, {blunt.value} too close to a jump, {rate:.1f} a second"
        print(f"\r{text}", end="", flush=True)
    print()
    return 1 if failed.value else 0


if __name__ == "__main__":
    sys.exit(main())
