"""Proof: the model as it was and the model with a remedy, trained side by side for a short, seeded while."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.errors import ArgumentError, NonFiniteError
from wengert.flow.finding import fewer
from wengert.flow.learning import LEARNS, constant_loss, learned, split
from wengert.flow.profile import Batch, profile
from wengert.flow.recipe import Curve, Recipe, endless
from wengert.flow.remedies.pairing import Followed, Logits
from wengert.source import at_user_line
from wengert.train.progress import Progress

STEPS = 100
SEEDS = 3
EXAMPLES = 16  # by which the gradient's profile is compared
CLEAR = 2.0  # standard errors by which a difference is clear


class Spread(NamedTuple):
    """A number over the seeds."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Any) -> Spread:
        v = np.asarray(values, float)
        if not np.isfinite(v).all():
            return cls(float(v.mean()) if len(v) else math.nan, math.nan)
        return cls(float(v.mean()), float(v.std(ddof=1)) if len(v) > 1 else 0.0)

    def __str__(self) -> str:
        return f"{self.mean:.4g}" if not self.deviation > 0 else f"{self.mean:.4g} ± {self.deviation:.2g}"


class Pair(NamedTuple):
    """A number without and with the remedy."""

    before: Spread
    after: Spread

    def __str__(self) -> str:
        return f"{self.before} → {self.after}"


class Verification(NamedTuple):
    """What came out of training both for a short while.

    Attributes:
        helped: whether the remedy made a clear difference.
        criterion: decades by which the gradient's norm changes between layers with weights at most, averaged over the
            start and the end of a run; NaN where there are no layers to compare.
        loss: the mean loss over the last fifth of a run.
        learned: the share of what a constant output costs that is gone after a run, on examples that were kept back
            (`learning.py`): 0 where the model tells nothing apart, 1 where nothing is left to learn.
        before, after: the loss at each step, a row for each seed; runs that failed end in NaN.
        steps: of each run. reason: the verdict's, in a sentence.
    """

    helped: bool
    criterion: Pair
    loss: Pair
    before: np.ndarray
    after: np.ndarray
    steps: int
    reason: str
    learned: Pair

    @property
    def verdict(self) -> str:
        """ "helped" or "did not help"."""
        return "helped" if self.helped else "did not help"

    def __str__(self) -> str:
        text = f"{self.verdict}: {self.reason}\n  loss after {self.steps} steps: {self.loss}"
        text += f"\n  learned, as a share of what a constant output costs: {self.learned}"
        if math.isfinite(self.criterion.before.mean) or math.isfinite(self.criterion.after.mean):
            text += f"\n  gradient between layers differs by up to {self.criterion} decades"
        return text + f"\n  ({len(self.before)} paired runs with different seeds)"

    def data(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "steps": self.steps,
            "criterion": {"before": plain(self.criterion.before.mean), "after": plain(self.criterion.after.mean)},
            "loss": {"before": [[plain(v) for v in r] for r in self.before],
                     "after": [[plain(v) for v in r] for r in self.after]},
            "learned": {"before": plain(self.learned.before.mean), "after": plain(self.learned.after.mean)},
            "final": {"before": plain(self.loss.before.mean), "after": plain(self.loss.after.mean)},
        }  # fmt: skip


def plain(x: float) -> float | None:
    """A number for JSON; None for one that isn't finite."""
    return float(x) if math.isfinite(x) else None


def verify(
    model: Any,
    better: Any,
    loss_fn: Any = None,
    batches: Any = None,
    *,
    optimizer: Any = None,
    steps: int = STEPS,
    seeds: int | Sequence[int] = SEEDS,
    progress: bool | None = None,
    executor: str | None = None,
) -> Verification:
    """Train `model` and `better` side by side, from where they stand, and say whether `better` learns better.

    Both see the same batches in the same order, once for each seed; a seed also sets random numbers inside the models.
    Neither is changed. A remedy has helped if the loss of the last fifth of the runs is lower by more than
    two standard errors of the paired differences and by more than one percent, or if training failed without it.
    Where the remedy exchanges the loss, the numbers can't be compared: it has helped if the model then learns.
    A fifth of the data (of arrays, or of a list of batches) is kept back, to say how much was learned.

    Args:
        model, better: models, or `flow.Recipe`s with training settings of their own.
        loss_fn: `loss_fn(model, *batch)`.
        batches: what `data.batches` takes: a tuple of arrays (in batches of 32), a loader, ….
        optimizer: of both, where they are no recipes: a class of `wg.optim`, or an optimizer whose settings are taken;
            Adam with learning rate 1e-3 by default.
        steps, seeds: how many updates, and how many pairs of runs (or which seeds).
        progress: whether to show a progress bar; None: if the error output is a terminal.

    Example:
        >>> better = report.findings[0].remedies[0].apply(model)
        >>> print(flow.verify(model, better, loss_fn, (x, y)))
    """
    if batches is None:
        raise ArgumentError(f"flow.verify needs batches to train on{at_user_line()}")
    first = Recipe.of(model, loss_fn, None if isinstance(model, Recipe) else optimizer)
    second = Recipe.of(better, loss_fn, None if isinstance(better, Recipe) else optimizer)
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not chosen or steps < 2:
        raise ArgumentError(
            f"flow.verify: {len(chosen)} seeds, {steps} steps; expected 1 and 2 at least{at_user_line()}"
        )
    shown = Shown(progress, 2 * steps * len(chosen))
    first.objective(), second.objective()  # or an error
    data, kept = split(batches)
    constants = [constant_loss(r.model, r.loss_fn, kept) for r in (first, second)]  # type: ignore[arg-type]
    before = [run(first, data, steps, s, shown, executor) for s in chosen]
    after = [run(second, data, steps, s, shown, executor) for s in chosen]
    shown.end()
    shares = [
        [learned(c.model, r.loss_fn, kept, constant) if c.finite else -math.inf for c in curves]  # type: ignore[arg-type]
        for r, constant, curves in zip((first, second), constants, (before, after), strict=True)
    ]
    return judge(first, second, before, after, next(endless(data)), steps, (shares[0], shares[1]))


