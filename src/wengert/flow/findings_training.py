"""Findings about training: steps that are too long or too short, and gradients that are mostly noise."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from wengert import nn, tree
from wengert.diff.derivatives import value_and_grad
from wengert.errors import WengertError
from wengert.flow.finding import Case, Finding, fewer, finite
from wengert.flow.profile import RECURRENT, Batch, checked_loss, norm, rms
from wengert.flow.recipe import Held, copied
from wengert.flow.remedies import training
from wengert.nn.module import Module
from wengert.optim.parameters import parameters

STEPS = 60  # of a trial, on the one batch
EXAMPLES = 128  # of it at most
LEARNS = 0.7  # of the loss with targets exchanged, below which a model has learned to tell examples apart
REACH = 2.0**22  # how many steps far the line is looked along
THROWN, FAR = 3.0, 30.0  # times
SLACK = 1e-5  # of the loss: what is lost in rounding
TOO_SHORT = 500.0  # steps in the same direction that still lower the loss
SLIGHT = 0.05  # of the loss, that a trial takes away which is said to crawl
FASTER = (30.0, 300.0, 3e3, 3e4, 3e5, 3e6)  # times the rate
BLIND, SEEING = 0.9, 0.2  # of the loss with targets exchanged, after a trial and after a faster one
AHEAD = 20.0  # times as much has to be taken away by one of these
WHOLE, USUAL = 0.5, 0.02  # sizes of a first step relative to the weights: one that leaves little of them, a brisk one
UNLEARNED = 0.6  # of the loss with targets exchanged, above which a model has learned little
NOISY = 100.0  # batches that the gradient would have to be averaged over


def loss_of(case: Case, model: Any, batch: Batch | None = None) -> float:
    """The loss of a copy, so that nothing is assigned."""
    return float(np.asarray(checked_loss(case.loss_fn(copied(model), *(batch or case.batch)))))


def exchanged(case: Case, model: Any = None) -> float:
    """The loss when the last argument (the targets) is given to other examples: what can be had without the input."""
    batch = case.batch
    if len(batch) < 2 or not hasattr(batch[-1], "shape") or not getattr(batch[-1], "shape", ()):
        return math.nan
    targets = np.asarray(batch[-1])
    order = np.random.default_rng(0).permutation(len(targets))
    if np.array_equal(targets[order], targets):
        order = np.roll(np.arange(len(targets)), 1)
    if np.array_equal(targets[order], targets) or len(np.unique(targets)) < 2:
        return math.nan
    try:
        return loss_of(case, case.model if model is None else model, (*batch[:-1], targets[order]))
    except (WengertError, ValueError, IndexError):
        return math.nan


class Trial(NamedTuple):
    """A short training on the one batch.

    Attributes:
        losses: before each step.
        start, end: the loss over that with the targets given to other examples, before and after the steps: 1 where the
            output says nothing about an example, 0 where it says all.
    """

    losses: list[float]
    start: float
    end: float
    blank: float = math.nan  # the loss when the last layer's weights are 0: what an output that says nothing costs

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, self.losses)) and not math.isnan(self.end)

    @property
    def thrown(self) -> bool:
        """Whether the loss was thrown far above where it began and what an output that says nothing costs."""
        return self.finite and max(self.losses) > THROWN * self.usual

    @property
    def far(self) -> bool:
        """Whether it was thrown so far that no later luck excuses it; single peaks are usual with momentum."""
        return self.finite and max(self.losses) > FAR * self.usual

    @property
    def usual(self) -> float:
        """What the loss was, or what an output that says nothing costs, if that is more."""
        return max(self.losses[0], self.blank if math.isfinite(self.blank) else 0.0)

    @property
    def learns(self) -> bool:
        """Whether what the model says about an example has become its own, or the loss has fallen by far."""
        if not self.finite or self.losses[-1] > self.blank:
            return False
        if math.isfinite(self.start):
            chance = self.losses[0] / max(self.start, 1e-30)
            return self.end < LEARNS and self.losses[-1] < 1.3 * max(self.losses[0], chance)
        return self.losses[-1] < LEARNS * self.losses[0]


def trial(case: Case, rate: float | None = None, steps: int = STEPS) -> Trial:
    """Train a copy on this batch for some steps, with the recipe's settings."""
    recipe = case.recipe if rate is None else case.recipe.but(learning_rate=rate)
    start = own_share(case, case.model)
    curve = recipe.train([fewer(case.batch, EXAMPLES)], steps, executor=executor_of(case))
    losses = [float(v) for v in curve.losses]
    end = own_share(case, curve.model) if curve.finite else math.nan
    if curve.finite:
        losses.append(loss_of(case, curve.model, fewer(case.batch, EXAMPLES)))
    return Trial(losses, start, end, blank_loss(case))


