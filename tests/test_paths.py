"""Paths: their count against enumeration, their sum against the gradient, their formulas, and their refusal."""

from __future__ import annotations

import functools
import random
import time
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import DTypeError, GraphError, ShapeError
from wengert.ir.primitive import registry
from wengert.show import ComputationGraph, GraphNode, formula
from wengert.show.formula import LOCAL, local_derivative


def loss_fn(w1: Any, w2: Any, x: Any) -> Any:
    h = wg.tanh(w1 * x)
    y = w2 * h + h
    loss = (y - 1.0) ** 2
    return loss


def random_program(seed: int) -> Any:
    """A function of three numbers whose values are used several times."""

    def program(a: Any, b: Any, c: Any) -> Any:
        dice = random.Random(seed)
        values = [a, b, c]
        for _ in range(dice.randint(3, 9)):
            u, v = dice.choice(values), dice.choice(values)
            step = dice.randrange(7)
            if step == 0:
                values.append(u + v)
            elif step == 1:
                values.append(u * v)
            elif step == 2:
                values.append(wg.sin(u))
            elif step == 3:
                values.append(wg.tanh(u - v))
            elif step == 4:
                values.append(wg.exp(-u * u) + 0.5 * v)
            elif step == 5:
                values.append(wg.where(u > 0.2, u * v, -v))
            else:
                values.append(wg.cumulative_sum(wg.stack([u, v]))[1] / (1.0 + u * u))
        return values[-1] + values[-2]

    return program


def enumerated(g: ComputationGraph, output: str, source: str) -> int:
    """The number of paths by walking each of them, over the inputs of the operations."""
    d = g.derivative(output)

    def walk(n: GraphNode) -> int:
        return 1 if n is d[source] else sum(walk(e.source) for e in n.edges)

    return walk(d[output])


@pytest.mark.parametrize("seed", range(40))
def test_sum_over_paths_is_the_gradient_and_their_number_is_exact(seed: int) -> None:
    f = random_program(seed)
    point = (0.3, -0.7, 1.1)
    g = wg.graph(f)(*point)
    expected = wg.grad(f, (0, 1, 2))(*point)
    d = g.derivative()
    for name, gradient in zip("abc", expected, strict=True):
        paths = g.paths("program", name, limit=10**6)
        assert len(paths) == g.count_paths("program", name) == enumerated(g, "program", name)
        np.testing.assert_allclose(np.asarray(paths.total), np.asarray(gradient), rtol=1e-12, atol=1e-14)
        adjoint = d.adjoint(name)
        np.testing.assert_allclose(0.0 if adjoint is None else float(adjoint), float(gradient), rtol=1e-12, atol=1e-14)


def test_value_of_a_path_is_the_product_of_its_factors() -> None:
    g = wg.graph(loss_fn)(0.5, -1.2, 2.0)
    paths = g.paths("loss", "w1")
    assert len(paths) == 2
    for path in paths:
        assert path.nodes[0].name == "w1" and path.nodes[-1].name == "loss"
        assert len(path) == len(path.nodes) - 1 == len(path.factors)
        assert float(path.value) == pytest.approx(np.prod([float(f) for f in path.factors]), rel=1e-14)
        for edge, a, b in zip(path.edges, path.nodes, path.nodes[1:], strict=False):
            assert edge.source is a and edge.target is b


def test_known_factors_of_the_residual_block() -> None:
    def block(x: Any) -> Any:
        y = x + wg.sin(x)
        return y

    paths = wg.graph(block)(0.4).paths("y", "x")
    assert sorted(float(p.value) for p in paths) == pytest.approx([np.cos(0.4), 1.0])
    assert sorted(p.symbols for p in paths) == ["1", "1 · cos(x)"]


