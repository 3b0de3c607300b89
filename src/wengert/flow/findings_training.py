"""Findings about training: steps that are too long or too short, and gradients that are mostly noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import tree
from wengert.diff.derivatives import value_and_grad
from wengert.errors import WengertError
from wengert.flow.finding import Case, Finding, finite
from wengert.flow.profile import Batch, checked_loss, norm
from wengert.flow.recipe import Held, copied
from wengert.flow.remedies import training
from wengert.nn.module import Module
from wengert.optim.parameters import parameters, slots

STEPS = 10  # on the one batch
REACH = 4096.0  # how many steps far the line is looked along
TOO_SHORT = 500.0  # steps in the same direction that still lower the loss
UNLEARNED = 0.6  # of the loss with targets exchanged, above which a model has learned little
NOISY = 100.0  # batches that the gradient would have to be averaged over


def loss_of(case: Case, model: Any, batch: Batch | None = None) -> float:
    """The loss of a copy, so that nothing is assigned."""
    return float(np.asarray(checked_loss(case.loss_fn(copied(model), *(batch or case.batch)))))


def exchanged(case: Case) -> float:
    """The loss when the last argument (the targets) is given to other examples: what can be had without the input."""
    batch = case.batch
    if len(batch) < 2 or not hasattr(batch[-1], "shape") or not getattr(batch[-1], "shape", ()):
        return math.nan
    order = np.random.default_rng(0).permutation(len(batch[-1]))
    try:
        return loss_of(case, case.model, (*batch[:-1], np.asarray(batch[-1])[order]))
    except (WengertError, ValueError, IndexError):
        return math.nan


def few_steps(case: Case, rate: float | None = None, steps: int = STEPS) -> list[float]:
    """The loss before each of some steps with the recipe on this batch, and after them."""
    recipe = case.recipe if rate is None else case.recipe.but(learning_rate=rate)
    model = copied(case.model)
    inner = model if isinstance(model, Module) else Held(model)
    optimizer = recipe.make_optimizer(inner)
    objective = recipe.objective()
    losses = []
    for _ in range(steps):
        loss, grads = value_and_grad(lambda m: checked_loss(objective(m, *case.batch)))(inner)
        losses.append(float(np.asarray(loss)))
        if not math.isfinite(losses[-1]):
            break
        optimizer.update(inner, grads)
    else:
        losses.append(loss_of(case, inner.held if isinstance(inner, Held) else inner))
    return losses


def along_step(case: Case) -> dict[float, float]:
    """The loss at multiples of the first step, doubled until it no longer falls."""
    model = copied(case.model)
    inner = model if isinstance(model, Module) else Held(model)
    start = [np.array(s.value, np.float64) for s in parameters(inner)]
    optimizer = case.recipe.make_optimizer(inner)
    objective = case.recipe.objective()
    _, grads = value_and_grad(lambda m: checked_loss(objective(m, *case.batch)))(inner)
    optimizer.update(inner, grads)
    ends = [np.array(s.value, np.float64) for s in parameters(inner)]
    size = 1 / (1 - float(case.recipe.settings.get("momentum", 0.0) or 0.0))
    found: dict[float, float] = {0.0: loss_of(case, case.model)}
    t, best = 1.0, found[0.0]
    while t <= REACH:
        trial = copied(case.model)
        holder = trial if isinstance(trial, Module) else Held(trial)
        for s, a, b in zip(parameters(holder), start, ends, strict=True):
            s.assign((a + t * size * (b - a)).astype(s.value.dtype))
        found[t] = loss_of(case, holder.held if isinstance(holder, Held) else holder)
        if not found[t] < best:
            break
        best, t = found[t], 2 * t
    return found


def rate_findings(case: Case) -> list[Finding]:
    """A learning rate too high or too low; only where the optimizer is known."""
    if not case.trains or not [s for s in slots(case.model) if not (s.buffer or s.frozen)]:
        return []
    losses = few_steps(case)
    rate, first = case.recipe.learning_rate, losses[0]
    chance = exchanged(case)
    bound = max(first, chance if math.isfinite(chance) else first)
    late = losses[-3:]
    broken = not all(map(math.isfinite, losses))
    if broken or min(late) > bound + 0.3 * abs(bound) + 1e-12:
        return [too_high(case, losses, broken)]
    if math.isfinite(chance) and first < UNLEARNED * chance:
        return []  # has learned: steps are meant to be short now
    line = along_step(case)
    best = min(line, key=lambda t: line[t])
    gain = (line[0.0] - losses[-1]) / max(abs(line[0.0]), 1e-30)
    if best >= TOO_SHORT and gain < 0.02:
        return [too_low(case, line, best, rate)]
    return []


def too_high(case: Case, losses: list[float], broken: bool) -> Finding:
    """Steps that raise the loss."""
    rate = case.recipe.learning_rate
    good = rate
    for _ in range(8):
        good /= 4
        trial = few_steps(case, good)
        if all(map(math.isfinite, trial)) and trial[-1] < trial[0] and max(trial) < 1.05 * trial[0] + 1e-12:
            break
    end = "is no longer finite" if broken else f"has gone from {losses[0]:.3g} to {losses[-1]:.3g}"
    count = len(losses) - 1
    cause = f"after {count} steps with learning rate {rate:.3g} on one batch the loss {end}; with {good:.2g} it falls"
    remedies = [
        training.learning_rate(good, "the loss falls at every step with it"),
        training.learning_rate(good / 4, "leaves room for batches with a larger curvature"),
        training.clip_norm(1.0, "bounds the step"),
    ]
    evidence = {"loss by step": [finite(v) for v in losses], "learning rate": rate, "learning rate that works": good}
    return Finding(
        "learning rate too high", [], cause, "learning rate", 0.97, evidence, {"learning rate": 1.0}, remedies
    )


def too_low(case: Case, line: dict[float, float], best: float, rate: float) -> Finding:
    """Steps of which hundreds could be made at once."""
    good = rate * best / 8
    cause = (
        f"along the first step the loss falls until it is {best:.0f} times as long: the rate {rate:.2g} is far "
        "too small"
    )
    evidence = {"loss at multiples of the step": {f"{t:g}": finite(v) for t, v in line.items()}, "learning rate": rate}
    remedies = [
        training.learning_rate(good, f"an eighth of the {best:.0f} steps at once"),
        training.learning_rate(good / 8, "the same, more careful"),
        training.adaptive(1e-3, "steps of the same size whatever the size of the gradient"),
    ]
    return Finding("learning rate too low", [], cause, "learning rate", 0.7, evidence, {"learning rate": 1.0}, remedies)


def noise_findings(case: Case) -> list[Finding]:
    """Gradients of two halves of the batch that have little in common."""
    scale = noise_scale(case)
    if scale is None or scale < NOISY * case.profile.examples:
        return []
    cause = (
        f"the gradients of the batch's halves differ so much that a direction would need {scale:.3g} examples; "
        f"the batch has {case.profile.examples}; expected near a minimum and for small batches"
    )
    fewer = training.learning_rate(case.recipe.learning_rate / 4, "averages over more batches")
    return [Finding("gradient noise", [], cause, "data", 0.3, {"noise scale": finite(scale, 3)}, {}, [fewer])]


def noise_scale(case: Case) -> float | None:
    """tr(Σ)/|G|² from the norms of half and whole batches (McCandlish et al. 2018, arXiv 1812.06162, appendix A)."""
    n = case.profile.examples
    if n < 4 or any(not hasattr(x, "shape") or not x.shape or x.shape[0] != n for x in tree.leaves(case.batch)):
        return None
    half = n // 2
    norms = []
    for part in (slice(0, half), slice(half, 2 * half), slice(0, 2 * half)):
        batch = tree.map(lambda x, part=part: np.asarray(x)[part], case.batch)
        try:
            _, g = value_and_grad(lambda m, b=batch: checked_loss(case.loss_fn(m, *b)))(copied(case.model))
        except WengertError:
            return None
        norms.append(sum(norm(np.asarray(x)) ** 2 for x in tree.leaves(g)))
    small, large = (norms[0] + norms[1]) / 2, norms[2]
    signal = (2 * half * large - half * small) / half
    noise = (small - large) / (1 / half - 1 / (2 * half))
    if noise <= 0:
        return 0.0
    return noise / signal if signal > 0 else None
