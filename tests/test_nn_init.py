"""Initialisers: moments and bounds as PyTorch's, structured matrices exactly, LSUV and Fixup by what they promise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.torch_layers import generator
from wengert import nn
from wengert.errors import ArgumentError, NonFiniteError, ShapeError

init = nn.init
SHAPE = (120, 60, 3, 3)


def moments(x: Any) -> tuple[float, float, float]:
    x = np.asarray(x, np.float64)
    return float(x.mean()), float(x.std()), float(np.abs(x).max())


DRAWN: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "uniform": ((-2.0, 3.0), {}), "normal": ((1.0, 2.0), {}), "trunc_normal": ((0.5, 1.0, -1.0, 1.5), {}),
    "xavier_uniform": ((), {"gain": 1.5}), "xavier_normal": ((), {"gain": 0.5}),
    "kaiming_uniform": ((), {"a": 0.2}), "kaiming_normal": ((), {"mode": "fan_out", "nonlinearity": "relu"}),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_moments_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    args, kwargs = DRAWN[name]
    torch.manual_seed(0)
    theirs = moments(getattr(torch.nn.init, f"{name}_")(torch.empty(SHAPE), *args, **kwargs).numpy())
    mine = moments(getattr(init, name)(SHAPE, *args, **kwargs, key=1))
    n = math.prod(SHAPE)
    assert abs(mine[0] - theirs[0]) < 8 * theirs[1] / math.sqrt(n)
    assert abs(mine[1] / theirs[1] - 1) < 0.02
    if "normal" not in name or name == "trunc_normal":  # a bound is met to within one draw's distance
        assert abs(mine[2] / theirs[2] - 1) < 0.01


def below(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def kaiming(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "a": below(rng, 0, 1), "mode": str(rng.choice(["fan_in", "fan_out"])),
        "nonlinearity": str(rng.choice(["relu", "leaky_relu", "tanh", "linear", "selu", "sigmoid"])),
    }  # fmt: skip


OPTIONS: dict[str, Any] = {
    "uniform": lambda rng: {"a": below(rng, -2, 0), "b": below(rng, 0.5, 3)},
    "normal": lambda rng: {"mean": below(rng, -1, 1), "std": below(rng, 0.1, 3)},
    "trunc_normal": lambda rng: {"mean": below(rng, -1, 1), "std": below(rng, 0.3, 2), "a": below(rng, -2, -0.5),
                                 "b": below(rng, 0, 3)},
    **dict.fromkeys(("xavier_uniform", "xavier_normal", "orthogonal"), lambda rng: {"gain": below(rng, 0.2, 3)}),
    "kaiming_uniform": kaiming, "kaiming_normal": kaiming,
    "sparse": lambda rng: {"sparsity": below(rng, 0.1, 0.9), "std": below(rng, 0.01, 2)},
}  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", OPTIONS)
def test_moments_are_pytorchs_for_random_shapes_and_options(name: str, seed: int) -> None:
    """Mean, variance, third and fourth moment, and the share of zeros; each within what as many draws leave open."""
    torch = pytest.importorskip("torch")
    rng = generator(f"{name} {seed}")
    kernel = tuple(int(d) for d in rng.integers(1, 3, size=0 if name == "sparse" else rng.integers(0, 3)))
    shape = (int(rng.integers(100, 200)), int(rng.integers(100, 200)), *kernel)
    kwargs = OPTIONS[name](rng)
    torch.manual_seed(seed)
    theirs = getattr(torch.nn.init, f"{name}_")(torch.empty(shape), **kwargs).double().numpy().ravel()
    mine = np.asarray(getattr(init, name)(shape, **kwargs, key=seed), np.float64).ravel()
    assert (mine == 0).sum() == (theirs == 0).sum()
    size = theirs.std()
    for power in (1, 2, 3, 4):
        a, b = (mine / size) ** power, (theirs / size) ** power
        assert abs(a.mean() - b.mean()) < 6 * np.hypot(a.std(), b.std()) / math.sqrt(mine.size), power


LAYERS = {
    "Linear": (100, 120), "Bilinear": (30, 20, 40), "Conv2d": (16, 32, 3), "ConvTranspose2d": (16, 32, 3),
    "Embedding": (200, 50), "LSTM": (40, 60), "GRUCell": (40, 60), "MultiheadAttention": (64, 4), "RNN": (50, 80),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_begin_as_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = dict(getattr(torch.nn, name)(*LAYERS[name]).named_parameters())
    mine = dict(getattr(nn, name)(*LAYERS[name], key=0).named_parameters())
    assert {n: tuple(p.shape) for n, p in theirs.items()} == {n: p.shape for n, p in mine.items()}
    for n, p in theirs.items():
        expected, found = moments(p.detach().numpy()), moments(mine[n])
        count = p.numel()
        assert abs(found[0] - expected[0]) <= 8 * expected[1] / math.sqrt(count), n
        assert abs(found[1] - expected[1]) <= 4 * expected[1] / math.sqrt(count) + 1e-12, n
        if name != "Embedding" and expected[1]:
            assert abs(found[2] / expected[2] - 1) < 25 / count + 0.01, n


def test_gains_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))
    with pytest.raises(ArgumentError, match="gelu"):
        init.calculate_gain("gelu")


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (4, 3, 2, 2)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    w = np.asarray(init.orthogonal(shape, gain=2.0, dtype=wg.float64)).reshape(shape[0], -1)
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_orthogonal_favours_no_direction() -> None:
    entries = np.concatenate([np.asarray(init.orthogonal((3, 3), key=i)).ravel() for i in range(300)])
    assert abs(entries.mean()) < 0.05 and abs((entries**2).mean() - 1 / 3) < 0.01
    assert 100 < sum(np.linalg.det(np.asarray(init.orthogonal((3, 3), key=i))) > 0 for i in range(300)) < 200


@pytest.mark.parametrize(("shape", "groups"), [((4, 3, 3), 1), ((3, 4, 3, 2), 1), ((6, 2, 3, 3, 3), 2)])
def test_dirac(shape: tuple[int, ...], groups: int) -> None:
    torch = pytest.importorskip("torch")
    expected = torch.nn.init.dirac_(torch.empty(shape), groups).numpy()
    np.testing.assert_array_equal(np.asarray(init.dirac(shape, groups)), expected)


def test_simple_ones() -> None:
    like = wg.ones((3, 4), dtype=wg.float64)
    np.testing.assert_array_equal(np.asarray(init.eye(like)), np.eye(3, 4))
    assert init.eye(like).dtype == np.float64 and init.zeros(3).dtype == np.float32
    np.testing.assert_array_equal(np.asarray(init.constant((2, 2), 0.5)), np.full((2, 2), 0.5))
    assert np.array_equal(
        np.asarray(init.normal(like, key=3)), np.asarray(init.normal((3, 4), key=3, dtype=wg.float64))
    )
    w = np.asarray(init.sparse((50, 8), 0.3, std=0.1))
    assert ((w == 0).sum(axis=0) == 15).all() and abs(w[w != 0].std() - 0.1) < 0.02
    truncated = np.asarray(init.trunc_normal(10000, std=2.0, a=-1.0, b=3.0))
    assert truncated.min() >= -1 and truncated.max() <= 3


def test_bad_arguments() -> None:
    with pytest.raises(ShapeError, match=r"fan in.*\(out, in"):
        init.xavier_uniform((3,))
    with pytest.raises(ArgumentError, match="fan_in"):
        init.kaiming_normal((3, 3), mode="fan")
    with pytest.raises(ShapeError, match="two axes"):
        init.eye((3,))
    with pytest.raises(ShapeError, match="dirac"):
        init.dirac((3, 3))
    with pytest.raises(ArgumentError, match="sparsity"):
        init.sparse((3, 3), 1.5)
    with pytest.raises(ArgumentError, match="not below"):
        init.trunc_normal((3,), a=1.0, b=0.0)


def test_initialize() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm((4, 4)), nn.Embedding(3, 2), nn.Linear(4, 2, bias=False))
    before = np.asarray(model[2].weight)
    init.initialize(model, init.orthogonal, init.zeros, key=0)
    w = np.asarray(model[0].weight)
    np.testing.assert_allclose(w @ w.T, np.eye(4), atol=1e-6)
    assert not np.asarray(model[0].bias).any() and (np.asarray(model[1].weight) == 1).all()
    np.testing.assert_array_equal(before, np.asarray(model[2].weight))


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_lsuv_gives_every_layer_unit_variance(activation: Any) -> None:
    model = nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(32, 32), activation())])
    x = 5 * np.random.default_rng(0).normal(size=(256, 32)).astype(np.float32)
    assert init.lsuv(model, x) is model
    h = wg.asarray(x)
    for layer in model:
        h = layer(h)
        if isinstance(layer, nn.Linear):
            assert abs(float(h.var()) - 1) < 0.011
    with pytest.raises(NonFiniteError, match="variance 0"):
        init.lsuv(nn.Sequential(nn.Linear(3, 3)), np.zeros((4, 3), np.float32))
    with pytest.raises(ArgumentError, match="no linear layer"):
        init.lsuv(nn.Sequential(nn.ReLU()), x)


def test_lsuv_follows_the_order_of_calls() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            self.last = nn.Linear(8, 8)
            self.first = nn.Conv1d(1, 8, 8)

        def forward(self, x: Any) -> Any:
            return self.last(wg.tanh(self.first(x))[:, :, 0])

    model = Backwards()
    x = np.random.default_rng(0).normal(size=(200, 1, 8)).astype(np.float32)
    init.lsuv(model, x)
    assert abs(float(model(x).var()) - 1) < 0.011 and abs(float(model.first(x).var()) - 1) < 0.011


def test_fixup() -> None:
    def block() -> Any:
        return nn.Residual(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))

    depth = 64
    model = nn.Sequential(nn.Linear(16, 16), *[block() for _ in range(depth)], nn.Linear(16, 3))
    init.fixup(model, key=0)
    first, second, last = model[1].branch[0], model[1].branch[2], model[-1]
    assert not np.asarray(second.weight).any() and not np.asarray(last.weight).any()
    std = math.sqrt(2 / 16) * depth**-0.5
    assert abs(float(first.weight.std()) / std - 1) < 0.15
    x = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(model[1](x)), x)
    assert abs(float(model[0].weight.std()) / math.sqrt(2 / 16) - 1) < 0.15
    with pytest.raises(ArgumentError, match="Residual"):
        init.fixup(nn.Sequential(nn.Linear(2, 2)))
