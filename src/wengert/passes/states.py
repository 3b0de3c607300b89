"""States instead of residuals: a loop's reverse makes again what the loop would store, from the carry of each turn.

Where one loop emits several large sequences for another, as residuals are, and all of them follow from its carry by
elementwise arithmetic and moves alone, it emits the carry, and the other loop does that arithmetic again. Sequences
beyond the caches cost more to write and read than to make.
"""

from __future__ import annotations

from wengert.control.scan import scan_p
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node, NotedNode, Var
from wengert.ir.primitive import registry
from wengert.passes.remake import CHEAP

LARGE = 4 << 20  # bytes of sequences that are worth it
_MOVES = ("slice", "concat", "pad", "reshape", "permute", "broadcast_to", "flip")
_FREE = CHEAP | frozenset(registry[n] for n in _MOVES)


def emit_states(graph: Graph) -> Graph:
    """`graph` with loops that emit their carry where that is less than the residuals they emit."""
    uses: dict[int, int] = {}
    makers: dict[int, Node] = {}
    for node in graph.nodes:
        for a in node.inputs:
            if a.trace is graph.trace:
                uses[a.index] = uses.get(a.index, 0) + 1  # type: ignore[attr-defined]
        makers.update({o.index: node for o in node.outputs})
    for a in graph.outputs:
        if a.trace is graph.trace:
            uses[a.index] = uses.get(a.index, 0) + 1  # type: ignore[attr-defined]
    for second in graph.nodes:
        if second.primitive is not scan_p or second.params["length"] is None:
            continue
        start = second.params["num_consts"] + second.params["num_carry"]
        firsts = {id(n): n for a in second.inputs[start:] if (n := _maker(graph, makers, a)) is not None}
        for first in firsts.values():
            changed = _pair(graph, first, second, uses)
            if changed is not None:
                return emit_states(changed)
    return graph


def _maker(graph: Graph, makers: dict[int, Node], a: Array) -> Node | None:
    node = makers.get(a.index) if a.trace is graph.trace else None  # type: ignore[attr-defined]
    return node if node is not None and node.primitive is scan_p else None


def _pair(graph: Graph, first: Node, second: Node, uses: dict[int, int]) -> Graph | None:
    source, body = first.params["body"], second.params["body"]
    fc, fk = first.params["num_consts"], first.params["num_carry"]
    nc, nk, turns = second.params["num_consts"], second.params["num_carry"], second.params["length"]
    place = {v.index: i for i, v in enumerate(source.inputs)}
    makers = {n.outputs[0].index: n for n in source.nodes if len(n.outputs) == 1}
    emitted = {o.index: k for k, o in enumerate(first.outputs) if k >= fk}
    group: dict[int, Array] = {}  # input of the second loop -> what the first one's body emits there
    nodes: dict[int, Node] = {}
    leaves: set[int] = set()
    for i in range(nc + nk, len(second.inputs)):
        a = second.inputs[i]
        k = emitted.get(a.index) if a.trace is graph.trace else None  # type: ignore[attr-defined]
        if k is None or uses[a.index] != 1:  # type: ignore[attr-defined]
            continue
        made = _recipe(source, source.outputs[k], makers, place)
        if made is not None:
            group[i] = source.outputs[k]
            nodes.update(made[0])
            leaves |= made[1]
    states = [p for p in sorted(leaves) if fc <= p < fc + fk]
    ready = {id(a) for i, a in enumerate(second.inputs) if i not in group}
    sequences = [p for p in sorted(leaves) if p >= fc + fk]
    more = states + [p for p in sequences if id(first.inputs[p]) not in ready]
    old, new = (
        turns * sum(t.size * t.dtype.itemsize for t in types)
        for types in ([w.type for w in group.values()], [source.inputs[p].type for p in more])
    )
    if not group or old < max(LARGE, 2 * new):
        return None
    # the first loop emits its carry as well
    size = graph.size
    wide = [source.inputs[p].type for p in states]
    outs = [Var(graph.trace, None, size + k, t.with_shape((turns, *t.shape))) for k, t in enumerate(wide)]  # type: ignore[arg-type]
    size += len(outs)
    outer = Graph(
        source.inputs,
        source.nodes,
        [*source.outputs, *(source.inputs[p] for p in states)],
        source.trace,
        source.size,
        source.name,
    )
    new_first = NotedNode(
        scan_p, first.inputs, {**first.params, "body": outer}, (*first.outputs, *outs), getattr(first, "source", None)
    )
    # the second one makes the rest
    at = body.size
    here: dict[int, Array] = {}
    consts = [p for p in sorted(leaves) if p < fc]
    for p in sorted(leaves):
        here[source.inputs[p].index] = Var(body.trace, None, at, source.inputs[p].type)  # type: ignore[arg-type]
        at += 1
    wanted = {w.index: body.inputs[i] for i, w in group.items()}  # type: ignore[attr-defined]
    recipe = []
    for n in source.nodes:
        if n.outputs[0].index not in nodes:
            continue
        out = wanted.get(n.outputs[0].index)
        if out is None:
            out = Var(body.trace, None, at, n.outputs[0].type)  # type: ignore[arg-type]
            at += 1
        here[n.outputs[0].index] = out
        inputs = [here[a.index] if a.trace is source.trace else a for a in n.inputs]  # type: ignore[attr-defined]
        recipe.append(NotedNode(n.primitive, inputs, n.params, (out,), getattr(n, "source", None)))
    left = [i for i in range(len(second.inputs)) if i not in group]
    behind = states + sequences
    inner = Graph(
        [*(here[source.inputs[p].index] for p in consts), *(body.inputs[i] for i in left)]
        + [here[source.inputs[p].index] for p in behind],  # type: ignore[arg-type]
        [*recipe, *body.nodes],
        body.outputs,
        body.trace,
        at,
        body.name,
    )
    inputs = [*(first.inputs[p] for p in consts), *(second.inputs[i] for i in left)]
    inputs += [*outs, *(first.inputs[p] for p in sequences)]
    params = {**second.params, "body": inner, "num_consts": nc + len(consts)}
    new_second = NotedNode(scan_p, inputs, params, second.outputs, getattr(second, "source", None))
    replaced = {id(first): new_first, id(second): new_second}
    return Graph(
        graph.inputs, [replaced.get(id(n), n) for n in graph.nodes], graph.outputs, graph.trace, size, graph.name
    )


def _recipe(
    source: Graph, wanted: Array, makers: dict[int, Node], place: dict[int, int]
) -> tuple[dict[int, Node], set[int]] | None:
    """The steps that make a value from the body's inputs, by their results, and which inputs; None if they are dear."""
    nodes: dict[int, Node] = {}
    leaves: set[int] = set()
    todo = [wanted]
    if wanted.trace is not source.trace or wanted.index in place:  # type: ignore[attr-defined]
        return None
    while todo:
        a = todo.pop()
        if a.trace is not source.trace or a.index in nodes:  # type: ignore[attr-defined]
            continue
        if a.index in place:  # type: ignore[attr-defined]
            leaves.add(place[a.index])  # type: ignore[attr-defined]
            continue
        node = makers.get(a.index)  # type: ignore[attr-defined]
        if node is None or node.primitive not in _FREE:
            return None
        nodes[a.index] = node  # type: ignore[attr-defined]
        todo += node.inputs
    return nodes, leaves
