"""The one mechanism of all passes: walk a graph in order, let rules replace steps, record the rest anew.

    rule(r, primitive, inputs, params) -> None                        the step stays
                                          an Array (or one an output)  stands in its place

A table says which rules are tried for which primitive, or class of primitives. What a rule applies (by `bind` and
operators) is recorded here too, and meets the same rules. A graph in which nothing happens comes back as itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wengert.errors import GraphError
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node, NotedNode, Var
from wengert.ir.primitive import Params, Primitive, out_type
from wengert.ir.record import Staging, live_nodes
from wengert.ir.source import Source
from wengert.ir.types import ArrayType, Length, Shape
from wengert.ops.elementwise import Elementwise
from wengert.ops.shape import broadcast_to_p

Rule = Callable[["Rewriter", Primitive, Sequence[Array], Params], "Array | Sequence[Array] | None"]
Table = Mapping[Any, Sequence[Rule]]  # by primitive, or by class of primitives
Key = Callable[[Primitive, Sequence[Array], Params], Any]


class Rewriter(Staging):
    """Records the new graph; what rules ask is asked of it."""

    __slots__ = ("changed", "facts", "known", "makers", "share", "source", "static", "table", "tried", "uses")
    what = "a graph pass"

    def __init__(self, table: Table, share: Key | None = None):
        super().__init__()
        self.table = table
        self.tried: dict[Primitive, tuple[Rule, ...]] = {}
        self.share = share  # equal keys, equal steps: then the first one stands for both
        self.known: dict[Any, tuple[Array, ...]] = {}
        self.makers: dict[int, Node] = {}
        self.uses: dict[int, int] = {}
        self.facts: dict[Any, Any] = {}
        self.source: Source | None = None
        self.changed = False
        self.static = True

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: Params) -> Any:
        outs = self.step(primitive, args, params)
        return outs if primitive.multiple else outs[0]

    def step(
        self, primitive: Primitive, args: Sequence[Array], params: Params, types: Sequence[ArrayType] | None = None
    ) -> Sequence[Array]:
        """The outputs of a step: by the first rule that has something to say, or recorded."""
        rules = self.tried.get(primitive)
        if rules is None:
            rules = self.tried[primitive] = tuple(
                rule
                for key, its in self.table.items()
                if key is primitive or (isinstance(key, type) and isinstance(primitive, key))
                for rule in its
            )
        if rules and (self.static or primitive.multiple or not any(_unknown(a.shape) for a in args)):
            for rule in rules:
                out = rule(self, primitive, args, params)
                if out is not None:
                    self.changed = True
                    return (out,) if isinstance(out, Array) else out
        return self.record(primitive, args, params, types)

    def record(
        self, primitive: Primitive, args: Sequence[Array], params: Params, types: Sequence[ArrayType] | None = None
    ) -> Sequence[Array]:
        """The step as a node of the new graph, or the outputs of an equal one that is there already."""
        key = None if self.share is None else self.share(primitive, args, params)
        if key is not None and (known := self.known.get(key)) is not None:
            self.changed = True
            return known
        if types is None or (not self.static and any(_unknown(a.shape) for a in args)):  # of a loop that is another now
            stated = out_type(primitive, args, params)
            types = stated if primitive.multiple else (stated,)
        outs = tuple([self._var(None, t) for t in types])
        node = NotedNode(primitive, args, params, outs, self.source)
        self.nodes.append(node)
        for o in outs:
            self.makers[o.index] = node
        if key is not None:
            self.known[key] = outs
        return outs

    def inline(self, graph: Graph, args: Sequence[Array]) -> list[Array]:
        """The steps of another graph, taken here; each keeps its own line of the user's."""
        here, trace = self.source, graph.trace
        self.static = self.static and is_static(graph)
        env: dict[int, Array] = {v.index: a for v, a in zip(graph.inputs, args, strict=True)}
        for node in graph.nodes:
            self.source = node.source or here
            inputs = [env[a.index] if a.trace is trace else a for a in node.inputs]  # type: ignore[attr-defined]
            outs = self.step(node.primitive, inputs, node.params, [o.type for o in node.outputs])
            for old, new in zip(node.outputs, outs, strict=True):
                env[old.index] = new
        self.source = here
        return [env[a.index] if a.trace is trace else a for a in graph.outputs]  # type: ignore[attr-defined]

    # What rules ask and make.

    def made_by(self, a: Array, primitive: Primitive) -> Node | None:
        """The node that made `a`, if it applies this primitive."""
        if a.trace is not self:
            return None
        node = self.makers.get(a.index)  # type: ignore[attr-defined]
        return node if node is not None and node.primitive is primitive else None

    def used_once(self, a: Array) -> bool:
        """Whether no step of the old graph but the present one reads `a`."""
        return a.trace is self and self.uses.get(a.index, 0) <= 1  # type: ignore[attr-defined]

    def stretch(self, a: Array, shape: Shape) -> Array:
        """`a` broadcast to `shape` by a step, also where `a` is a constant: nothing large is computed here."""
        if a.shape == shape:
            return a
        if (inner := self.made_by(a, broadcast_to_p)) is not None:
            a = inner.inputs[0]
        return self.record(broadcast_to_p, (a,), {"shape": shape})[0]


