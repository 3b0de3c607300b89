"""Layers of positions against PyTorch: bags of rows, unpooling; and random slopes, samples of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.torch_layers import compare_layer
from wengert import nn
from wengert.errors import ArgumentError, OutOfRangeError, ShapeError

torch = pytest.importorskip("torch")

T = torch.nn
F, TF = nn.functional, torch.nn.functional


def test_bags_inside_jit_and_bad_ones() -> None:
    layer = nn.EmbeddingBag(7, 5, mode="max")
    x, offsets = np.array([1, 2, 6, 0, 3]), np.array([0, 2, 2])
    for executor in ("numpy", "native"):
        got = wg.jit(lambda m, x, o: m(x, o), executor)(layer, x, offsets)
        np.testing.assert_allclose(np.asarray(got), np.asarray(layer(x, offsets)), rtol=1e-6)
    with pytest.raises(OutOfRangeError, match=r"between 1 and 7.*7 rows"):
        layer(np.array([[1, 7]]))
    with pytest.raises(ArgumentError, match=r"\(5,\), offsets not given"):
        layer(x)
    with pytest.raises(ArgumentError, match=r"offsets \[1, 2\] for 5 positions"):
        layer(x, np.array([1, 2]))
    with pytest.raises(ArgumentError, match="per_sample_weights"):
        layer(x, offsets, np.ones(5, np.float32))
    with pytest.raises(ArgumentError, match="mode is 'least'"):
        nn.EmbeddingBag(7, 5, mode="least")(x, offsets)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_max_unpool(n: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.normal(size=(2, 3, *(5, 6, 4)[:n]))
    settings = {"kernel_size": 2, "stride": 2}
    out, at = getattr(TF, f"max_pool{n}d")(torch.tensor(x), return_indices=True, **settings)
    theirs, mine = getattr(T, f"MaxUnpool{n}d")(**settings), getattr(nn, f"MaxUnpool{n}d")(**settings)
    assert repr(mine) == repr(theirs)
    size = x.shape[2:]

    def call(model: Any, y: Any) -> Any:
        return model(y, at if isinstance(y, torch.Tensor) else at.numpy(), size if n > 1 else None)

    compare_layer(theirs, mine, [out.numpy()], call=call)
    with pytest.raises(ShapeError, match=r"output_size \(9,"):
        mine(out.numpy(), at.numpy(), (9,) * n)
    with pytest.raises(ShapeError, match="indices"):
        mine(out.numpy(), at.numpy()[..., :1])
    with pytest.raises(ArgumentError, match="places"):
        mine(out.numpy(), at.numpy() + 1000)


def test_patches_that_do_not_fit() -> None:
    x = np.zeros((1, 2, 3, 4))
    with pytest.raises(ShapeError, match=r"\(4, 4\).*\(3, 4\)"):
        F.unfold(x, 4)
    with pytest.raises(ShapeError, match=r"has 6 patches"):
        F.fold(np.zeros((1, 8, 5)), (3, 4), 2)
    with pytest.raises(ArgumentError, match="kernel_size is 0"):
        F.unfold(x, 0)
    with pytest.raises(ShapeError, match="divisible by 3 groups"):
        F.channel_shuffle(x, 3)


def test_fold_is_the_adjoint_of_unfold() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=(2, 18, 8))
    settings = {"kernel_size": (3, 2), "padding": (1, 0), "stride": (3, 1), "dilation": 2}
    left = float((F.unfold(x, **settings) * y).sum())
    assert left == pytest.approx(float((F.fold(y, (7, 6), **settings) * x).sum()), rel=1e-12)


def test_random_slopes() -> None:
    layer, x = nn.RReLU(0.1, 0.4, key=0), np.random.default_rng(0).normal(size=(50, 40))
    slopes = (np.asarray(layer(x)) / x)[x < 0]
    assert slopes.min() > 0.1 and slopes.max() < 0.4 and abs(slopes.mean() - 0.25) < 0.01
    assert not np.array_equal(np.asarray(layer(x)), np.asarray(layer(x)))
    compare_layer(T.RReLU(0.1, 0.4).eval(), layer.eval(), [x])
    assert repr(layer) == repr(T.RReLU(0.1, 0.4))
    with pytest.raises(ArgumentError, match="lower"):
        nn.RReLU(0.5, 0.1)


def test_samples_of_classes() -> None:
    logits = np.log(np.array([0.2, 0.5, 0.3]))
    drawn = np.asarray(F.gumbel_softmax(np.broadcast_to(logits, (4000, 3)), hard=True, key=wg.random.key(0)))
    np.testing.assert_array_equal(np.sort(drawn, axis=-1), np.broadcast_to([0, 0, 1], drawn.shape))
    np.testing.assert_allclose(drawn.mean(axis=0), [0.2, 0.5, 0.3], atol=0.03)
    soft = F.gumbel_softmax(logits, tau=0.7, key=wg.random.key(1))
    np.testing.assert_allclose(float(soft.sum()), 1, rtol=1e-12)

    def f(x: Any, hard: bool) -> Any:
        return (F.gumbel_softmax(x, 0.7, hard, key=wg.random.key(1)) * np.arange(3.0)).sum()

    np.testing.assert_allclose(np.asarray(wg.grad(f)(logits, True)), np.asarray(wg.grad(f)(logits, False)), rtol=1e-12)
    with pytest.raises(ArgumentError, match="key"):
        F.gumbel_softmax(logits)
