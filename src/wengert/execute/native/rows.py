"""Statements over many rows of few elements each, as one loop along the rows.

Where an array has thousands of rows of two or ten numbers, a vector along the last axis is mostly empty, and each
statement fetches from memory what the last one put there. Here a vector holds one element of several *rows*: sums and
extremes over the short axes become expressions, `fold`, written out element by element; what only the next statement
needs stays in registers, and what is needed twice is there. Results over all rows, as a gradient's, are added up on
the way (`Root.over`).

    distances = sum over axis 2 of [n, k, d]        for n rows:
    least = min over axis 1 of [n, k]           ->    total = sum over the rows: fold min of fold sum of …
    total = sum over axis 0 of [n]
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from wengert.execute.native.elementwise import is_dear
from wengert.execute.native.emit_reduction import CHAINS
from wengert.execute.native.lower import SHORT_ROW, elements
from wengert.execute.native.plan import flat, windows_read, windows_written
from wengert.execute.native.statements import Branch, Expr, Loop, Nest, Program, Reduction, Root, Rows, Statement
from wengert.execute.native.views import Buffer, View

LEAST = 512  # rows
SHORT = 16  # elements along the last axis: about two vectors, beyond which they run along it well enough
VERY_SHORT = 4  # the same, where nothing is combined along it
MOST_OPEN = 4  # groups that may still get more
WIDE = SHORT_ROW  # elements of a row
MOST_STEPS = 2500  # operations, written out: beyond, compiling takes long
DEAR = 20  # operations of an elementary function
DEEPEST = 100
Readers = Mapping[int, set[int]]
APART = ("gather", "written", "index", "product")  # of other indices


def join_rows(program: Program) -> None:
    """Make such runs of statements, also in the bodies of loops and branches, into one each."""
    readers: dict[int, set[int]] = {}  # buffer -> the statements that read it
    for s in flat(program.statements):
        for b in windows_read(s):
            readers.setdefault(id(b), set()).add(id(s))
    program.statements = _joined(program.statements, readers)


def _joined(statements: Sequence[Statement], readers: Readers) -> list[Statement]:
    result: list[Statement | _Group] = []
    free: _Group | None = None  # stands behind everything so far
    placed: list[_Group] = []

    def place(before: Statement | None = None) -> None:
        nonlocal free
        if free is not None:
            if before is not None:
                free.passed(before)
            result.append(free)
            placed.append(free)
            del placed[:-MOST_OPEN]
            free = None

    for s in statements:
        if isinstance(s, Loop):
            s.test, s.body = _joined(s.test, readers), _joined(s.body, readers)
        elif isinstance(s, Branch):
            s.bodies = [_joined(body, readers) for body in s.bodies]
        rows = _rows(s)
        into = next((k for k, g in enumerate(placed) if g.rows == rows and g.in_time(s) and g.add(s)), None)
        for g in placed[:into]:  # all, if it joins none of them
            g.passed(s)
        if into is not None:
            continue
        if free is not None and free.rows == rows and free.add(s):
            continue
        if rows is not None or (free is not None and free.touches(s)):
            place(s)
        if rows is not None:
            free = _Group(rows)
            if free.add(s):
                continue
            free = None
        result.append(s)
    place()
    return [t for s in result for t in (s.statements(readers) if isinstance(s, _Group) else [s])]


def _rows(s: Statement) -> int | None:
    """How many rows of few elements a statement runs over, if it can be joined with others over as many."""
    if type(s) not in (Nest, Reduction):
        return None
    assert isinstance(s, (Nest, Reduction))
    shape = s.expr.shape if isinstance(s, Reduction) else s.shape
    if not shape or shape[0] < LEAST or elements(shape[1:]) > WIDE or (len(shape) > 1 and shape[-1] > SHORT):
        return None
    return shape[0] if all(map(_whole, _targets(s))) else None


def _targets(s: Nest | Reduction) -> list[View]:
    return [s.target] if isinstance(s, Reduction) else [r.target for r in s.roots]


def _whole(v: View) -> bool:
    return v.contiguous and not v.offset and not v.steps and v.buffer.size == elements(v.shape)


class _Group:
    """Statements that become one, which stands where the last of them stood."""

    def __init__(self, rows: int):
        self.rows = rows
        self.old: list[Statement] = []
        self.roots: list[Root] = []
        self.made: dict[int, tuple[View, Expr]] = {}  # by id of a buffer: where it lies, and what it holds
        self.reads: dict[int, Buffer] = {}
        self.known: dict[int, Expr] = {}  # by id, what an expression has become
        self.steps: dict[int, int] = {}  # by id, operations of each part
        self.later: tuple[set[int], set[int]] = set(), set()  # ids of buffers read and written behind its place

    def add(self, s: Statement) -> bool:
        assert isinstance(s, (Nest, Reduction))
        if any(b.kind == "store" or id(b) in self.reads or id(b) in self.made for b in windows_written(s)):
            return False
        exprs = [s.expr] if isinstance(s, Reduction) else [r.expr for r in s.roots]
        made, known = dict(self.made), dict(self.known)
        new: list[Root] = []
        for k, e in enumerate(exprs):
            replaced = self.replaced(e, made, known)
            if replaced is None or replaced.depth > DEEPEST:
                return False
            if isinstance(s, Reduction):
                new.append(self.reduced(s, replaced))
            else:
                new.append(Root(replaced, s.roots[k].target, s.roots[k].loaded))
            if new[-1].over is None:
                made[id(new[-1].target.buffer)] = new[-1].target, new[-1].expr
        steps = dict(self.steps)
        for root in new:
            _count(root.expr, steps)
        if sum(steps.values()) > MOST_STEPS:
            return False
        self.old.append(s)
        self.roots += new
        self.made, self.known, self.steps = made, known, steps
        self.made.update((id(r.target.buffer), (r.target, r.loaded)) for r in new if r.over is not None)
        self.reads.update((id(b), b) for b in windows_read(s))
        return True

    def replaced(self, e: Expr, made: dict[int, tuple[View, Expr]], known: dict[int, Expr]) -> Expr | None:
        """The expression with what the group makes in place of loads; None where it reads that at another index."""
        if id(e) in known:
            return known[id(e)]
        if e.op in APART or (e.view is not None and e.view.positions):
            return None
        result = e
        if e.view is not None and id(e.view.buffer) in made:
            target, value = made[id(e.view.buffer)]
            exact = _whole(e.view) and [d for d in e.shape if d != 1] == [d for d in target.shape if d != 1]
            if not exact or value.view is not None:  # (a result over all rows: it is not there yet)
                return None
            result = value if e.shape == target.shape else Expr("squeeze", (value,), e.shape, e.dtype)
        elif e.args:
            args = [self.replaced(a, made, known) for a in e.args]
            if None in args:
                return None
            if any(a is not b for a, b in zip(args, e.args, strict=True)):
                result = Expr(e.op, tuple(args), e.shape, e.dtype, params=e.params)  # type: ignore[arg-type]
        known[id(e)] = result
        return result

    def reduced(self, s: Reduction, e: Expr) -> Root:
        """A reduction of what its expression has become: over short axes in place, over the rows on the way."""
        short = tuple(k for k in s.axes if k)
        if short:
            kept = tuple(d for k, d in enumerate(e.shape) if k not in short)
            e = Expr("fold", (e,), kept, e.dtype, params=(s.op, short))
        loaded = Expr("load", (), s.target.shape, s.target.buffer.dtype, s.target)
        return Root(e, s.target, loaded, over=s.op if 0 in s.axes else None)

    def passed(self, s: Statement) -> None:
        """A statement stands behind the group."""
        read, written = self.later
        read.update(id(b) for b in windows_read(s))
        written.update(id(b) for b in windows_written(s))

    def in_time(self, s: Statement) -> bool:
        """Whether a statement could as well stand where the group does."""
        read, written = self.later
        return not any(id(b) in written for b in windows_read(s)) and not any(
            id(b) in written or id(b) in read for b in windows_written(s)
        )

    def touches(self, s: Statement) -> bool:
        """Whether a statement has to keep its place before or after those of the group."""
        written = [id(b) for b in windows_written(s)]
        return any(b in self.reads or b in self.made for b in written) or any(
            id(b) in self.made for b in windows_read(s)
        )

    def statements(self, readers: Readers) -> list[Statement]:
        """The group as one statement, if its vectors would be short and it has something to fold, or many sums."""
        inside = set(map(id, self.old))
        stored = [
            r for r in self.roots if r.target.buffer.kind != "work" or readers.get(id(r.target.buffer), set()) - inside
        ]
        parts = expressions([r.expr for r in stored])
        folds = any(p.op == "fold" or _spread(p) for p in parts) and any(len(p.shape) > 1 for p in parts)
        many = sum(r.over is not None for r in stored) >= CHAINS  # so that no addition waits for the last one
        if not (folds or many) or any(r.over is None and elements(r.expr.shape[1:]) > SHORT for r in stored):
            return self.old
        return [Rows((self.rows,), self.roots)]


def _spread(e: Expr) -> bool:
    """Whether very short rows are computed from other elements of each row or of none, not one by one as they lie."""
    return (
        len(e.shape) > 1
        and e.shape[-1] <= VERY_SHORT
        and any(1 < elements(a.shape) < elements(e.shape) for a in e.args)
    )


def _count(e: Expr, steps: dict[int, int]) -> None:
    if id(e) in steps:
        return
    each = DEAR if is_dear(e.op) else 1
    steps[id(e)] = each * math.prod((e.args[0] if e.op == "fold" else e).shape[1:])
    for a in e.args:
        _count(a, steps)


def expressions(exprs: Iterable[Expr]) -> list[Expr]:
    """Every different part of the expressions."""
    seen: dict[int, Expr] = {}
    left = list(exprs)
    while left:
        e = left.pop()
        if id(e) not in seen:
            seen[id(e)] = e
            left += e.args
    return list(seen.values())
