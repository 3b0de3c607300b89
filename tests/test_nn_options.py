"""Every layer, loss and function of `nn` with random settings and shapes against PyTorch: values, first and second
derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests import draws_elementwise, draws_losses, draws_norms, draws_sequences, draws_sliding  # noqa: F401
from tests.draws import FUNCTIONS, LAYERS, cases, compare_drawn_function, compare_drawn_layer
from tests.torch_layers import compare_layer, generator
from wengert import nn

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel"),
    pytest.mark.filterwarnings("ignore:reduction. .mean. divides the total loss"),
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True"),
]
NONE, BOX = "has no counterpart in PyTorch", "is a container"
LAYERS_APART = {
    "Module": "is no layer", "Sequential": BOX, "ModuleList": BOX, "ModuleDict": BOX, "Residual": NONE,
    "Lambda": NONE, "LearnedPositionalEncoding": NONE, "SinusoidalPositionalEncoding": NONE,
}  # fmt: skip
FUNCTIONS_APART = {"one_hot": "gives integers"}


@pytest.mark.parametrize(("name", "seed"), cases(LAYERS))
def test_layer(name: str, seed: int) -> None:
    compare_drawn_layer(name, LAYERS[name][0](generator(f"{name} {seed}")))


@pytest.mark.parametrize(("name", "seed"), cases(FUNCTIONS))
def test_function(name: str, seed: int) -> None:
    compare_drawn_function(name, FUNCTIONS[name][0](generator(f"{name} {seed}")))


# What draws numbers in use: the numbers of ours are found by a call, and given to PyTorch's formula


def coins(layer_or_function: Any, x: np.ndarray) -> np.ndarray:
    """1 where dropout keeps an element, else 0."""
    return (np.asarray(layer_or_function(wg.ones(x.shape, dtype=wg.float64))) > 0) * 1.0


def dropped(p: float, keep: np.ndarray) -> Any:
    return lambda x: x * torch.tensor(keep) / (1 - p)


def alpha_dropped(p: float, keep: np.ndarray) -> Any:
    """PyTorch's: `a x + b` where kept, else `a α' + b`, with mean 0 and variance 1 behind SELU."""
    limit = -1.7580993408473766
    a = (1 - p + p * (1 - p) * limit**2) ** -0.5
    k = torch.tensor(keep)
    return lambda x: a * (x * k + limit * (1 - k)) - a * p * limit


def sloped(bounds: tuple[float, float], slopes: np.ndarray) -> Any:
    return lambda x: torch.where(x >= 0, x, torch.tensor(slopes) * x)


CHANCE: dict[str, tuple[str, Any]] = {
    **{f"Dropout{n}": ("dropout", dropped) for n in ("", "1d", "2d", "3d")},
    "AlphaDropout": ("alpha_dropout", alpha_dropped), "RReLU": ("rrelu", sloped),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CHANCE)
def test_layer_that_draws(name: str, seed: int) -> None:
    rng = generator(f"{name} {seed}")
    n = int(name[-2]) if name.endswith("d") else int(rng.integers(0, 3))
    x = rng.normal(size=(2, *rng.integers(1, 5, size=n + 1)))
    p: Any = float(rng.uniform(0.1, 0.9)) if name != "RReLU" else tuple(np.sort(rng.uniform(0.1, 2, size=2)).tolist())
    setting = p if isinstance(p, tuple) else (p,)
    function, formula = CHANCE[name]
    layer = getattr(nn, name)(*setting, key=seed).double()
    own = wg.random.key(seed)
    axes = {"axes": n} if "d" in name[-1:] and n else {}

    def called(x: Any) -> Any:
        return getattr(nn.functional, function)(x, *setting, training=True, key=own, **axes)

    for model, run in ((layer, lambda m, x: m(x)), (nn.Identity(), lambda m, x: called(x))):
        once = lambda x, m=model, run=run: run(m.copy(), x)  # noqa: E731
        numbers = -np.asarray(once(-np.ones(x.shape))) if name == "RReLU" else coins(once, x)
        if axes:
            assert (numbers == numbers.mean(axis=tuple(range(2, x.ndim)), keepdims=True)).all()
        theirs = formula(p, numbers)
        compare_layer(
            torch.nn.Identity(), model, [x],
            call=lambda m, x, f=theirs, run=run: f(x) if isinstance(x, torch.Tensor) else run(m, x),
        )  # fmt: skip
    compare_layer(getattr(torch.nn, name)(*setting).eval(), layer.eval(), [x])


@pytest.mark.parametrize("seed", range(6))
def test_gumbel_softmax(seed: int) -> None:
    """Its noise is found from a soft sample, but for a constant along the axis, which makes no difference."""
    rng = generator(f"gumbel {seed}")
    x = rng.normal(size=rng.integers(1, 5, size=rng.integers(1, 4)))
    tau, axis, hard = float(rng.uniform(0.5, 2)), int(rng.integers(-x.ndim, x.ndim)), bool(seed % 2)
    key = wg.random.key(seed)

    def mine(x: Any, hard: bool) -> Any:
        return nn.functional.gumbel_softmax(x, tau, hard, axis, key=key)

    noise = tau * np.log(np.asarray(mine(x, False))) - x

    def theirs(x: Any) -> Any:
        soft = torch.softmax((x + torch.tensor(noise)) / tau, axis)
        return soft + (torch.tensor(np.asarray(mine(x.detach().numpy(), True))) - soft).detach() if hard else soft

    compare_layer(
        torch.nn.Identity(), nn.Identity(), [x],
        call=lambda m, x: theirs(x) if isinstance(x, torch.Tensor) else mine(x, hard),
    )  # fmt: skip


def test_every_layer_and_function_is_compared() -> None:
    """A new one needs a draw, or a reason."""
    layers = {n for n, v in vars(nn).items() if isinstance(v, type) and issubclass(v, nn.Module) and n[0] != "_"}
    assert layers == set(LAYERS) | set(CHANCE) | set(LAYERS_APART)
    functions = {n for n, v in vars(nn.functional).items() if callable(v) and n[0] != "_"}
    drawn = set(FUNCTIONS) | {name for name, _ in CHANCE.values()} | {"gumbel_softmax"}
    assert functions == drawn | set(FUNCTIONS_APART)
    assert not (set(LAYERS) & set(LAYERS_APART) | set(FUNCTIONS) & set(FUNCTIONS_APART))
