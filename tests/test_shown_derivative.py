"""The derivative of a shown graph: partials, adjoints, gains, and both passes step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError, DTypeError, GraphError, ShapeError


def net(w1: Any, b1: Any, w2: Any, x: Any) -> Any:
    h = wg.tanh(w1 * x + b1)
    y = w2 * h
    loss = (y - 1.0) ** 2
    return loss


@pytest.fixture
def g() -> Any:
    return wg.graph(net)(0.5, 0.1, -1.2, 2.0)


# The derivative.


def test_derivative_has_every_adjoint_and_partial(g: Any) -> None:
    d = g.derivative()
    expected = wg.grad(net, (0, 1, 2, 3))(0.5, 0.1, -1.2, 2.0)
    for name, gradient in zip(("w1", "b1", "w2", "x"), expected, strict=True):
        assert float(d[name].adjoint) == pytest.approx(float(gradient), rel=1e-14)
    assert float(d["loss"].adjoint) == 1.0
    for n in d:  # an adjoint is the sum of what arrives
        arriving = [float(e.contribution) for e in d.edges if e.source is n]
        if arriving:
            assert sum(arriving) == pytest.approx(float(n.adjoint), rel=1e-14)
    edge = d.edge("h", "add1")
    assert float(edge.value) == pytest.approx(1 - float(g["h"].value) ** 2)
    assert edge.symbol == "1 - h²" and edge.name == "∂h/∂add1" and edge.kind == "scale"
    assert edge.gain == pytest.approx(float(edge.value)) and edge.jacobian().shape == ()
    assert g["h"].adjoint is None and g["h"].edges == []  # the graph itself stays as it was
    assert d.node(g["h"]) is d["h"]


def test_partials_against_differences_of_the_operation() -> None:
    d = wg.graph(net)(0.5, 0.1, -1.2, 2.0).derivative()
    for e in d.edges:
        values = [float(n.value) for n in e.target.inputs]

        def at(step: float, e: Any = e, values: Any = values) -> float:
            moved = [v + step * (i == e.slot) for i, v in enumerate(values)]
            return float(e.target.step.primitive.bind(*map(wg.asarray, map(np.float64, moved)), **e.target.params))

        assert float(e.value) == pytest.approx((at(1e-5) - at(-1e-5)) / 2e-5, rel=1e-7, abs=1e-9)


def test_gain_is_measured_with_the_cotangent_that_arrives() -> None:
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(3, 4)), rng.normal(size=(2, 3))

    def f(w: Any) -> Any:
        z = wg.asarray(x) @ w
        return wg.sum(z * z)

    d = wg.graph(f)(w).derivative()
    delta = np.asarray(d["z"].adjoint)
    np.testing.assert_allclose(delta, 2 * x @ w)
    edge = d.edge("z", "w")
    assert edge.gain == pytest.approx(np.linalg.norm(x.T @ delta) / np.linalg.norm(delta))
    assert edge.value is None and edge.shape == (2, 4, 3, 4)
    np.testing.assert_allclose(edge.jacobian(), np.einsum("ij,kl->iljk", x, np.eye(4)))


def test_derivative_of_a_chosen_value_and_cotangent() -> None:
    def f(x: Any) -> Any:
        y = x * 2.0
        z = wg.sin(y)
        return z, y

    x = np.array([0.1, 0.2, 0.3])
    g = wg.graph(f)(x)
    np.testing.assert_allclose(np.asarray(g.derivative("y")["x"].adjoint), 2.0)
    weighted = g.derivative("z", cotangent=np.array([1.0, 0.0, -1.0]))
    np.testing.assert_allclose(np.asarray(weighted["x"].adjoint), np.array([1, 0, -1]) * 2 * np.cos(2 * x))
    np.testing.assert_allclose(np.asarray(g.derivative()["x"].adjoint), 2 + 2 * np.cos(2 * x))
    assert g.derivative().label == "Σ(outputs)" and g.derivative("z").label == "Σz"
    with pytest.raises(ShapeError, match=r"expected \(3,\)"):
        g.derivative("z", cotangent=1.0)
    with pytest.raises(ArgumentError, match="say which"):
        g.derivative(cotangent=1.0)
    with pytest.raises(DTypeError, match="no output is a float"):
        wg.graph(lambda x: x > 0)(1.0).derivative()


def test_unused_side_of_a_where_does_not_poison_the_picture(tmp_path: Path) -> None:
    def f(x: Any) -> Any:
        safe = wg.where(x > 0, wg.log(x), 0.0)
        return safe

    d = wg.graph(f)(0.0).derivative()
    assert float(d["x"].adjoint) == 0.0
    d.save(tmp_path / "g.svg")
    d.save(tmp_path / "g.html")
    assert "inf" in (tmp_path / "g.svg").read_text()  # the local derivative of log at 0 is shown as it is


def test_graph_inside_other_transformations() -> None:
    def slope(x: Any) -> Any:
        return wg.graph(lambda y: wg.sin(y) * y)(x).derivative().inputs[0].adjoint

    def expected(x: float) -> float:
        return np.sin(x) + x * np.cos(x)

    assert float(slope(1.3)) == pytest.approx(expected(1.3))
    assert float(wg.grad(slope)(1.3)) == pytest.approx(2 * np.cos(1.3) - 1.3 * np.sin(1.3))
    assert float(wg.jit(slope)(1.3)) == pytest.approx(expected(1.3))
    np.testing.assert_allclose(np.asarray(wg.vmap(slope)(np.array([1.0, 2.0]))), [expected(1.0), expected(2.0)])

    def describe(x: Any) -> Any:  # abstract values have a type to show
        assert "float64" in str(wg.graph(wg.sin)(x).derivative())
        return x

    wg.jit(describe)(np.float64(1.0))


# Steps.


def test_steps_go_forward_then_backward(g: Any) -> None:
    steps = list(g.steps())
    assert [s.number for s in steps] == list(range(1, len(steps) + 1))
    forward = [s for s in steps if s.phase == "forward"]
    backward = [s for s in steps if s.phase == "backward"]
    assert steps == forward + backward
    computed: set[str] = set()
    for s in forward:
        assert all(n.name in computed or n.kind == "constant" for n in s.node.inputs)
        computed.add(s.node.name)
    pulled: set[str] = set()
    for s in backward:
        assert all(e.target.name in pulled for e in s.edges) and (s.edges or s.node.name == "loss")
        assert float(s.value) == float(g.derivative()[s.node.name].adjoint)
        pulled.add(s.node.name)
    text = "\n".join(map(str, steps))
    assert "h = tanh(add1)" in text and "= tanh(1.1)" in text
    assert "∂loss/∂add1 = ∂loss/∂h · ∂h/∂add1" in text


def test_a_backward_step_adds_what_arrives() -> None:
    def f(x: Any) -> Any:
        a = x * 3.0
        b = wg.sin(x)
        return a + b

    last = list(wg.graph(f)(0.5).steps())[-1]
    assert last.node.name == "x" and len(last.edges) == 2
    assert last.lines[0] == "∂f/∂x = ∂f/∂a · ∂a/∂x + ∂f/∂b · ∂b/∂x"
    assert last.lines[1] == f"= 1·3 + 1·{np.cos(0.5):.4g}"


def test_an_edge_is_asked_for_as_a_derivative_is_written(g: Any) -> None:
    assert float(g.edge("h", "add1").value) == float(g.derivative().edge("h", "add1").value)
    with pytest.raises(GraphError, match=r"the other way: what is made comes first, edge\('h', 'add1'\)"):
        g.edge("add1", "h")
    with pytest.raises(GraphError, match=r"edges into h: ∂h/∂add1\. For longer ways use paths"):
        g.edge("h", "w1")
