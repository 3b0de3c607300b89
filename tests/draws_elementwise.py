"""Draws of activations, products, distances, and of what only changes shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.draws import Drawn, batch, coin, function, layer, number, one_of, sizes

Random = np.random.Generator
SINGLE = {"rtol": 1e-7, "atol": 1e-8}  # where PyTorch rounds 1/6 to single precision on the way


def shape(rng: Random, low: int = 0) -> tuple[int, ...]:
    return sizes(rng, 1, 5, number(rng, low, 4))


def spread(rng: Random, *lengths: int) -> np.ndarray:
    """Numbers on all sides of the kinks."""
    return np.asarray(3 * rng.normal(size=lengths or shape(rng)))


@layer("Sigmoid", "Tanh", "ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Softsign", "LogSigmoid", "Tanhshrink", seeds=2)
@function(
    "sigmoid", "tanh", "relu", "relu6", "selu", "silu", "mish", "softsign", "logsigmoid", "tanhshrink", seeds=2
)  # fmt: skip
def plain(rng: Random) -> Drawn:
    return Drawn((), {}, [spread(rng)])


@layer("Hardsigmoid", seeds=2)
@function("hardsigmoid", seeds=2)
def hardsigmoid(rng: Random) -> Drawn:
    return Drawn((), {}, [spread(rng)], once="its backward has no derivative", tolerance=SINGLE)


@layer("Hardswish", seeds=2)
@function("hardswish", seeds=2)
def hardswish(rng: Random) -> Drawn:
    return Drawn((), {}, [spread(rng)], tolerance=SINGLE)


def positive(rng: Random) -> float:
    return float(rng.uniform(0.2, 2))


SETTINGS: dict[str, Any] = {
    "LeakyReLU": lambda rng: {"negative_slope": positive(rng) - 0.5},
    "ELU": lambda rng: {"alpha": positive(rng)},
    "CELU": lambda rng: {"alpha": one_of(rng, 0.25, 0.5, 2.0)},  # PyTorch rounds 1 / alpha to single precision
    "GELU": lambda rng: {"approximate": one_of(rng, "none", "tanh")},
    "Softplus": lambda rng: {"beta": positive(rng), "threshold": positive(rng)},
    "Hardtanh": lambda rng: {"min_val": -positive(rng), "max_val": positive(rng)},
    "Softshrink": lambda rng: {"lambd": positive(rng)},
    "Hardshrink": lambda rng: {"lambd": positive(rng)},
    "Threshold": lambda rng: {"threshold": positive(rng) - 1, "value": float(rng.normal())},
}
NAMES = {"LeakyReLU": "leaky_relu"}


def with_settings(name: str) -> None:
    def draw(rng: Random) -> Drawn:
        return Drawn((), SETTINGS[name](rng), [spread(rng)])

    layer(name, seeds=3)(draw)
    function(NAMES.get(name, name.lower()), seeds=3)(draw)


for _name in SETTINGS:
    with_settings(_name)


@layer("Softmax", "Softmin", "LogSoftmax", "GLU")
@function("softmax", "softmin", "log_softmax", "glu")
def along_an_axis(rng: Random) -> Drawn:
    s = sizes(rng, 1, 4, number(rng, 1, 4))
    axis = number(rng, -len(s), len(s) - 1)
    s = tuple(2 * d if k == axis % len(s) else d for k, d in enumerate(s))
    return Drawn((), {"dim": axis}, [spread(rng, *s)])


@layer("Softmax2d", seeds=2)
def softmax2d(rng: Random) -> Drawn:
    return Drawn((), {}, [spread(rng, *batch(rng, *sizes(rng, 1, 4, 3)))])


@function("normalize", seeds=6)
def normalize(rng: Random) -> Drawn:
    s = shape(rng, 1)
    kwargs = {"p": one_of(rng, 1.0, 2.0, 2.0, 3.0, 1.5, 0.5, np.inf), "dim": number(rng, -len(s), len(s) - 1)}
    return Drawn((), {**kwargs, **({"eps": positive(rng)} if coin(rng) else {})}, [spread(rng, *s)])


@function("clamp", seeds=6)
def clamp(rng: Random) -> Drawn:
    """The bounds numbers, or arrays that are differentiated by as well."""
    x = spread(rng)
    if coin(rng):
        return Drawn((), one_of(rng, {"min": -1.0}, {"max": 0.5}, {"min": -0.7, "max": 1.2}), [x])
    return Drawn((), {}, [x, *np.sort(rng.normal(size=(2, *x.shape)), axis=0)])


@layer("PReLU")
def prelu(rng: Random) -> Drawn:
    s = shape(rng, 1)
    count = 1 if coin(rng) or len(s) == 1 else s[1]
    return Drawn((), {"num_parameters": count, "init": positive(rng)}, [spread(rng, *s)])


@function("prelu")
def prelu_function(rng: Random) -> Drawn:
    s = shape(rng, 2)
    return Drawn((), {}, [spread(rng, *s), rng.normal(size=one_of(rng, 1, s[1]))])


@layer("RReLU", seeds=2)
def rrelu(rng: Random) -> Drawn:
    """In use: its mean slope. In training it draws slopes, see `test_nn_patches`."""
    low = positive(rng)
    return Drawn((low, low + positive(rng)), {}, [spread(rng)], call=lambda model, x: model.eval()(x))


@function("rrelu", seeds=2)
def rrelu_function(rng: Random) -> Drawn:
    low = positive(rng)
    return Drawn((low, low + positive(rng)), {}, [spread(rng)])


@layer("Linear")
def linear(rng: Random) -> Drawn:
    into, out = sizes(rng, 1, 5, 2)
    return Drawn((into, out, coin(rng)), {}, [rng.normal(size=(*sizes(rng, 1, 3, number(rng, 0, 3)), into))])


@function("linear")
def linear_function(rng: Random) -> Drawn:
    into, out = sizes(rng, 1, 5, 2)
    inputs = [rng.normal(size=(*sizes(rng, 1, 3, number(rng, 0, 3)), into)), rng.normal(size=(out, into))]
    return Drawn((), {}, inputs + ([rng.normal(size=out)] if coin(rng) else []))


@layer("Bilinear")
def bilinear(rng: Random) -> Drawn:
    one, two, out = sizes(rng, 1, 4, 3)
    lead = sizes(rng, 1, 3, number(rng, 1, 3))
    return Drawn((one, two, out, coin(rng)), {}, [rng.normal(size=(*lead, d)) for d in (one, two)])


@function("bilinear")
def bilinear_function(rng: Random) -> Drawn:
    one, two, out = sizes(rng, 1, 4, 3)
    lead = sizes(rng, 1, 3, number(rng, 1, 3))
    inputs = [rng.normal(size=s) for s in ((*lead, one), (*lead, two), (out, one, two))]
    return Drawn((), {}, inputs + ([rng.normal(size=out)] if coin(rng) else []))


@layer("Identity", seeds=1)
def identity(rng: Random) -> Drawn:
    return Drawn((3, "a"), {"b": 2}, [rng.normal(size=shape(rng))])


@layer("Flatten")
def flatten(rng: Random) -> Drawn:
    s = shape(rng, 1)
    start, end = sorted(sizes(rng, 0, len(s) - 1, 2))
    return Drawn((start, one_of(rng, end, end - len(s))), {}, [rng.normal(size=s)])


@layer("Unflatten")
def unflatten(rng: Random) -> Drawn:
    s, parts = shape(rng, 1), sizes(rng, 1, 3, number(rng, 1, 3))
    axis = number(rng, -len(s), len(s) - 1)
    whole = tuple(int(np.prod(parts)) if k == axis % len(s) else d for k, d in enumerate(s))
    return Drawn((axis, parts), {}, [rng.normal(size=whole)])


@layer("CosineSimilarity")
@function("cosine_similarity")
def cosine(rng: Random) -> Drawn:
    s = shape(rng, 1)
    # below eps, PyTorch's derivative is as if there were no bound: not that of its value
    kwargs = {"dim": number(rng, -len(s), len(s) - 1), **({"eps": 1e-3} if coin(rng) else {})}
    return Drawn((), kwargs, [rng.normal(size=s), rng.normal(size=s)])


@layer("PairwiseDistance", seeds=8)
@function("pairwise_distance", seeds=8)
def distance(rng: Random) -> Drawn:
    s = shape(rng, 1)
    kwargs = {"p": one_of(rng, 2.0, 1.0, 3.0, 1.5, 0.5, np.inf), "keepdim": coin(rng), "eps": one_of(rng, 1e-6, 0.1)}
    return Drawn((), kwargs, [rng.normal(size=s), rng.normal(size=s)])
