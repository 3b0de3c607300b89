"""Families of steps with native code: values beside the reference evaluation's, at ordinary and at special numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.execute import native
from wengert.execute import numpy as reference
from wengert.execute.native.statements import Evaluate

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
