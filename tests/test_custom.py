"""custom_jvp, custom_vjp and stop_gradient, alone, nested, batched and under jit; JAX as the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError, ShapeError, UnsupportedError

X = np.array([0.3, -1.2, 2.0])


def marked_sine(m: Any) -> Any:
    """sin with twice its derivative, so that one sees which rule was used."""

    @m.custom_jvp
    def f(x: Any) -> Any:
        return m.sin(x)

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return f(x), 2.0 * m.cos(x) * t

    return f


def marked_product(m: Any) -> Any:
    """x·y with ten times the cotangent of x."""

    @m.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return x * y

    f.defvjp(lambda x, y: (f(x, y), (x, y)), lambda kept, ct: (10.0 * ct * kept[1], ct * kept[0]))
    return f


def programs(m: Any, jit: Any) -> dict[str, Callable[[Any], Any]]:
    """Programs with a rule inside, in the interface that both packages share."""
    f, g = marked_sine(m), marked_product(m)
    return {
        "grad": lambda x: m_grad(m)(lambda v: m.sum(f(v) * v))(x),
        "grad of grad": lambda x: m_grad(m)(lambda v: m.sum(m_grad(m)(lambda w: m.sum(f(w) * w))(v) * v))(x),
        "vmap of grad": lambda x: m_vmap(m)(m_grad(m)(f))(x),
        "grad of vmap": lambda x: m_grad(m)(lambda v: m.sum(m_vmap(m)(f)(v) ** 2))(x),
        "grad of jit": lambda x: m_grad(m)(lambda v: m.sum(jit(f)(v) * v))(x),
        "jit of grad": lambda x: jit(m_grad(m)(lambda v: m.sum(f(v) * v)))(x),
        "grad of grad of jit": lambda x: m_grad(m)(lambda v: m.sum(m_grad(m)(lambda w: m.sum(jit(f)(w)))(v) * v))(x),
        "jit of vmap of grad": lambda x: jit(m_vmap(m)(m_grad(m)(f)))(x),
        "vjp: grad": lambda x: m_grad(m)(lambda v: m.sum(g(v, v**2)))(x),
        "vjp: grad of grad": lambda x: m_grad(m)(lambda v: m.sum(m_grad(m)(lambda w: m.sum(g(w, w**2)))(v)))(x),
        "vjp: vmap of grad": lambda x: m_vmap(m)(m_grad(m)(g), in_axes=(0, None))(x, x[0]),
        "vjp: grad of vmap, shared": lambda x: m_grad(m)(lambda v: m.sum(m_vmap(m)(g, in_axes=(0, None))(v, v[1])))(x),
        "vjp: grad of jit": lambda x: m_grad(m)(lambda v: m.sum(jit(g)(v, v**2)))(x),
        "vjp: grad of jit of vmap": lambda x: m_grad(m)(lambda v: m.sum(jit(m_vmap(m)(g))(v, v**2)))(x),
        "vjp: jit of grad": lambda x: jit(m_grad(m)(lambda v: m.sum(g(v, v**2))))(x),
    }


def m_grad(m: Any) -> Any:
    return m.grad


def m_vmap(m: Any) -> Any:
    return m.vmap


class Both:
    """jax.numpy and jax under one name."""

    def __init__(self, jax: Any):
        self.jax = jax

    def __getattr__(self, name: str) -> Any:
        return getattr(self.jax.numpy, name) if hasattr(self.jax.numpy, name) else getattr(self.jax, name)


@pytest.mark.parametrize("name", programs(wg, wg.jit))
def test_as_in_jax(name: str) -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        wanted = np.asarray(programs(Both(jax), jax.jit)[name](X))
    np.testing.assert_allclose(programs(wg, wg.jit)[name](X), wanted, rtol=1e-12)


def test_the_rule_is_used_in_every_mode() -> None:
    f = marked_sine(wg)
    wanted = 2 * np.cos(X)
    out, tangent = wg.jvp(f, (X,), (np.ones(3),))
    np.testing.assert_array_equal(out, np.sin(X))
    np.testing.assert_allclose(tangent, wanted)
    np.testing.assert_allclose(wg.vjp(f, X)[1](np.ones(3))[0], wanted)
    np.testing.assert_allclose(wg.linearize(f, X)[1](np.ones(3)), wanted)
    np.testing.assert_allclose(np.diag(np.asarray(wg.jacfwd(f)(X))), wanted)
    np.testing.assert_allclose(wg.jvp(wg.jit(f), (X,), (np.ones(3),))[1], wanted)
    np.testing.assert_allclose(wg.grad(lambda x: wg.sum(wg.scan(lambda c, v: (c, f(v)), 0.0, x)[1]))(X), wanted)


def test_pytrees_and_integers() -> None:
    @wg.custom_jvp
    def power(d: Any, n: Any) -> Any:
        return {"out": d["x"] ** n, "n": n}

    @power.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (d, n), (t, tn) = primals, tangents
        assert tn is None
        return power(d, n), {"out": n * d["x"] ** (n - 1) * t["x"] + t["unused"], "n": None}

    point = {"x": X, "unused": np.zeros(3)}
    gradient = wg.grad(lambda d: wg.sum(power(d, np.int64(3))["out"]))(point)
    np.testing.assert_allclose(gradient["x"], 3 * X**2)
    np.testing.assert_allclose(gradient["unused"], np.ones(3))

    @wg.custom_vjp
    def pick(d: Any, k: Any) -> Any:
        return d["x"][k], d["y"]

    pick.defvjp(
        lambda d, k: (pick(d, k), (k, 3)), lambda kept, ct: ({"x": wg.ones(3) * ct[0] * kept[1], "y": ct[1]}, None)
    )
    gradient = wg.grad(lambda d: pick(d, np.int64(1))[0] + 5.0 * pick(d, np.int64(1))[1])(
        {"x": X, "y": np.float64(1.0)}
    )
    np.testing.assert_allclose(gradient["x"], [3, 3, 3])  # from the first call; in the second the cotangent is 0
    assert float(gradient["y"]) == 5


def test_python_branches_and_loops_see_numbers() -> None:
    """A root by Newton's method, with a loop that looks at values; the derivative by the implicit function theorem."""

    @wg.custom_jvp
    def root(a: Any) -> Any:
        x = a
        while abs(float(x * x - a)) > 1e-14:
            x = 0.5 * (x + a / x)
        return x

    root.defjvps(lambda t, y, a: t / (2 * y))
    assert float(wg.grad(root)(2.0)) == pytest.approx(0.5 / 2**0.5)
    assert float(wg.grad(wg.grad(root))(2.0)) == pytest.approx(-0.25 / 2**1.5)
    assert float(wg.hvp(root, (2.0,), (1.0,))) == pytest.approx(-0.25 / 2**1.5)


