"""Families of steps with native code: values beside the reference evaluation's, at ordinary and at special numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.execute import native
from wengert.execute import numpy as reference
from wengert.execute.native.statements import Evaluate
from wengert.ops.index import gather_p, scatter_p

rng = np.random.default_rng(5)
INF, NAN = np.inf, np.nan
SHAPES = [(3,), (37,), (5, 37), (37, 5), (3, 4, 21)]


def same(f: Any, *args: Any, tolerance: float = 1e-12) -> None:
    """`f` has code, and gives what the reference evaluation gives, twice."""
    graph = wg.jit(f).lower(*args).graph
    values = [np.asarray(a) for a in args]
    compiled = native.compiled(graph)
    assert not [s for s in compiled.program.statements if isinstance(s, Evaluate)]
    wanted = reference.run(graph, values)
    for _ in range(2):
        for got, expected in zip(compiled(values), wanted, strict=True):
            assert got.shape == expected.shape and got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def special(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers, infinities and NaN; some rows are infinite altogether."""
    x = rng.choice([-INF, INF, NAN, 0.0, -0.0, 1.0, -2.5], size=shape, p=[0.3, 0.05, 0.05, 0.2, 0.1, 0.2, 0.1])
    x[0] = -INF
    return x


@pytest.mark.parametrize("shape", SHAPES)
def test_logsumexp(shape: tuple[int, ...]) -> None:
    x = 100 * rng.normal(size=shape)
    for axis in (*range(len(shape)), None, tuple(range(len(shape)))[:2]):

        def f(x: Any, axis: Any = axis) -> Any:
            return wg.logsumexp(x * 1.5, axis=axis)

        same(f, x)
        same(f, special(shape))
        same(lambda x, f=f: wg.grad(lambda x: wg.sum(f(x)))(x), x)
        same(lambda x, f=f: wg.grad(lambda x: wg.sum(f(x)))(x), special(shape))
        same(f, x.astype(np.float32), tolerance=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("shape", SHAPES)
def test_where_extremes_stand(shape: tuple[int, ...], dtype: Any) -> None:
    x = rng.integers(-3, 4, size=shape).astype(dtype)
    for axis in range(len(shape)):
        same(lambda x, axis=axis: (wg.argmax(x, axis=axis), wg.argmin(x, axis=axis)), x)
        if x.dtype.kind == "f":
            same(lambda x, axis=axis: (wg.argmax(x, axis=axis), wg.argmin(x, axis=axis)), special(shape).astype(dtype))


def test_any_and_all() -> None:
    for x in (rng.random((4, 33)) < 0.1, rng.random((4, 33)) < 0.97, special((4, 33)), np.eye(3, 40, dtype=np.int64)):
        for axis in (0, 1, None):
            same(lambda x, axis=axis: (wg.any(x, axis=axis), wg.all(x, axis=axis)), x)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, np.uint32])
