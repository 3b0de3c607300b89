"""The buffer plan: one workspace for all intermediate values, its bytes used again once a value has died."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from wengert.execute.native.statements import (
    Block,
    Branch,
    Evaluate,
    Expr,
    Loop,
    Nest,
    Product,
    Program,
    Reduction,
    Statement,
)
from wengert.execute.native.views import STATE_BYTES, Buffer

ALIGNMENT = 64


def inner_statements(statement: Loop | Branch | Block) -> list[Statement]:
    """What runs inside, in any order."""
    if isinstance(statement, Loop):
        return statement.test + statement.body
    if isinstance(statement, Block):
        return statement.body
    return [s for body in statement.bodies for s in body]


def windows_read(statement: Statement, registers: Collection[int] = ()) -> Iterator[Buffer]:
    """The buffers a statement reads, leaving out expressions (by id) that it has in registers."""
    if isinstance(statement, Evaluate):
        yield from (v.buffer for v in statement.inputs)
        return
    if isinstance(statement, (Loop, Branch, Block)):
        yield from (b for inner in inner_statements(statement) for b in windows_read(inner))
        if isinstance(statement, Branch):
            yield statement.index.buffer
        elif isinstance(statement, Loop) and statement.test_value is not None:
            yield statement.test_value.buffer
        return
    if isinstance(statement, Product):
        yield from (statement.x.buffer, statement.y.buffer)
        yield from (p.buffer for v in (statement.x, statement.y) for p in v.positions)
    exprs = [statement.expr] if isinstance(statement, Reduction) else [r.expr for r in statement.roots]
    seen: set[int] = set()
    left: list[Expr] = exprs
    while left:
        e = left.pop()
        if id(e) in seen:
            continue
        seen.add(id(e))
        if e.view is not None and id(e) not in registers:
            yield e.view.buffer
            yield from (p.buffer for p in e.view.positions)
        left.extend(e.args)


def windows_written(statement: Statement) -> Iterator[Buffer]:
    """The buffers a statement writes."""
    if isinstance(statement, Evaluate):
        yield from (v.buffer for v in statement.outputs)
    elif isinstance(statement, (Loop, Branch, Block)):
        yield from (b for inner in inner_statements(statement) for b in windows_written(inner))
    elif isinstance(statement, Reduction):
        yield statement.target.buffer
    else:
        yield from (r.target.buffer for r in statement.roots if r.stored)
        if isinstance(statement, Product) and statement.scratch is not None:
            yield statement.scratch.buffer


def drop_unread(program: Program) -> None:
    """Values that only their own statement reads, element by element, stay in registers."""
    everything = list(_flat(program.statements))
    readers: dict[int, set[int]] = {}  # buffer -> the statements that read it from memory
    for statement in everything:
        inside = {id(r.loaded) for r in getattr(statement, "roots", ())}
        for buffer in windows_read(statement, inside):
            readers.setdefault(id(buffer), set()).add(id(statement))
    for statement in everything:
        if isinstance(statement, (Nest, Product)):
            for r in statement.roots:
                r.stored = r.target.buffer.kind != "work" or bool(readers.get(id(r.target.buffer)))


def _flat(statements: list[Statement]) -> Iterator[Statement]:
    for s in statements:
        yield s
        if isinstance(s, (Loop, Branch, Block)):
            yield from _flat(inner_statements(s))


def plan(program: Program) -> int:
    """Give every work buffer its byte offset; returns the size of the workspace."""
    last: dict[int, int] = {}
    for k, statement in enumerate(program.statements):
        for buffer in (*windows_read(statement), *windows_written(statement)):
            last[id(buffer)] = k
    free: list[tuple[int, int]] = []  # (offset, size) gaps, by offset
    top = -(-STATE_BYTES * program.stores // ALIGNMENT) * ALIGNMENT  # what stores know of themselves stays in place
    dying: dict[int, list[Buffer]] = {}
    placed: set[int] = set()
    for k, statement in enumerate(program.statements):
        for buffer in windows_written(statement):
            if buffer.kind != "work" or id(buffer) in placed:
                continue
            placed.add(id(buffer))
            size = max(-(-buffer.size * buffer.dtype.itemsize // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
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
            dying.setdefault(last[id(buffer)], []).append(buffer)
        for buffer in dying.pop(k, []):
            size = max(-(-buffer.size * buffer.dtype.itemsize // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
            free = _merged([*free, (buffer.index, size)])
    return top


def _merged(gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for offset, size in sorted(gaps):
        if result and result[-1][0] + result[-1][1] == offset:
            result[-1] = (result[-1][0], result[-1][1] + size)
        else:
            result.append((offset, size))
    return result