def executor_of(case: Case) -> str | None:
    """What runs a trial: compiling pays where a step is long, by convolutions, many time steps or attention."""
    convolves = any(hasattr(c.module, "kernel_size") for c in case.profile.calls)
    return None if convolves or case.modules(*RECURRENT, nn.MultiheadAttention) else "numpy"


def blank_loss(case: Case) -> float:
    """The loss of the model with a last layer of zeros; NaN where there is none."""
    if case.last is None:
        return math.nan
    model = copied(case.model)
    layer = model.get_submodule(case.last) if case.last else model
    layer.weight = layer.weight * 0
    if getattr(layer, "bias", None) is not None:
        layer.bias = layer.bias * 0
    return 1.02 * loss_of(case, model)


def own_share(case: Case, model: Any) -> float:
    """The loss over that with targets exchanged between examples; infinite where that can't be said."""
    other = exchanged(case, model)
    if not math.isfinite(other) or other == 0:
        return math.inf
    return loss_of(case, model) / other if other > 0 else math.inf


def first_step(case: Case) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """All parameters before and after the first update on the batch."""
    model = copied(case.model)
    inner = model if isinstance(model, Module) else Held(model)
    start = [np.array(s.value, np.float64) for s in parameters(inner)]
    optimizer = case.recipe.make_optimizer(inner)
    objective = case.recipe.objective()
    _, grads = value_and_grad(lambda m: checked_loss(objective(m, *case.batch)))(inner)
    optimizer.update(inner, grads)
    return start, [np.array(s.value, np.float64) for s in parameters(inner)]


def relative_step(case: Case) -> float:
    """The first update's size over the weights', or over that of usual weights (1/√fan_in) where these are smaller.

    The median over matrices and kernels; 1/1000 is usual.
    """
    ratios = [0.0]
    for a, b in zip(*first_step(case), strict=True):
        if a.ndim >= 2 and np.any(a != b):
            ratios.append(rms(b - a) / max(rms(a), 1 / math.sqrt(math.prod(a.shape[1:]))))
    return float(np.median(ratios[1:] or ratios))


def along_step(case: Case) -> dict[float, float]:
    """The loss at multiples of the first step, doubled until it no longer falls."""
    start, ends = first_step(case)
    size = 1 / (1 - float(case.recipe.settings.get("momentum", 0.0) or 0.0))
    found: dict[float, float] = {0.0: loss_of(case, case.model)}
    t, best = 1.0, found[0.0]
    while t <= REACH:
        trial = copied(case.model)
        holder = trial if isinstance(trial, Module) else Held(trial)
        for s, a, b in zip(parameters(holder), start, ends, strict=True):
            s.assign((a + t * size * (b - a)).astype(s.value.dtype))
        found[t] = loss_of(case, holder.held if isinstance(holder, Held) else holder)
        if not found[t] <= best + SLACK * abs(best):
            break
        best, t = min(best, found[t]), 2 * t
    return found


