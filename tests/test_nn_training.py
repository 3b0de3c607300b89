"""Whole training steps, compiled, against PyTorch's: the same losses, parameters and statistics after many of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.torch_layers import move
from wengert import nn, optim

torch = pytest.importorskip("torch")

STEPS = 12


def pictures(lib: Any) -> Any:
    class Block(lib.Module):
        def __init__(self, into: int, out: int, stride: int) -> None:
            super().__init__()
            self.conv1 = lib.Conv2d(into, out, 3, stride=stride, padding=1, bias=False)
            self.bn1 = lib.BatchNorm2d(out)
            self.conv2 = lib.Conv2d(out, out, 3, padding=1, bias=False)
            self.bn2 = lib.BatchNorm2d(out)
            self.shortcut = lib.Conv2d(into, out, 1, stride=stride) if into != out else lib.Identity()
            self.act = lib.ReLU(inplace=True)

        def forward(self, x: Any) -> Any:
            return self.act(self.shortcut(x) + self.bn2(self.conv2(self.act(self.bn1(self.conv1(x))))))

    return lib.Sequential(
        Block(2, 4, 1), Block(4, 6, 2), lib.MaxPool2d(2), lib.AdaptiveAvgPool2d(1), lib.Flatten(), lib.Linear(6, 3)
    )


def sequences(lib: Any) -> Any:
    class Reader(lib.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = lib.Embedding(7, 4, padding_idx=0)
            self.rnn = lib.LSTM(4, 5, num_layers=2, batch_first=True, bidirectional=True)
            self.norm = lib.LayerNorm(10)
            self.out = lib.Linear(10, 3)

        def forward(self, x: Any) -> Any:
            return self.out(self.norm(self.rnn(self.embed(x))[0]).mean(1))

    return Reader()


def attention(lib: Any) -> Any:
    class Reader(lib.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = lib.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True, activation="gelu")
            self.embed = lib.Embedding(7, 6)
            self.encoder = lib.TransformerEncoder(layer, 2)
            self.out = lib.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.out(self.encoder(self.embed(x)).mean(1))

    return Reader()


MODELS = {"pictures": (pictures, (6, 2, 8, 8)), "sequences": (sequences, (5, 6)), "attention": (attention, (5, 6))}


@pytest.mark.parametrize("executor", ["numpy", "native"])
@pytest.mark.parametrize("name", MODELS)
def test_training_goes_as_in_pytorch(name: str, executor: str) -> None:
    make, shape = MODELS[name]
    theirs, mine = move(make(torch.nn), make(nn))
    their_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    optimizer = optim.SGD(mine, learning_rate=0.05, momentum=0.9, weight_decay=1e-3)

    def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss, grads = wg.value_and_grad(lambda m: nn.functional.cross_entropy(m(x), y, label_smoothing=0.1))(model)
        optimizer.update(model, grads)
        return loss

    compiled = wg.jit(step, executor=executor)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        x = rng.normal(size=shape) if len(shape) == 4 else rng.integers(0, 7, size=shape)
        y = rng.integers(0, 3, size=shape[0])
        expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y), label_smoothing=0.1)
        their_optimizer.zero_grad()
        expected.backward()
        their_optimizer.step()
        loss = compiled(mine, optimizer, x, y)
        np.testing.assert_allclose(float(loss), float(expected.detach()), rtol=1e-9)
    for n, v in theirs.state_dict().items():
        np.testing.assert_allclose(np.asarray(mine.state_dict()[n]), v.numpy(), rtol=1e-7, atol=1e-9, err_msg=n)
    x = rng.normal(size=shape) if len(shape) == 4 else rng.integers(0, 7, size=shape)
    with torch.no_grad():
        expected = theirs.eval()(torch.tensor(x)).numpy()
    np.testing.assert_allclose(np.asarray(mine.eval()(x)), expected, rtol=1e-7, atol=1e-9)
