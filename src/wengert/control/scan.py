"""The loop over a sequence, as one step: `(constants, carry, xs) -> (carry, ys)`.

Its derivative is a loop again: the body is split into a primal part that emits residuals and a linear part that reads
them (`diff.linearize.split`); reverse mode runs the transposed linear part backwards over the sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.batch import batched_graph
from wengert.control.call import floating
from wengert.control.functions import check_types
from wengert.control.residuals import BodyDerivative, active_carry
from wengert.diff.linearize import forward
from wengert.diff.sparse.pattern import walk
from wengert.diff.zeros import zeros
from wengert.errors import ShapeError
from wengert.ir.array import Array
from wengert.ir.graph import Graph, evaluate, replay
from wengert.ir.primitive import Params, Primitive
from wengert.ir.record import stage
from wengert.ir.types import ArrayType
from wengert.ops.shape import broadcast_to, move_axis, to_front


class Scan(Primitive):
    """`body(*constants, *carry, *x) -> (*carry, *y)` for each x of the sequences, in order or in `reverse`.

    `length` is how many turns there are; None where only the sequences know it, when the program runs.
    """

    multiple = True

    def type(
        self, *types: ArrayType, body: Graph, num_consts: int, num_carry: int, length: int | None, reverse: bool
    ) -> Any:
        sequences = types[num_consts + num_carry :]
        turns: Any = sequences[0].shape[0] if length is None else length
        for t in sequences:
            if not t.shape or t.shape[0] != turns:
                raise ShapeError(f"scan over {turns} turns: a sequence has type {t!r}; its first axis must count them")
        each = [t.with_shape(t.shape[1:]) for t in sequences]
        check_types(body, [*types[: num_consts + num_carry], *each], "scan")
        outs = body.out_types
        return (*outs[:num_carry], *(t.with_shape((turns, *t.shape)) for t in outs[num_carry:]))

    def weak_result(self, args: Sequence[Any], params: Params) -> tuple[bool, ...]:
        return tuple(t.weak for t in params["body"].out_types)

    def evaluate(
        self, *values: Any, body: Graph, num_consts: int, num_carry: int, length: int | None, reverse: bool
    ) -> Any:
        consts, carry = values[:num_consts], list(values[num_consts : num_consts + num_carry])
        xs = values[num_consts + num_carry :]
        turns = len(xs[0]) if length is None else length
        ys = [np.empty((turns, *t.shape), t.dtype) for t in body.out_types[num_carry:]]
        for i in reversed(range(turns)) if reverse else range(turns):
            outs = evaluate(body, [*consts, *carry, *[x[i] for x in xs]])
            carry = outs[:num_carry]
            for y, value in zip(ys, outs[num_carry:], strict=True):
                y[i] = value
        return (*carry, *ys)

    def linearize(self, values: Sequence[Array], params: Params, active: Sequence[bool]) -> Any:
        body, nc, nk = params["body"], params["num_consts"], params["num_carry"]
        marks = active_carry(body, floating(values, active), nc, nk)
        derivative = BodyDerivative(body, marks, nc, nk, counts=params["length"] is None)
        outs = self.bind(*values, **{**params, "body": derivative.primal})
        n = len(body.outputs)
        fixed, stacked = derivative.residuals(values[:nc], values[nc + nk :], outs[n:])
        return outs[:n], LoopDerivative(derivative, fixed, stacked, params["length"], params["reverse"])

    def forward(self, values: Sequence[Array], tangents: Sequence[Array | None], params: Params) -> Any:
        body, nc, nk = params["body"], params["num_consts"], params["num_carry"]
        marks = active_carry(body, [t is not None for t in tangents], nc, nk)
        both, y_marks = forward_body(body, marks, nc, nk)
        given = [zeros(v.type) if t is None and m else t for v, t, m in zip(values, tangents, marks, strict=True)]
        args: list[Array] = []
        for group in (slice(nc), slice(nc, nc + nk), slice(nc + nk, None)):
            args += [*values[group], *(t for t in given[group] if t is not None)]
        n_const, n_carry = sum(marks[:nc]), sum(marks[nc : nc + nk])
        outs = self.bind(*args, **{**params, "body": both, "num_consts": nc + n_const, "num_carry": nk + n_carry})
        ny = len(y_marks)
        carry_t, y_t = iter(outs[nk : nk + n_carry]), iter(outs[nk + n_carry + ny :])
        pushed = [next(carry_t) if m else None for m in marks[nc : nc + nk]] + [
            next(y_t) if m else None for m in y_marks
        ]
        return (*outs[:nk], *outs[nk + n_carry : nk + n_carry + ny]), pushed

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        body, nc, nk = params["body"], params["num_consts"], params["num_carry"]
        flags = [a is not None for a in axes]
        while True:  # a carry that becomes batched in one turn is batched from the start
            graph, marks = batched_graph(body, flags, size, [*flags[nc : nc + nk], *[False] * (len(body.outputs) - nk)])
            if marks[:nk] == flags[nc : nc + nk]:
                break
            flags[nc : nc + nk] = marks[:nk]
        moved = []
        for i, (v, a, flag) in enumerate(zip(values, axes, flags, strict=True)):
            if i >= nc + nk:
                moved.append(v if a is None else move_axis(v, a, 1))
            elif flag:
                moved.append(broadcast_to(v, (size, *v.shape)) if a is None else to_front(v, a))
            else:
                moved.append(v)
        outs = self.bind(*moved, **{**params, "body": graph})
        return outs, [(0 if k < nk else 1) if m else None for k, m in enumerate(marks)]

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        body, nc, nk = params["body"], params["num_consts"], params["num_carry"]
        consts, carry, xs = patterns[:nc], list(patterns[nc : nc + nk]), patterns[nc + nk :]
        turns = types[nc + nk].shape[0] if params["length"] is None else params["length"]
        words = next(p.shape[-1] for p in patterns if p is not None)
        ys = [np.zeros((turns, *t.shape, words), np.uint64) for t in body.out_types[nk:]]
        for i in reversed(range(turns)) if params["reverse"] else range(turns):
            outs = walk(body, [*consts, *carry, *(None if x is None else x[i] for x in xs)])
            carry = outs[:nk]
            for y, p in zip(ys, outs[nk:], strict=True):
                y[i] = 0 if p is None else p
        return [*carry, *ys]


class LoopDerivative:
    """The derivative of one run of a loop: its linear body, with residuals that are fixed or stacked turn by turn."""

    __slots__ = ("body", "fixed", "length", "reverse", "stacked")

    def __init__(
        self, body: BodyDerivative, fixed: list[Array], stacked: list[Array], length: int | None, reverse: bool
    ):
        self.body = body
        self.fixed = fixed
        self.stacked = stacked
        self.length = length
        self.reverse = reverse

    def push(self, tangents: Sequence[Array | None]) -> list[Array | None]:
        d = self.body
        n_const, n_carry, _ = d.active
        mine = [t for t, m in zip(tangents, d.marks, strict=True) if m]
        state = [zeros(k) if t is None else t for t, k in zip(mine, [*d.const_types, *d.carry_types], strict=False)]
        x_t = mine[n_const + n_carry :]
        outs = iter(
            scan_p.bind(
                *self.fixed,
                *state,
                *self.stacked,
                *(t for t in x_t if t is not None),
                body=d.linear([t is not None for t in x_t]),
                num_consts=d.num_fixed + n_const,
                num_carry=n_carry,
                length=self.length,
                reverse=self.reverse,
            )
        )
        return [next(outs) if m else None for m in d.active_out]

    def pull(self, cotangents: Sequence[Array | None]) -> list[Array | None]:
        d = self.body
        n_const, n_carry, _ = d.active
        mine = [c for c, m in zip(cotangents, d.active_out, strict=True) if m]
        carry_c = [zeros(k) if c is None else c for c, k in zip(mine, d.carry_types, strict=False)]
        y_c = mine[n_carry:]
        outs = scan_p.bind(
            *self.fixed,
            *carry_c,
            *(zeros(t) for t in d.const_types),
            *self.stacked,
            *(c for c in y_c if c is not None),
            body=d.backward([c is not None for c in y_c]),
            num_consts=d.num_fixed,
            num_carry=n_carry + n_const,
            length=self.length,
            reverse=not self.reverse,
        )
        found = iter([*outs[n_carry : n_carry + n_const], *outs[:n_carry], *outs[n_carry + n_const :]])
        return [next(found) if m else None for m in d.marks]


def forward_body(body: Graph, marks: Sequence[bool], nc: int, nk: int) -> tuple[Graph, list[bool]]:
    """The body with tangents beside its constants, carry, sequences and outputs; and which ys have a tangent."""
    key = ("forward body", tuple(marks), nc, nk)
    if key not in body.cache:
        y_marks: list[bool] = []
        groups = (slice(nc), slice(nc, nc + nk), slice(nc + nk, None))

        def run(*args: Array) -> list[Array]:
            rest = iter(args)
            values: list[Array] = []
            tangents: list[Array | None] = []
            for group in groups:
                values += [next(rest) for _ in body.inputs[group]]
                tangents += [next(rest) if m else None for m in marks[group]]
            outs, pushed = forward(lambda *vs: replay(body, vs), values, tangents)
            y_marks.extend(t is not None for t in pushed[nk:])
            carry_t = [
                zeros(v.type) if t is None else t
                for v, t, m in zip(outs[:nk], pushed[:nk], marks[nc : nc + nk], strict=True)
                if m
            ]
            return [*outs[:nk], *carry_t, *outs[nk:], *(t for t in pushed[nk:] if t is not None)]

        types: list[ArrayType] = []
        for group in groups:
            mine = body.in_types[group]
            types += [*mine, *(t for t, m in zip(mine, marks[group], strict=True) if m)]
        body.cache[key] = stage(run, types, f"{body.name}: forward")[0], y_marks
    return body.cache[key]


scan_p = Scan("scan")
