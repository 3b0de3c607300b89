"""Sparse Jacobians and Hessians: patterns, theorems of colouring, known counts, and values against dense ones."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.diff.sparse.coloring import TwoSided, color_columns, color_rows, star_coloring
from wengert.diff.sparse.compress import Compression, Pattern
from wengert.diff.sparse.graph import Bipartite, adjacency
from wengert.diff.sparse.order import ORDERS
from wengert.errors import ArgumentError, DTypeError

RNG = np.random.default_rng(11)


def pattern_of(dense: Any) -> Pattern:
    rows, cols = np.nonzero(np.asarray(dense))
    return Pattern(rows, cols, np.shape(dense))


def bipartite(dense: Any) -> Bipartite:
    p = pattern_of(dense)
    return Bipartite(p.rows, p.cols, p.shape)


def banded(n: int, b: int) -> np.ndarray:
    i = np.arange(n)
    return np.abs(i[:, None] - i) <= b


def arrow(n: int, row: bool = True, column: bool = True) -> np.ndarray:
    a = np.eye(n, dtype=bool)
    a[0] |= row
    a[:, 0] |= column
    return a


def five_point(k: int) -> np.ndarray:
    i, j = np.divmod(np.arange(k * k), k)
    return np.abs(i[:, None] - i) + np.abs(j[:, None] - j) <= 1


def colors(c: np.ndarray) -> int:
    return len(np.unique(c))


# Theorems


def assert_columns_valid(dense: np.ndarray, color: np.ndarray) -> None:
    for c in np.unique(color):
        assert dense[:, color == c].sum(axis=1).max(initial=0) <= 1, "two columns of one colour share a row"


def assert_star(dense: np.ndarray, color: np.ndarray) -> None:
    """Neighbours differ, and every pair of colours induces a forest of stars (Gebremedhin et al. 2007, theorem 3.5)."""
    n = len(dense)
    edges = [(i, j) for i in range(n) for j in range(i) if dense[i, j]]
    assert all(color[i] != color[j] for i, j in edges)
    for pair in {frozenset((int(color[i]), int(color[j]))) for i, j in edges}:
        mine = [(i, j) for i, j in edges if {int(color[i]), int(color[j])} == pair]
        degree = Counter(v for e in mine for v in e)
        assert all(min(degree[i], degree[j]) == 1 for i, j in mine), "a path on four vertices has only two colours"


matrices = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.floats(0.05, 0.7))


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=60, deadline=None)
@given(matrices)
def test_colourings_are_valid_and_greedy_bounds_hold(order: str, drawn: Any) -> None:
    m, n, seed, density = drawn
    dense = np.random.default_rng(seed).random((m, n)) < density
    pattern = bipartite(dense)
    by_column = color_columns(pattern, ORDERS[order])
    assert_columns_valid(dense, by_column)
    assert_columns_valid(dense.T, color_rows(pattern, ORDERS[order]))
    widest = int(dense.sum(axis=1).max(initial=0))
    most_rivals = max((int((dense.T[j] @ dense > 0).sum()) for j in range(n)), default=0)
    assert widest <= colors(by_column) <= max(most_rivals, 1)  # clique ≤ colours ≤ greedy's bound, degree + 1
    square = dense[: min(m, n), : min(m, n)]
    symmetric = square | square.T
    p = pattern_of(symmetric)
    assert_star(symmetric, star_coloring(adjacency(p.rows, p.cols, len(symmetric)), ORDERS[order]))


@settings(max_examples=60, deadline=None)
@given(matrices)
def test_every_compression_gives_the_matrix_back(drawn: Any) -> None:
    m, n, seed, density = drawn
    rng = np.random.default_rng(seed)
    a = np.where(rng.random((m, n)) < density, rng.standard_normal((m, n)), 0.0)
    for mode in ("auto", "forward", "reverse", "both"):
        s = wg.sparse_jacobian(lambda x: wg.asarray(a) @ x, mode=mode)(np.ones(n))
        np.testing.assert_allclose(s.todense(), a, rtol=1e-13, atol=1e-15)
    k = min(m, n)
    q = a[:k, :k] + a[:k, :k].T
    s = wg.sparse_hessian(lambda x: 0.5 * x @ wg.asarray(q) @ x)(np.ones(k))
    np.testing.assert_allclose(s.todense(), q, rtol=1e-12, atol=1e-14)


@settings(max_examples=40, deadline=None)
@given(matrices)
def test_two_sided_colouring_reads_every_entry_alone(drawn: Any) -> None:
    m, n, seed, density = drawn
    dense = np.random.default_rng(seed).random((m, n)) < density
    two = TwoSided(bipartite(dense))
    for i, j, push in zip(two.rows, two.cols, two.by_push, strict=True):
        if push:
            assert two.columns[j] >= 0 and (dense[i] & (two.columns == two.columns[j])).sum() == 1
        else:
            assert two.rows_color[i] >= 0 and (dense[:, j] & (two.rows_color == two.rows_color[i])).sum() == 1


# Known counts


@pytest.mark.parametrize("n", [5, 50])
def test_counts_of_known_matrices(n: int) -> None:
    for b in (0, 1, 2):
        assert colors(color_columns(bipartite(banded(n, b)))) == 2 * b + 1
    assert colors(color_columns(bipartite(arrow(n, column=False)))) == n  # a dense row
    assert colors(color_rows(bipartite(arrow(n, column=False)))) == 2
    assert colors(color_columns(bipartite(arrow(n, row=False)))) == 2  # a dense column
    both = Compression(pattern_of(arrow(n)))
    assert both.mode == "both" or n == 5
    two = TwoSided(bipartite(arrow(n)))
    assert two.count_columns + two.count_rows == 3
    p = pattern_of(arrow(n))
    assert colors(star_coloring(adjacency(p.rows, p.cols, n), ORDERS["largest_first"])) == 2
    assert colors(color_columns(bipartite(np.ones((3, n), bool)))) == n
    assert colors(color_rows(bipartite(np.ones((3, n), bool)))) == 3


def test_counts_of_a_grid() -> None:
    grid = five_point(10)
    for order in ORDERS.values():
        found = colors(color_columns(bipartite(grid), order))
        assert 5 <= found <= 9
        assert_columns_valid(grid, color_columns(bipartite(grid), order))
        p = pattern_of(grid)
        assert_star(grid, star_coloring(adjacency(p.rows, p.cols, 100), order))
    # the best colouring of the five-point stencil is (i + 2 j) mod 5
    i, j = np.divmod(np.arange(100), 10)
    assert_columns_valid(grid, (i + 2 * j) % 5)


def test_orders() -> None:
    star = bipartite(arrow(6, column=False))  # rows: all rivals of row 0 only
    assert ORDERS["natural"](6, star.rivals_of_row).tolist() == [0, 1, 2, 3, 4, 5]
    assert ORDERS["largest_first"](6, star.rivals_of_row)[0] == 0
    assert sorted(ORDERS["smallest_last"](6, star.rivals_of_row)) == list(range(6))
    # a crown: greedy in the bad order takes n colours, smallest last two
    n = 6
    crown = np.zeros((2 * n, 2 * n), bool)
    for a in range(n):
        for b in range(n):
            if a != b:
                crown[2 * a, 2 * b + 1] = crown[2 * b + 1, 2 * a] = True
    p = pattern_of(crown)
    neighbours = adjacency(p.rows, p.cols, 2 * n)
    order = ORDERS["smallest_last"](2 * n, neighbours.__getitem__)
    left = set(range(2 * n))
    for v in order[::-1]:  # each is, when taken, among those with the fewest neighbours left
        degrees = {u: len(left & set(neighbours[u].tolist())) for u in left}
        assert degrees[int(v)] == min(degrees.values())
        left.discard(int(v))


# Patterns


CONSTANT = np.triu(np.ones((4, 4)))

PATTERNS: dict[str, tuple[Any, Any]] = {
    "elementwise": (lambda x: wg.sin(x) * x, np.eye(4)),
    "shift": (lambda x: x[1:] * x[:-1], np.eye(3, 4) + np.eye(3, 4, 1)),
    "broadcast and sum": (lambda x: wg.sum(wg.reshape(x, (2, 2)), axis=1), np.kron(np.eye(2), np.ones((1, 2)))),
    "permutation": (lambda x: wg.flip(x), np.eye(4)[::-1]),
    "constant matrix": (lambda x: wg.asarray(CONSTANT) @ x, CONSTANT),
    "constant matrix on the right": (lambda x: x @ wg.asarray(CONSTANT), CONSTANT.T),
    "constant factor": (lambda x: x * np.array([1.0, 0.0, 2.0, 0.0]), np.diag([1, 0, 1, 0])),
    "gather": (lambda x: x[np.array([3, 3, 0])], np.eye(4)[[3, 3, 0]]),
    "scatter": (
        lambda x: wg.zeros(4, dtype=wg.float64).at[np.array([2, 1])].add(x[:2]),
        np.eye(4)[[3, 1, 0, 3]] * [1, 1, 0, 0],
    ),
    "where": (lambda x: wg.where(x > 0, x, wg.flip(x)), np.eye(4) + np.eye(4)[::-1]),
    "sort": (lambda x: wg.sort(x), np.ones((4, 4))),
    "cumulative": (lambda x: wg.cumulative_sum(x), np.tril(np.ones((4, 4)))),
    "comparison only": (lambda x: wg.astype(x > 0, wg.float64), np.zeros((4, 4))),
    "a mask made of the argument": (lambda x: wg.astype(x > 9, wg.float64) * x, np.eye(4)),
    "stop_gradient": (lambda x: wg.stop_gradient(x) * x[::-1], np.eye(4)[::-1]),
    "several outputs": (lambda x: (x[:1], {"s": wg.sum(x)}), np.array([[1, 0, 0, 0], [1, 1, 1, 1]])),
    "jit": (wg.jit(lambda x: wg.sin(x)), np.eye(4)),
    "checkpoint": (wg.checkpoint(lambda x: x[1:] * x[:-1]), np.eye(3, 4) + np.eye(3, 4, 1)),
    "cond": (lambda x: wg.cond(x[0] > 0, lambda v: v, lambda v: v[::-1], x), np.eye(4)),  # the branch that is taken
    "cond in jit": (
        wg.jit(lambda x: wg.cond(x[0] > 0, lambda v: v, lambda v: v[::-1], x)),
        np.eye(4) + np.eye(4)[::-1],
    ),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns(name: str) -> None:
    f, wanted = PATTERNS[name]
    found = wg.sparsity_pattern(f)(np.array([0.3, -1.0, 2.0, 0.7]))
    assert found.dtype == bool
    assert np.array_equal(found, np.asarray(wanted) != 0)


def test_patterns_wider_than_a_word_and_several_arguments() -> None:
    n = 200

    def f(p: Any, q: Any) -> Any:
        return p["a"][1:] * p["a"][:-1] + q[0], p["b"] * q

    p = {"a": np.ones(n), "b": np.ones((2, 3))}
    found = wg.sparsity_pattern(f, (0, 1))(p, np.ones(3))
    wanted = np.zeros((n - 1 + 6, n + 6 + 3), bool)
    wanted[: n - 1, :n] = np.eye(n - 1, n) + np.eye(n - 1, n, 1)
    wanted[: n - 1, n + 6] = True
    wanted[n - 1 :, n : n + 6] = np.eye(6)
    wanted[n - 1 :, n + 6 :] = np.tile(np.eye(3), (2, 1))
    assert np.array_equal(found, wanted)


def test_inputs_are_taken_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    from wengert.diff.sparse import pattern

    monkeypatch.setattr(pattern, "BUDGET", 8)
    n = 300
    found = wg.sparsity_pattern(lambda x: x[1:] * x[:-1])(np.ones(n))
    assert np.array_equal(found, np.eye(n - 1, n) + np.eye(n - 1, n, 1) != 0)


def test_a_primitive_without_a_rule_is_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    from wengert.ir.primitive import Unsupported
    from wengert.ops.transcendental import sin

    monkeypatch.setattr(type(sin), "sparsity", Unsupported("for the sake of the test"))
    assert wg.sparsity_pattern(wg.sin)(np.ones(3)).all()


# Values


def tridiagonal(x: Any) -> Any:
    return wg.concat([x[:1] ** 2, wg.sin(x[:-2]) * x[1:-1] ** 2 + x[2:], x[-1:] * x[-2:-1]])


def heat(u: Any) -> Any:
    k = round(u.size**0.5)
    v = wg.reshape(u, (k, k))
    padded = wg.zeros((k + 2, k + 2), dtype=wg.float64).at[1:-1, 1:-1].set(v)
    lap = padded[2:, 1:-1] + padded[:-2, 1:-1] + padded[1:-1, 2:] + padded[1:-1, :-2] - 4 * v
    return wg.reshape(lap + v**3, (-1,))


def first_row_dense(x: Any) -> Any:
    return wg.concat([wg.sum(x**2)[None], x[1:] ** 3])


def arrow_shaped(x: Any) -> Any:
    return wg.concat([wg.sum(x**2)[None], x[1:] ** 3 * x[0]])


@pytest.mark.parametrize(
    ("f", "n", "sweeps"),
    [(tridiagonal, 40, (3, 0)), (first_row_dense, 40, (0, 2)), (arrow_shaped, 40, (2, 1)), (heat, 64, None)],
)
@pytest.mark.parametrize("chunk", [None, 2])
def test_jacobian_values(f: Any, n: int, sweeps: Any, chunk: int | None) -> None:
    x = RNG.standard_normal(n)
    s = wg.sparse_jacobian(f, chunk_size=chunk)(x)
    np.testing.assert_allclose(s.todense(), wg.jacrev(f)(x), rtol=1e-12, atol=1e-14)
    assert s.sweeps == sweeps if sweeps else 5 <= sum(s.sweeps) <= 9
    assert s.shape == (n, n) and s.nnz == len(s.data) == np.count_nonzero(wg.sparsity_pattern(f)(x))
    assert repr(s).startswith(f"SparseMatrix(shape=({n}, {n}), nnz={s.nnz}")


def rosenbrock(x: Any) -> Any:
    return wg.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def hub(x: Any) -> Any:
    return wg.sum(x**3) * 1.0 + x[0] * wg.sum(x[1:] ** 2)


@pytest.mark.parametrize(
    ("f", "n", "count"),
    [
        (rosenbrock, 30, 3),
        (hub, 30, 2),
        (lambda x: wg.sum(wg.exp(x)), 30, 1),
        (lambda x: wg.sum(heat(x) ** 2), 36, None),
    ],
)
def test_hessian_values(f: Any, n: int, count: int | None) -> None:
    x = 0.3 * RNG.standard_normal(n)
    s = wg.sparse_hessian(f, order="largest_first" if f is hub else "natural")(x)
    np.testing.assert_allclose(s.todense(), wg.hessian(f)(x), rtol=1e-10, atol=1e-11)
    assert count is None or s.sweeps == (count, 0)


def test_data_can_be_differentiated_and_compiled() -> None:
    x = RNG.standard_normal(12)

    def total(jacobian: Any) -> Any:
        return lambda v: wg.sum(jacobian(v) ** 2)

    sparse, dense = total(lambda v: wg.sparse_jacobian(tridiagonal)(v).data), total(wg.jacrev(tridiagonal))
    np.testing.assert_allclose(wg.jit(sparse)(x), dense(x), rtol=1e-12)
    np.testing.assert_allclose(wg.grad(sparse)(x), wg.grad(dense)(x), rtol=1e-11)
    np.testing.assert_allclose(wg.grad(wg.jit(sparse))(x), wg.grad(dense)(x), rtol=1e-11)
    both = total(lambda v: wg.sparse_jacobian(arrow_shaped, mode="both")(v).todense())
    np.testing.assert_allclose(wg.grad(both)(x), wg.grad(total(wg.jacrev(arrow_shaped)))(x), rtol=1e-11)


def test_scipy() -> None:
    pytest.importorskip("scipy")
    x = RNG.standard_normal(20)
    s = wg.sparse_jacobian(tridiagonal)(x)
    np.testing.assert_array_equal(s.to_scipy().toarray(), s.todense())


def test_trees_types_and_empty_patterns() -> None:
    def f(p: Any) -> Any:
        return {"out": p["x"] * 2, "more": (wg.sum(p["y"]),)}

    p = {"x": np.ones((2, 2), np.float32), "y": np.ones(3, np.float32)}
    s = wg.sparse_jacobian(f)(p)
    assert s.shape == (5, 7) and s.dtype == np.float32
    assert np.array_equal(np.asarray(s.todense())[:4, :4], 2 * np.eye(4)) and s.nnz == 7
    nothing = wg.sparse_jacobian(lambda x: wg.floor(x))(np.ones(3))
    assert nothing.nnz == 0 and nothing.sweeps == (1, 0) and not np.asarray(nothing.todense()).any()


def test_bad_input() -> None:
    with pytest.raises(ArgumentError, match="mode is 'sideways'"):
        wg.sparse_jacobian(tridiagonal, mode="sideways")
    with pytest.raises(ArgumentError, match="order is 'none'"):
        wg.sparse_hessian(rosenbrock, order="none")
    with pytest.raises(DTypeError, match="holomorphic"):
        wg.sparse_jacobian(lambda x: x * 1j)(np.ones(2, np.complex128))
    with pytest.raises(ArgumentError, match="takes a function"):
        wg.sparse_jacobian(2.0)
