"""repair: diagnose, try the first remedy, verify, try the next, until the model learns."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wengert.errors import ArgumentError
from wengert.flow.recipe import Recipe, endless
from wengert.flow.report import Report
from wengert.flow.search import Attempt, Search
from wengert.flow.verify import SEEDS, STEPS
from wengert.source import at_user_line

MOST = 12  # remedies that are tried


class Record(NamedTuple):
    """What a repair did."""

    before: Report
    after: Report
    attempts: list[Attempt]
    by_heart: bool = False  # whether training lowered its own loss by far, and not that of examples kept back

    def __str__(self) -> str:
        lines = [f"{self.before.verdict} → {self.after.verdict}"]
        for a in self.attempts:
            mark = "✓" if a.kept else "·"
            left = not a.kept and a.verdict == "helped" and a.remaining not in ("", "healthy")
            lines.append(f"{mark} {a.finding}: {a.remedy} — {a.verdict}" + (f", but leaves {a.remaining}" * left))
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
        healthy = self.record.before.healthy
        if healthy and not self.attempts:
            return "healthy, and it learns: nothing to repair"
        if not healthy or self.repaired:
            return ("repaired: " if self.repaired else "not repaired: ") + str(self.record)
        by_heart = (
            "; the losses of training fell, those of examples that were kept back did not: more examples may help, or "
            "inputs and targets may have nothing to do with each other"
        )
        told = "healthy, but it learns little in so few steps" + (by_heart if self.record.by_heart else "")
        return told + "\n" + "\n".join(str(self.record).split("\n")[1:])

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
    if not chosen or steps < 2 or most < 1:
        raise ArgumentError(
            f"flow.repair: {len(chosen)} seeds, {steps} steps, {most} remedies; expected 1, 2 and 1 at least"
            + at_user_line()
        )
    search = Search(first, known, data, looked, steps, chosen, progress, executor)
    recipe, before, after, repaired = search.run(most)
    return Repair(recipe.model, Record(before, after, search.attempts, search.by_heart), recipe, repaired)
