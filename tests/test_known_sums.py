"""Sums that need no pass because they follow from others, and masks that are seen from a result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import nn
from wengert.execute import numpy as reference
from wengert.ir.graph import Graph
from wengert.nn import functional as F
from wengert.passes.pipeline import simplify

RNG = np.random.default_rng(0)


def both(f: Any, *args: Any, tolerance: float = 1e-12) -> Graph:
    """`f(*args)` before and after the passes; returns the graph after them."""
    graph = wg.jit(f).lower(*args).graph
    after = simplify(graph)
    values = [np.asarray(a) for a in wg.tree.leaves(args)]
    for got, wanted in zip(reference.run(after, values), reference.run(graph, values), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    return after


def count(graph: Graph, name: str) -> int:
    return sum(node.primitive.name == name for node in graph.nodes)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (0, 1, 2)])
def test_what_is_centred_adds_up_to_nothing(axes: tuple[int, ...]) -> None:
    x = RNG.standard_normal((4, 5, 6))

    def f(x: Any) -> Any:
        c = x - wg.mean(x, axis=axes, keepdims=True)
        return wg.sum(c, axis=axes), wg.sum(2 * c, axis=axes), wg.tanh(c)

    assert count(both(f, x), "sum") == 1


def test_derivative_of_a_normalisation_takes_four_sums() -> None:
    x, w, b, t = (
        RNG.standard_normal((8, 5, 4, 4)),
        RNG.standard_normal(5),
        RNG.standard_normal(5),
        RNG.random((8, 1, 4, 4)),
    )

    def loss(x: Any, w: Any, b: Any) -> Any:
        return wg.sum(wg.tanh(F.batch_norm(x, None, None, w, b, True)) * t)

    after = both(wg.grad(loss, (0, 1, 2)), x, w, b)
    assert count(after, "sum") == 4  # the mean, the variance; the gradients of bias and weight
    u = [RNG.standard_normal(np.shape(a)) for a in (x, w, b)]
    graph = wg.jit(lambda *a: wg.grad(loss, (0, 1, 2))(*a), executor="native")
    h = 1e-6
    slope = (loss(x + h * u[0], w + h * u[1], b + h * u[2]) - loss(x - h * u[0], w - h * u[1], b - h * u[2])) / (2 * h)
    pushed = sum(np.sum(np.asarray(g) * v) for g, v in zip(graph(x, w, b), u, strict=True))
    assert abs(float(slope) - pushed) < 1e-7 * max(1.0, abs(pushed))


def test_of_a_layer_normalisation() -> None:
    x, w, b = RNG.standard_normal((6, 20)), RNG.standard_normal(20), RNG.standard_normal(20)
    both(wg.grad(lambda x, w, b: wg.sum(wg.sin(F.layer_norm(x, 20, w, b))), (0, 1, 2)), x, w, b)


def test_sums_over_other_axes_or_of_other_shifts_stay() -> None:
    x = RNG.standard_normal((4, 5))

    def f(x: Any) -> Any:
        c = x - wg.mean(x, axis=0, keepdims=True)
        d = x - wg.sum(x, axis=0, keepdims=True) * 0.3
        return wg.sum(c, axis=1), wg.sum(d, axis=0), wg.sum(c * x, axis=0)

    assert count(both(f, x), "sum") == 4


def test_a_mean_that_stands_beside_other_numbers_is_no_centre() -> None:
    """Where as many numbers are in a row as in a column, the mean of each column may be taken from a row."""
    x = RNG.standard_normal((3, 3)) ** 2

    def f(x: Any) -> Any:
        below, right = wg.mean(x, axis=0), wg.mean(x, axis=1)
        other = wg.sum(x - wg.reshape(below, (3, 1)), axis=0), wg.sum(x - right, axis=1)
        return below, right, other, wg.sum(x - below, axis=0)

    both(f, x)


def test_a_number_near_the_mean_is_not_the_mean() -> None:
    both(lambda x: wg.sum(x - 0.1111111 * wg.sum(x)), RNG.standard_normal(9) ** 2, tolerance=1e-14)


def test_not_finite_stays_not_finite() -> None:
    x = RNG.standard_normal((4, 5))
    x[1, 2], x[2, 3] = np.inf, np.nan
    with np.errstate(invalid="ignore"):
        both(lambda x: wg.sum(x - wg.mean(x, axis=0, keepdims=True), axis=0), x)


def test_a_rectifier_is_seen_from_its_result() -> None:
    x, y = RNG.standard_normal((8, 3, 6, 6)).astype(np.float32), np.arange(8) % 4
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.AdaptiveAvgPool2d(1))

    def loss(model: Any) -> Any:
        return F.cross_entropy(wg.reshape(model(x), (8, 4)), y)

    results = [wg.jit(wg.value_and_grad(loss), executor=e)(model) for e in ("native", "numpy")]
    for got, wanted in zip(*map(wg.tree.leaves, results), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-6)


def test_masks_at_zero_and_nan() -> None:
    x = np.array([[-1.0, 0.0, -0.0, np.nan, 2.0, np.inf]])
    w = RNG.standard_normal((6, 6))

    def f(x: Any, w: Any) -> Any:
        y = F.relu(x)
        _, pull = wg.vjp(F.relu, x)
        return y @ w, pull(x * 3 + 1)[0]

    with np.errstate(invalid="ignore"):
        both(f, x, w)
