"""Layers with random settings and shapes against PyTorch, and as machine code against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.torch_layers import compare_layer, move
from wengert import nn

torch = pytest.importorskip("torch")

T = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def some(rng: np.random.Generator, low: int, high: int, n: int) -> Any:
    """A number for all axes, or one each."""
    values = tuple(int(v) for v in rng.integers(low, high + 1, size=n))
    return values[0] if rng.uniform() < 0.4 else values


def as_tuple(v: Any, n: int) -> tuple[int, ...]:
    return v if isinstance(v, tuple) else (v,) * n


@pytest.mark.parametrize("seed", range(30))
def test_convolution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    channels = (groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 4)))
    kernel, dilation = some(rng, 1, 3, n), some(rng, 1, 2, n)
    mode = str(rng.choice(["zeros", "zeros", "reflect", "replicate", "circular"]))
    padding = "same" if rng.uniform() < 0.2 else "valid" if rng.uniform() < 0.1 else some(rng, 0, 2, n)
    kwargs = {
        "stride": 1 if padding == "same" else some(rng, 1, 3, n), "padding": padding, "dilation": dilation,
        "groups": groups, "bias": bool(rng.integers(2)), "padding_mode": mode,
    }  # fmt: skip
    spatial = tuple(int(v) for v in rng.integers(5, 8, size=n))
    shape = (channels[0], *spatial) if rng.uniform() < 0.2 else (int(rng.integers(1, 3)), channels[0], *spatial)
    if padding == "same" and mode == "circular":  # PyTorch asks for a batch here
        shape = (1, channels[0], *spatial)
    name = f"Conv{n}d"
    theirs, mine = move(getattr(T, name)(*channels, kernel, **kwargs), getattr(nn, name)(*channels, kernel, **kwargs))
    compare_layer(theirs, mine, [rng.normal(size=shape)], second=False)


@pytest.mark.parametrize("seed", range(20))
def test_transposed_convolution(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    n, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    channels = (groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 4)))
    kernel, stride, dilation = some(rng, 2, 3, n), some(rng, 1, 3, n), some(rng, 1, 2, n)
    room = [max(s, d) - 1 for s, d in zip(as_tuple(stride, n), as_tuple(dilation, n), strict=True)]
    kwargs = {
        "stride": stride, "padding": some(rng, 0, 1, n), "dilation": dilation, "groups": groups,
        "bias": bool(rng.integers(2)), "output_padding": tuple(int(rng.integers(0, r + 1)) for r in room),
    }  # fmt: skip
    spatial = tuple(int(v) for v in rng.integers(3, 6, size=n))
    name = f"ConvTranspose{n}d"
    theirs, mine = move(getattr(T, name)(*channels, kernel, **kwargs), getattr(nn, name)(*channels, kernel, **kwargs))
    compare_layer(theirs, mine, [rng.normal(size=(2, channels[0], *spatial))], second=False)


@pytest.mark.parametrize("seed", range(30))
def test_pooling(seed: int) -> None:
    rng = np.random.default_rng(200 + seed)
    n, kind = int(rng.integers(1, 4)), ("Max", "Avg", "AdaptiveAvg", "AdaptiveMax")[seed % 4]
    spatial = tuple(int(v) for v in rng.integers(5, 10, size=n))
    args: tuple[Any, ...]
    if kind.startswith("Adaptive"):
        args, kwargs = (some(rng, 1, 4, n),), {}
    else:
        window = as_tuple(some(rng, 2, 3, n), n)
        padding = tuple(int(rng.integers(0, w // 2 + 1)) for w in window)
        kwargs = {"stride": as_tuple(some(rng, 1, 3, n), n), "padding": padding, "ceil_mode": bool(rng.integers(2))}
        args = (window,)
        if kind == "Max":
            kwargs["dilation"] = as_tuple(some(rng, 1, 2, n), n)
        else:
            kwargs["count_include_pad"] = bool(rng.integers(2))
    name = f"{kind}Pool{n}d"
    theirs, mine = getattr(T, name)(*args, **kwargs), getattr(nn, name)(*args, **kwargs)
    compare_layer(theirs, mine, [rng.normal(size=(2, 3, *spatial))], second=False)


@pytest.mark.parametrize("seed", range(20))
def test_recurrence(seed: int) -> None:
    rng = np.random.default_rng(300 + seed)
    name = ("RNN", "LSTM", "GRU")[seed % 3]
    size, hidden = int(rng.integers(1, 4)), int(rng.integers(2, 6))
    kwargs = {
        "num_layers": int(rng.integers(1, 4)), "bias": bool(rng.integers(2)), "batch_first": bool(rng.integers(2)),
        "bidirectional": bool(rng.integers(2)),
    }  # fmt: skip
    if name == "LSTM" and rng.uniform() < 0.4:
        kwargs["proj_size"] = int(rng.integers(1, hidden))
    theirs, mine = move(getattr(T, name)(size, hidden, **kwargs), getattr(nn, name)(size, hidden, **kwargs))
    compare_layer(theirs, mine, [rng.normal(size=(int(rng.integers(1, 5)), 3, size))], second=False)


@pytest.mark.parametrize("seed", range(20))
def test_normalisation(seed: int) -> None:
    rng = np.random.default_rng(400 + seed)
    n, c = int(rng.integers(1, 4)), 2 * int(rng.integers(1, 4))
    spatial = tuple(int(v) for v in rng.integers(2, 5, size=n))
    eps, kwargs = float(10.0 ** rng.integers(-6, -1)), {}
    kind = ("Batch", "Instance", "Group", "Layer")[seed % 4]
    shape = (3, c, *spatial)
    if kind in ("Batch", "Instance"):
        name, args = f"{kind}Norm{n}d", (c,)
        kwargs = {"affine": bool(rng.integers(2)), "track_running_stats": bool(rng.integers(2)), "momentum": 0.3}
        if kwargs["affine"]:
            kwargs["bias"] = bool(rng.integers(2))
    elif kind == "Group":
        name, args, kwargs = "GroupNorm", (int(rng.choice([1, 2, c])), c), {"affine": bool(rng.integers(2))}
    else:
        name, args, kwargs = "LayerNorm", (shape[-int(rng.integers(1, n + 1)) :],), {"bias": bool(rng.integers(2))}
    theirs, mine = move(getattr(T, name)(*args, eps=eps, **kwargs), getattr(nn, name)(*args, eps=eps, **kwargs))
    x = rng.normal(1.0, 2.0, size=shape)
    compare_layer(theirs, mine, [x], second=False)
    compare_layer(theirs.eval(), mine.eval(), [x], second=False)


NATIVE: dict[str, Any] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 4)), (5, 6)),
    "conv": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(36, 4),
        ), (2, 3, 6, 6),
    ),
    "residual": (
        lambda: nn.Sequential(
            nn.Residual(nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), nn.GroupNorm(2, 4),
                        shortcut=nn.Conv1d(3, 4, 1), activation=nn.SiLU()),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 4),
        ), (2, 3, 6),
    ),
    "lstm": (lambda: Last(nn.LSTM(3, 5, 2, batch_first=True, bidirectional=True), 10), (4, 6, 3)),
    "gru, truncated": (lambda: Last(nn.GRU(3, 5, truncate=2, batch_first=True), 5), (4, 6, 3)),
    "transformer": (
        lambda: nn.Sequential(
            nn.SinusoidalPositionalEncoding(6, 9), nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True),
            nn.RMSNorm(6), nn.Lambda(lambda x: x.mean(axis=1)), nn.Linear(6, 4),
        ), (3, 5, 6),
    ),
}  # fmt: skip


class Last(nn.Module):
    """What a recurrent layer puts out at the last time, through a linear layer."""

    def __init__(self, layer: Any, width: int) -> None:
        self.layer = layer
        self.out = nn.Linear(width, 4)

    def forward(self, x: Any) -> Any:
        return self.out(self.layer(x)[0][:, -1])


@pytest.mark.parametrize("name", NATIVE)
def test_machine_code_gives_the_same(name: str) -> None:
    make, shape = NATIVE[name]
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=shape).astype(np.float32), rng.integers(0, 4, size=shape[0])
    model = make()

    def loss_fn(model: Any, x: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(model(x), y, label_smoothing=0.1)

    one, other = model.copy(), model.copy()
    value, grads = wg.value_and_grad(loss_fn)(one, x, y)
    fast, fast_grads = wg.jit(wg.value_and_grad(loss_fn), executor="native")(other, x, y)
    np.testing.assert_allclose(float(fast), float(value), rtol=1e-5)
    for n, g in grads.state_dict().items():
        np.testing.assert_allclose(
            np.asarray(fast_grads.state_dict()[n]), np.asarray(g), rtol=2e-3, atol=2e-6, err_msg=n
        )
    for n, b in one.named_buffers():
        np.testing.assert_allclose(np.asarray(dict(other.named_buffers())[n]), np.asarray(b), rtol=1e-5, atol=1e-7)
