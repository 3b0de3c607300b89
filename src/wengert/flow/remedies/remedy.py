"""What a remedy is: a named change of a model or recipe that gives a new one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from wengert.errors import ArgumentError
from wengert.flow.recipe import Recipe
from wengert.source import at_user_line

BY_HAND = ", by hand"  # how names of advice end


@dataclasses.dataclass(frozen=True)
class Remedy:
    """A change that may help, which applies itself.

    Attributes:
        name: short, such as "ReLU for Sigmoid".
        reason: why it should help, in one line.
        change: from recipe to recipe.
        settings: whether it changes how to train, and not the model.
        parts: the names of remedies that it is made of.
    """

    name: str
    reason: str
    change: Callable[[Recipe], Recipe] = dataclasses.field(repr=False)
    settings: bool = False
    parts: tuple[str, ...] = ()

    def apply(self, x: Any) -> Any:
        """The mended model; the given one stays as it is.

        Args:
            x: a model, or a `flow.Recipe`.

        Returns:
            A model for a model, unless the remedy changes how to train: then a `Recipe` that holds the model.

        Raises:
            ArgumentError: there is nothing in this model that the remedy could change.
        """
        recipe = x if isinstance(x, Recipe) else Recipe(x)
        mended = self.change(recipe)
        return mended if isinstance(x, Recipe) or self.settings else mended.model

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def on_model(name: str, reason: str, change: Callable[[Any], Any]) -> Remedy:
    """A remedy that changes the model alone."""
    return Remedy(name, reason, lambda recipe: recipe.but(model=change(recipe.model)))


def on_settings(name: str, reason: str, change: Callable[[Recipe], Recipe]) -> Remedy:
    """A remedy that changes how to train."""
    return Remedy(name, reason, change, settings=True)


def by_hand(what: str, at: str) -> Remedy:
    """A change of a line of the user's own function, which only its author can make."""

    def change(recipe: Recipe) -> Recipe:
        raise ArgumentError(f"{what}{BY_HAND}: change {at}")

    return Remedy(what + BY_HAND, f"stands in your own function: change {at}", change)


def applies(remedy: Remedy) -> bool:
    """Whether a remedy can be applied without its author's hand."""
    return not remedy.name.endswith(BY_HAND)


def together(*remedies: Remedy, reason: str = "") -> Remedy:
    """One remedy after the other, as one."""

    def change(recipe: Recipe) -> Recipe:
        for r in remedies:
            recipe = r.change(recipe)
        return recipe

    names = tuple(p for r in remedies for p in (r.parts or (r.name,)))
    why = reason or "; ".join(r.reason for r in remedies)
    return Remedy(" + ".join(names), why, change, any(r.settings for r in remedies), names)


def nothing_to(what: str, model: Any) -> ArgumentError:
    """The error of a remedy that finds nothing to change."""
    return ArgumentError(f"{what}: {type(model).__name__} has no part that this could change{at_user_line()}")
