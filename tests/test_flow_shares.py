"""Gradients by path length and by lag against gradients at several scalings of the marked edges."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import flow, nn
from wengert.errors import ArgumentError


@wg.custom_vjp
def scaled(x, t):
    """`x` itself; its cotangent is multiplied by t."""
    return x


scaled.defvjp(lambda x, t: (x, t), lambda t, c: (c * t, None))


def parts_by_scaling(gradient, degrees):
    """The coefficients of the polynomial `gradient(t)`, from its values."""
    t = np.cos(np.pi * (np.arange(degrees + 1) + 0.5) / (degrees + 1)) + 1.5
    values = np.stack([np.ravel(np.asarray(gradient(v), float)) for v in t])
    return np.linalg.solve(np.vander(t, increasing=True), values)


def expected_shares(parts):
    whole = parts.sum(axis=0)
    return parts @ whole / (whole @ whole)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_path_lengths_of_a_residual_net(depth, rng):
    params = {f"w{k}": rng.normal(size=(5, 5)) / 3 for k in range(depth)} | {"out": rng.normal(size=(5, 2))}
    x = rng.normal(size=(4, 5))

    def loss_fn(p, x, t=1.0):
        for k in range(depth):
            x = x + wg.tanh(scaled(x, t) @ p[f"w{k}"])
        return wg.sum(wg.square(scaled(x, t) @ p["out"]))

    want = expected_shares(parts_by_scaling(lambda t: wg.grad(loss_fn, 1)(params, x, t), depth + 1))
    found = flow.by_path_length(params, loss_fn, x)
    assert found.of == "input 0" and len(found.shares) == depth + 2
    np.testing.assert_allclose(found.shares, want, atol=1e-8)
    assert sum(found.shares) == pytest.approx(1)
    of = expected_shares(parts_by_scaling(lambda t: wg.grad(loss_fn)(params, x, t)["w0"], depth))
    np.testing.assert_allclose(flow.by_path_length(params, loss_fn, x, of="w0").shares, of, atol=1e-8)


def recurrent(p, x, t, each):
    h, total = wg.zeros(x.shape[1:], dtype=x.dtype), 0.0
    for k in range(x.shape[0]):
        h = wg.tanh(x[k] + (scaled(h, t) if k else h) @ p["w"])
        total = total + (wg.sum(wg.square(h)) if each or k == x.shape[0] - 1 else 0.0)
    return total


@pytest.mark.parametrize("each", [False, True])
def test_lags_of_a_recurrent_net(each, rng):
    p, x = {"w": rng.normal(size=(4, 4)) / 2}, rng.normal(size=(6, 3, 4))

    def loss_fn(p, x):
        def body(h, x):
            h = wg.tanh(x + h @ p["w"])
            return h, wg.sum(wg.square(h))

        _, losses = wg.scan(body, wg.zeros(x.shape[1:], dtype=x.dtype), x)
        return wg.sum(losses) if each else losses[-1]

    parts = parts_by_scaling(lambda t: wg.grad(lambda p: recurrent(p, x, t, each))(p)["w"], 5)
    found = flow.by_lag(p, loss_fn, x)
    want = expected_shares(parts)
    np.testing.assert_allclose(found.shares, want[: len(found.shares)], atol=1e-6)
    np.testing.assert_allclose(want[len(found.shares) :], 0, atol=1e-6)
    norms = np.linalg.norm(parts, axis=1)[: len(found.norms)]
    np.testing.assert_allclose(10.0 ** np.array(found.norms), norms, atol=1e-6)


@pytest.mark.parametrize("cell", [nn.RNN, nn.LSTM, nn.GRU])
def test_layers_and_cells_agree(cell, rng):
    layer = cell(3, 4)
    alone = {nn.RNN: nn.RNNCell, nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell}[cell](3, 4)
    alone.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = rng.normal(size=(7, 2, 3)).astype("f")

    def by_cell(m, x):
        state = None
        for k in range(x.shape[0]):
            state = m(x[k], state)
        return wg.sum(wg.square(state[0] if isinstance(state, tuple) else state))

    first = flow.by_lag(layer, lambda m, x: wg.sum(wg.square(m(x)[0][-1])), x, of="weight_hh_l0")
    second = flow.by_lag(alone, by_cell, x, of="weight_hh")
    assert len(first.shares) == len(second.shares)
    np.testing.assert_allclose(first.shares, second.shares, atol=2e-4)


def test_what_it_says(rng):
    layer = nn.RNN(3, 4)
    found = flow.by_lag(layer, lambda m, x: wg.sum(m(x)[0][-1]), rng.normal(size=(9, 2, 3)).astype("f"))
    assert found.by == "lag"
    assert 0 <= found.reach(0.9) < 9 and found.within(8) == pytest.approx(1)
    assert "steps back" in str(found)


def test_bad_input(rng):
    x = rng.normal(size=(4, 3)).astype("f")
    with pytest.raises(ArgumentError, match="no state is handed on"):
        flow.by_lag(nn.Linear(3, 2), lambda m, x: wg.sum(m(x)), x)
    with pytest.raises(ArgumentError, match="no parameter is called 'w'; there are weight, bias"):
        flow.by_path_length(nn.Linear(3, 2), lambda m, x: wg.sum(m(x)), x, of="w")


def test_a_long_row_of_nothing_is_told_in_one_line() -> None:
    text = str(flow.Shares("w", "lag", (0.7, 0.3, 0.0, 1e-9, -1e-9, 0.0), (0.0, -0.4, -5.0, -6.0, -7.0, -8.5)))
    assert len(text.splitlines()) == 4 and text.splitlines()[-1].split() == [
        "2",
        "to",
        "5:",
        "0.00",
        "%",
        "each,",
        "norms",
        "-5.00",
        "to",
        "-8.50",
    ]
