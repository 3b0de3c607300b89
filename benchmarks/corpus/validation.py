"""Labels by rule are checked by training: a faulty network fails where its twin learns; a healthy one learns.

    PYTHONPATH=src:benchmarks python -m corpus.validation

Scores go to `scores.json`, by the text of the plan; what is there already is not trained again (`--again` does).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from corpus.faults import Faulty, faulty
from corpus.healthy import Healthy, healthy
from corpus.plan import Plan
from corpus.training import fails, learns, scores
from wengert.train.progress import Progress

FAULTY, HEALTHY = 24, 24  # as many of each rule, as far as there are
Case = Faulty | Healthy
SCORES = Path(__file__).with_name("scores.json")


def saved() -> dict[str, list[float]]:
    """Scores by the text of a plan, one for each seed."""
    return json.loads(SCORES.read_text()) if SCORES.exists() else {}


def save(found: dict[str, list[float]]) -> None:
    rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(found.items()))
    SCORES.write_text("{\n" + rows + "\n}\n")


def _turns(candidates: Sequence[Case], found: dict[str, list[float]], known: set[str]) -> list[Case]:
    """What is not trained yet, families in turn: the one tried least comes first, what is compiled before others."""
    tried = Counter(c.plan.family for c in candidates if c.plan.text in found)
    rows: list[tuple[int, bool, int, Case]] = []
    later = [c for c in candidates if any(p.text not in found for p in plans(c))]
    for c in sorted(later, key=lambda c: (any(p.structure not in known for p in plans(c)), c.plan.number)):
        rows.append((tried[c.plan.family], c.plan.structure not in known, c.plan.number, c))
        tried[c.plan.family] += 1
    return [row[-1] for row in sorted(rows, key=lambda row: row[:3])]


def plans(case: Case) -> tuple[Plan, ...]:
    """What is trained for it."""
    return (case.plan, case.twin) if isinstance(case, Faulty) else (case.plan,)


def wanted(found: dict[str, list[float]]) -> list[Plan]:
    """What is to be trained next: of each rule as many candidates as are missing."""
    rules: dict[tuple[bool, str], list[Case]] = {}
    for c in (*faulty(), *healthy()):
        rules.setdefault(_rule(c), []).append(c)
    had = Counter(_rule(c) for cases in valid(found) for c in cases)
    known = {p.structure for cases in rules.values() for c in cases for p in plans(c) if p.text in found}
    chosen = set()
    for rule, cases in rules.items():
        missing = (FAULTY if rule[0] else HEALTHY) - had[rule]
        for c in _turns(cases, found, known)[: max(0, missing)]:
            chosen |= {p for p in plans(c) if p.text not in found}
    return sorted(chosen, key=lambda p: (zlib.crc32(p.structure.encode()), p.text))


def _rule(case: Case) -> tuple[bool, str]:
    return (True, case.label.rule) if isinstance(case, Faulty) else (False, case.rule)


def valid(found: dict[str, list[float]]) -> tuple[list[Faulty], list[Healthy]]:
    """The candidates whose labels training bears out."""
    faults = [f for f in faulty() if f.plan.text in found and f.twin.text in found]
    faults = [f for f in faults if fails(found[f.plan.text], found[f.twin.text])]
    return faults, [h for h in healthy() if h.plan.text in found and learns(found[h.plan.text])]


def _score(plan: Plan) -> tuple[str, list[float]]:
    return plan.text, scores(plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--again", action="store_true", help="train everything anew")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    found = {} if args.again else saved()
    bar, saved_at = Progress(True), time.monotonic()
    bar.begin(0)
    os.environ.setdefault("WENGERT_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool(args.processes, maxtasksperchild=150) as pool:
        while todo := wanted(found):
            for n, (text, values) in enumerate(pool.imap_unordered(_score, todo, chunksize=4), 1):
                found[text] = values
                if bar.due():
                    bar.draw("validating", n, len(todo), {})
                if time.monotonic() - saved_at > 20:
                    save(found)
                    saved_at = time.monotonic()
            save(found)
    bar.end("validated", len(found), {})
    good, well = valid(found)
    candidates = [f for f in faulty() if f.plan.text in found and f.twin.text in found]
    sound = [h for h in healthy() if h.plan.text in found]
    print(f"faulty: {len(good)} of {len(candidates)} borne out; healthy: {len(well)} of {len(sound)}")
    kept, had = Counter(f.label.rule for f in good), Counter(f.label.rule for f in candidates)
    for rule, count in had.items():
        print(f"  {rule}: {kept[rule]} of {count}")
    kept, had = Counter(h.rule for h in well), Counter(h.rule for h in sound)
    for rule, count in had.items():
        print(f"  healthy, {rule}: {kept[rule]} of {count}")


if __name__ == "__main__":
    main()
