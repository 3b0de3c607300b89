"""What a loss function has to be: a function of the model and a batch."""

from __future__ import annotations

import inspect
from typing import Any

from wengert.errors import ArgumentError
from wengert.source import at_user_line

_WRITE = "def loss_fn(model, x, y): return {}(model(x), y)"


def checked_loss_fn(loss_fn: Any, what: str) -> None:
    """Refuse what is no function of the model and a batch: a loss of outputs and targets, an array in the wrong place.

    Raises:
        ArgumentError: says what was given, and what to write.
    """
    kind = loss_fn if inspect.isroutine(loss_fn) else type(loss_fn)
    name = getattr(kind, "__name__", "the loss")
    if str(getattr(kind, "__module__", "")).startswith("wengert.nn."):
        given = f"nn.functional.{name}" if kind is loss_fn else f"{name}()"
        raise ArgumentError(
            f"{what}: {given} is a function of outputs and targets; expected one of the model and a batch: "
            f"{_WRITE.format('criterion' if kind is not loss_fn else given)}{at_user_line()}"
        )
    if not callable(loss_fn):
        raise ArgumentError(
            f"{what}: the loss function is a {name}; expected a function, and in this order: {what}(model, loss_fn, …)"
            f" with {_WRITE.format('criterion')}{at_user_line()}"
        )


def checked_call(loss_fn: Any, model: Any, batch: tuple[Any, ...], what: str) -> None:
    """Refuse a loss function that can't be called with the model and this batch.

    Raises:
        ArgumentError: says which arguments it takes and which it would be given.
    """
    try:
        signature = inspect.signature(loss_fn)
    except (TypeError, ValueError):
        return  # a function that states nothing
    try:
        signature.bind(model, *batch)
    except TypeError:
        given = ", ".join(["model", *(_described(b) for b in batch)])
        raise ArgumentError(
            f"{what}: the loss function takes {signature}, and is called with ({given}): the model, then the batch's "
            f"arguments as they were given, {len(batch)} of them{at_user_line()}"
        ) from None


def _described(x: Any) -> str:
    return f"array of shape {tuple(x.shape)}" if hasattr(x, "shape") else type(x).__name__