def closing_over(c: Any, recursive: bool = True) -> Any:
    @wg.custom_jvp
    def g(x: Any) -> Any:
        return c * x

    g.defjvp(lambda p, t: (g(p[0]) if recursive else c * p[0], 5.0 * c * p[0] * t[0]))
    return g


def closing_over_by_vjp(c: Any) -> Any:
    @wg.custom_vjp
    def g(x: Any) -> Any:
        return c * x

    g.defvjp(lambda x: (g(x), x), lambda x, ct: (5.0 * c * x * ct,))
    return g


@pytest.mark.parametrize("make", [closing_over, closing_over_by_vjp])
@pytest.mark.parametrize("wrap", [lambda f: f, wg.jit], ids=["eager", "jit"])
def test_closures_over_values_of_a_transformation(make: Any, wrap: Any) -> None:
    grad = wg.grad
    two, three = np.float64(2.0), np.float64(3.0)
    # closed over from an outer derivative: a constant of the inner one; d/dc of 5·c·x
    assert float(wrap(grad(lambda c: grad(make(c))(three)))(two)) == pytest.approx(15)
    # closed over from the same derivative: by the argument the rule, by c as usual
    assert float(wrap(grad(lambda c: make(c)(c * 1.0)))(two)) == pytest.approx(5 * 2 * 2 + 2)
    assert float(grad(wrap(lambda c: make(c)(c * 1.0)))(two)) == pytest.approx(22)
    # the rule again in the second derivative: d/dx of 5·c·x
    assert float(wrap(grad(grad(lambda x: make(two)(x))))(three)) == pytest.approx(10)
    # closed over from a vmap inside, and outside
    cs = np.array([1.0, 2.0])
    inside = wrap(grad(lambda x: wg.sum(wg.vmap(lambda c: make(c)(x))(cs))))
    assert float(inside(three)) == pytest.approx(45)
    np.testing.assert_allclose(wrap(wg.vmap(lambda c: grad(make(c))(three)))(cs), [15, 30])
    np.testing.assert_allclose(wrap(wg.vmap(lambda c: grad(grad(make(c)))(three)))(cs), [5, 10])


