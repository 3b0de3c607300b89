"""The models of `train_steps.py` as a user writes them: `wengert.nn` modules and an optimizer in one compiled step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import wengert as wg
from wengert import nn, optim


class Place(NamedTuple):
    """Where one of the row's parameters stands in the model, and whether it lies there the other way round."""

    module: Any
    name: str
    turned: bool = False


Network = Callable[[Any], tuple[nn.Module, list[Place]]]  # from the row's parameters, whose shapes say everything


def dense(layer: nn.Linear) -> list[Place]:
    return [Place(layer, "weight", True), Place(layer, "bias")]


def stack(activation: Callable[[], nn.Module], everywhere: bool) -> Network:
    """Linear layers with an activation between them, or behind every one."""

    def make(params: Any) -> tuple[nn.Module, list[Place]]:
        layers = [nn.Linear(*w.shape) for w, _ in params]
        parts = [m for layer in layers for m in (layer, activation())]
        return nn.Sequential(*parts if everywhere else parts[:-1]), [p for layer in layers for p in dense(layer)]

    return make


class LastState(nn.Module):
    """An LSTM's last state through a linear layer."""

    def __init__(self, inputs: int, size: int, classes: int) -> None:
        self.lstm = nn.LSTM(inputs, size)
        self.out = nn.Linear(size, classes)

    def forward(self, x: Any) -> Any:
        _, (h, _) = self.lstm(x)
        return self.out(h[0])


def lstm(params: Any) -> tuple[nn.Module, list[Place]]:
    w, _, _, out, _ = params
    model = LastState(w.shape[0], *out.shape)
    model.lstm.bias_hh_l0 = nn.init.zeros(model.lstm.bias_hh_l0)  # the row has one bias, this layer two
    cell = [("weight_ih_l0", True), ("weight_hh_l0", True), ("bias_ih_l0", False)]
    return model, [*(Place(model.lstm, *p) for p in cell), *dense(model.out)]


def resnet(params: Any) -> tuple[nn.Module, list[Place]]:
    first, blocks, (w, _) = params

    def conv(kernel: Any) -> nn.Conv2d:
        out, into, *window = kernel.shape
        return nn.Conv2d(into, out, tuple(window), padding="same", bias=False)

    into, out = conv(first), nn.Linear(*w.shape)
    residuals = [nn.Residual(conv(a), nn.ReLU(), conv(b), activation=nn.ReLU()) for a, b in blocks]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    convs = [into, *(r.branch[i] for r in residuals for i in (0, 2))]
    return nn.Sequential(into, nn.ReLU(), *residuals, *pool, out), [Place(c, "weight") for c in convs] + dense(out)


def transformer(heads: int) -> Network:
    def make(params: Any) -> tuple[nn.Module, list[Place]]:
        blocks, (w, _) = params
        d = w.shape[0]
        out, layers, places = nn.Linear(*w.shape), [], []
        for _ in blocks:
            layer = nn.TransformerEncoderLayer(d, heads, 4 * d, 0.0, "gelu", batch_first=True, norm_first=True)
            attention = layer.self_attn
            layers.append(layer)
            places += [Place(layer.norm1, "weight"), Place(layer.norm1, "bias")]
            places += [Place(attention, "in_proj_weight", True), Place(attention, "in_proj_bias")]
            places += [*dense(attention.out_proj), Place(layer.norm2, "weight"), Place(layer.norm2, "bias")]
            places += [*dense(layer.linear1), *dense(layer.linear2)]
        return nn.Sequential(*layers, nn.Lambda(lambda x: x.mean(axis=1)), out), [*places, *dense(out)]

    return make


class NetworkStep:
    """`step(rate)`, as the others': the loss of one step by `optim.SGD`, whose rate is an array that goes in."""

    def __init__(self, network: Network, params: Any, values: Sequence[Any], x: Any, y: Any):
        self.model, self.places = network(params)
        for place, value in zip(self.places, values, strict=True):
            setattr(place.module, place.name, wg.asarray(np.ascontiguousarray(value.T if place.turned else value)))
        self.optimizer = optim.SGD(self.model, learning_rate=1.0)
        self.data = x, y
        self.step = wg.jit(self._step, executor="native")
        self.rate = 1.0

    @staticmethod
    def _step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss, grads = wg.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        return loss

    @property
    def params(self) -> list[Any]:
        """The parameters as the row has them."""
        arrays = [np.asarray(getattr(p.module, p.name)) for p in self.places]
        return [a.T if p.turned else a for a, p in zip(arrays, self.places, strict=True)]

    def __call__(self, rate: float = 1e-4) -> Any:
        if rate != self.rate:
            self.optimizer.learning_rate = self.rate = rate
        return self.step(self.model, self.optimizer, *self.data)


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    out = model(x)
    return nn.functional.mse_loss(out, y) if y.dtype.kind == "f" else nn.functional.cross_entropy(out, y)
