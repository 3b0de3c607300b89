"""Draws of losses: shapes, weights, ignored labels, smoothing, margins, reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.draws import Drawn, coin, function, layer, like, number, one_of, sizes

Random = np.random.Generator


def reduction(rng: Random) -> dict[str, Any]:
    return {"reduction": one_of(rng, "mean", "sum", "none")}


def maybe(rng: Random, name: str, value: Any) -> dict[str, Any]:
    return {name: value} if coin(rng) else {}


def shape(rng: Random, low: int = 0) -> tuple[int, ...]:
    return sizes(rng, 1, 4, number(rng, low, 3))


def scores(rng: Random) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Classes, the shape of scores, that of labels."""
    c = number(rng, 2, 5)
    if coin(rng, 0.15):
        return c, (c,), ()
    n, places = number(rng, 2, 5), sizes(rng, 1, 3, number(rng, 0, 2))
    return c, (n, c, *places), (n, *places)


def simplex(rng: Random, s: tuple[int, ...]) -> np.ndarray:
    p = rng.uniform(0.05, 1, size=s)
    return p / p.sum(axis=1 if len(s) > 1 else 0, keepdims=True)


def labels(rng: Random, c: int, s: tuple[int, ...], kwargs: dict[str, Any]) -> np.ndarray:
    """Some of them ignored, the first one never, so that the mean is a number."""
    y = np.asarray(rng.integers(0, c, size=s))
    if coin(rng):
        kwargs["ignore_index"] = one_of(rng, -100, 0, c + 3)
    ignored = kwargs.get("ignore_index", -100)
    y = np.where(rng.uniform(size=s) < 0.3, ignored, y)
    y.reshape(-1)[0] = 1
    return y


@layer("CrossEntropyLoss", seeds=16)
@function("cross_entropy", seeds=10)
def cross_entropy(rng: Random) -> Drawn:
    c, s, t = scores(rng)
    kwargs = reduction(rng) | maybe(rng, "weight", rng.uniform(0.3, 2, size=c))
    kwargs |= maybe(rng, "label_smoothing", float(rng.uniform(0, 1)))
    target = simplex(rng, s) if coin(rng, 0.3) else labels(rng, c, t, kwargs)
    return Drawn((), kwargs, [rng.normal(size=s), target])


@layer("NLLLoss", seeds=8)
@function("nll_loss", seeds=8)
def nll(rng: Random) -> Drawn:
    c, s, t = scores(rng)
    kwargs = reduction(rng) | maybe(rng, "weight", rng.uniform(0.3, 2, size=c))
    return Drawn((), kwargs, [rng.normal(size=s), labels(rng, c, t, kwargs)])


@layer("MSELoss", "L1Loss", seeds=3)
def regression(rng: Random) -> Drawn:
    s = shape(rng)
    return Drawn((), reduction(rng), [rng.normal(size=s), rng.normal(size=s)])


@layer("SoftMarginLoss", seeds=3)
@function("soft_margin_loss", seeds=3)
def soft_margin(rng: Random) -> Drawn:
    s = shape(rng)
    return Drawn((), reduction(rng), [rng.normal(size=s), signs(rng, s)])


@function("mse_loss", "l1_loss", "huber_loss", seeds=6)
def weighted_regression(rng: Random) -> Drawn:
    s = shape(rng)
    weight = rng.uniform(0.3, 2, size=s)
    call = (lambda f, x, y: f(x, y, weight=like(x, weight))) if coin(rng) else None
    return Drawn((), reduction(rng), [rng.normal(size=s), rng.normal(size=s)], call)


@layer("SmoothL1Loss")
@function("smooth_l1_loss")
def smooth_l1(rng: Random) -> Drawn:
    s = shape(rng)
    kwargs = reduction(rng) | {"beta": one_of(rng, 0.0, 0.5, 1.3)}
    return Drawn((), kwargs, [rng.normal(size=s), rng.normal(size=s)])


@layer("HuberLoss")
def huber(rng: Random) -> Drawn:
    s = shape(rng)
    return Drawn((), reduction(rng) | {"delta": one_of(rng, 0.5, 1.3)}, [rng.normal(size=s), rng.normal(size=s)])


@layer("BCELoss", seeds=6)
@function("binary_cross_entropy", seeds=6)
def bce(rng: Random) -> Drawn:
    s = shape(rng)
    kwargs = reduction(rng) | maybe(rng, "weight", rng.uniform(0.3, 2, size=s[number(rng, 0, len(s)) :]))
    return Drawn((), kwargs, [rng.uniform(0.05, 0.95, size=s), rng.uniform(0.05, 0.95, size=s)])


@layer("BCEWithLogitsLoss", seeds=6)
@function("binary_cross_entropy_with_logits", seeds=6)
def bce_with_logits(rng: Random) -> Drawn:
    s = shape(rng)
    kwargs = reduction(rng) | maybe(rng, "weight", rng.uniform(0.3, 2, size=s[number(rng, 0, len(s)) :]))
    kwargs |= maybe(rng, "pos_weight", rng.uniform(0.3, 2, size=s[number(rng, 0, len(s)) :]))
    return Drawn((), kwargs, [3 * rng.normal(size=s), rng.uniform(size=s)])


@layer("KLDivLoss", seeds=6)
@function("kl_div", seeds=6)
def kl(rng: Random) -> Drawn:
    s, log = shape(rng, 1), coin(rng)
    kwargs = {"reduction": one_of(rng, "mean", "sum", "none", "batchmean"), "log_target": log}
    return Drawn((), kwargs, [rng.normal(size=s), rng.normal(size=s) if log else simplex(rng, s)])


