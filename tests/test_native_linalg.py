"""Direct methods of linear algebra as code, against LAPACK through the NumPy executor, and by identities."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import linalg

SIZES = [1, 2, 3, 5, 8, 13, 17, 40]
STACKS = [(), (3,), (2, 3), (40,)]


def drawn(rng, stack, n, dtype):
    return (rng.normal(size=(*stack, n, n)) + n**0.5 * np.eye(n)).astype(dtype)


def definite(a):
    return a @ np.swapaxes(a, -1, -2) + np.eye(a.shape[-1], dtype=a.dtype)


def as_code(f, *args):
    """The compiled result, after a check that no step of it is left to NumPy."""
    jitted = wg.jit(f)
    args = [wg.asarray(a) for a in args]
    assert "NumPy:" not in str(wg.explain(jitted)(*args))
    return jitted(*args)


def agree(f, *args, rtol):
    found, wanted = as_code(f, *args), wg.jit(f, executor="numpy")(*args)
    for x, y in zip(wg.tree.leaves(found), wg.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=rtol * np.max(np.abs(np.asarray(y))))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_systems_and_factors(n, dtype):
    rng = np.random.default_rng(n)
    rtol = 3e-3 if dtype == "float32" else 1e-10
    for stack in STACKS[: 4 if n < 17 else 2]:
        a, lower = drawn(rng, stack, n, dtype), np.tril(drawn(rng, stack, n, dtype)) + 2 * np.eye(n, dtype=dtype)
        for columns in (1, n + 3):
            b = rng.normal(size=(*stack, n, columns)).astype(dtype)
            agree(linalg.solve, a, b, rtol=rtol)
            for is_lower in (True, False):
                t = lower if is_lower else np.swapaxes(lower, -1, -2)
                agree(lambda t, b, low=is_lower: linalg.solve_triangular(t, b, lower=low), t, b, rtol=rtol)
        agree(linalg.inv, a, rtol=rtol)
        agree(lambda a: (linalg.det(a / n**0.5), tuple(linalg.slogdet(a))), a, rtol=rtol)
        agree(linalg.cholesky, definite(a), rtol=rtol)


@pytest.mark.parametrize("n", [2, 7])
def test_derivatives_stay_code(n):
    rng = np.random.default_rng(n)
    a = drawn(rng, (), n, "float64")
    agree(wg.grad(lambda a: wg.sum(linalg.solve(a, a @ a + 1) ** 2)), a / n, rtol=1e-9)
    agree(wg.grad(lambda a: wg.sum(linalg.cholesky(a) ** 3)), definite(a) / n, rtol=1e-9)
    agree(wg.grad(lambda a: linalg.slogdet(a)[1]), a, rtol=1e-9)
    agree(wg.hessian(lambda a: wg.sum(linalg.inv(a) ** 2)), a, rtol=1e-8)


def test_operands_that_lie_anyhow():
    rng = np.random.default_rng(0)
    a, b = drawn(rng, (6,), 5, "float64"), rng.normal(size=(6, 5, 4))

    def f(a, b):
        turned = wg.permute_dims(a, (0, 2, 1))
        return linalg.solve(turned[::2], wg.flip(b, axis=1)[::2]), linalg.solve(turned[1], b[1, :, 2])

    agree(f, a, b, rtol=1e-10)


def test_matrices_without_inverse():
    """Infinite, NaN and zero where LAPACK makes them so, in the same places."""
    singular = np.array([[1.0, 2, 3], [2, 4, 6], [1, 1, 1]])
    for a in (singular, np.zeros((3, 3)), np.full((3, 3), np.nan), np.diag([1.0, np.inf, 1])):
        for f in (lambda a: linalg.solve(a, wg.ones((3, 2), dtype=wg.float64)), linalg.inv, linalg.det):
            np.testing.assert_array_equal(np.asarray(as_code(f, a)), np.asarray(wg.jit(f, executor="numpy")(a)))
    for a in (-np.eye(3), singular, np.full((3, 3), np.nan)):
        assert np.isnan(np.asarray(as_code(linalg.cholesky, a))).all()
    sign, log = as_code(lambda a: tuple(linalg.slogdet(a)), singular)
    assert (float(sign), float(log)) == (0.0, -np.inf)


def test_a_filter_is_a_loop_of_code():
    """A Kalman filter: two systems in each turn."""
    rng = np.random.default_rng(1)
    measured = np.eye(2, 4)

    def innovation(a, z):
        def step(state, z):
            x, p = state
            x, p = a @ x, a @ p @ a.T + 0.1 * np.eye(4)
            s = measured @ p @ measured.T + 0.2 * np.eye(2)
            gain, r = linalg.solve(s, measured @ p).T, z - measured @ x
            return (x + gain @ r, (np.eye(4) - gain @ measured) @ p), r @ linalg.solve(s, r)

        return wg.sum(wg.scan(step, (wg.zeros(4, dtype=wg.float64), wg.asarray(np.eye(4))), z)[1])

    a = 0.9 * np.eye(4) + 0.05 * rng.normal(size=(4, 4))
    agree(wg.value_and_grad(innovation), a, rng.normal(size=(50, 2)), rtol=1e-10)


def test_large_matrices_are_lapacks():
    a = wg.asarray(np.eye(200))
    assert "NumPy: cholesky" in str(wg.explain(wg.jit(linalg.cholesky))(a))


def test_a_stack_is_dealt_to_threads():
    rng = np.random.default_rng(2)
    a, b = drawn(rng, (512,), 12, "float64"), rng.normal(size=(512, 12, 3))
    before = wg.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            wg.set_num_threads(threads)
            found.append(np.asarray(wg.jit(lambda a, b: linalg.solve(a, b) + linalg.inv(a)[..., :3])(a, b)))
    finally:
        wg.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_allclose(a @ (found[0] - np.linalg.inv(a)[..., :3]), b, atol=1e-9)
