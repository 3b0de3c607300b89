"""Axes that become one: what loops over small images compute, whatever their windows are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.execute import native
from wengert.execute import numpy as reference
from wengert.execute.native.program import Build
from wengert.execute.native.statements import Nest, Reduction
from wengert.execute.native.target import host_target


def shapes(f: Any, *args: Any) -> list[tuple[int, ...]]:
    """Both executors agree on `f(*args)`; returns what the loops of the program go over."""
    graph = wg.jit(f).lower(*args).graph
    for got, wanted in zip(native.compiled(graph)(list(args)), reference.run(graph, list(args)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=2e-6)
    found = Build(graph, host_target()).program.statements
    inside = [t for s in found for t in getattr(s, "body", [s])]
    return [s.expr.shape if isinstance(s, Reduction) else s.shape for s in inside if isinstance(s, (Nest, Reduction))]


X = np.random.default_rng(0).standard_normal((3, 4, 5, 6)).astype(np.float32)
CHANNEL = np.arange(4, dtype=np.float32).reshape(4, 1, 1)


def test_images_of_channels_are_one_axis() -> None:
    assert shapes(lambda x: wg.tanh(x) * CHANNEL, X) == [(3, 4, 30)]
    assert shapes(lambda x: wg.sum(x * CHANNEL, axis=(0, 2, 3)), X) == [(3, 4, 30)]
    assert shapes(lambda x: wg.sum(x, axis=0), X) == [(3, 120)]


def test_windows_that_jump_keep_their_axes() -> None:
    assert shapes(lambda x: x[:, :, 1:4, 1:5] * 2, X) == [(3, 4, 3, 4)]
    assert shapes(lambda x: wg.transpose(x, (0, 1, 3, 2)) + 1, X) == [(3, 4, 6, 5)]
    assert shapes(lambda x: x + x[:, :, :, :1], X) == [(3, 4, 5, 6)]
    assert shapes(lambda x: wg.sum(x, axis=3), X) == [(3, 4, 5, 6)]


def test_permuted_alike_is_one_axis() -> None:
    assert shapes(lambda x: wg.transpose(wg.exp(x), (2, 3, 0, 1)) * wg.transpose(x, (2, 3, 0, 1)), X)[-1] in (
        (5, 6, 3, 4),
        (5, 6, 12),
    )


@pytest.mark.parametrize("batch", [1, 2, 33])
def test_normalised_images(batch: int) -> None:
    x = np.random.default_rng(1).standard_normal((batch, 5, 3, 3)).astype(np.float32)

    def loss(x: Any) -> Any:
        y = x - wg.mean(x, axis=(0, 2, 3), keepdims=True)
        y = y * wg.rsqrt(wg.mean(y * y, axis=(0, 2, 3), keepdims=True) + 1e-5)
        return wg.sum(wg.sin(y) * wg.maximum(x, 0.1))

    found = shapes(wg.value_and_grad(loss), x)
    assert (batch, 5, 9) in found and (batch, 5, 3, 3) not in found


def test_values_in_registers_only() -> None:
    """A value that later ones of the same loop read and nobody else: also where an axis has one element."""
    x = np.random.default_rng(2).standard_normal((1, 3, 2))

    def f(x: Any) -> Any:
        y = wg.exp(x) * x / (1 + x * x) * wg.tanh(x)
        return x / (1 + x) + y + y, 0.5 * x

    assert (1, 6) in shapes(lambda x: wg.vjp(f, x)[0], x)