def test_division_of_integers(dtype: Any) -> None:
    """Every pair of some numbers, the least, the largest, 0 and -1 among them."""
    info = np.iinfo(dtype)
    numbers = np.array([info.min, info.min + 1, -7, -2, -1, 0, 1, 2, 3, 7, info.max - 1, info.max], object)
    numbers = numbers[numbers >= info.min].astype(dtype)
    x, y = np.repeat(numbers, len(numbers)), np.tile(numbers, len(numbers))
    same(lambda x, y: (x // y, x % y), x, y)


def test_infinite_and_signed() -> None:
    x = special((5, 19))
    same(lambda x, y: (wg.isinf(x), wg.copysign(x, y)), x, rng.permutation(x, axis=1))


@pytest.mark.parametrize("trial", range(60))
def test_positions(trial: int) -> None:
    """Reading and writing at positions of any type, some outside, some twice, along any axes, clipped or dropped."""
    rng = np.random.default_rng(trial)
    shape = tuple(int(d) for d in rng.integers(1, 20, size=rng.integers(1, 4)))
    axes = tuple(int(a) for a in rng.permutation(len(shape))[: rng.integers(1, len(shape) + 1)])
    lead = tuple(int(d) for d in rng.integers(1, 12, size=rng.integers(0, 3)))
    dtype = rng.choice([np.float32, np.float64, np.int32, np.int64])
    integer = np.dtype(rng.choice([np.int8, np.int32, np.int64, np.uint8, np.uint64]))
    outside, mode = str(rng.choice(["clip", "drop"])), str(rng.choice(["set", "add", "mul", "min", "max"]))
    x = (10 * rng.normal(size=shape)).astype(dtype)
    updates = (10 * rng.normal(size=lead + tuple(d for k, d in enumerate(shape) if k not in axes))).astype(dtype)
    indices = []
    for a in axes:
        n = shape[a] * (2 if rng.random() < 0.5 else 1)
        size = lead[rng.integers(0, len(lead) + 1) :] if indices else lead
        indices.append(np.asarray(rng.integers(-n if integer.kind == "i" else 0, n, size=size).astype(integer)))

    def both(x: Any, updates: Any, *indices: Any) -> Any:
        read = gather_p.bind(x, *indices, axes=axes, outside=outside, unique=False)
        params = {"axes": axes, "mode": mode, "outside": outside, "unique": False}
        return read + 1 if trial % 3 else read, scatter_p.bind(x * 2 if trial % 2 else x, updates, *indices, **params)

    def slope(x: Any, updates: Any, *indices: Any) -> Any:
        def total(x: Any, updates: Any) -> Any:
            return sum(wg.sum(wg.square(y)) for y in both(x, updates, *indices))

        return wg.grad(total, (0, 1))(x, updates)

    tolerance = 1e-3 if dtype == np.float32 else 1e-10
    same(both, x, updates, *indices, tolerance=tolerance)
    if x.dtype.kind == "f" and mode != "mul":  # whose derivative sorts the positions
        same(slope, x, updates, *indices, tolerance=tolerance)


@pytest.mark.parametrize("mode", ["set", "add", "min", "max", "multiply"])
@pytest.mark.parametrize("turns", [1, 2, 6])
def test_a_carry_written_at_positions(turns: int, mode: str) -> None:
    """In place, unless somebody still reads the old one."""
    x, i, u = rng.normal(size=(6, 2)), np.array([3, -1, 9, 0, 3, 5])[:turns], rng.normal(size=(turns, 2))

    def run(x: Any, i: Any, u: Any, keep: bool) -> Any:
        def body(c: Any, e: Any) -> Any:
            i, u = e
            d = getattr(c.at[i], mode)(u + 0.5 * c[i])
            return d, (d[wg.maximum(i, 1)], c) if keep else wg.sum(d)

        return wg.scan(body, x, (i, u))

    for keep in (False, True):
        same(lambda x, i, u, keep=keep: run(x, i, u, keep), x, i, u)
    same(lambda x, i, u: wg.grad(lambda x, u: wg.sum(run(x, i, u, False)[1]), (0, 1))(x, u), x, i, u)


def test_a_loop_writes_where_its_carry_lies() -> None:
    def body(k: Any, c: Any) -> Any:
        first, last = c[k], c[79 - k]
        return c.at[k].set(last).at[79 - k].set(first)

    def reversed_rows(x: Any) -> Any:
        return wg.fori_loop(0, 40, body, x)

    x = rng.normal(size=(80, 100))  # a carry that is too large to be copied to the result at the end
    same(reversed_rows, x)
    np.testing.assert_array_equal(reversed_rows(x), x[::-1])
    text = wg.jit(reversed_rows, executor="native").lower(x).loops
    assert text.count("for [80, 100]") == 1  # the copy of the argument


@pytest.mark.parametrize("start", [-9, -3, -1, 0, 2, 4, 5, 30])
def test_windows_at_positions(start: int) -> None:
    x = rng.normal(size=(6, 5))

    def f(x: Any, s: Any) -> Any:
        window = wg.dynamic_slice(x, (s, 0), (2, 3))
        return window + 1, wg.dynamic_update_slice(x, 2 * window, (s - 1, s))

    same(f, x, np.asarray(start))
    same(lambda x, s: wg.grad(lambda x: sum(wg.sum(y * y) for y in f(x, s)))(x), x, np.asarray(start))


@pytest.mark.parametrize("shape", [(7,), (8,), (9,), (17,), (130,), (5, 20), (20, 5), (3, 17, 9)])
def test_rotations(shape: tuple[int, ...]) -> None:
    """Windows onto one copy for those by few places; also of what a loop carries, and in derivatives."""
    x = rng.normal(size=shape)
    for axis in range(len(shape)):

        def f(x: Any, axis: int = axis) -> Any:
            y = wg.sin(x)
            turned = [wg.roll(y, s, axis=axis) * wg.roll(y, 2, axis=axis) for s in (-8, -7, -1, 0, 1, 7, 8, 9)]
            return [*turned, wg.roll(x, 1, axis=axis), wg.roll(x, -1, axis=axis) + x]

        def loop(x: Any, axis: int = axis) -> Any:
            def body(c: Any, _: Any) -> Any:
                return wg.tanh(wg.roll(c, 1, axis=axis) - 0.5 * wg.roll(c, -2, axis=axis) + c), wg.roll(c, 3, axis=axis)

            return wg.scan(body, x, None, length=3)

        def total(x: Any, f: Any = f, loop: Any = loop) -> Any:
            return sum(wg.sum(wg.square(y)) * (k + 1) for k, y in enumerate([*f(x), *loop(x)]))

        same(f, x)
        same(loop, x)
        same(wg.grad(total), x)


@pytest.mark.parametrize("shape", [(1,), (37,), (5, 33), (33, 5), (70, 3), (3, 4, 21)])
@pytest.mark.parametrize("reverse", [False, True])
def test_running_results(shape: tuple[int, ...], reverse: bool) -> None:
    x = rng.normal(size=shape)
    for axis in range(len(shape)):

        def f(x: Any, axis: int = axis) -> Any:
            p = {"axis": axis, "reverse": reverse}
            y = wg.exp(x)
            extremes = [wg.cumulative_max(x, **p), wg.cumulative_min(x, **p), wg.cumulative_logsumexp(x, **p)]
            return [wg.cumulative_sum(x, **p), wg.cumulative_prod(y, **p), *extremes]

        def total(x: Any, f: Any = f) -> Any:
            return sum(wg.sum(wg.square(y)) * (k + 1) for k, y in enumerate(f(x)))

        same(f, x, tolerance=1e-11)
        same(wg.grad(total), x, tolerance=1e-9)
        same(f, special(shape))
        same(lambda x, axis=axis: wg.cumulative_sum(x, axis=axis, reverse=reverse), (9 * x).astype(np.int32))
        same(lambda x, axis=axis: wg.cumulative_max(x, axis=axis, reverse=reverse), (9 * x).astype(np.int64))
