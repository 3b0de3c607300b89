"""Long reductions in parts: partial results side by side, which threads share out, and then a short reduction of those.

The parts depend on nothing but the shape, and so do the results.
"""

from __future__ import annotations

from wengert.execute.native.emit import vector_axis
from wengert.execute.native.lower import elements, load
from wengert.execute.native.rows import expressions
from wengert.execute.native.statements import Branch, Loop, Parts, Program, Reduction, Rows, Statement
from wengert.execute.native.views import Buffer, dense

LONG = 1 << 15  # elements: below, one thread is as quick
MOST = 16
FEW = 8  # kept elements along any axis: with more, threads share out those
UNIT = 64  # elements along vectors that stay together


def make_parts(program: Program) -> None:
    """Put the long reductions of the program, and of its loops, in parts."""
    program.statements = _parted(program.statements)


def _parted(statements: list[Statement]) -> list[Statement]:
    result: list[Statement] = []
    for s in statements:
        if isinstance(s, Loop):
            s.test, s.body = _parted(s.test), _parted(s.body)
        elif isinstance(s, Branch):
            s.bodies = [_parted(body) for body in s.bodies]
        result += _in_parts(s) if type(s) is Reduction else _rows_in_parts(s) if isinstance(s, Rows) else [s]
    return result


def _in_parts(r: Reduction) -> list[Statement]:
    shape = r.expr.shape
    kept = [d for k, d in enumerate(shape) if k not in r.axes]
    if elements(shape) < LONG or max(kept, default=1) >= FEW:
        return [r]
    axis = next((k for k in r.axes if shape[k] >= 2 * FEW), None)
    if axis is None:
        return [r]
    unit = UNIT if axis == vector_axis(shape) else 1
    size = -(-shape[axis] // (MOST * unit)) * unit
    count = -(-shape[axis] // size)
    partial = (count, *kept)
    between = dense(Buffer("work", -1, r.target.buffer.dtype, elements(partial)), partial)
    first = Reduction(r.op, r.expr, r.axes, between, parts=Parts(axis, count, size))
    return [first, Reduction(r.op, load(between), (0,), r.target)]


def _rows_in_parts(s: Rows) -> list[Statement]:
    """What is combined over all rows, in parts of them."""
    (count,) = s.shape
    totals = [r for r in s.roots if r.over is not None]
    if not totals or max(elements(e.shape) for r in totals for e in expressions([r.expr])) < LONG:
        return [s]
    size = -(-count // (MOST * UNIT)) * UNIT
    s.parts = Parts(0, -(-count // size), size)
    after: list[Statement] = []
    for r in totals:
        partial = (s.parts.count, *r.target.shape)
        between = dense(Buffer("work", -1, r.target.buffer.dtype, elements(partial)), partial)
        after.append(Reduction(r.over or "", load(between), (0,), r.target))
        r.target, r.loaded = between, load(between)
    return [s, *after]
