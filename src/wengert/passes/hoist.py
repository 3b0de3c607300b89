"""Loop-invariant steps: what depends on a loop's constants alone is done once, before the loop.

Broadcasts and reshapes cost nothing where they are, and stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from wengert.control.scan import scan_p
from wengert.control.while_loop import while_p
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node
from wengert.ir.primitive import Params, Primitive
from wengert.ir.record import live_nodes
from wengert.ops.shape import broadcast_to_p, reshape_p
from wengert.passes.rewrite import Rewriter, rewrite

_FREE = (broadcast_to_p, reshape_p)


def hoist_invariants(graph: Graph) -> Graph:
    """`graph` with what is the same in every turn of a loop computed before the loop."""
    return rewrite(graph, RULES)


def _scan(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Sequence[Array] | None:
    nc = params["num_consts"]
    found = invariants(params["body"], nc)
    if found is None:
        return None
    before, body = found
    made = r.inline(before, args[:nc])
    return r.step(p, [*made, *args], {**params, "body": body, "num_consts": nc + len(made)})


def _while(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Sequence[Array] | None:
    nt, nb = params["num_test"], params["num_body"]
    for first, n, name in ((0, nt, "test"), (nt, nb, "body")):
        found = invariants(params[name], n)
        if found is not None:
            before, graph = found
            made = r.inline(before, args[first : first + n])
            new = {**params, name: graph, f"num_{name}": n + len(made)}
            return r.step(p, [*args[:first], *made, *args[first:]], new)
    return None


def invariants(body: Graph, num_consts: int) -> tuple[Graph, Graph] | None:
    """What can be done before the loop, as a graph of the constants; and the body that is given the results."""
    varying = depending(body, range(num_consts, len(body.inputs)))
    moved = [n for n in body.nodes if n.primitive not in _FREE and not any(o.index in varying for o in n.outputs)]
    if not moved:
        return None
    gone = set(map(id, moved))
    rest = [n for n in body.nodes if id(n) not in gone]
    read = read_by(rest, body)
    results = [o for n in moved for o in n.outputs if o.index in read]
    before = Graph(body.inputs[:num_consts], body.nodes, results, body.trace, body.size, f"{body.name}: before")
    before.nodes, _ = live_nodes(body.nodes, results, body.trace)  # type: ignore[arg-type]
    rest, _ = live_nodes(rest, body.outputs, body.trace)  # type: ignore[arg-type]
    return before, Graph([*results, *body.inputs], rest, body.outputs, body.trace, body.size, body.name)


def depending(body: Graph, positions: Sequence[int]) -> set[int]:
    """The indices of all values that depend on the inputs at these positions."""
    found = {body.inputs[i].index for i in positions}
    for n in body.nodes:
        if any(a.trace is body.trace and a.index in found for a in n.inputs):  # type: ignore[attr-defined]
            found.update(o.index for o in n.outputs)
    return found


def read_by(nodes: Sequence[Node], body: Graph) -> set[int]:
    """The indices of the values of `body` that these nodes, or its outputs, read."""
    found = {a.index for a in body.outputs if a.trace is body.trace}  # type: ignore[attr-defined]
    for n in nodes:
        found.update(a.index for a in n.inputs if a.trace is body.trace)  # type: ignore[attr-defined]
    return found


RULES = {scan_p: (_scan,), while_p: (_while,)}
