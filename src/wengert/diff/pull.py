"""Reverse mode: walk the recorded graph backwards, pull the cotangent through every edge, add up where paths meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from wengert.diff.zeros import zeros_like
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node
from wengert.ir.record import Staging, Tape
from wengert.ir.types import ArrayType
from wengert.ir.watch import step_watchers, watched
from wengert.ops.arithmetic import add

Cotangents = list[Array | None]


def pull(
    graph: Graph,
    cotangents: Sequence[Array | None],
    *,
    once: bool = False,
    kept: dict[int, Array | None] | None = None,
) -> Cotangents:
    """The cotangents of the inputs of a recorded `graph`, given those of its outputs; None is zero.

    With `once` the nodes are dropped on the way, so that memory is given back as early as possible. The keys of `kept`
    are indices of values within the graph, whose cotangents are left there, too.
    """
    tape = graph.trace
    ct: Cotangents = [None] * graph.size
    for out, c in zip(graph.outputs, cotangents, strict=True):
        if c is not None and out.trace is tape:
            known = ct[out.index]  # type: ignore[attr-defined]
            ct[out.index] = c if known is None else add.bind(known, c)  # type: ignore[attr-defined]
    for node in _backwards(graph.nodes, once):
        outs = node.outputs
        if kept is not None:
            kept.update((o.index, ct[o.index]) for o in outs if o.index in kept)
        # one output, one map an edge, nobody looking on: the hot path
        if node.primitive.plain and node.differential is None and not step_watchers:
            out = outs[0]
            c = ct[out.index]
            if c is None:
                continue
            ct[out.index] = None
            inputs, params, partial, value = node.inputs, node.params, node.primitive.partial, out.data
            if len(inputs) == 2:  # the common case, without a comprehension's frame
                x, y = inputs
                values: Sequence[Array] = (x.data if x.trace is tape else x, y.data if y.trace is tape else y)
            else:
                values = [a.data if a.trace is tape else a for a in inputs]
            for i, a in enumerate(inputs):
                if a.trace is tape:
                    m = partial(i, values, value, params)
                    if m is not None:
                        k = a.index  # type: ignore[attr-defined]
                        known = ct[k]
                        ct[k] = m.pull(c) if known is None else add.bind(known, m.pull(c))
            continue
        arriving = [ct[o.index] for o in outs]
        if all(a is None for a in arriving):
            continue
        for o in outs:
            ct[o.index] = None
        for v, c in pull_node(node, tape, arriving):
            known = ct[v.index]
            ct[v.index] = c if known is None else add.bind(known, c)
    if kept is not None:
        kept.update((v.index, ct[v.index]) for v in graph.inputs if v.index in kept)
    return [ct[v.index] for v in graph.inputs]


def _backwards(nodes: list[Node], once: bool) -> Iterator[Node]:
    if not once:
        yield from reversed(nodes)
        return
    while nodes:
        yield nodes.pop()


def pull_node(node: Node, tape: Any, arriving: Sequence[Array | None]) -> list[tuple[Any, Array]]:
    """The cotangents that `node` sends to those of its inputs that are recorded."""
    if step_watchers:
        values = [a.data if a.trace is tape else a for a in node.inputs]
        return watched(  # type: ignore[return-value]
            "pull", node.primitive, values, arriving, node.source, lambda: _pull_node(node, tape, arriving)
        )
    return _pull_node(node, tape, arriving)


def _pull_node(node: Node, tape: Any, arriving: Sequence[Array | None]) -> list[tuple[Any, Array]]:
    primitive, inputs = node.primitive, node.inputs
    result = []
    if node.differential is not None:
        for a, c in zip(inputs, node.differential.pull(arriving), strict=True):
            if a.trace is tape and c is not None:
                result.append((a, c))
        return result
    if not primitive.differentiable:
        return result
    values = [a.data if a.trace is tape else a for a in inputs]
    if primitive.jvp is not None:
        return _pull_by_transposing(node, tape, values, arriving)
    out, c = node.outputs[0].data, arriving[0]
    for i, a in enumerate(inputs):
        if a.trace is tape:
            m = primitive.partial(i, values, out, node.params)
            if m is not None:
                result.append((a, m.pull(c)))
    return result


def _pull_by_transposing(node: Node, tape: Any, values: list[Array], arriving: Sequence[Array | None]) -> Any:
    outs = [o.data for o in node.outputs]
    slots = [i for i, a in enumerate(node.inputs) if a.trace is tape and values[i].dtype.kind in "fc"]

    def push(*tangents: Array) -> list[Array | None]:
        spread: list[Array | None] = [None] * len(values)
        for i, t in zip(slots, tangents, strict=True):
            spread[i] = t
        assert node.primitive.jvp is not None
        return list(node.primitive.jvp(values, outs, spread, node.params))

    back = transpose(push, [values[i].type for i in slots])
    return [(node.inputs[i], c) for i, c in zip(slots, back(arriving), strict=True) if c is not None]


def transpose(
    function: Callable[..., Sequence[Array | None]], types: Sequence[ArrayType]
) -> Callable[[Sequence[Array | None]], Cotangents]:
    """The transpose of a linear function of arrays of these types, as a function from cotangents to cotangents.

    The function is recorded once, on abstract values: nothing is computed, since the maps of linear steps do not
    depend on what passes through them.
    """
    below = Staging()
    tape = Tape()
    outs = function(*[tape.input(below.input(t)) for t in types])
    live = [o for o in outs if o is not None]
    graph = tape.finish(live)
    below.forget()

    def back(cotangents: Sequence[Array | None]) -> Cotangents:
        return pull(graph, [c for o, c in zip(outs, cotangents, strict=True) if o is not None])

    return back


def dense(c: Array | None, like: Array) -> Array:
    """A cotangent as an array, also where it is a known zero."""
    return zeros_like(like) if c is None else c
