"""What was touched since the last barrier, found again by where it lies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from wengert.execute.native.views import Buffer, Store

CELL = 1 << 16  # bytes of the workspace that are looked up together
MANY = 64  # cells: what covers more is compared with everything in the workspace


class Grains(NamedTuple):
    """Grain g of the accesses to a buffer stays between the bytes `(start + g) · size` and `(start + g + 1) · size`."""

    number: int
    size: int
    start: int


class Access(NamedTuple):
    buffer: Buffer
    writes: bool
    who: Any  # "first", "all" (any of them, anywhere in the buffer) or Grains


class Pending:
    """Accesses since the last barrier. Long programs have thousands; each is compared only with those it may meet:
    at the same place, or in the same cells of a workspace that is laid out."""

    def __init__(self, in_place: Mapping[int, int], accesses: Iterable[Access] = ()):
        self.in_place = in_place  # result -> the input that it is written over
        self.known: dict[Any, Access] = {}
        self.at_place: dict[Any, tuple[list[Access], list[Access]]] = {}  # reads and writes
        self.at_cell: dict[int, list[Access]] = {}
        self.large: list[Access] = []
        self.laid: list[Access] = []  # all that have their bytes in the workspace
        self.add(accesses)

    def __iter__(self) -> Iterator[Access]:
        return iter(self.known.values())

    def copy(self) -> Pending:
        return Pending(self.in_place, self)

    def add(self, accesses: Iterable[Access]) -> None:
        for a in accesses:
            key = id(a.buffer), a.writes, a.who
            if key in self.known:
                continue
            self.known[key] = a
            self.at_place.setdefault(self.place(a.buffer), ([], []))[a.writes].append(a)
            if _is_laid(a.buffer):
                self.laid.append(a)
                cells = _cells(a.buffer)
                if len(cells) > MANY:
                    self.large.append(a)
                else:
                    for cell in cells:
                        self.at_cell.setdefault(cell, []).append(a)

    def clash(self, accesses: Iterable[Access]) -> bool:
        """Whether another thread may have touched some of this since the last barrier."""
        return any(self._apart(a, b) for a in accesses for b in self._near(a))

    def has(self, store: Store) -> bool:
        """Whether a store was touched."""
        return any(self.at_place.get(("store", store.index), ()))

    def _near(self, a: Access) -> Iterator[Access]:
        """What may share bytes with `a`, in a way that matters."""
        reads, writes = self.at_place.get(self.place(a.buffer), ((), ()))
        yield from writes
        if a.writes:
            yield from reads
        if _is_laid(a.buffer):
            cells = _cells(a.buffer)
            if len(cells) > MANY:
                yield from self.laid
                return
            yield from self.large
            for cell in cells:
                yield from self.at_cell.get(cell, ())

    def _apart(self, a: Access, b: Access) -> bool:
        """Whether two threads may touch the same bytes, one of them writing."""
        if not (a.writes or b.writes) or (a.who == b.who == "first"):
            return False
        if a.buffer is not b.buffer and a.buffer.store is not None and a.buffer.store is b.buffer.store:
            return True
        if self.place(a.buffer) == self.place(b.buffer):
            return not (isinstance(a.who, Grains) and a.who == b.who)
        if not (_is_laid(a.buffer) and _is_laid(b.buffer)):
            return False
        (p, m), (q, n) = (_span(a.buffer), _span(b.buffer))
        alike = isinstance(a.who, Grains) and isinstance(b.who, Grains) and a.who[:2] == b.who[:2]
        if alike and (p - q + (a.who.start - b.who.start) * a.who.size) % (a.who.number * a.who.size) == 0:
            return False  # one lies where the other lay, and is dealt in the same way
        return p < q + n and q < p + m

    def place(self, buffer: Buffer) -> Any:
        """Equal for buffers that share memory, as far as that was meant; others may be planned to."""
        if buffer.kind == "output" and buffer.index in self.in_place:
            return "input", self.in_place[buffer.index]
        if buffer.store is not None:
            return "store", buffer.store.index
        return (buffer.kind, buffer.index) if buffer.kind != "work" else id(buffer)


def _is_laid(buffer: Buffer) -> bool:
    return buffer.kind == "work" and buffer.index != -1


def _span(buffer: Buffer) -> tuple[int, int]:
    return buffer.index, buffer.size * buffer.dtype.itemsize


def _cells(buffer: Buffer) -> range:
    start, size = _span(buffer)
    return range(start // CELL, (start + max(size, 1) - 1) // CELL + 1)
