"""Forward mode: tangents travel with the values, one push through every edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.ir.array import Array, Trace, Tracer
from wengert.ir.graph import Graph, Node
from wengert.ir.primitive import Params, Primitive
from wengert.ir.watch import step_watchers, watched
from wengert.ops.arithmetic import add
from wengert.source import Source, user_source

Tangents = list[Array | None]


class Dual(Tracer):
    """A value together with its tangent."""

    __slots__ = ("tangent",)

    def __init__(self, trace: Trace, data: Array, tangent: Array):
        self.trace = trace
        self.data = data
        self.tangent = tangent


class Forward(Trace):
    """Computes values and tangents side by side and keeps neither."""

    __slots__ = ()
    what = "a forward derivative"
    differentiates = True

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: Params) -> Any:
        values = [a.data if a.trace is self else a for a in args]
        if not primitive.differentiable:
            return primitive.bind(*values, **params)
        tangents = [a.tangent if a.trace is self else None for a in args]  # type: ignore[attr-defined]
        if primitive.linearize is not None:
            out, out_tangents = primitive.forward(values, tangents, params)
        else:
            out = primitive.bind(*values, **params)
            outs = out if primitive.multiple else (out,)
            source = user_source() if step_watchers else None
            out_tangents = push_through(primitive, values, outs, tangents, params, source)
        if primitive.multiple:
            return tuple([o if t is None else Dual(self, o, t) for o, t in zip(out, out_tangents, strict=True)])
        return out if out_tangents[0] is None else Dual(self, out, out_tangents[0])


def push_through(
    primitive: Primitive,
    values: Sequence[Array],
    outs: Sequence[Array],
    tangents: Sequence[Array | None],
    params: Params,
    source: Source | None = None,
) -> Tangents:
    """The tangents of the outputs of one step; `source` is its user line, where somebody wants to know."""
    if step_watchers:
        return watched(  # type: ignore[return-value]
            "push",
            primitive,
            values,
            tangents,
            source,
            lambda: _push_through(primitive, values, outs, tangents, params),
        )
    return _push_through(primitive, values, outs, tangents, params)


def _push_through(
    primitive: Primitive,
    values: Sequence[Array],
    outs: Sequence[Array],
    tangents: Sequence[Array | None],
    params: Params,
) -> Tangents:
    if primitive.jvp is not None:
        return list(primitive.jvp(values, outs, tangents, params))
    total: Array | None = None
    for i, t in enumerate(tangents):
        if t is not None:
            m = primitive.partial(i, values, outs[0], params)
            if m is not None:
                pushed = m.push(t)
                total = pushed if total is None else add.bind(total, pushed)
    return [total]


def push(graph: Graph, tangents: Sequence[Array | None]) -> Tangents:
    """The tangents of the outputs of a recorded `graph`, given those of its inputs; None is zero."""
    tape = graph.trace
    known: Tangents = [None] * graph.size
    for var, t in zip(graph.inputs, tangents, strict=True):
        known[var.index] = t
    for node in graph.nodes:
        arriving = [known[a.index] if a.trace is tape else None for a in node.inputs]  # type: ignore[attr-defined]
        if any(t is not None for t in arriving):
            for out, t in zip(node.outputs, push_node(node, tape, arriving), strict=True):
                known[out.index] = t
    return [known[a.index] if a.trace is tape else None for a in graph.outputs]  # type: ignore[attr-defined]


def push_node(node: Node, tape: Any, arriving: Sequence[Array | None]) -> Tangents:
    """The tangents of the outputs of one recorded node."""
    if node.differential is not None:
        return list(node.differential.push(arriving))
    if not node.primitive.differentiable:
        return [None] * len(node.outputs)
    values = [a.data if a.trace is tape else a for a in node.inputs]
    return push_through(node.primitive, values, [o.data for o in node.outputs], arriving, node.params, node.source)
