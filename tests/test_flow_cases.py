"""Models of every make before the instrument: shares against sums over paths written out, and odd cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import wengert as wg
from wengert import flow, nn
from wengert.errors import ArgumentError
from wengert.nn import functional as F


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def ledger_of(model, loss_fn, *batch, forward=False):
    return flow.ledger(flow.walk(flow.record(model, loss_fn, *batch)), forward=forward)


def assert_adds_up(ledger):
    """Every way of splitting the whole gives the whole."""
    assert math.isfinite(ledger.total)
    for parts in ([ledger.by_kind], ledger.by_module.values(), ledger.by_layer.values()):
        assert math.fsum(t for kinds in parts for t in kinds.values()) == pytest.approx(ledger.total, abs=1e-9)


def shares_of(parts):
    whole = sum(parts)
    return [float(np.sum(p * whole) / np.sum(whole * whole)) for p in parts]


# -- paths and lags, written out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 4])
def test_path_lengths_are_sums_over_subsets_of_layers(depth, rng):
    """In x + x W_1 + …, a path goes through a subset of the layers: its part is that subset's product."""
    weights = [rng.normal(size=(4, 4)) / 2 for _ in range(depth)]
    params = {f"w{k}": w for k, w in enumerate(weights)}
    x, c = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))

    def loss_fn(p, x):
        for k in range(depth):
            x = x + x @ p[f"w{k}"]
        return wg.sum(x * c)

    parts = [np.zeros_like(x) for _ in range(depth + 1)]
    for chosen in itertools.product((False, True), repeat=depth):
        part = c
        for k in reversed(range(depth)):
            part = part @ weights[k].T if chosen[k] else part
        parts[sum(chosen)] += part
    found = flow.by_path_length(params, loss_fn, x)
    np.testing.assert_allclose(found.shares, shares_of(parts), atol=1e-12)
    np.testing.assert_allclose(10.0 ** np.array(found.norms), [np.linalg.norm(p) for p in parts], rtol=1e-12)


@pytest.mark.parametrize("each", [False, True])
def test_lags_are_sums_over_steps(each, rng):
    """h_t = h_{t-1} W + x_t: what W's use at step s does to the loss at step t is h_{s-1}ᵀ c_t (Wᵀ)^{t-s}."""
    steps, w = 5, rng.normal(size=(3, 3)) / 1.5
    x, c = rng.normal(size=(steps, 2, 3)), rng.normal(size=(steps, 2, 3))
    c = c if each else np.concatenate([np.zeros_like(c[:-1]), c[-1:]])
    states = [np.ones((2, 3))]
    for t in range(steps):
        states.append(states[-1] @ w + x[t])
    parts = [np.zeros_like(w) for _ in range(steps)]
    for t in range(steps):
        for s in range(t + 1):
            parts[t - s] += states[s].T @ c[t] @ np.linalg.matrix_power(w.T, t - s)

    def loss_fn(p, x):
        def body(h, now):
            h = h @ p["w"] + now[0]
            return h, wg.sum(h * now[1])

        losses = wg.scan(body, wg.ones((2, 3), dtype="float64"), (x, wg.asarray(c)))[1]
        return wg.sum(losses) if each else losses[-1]

    found = flow.by_lag({"w": w}, loss_fn, x)
    np.testing.assert_allclose(found.shares, shares_of(parts), atol=1e-12)
    np.testing.assert_allclose(10.0 ** np.array(found.norms), [np.linalg.norm(p) for p in parts], rtol=1e-12)


class OwnCell(nn.Module):
    """A recurrent cell as users write it."""

    def __init__(self):
        self.into, self.back = nn.Linear(3, 4), nn.Linear(4, 4, bias=False)

    def forward(self, x, h):
        return wg.tanh(self.into(x) + self.back(h))


class Looped(nn.Module):
    def __init__(self, cell):
        self.cell, self.out = cell, nn.Linear(4, 2)

    def forward(self, x):
        h = wg.zeros((x.shape[1], 4), dtype=x.dtype)
        for k in range(x.shape[0]):
            h = self.cell(x[k], h)
        return self.out(h)


class Scanned(Looped):
    def forward(self, x):
        start = wg.zeros((x.shape[1], 4), dtype=x.dtype)
        return self.out(wg.scan(lambda h, x: (self.cell(x, h), None), start, x)[0])


