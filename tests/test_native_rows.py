"""Many rows of few elements as one loop along the rows: the same results, and what keeps statements apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.execute.native import Build, host_target, simplify
from wengert.execute.native.columns import columns, rows_of
from wengert.execute.native.statements import Rows

llvm = pytest.importorskip("llvmlite.ir")
normal = np.random.default_rng(5).standard_normal


def kmeans(c: Any, x: Any) -> Any:
    apart = x[:, None, :] - c
    return wg.sum(wg.min(wg.sum(apart * apart, axis=2), axis=1))


def cross_entropy(x: Any, w: Any) -> Any:
    return wg.mean(wg.logsumexp(x * w, axis=1) - x[:, 0])


def normalized(x: Any, w: Any) -> Any:
    apart = x - wg.mean(x, axis=1, keepdims=True)
    return apart / wg.sqrt(wg.mean(apart * apart, axis=1, keepdims=True) + 1e-3) * w


def softmax(x: Any, w: Any) -> Any:
    return wg.softmax(x + w, axis=1)


def extremes(x: Any, w: Any) -> Any:
    rows = wg.max(x * w, axis=1) - wg.prod(wg.tanh(x), axis=1)
    return wg.max(rows), wg.min(rows), wg.prod(1 + rows / 1000)


def statements(f: Callable[..., Any], *args: Any) -> list[Any]:
    graph = wg.jit(f, executor="native").lower(*args).graph
    return Build(simplify(graph), host_target()).program.statements


def rows_in(f: Callable[..., Any], *args: Any) -> bool:
    return "rows" in str(wg.jit(f, executor="native").lower(*args).loops)


def same(f: Callable[..., Any], *args: Any) -> None:
    """The native executor's results beside NumPy's, and the same bits with one thread and with two."""
    given = [wg.asarray(a) for a in args]
    wanted = wg.tree.leaves(wg.jit(f, executor="numpy")(*given))
    before = wg.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            wg.set_num_threads(threads)
            found.append([np.asarray(v) for v in wg.tree.leaves(wg.jit(f, executor="native")(*given))])
    finally:
        wg.set_num_threads(before)
    loose = 2e-4 if args[0].dtype == np.float32 else 1e-10
    for one, two, w in zip(*found, wanted, strict=True):
        assert np.array_equal(one, two, equal_nan=True)
        np.testing.assert_allclose(
            one, np.asarray(w), rtol=loose, atol=loose * max(1, np.max(np.abs(w), initial=0, where=np.isfinite(w)))
        )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("n", "d"), [(640, 2), (1003, 3), (5000, 8)])
def test_kmeans_is_one_loop_forward_and_backward(dtype: str, n: int, d: int) -> None:
    c, x = normal((5, d)).astype(dtype), normal((n, d)).astype(dtype)
    for f in (kmeans, wg.grad(kmeans), lambda c, x: wg.hvp(lambda c: kmeans(c, x), (c,), (c,))):
        assert rows_in(f, c, x)
        same(f, c, x)


@pytest.mark.parametrize("n", [515, 1290])
def test_more_results_than_registers(n: int) -> None:
    """Strips of rows: what many results share comes first, then some results at a time."""
    c, x = normal((11, 8)), normal((n, 8))
    same(wg.grad(kmeans), c, x)
    x[n - 2, 3] = np.nan
    same(wg.value_and_grad(kmeans), c, x)


@pytest.mark.parametrize("f", [cross_entropy, normalized, softmax, extremes])
@pytest.mark.parametrize("width", [2, 6, 10])
def test_short_axes(f: Callable[..., Any], width: int) -> None:
    x, w = normal((1027, width)), 1 + 0.1 * normal(width)
    assert rows_in(f, x, w)
    same(f, x, w)
    if f is not extremes:
        same(wg.grad(lambda x, w: wg.sum(f(x, w) * wg.cos(x[:, 0] if f is cross_entropy else x)), (0, 1)), x, w)


def test_values_that_others_need_are_stored() -> None:
    x = normal((2000, 4))

    def f(x: Any) -> Any:
        total = wg.sum(x * x, axis=1)
        return x / total[:, None], wg.max(total), total @ total

    assert rows_in(f, x)
    same(f, x)


def test_what_needs_all_rows_waits_for_them() -> None:
    x = normal((2000, 4))

    def f(x: Any) -> Any:
        long = wg.sum(x * x, axis=1)
        return wg.sum(wg.sum(x * wg.mean(long), axis=1) * long)

    loops = str(wg.jit(f, executor="native").lower(x).loops)
    assert loops.count("2000 rows") == 2
    same(f, x)
    same(wg.grad(f), x)


def test_rows_inside_loops_that_overwrite_what_they_read() -> None:
    def f(x: Any) -> Any:
        def turn(x: Any, _: Any) -> Any:
            return x - 0.1 * wg.sum(x, axis=1, keepdims=True), wg.sum(wg.max(x, axis=1))

        return wg.scan(turn, x, None, length=3)

    same(f, normal((700, 3)))
    same(wg.grad(lambda x: wg.sum(f(x)[0] ** 2) + wg.sum(f(x)[1])), normal((700, 3)))


def test_guards_matter_where_a_factor_is_infinite() -> None:
    """0 · ∞ is 0 in a cotangent: the loop without guards notices, and the rows are gone through again."""
    x = np.abs(normal((1500, 3))) + 1
    x[77, 1] = 0.0

    def f(w: Any, x: Any) -> Any:
        logs = wg.log(x * w)
        return wg.sum(wg.sum(wg.where(x > 0, logs, 0.0), axis=1))

    grad = wg.jit(wg.grad(f), executor="native")
    w = wg.asarray([0.5, 1.0, 2.0])
    found = np.asarray(grad(w, wg.asarray(x)))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, np.sum(x > 0, axis=0) / np.asarray(w), rtol=1e-12)


@pytest.mark.parametrize("place", [0, 640, 1502])
def test_nan_comes_through(place: int) -> None:
    c, x = normal((5, 2)), normal((1503, 2))
    x[place, 1] = np.nan
    for f in (kmeans, wg.grad(kmeans)):
        native = np.asarray(wg.jit(f, executor="native")(wg.asarray(c), wg.asarray(x)))
        reference = np.asarray(wg.jit(f, executor="numpy")(wg.asarray(c), wg.asarray(x)))
        assert np.array_equal(np.isnan(native), np.isnan(reference))


def test_long_rows_and_few_rows_are_left_alone() -> None:
    for shape in ((2000, 64), (100, 4)):
        assert not rows_in(lambda x: wg.sum(wg.max(x * x, axis=1)), normal(shape))


def test_a_group_is_one_statement() -> None:
    made = statements(wg.grad(kmeans), wg.asarray(normal((5, 2))), wg.asarray(normal((1000, 2))))
    assert sum(isinstance(s, Rows) for s in made) == 1 and len(made) <= 3


@pytest.mark.parametrize("width", [1, 2, 3, 6, 8, 10, 16])
@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_rows_are_taken_apart_and_put_together(width: int, lanes: int) -> None:
    """The shuffles, carried out on lists."""

    class Builder:
        def shuffle_vector(self, x: Any, y: Any, mask: Any) -> Any:
            both = [*x.values, *(getattr(y, "values", None) or [None] * lanes)]
            return Vector([both[m.constant] for m in mask.constant])

    class Vector:
        def __init__(self, values: list[Any]):
            self.values = values
            self.type = llvm.VectorType(llvm.DoubleType(), len(values))

    flat = list(range(width * lanes))
    whole = [Vector(flat[k * lanes : (k + 1) * lanes]) for k in range(width)]
    apart = columns(Builder(), whole)  # type: ignore[arg-type]
    assert [v.values for v in apart] == [flat[c::width] for c in range(width)]
    assert [v.values for v in rows_of(Builder(), apart)] == [v.values for v in whole]  # type: ignore[arg-type]
