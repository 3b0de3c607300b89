"""Networks from plans."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import wengert as wg
from corpus.plan import Plan
from wengert import nn
from wengert.ir.array import Array

SCALE = {"ReLU": 2**0.5, "LeakyReLU": 2**0.5, "ELU": 1.25, "GELU": 1.5, "SiLU": 1.6, "PReLU": 1.35, "Softplus": 1.0}
NARROW = {"MLP": nn.BatchNorm1d, "CNN": nn.BatchNorm2d}


def detach(x: Any) -> Any:
    return wg.stop_gradient(x)


def step_function(x: Any) -> Any:
    return wg.sign(x)


def rounded(x: Any) -> Any:
    return wg.round(x)


def logarithm(x: Any) -> Any:
    return wg.log(x)


def root_of_square(x: Any) -> Any:
    return wg.sqrt(x * x)


def mean_over_time(x: Any) -> Any:
    return x.mean(axis=1)


CUTS = {"detach": detach, "sign": step_function, "round": rounded, "log": logarithm}


class Recurrent(nn.Module):
    """A recurrent layer and a linear one that reads its last state."""

    def __init__(self, layer: nn.Module, head: nn.Module):
        self.rnn, self.head = layer, head

    def forward(self, x: Any) -> Any:
        return self.head(self.rnn(x)[0][:, -1])


class Stepped(nn.Module):
    """The same with a cell and a loop of Python."""

    def __init__(self, cell: nn.Module, head: nn.Module):
        self.cell, self.head = cell, head

    def forward(self, x: Any) -> Any:
        h = None
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h) if h is not None else self.cell(x[:, t])
        return self.head(h[0] if isinstance(h, tuple) else h)


class Transformer(nn.Module):
    """Transformer layers over a sequence of vectors or of words; the mean over the sequence is classified."""

    def __init__(self, inside: nn.Module, layers: list[nn.Module], head: nn.Module, length: int, width: int, key: Any):
        self.inside, self.layers, self.head = inside, nn.ModuleList(layers), head
        self.place = nn.Parameter(0.1 * wg.random.normal(key, (length, width)))

    def forward(self, x: Any) -> Any:
        h = self.inside(x) + self.place
        for layer in self.layers:
            h = layer(h)
        return self.head(h.mean(axis=1))


class Plain(nn.Module):
    """Attention and a feed-forward layer without shortcut or normalisation."""

    def __init__(self, width: int, key: Any):
        keys = wg.random.split(key, 3)
        self.attn = nn.MultiheadAttention(width, 2, batch_first=True, key=keys[0])
        self.linear1 = nn.Linear(width, 2 * width, key=keys[1])
        self.linear2 = nn.Linear(2 * width, width, key=keys[2])

    def forward(self, x: Any) -> Any:
        x = self.attn(x, x, x, need_weights=False)[0]
        return self.linear2(nn.functional.relu(self.linear1(x)))


class Bag(nn.Module):
    """The mean of words' vectors, then a row of layers."""

    def __init__(self, embedding: nn.Module, body: nn.Module):
        self.embedding, self.body = embedding, body

    def forward(self, x: Any) -> Any:
        return self.body(self.embedding(x).mean(axis=1))


def build(plan: Plan) -> Any:
    """The network of a plan, as it starts; pretraining is `trained`'s."""
    nn.manual_seed(plan.seed)
    model = BUILDERS[plan.arch](plan)
    for pattern in plan.frozen:
        model.freeze(pattern)
    if plan.double:
        model.double()
    return model


def _scale(plan: Plan, i: int) -> float | None:
    """σ_w √fan_in of hidden layer i."""
    inside = plan.at[0] <= i < plan.at[1]
    act = plan.act_at if inside and plan.act_at else plan.act
    times = plan.gain_at if inside and plan.gain_at is not None else plan.gain
    return None if times is None else times * SCALE.get(act, 1.0)


