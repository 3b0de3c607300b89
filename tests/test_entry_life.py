"""Modules as arguments of compiled programs, and the life of what a call holds: references, memory, threads."""

from __future__ import annotations

import dataclasses
import gc
import sys
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.team_orders import four_at_once
from tests.test_entry import A, B, Pair, same, slow_calls, warm

rng = np.random.default_rng(0)

# Modules


class Layer(wg.tree.Module):
    def __init__(self, n: int, rng: np.random.Generator = rng):
        self.weight = wg.asarray(rng.normal(size=(n, n)).astype(np.float32))
        self.bias = wg.zeros(n)
        self.name = "layer"

    def __call__(self, x: Any) -> Any:
        return wg.tanh(x @ self.weight + self.bias)


class Net(wg.tree.Module):
    def __init__(self, n: int = 4, depth: int = 3, rng: np.random.Generator = rng):
        self.layers = [Layer(n, rng) for _ in range(depth)]
        self.scale = 0.5
        self.count = wg.asarray(0)

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        self.count = self.count + 1
        return x * self.scale


class Momentum(wg.tree.Module):
    def __init__(self, model: Net):
        self.model = model
        self.slots = [{"weight": wg.zeros_like(m.weight)} for m in model.layers]
        self.extra = None

    def update(self, grads: Net) -> None:
        slots = []
        for layer, grad, slot in zip(self.model.layers, grads.layers, self.slots, strict=True):
            slots.append({"weight": 0.9 * slot["weight"] + grad.weight})
            layer.weight = layer.weight - 0.1 * slots[-1]["weight"]
            layer.bias = layer.bias - 0.1 * grad.bias
        self.slots = slots


def step(model: Net, optimizer: Momentum, x: Any) -> Any:
    loss, grads = wg.value_and_grad(lambda m: wg.mean(wg.square(m(x))))(model)
    optimizer.update(grads)
    return loss


def numbers(*trees: Any) -> list[np.ndarray]:
    return [np.asarray(v) for v in wg.tree.leaves(trees)]


def trained(executor: str, steps: int = 5) -> tuple[Any, ...]:
    model = Net(rng=np.random.default_rng(7))
    optimizer, f = Momentum(model), wg.jit(step, executor=executor)
    losses = [f(model, optimizer, A) for _ in range(steps)]
    return f, model, optimizer, losses


def test_modules_are_written_back() -> None:
    _, m, o, losses = trained("numpy")
    f, model, optimizer, mine = trained("native")
    assert slow_calls(f) == 2 and optimizer.model is model and optimizer.extra is None
    assert wg.tree.flatten((model, optimizer))[1] == wg.tree.flatten((m, o))[1]
    for got, wanted in zip(numbers(mine, model, optimizer), numbers(losses, m, o), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=1e-6)
    assert int(model.count) == 5 and sys.getrefcount(model) == sys.getrefcount(m)


def test_sharing_is_structure() -> None:
    f = wg.jit(lambda m, o, x: wg.grad(lambda m: wg.mean(wg.square(m(x))))(m).layers[0].bias, executor="native")
    model = Net()
    optimizer = Momentum(model)

    def shares(*slow: int) -> None:
        """Two calls give what the function gives outside of `jit`; so many of them go through Python."""
        before = slow_calls(f)
        expected = np.asarray(wg.grad(lambda m: wg.mean(wg.square(m(A))))(model).layers[0].bias)
        for number in slow:
            np.testing.assert_allclose(np.asarray(f(model, optimizer, A)), expected, rtol=1e-5, atol=1e-8)
            assert slow_calls(f) - before == number

    shares(1, 2, 2)
    own = model.layers[1].bias
    model.layers[1].bias = model.layers[0].bias  # one array for two
    shares(1, 2, 2)
    model.layers[1].bias = own
    shares(0)
    model.layers[1].bias = model.layers[2].bias  # another one
    shares(1, 2, 2)
    model.layers[1].bias, last = own, model.layers[2]
    model.layers[2] = model.layers[0]  # one layer for two
    shares(1, 2, 2)
    model.layers[2] = last
    shares(0)
    optimizer.model = Net()
    shares(1, 2, 2)
    optimizer.model = model
    shares(0)


