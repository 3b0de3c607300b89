"""How many threads compiled programs use.

The environment variable `WENGERT_NUM_THREADS` sets the number at the start, `set_num_threads` at any time; without
either it is the number of processors that this process may use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wengert.errors import ArgumentError
from wengert.source import at_user_line

MOST = 64
told: list[Callable[[int], None]] = []  # called with each new number


def available() -> int:
    """The processors that this process may use, by its affinity and its group's quota."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return max(1, min(count, MOST))


def get_num_threads() -> int:
    """How many threads a compiled program may use, the calling one included.

    Example:
        >>> wg.get_num_threads() >= 1
        True
    """
    return _current[0]


def set_num_threads(count: int) -> None:
    """Let compiled programs use `count` threads, the calling one included; 1 means no other thread.

    Results don't depend on the number. The threads of NumPy's own libraries are another matter.

    Args:
        count: 1 to 64.

    Raises:
        ArgumentError: another number, or not a whole one.

    Example:
        >>> wg.set_num_threads(2)
    """
    _current[0] = _checked(count, "set_num_threads")
    for tell in told:
        tell(count)


def _checked(count: Any, who: str) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST:
        raise ArgumentError(f"{who}: expected a number of threads from 1 to {MOST}, got {count!r}{at_user_line()}")
    return count


def _at_start() -> int:
    given = os.environ.get("WENGERT_NUM_THREADS", "")
    return _checked(int(given) if given.isdigit() else given, "WENGERT_NUM_THREADS") if given else available()


_current = [_at_start()]
