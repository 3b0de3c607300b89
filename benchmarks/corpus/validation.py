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
from collections.abc import Iterable
from pathlib import Path

from corpus.faults import Faulty, faulty
from corpus.healthy import Healthy, healthy
from corpus.plan import Plan
from corpus.training import fails, learns, scores
from wengert.train.progress import Progress

SCORES = Path(__file__).with_name("scores.json")


def saved() -> dict[str, list[float]]:
    """Scores by the text of a plan, one for each seed."""
    return json.loads(SCORES.read_text()) if SCORES.exists() else {}


def save(found: dict[str, list[float]]) -> None:
    rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(found.items()))
    SCORES.write_text("{\n" + rows + "\n}\n")


def plans(faults: Iterable[Faulty], sound: Iterable[Healthy]) -> list[Plan]:
    """All that are to be trained, those of equal structure together, so that compiled steps are used again."""
    wanted = {p for f in faults for p in (f.plan, f.twin)} | {h.plan for h in sound}

    def structure(p: Plan) -> str:
        return f"{p.arch} {p.task} {p.depth} {p.width} {p.act} {p.norm} {p.optimizer}"

    return sorted(wanted, key=lambda p: (zlib.crc32(structure(p).encode()), p.text))


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
    candidates, sound = faulty(), list(healthy())
    everything = plans(candidates, sound)
    found = {} if args.again else saved()
    todo = [p for p in everything if p.text not in found]
    bar, saved_at = Progress(True), time.monotonic()
    bar.begin(0)
    os.environ.setdefault("WENGERT_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool(args.processes, maxtasksperchild=150) as pool:
        for n, (text, values) in enumerate(pool.imap_unordered(_score, todo, chunksize=8), 1):
            found[text] = values
            if bar.due():
                bar.draw("validating", n, len(todo), {})
            if time.monotonic() - saved_at > 20:
                save(found)
                saved_at = time.monotonic()
    bar.end("validated", len(todo), {})
    wanted = {p.text for p in everything}
    save({k: v for k, v in found.items() if k in wanted})
    good, well = valid(found)
    print(f"faulty: {len(good)} of {len(candidates)} borne out; healthy: {len(well)} of {len(sound)}")
    kept, had = Counter(f.label.rule for f in good), Counter(f.label.rule for f in candidates)
    for rule, count in had.items():
        print(f"  {rule}: {kept[rule]} of {count}")
    kept, had = Counter(h.rule for h in well), Counter(h.rule for h in sound)
    for rule, count in had.items():
        print(f"  healthy, {rule}: {kept[rule]} of {count}")


if __name__ == "__main__":
    main()
