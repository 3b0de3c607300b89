"""Mean-field theory against closed forms, published points, and wide random nets simulated in NumPy."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import wengert as wg
from wengert import nn
from wengert.errors import ArgumentError
from wengert.flow.depth import Activation, depth_scales
from wengert.flow.depth_model import mean_field

RNG = np.random.default_rng(0)


def test_moments_of_relu_have_closed_forms():
    relu = Activation("relu")
    assert relu.moment(1.7) == pytest.approx(0.85, rel=1e-9)
    assert relu.moment(1.7, slope=True) == pytest.approx(0.5, rel=1e-9)
    assert relu.moment_slope(1.7) == pytest.approx(0.5, rel=1e-9)
    for c in (-0.6, 0.0, 0.3, 0.9):  # the arc-cosine kernels of Cho and Saul 2009
        angle = math.acos(c)
        kernel = (math.sin(angle) + (math.pi - angle) * c) / (2 * math.pi)
        assert relu.product(1.7, c) == pytest.approx(1.7 * kernel, rel=2e-3)
        assert relu.product(1.7, c, slope=True) == pytest.approx((math.pi - angle) / (2 * math.pi), rel=5e-3)


def test_moments_of_erf_have_closed_forms():
    erf = Activation(wg.erf)  # Williams 1997: E[erf(u) erf(v)] = 2/π asin(2 k / (1 + 2 q))
    for q, c in ((0.5, 0.2), (2.0, 0.9), (4.0, -0.5)):
        assert erf.product(q, c) == pytest.approx(2 / math.pi * math.asin(2 * q * c / (1 + 2 * q)), abs=1e-6)
        assert erf.moment(q) == pytest.approx(2 / math.pi * math.asin(2 * q / (1 + 2 * q)), abs=1e-9)


def test_relu_is_critical_where_he_put_it():
    found = depth_scales("relu", 2.0)
    assert found.phase == "critical" and found.chi == pytest.approx(1) and math.isinf(found.xi_c)
    assert depth_scales("relu", 1.0, 0.1).q == pytest.approx(0.2, rel=1e-6)  # σ_b² / (1 - σ_w²/2)
    assert depth_scales("relu", 1.0, 0.1).xi_c == pytest.approx(1 / math.log(2), rel=1e-6)
    assert depth_scales("relu", 3.0).q == math.inf and depth_scales("relu", 1.9).q == 0


def test_tanh_changes_phase_where_published():
    """Schoenholz et al. 2017: with σ_b² = 0.05 the edge of chaos is at σ_w² ≈ 1.76; without biases at 1."""
    assert depth_scales("tanh", 1.76, 0.05).chi == pytest.approx(1, abs=2e-3)
    assert depth_scales("tanh", 1.5, 0.05).phase == "ordered" and depth_scales("tanh", 2.0, 0.05).phase == "chaotic"
    assert depth_scales("tanh", 0.9).q == 0 and depth_scales("tanh", 0.9).chi == pytest.approx(0.9, rel=1e-6)
    chaotic = depth_scales("tanh", 3.0, 0.05)
    assert 0 < chaotic.c < 1


@pytest.mark.parametrize(
    "name, w, b", [("tanh", 1.4, 0.05), ("tanh", 2.5, 0.05), ("sigmoid", 6.0, 0.1), ("relu", 1.2, 0.2)]
)
def test_fixed_points_and_rates_are_those_of_the_map(name, w, b):
    """Iterating the maps ends at q and c; distances fall as e^(-l/ξ)."""
    found, phi = depth_scales(name, w, b), Activation(name)
    q, distances = 1.3 * found.q, []
    for _ in range(6):
        distances.append(abs(q - found.q))
        q = w * phi.moment(q) + b
    assert -1 / math.log(distances[5] / distances[4]) == pytest.approx(found.xi_q, rel=0.1)
    q, c, gaps = found.q, 0.5, []
    for _ in range(60):
        c = (w * phi.product(q, c) + b) / q
        gaps.append(abs(c - found.c))
    assert c == pytest.approx(found.c, abs=0.02)
    if gaps[4] > 1e-4:
        assert -1 / math.log(gaps[4] / gaps[3]) == pytest.approx(found.xi_c, rel=0.35)


def simulated(weights, biases, phi, slope, x):
    """Second moments and correlations of the pre-activations of two inputs, and gradient norms going back."""
    moments, pre = [], []
    for w, b in zip(weights, biases, strict=True):
        h = x @ w.T + b
        moments.append((np.mean(h**2), np.mean(h[0] * h[1]) / np.mean(h**2)))
        pre.append(h)
        x = phi(h)
    delta = RNG.standard_normal(h.shape)
    norms = [np.linalg.norm(delta)]
    for w, h in zip(weights[:0:-1], pre[-2::-1], strict=True):
        delta = (delta @ w) * slope(h)
        norms.append(np.linalg.norm(delta))
    return moments, norms


@pytest.mark.parametrize(
    "module, phi, slope, w, b",
    [
        (nn.Tanh, np.tanh, lambda h: 1 - np.tanh(h) ** 2, 1.3, 0.1),
        (nn.Tanh, np.tanh, lambda h: 1 - np.tanh(h) ** 2, 4.0, 0.0),
        (nn.ReLU, lambda h: np.maximum(h, 0), lambda h: (h > 0) * 1.0, 2.0, 0.0),
        (nn.Sigmoid, lambda h: 1 / (1 + np.exp(-h)), lambda h: 1 / (2 + np.exp(h) + np.exp(-h)), 1.0, 0.0),
    ],
)
def test_a_wide_net_behaves_as_predicted(module, phi, slope, w, b):
    width, depth = 800, 6
    layers = [nn.Linear(width, width) for _ in range(depth)]
    for layer in layers:
        layer.weight = wg.asarray((math.sqrt(w / width) * RNG.standard_normal((width, width))).astype(np.float32))
        layer.bias = wg.asarray((math.sqrt(b) * RNG.standard_normal(width)).astype(np.float32))
    model = nn.Sequential(*[m for layer in layers for m in (layer, module())])
    x = RNG.standard_normal((2, width))
    found = mean_field(model, variance=np.mean(x**2), correlation=np.mean(x[0] * x[1]) / np.mean(x**2))
    arrays = [(np.asarray(layer.weight, float), np.asarray(layer.bias, float)) for layer in layers]
    moments, norms = simulated(*zip(*arrays, strict=True), phi, slope, x)
    predicted = [layer for layer in found.layers if layer.kind == "weight"]
    for (q, c), layer in zip(moments, predicted, strict=True):
        assert layer.variance == pytest.approx(q, rel=0.12)
        assert layer.correlation == pytest.approx(c, abs=0.1)
    assert found.decades == pytest.approx(math.log10(norms[-1] / norms[0]), abs=0.06 * depth)
    assert found.depth == depth and not found.not_covered


def test_a_residual_net_behaves_as_predicted():
    width, blocks = 600, 5
    model = nn.Sequential(
        nn.Linear(width, width),
        *[nn.Residual(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width)) for _ in range(blocks)],
        nn.Linear(width, width),
    )
    x = RNG.standard_normal((3, width)).astype(np.float32)
    found = mean_field(model)
    seen = model[:-1](x)
    assert found.layers[-2].variance == pytest.approx(float((seen * seen).mean()), rel=0.1)
    h, delta = model[0](x), RNG.standard_normal((3, width)).astype(np.float32)
    _, back = wg.vjp(lambda h: model[1:](h), h)
    measured = math.log10(np.linalg.norm(back(wg.asarray(delta))[0]) / np.linalg.norm(delta))
    assert found.decades == pytest.approx(measured, abs=0.03)
    assert found.scales is None and found.passes is None


def test_batch_normalisation_makes_the_gradient_explode_at_the_published_rate():
    """Yang et al. 2019: with ReLU the squared norm grows by π/(π - 1) a layer."""
    width = 400
    blocks = [m for _ in range(5) for m in (nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width))]
    model = nn.Sequential(nn.Linear(width, width), *blocks)
    found = mean_field(model)
    steady = [layer.decades for layer in found.layers[-6:]]
    assert sum(steady) / 2 == pytest.approx(math.log10(math.pi / (math.pi - 1)) / 2, rel=0.02)
    h = model[0](RNG.standard_normal((500, width)).astype(np.float32))
    _, back = wg.vjp(lambda m, h: m(h), model[1:], h)
    delta = RNG.standard_normal((500, width)).astype(np.float32)
    measured = math.log10(np.linalg.norm(back(wg.asarray(delta))[1]) / np.linalg.norm(delta))
    assert found.decades == pytest.approx(measured, abs=0.05)


def test_a_convolution_counts_its_window_and_a_custom_model_takes_an_activation():
    class Net(nn.Module):
        def __init__(self):
            self.first, self.second, self.third = nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 3), nn.Linear(16, 4)

        def forward(self, x):
            return self.third(nn.functional.tanh(self.second(nn.functional.tanh(self.first(x)))).mean((2, 3)))

    net = Net()
    found = mean_field(net, activation="tanh")
    first = found.layers[0]
    assert first.weight_variance == pytest.approx(72 * float((net.first.weight**2).mean()), rel=1e-5)
    assert [layer.kind for layer in found.layers] == ["weight", "activation", "weight", "activation", "weight"]
    assert found.in_order == ["model (Net)"] and "in the order of attributes" in str(found)
    odd = mean_field(nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4), nn.TransformerEncoderLayer(4, 2)))
    assert odd.not_covered == ["1 (LSTM)", "2 (TransformerEncoderLayer)"] and not odd.in_order
    plain = json.dumps(mean_field(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))).data(), allow_nan=False)
    assert json.loads(plain)["depth"] == 2
    twelve = nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(8, 8), nn.Sigmoid())])
    assert "12 layers" in str(mean_field(twelve))


def test_what_cannot_be_told_is_refused():
    with pytest.raises(ArgumentError, match="at least 0"):
        depth_scales("tanh", -1.0)
    with pytest.raises(ArgumentError, match="no activation"):
        depth_scales("no_such", 1.0)
    with pytest.raises(ArgumentError, match="elementwise"):
        depth_scales(lambda x: x.sum(), 1.0)
    with pytest.raises(ArgumentError, match="no linear layer"):
        mean_field(nn.Sequential(nn.ReLU()))
