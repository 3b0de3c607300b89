"""diagnose: what keeps a model from learning, where, why, and what may help."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.errors import ArgumentError
from wengert.flow.finding import Case, Finding, finite
from wengert.flow.findings_data import data_findings
from wengert.flow.findings_depth import depth_findings
from wengert.flow.findings_pairing import pairing_findings
from wengert.flow.findings_penalties import penalty_findings, undropped
from wengert.flow.findings_plain import plain_findings
from wengert.flow.findings_time import time_findings
from wengert.flow.findings_training import LEARNS, UNLEARNED, Trial, noise_findings, rate_findings, trial
from wengert.flow.findings_units import alike_findings, dead_findings, saturation_findings
from wengert.flow.findings_wiring import nonfinite_findings, wiring_findings
from wengert.flow.recipe import Recipe
from wengert.flow.report import Report
from wengert.source import at_user_line

VERDICT = 0.5  # severity from which on a finding is a fault
STRONG = 0.6  # from which on no other is looked for among the training settings
HARD = ("disconnected", "frozen", "loss pairing", "identical inputs")  # what no trial can excuse
CHAOTIC = ("exploding", "saturation", "large initialisation")  # by which a batch can be learned by heart
CERTAIN = 0.9
TOLD = 0.5  # of the loss with targets exchanged: where a trial has to get to at severity 3/4
STEEP = 4.4  # how much less for each unit of severity more
CAUSES = {"dead units": ("vanishing", "missing shortcut", "small initialisation"),
          "saturation": ("vanishing", "large initialisation", "missing shortcut", "exploding"),
          "disconnected": ("vanishing", "dead units"),
          "loss pairing": ("learning rate too low", "saturation", "dead units"),
          "input scale": ("learning rate too low", "learning rate too high", "saturation", "dead units", "exploding",
                          "vanishing", "large initialisation"),
          "target scale": ("learning rate too low", "learning rate too high", "exploding"),
          "vanishing": ("missing shortcut", "small initialisation", "learning rate too low"),
          "exploding": ("large initialisation", "missing shortcut", "learning rate too high"),
          "large initialisation": ("learning rate too high",),
          "small initialisation": ("vanishing", "learning rate too low"),
          "short memory": ("vanishing", "learning rate too low")}  # fmt: skip


def diagnose(model: Any, loss_fn: Callable[..., Any] | None = None, *batch: Any, optimizer: Any = None) -> Report:
    """Look at one batch, forward and backward, and say what keeps the model from learning.

    Args:
        model: a module, any tree of arrays, or a `flow.Recipe` with training settings.
        loss_fn: `loss_fn(model, *batch)` returns one number.
        batch: what the loss function takes beside the model: `x, y`.
        optimizer: the optimizer that trains the model, or its class; with it the learning rate is judged, by a few
            steps on this batch.

    The model stays as it is, also its running statistics and random keys. Criteria are ratios: between layers, units,
    time steps, or losses; so that the loss's scale, small gradients near a minimum, frozen parts and small
    batches are no faults.

    Returns:
        A `Report`: `verdict`, the kind of the first finding or "healthy"; `findings`, the most important first, each
        with place, cause, evidence and remedies; `ledger`. It can be printed, saved and shown in a notebook.

    Raises:
        ArgumentError: a loss that isn't one number, a model without parameters, a batch that holds NaN or nothing.

    Example:
        >>> report = flow.diagnose(model, loss_fn, x, y)
        >>> print(report)
        >>> better = report.findings[0].remedies[0].apply(model)
    """
    known = isinstance(model, Recipe) or optimizer is not None
    recipe = Recipe.of(model, loss_fn, None if isinstance(model, Recipe) else optimizer)
    if recipe.loss_fn is None:
        raise ArgumentError(f"flow.diagnose needs a loss function: flow.diagnose(model, loss_fn, x, y){at_user_line()}")
    case = Case(recipe, tuple(batch), known)
    return Report(case, findings_of(case))


def findings_of(case: Case) -> list[Finding]:
    """All findings, the most important first."""
    broken = nonfinite_findings(case)
    if broken:
        return broken
    found = [
        *wiring_findings(case),
        *pairing_findings(case),
        *data_findings(case),
        *alike_findings(case),
        *_dead(case),
        *saturation_findings(case),
        *depth_findings(case),
        *plain_findings(case),
        *time_findings(case),
    ]
    found = [f for f in found if not follows(f, found, case)]
    faults = [f for f in found if f.severity >= VERDICT]
    if not any(f.kind in HARD for f in faults) and (faults or case.trains):
        tried = trial(case)
        for f in faults:
            excused(f, tried)
        if case.trains and not any(f.severity >= VERDICT and f.severity > STRONG for f in found):
            found += penalty_findings(case, tried) or rate_findings(case, tried)
    if not any(f.severity >= VERDICT for f in found):
        found += noise_findings(case)
    return ranked(found)


def _dead(case: Case) -> list[Finding]:
    """Dead units; where dropout leaves much out, only those that are dead without it, too."""
    found = dead_findings(case)
    calm = undropped(case) if found else None
    return found if calm is None else dead_findings(calm)


def follows(f: Finding, found: list[Finding], case: Case) -> bool:
    """Whether a gradient that ends in some layers says no more than that these are cut off from the loss."""
    if f.kind != "vanishing" or not any(g.kind == "disconnected" for g in found):
        return False
    idle = {q.name for q in case.profile.parameters if q.gradient is None or not np.any(q.gradient)}
    live = {q.name.rpartition(".")[0] for q in case.profile.parameters if q.name not in idle}
    return not live.intersection(f.where)


def excused(f: Finding, tried: Trial) -> None:
    """A finding about a model that learns nevertheless is worth knowing, but no fault."""
    f.evidence["trial"] = {"steps": len(tried.losses) - 1, "loss before": finite(tried.losses[0]),
                           "loss after": finite(tried.losses[-1])}  # fmt: skip
    certain = f.severity >= CERTAIN and f.kind in CHAOTIC
    if f.kind == "short memory":  # a batch can be told apart by its last steps
        certain = f.severity >= 0.7 and tried.start >= UNLEARNED
    learned = tried.finite and tried.start < UNLEARNED and tried.end < UNLEARNED
    if math.isfinite(tried.start):
        learned = learned or (tried.learns and tried.end < needed(f.severity))
    else:
        learned = learned or tried.learns
    if not certain and learned:
        f.severity = min(f.severity, 0.4)
        f.cause += (
            f"; yet it learns: {len(tried.losses) - 1} steps on this batch bring the loss from {tried.losses[0]:.3g} "
            f"to {tried.losses[-1]:.3g}"
        )


def needed(severity: float) -> float:
    """How far a trial has to bring the loss down: a batch is learned by the last layers alone, if only slowly."""
    return min(LEARNS, max(0.05, TOLD - STEEP * (severity - 0.75)))


def ranked(found: list[Finding]) -> list[Finding]:
    """By severity, but a cause stands before what follows from it."""
    order = sorted(found, key=lambda f: -f.severity if not math.isnan(f.severity) else 0.0)
    for cause, effects in CAUSES.items():
        first = next((i for i, f in enumerate(order) if f.kind == cause and f.severity >= VERDICT), None)
        if first is None:
            continue
        before = next((i for i, f in enumerate(order[:first]) if f.kind in effects), None)
        if before is not None:
            order.insert(before, order.pop(first))
    return order