def _drawn(layer: Any, scale: float | None, key: Any) -> Any:
    if scale is not None:
        fan_in = math.prod(layer.weight.shape[1:])
        layer.weight = nn.init.normal(layer.weight, 0.0, scale / math.sqrt(fan_in), key=key)
        layer.bias = nn.init.zeros(layer.bias)
    return layer


def _hidden(plan: Plan, i: int, before: int, after: int) -> list[tuple[str, nn.Module]]:
    """Layer, normalisation, activation, dropout."""
    conv = plan.arch in ("cnn", "rescnn")
    layer: Any = nn.Conv2d(before, after, 3, padding=1) if conv else nn.Linear(before, after)
    layer = _drawn(layer, _scale(plan, i), wg.random.key(1000 * plan.seed + i))
    inside = plan.at[0] <= i < plan.at[1]
    if inside and plan.bias_at is not None:
        layer.bias = layer.bias + plan.bias_at
    if i == 0 and plan.dead:
        bias = np.asarray(layer.bias).copy()
        bias[: round(plan.dead * len(bias))] = -20
        layer.bias = Array(bias)
    parts: list[tuple[str, nn.Module]] = [(f"layer{i}", layer)]
    if plan.norm:
        kind: Any = (nn.BatchNorm2d if conv else nn.BatchNorm1d) if plan.norm == "batch" else None
        norm = kind(after) if kind else nn.GroupNorm(2, after) if conv else nn.LayerNorm(after)
        parts.append((f"norm{i}", norm))
    act = getattr(nn, plan.act_at if inside and plan.act_at else plan.act)
    parts.append((f"act{i}", act()))
    if plan.dropout:
        parts.append((f"drop{i}", nn.Dropout(plan.dropout)))
    if i == plan.cut and plan.cut_by:
        parts.append(("cut", nn.Lambda(CUTS[plan.cut_by])))
    return parts


def _head(plan: Plan, before: int, outputs: int) -> list[tuple[str, nn.Module]]:
    head = nn.Linear(before, outputs)
    head.weight = head.weight * plan.head_gain
    head.bias = head.bias + plan.head_bias
    parts: list[tuple[str, nn.Module]] = [("head", head)]
    if plan.output:
        parts.append(("out", nn.Softmax(-1) if plan.output == "Softmax" else getattr(nn, plan.output)()))
    return parts


