"""A team whose threads take turns: between two barriers one runs after the other, in an order drawn at random.

If two threads touch the same bytes between two barriers, one of them writing, the order shows in the result. A real
team shows that only when one of its threads is held up, which is seldom.
"""

from __future__ import annotations

import ctypes
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import llvmlite.binding as llvm

import wengert as wg
from wengert.execute.native import program, schedule, threads

PART = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
BARRIER = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)


def four_at_once(work: Callable[[int], None]) -> None:
    """Four of Python's own threads; returns when all have done `work(number)`."""
    started = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in started:
        t.start()
    for t in started:
        t.join()


@contextmanager
def eager(count: int) -> Iterator[None]:
    """Programs compiled inside deal every kernel, however small, to so many threads; nothing comes from the cache."""
    before = wg.get_num_threads()
    with (
        patch.multiple(schedule, WORTH=0.0, LEAST=0.0, LEAST_ALIKE=0.0, LEAST_EXTENT=2, most_threads=lambda: count),
        patch.object(program, "most_threads", lambda: count),
        patch.dict(os.environ, WENGERT_CACHE_DIR="0"),
    ):
        wg.set_num_threads(count)
        threads.always_in_teams(True)
        try:
            yield
        finally:
            threads.always_in_teams(False)
            wg.set_num_threads(before)


class Team:
    """Stands in for the pool while it is `open`: programs compiled and loaded then are run by `size` taking turns."""

    def __init__(self, size: int, seed: int = 0):
        self.size = size
        self.random = random.Random(seed)
        self.condition = threading.Condition()
        self.order: list[int] = []
        self.sections = 0
        self.mine = threading.local()
        self.callbacks = RUN(self._run), BARRIER(self._barrier)

    def open(self) -> None:
        threads.connect()
        for name, f in zip((threads.RUN, threads.BARRIER), self.callbacks, strict=True):
            llvm.add_symbol(name, ctypes.cast(f, ctypes.c_void_p).value)

    def __enter__(self) -> Team:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        engine = threads._pool().engine
        for name in (threads.RUN, threads.BARRIER):
            llvm.add_symbol(name, engine.get_function_address(name))

    def _shuffle(self) -> None:
        self.order = list(range(self.size))
        self.random.shuffle(self.order)

    def _run(self, part: int, table: int, work: int, most: int, looks: int) -> None:
        self._shuffle()
        members = [threading.Thread(target=self._member, args=(PART(part), t, table, work)) for t in range(self.size)]
        for m in members:
            m.start()
        for m in members:
            m.join()

    def _member(self, part: PART, number: int, table: int, work: int) -> None:
        self.mine.number = number
        self._await()
        part(number, self.size, table, work)
        with self.condition:
            self.order.pop(0)
            self.condition.notify_all()

    def _await(self) -> None:
        with self.condition:
            self.condition.wait_for(lambda: bool(self.order) and self.order[0] == self.mine.number, 60)

    def _barrier(self, *_: int) -> None:
        with self.condition:
            self.order.pop(0)
            if not self.order:
                self._shuffle()
                self.sections += 1
                self.condition.notify_all()
            else:
                section = self.sections
                self.condition.notify_all()
                self.condition.wait_for(lambda: self.sections != section, 60)
        self._await()
