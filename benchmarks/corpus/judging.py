"""What the instrument says about a network whose fault is known, and whether its remedies mend it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from corpus.faults import Faulty, Label
from corpus.healthy import Healthy
from corpus.plan import Plan
from corpus.training import learns, scores, start
from wengert import flow, nn, optim
from wengert.errors import WengertError
from wengert.flow import Recipe, remedies
from wengert.flow.remedies import training

STEPS, SEEDS, MOST = 60, 2, 10  # of verifications while repairing
FEWER = 5  # remedies that the fixed order tries at most


class Outcome(NamedTuple):
    """What came out for one network; None where it was not asked."""

    text: str
    rule: str
    family: str
    held_out: bool
    faulty: bool
    verdict: str
    cause: str
    where: tuple[str, ...]
    cause_right: bool | None = None
    place_right: bool | None = None
    repaired: bool | None = None
    verified: bool | None = None
    random: bool | None = None
    fixed: bool | None = None
    remedies: str = ""
    error: str = ""


def about(case: Faulty | Healthy) -> Outcome:
    """What is known before anybody looks."""
    plan, faulty = case.plan, isinstance(case, Faulty)
    rule = case.label.rule if isinstance(case, Faulty) else case.rule
    return Outcome(plan.text, rule, plan.family, plan.held_out, faulty, "error", "", ())


def judge(case: Faulty | Healthy, repairs: bool = False, baselines: bool = False) -> Outcome:
    """Diagnose a network; repair it and give it to the baselines if asked to."""
    row = about(case)
    for part, asked in (("diagnosis", True), ("repair", repairs), ("baselines", baselines)):
        if asked:
            row = row._replace(**judged(case, part))
    return row


def judged(case: Faulty | Healthy, part: str) -> dict[str, Any]:
    """The fields of an outcome that a part of the work finds out."""
    plan = case.plan
    try:
        recipe, batches = plan.recipe(start(plan)), plan.batches()
        if part == "baselines":
            return {"random": by_chance(plan, recipe, batches), "fixed": by_order(plan, recipe, batches)}
        return _repaired(plan, recipe, batches) if part == "repair" else _diagnosed(case, recipe, batches)
    except Exception as error:  # an instrument that fails has not found or mended the fault: the table says so
        said = f"{type(error).__name__}: {error}".split("\n", 1)[0]
        wrong = {"diagnosis": {}, "repair": {"repaired": False, "verified": False}, "baselines": {}}
        return {"error": said, **wrong[part]}


def _diagnosed(case: Faulty | Healthy, recipe: Recipe, batches: Any) -> dict[str, Any]:
    report = flow.diagnose(recipe, None, *batches[0])
    fault = report.faults[0] if report.faults else None
    where = tuple(fault.where) if fault else ()
    found = {"verdict": report.verdict, "cause": fault.source if fault else "", "where": where}
    if isinstance(case, Faulty):
        label = case.label
        right = fault is not None and fault.kind in label.kinds and fault.source in label.causes
        found |= {"cause_right": right, "place_right": placed(where, label) if label.where else None}
    return found


def placed(where: tuple[str, ...], label: Label) -> bool:
    """Whether more than half of the parts that were named lie where the fault is."""
    inside = [any(w == p or w.startswith(p + ".") for p in label.where) for w in where]
    return bool(inside) and sum(inside) > len(inside) / 2


def _repaired(plan: Plan, recipe: Recipe, batches: Any) -> dict[str, Any]:
    mended = flow.repair(
        recipe, None, *batches[0], batches=batches, steps=STEPS, seeds=SEEDS, most=MOST, progress=False
    )
    kept = "; ".join(a.remedy for a in mended.attempts if a.kept)
    return {"repaired": learns(scores(plan, mended.recipe)), "verified": bool(mended.repaired), "remedies": kept}


Change = Callable[[Recipe, tuple[Any, ...]], Recipe]


def _model(f: Callable[[Any, Recipe, tuple[Any, ...]], Any]) -> Change:
    return lambda recipe, batch: recipe.but(model=f(recipe.model, recipe, batch))


def _last(recipe: Recipe, batch: tuple[Any, ...]) -> tuple[list[Any], str]:
    found = remedies.calls(recipe.model, recipe.loss_fn, batch)
    return found, [c.name for c in found if isinstance(c.module, nn.Linear)][-1]


def _normalised(model: Any, recipe: Recipe, batch: tuple[Any, ...]) -> Any:
    return remedies.with_normalisation(model, *_last(recipe, batch), batch_norm=True)


# What people try when a network doesn't learn, in the order in which advice usually names it.
USUAL: dict[str, Change] = {
    "learning rate / 10": lambda r, b: r.but(learning_rate=r.learning_rate / 10),
    "learning rate × 10": lambda r, b: r.but(learning_rate=r.learning_rate * 10),
    "ReLU": _model(lambda m, r, b: remedies.with_activation(m, "relu")),
    "initialise anew": _model(lambda m, r, b: remedies.reinitialised(m, 2**0.5, _last(r, b)[1])),
    "batch normalisation": _model(_normalised),
    "clip gradients": lambda r, b: r.but(clip_norm=1.0),
    "Adam": lambda r, b: r.but(optimizer=optim.Adam, learning_rate=1e-3, settings={}),
    "LSTM": _model(lambda m, r, b: remedies.gated(m, "lstm")),
    "shortcuts": _model(lambda m, r, b: remedies.with_shortcuts(m, _last(r, b)[0])),
    "LeakyReLU": _model(lambda m, r, b: remedies.with_activation(m, "leaky_relu")),
    "unfreeze": lambda r, b: training.unfreeze((), "").change(r),
}


def applicable(recipe: Recipe, batch: tuple[Any, ...], names: list[str]) -> Iterator[Recipe]:
    """The usual remedies, in this order, as far as they can be applied."""
    for name in names:
        try:
            yield USUAL[name](recipe, batch)
        except (WengertError, IndexError):
            continue


def by_chance(plan: Plan, recipe: Recipe, batches: Any) -> bool:
    """Whether a remedy drawn at random mends."""
    names = [str(n) for n in np.random.default_rng(plan.number).permutation(list(USUAL))]
    mended = next(applicable(recipe, batches[0], names), recipe)
    return learns(scores(plan, mended))


def by_order(plan: Plan, recipe: Recipe, batches: Any) -> bool:
    """Whether trying the usual remedies in turn mends: the first few, verified, the one that ends lowest is kept."""
    best, lowest = recipe, float("inf")
    for k, mended in enumerate(applicable(recipe, batches[0], list(USUAL))):
        if k == FEWER:
            break
        try:
            end = mended.train(batches, STEPS, 0).end()
        except WengertError:
            continue
        if end < lowest:
            best, lowest = mended, end
    return learns(scores(plan, best))


def quiet() -> None:
    """For workers: overflows are what some of these networks are about."""
    warnings.simplefilter("ignore")
