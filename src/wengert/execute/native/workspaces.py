"""Memory that programs work in. Large workspaces are lent: who runs takes one that is idle, and puts it back.

So a program that is called for the first time finds memory that the system has mapped already, where another has run
before it, and a process needs as much as the programs that run at the same time, not as all that there are.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

LENT = 1 << 20  # bytes from which on a workspace is lent; smaller ones belong to their programs
ALIGNMENT = 64

# Taken and put back by single operations on a list, also from machine code: whoever popped one is alone with it.
idle: list[np.ndarray] = []
_wanted: dict[int, int] = {}  # how many living programs want so many bytes


def aligned(size: int, zero: bool = True) -> np.ndarray:
    """So many bytes, on the boundary of a cache line."""
    raw = (np.zeros if zero else np.empty)(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


def borrow(size: int) -> np.ndarray:
    """At least so many bytes, with anything in them, until they are given back."""
    try:
        work = idle.pop()
    except IndexError:
        return aligned(size, zero=False)
    return work if work.size >= size else aligned(size, zero=False)


def give_back(work: np.ndarray) -> None:
    idle.append(work)


def announce(program: Any, size: int) -> None:
    """`program` will borrow so many bytes as long as it lives."""
    _wanted[size] = _wanted.get(size, 0) + 1
    weakref.finalize(program, _leave, size)


def _leave(size: int) -> None:
    """What nobody living needs goes back to the system."""
    _wanted[size] -= 1
    if not _wanted[size]:
        del _wanted[size]
        most = max(_wanted, default=0)
        kept = []
        while idle:
            try:
                work = idle.pop()
            except IndexError:  # taken in this moment
                break
            if work.size <= most:
                kept.append(work)
        idle.extend(kept)