def test_second_derivative_where_function_and_rule_close_over_one_value() -> None:
    def f(c: Any) -> Any:
        return closing_over(c)(c * c)

    # f = c·x at x = c²: df = ∂/∂c (x) + 5·c·x·2c = c² + 10 c⁴; and once more by the rule of the rule, as it is written
    assert float(wg.grad(f)(2.0)) == pytest.approx(4 + 160)
    assert float(wg.jvp(f, (2.0,), (1.0,))[1]) == pytest.approx(4 + 160)
    assert float(wg.jvp(wg.jit(f), (2.0,), (1.0,))[1]) == pytest.approx(4 + 160)


def test_nondiff_argnums() -> None:
    @wg.custom_jvp
    def unused(x: Any) -> Any:
        return x

    def apply(f: Any, x: Any) -> Any:
        return f(x)

    forward = wg.custom_jvp(apply, nondiff_argnums=(0,))
    forward.defjvp(lambda f, primals, tangents: (f(primals[0]), 3.0 * tangents[0]))
    assert float(wg.grad(lambda x: forward(wg.sin, x))(0.5)) == 3.0
    assert float(wg.grad(wg.jit(lambda x: forward(wg.sin, x)))(0.5)) == 3.0

    backward = wg.custom_vjp(apply, nondiff_argnums=(0,))
    backward.defvjp(lambda f, x: (f(x), x), lambda f, x, ct: (ct * f(x),))
    assert float(wg.grad(lambda x: backward(wg.sin, x))(0.5)) == pytest.approx(np.sin(0.5))

    scaled = wg.custom_jvp(lambda c, x: c * x, nondiff_argnums=(0,))
    scaled.defjvp(lambda c, p, t: (c * p[0], c * t[0]))
    assert float(wg.grad(lambda c: scaled(c, c * 1.0))(2.0)) == 2.0  # nothing flows through the first argument
    with pytest.raises(ArgumentError, match="no rule yet"):
        wg.grad(unused)(1.0)


def test_straight_through() -> None:
    """Rounding whose derivative is that of the identity: the function itself has none."""

    @wg.custom_jvp
    def rounded(x: Any) -> Any:
        return wg.round(x)

    rounded.defjvps(lambda t, y, x: t)
    for f in (rounded, wg.jit(rounded)):
        np.testing.assert_array_equal(wg.grad(lambda x, f=f: wg.sum(f(x) * 2.0))(X), [2, 2, 2])
    assert wg.sparsity_pattern(rounded)(X).tolist() == np.eye(3, dtype=bool).tolist()


