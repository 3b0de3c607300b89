"""What is not taken has no influence: gradients at masked singularities are finite, in every mode and order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg

INF = np.inf
KEEP = np.array([True, False, True])
SHIFT = wg.asarray(np.array([0.0, -INF, 0.0]))
NOTHING = wg.asarray(np.array([-INF, -INF]))


def safe(condition: Callable[[Any], Any], f: Callable[[Any], Any], other: float = 0.0) -> Callable[[Any], Any]:
    return lambda x: wg.where(condition(x), f(x), other)


def positive(x: Any) -> Any:
    return x > 0


def nonzero(x: Any) -> Any:
    return x != 0


def small(x: Any) -> Any:
    return wg.abs(x) < 1


def softmax(z: Any) -> Any:
    e = wg.exp(z - wg.max(z))
    return e / wg.sum(e)


def norm_if_any(x: Any) -> Any:
    n = wg.sum(x**2)
    return wg.where(n > 0, wg.sqrt(n), 0.0)


# name: function of one array, point, its gradient there, its second derivatives summed over the last axis
CASES: dict[str, tuple[Callable[[Any], Any], Any, Any, Any]] = {
    "log": (safe(positive, wg.log), 0.0, 0, 0),
    "log of a negative": (safe(positive, wg.log), -1.0, 0, 0),
    "sqrt": (safe(positive, wg.sqrt), 0.0, 0, 0),
    "sqrt of a negative": (safe(positive, wg.sqrt), -1.0, 0, 0),
    "cbrt": (safe(nonzero, wg.cbrt), 0.0, 0, 0),
    "log2": (safe(positive, wg.log2), 0.0, 0, 0),
    "log1p": (safe(lambda x: x > -1, wg.log1p), -1.0, 0, 0),
    "asin": (safe(small, wg.asin), 1.0, 0, 0),
    "acosh": (safe(lambda x: x > 1, wg.acosh), 1.0, 0, 0),
    "atanh": (safe(small, wg.atanh), 1.0, 0, 0),
    "atan2": (safe(nonzero, lambda x: wg.atan2(x, x)), 0.0, 0, 0),
    "1/x": (safe(nonzero, lambda x: 1 / x), 0.0, 0, 0),
    "x/x": (safe(nonzero, lambda x: x / x, 1.0), 0.0, 0, 0),
    "sin(x)/x": (safe(nonzero, lambda x: wg.sin(x) / x, 1.0), 0.0, 0, 0),
    "tanh(0/0)": (safe(nonzero, lambda x: wg.tanh(wg.sin(x) / x), 1.0), 0.0, 0, 0),
    "abs(0/0)": (safe(nonzero, lambda x: wg.abs(wg.sin(x) / x), 1.0), 0.0, 0, 0),
    "maximum(0/0)": (safe(nonzero, lambda x: wg.maximum(wg.sin(x) / x, 0.0), 1.0), 0.0, 0, 0),
    "5/(x - x)": (lambda x: wg.where(x > 0, 5.0 / (x - x), x), 0.0, 1, 0),
    "1/sqrt(x)": (safe(positive, lambda x: 1 / wg.sqrt(x)), 0.0, 0, 0),
    "x**0.5": (safe(positive, lambda x: x**0.5), 0.0, 0, 0),
    "x**-1": (safe(nonzero, lambda x: x**-1), 0.0, 0, 0),
    "x**-1.5": (safe(positive, lambda x: x**-1.5), 0.0, 0, 0),
    "x**x": (safe(positive, lambda x: x**x), 0.0, 0, 0),
    "x log x": (safe(positive, lambda x: x * wg.log(x)), 0.0, 0, 0),
    "0·inf": (safe(positive, lambda x: x * wg.exp(1e4 * (1 - x))), 0.0, 0, 0),
    "exp(exp(x))": (safe(lambda x: x < 10, lambda x: wg.exp(wg.exp(x))), 1e4, 0, 0),
    "logaddexp(-inf, -inf)": (safe(lambda x: x > 2, lambda x: wg.logaddexp(x - INF, -INF)), 1.0, 0, 0),
    "log(clip)": (lambda x: wg.log(wg.clip(x, 1e-3, 1.0)), 0.0, 0, 0),
    "a safe inner where": (lambda x: wg.where(x > 0, 1 / wg.where(x > 0, x, 1.0), 0.0), 0.0, 0, 0),
    # no mask: corners with a convention
    "x**0": (lambda x: x**0, 0.0, 0, 0),
    "x**0.0": (lambda x: x**0.0, 0.0, 0, 0),
    "power(x, array 0)": (lambda x: wg.power(x, wg.asarray(np.array(0.0))), 0.0, 0, 0),
    "power(x, array 1)": (lambda x: wg.power(x, wg.asarray(np.array(1.0))), 0.0, 1, 0),
    "power(x, array 2)": (lambda x: wg.power(x, wg.asarray(np.array(2.0))), 0.0, 0, 2),
    "power(-2, array 3)": (lambda x: wg.power(x, wg.asarray(np.array(3.0))), -2.0, 12, -12),
    "x**1": (lambda x: x**1, 0.0, 1, 0),
    "x**2": (lambda x: x**2, 0.0, 0, 2),
    "x**2.5": (lambda x: x**2.5, 0.0, 0, 0),
    "0**x at 0": (lambda x: wg.power(0.0, x), 0.0, 0, 0),
    "0**x at 1": (lambda x: wg.power(0.0, x), 1.0, 0, 0),
    "abs": (wg.abs, 0.0, 0, 0),
    "hypot": (lambda x: wg.hypot(x, 0.0 * x), 0.0, 0, 0),
    "norm": (wg.linalg.vector_norm, [0.0, 0.0], [0, 0], [0, 0]),
    "norm by hand": (norm_if_any, [0.0, 0.0], [0, 0], [0, 0]),
    "std of equals": (wg.std, [1.0, 1.0], [0, 0], [0, 0]),
    "var of equals": (wg.var, [1.0, 1.0], [0, 0], [0, 0]),
    "prod with two zeros": (wg.prod, [0.0, 0.0, 2.0], [0, 0, 0], [2, 2, 0]),
    "prod with one zero": (wg.prod, [0.0, 3.0, 2.0], [6, 0, 0], [5, 2, 3]),
    "max at a tie": (wg.max, [1.0, 1.0], [0.5, 0.5], [0, 0]),
    "min at a tie": (wg.min, [1.0, 1.0], [0.5, 0.5], [0, 0]),
    "maximum at a tie": (lambda x: wg.maximum(x, 0.0), 0.0, 0.5, 0),
    "minimum at a tie": (lambda x: wg.minimum(x, 0.0), 0.0, 0.5, 0),
    "logaddexp(x, -inf)": (lambda x: wg.logaddexp(x, -INF), 1.0, 1, 0),
    "logsumexp of -inf": (
        lambda x: wg.where(wg.sum(x) > 100, wg.logsumexp(x + NOTHING), 0.0),
        [1.0, 2.0],
        [0, 0],
        [0, 0],
    ),
    "sum of 0/0": (lambda x: wg.where(wg.sum(x) != 0, wg.sum(x / x), 1.0), [0.0, 0.0], [0, 0], [0, 0]),
}


@pytest.mark.parametrize("name", CASES)
def test_masked_singularities_and_corners(name: str) -> None:
    f, point, gradient, second = CASES[name]
    x = np.asarray(point, np.float64)
    ones = np.ones_like(x)
    assert np.array_equal(wg.grad(f)(x), gradient)
    assert np.array_equal(wg.grad(wg.jit(f))(x), gradient)
    assert np.array_equal(wg.jacfwd(f)(x), gradient)
    assert np.array_equal(wg.jvp(f, (x,), (ones,))[1], np.sum(gradient))
    for twice in (wg.hessian(f), wg.jacrev(wg.grad(f)), wg.jacfwd(wg.jacfwd(f)), wg.jacrev(wg.jacfwd(f))):
        assert np.array_equal(np.sum(np.asarray(twice(x)), axis=-1) if x.ndim else twice(x), second)
    assert np.array_equal(np.asarray(wg.hvp(f, (x,), (ones,))).sum(), np.sum(second))


@pytest.mark.parametrize(
    "masked", [lambda x: x + SHIFT, lambda x: wg.where(wg.asarray(KEEP), x, -INF)], ids=["added", "chosen"]
)
def test_softmax_behind_a_mask_is_softmax_of_the_rest(masked: Callable[[Any], Any]) -> None:
    x, w = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.7, -1.0])
    rest, weight = x[KEEP], wg.asarray(w[KEEP])

    def whole(v: Any) -> Any:
        return wg.sum(softmax(masked(v)) ** 2 * wg.asarray(w))

    def part(v: Any) -> Any:
        return wg.sum(softmax(v) ** 2 * weight)

    gradient, hessian = np.asarray(wg.grad(whole)(x)), np.asarray(wg.hessian(whole)(x))
    np.testing.assert_allclose(gradient[KEEP], wg.grad(part)(rest), rtol=1e-12)
    np.testing.assert_allclose(hessian[np.ix_(KEEP, KEEP)], wg.hessian(part)(rest), rtol=1e-10, atol=1e-12)
    assert gradient[1] == 0 and not hessian[1].any() and not hessian[:, 1].any()


def test_logsumexp_behind_a_mask() -> None:
    gradient = wg.grad(lambda x: wg.logsumexp(x + SHIFT))(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(gradient, [1 / (1 + np.e**2), 0, 1 / (1 + np.e**-2)], rtol=1e-12)


def test_xlogy() -> None:
    zero = np.float64(0.0)
    assert float(wg.xlogy(zero, zero)) == 0
    by_x, by_y = wg.grad(wg.xlogy, (0, 1))(zero, np.float64(2.0))
    assert float(by_x) == pytest.approx(np.log(2.0)) and float(by_y) == 0
    assert float(wg.grad(lambda y: wg.xlogy(0.0, y))(zero)) == 0


def test_entropy_of_a_certain_event() -> None:
    """Σ p log p with a zero probability behind a mask: the gradient of the rest is untouched."""
    p = np.array([0.0, 0.25, 0.75])
    gradient = wg.grad(lambda q: wg.sum(wg.where(q > 0, q * wg.log(q), 0.0)))(p)
    np.testing.assert_allclose(gradient, [0, np.log(0.25) + 1, np.log(0.75) + 1], rtol=1e-12)


def test_a_singularity_that_counts_is_not_hidden() -> None:
    assert float(wg.grad(wg.sqrt)(0.0)) == INF
    assert float(wg.grad(wg.log)(0.0)) == INF
    assert np.isnan(float(wg.grad(lambda x: x * wg.log(x))(-1.0)))
    assert np.isnan(float(wg.grad(lambda x: wg.sqrt(x**2))(0.0)))
