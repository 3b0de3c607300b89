"""Every optimizer with every option against PyTorch: 100 steps, in both precisions (float32 natively), and eagerly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import optim
from wengert.module import Module

STEPS = 100
TOLERANCE = {"float64": 1e-11, "float32": 3e-5}


class Net(Module):
    """Arrays in attributes, in a list and in a module inside."""

    def __init__(self, values: list[np.ndarray]):
        self.weight = wg.asarray(values[0])
        self.parts = [wg.asarray(values[1]), {"bias": wg.asarray(values[2])}]
        self.activation = "tanh"
        self.inner = Inner(values[3])

    def values(self) -> list[np.ndarray]:
        return [np.asarray(a) for a in (self.weight, self.parts[0], self.parts[1]["bias"], self.inner.scale)]


class Inner(Module):
    def __init__(self, scale: np.ndarray):
        self.scale = wg.asarray(scale)


SHAPES = [(3, 4), (2, 3, 2), (5,), ()]


def drawn(seed: int, dtype: Any = np.float64) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=s), dtype) for s in SHAPES]


def gradients(dtype: Any = np.float64) -> list[list[np.ndarray]]:
    """Of very different sizes, some of them zero."""
    rng = np.random.default_rng(7)
    out = []
    for _ in range(STEPS):
        size = 10.0 ** rng.integers(-4, 2)
        out.append([np.asarray(rng.normal(size=s) * size * (rng.random(s) > 0.1), dtype) for s in SHAPES])
    return out


def ours(make: Callable[[Any], Any], dtype: Any, compiled: bool) -> list[list[np.ndarray]]:
    model = Net(drawn(0, dtype))
    optimizer = make(model)

    def step(model: Any, optimizer: Any, grads: Any) -> None:
        optimizer.update(model, grads)

    run = wg.jit(step, executor="native" if dtype == "float32" else "numpy") if compiled else step
    seen = []
    for k, g in enumerate(gradients(dtype)):
        run(model, optimizer, Net(g))
        if k % 10 == 9 or k < 3:
            seen.append(model.values())
    assert int(optimizer.steps) == STEPS
    return seen


def theirs(make: Callable[[Any], Any], dtype: Any) -> list[list[np.ndarray]]:
    torch = pytest.importorskip("torch")
    params = [torch.nn.Parameter(torch.tensor(v)) for v in drawn(0, dtype)]
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # scalars that PyTorch keeps as tensors, in double precision as ours
    try:
        optimizer = make(params)
        seen = []
        for k, g in enumerate(gradients(dtype)):
            for p, value in zip(params, g, strict=True):
                p.grad = torch.tensor(value)
            optimizer.step()
            if k % 10 == 9 or k < 3:
                seen.append([p.detach().numpy().copy() for p in params])
        return seen
    finally:
        torch.set_default_dtype(before)


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.03}),
    ("SGD", {"lr": 0.03, "momentum": 0.9}),
    ("SGD", {"lr": 0.03, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.03, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.03, "momentum": 0.9, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {"lr": 0.02, "amsgrad": True}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.3, "amsgrad": True, "maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-5, "weight_decay": 0.1, "momentum": 0.7, "centered": True}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True, "eps": 1e-4, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "momentum_decay": 0.01, "maximize": True}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.01}),
    ("RAdam", {"lr": 0.02, "weight_decay": 0.1, "betas": (0.9, 0.99), "maximize": True}),
    ("RAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True}),
]


def name_of(kind: tuple[str, dict[str, Any]]) -> str:
    return " ".join([kind[0], *(f"{k}={v}" for k, v in kind[1].items())])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_steps_are_pytorchs(kind: tuple[str, dict[str, Any]], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    name, settings = kind
    mine = ours(lambda m: getattr(optim, name)(m, **settings), dtype, compiled=True)
    want = theirs(lambda p: getattr(torch.optim, name)(p, **settings, foreach=False), dtype)
    compare(mine, want, dtype)


def compare(mine: list[list[np.ndarray]], want: list[list[np.ndarray]], dtype: str) -> None:
    for at_step, (a_step, b_step) in enumerate(zip(mine, want, strict=True)):
        for a, b in zip(a_step, b_step, strict=True):
            assert a.dtype == b.dtype == np.dtype(dtype)
            np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=f"look {at_step}")


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "Adadelta", "NAdam", "RAdam", "Lion"])
def test_compiled_and_eager_steps_agree(name: str) -> None:
    def make(model: Any) -> Any:
        return getattr(optim, name)(model, learning_rate=0.02, weight_decay=0.01)

    compare(ours(make, "float64", compiled=True), ours(make, "float64", compiled=False), "float64")


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_lion_is_its_formula(weight_decay: float) -> None:
    rate, (b1, b2) = 0.01, (0.9, 0.99)
    mine = ours(lambda m: optim.Lion(m, learning_rate=rate, weight_decay=weight_decay), "float64", compiled=True)
    params = drawn(0)
    means = [np.zeros_like(p) for p in params]
    for g in gradients():
        for i, p in enumerate(params):
            direction = np.sign(b1 * means[i] + (1 - b1) * g[i])
            params[i] = p * (1 - rate * weight_decay) - rate * direction
            means[i] = b2 * means[i] + (1 - b2) * g[i]
    for a, b in zip(mine[-1], params, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_groups_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    groups = [
        {"params": "*.bias", "weight_decay": 0.0, "lr": 0.1},
        {"params": ["inner"], "betas": (0.5, 0.6)},
    ]
    mine = ours(lambda m: optim.AdamW(m, learning_rate=0.02, weight_decay=0.2, groups=groups), "float64", True)

    def make(p: Any) -> Any:
        sets = [
            {"params": [p[0], p[1]]},
            {"params": [p[2]], "weight_decay": 0.0, "lr": 0.1},
            {"params": [p[3]], "betas": (0.5, 0.6)},
        ]
        return torch.optim.AdamW(sets, lr=0.02, weight_decay=0.2)

    compare(mine, theirs(make, "float64"), "float64")


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_complex_parameters_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start, target = rng.normal(size=(2, 4)) + 1j * rng.normal(size=(2, 4))

    class Phase(Module):
        def __init__(self) -> None:
            self.z = wg.asarray(start)

    def loss_fn(model: Any) -> Any:
        return wg.sum(wg.abs(model.z * model.z - target) ** 2)

    model = Phase()
    optimizer = getattr(optim, name)(model, learning_rate=0.01)
    p = torch.nn.Parameter(torch.tensor(start))
    other = getattr(torch.optim, name)([p], lr=0.01)
    for _ in range(50):
        optimizer.update(model, wg.grad(loss_fn)(model))
        other.zero_grad()
        (p * p - torch.tensor(target)).abs().square().sum().backward()
        other.step()
    np.testing.assert_allclose(np.asarray(model.z), p.detach().numpy(), rtol=1e-9)


def rosenbrock(x: Any) -> Any:
    return ((1 - x[:-1]) ** 2).sum() + 100 * ((x[1:] - x[:-1] ** 2) ** 2).sum()


@pytest.mark.parametrize(
    "settings",
    [
        {"line_search_fn": "strong_wolfe"},
        {"line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 7, "lr": 0.5},
        {"lr": 1e-3, "history_size": 5},
        {"line_search_fn": "strong_wolfe", "max_eval": 6},
    ],
    ids=str,
)
def test_lbfgs_is_pytorchs(settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    start = np.array([-1.2, 1.0, 0.5, 2.0, -0.3])

    class Point(Module):
        def __init__(self) -> None:
            self.head = wg.asarray(start[:2])
            self.tail = wg.asarray(start[2:])

    model = Point()
    evaluate = wg.jit(wg.value_and_grad(lambda m: rosenbrock(wg.concat([m.head, m.tail]))), executor="numpy")
    optimizer = optim.LBFGS(model, **settings)
    p = [torch.nn.Parameter(torch.tensor(start[:2])), torch.nn.Parameter(torch.tensor(start[2:]))]
    other = torch.optim.LBFGS(p, **settings)

    def closure() -> Any:
        other.zero_grad()
        loss = rosenbrock(torch.cat(p))
        loss.backward()
        return loss

    for call in range(8):
        mine, want = float(optimizer.update(model, evaluate)), float(other.step(closure).detach())
        assert mine == pytest.approx(want, rel=1e-6, abs=1e-12), call
    np.testing.assert_allclose(
        np.concatenate([model.head, model.tail]), torch.cat(p).detach().numpy(), rtol=1e-6, atol=1e-9
    )


def test_lbfgs_finds_the_minimum() -> None:
    class Point(Module):
        def __init__(self) -> None:
            self.x = wg.asarray([-1.2, 1.0], dtype=wg.float64)

    model = Point()
    optimizer = optim.LBFGS(model, line_search_fn="strong_wolfe", max_iter=200, tolerance_change=1e-16)
    optimizer.update(model, wg.value_and_grad(lambda m: rosenbrock(m.x)))
    np.testing.assert_allclose(np.asarray(model.x), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda m, h: optim.SGD(m, h, momentum=h, weight_decay=h),
        lambda m, h: optim.Adam(m, h, betas=(h, h), eps=h, weight_decay=h),
        lambda m, h: optim.RMSprop(m, alpha=h, momentum=h),
        lambda m, h: optim.AdamW(m, groups=[{"params": "*", "weight_decay": h}]),
    ],
)
def test_settings_from_a_numpy_array_leave_parameters_their_type(make: Callable[..., Any]) -> None:
    model = Net(drawn(0, np.float32))
    optimizer = make(model, np.float64(0.1))
    step = wg.jit(lambda m, o, g: o.update(m, optim.clip_by_global_norm(g, np.float64(1.0))[0]), executor="numpy")
    for _ in range(2):
        step(model, optimizer, Net(drawn(1, np.float32)))
    assert {a.dtype for a in model.values()} == {np.dtype(np.float32)}
    average = optim.EMA(model, np.float64(0.9))
    for _ in range(2):
        average.update(model)
    assert average.averaged(model).weight.dtype == np.float32
