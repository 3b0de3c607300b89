"""explain: what a transformation would do with these arguments, and why."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

from wengert import tree
from wengert.diff.cost import graph_cost, node_cost
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ir.graph import Graph, last_uses
from wengert.ir.record import Tape
from wengert.ops.promote import as_array
from wengert.source import at_user_line

__all__ = ["GraphSummary", "explain"]


def explain(f: Callable[..., Any], profile: bool = False) -> Callable[..., Any]:
    """A function that tells, for given arguments, what `f` would do; print its result.

    A transformed function that makes a choice says which and why (`wg.jacobian`: the sweeps that each way takes), one
    compiled by `jit(f, executor="native")` what became of it: `.kernels` with operations, bytes and floor,
    `.callbacks` to NumPy, `.workspace_bytes` and more. It does so by an attribute `explain`, a function of the same
    arguments. For any other function: a summary of its graph.

    Args:
        f: a function.
        profile: for a native program: run it, too, with a clock around each kernel, and tell how long they take
            (`.kernels[k].seconds`). Arguments are left as they are, but what the program calls happens.

    Raises:
        ArgumentError: `f` is no function, or with `profile` none that has kernels.

    Example:
        >>> print(wg.explain(wg.jacobian(f))(x))
        >>> print(wg.explain(f)(x))
        >>> print(wg.explain(wg.jit(f, executor="native"), profile=True)(x))
    """
    if not callable(f):
        raise ArgumentError(
            f"explain takes a function, got {type(f).__name__}; write explain(f)(x), not explain(f(x)){at_user_line()}"
        )
    own = getattr(f, "profile" if profile else "explain", None)
    if callable(own):
        return own
    if profile:
        raise ArgumentError(
            f"explain: profile=True times the kernels of a native program, and {type(f).__name__} has none; write "
            f'explain(jit(f, executor="native"), profile=True)(x){at_user_line()}'
        )

    @functools.wraps(f)
    def explain_of(*args: Any, **kwargs: Any) -> GraphSummary:
        return GraphSummary(_record(f, args, kwargs))

    return explain_of


def _record(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
    opened = tree.Opened((args, kwargs))
    tape = Tape(everything=True)
    try:
        variables = [tape.input(as_array(v, "explain")) for v in opened.leaves]
        new_args, new_kwargs = opened.rebuild(variables)
        out = f(*new_args, **new_kwargs)
        outputs = [as_array(o, "the result of an explained function") for o in tree.leaves(out)]
        return tape.finish(outputs, getattr(f, "__name__", type(f).__name__))
    finally:
        tape.close()


class GraphSummary:
    """The size of a graph: its steps by primitive, floating-point operations, bytes moved, bytes held at the most."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.counts = Counter(n.primitive.name for n in graph.nodes)
        self.flops, self.bytes = graph_cost(graph)
        self.peak_bytes = peak_bytes(graph)
        self._flops_by: Counter[str] = Counter()
        for n in graph.nodes:
            self._flops_by[n.primitive.name] += node_cost(n).flops

    def __str__(self) -> str:
        g = self.graph
        lines = [
            f"{g.name or 'graph'}: {len(g.inputs)} inputs, {len(g.nodes)} steps, {len(g.outputs)} outputs",
            f"  about {self.flops:,} floating-point operations, {self.bytes:,} bytes read and written, "
            f"at most {self.peak_bytes:,} bytes held at once",
        ]
        if self.counts:
            width = max(map(len, self.counts))
            lines += [
                f"  {name:<{width}} × {count:<6} {self._flops_by[name]:>14,} flop"
                for name, count in self.counts.most_common()
            ]
        return "\n".join(lines)

    __repr__ = __str__


def peak_bytes(graph: Graph) -> int:
    """The bytes held at the worst moment, if every value is dropped after its last use."""
    sizes: dict[int, int] = {}

    def size(a: Array) -> int:
        return a.size * a.dtype.itemsize

    for v in graph.inputs:
        sizes[v.index] = size(v)
    held = peak = sum(sizes.values())
    for node, dying in zip(graph.nodes, last_uses(graph), strict=True):
        for o in node.outputs:
            sizes[o.index] = size(o)
            held += sizes[o.index]
        peak = max(peak, held)
        held -= sum(sizes.pop(i, 0) for i in dying)
    return peak
