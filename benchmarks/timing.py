"""How the benchmarks measure: best of several, in turns, in one process; and how they print.

On a machine that others use too, the least of many times is the one that was disturbed least. The contenders take
turns, so that a busy minute falls on all of them. Garbage collection stays on: an engine that makes cycles pays for it.
"""

from __future__ import annotations

import gc
import importlib
import os
import platform
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

Call = Callable[[], Any]


def seconds(call: Call, loops: int = 1) -> float:
    """The time of one call, as the mean of `loops` of them."""
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - start) / loops


def best_in_turns(calls: Mapping[str, Call], budget: float = 1.0, burst: float = 1e-3) -> dict[str, float]:
    """For each call its least time; `budget` is about how many seconds each may take.

    A turn is a burst of calls of about `burst` seconds; a millisecond is short enough to fit between two interruptions.
    Before it comes a call that is not timed: the last engine's threads may still be spinning, and one's own asleep.
    """
    loops, best = {}, {}
    for name, call in calls.items():
        call()  # whatever is made once is made here
        best[name] = min(seconds(call), seconds(call))
        loops[name] = max(1, int(burst / best[name]))
    gc.collect()
    end = time.perf_counter() + budget * len(calls)
    turns = 0
    while turns < 3 or time.perf_counter() < end:
        turns += 1
        for name, call in calls.items():
            call()
            best[name] = min(best[name], seconds(call, loops[name]))
    return best


def peak_bytes(call: Call) -> int:
    """The most memory in use at once during `call`, beyond what was in use before it.

    Counted by `tracemalloc`, to which NumPy reports every buffer, so it holds arrays and Python objects, and no more.
    """
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def optional(name: str) -> ModuleType | None:
    """A peer, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def duration(s: float) -> str:
    """`s` seconds in a unit that suits."""
    for unit, size in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0), ("days", 86400.0)):
        if s < 999.5 * size and not (unit in ("s", "min") and s >= 100 * size) and not (unit == "h" and s >= 48 * size):
            return f"{s / size:.3g} {unit}"
    return f"{s / 31557600:.3g} years"


def amount(n: float) -> str:
    """`n` bytes in a unit that suits."""
    for unit, size in (("B", 1.0), ("kB", 1e3), ("MB", 1e6)):
        if n < 999.5 * size:
            return f"{n / size:.3g} {unit}"
    return f"{n / 1e9:.3g} GB"


def times(ratio: float) -> str:
    """A ratio: `1.23×`, `850×`, `6.2e+06×`."""
    return f"{ratio:.2f}×" if ratio < 99.5 else f"{ratio:.0f}×" if ratio < 99999.5 else f"{ratio:.2g}×"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table: the first column to the left, the others to the right."""
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join((first, *rest)) + " |"

    print(line(header))
    print("|" + "|".join("-" * (w + 2) if k == 0 else "-" * (w + 1) + ":" for k, w in enumerate(widths)) + "|")
    for row in rows:
        print(line(row), flush=True)


def machine(*peers: ModuleType | None) -> str:
    """One line on what was measured on."""
    versions = [f"{p.__name__} {getattr(p, '__version__', '')}".strip() for p in (np, *peers) if p is not None]
    python = f"Python {platform.python_version()}"
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{platform.machine()} {_cpu()}, {os.cpu_count()} cores{load}; {python}, {', '.join(versions)}"


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            facts = dict(part for line in file if len(part := [p.strip() for p in line.split(":", 1)]) == 2)
        return f"{facts['model name']} (family {facts['cpu family']}, model {facts['model']})"
    except (OSError, KeyError):
        return platform.processor()
