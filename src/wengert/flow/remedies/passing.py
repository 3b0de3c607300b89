"""Parts at which the gradient ends, left out or given a derivative."""

from __future__ import annotations

from typing import Any

from wengert import nn
from wengert.diff.stop_gradient import stop_gradient
from wengert.flow.remedies.remedy import Remedy, on_model
from wengert.flow.remedies.surgery import exchange
from wengert.nn.module import Module


class StraightThrough(Module):
    """What a part makes, with derivative 1: `x + stop_gradient(part(x) - x)`.

    Source: Bengio, Léonard and Courville 2013, *Estimating or propagating gradients through stochastic neurons*
    (arXiv 1308.3432).
    """

    def __init__(self, part: Any):
        self.part = part

    def forward(self, x: Any) -> Any:
        return x + stop_gradient(self.part(x) - x)


def without_part(model: Module, name: str) -> Module:
    """The model with one part left out: what comes there goes on as it is."""
    return exchange(model, lambda at, m: nn.Identity() if at == name else None)[0]


def straight_through(model: Module, name: str) -> Module:
    """The model with one part that has derivative 1 and makes what it made."""
    return exchange(model, lambda at, m: StraightThrough(m) if at == name else None)[0]


def left_out_remedy(name: str, kind: str) -> Remedy:
    """One part left out."""
    why = "the gradient ends there, which then passes"
    return on_model(f"leave out {name} ({kind})", why, lambda model: without_part(model, name))


def straight_through_remedy(name: str, kind: str) -> Remedy:
    """One part with derivative 1."""
    why = "what it makes stays, and the gradient passes as if it were not there"
    return on_model(f"straight-through derivative of {name} ({kind})", why, lambda model: straight_through(model, name))
