"""Windows beside each other, read once and shifted; values computed in the copy that their neighbours read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.guarded import Guarded
from tests.team_orders import eager
from wengert.execute.native import Build, host_target, simplify

pytest.importorskip("llvmlite.ir")
rng = np.random.default_rng(11)
WIDE = replace(host_target(), vector_bytes=64)


def staged(f: Callable[..., Any], *args: Any) -> Any:
    return wg.jit(f, executor="native").lower(*args).graph


def code(f: Callable[..., Any], *args: Any) -> str:
    """LLVM's text for a machine with the widest vectors, also where this one has shorter ones."""
    return Build(simplify(staged(f, *args)), WIDE).text


def same(f: Callable[..., Any], *args: Any) -> None:
    """By one thread, by a team, and between pages that may not be touched: as NumPy computes it."""
    wanted = wg.tree.leaves(wg.jit(f, executor="numpy")(*args))
    ways = [lambda: wg.tree.leaves(wg.jit(f, executor="native")(*args))]
    for end in (True, False):
        ways.append(lambda end=end: Guarded(staged(f, *args), end)(list(args)))
    found = [way() for way in ways]
    with eager(2):
        found.append(ways[0]())
    for results in found:
        for got, expected in zip(results, wanted, strict=True):
            rounding = 1e-13 if np.asarray(got).dtype.itemsize == 8 else 1e-6
            np.testing.assert_allclose(got, expected, rtol=0, atol=10 * rounding * np.abs(expected).max())


def stencil(offsets: Sequence[int], count: int, axis: int = -1) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        y = wg.sin(x)  # lies in the workspace
        part = [slice(None)] * x.ndim
        total = 0.0
        for k, o in enumerate(offsets):
            part[axis] = slice(o, o + count)
            total = total + (k + 1) * y[tuple(part)] * x[tuple(part)]
        return total

    return f


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("offsets", [(0, 1), (3, 2, 0, 1), (0, 8, 16), (7, 8, 9), (0, 15, 16, 17, 40), (2, 2), (5,)])
def test_stencils(offsets: tuple[int, ...], dtype: Any) -> None:
    for shape, count in (((300,), 256), ((300,), 251), ((4, 120), 67), ((2, 3, 140), 90), ((75,), 33)):
        same(stencil(offsets, count), rng.normal(size=shape).astype(dtype))
    same(stencil(offsets, 20, axis=0), rng.normal(size=(62, 70)).astype(dtype))


def test_each_vector_is_read_once() -> None:
    x = rng.normal(size=300)
    text = code(lambda x: x[3:259] - x[0:256] * x[1:257] + x[2:258], x)
    assert text.count("= load <8 x double>") == 1 and text.count("shufflevector") == 3
    apart = code(lambda x: x[30:286] - x[0:256], x)
    assert apart.count("= load <8 x double>") == 2 and "shufflevector" not in apart


def test_machines_with_shorter_vectors_read_every_window() -> None:
    x = rng.normal(size=300)
    graph = simplify(staged(lambda x: x[3:259] - x[0:256], x))
    assert Build(graph, replace(WIDE, vector_bytes=32)).text.count("= load <4 x double>") == 2


def test_statements_of_one_form_at_other_distances() -> None:
    def f(x: Any) -> Any:
        return x[0:100] - x[1:101], x[0:100] - x[3:103], x[1:101] - x[0:100], x[0:100] - x[100:200]

    same(f, rng.normal(size=300))


def test_one_window_read_in_two_orders() -> None:
    def f(x: Any) -> Any:
        a, b = x[1:41, 1:41], x[1:41, 0:40]
        return a - b + 2 * wg.transpose(b) - wg.transpose(x[0:40, 0:40])

    same(f, rng.normal(size=(41, 41)))


def test_one_number_beside_another_is_no_window_along_the_vector() -> None:
    def f(x: Any, w: Any) -> Any:
        pairs = wg.tanh(x @ w)
        return x * pairs[:, 1:] - pairs[:, :1], x[:, 1:] * pairs[:, :1] + x[:, :-1] * pairs[:, 1:]

    same(f, rng.normal(size=(3, 40)), rng.normal(size=(40, 2)))


