"""Findings about what holds a model back on purpose, and too much: weight decay, penalties, dropout.

A model that doesn't learn its own batch in a trial is tried again without; if it learns then, that was the cause.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from wengert.flow.finding import Case, Finding, fewer, finite, percent
from wengert.flow.findings_training import EXAMPLES, STEPS, UNLEARNED, Trial, executor_of, own_share, trial
from wengert.flow.recipe import Recipe
from wengert.flow.remedies import training
from wengert.flow.remedies.remedy import Remedy
from wengert.nn.dropout import _Dropout

DROPS = 0.6  # the share from which on dropout is suspected: half is usual
AHEAD = 0.5  # of what is left of the loss with targets exchanged, that has to be gone without


class Suspect(NamedTuple):
    """Something that may hold the model back: what it is, where, the recipe without it, and what to put instead."""

    what: str
    where: list[str]
    without: Recipe
    remedies: list[Remedy]


def penalty_findings(case: Case, tried: Trial) -> list[Finding]:
    """Weight decay, penalties or dropout without which a model learns that doesn't with them."""
    if not tried.finite or (tried.start < UNLEARNED and tried.end < UNLEARNED):
        return []
    for s in _suspects(case):
        if s.where and _learned(case):  # what dropout hides while training may be there without it
            continue
        freed = trial(_with(case, s.without))
        if freed.learns and freed.end < AHEAD * tried.end:
            cause = (
                f"{len(tried.losses) - 1} steps on this batch bring the loss from {tried.losses[0]:.3g} to "
                f"{tried.losses[-1]:.3g} with {s.what}, to {freed.losses[-1]:.3g} without"
            )
            evidence = {"loss with": finite(tried.losses[-1]), "loss without": finite(freed.losses[-1])}
            return [Finding("regularisation too strong", s.where, cause, "regularisation", 0.8, evidence,
                            {"regularisation": 1.0}, s.remedies)]  # fmt: skip
    return []


def _learned(case: Case) -> bool:
    """Whether the trial's model, looked at as in use, tells examples apart."""
    curve = case.recipe.train([fewer(case.batch, EXAMPLES)], STEPS, executor=executor_of(case))
    model = curve.model.eval()
    return own_share(_with(case, case.recipe.but(model=model)), model) < UNLEARNED


def _with(case: Case, recipe: Recipe) -> Case:
    return Case(recipe, case.batch, case.trains)


def undropped(case: Case) -> Case | None:
    """The case without its dropout; None where none leaves much out."""
    if not _drops(case):
        return None
    return _with(case, training.dropout(0.0, "").change(case.recipe))


def _drops(case: Case) -> list[tuple[str, float]]:
    found = [(n, float(m.p)) for n, m in case.modules(_Dropout)]
    return [(n, p) for n, p in found if p >= DROPS]


def _suspects(case: Case) -> Iterator[Suspect]:
    recipe = case.recipe
    decay = float(recipe.settings.get("weight_decay", 0.0) or 0.0)
    if decay > 0:
        without = recipe.but(settings={**recipe.settings, "weight_decay": 0.0})
        usual = min(0.01, decay / 10)
        remedies = [
            training.weight_decay(usual, "draws weights together, but slower than the loss moves them"),
            training.weight_decay(0.0, "nothing then pulls the weights to 0"),
        ]
        yield Suspect(f"weight decay {decay:.3g}", [], without, remedies)
    if recipe.l1 or recipe.l2:
        penalty = f"L1 {recipe.l1:.2g} and L2 {recipe.l2:.2g}"
        yield Suspect(penalty, [], dataclasses.replace(recipe, l1=0.0, l2=0.0),
                      [training.l2(0.0, "nothing then pulls the weights to 0")])  # fmt: skip
    drops = _drops(case)
    if drops:
        most = max(p for _, p in drops)
        remedies = [
            training.dropout(0.2, "most of the signal then comes through"),
            training.dropout(0.0, "all of the signal then comes through"),
        ]
        yield Suspect(f"dropout of {percent(most)}", [n for n, _ in drops], remedies[-1].change(recipe), remedies)
