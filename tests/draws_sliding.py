"""Draws of what slides over places: convolutions, pooling, patches, padding, resampling."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tests.draws import Drawn, batch, coin, each, function, layer, number, one_of, sizes, some

Random = np.random.Generator


def convolution(rng: Random, n: int) -> tuple[tuple[int, int], Any, dict[str, Any], tuple[int, ...]]:
    """Channels, kernel, settings and a shape."""
    groups = number(rng, 1, 2)
    channels = (groups * number(rng, 1, 2), groups * number(rng, 1, 3))
    kernel, dilation = some(rng, 1, 3, n), some(rng, 1, 2, n)
    padding = "same" if coin(rng, 0.2) else "valid" if coin(rng, 0.1) else some(rng, 0, 2, n)
    stride = 1 if padding == "same" else some(rng, 1, 3, n)
    kwargs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return channels, kernel, kwargs, batch(rng, channels[0], *sizes(rng, 5, 7 if n < 3 else 6, n))


@layer("Conv{n}d", seeds=8)
def conv(rng: Random, n: int) -> Drawn:
    channels, kernel, kwargs, shape = convolution(rng, n)
    mode = one_of(rng, "zeros", "zeros", "reflect", "replicate", "circular")
    kwargs |= {"bias": coin(rng), "padding_mode": mode}
    if kwargs["padding"] == "same" and mode == "circular":  # PyTorch asks for a batch here
        shape = (1, *shape[-n - 1 :])
    return Drawn((*channels, kernel), kwargs, [rng.normal(size=shape)])


@function("conv{n}d")
def conv_function(rng: Random, n: int) -> Drawn:
    (into, out), kernel, kwargs, shape = convolution(rng, n)
    inputs = [rng.normal(size=shape), rng.normal(size=(out, into // kwargs["groups"], *each(kernel, n)))]
    return Drawn((), kwargs, inputs + ([rng.normal(size=out)] if coin(rng) else []))


def transposed(rng: Random, n: int) -> tuple[tuple[int, int], Any, dict[str, Any], tuple[int, ...]]:
    groups = number(rng, 1, 2)
    channels = (groups * number(rng, 1, 2), groups * number(rng, 1, 3))
    kernel, stride, dilation = some(rng, 2, 3, n), some(rng, 1, 3, n), some(rng, 1, 2, n)
    room = [max(s, d) - 1 for s, d in zip(each(stride, n), each(dilation, n), strict=True)]
    kwargs = {
        "stride": stride, "padding": some(rng, 0, 1, n), "dilation": dilation, "groups": groups,
        "output_padding": tuple(number(rng, 0, r) for r in room),
    }  # fmt: skip
    return channels, kernel, kwargs, batch(rng, channels[0], *sizes(rng, 3, 5 if n < 3 else 4, n))


@layer("ConvTranspose{n}d", seeds=5)
def conv_transpose(rng: Random, n: int) -> Drawn:
    channels, kernel, kwargs, shape = transposed(rng, n)
    return Drawn((*channels, kernel), {**kwargs, "bias": coin(rng)}, [rng.normal(size=shape)])


@function("conv_transpose{n}d")
def conv_transpose_function(rng: Random, n: int) -> Drawn:
    (into, out), kernel, kwargs, shape = transposed(rng, n)
    inputs = [rng.normal(size=shape), rng.normal(size=(into, out // kwargs["groups"], *each(kernel, n)))]
    return Drawn((), kwargs, inputs + ([rng.normal(size=out)] if coin(rng) else []))


def window(rng: Random, n: int) -> tuple[tuple[int, ...], dict[str, Any]]:
    size = each(some(rng, 1, 3, n), n)
    kwargs: dict[str, Any] = {"ceil_mode": coin(rng)}
    if coin(rng, 0.8):
        kwargs["stride"] = some(rng, 1, 3, n)
    return size, kwargs


@layer("MaxPool{n}d", seeds=6)
@function("max_pool{n}d")
def max_pool(rng: Random, n: int) -> Drawn:
    size, kwargs = window(rng, n)
    kwargs |= {"padding": tuple(number(rng, 0, w // 2) for w in size), "dilation": some(rng, 1, 2, n)}
    return Drawn((size,), kwargs, [rng.normal(size=batch(rng, 2, *sizes(rng, 5, 9 if n < 3 else 6, n)))])


@layer("AvgPool{n}d", seeds=6)
@function("avg_pool{n}d")
def avg_pool(rng: Random, n: int) -> Drawn:
    size, kwargs = window(rng, n)
    kwargs |= {"padding": tuple(number(rng, 0, w // 2) for w in size), "count_include_pad": coin(rng)}
    if n > 1 and coin(rng, 0.3):
        kwargs["divisor_override"] = number(rng, 1, 5)
    return Drawn((size,), kwargs, [rng.normal(size=batch(rng, 2, *sizes(rng, 4, 8 if n < 3 else 5, n)))])


@layer("LPPool{n}d")
@function("lp_pool{n}d")
def lp_pool(rng: Random, n: int) -> Drawn:
    size, kwargs = window(rng, n)
    p = one_of(rng, 1, 2, 2.0, 3, 2.5)
    x = rng.normal(size=batch(rng, 2, *sizes(rng, 3, 6, n)))
    # a sum of odd powers may be negative, whose root is NaN
    return Drawn((p, size[0] if n == 1 else size), kwargs, [np.abs(x) if p not in (1, 2) else x])


@layer("AdaptiveAvgPool{n}d", "AdaptiveMaxPool{n}d")
@function("adaptive_avg_pool{n}d", "adaptive_max_pool{n}d")
def adaptive(rng: Random, n: int) -> Drawn:
    counts = some(rng, 1, 5, n)
    if n > 1 and isinstance(counts, tuple) and coin(rng):
        counts = (None, *counts[1:])
    return Drawn((counts,), {}, [rng.normal(size=batch(rng, 2, *sizes(rng, 5, 7 if n < 3 else 5, n)))])


def unpooled(rng: Random, n: int) -> tuple[Drawn, np.ndarray]:
    """Where the largest elements of an input stood, and what to put there."""
    torch = __import__("torch")
    size, shape = some(rng, 2, 3, n), batch(rng, 2, *sizes(rng, 4, 7 if n < 3 else 5, n))
    if n == 3:
        shape = (2, *shape[-4:])
    stride = size if coin(rng) else tuple(number(rng, s, s + 1) for s in each(size, n))
    pool = getattr(torch.nn.functional, f"max_pool{n}d")
    out, at = pool(torch.tensor(rng.normal(size=shape)), size, stride, return_indices=True)
    return Drawn((size,), {"stride": stride}, [rng.normal(size=out.shape)]), (at.numpy(), shape[-n:])


@layer("MaxUnpool{n}d")
def max_unpool(rng: Random, n: int) -> Drawn:
    drawn, (at, size) = unpooled(rng, n)
    return dataclasses.replace(drawn, inputs=[*drawn.inputs, at], call=lambda model, x, i: model(x, i, size))


@function("max_unpool{n}d")
def max_unpool_function(rng: Random, n: int) -> Drawn:
    drawn, (at, size) = unpooled(rng, n)
    return dataclasses.replace(drawn, inputs=[*drawn.inputs, at], kwargs={**drawn.kwargs, "output_size": size})


def patches(rng: Random) -> dict[str, Any]:
    return {"dilation": some(rng, 1, 2, 2), "padding": some(rng, 0, 2, 2), "stride": some(rng, 1, 3, 2)}


@layer("Unfold")
@function("unfold")
def unfold(rng: Random) -> Drawn:
    return Drawn((some(rng, 1, 3, 2),), patches(rng), [rng.normal(size=batch(rng, 2, *sizes(rng, 5, 7, 2)))])


@layer("Fold")
@function("fold")
def fold(rng: Random) -> Drawn:
    kwargs, kernel, out = patches(rng), some(rng, 1, 3, 2), sizes(rng, 5, 7, 2)
    settings = [each(v, 2) for v in (kernel, *kwargs.values())]
    counts = [(d + 2 * p - r * (k - 1) - 1) // s + 1 for d, k, r, p, s in zip(out, *settings, strict=True)]
    shape = batch(rng, number(rng, 1, 2) * int(np.prod(settings[0])), int(np.prod(counts)))
    return Drawn((out, kernel), kwargs, [rng.normal(size=shape)])


@layer("ReflectionPad{n}d", "ReplicationPad{n}d", "CircularPad{n}d", "ZeroPad{n}d", seeds=2)
def pad_layer(rng: Random, n: int) -> Drawn:
    pads = number(rng, 0, 2) if coin(rng, 0.3) else sizes(rng, 0, 2, 2 * n)
    return Drawn((pads,), {}, [rng.normal(size=batch(rng, 2, *sizes(rng, 3, 5, n)))])


@layer("ConstantPad{n}d", seeds=2)
def constant_pad(rng: Random, n: int) -> Drawn:
    return Drawn((sizes(rng, -1, 2, 2 * n), float(rng.normal())), {}, [rng.normal(size=batch(rng, 2, *(4,) * n))])


@function("pad", seeds=12)
def pad(rng: Random) -> Drawn:
    n, mode = number(rng, 1, 3), one_of(rng, "constant", "reflect", "replicate", "circular")
    low = -1 if mode == "constant" else 0
    kwargs = {"mode": mode, **({"value": float(rng.normal())} if mode == "constant" and coin(rng) else {})}
    return Drawn((sizes(rng, low, 2, 2 * n),), kwargs, [rng.normal(size=(2, 2, *sizes(rng, 3, 5, n)))])


@layer("Upsample", seeds=12)
@function("interpolate", seeds=12)
def resample(rng: Random) -> Drawn:
    mode = one_of(rng, "nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear")
    n = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}.get(mode) or number(rng, 1, 3)
    kwargs: dict[str, Any] = {"mode": mode}
    if not mode.startswith("nearest"):
        kwargs["align_corners"] = coin(rng)
    lengths = sizes(rng, 2, 5, n)
    if coin(rng):
        kwargs["size"] = sizes(rng, 1, 7, n)
    else:
        factors = tuple(float(f) for f in rng.uniform(0.5, 2.5, size=n))
        if mode == "nearest":  # by a factor that is no ratio of lengths PyTorch's derivative takes other places
            lengths = (2 * number(rng, 1, 3),) * n
            factors = tuple(one_of(rng, 0.5, 1.0, 1.5, 2.0, 3.0) for _ in range(n))
        if mode == "bicubic":  # of an axis that keeps its length PyTorch's derivative is not that of its value
            factors = tuple(float(rng.uniform(*one_of(rng, (0.5, 0.7), (1.5, 2.5)))) for _ in range(n))
        kwargs["scale_factor"] = factors[0] if coin(rng) else factors
    return Drawn((), kwargs, [rng.normal(size=(2, 2, *lengths))])


@layer("PixelShuffle")
@function("pixel_shuffle")
def pixel_shuffle(rng: Random) -> Drawn:
    r = number(rng, 1, 3)
    return Drawn((r,), {}, [rng.normal(size=batch(rng, r * r * number(rng, 1, 2), *sizes(rng, 1, 4, 2)))])


@layer("PixelUnshuffle")
@function("pixel_unshuffle")
def pixel_unshuffle(rng: Random) -> Drawn:
    r = number(rng, 1, 3)
    return Drawn((r,), {}, [rng.normal(size=batch(rng, 2, *(r * d for d in sizes(rng, 1, 3, 2))))])


@layer("ChannelShuffle")
def channel_shuffle(rng: Random) -> Drawn:
    groups = number(rng, 1, 3)
    return Drawn(
        (groups,), {}, [rng.normal(size=(2, groups * number(rng, 1, 3), *sizes(rng, 1, 3, number(rng, 1, 2))))]
    )


@function("channel_shuffle")
def channel_shuffle_function(rng: Random) -> Drawn:
    return channel_shuffle(rng)
