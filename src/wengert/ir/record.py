"""Recording: run a Python function and keep the list of its elementary steps.

`Staging` knows only types: it records what a compiler will run. `Tape` knows values: while a program runs, it keeps
the steps that depend on the inputs of a derivative. Both make the same `Graph` of the same `Node`s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.ir.array import Array, Trace
from wengert.ir.graph import Graph, Node, NotedNode, Var
from wengert.ir.primitive import Params, Primitive, escaped, evaluate_now, out_type, watchers
from wengert.ir.scope import scope
from wengert.ir.types import ArrayType
from wengert.ir.watch import step_watchers, watched_linearize
from wengert.source import user_source


class Recorder(Trace):
    """A trace that keeps nodes."""

    __slots__ = ("inputs", "nodes", "size")

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.inputs: list[Var] = []
        self.size = 0

    def _var(self, data: Array | None, type: ArrayType | None = None) -> Var:
        var = Var(self, data, self.size, type)
        self.size += 1
        return var

    def finish(self, outputs: Sequence[Array], name: str = "") -> Graph:
        """Close the recording and hand over the graph."""
        for a in outputs:
            if a.trace is not None and a.trace is not self and a.trace.closed:
                raise escaped("the result of a transformed function, a value", a)
        graph = Graph(self.inputs, self.nodes, outputs, self, self.size, name)
        self.close()
        return graph

    def close(self) -> None:
        """End the recording, finished or not."""
        self.closed = True
        self.forget()

    def forget(self) -> None:
        """Let go of what was recorded: it points back at the trace, and only the cycle collector would free the two."""
        self.nodes, self.inputs = [], []


class Staging(Recorder):
    """Records with types only. Tracers of enclosing transformations that the function uses become inputs."""

    __slots__ = ("captured", "claims")
    what = "`jit` (or a control-flow function)"

    def __init__(self) -> None:
        super().__init__()
        self.captured: dict[int, tuple[Array, Var]] = {}
        self.claims: list[Any] = []  # what it takes for granted of its values, see `ir.claims`

    def forget(self) -> None:
        super().forget()
        self.captured, self.claims = {}, []

    def input(self, type: ArrayType) -> Var:
        var = self._var(None, type)
        self.inputs.append(var)
        return var

    def lift(self, a: Array) -> Array:
        """`a` as it may stand in this graph: one of its values, a constant, or a captured tracer made an input."""
        if a.trace is None or a.trace is self:
            return a
        if a.trace.closed:
            raise escaped("a value used by a transformed function,", a)
        known = self.captured.get(id(a))
        if known is None:
            known = self.captured[id(a)] = (a, self._var(None, a.type))
        return known[1]

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: Params) -> Any:
        if primitive.inline:
            return primitive.expand(args, params)
        types = out_type(primitive, args, params)
        outs = tuple([self._var(None, t) for t in (types if primitive.multiple else (types,))])
        inputs = tuple([a if a.trace is self else self.lift(a) for a in args])
        self.nodes.append(NotedNode(primitive, inputs, params, outs, user_source(), None, scope()))
        return outs if primitive.multiple else outs[0]


class Tape(Recorder):
    """Records with values, which live one level down. With `everything`, steps without derivative are kept too.

    With `noting` (implied by `everything`, and on while somebody watches), nodes know their user lines.
    """

    __slots__ = ("everything", "noting")
    what = "a derivative"
    differentiates = True

    def __init__(self, everything: bool = False):
        super().__init__()
        self.everything = everything
        self.noting = everything or bool(watchers)

    def input(self, value: Array) -> Var:
        var = self._var(value)
        self.inputs.append(var)
        return var

    def append(self, primitive: Primitive, inputs: Sequence[Array], params: Params, out: Array) -> Var:
        """Keep a plain step whose value is known."""
        var = Var(self, out, self.size)
        self.size += 1
        self.nodes.append(Node(primitive, inputs, params, (var,)))
        return var

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: Params) -> Any:
        if len(args) == 1:  # the common cases, without a comprehension's frame
            values: Sequence[Array] = (args[0].data,)
            lowest = values[0].trace is None
        elif len(args) == 2:
            a, b = args
            values = (a.data if a.trace is self else a, b.data if b.trace is self else b)
            lowest = values[0].trace is None and values[1].trace is None
        else:
            values, lowest = [a.data if a.trace is self else a for a in args], False
        if primitive.plain and not self.noting:
            out = evaluate_now(primitive, values, params) if lowest else primitive.bind(*values, **params)
            return self.append(primitive, args, params, out)
        differential = None
        if self.everything:
            if primitive.inline:
                return primitive.expand(args, params)
            out = primitive.bind(*values, **params)
        elif not primitive.differentiable:
            return primitive.bind(*values, **params)
        elif primitive.linearize is not None:
            active = [a.trace is self for a in args]
            if step_watchers:
                linearize = primitive.linearize
                out, differential = watched_linearize(primitive, values, lambda: linearize(values, params, active))
            else:
                out, differential = primitive.linearize(values, params, active)
        else:
            out = primitive.bind(*values, **params)
        source = user_source() if self.noting else None
        outs = tuple([self._var(o) for o in (out if primitive.multiple else (out,))])
        self.nodes.append(NotedNode(primitive, args, params, outs, source, differential))
        return outs if primitive.multiple else outs[0]


def stage(
    function: Callable[..., Sequence[Array]], types: Sequence[ArrayType], name: str = ""
) -> tuple[Graph, list[Array]]:
    """Record `function` of arrays of these types. Returns the graph and the outer values it captured.

    The captured values are the graph's *first* inputs: apply the graph to `[*captured, *arguments]`. Steps that no
    output needs are left out, and so are captured values that only such steps used.
    """
    trace = Staging()
    try:
        args = [trace.input(t) for t in types]
        outputs = [trace.lift(o) for o in function(*args)]
        trace.nodes, used = live_nodes(trace.nodes, outputs, trace)
        captured = [(a, v) for a, v in trace.captured.values() if v.index in used]
        trace.inputs = [v for _, v in captured] + args
        claims = [c for c in trace.claims if c.value.index in used]
        graph = trace.finish(outputs, name)
        if claims:
            graph.cache["claims"] = claims
        return graph, [a for a, _ in captured]
    finally:
        trace.close()


def live_nodes(nodes: Sequence[Node], outputs: Sequence[Array], trace: Trace) -> tuple[list[Node], set[int]]:
    """The nodes that `outputs` depend on, in order, and the indices of all values they use."""
    used = {o.index for o in outputs if o.trace is trace}
    live = []
    for node in reversed(nodes):
        if any(o.index in used for o in node.outputs):
            live.append(node)
            used.update(a.index for a in node.inputs if a.trace is trace)
    live.reverse()
    return live, used
