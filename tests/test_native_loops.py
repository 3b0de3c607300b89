"""Loops as machine code: against the reference, JAX and finite differences; growing stores; nothing left to NumPy."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.execute import native
from wengert.execute import numpy as reference
from wengert.execute.native.statements import Evaluate, Loop, Nest, Product
from wengert.passes import states
from wengert.passes.pipeline import simplify

rng = np.random.default_rng(0)


def check(f: Any, *args: Any, tolerance: float = 1e-12, coded: bool = True) -> list[np.ndarray]:
    """Both executors agree on `f(*args)`, twice, and NumPy has no part in the native one if it is `coded`."""
    graph = wg.jit(f).lower(*args).graph
    values = [np.asarray(a) for a in wg.tree.leaves(args)]
    compiled = native.compiled(graph)
    assert not (coded and any(isinstance(s, Evaluate) for s in compiled.program.statements)), compiled.program
    wanted = reference.run(graph, values)
    for _ in range(2):
        for got, want in zip(compiled(values), wanted, strict=True):
            assert got.shape == want.shape and got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    return wanted


def power(x: Any, limit: Any = 100.0) -> Any:
    """x to the first power that is not below the limit."""
    return wg.while_loop(lambda y: wg.abs(y) < limit, lambda y: y * x, x)


def root(a: Any) -> Any:
    """The root of x³ + a·x = 1, by Newton's iteration."""
    return wg.while_loop(
        lambda x: wg.abs(x**3 + a * x - 1) > 1e-12, lambda x: x - (x**3 + a * x - 1) / (3 * x * x + a), a * 0 + 1
    )


def nested(x: Any) -> Any:
    """A loop whose body is a loop with a number of turns of its own."""

    def outer(state: Any) -> Any:
        i, y = state
        inner = wg.while_loop(lambda s: s[0] < i, lambda s: (s[0] + 1, wg.sin(s[1]) * x), (0, y))
        return i + 1, inner[1] + x

    return wg.while_loop(lambda s: s[0] < 5, outer, (0, x))[1]


def halves(x: Any) -> Any:
    """A carry of vectors, whose largest element ends the loop."""
    return wg.while_loop(lambda v: wg.max(wg.abs(v)) > 0.1, lambda v: wg.tanh(v) * 0.7 * wg.cos(x), x)


def in_branch(x: Any) -> Any:
    return wg.cond(x > 0, lambda y: root(y + 1.0), lambda y: power(y - 1.5, 50.0), x)


def in_scan(x: Any) -> Any:
    return wg.scan(lambda c, a: (root(c * c + 1.0) + a * x, root(a * a + c * c)), x, np.linspace(0.1, 1.0, 5))


X = np.float64(1.3)
SCALAR = {"power": power, "root": root, "nested": nested, "branch": in_branch, "scan": lambda x: wg.sum(in_scan(x)[1])}


@pytest.mark.parametrize("name", SCALAR)
def test_values_and_derivatives(name: str) -> None:
    f = SCALAR[name]
    check(f, X)
    (slope,) = check(wg.grad(f), X)
    h = 1e-6
    np.testing.assert_allclose(slope, (np.asarray(f(X + h)) - np.asarray(f(X - h))) / (2 * h), rtol=1e-6)
    check(lambda x: wg.jvp(f, (x,), (1.0,)), X)
    check(wg.grad(wg.grad(f)), X, tolerance=1e-9)


@pytest.mark.parametrize("name", ["power", "root", "nested", "scan"])
def test_batches(name: str) -> None:
    xs = np.linspace(1.1, 2.9, 5)
    check(wg.vmap(SCALAR[name]), xs)
    check(wg.vmap(wg.grad(SCALAR[name])), xs)


def test_arrays_in_the_carry() -> None:
    x = rng.normal(size=37)
    check(halves, x)
    check(wg.grad(lambda x: wg.sum(halves(x))), x)
    check(wg.vmap(halves), rng.normal(size=(3, 11)))
    check(wg.vmap(wg.grad(lambda x: wg.sum(halves(x)))), rng.normal(size=(3, 11)))


def test_no_turns() -> None:
    check(power, np.float64(1000.0))
    assert check(wg.grad(power), np.float64(1000.0))[0] == 1.0
    check(wg.grad(wg.grad(power)), np.float64(1000.0))
    check(wg.grad(lambda x: wg.scan(lambda c, a: (c * a, c), 1.0, x)[0]), np.ones(0))
    check(wg.vmap(wg.grad(power)), np.array([1000.0, 2.0, 3000.0]))


