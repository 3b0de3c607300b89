"""Transformations against each other, nested in any order, on fixed small programs with every kind of step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.checks import Point, arrays, check_pull, check_push, check_second, close, inner

rng = np.random.default_rng(11)
W, B, X = rng.normal(size=(3, 4)) * 0.5, rng.normal(size=4) * 0.1, rng.normal(size=(5, 3))


def net(w: Any, b: Any) -> Any:
    """A layer, a softmax and a loss in one number."""
    h = wg.tanh(X @ w + b)
    p = wg.exp(h - wg.max(h, axis=1, keepdims=True))
    return -wg.mean(wg.log(p[:, 0] / wg.sum(p, axis=1)))


def several(w: Any, b: Any) -> Any:
    """Several outputs, one of them straight through, one that depends on one input only."""
    return wg.sin(w) @ b, w, wg.sum(b * b), {"both": w * b, "constant": 2.0}


def branching(w: Any, b: Any) -> Any:
    """Python's own control flow on concrete values."""
    total = wg.sum(b)
    for k in range(3):
        total = total * wg.cos(w[k, 0]) if w[k, 1] > 0 else total + wg.sum(w[k] ** 2)
    return total


FUNCTIONS = {"net": net, "branching": branching}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_identities(name: str) -> None:
    for check in (check_push, check_pull, check_second):
        check(Point(FUNCTIONS[name], (W, B), seed=3))


def flat(out: Any) -> list[np.ndarray]:
    return [np.asarray(x) for x in wg.tree.leaves(out)]