@layer("GaussianNLLLoss", seeds=6)
@function("gaussian_nll_loss", seeds=6)
def gaussian_nll(rng: Random) -> Drawn:
    s = shape(rng, 1)
    kwargs = reduction(rng) | {"full": coin(rng), "eps": one_of(rng, 1e-6, 0.4)}
    var = rng.uniform(0.1, 1, size=one_of(rng, s, (*s[:-1], 1)))
    return Drawn((), kwargs, [rng.normal(size=s), rng.normal(size=s), var])


@layer("PoissonNLLLoss", seeds=6)
@function("poisson_nll_loss", seeds=6)
def poisson_nll(rng: Random) -> Drawn:
    s = shape(rng)
    kwargs = reduction(rng) | {"log_input": coin(rng), "full": coin(rng), "eps": one_of(rng, 1e-8, 0.1)}
    return Drawn((), kwargs, [rng.uniform(0.1, 2, size=s), rng.uniform(0.1, 4, size=s)])


def signs(rng: Random, s: tuple[int, ...]) -> np.ndarray:
    return rng.choice([-1, 1], size=s)


@layer("HingeEmbeddingLoss", seeds=4)
@function("hinge_embedding_loss", seeds=4)
def hinge_embedding(rng: Random) -> Drawn:
    s = shape(rng)
    return Drawn((), reduction(rng) | {"margin": float(rng.uniform(0, 2))}, [rng.normal(size=s), signs(rng, s)])


@layer("MarginRankingLoss", seeds=4)
@function("margin_ranking_loss", seeds=4)
def margin_ranking(rng: Random) -> Drawn:
    s = shape(rng, 1)
    kwargs = reduction(rng) | {"margin": float(rng.uniform(0, 1))}
    return Drawn((), kwargs, [rng.normal(size=s), rng.normal(size=s), signs(rng, s)])


@layer("CosineEmbeddingLoss", seeds=4)
@function("cosine_embedding_loss", seeds=4)
def cosine_embedding(rng: Random) -> Drawn:
    s = sizes(rng, 2, 4, number(rng, 1, 2))
    kwargs = reduction(rng) | {"margin": float(rng.uniform(-0.5, 0.5))}
    return Drawn((), kwargs, [rng.normal(size=s), rng.normal(size=s), signs(rng, s[:-1])])


@layer("MultiMarginLoss", seeds=6)
@function("multi_margin_loss", seeds=6)
def multi_margin(rng: Random) -> Drawn:
    n, c = sizes(rng, 2, 5, 2)
    s = one_of(rng, (n, c), (c,))
    kwargs = reduction(rng) | {"p": one_of(rng, 1, 2), "margin": float(rng.uniform(0.2, 1.5))}
    kwargs |= maybe(rng, "weight", rng.uniform(0.3, 2, size=c))
    inputs = [rng.normal(size=s), np.asarray(rng.integers(0, c, size=s[:-1]))]
    return Drawn((), kwargs, inputs, once="its backward has no derivative")


@layer("MultiLabelMarginLoss", seeds=4)
@function("multilabel_margin_loss", seeds=4)
def multilabel_margin(rng: Random) -> Drawn:
    s = sizes(rng, 2, 4, number(rng, 1, 2))
    order = np.argsort(rng.uniform(size=s), axis=-1)
    target = np.where(np.arange(s[-1]) < rng.integers(0, s[-1] + 1, size=(*s[:-1], 1)), order, -1)
    return Drawn((), reduction(rng), [rng.normal(size=s), target], once="its backward has no derivative")


@layer("MultiLabelSoftMarginLoss", seeds=4)
@function("multilabel_soft_margin_loss", seeds=4)
def multilabel_soft_margin(rng: Random) -> Drawn:
    s = sizes(rng, 1, 4, number(rng, 1, 3))
    kwargs = reduction(rng) | maybe(rng, "weight", rng.uniform(0.3, 2, size=s[-1]))
    return Drawn((), kwargs, [rng.normal(size=s), rng.integers(0, 2, size=s).astype(np.float64)])


@layer("TripletMarginLoss", seeds=6)
@function("triplet_margin_loss", seeds=6)
def triplet(rng: Random) -> Drawn:
    s = sizes(rng, 2, 4, number(rng, 1, 3))
    kwargs = reduction(rng) | {
        "margin": float(rng.uniform(0.2, 2)), "p": one_of(rng, 2.0, 1.0, 3.0, 1.5, np.inf), "swap": coin(rng),
        "eps": one_of(rng, 1e-6, 0.1),
    }  # fmt: skip
    return Drawn((), kwargs, [rng.normal(size=s) for _ in range(3)])


def squared_distance(x: Any, y: Any) -> Any:
    return ((x - y) ** 2).sum(-1)


@layer("TripletMarginWithDistanceLoss", seeds=4)
@function("triplet_margin_with_distance_loss", seeds=4)
def triplet_with_distance(rng: Random) -> Drawn:
    s = sizes(rng, 2, 4, number(rng, 1, 3))
    kwargs = reduction(rng) | {"margin": float(rng.uniform(0.2, 2)), "swap": coin(rng)}
    kwargs |= maybe(rng, "distance_function", squared_distance)
    return Drawn((), kwargs, [rng.normal(size=s) for _ in range(3)])
