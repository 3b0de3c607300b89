"""Networks as machine code against the reference: losses, gradients, statistics, second derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import nn

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


@pytest.mark.parametrize("name", NATIVE)
def test_second_derivatives_as_machine_code(name: str) -> None:
    """The Hessian along a direction of all parameters, forward over reverse, in double precision."""
    make, shape = NATIVE[name]
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=shape), rng.integers(0, 4, size=shape[0])
    model = make().double()
    along = wg.tree.map(lambda p: rng.normal(size=p.shape), model)

    def product(model: Any, along: Any, x: Any) -> Any:
        gradient = wg.grad(lambda m, x: nn.functional.cross_entropy(m(x), y), argnums=(0, 1))
        return wg.jvp(lambda m, x: gradient(m, x), (model, x), (along, x))[1]

    expected = product(model.copy(), along, x)
    got = wg.jit(product, executor="native")(model.copy(), along, x)
    for a, b in zip(wg.tree.leaves(got), wg.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-8, atol=1e-10)
