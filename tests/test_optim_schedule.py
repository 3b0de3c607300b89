"""Schedules against PyTorch's, inside the compiled step and driven by `step()`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import optim
from wengert.errors import ArgumentError
from wengert.module import Module
from wengert.optim import lr_scheduler, schedule

BASE, STEPS = 0.3, 60


class One(Module):
    def __init__(self) -> None:
        self.w = wg.ones(3, dtype=wg.float64)


def pair(torch: Any, **settings: Any) -> Any:
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(3, dtype=torch.float64))], lr=BASE, **settings)


PAIRS: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("Constant", {"factor": 0.5, "total_iters": 7}, "ConstantLR", {"factor": 0.5, "total_iters": 7}),
    ("Linear", {"start_factor": 0.1, "total_iters": 9}, "LinearLR", {"start_factor": 0.1, "total_iters": 9}),
    ("Step", {"step_size": 7, "gamma": 0.5}, "StepLR", {"step_size": 7, "gamma": 0.5}),
    ("MultiStep", {"milestones": [5, 20, 21]}, "MultiStepLR", {"milestones": [5, 20, 21]}),
    ("Exponential", {"gamma": 0.95}, "ExponentialLR", {"gamma": 0.95}),
    ("Polynomial", {"total_iters": 30, "power": 2.5}, "PolynomialLR", {"total_iters": 30, "power": 2.5}),
    ("CosineAnnealing", {"T_max": 25, "eta_min": 0.01}, "CosineAnnealingLR", {"T_max": 25, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 8}, "CosineAnnealingWarmRestarts", {"T_0": 8}),
    (
        "CosineAnnealingWarmRestarts",
        {"T_0": 4, "T_mult": 2, "eta_min": 0.02},
        "CosineAnnealingWarmRestarts",
        {"T_0": 4, "T_mult": 2, "eta_min": 0.02},
    ),
    (
        "OneCycle",
        {"max_lr": 0.8, "total_steps": 61, "cycle_momentum": False},
        "OneCycleLR",
        {"max_lr": 0.8, "total_steps": 61, "cycle_momentum": False},
    ),
    (
        "OneCycle",
        {"max_lr": 0.8, "total_steps": 70, "anneal_strategy": "linear", "three_phase": True, "cycle_momentum": False},
        "OneCycleLR",
        {"max_lr": 0.8, "total_steps": 70, "anneal_strategy": "linear", "three_phase": True, "cycle_momentum": False},
    ),
]


def torch_rates(torch: Any, name: str, settings: dict[str, Any]) -> list[float]:
    optimizer = pair(torch)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **settings)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("case", PAIRS, ids=lambda c: f"{c[0]} {c[1]}")
def test_rates_are_pytorchs(case: Any) -> None:
    torch = pytest.importorskip("torch")
    mine, settings, theirs, their_settings = case
    form = getattr(schedule, mine)(**settings)
    at = wg.jit(lambda t: form(BASE, t), executor="numpy")
    rates = [float(at(wg.asarray(t))) for t in range(STEPS)]
    np.testing.assert_allclose(rates, torch_rates(torch, theirs, their_settings), rtol=1e-9)


@pytest.mark.parametrize("case", PAIRS[:9], ids=lambda c: f"{c[2]} {c[3]}")
def test_schedulers_driven_by_step_are_pytorchs(case: Any) -> None:
    torch = pytest.importorskip("torch")
    _, _, name, settings = case
    optimizer = optim.SGD(One(), lr=BASE)
    scheduler = getattr(lr_scheduler, name)(optimizer, **settings)
    rates = []
    for _ in range(STEPS):
        rates += scheduler.get_last_lr()
        scheduler.step()
    np.testing.assert_allclose(rates, torch_rates(torch, name, settings), rtol=1e-9)


def test_a_schedule_acts_in_the_compiled_step() -> None:
    model = One()
    optimizer = optim.SGD(model, lr=1.0, schedule=schedule.Step(step_size=2, gamma=0.5))
    step = wg.jit(lambda m, o: o.update(m, wg.grad(lambda m: wg.sum(m.w))(m)))
    moved = []
    for _ in range(6):
        before = float(model.w[0])
        step(model, optimizer)
        moved.append(before - float(model.w[0]))
    assert moved == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert float(optimizer.current_rates()[0]) == 0.125
    assert float(optimizer.learning_rate) == 1.0


def test_each_group_has_its_own_rate() -> None:
    model = One()
    groups = [{"params": "w", "lr": 0.1}]
    optimizer = optim.SGD(model, lr=1.0, groups=groups, schedule=schedule.Exponential(0.5, every=3))
    step = wg.jit(lambda m, o: o.update(m, wg.grad(lambda m: wg.sum(m.w))(m)))
    for _ in range(4):
        step(model, optimizer)
    assert [float(r) for r in optimizer.current_rates()] == [0.5, 0.05]


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_one_cycle_with_momentum_is_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    settings = {"momentum": 0.9} if name == "SGD" else {}
    cycle = {"max_lr": 0.1, "total_steps": 40}
    model = One()
    optimizer = getattr(optim, name)(model, lr=BASE, schedule=schedule.OneCycle(**cycle), **settings)
    p = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    theirs = getattr(torch.optim, name)([p], lr=BASE, **settings)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(theirs, **cycle)
    step = wg.jit(lambda m, o: o.update(m, wg.grad(lambda m: wg.sum(wg.sin(m.w * m.w)))(m)))
    for _ in range(39):
        step(model, optimizer)
        theirs.zero_grad()
        torch.sin(p * p).sum().backward()
        theirs.step()
        scheduler.step()
        np.testing.assert_allclose(model.w, p.detach().numpy(), rtol=1e-9)


def test_one_cycle_of_an_optimizer_without_momentum() -> None:
    optimizer = optim.SGD(One(), schedule=schedule.OneCycle(0.1, 10))
    with pytest.raises(ArgumentError, match="cycle_momentum=False"):
        optimizer.update(One(), One())


def test_warm_up_then_cosine() -> None:
    form = schedule.LinearWarmup(4, then=schedule.CosineAnnealing(10))
    rates = [float(form(1.0, t)) for t in range(15)]
    np.testing.assert_allclose(rates[:4], [0.2, 0.4, 0.6, 0.8])
    np.testing.assert_allclose(rates[4:], [(1 + math.cos(math.pi * t / 10)) / 2 for t in range(11)], atol=1e-15)


def test_sequences_and_chains_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    lr = torch.optim.lr_scheduler
    optimizer = pair(torch)
    parts = [lr.ConstantLR(optimizer, factor=0.1, total_iters=5), lr.ExponentialLR(optimizer, gamma=0.9)]
    theirs = lr.SequentialLR(optimizer, parts, milestones=[5])
    form = schedule.Sequential([schedule.Constant(0.1, 5), schedule.Exponential(0.9)], [5])
    for t in range(20):
        assert float(form(BASE, t)) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12), t
        optimizer.step()
        theirs.step()
    optimizer = pair(torch)
    chained = lr.ChainedScheduler([lr.ConstantLR(optimizer, 0.1, 5), lr.ExponentialLR(optimizer, 0.9)])
    form = schedule.Chained(schedule.Constant(0.1, 5), schedule.Exponential(0.9))
    for t in range(20):
        assert float(form(BASE, t)) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12), t
        optimizer.step()
        chained.step()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"patience": 2, "factor": 0.5, "cooldown": 3},
        {"mode": "max", "patience": 1, "min_lr": 0.01},
        {"threshold_mode": "abs", "threshold": 0.3, "patience": 0},
        {"mode": "max", "threshold_mode": "abs", "threshold": 0.3, "patience": 3, "eps": 0.02},
    ],
    ids=str,
)
def test_reduction_on_a_plateau_is_pytorchs(settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    theirs_optimizer = pair(torch)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs_optimizer, **settings)
    optimizer = optim.SGD(One(), lr=BASE)
    mine = lr_scheduler.ReduceLROnPlateau(optimizer, **settings)
    step = wg.jit(lambda s, loss: s.step(loss))
    rng = np.random.default_rng(3)
    for t in range(80):
        loss = 1 / (1 + min(t, 20)) + 0.2 * rng.random()
        step(mine, wg.asarray(loss, dtype=wg.float64))
        theirs.step(loss)
        assert mine.get_last_lr()[0] == pytest.approx(theirs_optimizer.param_groups[0]["lr"], rel=1e-12), t


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedule.OneCycle(0.1, 10, anneal_strategy="sine"), "sine"),
        (lambda: schedule.Step(3, every=0), "every is 0"),
        (lambda: schedule.Sequential([schedule.Step(3)], [1]), "1 schedules need 0 milestones"),
        (lambda: schedule.CosineAnnealingWarmRestarts(0), "T_0 is 0"),
        (lambda: lr_scheduler.StepLR(One(), 3), "drives an optimizer, got a One"),
        (lambda: lr_scheduler.StepLR(optim.SGD(One(), schedule=schedule.Step(3)), 3), "one of the two"),
        (lambda: lr_scheduler.ReduceLROnPlateau(optim.SGD(One()), mode="down"), "'down'"),
        (lambda: lr_scheduler.OneCycleLR(optim.SGD(One()), 0.1, 10, cycle_momentum=True), "schedule="),
    ],
)
def test_settings_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
