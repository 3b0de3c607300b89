"""The gain ledger against chains listed one by one, and against known cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

import wengert as wg
from wengert import flow, nn
from wengert.errors import ArgumentError, ShapeError
from wengert.nn import functional as F


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def cross_entropy(model, x, y):
    return F.cross_entropy(model(x), y)


def mlp(depth, activation, gain=1.0, width=64, norm=None):
    layers = []
    for _ in range(depth):
        linear = nn.Linear(width, width)
        linear.weight = wg.asarray(
            (np.random.default_rng(len(layers)).normal(size=(width, width)) * gain / width**0.5).astype("f")
        )
        layers += [linear, *([norm(width)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def random_net(seed):
    """A few layers with branches, shortcuts, products of signals and normalisation, wired at random."""
    rng = np.random.default_rng(seed)
    plan = [(rng.integers(6), rng.integers(0, k + 1), rng.integers(0, k + 1)) for k in range(5)]
    params = {f"w{k}": rng.normal(size=(4, 4)) for k in range(5)}

    def loss_fn(p, x):
        values = [x]
        for k, (what, i, j) in enumerate(plan):
            a, b = values[i], values[j]
            values.append(
                [
                    lambda a, b, k=k: wg.tanh(a @ p[f"w{k}"]),
                    lambda a, b: a + b,
                    lambda a, b: a * b + a,
                    lambda a, b: F.layer_norm(a, 4),
                    lambda a, b, k=k: wg.scan(lambda c, _: (wg.sin(c @ p[f"w{k}"]) + b, None), a, None, length=3)[0],
                    lambda a, b: (a @ b.T) @ a,
                ][what](a, b)
            )
        return wg.sum(wg.square(values[-1]))

    return params, loss_fn, rng.normal(size=(3, 4))


def chains(walk, index, limit=20000):
    """Every chain from a value up to the loss: lists of (probability, [(kind, term), …])."""
    nodes = walk.recording.steps
    if not walk.into[index]:
        yield 1.0, []
        return
    weights = np.array([10 ** (2 * e.leaving) for e in walk.into[index]])
    for e, p in zip(walk.into[index], weights / weights.sum(), strict=True):
        if p == 0:
            continue
        edge = [("merge", walk.norms[index] - e.leaving), (walk.kinds[e.step], e.leaving - e.arriving)]
        for o in nodes[e.step].outputs:
            q = 10 ** (2 * (walk.norms[o.index] - e.arriving))
            if q > 0:
                fork = [(walk.kinds[e.step], e.arriving - walk.norms[o.index])]
                for rest, terms in chains(walk, o.index):
                    yield p * q * rest, edge + fork + terms


@pytest.mark.parametrize("seed", range(12))
def test_along_every_chain_the_terms_add_up_to_the_whole(seed):
    params, loss_fn, x = random_net(seed)
    walk = flow.walk(flow.record(params, loss_fn, x))
    value = walk.recording.inputs["0"]
    ledger = flow.ledger(walk)
    exact = math.log10(np.linalg.norm(np.asarray(wg.grad(loss_fn, 1)(params, x))))
    assert ledger.total == pytest.approx(exact, abs=1e-9)
    expected, total_p = {}, 0.0
    for count, (p, terms) in enumerate(chains(walk, value.index)):
        assert math.fsum(t for _, t in terms) == pytest.approx(exact, abs=1e-9)
        total_p += p
        for kind, t in terms:
            expected[kind] = expected.get(kind, 0.0) + p * t
        if count > 20000:
            pytest.skip("too many chains to list")
    assert total_p == pytest.approx(1, abs=1e-9)
    assert math.fsum(ledger.by_kind.values()) == pytest.approx(exact, abs=1e-9)
    edges = {k: math.fsum(r.share * r.gain for r in ledger.rows if r.kind == k) for k in expected if k != "merge"}
    assert math.fsum(r.share * r.merge for r in ledger.rows) == pytest.approx(expected.get("merge", 0.0), abs=1e-9)
    for kind, amount in edges.items():
        assert amount == pytest.approx(expected[kind], abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_every_way_of_adding_up_gives_the_whole(seed):
    params, loss_fn, x = random_net(seed)
    walk = flow.walk(flow.record(params, loss_fn, x))
    for forward in (False, True):
        ledger = flow.ledger(walk, forward=forward)
        by_module = math.fsum(t for part in ledger.by_module.values() for t in part.values())
        assert math.fsum(ledger.by_kind.values()) == pytest.approx(ledger.total, abs=1e-9)
        assert by_module == pytest.approx(ledger.total, abs=1e-9)


def test_norms_are_those_of_the_gradients(rng):
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
    x, y = rng.normal(size=(8, 6)).astype("f"), rng.integers(0, 3, 8)
    walk = flow.walk(flow.record(model, cross_entropy, x, y))
    grads = wg.grad(cross_entropy)(model, x, y)
    wanted = dict(grads.named_parameters())
    assert set(wanted) == set(walk.recording.parameters)
    for name, v in walk.recording.parameters.items():
        assert 10 ** walk.norms[v.index] == pytest.approx(
            np.linalg.norm(np.asarray(wanted[name], float)), rel=1e-5, abs=1e-8
        )


def test_twelve_sigmoid_layers_lose_by_activations_and_not_by_weights(rng):
    x, y = rng.normal(size=(64, 64)).astype("f"), rng.integers(0, 10, 64)
    ledger = flow.ledger(flow.walk(flow.record(mlp(12, nn.Sigmoid), cross_entropy, x, y)))
    assert ledger.by_kind["activation"] == pytest.approx(12 * math.log10(0.25), abs=0.6)
    assert abs(ledger.by_kind["weight"]) < 1


def test_large_weights_gain_by_weights(rng):
    x, y = rng.normal(size=(64, 64)).astype("f"), rng.integers(0, 10, 64)
    ledger = flow.ledger(flow.walk(flow.record(mlp(12, nn.ReLU, gain=5.0), cross_entropy, x, y)))
    assert ledger.by_kind["weight"] > 12 * math.log10(5) - 1.5
    assert ledger.by_kind["activation"] < 0
    assert ledger.total > 4


def test_beyond_the_range_of_the_type(rng):
    """A thousand layers shrink a gradient by hundreds of decades; float32 holds 38."""
    x, y = rng.normal(size=(4, 16)).astype("f"), rng.integers(0, 10, 4)
    model = mlp(400, nn.Sigmoid, width=16)
    ledger = flow.ledger(flow.walk(flow.record(model, cross_entropy, x, y)))
    wide = flow.ledger(flow.walk(flow.record(model.double(), cross_entropy, x.astype(float), y)))
    assert ledger.total < -200
    assert ledger.total == pytest.approx(wide.total, abs=0.05)


def test_a_loop_is_its_turns(rng):
    """A scan, a loop in Python and a compiled loop leave the same ledger."""
    w, x = rng.normal(size=(5, 5)) / 2, rng.normal(size=(3, 5))

    def scanned(p, x):
        return wg.sum(wg.scan(lambda h, _: (wg.tanh(h @ p["w"]), None), x, None, length=6)[0])

    def looped(p, x):
        for _ in range(6):
            x = wg.tanh(x @ p["w"])
        return wg.sum(x)

    def counted(p, x):
        return wg.sum(wg.while_loop(lambda c: c[0] < 6, lambda c: (c[0] + 1, wg.tanh(c[1] @ p["w"])), (0, x))[1])

    found = [
        flow.ledger(flow.walk(flow.record({"w": w}, f, x)))
        for f in (scanned, looped, counted, wg.jit(scanned), wg.checkpoint(scanned))
    ]
    for ledger in found[1:]:
        assert ledger.total == pytest.approx(found[0].total, abs=1e-12)
        assert ledger.by_kind["activation"] == pytest.approx(found[0].by_kind["activation"], abs=1e-12)
    assert sorted(found[0].by_turn) == list(range(6))
    assert sum(t for part in found[0].by_turn.values() for t in part.values()) == pytest.approx(
        found[0].total - found[0].by_module[""].get("loss", 0.0), abs=1e-9
    )


def test_through_time_every_chain_crosses_every_turn(rng):
    """From the first state that is handed on, a turn's part is what a turn does: here an orthogonal matrix, halved."""
    w = 0.5 * np.linalg.qr(rng.normal(size=(5, 5)))[0]
    x, inputs = rng.normal(size=(3, 5)), rng.normal(size=(8, 3, 5))

    def loss_fn(p, x):
        return wg.sum(wg.scan(lambda h, i: (h @ p["w"] + i, None), x, inputs)[0] ** 2)

    walked = flow.walk(flow.record({"w": w}, loss_fn, x))
    through = flow.through_time(walked)
    assert sorted(through.by_turn) == list(range(1, 8))
    for kinds in through.by_turn.values():
        assert sum(kinds.values()) == pytest.approx(np.log10(0.5), abs=1e-9)
    assert flow.through_time(flow.walk(flow.record({"w": w}, lambda p, x: wg.sum(x @ p["w"]), x))) is None


