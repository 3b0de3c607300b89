"""What is remembered of the last steps, so that one that went wrong can be run again and explained.

Holding on to arrays keeps a compiled step from writing over them, so that is done only now and then: from the last of
these moments, the steps since are repeated with the batches that they had, which gives the same numbers bit for bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from wengert import tree
from wengert.data.arrays import Batches, arguments
from wengert.debug import debug_nonfinite
from wengert.errors import NonFiniteError
from wengert.ir.array import Array, WeakArray
from wengert.module import Module

SEGMENT = 128  # steps between two such moments
MOST_BYTES = 64_000_000  # of batches kept in one segment, if that leaves room for two steps

_PLAIN = frozenset((Array, WeakArray, np.ndarray, bool, int, float, str, type(None)))

Kept = list[tuple[Any, dict[str, Any]]]


def contents(*modules: Any) -> Kept:
    """What all objects in some modules hold now.

    This copies no numbers, but all containers: an array that only a container of the module holds may be written over.
    """
    found: Kept = []
    seen: set[int] = set()

    def copied(x: Any) -> Any:
        """Lists, tuples and dicts anew, with the same arrays, modules and settings in them; modules are found here."""
        if type(x) in _PLAIN:
            return x
        if type(x) in (list, tuple):
            return type(x)([copied(v) for v in x])
        if isinstance(x, dict):
            new = x.copy()
            for k, v in x.items():
                new[k] = copied(v)
            return new
        if isinstance(x, Module) or (
            dataclasses.is_dataclass(x) and hasattr(x, "__dict__") and not isinstance(x, type)
        ):
            if id(x) not in seen:
                seen.add(id(x))
                found.append((x, {n: copied(v) for n, v in vars(x).items()}))
        elif isinstance(x, tuple):
            for v in x:
                copied(v)
        return x

    copied(modules)
    return found


def put_back(kept: Kept) -> None:
    """Undo all assignments since `contents`."""
    for x, attributes in kept:
        vars(x).clear()
        vars(x).update(attributes)


class Made(NamedTuple):
    """A step that was made: the compiled program, and the batch it got, or where in the data that can be made again."""

    program: Callable[..., Any]
    batch: tuple[Any, ...] | None
    epoch: int = 0
    position: int = 0


class Replay:
    """The last steps of a training.

    Args:
        source: of the batches.
        modules: everything that a step changes.
    """

    def __init__(self, source: Any, *modules: Any):
        self.modules = modules
        # batches kept would have to lie in ever new memory, so those that can be made again are not
        self.source = source if isinstance(source, Batches) else None
        self.segments: list[tuple[Kept, list[Made]]] = []
        self.log: list[Made] = []
        self.room = 0  # steps until the next moment of remembering

    def note(self, program: Callable[..., Any], batch: tuple[Any, ...]) -> None:
        """A step is about to be made."""
        if not self.room:
            self.log = []
            self.segments = [*self.segments[-1:], (contents(*self.modules), self.log)]
            size = sum(getattr(leaf, "nbytes", 0) for leaf in tree.leaves(batch)) if self.source is None else 0
            self.room = max(2, min(SEGMENT, MOST_BYTES // max(size, 1)))
        self.room -= 1
        source = self.source
        if source is None:
            self.log.append(Made(program, batch))
        else:
            self.log.append(Made(program, None, source.epoch, source.position - 1))

    def forget(self) -> None:
        """Something else may have changed the modules: what was remembered leads no longer to where they are."""
        self.segments, self.room = [], 0

    def explain(self, call: Callable[..., Any], plain: Callable[..., Any]) -> str | None:
        """Which operation made the first NaN or infinity in the last two steps; the modules are left as before it.

        Args:
            call: `call(program, batch)` makes a step.
            plain: the step as it was before it was compiled.

        Returns:
            The message of the error, or None if nothing went wrong one operation at a time.
        """
        steps = [made for _, log in self.segments for made in log]
        if not steps:
            return None
        put_back(self.segments[0][0])
        for k, made in enumerate(steps):
            batch = made.batch
            if batch is None:
                assert self.source is not None
                batch = arguments(self.source.again(made.epoch, made.position))
            if k >= len(steps) - 2:
                before = contents(*self.modules)
                try:
                    with debug_nonfinite():
                        call(plain, batch)
                except NonFiniteError as error:
                    return str(error)
                finally:
                    put_back(before)
            if k < len(steps) - 1:
                call(made.program, batch)
        return None
