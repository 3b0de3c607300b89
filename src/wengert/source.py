"""Where in the user's program a value was made."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType, FrameType

import numpy as np

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep
_FOREIGN = (_PACKAGE, _NUMPY)  # no user's lines


class Source:
    """A line of the user's program: kept as code object and instruction, read from disk only when printed."""

    __slots__ = ("code", "lasti")

    def __init__(self, code: CodeType, lasti: int):
        self.code = code
        self.lasti = lasti

    @property
    def filename(self) -> str:
        return self.code.co_filename

    @property
    def function(self) -> str:
        return self.code.co_name

    @property
    def line(self) -> int:
        for start, end, line in self.code.co_lines():
            if start <= self.lasti < end and line is not None:
                return line
        return self.code.co_firstlineno

    @property
    def text(self) -> str:
        return linecache.getline(self.filename, self.line).strip()

    def __str__(self) -> str:
        where = f"{self.filename}:{self.line} in {self.function}"
        return f"{where}: {self.text}" if self.text else where


def user_frame(depth: int = 1) -> FrameType | None:
    """The innermost frame outside this package, and outside of NumPy's functions that it calls or is called by."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and frame.f_code.co_filename.startswith(_FOREIGN):
        frame = frame.f_back
    return frame


def numpy_function() -> str | None:
    """The function of NumPy's that the user called, if one is running: `linalg.solve`, `interp`."""
    frame: FrameType | None = sys._getframe(1)
    name = None
    while frame is not None and frame.f_code.co_filename.startswith(_FOREIGN):
        if frame.f_code.co_filename.startswith(_NUMPY):
            part = next((p for p in ("linalg", "fft") if f".{p}" in frame.f_globals.get("__name__", "")), None)
            name = frame.f_code.co_name if part is None else f"{part}.{frame.f_code.co_name}"
        frame = frame.f_back
    return name


_standing: ContextVar[Source | None] = ContextVar("_standing", default=None)


@contextmanager
def standing_at(source: Source | None) -> Iterator[None]:
    """While a recorded step is run again: it belongs to the line that recorded it."""
    token = _standing.set(source or _standing.get())
    try:
        yield
    finally:
        _standing.reset(token)


def user_source() -> Source | None:
    """The user's line that is running now."""
    if (standing := _standing.get()) is not None:
        return standing
    frame = user_frame(2)
    return None if frame is None else Source(frame.f_code, frame.f_lasti)


def at_user_line() -> str:
    """A closing sentence for an error message: the user's line, when there is one."""
    source = user_source()
    return "" if source is None else f"\n  at {source}"
