"""Settings: what is no array and belongs to the structure of a value; when two of them are the same."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np


def distinct(value: Hashable) -> Hashable:
    """Equal for values that no program can tell apart, as it can 0.0 and -0.0, or 1, 1.0 and True, which are equal."""
    if isinstance(value, tuple | frozenset):
        return type(value), (tuple if isinstance(value, tuple) else frozenset)([distinct(v) for v in value])
    return type(value), repr(value) if isinstance(value, (float, complex, np.inexact)) else value


class Setting:
    """A setting inside a tree: compared by type and value, or by identity where it cannot be hashed."""

    __slots__ = ("hashable", "key", "value")

    def __init__(self, value: Any):
        self.value = value
        self.hashable = True
        try:
            hash(value)
            self.key = distinct(value)
        except TypeError:
            self.hashable = False
            self.key = (type(value), id(value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Setting) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return repr(self.value)
