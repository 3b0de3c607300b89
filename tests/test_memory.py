"""What a transformation recorded is freed when its last reference goes, without Python's collector of cycles.

A tape holds every intermediate array. If it hung in a cycle, memory would grow until the collector happened to run.
"""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.execute import jit as jit_module

X = np.arange(1.0, 17.0).reshape(4, 4) / 17 + np.eye(4)


@wg.custom_jvp
def sine(x: Any) -> Any:
    return wg.sin(x)


sine.defjvp(lambda primals, tangents: (wg.sin(primals[0]), wg.cos(primals[0]) * tangents[0]))


def refused(x: Any) -> Any:
    return wg.sum(wg.sin(x), axis=7)


def attempt(f: Callable[[Any], Any]) -> None:
    with pytest.raises(wg.errors.ShapeError):
        f(X)


def scanned(x: Any) -> Any:
    return wg.sum(wg.scan(lambda c, row: (c * row * x[0], c), x[0], x)[0])  # captures x


CALLS: dict[str, Callable[[], Any]] = {
    "grad": lambda: wg.grad(lambda x: wg.sum(wg.tanh(x @ x)))(X),
    "grad of grad": lambda: wg.grad(lambda x: wg.sum(wg.grad(lambda y: wg.sum(wg.tanh(y @ y)))(x)))(X),
    "vjp": lambda: wg.vjp(wg.sin, X)[1](X),
    "jvp": lambda: wg.jvp(wg.sin, (X,), (X,)),
    "linearize": lambda: wg.linearize(wg.sin, X)[1](X),
    "jacobian": lambda: wg.jacobian(lambda x: x @ x)(X),
    "vmap": lambda: wg.vmap(wg.grad(lambda r: wg.sum(r * r)))(X),
    "a primitive that states jvp": lambda: wg.grad(lambda x: wg.sum(wg.linalg.qr(x)[0]))(X),
    "a custom derivative": lambda: wg.grad(lambda x: wg.sum(sine(x)))(X),
    "jit": lambda: wg.jit(lambda x: wg.sin(x))(X),
    "grad of jit": lambda: wg.grad(wg.jit(lambda x: wg.sum(wg.sin(x))))(X),
    "jit that captures": lambda: wg.grad(lambda x: wg.sum(wg.jit(lambda y: y * x)(x)))(X),
    "scan": lambda: wg.grad(scanned)(X),
    "while_loop": lambda: wg.grad(lambda x: wg.while_loop(lambda y: y < 9.0, lambda y: y * x, x))(2.0),
    "checkpoint": lambda: wg.grad(lambda x: wg.sum(wg.checkpoint(lambda y: wg.sin(y) * x)(x)))(X),
    "grad that fails": lambda: attempt(wg.grad(refused)),
    "jit that fails": lambda: attempt(wg.jit(refused)),
}


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def arrays() -> int:
    return sum(issubclass(type(o), wg.Array) for o in gc.get_objects())


@pytest.mark.parametrize("name", CALLS)
def test_nothing_recorded_outlives_its_call(name: str, no_collector: None) -> None:
    CALLS[name]()  # what is made once and kept
    gc.collect()
    before = arrays()
    CALLS[name]()
    assert arrays() == before


def test_an_array_in_a_cycle_is_noticed(no_collector: None) -> None:
    before = arrays()
    ring: list[Any] = [wg.asarray(X) * 2]
    ring.append(ring)
    del ring
    assert arrays() == before + 1


def test_jit_forgets_the_oldest_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit_module, "MOST", 4)
    apply = wg.jit(lambda f, x: f(x))  # a function is a setting: each new one is a new program
    kept = [weakref.ref(f) for f in [apply_new(apply, float(i)) for i in range(8)]]
    gc.collect()
    assert [r() is not None for r in kept] == [False] * 4 + [True] * 4


def apply_new(apply: Any, factor: float) -> Callable[[Any], Any]:
    def times(x: Any) -> Any:
        return x * factor

    assert float(apply(times, 2.0)) == 2.0 * factor
    return times


def test_jit_takes_any_callable() -> None:
    class Doubler:
        def __call__(self, x: Any) -> Any:
            return x * 2

    assert float(wg.jit(functools.partial(lambda a, b: a * b, 2.0))(3.0)) == 6.0
    assert float(wg.jit(Doubler())(3.0)) == 6.0