def run(recipe: Recipe, batches: Any, steps: int, seed: int, shown: Any, executor: str | None = None) -> Curve:
    """One short run."""
    try:
        return recipe.train(batches, steps, seed, shown, executor)
    except NonFiniteError:
        return Curve(np.array([math.nan]), recipe.model)


def judge(
    first: Recipe, second: Recipe, before: list[Curve], after: list[Curve], batch: Batch, steps: int,
    shares: tuple[Sequence[float], Sequence[float]], most: int | None = None,
) -> Verification:  # fmt: skip
    """What two sets of paired runs say; `shares` are what they learned, `most` for how many gradients are looked at."""
    ends = np.array([c.end() for c in before]), np.array([c.end() for c in after])
    loss = Pair(Spread.of(ends[0]), Spread.of(ends[1]))
    batch = fewer(batch, EXAMPLES)
    steep = Pair(Spread.of(steepness(first, batch, before[:most])), Spread.of(steepness(second, batch, after[:most])))
    told = Pair(Spread.of(shares[0]), Spread.of(shares[1]))
    helped, reason = compared(first, second, before, after, shares[1])
    old, new = (np.array([_padded(c.losses, steps) for c in curves]) for curves in (before, after))
    return Verification(helped, steep, loss, old, new, steps, reason, told)


def compared(
    first: Recipe, second: Recipe, before: list[Curve], after: list[Curve], shares: Sequence[float]
) -> tuple[bool, str]:
    """Whether the second recipe is clearly better, and why; `shares` are what it has learned."""
    ends = np.array([c.end() for c in before]), np.array([c.end() for c in after])
    if first.loss_fn is second.loss_fn and _end_of(first.model) is _end_of(second.model):
        return _compared(*ends)
    return _other_loss(ends[1], min(shares, default=-math.inf))


def _end_of(model: Any) -> type | None:
    """What was put behind a model, so that its loss means something else."""
    return type(model) if isinstance(model, (Followed, Logits)) else None


def _other_loss(after: np.ndarray, share: float) -> tuple[bool, str]:
    """Two losses of different kinds can't be compared: what has been learned by the new one is judged alone."""
    if not np.isfinite(after).all():
        return _compared(np.full(len(after), math.inf), after)
    if share >= LEARNS:
        return True, f"judged by the loss that fits, {share:.0%} of what a constant output costs is gone"
    return False, f"judged by the loss that fits, no more than {max(share, 0.0):.0%} of what a constant costs is gone"


def _compared(before: np.ndarray, after: np.ndarray) -> tuple[bool, str]:
    failed, fails = int((~np.isfinite(before)).sum()), int((~np.isfinite(after)).sum())
    if fails:
        if fails < failed:
            return False, f"{fails} of {len(after)} runs still end in numbers that aren't finite"
        return False, f"with the remedy {fails} of {len(after)} runs end in numbers that aren't finite"
    if failed:
        return True, f"without the remedy {failed} of {len(before)} runs end in numbers that aren't finite"
    gains = before - after
    gain = float(gains.mean())
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    share = gain / max(abs(float(before.mean())), 1e-30)
    if gain > CLEAR * error and share > 0.01:
        return True, f"the loss ends {share:.0%} lower"
    if gain < -CLEAR * error and share < -0.01:
        return False, f"the loss ends {-share:.0%} higher"
    return False, f"the loss ends no lower than by chance ({gain:+.3g}, standard error {error:.2g})"


def steepness(recipe: Recipe, batch: tuple[Any, ...], curves: list[Curve]) -> list[float]:
    """For each run, by how many decades the gradient's norm changes over the layers at most, start and end averaged."""

    def steep(model: Any) -> float:
        decades = profile(model, recipe.loss_fn, batch).decades()  # type: ignore[arg-type]
        return max((abs(d) for d in decades), default=math.nan)

    start = steep(recipe.model)
    return [(start + steep(c.model)) / 2 for c in curves]


def _padded(losses: np.ndarray, steps: int) -> np.ndarray:
    return np.concatenate([losses, np.full(max(0, steps - len(losses)), np.nan)])


class Shown:
    """The bar of all runs together."""

    def __init__(self, progress: bool | None, total: int):
        self.bar, self.total, self.done = Progress(progress), total, 0
        self.bar.begin(0)
        self.loss = math.nan

    def __call__(self, step: int, loss: float) -> None:
        self.done += 1
        self.loss = loss
        if self.bar.due():
            self.bar.draw("verifying", self.done, self.total or None, {"loss": loss})

    def end(self) -> None:
        self.bar.end("verified", self.done, {})
