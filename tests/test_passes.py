"""Graph passes: each rule by example, and the same numbers before and after on random programs and every primitive."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.programs import from_seed, inputs_of, run
from tests.samples import SAMPLES
from wengert.control.call import checkpoint_p
from wengert.errors import GraphError
from wengert.ir.array import Array
from wengert.ir.graph import Graph, evaluate
from wengert.ir.primitive import registry
from wengert.ir.record import stage
from wengert.ir.types import ArrayType
from wengert.ir.verify import verify
from wengert.ops.arithmetic import annihilating_multiply, guarded_multiply, negative, scale, square
from wengert.ops.elementwise import convert_p
from wengert.ops.promote import as_array
from wengert.ops.reduce import sum_p
from wengert.ops.shape import broadcast_to_p, concat_p, flip_p, pad_p, permute_p, reshape_p, slice_p
from wengert.passes import algebra, constants, cse, dead, hoist, layout, moves, products, remake, simplify
from wengert.passes.bodies import simplify_bodies
from wengert.passes.rewrite import rewrite

F32, F64, BOOL, INT = (np.dtype(d) for d in ("float32", "float64", "bool", "int64"))


def staged(f: Callable[..., Any], *types: Any) -> Graph:
    """`f` staged for types given as (shape, dtype), a shape (float64) or an example."""
    return stage(lambda *a: listed(f(*a)), [typed(t) for t in types], "f")[0]


def typed(t: Any) -> ArrayType:
    if isinstance(t, (np.ndarray, np.generic)):
        return as_array(t).type
    if t and isinstance(t[0], tuple):
        return ArrayType(t[0], t[1])
    return ArrayType(t, F64)


def listed(out: Any) -> list[Array]:
    return [as_array(o) for o in (out if isinstance(out, (tuple, list)) else (out,))]


def text(graph: Graph) -> str:
    """The nodes in a line, inputs called a, b, c, … and values in order of their making: `v0 = sin a; return v0`."""
    names = {f"%{v.index}": chr(97 + i) for i, v in enumerate(graph.inputs)}
    made = itertools.count()
    for node in graph.nodes:
        for o in node.outputs:
            names[f"%{o.index}"] = f"v{next(made)}"
    lines = [re.sub(r"%\d+", lambda m: names[m.group()], line.strip()) for line in str(graph).splitlines()[1:]]
    return "; ".join(re.sub(r": \w+\*?\[[\d,]*\]", "", line) for line in lines)


def names(graph: Graph) -> list[str]:
    return [n.primitive.name for n in graph.nodes]


def the(graph: Graph, name: str, k: int = 0) -> Any:
    return [n for n in graph.nodes if n.primitive.name == name][k]


def same(before: Graph, after: Graph, inputs: Sequence[Any], tolerance: float = 0.0) -> None:
    """Types and values agree; with no tolerance bit by bit, the sign of zeros included (NaN is NaN)."""
    verify(after)
    assert [(t.shape, t.dtype) for t in after.out_types] == [(t.shape, t.dtype) for t in before.out_types]
    assert after.in_types == before.in_types
    with np.errstate(all="ignore"):
        pairs = zip(evaluate(before, inputs), evaluate(after, inputs), strict=True)
    for x, y in pairs:
        u, v = np.asarray(x), np.asarray(y)
        assert u.shape == v.shape and u.dtype == v.dtype
        if tolerance == 0:
            np.testing.assert_array_equal(u, v)
            if u.dtype.kind == "f":
                np.testing.assert_array_equal(np.signbit(u[u == u]), np.signbit(v[v == v]))
        else:
            size = max(1.0, float(np.max(np.abs(u), initial=0)))
            np.testing.assert_allclose(v, u, rtol=tolerance, atol=tolerance * size)


def unsettled(graph: Graph) -> Graph:
    """The graph with nothing remembered, so that passes look at it again."""
    return Graph(graph.inputs, graph.nodes, graph.outputs, graph.trace, graph.size, graph.name)


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


# Numbers of every kind

SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 1.5, np.inf, -np.inf, np.nan, 5e-324, -1e-310, 1.7e308, -1.7e308, 3.0])
CORNERS = [0.0, -0.0, 1.0, -1.0, 2.0, -4.0, 3.0, np.inf, -np.inf, np.nan, 5e-324, 2.0**-1022, 2.0**1023, 2.0**-1074]
BINARY = [wg.add, wg.subtract, wg.multiply, wg.divide, wg.pow, lambda x, y: wg.where(x > y, x, -y)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", range(len(BINARY)))
def test_special_numbers_keep_their_meaning(k: int, dtype: str) -> None:
    """Bit by bit, on each side of every operation with every constant, with signs before and after."""
    f = BINARY[k]
    with np.errstate(all="ignore"):
        x, corners = SPECIAL.astype(dtype), np.array(CORNERS).astype(dtype)
    for c in corners:
        for sign in (lambda v: v, negative.bind):
            for order in (lambda u, v: (u, v), lambda u, v: (v, u)):
                graph = staged(lambda u, f=f, c=c, s=sign, o=order: s(f(*o(s(u), as_array(c)))), x)  # type: ignore[misc]
                same(graph, simplify(graph), [x])


def test_random_arithmetic_is_exact() -> None:
    """Random formulas with corner constants: arithmetic alone is not changed by a single bit."""
    rng = np.random.default_rng(5)
    xs = [np.repeat(SPECIAL, 13).reshape(13, 13), np.tile(SPECIAL, 13).reshape(13, 13)]
    unary = [negative.bind, wg.abs, lambda v: v**2, wg.exp, lambda v: wg.astype(v > 0, F64), lambda v: +v]
    for _ in range(150):
        choices = rng.integers(0, 1 << 30, 40)

        def f(x: Any, y: Any, choices: Any = choices) -> Any:
            values = [x, y]
            for c in choices.reshape(10, 4):
                u = values[c[1] % len(values)]
                if c[0] % 2:
                    values.append(unary[c[2] % len(unary)](u))
                else:
                    v = CORNERS[c[3] % len(CORNERS)] if c[3] % 3 else values[c[3] % len(values)]
                    values.append(BINARY[c[2] % 4](u, v) if c[2] % 5 else BINARY[c[2] % 4](v, u))
            return values[-1], values[-2]

        graph = staged(f, *xs)
        same(graph, simplify(graph), xs)


GUARDS = (guarded_multiply, annihilating_multiply)


@pytest.mark.parametrize("product", GUARDS, ids=lambda p: p.name)
def test_guards_hold_with_constants(product: Any) -> None:
    """What is 0 by a guard is 0 afterwards, what is NaN is NaN; the sign of these zeros is free."""
    for c in CORNERS:
        for f in (lambda x, c=c: product(x, c), lambda x, c=c: product(c, x)):  # type: ignore[misc]
            graph = staged(f, SPECIAL)
            after = verify(simplify(graph))
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(evaluate(graph, [SPECIAL])[0], evaluate(after, [SPECIAL])[0])


# Random programs and every primitive


def count(graph: Graph) -> int:
    return len(graph.nodes) + sum(count(b) for _, _, b in graph.subgraphs())


def test_programs_keep_their_values() -> None:
    """Value, gradient, Hessian-vector product and batched gradient of random programs, each also settled."""
    before = after = 0
    for seed in range(150):
        program = from_seed(seed)
        xs = inputs_of(program, seed)
        rng = np.random.default_rng(seed)
        u, vs = rng.standard_normal(program.out.shape), [rng.standard_normal(x.shape) for x in xs]

        def f(*a: Any, program: Any = program) -> Any:
            return run(program, a)

        def gradient(*a: Any, f: Any = f, u: Any = u) -> Any:
            return wg.vjp(f, *a)[1](u)

        def curved(*a: Any, gradient: Any = gradient, vs: Any = vs) -> Any:
            return wg.jvp(gradient, a, tuple(vs))[1]

        many = [np.stack([x, -0.5 * x, 0.9 * x]) for x in xs]
        for g, inputs in ((f, xs), (gradient, xs), (curved, xs), (wg.vmap(gradient), many)):
            graph = staged(g, *inputs)
            less = simplify(graph)
            same(graph, less, inputs, 1e-12)
            before, after = before + count(graph), after + count(less)
            assert str(simplify(unsettled(less))) == str(less), f"not settled:\n{less}"
    assert after < 0.9 * before


SINGLE = [constants.fold_constants, algebra.simplify_algebra, moves.simplify_moves, layout.fold_layout, cse.share_steps]
SINGLE += [dead.remove_dead, hoist.hoist_invariants, products.hoist_products, remake.remake_cheap]


@pytest.mark.parametrize("single", SINGLE, ids=lambda p: p.__name__)
def test_each_pass_alone_keeps_values(single: Any) -> None:
    for seed in range(200, 240):
        program = from_seed(seed)
        xs = inputs_of(program, seed)
        u = np.random.default_rng(seed).standard_normal(program.out.shape)
        graph = staged(lambda *a, p=program, u=u: wg.vjp(lambda *b: run(p, b), *a)[1](u), *xs)  # type: ignore[misc]
        same(graph, single(graph), xs, 1e-12)


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"custom_vjp_transposed"}))
def test_every_primitive_keeps_its_values(name: str) -> None:
    for inputs, params in SAMPLES[name]:
        primitive = registry[name]
        graph = staged(lambda *a, p=params, primitive=primitive: primitive.bind(*a, **p), *inputs)  # type: ignore[misc]
        same(graph, simplify(graph), inputs, 1e-12)
        whole = staged(lambda i=inputs, p=params, primitive=primitive: primitive.bind(*map(as_array, i), **p))  # type: ignore[misc]
        same(whole, simplify(whole), [], 1e-12)
        constant = staged(  # every input a constant of the graph
            lambda x, i=inputs, p=params, primitive=primitive: primitive.bind(
                as_array(i[0]) if len(i) > 1 else x, *map(as_array, i[1:]), **p
            ),  # type: ignore[misc]
            np.asarray(inputs[0]) if inputs else np.float64(0),
        )
        same(constant, simplify(constant), [np.asarray(inputs[0])] if inputs else [np.float64(0)], 1e-12)


# Steps that carry graphs


def scan_of(graph: Graph, k: int = 0) -> tuple[int, int, int, str]:
    """Inputs that are constants, carries, outputs, and the steps of the body."""
    node = the(graph, "scan", k)
    p = node.params
    return p["num_consts"], p["num_carry"], len(node.outputs), " ".join(names(p["body"]))


XS = np.linspace(-1, 1, 12).reshape(4, 3)


def scanned(body: Any, init: Any, pick: Any, *more: Any) -> tuple[Graph, Graph]:
    """A scan over XS before and after `simplify`, which must agree."""
    inputs = [XS, *more]
    graph = staged(lambda xs, *a: pick(*wg.scan(lambda c, x: body(c, x, *a), init, xs)), *inputs)
    after = simplify(graph)
    same(graph, after, inputs, 1e-14)
    return graph, after


def test_dead_carries_and_sequences_go() -> None:
    _, after = scanned(
        lambda c, x: ((wg.sin(c[0]) + x, c[0] * c[1]), (wg.exp(x), wg.cos(c[1]))),
        (np.zeros(3), np.ones(3)),
        lambda c, y: c[0],
    )
    assert scan_of(after) == (0, 1, 1, "sin add")


def test_a_carry_that_a_live_result_needs_stays() -> None:
    _, after = scanned(
        lambda c, x: ((wg.sin(c[0]) + x, c[0] * c[1]), None), (np.zeros(3), np.ones(3)), lambda c, y: c[1]
    )
    assert scan_of(after)[1] == 2


def test_unchanged_carries_and_cornersmove() -> None:
    graph, after = scanned(
        lambda c, x: ((wg.sin(c[0] * c[1]) + x * 2.0, c[1]), c[1]), (np.zeros(3), np.ones(3)), lambda c, y: (*c, y)
    )
    assert scan_of(graph)[:3] == (0, 2, 3)
    assert scan_of(after) == (0, 1, 1, "sin multiply add")  # c·1 is c


def test_sequences_that_repeat_are_constants() -> None:
    def f(xs: Any, v: Any) -> Any:
        rows = wg.broadcast_to(v, (4, 3))
        return wg.scan(lambda c, x: (c * x[0] + x[1], None), np.zeros(3), (xs, rows))[0]

    graph = staged(f, XS, XS[0])
    after = simplify(graph)
    same(graph, after, [XS, XS[0]])
    assert scan_of(after)[0] == 1 and len(the(after, "scan").inputs) == 3


def test_results_emitted_twice_or_given_are_not_emitted() -> None:
    _, after = scanned(lambda c, x: (c + x, (c * 2.0, x, c * 2.0, 7.0)), np.zeros(3), lambda c, y: (c, *y))
    assert scan_of(after)[:3] == (0, 1, 2)
    assert the(after, "scan").params["body"].outputs[1] is not None


def test_a_scan_of_one_turn_is_no_loop() -> None:
    graph = staged(lambda xs: wg.scan(lambda c, x: (wg.sin(c) + x, c), np.zeros(3), xs), XS[:1])
    after = simplify(graph)
    same(graph, after, [XS[:1]])
    assert "scan" not in names(after)


def test_invariant_steps_leave_loops() -> None:
    w = np.linspace(0, 1, 9).reshape(3, 3)
    _, after = scanned(
        lambda c, x, w: (wg.tanh(c * wg.sum(wg.exp(w), axis=0)) + x, None), np.ones(3), lambda c, y: c, w
    )
    assert names(after).count("exp") == 1 and "exp" not in scan_of(after)[3]

    def turns(w: Any) -> Any:
        return wg.while_loop(lambda s: s[0] < wg.sum(wg.cos(w)), lambda s: (s[0] + 1, s[1] * wg.sin(w)), (0, w))[1]

    graph = staged(turns, w)
    after = simplify(graph)
    same(graph, after, [w])
    loop = the(after, "while_loop")
    assert {"cos", "sin", "sum"} <= set(names(after))
    assert names(loop.params["body"]) == ["add", "multiply"] and names(loop.params["test"])[-1] == "less"


def test_while_loops_lose_what_is_dead_or_unchanged() -> None:
    def f(x: Any) -> Any:
        state = (0, x, wg.sin(x), x * 2)
        return wg.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * s[3], s[2] + s[1], s[3]), state)[1]

    graph = staged(f, XS)
    after = simplify(graph)
    same(graph, after, [XS])
    assert len(the(graph, "while_loop").outputs) == 4 and len(the(after, "while_loop").outputs) == 2
    assert "sin" not in names(after)


def test_branches_lose_what_nobody_reads() -> None:
    def f(p: Any, x: Any, y: Any) -> Any:
        outs = wg.cond(p, lambda a, b: (a * 1.0, b, wg.sin(a), wg.sin(b)), lambda a, b: (a, b, wg.cos(a), b), x, y)
        return outs[0], outs[1], outs[2]

    for p in (True, False):
        inputs = [np.bool_(p), XS, XS + 1]
        graph = staged(f, *inputs)
        after = simplify(graph)
        same(graph, after, inputs)
        node = the(after, "switch")
        assert len(node.inputs) == 2 and len(node.outputs) == 1


def test_a_checkpoint_computes_again() -> None:
    """Its steps are merged neither with those outside, nor two of them with each other."""

    def f(x: Any) -> Any:
        return wg.sum(wg.checkpoint(lambda y: wg.sin(wg.exp(y)))(x))

    graph = staged(wg.grad(f), XS)
    after = simplify(staged(lambda x: (f(x), wg.grad(f)(x), wg.exp(x)), XS))
    assert names(simplify(graph)) == ["checkpoint"]
    kept = [n for n in after.nodes if n.primitive is checkpoint_p]
    assert len(kept) >= 2 and all("exp" in names(n.params["graph"]) for n in kept) and "exp" in names(after)


# Products out of loops


def cell(h: Any, x: Any, wx: Any, wh: Any, b: Any) -> Any:
    return wg.tanh(x @ wx + h @ wh + b)


def recurrent(xs: Any, wx: Any, wh: Any, b: Any) -> Any:
    def turn(h: Any, x: Any) -> Any:
        h = cell(h, x, wx, wh, b)
        return h, h

    return wg.sum(wg.scan(turn, wg.zeros((5, 24), dtype=F64), xs)[1] ** 2)


def recurrent_inputs(turns: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(s) / 4 for s in ((turns, 5, 32), (32, 24), (24, 24), (24,))]


def test_recurrent_products_leave_the_loops() -> None:
    inputs = recurrent_inputs()
    graph = staged(wg.grad(recurrent, argnums=(0, 1, 2, 3)), *inputs)
    after = simplify(graph)
    same(graph, after, inputs, 1e-13)
    forward, backward = scan_of(after), scan_of(after, 1)
    # x·wx before the loop; the gradients by x, wx, wh and b after it; h·wh and its transpose stay
    assert forward[3].split().count("dot_general") == 1 and backward[3].split().count("dot_general") == 1
    assert names(after).count("dot_general") == 4 and "sum" in names(after)
    assert backward[1] == 1  # the carries that added up gradients are gone
    # 1 - h² is made where it is read: h alone (and h before, for wh) is stored
    assert "multiply" not in forward[3] and backward[3].split()[:2] == ["multiply", "subtract"]
    # and against a plain loop in Python
    loop = wg.grad(lambda xs, wx, wh, b: unrolled(xs, wx, wh, b), argnums=(0, 1, 2, 3))(*inputs)
    for a, b in zip(evaluate(after, inputs), loop, strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=1e-12, atol=1e-14)


def unrolled(xs: Any, wx: Any, wh: Any, b: Any) -> Any:
    h, total = wg.zeros((5, 24), dtype=F64), 0.0
    for t in range(xs.shape[0]):
        h = cell(h, xs[t], wx, wh, b)
        total = total + wg.sum(h**2)
    return total


def test_a_product_that_would_store_too_much_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = recurrent_inputs()
    monkeypatch.setattr(products, "LARGEST", 1000)
    graph = staged(wg.grad(recurrent, argnums=1), *inputs)
    after = simplify(graph)
    same(graph, after, inputs, 1e-13)
    assert scan_of(after)[3].split().count("dot_general") == 2


def test_a_weight_used_twice_or_subtracted() -> None:
    def f(w: Any, v: Any, xs: Any) -> Any:
        def turn(h: Any, x: Any) -> Any:
            return wg.sin(h @ w - wg.cos(x @ w) @ w.T @ v), None

        return wg.sum(wg.scan(turn, wg.ones((5, 32), dtype=F64), xs)[0])

    rng = np.random.default_rng(4)
    inputs = [rng.standard_normal(s) / 6 for s in ((32, 32), (32, 32), (4, 5, 32))]
    graph = staged(wg.grad(f, argnums=(0, 1)), *inputs)
    after = simplify(graph)
    same(graph, after, inputs, 1e-12)
    assert scan_of(after, 1)[1] == 1


def test_hessian_vector_products_of_a_loop() -> None:
    inputs = recurrent_inputs(3)
    graph = staged(lambda *a: wg.hvp(recurrent, a, tuple(0.3 * x for x in inputs)), *inputs)
    same(graph, simplify(graph), inputs, 1e-12)


@pytest.mark.parametrize("how", [None, "sqrt", "log", 2])
def test_checkpointed_loops(how: Any) -> None:
    def f(xs: Any, w: Any) -> Any:
        return wg.sum(wg.scan(lambda h, x: (wg.tanh(h @ w + x), None), xs[0], xs, checkpoint=how)[0])

    rng = np.random.default_rng(6)
    inputs = [rng.standard_normal((9, 4, 16)), rng.standard_normal((16, 16)) / 4]
    graph = staged(wg.grad(f, argnums=(0, 1)), *inputs)
    same(graph, simplify(graph), inputs, 1e-12)


def test_reverse_through_while_loops() -> None:
    def f(x: Any, w: Any) -> Any:
        return wg.sum(wg.while_loop(lambda s: wg.sum(s[1]) < 9, lambda s: (s[0], s[1] * (1 + wg.exp(s[0]))), (w, x))[1])

    inputs = [np.array([0.3, 0.4]), np.array([0.1, 0.2])]
    graph = staged(wg.grad(f, argnums=(0, 1)), *inputs)
    same(graph, simplify(graph), inputs, 1e-14)


# Size


def test_ten_thousand_nodes() -> None:
    def f(x: Any) -> Any:
        for _ in range(1250):
            x = wg.sin(x) * 1.0001 + 0.5 * x
        return wg.sum(x)

    x = np.ones(3)
    graph = staged(wg.grad(f), x)
    assert len(graph.nodes) > 10_000
    start = time.process_time()
    after = simplify(graph)
    assert time.process_time() - start < 2.0  # under half a second where nothing else runs
    same(graph, after, [x], 1e-14)


def test_unused_steps_of_a_large_graph_go() -> None:
    x = broadcast_to_p.bind(Array(np.float64(1)), shape=(3,))
    graph = staged(lambda v: (reshape_p.bind(permute_p.bind(v, axes=(0,)), shape=(3,)), x), (3,))
    assert names(simplify(graph)) == [] and convert_p.name == "convert"
