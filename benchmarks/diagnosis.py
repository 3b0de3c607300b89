"""How often the instrument is right, on networks made by rule: faulty ones, whose fault is known, and healthy ones.

    PYTHONPATH=src python benchmarks/diagnosis.py                 # all of them, repairs and baselines too
    PYTHONPATH=src python benchmarks/diagnosis.py --only tuned    # without the held-out families
    PYTHONPATH=src python benchmarks/diagnosis.py --minutes 10 --kept out/diagnosis.jsonl   # and again, to go on

Detected: the verdict on a faulty network isn't "healthy". False alarm: that on a healthy one isn't. Cause right:
symptom and cause of the first finding are those of the rule. Place right: more than half of the parts that it names lie
where the fault is. Repaired: what `flow.repair` returns learns, trained anew as long as the healthy twin is given.
Verified: `flow.repair` says itself that it was shown to help. Labels: see corpus/validation.py.

With `--kept FILE` what comes out is kept there as it comes, and what is there already (from the same code, see
corpus/outcomes.py) isn't done again. First all are diagnosed, then faulty ones are repaired and given to the baselines,
in an order that is random but the same every time: what is done when the time is over is a random part of all.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import itertools
import json
import math
import multiprocessing
import os
import signal
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from corpus.faults import Faulty
from corpus.healthy import Healthy
from corpus.judging import Outcome, about, judged, quiet
from corpus.outcomes import PARTS, Done, read, write
from corpus.validation import saved, valid
from timing import machine, print_table

from wengert.train.progress import Progress

Case = Faulty | Healthy
Job = tuple[Case, str]
LIMIT = 300  # seconds for a part of a network


def _late(*_: Any) -> None:
    raise TimeoutError(f"took more than {LIMIT} s")


def _work(job: Job) -> Done:
    case, part = job
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(LIMIT)
    began = time.monotonic()
    values = judged(case, part)
    signal.alarm(0)
    return Done(case.plan.text, part, values, round(time.monotonic() - began, 2))


def mixed(cases: Sequence[Any]) -> list[Any]:
    """In an order that is random and always the same."""
    return sorted(cases, key=lambda c: zlib.crc32(c.plan.text[::-1].encode()))


def chosen(only: str, limit: int, faulty: int = 10**6, healthy: int = 10**6) -> list[Case]:
    """Validated cases, at most so many of each kind drawn at random; a limit takes about as many of each rule."""
    faults, sound = valid(saved())
    faults, sound = mixed(faults)[:faulty], mixed(sound)[:healthy]
    cases: list[Case] = [*faults, *sound]
    if only != "all":
        cases = [c for c in cases if c.plan.held_out == (only == "held-out")]
    if limit:
        rows: dict[tuple[bool, str], list[Case]] = {}
        for c in sorted(cases, key=lambda c: c.plan.number):
            faulty = isinstance(c, Faulty)
            rows.setdefault((faulty, c.label.rule if isinstance(c, Faulty) else c.rule), []).append(c)
        halves = [[r for k, r in rows.items() if k[0] == kind] for kind in (True, False)]
        cases = [c for half in halves for c in _turns(half, limit // 2)]
    return cases


def _turns(rows: Sequence[Sequence[Any]], count: int) -> list[Any]:
    picked = [c for turn in itertools.zip_longest(*rows) for c in turn if c is not None]
    return picked[:count]


def jobs(cases: Sequence[Case], repairs: int, baselines: int) -> list[Job]:
    """Diagnoses of all, then repairs and baselines of as many faulty ones, in an order that is random and fixed."""
    faults = [c for c in mixed(cases) if isinstance(c, Faulty)]
    later = itertools.zip_longest(faults[:repairs], faults[:baselines])
    grouped = sorted(mixed(cases), key=lambda c: zlib.crc32(c.plan.structure.encode()))  # compiled once in a process
    found = [(c, "diagnosis") for c in grouped]
    return found + [(c, part) for row in later for c, part in zip(row, PARTS[1:], strict=True) if c is not None]


@contextlib.contextmanager
def _mapped(todo: Sequence[Job], processes: int) -> Iterator[Iterator[Done]]:
    if processes == 1:
        yield map(_work, todo)
        return
    os.environ.setdefault("WENGERT_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool(processes, quiet, maxtasksperchild=60) as pool:
        yield pool.imap_unordered(_work, todo)


def run(todo: Sequence[Job], processes: int, minutes: float, kept: Path | None) -> list[Done]:
    """Do all jobs that have not been done, or as many as there is time for."""
    end = time.monotonic() + 60 * minutes
    before = read(kept) if kept else {}
    found = [before[c.plan.text, part] for c, part in todo if (c.plan.text, part) in before]
    left = [(c, part) for c, part in todo if (c.plan.text, part) not in before] if minutes > 0 else []
    bar = Progress(True)
    bar.begin(0)
    with _mapped(left, processes) as results:
        for n, done in enumerate(results, 1):
            found.append(done)
            if kept:
                write(kept, [done])
            if bar.due():
                bar.draw(done.part, n, len(left), {"seconds": done.seconds})
            if time.monotonic() > end:
                break
    bar.end("done", len(found), {})
    return found


def merged(cases: Sequence[Case], found: Sequence[Done]) -> list[Outcome]:
    """The outcomes of all networks that were diagnosed."""
    parts = {(d.text, d.part): d.values for d in found}
    outcomes = []
    for c in cases:
        if (c.plan.text, "diagnosis") in parts:
            row = about(c)
            for part in PARTS:
                row = row._replace(**parts.get((c.plan.text, part), {}))
            outcomes.append(row)
    return outcomes


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


def times(found: Sequence[Done]) -> None:
    """How long a part of a network takes, and how often something failed."""
    for part in PARTS:
        mine = sorted(d.seconds for d in found if d.part == part)
        if mine:
            errors = sum("error" in d.values for d in found if d.part == part)
            print(
                f"{part}: {len(mine)} networks, median {statistics.median(mine):.1f} s, 95 % within "
                f"{mine[int(0.95 * (len(mine) - 1))]:.1f} s, longest {mine[-1]:.1f} s; {errors} ended in an error"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tiny", action="store_true", help="24 networks in this process, without repairs")
    parser.add_argument("--only", choices=("all", "tuned", "held-out"), default="all")
    parser.add_argument("--limit", type=int, default=0, help="at most so many networks, spread over the rules")
    parser.add_argument("--faulty", type=int, default=10**6, metavar="N", help="at most N random faulty ones; all")
    parser.add_argument("--healthy", type=int, default=10**6, metavar="N", help="at most N random healthy ones; all")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many; 0 shows what is kept")
    parser.add_argument("--repairs", type=int, default=10**6, metavar="N", help="repair N random faulty ones; all")
    parser.add_argument("--baselines", type=int, default=10**6, metavar="N", help="N of those to the baselines; all")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--kept", type=Path, help="a file of what was done, to go on from and to add to")
    parser.add_argument("--misses", action="store_true", help="list what went wrong on tuned families")
    parser.add_argument("--json", type=Path, help="write all outcomes there")
    args = parser.parse_args()
    if args.tiny:
        args.limit, args.processes, args.repairs, args.baselines = 24, 1, 0, 0
    cases = chosen(args.only, args.limit, args.faulty, args.healthy)
    began = time.monotonic()
    done = run(jobs(cases, args.repairs, args.baselines), args.processes, args.minutes, args.kept)
    found = merged(cases, done)
    command = f"python benchmarks/diagnosis.py {' '.join(sys.argv[1:])}".rstrip()
    print(f"{machine()}\n{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {command}")
    faulty, taken = sum(o.faulty for o in found), sum(d.seconds for d in done) / 60
    print(f"{faulty} faulty and {len(found) - faulty} healthy networks of {len(cases)}, "
          f"{(time.monotonic() - began) / 60:.1f} minutes; {taken:.0f} minutes of work in all\n")  # fmt: skip
    tables(found)
    print()
    times(done)
    if args.misses:
        print()
        misses(found)
    if args.json:
        args.json.write_text("\n".join(json.dumps(o._asdict()) for o in found) + "\n")


if __name__ == "__main__":
    main()
