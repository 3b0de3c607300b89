"""Structured steps taken apart: while a probe records, a loop is its turns and a branch the one that was taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node, interpret
from wengert.ir.primitive import Params, Primitive
from wengert.ir.scope import Frame, Scope, scope, standing_in
from wengert.source import standing_at

Values = Sequence[Any]


class Glue(Primitive):
    """A step that only a probe makes: it moves whole values, and what it does to cotangents goes with the node."""

    def __init__(self, name: str, multiple: bool = False):
        self.multiple = multiple
        self.name = self.__name__ = name
        self.settle()


MARK = Glue("handed on")  # a state, from one turn to the next
UNSTACK = Glue("unstack", multiple=True)  # a sequence's elements
STACK = Glue("stack")


class Same:
    """The derivative of a mark."""

    def push(self, tangents: Values) -> list[Any]:
        return list(tangents)

    def pull(self, arriving: Values) -> list[Any]:
        return list(arriving)


class Unstacked:
    """The derivative of taking a sequence apart: cotangents side by side, zeros where there is none."""

    def __init__(self, of: Array):
        self.shape, self.dtype = of.shape, of.dtype

    def push(self, tangents: Values) -> list[Any]:
        whole = tangents[0]
        return [None if whole is None else Array(np.asarray(whole.data[i])) for i in range(self.shape[0])]

    def pull(self, arriving: Values) -> list[Any]:
        whole = np.zeros(self.shape, self.dtype)
        for i, c in enumerate(arriving):
            if c is not None:
                whole[i] = c.data
        return [Array(whole)]


class Stacked:
    """The derivative of putting values side by side: each gets its part, if that isn't zero."""

    def __init__(self, count: int):
        self.count = count

    def push(self, tangents: Values) -> list[Any]:
        known = next((t for t in tangents if t is not None), None)
        if known is None:
            return [None]
        zero = np.zeros(known.shape, known.dtype)
        return [Array(np.stack([zero if t is None else np.asarray(t.data) for t in tangents]))]

    def pull(self, arriving: Values) -> list[Any]:
        whole = arriving[0].data
        return [Array(np.asarray(whole[i])) if whole[i].any() else None for i in range(self.count)]


def mark(probe: Any, x: Any) -> Any:
    """`x`, with a step in between that says: here a state is handed on to the next turn."""
    if not isinstance(x, Array) or x.trace is not probe:
        return x
    return probe.keep(MARK, (x,), {}, x.data, Same())


def elements(probe: Any, x: Array, count: int) -> Sequence[Array]:
    if x.trace is not probe:
        return [type(x)(x.data[i]) for i in range(count)]
    value = x.data
    return probe.keep(UNSTACK, (x,), {}, tuple(Array(value.data[i]) for i in range(count)), Unstacked(value))


def side_by_side(probe: Any, parts: Sequence[Array]) -> Array:
    values = [np.asarray(p.data.data if p.trace is probe else p.data) for p in parts]
    whole = Array(np.stack(values))
    return probe.keep(STACK, tuple(parts), {}, whole, Stacked(len(parts))) if _any(probe, parts) else whole


def _any(probe: Any, parts: Sequence[Array]) -> bool:
    return any(p.trace is probe for p in parts)


def number(probe: Any, x: Array) -> Any:
    return np.asarray(x.data.data if x.trace is probe else x.data)


def steps_of(graph: Graph, args: Values, around: Scope, frame: Frame | None = None) -> list[Any]:
    """Apply a staged graph step by step; each belongs to the scopes in which it was staged, inside those open now."""
    here = (*around, frame) if frame is not None else around

    def apply(node: Node, values: list[Any]) -> Any:
        staged: Scope = node.scope or ()
        inside = staged[len(around) :] if staged[: len(around)] == around else ()
        with standing_at(node.source), standing_in((*here, *inside)):
            out = node.primitive.bind(*values, **node.params)
        return out if node.primitive.multiple else (out,)

    return interpret(graph, args, apply, lambda a: a)


def scan(probe: Any, args: tuple[Array, ...], params: Params) -> Any:
    body, nc, nk = params["body"], params["num_consts"], params["num_carry"]
    consts, carry, xs = args[:nc], list(args[nc : nc + nk]), args[nc + nk :]
    turns = xs[0].shape[0] if params["length"] is None else params["length"]
    around, loop = scope() or (), f"loop{probe.new_loop()}"
    parts = [elements(probe, x, turns) for x in xs]
    ys: list[list[Any]] = [[None] * turns for _ in body.outputs[nk:]]
    for n, i in enumerate(reversed(range(turns)) if params["reverse"] else range(turns)):
        frame = Frame("turn", loop, n)
        if n:
            with standing_in((*around, frame)):
                carry = [mark(probe, c) for c in carry]
        outs = steps_of(body, [*consts, *carry, *(p[i] for p in parts)], around, frame)
        carry = outs[:nk]
        for y, out in zip(ys, outs[nk:], strict=True):
            y[i] = out
    if not turns:
        emitted = [Array(np.empty((0, *t.shape), t.dtype)) for t in body.out_types[nk:]]
    else:
        emitted = [side_by_side(probe, y) for y in ys]
    return (*carry, *emitted)


def while_loop(probe: Any, args: tuple[Array, ...], params: Params) -> Any:
    test, body, nt, nb = params["test"], params["body"], params["num_test"], params["num_body"]
    if params["emit"] or test.out_types[0].shape:
        return probe.whole(args, params, "while_loop")
    carry = list(args[nt + nb :])
    around, loop, n = scope() or (), f"loop{probe.new_loop()}", 0
    while number(probe, steps_of(test, [*args[:nt], *carry], around)[0]):
        frame = Frame("turn", loop, n)
        if n:
            with standing_in((*around, frame)):
                carry = [mark(probe, c) for c in carry]
        carry = steps_of(body, [*args[nt : nt + nb], *carry], around, frame)
        n += 1
    return tuple(carry)


def switch(probe: Any, args: tuple[Array, ...], params: Params) -> Any:
    taken = params["branches"][int(number(probe, args[0]))]
    return tuple(steps_of(taken, args[1:], scope() or ()))


def call(probe: Any, args: tuple[Array, ...], params: Params) -> Any:
    return tuple(steps_of(params["graph"], args, scope() or ()))


UNROLLED: dict[str, Callable[[Any, tuple[Array, ...], Params], Any]] = {
    "scan": scan, "while_loop": while_loop, "switch": switch, "call": call, "checkpoint": call,
}  # fmt: skip
