"""Other activation functions in the places of those that a model has."""

from __future__ import annotations

import math
from typing import Any

from wengert import nn
from wengert.errors import ArgumentError
from wengert.flow.remedies.initial import reinitialised
from wengert.flow.remedies.remedy import Remedy, nothing_to, on_model
from wengert.flow.remedies.surgery import exchange
from wengert.nn import functional as F
from wengert.nn.activation import _Activation
from wengert.nn.module import Module

OUTPUTS = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.GLU)  # that are part of what a model says
NEW = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU, "gelu": nn.GELU,
       "silu": nn.SiLU, "tanh": nn.Tanh}  # fmt: skip
FUNCTIONS = {"relu": F.relu, "leaky_relu": F.leaky_relu, "elu": F.elu, "selu": F.selu, "gelu": F.gelu,
             "silu": F.silu, "tanh": F.tanh}  # fmt: skip
GAINS = {"relu": math.sqrt(2), "leaky_relu": math.sqrt(2), "elu": 1.25, "selu": 1.0, "gelu": 1.5, "silu": 1.7,
         "tanh": 5 / 3, "linear": 1.0}  # fmt: skip
NAMES = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU", "selu": "SELU", "gelu": "GELU", "silu": "SiLU",
         "tanh": "Tanh"}  # fmt: skip


def is_activation(m: Module) -> bool:
    """Whether a module is a function between layers, to be exchanged for another."""
    return isinstance(m, (_Activation, nn.PReLU)) and not isinstance(m, OUTPUTS)


def with_activation(model: Module, activation: str, keep: frozenset[str] = frozenset()) -> Module:
    """The model with all activations between layers exchanged for one; a last one, which makes the output, stays.

    Args:
        keep: names of activations that stay as they are, such as one that makes the output.
    """
    new = NEW[activation]

    def change(name: str, m: Module) -> Module | None:
        if is_activation(m) and name not in keep and not isinstance(m, new):
            return new()
        if isinstance(m, nn.RNN) and m.nonlinearity != activation and activation in ("tanh", "relu"):
            other: Module = m.copy()
            other.nonlinearity = activation
            return other
        held = vars(m).get("activation")  # transformer layers and residual blocks hold a function
        if held is not None and not isinstance(held, Module) and callable(held) and held is not FUNCTIONS[activation]:
            other = m.copy()
            other.activation = FUNCTIONS[activation]
            return with_activation(other, activation, keep) if isinstance(other, nn.Residual) else other
        return None

    changed, count = exchange(model, change)
    if not count:
        raise nothing_to(f"{NAMES[activation]} activations", model)
    return changed


def activation_remedy(
    activation: str, old: str, why: str, keep: frozenset[str], last: str | None, redraw: bool = True
) -> Remedy:
    """Another activation, with weights drawn anew at the scale that suits it."""

    def change(model: Any) -> Any:
        model = with_activation(model, activation, keep)
        return reinitialised(model, GAINS[activation], last) if redraw else model

    return on_model(f"{NAMES[activation]} for {old}", why, change)


def by_hand(activation: str, old: str, lines: list[str]) -> Remedy:
    """Another activation where the old one is a function that `forward` calls: only its author can exchange it."""
    at = "; ".join(lines[:3]) + (f"; and {len(lines) - 3} lines more" if len(lines) > 3 else "")
    what = f"{NAMES[activation]} for {old}, by hand"

    def change(model: Any) -> Any:
        raise ArgumentError(f"{what}: write nn.functional.{activation} at {at}, and initialise the weights for it")

    why = (
        f"{old} is a function called in forward, which no remedy can exchange: write nn.functional.{activation} at {at}"
    )
    return on_model(what, why, change)
