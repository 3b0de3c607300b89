"""Loss functions as users of other libraries write them: what is wrong with them is said before anything runs."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import flow, nn, optim, train
from wengert.errors import ArgumentError
from wengert.nn import functional as F

X = np.random.default_rng(0).standard_normal((32, 4)).astype("f4")
Y = (X[:, 0] > 0).astype("i8")


def net():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


class Objective(nn.Module):
    """A loss may be an object, if it takes the model."""

    def forward(self, model, x, y):
        return F.cross_entropy(model(x), y)


WRONG = [
    (nn.CrossEntropyLoss(), (X, Y), r"CrossEntropyLoss\(\) is a function of outputs and targets"),
    (F.cross_entropy, (X, Y), r"return nn\.functional\.cross_entropy\(model\(x\), y\)"),
    (X, (Y,), r"the loss function is a ndarray; .* in this order"),
    (lambda out, y: F.cross_entropy(out, y), (X, Y), r"takes \(out, y\), and is called with \(model, array of shape"),
    (lambda model, x, y: wg.sum(model(x)), (), r"called with \(model\): .*, 0 of them"),
]


@pytest.mark.parametrize(("loss_fn", "batch", "told"), WRONG)
def test_what_is_no_loss_of_a_model_and_a_batch(loss_fn, batch, told):
    with pytest.raises(ArgumentError, match=told):
        flow.diagnose(net(), loss_fn, *batch)


def test_losses_that_are_objects_or_partial():
    assert flow.diagnose(net(), Objective(), X, Y).healthy
    assert flow.diagnose(net(), lambda model, *batch: F.cross_entropy(model(batch[0]), batch[1]), X, Y).healthy


def test_fit_says_the_order_of_its_arguments():
    model = net()
    with pytest.raises(ArgumentError, match=r"train.fit: CrossEntropyLoss\(\) is a function of outputs"):
        train.fit(model, optim.Adam(model), nn.CrossEntropyLoss(), (X, Y))
    with pytest.raises(ArgumentError, match=r"train\.fit\(model, optimizer, loss_fn, batches\)"):
        train.fit(model, Objective(), optim.Adam(model), (X, Y))


def test_models_and_optimizers_of_pytorch():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Linear(4, 2)
    with pytest.raises(ArgumentError, match=r"ours\.load_state_dict\(theirs\.state_dict\(\)\)"):
        flow.diagnose(theirs, Objective(), X, Y)
    with pytest.raises(ArgumentError, match=r"SGD of PyTorch; expected an optimizer of wg\.optim"):
        flow.diagnose(net(), Objective(), X, Y, optimizer=torch.optim.SGD(theirs.parameters(), 0.1))
