"""The buffer plan: one workspace for all intermediate values, its bytes used again once a value has died."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from heapq import heappop, heappush

from wengert.execute.native.statements import (
    Barrier,
    Block,
    Branch,
    Evaluate,
    Expr,
    Loop,
    Nest,
    Product,
    Program,
    Reduction,
    Single,
    Statement,
)
from wengert.execute.native.views import STATE_BYTES, Buffer, View

ALIGNMENT = 64
SMALL = 4096  # bytes: such a buffer has a place for itself where threads share the work, and none waits for another
MOST_SMALL = 256 << 10  # at the beginning of the workspace
LITTLE = 1 << 20  # bytes


def inner_statements(statement: Loop | Branch | Block | Single) -> list[Statement]:
    """What runs inside, in any order."""
    if isinstance(statement, Loop):
        return statement.test + statement.body
    if isinstance(statement, (Block, Single)):
        return statement.body
    return [s for body in statement.bodies for s in body]


def windows_read(statement: Statement, registers: Collection[int] = ()) -> Iterator[Buffer]:
    """The buffers a statement reads, leaving out expressions (by id) that it has in registers."""
    if isinstance(statement, Barrier):
        return
    if isinstance(statement, Evaluate):
        for v in statement.inputs:
            yield from _where(v)
        yield from (p.buffer for v in statement.outputs for p in v.positions)
        return
    if isinstance(statement, (Loop, Branch, Block, Single)):
        yield from (b for inner in inner_statements(statement) for b in windows_read(inner))
        yield from asked(statement)
        return
    if isinstance(statement, Product):
        yield from _where(statement.x)
        yield from _where(statement.y)
    if isinstance(statement, (Nest, Product)):
        yield from (p.buffer for r in statement.roots for p in r.target.positions)
    exprs = [statement.expr] if isinstance(statement, Reduction) else [r.expr for r in statement.roots]
    seen: set[int] = set()
    left: list[Expr] = exprs
    while left:
        e = left.pop()
        if id(e) in seen:
            continue
        seen.add(id(e))
        if e.view is not None and id(e) not in registers:
            yield from _where(e.view)
        left.extend(e.args)


def _where(view: View) -> Iterator[Buffer]:
    """What reading a window reads."""
    yield view.buffer
    yield from (p.buffer for p in view.positions)


def asked(statement: Statement) -> Iterator[Buffer]:
    """What a loop or a branch itself reads, besides the statements inside."""
    if isinstance(statement, Branch):
        yield from _where(statement.index)
    elif isinstance(statement, Loop) and statement.test_value is not None:
        yield from _where(statement.test_value)


def windows_written(statement: Statement) -> Iterator[Buffer]:
    """The buffers a statement writes."""
    if isinstance(statement, Barrier):
        return
    if isinstance(statement, Evaluate):
        yield from (v.buffer for v in statement.outputs)
    elif isinstance(statement, (Loop, Branch, Block, Single)):
        yield from (b for inner in inner_statements(statement) for b in windows_written(inner))
    elif isinstance(statement, Reduction):
        yield statement.target.buffer
    else:
        yield from (r.target.buffer for r in statement.roots if r.stored)
        if isinstance(statement, Product) and statement.sums is not None:
            yield statement.sums.buffer


def drop_unread(program: Program) -> None:
    """Values that only their own statement reads, element by element, stay in registers."""
    everything = list(flat(program.statements))
    readers: dict[int, set[int]] = {}  # buffer -> the statements that read it from memory
    for statement in everything:
        inside = {id(r.loaded) for r in getattr(statement, "roots", ())}
        around = isinstance(statement, (Loop, Branch, Block, Single))  # what is inside comes by itself
        for buffer in asked(statement) if around else windows_read(statement, inside):
            readers.setdefault(id(buffer), set()).add(id(statement))
    for statement in everything:
        if isinstance(statement, (Nest, Product)):
            for r in statement.roots:
                r.stored = r.target.buffer.kind != "work" or bool(readers.get(id(r.target.buffer)))


def flat(statements: list[Statement]) -> Iterator[Statement]:
    """The statements, and those inside of them."""
    for s in statements:
        yield s
        if isinstance(s, (Loop, Branch, Block, Single)):
            yield from flat(inner_statements(s))


def plan(program: Program) -> int:
    """Give every work buffer its byte offset; returns the size of the workspace.

    Without threads all memory is used again as soon as possible, so that what a turn needs fits the nearest cache.
    """
    own, little = (SMALL, LITTLE) if program.parallel else (0, 0)
    free: list[tuple[int, int]] = []  # (offset, size) gaps, by offset
    top = -(-STATE_BYTES * program.stores // ALIGNMENT) * ALIGNMENT  # what stores know of themselves stays in place
    living: list[tuple[int, int, int]] = []  # (last use, offset, size), the next to die first
    for first, last, buffer in sorted(lifetimes(program.statements, little), key=lambda life: life[0]):
        dead = []
        while living and living[0][0] < first:
            dead.append(heappop(living)[1:])
        if dead:
            free = _merged([*free, *dead])
        size = _bytes(buffer)
        if size <= own and top + size <= MOST_SMALL:
            buffer.index = top
            top += size
            continue
        fitting = [gap for gap in free if gap[1] >= size]
        if fitting:
            gap = min(fitting, key=lambda g: g[1])
            free.remove(gap)
            buffer.index = gap[0]
            if gap[1] > size:
                free.append((gap[0] + size, gap[1] - size))
        else:
            buffer.index = top
            top += size
        heappush(living, (last, buffer.index, size))
    return top


def lifetimes(statements: list[Statement], little: int = LITTLE) -> list[tuple[int, int, Buffer]]:
    """The first and the last moment at which each work buffer is in use, in the order of statements.

    What only one body mentions lives there for a part of each turn; what is mentioned outside too, as a carry is, or in
    a loop within, lives as long as that loop. Bodies with `little` memory are not worth the care: there, all lives as
    long as the loop, and threads wait less for each other.
    """
    walk = _Walk()
    walk.through(statements, ())
    small: dict[int, int] = {}  # body -> bytes
    for buffer, home in walk.homes.values():
        small[home[-1]] = small.get(home[-1], 0) + _bytes(buffer)
    spans: dict[int, tuple[int, int, Buffer]] = {}
    for buffer, path, moment in walk.mentions:
        home = walk.homes[id(buffer)][1]
        first = last = moment
        if len(path) > len(home):
            first, last = walk.ranges[path[len(home)]]
        elif len(home) > 1 and small[home[-1]] < little:
            first, last = walk.ranges[home[-1]]
        before = spans.get(id(buffer), (first, last, buffer))
        spans[id(buffer)] = min(before[0], first), max(before[1], last), buffer
    return list(spans.values())


class _Walk:
    """When each buffer is mentioned, and in which bodies: those around it, by number, outermost first."""

    def __init__(self) -> None:
        self.moment = 0
        self.mentions: list[tuple[Buffer, tuple[int, ...], int]] = []
        self.homes: dict[int, tuple[Buffer, tuple[int, ...]]] = {}  # the bodies around all mentions
        self.ranges: dict[int, tuple[int, int]] = {}  # of the statement that has this body
        self.bodies = 0

    def through(self, statements: list[Statement], around: tuple[int, ...]) -> int:
        """Walk over the statements of a body; returns its number."""
        self.bodies += 1
        number = self.bodies
        path = (*around, number)
        for s in statements:
            self.moment += 1
            if not isinstance(s, (Loop, Branch)):
                for buffer in (*windows_read(s), *windows_written(s)):
                    self._mention(buffer, path)
                continue
            begin = self.moment
            for buffer in asked(s):
                self._mention(buffer, path)
            inside = [self.through(b, path) for b in (s.bodies if isinstance(s, Branch) else (s.test, s.body))]
            self.moment += 1
            for buffer in asked(s):
                self._mention(buffer, path)
            self.ranges.update(dict.fromkeys(inside, (begin, self.moment)))
        return number

    def _mention(self, buffer: Buffer, path: tuple[int, ...]) -> None:
        if buffer.kind != "work":
            return
        self.mentions.append((buffer, path, self.moment))
        home = self.homes.get(id(buffer), (buffer, path))[1]
        n = next((k for k, (a, b) in enumerate(zip(home, path, strict=False)) if a != b), min(len(home), len(path)))
        self.homes[id(buffer)] = buffer, home[:n]


def _bytes(buffer: Buffer) -> int:
    return max(-(-buffer.size * buffer.dtype.itemsize // ALIGNMENT) * ALIGNMENT, ALIGNMENT)


def _merged(gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for offset, size in sorted(gaps):
        if result and result[-1][0] + result[-1][1] == offset:
            result[-1] = (result[-1][0], result[-1][1] + size)
        else:
            result.append((offset, size))
    return result
