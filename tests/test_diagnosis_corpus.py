"""A little of the corpus of benchmarks/diagnosis.py: the instrument is mostly right, on tuned families."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

pytest.importorskip("sklearn")

from corpus import faults, healthy, training, validation  # noqa: E402
from corpus.judging import judge  # noqa: E402
from corpus.plan import Plan  # noqa: E402

from wengert import flow  # noqa: E402

FAULTS, SOUND = validation.valid(validation.saved())
FAMILY = ("blobs/mlp/shallow", "digits/mlp/middle", "rows/rnn/shallow", "words/bag/middle")


def few(cases: list, count: int, rule) -> list:
    """One of each rule, from small networks of tuned families."""
    seen: dict[str, object] = {}
    for c in sorted(cases, key=lambda c: c.plan.number):
        if c.plan.family in FAMILY and not c.plan.pretrain:
            seen.setdefault(rule(c), c)
    return list(seen.values())[:count]


def test_the_corpus_is_large() -> None:
    assert len(FAULTS) >= 500
    assert len(SOUND) >= 500
    assert len({f.plan for f in FAULTS}) == len(FAULTS)
    assert not {f.plan for f in FAULTS} & {h.plan for h in SOUND}
    held = Counter(c.plan.held_out for c in [*FAULTS, *SOUND])
    assert min(held.values()) >= 0.25 * sum(held.values())


def test_a_label_is_borne_out_by_training() -> None:
    """One of them trained again: the scores are those that are kept, and the twin learns."""
    found = next(
        f for f in FAULTS if f.label.rule == "weights of zero" and f.plan.arch == "mlp" and not f.plan.held_out
    )
    kept = validation.saved()
    broken, mended = training.scores(found.plan), training.scores(found.twin)
    assert training.fails(broken, mended)
    assert broken == pytest.approx(kept[found.plan.text], abs=0.1)
    assert mended == pytest.approx(kept[found.twin.text], abs=0.1)


def test_scores_tell_learning_from_guessing() -> None:
    p = Plan("mlp", "blobs", 3)
    assert training.learns([0.6, 0.9])
    assert not training.learns([0.4, 0.9])
    assert training.fails([0.1, 0.2], [0.9, 0.9])
    assert not training.fails([0.1, 0.2], [0.9, 0.1])
    y = p.data.y_test
    assert p.data.score([[float(k == label) for k in range(3)] for label in y]) == 1
    assert abs(p.data.score([[1.0, 0, 0]] * len(y))) < 0.2


def test_faults_are_found() -> None:
    rows = [judge(f, repairs=False, baselines=False) for f in few(FAULTS, 12, lambda f: f.label.rule)]
    assert len(rows) == 12
    assert not [r.error for r in rows if r.error]
    assert sum(r.verdict != "healthy" for r in rows) >= 11, [r for r in rows if r.verdict == "healthy"]
    assert sum(bool(r.cause_right) for r in rows) >= 10, [r for r in rows if not r.cause_right]


def test_healthy_networks_are_called_healthy() -> None:
    rows = [judge(h, repairs=False, baselines=False) for h in few(SOUND, 12, lambda h: h.rule + h.plan.family)]
    assert len(rows) >= 8
    assert not [r.error for r in rows if r.error]
    assert sum(r.verdict != "healthy" for r in rows) <= 1, [r for r in rows if r.verdict != "healthy"]


def test_every_rule_has_networks_of_its_own() -> None:
    assert len({f.label.rule for f in FAULTS}) >= 15
    assert len({h.rule for h in SOUND}) >= 15
    assert all(f.plan.changes(f.twin) for f in faults.faulty())
    assert len({h.plan for h in healthy.healthy()}) == len(list(healthy.healthy()))


def test_a_network_that_is_wholly_frozen_is_repaired() -> None:
    """Training it changes nothing, and is no error."""
    plan = Plan("mlp", "blobs", 3, frozen=("*",))
    batches = plan.batches()
    mended = flow.repair(
        plan.recipe(training.start(plan)), None, *batches[0], batches=batches, steps=40, seeds=2, progress=False
    )
    assert mended.repaired
    assert training.learns(training.scores(plan, mended.recipe))
