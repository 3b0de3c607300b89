"""Inputs and targets brought to the size that initial weights and learning rates are made for."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import nn
from wengert.flow.remedies.pairing import Followed
from wengert.flow.remedies.remedy import Remedy, on_model
from wengert.flow.remedies.surgery import exchange
from wengert.nn.module import Module


class Standardised(Module):
    """A model whose first argument is standardised feature by feature: `(x - mean) / std`, both constant."""

    _buffers = frozenset(("mean", "std"))

    def __init__(self, model: Any, mean: Any, std: Any):
        self.model = model
        self.mean = mean
        self.std = std

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return self.model((x - self.mean) / self.std, *args, **kwargs)


class Rescaled(Module):
    """A model whose output is put at the targets' mean and spread: `mean + std * out`, both constant."""

    _buffers = frozenset(("mean", "std"))

    def __init__(self, model: Any, mean: Any, std: Any):
        self.model = model
        self.mean = mean
        self.std = std

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.mean + self.std * self.model(*args, **kwargs)


class Shaped:
    """What takes an output's last axis of length 1 away, or adds one."""

    def __init__(self, wider: bool):
        self.wider = wider

    def __call__(self, out: Any) -> Any:
        return out[..., None] if self.wider else out[..., 0]


def standardised(mean: np.ndarray, std: np.ndarray) -> Remedy:
    """Put `(x - mean) / std` in front of a model."""
    why = "first weights are made for inputs of mean 0 and size 1"
    return on_model("inputs standardised", why, lambda model: Standardised(model, mean, std))


def rescaled(mean: np.ndarray, std: np.ndarray) -> Remedy:
    """Put `mean + std * out` behind a model."""
    why = "the output then starts at the targets' mean and has their spread in reach"
    return on_model("outputs on the targets' scale", why, lambda model: Rescaled(model, mean, std))


def of_target_shape(wider: bool) -> Remedy:
    """Take the output's last axis of length 1 away, or add one, so that it meets its targets one by one."""
    axis = "out[..., None]" if wider else "out[..., 0]"
    why = "each output is then compared with its own target"
    return on_model(f"output of the targets' shape ({axis})", why, lambda model: Followed(model, Shaped(wider)))


def without_activation(names: frozenset[str], kind: str) -> Remedy:
    """Take the activation at a model's end away."""

    def without(model: Module) -> Module:
        return exchange(model, lambda name, m: nn.Identity() if name in names else None)[0]

    return on_model(f"no {kind} at the output", "the output then reaches every target", without)
