"""How often the instrument is right, on networks made by rule: faulty ones, whose fault is known, and healthy ones.

    PYTHONPATH=src python benchmarks/diagnosis.py                 # all of them
    PYTHONPATH=src python benchmarks/diagnosis.py --only tuned    # without the held-out families

Detected: the verdict on a faulty network isn't "healthy". False alarm: that on a healthy one isn't. Cause right:
symptom and cause of the first finding are those of the rule. Place right: more than half of the parts that it names lie
where the fault is. Repaired: what `flow.repair` returns learns, trained anew as long as the healthy twin is given.
Verified: `flow.repair` says itself that it was shown to help. Labels: see corpus/validation.py.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import math
import multiprocessing
import os
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corpus.faults import Faulty
from corpus.healthy import Healthy
from corpus.judging import Outcome, judge, quiet
from corpus.validation import saved, valid
from timing import machine, print_table

from wengert.train.progress import Progress

Job = tuple[Any, bool, bool]


def _work(job: Job) -> Outcome:
    return judge(*job)


def chosen(only: str, limit: int) -> list[Faulty | Healthy]:
    """Validated cases; a limit takes about as many of each rule."""
    faults, sound = valid(saved())
    cases: list[Faulty | Healthy] = [*faults, *sound]
    if only != "all":
        cases = [c for c in cases if c.plan.held_out == (only == "held-out")]
    if limit:
        rows: dict[tuple[bool, str], list[Faulty | Healthy]] = {}
        for c in sorted(cases, key=lambda c: c.plan.number):
            faulty = isinstance(c, Faulty)
            rows.setdefault((faulty, c.label.rule if isinstance(c, Faulty) else c.rule), []).append(c)
        halves = [[r for k, r in rows.items() if k[0] == kind] for kind in (True, False)]
        cases = [c for half in halves for c in _turns(half, limit // 2)]
    return cases


def _turns(rows: Sequence[Sequence[Any]], count: int) -> list[Any]:
    picked = [c for turn in itertools.zip_longest(*rows) for c in turn if c is not None]
    return picked[:count]


def run(
    cases: list[Faulty | Healthy], repairs: int, baselines: int, processes: int, minutes: float = math.inf
) -> list[Outcome]:
    """Judge all, or as many as there is time for; every so many faulty ones are repaired and given to baselines."""
    cases = sorted(cases, key=lambda c: (zlib.crc32(c.plan.structure[::-1].encode()), c.plan.number))
    end = time.monotonic() + 60 * minutes
    turn = itertools.count()
    jobs = []
    for c in cases:
        n = next(turn) if isinstance(c, Faulty) else 0
        jobs.append((c, bool(repairs) and n % repairs == 0, bool(baselines) and n % baselines == 0))
    bar, found = Progress(True), []
    bar.begin(0)
    if processes == 1:
        results: Any = map(_work, jobs)
        pool = None
    else:
        os.environ.setdefault("WENGERT_NUM_THREADS", "1")
        pool = multiprocessing.get_context("spawn").Pool(processes, quiet, maxtasksperchild=100)
        results = pool.imap_unordered(_work, jobs, chunksize=2)
    for n, outcome in enumerate(results, 1):
        found.append(outcome)
        if bar.due():
            wrong = sum(o.faulty == (o.verdict == "healthy") for o in found)
            bar.draw("diagnosing", n, len(jobs), {"wrong verdicts": float(wrong)})
        if time.monotonic() > end:
            break
    bar.end("diagnosed", len(found), {})
    if pool is not None:
        pool.terminate()
        pool.join()
    return found


def share(rows: Sequence[Outcome], right: Callable[[Outcome], bool | None]) -> str:
    """`97.1 % (505/520)` of those that were asked."""
    asked = [bool(v) for v in map(right, rows) if v is not None]
    return f"{100 * sum(asked) / len(asked):.1f} % ({sum(asked)}/{len(asked)})" if asked else "–"


MEASURES: tuple[tuple[str, bool, Callable[[Outcome], bool | None]], ...] = (
    ("detected", True, lambda o: o.verdict not in ("healthy", "error")),
    ("false alarms", False, lambda o: o.verdict != "healthy"),
    ("cause right", True, lambda o: o.cause_right if o.cause_right is not None else False),
    ("place right", True, lambda o: o.place_right),
    ("repaired", True, lambda o: o.repaired),
    ("verified", True, lambda o: o.verified),
    ("repaired by a random remedy", True, lambda o: o.random),
    ("repaired by a fixed order", True, lambda o: o.fixed),
)


def tables(found: Sequence[Outcome]) -> None:
    """The whole, and by rule."""
    held = {"tuned on": (False,), "held out": (True,), "all": (False, True)}
    parts = {name: [o for o in found if o.held_out in which] for name, which in held.items()}
    rows = [[name, *(share([o for o in part if o.faulty == f], right) for part in parts.values())]
            for name, f, right in MEASURES]  # fmt: skip
    print_table(["", *parts], rows)
    print()
    body = []
    for rule in dict.fromkeys(o.rule for o in found if o.faulty):
        mine = [o for o in found if o.faulty and o.rule == rule]
        body.append([rule, *(share(mine, right) for _, f, right in MEASURES[:6] if f)])
    if body:
        print_table(["fault", *(n for n, f, _ in MEASURES[:6] if f)], sorted(body))
        print()
    sound = [o for o in found if not o.faulty]
    body = [
        [rule, share([o for o in sound if o.rule == rule], MEASURES[1][2])] for rule in sorted({o.rule for o in sound})
    ]
    if body:
        print_table(["healthy", "false alarms"], body)


def misses(found: Sequence[Outcome]) -> None:
    """What went wrong, a line each; of tuned families only, so that nobody looks at the others."""
    for o in sorted((o for o in found if not o.held_out), key=lambda o: (not o.faulty, o.rule)):
        said = f"{o.verdict} ({o.cause}) at {', '.join(o.where[:3])}"
        wrong = []
        if o.error:
            wrong.append("error " + o.error)
        elif o.faulty:
            wrong += ["missed"] if o.verdict == "healthy" else [] if o.cause_right else ["cause"]
            wrong += ["place"] if o.place_right is False and o.verdict != "healthy" else []
            wrong += [f"not repaired [{o.remedies}]"] if o.repaired is False else []
            wrong += ["not verified"] if o.verified is False and o.repaired else []
        elif o.verdict != "healthy":
            wrong.append("false alarm")
        if wrong:
            print(f"{', '.join(wrong)} | {o.rule} | {said} | {o.text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tiny", action="store_true", help="24 networks in this process")
    parser.add_argument("--only", choices=("all", "tuned", "held-out"), default="all")
    parser.add_argument("--limit", type=int, default=0, help="at most so many networks, spread over the rules")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many")
    parser.add_argument("--repairs", type=int, default=1, metavar="N", help="for every N-th faulty network; 0: none")
    parser.add_argument("--baselines", type=int, default=3, metavar="N", help="for every N-th faulty network; 0: none")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--misses", action="store_true", help="list what went wrong on tuned families")
    parser.add_argument("--json", type=Path, help="write all outcomes there")
    args = parser.parse_args()
    limit, processes = (24, 1) if args.tiny else (args.limit, args.processes)
    cases = chosen(args.only, limit)
    began = time.monotonic()
    found = run(cases, 0 if args.tiny else args.repairs, 0 if args.tiny else args.baselines, processes, args.minutes)
    print(f"{machine()}\n{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, python benchmarks/diagnosis.py "
          f"{' '.join(sys.argv[1:])}".rstrip())  # fmt: skip
    faulty = sum(o.faulty for o in found)
    print(
        f"{faulty} faulty and {len(found) - faulty} healthy networks in {(time.monotonic() - began) / 60:.1f} minutes\n"
    )
    tables(found)
    if args.misses:
        print()
        misses(found)
    if args.json:
        args.json.write_text("\n".join(json.dumps(o._asdict()) for o in found) + "\n")


if __name__ == "__main__":
    main()
