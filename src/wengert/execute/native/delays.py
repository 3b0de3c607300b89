"""Fewer barriers: what would make the threads wait is put off until several such statements can share one barrier.

In a chain of layers, each thread pulls its rows of the cotangent through all of them without waiting; only the weights'
gradients need everybody's rows. Put off together, those of many layers wait once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wengert.execute.native.barriers import Barriers, touched
from wengert.execute.native.pending import Access
from wengert.execute.native.statements import Branch, Loop, Statement

MOST = 24  # statements that are put off
MOST_BYTES = 512 << 10  # that they touch: beyond, what they read would have left the caches


def put_off(statements: Sequence[Statement], in_place: Mapping[int, int]) -> list[Statement]:
    """The statements in an order that needs fewer barriers; whatever touches the same bytes keeps its order."""
    return _Delays(in_place).ordered(statements)


class _Delays:
    def __init__(self, in_place: Mapping[int, int]):
        self.barriers = Barriers(in_place)
        self.order: list[Statement] = []
        self.waiting: list[tuple[Statement, list[Access]]] = []
        self.reads: set[object] = set()  # the places that those read
        self.writes: set[object] = set()
        self.bytes = 0

    def ordered(self, statements: Sequence[Statement]) -> list[Statement]:
        for s in statements:
            if isinstance(s, (Loop, Branch)):
                self.go()
                self.order.append(s)
                self.barriers.forget()
                continue
            accesses = list(touched(s))
            if self.hangs_on_waiting(accesses) or self.barriers.pending.clash(accesses):
                self.wait(s, accesses)
            else:
                self.now(s, accesses)
            if len(self.waiting) > MOST or self.bytes > MOST_BYTES:
                self.go()
        self.go()
        return self.order

    def hangs_on_waiting(self, accesses: Sequence[Access]) -> bool:
        places = [(self.barriers.pending.place(a.buffer), a.writes) for a in accesses]
        return any(p in self.writes or (writes and p in self.reads) for p, writes in places)

    def wait(self, s: Statement, accesses: list[Access]) -> None:
        self.waiting.append((s, accesses))
        for a in accesses:
            place = self.barriers.pending.place(a.buffer)
            if place not in self.reads and place not in self.writes:
                self.bytes += a.buffer.size * a.buffer.dtype.itemsize
            (self.writes if a.writes else self.reads).add(place)

    def now(self, s: Statement, accesses: list[Access]) -> None:
        self.order.append(s)
        self.barriers.pending.add(accesses)

    def go(self) -> None:
        """What waits, in its order; where it meets others' numbers, there will be a barrier."""
        for s, accesses in self.waiting:
            if self.barriers.pending.clash(accesses):
                self.barriers.forget()
            self.now(s, accesses)
        self.waiting, self.reads, self.writes, self.bytes = [], set(), set(), 0
