"""The search of a repair: remedies tried one by one, and on top of each other, until the model learns.

Each candidate begins with one short run; what shows nothing there gets no more time. What looks promising is trained
with the other seeds, diagnosed and judged against what it was put on. A model that learns (`learning.SETTLED`) and is
called healthy ends the search. Otherwise the best so far becomes the base of the next round, with longer runs if
nothing helped in short ones; at the end come settings that no finding asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from wengert.errors import WengertError
from wengert.flow.diagnose import HARD, findings_of
from wengert.flow.finding import Case
from wengert.flow.findings_depth import mending
from wengert.flow.learning import LEARNS, SETTLED, constant_loss, learned, split
from wengert.flow.recipe import Curve, Recipe, Run
from wengert.flow.remedies import training
from wengert.flow.remedies.remedy import Remedy, applies
from wengert.flow.report import Report
from wengert.flow.verify import Shown, Verification, compared, judge

PROMISING = 0.02  # by which the share has to be ahead after the first short run
PATIENCE = 4  # times as many steps, where nothing helps in short runs
WAITING = 4  # candidates that are given the longer runs
RECENT, SLIP = 10, 0.2  # losses that are averaged, and by how much they may have risen since the best look
STEADY = 0.1  # by which the worst run has to learn more, where the mean loss says nothing clear
AT_FIRST = "helped in short runs only"
BY_HEART = 0.6  # of the first loss, below which a training's own loss has fallen by far
FACTORS = (0.1, 10.0, 0.3, 3.0, 0.01, 100.0)  # of the learning rate, in the order in which they are tried


class Attempt(NamedTuple):
    """One remedy that was tried."""

    finding: str
    remedy: str
    reason: str
    verification: Verification | None
    verdict: str  # "helped", "did not help", or why it could not be applied
    remaining: str  # the verdict on the mended model; "" where it was not looked at any more
    kept: bool


class Candidate(NamedTuple):
    """A remedy with the finding that it is for, and the number of its attempt."""

    kind: str
    remedy: Remedy
    number: int
    runs: Training
    report: Report | None = None


class Training:
    """The runs of one recipe, one for each seed, that can be gone on with."""

    def __init__(self, recipe: Recipe, search: Search):
        self.recipe, self.search = recipe, search
        self.runs: list[Run] = []
        self.told: dict[int, dict[int, float]] = {}  # the share of each run, by its length

    def reach(self, steps: int, seeds: int | None = None) -> Training:
        """Train until each of the first so many seeds has made so many steps."""
        wanted = self.search.seeds if seeds is None else self.search.seeds[:seeds]
        for seed in wanted[len(self.runs) :]:
            self.runs.append(Run(self.recipe, self.search.data, seed, self.search.executor))
        for i, run in enumerate(self.runs[: len(wanted)]):
            while len(run.losses) < steps and not run.failed:
                done = len(run.losses)
                run.go(min(self.search.look, steps - len(run.losses)), self.search.shown)
                self.told.setdefault(i, {})[len(run.losses)] = self.search.share(self.recipe, run)
                if len(run.losses) == done:  # no more batches
                    break
        return self

    @property
    def curves(self) -> list[Curve]:
        return [run.curve() for run in self.runs]

    @property
    def failed(self) -> bool:
        return any(run.failed for run in self.runs)

    def by_heart(self) -> bool:
        """Whether every run lowered the loss it trains on, and learned nothing that holds for other examples."""
        ends = [(r.losses[0], float(np.mean(r.losses[-RECENT:]))) for r in self.runs if not r.failed]
        fell = all(first > 0 and end < BY_HEART * first for first, end in ends)
        return bool(ends) and fell and self.learned() < LEARNS

    @property
    def length(self) -> int:
        """Steps of the first run."""
        return len(self.runs[0].losses)

    def shares(self) -> list[float]:
        """The share of the constant's loss that each run has taken away."""
        return [self._share(i) for i in range(len(self.runs))]

    def _share(self, i: int) -> float:
        """The largest of the looks: what is learned by heart after that is no loss; what training lost again is."""
        run, told = self.runs[i], self.told.get(i, {})
        if run.failed or not told:
            return -math.inf
        best = max(told, key=told.__getitem__)
        around, end = (np.mean(run.losses[max(0, k - RECENT) : k]) for k in (best, len(run.losses)))
        return told[best] if end <= around + SLIP * abs(around) else told[max(told)]

    def learned(self, seeds: int | None = None) -> float:
        """The least share of the constant's loss that is gone, over the runs so far."""
        return min(map(self._share, range(len(self.runs[:seeds]))), default=-math.inf)


