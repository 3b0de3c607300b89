"""Graph passes on steps that carry graphs: nothing too much goes in or out, and work leaves loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.graphs import F64, names, same, staged, the
from wengert.control.call import checkpoint_p
from wengert.ir.graph import Graph, evaluate
from wengert.passes import products, simplify

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


def test_a_sequence_that_a_while_loop_computed_is_not_taken_for_its_turns() -> None:
    """Whether turns took place is the last result of loops that emit, and of no other."""

    def f(x: Any) -> Any:
        ys = wg.while_loop(lambda y: wg.sum(y) < 100.0, lambda y: 2.0 * y, x)
        return wg.scan(lambda c, row: (c + row[0] * row[1], None), wg.zeros(2, dtype=x.dtype), (ys, x))[0]

    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    doubled = 16 * x  # 10, 20, …, 160
    for executor in ("numpy", "native"):
        assert np.array_equal(wg.jit(f, executor=executor)(x), (doubled * x).sum(0))


def test_a_loop_made_narrower_takes_along_those_behind_it() -> None:
    """Second derivatives read the results of one loop beside those of a loop over them."""

    def placed(a: Any) -> Any:
        return wg.expand_dims(a, axis=-1) * wg.one_hot(wg.astype(wg.floor(3 * a), "int64") % 4, 4, dtype=a.dtype), a

    def other(a: Any) -> Any:
        return wg.zeros((3, 4), dtype=a.dtype), wg.tanh(a)

    def turn(s: Any) -> Any:
        return s[0] + 1, wg.cond(wg.sum(s[1]) > 0, placed, other, s[1])[1]

    def slope(x: Any) -> Any:
        return wg.vjp(lambda x: wg.while_loop(lambda s: s[0] < 3, turn, (0, x))[1], x)[1](wg.ones_like(x))[0]

    def bent(x: Any) -> Any:
        return wg.vjp(slope, x)[1](wg.sin(x))[0]

    inputs = [np.array([0.1, 0.5, 0.9])]
    graph = staged(bent, *inputs)
    same(graph, simplify(graph), inputs, 1e-14)
