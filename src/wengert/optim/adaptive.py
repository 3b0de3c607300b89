"""Adagrad, RMSprop and Adadelta: steps divided by the size that gradients have had so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.array.elementwise import sqrt
from wengert.ir.array import Array
from wengert.optim.optimizer import Optimizer, Settings, State, zeros_like


def decayed(p: Array, g: Array, settings: Settings) -> Array:
    """The gradient with the L2 penalty's."""
    return g + settings["weight_decay"] * p if settings["weight_decay"] else g


class Adagrad(Optimizer):
    """Adagrad: `s += g²; p -= rate/(1 + (t-1)·lr_decay) · g/(√s + eps)`.

    Args:
        model, learning_rate, groups, frozen, schedule, maximize: see `Optimizer`.
        lr_decay: how fast the rate falls with the steps.
        weight_decay: `weight_decay·p` is added to g.
        initial_accumulator_value: what s starts from.
        eps: added to the root.

    Source: Duchi, Hazan and Singer 2011, *Adaptive subgradient methods for online learning*.
    """

    def __init__(
        self,
        model: Any,
        learning_rate: Any = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        **common: Any,
    ):
        settings = {
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
        }
        super().__init__(model, learning_rate, settings, **common)

    def start(self, p: Any, settings: Settings) -> State:
        return {"sum": Array(np.full_like(p, settings["initial_accumulator_value"]))}

    def coefficients(self, rate: Array, t: Array, settings: Settings, shared: State) -> State:
        return {"rate": rate / (1 + (t - 1) * settings["lr_decay"])}

    def rule(self, p: Array, g: Array, state: State, c: State, settings: Settings) -> tuple[Array, State]:
        g = decayed(p, g, settings)
        s = state["sum"] + g * g
        return p - c["rate"] * (g / (sqrt(s) + settings["eps"])), {"sum": s}


class RMSprop(Optimizer):
    """RMSprop: `v = αv + (1-α)g²; p -= rate · g/(√v + eps)`.

    Args:
        model, learning_rate, groups, frozen, schedule, maximize: see `Optimizer`.
        alpha: how much of the running mean v is kept.
        eps: added to the root.
        weight_decay: `weight_decay·p` is added to g.
        momentum: with `b = momentum·b + g/(√v + eps)`, the step is `rate·b`.
        centered: divide by the standard deviation, `√(v - mean(g)²)`, instead.

    Source: Hinton 2012, *Neural networks for machine learning*, lecture 6e; Graves 2013 (arXiv 1308.0850) for centered.
    """

    def __init__(
        self,
        model: Any,
        learning_rate: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        **common: Any,
    ):
        settings = {
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
        }
        super().__init__(model, learning_rate, settings, **common)

    def start(self, p: Any, settings: Settings) -> State:
        state = {"square_avg": zeros_like(p)}
        if settings["momentum"]:
            state["momentum_buffer"] = zeros_like(p)
        if settings["centered"]:
            state["grad_avg"] = zeros_like(p)
        return state

    def rule(self, p: Array, g: Array, state: State, c: State, settings: Settings) -> tuple[Array, State]:
        g = decayed(p, g, settings)
        alpha = settings["alpha"]
        v = alpha * state["square_avg"] + (1 - alpha) * (g * g)
        new = {"square_avg": v}
        if "momentum_buffer" in state:
            new["momentum_buffer"] = state["momentum_buffer"]  # in the order of the first state
        if settings["centered"]:
            mean = new["grad_avg"] = state["grad_avg"] + (1 - alpha) * (g - state["grad_avg"])
            v = v - mean * mean
        direction = g / (sqrt(v) + settings["eps"])
        if "momentum_buffer" in state:
            direction = new["momentum_buffer"] = settings["momentum"] * state["momentum_buffer"] + direction
        return p - c["rate"] * direction, new


class Adadelta(Optimizer):
    """Adadelta: `v = ρv + (1-ρ)g²; Δ = √(a + eps)/√(v + eps) · g; a = ρa + (1-ρ)Δ²; p -= rate · Δ`.

    Args:
        model, learning_rate, groups, frozen, schedule, maximize: see `Optimizer`.
        rho: how much of the running means v and a is kept.
        eps: added under both roots.
        weight_decay: `weight_decay·p` is added to g.

    Source: Zeiler 2012, *ADADELTA: an adaptive learning rate method* (arXiv 1212.5701).
    """

    def __init__(
        self,
        model: Any,
        learning_rate: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **common: Any,
    ):
        super().__init__(model, learning_rate, {"rho": rho, "eps": eps, "weight_decay": weight_decay}, **common)

    def start(self, p: Any, settings: Settings) -> State:
        return {"square_avg": zeros_like(p), "acc_delta": zeros_like(p)}

    def rule(self, p: Array, g: Array, state: State, c: State, settings: Settings) -> tuple[Array, State]:
        g = decayed(p, g, settings)
        rho, eps = settings["rho"], settings["eps"]
        v = rho * state["square_avg"] + (1 - rho) * (g * g)
        delta = sqrt(state["acc_delta"] + eps) / sqrt(v + eps) * g
        a = rho * state["acc_delta"] + (1 - rho) * (delta * delta)
        return p - c["rate"] * delta, {"square_avg": v, "acc_delta": a}
