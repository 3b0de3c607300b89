"""Convolution and pooling: against PyTorch and JAX, against their definition, and by identities."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from tests.checks import Point, check_pull, check_push, check_second
from wengert.errors import ArgumentError, ShapeError
from wengert.ops.conv import conv_p
from wengert.ops.promote import as_array


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@st.composite
def settings_of_conv(draw_: Any) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Shapes of x and kernel and the parameters of the primitive, in one to three spatial axes."""
    n = draw_(st.integers(1, 3))
    small = lambda low, high: tuple(draw_(st.integers(low, high)) for _ in range(n))  # noqa: E731
    kernel, stride, dilation, base = small(1, 3), small(1, 3), small(1, 2), small(1, 2)
    low, high, more = small(-1, 2), small(-1, 2), small(0, 4)
    groups = draw_(st.sampled_from([1, 1, 2, 3]))
    spatial = []
    for k, d, b, p, q, m in zip(kernel, dilation, base, low, high, more, strict=True):
        reach = (k - 1) * d + 1
        spatial.append(next(s for s in itertools.count(1) if (s - 1) * b + 1 + p + q >= reach) + m)
    x = (draw_(st.integers(1, 3)), groups * draw_(st.integers(1, 2)), *spatial)
    w = (groups * draw_(st.integers(1, 2)), x[1] // groups, *kernel)
    params = {
        "stride": stride, "padding": tuple(zip(low, high, strict=True)), "input_dilation": base,
        "kernel_dilation": dilation, "groups": groups,
    }  # fmt: skip
    return x, w, params


def by_definition(x: np.ndarray, w: np.ndarray, p: dict[str, Any]) -> np.ndarray:
    """The convolution as the sum that defines it, one element of the output at a time."""
    shape = conv_p.type(as_array(x).type, as_array(w).type, **p).shape
    out = np.zeros(shape)
    per_group, out_per_group = w.shape[1], w.shape[0] // p["groups"]
    for n, o, *place in np.ndindex(*shape):
        for c, *tap in np.ndindex(*w.shape[1:]):
            at = []
            for k, (i, j) in enumerate(zip(place, tap, strict=True)):
                q = i * p["stride"][k] + j * p["kernel_dilation"][k] - p["padding"][k][0]
                d = p["input_dilation"][k]
                at.append(q // d if q % d == 0 and 0 <= q // d < x.shape[k + 2] else -1)
            if -1 not in at:
                out[(n, o, *place)] += x[(n, o // out_per_group * per_group + c, *at)] * w[(o, c, *tap)]
    return out


@settings(max_examples=40)
@given(settings_of_conv())
def test_the_primitive_is_its_definition(case: Any) -> None:
    xs, ws, params = case
    x, w = draw(0, *xs), draw(1, *ws)
    got = conv_p.bind(as_array(x), as_array(w), **params)
    np.testing.assert_allclose(got, by_definition(x, w, params), rtol=1e-12, atol=1e-12)


@settings(max_examples=60)
@given(settings_of_conv())
def test_the_adjoints_are_adjoint_to_any_order(case: Any) -> None:
    """Each adjoint is the same primitive: so is the adjoint of the adjoint, which must be the convolution again."""
    xs, ws, params = case
    p = Point(lambda x, w: conv_p.bind(as_array(x), as_array(w), **params), (draw(0, *xs), draw(1, *ws)))
    check_pull(p)
    check_push(p)
    check_second(p)


@settings(max_examples=40)
@given(settings_of_conv(), st.sampled_from([(0, None), (None, 0), (0, 0), (1, 2)]))
def test_batched_is_looped(case: Any, axes: Any) -> None:
    xs, ws, params = case
    x, w = draw(0, 3, *xs), draw(1, 3, *ws)
    f = lambda x, w: conv_p.bind(as_array(x), as_array(w), **params)  # noqa: E731
    wanted = [f(x[i] if axes[0] is not None else x[0], w[i] if axes[1] is not None else w[0]) for i in range(3)]
    given_x = x[0] if axes[0] is None else np.moveaxis(x, 0, axes[0])
    given_w = w[0] if axes[1] is None else np.moveaxis(w, 0, axes[1])
    got = wg.vmap(f, in_axes=axes)(given_x, given_w)
    np.testing.assert_allclose(got, np.stack([np.asarray(v) for v in wanted]), rtol=1e-12, atol=1e-12)


@settings(max_examples=30)
@given(settings_of_conv())
def test_sparsity_covers_every_dependence(case: Any) -> None:
    xs, ws, params = case
    x, w = np.abs(draw(0, *xs)) + 1, np.abs(draw(1, *ws)) + 1
    f = lambda x, w: conv_p.bind(as_array(x), as_array(w), **params)  # noqa: E731
    for i, value in enumerate((x, w)):
        size = min(value.size, 64)
        bits = np.zeros((*value.shape, 1), np.uint64)
        bits.reshape(-1)[:size] = np.uint64(1) << np.arange(size, dtype=np.uint64)
        seen = conv_p.sparsity([bits if k == i else None for k in range(2)], [as_array(v).type for v in (x, w)], params)
        for k in range(0, size, 5):
            e = np.zeros(value.size)
            e[k] = 1
            moved = np.asarray(f(*[e.reshape(value.shape) if j == i else v for j, v in enumerate((x, w))])) != 0
            claimed = (seen[..., 0] >> np.uint64(k)) & np.uint64(1) != 0
            assert np.all(claimed | ~moved)
            if i == 0:
                np.testing.assert_array_equal(claimed, moved)  # positive kernels leave nothing out


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_against_torch(n: int, groups: int) -> None:
    torch = pytest.importorskip("torch")
    f = getattr(torch.nn.functional, f"conv{n}d")
    back = getattr(torch.nn.functional, f"conv_transpose{n}d")
    x, w = draw(2, 2, 4, *(9, 7, 6)[:n]), draw(3, 6, 4 // groups, *(3, 2, 3)[:n])
    for stride, padding, dilation in ((1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 2)):
        tx, tw = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
        wanted = f(tx, tw, stride=stride, padding=padding, dilation=dilation, groups=groups)
        u = draw(4, *wanted.shape)
        wanted.backward(torch.tensor(u))
        how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        got, pullback = wg.vjp(lambda x, w, how=how: wg.conv(x, w, **how), x, w)
        for a, b in zip((got, *pullback(u)), (wanted.detach(), tx.grad, tw.grad), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)
        kernel = draw(5, 4, 6 // groups, *(3, 2, 3)[:n])
        wanted = back(torch.tensor(x), torch.tensor(kernel), output_padding=stride - 1, **how)
        got = wg.conv_transpose(x, kernel, output_padding=stride - 1, **how)
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-11)


def test_against_jax() -> None:
    jax = pytest.importorskip("jax")
    x, w = draw(2, 2, 4, 9, 7).astype(np.float32), draw(3, 6, 2, 3, 2).astype(np.float32)
    params = {"stride": (2, 1), "padding": ((1, 2), (-1, 3)), "input_dilation": (1, 2), "kernel_dilation": (2, 1)}

    def reference(x: Any, w: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x, w, (2, 1), ((1, 2), (-1, 3)), lhs_dilation=(1, 2), rhs_dilation=(2, 1), feature_group_count=2
        )

    got, pullback = wg.vjp(lambda x, w: conv_p.bind(as_array(x), as_array(w), groups=2, **params), x, w)
    wanted, back = jax.vjp(reference, x, w)
    u = draw(4, *got.shape).astype(np.float32)
    for a, b in zip((got, *pullback(u)), (wanted, *back(u)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_conv_transpose_is_the_adjoint() -> None:
    x, w = draw(0, 2, 4, 9, 8), draw(1, 6, 2, 3, 2)
    how = {"stride": (2, 3), "padding": 1, "dilation": (1, 2), "groups": 2}
    out = wg.conv(x, w, **how)
    u = draw(2, *out.shape)
    left = float(wg.sum(out * u))
    back = wg.conv_transpose(u, w, output_padding=(0, 1), **how)
    np.testing.assert_allclose(float(wg.sum(back * x)), left, rtol=1e-12)


def test_ways_to_say_it() -> None:
    x, w = draw(0, 2, 3, 8, 9), draw(1, 4, 3, 3, 2)
    one = wg.conv(x[0], w, padding=1)
    np.testing.assert_array_equal(one, wg.conv(x, w, padding=1)[0])
    assert wg.conv(x, w, padding="same").shape == (2, 4, 8, 9)
    assert wg.conv(x, w, padding="valid").shape == (2, 4, 6, 8)
    assert wg.conv(x, w, padding=((1, 0), (0, 2)), stride=(2, 1)).shape == (2, 4, 4, 10)
    assert wg.conv(np.zeros((0, 3, 4)), np.zeros((2, 3, 3))).shape == (0, 2, 2)
    whole = wg.conv(np.arange(6).reshape(1, 1, 6), np.array([[[1, 2]]]))
    assert whole.dtype == np.int64 and whole.tolist() == [[[2, 5, 8, 11, 14]]]
    half = wg.conv(x.astype(np.float16), w.astype(np.float16))
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, wg.conv(x, w), atol=0.05)
    z = x + 1j * draw(5, *x.shape)
    np.testing.assert_allclose(wg.real(wg.conv(z, w + 0j)), wg.conv(x, w))
    fast = wg.jit(lambda x, w: wg.grad(lambda w: wg.sum(wg.square(wg.conv(x, w))))(w))(x, w)
    np.testing.assert_allclose(fast, wg.grad(lambda w: wg.sum(wg.square(wg.conv(x, w))))(w), rtol=1e-12)


BAD_CONV = [
    ((2, 3, 8), (4, 2, 3), {}, ShapeError, r"x has 3 channels, but the kernel reads 2 in each of 1 group"),
    ((2, 4, 8), (3, 2, 3), {"groups": 2}, ShapeError, r"writes 3. Expected .* divisible by groups"),
    ((2, 3, 2), (4, 3, 5), {"padding": 1}, ShapeError, r"reaches over 5 places of spatial axis 0, which has 4"),
    ((3, 8, 8, 8), (4, 3, 3), {}, ShapeError, r"as many spatial axes"),
    ((2, 3, 8), (4, 3, 3), {"stride": 0}, ArgumentError, r"stride is 0; expected an integer of at least 1"),
    ((2, 3, 8), (4, 3, 3), {"padding": "full"}, ArgumentError, r'padding is .full.; expected .* "valid" or "same"'),
    ((2, 3, 8), (4, 3, 3), {"padding": "same", "stride": 2}, ArgumentError, r"needs stride 1"),
    ((2, 3, 8), (4, 3, 3), {"groups": 0}, ArgumentError, r"groups is 0; expected a positive integer"),
]


@pytest.mark.parametrize(("x", "w", "how", "error", "text"), BAD_CONV)
def test_errors_say_what_was_given(x: Any, w: Any, how: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        wg.conv(np.zeros(x), np.zeros(w), **how)
    assert "test_conv.py" in str(caught.value)
    with pytest.raises(error, match=text):
        wg.jit(lambda x, w: wg.conv(x, w, **how))(np.zeros(x), np.zeros(w))


def test_conv_transpose_names_both_channels() -> None:
    with pytest.raises(ShapeError, match="x has 3 channels and the kernel reads 4"):
        wg.conv_transpose(np.zeros((1, 3, 8)), np.zeros((4, 2, 3)))


# Pooling

POOLS = [
    ((3,), (2,), (1,), (1,)),
    ((2, 3), (2, 1), (0, 1), (1, 1)),
    ((3, 2), (1, 2), (1, 0), (1, 2)),
    ((2, 1, 2), (1, 1, 3), (1, 0, 0), (2, 1, 1)),
]


@pytest.mark.parametrize(("window", "stride", "padding", "dilation"), POOLS)
def test_pools_against_torch(window: Any, stride: Any, padding: Any, dilation: Any) -> None:
    torch = pytest.importorskip("torch")
    n = len(window)
    x = np.round(draw(0, 2, 3, *(7, 8, 6)[:n]) * 2)  # whole numbers: many ties
    pad = tuple(min(p, w // 2) for p, w in zip(padding, window, strict=True))  # PyTorch's limit
    tx = torch.tensor(x, requires_grad=True)
    wanted = getattr(torch.nn.functional, f"max_pool{n}d")(tx, window, stride, pad, dilation)
    u = draw(1, *wanted.shape)
    wanted.backward(torch.tensor(u))
    got, back = wg.vjp(lambda x: wg.max_pool(x, window, stride=stride, padding=pad, dilation=dilation), x)
    np.testing.assert_array_equal(got, wanted.detach())
    np.testing.assert_allclose(back(u)[0], tx.grad, rtol=1e-13, atol=1e-13)
    for include in (True, False):
        tx = torch.tensor(x, requires_grad=True)
        wanted = getattr(torch.nn.functional, f"avg_pool{n}d")(tx, window, stride, pad, False, include)
        u = draw(1, *wanted.shape)
        wanted.backward(torch.tensor(u))
        f = lambda x: wg.avg_pool(x, window, stride=stride, padding=pad, count_include_pad=include)  # noqa: B023, E731
        got, back = wg.vjp(f, x)
        np.testing.assert_allclose(got, wanted.detach(), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(back(u)[0], tx.grad, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("window", "stride", "padding", "dilation"), POOLS)
def test_pools_differentiate_and_batch(window: Any, stride: Any, padding: Any, dilation: Any) -> None:
    n = len(window)
    shape = (2, 1, *(5, 4, 3)[:n])
    x = np.random.default_rng(0).permutation(np.linspace(-3, 3, int(np.prod(shape)))).reshape(shape)  # no near ties
    how = {"stride": stride, "padding": padding}
    for f in (
        lambda x: wg.max_pool(wg.sinh(x), window, dilation=dilation, **how),
        lambda x: wg.avg_pool(wg.sinh(x), window, count_include_pad=False, **how),
    ):
        p = Point(f, (x,))
        check_push(p)
        check_pull(p)
        check_second(p)
        np.testing.assert_allclose(wg.vmap(f, in_axes=1, out_axes=1)(x), f(x), rtol=1e-13)
        pull = lambda x, f=f: wg.grad(lambda x: wg.sum(wg.square(f(x))))(x)  # noqa: E731
        np.testing.assert_allclose(wg.vmap(pull)(x), np.stack([np.asarray(pull(v)) for v in x]), rtol=1e-12, atol=1e-13)
        hessian_times = wg.vmap(lambda x, pull=pull: wg.jvp(pull, (x,), (x,))[1])(x)
        looped = [wg.jvp(pull, (v,), (v,))[1] for v in x]
        np.testing.assert_allclose(hessian_times, np.stack([np.asarray(v) for v in looped]), rtol=1e-11, atol=1e-12)


def test_max_pool_corners() -> None:
    assert wg.max_pool(np.array([[[1.0, np.nan, 2.0, 3.0]]]), 2).tolist()[0][0][1] == 3.0
    assert np.isnan(wg.max_pool(np.array([[[1.0, np.nan, 2.0, 3.0]]]), 2)[0, 0, 0])
    assert wg.max_pool(np.array([[[-5, -7]]], np.int8), 3, stride=1, padding=1).tolist() == [[[-5, -5]]]
    low = np.full((1, 1, 2), -np.inf)
    assert wg.grad(lambda x: wg.sum(wg.max_pool(x, 2)))(low).tolist() == [[[1.0, 0.0]]]
    assert wg.max_pool(draw(0, 4, 5), (2,)).shape == (4, 2)  # a tuple says which axes are spatial
    second = wg.grad(lambda x: wg.sum(wg.grad(lambda x: wg.sum(wg.max_pool(x, 2) ** 3))(x) ** 2))(
        np.array([[[1.0, 2.0]]])
    )
    np.testing.assert_allclose(second, [[[0.0, 2 * 12 * 12.0]]])


BAD_POOL = [
    ((2, 3, 4), 5, {}, ShapeError, r"reaches over 5 places does not fit into an axis of length 4"),
    ((2, 3, 4), 2, {"padding": 2}, ArgumentError, r"padding \(2, 2\) for a window that reaches over 2"),
    ((2, 3), 2, {}, ShapeError, r"expected an array \(batch, channels"),
    ((2, 3, 4), 0, {}, ArgumentError, r"window is 0"),
    ((2, 3, 4), 2, {"stride": (1, 1)}, ArgumentError, r"one for each of the 1 spatial axes"),
]


@pytest.mark.parametrize(("x", "window", "how", "error", "text"), BAD_POOL)
def test_pool_errors(x: Any, window: Any, how: Any, error: Any, text: str) -> None:
    for pool in (wg.max_pool, wg.avg_pool):
        with pytest.raises(error, match=text) as caught:
            pool(np.zeros(x), window, **how)
        assert "test_conv.py" in str(caught.value)


def test_complex_numbers_have_no_largest() -> None:
    with pytest.raises(TypeError, match="no order"):
        wg.max_pool(np.zeros((1, 1, 4), complex), 2)