def test_a_users_cell_in_a_python_loop_has_lags_and_turns(rng):
    cell = OwnCell().double()
    x = rng.normal(size=(6, 2, 3))
    loss_fn = lambda m, x: wg.sum(wg.square(m(x)))  # noqa: E731
    looped, scanned = Looped(cell), Scanned(cell)
    scanned.out = looped.out = looped.out.double()
    first = flow.by_lag(looped, loss_fn, x, of="cell.back.weight")
    second = flow.by_lag(scanned, loss_fn, x, of="cell.back.weight")
    np.testing.assert_allclose(first.shares, second.shares, atol=1e-12)
    np.testing.assert_allclose(first.norms, second.norms, atol=1e-9)
    turns = [ledger_of(m, loss_fn, x).by_turn for m in (looped, scanned)]
    assert sorted(turns[0]) == sorted(turns[1]) == list(range(6))
    for k in range(6):
        assert turns[0][k]["activation"] == pytest.approx(turns[1][k]["activation"], abs=1e-9)


def test_one_activation_called_again_is_no_recurrence(rng):
    class Net(nn.Module):
        def __init__(self):
            self.a, self.b, self.act, self.drop = nn.Linear(3, 3), nn.Linear(3, 3), nn.Tanh(), nn.Identity()

        def forward(self, x):
            return self.drop(self.drop(self.act(self.b(self.act(self.a(x))))))

    with pytest.raises(ArgumentError, match="no state is handed on"):
        flow.by_lag(Net(), lambda m, x: wg.sum(m(x)), rng.normal(size=(2, 3)).astype("f"))


# -- models of every make ----------------------------------------------------------------------------------------------


def squared(model, x):
    out = model(x)
    return wg.mean(wg.square(out[0] if isinstance(out, tuple) else out))


MODELS = {
    "transformer": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2), (4, 2, 8)),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.ConvTranspose2d(3, 2, 2), nn.Flatten()
        ),
        (2, 1, 8, 8),
    ),
    "recurrent": (lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True), (5, 2, 3)),
    "gated": (lambda: nn.GRU(3, 4), (5, 2, 3)),
    "residual": (lambda: nn.Sequential(nn.Residual(nn.Linear(4, 4)), nn.ELU(), nn.Residual(nn.Linear(4, 4))), (3, 4)),
    "grouped": (lambda: nn.Sequential(nn.Conv1d(4, 4, 3), nn.GroupNorm(2, 4), nn.SiLU(), nn.AvgPool1d(2)), (2, 4, 9)),
    "dropped": (lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.GLU(), nn.RMSNorm(4)), (3, 4)),
}  # fmt: skip


@pytest.mark.parametrize(("make", "shape"), MODELS.values(), ids=MODELS)
def test_every_make_adds_up(make, shape, rng):
    x = rng.normal(size=shape).astype("f")
    walk = flow.walk(flow.record(make(), squared, x))
    for forward in (False, True):
        assert_adds_up(flow.ledger(walk, forward=forward))


def test_transformations_inside_a_loss(rng):
    """A derivative within the loss, vmap, jit and checkpoint are read through."""
    model, x = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)), rng.normal(size=(5, 4)).astype("f")
    plain = ledger_of(model, squared, x)
    for wrapped in (
        wg.jit(squared),
        lambda m, x: wg.mean(wg.square(wg.vmap(m)(x))),
        lambda m, x: wg.mean(wg.square(wg.checkpoint(m)(x))),
    ):
        assert ledger_of(model, wrapped, x).total == pytest.approx(plain.total, abs=1e-6)
    inner = ledger_of(model, lambda m, x: wg.mean(wg.square(wg.grad(lambda x: wg.sum(m(x)))(x))), x)
    assert_adds_up(inner)


def test_what_lies_before_the_model_is_not_the_loss(rng):
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    walk = flow.walk(flow.record(model, lambda m, x: wg.sum(m(m(wg.sin(x)) + x)), rng.normal(size=(3, 4)).astype("f")))
    kinds = [(n.primitive.name, k) for n, k in zip(walk.recording.steps, walk.kinds, strict=True)]
    assert kinds[0] == ("sin", "activation") and kinds[-1] == ("sum", "loss")
    assert [k for _, k in kinds].count("loss") == 1
    assert ("add", "shortcut") in kinds


