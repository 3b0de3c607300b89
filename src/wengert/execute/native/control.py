"""Control flow as statements: the carry of a loop lies in buffers of its own, sequences are windows that move."""

from __future__ import annotations

from collections.abc import Sequence

from wengert.execute.native.lower import CONTROL, Lowering, NoCodeError, load
from wengert.execute.native.statements import Branch, Expr, Loop
from wengert.execute.native.views import Buffer, Counter, View, dense
from wengert.ir.graph import Graph, Node
from wengert.ir.types import ArrayType


def _buffer(t: ArrayType) -> View:
    return dense(Buffer("work", -1, t.dtype, t.size), t.shape)


def _inside(outer: Lowering, graph: Graph, inputs: Sequence[Expr]) -> Lowering:
    """The statements of `graph` applied to values of the surroundings."""
    inner = Lowering(graph, outer.target, outer)
    for var, value in zip(graph.inputs, inputs, strict=True):
        inner.values[var.index] = value
    for node in graph.nodes:
        inner.node(node)
    return inner


def _carry(outer: Lowering, values: Sequence[Expr], types: Sequence[ArrayType]) -> list[View]:
    places = [_buffer(t) for t in types]
    for value, place in zip(values, places, strict=True):
        outer.copy(load(outer.place(value)), place)
    return places


def _turn_over(inner: Lowering, new: Sequence[Expr], places: Sequence[View]) -> None:
    """The new carry into the carry's places, once nothing reads the old one any more."""
    own = {id(p.buffer) for p in places}
    ready = []
    for value, place in zip(new, places, strict=True):
        view = inner.place(value)
        here = view.buffer is place.buffer and not view.steps
        if here and view.strides == place.strides and view.offset == place.offset:
            continue  # unchanged
        if id(view.buffer) in own or view.steps:  # it hangs on the carry: read it before that is overwritten
            kept = dense(Buffer("work", -1, place.buffer.dtype, place.buffer.size), place.shape)
            inner.copy(load(view), kept)
            view = kept
        ready.append((view, place))
    for view, place in ready:
        inner.copy(load(view), place)


def _need_registers(*graphs: Graph) -> None:
    for graph in graphs:
        if not all(isinstance(d, int) for t in (*graph.in_types, *graph.out_types) for d in t.shape):
            raise NoCodeError


def scan(outer: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    p = node.params
    body, nc, nk, turns = p["body"], p["num_consts"], p["num_carry"], p["length"]
    _need_registers(body)
    if turns is None:
        raise NoCodeError
    counter = Counter()
    consts = [load(outer.place(a)) for a in args[:nc]]
    carry = _carry(outer, args[nc : nc + nk], body.out_types[:nk])
    xs = [load(outer.place(a).element(counter)) for a in args[nc + nk :]]
    inner = _inside(outer, body, [*consts, *map(load, carry), *xs])
    outs = [inner.value(o) for o in body.outputs]
    ys = [_buffer(t.with_shape((turns, *t.shape))) for t in body.out_types[nk:]]
    for value, y in zip(outs[nk:], ys, strict=True):
        inner.copy(load(inner.place(value)), y.element(counter))
    _turn_over(inner, outs[:nk], carry)
    outer.append(Loop(counter, turns, p["reverse"], [], None, inner.statements), *carry, *ys)
    return {o.index: load(v) for o, v in zip(node.outputs, [*carry, *ys], strict=True)}


def while_loop(outer: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    p = node.params
    test, body, nt, nb = p["test"], p["body"], p["num_test"], p["num_body"]
    _need_registers(test, body)
    if p["emit"] or test.out_types[0].shape:
        raise NoCodeError
    consts = [load(outer.place(a)) for a in args[: nt + nb]]
    carry = _carry(outer, args[nt + nb :], body.out_types)
    now = [load(c) for c in carry]
    asked = _inside(outer, test, [*consts[:nt], *now])
    answer = asked.place(asked.value(test.outputs[0]))
    inner = _inside(outer, body, [*consts[nt:], *now])
    _turn_over(inner, [inner.value(o) for o in body.outputs], carry)
    outer.append(Loop(Counter(), None, False, asked.statements, answer, inner.statements), *carry)
    return {o.index: load(v) for o, v in zip(node.outputs, carry, strict=True)}


def switch(outer: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    branches = node.params["branches"]
    _need_registers(*branches)
    index, *operands = [load(outer.place(a)) for a in args]
    targets = [_buffer(t) for t in branches[0].out_types]
    bodies = []
    for graph in branches:
        inner = _inside(outer, graph, operands)
        for o, target in zip(graph.outputs, targets, strict=True):
            inner.copy(load(inner.place(inner.value(o))), target)
        bodies.append(inner.statements)
    assert index.view is not None
    outer.append(Branch(index.view, bodies), *targets)
    return {o.index: load(v) for o, v in zip(node.outputs, targets, strict=True)}


CONTROL.update(scan=scan, while_loop=while_loop, switch=switch)