def rewrite(graph: Graph, table: Table, share: Key | None = None) -> Graph:
    """`graph` with the rules of `table` applied to every step; with `share`, steps of equal keys merged."""
    r = Rewriter(table, share)
    trace = graph.trace
    counts = use_counts(graph)
    r.static = is_static(graph)
    env: list[Any] = [None] * graph.size

    def stand(old: Var, new: Array, primitive: Primitive | None = None) -> None:
        if primitive is not None and (new.dtype != old.dtype or (new.shape != old.shape and r.static)):
            raise GraphError(f"a pass replaced {primitive.name}, {old.type!r}, by {new.type!r}")
        env[old.index] = new
        if new.trace is r:
            r.uses[new.index] = r.uses.get(new.index, 0) + counts[old.index]  # type: ignore[attr-defined]

    try:
        for v in graph.inputs:
            stand(v, r.input(v.type))
        for node in graph.nodes:
            r.source = node.source
            args = tuple([env[a.index] if a.trace is trace else a for a in node.inputs])  # type: ignore[attr-defined]
            outs = r.step(node.primitive, args, node.params, [o.type for o in node.outputs])
            for old, new in zip(node.outputs, outs, strict=True):
                stand(old, new, node.primitive)
        outputs = [env[a.index] if a.trace is trace else a for a in graph.outputs]  # type: ignore[attr-defined]
    finally:
        r.closed = True
    nodes, _ = live_nodes(r.nodes, outputs, r)
    if not r.changed and len(nodes) == len(graph.nodes):
        return graph
    r.nodes = nodes
    return r.finish(outputs, graph.name)


def use_counts(graph: Graph) -> list[int]:
    """How often each value is read, outputs of the graph included."""
    counts = [0] * graph.size
    trace = graph.trace
    for node in graph.nodes:
        for a in node.inputs:
            if a.trace is trace:
                counts[a.index] += 1  # type: ignore[attr-defined]
    for a in graph.outputs:
        if a.trace is trace:
            counts[a.index] += 1  # type: ignore[attr-defined]
    return counts


def is_static(graph: Graph) -> bool:
    """Whether all shapes are known before the program runs."""
    return not any(_unknown(v.shape) for v in graph.inputs) and not any(
        _unknown(o.shape) for node in graph.nodes if node.primitive.multiple for o in node.outputs
    )


def _unknown(shape: Shape) -> bool:
    return any(isinstance(d, Length) for d in shape)


__all__ = ["Elementwise", "Rewriter", "Rule", "Table", "rewrite", "use_counts"]