def test_recurrent_gradient_is_the_sum_of_its_terms_by_step() -> None:
    def rnn(w: Any, u: Any, xs: Any) -> Any:
        h = 0.0
        for x in xs:
            h = wg.tanh(w * h + u * x)
        return h

    w, u, xs = 0.9, 0.5, [1.0, -0.5, 0.25, 2.0]
    g = wg.graph(rnn)(w, u, xs)
    paths = g.paths("rnn", "w")
    h, terms = [0.0], []
    for x in xs:
        h.append(np.tanh(w * h[-1] + u * x))
    for k in range(len(xs)):  # the direct influence of step k, carried through the later steps
        later = np.prod([w * (1 - h[j + 1] ** 2) for j in range(k + 1, len(xs))])
        terms.append(h[k] * (1 - h[k + 1] ** 2) * later)
    assert sorted(float(p.value) for p in paths) == pytest.approx(sorted(terms), rel=1e-12)
    assert [n.name for n in paths[0].nodes if n.name.startswith("h")] == ["h"]


def test_array_paths_add_up_and_their_jacobians_too() -> None:
    rng = np.random.default_rng(0)

    def net(params: Any, x: Any) -> Any:
        h = wg.tanh(x @ params["w"] + params["b"])
        out = h @ params["v"] + h * 2.0
        return out

    params = {"w": rng.normal(size=(3, 3)), "b": rng.normal(size=3), "v": rng.normal(size=(3, 3))}
    x = rng.normal(size=(2, 3))
    g = wg.graph(net)(params, x)
    gradient = wg.grad(lambda p: wg.sum(net(p, x)))(params)
    for key in params:
        paths = g.paths("out", f"params['{key}']")
        np.testing.assert_allclose(np.asarray(paths.total), np.asarray(gradient[key]), rtol=1e-12)
        jacobian = np.asarray(wg.jacrev(net)(params, x)[key])
        np.testing.assert_allclose(sum(p.jacobian() for p in paths), jacobian, rtol=1e-12, atol=1e-14)
        assert paths.name == f"∂Σout/∂params['{key}']"
    edge = g.derivative().edge("h", "add1")
    assert edge.kind == "scale" and edge.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(np.asarray(edge.factor), 1 - np.asarray(g["h"].value) ** 2)


def test_paths_through_steps_with_several_outputs() -> None:
    def f(a: Any) -> Any:
        q, r = wg.linalg.qr(a)
        carry, ys = wg.scan(lambda c, row: (c * wg.sum(row), c + row), wg.asarray(np.float64(1.5)), r)
        return wg.sum(q * q * r) + carry + wg.sum(ys)

    a = np.random.default_rng(1).normal(size=(3, 3))
    g = wg.graph(f)(a)
    np.testing.assert_allclose(np.asarray(g.paths("f", "a").total), np.asarray(wg.grad(f)(a)), rtol=1e-10)
    np.testing.assert_allclose(np.asarray(g.derivative()["a"].adjoint), np.asarray(wg.grad(f)(a)), rtol=1e-10)
    tangent = np.random.default_rng(2).normal(size=(3, 3))
    edge = g.derivative().edge("q", "a")
    u = np.random.default_rng(3).normal(size=(3, 3))
    pushed, pulled = edge.push(wg.asarray(tangent)), edge.pull(wg.asarray(u))
    assert float(np.vdot(u, pushed)) == pytest.approx(float(np.vdot(pulled, tangent)), rel=1e-10)


def test_formulas() -> None:
    g = wg.graph(loss_fn)(0.5, -1.2, 2.0)
    paths = g.paths("loss", "w2")
    assert paths.text == "∂loss/∂w2 = ∂loss/∂sub1 · ∂sub1/∂y · ∂y/∂mul2 · ∂mul2/∂w2"
    assert paths[0].symbols == "(2·sub1) · 1 · 1 · h"
    assert r"\frac{\partial y}{\partial \mathrm{mul}_{2}} \cdot \frac{\partial \mathrm{mul}_{2}}{\partial w_{2}}" in (
        paths.latex
    )
    assert paths.latex.count("{") == paths.latex.count("}")
    assert str(paths).endswith(f"∂loss/∂w2 = {float(paths.total):.4g}")
    twice = g.paths("loss", "w1")
    assert "1 - h²" in str(twice) and r"1 - h^{2}" in twice.latex