def _row(plan: Plan, first: int, extra: int = 0) -> nn.Sequential:
    """A plain row of `depth` hidden layers."""
    conv, parts, before = plan.arch == "cnn", [], first
    for i in range(plan.depth):
        after = plan.narrow if plan.narrow and i == plan.cut else plan.width
        parts += _hidden(plan, i, before, after)
        before = after
        if conv and i in (plan.depth // 3, 2 * plan.depth // 3) and plan.depth >= 3:
            parts.append((f"pool{i}", nn.MaxPool2d(2)))
    if conv:
        parts += [("pool", nn.AdaptiveAvgPool2d(2)), ("flat", nn.Flatten())]
        before *= 4
    return nn.Sequential(dict(parts + _head(plan, before, plan.data.outputs)))


def _mlp(plan: Plan) -> Any:
    return _row(plan, plan.data.x.shape[1])


def _residual(plan: Plan) -> Any:
    """Blocks of layer, normalisation and activation with shortcuts; weights divided by √depth if nothing normalises."""
    conv = plan.arch == "rescnn"
    first: Any = nn.Conv2d(1, plan.width, 3, padding=1) if conv else nn.Linear(plan.data.x.shape[1], plan.width)
    parts: list[tuple[str, nn.Module]] = [("stem", first)]
    for i in range(plan.depth):
        branch = [m for _, m in _hidden(plan, i, plan.width, plan.width)]
        if not plan.norm:
            branch[0].weight = branch[0].weight / math.sqrt(plan.depth)
        parts.append((f"block{i}", nn.Residual(*branch)))
    before = plan.width
    if conv:
        parts += [("pool", nn.AdaptiveAvgPool2d(2)), ("flat", nn.Flatten())]
        before *= 4
    return nn.Sequential(dict(parts + _head(plan, before, plan.data.outputs)))


def _recurrent(plan: Plan) -> Any:
    kind, size, width = plan.arch.removesuffix("cell"), plan.data.x.shape[2], plan.width
    if plan.arch.endswith("cell"):
        made: Any = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}[kind](size, width)
        layers = [""]
    else:
        extra = {"nonlinearity": "relu" if plan.act == "ReLU" else "tanh"} if kind == "rnn" else {}
        made = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind](size, width, plan.depth, batch_first=True, **extra)
        layers = [f"_l{i}" for i in range(plan.depth)]
    for i, name in enumerate(layers):
        w = getattr(made, f"weight_hh{name}")
        if plan.recurrent_gain is not None:
            blocks = [
                np.asarray(nn.init.orthogonal((width, width), key=wg.random.key(50 * plan.seed + 7 * i + k)))
                for k in range(w.shape[0] // width)
            ]
            setattr(made, f"weight_hh{name}", Array((plan.recurrent_gain * np.concatenate(blocks)).astype(np.float32)))
        if plan.gate_bias is not None:
            bias = np.asarray(getattr(made, f"bias_ih{name}")).copy()
            gate = slice(width, 2 * width)  # the forget gate of LSTM, the update gate of GRU
            bias[gate] = plan.gate_bias
            setattr(made, f"bias_ih{name}", Array(bias))
    head = dict(_head(plan, width, plan.data.outputs))
    top = head["head"] if len(head) == 1 else nn.Sequential(head)
    return (Stepped if plan.arch.endswith("cell") else Recurrent)(made, top)


def _transformer(plan: Plan) -> Any:
    t, width = plan.data, plan.width
    keys = wg.random.split(wg.random.key(plan.seed), plan.depth + 2)
    words = t.x.dtype.kind == "i"
    inside: Any = nn.Embedding(400, width) if words else nn.Linear(t.x.shape[2], width)
    if words:
        inside.weight = inside.weight * plan.embedding
    layers = []
    for i in range(plan.depth):
        if plan.norm == "none":
            layer: Any = Plain(width, keys[i])
            for part in (layer.linear1, layer.linear2):
                part.weight = part.weight * (1.0 if plan.gain is None else plan.gain)
        else:
            first = plan.norm != "post"
            layer = nn.TransformerEncoderLayer(
                width, 2, 2 * width, plan.dropout, batch_first=True, norm_first=first, key=keys[i]
            )
            if plan.gain is not None:
                layer.linear1.weight = layer.linear1.weight * plan.gain
                layer.linear2.weight = layer.linear2.weight * plan.gain
        attention = getattr(layer, "attn", None) or layer.self_attn
        if plan.queries != 1.0:
            w = np.asarray(attention.in_proj_weight).copy()
            w[: 2 * width] *= plan.queries
            attention.in_proj_weight = Array(w)
        layers.append(layer)
    head = dict(_head(plan, width, t.outputs))
    top = head["head"] if len(head) == 1 else nn.Sequential(head)
    return Transformer(inside, layers, top, t.x.shape[1], width, keys[-1])


def _bag(plan: Plan) -> Any:
    embedding = nn.Embedding(400, plan.width)
    embedding.weight = embedding.weight * plan.embedding
    return Bag(embedding, _row(plan, plan.width))


BUILDERS = {
    "mlp": _mlp, "cnn": lambda p: _row(p, 1), "resmlp": _residual, "rescnn": _residual, "transformer": _transformer,
    "bag": _bag, "rnn": _recurrent, "lstm": _recurrent, "gru": _recurrent, "rnncell": _recurrent,
    "lstmcell": _recurrent, "grucell": _recurrent,
}  # fmt: skip
