"""Losses against PyTorch, with every reduction and setting; and labels that are no classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.torch_layers import compare_layer, generator
from wengert import nn
from wengert.errors import ArgumentError, DTypeError, OutOfRangeError, ShapeError

torch = pytest.importorskip("torch")

T = torch.nn
F, TF = nn.functional, torch.nn.functional
W = [0.5, 2.0, 1.0, 0.3, 1.5]


def labels(*shape: int) -> Any:
    return lambda rng: rng.integers(0, 5, size=shape)


def ignored(*shape: int) -> Any:
    return lambda rng: np.where(rng.uniform(size=shape) < 0.3, -100, rng.integers(0, 5, size=shape))


def reals(*shape: int) -> Any:
    return lambda rng: rng.normal(size=shape)


def unit(*shape: int) -> Any:
    return lambda rng: rng.uniform(0.05, 0.95, size=shape)


def signs(*shape: int) -> Any:
    return lambda rng: rng.choice([-1.0, 1.0], size=shape)


def simplex(*shape: int) -> Any:
    def draw(rng: Any) -> Any:
        p = rng.uniform(0.05, 1, size=shape)
        return p / p.sum(axis=1, keepdims=True)

    return draw


def several(*shape: int) -> Any:
    """Some labels of each example, all different, ended by -1."""

    def draw(rng: Any) -> Any:
        rows = np.argsort(rng.uniform(size=shape), axis=-1)
        return np.where(np.arange(shape[-1]) < rng.integers(0, shape[-1] + 1, size=(*shape[:-1], 1)), rows, -1)

    return draw


def bits(*shape: int) -> Any:
    return lambda rng: rng.integers(0, 2, size=shape).astype(np.float64)


LOSSES: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "cross entropy": ("CrossEntropyLoss", {}, [reals(6, 5), labels(6)]),
    "cross entropy, one example": ("CrossEntropyLoss", {}, [reals(5), labels()]),
    "cross entropy, images": ("CrossEntropyLoss", {"weight": W}, [reals(2, 5, 3, 2), labels(2, 3, 2)]),
    "cross entropy, ignored": ("CrossEntropyLoss", {}, [reals(9, 5), ignored(9)]),
    "cross entropy, ignored, weight": (
        "CrossEntropyLoss", {"weight": W, "label_smoothing": 0.2}, [reals(9, 5), ignored(9)],
    ),
    "cross entropy, ignore 2": ("CrossEntropyLoss", {"ignore_index": 2, "weight": W}, [reals(9, 5), labels(9)]),
    "cross entropy, smooth": ("CrossEntropyLoss", {"label_smoothing": 0.1}, [reals(2, 5, 3), labels(2, 3)]),
    "cross entropy, probabilities": (
        "CrossEntropyLoss", {"weight": W, "label_smoothing": 0.1}, [reals(6, 5), simplex(6, 5)],
    ),
    "cross entropy, probabilities, deep": ("CrossEntropyLoss", {}, [reals(2, 5, 3), simplex(2, 5, 3)]),
    "nll": ("NLLLoss", {}, [reals(6, 5), labels(6)]),
    "nll, weight": ("NLLLoss", {"weight": W, "ignore_index": 1}, [reals(2, 5, 4), labels(2, 4)]),
    "mse": ("MSELoss", {}, [reals(4, 3), reals(4, 3)]),
    "l1": ("L1Loss", {}, [reals(4, 3), reals(4, 3)]),
    "smooth l1": ("SmoothL1Loss", {"beta": 0.7}, [reals(6, 3), reals(6, 3)]),
    "smooth l1, beta 0": ("SmoothL1Loss", {"beta": 0.0}, [reals(6, 3), reals(6, 3)]),
    "huber": ("HuberLoss", {"delta": 0.8}, [reals(6, 3), reals(6, 3)]),
    "bce": ("BCELoss", {}, [unit(6, 3), unit(6, 3)]),
    "bce, weight": ("BCELoss", {"weight": [0.5, 1.0, 2.0]}, [unit(6, 3), unit(6, 3)]),
    "bce with logits": ("BCEWithLogitsLoss", {}, [reals(6, 3), unit(6, 3)]),
    "bce with logits, weights": (
        "BCEWithLogitsLoss", {"weight": [0.5, 1.0, 2.0], "pos_weight": [3.0, 1.0, 0.2]}, [reals(6, 3), unit(6, 3)],
    ),
    "kl": ("KLDivLoss", {}, [reals(4, 5), simplex(4, 5)]),
    "kl, log target": ("KLDivLoss", {"log_target": True}, [reals(4, 5), reals(4, 5)]),
    "gaussian nll": ("GaussianNLLLoss", {}, [reals(4, 5), reals(4, 5), unit(4, 5)]),
    "gaussian nll, full": ("GaussianNLLLoss", {"full": True, "eps": 0.3}, [reals(4, 5), reals(4, 5), unit(4, 1)]),
    "gaussian nll, one variance": ("GaussianNLLLoss", {}, [reals(4, 5), reals(4, 5), unit(4)]),
    "poisson nll": ("PoissonNLLLoss", {}, [reals(4, 5), unit(4, 5)]),
    "poisson nll, full": ("PoissonNLLLoss", {"full": True, "log_input": False}, [unit(4, 5), unit(4, 5)]),
    "hinge embedding": ("HingeEmbeddingLoss", {"margin": 1.5}, [reals(8, 2), signs(8, 2)]),
    "margin ranking": ("MarginRankingLoss", {"margin": 0.2}, [reals(8), reals(8), signs(8)]),
    "multi margin": ("MultiMarginLoss", {}, [reals(6, 5), labels(6)]),
    "multi margin, square": ("MultiMarginLoss", {"p": 2, "margin": 0.7, "weight": W}, [reals(6, 5), labels(6)]),
    "soft margin": ("SoftMarginLoss", {}, [reals(6, 3), signs(6, 3)]),
    "cosine embedding": ("CosineEmbeddingLoss", {"margin": 0.1}, [reals(8, 3), reals(8, 3), signs(8)]),
    "triplet": ("TripletMarginLoss", {}, [reals(8, 3), reals(8, 3), reals(8, 3)]),
    "multilabel margin": ("MultiLabelMarginLoss", {}, [reals(6, 5), several(6, 5)]),
    "multilabel margin, one example": ("MultiLabelMarginLoss", {}, [reals(5), several(5)]),
    "multilabel soft margin": ("MultiLabelSoftMarginLoss", {"weight": W}, [reals(6, 5), bits(6, 5)]),
    "triplet, distance": (
        "TripletMarginWithDistanceLoss", {"margin": 0.7, "swap": True}, [reals(8, 3), reals(8, 3), reals(8, 3)],
    ),
    "triplet, swap": ("TripletMarginLoss", {"swap": True, "p": 3.0}, [reals(8, 3), reals(8, 3), reals(8, 3)]),
}  # fmt: skip
SIGNED = ("HingeEmbeddingLoss", "SoftMarginLoss", "MarginRankingLoss", "CosineEmbeddingLoss")
ONCE = ("multi margin", "multilabel margin")  # what PyTorch doesn't differentiate twice


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss(name: str, reduction: str) -> None:
    cls, kwargs, draws = LOSSES[name]
    rng = generator(name)
    inputs = [np.asarray(d(rng)) for d in draws]
    weights = {k: v for k, v in kwargs.items() if "weight" in k}
    plain = {k: v for k, v in kwargs.items() if k not in weights}
    theirs = getattr(T, cls)(
        reduction=reduction, **plain, **{k: torch.tensor(v, dtype=torch.float64) for k, v in weights.items()}
    )
    mine = getattr(nn, cls)(reduction=reduction, **plain, **{k: np.array(v) for k, v in weights.items()})
    constant = inputs[-1:] if cls in SIGNED else []
    used = inputs[: len(inputs) - len(constant)]

    def call(model: Any, *xs: Any) -> Any:
        return model(*xs, *(torch.tensor(c) if isinstance(xs[0], torch.Tensor) else c for c in constant))

    compare_layer(
        theirs, mine, used, call=call, once="its backward has no derivative" if name.startswith(ONCE) else None
    )


def test_batchmean() -> None:
    rng = np.random.default_rng(0)
    x, q = rng.normal(size=(4, 5)), simplex(4, 5)(rng)
    expected = TF.kl_div(torch.tensor(x), torch.tensor(q), reduction="batchmean")
    np.testing.assert_allclose(float(F.kl_div(x, q, reduction="batchmean")), float(expected), rtol=1e-12)


def test_weighted_regression() -> None:
    rng = np.random.default_rng(2)
    x, y, w = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), rng.uniform(0.5, 2, size=(4, 3))
    for name in ("mse_loss", "l1_loss", "huber_loss"):
        for reduction in ("mean", "sum", "none"):
            theirs = getattr(TF, name)(torch.tensor(x), torch.tensor(y), reduction=reduction, weight=torch.tensor(w))
            mine = getattr(F, name)(x, y, reduction=reduction, weight=w)
            np.testing.assert_allclose(np.asarray(mine), theirs.numpy(), rtol=1e-12, err_msg=name + reduction)
    with pytest.raises(ShapeError, match="weight"):
        F.mse_loss(x, y, weight=w[0])


def test_extreme_logits() -> None:
    x = np.array([[1000.0, -1000.0, 0.0], [-np.inf, 3.0, 1.0]])
    y = np.array([1, 2])
    mine, grad = wg.value_and_grad(lambda x: F.cross_entropy(x, y))(x)
    t = torch.tensor(x, requires_grad=True)
    theirs = TF.cross_entropy(t, torch.tensor(y))
    theirs.backward()
    np.testing.assert_allclose(float(mine), float(theirs.detach()))
    np.testing.assert_allclose(np.asarray(grad), t.grad.numpy())
    p = np.array([0.0, 1.0, 0.5])
    np.testing.assert_allclose(
        float(F.binary_cross_entropy(p, p[::-1].copy())),
        float(TF.binary_cross_entropy(torch.tensor(p), torch.tensor(p[::-1].copy()))),
    )
    z = np.array([-800.0, 800.0])
    np.testing.assert_allclose(
        np.asarray(F.binary_cross_entropy_with_logits(z, np.array([1.0, 0.0]), reduction="none")), [800.0, 800.0]
    )


def test_cosine_similarity() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(3, 4, 5)), rng.normal(size=(3, 4, 5))
    for dim in (1, 2):
        expected = TF.cosine_similarity(torch.tensor(x), torch.tensor(y), dim=dim).numpy()
        np.testing.assert_allclose(np.asarray(F.cosine_similarity(x, y, dim=dim)), expected, rtol=1e-12)


def test_labels_that_are_no_class() -> None:
    x = np.zeros((2, 3), np.float32)
    for bad in ([0, 3], [-1, 0]):
        with pytest.raises(OutOfRangeError, match="3 classes"):
            F.cross_entropy(x, np.array(bad))
        with pytest.raises(OutOfRangeError, match="3 classes"):
            wg.jit(F.cross_entropy)(x, np.array(bad))
    assert np.isfinite(wg.jit(F.cross_entropy)(x, np.array([0, -100])))
    with pytest.raises(OutOfRangeError):
        F.multi_margin_loss(x, np.array([0, 3]))
    with pytest.raises(OutOfRangeError, match="3 classes"):
        F.multilabel_margin_loss(x, np.array([[0, 3, -1], [1, -1, -1]]))


def test_inputs_that_do_not_belong_together() -> None:
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(3,\)"):
        F.cross_entropy(x, np.array([0, 1, 2]))
    with pytest.raises(ShapeError, match="class indices must be integers"):
        F.cross_entropy(x, np.array([0.0, 1.0], np.float32))
    with pytest.raises(DTypeError, match="class indices or probabilities"):
        F.cross_entropy(x, np.array([True, False]))
    with pytest.raises(DTypeError, match="nll_loss"):
        F.nll_loss(x, x)
    with pytest.raises(ShapeError, match=r"\(5,\).*3 classes"):
        F.cross_entropy(x, np.array([0, 1]), weight=np.ones(5, np.float32))
    with pytest.raises(ShapeError, match="empty"):
        F.cross_entropy(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    with pytest.raises(ShapeError, match="empty"):
        F.mse_loss(np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(2,\)"):
        F.mse_loss(x, np.zeros(2, np.float32))
    with pytest.raises(DTypeError, match=r"float64.*float32"):
        F.mse_loss(x, np.zeros((2, 3)))
    with pytest.raises(ArgumentError, match="reduction"):
        F.mse_loss(x, x, reduction="average")
    with pytest.raises(ArgumentError, match="label_smoothing"):
        F.cross_entropy(x, np.array([0, 1]), label_smoothing=1.5)
    with pytest.raises(ArgumentError, match="with_logits"):
        F.binary_cross_entropy(x + 2, x)
    with pytest.raises(ArgumentError, match="negative"):
        F.gaussian_nll_loss(x, x, x - 1)