def test_gradient_clipping() -> None:
    @wg.custom_vjp
    def clipped(x: Any) -> Any:
        return x

    clipped.defvjp(lambda x: (x, None), lambda kept, ct: (wg.clip(ct, -1.0, 1.0),))
    assert float(wg.grad(lambda x: 5.0 * clipped(x))(2.0)) == 1.0
    assert float(wg.grad(wg.jit(lambda x: 5.0 * clipped(x)))(2.0)) == 1.0


@pytest.mark.parametrize(
    "run",
    [
        lambda f: wg.jvp(lambda x: f(x, x), (1.0,), (1.0,)),
        lambda f: wg.jacfwd(lambda x: f(x, x))(1.0),
        lambda f: wg.linearize(lambda x: f(x, x), 1.0)[1](1.0),
        lambda f: wg.jvp(wg.jit(lambda x: f(x, x)), (1.0,), (1.0,)),
    ],
)
def test_forward_mode_through_custom_vjp_is_refused(run: Any) -> None:
    with pytest.raises(UnsupportedError, match="forward mode through a custom_vjp"):
        run(marked_product(wg))


def test_forward_over_reverse_through_custom_vjp() -> None:
    f = wg.custom_vjp(lambda x, y: x * y)
    f.defvjp(lambda x, y: (x * y, (x, y)), lambda kept, ct: (10.0 * ct * kept[1], ct * kept[0]))
    assert float(wg.hvp(lambda x: f(x, x), (2.0,), (1.0,))) == 11.0


def test_wrong_rules_are_refused() -> None:
    def with_rule(rule: Any) -> Any:
        f = wg.custom_jvp(lambda x: wg.sin(x))
        f.defjvp(rule)
        return f

    with pytest.raises(ArgumentError, match="pair"):
        wg.grad(with_rule(lambda p, t: t[0]))(1.0)
    with pytest.raises(ShapeError, match="has shape"):
        wg.jvp(with_rule(lambda p, t: (wg.sin(p[0]), wg.sum(t[0]))), (X,), (X,))
    with pytest.raises(ArgumentError, match="not linear"):
        wg.grad(with_rule(lambda p, t: (wg.sin(p[0]), t[0] * t[0])))(1.0)
    g = wg.custom_vjp(lambda x, y: x * y)
    g.defvjp(lambda x, y: (x * y, None), lambda kept, ct: (ct,))
    with pytest.raises(ArgumentError, match="cotangent for each of the 2"):
        wg.grad(g)(1.0, 2.0)
    with pytest.raises(ArgumentError, match="takes a function"):
        wg.custom_jvp(3.0)


def test_keyword_arguments_and_methods() -> None:
    class Layer(wg.tree.Module):
        def __init__(self) -> None:
            self.w = wg.asarray(np.array(2.0))

        @wg.custom_jvp
        def scaled(self, x: Any) -> Any:
            return self.w * x

        scaled.defjvp(lambda p, t: (p[0].w * p[1], 7.0 * t[1]))

    assert float(wg.grad(lambda x: Layer().scaled(x))(1.0)) == 7.0
    f = marked_sine(wg)
    assert float(wg.grad(lambda v: f(x=v))(0.0)) == 2.0


def test_stop_gradient() -> None:
    assert float(wg.grad(lambda x: x * wg.stop_gradient(x))(3.0)) == 3.0
    assert float(wg.jvp(wg.stop_gradient, (3.0,), (1.0,))[1]) == 0.0
    assert float(wg.grad(wg.jit(lambda x: x * wg.stop_gradient(x)))(3.0)) == 3.0
    assert float(wg.grad(wg.grad(lambda x: x**3 * wg.stop_gradient(x)))(2.0)) == 6 * 2 * 2
    kept = wg.stop_gradient({"a": 1.0, "b": [wg.asarray(X), "name"]})
    assert kept["a"] == 1.0 and kept["b"][1] == "name"
    np.testing.assert_array_equal(wg.vmap(wg.stop_gradient)(X), X)
    assert "stop_gradient" in str(wg.jit(wg.stop_gradient).lower(X))
