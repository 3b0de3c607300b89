"""What modules do beside computing: names, modes, buffers, freezing, state dicts, containers, random keys, errors."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import nn, optim
from wengert.errors import ArgumentError, DTypeError, OutOfRangeError, TreeError

X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, size=8)


class Net(nn.Module):
    def __init__(self) -> None:
        self.layers = [nn.Linear(4, 5), nn.Linear(5, 5)]
        self.by_name = {"out": nn.Linear(5, 3)}
        self.norm = nn.BatchNorm1d(5)
        self.gain = wg.ones(())
        self.width = 5

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = wg.tanh(layer(x))
        return self.by_name["out"](self.norm(x)) * self.gain


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return nn.functional.cross_entropy(model(x), y)


def names(found: Any) -> list[str]:
    return [n for n, _ in found]


def test_names() -> None:
    model = Net()
    weights = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "by_name.out.weight"]
    parameters = [*weights, "by_name.out.bias", "norm.weight", "norm.bias", "gain"]
    assert names(model.named_parameters()) == parameters
    buffers = ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    assert names(model.named_buffers()) == buffers
    assert sorted(model.state_dict()) == sorted(parameters + buffers)
    assert names(model.named_modules()) == ["", "layers.0", "layers.1", "by_name.out", "norm"]
    assert names(model.named_children()) == ["layers.0", "layers.1", "by_name.out", "norm"]
    assert model.get_submodule("by_name.out") is model.by_name["out"]
    assert model.count_parameters() == 25 + 30 + 18 + 10 + 1
    with pytest.raises(ArgumentError, match=r"no part 'oops'.*by_name\.out"):
        model.get_submodule("oops")


def test_train_eval_and_apply() -> None:
    model = Net()
    assert model.training and model.norm.training
    assert model.eval() is model and not model.layers[1].training
    assert model.train().norm.training
    seen: list[str] = []
    model.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Net" and sorted(seen[:-1]) == ["BatchNorm1d", "Linear", "Linear", "Linear"]


def test_buffers_get_no_gradient_and_are_written_back() -> None:
    for wrap in (lambda f: f, wg.jit, lambda f: wg.jit(f, executor="native")):
        model = Net()
        before = np.asarray(model.norm.running_mean)
        _, grads = wrap(wg.value_and_grad(loss_fn))(model, X, Y)
        assert grads.norm.running_mean is None and grads.norm.num_batches_tracked is None
        assert sorted(names(grads.named_parameters())) == sorted(names(model.named_parameters()))
        assert int(model.norm.num_batches_tracked) == 1
        assert not np.array_equal(before, np.asarray(model.norm.running_mean))
    _, pullback = wg.vjp(lambda m: m.norm.running_mean.sum() + m.gain, Net())
    assert pullback(1.0)[0].norm.running_mean is None


def test_own_buffers() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            self.register_buffer("scale", wg.asarray(2.0))
            self.last = nn.Buffer(wg.zeros(4), persistent=False)
            self.weight = nn.Parameter(wg.ones(4))

        def forward(self, x: Any) -> Any:
            self.last = x[0]
            return (self.scale * self.weight * x).sum()

    model = Scaled()
    grads = wg.jit(wg.grad(lambda m, x: m(x)))(model, X)
    assert grads.scale is None and grads.last is None
    np.testing.assert_allclose(np.asarray(grads.weight), 2 * X.sum(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(model.last), X[0])
    assert list(model.state_dict()) == ["scale", "weight"]
    assert "last" in model.state_dict(transient=True)
    assert not Scaled._buffers, "declared for the instance"
    with pytest.raises(ArgumentError, match=r"nn\.Buffer"):
        nn.Parameter(X, requires_grad=False)


def test_buffers_declared_by_a_class() -> None:
    class Base(nn.Module):
        _buffers = ("mean",)

        def __init__(self) -> None:
            self.mean = wg.zeros(2)
            self.var = wg.ones(2)

    class Both(Base):
        _buffers = ("var",)

    assert names(Base().named_parameters()) == ["var"] and names(Both().named_buffers()) == ["mean", "var"]
    assert wg.grad(lambda m: (m.mean + m.var).sum())(Base()).mean is None


def test_freezing() -> None:
    model = Net()
    assert model.freeze("layers.0", "*.bias") is model
    assert names(model.named_parameters(trainable_only=True)) == [
        "layers.1.weight", "by_name.out.weight", "norm.weight", "gain",
    ]  # fmt: skip
    _, grads = wg.jit(wg.value_and_grad(loss_fn))(model, X, Y)
    assert grads.layers[0].weight is None and grads.layers[1].bias is None and grads.layers[1].weight is not None
    before = {n: np.asarray(p) for n, p in model.named_parameters()}
    optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
    optimizer.update(model, grads)
    for n, p in model.named_parameters():
        trained = n in ("layers.1.weight", "by_name.out.weight", "norm.weight", "gain")
        assert np.array_equal(before[n], np.asarray(p)) != trained, n
    model.unfreeze("layers.0.weight")
    assert "layers.0.weight" in names(model.named_parameters(trainable_only=True))
    model.trainable = False
    assert not model.trainable and not list(model.parameters(trainable_only=True))
    value, grads = wg.value_and_grad(loss_fn)(model, X, Y)
    assert np.isfinite(value) and not list(grads.parameters())
    assert model.requires_grad_().trainable and "_frozen" not in vars(model.layers[0])
    with pytest.raises(ArgumentError, match=r"called 'encoder'.*layers\.0\.weight"):
        model.freeze("encoder")


def test_state_dict_goes_round() -> None:
    a, b = Net(), Net()
    a(X)
    assert b.load_state_dict(a.state_dict()) == ([], [])
    for n, v in a.state_dict().items():
        np.testing.assert_array_equal(np.asarray(b.state_dict()[n]), np.asarray(v))
    state = {n: np.asarray(v, np.float64) if v.dtype == np.float32 else v for n, v in a.state_dict().items()}
    b.load_state_dict(state)
    assert b.gain.dtype == np.float32


def test_a_state_dict_that_does_not_fit_names_everything_and_changes_nothing() -> None:
    model = Net()
    state = model.state_dict()
    del state["gain"], state["norm.bias"]
    state["layers.0.weight"] = np.ones((4, 5))
    state["extra"] = state["more"] = np.ones(3)
    before = np.asarray(model.layers[1].weight)
    state["layers.1.weight"] = np.zeros((5, 5))
    with pytest.raises(TreeError) as caught:
        model.load_state_dict(state)
    text = str(caught.value)
    for part in ("gain", "norm.bias", "extra", "more", "layers.0.weight: (4, 5) given, the model has (5, 4)"):
        assert part in text
    np.testing.assert_array_equal(before, np.asarray(model.layers[1].weight))
    state["layers.0.weight"] = np.ones((5, 4))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert sorted(missing) == ["gain", "norm.bias"] and sorted(unexpected) == ["extra", "more"]
    with pytest.raises(ArgumentError, match="mapping"):
        model.load_state_dict([1, 2])
    with pytest.raises(ArgumentError, match="'gain' is"):
        model.load_state_dict({**model.state_dict(), "gain": "text"})


def test_tied_weights() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.embed = nn.Embedding(7, 3)
            self.out = nn.Linear(3, 7, bias=False)
            self.out.weight = self.embed.weight

        def forward(self, x: Any) -> Any:
            return self.out(self.embed(x))

    model = Tied()
    assert names(model.named_parameters()) == ["embed.weight"] and model.count_parameters() == 21
    other = Tied()
    other.load_state_dict(model.state_dict())
    assert other.embed.weight is other.out.weight
    np.testing.assert_array_equal(np.asarray(model(np.array([1]))), np.asarray(other(np.array([1]))))


def test_arrays_in_containers_of_any_kind_have_names() -> None:
    @dataclasses.dataclass
    class Pair:
        left: Any
        label: str = "pair"

    class Odd(nn.Module):
        def __init__(self) -> None:
            self.pair = Pair(wg.ones(2))
            self.queue = collections.deque([wg.ones(3), nn.Linear(1, 1)])
            self.fixed = (wg.ones(1),)

    model = Odd()
    arrays = ["pair.left", "queue.0", "queue.1.weight", "queue.1.bias", "fixed.0"]
    assert list(model.state_dict()) == arrays and model.count_parameters() == 8
    assert names(model.named_children()) == ["queue.1"]
    model.load_state_dict({"pair.left": np.zeros(2)}, strict=False)
    assert not np.asarray(model.pair.left).any()
    with pytest.raises(TreeError, match=r"in a tuple.*fixed\.0"):
        model.load_state_dict({"pair.left": np.ones(2), "fixed.0": np.zeros(1)}, strict=False)
    assert not np.asarray(model.pair.left).any(), "nothing was loaded"
    child = nn.Sequential(nn.Linear(1, 1))
    child.parent = child
    with pytest.raises(TreeError, match="contains itself, at 'parent'"):
        child.state_dict()


def test_types() -> None:
    model = Net().double()
    assert {v.dtype.name for v in model.state_dict().values()} == {"float64", "int64"}
    assert model(X.astype(np.float64)).dtype == np.float64
    with pytest.raises(DTypeError, match=r"input has type float32, the parameters float64.*model\.to\(wg\.float32\)"):
        model(X)
    with pytest.raises(DTypeError, match=r"int64.*float32.*astype"):
        nn.Linear(4, 2)(np.ones((2, 4), np.int64))
    assert nn.Linear(2, 1).half()(np.ones((1, 2), np.float16)).dtype == np.float16
    assert nn.Linear(2, 1, dtype=wg.float64).weight.dtype == np.float64


def test_containers() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert len(model) == 3 and isinstance(model[-1], nn.Linear) and len(model[:2]) == 2
    assert model[:2][0] is model[0]
    model.append(nn.Tanh()).insert(0, nn.Identity())
    assert [type(m).__name__ for m in model] == ["Identity", "Linear", "ReLU", "Linear", "Tanh"]
    del model[0]
    model[1] = nn.GELU()
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    named = nn.Sequential({"first": nn.Linear(4, 5), "last": nn.Linear(5, 3)})
    assert next(iter(named.state_dict())) == "first.weight" and named(X).shape == (8, 3)
    several = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
    several.extend([nn.Linear(4, 2)])
    assert list(several.state_dict())[-1] == "3.bias" and len(list(several.parameters())) == 8
    assert "(0-2): 3 x Linear" in repr(several)
    parts = nn.ModuleDict({"a": nn.Linear(4, 2)})
    parts["b"] = nn.ReLU()
    assert list(parts) == ["a", "b"] and "a" in parts and list(parts.state_dict()) == ["a.weight", "a.bias"]
    del parts["a"]
    assert len(parts) == 1 and list(parts.keys()) == ["b"]
    for bad in ("forward", "a.b", "", "training"):
        with pytest.raises(ArgumentError, match="can't be called"):
            parts[bad] = nn.ReLU()
    with pytest.raises(ArgumentError, match=r"nn\.Lambda"):
        nn.Sequential(wg.tanh)
    with pytest.raises(OutOfRangeError, match="no number 7"):
        model[7]
    with pytest.raises(ArgumentError, match="states no `forward`"):
        several(X)
    assert nn.Sequential(nn.Lambda(lambda x: 2 * x))(X).shape == X.shape


def test_residual() -> None:
    branch, projection = nn.Linear(4, 3), nn.Linear(4, 3)
    x = wg.asarray(X)
    block = nn.Residual(branch, nn.Tanh(), shortcut=projection, activation=nn.ReLU())
    expected = np.maximum(np.asarray(projection(x) + wg.tanh(branch(x))), 0)
    np.testing.assert_allclose(np.asarray(block(x)), expected, rtol=1e-6)
    assert "branch.0.weight" in block.state_dict() and "shortcut.weight" in block.state_dict()


def test_dropout_draws_anew_in_each_call_also_compiled() -> None:
    for wrap in (lambda f: f, wg.jit, lambda f: wg.jit(f, executor="native")):
        model = nn.Sequential(nn.Dropout(0.25, key=3))
        step = wrap(lambda m, x: m(x))
        x = np.ones((100, 100), np.float32)
        a, b = np.asarray(step(model, x)), np.asarray(step(model, x))
        assert not np.array_equal(a, b) and set(np.unique(a)) == {np.float32(0), np.float32(1 / 0.75)}
        assert abs((a == 0).mean() - 0.25) < 0.02
        again = nn.Sequential(nn.Dropout(0.25, key=3))
        np.testing.assert_array_equal(a, np.asarray(step(again, x)))
        assert np.array_equal(np.asarray(step(model.eval(), x)), x)
    whole = np.asarray(nn.Dropout2d(0.5)(np.ones((6, 8, 3, 3), np.float32)))
    assert ((whole == 0).all(axis=(2, 3)) | (whole == 2).all(axis=(2, 3))).all() and 0 < (whole == 0).mean() < 1
    x = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
    kept = np.asarray(nn.AlphaDropout(0.3)(x))
    assert abs(kept.mean()) < 0.02 and abs(kept.std() - 1) < 0.02
    assert (np.asarray(nn.functional.dropout(x, 1.0, key=wg.random.key(0))) == 0).all()
    with pytest.raises(ArgumentError, match=r"nn\.Dropout"):
        nn.functional.dropout(x)
    g = wg.grad(lambda x: nn.functional.dropout(x, 0.5, key=wg.random.key(1)).sum())(x)
    assert set(np.unique(np.asarray(g))) == {0.0, 2.0}


def test_state_inside_control_flow() -> None:
    """A checkpointed module is written back and draws the same again; what could not be carried out is refused."""
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 3))
    plain, kept = model.copy(), model.copy()
    value, grads = wg.value_and_grad(lambda m: loss_fn(m, X, Y))(plain)
    again, same = wg.value_and_grad(lambda m: nn.functional.cross_entropy(wg.checkpoint(m)(X), Y))(kept)
    assert float(value) == float(again) and int(kept[1].num_batches_tracked) == 1
    for n, g in grads.state_dict().items():
        np.testing.assert_allclose(np.asarray(same.state_dict()[n]), np.asarray(g), rtol=1e-5, atol=1e-7)
    for n, v in plain.state_dict(transient=True).items():
        np.testing.assert_array_equal(np.asarray(kept.state_dict(transient=True)[n]), np.asarray(v))
    steps = np.stack([X, X + 1])
    last, _ = wg.scan(lambda m, x: (m, m(x).sum()), model.copy(), steps)
    assert int(last[1].num_batches_tracked) == 2
    with pytest.raises(ArgumentError, match=r"cond: BatchNorm1d\.\w+ was assigned inside"):
        wg.jit(lambda p, m: wg.cond(p, lambda m: m(X), lambda m: 2 * m(X), m))(True, model.copy())
    with pytest.raises(ArgumentError, match=r"Dropout\(p=0.3.*comes from outside"):
        wg.jit(lambda x: model[2](x))(X)
    with pytest.raises(ArgumentError, match=r"BatchNorm1d\.\w+ was assigned a value inside a derivative"):
        wg.grad(lambda x: model(x).sum())(X)
    assert wg.grad(lambda x: model[2](x).sum())(X).shape == X.shape
    assert wg.jit(lambda m, x: wg.grad(lambda x: m(x).sum())(x))(model[2], X).shape == X.shape


def test_seeds() -> None:
    nn.manual_seed(5)
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    nn.manual_seed(5)
    c = nn.Linear(3, 3)
    assert np.array_equal(np.asarray(a.weight), np.asarray(c.weight))
    assert not np.array_equal(np.asarray(a.weight), np.asarray(b.weight))
    assert np.array_equal(np.asarray(nn.Linear(3, 3, key=7).weight), np.asarray(nn.Linear(3, 3, key=7).weight))
    assert a.weight is not a.copy().weight and "key" not in nn.Dropout().state_dict()


def test_a_whole_training_step_is_one_program() -> None:
    """The lines of the design: batch statistics, dropout's key and the update are all written back."""
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    optimizer = optim.AdamW(model, learning_rate=1e-2, weight_decay=1e-2)
    traced = []

    @wg.jit
    def train_step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        traced.append(1)
        loss, grads = wg.value_and_grad(loss_fn)(model, x, y)
        grads, _ = optim.clip_by_global_norm(grads, 1.0)
        optimizer.update(model, grads)
        return loss

    key = np.asarray(model[3].key)
    losses = [float(train_step(model, optimizer, X, Y)) for _ in range(60)]
    assert len(traced) == 1 and losses[-1] < 0.6 * losses[0]
    assert int(model[1].num_batches_tracked) == 60 and not np.array_equal(key, np.asarray(model[3].key))
    model.eval()
    assert float(loss_fn(model, X, Y)) < losses[0]


