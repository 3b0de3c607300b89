"""Several threads compute what one does, bit for bit, and only while there is something to do."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise

import numpy as np
import pytest

import wengert as wg
from tests import native_programs
from tests.team_orders import PART, RUN, Team, eager
from wengert.errors import ArgumentError
from wengert.execute.native import pool_code, program, schedule, threads
from wengert.execute.native.lower import Lowering
from wengert.execute.native.statements import Product


@pytest.fixture(autouse=True)
def own_number():
    before = wg.get_num_threads()
    yield
    wg.set_num_threads(before)


@pytest.fixture
def eager_teams():
    """Every kernel is dealt, however small, to three threads."""
    with eager(3):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def net(rng, sizes=(96, 80, 72, 10), batch=64):
    params = [((rng.normal(size=(i, o)) / i**0.5).astype("f"), np.zeros(o, "f")) for i, o in pairwise(sizes)]
    x, y = rng.normal(size=(batch, sizes[0])).astype("f"), rng.normal(size=(batch, sizes[-1])).astype("f")

    def step(params, x, y):
        def loss(params):
            h = x
            for w, b in params:
                h = wg.tanh(h @ w + b)
            return wg.mean(wg.square(h - y))

        value, grads = wg.value_and_grad(loss)(params)
        return value, [(w - 0.1 * v, b - 0.1 * c) for (w, b), (v, c) in zip(params, grads, strict=True)]

    return step, params, x, y


def leaves(result):
    return [np.asarray(v) for v in wg.tree.leaves(result)]


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_in_teams(seed):
    for number in range(5 * seed, 5 * seed + 5):
        c = native_programs.case(number)
        native_programs.check(c._replace(threads=("team", "turns")[number % 2]), number)


@pytest.mark.parametrize("sizes", [(96, 80, 72, 10), (800, 260, 10)])
def test_the_same_bits_from_any_number_of_threads(rng, sizes):
    step, *args = net(rng, sizes)
    f = wg.jit(step, executor="native")
    products = [line for line in str(f.lower(*args).loops).splitlines() if line.startswith("product")]
    # a large weight is shared out by columns, so that each core keeps its own
    assert sum("axis 1 in" in line for line in products) == (2 if sizes[0] == 800 else 0)
    wg.set_num_threads(1)
    expected = leaves(f(*args))
    for count in (2, 3, 2, 1):
        wg.set_num_threads(count)
        for _ in range(20):
            for a, b in zip(expected, leaves(f(*args)), strict=True):
                np.testing.assert_array_equal(a, b)
    for a, b in zip(expected, leaves(wg.jit(step, executor="numpy")(*args)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_a_batch_goes_through_layers_without_barriers(monkeypatch, rng):
    monkeypatch.setattr(schedule, "WORTH", 0.0)
    monkeypatch.setenv("WENGERT_CACHE_DIR", "0")
    weights = [rng.normal(size=(64, 64)).astype("f") for _ in range(5)]

    def forward(x, weights):
        for w in weights:
            x = wg.tanh(x @ w)
        return x

    lines = str(wg.jit(forward, executor="native").lower(np.ones((64, 64), "f"), weights).loops)
    assert lines.count("in 64 grains") == 5
    assert "barrier" not in lines


def test_recurrence_has_no_barrier_at_its_turns(monkeypatch, rng):
    monkeypatch.setenv("WENGERT_CACHE_DIR", "0")
    w = (rng.normal(size=(64, 64)) / 16).astype("f")

    def run(xs, h):
        return wg.scan(lambda h, x: (wg.tanh(x + h @ w), None), h, xs)[0]

    f = wg.jit(run, executor="native")
    args = np.ones((50, 32, 64), "f"), np.zeros((32, 64), "f")
    text = str(f.lower(*args).loops)
    inside = [line for line in text.splitlines() if line.startswith("  ")]
    assert any("in 32 grains" in line for line in inside)
    assert not any("barrier" in line for line in inside)
    h = args[1]
    for x in args[0]:
        h = np.tanh(x + h @ w)
    np.testing.assert_allclose(np.asarray(f(*args)), h, rtol=2e-5, atol=2e-5)


def test_many_python_threads_at_once(rng):
    step, *args = net(rng)
    f = wg.jit(step, executor="native")
    wg.set_num_threads(2)
    expected = leaves(f(*args))
    wrong = []

    def work():
        for _ in range(50):
            if any((a != b).any() for a, b in zip(expected, leaves(f(*args)), strict=True)):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


CHILD = """
import numpy as np, os, sys, time, wengert as wg
wg.set_num_threads(2)
f = wg.jit(lambda x, w: wg.tanh(wg.tanh(x @ w) @ w), executor="native")
x, w = np.ones((256, 256), "f"), np.full((256, 256), 0.01, "f")
first = np.asarray(f(x, w))
"""


def run(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env={**os.environ, **env}, timeout=60
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_after_a_fork():
    done = run(
        CHILD
        + """