def test_linearize_jvp_and_vjp_are_one_map() -> None:
    """The same Jacobian by `linearize`, by `jvp`, and transposed by `vjp`, for outputs of any structure."""
    tangents = (rng.normal(size=W.shape), rng.normal(size=B.shape))
    out, pushforward = wg.linearize(several, W, B)
    again, pushed = wg.jvp(several, (W, B), tangents)
    for a, b in zip(flat(pushforward(*tangents)), flat(pushed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    for a, b in zip(flat(out), flat(again), strict=True):
        np.testing.assert_array_equal(a, b)
    value, pullback = wg.vjp(several, W, B)
    cotangents = wg.tree.map(lambda o: rng.normal(size=np.shape(o)), value)
    pulled = pullback(cotangents)
    left, right = inner(flat(pulled), list(tangents)), inner(flat(cotangents), flat(pushed))
    assert left == pytest.approx(right, rel=1e-12)


def test_a_pullback_is_linear_and_can_be_called_again() -> None:
    _, back = wg.vjp(lambda w, b: wg.sin(w) @ b, W, B)
    u, v = rng.normal(size=3), rng.normal(size=3)
    for a, b, c in zip(back(u), back(v), back(2 * u - 3 * v), strict=True):
        close(c, 2 * np.asarray(a) - 3 * np.asarray(b), 1e-13, 1.0, "linearity")
    np.testing.assert_array_equal(back(u)[0], back(u)[0])


def dense_hessian(f: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    """By central differences of central differences, NumPy only."""
    n, h = x.size, 1e-3
    e = np.eye(n) * h

    def value(y: np.ndarray) -> float:
        return float(f(wg.asarray(y)))

    return np.array(
        [
            [(value(x + a + b) - value(x + a - b) - value(x - a + b) + value(x - a - b)) / (4 * h * h) for b in e]
            for a in e
        ]
    )


def scalar(x: Any) -> Any:
    return wg.sum(wg.sin(x) * x[::-1]) + wg.prod(x) * wg.exp(-x[0])


ROUTES: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "forward over reverse": lambda x, v: wg.jvp(wg.grad(scalar), (x,), (v,))[1],
    "reverse over reverse": lambda x, v: wg.grad(lambda y: wg.sum(wg.grad(scalar)(y) * v))(x),
    "reverse over forward": lambda x, v: wg.grad(lambda y: wg.jvp(scalar, (y,), (v,))[1])(x),
    "forward over forward": lambda x, v: wg.vmap(
        lambda e: wg.jvp(lambda y: wg.jvp(scalar, (y,), (v,))[1], (x,), (e,))[1]
    )(np.eye(x.size)),
    "linearize of grad": lambda x, v: wg.linearize(wg.grad(scalar), x)[1](v),
    "vjp of grad": lambda x, v: wg.vjp(wg.grad(scalar), x)[1](v)[0],
    "hvp": lambda x, v: wg.hvp(scalar, (x,), (v,)),
    "vmap of grad of jvp": lambda x, v: wg.vmap(wg.grad(lambda y: wg.jvp(scalar, (y,), (v,))[1]))(np.stack([x, x]))[1],
    "grad of the sum of vmap": lambda x, v: wg.grad(
        lambda y: wg.sum(wg.vmap(lambda t: wg.jvp(scalar, (y,), (t,))[1])(np.stack([v, 0 * v])))
    )(x),
}


@pytest.mark.parametrize("route", ROUTES)
def test_second_order_by_every_route(route: str) -> None:
    x, v = rng.uniform(0.3, 1.5, 4), rng.normal(size=4)
    close(ROUTES[route](x, v), dense_hessian(scalar, x) @ v, 3e-6, 1.0, route)
    close(ROUTES[route](x, v), ROUTES["hvp"](x, v), 1e-12, 1.0, route)


def pushed_along_one(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: wg.jvp(f, (x,), (1.0,))[1]


@pytest.mark.parametrize("order", range(1, 7))
def test_derivatives_of_high_order(order: int) -> None:
    """`d^n/dx^n e^(2x) = 2^n e^(2x)`, by n nested gradients and by n nested pushes."""
    reverse = forward = lambda x: wg.exp(2.0 * x)
    for _ in range(order):
        reverse, forward = wg.grad(reverse), pushed_along_one(forward)
    exact = 2**order * np.exp(0.6)
    assert float(reverse(0.3)) == pytest.approx(exact, rel=1e-13)
    assert float(forward(0.3)) == pytest.approx(exact, rel=1e-13)


def test_perturbations_are_not_confused() -> None:
    """Derivatives by x and y, nested, with inner functions that use the outer variable.

    The examples of Siskind and Pearlmutter, Perturbation Confusion and Referential Transparency, 2005.
    """

    def push(f: Callable[[Any], Any], x: Any) -> Any:
        return pushed_along_one(f)(x)

    assert float(wg.grad(lambda x: x * wg.grad(lambda y: x * y)(1.0))(3.0)) == 6.0
    assert float(push(lambda x: x * push(lambda y: x + y, 1.0), 1.0)) == 1.0
    assert float(wg.grad(lambda x: push(lambda y: x * y * y, x))(2.0)) == 8.0  # d/dx 2x²
    assert float(push(lambda x: wg.grad(lambda y: x * x * y)(x), 3.0)) == 6.0


WEAK = {
    "a power": lambda x: x**3,
    "a power of zero": lambda x: x**0 * x,
    "a maximum": lambda x: wg.maximum(x, 0.5),
    "a choice": lambda x: wg.where(x > 0, x * x, 0.0),
    "a chain": lambda x: wg.exp(wg.sin(x) / (1 + abs(x))) - wg.sqrt(x) * wg.log(x),
    "powers": lambda x: x**0.5 + 2.0**x,
}


@pytest.mark.parametrize("name", WEAK)
def test_the_derivative_by_a_python_number_is_a_python_number(name: str) -> None:
    """Weakly typed, so that float32 arrays that meet it stay float32."""
    f = WEAK[name]
    for derivative in (wg.grad(f)(1.5), wg.jvp(f, (1.5,), (1.0,))[1], wg.hvp(f, (1.5,), (1.0,))):
        assert (wg.asarray([1.0]) * derivative).dtype == wg.float32, name


def test_the_gradient_of_a_batch_is_the_batch_of_gradients() -> None:
    per_example = wg.vmap(wg.grad(lambda w, x: wg.sum(wg.tanh(x @ w) ** 2)), in_axes=(None, 0))(W, X)
    total = wg.grad(lambda w: wg.sum(wg.vmap(lambda x: wg.sum(wg.tanh(x @ w) ** 2))(X)))(W)
    assert per_example.shape == (5, 3, 4)
    close(wg.sum(per_example, axis=0), total, 1e-13, 1.0, "sum of per-example gradients")


def test_vmap_of_vmap_is_the_outer_product() -> None:
    f = wg.vmap(wg.vmap(lambda a, b: a * wg.sin(b), in_axes=(None, 0)), in_axes=(0, None))
    np.testing.assert_allclose(f(X[:, 0], B), np.outer(X[:, 0], np.sin(B)), rtol=1e-15)
    both, kept = wg.vmap(lambda a, b: (a * b, a), in_axes=(1, None), out_axes=(1, 0))(W, X[0])
    np.testing.assert_allclose(both, W * X[0][:, None], rtol=1e-15)
    np.testing.assert_array_equal(kept, W.T)


@pytest.mark.parametrize("kind", ["float32", "float64", "complex64", "complex128"])
def test_cotangents_have_the_type_of_their_input(kind: str) -> None:
    x = wg.asarray(X.astype(kind))
    _, back = wg.vjp(lambda a: wg.abs(wg.sum(a * a + 0.5)), x)
    (c,) = back(1.0)
    assert (c.dtype, c.shape) == (x.dtype, x.shape)
    out, tangent = wg.jvp(lambda a: wg.mean(a * 2, axis=0), (x,), (x,))
    assert out.dtype == tangent.dtype == x.dtype
    assert arrays(tangent)[0].shape == (3,)
