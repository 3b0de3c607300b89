"""Weights drawn anew, at a scale that keeps signals and gradients as large as they come."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import nn, tree
from wengert.flow.recipe import copied
from wengert.flow.remedies.remedy import Remedy, nothing_to, on_model
from wengert.flow.remedies.surgery import exchange
from wengert.ir.array import Array
from wengert.nn.init.whole import is_weighted
from wengert.nn.module import Module, around_calls

RECURRENT = (nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell)
SEED = 20


def reinitialised(model: Any, gain: float, last: str | None = None, orthogonal: bool = False) -> Any:
    """The model with weights of linear layers and convolutions drawn anew with deviation `gain/√fan_in`; biases 0.

    Args:
        gain: √2 for ReLU, 1 for a linear layer; see `nn.init.calculate_gain`.
        last: the layer that makes the output, which gets gain 1.
        orthogonal: orthogonal matrices instead of normal ones.

    In a plain tree of arrays every matrix is drawn anew, for whichever of its sides is taken as input.
    Recurrent layers get orthogonal recurrent weights and PyTorch's scale for the rest. Frozen parameters stay.
    """
    if not isinstance(model, Module):
        return _plain(model, gain)
    model = copied(model)
    keys = iter(range(SEED, 1 << 30))
    count = 0
    for name, m in model.named_modules():
        frozen = getattr(m, "_frozen", ())
        if is_weighted(m) and "weight" not in frozen and not isinstance(m, nn.Embedding):
            count += 1
            own = 1.0 if name == last else gain
            like = m.weight
            key = next(keys)
            if orthogonal:
                m.weight = nn.init.orthogonal(like, own, key=key)
            else:
                fan_in = math.prod(like.shape[1:])
                m.weight = nn.init.normal(like, 0.0, own / math.sqrt(max(fan_in, 1)), key=key)
            if getattr(m, "bias", None) is not None and "bias" not in frozen:
                m.bias = nn.init.zeros(m.bias)
        elif isinstance(m, RECURRENT):
            count += 1
            _recurrent(m, keys)
        elif isinstance(m, nn.MultiheadAttention):
            count += 1
            _attention(m, keys)
        elif isinstance(m, nn.Embedding) and float(np.asarray(m.weight).std()) > 5:
            m.weight = nn.init.normal(m.weight, key=next(keys))
    if not count:
        raise nothing_to("weights drawn anew", model)
    return model


def _recurrent(m: Module, keys: Any) -> None:
    """Orthogonal recurrent weights gate by gate; input weights of PyTorch's scale; forget gates open."""
    for name, value in list(vars(m).items()):
        if name.startswith("weight_hh"):
            h = value.shape[1]
            blocks = [nn.init.orthogonal((h, h), key=next(keys)) for _ in range(value.shape[0] // h)]
            setattr(m, name, Array(np.concatenate([np.asarray(b) for b in blocks]).astype(value.dtype)))
        elif name.startswith("weight_ih"):
            setattr(m, name, nn.init.xavier_uniform(value, key=next(keys)))
        elif name.startswith("bias_"):
            bias = np.zeros(value.shape, value.dtype)
            if isinstance(m, (nn.LSTM, nn.LSTMCell)) and name.startswith("bias_ih"):
                quarter = len(bias) // 4
                bias[quarter : 2 * quarter] = 1
            setattr(m, name, Array(bias))


def _attention(m: Module, keys: Any) -> None:
    for name, value in list(vars(m).items()):
        if name.endswith("proj_weight") and value is not None:
            setattr(m, name, nn.init.xavier_uniform(value, key=next(keys)))
        elif name == "in_proj_bias" and value is not None:
            setattr(m, name, nn.init.zeros(value))


def _plain(model: Any, gain: float) -> Any:
    rng = np.random.default_rng(SEED)
    leaves, structure = tree.flatten(model)

    def drawn(x: Any) -> Any:
        values = np.asarray(x)
        if values.dtype.kind != "f" or values.ndim < 2:
            return np.zeros_like(values) if values.dtype.kind == "f" and values.ndim == 1 else x
        fan = math.sqrt(math.prod(values.shape[:-1]) * values.shape[-1])  # whichever side the input is on
        new = (rng.standard_normal(values.shape) * gain / math.sqrt(fan)).astype(values.dtype)
        return Array(new) if isinstance(x, Array) else new

    return tree.unflatten(structure, [drawn(x) for x in leaves])


def lsuv(model: Module, loss_fn: Callable[..., Any], batch: tuple[Any, ...], last: str | None = None) -> Module:
    """Orthogonal weights scaled by data, layer by layer, so that every layer's output has variance 1 (Mishkin, Matas).

    Unlike `nn.init.lsuv` this runs the loss function, so that models of several inputs need no more; the layer that
    makes the output is scaled down to variance 1/10, and layers whose output is constant are left alone.
    """
    model = reinitialised(model, 1.0, orthogonal=True)
    names = {id(m): n for n, m in model.named_modules()}
    done: set[int] = set()

    def around(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if is_weighted(module) and id(module) not in done and id(module) in names:
            done.add(id(module))
            variance = float(np.asarray(module.forward(*args, **kwargs), np.float64).var())
            if 0 < variance < math.inf:
                target = 0.1 if names[id(module)] == last else 1.0
                module.weight = module.weight * math.sqrt(target / variance)
        return module.forward(*args, **kwargs)

    with around_calls(around):
        loss_fn(model, *batch)
    return model


def initial_remedy(gain: float, last: str | None, why: str, orthogonal: bool = False) -> Remedy:
    """Weights drawn anew for an activation whose gain is this."""
    name = "orthogonal weights" if orthogonal else f"weights drawn anew (deviation {gain:.2f}/√fan_in)"
    return on_model(name, why, lambda model: reinitialised(model, gain, last, orthogonal))


def lsuv_remedy(loss_fn: Callable[..., Any], batch: tuple[Any, ...], last: str | None, why: str) -> Remedy:
    """Layer-sequential unit variance from this batch."""
    return on_model("LSUV initialisation", why, lambda model: lsuv(model, loss_fn, batch, last))


def scaled(model: Any, factors: dict[str, float]) -> Any:
    """The model with some layers' weights multiplied: what they have learned is kept."""

    def change(name: str, m: Module) -> Module | None:
        if name in factors and is_weighted(m):
            m.weight = m.weight * factors[name]
            return m
        return None

    return exchange(model, change)[0]


def redrawn(model: Module, names: set[str], gain: float) -> Module:
    """The model with the weights of some layers drawn anew, their biases 0; all others are kept."""
    model = copied(model)
    for number, (name, m) in enumerate(model.named_modules()):
        if name in names and is_weighted(m):
            fan_in = math.prod(m.weight.shape[1:])
            m.weight = nn.init.normal(m.weight, 0.0, gain / math.sqrt(max(fan_in, 1)), key=SEED + number)
            if getattr(m, "bias", None) is not None:
                m.bias = nn.init.zeros(m.bias)
    return model