pid = os.fork()
again = np.asarray(f(x, w))
ok = (again == first).all() and wg.get_num_threads() == 2
if pid == 0:
    os._exit(0 if ok else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 and ok
print("both")
"""
    )
    assert done.stdout.strip() == "both", done.stderr


def test_idle_threads_sleep():
    done = run(
        CHILD
        + """
time.sleep(0.2)
begin = time.process_time()
time.sleep(0.5)
print(time.process_time() - begin)
"""
    )
    assert float(done.stdout) < 0.05, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_stops_a_loop_of_calls():
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD + "print('on', flush=True)\nwhile True:\n    f(x, w)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().strip() == "on"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_in_a_long_call_takes_effect_when_it_is_done():
    done = run(
        CHILD
        + """
import signal, threading, time
def turns(n, y):
    return wg.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, 0.5 * c[1] + wg.sin(c[1])), (0 * n, y))[1]
g = wg.jit(turns, executor="native")
y = wg.asarray(0.3, dtype=wg.float64)
few, many = wg.asarray(1e3, dtype=wg.float64), wg.asarray(5e7, dtype=wg.float64)
before = float(g(few, y))
threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT)).start()
began = time.perf_counter()
try:
    g(many, y)
    time.sleep(10)
except KeyboardInterrupt:
    took = time.perf_counter() - began
    print("stopped", took < 10, float(g(few, y)) == before, bool((np.asarray(f(x, w)) == np.asarray(f(x, w))).all()))
