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
from pathlib import Path

from corpus.faults import Faulty, faulty
from corpus.healthy import Healthy, healthy
from corpus.plan import Plan
from corpus.training import fails, learns, scores
from wengert.train.progress import Progress

ENOUGH, HEALTHY = 28, 540  # of one rule, and in all
SCORES = Path(__file__).with_name("scores.json")


def saved() -> dict[str, list[float]]:
    """Scores by the text of a plan, one for each seed."""
    return json.loads(SCORES.read_text()) if SCORES.exists() else {}


def save(found: dict[str, list[float]]) -> None:
    rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(found.items()))
    SCORES.write_text("{\n" + rows + "\n}\n")


def _cost(f: Faulty, found: dict[str, list[float]], known: set[str]) -> int:
    """How much work it is to validate: nothing, training, or compiling too."""
    return sum(0 if p.text in found else 1 if p.structure in known else 4 for p in (f.plan, f.twin))


def wanted(found: dict[str, list[float]]) -> list[Plan]:
    """What is to be trained next: of each rule as many candidates as are missing, with their twins; healthy ones."""
    faults, sound = valid(found)
    every = [p for f in faulty() for p in (f.plan, f.twin)] + [h.plan for h in healthy()]
    known = {p.structure for p in every if p.text in found}
    missing = {f.label.rule: ENOUGH for f in faulty()}
    for f in faults:
        missing[f.label.rule] -= 1
    plans: set[Plan] = set()
    candidates = [h.plan for h in healthy() if h.rule != "plain" and h.plan.text not in found]
    plans |= set(sorted(candidates, key=lambda p: p.structure not in known)[: max(0, HEALTHY - len(sound))])
    for f in sorted(faulty(), key=lambda f: _cost(f, found, known)):
        if missing[f.label.rule] > 0 and not (f.plan.text in found and f.twin.text in found):
            missing[f.label.rule] -= 1
            plans |= {f.plan, f.twin}
    return sorted((p for p in plans if p.text not in found), key=lambda p: (zlib.crc32(p.structure.encode()), p.text))


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
