"""Jacobians over pytrees by every way, the way that is chosen, and what explain says of it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.diff.plan import Plan
from wengert.errors import ArgumentError, DTypeError

RNG = np.random.default_rng(7)
WAYS = [wg.jacfwd, wg.jacrev, wg.jacobian]


def flat(tree: Any) -> list[np.ndarray]:
    return [np.asarray(v) for v in wg.tree.leaves(tree)]


def trees(m: Any) -> Any:
    """A function of trees in the interface that both packages share."""

    def f(p: Any, x: Any) -> Any:
        y = m.tanh(p["w"] @ x[0] + p["b"])
        return {"y": y, "pair": (m.sum(y * x[1]), m.outer(y, x[0]) if hasattr(m, "outer") else y[:, None] * x[0])}

    return f


P = {"w": RNG.standard_normal((3, 2)), "b": RNG.standard_normal(3)}
XS = (RNG.standard_normal(2), np.float64(0.3))


@pytest.mark.parametrize("argnums", [0, 1, (0, 1), (1, 0), -1])
@pytest.mark.parametrize("way", WAYS)
def test_trees_as_in_jax(way: Any, argnums: Any) -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        wanted = jax.tree.map(np.asarray, jax.jacrev(trees(jax.numpy), argnums)(P, XS))
    found = way(trees(wg), argnums)(P, XS)
    assert list(found) == ["y", "pair"]
    if not isinstance(argnums, tuple):  # dictionaries keep their order here, and are sorted there
        if argnums == 0:
            np.testing.assert_allclose(found["y"]["w"], wanted["y"]["w"], rtol=1e-12)
            np.testing.assert_allclose(found["pair"][1]["b"], wanted["pair"][1]["b"], rtol=1e-12)
        else:
            np.testing.assert_allclose(found["pair"][1][0], wanted["pair"][1][0], rtol=1e-12)
            np.testing.assert_allclose(found["pair"][0][1], wanted["pair"][0][1], rtol=1e-12)
    else:
        k = argnums.index(0)
        assert isinstance(found["y"], tuple) and len(found["y"]) == 2
        for name in ("w", "b"):
            np.testing.assert_allclose(found["y"][k][name], wanted["y"][k][name], rtol=1e-12)
            np.testing.assert_allclose(found["pair"][0][k][name], wanted["pair"][0][k][name], rtol=1e-12)
        for i in (0, 1):
            np.testing.assert_allclose(found["pair"][1][1 - k][i], wanted["pair"][1][1 - k][i], rtol=1e-12, atol=1e-15)


def test_shapes_are_those_of_output_and_input() -> None:
    def f(x: Any) -> Any:
        return wg.reshape(x, (3, 2)) * 2.0, wg.sum(x)

    for way in WAYS:
        first, second = way(f)(RNG.standard_normal((2, 3)))
        assert first.shape == (3, 2, 2, 3) and second.shape == (2, 3)
        assert np.array_equal(np.asarray(first).reshape(6, 6), 2 * np.eye(6))


@pytest.mark.parametrize("chunk", [1, 2, 5, None])
@pytest.mark.parametrize("way", WAYS)
def test_chunks_change_nothing(way: Any, chunk: int | None) -> None:
    a = RNG.standard_normal((5, 5))

    def f(x: Any) -> Any:
        return wg.sin(a @ x) * x[0], wg.cumulative_sum(x**2)

    x = RNG.standard_normal(5)
    for one, other in zip(flat(way(f, chunk_size=chunk)(x)), flat(wg.jacrev(f)(x)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)


def test_hessian_as_in_jax() -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        wanted = jax.hessian(lambda p, x: trees(jax.numpy)(p, x)["pair"][0], (0, 1))(P, XS)
        wanted = [np.asarray(wanted[0]["w"][0]["b"]), np.asarray(wanted[0]["w"][1][0]), np.asarray(wanted[1][1][1][0])]
    found = wg.hessian(lambda p, x: trees(wg)(p, x)["pair"][0], (0, 1))(P, XS)
    for one, other in zip([found[0]["w"][0]["b"], found[0]["w"][1][0], found[1][1][1][0]], wanted, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


def test_has_aux_modules_and_other_leaves() -> None:
    class Scale(wg.tree.Module):
        def __init__(self) -> None:
            self.w = wg.asarray(np.array([2.0, 3.0]))
            self.steps = wg.asarray(np.array(4))
            self.name = "scale"

    def f(model: Any, x: Any) -> Any:
        model.steps = model.steps + 1
        return model.w * x, {"seen": x}

    for way in WAYS:
        model = Scale()
        jacobian, aux = way(f, has_aux=True)(model, XS[0])
        assert isinstance(jacobian, Scale) and jacobian.steps is None and jacobian.name == "scale"
        np.testing.assert_array_equal(jacobian.w, np.diag(XS[0]))
        np.testing.assert_array_equal(aux["seen"], XS[0])
        assert int(model.steps) == 5


def test_within_other_transformations() -> None:
    def f(x: Any) -> Any:
        return wg.sin(x) * x[0]

    x = RNG.standard_normal(3)
    for way in WAYS:
        np.testing.assert_allclose(wg.jit(way(f))(x), wg.jacrev(f)(x), rtol=1e-13)
        np.testing.assert_allclose(wg.vmap(way(f))(np.stack([x, 2 * x]))[1], wg.jacrev(f)(2 * x), rtol=1e-13)
        volume = wg.grad(lambda v, way=way: wg.sum(way(f)(v) ** 2))(x)
        np.testing.assert_allclose(volume, wg.grad(lambda v: wg.sum(wg.jacfwd(f)(v) ** 2))(x), rtol=1e-12)


@pytest.mark.parametrize("way", [wg.jacfwd, wg.jacrev])
def test_holomorphic_as_in_jax(way: Any) -> None:
    jax = pytest.importorskip("jax")
    z = RNG.standard_normal(3) + 1j * RNG.standard_normal(3)
    with jax.enable_x64(True):
        wanted = np.asarray(getattr(jax, way.__name__)(lambda v: v**2 * v[0], holomorphic=True)(z))
    np.testing.assert_allclose(way(lambda v: v**2 * v[0], holomorphic=True)(z), wanted, rtol=1e-12)
    np.testing.assert_allclose(wg.jacobian(lambda v: v**2 * v[0], holomorphic=True)(z), wanted, rtol=1e-12)


def test_complex_output_of_real_input() -> None:
    x = RNG.standard_normal(3)

    def f(v: Any) -> Any:
        return wg.exp(v * 1j)

    wanted = np.diag(1j * np.exp(1j * x))
    np.testing.assert_allclose(wg.jacfwd(f)(x), wanted, rtol=1e-12)
    np.testing.assert_allclose(wg.jacobian(f)(x), wanted, rtol=1e-12)
    with pytest.raises(DTypeError, match="holomorphic"):
        wg.jacrev(f)(x)


@pytest.mark.parametrize("way", WAYS)
def test_bad_input(way: Any) -> None:
    with pytest.raises(DTypeError, match="int64"):
        way(lambda x: x * 2.0)(np.array([1, 2]))
    with pytest.raises(DTypeError, match="only real and complex floats"):
        way(lambda x: x > 0)(XS[0])
    with pytest.raises(DTypeError, match="holomorphic"):
        way(lambda x: x * 2.0)(np.array([1j]))
    with pytest.raises(DTypeError, match="holomorphic=True"):
        way(lambda x: wg.abs(x), holomorphic=True)(np.array([1j]))
    with pytest.raises(ArgumentError, match="takes a function"):
        way(3.0)
    with pytest.raises(ArgumentError, match="chunk_size"):
        way(lambda x: x, chunk_size=0)(XS[0])


# The choice


def hourglass(widths: list[int], seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    ws = [wg.asarray(rng.standard_normal((b, a)) / a) for a, b in itertools.pairwise(widths)]

    def f(x: Any) -> Any:
        for w in ws:
            x = wg.tanh(w @ wg.sin(x))
        return x

    return f


def chosen(f: Any, x: Any) -> Plan:
    plan = wg.explain(wg.jacobian(f))(x)
    np.testing.assert_allclose(wg.jacobian(f)(x), wg.jacrev(f)(x), rtol=1e-9, atol=1e-12)
    return plan


def test_a_narrow_waist_takes_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    f = hourglass([1000, 10, 1000])
    x = RNG.standard_normal(1000)
    plan = wg.explain(wg.jacobian(f))(x)
    assert plan.chosen.name == "waist" and plan.chosen.sweeps == "10 + 10"
    text = str(plan)
    assert "1000 inputs → 1000 outputs" in text and "10 pulled, 10 pushed" in text and "chosen: waist" in text
    assert all(w.name in text for w in plan.ways)
    np.testing.assert_allclose(wg.jacobian(f)(x), wg.jacrev(f)(x), rtol=1e-10, atol=1e-13)

    # and it really takes no more sweeps than it says
    counted = []

    def counting(walk: Any) -> Any:
        def unit(type: Any, start: int, stop: int) -> Any:
            counted.append(stop - start)
            return walk(type, start, stop)

        return unit

    from wengert.diff import sweep

    monkeypatch.setattr(sweep, "unit_vectors", counting(sweep.unit_vectors))
    wg.jacobian(f)(x)
    assert sum(counted) == 20


def test_tall_wide_and_square() -> None:
    assert chosen(hourglass([4, 30]), RNG.standard_normal(4)).chosen.name == "forward"
    assert chosen(hourglass([30, 4]), RNG.standard_normal(30)).chosen.name == "reverse"
    assert chosen(hourglass([8, 8]), RNG.standard_normal(8)).chosen.name == "forward"
    assert chosen(lambda x: wg.sum(x**2), RNG.standard_normal(8)).chosen.sweeps == "1"


def test_a_chain_of_waists() -> None:
    plan = chosen(hourglass([60, 3, 60, 60, 2, 60]), RNG.standard_normal(60))
    assert plan.chosen.name == "waist"
    assert plan.chosen.sweeps == "2 + 2"  # the narrowest: two sweeps pass the other waist as well


def test_a_waist_beside_a_shortcut_is_none() -> None:
    f = hourglass([50, 2, 50])
    plan = chosen(lambda x: f(x) + x, RNG.standard_normal(50))
    assert plan.chosen.name == "forward"


def test_waist_with_several_inputs_and_outputs() -> None:
    a, b = RNG.standard_normal((2, 40)), RNG.standard_normal((40, 2))

    def f(p: Any) -> Any:
        h = wg.asarray(a) @ wg.sin(p["x"]) + wg.sum(p["y"])
        g = wg.tanh(h)
        return {"out": wg.cos(wg.asarray(b) @ g), "same": g, "constant": wg.ones(2)}

    p = {"x": RNG.standard_normal(40), "y": RNG.standard_normal((3, 5)), "unused": np.zeros(2)}
    plan = wg.explain(wg.jacobian(f))(p)
    assert plan.chosen.name == "waist" and plan.chosen.sweeps == "2 + 2"
    for one, other in zip(flat(wg.jacobian(f)(p)), flat(wg.jacfwd(f)(p)), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_random_chains_agree_with_reverse_mode() -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        widths = rng.integers(1, 25, rng.integers(2, 7)).tolist()
        chosen(hourglass(widths, seed), rng.standard_normal(widths[0]))


def test_a_large_sparse_jacobian_is_coloured() -> None:
    n = 3000

    def f(x: Any) -> Any:
        for _ in range(4):
            y = wg.concat([x[:1], x[1:-1] ** 2 - 0.1 * x[:-2] * x[2:], x[-1:]])
            x = wg.sin(y)
        return x

    x = RNG.standard_normal(n)
    plan = wg.explain(wg.jacobian(f))(x)
    assert plan.chosen.name == "coloured" and plan.chosen.sweeps == "9"  # four steps to either side
    assert "entries can be nonzero" in str(plan)
    some = RNG.integers(0, n, 5)
    pulled = wg.vjp(f, x)[1]
    jacobian = np.asarray(wg.jacobian(f)(x))
    for i in some:
        np.testing.assert_allclose(jacobian[i], pulled(np.eye(1, n, i)[0])[0], rtol=1e-12, atol=1e-14)


def test_deep_chains_are_linear_work() -> None:
    def f(x: Any) -> Any:
        for _ in range(3000):
            x = x * 1.001
        return x

    x = np.array([1.0, 2.0])
    np.testing.assert_allclose(wg.jacobian(f)(x), 1.001**3000 * np.eye(2), rtol=1e-9)


def test_explain_of_a_plain_function() -> None:
    a = RNG.standard_normal((20, 30))
    summary = wg.explain(lambda x: wg.sum(wg.tanh(wg.asarray(a) @ x)))(RNG.standard_normal(30))
    assert summary.counts == {"dot_general": 1, "tanh": 1, "sum": 1}
    assert summary.flops == 2 * 20 * 30 + 20 + 20
    assert summary.peak_bytes == 8 * (30 + 20)
    assert "dot_general" in str(summary) and "3 steps" in str(summary)
    with pytest.raises(ArgumentError, match="explain takes a function"):
        wg.explain(3)


def test_explain_is_a_protocol() -> None:
    def f(x: Any) -> Any:
        return x

    f.explain = lambda x: f"would do {x}"  # type: ignore[attr-defined]
    assert wg.explain(f)(3) == "would do 3"
    assert not hasattr(wg.jacfwd(f), "explain")  # what f says of itself does not hold for its Jacobian
