"""Steps that NumPy evaluates inside compiled loops and branches."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import wengert as wg
from wengert import linalg
from wengert.ops.linalg.svd import SVD

RNG = np.random.default_rng(5)
A, X = RNG.normal(size=(4, 4)), RNG.normal(size=(6, 4, 4))


def polar(a, x):
    """An SVD a turn."""

    def step(c, x):
        u, s, v = linalg.svd(c @ x, full_matrices=False)
        return u @ v + 0.1 * c, s

    return wg.scan(step, a, x)


def turned(a):
    return wg.while_loop(lambda s: s[1] < 4, lambda s: (linalg.eigh(s[0] + s[0].T)[1] @ s[0], s[1] + 1), (a, 0))[0]


def chosen(p, a):
    return wg.cond(p, lambda a: linalg.svdvals(a), lambda a: wg.sum(a, axis=0), a)


def moving(x):
    """Operands and results are windows that move, one of them backwards."""
    return wg.scan(lambda c, row: (c + wg.sort(row[::-1]), wg.argsort(row)), x[0] * 0, x)


CASES = {
    "scan": (polar, (A, X)),
    "gradient of a scan": (wg.grad(lambda a, x: wg.sum(polar(a, x)[0] ** 2) + wg.sum(polar(a, x)[1])), (A, X)),
    "while": (turned, (A,)),
    "one branch": (chosen, (True, A)),
    "other branch": (chosen, (False, A)),
    "windows": (moving, (X[:, 0],)),
    "batched": (wg.vmap(turned), (X,)),
}


@pytest.mark.parametrize("name", CASES)
def test_loops_stay_code_around_them(name):
    f, args = CASES[name]
    args = [wg.asarray(a) for a in args]
    jitted = wg.jit(f, executor="native")
    loops = str(jitted.lower(*args).loops)
    assert (
        "NumPy:" in loops
        and "NumPy: scan" not in loops
        and "NumPy: while" not in loops
        and "NumPy: switch" not in loops
    )
    wanted = wg.tree.leaves(wg.jit(f, executor="numpy")(*args))
    for _ in range(3):  # the third call goes without Python around it
        for x, y in zip(wg.tree.leaves(jitted(*args)), wanted, strict=True):
            np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=1e-9, atol=1e-9)


def test_they_are_told():
    told = str(wg.explain(wg.jit(polar))(wg.asarray(A), wg.asarray(X)))
    assert "loop, 6 turns" in told and "NumPy: svd" in told


def test_several_threads_around_them():
    big = RNG.normal(size=(512, 512))

    def f(x):
        def step(c, _):
            y = wg.tanh(c @ c * 1e-3)
            return y * linalg.svdvals(y[:3, :3])[0] + 0.1, wg.sum(y)

        return wg.scan(step, x, None, length=3)

    before = wg.get_num_threads()
    try:
        wg.set_num_threads(2)
        found = wg.jit(f, executor="native")(wg.asarray(big))
    finally:
        wg.set_num_threads(before)
    wanted = wg.jit(f, executor="numpy")(wg.asarray(big))
    for x, y in zip(wg.tree.leaves(found), wg.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=1e-9)


def test_an_error_in_one_comes_out(monkeypatch):
    jitted = wg.jit(polar, executor="native")
    a, x = wg.asarray(A), wg.asarray(X)
    wanted = np.asarray(jitted(a, x)[0])
    calls = []

    def broken(self, *values, **params):
        calls.append(1)
        raise RuntimeError("not today")

    with monkeypatch.context() as patch:
        patch.setattr(SVD, "evaluate", broken)
        with pytest.raises(RuntimeError, match="not today"):
            jitted(a, x)
    assert len(calls) == 1  # the turns that were left did nothing
    np.testing.assert_array_equal(np.asarray(jitted(a, x)[0]), wanted)


def test_another_process_finds_them_in_the_cache(tmp_path):
    script = (
        "import numpy as np, wengert as wg\n"
        "from tests.test_native_steps import polar, A, X\n"
        "f = wg.jit(polar, executor='native')\n"
        "print(repr(np.asarray(f(wg.asarray(A), wg.asarray(X))[0]).tobytes()))"
    )
    env = {**os.environ, "WENGERT_CACHE_DIR": str(tmp_path / "cache")}
    both = [
        subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert both[0] == both[1] and list((tmp_path / "cache").rglob("*"))