def test_plain_functions_have_numbered_layers(rng):
    params = [rng.normal(size=(4, 4)), rng.normal(size=(4, 2))]
    ledger = ledger_of(params, lambda p, x: wg.sum(wg.square(wg.tanh(x @ p[0]) @ p[1])), rng.normal(size=(3, 4)))
    assert list(ledger.by_layer) == ["layer 1", "layer 2", "loss"]
    assert set(ledger.by_layer["layer 1"]) == {"weight", "activation"}
    assert "layer 1" in str(ledger) and "decades" in str(ledger)


def test_a_function_of_parameters_alone():
    """The one-weight net: cost 0.5 w⁴, slope 2 w³."""
    ledger = ledger_of({"w": np.float64(2.0)}, lambda p: 0.5 * p["w"] ** 4)
    assert ledger.start == "w" and ledger.total == pytest.approx(math.log10(16))
    assert_adds_up(ledger)


def test_inputs_have_names(rng):
    batch = {"x": rng.normal(size=(2, 4)), "y": [rng.normal(size=(2, 3)), 1]}
    model = {"w": rng.normal(size=(4, 3))}
    recording = flow.record(model, lambda p, b: wg.sum(wg.square(b["x"] @ p["w"] - b["y"][0])), batch)
    assert list(recording.inputs) == ["0.x", "0.y[0]"]


# -- odd cases ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [wg.sign, wg.round, wg.stop_gradient], ids=["sign", "round", "stop_gradient"])
def test_a_step_without_derivative(stop, rng):
    model = nn.Sequential(nn.Linear(4, 6), nn.Lambda(stop), nn.Linear(6, 2))
    ledger = ledger_of(model, lambda m, x: wg.sum(wg.square(m(x))), rng.normal(size=(3, 4)).astype("f"))
    assert ledger.start.startswith(("1:", "2:"))  # behind the place where the gradient stops
    assert "0" not in ledger.by_module


def test_values_that_are_zero_throughout(rng):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    assert_adds_up(ledger_of(model, squared, np.zeros((3, 4), "f"), forward=True))
    y = np.argmax(
        np.asarray(model(x := rng.normal(size=(5, 4)).astype("f"))), axis=1
    )  # picked logits minus the largest: 0
    for forward in (False, True):
        assert_adds_up(ledger_of(model, lambda m, x, y: F.cross_entropy(m(x), y), x, y, forward=forward))


def test_zero_weights_end_the_gradient_and_say_where(rng):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    model[2].weight = wg.zeros((2, 6))
    walk = flow.walk(flow.record(model, lambda m, x: wg.sum(m(x)), rng.normal(size=(3, 4)).astype("f")))
    ledger = flow.ledger(walk)
    assert ledger.total == -math.inf
    assert [(walk.kinds[at], walk.recording.steps[at].primitive.name) for at in ledger.ends] == [
        ("weight", "dot_general")
    ]


def test_a_batch_with_nan_is_recorded(rng):
    x = rng.normal(size=(5, 4)).astype("f")
    x[0, 0] = np.nan
    recording = flow.record(nn.Linear(4, 2), squared, x)
    assert math.isnan(recording.value)
    assert math.isnan(flow.ledger(flow.walk(recording)).total)


def test_a_constant_loss():
    for loss in (1.0, np.float32(1), wg.asarray(1.0)):
        recording = flow.record(nn.Linear(4, 2), lambda m, x, loss=loss: loss, np.ones((1, 4), "f"))
        assert recording.loss is None and recording.value == 1.0
        assert flow.ledger(flow.walk(recording)).start == "nothing"


def test_no_function_for_a_loss():
    with pytest.raises(ArgumentError, match="the loss function is a int"):
        flow.record(nn.Linear(4, 2), 3, np.ones((1, 4), "f"))


def test_attention_crosses_weighted_layers_only(rng):
    """In attention a path goes through the projection of queries, keys or values, and the one of the output."""
    attention = nn.MultiheadAttention(8, 2)
    x = rng.normal(size=(5, 2, 8)).astype("f")
    found = flow.by_path_length(attention, lambda m, x: wg.sum(wg.square(m(x, x, x)[0])), x)
    assert [k for k, n in enumerate(found.norms) if n > -math.inf] == [2]


def test_no_such_example(rng):
    with pytest.raises(ArgumentError, match="no example 9 in a value of shape"):
        flow.spectrum(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), squared, np.ones((2, 4), "f"), example=9)
