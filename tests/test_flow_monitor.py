"""flow.Monitor: every statistic against its computation in NumPy; looking changes nothing; a user's own loop."""

from __future__ import annotations

import math

import numpy as np
import pytest

import wengert as wg
from wengert import flow, nn, optim, train
from wengert.errors import ArgumentError
from wengert.flow import statistics
from wengert.flow.run import as_json

RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 6))
Y = RNG.integers(0, 3, 48)


def net(dtype=np.float64, activation=nn.ReLU):
    nn.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 10), activation(), nn.Linear(10, 3)).to(dtype)


def loss_fn(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


def one_look(model, rate=0.1, x=X, y=Y, f=loss_fn, **settings):
    """The record of one step by SGD, and the parameters before it."""
    before = {n: np.asarray(p, np.float64).copy() for n, p in model.named_parameters()}
    monitor = flow.Monitor(1, 1, **settings)
    train.fit(model, optim.SGD(model, rate), f, (x, y), 1, [monitor], batch_size=len(x), progress=False)
    (record,) = monitor.records
    return record, before


def by_hand(p, x, y):
    """Activations and gradients of `net`, in NumPy."""
    n = len(x)
    h = x @ p["0.weight"].T + p["0.bias"]
    a = np.maximum(h, 0)
    z = a @ p["2.weight"].T + p["2.bias"]
    e = np.exp(z - z.max(1, keepdims=True))
    share = e / e.sum(1, keepdims=True)
    loss = -np.log(share[np.arange(n), y]).mean()
    dz = (share - np.eye(3)[y]) / n
    da = dz @ p["2.weight"]
    dh = da * (h > 0)
    grads = {"0.weight": dh.T @ x, "0.bias": dh.sum(0), "2.weight": dz.T @ a, "2.bias": dz.sum(0)}
    return loss, {"0": (h, dh), "1": (a, da), "2": (z, dz)}, grads


def agree(entry, x, rel=1e-4):
    assert entry["mean"] == pytest.approx(x.mean(), rel=rel, abs=1e-6)
    assert entry["std"] == pytest.approx(x.std(), rel=1e-3, abs=1e-6)
    assert entry["rms"] == pytest.approx(np.sqrt((x**2).mean()), rel=rel)
    assert entry["norm"] == pytest.approx(np.linalg.norm(x), rel=rel)
    assert entry["min"] == pytest.approx(x.min(), rel=rel)
    assert entry["max"] == pytest.approx(x.max(), rel=rel)
    assert entry["zero"] == pytest.approx((x == 0).mean())
    assert x.size <= statistics.SAMPLE  # so that the histogram is of all of it
    counts = np.histogram(x, statistics.BINS)[0]
    assert sum(entry["histogram"]["counts"]) == x.size
    assert np.abs(counts - entry["histogram"]["counts"]).sum() <= 4  # in float32 some fall beyond an edge


def test_every_number_is_what_numpy_finds():
    record, p = one_look(net())
    loss, calls, grads = by_hand(p, X, Y)
    assert record["loss"] == pytest.approx(loss, rel=1e-6)
    for name, g in grads.items():
        entry = record["parameters"][name]
        agree(entry, p[name])
        assert entry["gradient"]["norm"] == pytest.approx(np.linalg.norm(g), rel=1e-5)
        assert entry["gradient"]["min"] == pytest.approx(g.min(), rel=1e-4)
        assert entry["update_norm"] == pytest.approx(0.1 * np.linalg.norm(g), rel=1e-5)
        assert entry["update_ratio"] == pytest.approx(0.1 * np.linalg.norm(g) / np.linalg.norm(p[name]), rel=1e-5)
    total = math.sqrt(sum(np.sum(g**2) for g in grads.values()))
    assert record["whole"]["grad_norm"] == pytest.approx(total, rel=1e-5)
    assert record["whole"]["update_norm"] == pytest.approx(0.1 * total, rel=1e-5)
    assert list(record["activations"]) == ["0", "1", "2"]
    for name, (a, d) in calls.items():
        entry = record["activations"][name]
        agree(entry, a)
        assert entry["gradient"]["norm"] == pytest.approx(np.linalg.norm(d), rel=1e-4)
        assert entry["gradient"]["max"] == pytest.approx(d.max(), rel=1e-4)
        a, d = a[: statistics.EXAMPLES], d[: statistics.EXAMPLES]
        s = np.linalg.svd(a - a.mean(0), compute_uv=False) ** 2
        assert entry["rank"] == pytest.approx(s.sum() ** 2 / (s**2).sum(), rel=1e-3)
        s = np.linalg.svd(d, compute_uv=False) ** 2
        noise = (math.sqrt(len(d)) + math.sqrt(d.shape[1])) ** 2 / d.size
        assert entry["shattering"] == pytest.approx(s.sum() / s.max() * noise, rel=0.02)
    assert record["activations"]["1"]["dead"] == (calls["1"][0] == 0).all(0).mean()
    assert record["activations"]["0"]["dead"] == (calls["0"][1] == 0).all(0).mean()


def test_activations_and_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    x = RNG.standard_normal((4, 2, 6, 6)).astype(np.float32)
    y = np.array([0, 1, 2, 0])
    nn.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Residual(nn.Conv2d(4, 4, 3, padding=1), nn.Tanh()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    state = {k: torch.tensor(np.asarray(v)) for k, v in model.state_dict().items()}
    record, _ = one_look(model, x=x, y=y)
    t = torch.nn
    first, norm, inner, out = (
        t.Conv2d(2, 4, 3, padding=1),
        t.BatchNorm2d(4),
        t.Conv2d(4, 4, 3, padding=1),
        t.Linear(4, 3),
    )
    for module, name in ((first, "0"), (norm, "1"), (inner, "2.branch.0"), (out, "5")):
        module.load_state_dict({k.removeprefix(name + "."): v for k, v in state.items() if k.startswith(name + ".")})
    seen = {"0": first(torch.tensor(x))}
    seen["1"] = norm(seen["0"])
    seen["2.branch.0"] = inner(seen["1"])
    seen["2.branch.1"] = torch.tanh(seen["2.branch.0"])
    seen["2"] = seen["1"] + seen["2.branch.1"]
    seen["3"] = seen["2"].mean((2, 3), keepdim=True)
    seen["5"] = out(seen["3"].flatten(1))
    for v in seen.values():
        v.retain_grad()
    t.functional.cross_entropy(seen["5"], torch.tensor(y)).backward()
    assert set(seen) <= set(record["activations"])
    for name, v in seen.items():
        entry, g = record["activations"][name], v.grad
        assert entry["rms"] == pytest.approx(float(v.detach().pow(2).mean().sqrt()), rel=1e-4), name
        assert entry["gradient"]["rms"] == pytest.approx(float(g.pow(2).mean().sqrt()), rel=1e-3), name
    slow = 1 - seen["2.branch.1"] ** 2 < 0.05
    assert record["activations"]["2.branch.1"]["saturated"] == pytest.approx(float(slow.double().mean()))


def test_gradient_noise_is_that_of_single_examples():
    record, p = one_look(net())
    grads = [by_hand(p, X[i : i + 1], Y[i : i + 1])[2] for i in range(len(X))]
    flat = np.stack([np.concatenate([g.ravel() for g in one.values()]) for one in grads])
    trace = flat.var(0, ddof=1).sum()
    square = np.sum(flat.mean(0) ** 2) - trace / len(X)
    assert record["whole"]["noise_trace"] == pytest.approx(trace, rel=1e-4)
    assert record["whole"]["noise_square"] == pytest.approx(square, rel=1e-3)
    expected = trace / square if square > 0 else math.inf
    assert record["whole"]["noise_scale"] == pytest.approx(expected, rel=2e-3)


def test_curvature_is_that_of_the_hessian_along_the_step():
    model = net(activation=nn.Tanh)
    copy = model.copy()
    record, _ = one_look(model, rate=0.05)
    grads = wg.grad(loss_fn)(copy, X, Y)
    step = wg.tree.map(lambda g: -0.05 * g, grads)
    h = wg.jvp(lambda m: wg.grad(loss_fn)(m, X, Y), (copy,), (step,))[1]
    square = sum(float((s * s).sum()) for s in wg.tree.leaves(step))
    second = sum(float((a * b).sum()) for a, b in zip(wg.tree.leaves(h), wg.tree.leaves(step), strict=True))
    whole = record["whole"]
    assert whole["curvature"] == pytest.approx(second / square, rel=0.05)
    assert whole["loss_promised"] == pytest.approx(-square / 0.05, rel=1e-5)
    assert whole["loss_change"] == pytest.approx(float(loss_fn(model, X, Y)) - float(loss_fn(copy, X, Y)), rel=1e-4)
    assert 0.5 < whole["gain_ratio"] < 1


def test_a_step_that_is_too_long_has_a_negative_gain():
    model = net(activation=nn.Tanh)
    record, _ = one_look(model, rate=200.0)
    assert record["whole"]["gain_ratio"] < 0 and record["whole"]["update_ratio"] > 1


def test_random_masks_stay_as_they_were_when_the_step_is_judged():
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 40), nn.BatchNorm1d(40), nn.Dropout(0.5), nn.Linear(40, 3)).to(np.float64)
    record, _ = one_look(model, rate=0.0)
    assert record["whole"]["loss_change"] == 0 and record["whole"]["update_norm"] == 0
    assert int(model[1].num_batches_tracked) == 1  # the second look at the loss has left no trace


