"""Products out of loops: T small products become one large one, which a matrix kernel does many times faster.

    before   yₜ = xₜ·W                    Y = X·W, and turn t takes yₜ           (the input's part of a recurrent cell)
    after    sum ← sum + aₜᵀ·bₜ           A, B emitted; sum = init + Σₜ aₜᵀ·bₜ     (the gradient of a weight)
             emit cₜ = bₜ·W               B emitted; C = B·W                      (the cotangent of the inputs)

All three store one value a turn that otherwise would be used up at once: `T · size` elements for each value that is
not a sequence already, refused above `LARGEST` bytes. Products so small that they stay in registers stay in the loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from wengert.batch import batched_graph
from wengert.control.scan import scan_p
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node, NotedNode, Var
from wengert.ir.primitive import Params, Primitive
from wengert.ir.record import live_nodes
from wengert.ops.arithmetic import add, negative, subtract
from wengert.ops.contract import dot_general_p
from wengert.ops.reduce import sum_p
from wengert.ops.shape import permute_p, reshape_p
from wengert.passes.hoist import depending
from wengert.passes.rewrite import Rewriter, rewrite, use_counts

LARGEST = 1 << 28  # bytes that one product may add to what is stored
SMALL = 1 << 11  # multiplications: a product up to here is not worth a store
_LINEAR = (reshape_p, permute_p, negative)  # what may stand between a product and the sum it is added to

Args = Sequence[Array]


def hoist_products(graph: Graph) -> Graph:
    """`graph` with products moved out of its scans."""
    return rewrite(graph, RULES)


def work(node: Node) -> int:
    """Multiplications of a product."""
    x, y = node.inputs
    return (
        x.size
        * y.size
        // max(1, math.prod(y.shape[a] for a in (*node.params["batch"][1], *node.params["contract"][1])))
    )


def _fits(length: int, values: Sequence[Array]) -> bool:
    return sum(length * v.size * v.dtype.itemsize for v in values) <= LARGEST


def _before(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    """Products of a sequence with a constant."""
    body, nc, nk, length = params["body"], params["num_consts"], params["num_carry"], params["length"]
    if length is None or length < 2 or nc + nk == len(args):
        return None
    late = depending(body, range(nc, nc + nk))
    early = depending(body, range(nc + nk, len(args)))
    targets = [
        n
        for n in body.nodes
        if n.primitive is dot_general_p
        and n.outputs[0].index in early
        and n.outputs[0].index not in late
        and sum(a.trace is body.trace and a.index in early for a in n.inputs) == 1  # type: ignore[attr-defined]
        and n.params["contract"][0]
        and work(n) > SMALL
        and _fits(length, n.outputs)
    ]
    if not targets:
        return None
    outs = [n.outputs[0] for n in targets]
    nodes, _ = live_nodes(body.nodes, outs, body.trace)  # type: ignore[arg-type]
    inputs = [*body.inputs[:nc], *body.inputs[nc + nk :]]
    each = Graph(inputs, nodes, outs, body.trace, body.size, f"{body.name}: before")
    whole, _ = batched_graph(each, [i >= nc for i in range(len(inputs))], length)
    stacked = r.inline(whole, [*args[:nc], *args[nc + nk :]])
    gone = set(map(id, targets))
    rest, _ = live_nodes([n for n in body.nodes if id(n) not in gone], body.outputs, body.trace)  # type: ignore[arg-type]
    inner = Graph([*body.inputs, *outs], rest, body.outputs, body.trace, body.size, body.name)
    return r.step(p, [*args, *stacked], {**params, "body": inner})


class Addend(NamedTuple):
    """What a turn adds to a sum: a product (or a sum) with linear steps after it."""

    minus: bool
    core: Node
    after: list[Node]


class Body:
    """A loop body that is taken apart: what it emits is collected, its carries are replaced."""

    def __init__(self, body: Graph, nc: int, nk: int):
        self.body, self.nc, self.nk = body, nc, nk
        self.trace: Any = body.trace
        self.uses = use_counts(body)
        self.makers = {o.index: n for n in body.nodes for o in n.outputs}
        self.varying = depending(body, range(nc, len(body.inputs)))
        self.place = {v.index: i for i, v in enumerate(body.inputs)}
        self.outputs = list(body.outputs)
        self.extra: list[Node] = []
        self.size = body.size

    def maker(self, a: Array) -> Node | None:
        return self.makers.get(a.index) if a.trace is self.trace else None  # type: ignore[attr-defined]

    def changes(self, a: Array) -> bool:
        return a.trace is self.trace and a.index in self.varying  # type: ignore[attr-defined]

    def is_stored(self, a: Array) -> bool:
        """Whether the values of all turns are at hand after the loop."""
        return self.place.get(a.index, -1) >= self.nc + self.nk or any(a is y for y in self.outputs[self.nk :])  # type: ignore[attr-defined]

    def emit(self, a: Array) -> None:
        if not self.is_stored(a):
            self.outputs.append(a)

    def terms(self, a: Array, like: Array, minus: bool = False) -> list[tuple[bool, Array]]:
        """`a` as a sum of signed terms of one shape."""
        found, todo = [], [(minus, a, True)]
        while todo:
            sign, x, top = todo.pop()
            node = self.maker(x)
            if (
                node is None
                or node.primitive not in (add, subtract)
                or any(v.shape != like.shape for v in node.inputs)
                or not (top or self.uses[x.index] == 1)  # type: ignore[attr-defined]
            ):
                found.append((sign, x))
                continue
            todo.append((sign, node.inputs[0], False))
            todo.append((sign != (node.primitive is subtract), node.inputs[1], False))
        return found[::-1]

    def addend(self, minus: bool, x: Array) -> Addend | None:
        """The term as a product that can be made after the loop."""
        after: list[Node] = []
        node = self.maker(x)
        while node is not None and node.primitive in _LINEAR and self.uses[node.outputs[0].index] == 1:
            after.append(node)
            node = self.maker(node.inputs[0])
        if node is None or self.uses[node.outputs[0].index] != 1:
            return None
        if node.primitive is dot_general_p and all(self.changes(a) for a in node.inputs) and work(node) > SMALL:
            return Addend(minus, node, after[::-1])
        if node.primitive is sum_p and self.is_stored(node.inputs[0]):
            return Addend(minus, node, after[::-1])
        return None

    def add_up(self, carry: Array, terms: Sequence[tuple[bool, Array]]) -> Array:
        """Steps in the body that add terms to a carry."""
        for minus, t in terms:
            var = Var(self.trace, None, self.size, carry.type)
            self.size += 1
            primitive = subtract if minus else add
            source = self.makers[t.index].source if self.maker(t) else None  # type: ignore[attr-defined]
            self.extra.append(NotedNode(primitive, (carry, t), {}, (var,), source))
            carry = var
        return carry


def _after(r: Rewriter, p: Primitive, args: Args, params: Params) -> Sequence[Array] | None:
    """Sums of products, and products with a constant that are only emitted."""
    nc, nk, length = params["num_consts"], params["num_carry"], params["length"]
    if length is None or length < 2:
        return None
    b = Body(params["body"], nc, nk)
    sums: dict[int, tuple[list[Addend], bool]] = {}  # by carry: what is added after the loop; whether the loop adds too
    for products in (True, False):  # bias gradients follow where a weight's gradient has stored what they sum
        for k in range(nk):
            if k not in sums:
                _take_sum(b, k, sums, length, products)
    emitted = _take_emitted(b, length)
    if not sums and not emitted:
        return None
    kept = [k for k in range(len(b.outputs)) if not (k in sums and not sums[k][1]) and k not in emitted]
    gone_inputs = {nc + k for k in sums if not sums[k][1]}
    nodes, _ = live_nodes([*b.body.nodes, *b.extra], [b.outputs[k] for k in kept], b.trace)
    inner = Graph(
        [v for i, v in enumerate(b.body.inputs) if i not in gone_inputs],
        nodes,
        [b.outputs[k] for k in kept],
        b.trace,
        b.size,
        b.body.name,
    )
    left = [a for i, a in enumerate(args) if i not in gone_inputs]
    new = {**params, "body": inner, "num_carry": nk - len(gone_inputs)}
    outs = dict(zip(kept, r.step(p, left, new) if kept else (), strict=True))
    stored = {b.outputs[k].index: outs[k] for k in kept if k >= nk and b.outputs[k].trace is b.trace}  # type: ignore[attr-defined]
    stored |= {v.index: args[i] for i, v in enumerate(b.body.inputs) if i >= nc + nk}
    results = []
    for k in range(len(b.body.outputs)):
        if k in emitted:
            outs[k] = _product_after(r, b, emitted[k], stored, args, length)
        elif k in sums:
            total = args[nc + k] if k not in outs else outs[k]
            for addend in sums[k][0]:
                primitive = subtract if addend.minus else add
                total = primitive.bind(total, _total(r, addend, stored))
            outs[k] = total
        results.append(outs[k])
    return results


def _take_sum(b: Body, k: int, sums: dict[int, Any], length: int, products: bool) -> None:
    """Note what of carry `k` can be added up after the loop, and emit its factors."""
    carry, out = b.body.inputs[b.nc + k], b.body.outputs[k]
    terms = b.terms(out, carry)
    if b.uses[carry.index] != 1 or not any(t is carry and not minus for minus, t in terms) or len(terms) < 2:
        return
    if out is carry or b.uses[out.index] != 1:  # type: ignore[attr-defined]
        return
    rest, taken = [], []
    for minus, t in terms:
        if t is carry:
            continue
        addend = b.addend(minus, t)
        if addend is None or (addend.core.primitive is dot_general_p) != products:
            rest.append((minus, t))
            continue
        new = [a for a in addend.core.inputs if not b.is_stored(a)]
        if not _fits(length, new) or sum(a.size for a in new) > 4 * carry.size + 64:
            rest.append((minus, t))
            continue
        for a in new:
            b.emit(a)
        taken.append(addend)
    if taken:
        sums[k] = taken, bool(rest)
        b.outputs[k] = b.add_up(carry, rest)


def _take_emitted(b: Body, length: int) -> dict[int, Node]:
    """Outputs of turns that are products of something with a constant: emit that something, and note the product."""
    taken = {}
    for k in range(b.nk, len(b.body.outputs)):
        node = b.maker(b.body.outputs[k])
        if node is None or node.primitive is not dot_general_p or b.uses[node.outputs[0].index] != 1:
            continue
        moving = [a for a in node.inputs if b.changes(a)]
        if len(moving) != 1 or work(node) <= SMALL or not node.params["contract"][0]:
            continue
        fixed = next(a for a in node.inputs if a is not moving[0])
        if fixed.trace is b.trace and fixed.index not in b.place:  # type: ignore[attr-defined]
            continue  # made inside the loop; hoisted first
        if b.is_stored(moving[0]) or (moving[0].size <= 2 * node.outputs[0].size and _fits(length, moving)):
            b.emit(moving[0])
            taken[k] = node
    return taken


def _product_after(r: Rewriter, b: Body, node: Node, stored: dict[int, Array], args: Args, length: int) -> Array:
    each = Graph([a for a in node.inputs if a.trace is b.trace], [node], node.outputs, b.trace, b.size)  # type: ignore[misc]
    moving = [b.changes(v) for v in each.inputs]
    whole, _ = batched_graph(each, moving, length)
    r.source = node.source or r.source
    values = [stored[v.index] if m else args[b.place[v.index]] for v, m in zip(each.inputs, moving, strict=True)]
    return r.inline(whole, values)[0]


def _total(r: Rewriter, addend: Addend, stored: dict[int, Array]) -> Array:
    """The sum over all turns of what one adds."""
    core = addend.core
    r.source = core.source or r.source
    values = [stored[a.index] for a in core.inputs]  # type: ignore[attr-defined]
    if core.primitive is sum_p:
        total = sum_p.bind(*values, axes=(0, *(a + 1 for a in core.params["axes"])))
    else:
        (bx, by), (cx, cy) = core.params["batch"], core.params["contract"]
        up = [tuple(a + 1 for a in axes) for axes in (bx, by, cx, cy)]
        total = dot_general_p.bind(*values, batch=(up[0], up[1]), contract=((0, *up[2]), (0, *up[3])))
    for node in addend.after:
        total = node.primitive.bind(total, **node.params)
    return total


RULES = {scan_p: (_before, _after)}
