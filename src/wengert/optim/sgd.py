"""SGD: gradient descent, with momentum."""

from __future__ import annotations

from typing import Any

from wengert.array.searching import where
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.optim.optimizer import Optimizer, Settings, State, zeros_like
from wengert.source import at_user_line


class SGD(Optimizer):
    """Stochastic gradient descent: `p -= rate · g`, with momentum `b = momentum·b + (1 - dampening)·g; p -= rate · b`.

    With `nesterov`, `p -= rate · (g + momentum·b)`. `weight_decay·p` is added to g first. As PyTorch's, the first
    step's b is g itself.

    Args:
        model, learning_rate, groups, frozen, schedule, maximize: see `Optimizer`.
        momentum: the share of the former direction that is kept, at least 0.
        dampening: what a new gradient counts less.
        weight_decay: strength of the L2 penalty.
        nesterov: look ahead; needs momentum and no dampening.

    Raises:
        ArgumentError: a setting that makes no sense, or a model without parameters.

    Example:
        >>> optimizer = optim.SGD(model, learning_rate=0.1, momentum=0.9)
        >>> optimizer.update(model, grads)

    Source: Sutskever et al. 2013, *On the importance of initialization and momentum in deep learning*; PyTorch's form.
    """

    def __init__(
        self,
        model: Any,
        learning_rate: Any = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        **common: Any,
    ):
        settings = {
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(model, learning_rate, settings, **common)

    def check(self, settings: Settings) -> None:
        super().check(settings)
        if settings["nesterov"] and (settings["momentum"] <= 0 or settings["dampening"] != 0):
            raise ArgumentError(
                f"SGD: Nesterov's momentum needs momentum > 0 and dampening = 0, got {settings['momentum']} and "
                f"{settings['dampening']}{at_user_line()}"
            )

    def start(self, p: Any, settings: Settings) -> State:
        return {"momentum_buffer": zeros_like(p)} if settings["momentum"] else {}

    def coefficients(self, rate: Array, t: Array, settings: Settings, shared: State) -> State:
        damping = settings["dampening"]
        return {"rate": rate} | ({"fresh": where(t == 1, 1.0, 1 - damping)} if damping else {})

    def rule(self, p: Array, g: Array, state: State, c: State, settings: Settings) -> tuple[Array, State]:
        if settings["weight_decay"]:
            g = g + settings["weight_decay"] * p
        if "momentum_buffer" not in state:
            return p - c["rate"] * g, state
        momentum = settings["momentum"]
        fresh = g * c["fresh"] if settings["dampening"] else g
        b = momentum * state["momentum_buffer"] + fresh
        return p - c["rate"] * (g + momentum * b if settings["nesterov"] else b), {"momentum_buffer": b}