def test_changes_of_a_module_are_seen() -> None:
    f = wg.jit(lambda m, x: m(x), executor="native")
    m = Net()
    warm(f, m, A)
    m.scale = 2.0
    same(f(m, A), 4 * wg.jit(lambda m, x: m(x), executor="native")(m, A) / 4)
    m.layers.append(Layer(4))
    assert f(m, A).shape == (3, 4)
    m.added = "x"
    f(m, A)
    del m.added, m.layers[1:]
    np.testing.assert_allclose(f(m, A), np.tanh(A @ m.layers[0].weight) * 2, rtol=1e-5)


def test_attributes_may_come_and_go() -> None:
    class Memory(wg.tree.Module):
        def __init__(self) -> None:
            self.x = wg.asarray(B)

        @wg.jit(executor="native")
        def swap(self) -> Any:
            if hasattr(self, "x"):
                self.y = self.z = self.x + 1
                del self.x
            else:
                self.x = (self.y + 1, None, "text", {"k": self.z})[0]
                self.me = self
                del self.y, self.z, self.me
            return None

    m = Memory()
    for k in range(8):
        m.swap()
        assert list(vars(m)) == (["x"] if k % 2 else ["y", "z"])
        assert k % 2 or m.y is m.z
    np.testing.assert_array_equal(np.asarray(m.x), B + 8)


def test_dataclasses_and_objects_in_results() -> None:
    @dataclasses.dataclass
    class State:
        x: Any
        rate: float
        on: bool

    f = wg.jit(lambda s: (State(s.x * s.rate, s.rate + 1, s.on), s.x), executor="native")
    s = State(B, 2.0, True)
    for _ in range(4):
        new, x = f(s)
        assert type(new) is State and new.on is True and float(new.rate) == 3.0
        np.testing.assert_array_equal(np.asarray(new.x), B * 2)
        np.testing.assert_array_equal(np.asarray(x), B)
    assert slow_calls(f) == 2
    s.on = False
    assert f(s)[0].on is False
    g = wg.jit(step_in_place, executor="native")
    for k in range(4):
        g(s)
        assert float(s.rate) == 3.0 + k
    assert slow_calls(g) == 2  # a Python number, then a weak array: one program, one entry


def step_in_place(s: Any) -> None:
    s.rate = s.rate + 1


# Life


def test_references_and_memory_are_steady() -> None:
    f, model, optimizer, _ = trained("native")
    g = wg.jit(lambda p, x, y: ([{"w": v["w"] * 2, "b": (x, y)} for v in p], Pair(x, "s")), executor="native")
    p, x = [{"w": A, "b": B}, {"w": wg.asarray(A), "b": B}], np.ones(3)
    y = wg.asarray(2.0 * B)
    warm(g, p, x, y)
    warm(g, p, x, 1.5)
    held = (A, B, x, y, y.data, p, p[1]["w"], p[1]["w"].data, model, optimizer, "s", Pair, np.dtype("f4"), g._entries)

    def rounds(n: int) -> None:
        for _ in range(n):
            g(p, x, y)
            g(p, x, 1.5)
            g(p, x[:2], y)  # refused late, then taken by another entry
            f(model, optimizer, A)

    rounds(5)
    tracemalloc.start()
    rounds(10)
    gc.collect()
    counts, size = [sys.getrefcount(h) for h in held], tracemalloc.get_traced_memory()[0]
    rounds(20_000)
    gc.collect()
    after = [sys.getrefcount(h) for h in held], tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after[0] == counts and after[1] < size + 20_000


