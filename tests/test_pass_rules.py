"""Every rule of the graph passes by example: a program, and the text of what is left of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.graphs import BOOL, F32, F64, INT, same, staged, text, the
from wengert.errors import GraphError
from wengert.ir.array import Array
from wengert.ir.primitive import registry
from wengert.ir.record import stage
from wengert.ir.types import ArrayType
from wengert.ops.arithmetic import annihilating_multiply, guarded_multiply, negative, scale, square
from wengert.ops.reduce import sum_p
from wengert.ops.shape import concat_p, flip_p, pad_p, slice_p
from wengert.passes import algebra, constants, cse, dead, hoist, layout, moves, products, remake, simplify
from wengert.passes.bodies import simplify_bodies
from wengert.passes.rewrite import rewrite

SINGLE = [constants.fold_constants, algebra.simplify_algebra, moves.simplify_moves, layout.fold_layout, cse.share_steps]
SINGLE += [dead.remove_dead, hoist.hoist_invariants, products.hoist_products, remake.remake_cheap]


def padded(x: Any, y: Any, z: Any) -> Any:
    zero = Array(np.float64(0))
    return z + pad_p.bind(x, zero, padding=((0, 2, 0),)) + pad_p.bind(y, zero, padding=((3, 0, 0),))


A, B2 = (3, 4), ((3, 4), BOOL)

# One line a rule: the pass, the program, the types of its inputs, and what is left.
RULES: list[tuple[Any, Callable[..., Any], tuple[Any, ...], str]] = [
    # constants
    (constants.fold_constants, lambda x: x + wg.sum(wg.asarray(np.arange(3.0))), (A,), "v0 = add a, 3; return v0"),
    (constants.fold_constants, lambda x: x * np.full((3, 4), 2.5), (A,), "v0 = multiply a, 2.5; return v0"),
    (
        constants.fold_constants,
        lambda x: x @ np.ones((4, 2)),
        (A,),
        "v0 = broadcast_to[shape=(4,2)] 1; v1 = dot_general[batch=((),()), contract=((1,),(0,))] a, v0; return v1",
    ),
    (constants.fold_constants, lambda x, y: x * wg.broadcast_to(y, (3, 4)), (A, (4,)), "v0 = multiply a, b; return v0"),
    (
        constants.fold_constants,
        lambda x, y: wg.broadcast_to(x, (3, 4)) * wg.broadcast_to(y, (3, 4)),
        ((4,), (4,)),
        "v0 = multiply a, b; v1 = broadcast_to[shape=(3,4)] v0; return v1",
    ),
    # algebra
    (algebra.simplify_algebra, lambda x: 1 * (x * 1.0), (A,), "return a"),
    (algebra.simplify_algebra, lambda x: x * -1.0, (A,), "v0 = negative a; return v0"),
    (algebra.simplify_algebra, lambda x: x - 0.0, (A,), "return a"),
    (algebra.simplify_algebra, lambda x: x + np.float64(-0.0), (A,), "return a"),
    (algebra.simplify_algebra, lambda x: x + 0.0, (A,), "v0 = add a, 0; return v0"),  # -0 + 0 is 0
    (algebra.simplify_algebra, lambda x: wg.exp(x) + 0.0, (A,), "v0 = exp a; return v0"),
    (  # x + eʸ may be so small below 0 that it is -0 in single precision
        algebra.simplify_algebra,
        lambda x, y: wg.astype(x + wg.exp(y), "float32") + 0.0,
        ((), ()),
        "v0 = exp b; v1 = add a, v0; v2 = convert[dtype=float32, weak=False] v1; v3 = add v2, 0; return v3",
    ),
    (algebra.simplify_algebra, lambda x: 0.0 + wg.sum(x), (A,), "v0 = sum[axes=(0,1)] a; return v0"),
    (algebra.simplify_algebra, lambda x: x + 0, ((A, INT),), "return a"),
    (algebra.simplify_algebra, lambda x: 0.0 * x, (A,), "v0 = multiply 0, a; return v0"),  # 0·inf is NaN
    (algebra.simplify_algebra, lambda x: 0 * x, ((A, INT),), "v0 = broadcast_to[shape=(3,4)] 0; return v0"),
    (
        algebra.simplify_algebra,
        lambda c: 0.0 * wg.astype(c, F64),
        (B2,),
        "v0 = broadcast_to[shape=(3,4)] 0; return v0",
    ),
    (algebra.simplify_algebra, lambda x: negative(negative(x)), (A,), "return a"),
    (algebra.simplify_algebra, lambda x, y: x + -y, (A, A), "v0 = subtract a, b; return v0"),
    (algebra.simplify_algebra, lambda x, y: -x + y, (A, A), "v0 = subtract b, a; return v0"),
    (algebra.simplify_algebra, lambda x, y: x - -y, (A, A), "v0 = add a, b; return v0"),
    (algebra.simplify_algebra, lambda x, y: -x * -y, (A, A), "v0 = multiply a, b; return v0"),
    (algebra.simplify_algebra, lambda x: -(x * 3.0), (A,), "v0 = multiply a, -3; return v0"),
    (algebra.simplify_algebra, lambda x: x / 4.0, (A,), "v0 = multiply a, 0.25; return v0"),
    (algebra.simplify_algebra, lambda x: x / 3.0, (A,), "v0 = divide a, 3; return v0"),
    (algebra.simplify_algebra, lambda x: x / 0.0, (A,), "v0 = divide a, 0; return v0"),
    (algebra.simplify_algebra, lambda x: x**2, (A,), "v0 = multiply a, a; return v0"),
    (algebra.simplify_algebra, lambda x: square.bind(x), (A,), "v0 = multiply a, a; return v0"),
    (algebra.simplify_algebra, lambda x: wg.pow(x, 2.0), (A,), "v0 = multiply a, a; return v0"),
    (algebra.simplify_algebra, lambda x: wg.stop_gradient(+x), (A,), "return a"),
    (algebra.simplify_algebra, lambda x, y: wg.where(wg.asarray(True), x, y), (A, A), "return a"),
    (algebra.simplify_algebra, lambda c, x: wg.where(c, x, x), (B2, A), "return b"),
    (
        algebra.simplify_algebra,
        lambda c, x, y: wg.where(wg.logical_not(c), x, y),
        (B2, A, A),
        "v0 = select a, c, b; return v0",
    ),
    (algebra.simplify_algebra, lambda x: wg.astype(wg.astype(x, F64), F32), ((A, F32),), "return a"),
    (
        algebra.simplify_algebra,
        lambda x: wg.astype(wg.astype(x, F32), F64),
        (A,),
        "v0 = convert[dtype=float32, weak=False] a; v1 = convert[dtype=float64, weak=False] v0; return v1",
    ),
    (algebra.simplify_algebra, lambda t: guarded_multiply(t, 2.0), (A,), "v0 = multiply a, 2; return v0"),
    (algebra.simplify_algebra, lambda t: guarded_multiply(t, np.inf), (A,), "v0 = guarded_multiply a, inf; return v0"),
    (
        algebra.simplify_algebra,
        lambda d: guarded_multiply(np.zeros(A), d),
        (A,),
        "v0 = broadcast_to[shape=(3,4)] 0; return v0",
    ),
    (
        algebra.simplify_algebra,
        lambda x: annihilating_multiply(x, np.zeros(A)),
        (A,),
        "v0 = broadcast_to[shape=(3,4)] 0; return v0",
    ),
    (algebra.simplify_algebra, lambda x: annihilating_multiply(x, 3.0), (A,), "v0 = multiply a, 3; return v0"),
    (algebra.simplify_algebra, lambda t, d: scale(t, d), (A, A), "v0 = multiply a, b; return v0"),
    (algebra.simplify_algebra, lambda c: wg.logical_not(wg.logical_not(c)), (B2,), "return a"),
    # moving elements
    (moves.simplify_moves, lambda x: wg.reshape(wg.reshape(x, (12,)), (3, 4)), (A,), "return a"),
    (moves.simplify_moves, lambda x: wg.permute_dims(wg.permute_dims(x, (1, 0)), (1, 0)), (A,), "return a"),
    (
        moves.simplify_moves,
        lambda x: wg.permute_dims(wg.permute_dims(x, (1, 2, 0)), (1, 2, 0)),
        ((2, 3, 4),),
        "v0 = permute[axes=(2,0,1)] a; return v0",
    ),
    (
        moves.simplify_moves,
        lambda x: wg.permute_dims(x, (1, 0, 2)),
        ((1, 3, 4),),
        "v0 = reshape[shape=(3,1,4)] a; return v0",
    ),
    (
        moves.simplify_moves,
        lambda x: wg.broadcast_to(wg.broadcast_to(x, (3, 4)), (2, 3, 4)),
        ((4,),),
        "v0 = broadcast_to[shape=(2,3,4)] a; return v0",
    ),
    (moves.simplify_moves, lambda x: slice_p.bind(x, start=(0, 0), stop=(3, 4), step=(1, 1)), (A,), "return a"),
    (
        moves.simplify_moves,
        lambda x: x[1::2][1:3],
        ((9,),),
        "v0 = slice[start=(3,), stop=(6,), step=(2,)] a; return v0",
    ),
    (
        moves.simplify_moves,
        lambda x, y: concat_p.bind(x, y, axis=0)[3:5],
        ((3,), (4,)),
        "v0 = slice[start=(0,), stop=(2,), step=(1,)] b; return v0",
    ),
    (moves.simplify_moves, lambda x: pad_p.bind(x, Array(np.float64(0)), padding=((0, 0, 0),)), ((3,),), "return a"),
    (moves.simplify_moves, lambda x: flip_p.bind(flip_p.bind(x, axes=(0, 1)), axes=(0, 1)), (A,), "return a"),
    (moves.simplify_moves, lambda x: concat_p.bind(x, axis=0), (A,), "return a"),
    (
        moves.simplify_moves,
        lambda x: sum_p.bind(x, axes=(0,)),
        ((1, 4),),
        "v0 = reshape[shape=(4,)] a; return v0",
    ),
    (
        moves.simplify_moves,
        lambda x: wg.sum(wg.broadcast_to(x, (3, 4)), axis=0),
        ((4,),),
        "v0 = multiply a, 3; return v0",
    ),
    (moves.simplify_moves, lambda x: wg.max(wg.broadcast_to(x, (3, 4)), axis=0), ((4,),), "return a"),
    (
        moves.simplify_moves,
        lambda x: wg.sum(wg.sum(x, axis=1), axis=0),
        ((3, 4, 5),),
        "v0 = sum[axes=(0,1)] a; return v0",
    ),
    (
        moves.simplify_moves,
        lambda x: wg.sum(-x, axis=0),
        (A,),
        "v0 = sum[axes=(0,)] a; v1 = negative v0; return v1",
    ),
    (
        moves.simplify_moves,
        lambda x: wg.exp(wg.reshape(x, (4, 3)) * 2.0) + wg.reshape(x, (4, 3)),
        (A,),
        "v0 = multiply a, 2; v1 = exp v0; v2 = add v1, a; v3 = reshape[shape=(4,3)] v2; return v3",
    ),
    (
        moves.simplify_moves,
        lambda x: pad_p.bind(x, Array(np.float64(7)), padding=((-1, 2, 0), (0, 0, 0))),
        (A,),
        "v0 = slice[start=(1,0), stop=(3,4), step=(1,1)] a; v1 = pad[padding=((0,2,0),(0,0,0))] v0, 7; return v1",
    ),
    (
        moves.simplify_moves,
        padded,
        ((3,), (2,), (5,)),
        "v0 = concat[axis=0] a, b; v1 = add c, v0; return v1",
    ),
    # layout
    (
        layout.fold_layout,
        lambda x, y: x.T @ y.T,
        ((3, 4), (5, 3)),
        "v0 = dot_general[batch=((),()), contract=((0,),(1,))] a, b; return v0",
    ),
    (
        layout.fold_layout,
        lambda x, y: (x @ y).T,
        ((3, 4), (4, 5)),
        "v0 = dot_general[batch=((),()), contract=((0,),(1,))] b, a; return v0",
    ),
    (
        layout.fold_layout,
        lambda x, y: wg.permute_dims(wg.matmul(x, y), (1, 0, 2, 3)),
        ((6, 7, 3, 4), (6, 7, 4, 5)),
        "v0 = dot_general[batch=((1,0),(1,0)), contract=((3,),(2,))] a, b; return v0",
    ),
    (
        layout.fold_layout,
        lambda x, y: wg.matmul(x, wg.broadcast_to(y, (6, 4, 5))),
        ((6, 3, 4), (4, 5)),
        "v0 = dot_general[batch=((),()), contract=((2,),(0,))] a, b; return v0",
    ),
    (
        layout.fold_layout,
        lambda x, y: wg.matmul(x, wg.broadcast_to(y, (2, 6, 4, 5))),
        ((2, 6, 3, 4), (2, 1, 4, 5)),
        "v0 = reshape[shape=(2,4,5)] b; v1 = dot_general[batch=((0,),(0,)), contract=((3,),(1,))] a, v0; return v1",
    ),
    (
        layout.fold_layout,
        lambda x, y: wg.sum(wg.matmul(x, y), axis=(0, 1)),
        ((6, 3, 4), (6, 4, 5)),
        "v0 = sum[axes=(1,)] a; v1 = dot_general[batch=((),()), contract=((0,1),(0,1))] v0, b; return v1",
    ),
    (
        layout.fold_layout,
        lambda x, y: wg.sum(wg.matmul(x, y), axis=2),
        ((6, 3, 4), (6, 4, 5)),
        "v0 = sum[axes=(2,)] b; v1 = dot_general[batch=((0,),(0,)), contract=((2,),(1,))] a, v0; return v1",
    ),
    (
        layout.fold_layout,
        lambda x, y: wg.sum(wg.sin(y) - wg.permute_dims(wg.matmul(x, x), (1, 0)), axis=1),
        ((4, 4), (4, 4)),
        "v0 = sin b; v1 = sum[axes=(1,)] v0; v2 = sum[axes=(0,)] a; "
        "v3 = dot_general[batch=((),()), contract=((0,),(0,))] a, v2; v4 = subtract v1, v3; return v4",
    ),
    (
        layout.fold_layout,
        lambda x: wg.sum(wg.permute_dims(x, (2, 0, 1)), axis=1),
        ((3, 4, 5),),
        "v0 = sum[axes=(0,)] a; v1 = permute[axes=(1,0)] v0; return v1",
    ),
    (
        moves.simplify_moves,
        lambda x: wg.sum(wg.sin(x) + wg.sin(x), axis=0),
        (A,),
        "v0 = sin a; v1 = sin a; v2 = add v0, v1; v3 = sum[axes=(0,)] v2; return v3",
    ),
    (
        moves.simplify_moves,
        lambda x: wg.sum((y := wg.sin(x)) + y, axis=0),
        (A,),
        "v0 = sin a; v1 = sum[axes=(0,)] v0; v2 = multiply v1, 2; return v2",
    ),
    (
        algebra.simplify_algebra,
        lambda x: (y := wg.astype(x > 1, x.dtype)) / wg.sum(y, axis=0),
        (A,),
        "v0 = greater a, 1; v1 = convert[dtype=float64, weak=False] v0; v2 = sum[axes=(0,)] v1; "
        "v3 = reciprocal v2; v4 = multiply v1, v3; return v4",
    ),
    # common subexpressions
    (
        cse.share_steps,
        lambda x, y: (wg.sin(x + y), wg.sin(y + x)),
        (A, A),
        "v0 = add a, b; v1 = sin v0; return v1, v1",
    ),
    (
        cse.share_steps,
        lambda x: (x + 0.0, x + np.float64(-0.0)),
        (A,),
        "v0 = add a, 0; v1 = add a, -0; return v0, v1",
    ),
    # all of them
    (simplify, lambda x: wg.grad(lambda y: wg.sum(y * y))(x), (A,), "v0 = add a, a; return v0"),
    (
        simplify,
        lambda x: wg.grad(lambda y: wg.sum(wg.exp(y[:, :2])) + wg.sum(wg.sin(y[:, 2:])))(x),
        (A,),
        "v0 = slice[start=(0,0), stop=(3,2), step=(1,1)] a; v1 = exp v0; "
        "v2 = slice[start=(0,2), stop=(3,4), step=(1,1)] a; v3 = cos v2; v4 = concat[axis=1] v1, v3; return v4",
    ),
]


@pytest.mark.parametrize("rule", range(len(RULES)), ids=lambda k: f"{k}: {RULES[k][3][:60]}")
def test_rules(rule: int) -> None:
    apply, f, types, wanted = RULES[rule]
    graph = staged(f, *types)
    after = apply(graph)
    assert text(after) == wanted
    rng = np.random.default_rng(0)
    inputs = [np.asarray(4 * rng.standard_normal(t.shape)).astype(t.dtype) for t in graph.in_types]
    same(graph, after, inputs, 1e-15)


def test_a_graph_in_which_nothing_happens_is_itself() -> None:
    graph = staged(lambda x, y: wg.sin(x) @ y, (3, 4), (4, 5))
    assert all(p(graph) is graph for p in [*SINGLE, simplify])
    assert simplify_bodies(graph, simplify) is graph


def test_the_graph_given_is_left_as_it_was() -> None:
    graph = staged(lambda x: wg.grad(lambda y: wg.sum(wg.tanh(y.T @ y) * 1.0))(x), A)
    before = str(graph)
    assert str(simplify(graph)) != before and str(graph) == before


def test_names_and_lines_survive() -> None:
    def f(x: Any) -> Any:
        y = wg.sin(x) + 0 * wg.sum(x, axis=())
        return wg.exp(y * 1.0)  # this line

    after = simplify(stage(lambda x: [f(x)], [ArrayType((), F64)], "a name")[0])
    assert after.name == "a name"
    assert the(after, "exp").source.text.endswith("# this line")


def test_a_rule_that_changes_the_type_is_refused() -> None:
    graph = staged(lambda x: wg.sin(x), A)
    with pytest.raises(GraphError, match="replaced sin"):
        rewrite(graph, {registry["sin"]: (lambda r, p, args, params: wg.sum(args[0]),)})
