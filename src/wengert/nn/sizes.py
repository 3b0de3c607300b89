"""Sizes that layers are made with, checked when they are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.errors import ArgumentError
from wengert.source import at_user_line


def is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def size(value: Any, what: str, least: int = 1) -> int:
    """A length or a count.

    Raises:
        ArgumentError: no integer, or less than `least`.
    """
    if not is_whole(value) or value < least:
        raise ArgumentError(f"{what} is {value!r}; expected an integer of at least {least}{at_user_line()}")
    return int(value)


def per_axis(value: Any, n: int, what: str, least: int = 1) -> tuple[int, ...]:
    """A setting as one number for each axis."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * n
    if len(values) != n or not all(is_whole(v) and v >= least for v in values):
        raise ArgumentError(
            f"{what} is {value!r}; expected an integer of at least {least}, or {n} of them{at_user_line()}"
        )
    return tuple(int(v) for v in values)


def lengths(value: Any, what: str) -> tuple[int, ...]:
    """A shape, from one length or several."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return tuple(size(v, what) for v in values)
