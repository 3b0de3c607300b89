"""Random programs: typed lists of steps over the families of `families.py`, and the identities that each must keep.

`draw(pick)` makes a program from a source of choices: hypothesis (`programs()`), or a seeded generator (`from_seed`).
`run(program, inputs)` runs it with `wg` functions, under whatever transformation its inputs belong to.

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
from tests import sliding as sliding
from tests.checks import arrays, inner
from tests.families import Family, Pick, Proposal, Shape, Value, any_value, broadcast, limits, size
from tests.rearranging import FAMILIES  # with its own families in it
from wengert.ir.graph import evaluate
from wengert.ir.record import stage
from wengert.ir.verify import verify
from wengert.ops.promote import as_array

TAME = 4.0  # a value that may exceed this is scaled down


class Step(NamedTuple):
    family: str
    args: tuple[int, ...]
    params: tuple[Any, ...]


class Program(NamedTuple):
    """Values are numbered: first the inputs, then what each step makes. The last value is the result."""

    inputs: tuple[Shape, ...]
    steps: tuple[Step, ...]
    out: Value

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, indent: str = "") -> list[str]:
        n = len(self.inputs)
        text = [f"{indent}inputs {', '.join(f'v{i}: {s}' for i, s in enumerate(self.inputs))}"]
        for k, step in enumerate(self.steps, n):
            plain = [f"v{a}" for a in step.args] + [repr(p) for p in step.params if not isinstance(p, Program)]
            text.append(f"{indent}v{k} = {step.family}({', '.join(plain)})")
            for p in step.params:
                if isinstance(p, Program):
                    text += p.lines(indent + "    ")
        return text


def run(program: Program, inputs: Sequence[Any]) -> Any:
    """The result of the program for these inputs."""
    values = list(inputs)
    for step in program.steps:
        apply = FAMILIES[step.family].apply
        values.append(apply(*[values[a] for a in step.args], *step.params))
    return values[-1]


def draw(pick: Pick, inputs: Sequence[Value] = (), steps: int = 0, control: bool = True) -> Program:
    """A program of the choices that `pick` makes; zeros give the simplest one."""
    values = list(inputs) or [Value(_shape(pick), 1.5) for _ in range(1 + pick(3))]
    n = len(values)
    made: list[Step] = []
    names = [f for f in FAMILIES if control or f not in CONTROL]

    def add(name: str, p: Proposal) -> None:
        made.append(Step(name, p.args, p.params))
        values.append(p.value)

    wanted = steps or 1 + pick(8)
    for _ in range(4 * wanted):  # a family that finds nothing to work on proposes nothing
        if len(made) >= wanted:
            break
        name = names[pick(len(names))]
        proposal = FAMILIES[name].propose(values, pick)
        if proposal is not None:
            add(name, proposal)
            if values[-1].bound > TAME:
                add("scale", _scaled(len(values) - 1, values[-1]))
    if not made:
        add("unary", Proposal((0,), ("sin",), Value(values[0].shape, 1)))
    return Program(tuple(v.shape for v in values[:n]), tuple(made), values[-1])


def _shape(pick: Pick) -> Shape:
    shape = tuple(limits.extents[pick(len(limits.extents))] for _ in range(pick(4)))
    return shape if size(shape) <= limits.size else shape[:1]


def _scaled(i: int, v: Value) -> Proposal:
    return Proposal((i,), (float(f"{2 / v.bound:.2g}"),), Value(v.shape, 2.0))


FAMILIES["scale"] = Family(lambda values, pick: None, lambda x, by: x * by)


# Control flow: steps whose parameters are programs. A body ends in a value of the shape of its carry.


def _body(pick: Pick, inputs: Sequence[Value], carry: Shape) -> Program:
    """A program whose result is squashed into (-1, 1) and broadcast or summed to the shape of the carry."""
    body = draw(pick, inputs, steps=1 + pick(3), control=pick(8) == 7)  # seldom a loop within
    last = len(body.inputs) + len(body.steps) - 1
    return body._replace(steps=(*body.steps, Step("fit", (last, 0), ())), out=Value(carry, 1.0))


def _fit(x: Any, like: Any) -> Any:
    squashed = wg.tanh(x)
    if broadcast(squashed.shape, like.shape) != like.shape:
        squashed = wg.mean(squashed)
    return 0.5 * wg.broadcast_to(squashed, like.shape) + 0.25 * like


FAMILIES["fit"] = Family(lambda values, pick: None, _fit)


def _scan(values: Sequence[Value], pick: Pick) -> Proposal | None:
    xs = any_value(values, pick, 1)
    if xs is None:
        return None
    i = pick(len(values))
    carry, each = values[i], Value(values[xs].shape[1:], values[xs].bound)
    body = _body(pick, [Value(carry.shape, max(carry.bound, 1)), each], carry.shape)
    ys = bool(pick(2)) and size(carry.shape) * values[xs].shape[0] <= limits.size and len(carry.shape) < 3
    out = (values[xs].shape[0], *carry.shape) if ys else carry.shape
    return Proposal((i, xs), (body, bool(pick(2)), ys), Value(out, max(carry.bound, 1)))


def _run_scan(init: Any, xs: Any, body: Program, reverse: bool, ys: bool) -> Any:
    def turn(c: Any, x: Any) -> Any:
        new = run(body, [c, x])
        return new, wg.sin(new)

    last, rows = wg.scan(turn, init, xs, reverse=reverse)
    return rows if ys else last


def _while(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i, turns = pick(len(values)), pick(4)
    v = values[i]
    body = _body(pick, [Value(v.shape, max(v.bound, 1))], v.shape)
    kind = ("while", "counted", "until")[pick(3)]
    return Proposal((i,), (body, turns, kind), Value(v.shape, max(v.bound, 1)))


def _run_while(init: Any, body: Program, turns: int, kind: str) -> Any:
    if kind == "counted":
        return wg.fori_loop(0, turns, lambda k, c: run(body, [c]), init)

    def goes_on(s: Any) -> Any:
        return (s[0] < turns) & (wg.mean(s[1]) > -0.13) if kind == "until" else s[0] < turns

    return wg.while_loop(goes_on, lambda s: (s[0] + 1, run(body, [s[1]])), (0, init))[1]


def _cond(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i, j = pick(len(values)), pick(len(values))
    operands = [Value(v.shape, max(v.bound, 1)) for v in (values[i], values[j])]
    bodies = tuple(_body(pick, operands, values[i].shape) for _ in range(2))
    return Proposal((i, j), (*bodies, pick(3) - 1), Value(values[i].shape, max(values[i].bound, 1)))


def _run_cond(x: Any, y: Any, first: Program, second: Program, threshold: int) -> Any:
    return wg.cond(wg.sum(y) > threshold, lambda *a: run(first, a), lambda *a: run(second, a), x, y)


def _rows(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    j, row = pick(len(values)), Value(values[i].shape[1:], max(values[i].bound, 1))
    body = _body(pick, [row, Value(values[j].shape, max(values[j].bound, 1))], row.shape)
    return Proposal((i, j), (body,), Value(values[i].shape, row.bound))


def _run_rows(x: Any, y: Any, body: Program) -> Any:
    return wg.vmap(lambda row, whole: run(body, [row, whole]), in_axes=(0, None))(x, y)


CONTROL = {
    "scan": Family(_scan, _run_scan),
    "loop": Family(_while, _run_while),
    "cond": Family(_cond, _run_cond),
    "rows": Family(_rows, _run_rows),
}
FAMILIES.update(CONTROL)


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
