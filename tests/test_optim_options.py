"""Every optimizer with random settings, for all parameters and for groups of them, against PyTorch over 100 steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.test_optim_steps import compare, ours, rosenbrock, theirs
from tests.torch_layers import generator
from wengert import optim
from wengert.module import Module
from wengert.optim.optimizer import Optimizer

torch = pytest.importorskip("torch")

Random = np.random.Generator
SEEDS = 5


def coin(rng: Random) -> bool:
    return bool(rng.uniform() < 0.5)


def below(rng: Random, most: float, least: float = 0.0) -> float:
    return float(rng.uniform(least, most))


def small(rng: Random) -> float:
    return float(10.0 ** rng.uniform(-8, -2))


def decay(rng: Random) -> float:
    return below(rng, 0.3) if coin(rng) else 0.0


def betas(rng: Random) -> tuple[float, float]:
    return below(rng, 0.95), below(rng, 0.999, 0.5)


def sgd(rng: Random) -> dict[str, Any]:
    settings: dict[str, Any] = {"weight_decay": decay(rng)}
    if coin(rng):
        settings["momentum"] = below(rng, 0.95, 0.05)
        settings |= {"nesterov": True} if coin(rng) else {"dampening": below(rng, 1.0)}
    return settings


def adam(rng: Random) -> dict[str, Any]:
    return {"betas": betas(rng), "eps": small(rng), "weight_decay": decay(rng), "amsgrad": coin(rng)}


def adamax(rng: Random) -> dict[str, Any]:
    return {"betas": betas(rng), "eps": small(rng), "weight_decay": decay(rng)}


def nadam(rng: Random) -> dict[str, Any]:
    return {**adamax(rng), "momentum_decay": below(rng, 0.05), "decoupled_weight_decay": coin(rng)}


def radam(rng: Random) -> dict[str, Any]:
    return {**adamax(rng), "decoupled_weight_decay": coin(rng)}


def adagrad(rng: Random) -> dict[str, Any]:
    return {
        "lr_decay": decay(rng),
        "weight_decay": decay(rng),
        "initial_accumulator_value": decay(rng),
        "eps": small(rng),
    }


def rmsprop(rng: Random) -> dict[str, Any]:
    momentum = below(rng, 0.9) if coin(rng) else 0.0
    settings = {"alpha": below(rng, 0.99, 0.5), "eps": small(rng), "weight_decay": decay(rng)}
    return {**settings, "momentum": momentum, "centered": coin(rng)}


def adadelta(rng: Random) -> dict[str, Any]:
    return {"rho": below(rng, 0.99, 0.5), "eps": small(rng), "weight_decay": decay(rng)}


DRAWS: dict[str, Callable[[Random], dict[str, Any]]] = {
    "SGD": sgd, "Adam": adam, "AdamW": adam, "Adamax": adamax, "NAdam": nadam, "RAdam": radam, "Adagrad": adagrad,
    "RMSprop": rmsprop, "Adadelta": adadelta,
}  # fmt: skip
APART = {
    "Optimizer": "is their base", "LBFGS": "has tests of its own",
    "Lion": "has no counterpart in PyTorch, and is held to its formula in test_optim_steps",
}  # fmt: skip


def rate(rng: Random) -> float:
    return float(10.0 ** rng.uniform(-3, -1))


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", DRAWS)
def test_settings(name: str, seed: int) -> None:
    rng = generator(f"{name} {seed}")
    settings = {"lr": rate(rng), **DRAWS[name](rng), "maximize": coin(rng)}
    dtype = "float32" if seed == 0 else "float64"
    mine = ours(lambda m: getattr(optim, name)(m, **settings), dtype, compiled=True)
    compare(mine, theirs(lambda p: getattr(torch.optim, name)(p, **settings, foreach=False), dtype), dtype)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", DRAWS)
def test_settings_of_groups(name: str, seed: int) -> None:
    """The rest, `*.bias` and `inner` with settings of their own."""
    rng = generator(f"{name} groups {seed}")
    sets = [{"lr": rate(rng), **DRAWS[name](rng)} for _ in range(3)]
    for s in sets[1:]:  # what a group does not set is the optimizer's
        for unset in [k for k in s if k in sets[0] and k in ("weight_decay", "lr") and coin(rng)]:
            del s[unset]
        s.pop("initial_accumulator_value", None)  # PyTorch takes the optimizer's for every group
    every = {k for s in sets for k in s}
    plain = {"momentum": 0.0, "nesterov": False, "dampening": 0.0}
    whole = {**{k: plain[k] for k in every if k not in sets[0]}, **sets[0]}
    groups = [{**{k: plain[k] for k in every if k in plain}, **s} for s in sets[1:]]
    named = [{"params": where, **g} for where, g in zip(("*.bias", "inner"), groups, strict=True)]

    def make(p: list[Any]) -> Any:
        parts = [{"params": p[:2]}, {"params": [p[2]], **groups[0]}, {"params": [p[3]], **groups[1]}]
        return getattr(torch.optim, name)(parts, **whole, foreach=False)

    mine = ours(lambda m: getattr(optim, name)(m, **whole, groups=named), "float64", compiled=True)
    compare(mine, theirs(make, "float64"), "float64")


@pytest.mark.parametrize("seed", range(6))
def test_lbfgs(seed: int) -> None:
    rng = generator(f"lbfgs {seed}")
    start = rng.normal(size=5)
    search = {"line_search_fn": "strong_wolfe"} if seed % 3 else {}
    settings = {
        "lr": below(rng, 1.0, 0.3) if search else below(rng, 1e-3, 1e-4), "max_iter": int(rng.integers(2, 12)),
        "history_size": int(rng.integers(1, 8)), "tolerance_change": small(rng) * 1e-6, **search,
    }  # fmt: skip

    class Point(Module):
        def __init__(self) -> None:
            self.x = wg.asarray(start)

    model, p = Point(), torch.nn.Parameter(torch.tensor(start))
    evaluate = wg.jit(wg.value_and_grad(lambda m: rosenbrock(m.x)), executor="numpy")
    optimizer, other = optim.LBFGS(model, **settings), torch.optim.LBFGS([p], **settings)

    def closure() -> Any:
        other.zero_grad()
        loss = rosenbrock(p)
        loss.backward()
        return loss

    for call in range(5):  # later, roundings have led the two apart
        mine, want = float(optimizer.update(model, evaluate)), float(other.step(closure).detach())
        assert mine == pytest.approx(want, rel=1e-6, abs=1e-12), call
    np.testing.assert_allclose(np.asarray(model.x), p.detach().numpy(), rtol=1e-6, atol=1e-9)


def test_every_optimizer_is_compared() -> None:
    """A new one needs a draw, or a reason."""
    every = {n for n, v in vars(optim).items() if isinstance(v, type) and issubclass(v, Optimizer)}
    assert every | {"LBFGS"} == set(DRAWS) | set(APART)