def test_what_is_dropped_dies() -> None:
    f = wg.jit(lambda x: (x * 2, [x + 1]), executor="native")
    x = np.ones(1000)
    out = warm(f, x)
    again = f(x)
    mine, code = weakref.ref(out[1][0]), weakref.ref(f)
    del out
    assert mine() is None
    del f
    gc.collect()
    assert code() is None
    np.testing.assert_array_equal(np.asarray(again[0]), 2 * x)


def test_results_are_the_collectors_business() -> None:
    f = wg.jit(lambda x: [x * 2], executor="native")
    warm(f, A)
    out = f(A)
    assert gc.is_tracked(out)
    out.append(out)
    mine = weakref.ref(out[0])
    del out
    gc.collect()
    assert mine() is None


def test_calls_from_within_a_call() -> None:
    """The collector may run users' code in the midst of a call: that calls the same function."""
    f = wg.jit(lambda x: [(x * 2, {"a": x + 1}) for _ in range(10)], executor="native")
    warm(f, B)
    inside: list[Any] = []

    class Trap:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            inside.append(f(B * 2))

    old = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(50):
            Trap()
            out = f(B)
            np.testing.assert_array_equal(np.asarray(out[9][1]["a"]), B + 1)
    finally:
        gc.set_threshold(*old)
    assert len(inside) > 20
    for out in inside:
        np.testing.assert_array_equal(np.asarray(out[9][0]), B * 4)


@pytest.mark.parametrize("size", [3, 300])
def test_threads(size: int) -> None:
    """Small programs keep other threads waiting, larger ones run beside each other."""
    f = wg.jit(lambda p, x: {"y": [wg.sin(x) * p[0], p[1] + wg.sum(x)]}, executor="native")
    inputs = [rng.normal(size=(size, size)) for _ in range(4)]
    shapes = [rng.normal(size=(size + k, 2)) for k in range(4)]
    ps = [(np.float64(k), float(k)) for k in range(4)]
    expected = [f(p, x) for p, x in zip(ps, inputs, strict=True)]
    others = [f(p, x) for p, x in zip(ps, shapes, strict=True)]
    wrong: list[Any] = []

    def work(k: int) -> None:
        try:
            for turn in range(60):
                same(f(ps[k], inputs[k]), expected[k])
                same(f(ps[k], shapes[(k + turn) % 4]), f(ps[k], shapes[(k + turn) % 4]))
                same(f(ps[k], shapes[k]), others[k])
        except BaseException as error:  # shown by the assertion below
            wrong.append(error)

    four_at_once(work)
    assert not wrong


def test_settings_replaced_by_equal_ones_are_learnt() -> None:
    @dataclasses.dataclass(frozen=True)
    class Config:
        n: int

    class Holder(wg.tree.Module):
        def __init__(self) -> None:
            self.w, self.act = wg.asarray(B), (lambda x: x, "a")

    f = wg.jit(lambda m: m.w * 2, executor="native")
    m = Holder()
    warm(f, m)
    for turn in range(3):
        m.act = (m.act[0], "a" * (turn + 1))
        same(f(m), wg.asarray(B * 2))


def test_memory_that_grows_while_a_loop_runs() -> None:
    """Each call under way has its own, and gives it back."""

    def f(x: Any) -> Any:
        return wg.grad(lambda x: wg.while_loop(lambda c: c < 1e5, lambda c: c * 1.01 + 1.0, x))(x)

    g = wg.jit(f, executor="native")
    wanted = [float(f(np.float64(k))) for k in range(4)]
    warm(g, 0.0)
    wrong: list[int] = []

    def work(k: int, g: Any = g) -> None:
        wrong.extend(k for _ in range(200) if abs(float(g(float(k))) - wanted[k]) > 1e-9 * wanted[k])

    four_at_once(work)
    assert not wrong and slow_calls(g) == 2
    entry = weakref.ref(g._entries[0])
    del g, work
    gc.collect()
    assert entry() is None