def rate_findings(case: Case, tried: Trial) -> list[Finding]:
    """A learning rate too high or too low, where the optimizer is known and the model didn't learn in the trial."""
    rate, losses = case.recipe.learning_rate, tried.losses
    size = relative_step(case)
    if size >= WHOLE:
        slower = trial(case, rate * USUAL / size)
        if slower.learns and not slower.thrown:
            return [too_high(case, tried, rate * USUAL / size, slower, size)]
    if tried.far and tried.learns:
        for times in (10.0, 30.0):
            slower = trial(case, rate / times)
            if slower.learns and not slower.thrown:
                return [too_high(case, tried, rate / times, slower)]
    if tried.finite and (tried.learns or (tried.start < UNLEARNED and tried.end < UNLEARNED)):
        return []
    worse = not tried.finite or tried.far or losses[-1] > 1.3 * max(losses[0], 1e-12)
    for times in (10.0, 100.0, 1e3, 1e4, 1e5):
        slower = trial(case, rate / times)
        if slower.learns or (worse and slower.finite and slower.losses[-1] < 0.95 * slower.losses[0]):
            return [too_high(case, tried, rate / times, slower)]
        if not worse and times >= 100:
            break
    if worse or tried.thrown:
        return []
    line = along_step(case)
    best = min(line, key=lambda t: line[t])
    done = losses[0] - losses[-1]
    crawls, blind = done < SLIGHT * abs(losses[0]), tried.end > BLIND
    for times in FASTER if crawls or blind else ():
        if times > 100 * best:  # far beyond where the first step leads uphill
            break
        faster = trial(case, rate * times)
        more = faster.losses[0] - faster.losses[-1] > AHEAD * max(done, SLACK * abs(losses[0]))
        if not faster.finite or faster.losses[-1] > losses[-1]:
            continue
        if (crawls and more) or (blind and faster.end < SEEING):
            return [too_low(case, line, best if best >= TOO_SHORT else 8 * times, tried, rate * times, faster)]
    return []


def too_high(case: Case, tried: Trial, good: float, slower: Trial, size: float = 0.0) -> Finding:
    """Steps that raise the loss, or throw the model to where nothing is learned."""
    rate, losses = case.recipe.learning_rate, tried.losses
    end = "is no longer finite" if not tried.finite else f"has gone from {losses[0]:.3g} to {losses[-1]:.3g}"
    if tried.thrown and losses[-1] < losses[0]:
        end = f"has been thrown from {losses[0]:.3g} to {max(losses):.3g} on the way"
    cause = (
        f"after {len(losses) - 1} steps with learning rate {rate:.3g} on one batch the loss {end}; with {good:.2g} it "
        f"goes from {slower.losses[0]:.3g} to {slower.losses[-1]:.3g}"
    )
    if size:
        cause = f"the first step is {size:.2g} times as large as the weights themselves; {cause}"
    remedies = [
        training.learning_rate(good, "the loss falls with it"),
        training.learning_rate(good / 5, "leaves room for batches with a larger curvature"),
        training.learning_rate(good * 3, "as far as it may go"),
        training.warm_up(100, "lets curvature fall before steps get long"),
        training.clip_norm(1.0, "bounds the step"),
    ]
    shown = losses[:: max(1, len(losses) // 10)]
    evidence = {"loss by step": [finite(v) for v in shown], "learning rate": rate, "learning rate that works": good}
    return Finding(
        "learning rate too high", [], cause, "learning rate", 0.97, evidence, {"learning rate": 1.0}, remedies
    )


def too_low(
    case: Case, line: dict[float, float], best: float, tried: Trial, fast: float, faster: Trial
) -> Finding:  # fmt: skip
    """Steps that get nowhere, where far longer ones do."""
    rate, steps = case.recipe.learning_rate, len(tried.losses) - 1
    good = rate * best / 8
    sane = 3e-3 if "Adam" in case.recipe.optimizer.__name__ else math.inf
    cause = (
        f"{steps} steps with rate {rate:.2g} bring the loss from {tried.losses[0]:.4g} to {tried.losses[-1]:.4g}, with "
        f"{fast:.2g} to {faster.losses[-1]:.4g}; along the first step it falls until that is {best:.3g} times as long"
    )
    evidence = {"learning rate": rate, "loss at multiples of the step": {f"{t:g}": finite(v) for t, v in line.items()}}
    remedies = [
        training.learning_rate(min(good, sane), "an eighth of the steps that could be made at once"),
        training.learning_rate(min(good, sane) / 8, "the same, more careful"),
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
    return noise / (signal if signal > 0 else max(large, 1e-300))  # which is too large: at least so many, then