def test_repr() -> None:
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.ReLU())) == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n  (1): ReLU()\n)"
    )
    assert "\n  (layers.1): Linear(in_features=5, out_features=5, bias=True)\n" in repr(Net())


def test_wg_nn() -> None:
    assert wg.nn is nn and wg.nn.functional.relu is nn.functional.relu
    with pytest.raises(AttributeError, match="no attribute 'nnn'"):
        _ = wg.nnn


@pytest.mark.parametrize(
    "layer",
    [nn.Dropout(np.float64(0.1)), nn.LeakyReLU(np.float64(0.1)), nn.Softplus(np.float32(2)), nn.RReLU(np.float64(0.1)),
     nn.LayerNorm(3, eps=np.float64(1e-3)), nn.BatchNorm1d(np.int64(3), momentum=np.float64(0.2))],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_settings_from_a_numpy_array_are_settings(layer: Any) -> None:
    """As from a search over `np.linspace`: no arrays, so that `if` works on them and results keep their type."""
    x = np.ones((4, 3), np.float32)
    assert all(a.ndim or a.dtype.kind != "f" for a in map(wg.asarray, wg.tree.leaves(layer)))
    for executor in ("numpy", "native"):
        assert wg.jit(lambda m, x: m(x), executor=executor)(layer, x).dtype == np.float32


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("Linear", (3, 2)), ("Conv2d", (2, 4, 3, 2, 1)), ("BatchNorm2d", (3,)), ("GroupNorm", (2, 4)), ("PReLU", (3,)),
     ("LayerNorm", (3,)), ("Embedding", (4, 3)), ("LSTM", (2, 3, 2)), ("MultiheadAttention", (4, 2)),
     ("MaxPool2d", (2, 1)), ("Unflatten", (1, (2, 2))), ("Fold", ((4, 4), 2)), ("AdaptiveAvgPool2d", (2,))],
)  # fmt: skip
def test_sizes_from_a_numpy_array_are_sizes(name: str, sizes: Any) -> None:
    def integers(s: Any) -> Any:
        return tuple(map(integers, s)) if isinstance(s, tuple) else np.int64(s)

    plain, other = getattr(nn, name)(*sizes), getattr(nn, name)(*integers(sizes))
    assert wg.tree.flatten(other)[1] == wg.tree.flatten(plain)[1] and repr(other) == repr(plain)
    types = [{n: a.type for n, a in m.state_dict().items()} for m in (plain, other)]
    assert types[0] == types[1]