class Search:
    """The state of a repair: the base that remedies are put on, and all that was tried."""

    def __init__(
        self, first: Recipe, known: bool, data: Any, batch: tuple[Any, ...], steps: int, seeds: list[int],
        progress: bool | None, executor: str | None,
    ):  # fmt: skip
        self.first, self.known, self.batch = first, known, batch
        self.data, self.kept_back = split(data)
        self.steps, self.look, self.seeds, self.executor = steps, steps, seeds, executor
        self.attempts: list[Attempt] = []
        self.kept: list[str] = []
        self.shown = Shown(progress, 0)
        self.constants: dict[Any, float] = {}
        self.patient = self.by_heart = False

    def report(self, recipe: Recipe) -> Report:
        case = Case(recipe, self.batch, self.known)
        return Report(case, findings_of(case))

    def share(self, recipe: Recipe, run: Run | None = None) -> float:
        """The share of the constant's loss that a recipe's model has taken away, at first or after a run."""
        if run is not None and run.failed:
            return -math.inf
        key = recipe.loss_fn, type(recipe.model)
        if key not in self.constants:
            self.constants[key] = constant_loss(recipe.model, recipe.loss_fn, self.kept_back)  # type: ignore[arg-type]
        return learned(recipe.model if run is None else run.model, recipe.loss_fn, self.kept_back, self.constants[key])  # type: ignore[arg-type]

    def run(self, most: int) -> tuple[Recipe, Report, Report, bool]:
        """The mended recipe, the reports before and after, and whether it learns where the given one didn't."""
        before = report = self.report(self.first)
        start = base = Training(self.first, self)
        if before.healthy and self.share(self.first) >= SETTLED:
            return self.first, before, Report(before.case, before.findings), True
        start.reach(self.steps)
        if before.healthy and self.goes_on(start):
            return self.first, before, Report(before.case, before.findings), True
        self.by_heart = start.by_heart()
        while len(self.attempts) < most and not (self.kept and report.healthy and base.learned() >= SETTLED):
            step = self.round(report, base, most)
            if step is None:
                break
            base, report = step.runs, step.report or report
            self.worst_first(base, start)
        if not self.kept:
            return self.first, before, Report(before.case, before.findings), False
        start.reach(base.length)
        better, _ = compared(start.recipe, base.recipe, start.curves, base.curves, base.shares())
        better = better or self.steadier(start, base)
        return base.recipe, before, report, better and base.learned() >= LEARNS

    def worst_first(self, base: Training, start: Training) -> None:
        """The seed with which least is learned comes first: by it candidates are picked."""
        shares = base.shares()
        order = sorted(range(len(shares)), key=shares.__getitem__)
        self.seeds = [self.seeds[i] for i in order]
        for t in (base, start.reach(0)):
            t.runs, t.told = [t.runs[i] for i in order], {k: t.told[i] for k, i in enumerate(order)}

    def goes_on(self, start: Training) -> bool:
        """Whether a model that is called healthy is left alone: it learns, slowly perhaps where settings are ours."""
        if start.learned() >= LEARNS:
            return True
        shares = start.reach(PATIENCE * self.steps).shares()
        if self.known:
            return min(shares) >= LEARNS / 2
        return min(shares) > self.share(self.first) + PROMISING

    def round(self, report: Report, base: Training, most: int) -> Candidate | None:
        """The first candidate that learns and is called healthy, or else the best of those that help."""
        helped: list[Candidate] = []
        waiting: list[Candidate] = []
        base.reach(self.steps)
        for kind, remedy in self.candidates(report, base):
            if len(self.attempts) >= most:
                break
            found = self.attempt(kind, remedy, base)
            if found is None:
                continue
            done = self.judge(found, base) if self.promising(found.runs, base) else None
            if kind in HARD and not found.runs.failed:  # the fault is certain, and so is its remedy
                if done is None or not (self.settled(done) or self.patient):
                    done = self.longer(done or found, base)
                if done.report is None and self.gone(found, base):
                    done = self.needed(found)
                if done.report is not None:
                    return self.keep(done)
                continue
            if done is None:
                waiting.append(found)
                continue
            if not self.settled(done) and done.report is not None and done.report.healthy and not self.patient:
                done = self.longer(done, base)
                if done.runs.learned() >= LEARNS:
                    return self.keep(done)
            if self.settled(done):
                return self.keep(done)
            helped.append(done)
        if not helped:
            return None if self.patient else self.patiently(waiting, base)
        best = max(helped, key=self.rank)
        if not self.patient:
            best = self.longer(best, base)
            self.patient, self.steps = True, PATIENCE * self.steps
        return self.keep(best)

    def candidates(self, report: Report, base: Training) -> Iterator[tuple[str, Remedy]]:
        """What the findings advise; then what no finding asked for."""
        tried = set(self.kept)
        kind = report.verdict if report.faults else "learns too little"
        for finding in report.faults:
            for remedy in finding.remedies:
                if remedy.name not in tried:
                    tried.add(remedy.name)
                    yield finding.kind, remedy
        if any(f.kind in HARD and not any(applies(r) for r in f.remedies) for f in report.faults):
            return  # nothing trains around a fault that only a changed line takes away
        if any(f.source == "learning rate" for f in report.faults) or not report.faults or self.kept:
            found = self.best_rate(base)
            if found is not None and found.name not in tried:
                yield kind, found
        if self.kept and report.healthy and base.learned() >= LEARNS:
            return  # it learns, though slowly: enough
        general = [training.clip_norm(1.0, "bounds what single steps do")]
        if "Adam" not in base.recipe.optimizer.__name__:
            general.insert(0, training.adaptive(1e-3, "steps of the same size whatever the size of the gradient"))
        if report.case.is_module and report.case.layers:
            general += mending(report.case, "depth", small=True)
        yield from ((kind, r) for r in general if r.name not in tried)

    def best_rate(self, base: Training) -> Remedy | None:
        """Another learning rate, with which short runs learn more than with this one."""
        rate, best, found = base.recipe.learning_rate, base.learned(1) + PROMISING, None
        for factor in FACTORS:
            share = Training(base.recipe.but(learning_rate=rate * factor), self).reach(self.steps, 1).learned()
            if share > best:
                best, found = share, factor
            if share >= SETTLED:
                break
        if found is None:
            return None
        why = f"of {len(FACTORS)} rates, tried in short runs, the one that learns most"
        return training.learning_rate(rate * found, why)

    def attempt(self, kind: str, remedy: Remedy, base: Training) -> Candidate | None:
        """One short run with a remedy; None where it can't be applied."""
        try:
            runs = Training(remedy.change(base.recipe), self).reach(self.steps, 1)
        except WengertError as error:
            why = "can't be applied: " + str(error).split("\n", 1)[0].removeprefix(remedy.name + ": ")
            self.attempts.append(Attempt(kind, remedy.name, remedy.reason, None, why, "", False))
            return None
        self.attempts.append(Attempt(kind, remedy.name, remedy.reason, None, "did not help", "", False))
        return Candidate(kind, remedy, len(self.attempts) - 1, runs)

    def promising(self, runs: Training, base: Training) -> bool:
        """Whether the first run is ahead of the base's: by what it has learned, or by the loss in training."""
        if runs.learned(1) > max(base.learned(1), -1.0) + PROMISING:
            return True
        ends = [(t.curves[0].end() if len(t.runs[0].losses) == runs.length else math.nan) for t in (base, runs)]
        same = runs.recipe.loss_fn is base.recipe.loss_fn
        return same and ends[1] < ends[0] - PROMISING * abs(ends[0]) and runs.learned(1) >= base.learned(1) - PROMISING

    def judge(self, c: Candidate, base: Training) -> Candidate | None:
        """All seeds, the proof and the diagnosis; None where it doesn't help."""
        c.runs.reach(c.runs.length)
        proof = self.judged(base.reach(c.runs.length), c.runs)
        if not proof.helped and self.steadier(base, c.runs):
            told = (
                f"the worst run learns {max(c.runs.learned(), 0):.0%}, without the remedy {max(base.learned(), 0):.0%}"
            )
            proof = proof._replace(helped=True, reason=told)
        report = (c.report or self.report(c.runs.recipe)) if proof.helped else None
        self.attempts[c.number] = self.attempts[c.number]._replace(
            verification=proof, verdict=proof.verdict, remaining=report.verdict if report else ""
        )
        return c._replace(report=report) if report else None

    def steadier(self, base: Training, runs: Training) -> bool:
        """Whether even the worst run learns clearly more, and all of them together no less."""
        before, after = base.shares(), runs.shares()
        return min(after) > max(min(before), 0.0) + STEADY and sum(after) >= sum(max(b, -1.0) for b in before)

    def longer(self, c: Candidate, base: Training) -> Candidate:
        """The same after longer runs."""
        c.runs.reach(self.steps if self.patient else PATIENCE * self.steps, 1)
        done = self.judge(c, base)
        if done is None and c.report is not None:
            self.attempts[c.number] = self.attempts[c.number]._replace(verdict=AT_FIRST, remaining=c.report.verdict)
        return done or c

    def gone(self, c: Candidate, base: Training) -> bool:
        """Whether a certain fault isn't found any more, and nothing got worse by that."""
        before, after = base.shares(), c.runs.shares()
        if sum(after) < sum(before) - PROMISING * len(before):
            return False
        return c.kind not in [f.kind for f in self.report(c.runs.recipe).faults]

    def needed(self, c: Candidate) -> Candidate:
        """A remedy without which others are in vain, kept though it isn't enough by itself."""
        report = self.report(c.runs.recipe)
        self.attempts[c.number] = self.attempts[c.number]._replace(
            verdict="needed, and not enough by itself", remaining=report.verdict
        )
        return c._replace(report=report)

    def judged(self, base: Training, runs: Training) -> Verification:
        shares = base.shares(), runs.shares()
        return judge(base.recipe, runs.recipe, base.curves, runs.curves, self.batch, runs.length, shares, 1)

    def patiently(self, waiting: list[Candidate], base: Training) -> Candidate | None:
        """Longer runs for those remedies that can still come to something."""
        self.patient, self.steps = True, PATIENCE * self.steps
        base.reach(self.steps)
        helped: list[Candidate] = []
        for c in [c for c in waiting if not c.runs.failed][:WAITING]:
            c.runs.reach(self.steps, 1)
            done = self.judge(c, base) if self.promising(c.runs, base) else None
            if done is not None and self.settled(done):
                return self.keep(done)
            helped += [done] if done is not None else []
        return self.keep(max(helped, key=self.rank)) if helped else None

    def settled(self, c: Candidate) -> bool:
        return c.report is not None and c.report.healthy and c.runs.learned() >= SETTLED

    def rank(self, c: Candidate) -> tuple[bool, bool, float]:
        share = c.runs.learned()
        return share >= LEARNS, c.report is not None and c.report.healthy, share

    def keep(self, c: Candidate) -> Candidate:
        self.attempts[c.number] = self.attempts[c.number]._replace(kept=True)
        self.kept += [c.remedy.name, *c.remedy.parts]
        return c
