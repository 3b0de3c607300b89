"""Memory with a page behind it that nobody may touch: a program that reads or writes beyond its buffers is stopped.

Every buffer of a `Guarded` program has pages for itself, its arguments, results and constants as well as each value in
its workspace, and lies at their end (or, with `end=False`, at their beginning). The pages beside it may not be touched
at all, and those of arguments and constants may not be written. What is left of a buffer's pages holds a pattern that
must be there afterwards. Fresh memory is full of NaN, so that what is read before it is written shows in the results.
"""

from __future__ import annotations

import ctypes
import math
import mmap
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np

from wengert.execute.native import program as program_module
from wengert.execute.native import workspaces
from wengert.execute.native.plan import lifetimes
from wengert.execute.native.program import Build, Compiled
from wengert.execute.native.statements import Program
from wengert.execute.native.target import host_target
from wengert.execute.native.views import STATE_BYTES
from wengert.ir.graph import Graph
from wengert.passes.pipeline import simplify

PAGE = mmap.PAGESIZE
NOTHING, READ = 0, 1
PATTERN, FRESH = 0xA5, 0xFF


def _up(n: int, to: int = PAGE) -> int:
    return -(-n // to) * to


def _protect(address: int, size: int, how: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), how):
        raise OSError(ctypes.get_errno(), "mprotect")


def pages(size: int) -> np.ndarray:
    """Memory of whole pages between two that nobody may touch."""
    size = _up(max(size, 1))
    memory = np.frombuffer(mmap.mmap(-1, size + 2 * PAGE), np.uint8)
    for at in (0, size + PAGE):
        _protect(memory.ctypes.data + at, PAGE, NOTHING)
    return memory[PAGE : PAGE + size]


class Place:
    """Guarded memory for one array."""

    def __init__(self, shape: Sequence[int], dtype: np.dtype, end: bool):
        self.pages = pages(size := math.prod(shape) * dtype.itemsize)
        self.pages[:] = PATTERN
        start = len(self.pages) - size if end else 0
        self.inside = slice(start, start + size)
        self.pages[self.inside] = FRESH
        self.array = self.pages[self.inside].view(dtype).reshape(shape)

    def freeze(self) -> None:
        _protect(self.pages.ctypes.data, len(self.pages), READ)

    def whole(self) -> bool:
        """Whether nobody wrote beside the array."""
        beside = np.concatenate([self.pages[: self.inside.start], self.pages[self.inside.stop :]])
        return bool((beside == PATTERN).all())


def frozen(value: Any, dtype: np.dtype, shape: Sequence[int], end: bool) -> np.ndarray:
    """A copy that nobody may write."""
    place = Place(shape, dtype, end)
    place.array[...] = value
    place.freeze()
    return place.array


class Guarded:
    """A compiled graph whose calls run between guards; `threads` it is dealt to are those that the pool has."""

    def __init__(self, graph: Graph, end: bool = True):
        self.end = end
        self.holes: list[tuple[int, int]] = []  # of the workspace, in bytes
        self.gaps: list[tuple[int, int]] = []
        with patch.object(program_module, "plan", self._plan):
            build = Build(simplify(graph), host_target())
        self.compiled = Compiled(build.code(), build.target, lambda: build)
        self.compiled.lent = False  # its workspace is the one below
        self.compiled.constants = [frozen(c, c.dtype, c.shape, end) for c in self.compiled.constants]

    def _plan(self, program: Program) -> int:
        """Instead of the plan that saves memory."""
        top = _up(STATE_BYTES * program.stores)
        for _, _, buffer in lifetimes(program.statements):
            size = buffer.size * buffer.dtype.itemsize
            self.holes.append((top, top + PAGE))
            begin, stop = top + PAGE, top + PAGE + _up(size)
            buffer.index = stop - size if self.end else begin
            self.gaps += [(begin, buffer.index), (buffer.index + size, stop)]
            top = stop
        self.holes.append((top, top + PAGE))
        # scratch memory for each thread lies last, and ends with a page
        scratch = program.scratch * program_module.most_threads() if program.parallel else program.scratch
        return top + PAGE + -scratch % PAGE

    def __call__(self, values: Sequence[Any]) -> list[np.ndarray]:
        compiled = self.compiled
        if compiled.work is None:
            work = pages(compiled.workspace_bytes)
            work[:] = FRESH
            work[: STATE_BYTES * compiled.stores] = 0
            for begin, stop in self.gaps:
                work[begin:stop] = PATTERN
            for begin, stop in self.holes:
                _protect(work.ctypes.data + begin, stop - begin, NOTHING)
            with patch.object(workspaces, "aligned", lambda size: work):
                compiled._open()
        xs = [frozen(v, dtype, shape, self.end) for v, (shape, dtype) in zip(values, compiled.inputs, strict=True)]
        results: list[Place] = []

        def result(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
            results.append(Place(shape, dtype, self.end))
            return results[-1].array

        with patch.object(program_module, "empty", result):
            out = compiled(xs)
        assert all(r.whole() for r in results), "something was written beside a result"
        beside = all((compiled.work[begin:stop] == PATTERN).all() for begin, stop in self.gaps)
        assert beside, "something was written beside a value of the workspace"
        return [np.array(o) for o in out]
