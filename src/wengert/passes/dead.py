"""Dead steps, and dead parts of steps: results of loops, branches and calls that nobody reads, and what only they need.

A carry lives if its last value is read, or if a live result of some turn depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from wengert.control.call import checkpoint_p
from wengert.control.cond import switch_p
from wengert.control.scan import scan_p
from wengert.control.while_loop import while_p
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node, NotedNode
from wengert.ir.primitive import Params, Primitive
from wengert.ir.record import live_nodes


class Narrowed(NamedTuple):
    """A step with fewer parts: its parameters, and which inputs and outputs are left."""

    params: Params
    inputs: list[int]
    outputs: list[int]


def remove_dead(graph: Graph) -> Graph:
    """`graph` with only the steps, and the parts of steps, that its outputs need."""
    trace = graph.trace
    used = {a.index for a in graph.outputs if a.trace is trace}  # type: ignore[attr-defined]
    live: list[Node] = []
    changed = False
    for node in reversed(graph.nodes):
        wanted = [k for k, o in enumerate(node.outputs) if o.index in used]
        if not wanted:
            changed = True
            continue
        narrow = NARROW.get(node.primitive)
        if narrow is not None:
            less = narrow(node, wanted)
            if len(less.inputs) < len(node.inputs) or len(less.outputs) < len(node.outputs):
                changed = True
                inputs = [node.inputs[i] for i in less.inputs]
                outputs = [node.outputs[k] for k in less.outputs]
                node = NotedNode(node.primitive, inputs, less.params, outputs, node.source)
        live.append(node)
        used.update(a.index for a in node.inputs if a.trace is trace)  # type: ignore[attr-defined]
    if not changed:
        return graph
    live.reverse()
    return Graph(graph.inputs, live, graph.outputs, trace, graph.size, graph.name)


def part(body: Graph, inputs: Sequence[int], outputs: Sequence[Array]) -> Graph:
    """`body` with these inputs and outputs only."""
    nodes, _ = live_nodes(body.nodes, outputs, body.trace)  # type: ignore[arg-type]
    return Graph([body.inputs[i] for i in inputs], nodes, outputs, body.trace, body.size, body.name)


def needed(body: Graph, outputs: Sequence[Array]) -> set[int]:
    """The positions of the inputs that these outputs depend on."""
    _, used = live_nodes(body.nodes, outputs, body.trace)  # type: ignore[arg-type]
    return {i for i, v in enumerate(body.inputs) if v.index in used}


def _call(node: Node, wanted: list[int]) -> Narrowed:
    body = node.params["graph"]
    outputs = [body.outputs[k] for k in wanted]
    kept = sorted(needed(body, outputs))
    return Narrowed({**node.params, "graph": part(body, kept, outputs)}, kept, wanted)


def _switch(node: Node, wanted: list[int]) -> Narrowed:
    branches = node.params["branches"]
    kept = sorted(set().union(*(needed(b, [b.outputs[k] for k in wanted]) for b in branches)))
    new = tuple(part(b, kept, [b.outputs[k] for k in wanted]) for b in branches)
    return Narrowed({"branches": new}, [0, *(i + 1 for i in kept)], wanted)


def _scan(node: Node, wanted: list[int]) -> Narrowed:
    body, nc, nk = node.params["body"], node.params["num_consts"], node.params["num_carry"]
    outs = set(wanted)
    while True:
        kept = needed(body, [body.outputs[k] for k in sorted(outs)])
        grown = outs | {i - nc for i in kept if nc <= i < nc + nk}
        if grown == outs:
            break
        outs = grown
    # a carry that is wanted begins with its first value, also where no turn reads it
    kept |= {nc + k for k in outs if k < nk}
    if node.params["length"] is None:  # then the first sequence says how many turns there are
        kept.add(nc + nk)
    inputs, outputs = sorted(kept), sorted(outs)
    params = {
        **node.params,
        "body": part(body, inputs, [body.outputs[k] for k in outputs]),
        "num_consts": sum(i < nc for i in inputs),
        "num_carry": sum(k < nk for k in outputs),
    }
    return Narrowed(params, inputs, outputs)


def _while(node: Node, wanted: list[int]) -> Narrowed:
    p = node.params
    test, body, nt, nb = p["test"], p["body"], p["num_test"], p["num_body"]
    nk, n = len(node.inputs) - nt - nb, len(body.outputs)
    emit = p["emit"] and any(k >= nk for k in wanted)
    in_test = needed(test, test.outputs)
    outs = {k for k in wanted if k < n} | {i - nt for i in in_test if i >= nt}
    outs = outs or {0}  # a loop needs a carry to be one
    while True:
        in_body = needed(body, [body.outputs[k] for k in sorted(outs)])
        grown = outs | {i - nb for i in in_body if i >= nb}
        if grown == outs:
            break
        outs = grown
    outputs = sorted(outs)
    carry = [k for k in outputs if k < nk]
    test_consts, consts = [i for i in range(nt) if i in in_test], [i for i in range(nb) if i in in_body]
    params = {
        "test": part(test, [*test_consts, *(nt + k for k in carry)], test.outputs),
        "body": part(body, [*consts, *(nb + k for k in carry)], [body.outputs[k] for k in outputs]),
        "num_test": len(test_consts),
        "num_body": len(consts),
        "emit": emit,
    }
    inputs = [*test_consts, *(nt + i for i in consts), *(nt + nb + k for k in carry)]
    return Narrowed(params, inputs, [*outputs, *([n] if emit else [])])


NARROW: dict[Primitive, Callable[[Node, list[int]], Narrowed]] = {
    checkpoint_p: _call,
    switch_p: _switch,
    scan_p: _scan,
    while_p: _while,
}
