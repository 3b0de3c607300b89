"""Compiled reductions over axes of every length: rounds of running results, whole vectors, single numbers, NaN."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg

OPS = {
    "sum": (wg.sum, np.sum),
    "max": (wg.max, np.max),
    "min": (wg.min, np.min),
    "squares": (lambda x, axis: wg.sum(x * x, axis=axis), lambda x, axis: np.sum(x * x, axis=axis)),
}


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("shape", [(5,), (64,), (127,), (3, 79), (7, 200), (256, 784), (2, 3, 129), (70000,)])
def test_reductions_agree_with_numpy(shape, name):
    rng = np.random.default_rng(0)
    ours, theirs = OPS[name]
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12)):
        x = (rng.standard_normal(shape) - 3).astype(dtype)
        for axis in (None, *range(len(shape))):
            reduce = wg.jit(lambda x, axis=axis: ours(x, axis=axis), executor="native")
            np.testing.assert_allclose(reduce(x), theirs(x.astype(np.float64), axis=axis), rtol=tolerance)
            bad = x.copy()
            bad.flat[rng.integers(x.size)] = np.nan
            expected = theirs(bad.astype(np.float64), axis=axis)
            np.testing.assert_allclose(reduce(bad), expected, rtol=tolerance)
