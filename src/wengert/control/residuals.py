"""The derivative of a loop body: what its primal part keeps for each turn, and the linear body that reads it.

Residuals are of three kinds: *fixed* ones depend only on the loop's constants and are computed once, before the loop;
those that are an element of an input sequence are read from that sequence again; only the rest is *stacked*, one value
a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.control.call import split_static
from wengert.diff.linearize import split, transpose_at
from wengert.diff.zeros import zeros
from wengert.ir.array import Array
from wengert.ir.graph import Graph, replay
from wengert.ir.record import live_nodes, stage
from wengert.ir.types import ArrayType
from wengert.ops.arithmetic import add
from wengert.ops.compare import select
from wengert.ops.shape import reshape


def active_carry(body: Graph, marks: Sequence[bool], num_consts: int, num_carry: int) -> list[bool]:
    """`marks` (which inputs of the body have tangents), with every carry added that gets one in some turn."""
    marks = list(marks)
    while True:
        out = split(body, marks).active_out
        grown = [a or b for a, b in zip(marks[num_consts : num_consts + num_carry], out, strict=False)]
        if grown == marks[num_consts : num_consts + num_carry]:
            return marks
        marks[num_consts : num_consts + num_carry] = grown


class BodyDerivative:
    """A loop body split for differentiation by the inputs in `marks`.

    With `alive`, the type of a last stacked input that says whether the turn took place (a batched `while_loop` goes on
    for examples that have finished): where it did not, tangents and cotangents of the carry pass unchanged. With
    `counts`, the first sequence is kept in any case: nothing else says how many turns there are.
    """

    def __init__(
        self,
        body: Graph,
        marks: Sequence[bool],
        num_consts: int,
        num_carry: int,
        alive: ArrayType | None = None,
        counts: bool = False,
    ):
        self.body = body
        self.counts = counts
        self.marks = list(marks)
        self.alive = alive
        self.split = split_static(body, marks)
        nc, nk, n = num_consts, num_carry, len(body.outputs)
        self.num_carry = nk
        self.active = (sum(marks[:nc]), sum(marks[nc : nc + nk]), sum(marks[nc + nk :]))
        self.carry_marks = self.marks[nc : nc + nk]
        self.const_types = _chosen(body.in_types[:nc], marks[:nc])
        self.carry_types = _chosen(body.in_types[nc : nc + nk], self.carry_marks)
        self.x_types = _chosen(body.in_types[nc + nk :], marks[nc + nk :])
        self.y_types = _chosen(body.out_types[nk:], self.split.active_out[nk:])
        # a carry keeps its tangent even if the last turn sets it to a constant
        self.active_out = [*marks[nc : nc + nk], *self.split.active_out[nk:]]
        self._classify(nc, nk, n)

    def _classify(self, nc: int, nk: int, n: int) -> None:
        whole = self.split.primal
        trace, wanted = whole.trace, whole.outputs[n:]
        assert trace is not None
        position = {v.index: i for i, v in enumerate(whole.inputs)}
        varying = {v.index for v in whole.inputs[nc:]}
        for node in whole.nodes:
            if any(a.trace is trace and a.index in varying for a in node.inputs):
                varying.update(o.index for o in node.outputs)
        self.sources: list[tuple[str, int]] = []  # where each residual comes from
        self.fixed_values: list[Array] = []
        emitted: list[Array] = []
        for r in wanted:
            if r.trace is not trace or r.index not in varying:
                self.sources.append(("fixed", len(self.fixed_values)))
                self.fixed_values.append(r)
            elif position.get(r.index, 0) >= nc + nk:
                self.sources.append(("sequence", position[r.index] - nc - nk))
            else:
                self.sources.append(("stacked", len(emitted)))
                emitted.append(r)
        outputs = [*whole.outputs[:n], *emitted]
        nodes, _ = live_nodes(whole.nodes, outputs, trace)
        self.primal = Graph(whole.inputs, nodes, outputs, trace, whole.size, f"{self.body.name}: primal")
        nodes, _ = live_nodes(whole.nodes, self.fixed_values, trace)
        self.before = Graph(whole.inputs[:nc], nodes, self.fixed_values, trace, whole.size, f"{self.body.name}: before")
        self.num_fixed = len(self.fixed_values)
        self.fixed_types = [v.type for v in self.fixed_values]
        # the stacked inputs of the linear body: each sequence once, then what was emitted
        self.sequences = sorted({i for kind, i in self.sources if kind == "sequence"} | ({0} if self.counts else set()))
        self.stacked_types = [self.body.in_types[nc + nk + i] for i in self.sequences] + [r.type for r in emitted]
        if self.alive is not None:
            self.stacked_types.append(self.alive)

    def residuals(
        self, consts: Sequence[Array], xs: Sequence[Array], emitted: Sequence[Array]
    ) -> tuple[list[Array], list[Array]]:
        """The fixed residuals, computed now, and the stacked ones."""
        return replay(self.before, consts), [*(xs[i] for i in self.sequences), *emitted]

    def _arrange(self, fixed: Sequence[Array], stacked: Sequence[Array]) -> list[Array]:
        """The residuals in the order in which the linear part takes them."""
        place = {i: k for k, i in enumerate(self.sequences)}
        taken = []
        for kind, i in self.sources:
            if kind == "fixed":
                taken.append(fixed[i])
            else:
                taken.append(stacked[place[i] if kind == "sequence" else len(place) + i])
        return taken

    def linear(self, given: Sequence[bool]) -> Graph:
        """The linear body: (fixed, tangents of constants | of carry | stacked, tangents of sequences) -> (carry | ys).

        `given` says which active sequences have a tangent at all; the others' are zero.
        """
        n_const, n_carry, _ = self.active

        def run(*args: Array) -> list[Array]:
            cut = _cut(args, self.num_fixed, n_const, n_carry, len(self.stacked_types))
            fixed, const_t, carry_t, stacked, rest = cut
            x_t = _at(given, rest, self.x_types)
            outs = iter(replay(self.split.linear, [*self._arrange(fixed, stacked), *const_t, *carry_t, *x_t]))
            found = [next(outs) if a else None for a in self.split.active_out]
            carry = [c for c, m in zip(found[: self.num_carry], self.carry_marks, strict=True) if m]
            new = [zeros(t) if c is None else c for c, t in zip(carry, self.carry_types, strict=True)]
            if self.alive is not None:
                new = [_where_alive(stacked[-1], c, old) for c, old in zip(new, carry_t, strict=True)]
            return new + [y for y in found[self.num_carry :] if y is not None]

        types = [*self.fixed_types, *self.const_types, *self.carry_types, *self.stacked_types]
        return self._staged(("linear", tuple(given)), run, types + _chosen(self.x_types, given))

    def backward(self, given: Sequence[bool]) -> Graph:
        """Its transpose: (fixed | cotangents of carry, sums of constants | stacked, of ys) -> (carry, sums | xs)."""
        n_const, n_carry, _ = self.active

        def run(*args: Array) -> list[Array]:
            fixed, carry_c, sums, stacked, rest = _cut(args, self.num_fixed, n_carry, n_const, len(self.stacked_types))
            arriving = list(carry_c)
            if self.alive is not None:
                arriving = [_where_alive(stacked[-1], c, 0) for c in carry_c]
            by_carry = iter(arriving)
            cotangents = [
                c
                for c, a in zip(
                    [next(by_carry) if m else None for m in self.carry_marks], self.split.active_out, strict=False
                )
                if a
            ]
            back = transpose_at(
                self.split.linear, self._arrange(fixed, stacked), [*cotangents, *_at(given, rest, self.y_types)]
            )
            const_c, carry, x_c = _cut(back, n_const, n_carry)
            if self.alive is not None:
                carry = [_where_alive(stacked[-1], c, old) for c, old in zip(carry, carry_c, strict=True)]
            return [*carry, *(add.bind(s, c) for s, c in zip(sums, const_c, strict=True)), *x_c]

        types = [*self.fixed_types, *self.carry_types, *self.const_types, *self.stacked_types]
        return self._staged(("backward", tuple(given)), run, types + _chosen(self.y_types, given))

    def _staged(self, what: tuple[object, ...], run: Callable[..., list[Array]], types: list[ArrayType]) -> Graph:
        key = (*what, tuple(self.marks), self.num_carry, self.alive, self.counts)
        if key not in self.body.cache:
            graph, outer = stage(run, types, f"{self.body.name}: {what[0]}")
            assert not outer
            self.body.cache[key] = graph
        return self.body.cache[key]


def _where_alive(alive: Array, x: Any, y: Any) -> Array:
    """`x` for the examples (the leading axes) whose turn took place, else `y`."""
    ndim = max(v.ndim for v in (x, y) if isinstance(v, Array))
    return select(reshape(alive, alive.shape + (1,) * (ndim - alive.ndim)), x, y)


def _cut(values: Sequence[Array], *lengths: int) -> list[Sequence[Array]]:
    """`values` in runs of these lengths, and the rest."""
    parts, at = [], 0
    for n in lengths:
        parts.append(values[at : at + n])
        at += n
    return [*parts, values[at:]]


def _chosen(types: Sequence[ArrayType], given: Sequence[bool]) -> list[ArrayType]:
    return [t for t, g in zip(types, given, strict=True) if g]


def _at(given: Sequence[bool], values: Sequence[Array], types: Sequence[ArrayType]) -> list[Array]:
    rest = iter(values)
    return [next(rest) if g else zeros(t) for g, t in zip(given, types, strict=True)]
