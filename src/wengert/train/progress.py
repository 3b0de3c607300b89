"""The progress bar of a training run."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from typing import TextIO

OFTEN = 0.1  # seconds between two pictures at least


class Progress:
    """One line for the epoch under way, with loss, metrics, speed and time left, and one that stays for each epoch.

    Args:
        shown: whether anything is written; None: if the output is a terminal.
        output: the standard error output unless given.
    """

    def __init__(self, shown: bool | None = None, output: TextIO | None = None):
        self.output = output or sys.stderr
        self.shown = self.output.isatty() if shown is None else shown
        self.start = self.drawn = time.perf_counter()
        self.done_before = 0
        self.wide = 0

    def begin(self, done: int) -> None:
        """An epoch begins, `done` of its batches being done."""
        self.start, self.drawn, self.done_before = time.perf_counter(), 0.0, done

    def due(self) -> bool:
        """Whether it is time for another picture."""
        return self.shown and time.perf_counter() - self.drawn > OFTEN

    def draw(self, title: str, done: int, total: int | None, numbers: Mapping[str, float]) -> None:
        self.drawn = time.perf_counter()
        self._write("\r" + self.line(title, done, total, numbers, self.drawn - self.start))

    def line(self, title: str, done: int, total: int | None, numbers: Mapping[str, float], seconds: float) -> str:
        """What is drawn, `seconds` after the start."""
        speed = (done - self.done_before) / seconds if seconds > 0 else 0.0
        parts = [title]
        if total:
            parts += [bar(done / total), f"{done}/{total}"]
        else:
            parts.append(f"{done}")
        parts += [f"{n} {v:.4g}" for n, v in numbers.items()]
        parts.append(f"{speed:.4g} it/s")
        if total and speed:
            parts.append(f"{clock((total - done) / speed)} left")
        return self._fitting("  ".join(parts))

    def end(self, title: str, done: int, numbers: Mapping[str, float]) -> None:
        """The line that stays when an epoch has ended."""
        if self.shown:
            seconds = time.perf_counter() - self.start
            parts = [title, *(f"{n} {v:.4g}" for n, v in numbers.items()), f"{clock(seconds)}"]
            if seconds:
                parts.append(f"{(done - self.done_before) / seconds:.4g} it/s")
            self._write("\r" + self._fitting("  ".join(parts)) + "\n")
            self.wide = 0

    def say(self, text: str) -> None:
        if self.shown:
            self._write("\r" + text.ljust(self.wide) + "\n")
            self.wide = 0

    def _fitting(self, text: str) -> str:
        """`text` cut to the terminal, and long enough to cover what was there."""
        width = shutil.get_terminal_size().columns - 1
        text = text[:width]
        padded = text.ljust(self.wide)
        self.wide = len(text)
        return padded

    def _write(self, text: str) -> None:
        self.output.write(text)
        self.output.flush()


def bar(share: float, width: int = 20) -> str:
    """A bar of which `share` is full."""
    full = min(max(share, 0.0), 1.0) * width
    half = "╸" if full % 1 >= 0.5 else ""
    return ("━" * int(full) + half).ljust(width)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"
