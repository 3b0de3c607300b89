"""Running results along an axis: loops whose carry is the result so far.

Where the axis is the innermost one in memory, each row is a loop over numbers in registers; else one turn combines
whole vectors of the other axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from wengert.execute.native.lower import LOWERINGS, Lowering, NoCodeError, elements, load
from wengert.execute.native.statements import Expr, Loop, Nest, Root, Statement
from wengert.execute.native.views import Buffer, Counter, View, dense
from wengert.ir.graph import Node

BOOL, INT64 = np.dtype(np.bool_), np.dtype(np.int64)
Turn = Callable[[Sequence[Expr], Sequence[Expr]], list[Expr]]  # the carry and the operands to the new carry


def _op(name: str, *args: Expr, dtype: np.dtype | None = None) -> Expr:
    shape = max((a.shape for a in args), key=len)
    return Expr(name, args, shape, dtype or args[-1].dtype, params=())


def _number(value: float, dtype: np.dtype) -> Expr:
    return Expr("number", (), (), dtype, params=value)


def _combined(name: str) -> Turn:
    return lambda carry, x: [_op(name, carry[0], x[0])]


def _recurrence(carry: Sequence[Expr], x: Sequence[Expr]) -> list[Expr]:
    return [_op("add", _op("multiply", x[0], carry[0]), x[1])]


def _logaddexp(carry: Sequence[Expr], x: Sequence[Expr]) -> list[Expr]:
    """`max(c, x) + log(1 + exp(-|c - x|))`; equal ones, also infinite, are doubled."""
    c, y = carry[0], x[0]
    small = _op("log1p", _op("exp", _op("negative", _op("abs", _op("subtract", c, y)))))
    same = _op("add", c, _number(math.log(2), c.dtype))
    return [_op("select", _op("equal", c, y, dtype=BOOL), same, _op("add", _op("maximum", c, y), small))]


def _first_reached(name: str) -> Turn:
    def turn(carry: Sequence[Expr], x: Sequence[Expr]) -> list[Expr]:
        (best, at), (y, here) = carry, x
        new = _op(name, best, y)
        moved = _op("not_equal", new, best, dtype=BOOL)
        if y.dtype.kind == "f":  # NaN is reached once
            nan = _op("logical_and", _op("isnan", new, dtype=BOOL), _op("isnan", best, dtype=BOOL))
            moved = _op("logical_and", moved, _op("logical_not", nan))
        return [new, _op("select", moved, here, at)]

    return turn


def running(
    lowering: Lowering, node: Node, operands: list[View], turn: Turn, given: Sequence[Expr] | None
) -> dict[int, Expr]:
    """The last of the carry after each turn. It begins with the operands' first elements, or with what is `given`."""
    axis, reverse, out = node.params["axis"], node.params["reverse"], node.outputs[0]
    n, rest = out.shape[axis], tuple(k for k in range(len(out.shape)) if k != axis)
    target = lowering.new(out)
    views = [v.permuted((*rest, axis)) for v in (*operands, target)]
    rows: list[Counter] = []
    if operands[0].strides[axis] == 1 and rest:
        for _ in rest:
            rows.append(Counter())
            views = [v.element(rows[-1]) for v in views]
    views = [v.permuted((len(v.shape) - 1, *range(len(v.shape) - 1))) for v in views]
    shape = views[0].shape[1:]
    kinds = [v.buffer.dtype for v in views[:-1]] if given is None else [g.dtype for g in given]
    carry = [dense(Buffer("work", -1, t, elements(shape)), shape) for t in kinds]
    first = n - 1 if reverse else 0
    peeled = given is None
    start = [load(_from(v, first, 1).reshaped(v.shape[1:]) or v) for v in views[:-1]] if peeled else list(given or ())
    begin = Nest(
        shape, [Root(Expr("copy", (s,), shape, s.dtype), c, load(c)) for s, c in zip(start, carry, strict=True)]
    )
    if peeled:
        window = _from(views[-1], first, 1).reshaped(shape)
        assert window is not None
        begin.roots.append(Root(Expr("copy", (begin.roots[-1].loaded,), shape, kinds[-1]), window, load(window)))
    counter = Counter()
    here = [_from(v, int(peeled and not reverse), n - peeled).element(counter) for v in views]
    new = turn([load(c) for c in carry], [load(v) for v in here[:-1]])
    loop = Nest(shape, [Root(e, c, load(c)) for e, c in zip(new, carry, strict=True)])
    loop.roots.append(Root(Expr("copy", (loop.roots[-1].loaded,), shape, out.dtype), here[-1], load(here[-1])))
    statements: list[Statement] = [begin, Loop(counter, n - peeled, reverse, [], None, [loop])]
    for row, k in zip(reversed(rows), reversed(rest), strict=True) if rows else ():
        statements = [Loop(row, out.shape[k], False, [], None, statements)]
    for s in statements:
        lowering.append(s, target, *carry)
    return {out.index: load(target)}


def _from(view: View, start: int, length: int) -> View:
    """Part of a window along its first axis."""
    zeros = (0,) * (len(view.shape) - 1)
    return view.sliced((start, *zeros), (1,) * len(view.shape), (length, *view.shape[1:]))


def _along(turn: Turn, position: bool = False) -> Callable[[Lowering, Node, list[Expr]], dict[int, Expr]]:
    def lowered(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
        x, out, axis = args[0], node.outputs[0], node.params["axis"]
        if not out.size or x.dtype == BOOL:
            raise NoCodeError
        operands = [lowering.place(x)]
        if position:
            n = x.shape[axis]
            shape = tuple(n if k == axis else 1 for k in range(len(x.shape)))
            operands.append(lowering.place(lowering._constant(np.arange(n).reshape(shape))).broadcast(x.shape))
        return running(lowering, node, operands, turn, None)

    return lowered


def linear_recurrence(lowering: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    out = node.outputs[0]
    if not out.size:
        raise NoCodeError
    return running(lowering, node, [lowering.place(a) for a in args], _recurrence, [_number(0.0, out.dtype)])


LOWERINGS.update(
    cumulative_sum=_along(_combined("add")),
    cumulative_prod=_along(_combined("multiply")),
    cumulative_max=_along(_combined("maximum")),
    cumulative_min=_along(_combined("minimum")),
    cumulative_logsumexp=_along(_logaddexp),
    cumulative_max_position=_along(_first_reached("maximum"), position=True),
    cumulative_min_position=_along(_first_reached("minimum"), position=True),
    linear_recurrence=linear_recurrence,
)