def test_scopes_name_modules_and_lines(rng):
    class Block(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            return x + wg.tanh(self.inner(x))

    model = nn.Sequential(Block(), Block())
    x = rng.normal(size=(3, 4)).astype("f")
    recording = flow.record(model, lambda m, x: wg.sum(m(x)), x)
    assert [c.path for c in recording.calls] == ["0.inner", "0", "1.inner", "1", ""]
    ledger = flow.ledger(flow.walk(recording))
    assert {"0", "1", "0.inner", "1.inner"} <= set(ledger.by_module)
    tanh = next(r for r in ledger.rows if r.primitive == "tanh")
    assert tanh.module == "0" and tanh.line.text == "return x + wg.tanh(self.inner(x))"
    assert ledger.by_kind["shortcut"] != 0


def test_where_a_gradient_ends():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model[0].bias = wg.asarray(np.full(4, -1e3, "f"))
    x = np.ones((2, 3), "f")
    walk = flow.walk(flow.record(model, lambda m, x: wg.sum(m(x)), x))
    ledger = flow.ledger(walk)
    assert ledger.total == -math.inf
    assert [walk.kinds[at] for at in ledger.ends] == ["activation"]


def test_the_model_stays_as_it_was(rng):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    before = {k: np.asarray(v).copy() for k, v in model.state_dict(transient=True).items()}
    flow.record(model, lambda m, x: wg.sum(m(x)), rng.normal(size=(5, 3)).astype("f"))
    for k, v in model.state_dict(transient=True).items():
        np.testing.assert_array_equal(before[k], v)


def test_bad_input(rng):
    model, x = nn.Linear(3, 2), rng.normal(size=(5, 3)).astype("f")
    with pytest.raises(ShapeError, match=r"the loss has shape \(5, 2\)"):
        flow.record(model, lambda m, x: m(x), x)
    with pytest.raises(ArgumentError, match="no parameters to differentiate"):
        flow.record(nn.ReLU(), lambda m, x: wg.sum(m(x)), x)
    with pytest.raises(ArgumentError, match="returned a str"):
        flow.record(model, lambda m, x: "loss", x)


LAYERS = {
    "transformer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16),
        (5, 2, 8),
        {"attention", "normalisation", "weight", "shortcut"},
    ),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()),
        (2, 1, 8, 8),
        {"weight", "activation", "pooling"},
    ),
    "normalised": (
        lambda: nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.LayerNorm(8)),
        (4, 8),
        {"weight", "activation", "normalisation"},
    ),
}


@pytest.mark.parametrize(("make", "shape", "kinds"), LAYERS.values(), ids=LAYERS)
def test_kinds_of_layers(make, shape, kinds, rng):
    x = rng.normal(size=shape).astype("f")
    ledger = flow.ledger(flow.walk(flow.record(make(), lambda m, x: wg.sum(wg.sin(m(x))), x)))
    assert kinds <= set(ledger.by_kind)
    assert "other" not in ledger.by_kind or abs(ledger.by_kind["other"]) < 1e-6
