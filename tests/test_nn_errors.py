"""Bad input to layers: errors that name both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import nn, optim
from wengert.errors import ArgumentError, DTypeError, OutOfRangeError, ShapeError

X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


def test_wrong_numbers_of_features_name_both_sides() -> None:
    with pytest.raises(ShapeError, match=r"Linear\(in_features=3.*\(8, 4\) has 4 features.*expects 3"):
        nn.Linear(3, 2)(X)
    with pytest.raises(ShapeError, match=r"Conv2d\(3.*\(1, 2, 5, 5\).*3 channels"):
        nn.Conv2d(3, 4, 3)(np.ones((1, 2, 5, 5), np.float32))
    with pytest.raises(ShapeError, match=r"BatchNorm1d\(3.*\(8, 4\).*3 channels"):
        nn.BatchNorm1d(3)(X)
    with pytest.raises(ShapeError, match="more than one value"):
        nn.BatchNorm1d(4)(X[:1])
    with pytest.raises(ShapeError, match=r"\(8, 4\).*\(5,\)"):
        nn.LayerNorm(5)(X)
    with pytest.raises(ShapeError, match=r"LSTM\(3, 5\).*3 features"):
        nn.LSTM(3, 5)(X[None])
    with pytest.raises(ShapeError, match=r"first state of shape \(1, 2, 5\); expected \(1, 8, 5\)"):
        nn.GRU(4, 5)(X[None], np.zeros((1, 2, 5), np.float32))
    with pytest.raises(ShapeError, match="empty"):
        nn.RNN(4, 5)(np.zeros((0, 2, 4), np.float32))
    with pytest.raises(ShapeError, match=r"the query has shape.*6 features"):
        nn.MultiheadAttention(6, 2)(X, X, X)
    with pytest.raises(OutOfRangeError, match=r"between 0 and 9.*5 rows"):
        nn.Embedding(5, 2)(np.array([0, 9]))
    with pytest.raises(DTypeError, match="integers"):
        nn.Embedding(5, 2)(X)
    with pytest.raises(ShapeError, match=r"shortcut has shape \(8, 4\), the branch \(8, 3\)"):
        nn.Residual(nn.Linear(4, 3))(X)
    with pytest.raises(ShapeError, match=r"6 places.*encodings for 4"):
        nn.LearnedPositionalEncoding(3, 4)(np.zeros((6, 3), np.float32))
    with pytest.raises(ArgumentError, match="divisible"):
        nn.MultiheadAttention(6, 4)
    with pytest.raises(ArgumentError, match=r"probability is 1\.5"):
        nn.Dropout(1.5)
    with pytest.raises(ArgumentError, match="truncate is 0"):
        nn.RNN(2, 3, truncate=0)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Linear("a", 2), "Linear: in_features is 'a'"), (lambda: nn.Linear(2.5, 2), "in_features is 2.5"),
        (lambda: nn.Linear(3, -1), "out_features is -1"), (lambda: nn.Conv2d(3, 8, 0), "Conv2d: kernel_size is 0"),
        (lambda: nn.Conv1d(0, 8, 3), "Conv1d: in_channels is 0"), (lambda: nn.Conv1d(3, 4, 3, groups=2), "divisible"),
        (lambda: nn.Conv2d(3, 8, 3, stride=(1, 0)), r"stride is \(1, 0\)"), (lambda: nn.Embedding(0, 3), "num_emb.* 0"),
        (lambda: nn.LayerNorm((3, 0)), "LayerNorm: normalized_shape is 0"), (lambda: nn.GRU("3", 4), "GRU: input_size"),
        (lambda: nn.GroupNorm(0, 4), "num_groups is 0"), (lambda: nn.GroupNorm(3, 4), "3 groups"),
        (lambda: nn.BatchNorm1d(-1), "num_features is -1"), (lambda: nn.LSTMCell(3, 0), "LSTMCell: hidden"),
        (lambda: nn.MultiheadAttention(4, 2.0), "num_heads is 2.0"), (lambda: nn.PReLU(0), "num_parameters is 0"),
        (lambda: nn.LSTM(3, 4, proj_size=4), "proj_size is 4"), (lambda: nn.Conv1d(3, 4, 3, padding="some"), "'some'"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="wrap"), "'wrap'"), (lambda: nn.RNN(3, 4, nonlinearity=""), "nonlin"),
        (lambda: nn.Conv1d(3, 4, 3, stride=2, padding="same"), "stride 1"), (lambda: nn.Residual(), "needs a branch"),
        (lambda: nn.Linear(2, 2, key="a"), "given a str"), (lambda: nn.Linear(2, 2, dtype="int32"), "int32"),
    ],
)  # fmt: skip
def test_layers_refuse_what_they_cannot_be_made_with(make: Any, text: str) -> None:
    with pytest.raises((ArgumentError, DTypeError), match=text):
        make()


def test_attributes_that_cannot_be_traced_are_refused_when_assigned() -> None:
    model = nn.Sequential(nn.Linear(4, 5))

    class Holder:
        def __init__(self) -> None:
            self.weight = wg.ones(3)

    for bad, why in (
        ({1, 2}, "a set"), (iter([1]), "iterator"), (np.array(["a"]), "holds no numbers"), ([{1}], "a set"),
        (Holder(), "a Holder, which holds arrays"), (bytearray(3), "bytearray"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=rf"Sequential\.thing was assigned .*{why}"):
            model.thing = bad
    for good in (1, "a", None, wg.tanh, nn.Linear, np.float32, frozenset((1,)), {"a": [X, 1]}, object(), X.dtype):
        model.thing = good


def test_names_of_other_libraries_are_answered() -> None:
    x, model = wg.ones(3), nn.Linear(2, 2)
    for name, text in (("view", "reshape"), ("numpy", "np.asarray"), ("backward", "value_and_grad"), ("cuda", "moved")):
        with pytest.raises(AttributeError, match=text):
            getattr(x, name)
    assert not hasattr(x, "T") and not hasattr(x, "mT") and wg.ones((2, 3)).T.shape == (3, 2)
    with pytest.raises(AttributeError, match=r"x\.T is for matrices.*got shape \(3,\)"):
        x.T  # noqa: B018
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'cuda'; here: arrays live"):
        model.cuda()
    with pytest.raises(ArgumentError, match=r"model\.to\('cuda:0'\)"):
        model.to("cuda:0")


def test_one_hot() -> None:
    np.testing.assert_array_equal(np.asarray(nn.functional.one_hot([0, 2])), [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(np.asarray(nn.functional.one_hot(np.array([1]), 3)), [[0, 1, 0]])
    assert nn.functional.one_hot([1]).dtype == np.int64
    with pytest.raises(OutOfRangeError, match="between 0 and 3, but there are 3 rows"):
        nn.functional.one_hot([0, 3], 3)


def test_gradients_that_are_none() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    optimizer = optim.SGD(model)
    grads = wg.grad(lambda m: m(X).sum())(model)
    with pytest.raises(ArgumentError, match="gradients of a Sequential, got None"):
        optimizer.update(model, None)
    for wrong in ([wg.ones(2)], {"weight": wg.ones(2)}, (wg.asarray(0.0), grads), wg.ones(3)):
        with pytest.raises(ArgumentError, match=r"(?s)belong to another tree.*only in the model: 0\.weight, 0\.bias"):
            optimizer.update(model, wrong)
    for name, text in (("step", r"optimizer\.update"), ("zero_grad", "values"), ("state_dict", r"train\.save")):
        with pytest.raises(AttributeError, match=text):
            getattr(optimizer, name)
