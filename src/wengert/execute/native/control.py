"""Control flow as statements: the carry of a loop lies in buffers of its own, sequences are windows that move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.execute.native.elementwise import has_registers
from wengert.execute.native.lower import CONTROL, Lowering, NoCodeError, is_static, load
from wengert.execute.native.statements import Branch, Expr, Loop, Reduction
from wengert.execute.native.turns import end_turn
from wengert.execute.native.views import Buffer, Counter, Store, View, dense, row_major
from wengert.ir.graph import Graph, Node
from wengert.ir.types import ArrayType, Length, bool_, int32

LINE = 64  # bytes: values this large begin on a cache line
SMALL_CARRY = 32 << 10  # bytes: copied to the result after the last turn
UNKNOWN: Any = Length()


def _buffer(t: ArrayType) -> View:
    return dense(Buffer("work", -1, t.dtype, t.size), t.shape)


def _inside(outer: Lowering, graph: Graph, inputs: Sequence[Expr], carry: Sequence[View] | None = None) -> Lowering:
    """The statements of `graph` applied to values of the surroundings, `carry` among them if it is a loop's."""
    inner = Lowering(graph, outer.target, outer)
    inner.changing = None if carry is None else {id(c.buffer) for c in carry}
    for var, value in zip(graph.inputs, inputs, strict=True):
        inner.values[var.index] = value
    for node in graph.nodes:
        inner.node(node)
    return inner


def _carry(outer: Lowering, values: Sequence[Expr], types: Sequence[ArrayType]) -> list[View]:
    places = [_buffer(t) for t in types]
    for value, place in zip(values, places, strict=True):
        outer.copy(load(outer.place(value)), place)
        if place.buffer.size * place.buffer.dtype.itemsize <= SMALL_CARRY:
            outer.carries[id(place.buffer)] = place.buffer
    return places


def _need_registers(*graphs: Graph) -> None:
    for graph in graphs:
        for t in (*graph.in_types, *graph.out_types):
            if not is_static(t.shape) or not has_registers(t.dtype):
                raise NoCodeError