def test_dead_and_saturated_units_are_counted():
    model = net()
    model[0].bias = wg.asarray(np.where(np.arange(10) < 4, -100.0, 100.0))
    record, _ = one_look(model)
    assert record["activations"]["1"]["dead"] == pytest.approx(0.4)
    assert record["activations"]["0"]["dead"] == pytest.approx(0.4)  # told by the gradient, without the ReLU
    for activation, bound in ((nn.Sigmoid, 0.3), (nn.Tanh, 0.3), (nn.Hardtanh, 0.5), (nn.Softsign, 0.2)):
        model = net(activation=activation)
        model[0].bias = wg.asarray(np.where(np.arange(10) < 5, 60.0, 0.0))
        seen = one_look(model)[0]["activations"]["1"]
        assert 0.5 <= seen["saturated"] <= 0.5 + bound and "dead" not in seen


def test_only_some_examples_of_a_large_activation_are_looked_at():
    record, p = one_look(net(), sample=100)
    h = by_hand(p, X, Y)[1]["0"][0]
    assert record["activations"]["0"]["min"] == pytest.approx(h[:10].min(), rel=1e-5)
    assert record["activations"]["0"]["rms"] == pytest.approx(np.sqrt((h[:10] ** 2).mean()), rel=1e-5)


def test_a_histogram_of_a_sample_meets_every_column():
    x = np.tile(np.arange(16.0), (1000, 1))
    picked = np.asarray(statistics.sampled(wg.asarray(x)))
    assert set(picked) == set(range(16)) and statistics.SAMPLE <= picked.size < 2.2 * statistics.SAMPLE


def test_the_picture_has_a_strip_for_each_parameter():
    model, monitor = net(), flow.Monitor(1, 1)
    train.fit(model, optim.SGD(model, 0.1), loss_fn, (X, Y), 2, [monitor], batch_size=16, progress=False)
    for what, names in (("parameters", 4), ("gradients", 4), ("activations", 3)):
        svg = monitor.picture(what)
        assert svg.startswith("<svg") and svg.count('class="range"') == names
    with pytest.raises(ArgumentError, match="expected one of"):
        monitor.picture("no_such")
    with pytest.raises(ArgumentError, match="thorough"):
        flow.ranges_picture([])


def test_a_number_that_is_not_finite_does_no_harm():
    model = net()
    x = X.copy()
    x[0, 0] = 1e300  # the square overflows in float32
    record, _ = one_look(model, x=x, rate=1e-300)
    assert b"Infinity" not in as_json(record) and b"NaN" not in as_json(record)
