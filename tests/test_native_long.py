"""Long programs: calls in a table give what calls in code give; what is pending is found among thousands."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.drawing import run
from tests.programs import from_seed, inputs_of
from wengert import nn, optim
from wengert.execute import native
from wengert.execute.native import segments
from wengert.execute.native.pending import CELL, MANY, Access, Grains, Pending
from wengert.execute.native.views import Buffer, Store
from wengert.ir.types import float32

rng = np.random.default_rng(0)


def results(f: Any, args: Any, monkeypatch: Any, long: int) -> tuple[list[np.ndarray], bool]:
    """What `f` gives when programs from `long` statements on are tables, and whether there was one."""
    monkeypatch.setattr(segments, "LONG", long)
    monkeypatch.setenv("WENGERT_CACHE_DIR", "0")
    graph = wg.jit(f).lower(*args).graph
    compiled = native.compiled(graph)
    values = [np.asarray(a) for a in wg.tree.leaves(args)]
    first, again = compiled(values), compiled(values)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    return first, '.table" = ' in compiled.text


def same_by_table(f: Any, *args: Any, monkeypatch: Any) -> None:
    code, table = (results(f, args, monkeypatch, n) for n in (10**9, 1))
    assert table[1] and not code[1]
    for a, b in zip(code[0], table[0], strict=True):
        np.testing.assert_array_equal(a, b)


def chain(weights: Any, x: Any) -> Any:
    for w, b in weights:
        x = x + wg.tanh(x @ w + b)
    return wg.mean(x * x)


def step(weights: Any, x: Any) -> Any:
    value, grads = wg.value_and_grad(chain)(weights, x)
    return value, wg.tree.map(lambda w, g: w - 0.1 * g, weights, grads)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_of_training(dtype: str, threads: int, monkeypatch: Any) -> None:
    def weights(n: int, size: int) -> Any:
        return [(rng.normal(size=(size, size)).astype(dtype) / 8, np.zeros(size, dtype)) for _ in range(n)]

    before = wg.get_num_threads()
    wg.set_num_threads(threads)
    try:
        same_by_table(step, weights(3, 7), rng.normal(size=(5, 7)).astype(dtype), monkeypatch=monkeypatch)
        same_by_table(step, weights(6, 64), rng.normal(size=(128, 64)).astype(dtype), monkeypatch=monkeypatch)
    finally:
        wg.set_num_threads(before)


def test_loops_branches_and_positions(monkeypatch: Any) -> None:
    def f(x: Any, w: Any, k: Any) -> Any:
        def turn(c: Any, _: Any) -> Any:
            c = wg.tanh(c @ w)
            return c, wg.sum(c)

        c, sums = wg.scan(turn, x, wg.arange(6.0))
        c = wg.cond(sums[-1] > 0, lambda c: wg.sin(c @ w), lambda c: c * 2.0, c)
        n, c = wg.while_loop(lambda s: wg.sum(s[1] * s[1]) > 0.1, lambda s: (s[0] + 1, s[1] * 0.7), (0, c))
        return wg.sum(c) + wg.sum(sums) + w[k, k] + n

    x, w = rng.normal(size=(64, 32)), rng.normal(size=(32, 32)) / 6
    same_by_table(wg.value_and_grad(f, (0, 1)), x, w, np.int64(3), monkeypatch=monkeypatch)


def test_steps_for_numpy_stand_between_tables(monkeypatch: Any) -> None:
    def f(a: Any) -> Any:
        return wg.sum(wg.linalg.svd(wg.exp(a) @ a)[1]) + wg.sum(wg.sin(wg.sort(a @ a)) @ a)

    same_by_table(f, rng.normal(size=(9, 9)), monkeypatch=monkeypatch)


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int, monkeypatch: Any) -> None:
    program = from_seed(seed)

    def f(*a: Any) -> Any:
        out, pullback = wg.vjp(lambda *b: run(program, b), *a)
        return out, pullback(wg.ones_like(out))

    args = inputs_of(program, seed)
    code, table = (results(f, args, monkeypatch, n)[0] for n in (10**9, 1))
    for a, b in zip(code, table, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_near_is_all_that_clashes() -> None:
    """Against a comparison of everything with everything."""
    draw = random.Random(0)
    who = ["first", "all", Grains(4, 64, 0), Grains(4, 64, 1), Grains(8, 4096, 0)]
    stores = [Store(0, 64), Store(1, 64)]
    for _ in range(300):
        buffers = [Buffer("input", 0, float32, 99), Buffer("output", 1, float32, 99), Buffer("work", -1, float32, 9)]
        buffers += [Buffer("store", 0, float32, 9, draw.choice(stores)) for _ in range(3)]
        for _ in range(8):
            size = draw.choice([0, 1, 1000, CELL, CELL * MANY])
            buffers.append(Buffer("work", draw.randrange(0, 4 * CELL, 64), float32, size))
        each = [Access(draw.choice(buffers), draw.random() < 0.4, draw.choice(who)) for _ in range(12)]
        pending = Pending({1: 0}, each[:8])
        for a in each[8:]:
            assert pending.clash([a]) == any(pending._apart(a, b) for b in each[:8])
        assert pending.copy().clash(each[8:]) == pending.clash(each[8:])
        assert [pending.has(s) for s in stores] == [any(a.buffer.store is s for a in each[:8]) for s in stores]


def compile_seconds(layers: int) -> float:
    """Of one step with AdamW through so many layers, in this process's own time."""
    model = nn.Sequential(*[part for _ in range(layers) for part in (nn.Linear(8, 8), nn.Tanh())])
    optimizer = optim.AdamW(model, learning_rate=1e-3)

    @wg.jit
    def train(model: Any, optimizer: Any, x: Any) -> Any:
        loss, grads = wg.value_and_grad(lambda m: wg.mean(m(x) ** 2))(model)
        optimizer.update(model, grads)
        return loss

    start = time.process_time()
    train(model, optimizer, np.ones((4, 8), np.float32))
    return time.process_time() - start


def test_compiling_grows_with_the_program(monkeypatch: Any) -> None:
    monkeypatch.setenv("WENGERT_CACHE_DIR", "0")
    compile_seconds(2)
    assert compile_seconds(160) < 10 * compile_seconds(40)  # linear: 4 times
