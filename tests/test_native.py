"""The native executor against the reference: random programs, every kind of statement, and life around a call."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.guarded import Place
from tests.native_programs import CALLS, GIVEN, THREADS, TRANSFORMS, BluntError, case, census, check
from tests.programs import FAMILIES
from tests.team_orders import four_at_once
from wengert.execute import native
from wengert.execute import numpy as reference
from wengert.execute.native.statements import (
    Block,
    Branch,
    Convolution,
    Evaluate,
    Loop,
    Nest,
    Product,
    Reduction,
    Scatter,
)
from wengert.execute.native.views import Buffer, dense

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
rng = np.random.default_rng(0)
A = rng.normal(size=(7, 37)).astype(np.float32)
B = rng.normal(size=37).astype(np.float32)


@pytest.mark.parametrize("block", range(10))
def test_random_programs(block: int) -> None:
    for seed in range(10_000 + 30 * block, 10_030 + 30 * block):
        try:
            check(case(seed), seed)
        except BluntError:
            continue


@pytest.mark.parametrize("block", range(4))
def test_random_programs_touch_nothing_else(block: int) -> None:
    for seed in range(20_000 + 15 * block, 20_015 + 15 * block):
        check(case(seed), seed, guard=True)


def test_random_programs_have_everything() -> None:
    found = census(range(0, 300))
    assert set(found["mode"]) == {"float32", "float64", *TRANSFORMS, *THREADS, *CALLS, *GIVEN}
    kinds = (Nest, Reduction, Product, Convolution, Scatter, Loop, Branch, Block, Evaluate)
    assert set(found["statement"]) >= {kind.__name__ for kind in kinds}
    assert set(FAMILIES) - set(found["family"]) <= {"scale", "fit"}


BEYOND = """
import numpy as np
from tests.guarded import Place, frozen
place = Place((5,), np.dtype("f8"), {end})
def far(k): return np.lib.stride_tricks.as_strided(place.array, (10000,), ({step},))[k]
assert place.whole() and np.isnan(place.array).all()
print("in", flush=True)
{what}
print("out")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pages")
@pytest.mark.parametrize(
    ("end", "what"), [(True, "far(5)"), (False, "far(1)"), (True, "frozen(1.0, *[np.dtype('f8'), (3,), True])[0] = 2")]
)
def test_guards_stop_a_program(end: bool, what: str) -> None:
    code = BEYOND.format(end=end, step=8 if end else -8, what=what)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False, env=ENVIRONMENT
    )
    assert done.stdout == "in\n" and done.returncode == -signal.SIGSEGV, done.stderr


def test_a_guard_tells_what_was_written_beside() -> None:
    place = Place((3,), np.dtype("f4"), end=True)
    assert place.whole()
    place.pages[place.inside.start - 1] = 0
    assert not place.whole()


def compare(f: Any, *args: Any, tolerance: float = 2e-6) -> list[type]:
    """Both executors agree on `f(*args)`; returns the kinds of statements that it became."""
    graph = wg.jit(f).lower(*args).graph
    values = [np.asarray(a) for a in wg.tree.leaves(args)]
    compiled = native.compiled(graph)
    for got, wanted in zip(compiled(values), reference.run(graph, values), strict=True):
        assert got.shape == wanted.shape and got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    statements = compiled.program.statements
    return [type(inner) for s in statements for inner in (s.body if isinstance(s, Block) else [s])]


