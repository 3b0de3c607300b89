"""Every remedy as a user meets it: advised by a diagnosis, applied, and what it then is."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.test_flow_diagnose import X, Y, loss_fn, plain
from tests.test_flow_findings import FIRST, SEQUENCE, cut, dead, deep, frozen, recurrent
from wengert import flow, nn, optim
from wengert.flow import remedies

F = nn.functional


def has(kind, count=1):
    return lambda model: sum(isinstance(m, kind) for m in model.modules()) >= count


def wild():
    model = plain(2, nn.Tanh)
    return model, loss_fn, (X, Y), optim.SGD(model, 300.0)


def shut():
    """An LSTM whose forget gates begin shut."""
    nn.manual_seed(0)
    layer = nn.LSTM(3, 12)
    layer.bias_ih_l0 = layer.bias_ih_l0 - np.repeat([0.0, 6.0, 0.0, 0.0], 12).astype(np.float32)

    class Net(nn.Module):
        def __init__(self):
            self.rnn, self.out = layer, nn.Linear(12, 3)

        def forward(self, x):
            return self.out(self.rnn(x)[0][-1])

    return Net(), loss_fn, (SEQUENCE, FIRST), None


def on(model, x=X, y=Y, loss=loss_fn):
    return lambda: (model(), loss, (x, y), None)


def gains(model):
    return [float(np.asarray(m.weight).std()) * m.weight.shape[1] ** 0.5 for m in model.modules() if has(nn.Linear)(m)]


def nll(model, x, y):
    return F.nll_loss(F.softmax(model(x), -1), y)


SIGMOID = on(lambda: plain(12, nn.Sigmoid, gain=1.0))
LARGE = on(lambda: plain(14, nn.ReLU, gain=6.0))
RECURRENT = on(lambda: recurrent(0.4), SEQUENCE, FIRST)

# the beginning of a remedy's name: case, and what holds of the mended model or recipe
MODELS = {
    "ReLU for Sigmoid": (SIGMOID, has(nn.ReLU, 12)),
    "LeakyReLU for ReLU": (on(dead), has(nn.LeakyReLU, 4)),
    "ELU for ReLU": (on(dead), has(nn.ELU, 4)),
    "dead layers drawn anew": (on(dead), lambda m: float(np.asarray(m[4].bias).min()) == 0),
    "weights drawn anew": (LARGE, lambda m: np.asarray(m[2].weight).std() * 4 == pytest.approx(1.41, rel=0.2)),
    "batch normalisation": (SIGMOID, has(nn.BatchNorm1d, 12)),
    "layer normalisation": (on(lambda: plain(12, nn.Sigmoid, gain=1.0), X[:8], Y[:8]), has(nn.LayerNorm, 12)),
    "residual shortcuts": (on(lambda: deep(nn.Tanh, 40)), has(nn.Residual, 39)),
    "GRU for RNN": (RECURRENT, has(nn.GRU)),
    "LSTM for RNN": (RECURRENT, has(nn.LSTM)),
    "orthogonal recurrent weights": (
        RECURRENT, lambda m: np.linalg.norm(m.rnn.weight_hh_l0, 2) == pytest.approx(1, rel=1e-5)),
    "forget gates open at first": (shut, lambda m: float(np.asarray(m.rnn.bias_ih_l0)[12:24].min()) > 1),
    "unfreeze all": (on(frozen), lambda m: m.trainable),
    "leave out 2": (on(cut), lambda m: isinstance(m[2], nn.Identity)),
    "straight-through derivative of 2": (on(cut), lambda m: np.any(np.asarray(wg.grad(loss_fn)(m, X, Y)[0].weight))),
    "remove the softmax": (on(lambda: nn.Sequential(plain(2, nn.ReLU), nn.Softmax(-1))), has(nn.Identity)),
}  # fmt: skip
SETTINGS = {
    "clip the gradient's norm": (LARGE, lambda r: 0 < r.clip_norm <= 1),
    "clip the gradient's values": (LARGE, lambda r: 0 < r.clip_value <= 1),
    "L2 regularisation": (LARGE, lambda r: r.l2 > 0),
    "L1 regularisation": (LARGE, lambda r: r.l1 > 0),
    "learning rate": (wild, lambda r: r.learning_rate < 30),
    "warm-up": (wild, lambda r: float(r.schedule(300.0, 0)) < 5),
    "cross entropy of the logits": (on(lambda: plain(2, nn.ReLU), loss=nll), lambda r: r.loss_fn is not nll),
}


def advised(case, name):
    model, loss, batch, optimizer = case()
    report = flow.diagnose(model, loss, *batch, optimizer=optimizer)
    found = [r for f in report.findings for r in f.remedies if r.name.startswith(name) and not r.parts]
    assert found, (report.verdict, [r.name for f in report.findings for r in f.remedies])
    return found[0], model, loss, batch


@pytest.mark.parametrize("name", MODELS)
def test_remedies_of_models(name):
    case, holds = MODELS[name]
    remedy, model, loss, batch = advised(case, name)
    before = {k: np.array(v) for k, v in model.state_dict().items()}
    mended = remedy.apply(model)
    assert holds(mended) and np.isfinite(float(loss(mended, *batch)))
    for k, v in model.state_dict().items():  # the given model stays as it is
        np.testing.assert_array_equal(np.asarray(v), before[k])


@pytest.mark.parametrize("name", SETTINGS)
def test_remedies_of_settings(name):
    case, holds = SETTINGS[name]
    remedy, model, loss, batch = advised(case, name)
    recipe = remedy.apply(flow.Recipe(model, loss, optim.SGD, 1e-3))
    assert isinstance(remedy.apply(model), flow.Recipe) and holds(recipe)
    curve = recipe.but(optimizer=optim.Adam).train([batch], 3, executor="numpy")
    assert len(curve.losses) == 3 and name.split()[0] in str(remedy)


def test_clipping_by_a_measured_bound_bounds_the_step():
    remedy, model, loss, batch = advised(LARGE, "clip the gradient's norm")
    recipe = remedy.change(flow.Recipe(model, loss, optim.SGD, 1.0))
    moved = recipe.train([batch], 1, executor="numpy").model
    change = [np.asarray(a) - np.asarray(b) for a, b in zip(moved.parameters(), model.parameters(), strict=True)]
    assert np.sqrt(sum((c.astype(float) ** 2).sum() for c in change)) == pytest.approx(recipe.clip_norm, rel=1e-3)


def test_a_part_with_a_derivative_of_its_own_makes_what_it_made():
    model = cut()
    x = 3 * X
    np.testing.assert_allclose(np.asarray(remedies.straight_through(model, "2")(x)), np.asarray(model(x)), rtol=1e-6)
    assert not np.allclose(np.asarray(remedies.without_part(model, "2")(x)), np.asarray(model(x)))


def test_a_cell_becomes_a_gated_cell():
    class Net(nn.Module):
        def __init__(self):
            self.cell, self.out = nn.RNNCell(3, 12), nn.Linear(12, 3)

        def forward(self, x):
            h = None
            for row in x:
                h = self.cell(row) if h is None else self.cell(row, h)
            return self.out(h)

    mended = remedies.gated(Net(), "gru", 30)
    assert isinstance(mended.cell, nn.GRUCell) and np.isfinite(float(loss_fn(mended, SEQUENCE, FIRST)))
