"""Sorting, running operations, log-sums and softmax: values against NumPy, derivatives against identities and JAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import wengert as wg
from tests.checks import Point, check_pull, check_push, check_second
from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.primitive import registry

RNG = np.random.default_rng(3)
INF, NAN = np.inf, np.nan


def apart(*shape: int) -> np.ndarray:
    """Numbers of which no two are close, so that a small change does not alter their order."""
    return RNG.permutation(np.linspace(-2, 2, int(np.prod(shape)))).reshape(shape)


def checks(f: Any, *inputs: Any) -> None:
    p = Point(f, inputs)
    check_push(p)
    check_pull(p)
    check_second(p)


# Order

ORDERED = st.builds(
    lambda x, dtype: x.astype(dtype),
    hnp.arrays(np.int64, hnp.array_shapes(max_dims=2, max_side=6), elements=st.integers(0, 3)),
    st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_]),
)


@given(ORDERED, st.booleans(), st.data())
@settings(max_examples=100)
def test_argsort_is_stable(x: np.ndarray, descending: bool, data: Any) -> None:
    """Equal elements keep their order in either direction, and `sort` is what `argsort` picks."""
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    wanted = np.apply_along_axis(
        lambda line: np.array(sorted(range(len(line)), key=lambda k: -int(line[k]) if descending else int(line[k]))),
        axis,
        x,
    )
    order = np.asarray(wg.argsort(x, axis=axis, descending=descending))
    np.testing.assert_array_equal(order, wanted)
    out = np.asarray(wg.sort(x, axis=axis, descending=descending))
    assert out.dtype == x.dtype
    np.testing.assert_array_equal(out, np.take_along_axis(x, order, axis))


def test_nan_comes_last() -> None:
    x = np.array([2.0, NAN, -INF, INF, NAN, 0.0])
    np.testing.assert_array_equal(np.asarray(wg.sort(x)), [-INF, 0, 2, INF, NAN, NAN])
    np.testing.assert_array_equal(np.asarray(wg.sort(x, descending=True)), [INF, 2, 0, -INF, NAN, NAN])
    np.testing.assert_array_equal(np.asarray(wg.argsort(x, descending=True)), [3, 0, 5, 2, 1, 4])


def test_extreme_integers_descending() -> None:
    for dtype in (np.int8, np.uint8):
        limits = np.iinfo(dtype)
        x = np.array([limits.min, 1, limits.max], dtype)
        np.testing.assert_array_equal(np.asarray(wg.sort(x, descending=True)), x[::-1])


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_derivative_of_sort(axis: int, descending: bool) -> None:
    x, w = apart(4, 3), RNG.standard_normal((4, 3))
    checks(lambda a: wg.sort(a, axis=axis, descending=descending) ** 3 * w, x)
    order = np.asarray(wg.argsort(x, axis=axis, descending=descending))
    g = np.asarray(wg.grad(lambda a: wg.sum(wg.sort(a, axis=axis, descending=descending) * w))(x))
    np.testing.assert_array_equal(np.take_along_axis(g, order, axis), w)


def test_top_k_against_jax() -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    x, w = apart(3, 5), RNG.standard_normal((3, 2))
    values, positions = wg.top_k(x, 2)
    wanted, at = jax.lax.top_k(x, 2)
    np.testing.assert_array_equal(np.asarray(values), wanted)
    np.testing.assert_array_equal(np.asarray(positions), at)
    g = wg.grad(lambda a: wg.sum(wg.sin(wg.top_k(a, 2)[0]) * w))(x)
    np.testing.assert_allclose(
        np.asarray(g), jax.grad(lambda a: (jax.numpy.sin(jax.lax.top_k(a, 2)[0]) * w).sum())(x), rtol=1e-12
    )
    np.testing.assert_array_equal(np.asarray(wg.top_k(x, 2, axis=0)[0]), -np.sort(-x, axis=0)[:2])
    ties = np.array([1.0, 2.0, 2.0, 1.0])
    np.testing.assert_array_equal(np.asarray(wg.top_k(ties, 3)[1]), [1, 2, 0])


def test_batched_order() -> None:
    x = apart(3, 4, 2)
    for f in (
        lambda a: wg.sort(a, axis=0),
        lambda a: wg.argsort(a, axis=1, descending=True),
        lambda a: wg.top_k(a, 2, axis=0)[0],
        wg.grad(lambda b: wg.sum(wg.sort(b, axis=0)[0] ** 2)),
    ):
        for axis in (0, 1, 2):
            wanted = np.stack([np.asarray(f(np.take(x, k, axis))) for k in range(x.shape[axis])])
            np.testing.assert_allclose(np.asarray(wg.vmap(f, in_axes=axis)(x)), wanted)


def test_searchsorted_against_numpy() -> None:
    x, v = np.sort(apart(6)), np.array([[-9.0, 0.0], [9.0, 0.7]])
    for side in ("left", "right"):
        np.testing.assert_array_equal(np.asarray(wg.searchsorted(x, v, side=side)), np.searchsorted(x, v, side=side))
    y = apart(6)
    got = wg.searchsorted(y, v, sorter=np.argsort(y))
    np.testing.assert_array_equal(np.asarray(got), np.searchsorted(y, v, sorter=np.argsort(y)))


# Running operations

RUNNING = {
    wg.cumulative_sum: np.cumsum,
    wg.cumulative_prod: np.cumprod,
    wg.cumulative_max: np.maximum.accumulate,
    wg.cumulative_min: np.minimum.accumulate,
    wg.cumulative_logsumexp: np.logaddexp.accumulate,
}


@pytest.mark.parametrize("f", RUNNING)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, -1])
def test_running_values_and_derivatives(f: Any, reverse: bool, axis: int) -> None:
    x = apart(4, 3)
    turned = np.flip(x, axis) if reverse else x
    wanted = RUNNING[f](turned, axis=axis)
    wanted = np.flip(wanted, axis) if reverse else wanted
    np.testing.assert_allclose(np.asarray(f(x, axis=axis, reverse=reverse)), wanted, rtol=1e-14)
    checks(lambda a: wg.sin(f(a, axis=axis, reverse=reverse)), x)
    g = wg.grad(lambda a: wg.sum(f(a, axis=0, reverse=reverse) ** 2))
    looped = np.stack([np.asarray(g(np.ascontiguousarray(x[:, j]))) for j in range(3)])
    np.testing.assert_allclose(np.asarray(wg.vmap(g, in_axes=1)(x)), looped, rtol=1e-12)


def test_running_against_jax() -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    x, w = apart(5, 2), RNG.standard_normal((5, 2))
    names = {"sum": "cumsum", "prod": "cumprod", "max": "cummax", "min": "cummin", "logsumexp": "cumlogsumexp"}
    for ours, theirs in names.items():
        f, g = getattr(wg, f"cumulative_{ours}"), getattr(jax.lax, theirs)
        for reverse in (False, True):
            a = wg.grad(lambda v: wg.sum(wg.sin(f(v, axis=0, reverse=reverse)) * w))(x)  # noqa: B023
            b = jax.grad(lambda v: (jax.numpy.sin(g(v, axis=0, reverse=reverse)) * w).sum())(x)  # noqa: B023
            np.testing.assert_allclose(np.asarray(a), b, rtol=1e-11)


@pytest.mark.parametrize("x", [[2.0, 0.0, 3.0, 0.0, 4.0], [0.0, 0.0, 0.0], [1.5, 2.0, 0.0]])
def test_running_product_with_zeros(x: list[float]) -> None:
    """First and second derivatives, which no quotient of products has."""
    checks(wg.cumulative_prod, np.array(x))
    checks(lambda a: wg.cumulative_prod(a, reverse=True), np.array(x))
    n = len(x)
    jac = np.asarray(wg.vmap(lambda t: wg.jvp(wg.cumulative_prod, (np.array(x),), (t,))[1])(np.eye(n)))
    wanted = [[np.prod(np.delete(x[: i + 1], k)) if k <= i else 0 for i in range(n)] for k in range(n)]
    np.testing.assert_allclose(jac, wanted)


def test_running_extremes_go_to_the_first_place() -> None:
    x = np.array([1.0, 3.0, 3.0, 2.0, 5.0])
    g = np.asarray(wg.grad(lambda a: wg.sum(wg.cumulative_max(a)))(x))
    np.testing.assert_array_equal(g, [1, 3, 0, 0, 1])
    g = np.asarray(wg.grad(lambda a: wg.sum(wg.cumulative_max(a, reverse=True)))(x))
    np.testing.assert_array_equal(g, [0, 0, 0, 0, 5])
    y = np.array([1.0, NAN, 3.0, NAN])
    np.testing.assert_array_equal(np.asarray(wg.cumulative_max(y)), [1, NAN, NAN, NAN])
    at = registry["cumulative_max_position"].bind(wg.asarray(y), axis=0, reverse=False)
    np.testing.assert_array_equal(np.asarray(at), [0, 1, 1, 1])


def test_running_logsumexp_at_infinity() -> None:
    x = np.array([-INF, -INF, 0.0, -INF, 1.0])
    np.testing.assert_allclose(np.asarray(wg.cumulative_logsumexp(x)), np.logaddexp.accumulate(x))
    jac = np.asarray(wg.vmap(lambda t: wg.jvp(wg.cumulative_logsumexp, (x,), (t,))[1])(np.eye(5)))
    s = 1 / (1 + np.exp(1))
    wanted = np.zeros((5, 5))
    wanted[2, 2:] = 1, 1, s
    wanted[4, 4] = 1 - s
    np.testing.assert_allclose(jac, wanted, atol=1e-15)
    y = np.array([0.0, INF, 1.0, INF])
    np.testing.assert_allclose(np.asarray(wg.grad(lambda a: wg.cumulative_logsumexp(a)[3])(y)), [0, 0.5, 0, 0.5])


def test_running_with_initial_and_types() -> None:
    x = np.array([2, 3, 4], np.int32)
    got = np.asarray(wg.cumulative_sum(x, include_initial=True))
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, [0, 2, 5, 9])
    np.testing.assert_array_equal(np.asarray(wg.cumulative_prod(x, include_initial=True)), [1, 2, 6, 24])
    got = wg.cumulative_sum(x, include_initial=True, reverse=True)
    np.testing.assert_array_equal(np.asarray(got), [9, 7, 4, 0])
    assert np.asarray(wg.cumulative_max(x)).dtype == np.int32
    for f in (*RUNNING, wg.sort):
        assert np.asarray(f(np.zeros((0,)))).shape == (0,)
    assert np.asarray(wg.grad(lambda a: wg.sum(wg.cumulative_prod(a)))(np.zeros(0))).shape == (0,)


@given(st.integers(1, 5), st.booleans())
@settings(max_examples=20)
def test_linear_recurrence_against_a_loop(n: int, reverse: bool) -> None:
    a, b = RNG.standard_normal((2, n))
    h, wanted = 0.0, np.zeros(n)
    for k in reversed(range(n)) if reverse else range(n):
        wanted[k] = h = a[k] * h + b[k]
    f = registry["linear_recurrence"]
    got = f.bind(wg.asarray(a), wg.asarray(b), axis=0, reverse=reverse)
    np.testing.assert_allclose(np.asarray(got), wanted)
    got = f.bind(wg.asarray(a[:, None]), wg.asarray(b[:, None]), axis=0, reverse=reverse)
    np.testing.assert_allclose(np.asarray(got)[:, 0], wanted)


# Log-sums and softmax


@pytest.mark.parametrize("axis", [None, 0, (0, 2), -1])
def test_logsumexp(axis: Any) -> None:
    x = apart(2, 3, 2)
    wanted = np.log(np.sum(np.exp(x), axis=axis))
    np.testing.assert_allclose(np.asarray(wg.logsumexp(x, axis=axis)), wanted, rtol=1e-14)
    np.testing.assert_allclose(np.asarray(wg.logsumexp(x + 1e4, axis=axis)), wanted + 1e4, rtol=1e-14)
    assert np.asarray(wg.logsumexp(x, axis=axis, keepdims=True)).shape == np.sum(x, axis=axis, keepdims=True).shape
    checks(lambda a: wg.logsumexp(a, axis=axis) ** 2, x)


def test_logsumexp_at_infinity() -> None:
    grad = wg.grad(wg.logsumexp)
    hessian = wg.vmap(lambda x, t: wg.jvp(grad, (x,), (t,))[1], in_axes=(None, 0))
    for x, value, slope in (
        ([-INF, -INF], -INF, [0, 0]),
        ([-INF, 3.0], 3.0, [0, 1]),
        ([INF, 0.0], INF, [1, 0]),
        ([INF, INF, -INF], INF, [0.5, 0.5, 0]),
    ):
        a = np.array(x)
        assert float(wg.logsumexp(a)) == value
        np.testing.assert_array_equal(np.asarray(grad(a)), slope)
        np.testing.assert_array_equal(np.asarray(hessian(a, np.eye(len(x)))), np.zeros((len(x), len(x))))
    assert np.isnan(float(wg.logsumexp(np.array([NAN, 1.0]))))
    assert float(wg.logsumexp(np.zeros(0))) == -INF


def test_second_derivative_of_logsumexp() -> None:
    """It is `diag(p) - p pᵀ` with `p = softmax(x)`, also where one element outweighs the others."""
    grad = wg.grad(wg.logsumexp)
    for x in (apart(4), np.array([40.0, 0.0, 1.0])):
        p = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
        got = np.asarray(wg.vmap(lambda t, x=x: wg.jvp(grad, (x,), (t,))[1])(np.eye(len(x))))
        np.testing.assert_allclose(got, np.diag(p) - np.outer(p, p), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("axis", [0, -1, (0, 1)])
def test_softmax_against_jax(axis: Any) -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    x, w = apart(3, 4) * 5, RNG.standard_normal((3, 4))
    for name in ("softmax", "log_softmax"):
        f, g = getattr(wg, name), getattr(jax.nn, name)
        np.testing.assert_allclose(np.asarray(f(x, axis=axis)), g(x, axis=axis), rtol=1e-13)
        a = wg.grad(lambda v: wg.sum(wg.sin(f(v, axis=axis)) * w))(x)  # noqa: B023
        b = jax.grad(lambda v: (jax.numpy.sin(g(v, axis=axis)) * w).sum())(x)  # noqa: B023
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-10, atol=1e-14)
        checks(lambda v: f(v, axis=axis), x)  # noqa: B023


def test_softmax_behind_masks() -> None:
    x = np.array([[1.0, -INF, 0.5], [-INF, -INF, -INF], [-1e30, -INF, 3.0]])
    p = np.asarray(wg.softmax(x))
    assert np.isfinite(p).all() and (p[1] == 0).all() and (p[:, 1] == 0).all()
    np.testing.assert_allclose(p.sum(1), [1, 0, 1])
    logs = np.asarray(wg.log_softmax(x))
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(logs[0], np.log(p[0]))
    assert (logs[1] == -INF).all()
    w = RNG.standard_normal((3, 3))
    for f in (wg.softmax, lambda a: wg.where(a > -INF, wg.log_softmax(a), 0)):
        grad = wg.grad(lambda a, f=f: wg.sum(wg.sin(f(a)) * w))
        g = np.asarray(grad(x))
        assert np.isfinite(g).all() and (g[1] == 0).all() and (g[:, 1] == 0).all()
        second = np.asarray(wg.jvp(grad, (x,), (np.ones_like(x),))[1])
        assert np.isfinite(second).all()
    # what is masked has no influence: the rest is as if it were not there
    kept = np.array([1.0, 0.5])
    g = np.asarray(wg.grad(lambda a: wg.sum(wg.softmax(a)[0] ** 2))(x))[0]
    h = np.asarray(wg.grad(lambda a: wg.sum(wg.softmax(a) ** 2))(kept))
    np.testing.assert_allclose(g[[0, 2]], h)


def test_softmax_of_large_numbers() -> None:
    x = np.array([1e4, 1e4 + 1, -1e4], np.float32)
    s = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(np.asarray(wg.softmax(x)), [1 - s, s, 0], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(wg.log_softmax(x))[:2], np.log([1 - s, s]), rtol=1e-6)
    assert np.asarray(wg.softmax(np.array([1, 2]))).dtype == np.float32


# Bad input


def test_bad_input() -> None:
    x = np.zeros((2, 3))
    with pytest.raises(ArgumentError, match=r"shape \(2, 3\): name the axis"):
        wg.cumulative_max(x)
    with pytest.raises(ShapeError, match="axis 2 does not exist"):
        wg.sort(x, axis=2)
    with pytest.raises(ShapeError, match="single number"):
        wg.argsort(np.float64(1.0))
    with pytest.raises(ShapeError, match=r"4 elements of axis 1, which has length 3[\s\S]*test_sort"):
        wg.top_k(x, 4)
    with pytest.raises(ArgumentError, match="Python integer"):
        wg.top_k(x, wg.asarray(2))
    with pytest.raises(DTypeError, match="complex"):
        wg.softmax(np.zeros(2, complex))
    with pytest.raises(DTypeError, match="cumulative_max is not defined for complex128"):
        wg.cumulative_max(np.zeros(2, complex))