def count_down(n: Any, x: Any) -> Any:
    return wg.while_loop(lambda s: s[0] > 0, lambda s: (s[0] - 1, wg.sin(s[1]) + s[1] * x), (n, x))[1]


def test_the_store_grows_and_is_used_again() -> None:
    f = wg.jit(wg.grad(count_down, argnums=1), executor="native")
    plain = wg.grad(count_down, argnums=1)
    for n in (3, 0, 1000, 5, 70, 64, 65, 1):  # more records than there is room for, and fewer
        np.testing.assert_allclose(f(n, 0.1), plain(n, 0.1), rtol=1e-9)
    large = rng.normal(size=300)
    g = wg.grad(lambda n, x: wg.sum(count_down(n, x)), argnums=1)
    np.testing.assert_allclose(wg.jit(g, executor="native")(200, large * 0.01), g(200, large * 0.01), rtol=1e-9)


def test_memory_of_stores_is_given_back() -> None:
    def once() -> None:
        f = wg.jit(wg.grad(lambda n, x: count_down(n, x), argnums=1), executor="native")
        f(20_000, 0.1)

    once()
    tracemalloc.start()
    try:
        once()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            once()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 20_000 * 8 * 2
    finally:
        tracemalloc.stop()


def test_a_compiled_loop_is_differentiated_from_outside() -> None:
    f = wg.jit(power, executor="native")
    np.testing.assert_allclose(wg.grad(f)(2.0), 448.0)
    np.testing.assert_allclose(wg.grad(wg.grad(f))(2.0), 1344.0)


def test_against_jax() -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)

    def theirs(a: Any) -> Any:
        def f(x: Any) -> Any:
            return x**3 + a * x - 1

        return jax.lax.while_loop(
            lambda x: abs(f(x)) > 1e-12, lambda x: x - f(x) / (3 * x * x + a), jax.numpy.ones_like(a)
        )

    for a in (0.3, 1.0, 2.5):
        slope = wg.jit(wg.grad(root), executor="native")(a)
        np.testing.assert_allclose(slope, jax.jacfwd(theirs)(a), rtol=1e-9)
        bend = wg.jit(wg.grad(wg.grad(root)), executor="native")(a)
        np.testing.assert_allclose(bend, jax.jacfwd(jax.jacfwd(theirs))(a), rtol=1e-8)


def test_gradient_descent_through_newton_is_all_code() -> None:
    def cost(a: Any) -> Any:
        return wg.square(root(a) - 0.5)

    def descend(a: Any) -> Any:
        return cost(wg.scan(lambda a, _: (a - 0.5 * wg.grad(cost)(a), None), a, None, length=7)[0])

    check(descend, np.float64(1.0))
    check(wg.grad(descend), np.float64(1.0), tolerance=1e-10)


W = 0.05 * rng.normal(size=(96, 96))
XS = rng.normal(size=(6, 96))

# What a turn emits and hands on, computed in place or not: vectors too long for registers
TURNS = {
    "swapped": lambda c, x: ((c[1], c[0] + x), c[0] - c[1]),
    "fibonacci, emitted": lambda c, x: ((c[1], (s := c[0] + c[1] * x)), s),
    "through a product": lambda c, x: ((W @ c[0] + x, c[1] * 0.5 + c[0]), wg.tanh(c[1])),
    "flipped": lambda c, x: ((wg.flip(c[0], axis=0) + x, wg.flip(c[1], axis=0)), c[1]),
    "rolled": lambda c, x: ((wg.roll(c[0], 1) * 0.9 + x, c[1] + wg.roll(c[0], -3)), (c[0], x)),
    "in place, old and new emitted": lambda c, x: ((h := wg.tanh(c[0] + x), c[1] * h), (c[0], h, c[1] * h)),
    "a part of the other": lambda c, x: ((wg.concat([c[1][5:], c[0][:5]]), wg.sin(c[0]) * x), wg.sum(c[1])),
    "the sequence becomes the carry": lambda c, x: ((x, c[0]), c[1] + x),
    "one value for both": lambda c, x: (((s := wg.sin(c[0] + c[1]) + x), s), s),
    "gates": lambda c, x: (
        (wg.tanh(c[0]) * (g := 1.0 / (1.0 + wg.exp(wg.concat([W @ c[0] + x, c[1] - x]))))[:96], c[1] * g[96:]),
        wg.exp(-c[0]),
    ),
}


