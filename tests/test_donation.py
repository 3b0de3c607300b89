"""Memory given up to results: written over where that is safe, with the same numbers, not where somebody looks."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.drawing import run
from tests.programs import from_seed, inputs_of
from tests.test_entry import slow_calls
from wengert.execute import native

rng = np.random.default_rng(0)


def arrays(*shapes: tuple[int, ...]) -> list[wg.Array]:
    return [wg.asarray(rng.normal(size=s).astype(np.float32)) for s in shapes]


def fresh(x: Any) -> Any:
    """The same tree of arrays, whose memory nobody else sees."""
    return wg.tree.map(lambda v: wg.asarray(np.array(v)), x)


def address(x: Any) -> int:
    return np.asarray(x).ctypes.data


def in_place(f: Any, *args: Any) -> dict[int, int]:
    """Which results are written over which inputs."""
    opened = wg.tree.Opened((args, {}))
    graph = f._program(opened, [wg.asarray(v) for v in opened.leaves]).graph
    return native.compiled(graph).in_place


def sgd(params: Any, x: Any, y: Any) -> Any:
    def loss(params: Any) -> Any:
        h = x
        for w, b in params:
            h = wg.tanh(h @ w + b)
        return wg.mean(wg.square(h - y))

    value, grads = wg.value_and_grad(loss)(params)
    return value, wg.tree.map(lambda p, g: p - 0.1 * g, params, grads)


def test_a_training_step_writes_new_weights_over_the_old() -> None:
    params = [(w, b) for w, b in zip(arrays((8, 16), (16, 4)), arrays((16,), (4,)), strict=True)]
    x, y = arrays((5, 8), (5, 4))
    plain = wg.jit(sgd, executor="native")
    f = wg.jit(sgd, executor="native", donate_argnums=0)
    assert in_place(f, params, x, y) == {1: 0, 2: 1, 3: 2, 4: 3} and in_place(plain, params, x, y) == {}
    mine, theirs = fresh(params), params
    for turn in range(6):
        places = [address(v) for v in wg.tree.leaves(mine)]
        before, old = slow_calls(f), wg.tree.leaves(mine)
        loss, mine = f(mine, x, y)
        wanted, theirs = plain(theirs, x, y)
        for got, other in zip(wg.tree.leaves((loss, mine)), wg.tree.leaves((wanted, theirs)), strict=True):
            np.testing.assert_array_equal(np.asarray(got), np.asarray(other))
        assert turn < 2 or slow_calls(f) == before
        if turn >= 3:  # from results of a call that bypassed Python
            assert [address(v) for v in wg.tree.leaves(mine)] == places
        with pytest.raises(wg.errors.ArgumentError, match="given up to sgd"):
            old[0] + 1


def test_what_others_see_stays() -> None:
    f = wg.jit(lambda x: x * 2, executor="native", donate_argnums=0)
    a = rng.normal(size=(3, 4))
    for _ in range(4):
        x = wg.asarray(a)  # the same memory
        np.testing.assert_array_equal(np.asarray(f(x)), a * 2)
        np.testing.assert_array_equal(np.asarray(f(a)), a * 2)  # a NumPy array
        y = wg.asarray(a.copy())
        seen = np.asarray(y)
        copy = seen.copy()
        f(y)
        np.testing.assert_array_equal(seen, copy)
        z = wg.asarray(np.array(a)[:2])  # a window onto other memory
        f(z)
        constant = np.array(a)
        constant.flags.writeable = False
        f(wg.asarray(constant))
        np.testing.assert_array_equal(constant, a)


def test_every_use_of_what_was_given_up_is_refused() -> None:
    for executor in ("native", "numpy"):
        f = wg.jit(lambda x, k: x * k, executor=executor, donate_argnums=(0,))
        for _ in range(4):
            x = wg.asarray(np.ones(3))
            f(x, 2.0)
            uses: list[Any] = [
                lambda x: x + 1, lambda x: x.shape, np.asarray, lambda x: x[0], len, float, lambda x, f=f: f(x, 2.0),
                wg.sum, wg.grad(wg.sum), lambda x: x == 1, lambda x: wg.jit(wg.sin)(x), lambda x: x.__dlpack__(),
            ]  # fmt: skip
            for use in uses:
                with pytest.raises(wg.errors.ArgumentError, match="given up to <lambda>"):
                    use(x)


def test_arrays_of_any_layout() -> None:
    f = wg.jit(lambda x: x * 2, executor="native", donate_argnums=0)
    a = rng.normal(size=(4, 3))
    for _ in range(4):
        for x in (a.T, np.asfortranarray(a.T), a.T[::-1], np.array(a.T)):
            old = np.array(x)
            np.testing.assert_array_equal(np.asarray(f(wg.asarray(x))), old * 2)
            np.testing.assert_array_equal(x, old)


def test_one_array_given_twice() -> None:
    f = wg.jit(lambda a, b, c: (a + b * c, b - a), executor="native", donate_argnums=(0, 1))
    for _ in range(4):
        x = wg.asarray(np.ones(3))
        got, other = f(x, x, 2.0)
        np.testing.assert_array_equal(np.asarray(got), 3 * np.ones(3))
        np.testing.assert_array_equal(np.asarray(other), np.zeros(3))
    g = wg.jit(lambda a, b: (a + 1, b[::-1] * 1), executor="native", donate_argnums=0)
    for _ in range(4):
        x = wg.asarray(np.arange(3.0))
        got, other = g(x, x)
        np.testing.assert_array_equal(np.asarray(got), [1, 2, 3])
        np.testing.assert_array_equal(np.asarray(other), [2, 1, 0])


CASES: dict[str, tuple[Any, bool]] = {
    "elementwise": (lambda x, y: x * 2 + y, True),
    "its transpose": (lambda x, y: x.T * 2, False),
    "flipped": (lambda x, y: wg.flip(x) + y, False),
    "a row of it, everywhere": (lambda x, y: x + x[0], False),
    "its sum": (lambda x, y: x - wg.sum(x), True),
    "a product with it": (lambda x, y: x @ y, False),
    "a product beside it": (lambda x, y: x - (y @ y), True),
    "a product of it, and itself": (lambda x, y: x - x @ y, False),
    "read earlier": (lambda x, y: (y @ x) @ y, True),
    "a loop over it": (lambda x, y: wg.scan(lambda c, r: (c + r, c), wg.zeros(4, dtype=wg.float64), x)[1] + y, True),
    "what is cumulated": (lambda x, y: wg.cumulative_sum(x, axis=0), False),
    "unchanged": (lambda x, y: x, True),
}


@pytest.mark.parametrize("name", CASES)
def test_only_where_nothing_reads_it_afterwards(name: str) -> None:
    f, over = CASES[name]
    x, y = rng.normal(size=(4, 4)), rng.normal(size=(4, 4))
    wanted = np.asarray(wg.jit(f, executor="native")(x, y))
    g = wg.jit(f, executor="native", donate_argnums=0)
    assert bool(in_place(g, x, y)) <= over
    for _ in range(4):
        np.testing.assert_array_equal(np.asarray(g(fresh(x), y)), wanted)
    if name in ("elementwise", "its sum", "a product beside it", "read earlier"):
        assert in_place(g, x, y) == {0: 0}


def test_two_results_of_one_loop() -> None:
    """The second reads what the first was written over: from registers only if the first has read it."""
    x, y = rng.normal(size=(4, 20)), rng.normal(size=(4, 20))
    for f in (lambda x, y: (x * y, x + y), lambda x, y: (y * 2, x + y), lambda x, y: (y + 1, y + 2, x[::-1] * y)):
        wanted = wg.jit(f, executor="native")(x, y)
        g = wg.jit(f, executor="native", donate_argnums=(0, 1))
        for _ in range(4):
            for got, other in zip(g(fresh(x), fresh(y)), wanted, strict=True):
                np.testing.assert_array_equal(np.asarray(got), np.asarray(other))


@pytest.mark.parametrize("block", range(6))
def test_random_programs(block: int) -> None:
    for seed in range(50_000 + 20 * block, 50_020 + 20 * block):
        program = from_seed(seed)
        xs = [wg.asarray(x) for x in inputs_of(program, seed)]

        def descend(*a: Any, program: Any = program) -> Any:
            out, pullback = wg.vjp(lambda *a: run(program, a), *a)
            return out, [x - 0.1 * g for x, g in zip(a, pullback(wg.ones_like(out)), strict=True)]

        wanted = wg.tree.leaves(wg.jit(descend, executor="native")(*xs))
        f = wg.jit(descend, executor="native", donate_argnums=tuple(range(len(xs))))
        for _ in range(3):
            got = wg.tree.leaves(f(*fresh(xs)))
            for mine, theirs in zip(got, wanted, strict=True):
                np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs), err_msg=f"seed {seed}")


def test_under_transformations_nothing_is_given_up() -> None:
    f = wg.jit(lambda x, y: wg.sum(x * y), executor="native", donate_argnums=(0, 1))
    x, y = wg.asarray(np.ones(3)), wg.asarray(np.arange(3.0))
    for _ in range(3):
        np.testing.assert_array_equal(np.asarray(wg.grad(f)(x, y)), [0, 1, 2])
        np.testing.assert_array_equal(np.asarray(wg.jit(lambda x: f(x, y))(x)), 3.0)
    with pytest.raises(wg.errors.ArgumentError, match="counted from 0"):
        wg.jit(f, donate_argnums=-1)


# Modules give up what nobody else holds, unasked


class Net(wg.tree.Module):
    def __init__(self) -> None:
        self.w, self.b = fresh([rng.normal(size=(4, 4)), np.zeros(4)])
        self.slots = [fresh(np.zeros((4, 4))), fresh(np.zeros(4))]
        self.count = fresh(np.array(0))


def train(m: Net, x: Any) -> Any:
    loss, g = wg.value_and_grad(lambda m: wg.mean(wg.square(wg.tanh(x @ m.w + m.b))))(m)
    m.slots = [0.9 * s + d for s, d in zip(m.slots, (g.w, g.b), strict=True)]
    m.w, m.b, m.count = m.w - 0.1 * m.slots[0], m.b - 0.1 * m.slots[1], m.count + 1
    return loss


def state(m: Net) -> list[np.ndarray]:
    return [np.array(v) for v in (m.w, m.b, *m.slots, m.count)]


def test_modules_keep_their_arrays_if_nobody_else_holds_them() -> None:
    global rng  # noqa: PLW0603  two nets with the same numbers
    rng = np.random.default_rng(1)
    m = Net()
    rng = np.random.default_rng(1)
    other, x = Net(), rng.normal(size=(3, 4))
    f, plain = wg.jit(train, executor="native"), wg.jit(train, executor="numpy")
    kept: list[tuple[Any, np.ndarray]] = []
    lists: list[Any] = []
    for turn in range(18):
        if turn % 6 == 0:  # somebody holds the list that holds the only references
            lists.append((m.slots, state(m)[2:4]))
        if turn % 3 == 2:  # somebody holds the Array, its memory, or a weak reference to it
            for seen in (m.w, np.asarray(m.slots[0]), m.slots[1][1:], weakref.ref(m.b), [m.count]):
                value = seen() if isinstance(seen, weakref.ref) else seen[0] if isinstance(seen, list) else seen
                kept.append((value, np.array(value)))
        before, places = slow_calls(f), [id(m.w), address(m.w), address(m.slots[0])]
        np.testing.assert_allclose(np.asarray(f(m, x)), np.asarray(plain(other, x)), rtol=1e-12)
        for mine, theirs in zip(state(m), state(other), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15)
        assert turn < 2 or slow_calls(f) == before
        if turn in (4, 7):
            assert places == [id(m.w), address(m.w), address(m.slots[0])]
    kept += [pair for slots, values in lists for pair in zip(slots, values, strict=True)]
    for seen, value in kept:
        np.testing.assert_array_equal(np.asarray(seen), value)


def test_references_are_steady() -> None:
    m, x = Net(), wg.asarray(rng.normal(size=(3, 4)))
    f = wg.jit(train, executor="native")
    g = wg.jit(lambda p, x: [p[0] + x, p[1]], executor="native", donate_argnums=0)
    p = fresh([x, x])
    for _ in range(5):
        f(m, x)
        p = g(p, x)
    held = (x, x.data, m, m.w, m.w.data, m.slots[0].data, g._programs and next(iter(g._programs.values())).gone)
    gc.collect()
    counts = [sys.getrefcount(h) for h in held]
    for _ in range(5000):
        f(m, x)
        p = g(p, x)
        p = g(p, 1.0 * x)
    gc.collect()
    after = [sys.getrefcount(h) for h in held]
    assert after[:3] == counts[:3] and after[6] == counts[6]
    assert all(a <= c for a, c in zip(after, counts, strict=True))  # of the weights, the module has others now
