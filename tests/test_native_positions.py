"""What stands at positions that the program computes, or finds at positions, in and around loops and branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg

RNG = np.random.default_rng(0)
X, Z = RNG.normal(size=(40, 17)), RNG.normal(size=17)
PLACES, GOES = RNG.permutation(17), np.array([True, True, False, True, True])
NEXT = np.array([0, 1, 3, 4, 2])


def late(x: Any, t: Any, z: Any) -> Any:
    """Positions that are found early and used late, when their place in memory might be another's."""
    i = wg.argmax(z)
    j = t[i]
    a = wg.tanh(z * 2)
    others = [wg.argmax(a * wg.sum(wg.exp(a * k))) for k in range(6)]
    return x[j], x[t[j]], sum(x[t[k]] for k in others), x[t[i]]


def rows(turn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, t, *more: wg.scan(lambda c, r: turn(x, t, c, r, *more), x[0], x)


def chased(x: Any, t: Any) -> Any:
    return wg.scan(lambda c, r: (t[wg.argmax(r)], (x[t[t[wg.argmax(2 * r)]]], x[c])), 0, x)


def linked(x: Any, t: Any) -> Any:
    return wg.while_loop(
        lambda s: s[0] != t[5], lambda s: (t[s[0]], s[1] + x[t[t[s[0]]]]), (t[t[5]], wg.zeros_like(x[0]))
    )


def asked(x: Any, goes: Any, t: Any) -> Any:
    return wg.while_loop(lambda s: goes[t[s[0] * 6 % 5]], lambda s: (s[0] + 1, wg.tanh(s[1] + x[s[0]])), (0, x[0]))


def branched(x: Any, goes: Any, t: Any) -> Any:
    def turn(c: Any, r: Any) -> Any:
        goes_on = goes[t[wg.argmax(r[:5])]]
        return wg.cond(goes_on, lambda: 2 * c, lambda: wg.tanh(r)), goes[wg.argmin(r[3:8])]

    return wg.scan(turn, x[0], x)


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "a position at a position": (lambda x, t, z: x[t[t[wg.argmax(z)]]] + wg.sum(z * z), (X, PLACES, Z)),
    "used late": (late, (X, PLACES, Z)),
    "emitted": (rows(lambda x, t, c, r: (wg.tanh(c + r), x[wg.argmax(r)])), (X, PLACES)),
    "emitted window": (
        rows(lambda x, t, c, r: (wg.tanh(c + r), wg.dynamic_slice(r, [wg.argmax(r) % 5], (12,)))),
        (X, PLACES),
    ),
    "emitted window of the carry": (
        rows(lambda x, t, c, r: (wg.tanh(c + r), (wg.dynamic_slice(c, [wg.argmax(r) % 5], (12,)), c[wg.argmax(c)]))),
        (X, PLACES),
    ),
    "handed on": (rows(lambda x, t, c, r: (x[t[wg.argmax(c)]], (c, x[wg.argmin(r)]))), (X, PLACES)),
    "chased": (chased, (X, PLACES)),
    "linked": (linked, (X, PLACES)),
    "asked": (asked, (X, GOES, NEXT)),
    "branched": (branched, (X, GOES, NEXT)),
    "by NumPy": (rows(lambda x, t, c, r: (wg.tanh(c + wg.sort(x[wg.argmax(r)])), wg.argsort(x[t[3]]))), (X, PLACES)),
    "products": (rows(lambda x, t, c, r: (wg.tanh(wg.dynamic_slice(x, [wg.argmax(r), 0], (17, 17)) @ r), c)), (X, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_as_the_reference_does(name: str) -> None:
    f, args = CASES[name]
    got, wanted = (wg.tree.leaves(wg.jit(f, executor=e)(*args)) for e in ("native", "numpy"))
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-12)


def test_what_was_written_at_positions_is_written_again_from_itself() -> None:
    """The updates are those of before, so the first result is not written over."""
    x = RNG.normal(size=(4, 3))

    def f(x: Any) -> Any:
        y = x.at[wg.asarray([1])].set(5.0)
        z = x.at[wg.asarray([0, 2])].add(x[:2])
        k = wg.asarray([3, 1, 0, 2]).at[wg.asarray([0])].set(2)
        return y.at[wg.asarray([1, 0, 3, 2])].set(y), z.at[wg.asarray([2, 2, 0, 0])].add(z), k.at[k].add(k)

    for got, expected in zip(wg.jit(f, executor="native")(x), wg.jit(f, executor="numpy")(x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