def test_complex_paths_follow_the_convention_of_grad() -> None:
    def f(z: Any) -> Any:
        w = z * (1 + 2j)
        out = wg.abs(w) + wg.real(z * z)
        return out

    paths = wg.graph(f)(0.5 + 1j).paths("out", "z")
    assert len(paths) == 3
    assert complex(paths.total) == pytest.approx(complex(wg.grad(f)(0.5 + 1j)), rel=1e-12)
    assert "(1+2i)" in str(paths)


def test_paths_pull_any_cotangent() -> None:
    def f(x: Any) -> Any:
        y = wg.sin(x) + x
        return y

    x, c = np.array([0.1, 0.2, 0.3]), np.array([1.0, -2.0, 0.0])
    paths = wg.graph(f)(x).paths("y", "x", cotangent=c)
    np.testing.assert_allclose(np.asarray(paths.total), c * (np.cos(x) + 1))
    with pytest.raises(ShapeError, match="expected"):
        wg.graph(f)(x).paths("y", "x", cotangent=1.0)


def test_a_value_used_twice_by_one_operation_has_two_edges() -> None:
    def f(x: Any) -> Any:
        y = x * x
        return y

    paths = wg.graph(f)(3.0).paths("y", "x")
    assert [p.text for p in paths] == ["∂y/∂x⁽¹⁾", "∂y/∂x⁽²⁾"]
    assert float(paths.total) == 6.0


def test_no_path_is_a_zero_derivative() -> None:
    g = wg.graph(lambda a, b: (a * 2.0, b * 3.0))(1.0, 2.0)
    paths = g.paths("out[0]", "b")
    assert len(paths) == 0 and float(paths.total) == 0.0 and "no path" in str(paths)
    assert g.derivative("out[0]")["b"].adjoint is None


def test_steps_without_derivative_carry_no_path() -> None:
    def f(x: Any) -> Any:
        k = wg.floor(x)
        y = k * x
        return y

    g = wg.graph(f)(2.5)
    assert g.count_paths("y", "x") == 1
    assert float(g.paths("y", "x").total) == 2.0


def doubling(x: Any, n: int) -> Any:
    for _ in range(n):
        x = x + x
    return x


def test_counts_beyond_any_list() -> None:
    g = wg.graph(functools.partial(doubling, n=333))(1.0)
    assert g.count_paths("output", "x") == 2**333 > 10**100
    with pytest.raises(GraphError, match=str(2**333)):
        g.paths("output", "x")


def test_too_many_paths_are_refused_with_what_to_do() -> None:
    g = wg.graph(doubling, argnums=0)(1.0, 11)
    with pytest.raises(GraphError, match=r"2048 paths .* limit of 1000.*limit=2048"):
        g.paths("doubling", "x")
    paths = g.paths("doubling", "x", limit=2048)
    assert len(paths) == 2048 and float(paths.total) == 2048.0
    assert "and 2028 more paths" in str(paths)


def test_the_wrong_order_is_explained() -> None:
    g = wg.graph(loss_fn)(0.5, -1.2, 2.0)
    with pytest.raises(GraphError, match=r"output comes first.*'loss', 'w1'"):
        g.paths("w1", "loss")


def test_an_integer_has_no_paths() -> None:
    g = wg.graph(lambda x, i: x[i] * 2.0)(wg.asarray([1.0, 2.0]), wg.asarray(1))
    with pytest.raises(DTypeError, match="int64"):
        g.paths("out", "i")


def test_large_jacobians_are_refused() -> None:
    g = wg.graph(wg.sin)(wg.ones(100))
    with pytest.raises(ShapeError, match="10000 elements"):
        g.paths("output", "x")[0].jacobian()


def test_a_chain_of_100000_nodes_in_linear_time() -> None:
    def chain(x: Any, w: Any, n: int) -> Any:
        for _ in range(n):
            x = wg.tanh(x * w)
        return x

    took = []
    for n in (5_000, 50_000):
        start = time.process_time()
        g = wg.graph(chain, argnums=(0, 1))(0.5, 1.0, n)
        assert g.count_paths("chain", "w") == n
        assert g.count_paths("chain", "x") == 1
        d = g.derivative()
        assert len(str(g).splitlines()) == 2 * n + 3
        assert len(g.paths("chain", "x")[0]) == 2 * n
        took.append(time.process_time() - start)
    values = [0.5]
    for _ in range(50_000):
        values.append(np.tanh(values[-1]))
    expected = np.prod([1 - v * v for v in values[1:]])
    assert float(d["x"].adjoint) == pytest.approx(expected, rel=1e-9)
    assert took[1] < 40 * took[0] + 1.0  # quadratic time would be a hundredfold


