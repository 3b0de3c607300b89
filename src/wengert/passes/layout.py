"""Layout: permutations around a product become the product's own axes, which may stand anywhere.

So do sums over its batch, and copies along it: the first are contracted, the second are no batch of that operand. What
is summed over a product's rows or columns is a product with fewer of them: `Σₙ x·yₙ = x·Σₙ yₙ`.
"""

from __future__ import annotations

from collections.abc import Sequence

from wengert.ir.array import Array
from wengert.ir.graph import Graph
from wengert.ir.primitive import Params, Primitive
from wengert.ops.arithmetic import add, subtract
from wengert.ops.contract import dot_general_p
from wengert.ops.reduce import sum_p
from wengert.ops.shape import broadcast_to_p, permute, permute_p, reshape
from wengert.passes.rewrite import Rewriter, rewrite

DENSE = 16  # elements along an axis that is worth going along: two vectors


def fold_layout(graph: Graph) -> Graph:
    """`graph` with permutations of a product's operands and result folded into its axes, where they can say it."""
    return rewrite(graph, RULES)


def _operand(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    """A permuted operand: its axes are found where they were, if the free ones keep their order."""
    operands, batch, contract = list(args), list(params["batch"]), list(params["contract"])
    for i in (0, 1):
        node = r.made_by(args[i], permute_p)
        if node is None:
            continue
        order = node.params["axes"]
        taken = {*batch[i], *contract[i]}
        free = [order[a] for a in range(args[i].ndim) if a not in taken]
        if free == sorted(free):
            operands[i] = node.inputs[0]
            batch[i] = tuple(order[a] for a in batch[i])
            contract[i] = tuple(order[a] for a in contract[i])
    if operands[0] is args[0] and operands[1] is args[1]:
        return None
    return p.bind(*operands, batch=tuple(batch), contract=tuple(contract))


def _pairs_in_order(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    """Which pair of contracted axes is named first does not matter: one way to write it."""
    cx, cy = params["contract"]
    if list(cx) == sorted(cx):
        return None
    pairs = sorted(zip(cx, cy, strict=True))
    return p.bind(*args, batch=params["batch"], contract=(tuple(a for a, _ in pairs), tuple(b for _, b in pairs)))


def _result(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    """A permuted product is a product with its batch axes named in another order, or its operands exchanged."""
    (out,), axes = args, params["axes"]
    node = r.made_by(out, dot_general_p)
    if node is None or not r.used_once(out):
        return None
    (x, y), (bx, by), contract = node.inputs, node.params["batch"], node.params["contract"]
    lead = len(bx)
    split = x.ndim - len(contract[0])  # where the free axes of y begin
    order, left, right = axes[:lead], tuple(range(lead, split)), tuple(range(split, out.ndim))
    if sorted(order) != list(range(lead)) or axes[lead:] not in (left + right, right + left):
        return None
    batch = (tuple(bx[a] for a in order), tuple(by[a] for a in order))
    if axes[lead:] == left + right:
        return dot_general_p.bind(x, y, batch=batch, contract=contract)
    return dot_general_p.bind(y, x, batch=batch[::-1], contract=contract[::-1])


def _last_stays_last(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    """A permuted product whose last axis is one of the first operand's: exchanged, the operands leave it the last one.

    What reads the result goes along its last axis, which then is dense.
    """
    (out,), axes = args, params["axes"]
    node = r.made_by(out, dot_general_p)
    if node is None or not r.used_once(out):
        return None
    (x, y), (bx, by), (cx, cy) = node.inputs, node.params["batch"], node.params["contract"]
    lead, split = len(bx), x.ndim - len(cx)
    if not lead <= axes[-1] < split or split == out.ndim or out.shape[axes[-1]] < DENSE:
        return None
    order = [*range(lead), *range(split, out.ndim), *range(lead, split)]
    other = dot_general_p.bind(y, x, batch=(by, bx), contract=(cy, cx))
    return permute(other, tuple(order.index(a) for a in axes))


def _copied_operand(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    """A second operand that is the same all along the batch has no batch: for the first it is a free axis."""
    (bx, by), (cx, cy) = params["batch"], params["contract"]
    x, y = args
    node = r.made_by(y, broadcast_to_p)
    if node is None:
        return None
    (v,) = node.inputs
    before = (1,) * (y.ndim - v.ndim) + v.shape
    gone = [k for k, a in enumerate(by) if before[a] == 1 != y.shape[a]]
    lead = len(by) - len(gone)
    if not gone or gone[0] != lead:
        return None
    # the axes come out behind the batch with the free ones, in the order that they have in x: it must be the same
    behind = [*bx[lead:], *(a for a in range(x.ndim) if a not in (*bx, *cx))]
    if behind != sorted(behind):
        return None
    kept = [a for a in range(y.ndim) if a not in by[lead:]]
    small = r.stretch(reshape(v, tuple(before[a] for a in kept)), tuple(y.shape[a] for a in kept))
    batch = (bx[:lead], tuple(kept.index(a) for a in by[:lead]))
    return p.bind(x, small, batch=batch, contract=(cx, tuple(kept.index(a) for a in cy)))


def _sum_of_batch(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    """A sum over the batch of a product is a contraction: the order of a sum is free."""
    node = r.made_by(args[0], dot_general_p)
    if node is None or not r.used_once(args[0]):
        return None
    (bx, by), (cx, cy), axes = node.params["batch"], node.params["contract"], params["axes"]
    summed = [k for k in axes if k < len(bx)]
    if not summed:
        return None
    left = [k for k in range(len(bx)) if k not in summed]
    batch = (tuple(bx[k] for k in left), tuple(by[k] for k in left))
    contract = ((*(bx[k] for k in summed), *cx), (*(by[k] for k in summed), *cy))
    out = dot_general_p.bind(*node.inputs, batch=batch, contract=contract)
    rest = tuple(k - len(summed) for k in axes if k not in summed)
    return p.bind(out, axes=rest) if rest else out


def _sum_of_rows(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    """A sum over rows or columns of a product: the operand's are summed, and the product is smaller."""
    node = r.made_by(args[0], dot_general_p)
    if node is None or not r.used_once(args[0]):
        return None
    batch, contract, axes = node.params["batch"], node.params["contract"], params["axes"]
    operands, pairs, at, gone = list(node.inputs), [], len(batch[0]), []
    for i, v in enumerate(node.inputs):
        free = [a for a in range(v.ndim) if a not in (*batch[i], *contract[i])]
        summed = tuple(a for k, a in enumerate(free) if at + k in axes)
        gone += [at + k for k, a in enumerate(free) if a in summed]
        at += len(free)
        kept = [a for a in range(v.ndim) if a not in summed]
        operands[i] = p.bind(v, axes=summed) if summed else v
        pairs.append([tuple(kept.index(a) for a in named[i]) for named in (batch, contract)])
    if not gone:
        return None
    (bx, cx), (by, cy) = pairs
    out = dot_general_p.bind(*operands, batch=(bx, by), contract=(cx, cy))
    rest = tuple(k - sum(g < k for g in gone) for k in axes if k not in gone)
    return p.bind(out, axes=rest) if rest else out


def _sum_of_permuted(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    """The sum first: fewer elements are left to permute."""
    node = r.made_by(args[0], permute_p)
    if node is None:
        return None
    order = node.params["axes"]
    axes = tuple(sorted(order[k] for k in params["axes"]))
    left = [a for k, a in enumerate(order) if k not in params["axes"]]
    return permute(p.bind(node.inputs[0], axes=axes), tuple(sorted(left).index(a) for a in left))


def _sum_of_products(r: Rewriter, p: Primitive, args: Sequence[Array], params: Params) -> Array | None:
    """A sum of `x·y + z` over rows or columns is that of the product and that of the rest."""
    for how in (add, subtract):
        node = r.made_by(args[0], how)
        if node is None or not r.used_once(args[0]) or any(a.shape != args[0].shape for a in node.inputs):
            continue
        if any(_shrinks(r, a, params["axes"]) for a in node.inputs):
            return how.bind(*(p.bind(a, **params) for a in node.inputs))
    return None


def _shrinks(r: Rewriter, x: Array, axes: Sequence[int]) -> bool:
    """Whether `x` is a product, permuted or not, whose rows or columns the sum goes over."""
    while (node := r.made_by(x, permute_p)) is not None and r.used_once(x):
        axes, x = [node.params["axes"][k] for k in axes], node.inputs[0]
    product = r.made_by(x, dot_general_p)
    return product is not None and r.used_once(x) and any(k >= len(product.params["batch"][0]) for k in axes)


RULES = {
    dot_general_p: (_operand, _copied_operand, _pairs_in_order),
    permute_p: (_result, _last_stays_last),
    sum_p: (_sum_of_batch, _sum_of_rows, _sum_of_permuted, _sum_of_products),
}
