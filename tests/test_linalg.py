"""Linear algebra: reconstruction, finite differences, JAX as oracle, and the places where derivatives are delicate."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.checks import Point, arrays, check_pull, check_push, check_second, close
from wengert import linalg
from wengert.errors import ArgumentError, DTypeError, ShapeError, UnsupportedError

DTYPES = ("float32", "float64", "complex64", "complex128")
TOLERANCE = {"float32": 2e-5, "complex64": 2e-5, "float64": 1e-12, "complex128": 1e-12}
SHAPES = ((3, 3), (5, 3), (3, 5), (2, 3, 3), (2, 0, 3, 4), (0, 0), (0, 3), (3, 0), (1, 1))


def random(shape: tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if "complex" in dtype else x).astype(dtype)


def dagger(x: Any) -> np.ndarray:
    return np.asarray(x).swapaxes(-1, -2).conj()


def positive(shape: tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    x = random(shape, dtype, seed)
    return (x @ dagger(x) + np.eye(shape[-1])).astype(dtype)


def same(got: Any, wanted: Any, dtype: str = "float64") -> None:
    got = np.asarray(got)
    assert got.dtype == np.asarray(wanted).dtype
    close(got, wanted, TOLERANCE[dtype], 1.0, "")


# Reconstruction, for every type and shape


@pytest.mark.parametrize(("shape", "dtype"), list(itertools.product(SHAPES, DTYPES)))
def test_rectangular_decompositions_give_their_matrix_back(shape: tuple[int, ...], dtype: str) -> None:
    x = random(shape, dtype)
    k = min(shape[-2:])
    q, r = (np.asarray(v) for v in linalg.qr(x))
    same(q @ r, x, dtype)
    same(dagger(q) @ q, np.broadcast_to(np.eye(k, dtype=dtype), (*shape[:-2], k, k)), dtype)
    same(r, np.triu(r), dtype)
    q, r = (np.asarray(v) for v in linalg.qr(x, mode="complete"))
    assert q.shape == (*shape[:-1], shape[-2])
    same(q @ r, x, dtype)
    u, s, vh = (np.asarray(v) for v in linalg.svd(x, full_matrices=False))
    assert s.dtype == x.real.dtype and np.all(np.diff(s) <= 0)
    same((u * s[..., None, :]) @ vh, x, dtype)
    u, s, vh = (np.asarray(v) for v in linalg.svd(x))
    same((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], x, dtype)
    same(linalg.svdvals(x), s, dtype)
    p, lower, upper = (np.asarray(v) for v in linalg.lu(x))
    assert lower.shape == (*shape[:-1], k) and upper.shape == (*shape[:-2], k, shape[-1])
    same(p @ lower @ upper, x, dtype)
    same(upper, np.triu(upper), dtype)
    assert np.all(np.abs(lower) <= np.sqrt(2) + 1e-6), "pivots are the largest of their columns"
    pinv = np.asarray(linalg.pinv(x))
    same(x @ pinv @ x, x, dtype)
    same(np.asarray(linalg.matrix_rank(x)), np.full(shape[:-2], k))


@pytest.mark.parametrize(("shape", "dtype"), list(itertools.product([s for s in SHAPES if s[-1] == s[-2]], DTYPES)))
def test_square_decompositions_give_their_matrix_back(shape: tuple[int, ...], dtype: str) -> None:
    h, x = positive(shape, dtype), positive(shape, dtype) + random(shape, dtype, 1)
    factor = np.asarray(linalg.cholesky(h))
    same(factor @ dagger(factor), h, dtype)
    same(factor, np.tril(factor), dtype)
    same(linalg.cholesky(h, upper=True), dagger(factor), dtype)
    w, v = (np.asarray(o) for o in linalg.eigh(h))
    assert w.dtype == h.real.dtype
    same((v * w[..., None, :]) @ dagger(v), h, dtype)
    same(linalg.eigvalsh(h), w, dtype)
    identity = np.broadcast_to(np.eye(shape[-1], dtype=dtype), shape)
    same(np.asarray(linalg.inv(x)) @ x, identity, dtype)
    b = random((*shape[:-1], 2), dtype)
    same(x @ np.asarray(linalg.solve(x, b)), b, dtype)
    for low, flip, unit in itertools.product((False, True), repeat=3):
        t = np.tril(h) if low else np.triu(h)
        t = t * (1 - np.eye(shape[-1])) + np.eye(shape[-1]) if unit else t
        t = (t.swapaxes(-1, -2) if flip else t).astype(dtype)
        got = linalg.solve_triangular(h, b, lower=low, transpose=flip, unit_diagonal=unit)
        same(t @ np.asarray(got), b, dtype)
    sign, log = linalg.slogdet(x)
    same(np.asarray(sign) * np.exp(np.asarray(log)), np.linalg.det(x), dtype)
    same(linalg.det(x), np.linalg.det(x), dtype)
    same(linalg.expm(x / 4) @ linalg.expm(-x / 4), identity, dtype)


def test_large_matrices_cross_the_blocks() -> None:
    x = random((2, 70, 70)) + 10 * np.eye(70)
    p, lower, upper = (np.asarray(v) for v in linalg.lu(x))
    same(p @ lower @ upper, x)
    same(linalg.solve_triangular(x, random((70, 2)), lower=True), np.linalg.solve(np.tril(x), random((70, 2))[None]))
    same(linalg.lu(x.swapaxes(-1, -2)[:, :50]).L, np.tril(np.asarray(linalg.lu(x.swapaxes(-1, -2)[:, :50]).L)))


def test_expm_known_values() -> None:
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    for angle in (0.1, 3.0, 40.0):
        wanted = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        np.testing.assert_allclose(linalg.expm(angle * turn), wanted, atol=2e-13)
    both = linalg.expm(np.stack([np.zeros((2, 2)), np.full((2, 2), np.nan)]))
    np.testing.assert_array_equal(both[0], np.eye(2))
    assert np.all(np.isnan(both[1]))


# Derivatives of composed functions against finite differences; primitives have theirs in test_contract.py

COMPOSED = {
    "cholesky upper": (lambda x: linalg.cholesky(x, upper=True), [positive((3, 3), "complex128")]),
    "solve vector": (linalg.solve, [positive((3, 3)), random((3,))]),
    "solve broadcast": (linalg.solve, [positive((2, 2, 2)), random((2, 3))]),
    "solve_triangular": (lambda a, b: linalg.solve_triangular(a, b, lower=True), [positive((3, 3)), random((2, 3, 1))]),
    "lu": (linalg.lu, [random((4, 3))]),
    "lu wide": (linalg.lu, [random((2, 3), "complex128")]),
    "pinv": (linalg.pinv, [random((4, 2), "complex128")]),
    "lstsq": (lambda a, b: linalg.lstsq(a, b)[:2], [random((4, 2)), random((4, 3), seed=1)]),
    "lstsq vector": (lambda a, b: linalg.lstsq(a, b)[:2], [random((3, 2), "complex128"), random((3,), "complex128")]),
    "trace": (lambda x: linalg.trace(x, offset=-1), [random((2, 3, 4))]),
    "diagonal": (lambda x: linalg.diagonal(x, offset=2), [random((3, 4), "complex128")]),
    "cross": (lambda a, b: linalg.cross(a, b, axis=-2), [random((3, 2)), random((2, 3, 1), seed=1)]),
    "kron": (linalg.kron, [random((2, 2)), random((3,))]),
    "outer": (linalg.outer, [random((2,)), random((3,))]),
    "matrix_power": (lambda x: linalg.matrix_power(x, 5), [random((2, 2), "complex128")]),
    "matrix_power -3": (lambda x: linalg.matrix_power(x, -3), [positive((2, 2))]),
    "cond": (linalg.cond, [random((3, 3))]),
    "cond 1": (lambda x: linalg.cond(x, p=1), [random((3, 3))]),
    "expm": (linalg.expm, [random((3, 3))]),
    **{
        f"matrix_norm {p}": (lambda x, p=p: linalg.matrix_norm(x, ord=p), [random((2, 3, 2), dtype)])
        for p, dtype in zip(
            ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf), itertools.cycle(("float64", "complex128")), strict=False
        )
    },
    **{
        f"vector_norm {p}": (lambda x, p=p: linalg.vector_norm(x, ord=p, axis=(0, 2)), [random((2, 3, 2), dtype)])
        for p, dtype in zip(
            (2, 1, 3, 0.5, -2, np.inf, -np.inf), itertools.cycle(("complex128", "float64")), strict=False
        )
    },
}


@pytest.mark.parametrize("name", COMPOSED)
def test_derivatives_of_composed_functions(name: str) -> None:
    f, inputs = COMPOSED[name]
    p = Point(f, inputs)
    check_push(p)
    check_pull(p)
    check_second(p, 2e-5)


@pytest.mark.parametrize("name", COMPOSED)
def test_vmap_is_a_loop_and_jit_changes_nothing(name: str) -> None:
    f, inputs = COMPOSED[name]
    members = [[x * (1 + 0.1 * k) for x in inputs] for k in range(2)]
    looped = [arrays(f(*m)) for m in members]
    batched = arrays(wg.vmap(f)(*[np.stack(xs) for xs in zip(*members, strict=True)]))
    compiled = arrays(wg.jit(f)(*members[0]))
    for i, out in enumerate(batched):
        close(out, np.stack([m[i] for m in looped]), 1e-11, 1.0, "batched")
        close(compiled[i], looped[0][i], 1e-12, 1.0, "compiled")


PIPELINES = {
    "cholesky": lambda x: linalg.cholesky(x @ wg.matrix_transpose(x) + np.eye(3)),
    "eigh": lambda x: matrix_function(x / 4),
    "svd": lambda x: polar(x * np.array([1.0, 2.0, 4.0]))[0],
    "qr": lambda x: linalg.qr(x).Q,
    "lu": lambda x: linalg.lu(x).U,
    "solve": lambda x: linalg.solve(x, x[:, :1]) * x,
    "solve_triangular": lambda x: linalg.solve_triangular(x, x),
    "slogdet": lambda x: linalg.slogdet(x).logabsdet * x,
    "det": lambda x: linalg.det(x) * x / 20,
    "pinv": lambda x: linalg.pinv(x[:, :2]).mT @ x[:2],
    "svdvals": lambda x: linalg.svdvals(x) * x,
    "eigvalsh": lambda x: linalg.eigvalsh(x) * x,
    "expm": lambda x: linalg.expm(x / 8),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_gradients_through_compiled_and_repeated_steps(name: str) -> None:
    """A step inside `jit`, `scan` and `checkpoint`, where linear code is staged and transposed, and under `vmap`."""
    f, x, u = PIPELINES[name], random((3, 3)) + 3 * np.eye(3), random((3, 3), seed=2)

    def twice(x: Any) -> Any:
        return wg.sum(u * f(f(x) + 3 * np.eye(3)))

    def scanned(x: Any) -> Any:
        last, _ = wg.scan(lambda c, _: (f(c) + 3 * np.eye(3), None), x, None, length=2)
        return wg.sum(u * (last - 3 * np.eye(3)))

    wanted = wg.grad(twice)(x)
    vs = (random((3, 3), seed=3),)
    (difference,) = Point(twice, [x]).difference(Point(twice, [x]), vs)
    assert float(np.sum(np.asarray(wanted) * vs[0])) == pytest.approx(float(difference), rel=1e-6, abs=1e-8)
    close(wg.grad(wg.jit(twice))(x), wanted, 1e-10, 1.0, "jit")
    close(wg.jit(wg.grad(twice))(x), wanted, 1e-10, 1.0, "jit outside")
    close(wg.grad(scanned)(x), wanted, 1e-10, 1.0, "scan")
    close(wg.grad(wg.checkpoint(twice))(x), wanted, 1e-10, 1.0, "checkpoint")
    close(wg.vmap(wg.grad(twice))(np.stack([x, x]))[1], wanted, 1e-10, 1.0, "vmap")
    close(wg.jacfwd(twice)(x), wanted, 1e-10, 1.0, "jacfwd")
    close(wg.hvp(wg.jit(twice), (x,), vs), wg.jvp(wg.grad(twice), (x,), vs)[1], 1e-8, 1.0, "hvp of a compiled function")


def test_one_shared_matrix_is_solved_once_for_a_batch() -> None:
    a, b = positive((3, 3)), random((4, 3))
    graph, _ = wg.ir.record.stage(
        lambda a, b: [wg.vmap(linalg.solve, in_axes=(None, 0))(a, b)],
        [wg.ir.types.ArrayType(x.shape, x.dtype) for x in (a, b)],
    )
    (node,) = [n for n in graph.nodes if n.primitive.name == "solve"]
    assert [v.shape for v in node.inputs] == [(3, 3), (3, 4)]
    same(wg.vmap(linalg.solve, in_axes=(None, 0))(a, b), np.linalg.solve(a, b.T).T)


# Complex eigenvectors and singular vectors: functions that do not depend on their phase


def matrix_function(x: Any) -> Any:
    w, v = linalg.eigh(x)
    return (v * wg.exp(w)) @ wg.conj(wg.matrix_transpose(v))


def polar(x: Any) -> Any:
    u, s, vh = linalg.svd(x, full_matrices=False)
    return u @ vh, (u * wg.expand_dims(wg.log(s), axis=-2)) @ wg.conj(wg.matrix_transpose(u))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_derivatives_that_do_not_depend_on_a_phase(dtype: str) -> None:
    for f, x in ((matrix_function, positive((3, 3), dtype) / 4), *((polar, random(s, dtype)) for s in SHAPES[:4])):
        p = Point(f, [x])
        check_push(p)
        check_pull(p)
        check_second(p)


def test_matrix_functions_by_eigenvectors_and_by_expm_agree() -> None:
    x, t = positive((3, 3), "complex128") / 4, random((3, 3), "complex128")
    t = t + dagger(t)
    for got, wanted in zip(*[wg.jvp(f, (x,), (t,)) for f in (matrix_function, linalg.expm)], strict=True):
        close(got, wanted, 1e-11, 1.0, "exp")


# Delicate places


SINGULAR = [
    np.outer([1.0, 2, 3], [2.0, 0, 1]),
    np.zeros((3, 3)),
    np.diag([1.0, 2, 0]),
    np.zeros((2, 2)),
    np.ones((4, 4)),
]


@pytest.mark.parametrize(
    "x", [*SINGULAR, SINGULAR[0] + 1j * SINGULAR[2], *[s.astype("complex128") for s in SINGULAR[:2]]]
)
def test_the_derivatives_of_det_are_right_for_singular_matrices(x: np.ndarray) -> None:
    # det is a polynomial of degree 4 at most here, so the five-point difference has no error but rounding
    p = Point(linalg.det, [x])
    check_push(p, 1e-10)
    check_pull(p)
    check_second(p, 1e-9)


def test_det_of_singular_matrices_in_a_batch_and_by_known_cofactors() -> None:
    x = np.array([[1.0, 2.0], [2.0, 4.0]])
    same(wg.grad(linalg.det)(x), [[4.0, -2.0], [-2.0, 1.0]])
    same(wg.vmap(wg.grad(linalg.det))(np.stack([x, 0 * x])), np.stack([[[4.0, -2.0], [-2.0, 1.0]], 0 * x]))
    assert float(wg.grad(linalg.det)(np.array([[0.0]]))[0, 0]) == 1


def nth(f: Any, n: int) -> Any:
    return f if n == 0 else lambda t: wg.jvp(nth(f, n - 1), (t,), (np.ones(()),))[1]


def test_higher_derivatives_of_det_and_expm() -> None:
    rng = np.random.default_rng(3)
    v, roots = rng.standard_normal((4, 4)) + 2 * np.eye(4), np.array([0.5, -1.5, 2.0, 1.0])
    b = v @ np.diag(roots) @ np.linalg.inv(v)
    coefficients = np.poly(-roots)[::-1]  # det(1 + t b) = Π (1 + t r) = Σ e_k t^k
    factorials = (1, 1, 2, 6, 24)
    for n in range(5):
        got = nth(lambda t: linalg.det(np.eye(4) + t * b), n)(np.zeros(()))
        assert float(got) == pytest.approx(factorials[n] * coefficients[::-1][n], abs=1e-9)
    for n in range(4):
        got = nth(lambda t: linalg.expm(t * b), n)(np.asarray(0.7))
        wanted = np.linalg.matrix_power(b, n) @ v @ np.diag(np.exp(0.7 * roots)) @ np.linalg.inv(v)
        close(got, wanted, 1e-10, 1.0, "expm")


def test_equal_eigenvalues_give_finite_derivatives() -> None:
    eye = np.eye(3)
    same(wg.grad(lambda x: wg.sum(linalg.eigvalsh(x)))(eye), eye)
    same(wg.grad(lambda x: wg.sum(linalg.eigh(x).eigenvalues ** 2))(eye), 2 * eye)
    for f in (linalg.eigh, linalg.svd, lambda x: linalg.svd(x[:, :2], full_matrices=False)):
        for x in (eye, 0 * eye, np.diag([1.0, 0, 0]), np.ones((3, 3))):
            _, back = wg.vjp(f, x)
            out = f(x)
            assert np.all(np.isfinite(back(type(out)(*[np.ones(o.shape) for o in out]))[0]))
            assert all(np.all(np.isfinite(t)) for t in wg.jvp(f, (x,), (random((3, 3)),))[1])


def test_the_derivative_of_a_symmetric_decomposition_is_symmetric() -> None:
    h = positive((3, 3))
    for f in (linalg.cholesky, linalg.eigvalsh, lambda x: linalg.eigh(x).eigenvectors):
        g = np.asarray(wg.grad(lambda x, f=f: wg.sum(f(x) * random(f(x).shape)))(h))
        same(g, g.T)


def test_norms_at_zero() -> None:
    zero = np.zeros((2, 3))
    for p in (0, 0.5, 1, 1.5, 2, 3, -1, np.inf, -np.inf):
        for dtype in ("float64", "complex128"):
            g = wg.grad(lambda x, p=p: linalg.vector_norm(x, ord=p))(zero.astype(dtype))
            np.testing.assert_array_equal(g, zero)
    for p in ("fro", 1, -1, np.inf, -np.inf):
        np.testing.assert_array_equal(wg.grad(lambda x, p=p: linalg.matrix_norm(x, ord=p))(zero), zero)
    np.testing.assert_array_equal(wg.hessian(linalg.vector_norm)(zero[0]), np.zeros((3, 3)))
    some = np.array([3.0, 0.0, 4.0])
    for p in (0.5, 1.0, 1.5, 3.0, -1.0):
        g = np.asarray(wg.grad(lambda x, p=p: linalg.vector_norm(x, ord=p))(some))
        assert np.all(np.isfinite(g)) and g[1] == 0
    assert float(linalg.vector_norm(some, ord=-1)) == 0
    same(wg.grad(linalg.vector_norm)(some), some / 5)
    one_row = wg.grad(lambda x: wg.sum(linalg.vector_norm(x, axis=1)))(np.stack([zero[0], some]))
    same(one_row, np.stack([zero[0], some / 5]))


def test_norms_against_numpy() -> None:
    x = random((3, 4))
    for p in (0, 0.5, 1, 2, 3, -1, np.inf, -np.inf):
        same(linalg.vector_norm(x, ord=p, axis=0, keepdims=True), np.linalg.norm(x, ord=p, axis=0, keepdims=True))
    for p in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        same(linalg.matrix_norm(x, ord=p, keepdims=True), np.linalg.norm(x, ord=p, axis=(0, 1), keepdims=True))
        same(linalg.norm(x, p), np.linalg.norm(x, p))
    same(linalg.norm(random((2, 3, 4))), np.linalg.norm(random((2, 3, 4))))
    same(linalg.norm(random((2, 3, 4)), 1, axis=(2, 0)), np.linalg.norm(random((2, 3, 4)), 1, axis=(2, 0)))
    same(linalg.norm(x, axis=1, keepdims=True), np.linalg.norm(x, axis=1, keepdims=True))
    same(linalg.norm(x, axis=(0, 1), keepdims=True), np.linalg.norm(x, axis=(0, 1), keepdims=True))
    for p in (None, 2, -2, 1, "fro", np.inf):
        same(linalg.cond(x[:, :3], p=p), np.linalg.cond(x[:, :3], p))
    assert float(linalg.vector_norm(np.zeros((0,)), ord=np.inf)) == 0


def test_rank_and_tolerance() -> None:
    x = np.stack([np.diag([1.0, 1e-3, 0.0]), np.diag([1.0, 1.0, 1.0])])
    np.testing.assert_array_equal(linalg.matrix_rank(x), [2, 3])
    np.testing.assert_array_equal(linalg.matrix_rank(x, rtol=np.array([1e-2, 2.0])), [1, 0])
    same(linalg.pinv(x, rtol=1e-2)[0], np.diag([1.0, 0, 0]))
    same(linalg.pinv(x, rtol=np.array([0.0, 2.0]))[1], np.zeros((3, 3)))
    got = linalg.lstsq(x[0], np.ones(3))
    close(got.x, [1, 1e3, 0], 1e-12, 1.0, "the shortest solution")
    assert int(got.rank) == 2 and float(got.residuals) == pytest.approx(1)


def test_failures_are_nan_for_their_matrix_only() -> None:
    good, bad = positive((2, 2)), np.diag([1.0, -1.0])
    out = np.asarray(linalg.cholesky(np.stack([good, bad])))
    same(out[0], np.linalg.cholesky(good))
    assert np.all(np.isnan(out[1]))
    hollow = np.full((2, 2), np.nan)
    for f in (linalg.eigvalsh, linalg.svdvals, linalg.pinv, linalg.det, lambda x: linalg.eigh(x)[1], linalg.expm):
        out = np.asarray(f(np.stack([good, hollow])))
        same(out[0], f(good))
        assert np.all(np.isnan(out[1]))
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    for f in (linalg.inv, lambda x: linalg.solve(x, np.ones((2, 1)))):
        out = np.asarray(f(np.stack([good, singular])))
        same(out[0], f(good))
        assert not np.any(np.isfinite(out[1]))
    sign, log = linalg.slogdet(singular)
    assert (float(sign), float(log)) == (0, -np.inf)
    assert float(linalg.solve_triangular([[0.0]], [1.0])[0]) == np.inf


def test_integers_lists_and_mixed_types() -> None:
    assert linalg.det([[1, 2], [3, 4]]).dtype == wg.float32
    assert linalg.solve(np.eye(2, dtype="float32"), np.ones(2)).dtype == wg.float64
    assert linalg.inv(np.eye(2, dtype="int64")).dtype == wg.float32
    assert linalg.trace(np.ones((2, 2), "int8")).dtype == wg.int64
    assert linalg.diagonal(np.ones((2, 3), "bool")).dtype == wg.bool_
    np.testing.assert_array_equal(linalg.kron([[1, 2]], [1, 10]), [[1, 10, 2, 20]])
    np.testing.assert_array_equal(linalg.cross([1, 2, 3], [4, 5, 6]), [-3, 6, -3])
    np.testing.assert_array_equal(linalg.matrix_power([[2.0, 0], [0, 3]], 0), np.eye(2))
    for k, offset in itertools.product((2, 3, 4), range(-4, 5)):
        x = np.arange(3 * k).reshape(3, k)
        np.testing.assert_array_equal(linalg.diagonal(x, offset=offset), np.diagonal(x, offset))


# Errors


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: linalg.det(np.ones((2, 3))), ShapeError, "square"),
        (lambda: linalg.cholesky(np.ones((3, 1))), ShapeError, "square"),
        (lambda: linalg.eigh(np.ones(3)), ShapeError, "matrix"),
        (lambda: linalg.inv(1.0), ShapeError, "matrix"),
        (lambda: linalg.svd(np.ones((2, 2), "float16")), DTypeError, "float16"),
        (lambda: linalg.solve(np.eye(2), np.ones(3)), ShapeError, "equations"),
        (lambda: linalg.solve(np.ones((3, 2, 2)), np.ones((2, 2, 1))), ShapeError, "broadcast"),
        (lambda: linalg.lstsq(np.eye(2), np.ones(3)), ShapeError, "equations"),
        (lambda: linalg.qr(np.eye(2), mode="raw"), ArgumentError, "mode"),
        (lambda: linalg.cross(np.ones(2), np.ones(2)), ShapeError, "expected 3"),
        (lambda: linalg.matrix_norm(np.eye(2), ord=3), ArgumentError, "ord"),
        (lambda: linalg.vector_norm(np.ones(2), ord="fro"), ArgumentError, "ord"),
        (lambda: linalg.vector_norm(np.ones(2), axis=1), ShapeError, "axis 1"),
        (lambda: linalg.norm(np.ones((2, 2, 2)), 1), ShapeError, "axis"),
        (lambda: linalg.matrix_power(np.eye(2), 0.5), ArgumentError, "integer"),
        (lambda: linalg.pinv(np.eye(2), rtol=np.ones(3)), ShapeError, "rtol"),
        (lambda: linalg.diagonal(np.ones(3)), ShapeError, "matrices"),
        (lambda: wg.grad(lambda x: wg.sum(linalg.qr(x, mode="complete").Q))(np.ones((3, 2))), UnsupportedError, "tall"),
        (lambda: wg.grad(lambda x: wg.sum(linalg.svd(x).U))(np.ones((3, 2))), UnsupportedError, "full_matrices=False"),
    ],
)  # fmt: skip
def test_errors(call: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words) as raised:
        call()
    assert "test_linalg.py" in str(raised.value), "the message names the user's line"


# JAX as oracle for the derivatives


def test_against_jax() -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        j = jax.numpy.linalg
        for dtype, count in (("complex128", 11), ("float64", 2)):  # compiling is slow: few in both
            h, x, b = positive((3, 3), dtype), random((3, 3), dtype), random((3, 2), dtype)
            tall, wide = random((4, 3), dtype), random((3, 4), dtype)
            table = [
                (linalg.eigh, j.eigh, h),
                (lambda a: linalg.svd(a, full_matrices=False), lambda a: j.svd(a, full_matrices=False), tall),
                (linalg.qr, j.qr, tall), (linalg.slogdet, j.slogdet, x), (linalg.cholesky, j.cholesky, h),
                (linalg.solve, j.solve, x, b), (linalg.det, j.det, x), (linalg.svdvals, j.svdvals, wide),
                (linalg.pinv, j.pinv, wide), (linalg.vector_norm, j.vector_norm, x),
                (lambda a: linalg.lu(a)[1:], lambda a: jax.scipy.linalg.lu(a)[1:], tall),
            ]  # fmt: skip
            for ours, theirs, *at in table[:count]:
                out, back = wg.vjp(ours, *at)
                cotangents = [random(o.shape, o.dtype.name, 5) for o in (out if isinstance(out, tuple) else [out])]

                @jax.jit
                def oracle(*xs: Any, theirs: Any = theirs, cotangents: Any = cotangents) -> Any:
                    wanted, pull = jax.vjp(theirs, *xs)
                    return wanted, pull(jax.tree.unflatten(jax.tree.structure(wanted), cotangents))

                wanted, expected = oracle(*at)
                for o, w in zip(arrays(out), jax.tree.leaves(wanted), strict=True):
                    close(o, w, 1e-10, 1.0, "value")
                got = back(tuple(cotangents) if isinstance(out, tuple) else cotangents[0])
                for g, e in zip(got, expected, strict=True):
                    close(g, np.asarray(e), 1e-9, 1.0, f"{theirs} of {dtype}")
