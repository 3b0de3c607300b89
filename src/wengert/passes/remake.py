"""Cheap values made again where they are read, instead of stored turn by turn: `1 - h²`, say, of an `h` that is stored.

One loop emits a sequence for another, as residuals are. Where a few elementwise steps make it from what the second loop
reads anyway, or can read, the second makes it and the first need not store it.
"""

from __future__ import annotations

from collections.abc import Sequence

from wengert.control.scan import scan_p
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node, NotedNode, Var
from wengert.ir.primitive import Params, Primitive, registry
from wengert.passes.rewrite import Rewriter, rewrite

_ARITHMETIC = ("add", "subtract", "multiply", "negative", "abs", "maximum", "minimum", "select", "convert")
_COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
_LOGIC = ("logical_and", "logical_or", "logical_not")
CHEAP = frozenset(registry[n] for n in (*_ARITHMETIC, *_COMPARISONS, *_LOGIC))
_STEPS = 4  # that may be done again for one value


def remake_cheap(graph: Graph) -> Graph:
    """`graph` with loops that make cheap values themselves instead of reading what another loop stored."""
    return rewrite(graph, RULES)


def recipe(body: Graph, wanted: Array, leaves: set[int]) -> list[Node] | None:
    """The cheap steps, in order, that make `wanted` from values with these indices; None if there is no such way."""
    makers = {n.outputs[0].index: n for n in body.nodes if n.primitive in CHEAP}
    found: dict[int, Node] = {}
    todo = [wanted]
    while todo:
        a = todo.pop()
        if a.trace is not body.trace or a.index in found or (a is not wanted and a.index in leaves):  # type: ignore[attr-defined]
            continue
        node = makers.get(a.index)  # type: ignore[attr-defined]
        if node is None or len(found) == _STEPS:
            return None
        found[a.index] = node  # type: ignore[attr-defined]
        todo += node.inputs
    chosen = set(map(id, found.values()))
    return [n for n in body.nodes if id(n) in chosen] or None


def _scan(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Sequence[Array] | None:
    nc, nk = params["num_consts"], params["num_carry"]
    for i in range(nc + nk, len(args)):
        maker = r.makers.get(args[i].index) if args[i].trace is r else None  # type: ignore[attr-defined]
        if maker is None or maker.primitive is not scan_p or not r.used_once(args[i]) or params["length"] is None:
            continue
        made = _made_here(r, maker, params["body"], args, i, nc, nk)
        if made is not None:
            body, new_args, more = made
            return r.step(p, new_args, {**params, "body": body, "num_consts": nc + more})
    return None


def _made_here(
    r: Rewriter, first: Node, body: Graph, args: Sequence[Array], i: int, nc: int, nk: int
) -> tuple[Graph, list[Array], int] | None:
    """The body that makes its sequence `i` itself, from what the loop `first` emitted or was given."""
    source, fc, fk = first.params["body"], first.params["num_consts"], first.params["num_carry"]
    at = next(k for k, o in enumerate(first.outputs) if o is args[i])
    wanted = source.outputs[at]
    if at < fk or wanted.trace is not source.trace:
        return None
    # where each value of the first loop can be had: stacked for all turns, or the same for all
    stacked = {v.index: first.inputs[fc + fk + k] for k, v in enumerate(source.inputs[fc + fk :])}
    for k in range(fk, len(first.outputs)):
        o, a = first.outputs[k], source.outputs[k]
        if k != at and a.trace is source.trace and r.uses.get(o.index, 0) > 0:
            stacked[a.index] = o  # it will be stored in any case
    fixed = {v.index: first.inputs[k] for k, v in enumerate(source.inputs[:fc])}
    steps = recipe(source, wanted, set(stacked) | set(fixed))
    if steps is None:
        return None
    inside = {n.outputs[0].index for n in steps}
    used = {a.index: a for n in steps for a in n.inputs if a.trace is source.trace and a.index not in inside}  # type: ignore[attr-defined]
    new = [a for k, a in used.items() if k in stacked and not any(stacked[k] is x for x in args)]
    if len(new) > 1:  # reading two sequences instead of one gains nothing
        return None
    size = body.size
    here: dict[int, Var] = {}
    consts: list[int] = []
    sequences: list[int] = []
    for k, a in used.items():
        given = next((j for j in range(nc + nk, len(args)) if k in stacked and args[j] is stacked[k]), None)
        if given is not None:
            here[k] = body.inputs[given]
            continue
        here[k] = Var(body.trace, None, size, a.type)  # type: ignore[arg-type]
        size += 1
        (sequences if k in stacked else consts).append(k)
    nodes = []
    for n in steps:
        inputs = [here[a.index] if a.trace is source.trace else a for a in n.inputs]  # type: ignore[attr-defined]
        out = n.outputs[0]
        var = body.inputs[i] if out is wanted else Var(body.trace, None, size, out.type)  # type: ignore[arg-type]
        size += out is not wanted
        here[out.index] = var
        nodes.append(NotedNode(n.primitive, inputs, n.params, (var,), n.source))
    left = [j for j in range(len(args)) if j != i]
    inner = Graph(
        [*(here[k] for k in consts), *(body.inputs[j] for j in left), *(here[k] for k in sequences)],
        [*nodes, *body.nodes],
        body.outputs,
        body.trace,
        size,
        body.name,
    )
    new_args = [*(fixed[k] for k in consts), *(args[j] for j in left), *(stacked[k] for k in sequences)]
    return inner, new_args, len(consts)


RULES = {scan_p: (_scan,)}
