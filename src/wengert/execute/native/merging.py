"""An expression over `(a, b, n)`, seen as one over the rows and columns `(a·b, n)` of the product that it reads."""

from __future__ import annotations

import math
from collections.abc import Mapping

from wengert.execute.native.statements import Expr, Product
from wengert.ir.types import Shape


def merges(shape: Shape, host: Product) -> bool:
    """Whether the product's rows are several axes of this shape, all else being equal."""
    lead = len(host.shape) - 2
    return (
        len(shape) > len(host.shape)
        and shape[:lead] == host.shape[:lead]
        and shape[-1] == host.shape[-1]
        and math.prod(shape[lead:-1]) == host.shape[-2]
    )


def merged(
    e: Expr, host: Product, shape: Shape, loads: Mapping[int, Expr], known: dict[int, Expr | None]
) -> Expr | None:
    """`e`, an operand or part of an expression over `shape`, over the product's own axes; None where that can't be.

    `loads` are the product's own values, by the id of the buffer where they lie.
    """
    if id(e) not in known:
        known[id(e)] = _merged(e, host, shape, loads, known)
    return known[id(e)]


def _merged(
    e: Expr, host: Product, shape: Shape, loads: Mapping[int, Expr], known: dict[int, Expr | None]
) -> Expr | None:
    rank, lead = len(shape), len(host.shape) - 2
    if len(e.shape) <= 1:
        return e  # it is read along the columns
    full = (1,) * (rank - len(e.shape)) + e.shape
    rows = math.prod(full[lead:-1])
    if rows not in (1, host.shape[-2]):
        return None
    new = (*full[:lead], rows, full[-1])
    if e.view is not None:
        if (own := loads.get(id(e.view.buffer))) is not None:
            whole = e.view.contiguous and e.view.offset == 0 and full == shape
            return own if whole else None
        view = e.view.reshaped(new)
        return None if view is None else Expr("load", (), new, e.dtype, view)
    if e.op in ("permute", "squeeze", "index", "gather"):
        return None
    args = [merged(a, host, shape, loads, known) for a in e.args]
    if None in args:
        return None
    return Expr(e.op, tuple(args), new, e.dtype, params=e.params)  # type: ignore[arg-type]