def _new_store(outer: Lowering, types: Sequence[ArrayType]) -> tuple[Store, list[View]]:
    """A store whose records hold values of these types, and the windows onto all records."""
    places, at = [], 0
    for t in types:
        alignment = LINE if t.size * t.dtype.itemsize >= LINE else t.dtype.itemsize
        places.append(-(-at // alignment) * alignment)
        at = places[-1] + t.size * t.dtype.itemsize
    widest = max((LINE if t.size * t.dtype.itemsize >= LINE else t.dtype.itemsize for t in types), default=1)
    store = Store(len(outer.stores), max(-(-at // widest) * widest, 1))
    outer.stores.append(store)
    views = []
    for t, place in zip(types, places, strict=True):
        strides = (store.record // t.dtype.itemsize, *row_major(t.shape))
        views.append(View(Buffer("store", place, t.dtype, t.size, store), (UNKNOWN, *t.shape), strides))
    return store, views


def scan(outer: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    p = node.params
    body, nc, nk = p["body"], p["num_consts"], p["num_carry"]
    _need_registers(body)
    turns, store, ys = p["length"], None, []
    kept = [k for k, o in enumerate(node.outputs[nk:], nk) if outer.uses[o.index]]
    types = [body.out_types[k] for k in kept]
    if turns is not None:
        ys = [_buffer(t.with_shape((turns, *t.shape))) for t in types]
    else:
        stores = [a.view.buffer.store if a.view is not None else None for a in args[nc + nk :]]
        turns = next((s for s in stores if s is not None), None)
        if turns is None or None in stores:
            raise NoCodeError  # how many there are, NumPy found out
        if kept:
            store, ys = _new_store(outer, types)
    counter = Counter()
    consts = [load(outer.place(a)) for a in args[:nc]]
    carry = _carry(outer, args[nc : nc + nk], body.out_types[:nk])
    xs = [load(outer.place(a).element(counter)) for a in args[nc + nk :]]
    inner = _inside(outer, body, [*consts, *map(load, carry), *xs], carry)
    outs = [inner.value(o) for o in body.outputs]
    end_turn(inner, outs[:nk], carry, [outs[k] for k in kept], [y.element(counter) for y in ys])
    outer.append(Loop(counter, turns, p["reverse"], [], None, inner.statements, store), *carry, *ys)
    found = dict(zip([*range(nk), *kept], [*carry, *ys], strict=True))
    return {node.outputs[k].index: load(v) for k, v in found.items()}


def while_loop(outer: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    p = node.params
    test, body, nt, nb = p["test"], p["body"], p["num_test"], p["num_body"]
    nk = len(args) - nt - nb
    _need_registers(test, body)
    consts = [load(outer.place(a)) for a in args[: nt + nb]]
    carry = _carry(outer, args[nt + nb :], body.out_types[:nk])
    now = [load(c) for c in carry]
    asked = _inside(outer, test, [*consts[:nt], *now], carry)
    answer = asked.place(asked.value(test.outputs[0]))
    inner = _inside(outer, body, [*consts[nt:], *now], carry)
    outs = [inner.value(o) for o in body.outputs]
    going = answer
    if answer.shape:  # of a batch: those that have finished keep their carry
        going = _any(asked, answer)
        outs[:nk] = [_where(answer, new, old) for new, old in zip(outs, now, strict=False)]
    counter, store = Counter(), None
    ys: list[View] = []
    kept = [k for k, o in enumerate(node.outputs[nk:], nk) if outer.uses[o.index]]
    if kept:
        store, ys = _new_store(outer, [[*body.out_types, *test.out_types][k] for k in kept])
    emitted = [[*outs, load(answer)][k] for k in kept]
    end_turn(inner, outs[:nk], carry, emitted, [y.element(counter) for y in ys])
    outer.append(Loop(counter, None, False, asked.statements, going, inner.statements, store), *carry, *ys)
    found = dict(zip([*range(nk), *kept], [*carry, *ys], strict=True))
    return {node.outputs[k].index: load(v) for k, v in found.items()}


def _any(asked: Lowering, answer: View) -> View:
    one, zero = (Expr("number", (), (), int32, params=n) for n in (1, 0))
    most = _buffer(ArrayType((), int32))
    axes = tuple(range(len(answer.shape)))
    asked.append(Reduction("max", Expr("select", (load(answer), one, zero), answer.shape, int32), axes, most), most)
    return asked.place(Expr("greater", (load(most), zero), (), bool_))


def _where(alive: View, new: Expr, old: Expr) -> Expr:
    each = alive.reshaped(alive.shape + (1,) * (len(new.shape) - len(alive.shape)))
    assert each is not None
    return Expr("select", (load(each), new, old), new.shape, new.dtype)


def switch(outer: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    branches = node.params["branches"]
    _need_registers(*branches)
    index, *operands = [load(outer.place(a)) for a in args]
    targets = [_buffer(t) for t in branches[0].out_types]
    bodies = []
    for graph in branches:
        inner = _inside(outer, graph, operands)
        for o, target in zip(graph.outputs, targets, strict=True):
            inner.put(inner.value(o), target)
        bodies.append(inner.statements)
    assert index.view is not None
    outer.append(Branch(index.view, bodies), *targets)
    return {o.index: load(v) for o, v in zip(node.outputs, targets, strict=True)}


def checkpoint(outer: Lowering, node: Node, args: list[Expr]) -> dict[int, Expr]:
    """The steps themselves: they are kept apart from those they repeat because this happens last."""
    graph = node.params["graph"]
    return dict(zip((o.index for o in node.outputs), outer.steps_of(graph, args), strict=True))


CONTROL.update(scan=scan, while_loop=while_loop, switch=switch, checkpoint=checkpoint)