def test_windows_that_move() -> None:
    def f(x: Any, w: Any) -> Any:
        def body(c: Any, row: Any) -> Any:
            y = row[1:] - row[:-1] + wg.roll(c, 1) * w
            return wg.tanh(y + wg.roll(c, -2)), y[2:] - y[:-2]

        return wg.scan(body, wg.zeros(90, dtype=x.dtype), x)

    x, w = rng.normal(size=(6, 91)), rng.normal(size=90)
    same(f, x, w)
    same(wg.grad(lambda x, w: sum(wg.sum(wg.square(y)) for y in f(x, w)), argnums=(0, 1)), x, w)


def test_what_a_copy_goes_on_at_both_ends_of_is_kept_in_it_alone() -> None:
    def f(x: Any) -> Any:
        y = wg.tanh(x)
        return y * (wg.roll(y, 1) - wg.roll(y, -2))

    text = str(wg.jit(f, executor="native").lower(wg.ones(200)).loops)
    assert text.count(" = tanh") == 1 and text.count("for [200]") == 2 and "in registers" not in text


@pytest.mark.parametrize(
    "f",
    [
        lambda y: (y, wg.roll(y, 1)),  # a result
        lambda y: y @ wg.roll(y, 1) + y,  # an operand of a product
        lambda y: wg.sort(y) + wg.roll(y, 1),  # an operand of NumPy's
        lambda y: wg.cumulative_sum(y) * wg.roll(y, -1) - y,
        lambda y: wg.concat([y, y]) * wg.concat([wg.roll(y, 2), y]),  # two copies
        lambda y: wg.concat([y, wg.exp(y), y[:3]]) + wg.sum(y),
        lambda y: y.at[3:20].set(wg.roll(y, 1)[3:20]) - y,
        lambda y: wg.concat([wg.zeros(5, dtype=y.dtype), y])[2:-3] + wg.sum(y * wg.roll(y, 3)),
        lambda y: wg.where(y > 0, y, wg.roll(y, 1))[wg.argsort(y)],
        lambda y: wg.scan(lambda c, _: (c + wg.roll(c, 1) * y, c * y), y, None, length=4),
        lambda y: wg.while_loop(lambda c: wg.sum(c * c) < 1e4, lambda c: c + wg.roll(c, 1) - wg.roll(c, -1) + y, y),
        lambda y: wg.cond(y[0] > 0, lambda y: wg.roll(y, 1) - y, lambda y: wg.roll(y, -3) * y, y),
    ],
)
def test_values_that_are_copied_and_read_elsewhere(f: Callable[[Any], Any]) -> None:
    same(lambda x: f(wg.tanh(x)), rng.normal(size=120))


def test_rows_that_are_copied() -> None:
    def f(x: Any) -> Any:
        y = wg.exp(-x * x)
        return y + wg.roll(y, 1, axis=0) - wg.roll(y, -1, axis=1), wg.sum(y * wg.roll(y, 2, axis=1), axis=0)

    same(f, rng.normal(size=(30, 80)))
    same(wg.grad(lambda x: sum(wg.sum(wg.sin(y)) for y in f(x))), rng.normal(size=(30, 80)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [5, 10, 16, 33, 40, 47, 64, 65])
def test_few_numbers_in_a_loop(n: int, dtype: Any) -> None:
    """In registers, where that is possible."""

    def f(x: Any) -> Any:
        def body(c: Any, _: Any) -> Any:
            y = (wg.roll(c, -1) - wg.roll(c, 2)) * wg.roll(c, 1) - c
            z = wg.where(wg.roll(y > 0, 3), y, wg.concat([y[2:], c[:2]]))
            return c + 0.01 * (y + z[::-1]), z[1:]

        return wg.scan(body, x, None, length=7)

    x = rng.normal(size=n).astype(dtype)
    same(f, x)
    same(wg.grad(lambda x: sum(wg.sum(wg.sin(y)) for y in f(x))), x)
