"""Optimizers inside a compiled step, groups, clipping, penalties, averages, accumulation, and bad input."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import optim
from wengert.errors import AbstractValueError, ArgumentError
from wengert.module import Module

rng = np.random.default_rng(0)
X = rng.normal(size=(16, 4))
Y = rng.normal(size=(16, 2))


class Layer(Module):
    def __init__(self, n: int, m: int, seed: int):
        self.weight = wg.asarray(np.random.default_rng(seed).normal(size=(m, n)) / np.sqrt(n))
        self.bias = wg.zeros(m, dtype=wg.float64)

    def __call__(self, x: Any) -> Any:
        return x @ self.weight.T + self.bias


class MLP(Module):
    def __init__(self, hidden: int = 5):
        self.layers = [Layer(4, hidden, 0), Layer(hidden, 2, 1)]
        self.calls = wg.asarray(0)
        self.width = hidden

    def __call__(self, x: Any) -> Any:
        self.calls = self.calls + 1
        return self.layers[1](wg.tanh(self.layers[0](x)))


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return wg.mean((model(x) - y) ** 2)


def names(model: Any) -> list[str]:
    return list(optim.SGD(model).plan.names)


def test_a_users_loop_is_one_program() -> None:
    """The lines of design.md, section 3: nothing is compiled again, everything assigned arrives, the loss falls."""
    traced = []
    model = MLP()
    optimizer = optim.AdamW(model, learning_rate=1e-2, weight_decay=1e-2)

    @wg.jit
    def train_step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        traced.append(1)
        loss, grads = wg.value_and_grad(loss_fn)(model, x, y)
        grads, _ = optim.clip_by_global_norm(grads, 1.0)
        optimizer.update(model, grads)
        return loss

    losses = [float(train_step(model, optimizer, X, Y)) for _ in range(60)]
    assert len(traced) == 1
    assert losses[-1] < 0.7 * losses[0]
    assert int(optimizer.steps) == 60 and int(model.calls) == 60
    assert isinstance(model.layers[0].weight, wg.Array) and model.layers[0].weight.dtype == np.float64
    optimizer.learning_rate = 0.0
    before = np.asarray(model.layers[0].weight)
    train_step(model, optimizer, X, Y)
    np.testing.assert_array_equal(before, np.asarray(model.layers[0].weight))
    assert len(traced) == 1, "the learning rate is an argument, not a constant"


def test_compiled_training_is_the_eager_one() -> None:
    results = []
    for wrap in (wg.jit, lambda f: f):
        model = MLP()
        optimizer = optim.Adam(model, lr=0.05)

        def step(model: Any, optimizer: Any) -> Any:
            loss, grads = wg.value_and_grad(loss_fn)(model, X, Y)
            optimizer.update(model, grads)
            return loss

        run = wrap(step)
        results.append([float(run(model, optimizer)) for _ in range(20)])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-10)


def test_tied_weights_stay_tied_and_get_one_gradient() -> None:
    class Tied(Module):
        def __init__(self) -> None:
            self.encode = wg.asarray(rng.normal(size=(4, 4)))
            self.decode = self.encode

    def loss(model: Any) -> Any:
        return wg.sum((X @ model.encode @ wg.matrix_transpose(model.decode) - X) ** 2)

    model = Tied()
    optimizer = optim.SGD(model, lr=1e-3, momentum=0.9)
    assert optimizer.plan.names == ("encode",)

    @wg.jit
    def step(model: Any, optimizer: Any) -> None:
        optimizer.update(model, wg.grad(loss)(model))

    for _ in range(3):
        step(model, optimizer)
        assert model.encode is model.decode
    other = Tied()
    other.encode = other.decode = wg.asarray(np.asarray(model.encode))
    optimizer.update(other, wg.grad(loss)(other))
    assert other.encode is other.decode


def test_equal_cotangents_of_two_parameters_are_two_gradients() -> None:
    """Both biases of a sum get the same array; counted once, the norm would be too small by √2."""

    class Two(Module):
        def __init__(self) -> None:
            self.a = wg.zeros(3)
            self.b = wg.zeros(3)

    def loss(model: Any) -> Any:
        return wg.sum(model.a + model.b)

    for run in (wg.grad(loss), wg.jit(wg.grad(loss))):
        assert float(optim.global_norm(run(Two()))) == pytest.approx(6**0.5)
    norm = wg.jit(lambda m: optim.global_norm(wg.grad(loss)(m)))(Two())
    assert float(norm) == pytest.approx(6**0.5)
    model = Two()
    optim.SGD(model, lr=1.0).update(model, wg.grad(loss)(model))
    np.testing.assert_array_equal(model.a, -np.ones(3))
    np.testing.assert_array_equal(model.b, -np.ones(3))


# Groups and freezing


def test_frozen_parameters_stay_and_have_no_state() -> None:
    model = MLP()
    optimizer = optim.Adam(model, lr=0.1, frozen=["layers.0", "*.bias"])
    assert optimizer.plan.names == ("layers.1.weight",)
    before = [np.asarray(layer.weight) for layer in model.layers]
    optimizer.update(model, wg.grad(loss_fn)(model, X, Y))
    np.testing.assert_array_equal(before[0], model.layers[0].weight)
    assert not np.array_equal(before[1], model.layers[1].weight)
    assert list(optimizer.state) == ["layers.1.weight"]


@pytest.mark.parametrize(
    "where",
    [
        "layers.1.*",
        "layers.1",
        lambda model: model.layers[1],
        lambda model: [model.layers[1].weight, model.layers[1].bias],
        lambda model: lambda name, array: name.startswith("layers.1") and array.shape[0] == 2,
    ],
)
def test_groups_are_chosen_in_many_ways(where: Any) -> None:
    model = MLP()
    chosen = where if isinstance(where, str) else where(model)
    optimizer = optim.SGD(model, lr=0.1, groups=[{"params": chosen, "lr": 0.01}])
    assert optimizer.plan.group_of == (0, 0, 1, 1)
    assert [float(r) for r in optimizer.current_rates()] == [0.1, 0.01]


def test_a_parameter_without_gradient_stays() -> None:
    model = MLP()
    optimizer = optim.Adam(model, lr=0.1, weight_decay=0.1)
    grads = wg.grad(loss_fn)(model, X, Y)
    grads.layers[0].weight = None
    before = np.asarray(model.layers[0].weight)
    optimizer.update(model, grads)
    np.testing.assert_array_equal(before, model.layers[0].weight)


def test_buffers_and_frozen_parameters_of_the_model_are_left_alone() -> None:
    model = MLP()
    model.layers[0]._buffers = frozenset({"weight"})
    model.layers[0]._frozen = frozenset({"bias"})
    optimizer = optim.Adam(model, lr=0.1)
    assert optimizer.plan.names == ("layers.1.weight", "layers.1.bias")
    grads = wg.grad(loss_fn)(model, X, Y)
    assert grads.layers[0].weight is None and grads.layers[0].bias is None
    optimizer.update(model, grads)
    model.layers[1]._frozen = frozenset({"weight"})
    before = np.asarray(model.layers[1].weight)
    optimizer.update(model, wg.grad(loss_fn)(model, X, Y))
    np.testing.assert_array_equal(before, model.layers[1].weight)
    model.layers[0]._frozen = frozenset()
    with pytest.raises(ArgumentError, match=r"doesn't know layers\.0\.bias"):
        optimizer.update(model, wg.grad(loss_fn)(model, X, Y))


# Bad input: both sides are named


def test_gradients_of_another_tree() -> None:
    model = MLP()
    optimizer = optim.SGD(model)

    class Other(Module):
        def __init__(self) -> None:
            self.kernel = wg.ones(3)

    with pytest.raises(ArgumentError, match=r"(?s)Other.*MLP.*kernel.*layers\.0\.weight"):
        optimizer.update(model, wg.grad(lambda m: wg.sum(m.kernel))(Other()))
    with pytest.raises(ArgumentError, match=r"layers\.0\.weight.*\(6, 4\).*\(5, 4\)"):
        optimizer.update(model, wg.grad(loss_fn)(MLP(6), X, Y))


def test_a_model_that_the_optimizer_was_not_made_for() -> None:
    optimizer = optim.SGD(MLP())
    with pytest.raises(ArgumentError, match=r"(?s)made for a MLP.*Layer.*layers\.0\.weight.*weight, bias"):
        optimizer.update(Layer(2, 2, 0), Layer(2, 2, 0))
    with pytest.raises(ArgumentError, match=r"float64\[5, 4\].*float64\[6, 4\]"):
        optimizer.update(MLP(6), MLP(6))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD({"w": wg.ones(3)}), "a dict.*Module"),
        (lambda: optim.SGD(x for x in [wg.ones(3)]), "a generator; pass the model itself"),
        (lambda: optim.SGD(MLP(), learning_rate=-1.0), "below 0"),
        (lambda: optim.SGD(MLP(), learning_rate=wg.ones(3)), r"shape \(3,\)"),
        (lambda: optim.SGD(MLP(), nesterov=True), "momentum > 0"),
        (lambda: optim.Adam(MLP(), betas=(0.9, 1.0)), r"\[0, 1\)"),
        (lambda: optim.Adam(MLP(), weight_decay=-1.0), "weight_decay is -1.0"),
        (lambda: optim.Adam(MLP(), frozen="*"), "no parameter to update"),
        (lambda: optim.Adam(MLP(), groups=[{"params": "typo.*"}]), "no parameter is meant.*typo.*layers.0.weight"),
        (lambda: optim.Adam(MLP(), groups=[{"params": "*", "rho": 1}]), "rho.*betas"),
        (lambda: optim.Adam(MLP(), groups=[{"lr": 1}]), "'params'"),
        (lambda: optim.Adam(MLP(), frozen=3), "int"),
        (lambda: optim.LBFGS(MLP(), line_search_fn="armijo"), "strong_wolfe"),
        (lambda: optim.Accumulate(MLP(), 2), "Accumulate takes an optimizer"),
        (lambda: optim.EMA(MLP(), decay=1.5), "decay"),
    ],
)
def test_settings_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"(?s){message}"):
        make()


def test_lbfgs_inside_jit_says_what_to_do() -> None:
    model = MLP()
    optimizer = optim.LBFGS(model)
    step = wg.jit(lambda m, o: o.update(m, lambda m: wg.value_and_grad(loss_fn)(m, X, Y)))
    with pytest.raises(AbstractValueError, match="compile what it evaluates"):
        step(model, optimizer)


@pytest.mark.parametrize("put", [lambda a: (a,), lambda a: deque([a])], ids=["tuple", "deque"])
def test_a_parameter_where_nothing_can_be_assigned(put: Any) -> None:
    model = MLP()
    model.scales = put(wg.ones(3))
    with pytest.raises(ArgumentError, match=r"'scales\.0' stands in a (tuple|deque), which can't be assigned to"):
        optim.SGD(model)
    optimizer = optim.SGD(model, frozen="scales")
    optimizer.update(model, wg.grad(loss_fn)(model, X, Y))


def test_an_optimizer_says_what_it_is() -> None:
    groups = [{"params": "*.bias", "lr": 0.5, "weight_decay": 0.0}]
    text = repr(optim.AdamW(MLP(), learning_rate=0.1, groups=groups, schedule=optim.schedule.Step(3)))
    assert text == (
        "AdamW(4 parameters of a MLP, learning_rate=0.1, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01; group 1: "
        "learning_rate=0.5, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, "
        "schedule=Step(every=1, step_size=3, gamma=0.1))"
    )


# Clipping


def torch_model() -> tuple[Any, Any, Any]:
    torch = pytest.importorskip("torch")
    model = MLP()
    grads = wg.grad(loss_fn)(model, X, Y)
    parts = [grads.layers[0].weight, grads.layers[0].bias, grads.layers[1].weight, grads.layers[1].bias]
    params = [torch.nn.Parameter(torch.zeros(p.shape, dtype=torch.float64)) for p in parts]
    for p, g in zip(params, parts, strict=True):
        p.grad = torch.tensor(np.asarray(g))
    return torch, grads, params


def leaves(grads: Any) -> list[np.ndarray]:
    return [np.asarray(a) for layer in grads.layers for a in (layer.weight, layer.bias)]


@pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf"), 3.0])
@pytest.mark.parametrize("max_norm", [0.1, 100.0])
def test_clip_by_global_norm_is_pytorchs(max_norm: float, norm_type: float) -> None:
    torch, grads, params = torch_model()
    mine, norm = optim.clip_by_global_norm(grads, max_norm, norm_type)
    want = torch.nn.utils.clip_grad_norm_(params, max_norm, norm_type)
    assert float(norm) == pytest.approx(float(want), rel=1e-12)
    assert mine.calls is None
    for a, p in zip(leaves(mine), params, strict=True):
        np.testing.assert_allclose(a, p.grad.numpy(), rtol=1e-12)


def test_clip_by_value_is_pytorchs() -> None:
    torch, grads, params = torch_model()
    torch.nn.utils.clip_grad_value_(params, 0.05)
    for a, p in zip(leaves(optim.clip_by_value(grads, 0.05)), params, strict=True):
        np.testing.assert_array_equal(a, p.grad.numpy())
    low = leaves(optim.clip_by_value(grads, -0.01, 0.02))
    assert min(a.min() for a in low) == -0.01 and max(a.max() for a in low) == 0.02


def test_clip_by_norm_treats_each_array_alone() -> None:
    _, grads, _ = torch_model()
    for a, g in zip(leaves(optim.clip_by_norm(grads, 0.2)), leaves(grads), strict=True):
        norm = np.linalg.norm(g)
        np.testing.assert_allclose(a, g * min(1, 0.2 / (norm + 1e-6)), rtol=1e-12)


def test_adaptive_clipping_is_its_formula() -> None:
    model = MLP()
    grads = wg.grad(loss_fn)(model, X, Y)
    clipped = wg.jit(lambda m, g: optim.adaptive_clip(m, g, clipping=0.05))(model, grads)
    assert clipped.calls is None
    for w, g, c in zip(leaves(model), leaves(grads), leaves(clipped), strict=True):
        rows = zip(w, g, c, strict=True) if w.ndim > 1 else [(w, g, c)]
        for w_i, g_i, c_i in rows:
            most = 0.05 * max(np.linalg.norm(w_i), 1e-3)
            norm = np.linalg.norm(g_i)
            np.testing.assert_allclose(c_i, g_i * (most / norm if norm > most else 1), rtol=1e-12)


# Penalties, averages, accumulation


def test_penalties_and_their_gradients() -> None:
    model = MLP()
    weights = [np.asarray(layer.weight) for layer in model.layers]
    assert float(optim.l1_penalty(model, "*.weight")) == pytest.approx(sum(np.abs(w).sum() for w in weights))
    assert float(optim.l2_penalty(model, "*.weight")) == pytest.approx(sum((w**2).sum() for w in weights))
    grads = wg.grad(lambda m: optim.l1_penalty(m, "layers.0.weight") + optim.l2_penalty(m, "layers.1.weight"))(model)
    np.testing.assert_allclose(grads.layers[0].weight, np.sign(weights[0]))
    np.testing.assert_allclose(grads.layers[1].weight, 2 * weights[1])
    with pytest.raises(ArgumentError, match="typo"):
        optim.l1_penalty(model, "typo")


def test_averages_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    values = [rng.normal(size=(3, 4)) for _ in range(10)]

    class One(Module):
        def __init__(self, w: Any):
            self.w = wg.asarray(w)
            self.count = wg.asarray(0)

    for mine, fn in ((optim.EMA(One(values[0]), 0.9), get_ema_multi_avg_fn(0.9)), (optim.SWA(One(values[0])), None)):
        net = torch.nn.Linear(4, 3, bias=False, dtype=torch.float64)
        theirs = AveragedModel(net, multi_avg_fn=fn)
        update = wg.jit(lambda a, m: a.update(m))
        for v in values:
            update(mine, One(v))
            with torch.no_grad():
                net.weight.copy_(torch.tensor(v))
            theirs.update_parameters(net)
        model = One(values[0])
        averaged = mine.averaged(model)
        np.testing.assert_allclose(averaged.w, theirs.module.weight.detach().numpy(), rtol=1e-12)
        np.testing.assert_array_equal(model.w, values[0])
        mine.copy_to(model)
        np.testing.assert_array_equal(model.w, averaged.w)
    with pytest.raises(ArgumentError, match=r"averages a One with w.*Layer"):
        mine.update(Layer(2, 2, 0))


def test_accumulated_gradients_make_one_update_of_the_whole_batch() -> None:
    whole, parts = MLP(), MLP()
    one = optim.Adam(whole, lr=0.05)
    four = optim.Accumulate(optim.Adam(parts, lr=0.05), every=4)

    @wg.jit
    def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss, grads = wg.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        return loss

    for _ in range(5):
        step(whole, one, X, Y)
        for k in range(4):
            before = np.asarray(parts.layers[0].weight)
            step(parts, four, X[4 * k : 4 * k + 4], Y[4 * k : 4 * k + 4])
            assert np.array_equal(before, parts.layers[0].weight) == (k < 3)
    assert int(four.optimizer.steps) == 5
    for a, b in zip(leaves(whole), leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
