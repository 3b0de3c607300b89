"""Writing at positions to LLVM: one update after another, the elements of each by vectors."""

from __future__ import annotations

from typing import Any

from wengert.execute.native import elementwise
from wengert.execute.native.emit import Body, Function, aligned, vector_axis
from wengert.execute.native.statements import Scatter


def emit_scatter(f: Function, s: Scatter) -> None:
    """Set or combine the elements of the target; an update that lies outside is left out."""
    b, shape, dtype, lead = f.b, s.expr.shape, s.expr.dtype, len(s.axes)
    updates, *operands = s.expr.args
    indexed = len(s.target.shape) - (len(shape) - lead)

    def leaf(body: Body, index: list[Any]) -> None:
        value = body.at(updates, index)
        found = [body.uniform(body.at(p, aligned(p.shape, index))) for p in operands]
        place = body.place(s.target, range(indexed), found[:indexed], index[lead:])

        def write() -> None:
            new = value
            if s.op != "set":
                new = elementwise.emit(b, s.op, dtype, dtype, (), [body.load(s.target, place), value])
            body.store(new, s.target, place)

        if len(found) == indexed:
            write()
        else:
            with b.if_then(found[indexed]):
                write()

    along = vector_axis(shape)
    f.nest(shape, along if along is not None and along >= lead else None, leaf)
