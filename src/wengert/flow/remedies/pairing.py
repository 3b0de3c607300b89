"""Outputs and losses that belong together: logits with cross entropy, probabilities with their logarithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert import nn
from wengert.array.elementwise import log, maximum
from wengert.flow.recipe import Recipe
from wengert.flow.remedies.remedy import Remedy, on_settings
from wengert.flow.remedies.surgery import exchange
from wengert.nn import functional as F
from wengert.nn.module import Module

TINY = 1e-30


class Logits(Module):
    """A model whose probabilities are turned back into logits: `log p`, or `log p - log(1 - p)` for a sigmoid.

    `log_softmax(log p) = log p`, so that cross entropy of this is the logarithm of the model's own probabilities.
    """

    def __init__(self, model: Any, sigmoid: bool = False):
        self.model = model
        self.sigmoid = sigmoid

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        p = self.model(*args, **kwargs)
        logits = log(maximum(p, TINY))
        return logits - log(maximum(1 - p, TINY)) if self.sigmoid else logits


class Followed(Module):
    """A model with a function behind it."""

    def __init__(self, model: Any, then: Callable[..., Any]):
        self.model = model
        self.then = then

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.then(self.model(*args, **kwargs))


def _log_softmax(x: Any) -> Any:
    return F.log_softmax(x, 1 if x.ndim > 1 else 0)


def without_output(part: str | None, sigmoid: bool, why: str) -> Remedy:
    """Take the softmax (or sigmoid) at a model's end away, where the loss has one of its own.

    Args:
        part: the name of the module that computes it; None if a function does, whose result is then turned back.
    """
    what = "sigmoid" if sigmoid else "softmax"

    def change(recipe: Recipe) -> Recipe:
        model = recipe.model
        if part is None:
            return recipe.but(model=Logits(model, sigmoid))
        new, _ = exchange(model, lambda name, m: nn.Identity() if name == part else None)
        return recipe.but(model=new)

    return Remedy(f"remove the {what} before the loss", why, change)


def with_output(kind: str, why: str) -> Remedy:
    """Put behind a model the function whose result its loss expects: "log_softmax" or "sigmoid"."""
    then = {"log_softmax": _log_softmax, "sigmoid": F.sigmoid}[kind]
    return Remedy(f"{kind} before the loss", why, lambda r: r.but(model=Followed(r.model, then)))


def negated() -> Remedy:
    """The loss with its sign turned."""

    def change(recipe: Recipe) -> Recipe:
        loss_fn = recipe.loss_fn

        def turned(model: Any, *batch: Any) -> Any:
            return -loss_fn(model, *batch)  # type: ignore[misc]

        return recipe.but(loss_fn=turned)

    return on_settings("the loss with its sign turned", "a loss has to fall as the output gets better", change)


def _turned(m: Any) -> Module:
    turned: Module = m.copy()
    turned.dim = -1
    return turned


def along_classes(part: str) -> Remedy:
    """A softmax or its logarithm, taken by a module over the wrong axis: over the last one."""

    def change(recipe: Recipe) -> Recipe:
        new, _ = exchange(recipe.model, lambda name, m: _turned(m) if name == part else None)
        return recipe.but(model=new)

    return Remedy("softmax over axis 1", "each example's probabilities then add up to 1", change)


def logits_loss(model: Any, x: Any, y: Any) -> Any:
    """Cross entropy of logits and classes."""
    return F.cross_entropy(model(x), y)


def with_cross_entropy() -> Remedy:
    """`cross_entropy(model(x), y)` for a loss that takes probabilities for their logarithms, for batches `(x, y)`."""
    why = "takes logits, and the logarithm of their softmax itself"
    return on_settings("cross entropy of the logits", why, lambda recipe: recipe.but(loss_fn=logits_loss))