CASES = {
    "one loop for a chain": (lambda a, b: wg.exp(a * b + 1.0) - a, [Nest]),
    "several results from one loop": (lambda a, b: (a + b, a - b, wg.tanh(a)), [Nest]),
    "a sum over the last axis": (lambda a, b: wg.sum(a * b, axis=1), [Reduction]),
    "a sum over the first axis": (lambda a, b: wg.sum(a * b, axis=0), [Reduction]),
    "extremes": (lambda a, b: (wg.max(a, axis=1), wg.min(a)), [Reduction, Reduction]),
    "windows cost nothing": (lambda a, b: a.T[::2, 1:].T * 2.0, [Nest]),
    "a row flipped": (lambda a, b: wg.flip(a, axis=1) + b, [Nest]),
    "the product's epilogue": (lambda a, b: wg.tanh(a @ a.T + 1.0), [Product]),
    "padding": (lambda a, b: wg.concat([a, a * 2.0], axis=1), None),
    "truth values": (lambda a, b: (a > b) & (a < 1.0), [Nest]),
    "integers": (lambda a, b: wg.sum(wg.astype(a * 10, wg.int64) // 3 + 1), None),
    "a step left to NumPy": (lambda a, b: wg.sort(a * 2.0) + 1.0, [Nest, Evaluate, Nest]),
    "complex numbers are left to NumPy": (lambda a, b: wg.abs(wg.fft.fft(a)), None),
    "a constant, and an input, as results": (lambda a, b: (a, wg.ones((3, 2)), wg.asarray(np.arange(4)), b), None),
    "one result twice": (lambda a, b: ((y := a * 2.0), y), None),
    "softmax": (lambda a, b: wg.softmax(a, axis=1), None),
    "its gradient": (wg.grad(lambda a, b: wg.sum(wg.log_softmax(a * b, axis=1)[:, 0])), None),
}


@pytest.mark.parametrize("name", CASES)
def test_statements(name: str) -> None:
    f, expected = CASES[name]
    kinds = compare(f, A, B)
    assert expected is None or kinds == expected


def test_loops_and_branches_are_compiled() -> None:
    def rnn(w: Any, xs: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = wg.tanh(w @ h + x)
            return h, h * 2.0

        h, ys = wg.scan(step, wg.zeros((5,)), xs)
        return wg.sum(h) + wg.sum(ys)

    w, xs = rng.normal(size=(5, 5)).astype(np.float32), rng.normal(size=(9, 5)).astype(np.float32)
    assert Loop in compare(rnn, w, xs) and Evaluate not in compare(rnn, w, xs)
    assert Evaluate not in compare(wg.grad(rnn, (0, 1)), w, xs, tolerance=1e-5)
    newton = wg.jit(lambda a: wg.while_loop(lambda z: wg.abs(z * z - a) > 1e-6, lambda z: (z + a / z) / 2, a))
    assert compare(newton, np.float64(2.0)).count(Loop) == 1
    swap = lambda x, y: wg.fori_loop(0, 3, lambda i, c: (c[1], c[0] + c[1]), (x, y))  # noqa: E731
    assert Loop in compare(swap, A, A * 2)
    choose = lambda p, x: wg.cond(p, lambda x: wg.sin(x), lambda x: x * 2.0, x)  # noqa: E731
    assert Branch in compare(choose, np.bool_(True), A) and Branch in compare(choose, np.bool_(False), A)


def test_computed_positions_are_windows() -> None:
    def pick(x: Any, i: Any) -> Any:
        return x[i] * 2.0, x[i, i], x[:, i] + 1.0

    for i in (0, 3, -1, -7, 100, -100):
        assert Evaluate not in compare(pick, A, np.int64(i))
    walk = lambda x: wg.fori_loop(0, 5, lambda i, c: (c[0] + x[i], x[c[1]][0].astype(wg.int64)), (x[0], 2))  # noqa: E731
    assert Evaluate not in compare(walk, A * 3)


def test_every_transformation_around_a_native_call() -> None:
    f = wg.jit(lambda x: wg.sum(wg.sin(x) * x), executor="native")
    x = rng.normal(size=5)
    gradient = np.cos(x) * x + np.sin(x)
    np.testing.assert_allclose(wg.grad(f)(x), gradient, rtol=1e-14)
    np.testing.assert_allclose(wg.jit(wg.grad(f), executor="native")(x), gradient, rtol=1e-14)
    np.testing.assert_allclose(wg.vmap(wg.grad(f))(np.stack([x, 2 * x]))[0], gradient, rtol=1e-14)
    v = rng.normal(size=5)
    np.testing.assert_allclose(wg.jvp(f, (x,), (v,))[1], gradient @ v, rtol=1e-13)
    np.testing.assert_allclose(wg.hvp(f, (x,), (v,)), (2 * np.cos(x) - np.sin(x) * x) * v, rtol=1e-13)


def test_arguments_of_any_layout() -> None:
    f = wg.jit(lambda x: x * 2.0 + 1.0, executor="native")
    base = rng.normal(size=(6, 8))
    for x in (base.T, base[::2, ::-1], np.asfortranarray(base), base[0, 0], np.broadcast_to(base[0], (3, 8))):
        np.testing.assert_array_equal(np.asarray(f(x)), np.asarray(x) * 2 + 1)
    assert f(2.0).weak and float(f(2.0)) == 5.0


def test_no_result_shares_memory_with_another_call() -> None:
    f = wg.jit(lambda x: x + 1.0, executor="native")
    first = f(np.zeros(4))
    f(np.ones(4))
    np.testing.assert_array_equal(np.asarray(first), np.ones(4))


def test_calls_from_several_threads() -> None:
    f = wg.jit(lambda x: wg.sum(wg.exp(wg.sin(x) @ wg.cos(x).T)), executor="native")
    inputs = [rng.normal(size=(20, 20)) for _ in range(4)]
    expected = [float(f(x)) for x in inputs]
    wrong: list[int] = []

    def work(k: int) -> None:
        wrong.extend(k for _ in range(200) if float(f(inputs[k])) != expected[k])

    four_at_once(work)
    assert not wrong


def test_memory_is_steady() -> None:
    f = wg.jit(lambda x: (wg.sort(x * 2.0), wg.sum(x)), executor="native")
    x = np.zeros(100)
    f(x)
    tracemalloc.start()
    try:
        f(x)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20_000):
            f(x)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()


def test_values_share_the_workspace() -> None:
    def chain(x: Any) -> Any:
        for _ in range(20):
            x = wg.sort(x)  # each left to NumPy, so each needs a place
        return x

    compiled = native.compiled(wg.jit(chain).lower(np.zeros(1000)).graph)
    assert compiled.workspace_bytes <= 2 * 8064


def test_equal_statements_are_compiled_once() -> None:
    def layers(x: Any, ws: Any) -> Any:
        for w in ws:
            x = wg.tanh(x @ w)
        return x

    ws = [rng.normal(size=(8, 8)) for _ in range(12)]
    compiled = native.compiled(wg.jit(layers).lower(rng.normal(size=(4, 8)), ws).graph)
    assert len(compiled.program.statements) == 12 and len(compiled.functions) <= 2


def test_statements_of_equal_numbers_may_differ() -> None:
    """0 and -0 are equal, and have different code."""
    x = [rng.normal(size=(16, 16)) for _ in range(4)]

    def f(a: Any, b: Any, c: Any, d: Any) -> Any:
        return wg.where(a @ b > 100.0, 1.0, 0.0), wg.where(c @ d > 100.0, 1.0, -0.0)

    plus, minus = wg.jit(f, executor="native")(*x)
    assert not np.signbit(plus).any() and np.signbit(minus).all()


@pytest.mark.parametrize("cpu", ["x86-64-v2", "x86-64-v3"])
def test_smaller_machines(cpu: str) -> None:
    code = "from tests.native_programs import main; raise SystemExit(main(['--count', '25', '--seed', '500']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=ENVIRONMENT | {"WENGERT_CPU": cpu},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_reshaped_windows() -> None:
    """A reshape is a window just when NumPy needs no copy for it."""
    for _ in range(300):
        shape = tuple(int(d) for d in rng.integers(1, 5, rng.integers(1, 4)))
        array = np.zeros(shape)
        view = dense(Buffer("work", 0, array.dtype, array.size), shape)
        axes = tuple(int(a) for a in rng.permutation(len(shape)))
        array, view = array.transpose(axes), view.permuted(axes)
        factors = [array.size // d for d in range(1, array.size + 1) if array.size % d == 0]
        target = (int(rng.choice(factors)),)
        target = (target[0], array.size // target[0])
        try:
            expected = array.view()
            expected.shape = target
        except AttributeError:
            assert view.reshaped(target) is None
            continue
        found = view.reshaped(target)
        assert found is not None
        assert [s for d, s in zip(target, found.strides, strict=True) if d > 1] == [
            s // 8 for d, s in zip(target, expected.strides, strict=True) if d > 1
        ]
