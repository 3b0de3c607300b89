"""Workspaces that are lent: shared by programs that follow each other, never by programs that run at the same time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.team_orders import four_at_once
from tests.test_entry import slow_calls
from wengert.execute.native import workspaces
from wengert.ir.primitive import registry

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def nothing_idle() -> Iterator[None]:
    """What other tests' programs want is put aside."""
    gc.collect()
    idle, wanted = list(workspaces.idle), dict(workspaces._wanted)
    workspaces.idle.clear()
    workspaces._wanted.clear()
    yield
    gc.collect()
    workspaces.idle.extend(idle)
    workspaces._wanted.update(wanted)


def large(n: int, k: float = 1.0) -> tuple[Callable[..., Any], np.ndarray, np.ndarray]:
    """A jitted function with a workspace of more than n · 1,024 · 8 bytes, an argument, and what it gives."""
    f = wg.jit(lambda x: wg.tanh(wg.sin(x * k) @ x.T) @ x, executor="native")
    x = rng.normal(size=(n, 1024)) / 40
    return f, x, np.tanh(np.sin(x * k) @ x.T) @ x


def check(f: Callable[..., Any], x: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(f(x)), wanted, rtol=1e-9, atol=1e-9)


def test_programs_share_one() -> None:
    first, second = large(200), large(210, 2.0)
    for _ in range(5):
        check(*first)
        check(*second)
        assert len(workspaces.idle) == 1
    assert slow_calls(first[0]) <= 3 and slow_calls(second[0]) == 2  # the first meets one that is larger, later
    assert max(workspaces._wanted) <= workspaces.idle[0].size


def test_a_larger_program_gets_a_larger_one() -> None:
    small, big = large(150), large(400)
    for _ in range(4):
        check(*small)
    before = workspaces.idle[0]
    for _ in range(4):
        check(*big)
    assert len(workspaces.idle) == 1 and workspaces.idle[0].size > before.size
    calls = slow_calls(small[0])
    for _ in range(3):
        check(*small)
    assert slow_calls(small[0]) == calls  # what is large enough for others will do
    workspaces.idle.clear()
    workspaces.give_back(workspaces.aligned(4096))  # too small for both
    check(*big)
    check(*big)
    assert len(workspaces.idle) == 1


def test_small_workspaces_are_not_lent() -> None:
    f = wg.jit(lambda x: wg.sin(x @ x) @ x, executor="native")
    x = np.eye(16)
    for _ in range(4):
        check(f, x, np.sin(x))
    assert not workspaces.idle


def test_one_that_grows_is_not_lent() -> None:
    """What stores know of themselves lies in the workspace."""

    def f(x: Any) -> Any:
        return wg.while_loop(lambda y: wg.sum(y * y) < 1e9, lambda y: wg.sin(y) + 1.5 * y, x).sum()

    g = wg.jit(wg.grad(f), executor="native")
    x = rng.normal(size=(200, 1024))
    results = [np.asarray(g(x)) for _ in range(4)]
    assert not workspaces.idle and all(np.array_equal(r, results[0]) for r in results)


def test_memory_goes_back_with_its_programs() -> None:
    small, big = large(150), large(400)
    for _ in range(3):
        check(*small)
        check(*big)
    size = workspaces.idle[0].size
    del big
    gc.collect()
    assert not workspaces.idle
    check(*small)
    assert workspaces.idle[0].size < size
    del small
    gc.collect()
    assert not workspaces.idle and not workspaces._wanted


@pytest.mark.parametrize("donate", [(), 0])
def test_threads_at_the_same_time(donate: Any) -> None:
    """Each call has a workspace for itself, in machine code as in Python."""
    programs = [large(200, k) for k in (1.0, 2.0, 3.0)]
    if donate == 0:
        programs = [(wg.jit(f, executor="native", donate_argnums=0), x, y) for f, x, y in programs]
    wrong: list[Any] = []

    def work(number: int) -> None:
        for turn in range(12):
            f, x, wanted = programs[(number + turn) % 3]
            if not np.allclose(np.asarray(f(wg.asarray(x.copy()))), wanted, rtol=1e-9, atol=1e-9):
                wrong.append((number, turn))

    four_at_once(work)
    assert not wrong
    assert 1 <= len(workspaces.idle) <= 4 and len({w.ctypes.data for w in workspaces.idle}) == len(workspaces.idle)


def test_steps_for_numpy_and_errors_give_theirs_back(monkeypatch: Any) -> None:
    def f(x: Any) -> Any:
        return wg.sum(wg.linalg.svd(wg.sin(x) @ x.T)[1]) + wg.sum(wg.tanh(x @ x.T) @ x)

    g = wg.jit(f, executor="native")
    x = rng.normal(size=(180, 1024)) / 30
    wanted = np.linalg.svd(np.sin(x) @ x.T)[1].sum() + (np.tanh(x @ x.T) @ x).sum()
    for _ in range(4):
        assert np.isclose(float(g(x)), wanted)
    assert len(workspaces.idle) == 1

    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("broken for this test")

    monkeypatch.setattr(registry["svd"], "evaluate", broken)
    with pytest.raises(Exception, match="broken"):
        g(x)
    assert len(workspaces.idle) == 1
