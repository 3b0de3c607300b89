"""Draws of normalisations and of rows of tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.draws import Drawn, batch, coin, function, layer, number, one_of, sizes

Random = np.random.Generator


def small(rng: Random) -> float:
    return float(10.0 ** rng.integers(-6, -1))


def far(rng: Random, *shape: int) -> np.ndarray:
    return rng.normal(1, 2, size=shape)


@layer("BatchNorm{n}d", seeds=6)
def batch_norm(rng: Random, n: int) -> Drawn:
    c = number(rng, 1, 4)
    kwargs = {
        "affine": coin(rng), "track_running_stats": coin(rng, 0.7), "momentum": one_of(rng, None, 0.1, 0.3),
        "eps": small(rng), "bias": coin(rng),
    }  # fmt: skip
    places = () if n == 1 and coin(rng) else sizes(rng, 2, 4, n)
    return Drawn((c,), kwargs, [far(rng, number(rng, 2, 4), c, *places)])


@layer("InstanceNorm{n}d")
def instance_norm(rng: Random, n: int) -> Drawn:
    c = number(rng, 1, 4)
    kwargs = {
        "affine": coin(rng), "track_running_stats": coin(rng), "momentum": 0.3, "eps": small(rng), "bias": coin(rng),
    }  # fmt: skip
    return Drawn((c,), kwargs, [far(rng, *batch(rng, c, *sizes(rng, 2, 4, n)))])


def by_statistics(rng: Random, setting: str) -> Drawn:
    """By those of the batch, or by some that are given, which are constants."""
    c, own = number(rng, 1, 4), coin(rng)
    x = far(rng, number(rng, 2, 3), c, *sizes(rng, 2, 3, number(rng, 1, 2)))
    running = (None, None) if own else (rng.normal(size=c), rng.uniform(0.5, 2, size=c))
    parameters = [rng.normal(size=c), rng.normal(size=c)][: number(rng, 0, 2)]
    return Drawn(running, {setting: own, "eps": small(rng)}, [x, *parameters], call=with_parameters)


def with_parameters(f: Any, x: Any, *parameters: Any) -> Any:
    return f(x, **dict(zip(("weight", "bias"), parameters, strict=False)))


@function("batch_norm", seeds=8)
def batch_norm_function(rng: Random) -> Drawn:
    return by_statistics(rng, "training")


@function("instance_norm", seeds=8)
def instance_norm_function(rng: Random) -> Drawn:
    return by_statistics(rng, "use_input_stats")


def last_axes(rng: Random) -> tuple[tuple[int, ...], Any]:
    shape = sizes(rng, 2, 4, number(rng, 1, 4))
    last = shape[-number(rng, 1, len(shape)) :]
    return shape, last[0] if len(last) == 1 and coin(rng) else last


@layer("LayerNorm")
def layer_norm(rng: Random) -> Drawn:
    shape, last = last_axes(rng)
    kwargs = {"elementwise_affine": coin(rng), "bias": coin(rng), "eps": small(rng)}
    return Drawn((last,), kwargs, [far(rng, *shape)])


@layer("RMSNorm")
def rms_norm(rng: Random) -> Drawn:
    shape, last = last_axes(rng)
    return Drawn((last,), {"elementwise_affine": coin(rng), "eps": one_of(rng, None, 1e-3)}, [far(rng, *shape)])


@function("layer_norm", "rms_norm")
def over_last_axes(rng: Random) -> Drawn:
    shape, last = last_axes(rng)
    last = last if isinstance(last, tuple) else (last,)  # PyTorch's functions take no single number
    parameters = [rng.normal(size=last)][: number(rng, 0, 1)]
    return Drawn((last,), {"eps": small(rng)}, [far(rng, *shape), *parameters], call=with_parameters)


@layer("GroupNorm")
def group_norm(rng: Random) -> Drawn:
    groups = number(rng, 1, 3)
    c = groups * number(rng, 1, 3)
    shape = (number(rng, 1, 3), c, *sizes(rng, 2, 3, number(rng, 1, 3)))
    return Drawn((groups, c), {"affine": coin(rng), "eps": small(rng), "bias": coin(rng)}, [far(rng, *shape)])


@function("group_norm")
def group_norm_function(rng: Random) -> Drawn:
    groups = number(rng, 1, 3)
    c = groups * number(rng, 1, 3)
    x = far(rng, number(rng, 1, 3), c, *sizes(rng, 2, 3, number(rng, 1, 3)))
    parameters = [rng.normal(size=c), rng.normal(size=c)][: number(rng, 0, 2)]
    return Drawn((groups,), {"eps": small(rng)}, [x, *parameters], call=with_parameters)


@layer("LocalResponseNorm")
@function("local_response_norm")
def local_response_norm(rng: Random) -> Drawn:
    kwargs = {"alpha": float(rng.uniform(0, 1)), "beta": float(rng.uniform(0.3, 2)), "k": float(rng.uniform(0.5, 2))}
    shape = (number(rng, 1, 2), number(rng, 1, 6), *sizes(rng, 1, 3, number(rng, 1, 3)))
    return Drawn((number(rng, 1, 5),), kwargs, [far(rng, *shape)])


def padding(rng: Random, rows: int) -> dict[str, Any]:
    return {"padding_idx": number(rng, -rows, rows - 1)} if coin(rng) else {}


@layer("Embedding", seeds=6)
def embedding(rng: Random) -> Drawn:
    rows, width = sizes(rng, 2, 5, 2)
    positions = rng.integers(0, rows, size=sizes(rng, 1, 4, number(rng, 0, 3)))
    return Drawn((rows, width), padding(rng, rows), [positions])


@function("embedding", seeds=6)
def embedding_function(rng: Random) -> Drawn:
    rows, width = sizes(rng, 2, 5, 2)
    positions = rng.integers(0, rows, size=sizes(rng, 1, 4, number(rng, 0, 3)))
    return Drawn((), padding(rng, rows), [positions, rng.normal(size=(rows, width))])


BAGS = "the backward of bags has no derivative"


def bags(rng: Random) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Positions, with offsets where they stand in one row, some bags empty; and settings."""
    rows = 5
    kwargs = {"mode": one_of(rng, "sum", "mean", "max"), **padding(rng, rows)}
    if coin(rng):
        return [rng.integers(0, rows, size=sizes(rng, 1, 4, 2))], kwargs
    count, last = number(rng, 1, 8), coin(rng)
    inner = np.sort(rng.integers(0, count + 1, size=number(rng, 0, 3)))
    offsets = np.concatenate([[0], inner, [count]] if last else [[0], inner])
    return [rng.integers(0, rows, size=count), offsets], {**kwargs, "include_last_offset": last}


@layer("EmbeddingBag", seeds=10)
def embedding_bag(rng: Random) -> Drawn:
    inputs, kwargs = bags(rng)
    if kwargs["mode"] == "sum" and coin(rng):
        inputs.append(rng.normal(size=inputs[0].shape))

    def call(model: Any, positions: Any, *more: Any) -> Any:
        weighted = bool(more) and "float" in str(more[-1].dtype)
        offsets = more[0] if len(more) > weighted else None
        return model(positions, offsets, more[-1] if weighted else None)

    return Drawn((5, 3), kwargs, inputs, call, once=BAGS)


@function("embedding_bag", seeds=6)
def embedding_bag_function(rng: Random) -> Drawn:
    (positions, *offsets), kwargs = bags(rng)
    return Drawn((), kwargs, [positions, rng.normal(size=(5, 3)), *offsets], once=BAGS)
