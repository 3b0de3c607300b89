"""What `wg.explain` says of native programs: known costs, callbacks, memory, and times that add up."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError, UnsupportedError
from wengert.execute import native
from wengert.explain import GraphSummary

RNG = np.random.default_rng(0)
W, B, X = RNG.standard_normal((64, 32)), RNG.standard_normal(32), RNG.standard_normal((16, 64))

timed = pytest.mark.skipif(not hasattr(time, "CLOCK_MONOTONIC"), reason="profile needs clock_gettime")


def layer(w: Any, b: Any, x: Any) -> Any:
    return wg.tanh(x @ w + b)


def compiled(f: Any) -> Any:
    return wg.jit(f, executor="native")


def test_a_product_with_what_follows_is_one_kernel() -> None:
    told = wg.explain(compiled(layer))(W, B, X)
    (kernel,) = told.kernels
    assert kernel.name == "product 16×32, depth 64, then tanh, add"
    assert kernel.flops == told.flops == 2 * 16 * 32 * 64 + (20 + 1) * 16 * 32
    assert kernel.bytes == 8 * (64 * 32 + 32 + 16 * 64 + 16 * 32)
    assert kernel.floor > 0 and kernel.seconds is None and told.seconds is None and told.callbacks == []
    assert told.threads == 1 and "then tanh, add" in str(told)


def test_costs_of_loops_count_every_turn() -> None:
    def run(x: Any, turns: int) -> Any:
        return wg.scan(lambda c, _: (wg.tanh(c @ c), None), x, None, length=turns)[0]

    x = RNG.standard_normal((20, 20))
    few, many = (wg.explain(compiled(lambda x, n=n: run(x, n)))(x) for n in (10, 1000))
    assert any("1000 turns" in k.name for k in many.kernels)
    assert 1000 * (2 * 20**3 + 20 * 20**2) <= many.flops <= 1001 * (2 * 20**3 + 21 * 20**2)
    assert 90 * few.flops < many.flops < 110 * few.flops


def test_windows_that_stay_are_read_once_and_broadcasts_are_small() -> None:
    told = wg.explain(compiled(lambda x, y: x + y))(np.ones((100, 50)), np.ones(50))
    assert told.bytes == 8 * (2 * 100 * 50 + 50) and told.flops == 100 * 50


def test_steps_by_numpy_are_listed() -> None:
    def f(x: Any) -> Any:
        return wg.linalg.svd(x @ x.T)[1], wg.fft.fft(x)

    told = wg.explain(compiled(f))(X)
    assert [c.name for c in told.callbacks] == ["svd", "convert", "fft"]
    assert "NumPy: svd" in str(told)


def test_the_workspace_is_that_of_the_program() -> None:
    f = compiled(lambda x: wg.sum(wg.exp(x @ x.T) @ x))
    told = wg.explain(f)(X)
    assert told.workspace_bytes == native.compiled(f.lower(X).graph).workspace_bytes > 0


@timed
def test_times_are_measured() -> None:
    def f(w: Any, b: Any, x: Any) -> Any:
        s = wg.linalg.svd(wg.square(x[:, :16]))[1]
        return layer(w, b, x), wg.scan(lambda c, r: (wg.sin(c + r), c), x[0], x), s

    told = wg.explain(compiled(f), profile=True)(W, B, X)
    assert all(k.seconds is not None and 0 <= k.seconds < 1 for k in told.kernels)
    assert [c.name for c in told.callbacks] == ["svd"] and told.callbacks[0].seconds > 0
    assert 0 < sum(k.seconds for k in (*told.kernels, *told.callbacks)) < told.seconds
    assert "NumPy: svd" in str(told) and "of floor" in str(told)


@timed
def test_a_longer_loop_takes_longer() -> None:
    def f(x: Any) -> Any:
        short = wg.scan(lambda c, _: (wg.sin(c) + 1.0, None), x, None, length=100)[0]
        return wg.scan(lambda c, _: (wg.cos(c) + 1.0, None), short, None, length=10_000)[0]

    told = wg.explain(compiled(f), profile=True)(np.ones(200))
    took = {n: sum(k.seconds for k in told.kernels if f" {n} turns" in k.name) for n in (100, 10_000)}
    assert took[10_000] > 20 * took[100] > 0


@timed
def test_kernels_that_threads_share_are_timed() -> None:
    if wg.get_num_threads() < 2:
        pytest.skip("there is one thread")
    x, w = RNG.standard_normal((256, 256)), RNG.standard_normal((256, 256))
    told = wg.explain(compiled(lambda x, w: wg.tanh(wg.tanh(x @ w) @ w)), profile=True)(x, w)
    assert told.threads >= 2 and told.waiting is not None and all(k.seconds > 0 for k in told.kernels)


@timed
def test_arguments_stay_as_they_are() -> None:
    w = wg.asarray(W.copy())
    f = wg.jit(lambda w, g: w - 0.1 * g, executor="native", donate_argnums=0)
    wg.explain(f, profile=True)(w, W)
    wg.explain(f)(w, W)
    assert np.array_equal(np.asarray(w), W) and np.allclose(f(w, W), 0.9 * W)


def test_modules_and_their_methods_are_explained() -> None:
    model, x = wg.nn.Linear(4, 3), np.ones((2, 4), np.float32)
    whole, method = wg.explain(wg.jit(model, executor="native")), wg.explain(compiled(lambda m, x: m(x)))
    for told in (whole(x), method(model, x)):
        assert told.kernels[-1].name.startswith("product 2×3, depth 4")


def test_other_functions_are_told_of_as_before() -> None:
    assert isinstance(wg.explain(layer)(W, B, X), GraphSummary)
    assert isinstance(wg.explain(wg.jit(layer, executor="numpy"))(W, B, X), GraphSummary)
    assert "dot_general" in str(wg.explain(wg.jit(layer, executor="numpy"))(W, B, X))


def test_what_has_no_kernels_is_not_timed() -> None:
    with pytest.raises(ArgumentError, match="native"):
        wg.explain(layer, profile=True)
    with pytest.raises(UnsupportedError, match="native"):
        wg.explain(wg.jit(layer, executor="numpy"), profile=True)(W, B, X)
