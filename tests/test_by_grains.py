"""Statements that run grain by grain: the same numbers, bit for bit, as one statement after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

import wengert as wg
from tests.drawing import run
from tests.programs import from_seed, inputs_of
from tests.team_orders import eager
from wengert.execute import native
from wengert.execute.native import segments
from wengert.execute.native.segments import _Segment
from wengert.nn import functional as F

RNG = np.random.default_rng(0)


def groups(f: Any, args: Sequence[Any], threads: int) -> int:
    """Both ways agree on `f(*args)`; returns how many rows of statements ran grain by grain."""
    results, met = [], []
    emit = _Segment.run_by_grains

    def seen(segment: Any, group: Any) -> None:
        met.append(group)
        emit(segment, group)

    for near in (float("inf"), 0.0):
        with eager(threads), patch.object(segments, "NEAR", near), patch.object(_Segment, "run_by_grains", seen):
            results.append(native.compiled(wg.jit(f).lower(*args).graph)([np.asarray(a) for a in args]))
        assert near == 0 or not met
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other, equal_nan=True)
    return len(met)


@pytest.mark.parametrize("threads", [2, 3])
def test_random_programs(threads: int) -> None:
    met = 0
    for seed in range(820_000, 820_040):
        program = from_seed(seed)

        def gradient(*a: Any, program: Any = program) -> Any:
            out, pullback = wg.vjp(lambda *a: run(program, a), *a)
            return out, pullback(wg.ones_like(out))

        met += groups(gradient, inputs_of(program, seed), threads)
    assert met > 5


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_rows_that_are_normalised(threads: int) -> None:
    x, t = RNG.standard_normal((33, 70)), RNG.standard_normal((33, 70))
    w, b = RNG.standard_normal(70), RNG.standard_normal(70)
    pulled = lambda x: wg.vjp(lambda x: F.softmax(x, -1), x)[1](t)  # noqa: E731
    assert groups(pulled, [x], threads) >= 1
    assert groups(lambda *a: wg.vjp(lambda *a: F.layer_norm(a[0], 70, *a[1:]), *a)[1](t), [x, w, b], threads) >= 1


def test_images_that_are_normalised() -> None:
    x, w, b = RNG.standard_normal((8, 16, 6, 6)), RNG.standard_normal(16), RNG.standard_normal(16)

    def loss(x: Any, w: Any, b: Any) -> Any:
        return wg.sum(wg.square(wg.tanh(F.batch_norm(x, None, None, w, b, True))) * x)

    assert groups(wg.value_and_grad(loss, (0, 1, 2)), [x, w, b], 2) >= 1


def test_large_rows_run_so_by_themselves() -> None:
    x = RNG.standard_normal((2048, 600)).astype(np.float32)
    with patch.object(_Segment, "run_by_grains", autospec=True, side_effect=_Segment.run_by_grains) as emit, eager(2):
        (got,) = native.compiled(wg.jit(lambda x: F.softmax(x, -1)).lower(x).graph)([x])
    assert emit.called
    e = np.exp(x - x.max(1, keepdims=True), dtype=np.float64)
    np.testing.assert_allclose(got, e / e.sum(1, keepdims=True), rtol=1e-5)
