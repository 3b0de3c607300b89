"""Answers that are known beforehand: chains, one weight, activations, shortcuts, recurrence."""

from __future__ import annotations

import math

import numpy as np
import pytest

import wengert as wg


@pytest.mark.parametrize("factor", [1.1, 0.9])
def test_a_chain_of_factors_multiplies_them(factor: float) -> None:
    """A hundred layers with one weight each: the gradient is the product of the weights, 13,781 or 0.0000266."""

    def chain(x):
        for _ in range(100):
            x = factor * x
        return x

    exact = factor**100
    assert float(wg.grad(chain)(1.0)) == pytest.approx(exact, rel=1e-13)
    assert float(wg.jvp(chain, (1.0,), (1.0,))[1]) == pytest.approx(exact, rel=1e-13)
    assert math.isclose(exact, 13780.6123398 if factor > 1 else 2.6561398887e-05, rel_tol=1e-9)


def test_one_weight_descends_to_its_known_place() -> None:
    """`w = 2`, cost `0.5·w⁴`, rate 0.02: thirty updates `w -= 0.02·2w³` lead to 0.597."""
    cost = wg.grad(lambda w: 0.5 * w**4)
    w, by_hand = 2.0, 2.0
    for _ in range(30):
        w = w - 0.02 * cost(w)
        by_hand -= 0.02 * 2 * by_hand**3
    assert float(w) == pytest.approx(0.597, abs=5e-4)
    assert float(w) == pytest.approx(by_hand, rel=1e-14)


def sigmoid(x):
    return 1 / (1 + wg.exp(-x))


def test_the_sigmoid_passes_at_most_a_quarter() -> None:
    x = np.linspace(-20, 20, 4001)
    slope = np.asarray(wg.vmap(wg.grad(sigmoid))(x))
    assert slope.max() == 0.25 and x[slope.argmax()] == 0.0
    assert np.all(slope > 0)
    e = np.exp(-np.abs(x))
    np.testing.assert_allclose(slope, e / (1 + e) ** 2, rtol=1e-12)


def test_a_chain_of_sigmoids_vanishes_no_slower_than_a_quarter_each() -> None:
    def deep(x):
        for _ in range(20):
            x = sigmoid(x)
        return x

    assert 0 < float(wg.grad(deep)(0.3)) <= 0.25**20


def test_a_shortcut_adds_one() -> None:
    """A residual block `x + f(x)` has the derivative `1 + f'(x)`; a stack of them the product of those."""

    def f(x):
        return wg.tanh(0.1 * x)

    def slope(x):
        return 0.1 * (1 - math.tanh(0.1 * x) ** 2)

    assert float(wg.grad(lambda x: x + f(x))(0.7)) == pytest.approx(1 + slope(0.7), rel=1e-14)

    def stack(x, shortcut):
        for _ in range(30):
            x = x + f(x) if shortcut else f(x)
        return x

    expected, x = 1.0, 0.7
    for _ in range(30):
        expected *= 1 + slope(x)
        x += math.tanh(0.1 * x)
    assert float(wg.grad(stack)(0.7, True)) == pytest.approx(expected, rel=1e-13)
    assert float(wg.grad(stack)(0.7, False)) < 1e-29  # without the 1, thirty factors of at most 0.1


def test_a_recurrent_gradient_is_the_sum_of_its_steps() -> None:
    """`dL/dW` of `h = tanh(W h + x)` is the sum over steps of what that step's own copy of W receives."""
    rng = np.random.default_rng(7)
    W, h0, xs = rng.normal(size=(3, 3)) * 0.5, rng.normal(size=3), rng.normal(size=(6, 3))

    def final(weights):
        h = wg.asarray(h0)
        for w, x in zip(weights, xs, strict=True):
            h = wg.tanh(w @ h + x)
        return wg.sum(h * h)

    shared = np.asarray(wg.grad(lambda w: final([w] * 6))(W))
    each = wg.grad(final)([W] * 6)
    np.testing.assert_allclose(shared, np.sum([np.asarray(g) for g in each], axis=0), rtol=1e-12)

    # the same terms by hand: δ_t carried back through diag(1 - h²)·W
    hs = [h0]
    for x in xs:
        hs.append(np.tanh(W @ hs[-1] + x))
    delta, terms = 2 * hs[-1], []
    for t in range(6, 0, -1):
        local = delta * (1 - hs[t] ** 2)
        terms.append(np.outer(local, hs[t - 1]))
        delta = W.T @ local
    for got, wanted in zip(each, reversed(terms), strict=True):
        np.testing.assert_allclose(np.asarray(got), wanted, rtol=1e-12)


def test_paths_sum_and_chains_multiply() -> None:
    """`y = (a + b)·a`: `∂y/∂a` is the sum of two paths, `(a + b) + a`."""
    f = wg.grad(lambda a, b: (a + b) * a, argnums=(0, 1))
    da, db = f(3.0, 5.0)
    assert (float(da), float(db)) == (11.0, 3.0)


def test_the_hessian_of_the_rosenbrock_function() -> None:
    def f(p):
        return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2

    x, y = -1.2, 1.0
    rows = [np.asarray(wg.hvp(f, (np.array([x, y]),), (e,))) for e in np.eye(2)]
    np.testing.assert_allclose(rows, [[2 - 400 * (y - 3 * x * x), -400 * x], [-400 * x, 200]], rtol=1e-13)


@pytest.mark.parametrize(("x", "y", "first"), [(-math.inf, -math.inf, 0.0), (math.inf, math.inf, 0.5), (1.0, 1.0, 0.5)])
def test_logaddexp_of_equal_numbers(x: float, y: float, first: float) -> None:
    """As logsumexp: -inf passes nothing on, +inf shares equally."""
    by_pair = wg.grad(wg.logaddexp, (0, 1))(x, y)
    assert [float(d) for d in by_pair] == [first, first]
    assert np.asarray(wg.grad(wg.logsumexp)(wg.asarray([x, y]))).tolist() == [first, first]


def test_logaddexp_bends_by_a_quarter_where_its_arguments_are_equal() -> None:
    assert float(wg.grad(wg.grad(lambda x: wg.logaddexp(x, 1.0)))(1.0)) == pytest.approx(0.25)


def test_the_sign_of_a_zero_part_is_kept() -> None:
    """sqrt is cut along the negative axis: the sign of the zero says on which side a number lies."""
    one = wg.asarray([1.0 + 0.0j])
    for _ in range(2):  # whichever came first
        assert np.asarray(wg.sqrt(one * complex(-1.0, 0.0))).imag.tolist() == [1.0]
        assert np.asarray(wg.sqrt(one * complex(-1.0, -0.0))).imag.tolist() == [-1.0]