def test_counts_with_thousands_of_digits_stay_linear() -> None:
    g = wg.graph(doubling, argnums=0)(0.0, 20_000)
    assert g.count_paths("doubling", "x") == 2**20_000
    with pytest.raises(GraphError, match=r"about 3\.98·10\^6020 paths"):
        g.paths("doubling", "x")


SAMPLES = {"acosh": (1.7,), "atanh": (0.3,), "asin": (0.3,), "acos": (0.3,), "power": (1.3, 2.1), "atan2": (0.4, -0.8)}


@pytest.mark.parametrize("name", sorted(LOCAL))
def test_table_of_local_derivatives(name: str) -> None:
    """Each formula that is shown, evaluated, is the factor that is used."""
    primitive: Any = registry[name]
    inputs = SAMPLES.get(name, (0.7, 1.9)[: len(LOCAL[name])])
    out = primitive(*map(float, inputs))
    scope = {
        "a": inputs[0],
        "b": inputs[-1],
        "y": float(out),
        "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
        "iverson": float,
        **{f: getattr(np, f) for f in ("sin", "cos", "sinh", "cosh", "log", "sqrt", "sign")},
    }
    for slot, expression in enumerate(LOCAL[name]):
        partial = primitive.partial(
            slot, [wg.asarray(np.float64(v)) for v in inputs], wg.asarray(np.float64(float(out))), {}
        )
        actual = float(partial.pull(wg.asarray(np.float64(1.0))))
        assert eval(expression, {"__builtins__": {}}, scope) == pytest.approx(actual, rel=1e-12)


@pytest.mark.parametrize("n", [-2, 0, 1, 2, 3, 7])
def test_local_derivative_of_integer_powers(n: int) -> None:
    expression = local_derivative("integer_power", 0, {"exponent": n})
    assert expression is not None
    assert eval(expression, {"a": 1.7}) == pytest.approx(n * 1.7 ** (n - 1))


@pytest.mark.parametrize(
    ("expression", "text", "latex"),
    [
        ("1 - y**2", "1 - h²", "1 - h^{2}"),
        ("y*(1 - y)", "h·(1 - h)", r"h \cdot \left(1 - h\right)"),
        ("-y/b", "-h/w1", r"-\frac{h}{w_{1}}"),
        ("1/sqrt(1 - a**2)", "1/√(1 - (-0.5)²)", r"\frac{1}{\sqrt{1 - \left(-0.5\right)^{2}}}"),
        ("a*b", "-0.5·w1", r"-0.5 \cdot w_{1}"),
        ("b*a", "w1·(-0.5)", r"w_{1} \cdot \left(-0.5\right)"),
        ("b - a", "w1 - (-0.5)", r"w_{1} - \left(-0.5\right)"),
        ("a - (b - y)", "-0.5 - (w1 - h)", r"-0.5 - \left(w_{1} - h\right)"),
        ("a @ b", "(-0.5) @ w1", r"\left(-0.5\right) \, w_{1}"),
        ("iverson(a > b)", "[-0.5 > w1]", "[-0.5 > w_{1}]"),
        ("b**y", "w1^h", "w_{1}^{h}"),
    ],
)
def test_printer(expression: str, text: str, latex: str) -> None:
    assert formula.text(expression, {"a": "-0.5", "b": "w1", "y": "h"}) == text
    assert formula.latex(expression, {"a": "-0.5", "b": "w_{1}", "y": "h"}) == latex


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("w", "w"),
        ("w12", "w_{12}"),
        ("alpha", r"\alpha"),
        ("beta_1", r"\beta_{1}"),
        ("loss", r"\mathrm{loss}"),
        ("h.3", "h^{(3)}"),
        ("params['w_1']", r"\texttt{params['w\_1']}"),
    ],
)
def test_names_in_latex(name: str, latex: str) -> None:
    assert formula.latex_name(name) == latex