"""
    )
    assert done.stdout.split() == ["stopped", "True", "True", "True"], done.stderr


@pytest.mark.parametrize("count", [0, 65, -1, True, 1.5, "2", None])
def test_numbers_of_threads_that_are_refused(count):
    with pytest.raises(ArgumentError, match=r"set_num_threads: expected a number of threads from 1 to 64, got"):
        wg.set_num_threads(count)


def test_the_environment_sets_the_number():
    code = "import wengert as wg; print(wg.get_num_threads())"
    assert run(code, WENGERT_NUM_THREADS="3").stdout.strip() == "3"
    refused = run(code, WENGERT_NUM_THREADS="many").stderr
    assert "WENGERT_NUM_THREADS: expected a number of threads from 1 to 64, got 'many'" in refused


def test_small_programs_stay_with_one_thread():
    f = wg.jit(lambda x: wg.tanh(x) * 2, executor="native")
    assert "grains" not in str(f.lower(np.ones((8, 8), "f")).loops)


LONG = [((100_003,), 0), ((7, 40_000), (0, 1)), ((200, 3, 100), (0, 2)), ((70_000, 3), 0)]


@pytest.mark.parametrize("shape, axis", LONG)
@pytest.mark.parametrize("dtype", ["f4", "i8"])
def test_long_reductions_fall_into_parts(monkeypatch, rng, shape, axis, dtype):
    monkeypatch.setattr(schedule, "WORTH", 0.0)
    monkeypatch.setenv("WENGERT_CACHE_DIR", "0")
    x = (10 * rng.normal(size=shape)).astype(dtype)
    for op in (wg.sum, wg.max):
        f = wg.jit(lambda a, op=op: op(a * 2, axis=axis), executor="native")
        assert " parts in " in str(f.lower(x).loops)
        expected = getattr(np, op.__name__)(2 * x.astype("f8"), axis=axis)
        found = []
        for count in (1, 2, 3):
            wg.set_num_threads(count)
            found.append(np.asarray(f(x)))
            np.testing.assert_array_equal(found[0], found[-1])
        scale = np.abs(x).sum()
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-6 * scale if dtype == "f4" else 0)


def test_the_gradients_of_many_weights_wait_for_each_other_once(rng, eager_teams):
    step, params, x, y = net(rng, sizes=(32,) * 13)
    text = str(wg.jit(step, executor="native").lower(params, x, y).loops)
    assert text.count("product") == 3 * 12 - 1
    assert text.count("barrier") <= 8


def test_what_is_put_off_keeps_its_order_with_what_it_touches(rng, eager_teams):
    # the weights are written over in place; each is read by the cotangent's product before that
    step, params, x, y = net(rng, sizes=(24,) * 30)
    want = wg.jit(step, executor="numpy")(params, x, y)
    got = wg.jit(step, executor="native", donate_argnums=0)(
        [tuple(wg.asarray(p.copy()) for p in layer) for layer in params], x, y
    )
    for a, b in zip(wg.tree.leaves(got), wg.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_a_loop_that_hands_its_carry_from_row_to_row_has_no_barrier(rng, eager_teams):
    def final(x, w, u, b):
        def cell(h, pre):
            h = wg.tanh(pre + h @ u)
            return h, None

        return wg.scan(cell, wg.zeros((32, 64)), x @ w + b)[0]

    def step(x, w, u, b):
        return wg.value_and_grad(lambda *p: wg.sum(wg.square(final(x, *p))), argnums=(0, 1, 2))(w, u, b)

    args = [rng.normal(size=s).astype("f") / 8 for s in ((20, 32, 16), (16, 64), (64, 64), (64,))]
    f = wg.jit(step, executor="native")
    text = str(f.lower(*args).loops)
    for turn in text.split("turns")[1:]:
        assert "barrier" not in turn.split("\nproduct")[0].split("\nbarrier")[0]
    assert "then\n  t0 (in registers)" in text  # the bias is added where its rows are three axes
    for a, b in zip(wg.tree.leaves(f(*args)), wg.tree.leaves(wg.jit(step, executor="numpy")(*args)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("size", [2, 3])
def test_between_barriers_any_order_will_do(rng, eager_teams, monkeypatch, size):
    """Threads that take turns, in orders drawn at random, leave what one thread does."""
    step, params, x, y = net(rng, sizes=(40, 32, 32, 24, 10))
    want = wg.jit(step, executor="numpy")(params, x, y)
    for module in (program, schedule):
        monkeypatch.setattr(module, "most_threads", lambda: size)
    team = Team(size)
    team.open()
    try:
        f = wg.jit(step, executor="native", donate_argnums=0)
        for _ in range(6):
            given = [tuple(wg.asarray(p.copy()) for p in layer) for layer in params]
            for a, b in zip(wg.tree.leaves(f(given, x, y)), wg.tree.leaves(want), strict=True):
                np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    finally:
        team.close()
    assert team.sections > 0


def test_what_is_known_by_its_id_lives(rng, monkeypatch):
    """An id comes again when its object has gone: what is stored, by the id of its expression, keeps that alive."""
    lowerings = []
    program_of = Lowering.program
    monkeypatch.setattr(Lowering, "program", lambda self: lowerings.append(self) or program_of(self))
    monkeypatch.setenv("WENGERT_CACHE_DIR", "0")
    x, w, b = (rng.normal(size=s).astype("f") for s in ((4, 8, 16), (16, 16), (16,)))
    wg.jit(lambda x, w, b: wg.tanh(x @ w + b), executor="native")(x, w, b)  # bias and tanh join the product's rows
    (lowering,) = lowerings
    products = [s.value for s in lowering.statements if isinstance(s, Product)]
    assert products and set(lowering.stored) == {id(e) for e in (*lowering.alive, *products)}


def test_a_branch_that_is_all_there_is(rng, eager_teams):
    x = rng.normal(size=(40, 30))
    f = wg.jit(lambda p, x: wg.cond(p, lambda x: wg.sin(x @ x.T), lambda x: wg.cos(x @ x.T), x), executor="native")
    for p, op in ((True, np.sin), (False, np.cos)):
        np.testing.assert_allclose(np.asarray(f(np.bool_(p), x)), op(x @ x.T), rtol=1e-10, atol=1e-10)


def test_a_team_that_is_held_up_breaks_up_for_a_while():
    """As when other processes keep a core busy: waiting for each other takes longer than the work."""
    wg.set_num_threads(2)
    threads.always_in_teams(False)
    run = RUN(threads._pool().engine.get_function_address(pool_code.RUN))
    sizes, pauses = [], [0.0, 0.02]

    def part(number, size, table, work):
        if number == 0:
            sizes.append(size)
        time.sleep(pauses[number] if size > 1 else 0)

    given = PART(part)
    address = ctypes.cast(given, ctypes.c_void_p)

    def after(calls):
        sizes.clear()
        for _ in range(calls):
            run(address, None, None, 2, 10**9)
        return "".join(map(str, sizes))

    try:
        assert after(5) == "21111"  # 4 times as long as was lost, or longer
        time.sleep(1)
        pauses[:] = [0.1, 0.0]
        assert after(3) == "222"
        threads.always_in_teams(True)
        pauses[:] = [0.0, 0.02]
        assert after(3) == "222"
    finally:
        threads.always_in_teams(False)
