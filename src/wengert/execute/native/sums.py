"""Column sums on the way: a product that reads all rows of a matrix adds them up too.

A bias's gradient is the sum of the rows that its weight's gradient multiplies with: `Σ y` beside `xᵀ·y`. By itself that
sum would fetch the rows from memory once more; the product has each part of them in the first-level cache.
"""

from __future__ import annotations

import math
from dataclasses import replace

from wengert.execute.native.plan import windows_read, windows_written
from wengert.execute.native.products import sums_columns
from wengert.execute.native.statements import Convolution, Nest, Product, Program, Reduction, Statement
from wengert.execute.native.target import Target
from wengert.execute.native.views import View


def join_sums(program: Program, target: Target) -> None:
    """Sums over all but the last axis of what a product reads become part of that product."""
    statements = program.statements
    lies: dict[int, View] = {}  # id of an expression -> where a statement stores it
    products: dict[tuple[int, int], int] = {}  # (buffer's id, columns) -> the product that reads it, by its place
    for at, s in enumerate(statements):
        if isinstance(s, (Nest, Product)):
            lies.update((id(r.expr), r.target) for r in s.roots)
        if isinstance(s, Product) and not isinstance(s, Convolution) and sums_columns(s, target):
            products.setdefault((id(s.y.buffer), s.y.shape[-1]), at)
    gone: set[int] = set()
    for at, s in enumerate(statements):
        if not isinstance(s, Reduction) or s.op != "sum" or s.axes != tuple(range(len(s.expr.shape) - 1)):
            continue
        view = s.expr.view or lies.get(id(s.expr))
        place = products.get((id(view.buffer), s.expr.shape[-1])) if view is not None else None
        if place is None or not s.axes:
            continue
        product = statements[place]
        assert isinstance(product, Product) and view is not None
        if math.prod(view.shape) != math.prod(product.y.shape):  # of some rows only
            continue
        rows = view.reshaped(product.y.shape)
        same = rows is not None and replace(rows, buffer=product.y.buffer).strides == product.y.strides
        if not same or rows.offset != product.y.offset or product.y.steps or product.sums is not None:  # type: ignore[union-attr]
            continue
        if s.target.contiguous and not s.target.steps and _free(statements, at, place, s):
            product.sums = s.target
            gone.add(at)
    program.statements = [s for at, s in enumerate(statements) if at not in gone]


def _free(statements: list[Statement], at: int, place: int, s: Reduction) -> bool:
    """Whether the sum, from its place `at`, can be had from the product at `place`."""
    product = statements[place]
    assert isinstance(product, Product)
    for t in statements[min(at, place) + 1 : max(at, place)]:
        if any(b is product.y.buffer for b in windows_written(t)):
            return False
        if place > at and any(b is s.target.buffer for b in windows_read(t)):
            return False
    return all(b is not s.target.buffer for b in windows_read(product))
