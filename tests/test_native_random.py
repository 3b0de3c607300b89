"""Random bits as machine code are the reference's, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import nn

KEY = wg.random.key(7)

DRAWS: dict[str, Any] = {
    "one": lambda k: wg.random.bits(k),
    "odd": lambda k: wg.random.bits(k, (3, 5)),
    "many": lambda k: wg.random.bits(k, (1000, 7)),
    "wide": lambda k: wg.random.bits(k, (8,), wg.uint64),
    "bytes": lambda k: wg.random.bits(k, (9,), wg.uint8),
    "split": lambda k: wg.random.split(k, 5),
    "fold": lambda k: wg.random.fold_in(k, 3),
    "chain": lambda k: wg.random.bits(wg.random.split(wg.random.split(k)[1])[0], (33,)),
    "uniform": lambda k: wg.random.uniform(k, (4, 4)),
    "double": lambda k: wg.random.uniform(k, (4, 5), wg.float64),
    "coins": lambda k: wg.random.bernoulli(k, 0.3, (50,)),
    "none": lambda k: wg.random.bits(k, (0, 2)),
    "a key each": lambda k: wg.vmap(lambda k: wg.random.bits(k, (3,)))(wg.random.split(k, 4)),
    "in a loop": lambda k: wg.scan(lambda k, _: (wg.random.split(k)[0], wg.random.bits(k, (5,))), k, length=4)[1],
}


@pytest.mark.parametrize("name", DRAWS)
def test_bits_are_the_references(name: str) -> None:
    f = DRAWS[name]
    np.testing.assert_array_equal(np.asarray(wg.jit(f, executor="native")(KEY)), np.asarray(f(KEY)))


def test_dropout_needs_no_step_of_numpys() -> None:
    def f(x: Any, model: Any) -> Any:
        return (model(x) ** 2).sum()

    x = np.random.default_rng(0).normal(size=(16, 33)).astype(np.float32)
    one, other = nn.Dropout(0.2, key=0), nn.Dropout(0.2, key=0)
    fast = wg.jit(wg.grad(f), executor="native")
    assert "NumPy" not in str(fast.lower(x, one).loops)
    for _ in range(3):
        np.testing.assert_allclose(np.asarray(fast(x, one)), np.asarray(wg.grad(f)(x, other)), rtol=1e-6)
        np.testing.assert_array_equal(np.asarray(one.key), np.asarray(other.key))
