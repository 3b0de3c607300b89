"""Graph passes change no number: special ones bit by bit, random programs and every primitive to rounding."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.drawing import run
from tests.graphs import F64, count, same, staged, unsettled
from tests.programs import from_seed, inputs_of
from tests.samples import SAMPLES
from tests.test_pass_rules import SINGLE
from wengert.ir.graph import Graph, evaluate
from wengert.ir.primitive import registry
from wengert.ir.verify import verify
from wengert.ops.arithmetic import annihilating_multiply, guarded_multiply, negative
from wengert.ops.promote import as_array
from wengert.passes import simplify

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
    def f(x: Any) -> Any:
        y = x
        for _ in range(1000):
            y = wg.sin(y)
        return wg.reshape(wg.broadcast_to(x, (1, 3)), (3,))

    graph = staged(f, (3,))
    everything = Graph(graph.inputs, [*graph.nodes], graph.outputs, graph.trace, graph.size)
    assert simplify(everything).nodes == []


def test_constants_that_show_the_same_memory_are_one() -> None:
    data = wg.asarray(np.arange(600.0).reshape(20, 30))

    def f(x: Any) -> Any:
        return wg.sum(wg.exp(x * data[:, None, :])) + wg.max(wg.exp(x * data[:, None, :]))

    graph = simplify(wg.jit(f).lower(np.float64(0.01)).graph)
    assert sum(node.primitive.name == "exp" for node in graph.nodes) == 1
