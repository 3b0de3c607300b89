"""Graphs inside steps: bodies of loops, branches and calls, simplified themselves, without an input or output too many.

What a body is given that it need not be given goes: constants stand inside, what comes in twice comes in once, a carry
that no turn changes is a constant of the loop, a result that is an input is that input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.control.call import call_p, checkpoint_p
from wengert.control.cond import switch_p
from wengert.control.scan import scan_p
from wengert.control.while_loop import while_p
from wengert.diff.custom_call import custom_jvp_p, custom_vjp_p
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node, NotedNode, Var
from wengert.ir.primitive import Params, Primitive
from wengert.ir.record import live_nodes
from wengert.ops.shape import broadcast_to_p, reshape
from wengert.passes.facts import splat, value
from wengert.passes.rewrite import Rewriter, Table, rewrite

Args = Sequence[Array]
_SMALL = 16  # elements: constants up to this size move into a body


def simplify_bodies(graph: Graph, simplify: Callable[[Graph], Graph]) -> Graph:
    """`graph` with `simplify` applied to every graph that a step carries, and steps that carry graphs made narrower."""
    return rewrite(graph, body_rules(simplify))


def body_rules(simplify: Callable[[Graph], Graph]) -> Table:
    """The rules of this pass; `simplify` is what is done to each body."""

    def inside(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
        new = {key: _mapped(simplify, v) for key, v in params.items()}
        return None if all(new[k] is v for k, v in params.items()) else r.step(p, args, new)

    return {
        call_p: (_inlined,),
        custom_jvp_p: (_inlined,),
        custom_vjp_p: (_inlined,),
        checkpoint_p: (_constants_of_checkpoint, inside),
        switch_p: (_known_branch, _operands, _equal_results, inside),
        scan_p: (
            _single_turn,
            _repeated_sequence,
            _turns_taken,
            _constants_of_scan,
            _twice,
            _unchanged_carry,
            _outputs,
            inside,
        ),
        while_p: (_constants_of_while, _unchanged_while, _emitted_twice, inside),
    }


def _mapped(simplify: Callable[[Graph], Graph], v: Any) -> Any:
    if isinstance(v, Graph):
        return simplify(v)
    if isinstance(v, tuple) and v and isinstance(v[0], Graph):
        new = tuple(simplify(g) for g in v)
        return v if all(a is b for a, b in zip(new, v, strict=True)) else new
    return v


def given(body: Graph, values: dict[int, Array], extra: Sequence[Node] = (), size: int = 0) -> Graph:
    """`body` with the inputs at these positions replaced: by constants, or by other values of the body."""
    by_index = {body.inputs[i].index: a for i, a in values.items()}
    trace = body.trace

    def of(a: Array) -> Array:
        return by_index.get(a.index, a) if a.trace is trace else a  # type: ignore[attr-defined]

    nodes = [
        _with_inputs(n, tuple([of(a) for a in n.inputs]))
        if any(a.trace is trace and a.index in by_index for a in n.inputs)  # type: ignore[attr-defined]
        else n
        for n in body.nodes
    ]
    inputs = [v for i, v in enumerate(body.inputs) if i not in values]
    return Graph(inputs, [*extra, *nodes], [of(a) for a in body.outputs], trace, max(size, body.size), body.name)


def _with_inputs(n: Node, inputs: Sequence[Array]) -> Node:
    return NotedNode(n.primitive, inputs, n.params, n.outputs, n.source)


def filled(body: Graph, constants: dict[int, Array]) -> Graph:
    """`body` with constants in place of the inputs at these positions; single numbers stretched."""
    extra: list[Node] = []
    values: dict[int, Array] = {}
    size = body.size
    for i, c in constants.items():
        t = body.inputs[i].type
        if c.shape != t.shape:
            var = Var(body.trace, None, size, t)  # type: ignore[arg-type]
            size += 1
            extra.append(Node(broadcast_to_p, (c,), {"shape": t.shape}, (var,)))
            c = var
        values[i] = c
    return given(body, values, extra, size)


def reordered(body: Graph, order: Sequence[int]) -> Graph:
    """`body` with its inputs in another order."""
    return Graph([body.inputs[i] for i in order], body.nodes, body.outputs, body.trace, body.size, body.name)


def returning(body: Graph, outputs: Sequence[Array]) -> Graph:
    """`body` with other outputs, and only what they need."""
    nodes, _ = live_nodes(body.nodes, outputs, body.trace)  # type: ignore[arg-type]
    return Graph(body.inputs, nodes, outputs, body.trace, body.size, body.name)


def _known(r: Rewriter, args: Args, positions: Sequence[int]) -> dict[int, Array]:
    """Those of the inputs that are small constants or one repeated number."""
    found = {}
    for i in positions:
        one = splat(r, args[i])
        if one is not None:
            found[i] = one
        elif args[i].trace is None and args[i].size <= _SMALL:
            found[i] = args[i]
    return found


def _repeats(args: Args, positions: Sequence[int]) -> dict[int, int]:
    """Inputs that came before, and where."""
    first: dict[int, int] = {}
    return {i: j for i in positions if (j := first.setdefault(id(args[i]), i)) != i}


def _without(args: Args, gone: Any) -> list[Array]:
    return [a for i, a in enumerate(args) if i not in gone]


# Calls and branches


def _inlined(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    """A call is the steps of its graph: once derivatives are taken, nothing is gained by keeping it apart."""
    return None if params["graph"] is None else r.inline(params["graph"], args)


def _constants_of_checkpoint(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    body = params["graph"]
    if known := _known(r, args, range(len(args))):
        return r.step(p, _without(args, known), {**params, "graph": filled(body, known)})
    if twice := _repeats(args, range(len(args))):
        body = given(body, {i: body.inputs[j] for i, j in twice.items()})
        return r.step(p, _without(args, twice), {**params, "graph": body})
    return None


def _known_branch(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    index, branches = value(r, args[0]), params["branches"]
    if index is None and len(set(branches)) > 1:
        return None
    return r.inline(branches[0 if index is None else int(index)], args[1:])


def _operands(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    branches, operands = params["branches"], args[1:]
    if known := _known(r, operands, range(len(operands))):
        branches = tuple(filled(b, known) for b in branches)
        return r.step(p, [args[0], *_without(operands, known)], {"branches": branches})
    if twice := _repeats(operands, range(len(operands))):
        branches = tuple(given(b, {i: b.inputs[j] for i, j in twice.items()}) for b in branches)
        return r.step(p, [args[0], *_without(operands, twice)], {"branches": branches})
    return None


def _equal_results(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    """A result that every branch has twice is returned once; one that is the same operand in all, not at all."""
    branches = params["branches"]
    places = [{v.index: k for k, v in enumerate(b.inputs)} for b in branches]

    def same_in_all(k: int) -> Any:
        found = set()
        for b, place in zip(branches, places, strict=True):
            a = b.outputs[k]
            found.add(place.get(a.index) if a.trace is b.trace else None)
        return found.pop() if len(found) == 1 else None

    n = len(branches[0].outputs)
    passed = {k: same_in_all(k) for k in range(n)}
    first: dict[Any, int] = {}
    source = {k: first.setdefault(tuple(id(b.outputs[k]) for b in branches), k) for k in range(n)}
    kept = [k for k in range(n) if source[k] == k and passed[k] is None]
    if len(kept) == n:
        return None
    new = tuple(returning(b, [b.outputs[k] for k in kept]) for b in branches)
    outs = dict(zip(kept, r.step(p, args, {"branches": new}) if kept else (), strict=True))
    return [args[1 + passed[k]] if passed[k] is not None else outs[source[k]] for k in range(n)]


# scan


def _parts(args: Args, params: Params) -> tuple[Graph, int, int]:
    return params["body"], params["num_consts"], params["num_carry"]


def _single_turn(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    body, nc, nk = _parts(args, params)
    if params["length"] != 1:
        return None
    outs = r.inline(body, [*args[: nc + nk], *(reshape(x, x.shape[1:]) for x in args[nc + nk :])])
    return [*outs[:nk], *(reshape(y, (1, *y.shape)) for y in outs[nk:])]


def _repeated_sequence(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    """A sequence of one value repeated each turn is a constant of the loop."""
    body, nc, nk = _parts(args, params)
    for i in range(nc + nk, len(args)):
        x = args[i]
        node = r.made_by(x, broadcast_to_p)
        if node is None or params["length"] is None:
            continue
        y = node.inputs[0]
        if y.ndim == x.ndim and y.shape[0] != 1:
            continue
        each = r.stretch(reshape(y, y.shape[1:]) if y.ndim == x.ndim else y, x.shape[1:])
        order = [*range(nc), i, *(k for k in range(nc, len(args)) if k != i)]
        new = [each if k == i else args[k] for k in order]
        return r.step(p, new, {**params, "body": reordered(body, order), "num_consts": nc + 1})
    return None


def _turns_taken(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    """Where no batch shares a `while_loop`, every turn that emitted something took place."""
    body, nc, nk = _parts(args, params)
    for i in range(nc + nk, len(args) if len(args) > nc + nk + 1 else 0):  # one sequence must tell the turns
        node = r.made_by(args[i], while_p)
        if node is None or not node.params["emit"] or args[i] is not node.outputs[-1]:
            continue
        if not node.params["test"].out_types[0].shape:
            return r.step(p, _without(args, (i,)), {**params, "body": filled(body, {i: Array(np.True_)})})
    return None


def _constants_of_scan(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    body, nc, _ = _parts(args, params)
    known = _known(r, args, range(nc))
    if not known or (params["length"] is None and len(args) == len(known)):
        return None
    return r.step(p, _without(args, known), {**params, "body": filled(body, known), "num_consts": nc - len(known)})


def _twice(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    body, nc, nk = _parts(args, params)
    twice = {**_repeats(args, range(nc)), **_repeats(args, range(nc + nk, len(args)))}
    if not twice:
        return None
    body = given(body, {i: body.inputs[j] for i, j in twice.items()})
    return r.step(p, _without(args, twice), {**params, "body": body, "num_consts": nc - sum(i < nc for i in twice)})


def _unchanged_carry(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    """A carry that every turn hands on as it is, is a constant of the loop. Two that begin and go on equal are one."""
    body, nc, nk = _parts(args, params)
    same = [k for k in range(nk) if body.outputs[k] is body.inputs[nc + k]]
    if same:
        order = [*range(nc), *(nc + k for k in same), *(i for i in range(nc, len(args)) if i - nc not in same)]
        inner = returning(reordered(body, order), _without(body.outputs, same))
        outs = list(
            r.step(
                p,
                [args[i] for i in order],
                {**params, "body": inner, "num_consts": nc + len(same), "num_carry": nk - len(same)},
            )
        )
        for k in same:  # ascending, so that each finds its place
            outs.insert(k, args[nc + k])
        return outs
    pairs: dict[Any, int] = {}
    for k in range(nk):
        first = pairs.setdefault((id(args[nc + k]), id(body.outputs[k])), k)
        if first != k:
            inner = given(body, {nc + k: body.inputs[nc + first]})
            inner = returning(inner, _without(inner.outputs, (k,)))
            outs = list(r.step(p, _without(args, (nc + k,)), {**params, "body": inner, "num_carry": nk - 1}))
            outs.insert(k, outs[first])
            return outs
    return None


def _outputs(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    """What a turn emits that is already there: an element of a sequence, a constant, or emitted twice."""
    body, nc, nk = _parts(args, params)
    place = {v.index: i for i, v in enumerate(body.inputs)}
    source: dict[int, Any] = {}
    first: dict[int, int] = {}
    splats = {
        n.outputs[0].index: n.inputs[0]
        for n in body.nodes
        if n.primitive is broadcast_to_p and n.inputs[0].trace is None
    }
    for k in range(nk, len(body.outputs)):
        a = body.outputs[k]
        i = place.get(a.index) if a.trace is body.trace else None  # type: ignore[attr-defined]
        if i is not None and i >= nc + nk:
            source[k] = args[i]
        elif params["length"] is not None and (i is not None and i < nc):
            source[k] = r.stretch(args[i], (params["length"], *a.shape))
        elif params["length"] is not None and a.trace is None:
            source[k] = r.stretch(a, (params["length"], *a.shape))
        elif params["length"] is not None and a.index in splats:  # type: ignore[attr-defined]
            source[k] = r.stretch(splats[a.index], (params["length"], *a.shape))  # type: ignore[attr-defined]
        elif first.setdefault(id(a), k) != k:
            source[k] = first[id(a)]
    if not source:
        return None
    kept = [k for k in range(len(body.outputs)) if k not in source]
    if not kept:  # a loop is left that returns nothing
        return list(source.values())
    outs = dict(
        zip(kept, r.step(p, args, {**params, "body": returning(body, [body.outputs[k] for k in kept])}), strict=True)
    )
    for k, s in source.items():
        outs[k] = s if isinstance(s, Array) else outs[s]
    return [outs[k] for k in range(len(body.outputs))]


# while_loop


def _constants_of_while(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    nt, nb = params["num_test"], params["num_body"]
    test, body = params["test"], params["body"]
    for first, n, name, graph in ((0, nt, "test", test), (nt, nb, "body", body)):
        mine = args[first : first + n]
        known, twice = _known(r, mine, range(n)), _repeats(mine, range(n))
        gone = known or twice
        if gone:
            new = filled(graph, known) if known else given(graph, {i: graph.inputs[j] for i, j in twice.items()})
            left = [*args[:first], *_without(mine, gone), *args[first + n :]]
            return r.step(p, left, {**params, name: new, f"num_{name}": n - len(gone)})
    return None


def _emitted_twice(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    body, nk = params["body"], len(args) - params["num_test"] - params["num_body"]
    first: dict[int, int] = {}
    source = [k if k < nk else first.setdefault(id(a), k) for k, a in enumerate(body.outputs)]
    kept = [k for k, s in enumerate(source) if s == k]
    if len(kept) == len(source):
        return None
    *outs, taken = r.step(p, args, {**params, "body": returning(body, [body.outputs[k] for k in kept])})
    place = dict(zip(kept, outs, strict=True))
    return [*(place[s] for s in source), taken]


def _unchanged_while(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    nt, nb, body, test = params["num_test"], params["num_body"], params["body"], params["test"]
    nk = len(args) - nt - nb
    for k in range(nk):
        if body.outputs[k] is not body.inputs[nb + k]:
            continue
        c = args[nt + nb + k]
        in_test = [*range(nt), nt + k, *(i for i in range(nt, nt + nk) if i != nt + k)]
        in_body = [*range(nb), nb + k, *(i for i in range(nb, nb + nk) if i != nb + k)]
        inner = returning(reordered(body, in_body), _without(body.outputs, (k,)))
        rest = _without(args[nt + nb :], (k,))
        if not rest:
            return None  # it never ends, or never begins; a loop needs a carry to be one
        new = {**params, "test": reordered(test, in_test), "body": inner, "num_test": nt + 1, "num_body": nb + 1}
        outs = list(r.step(p, [*args[:nt], c, *args[nt : nt + nb], c, *rest], new))
        outs.insert(k, c)
        return outs
    return None
