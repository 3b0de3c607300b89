"""Short, seeded trainings of plans, and their scores: what a label is checked by."""

from __future__ import annotations

from typing import Any

import numpy as np

from corpus.networks import build
from corpus.plan import SEEDS, Plan
from wengert.errors import NonFiniteError
from wengert.flow import Recipe

LEARNS = 0.5  # a score from which on a network has learned
FAILS = 0.45  # a faulty network gets at most this share of the score of its mended twin


def start(plan: Plan) -> Any:
    """The network that a plan says, pretrained if it says so."""
    model = build(plan)
    if plan.pretrain:
        model = plan.but(lr=3e-3).recipe(model).train(plan.batches(), plan.pretrain, 99).model
    return model


def score(plan: Plan, recipe: Recipe, seed: int) -> float:
    """The score of a recipe after the steps of the plan; -1 where the loss stopped being finite."""
    if not recipe.model.trainable:
        return _final(plan, recipe.model)
    try:
        curve = recipe.train(plan.batches(), plan.steps, seed)
    except NonFiniteError:
        return -1.0
    if not curve.finite:
        return -1.0
    return _final(plan, curve.model)


def _final(plan: Plan, model: Any) -> float:
    model.eval()
    x = plan.data.x_test
    return plan.data.score(np.asarray(model(x.astype(np.float64) if plan.double and x.dtype.kind == "f" else x)))


def scores(plan: Plan, recipe: Recipe | None = None) -> list[float]:
    """The score for each seed."""
    recipe = recipe or plan.recipe(start(plan))
    return [round(score(plan, recipe, s), 3) for s in SEEDS]


def learns(found: list[float]) -> bool:
    return min(found) >= LEARNS


def fails(found: list[float], twin: list[float]) -> bool:
    """Whether a network fails where its twin learns, for every seed."""
    return learns(twin) and all(a <= FAILS * b for a, b in zip(found, twin, strict=True))
