"""Singular values of layer-to-layer Jacobians against Jacobians taken by `wg.jacobian`."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import flow, nn
from wengert.errors import ArgumentError
from wengert.flow.spectrum import largest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def total(model, x):
    return wg.sum(model(x))


def test_between_layers(rng):
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x = rng.normal(size=(4, 5))
    found = flow.spectrum(model, total, x, example=1)
    assert [(s.start, s.end) for s in found] == [("0", "2"), ("2", "4"), ("0", "4")]

    def jacobian(x, *layers):
        def through(h):
            for k in layers:
                h = model[k](h)
            return h

        return np.linalg.svd(np.asarray(wg.jacobian(through)(x)), compute_uv=False)

    first = model[0](x[1])
    second = model[2](wg.tanh(first))
    for s, want in zip(
        found, (jacobian(first, 1, 2), jacobian(second, 3, 4), jacobian(first, 1, 2, 3, 4)), strict=True
    ):
        np.testing.assert_allclose(s.values, want, atol=1e-9)
        assert s.exact and s.rms == pytest.approx(np.sqrt(np.mean(want**2)))
        assert s.condition == pytest.approx(want[0] / want[-1])


def test_an_orthogonal_linear_net_keeps_lengths():
    model = nn.Sequential(*(nn.Linear(16, 16, bias=False) for _ in range(6))).double()

    q = [np.linalg.qr(np.random.default_rng(k).normal(size=(16, 16)))[0] for k in range(6)]
    for layer, w in zip(model, q, strict=True):
        layer.weight = wg.asarray(w)
    for s in flow.spectrum(model, total, np.ones((2, 16))):
        np.testing.assert_allclose(s.values, 1, atol=1e-12)


def test_through_a_loop_and_the_whole_batch(rng):
    class Net(nn.Module):
        def __init__(self):
            self.first, self.state, self.last = nn.Linear(3, 4), nn.RNN(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(self.state(self.first(x))[0])

    model = Net().double()
    x = rng.normal(size=(5, 2, 3))
    (s,) = flow.spectrum(model, total, x, start="first", end="last", example=None)
    h = model.first(x)
    matrix = np.asarray(wg.jacobian(lambda h: model.last(model.state(h)[0]))(h)).reshape(20, 40)
    np.testing.assert_allclose(s.values, np.linalg.svd(matrix, compute_uv=False), atol=1e-9)


def test_large_ones_by_lanczos(rng):
    matrix = rng.normal(size=(900, 700)) @ np.diag(np.concatenate([[60, 50, 40, 30], np.full(696, 0.5)]))
    want = np.linalg.svd(matrix, compute_uv=False)
    found = largest(lambda v: matrix @ v, lambda u: matrix.T @ u, 700)
    np.testing.assert_allclose(found[:4], want[:4], rtol=1e-6)

    model = nn.Sequential(nn.Linear(4, 700, bias=False), nn.Linear(700, 900, bias=False)).double()
    model[1].weight = wg.asarray(matrix)
    (s,) = flow.spectrum(model, total, rng.normal(size=(1, 4)))
    assert not s.exact
    np.testing.assert_allclose(s.values[:4], want[:4], rtol=1e-6)
    assert s.rms == pytest.approx(np.sqrt(np.mean(want**2)), rel=0.2)


def test_bad_input(rng):
    model, x = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), rng.normal(size=(4, 3)).astype("f")
    with pytest.raises(ArgumentError, match=r"start is 'a'; expected a module .*: 0, 1"):
        flow.spectrum(model, total, x, start="a", end="1")
    with pytest.raises(ArgumentError, match="nothing leads from '1' to '0'"):
        flow.spectrum(model, total, x, start="1", end="0")
