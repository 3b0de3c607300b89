"""repair: diagnose, try the first remedy, verify, try the next, until the model learns."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.errors import ArgumentError, WengertError
from wengert.flow.diagnose import findings_of
from wengert.flow.finding import Case
from wengert.flow.recipe import Curve, Recipe, endless
from wengert.flow.remedies.remedy import Remedy
from wengert.flow.report import Report
from wengert.flow.verify import SEEDS, STEPS, Verification, _Shown, judge, run
from wengert.source import at_user_line

MOST = 12  # remedies that are tried
PATIENCE = 4  # times as many steps, where a remedy's effect on the loss takes time
ENOUGH = 0.3  # by which share of the loss a mended model has to get ahead to be taken at once


class Attempt(NamedTuple):
    """One remedy that was tried."""

    finding: str
    remedy: str
    reason: str
    verification: Verification | None
    verdict: str  # "helped", "did not help", or why it could not be applied
    remaining: str  # the verdict on the mended model
    kept: bool


class Record(NamedTuple):
    """What a repair did."""

    before: Report
    after: Report
    attempts: list[Attempt]

    def __str__(self) -> str:
        lines = [f"{self.before.verdict} → {self.after.verdict}"]
        for a in self.attempts:
            mark = "✓" if a.kept else "·"
            lines.append(f"{mark} {a.finding}: {a.remedy} — {a.verdict}")
            if a.verification is not None:
                lines.append(f"    loss {a.verification.loss}; {a.verification.reason}")
        return "\n".join(lines)


class Repair(NamedTuple):
    """`model, record = flow.repair(…)`, with more by name.

    Attributes:
        model: the mended model, at its start (verification trains copies).
        record: what was found, tried and kept.
        recipe: the mended model with its training settings.
        repaired: whether the mended model is called healthy, or learns, in a verified way, where the given one didn't.
    """

    model: Any
    record: Record
    recipe: Recipe
    repaired: bool

    @property
    def attempts(self) -> list[Attempt]:
        return self.record.attempts

    def __str__(self) -> str:
        return ("repaired: " if self.repaired else "not repaired: ") + str(self.record)

    def data(self) -> dict[str, Any]:
        """As plain data for JSON."""
        tried = [
            {"finding": a.finding, "remedy": a.remedy, "reason": a.reason, "kept": a.kept, "verdict": a.verdict,
             **({} if a.verification is None else {k: v for k, v in a.verification.data().items() if k != "verdict"})}
            for a in self.attempts
        ]  # fmt: skip
        after = self.record.after
        return {"repaired": self.repaired, "attempts": tried, "settings": self.recipe.describe(), "after": after.data()}

    def save(
        self, path: str | os.PathLike[str], metric: tuple[str, float, float] | None = None, training: Any = None
    ) -> None:
        """Write the report of the given model, with this repair: `.html`, `.json` or `.txt`, as `Report.save`.

        Args:
            path: of the file.
            metric: a name with a number before and after, to stand on the page: `("test accuracy", 0.1, 0.98)`.
            training: the `flow.Monitor` that watched the mended model's training, or its run folder.
        """
        report = self.record.before
        held = report.repair, report.training
        report.repair = _Saved(self, metric)
        report.training = held[1] if training is None else training
        try:
            report.save(path)
        finally:
            report.repair, report.training = held


class _Saved(NamedTuple):
    """A repair with the metric that is shown beside it."""

    repair: Repair
    metric: tuple[str, float, float] | None

    def data(self) -> dict[str, Any]:
        data = self.repair.data()
        if self.metric is not None:
            data["metric"] = dict(zip(("name", "before", "after"), self.metric, strict=True))
        return data

    def __str__(self) -> str:
        return str(self.repair) + (
            "" if self.metric is None else f"\n{self.metric[0]}: {self.metric[1]:.4g} → {self.metric[2]:.4g}"
        )


def repair(
    model: Any,
    loss_fn: Callable[..., Any] | None = None,
    *batch: Any,
    batches: Any = None,
    optimizer: Any = None,
    steps: int = STEPS,
    seeds: int | Sequence[int] = SEEDS,
    most: int = MOST,
    progress: bool | None = None,
    executor: str | None = None,
) -> Repair:
    """Mend a model: diagnose it, try the remedies in turn, keep what is verified to help, until it is healthy.

    Args:
        model: a module, a tree of arrays, or a `flow.Recipe`.
        loss_fn: `loss_fn(model, *batch)`.
        batch: one batch (or a whole data set as arrays), to diagnose with.
        batches: what to train on while verifying, as in `flow.verify`; the arrays of `batch` if not given.
        optimizer: that of the model; with it, the learning rate is looked at too.
        steps, seeds: of each verification.
        most: how many remedies to try.
        progress: whether to show a progress bar; None: if the error output is a terminal.

    Returns:
        A `Repair`, which can be taken apart as `better, record, recipe, repaired`.

    Example:
        >>> better = flow.repair(model, loss_fn, x, y).model
    """
    known = isinstance(model, Recipe) or optimizer is not None
    first = Recipe.of(model, loss_fn, None if isinstance(model, Recipe) else optimizer)
    if first.loss_fn is None:
        raise ArgumentError(f"flow.repair needs a loss function: flow.repair(model, loss_fn, x, y){at_user_line()}")
    if batches is None and not batch:
        raise ArgumentError(f"flow.repair needs a batch, or batches=…, to look at and to train on{at_user_line()}")
    data = batch if batches is None else batches
    looked = tuple(batch) if batches is not None and batch else next(endless(data))
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    search = _Search(first, known, data, looked, steps, chosen, progress, executor)
    return search.run(most)


class _Search:
    """The state of a repair: the best recipe so far, and how it trains."""

    def __init__(
        self, first: Recipe, known: bool, data: Any, batch: tuple[Any, ...], steps: int, seeds: list[int],
        progress: bool | None, executor: str | None,
    ):  # fmt: skip
        self.first, self.best, self.known = first, first, known
        self.data, self.batch, self.steps, self.seeds = data, batch, steps, seeds
        self.progress, self.executor = progress, executor
        self.attempts: list[Attempt] = []
        self.patient = False  # whether longer runs have been tried
        self.longer: list[Curve] = []  # those of the given model

    def report(self, recipe: Recipe) -> Report:
        case = Case(recipe, self.batch, self.known)
        return Report(case, findings_of(case))

    def curves(self, recipe: Recipe) -> list[Curve]:
        shown = _Shown(self.progress, self.steps * len(self.seeds))
        found = [run(recipe, self.data, self.steps, s, shown, self.executor) for s in self.seeds]
        shown.end()
        return found

    def run(self, most: int) -> Repair:
        before = report = self.report(self.first)
        if before.healthy:
            return Repair(self.first.model, Record(before, before, []), self.first, True)
        try:
            start = current = self.curves(self.first)
        except ArgumentError:  # nothing can be trained
            still = Curve(np.full(self.steps, before.loss), self.first.model)
            start = current = [still] * len(self.seeds)
        tried: set[str] = set()
        while not (report.healthy and _falls(current)) and len(self.attempts) < most:
            step = self.next_step(report, current, tried, most)
            if step is None:
                break
            self.best, current, report = step
        learned = _clearly_better(self.longer or start, current)
        repaired = bool(self.attempts) and any(a.kept for a in self.attempts) and (report.healthy or learned)
        return Repair(self.best.model, Record(before, report, self.attempts), self.best, repaired and learned)

    def next_step(
        self, report: Report, current: list[Curve], tried: set[str], most: int
    ) -> tuple[Recipe, list[Curve], Report] | None:
        """The first remedy that makes the model healthy, or else the one that helped most."""
        options: list[tuple[tuple[Any, ...], int, Recipe, list[Curve], Report]] = []
        for finding in report.faults:
            for remedy in finding.remedies:
                if remedy.name in tried or len(self.attempts) >= most:
                    continue
                tried.add(remedy.name)
                outcome = self.attempt(finding.kind, remedy, current)
                if outcome is None:
                    continue
                recipe, curves, after, gain = outcome
                good = after.healthy and _falls(curves)
                if good and gain > ENOUGH:
                    self.keep()
                    return recipe, curves, after
                rank = (good, -_end(curves))
                options.append((rank, len(self.attempts) - 1, recipe, curves, after))
        if not options and not self.patient:
            return self.patiently(report)
        if not options:
            return None
        _, number, recipe, curves, after = max(options, key=lambda o: o[:2])
        self.keep(number)
        return recipe, curves, after

    def patiently(self, report: Report) -> tuple[Recipe, list[Curve], Report] | None:
        """Longer runs for those remedies whose finding was gone, though the loss didn't show it yet."""
        self.patient, self.steps = True, PATIENCE * self.steps
        current, promising = self.curves(self.best), [a for a in self.attempts if a.remaining == "healthy"]
        for finding in report.faults:
            for remedy in finding.remedies:
                if remedy.name not in [a.remedy for a in promising][:3]:
                    continue
                outcome = self.attempt(finding.kind, remedy, current)
                if outcome is not None:
                    self.keep()
                    self.longer = current
                    return outcome[:3]
        return None

    def keep(self, number: int = -1) -> None:
        self.attempts[number] = self.attempts[number]._replace(kept=True)

    def attempt(
        self, kind: str, remedy: Remedy, current: list[Curve]
    ) -> tuple[Recipe, list[Curve], Report, float] | None:
        """Try one remedy on the best recipe so far; None if it doesn't help."""
        try:
            recipe = remedy.change(self.best)
            after = self.report(recipe)
            curves = self.curves(recipe)
            verification = judge(self.best, recipe, current, curves, self.data, self.steps)
        except WengertError as error:
            why = "can't be applied: " + str(error).split("\n", 1)[0]
            self.attempts.append(Attempt(kind, remedy.name, remedy.reason, None, why, "", False))
            return None
        self.attempts.append(
            Attempt(kind, remedy.name, remedy.reason, verification, verification.verdict, after.verdict, False)
        )
        if not verification.helped:
            return None
        return recipe, curves, after, _gain(current, curves)


def _gain(before: list[Curve], after: list[Curve]) -> float:
    """The share of the loss that is gone at the end of the runs; 1 where there was no end before."""
    old, new = _end(before), _end(after)
    if not math.isfinite(new):
        return -math.inf
    if not math.isfinite(old):
        return 1.0
    return (old - new) / max(abs(old), 1e-30)


def _clearly_better(before: list[Curve], after: list[Curve]) -> bool:
    """Whether the mended model ends lower than the given one, and lower than it began itself."""
    if _gain(before, after) <= 0.01:
        return False
    return _falls(after)


def _end(curves: list[Curve]) -> float:
    """The mean loss at the end of the runs."""
    return sum(c.end() for c in curves) / len(curves)


def _falls(curves: list[Curve]) -> bool:
    """Whether every run ends lower than it began."""
    return all(c.finite and c.end() < c.losses[: max(2, len(c.losses) // 20)].mean() for c in curves)