@pytest.mark.parametrize("name", TURNS)
def test_turns_in_place(name: str) -> None:
    def f(a: Any, b: Any, xs: Any) -> Any:
        return wg.scan(TURNS[name], (a, b), xs)

    a, b = rng.normal(size=(2, 96))
    check(f, a, b, XS)
    check(lambda *v: wg.grad(lambda *v: sum(wg.sum(wg.sin(o)) for o in wg.tree.leaves(f(*v))), (0, 1, 2))(*v), a, b, XS)
    check(lambda *v: wg.vmap(f, in_axes=(0, None, None))(*v), np.stack([a, b]), b, XS)


STEPS = {
    "a stencil": lambda x, u: (x + 0.1 * (wg.roll(x, 1) - wg.roll(x, -2)) * wg.roll(x, -1) * u, wg.max(x)),
    "two kinds of residuals": lambda x, u: ((y := x * x * u + x[::-1]) * 0.3 + wg.tanh(x) * y * x, y * y),
    "constants and sequences": lambda x, u: (x * u * wg.asarray(W[0]) + u * u * x * x, (x * u) ** 2),
}


@pytest.mark.parametrize("name", STEPS)
def test_states_instead_of_residuals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any, us: Any) -> Any:
        last, ys = wg.scan(STEPS[name], x, us)
        return wg.sum(wg.sin(last)) + wg.sum(ys)

    def stored(graph: Any) -> int:
        return sum(o.size for n in graph.nodes for o in n.outputs if o.ndim == 2)

    def program() -> Any:
        return wg.jit(wg.grad(f, argnums=(0, 1))).lower(XS[0] * 0.3, XS).graph

    before = stored(simplify(program()))
    monkeypatch.setattr(states, "LARGE", 0)
    after = stored(simplify(program()))
    assert after < before if name == "a stencil" else after <= before
    check(wg.grad(f, argnums=(0, 1)), XS[0] * 0.3, XS)


def test_a_recurrent_cell_copies_nothing() -> None:
    def cell(h: Any, x: Any) -> Any:
        h = wg.tanh(h @ W + x)
        return h, h

    def f(h: Any, xs: Any) -> Any:
        return wg.sum(wg.square(wg.scan(cell, h, xs)[1]))

    graph = wg.jit(wg.grad(f)).lower(rng.normal(size=(40, 96)), rng.normal(size=(6, 40, 96))).graph
    bodies = [s.body for s in native.compiled(graph).program.statements if isinstance(s, Loop)]
    kinds = [[type(s) for s in body if isinstance(s, (Nest, Product))] for body in bodies]
    assert kinds in ([[Product], [Nest, Product]], [[Product, Nest], [Nest, Product]]), kinds


def test_weights_are_put_in_order_once() -> None:
    """Transposed operands: of all loops, of the outer one only, of the carry, in a branch."""
    w = 0.1 * rng.normal(size=(24, 24))

    def f(w: Any, xs: Any) -> Any:
        def outer(m: Any, x: Any) -> Any:
            v = wg.tanh(w * x[0])

            def inner(c: Any, y: Any) -> Any:
                c = wg.cond(y > 0, lambda c: c @ w.T + c @ v.T, lambda c: c @ c.T * y, c)
                return c + wg.tanh(c) @ wg.flip(w, axis=0).T, wg.sum(c)

            return wg.scan(inner, m, x)

        return wg.scan(outer, wg.ones_like(w) * 0.1, xs)

    xs = 0.3 * rng.normal(size=(3, 4))
    check(f, w, xs)
    check(wg.grad(lambda w, xs: wg.sum(wg.sin(f(w, xs)[1]))), w, xs, tolerance=1e-10)


def test_a_carry_that_is_handed_on_and_emitted_beside_guards():
    """What a turn emits is its new carry, also where both are computed in one loop, the carry in place."""

    def f(x):
        def turn(c, row):
            c = 0.25 * c + 0.5 * wg.tanh(row)
            return c, wg.sin(c)

        return wg.scan(turn, x, x)[1]

    def second(x):
        return wg.vjp(lambda x: wg.vjp(f, x)[1](wg.ones((16, 16), dtype=wg.float64))[0], x)[1](wg.sin(x))[0]

    x = np.linspace(-1.4, 1.5, 16)
    got, wanted = (np.asarray(wg.jit(second, executor=e)(x)) for e in ("native", "numpy"))
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)
