"""Pytrees: containers, modules, tied weights, and the write-back of assigned attributes."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest

import wengert as wg
from wengert import tree
from wengert.errors import ArgumentError, TreeError
from wengert.tree import Module


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Box:
    content: Any
    label: str = "box"


@dataclasses.dataclass(frozen=True)
class Record:
    a: Any
    b: Any


class Linear(Module):
    def __init__(self, weight: Any, bias: Any = None):
        self.weight = weight
        self.bias = bias
        self.name = "linear"
        self.size = 3

    def __call__(self, x: Any) -> Any:
        return self.weight * x if self.bias is None else self.weight * x + self.bias


class Net(Module):
    def __init__(self, *layers: Any):
        self.layers = list(layers)
        self.calls = wg.asarray(np.float64(0.0))

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        self.calls = self.calls + 1
        return x


def f64(x: Any) -> Any:
    return wg.asarray(np.asarray(x, np.float64))


CONTAINERS = [
    (1.0, [2.0, {"a": 3.0, "b": (4.0,)}]),
    Pair(1.0, Pair(2.0, None)),
    collections.OrderedDict(x=1.0, y=[2.0]),
    {"b": 1.0, "a": 2.0, 3: 4.0},
    Record(1.0, (2.0, 3.0)),
    Box({"w": 1.0}),
    [],
    None,
    5.0,
]


@pytest.mark.parametrize("value", CONTAINERS)
def test_flatten_and_unflatten_are_inverse(value: Any) -> None:
    leaves, treedef = tree.flatten(value)
    assert treedef.num_leaves == len(leaves)
    again = tree.unflatten(treedef, leaves)
    assert type(again) is type(value) and again == value
    assert tree.flatten(again)[1] == treedef and hash(tree.flatten(again)[1]) == hash(treedef)
    doubled = tree.map(lambda x: 2 * x, value)
    assert tree.leaves(doubled) == [2 * x for x in leaves]


def test_structures_that_differ_are_told_apart() -> None:
    defs = [tree.flatten(v)[1] for v in CONTAINERS]
    assert len({repr(d) + str(d.kind) for d in defs}) == len(set(defs)) == len(CONTAINERS)
    with pytest.raises(TreeError, match="trees of one structure"):
        tree.map(lambda a, b: a, (1.0, 2.0), [1.0, 2.0])
    with pytest.raises(TreeError, match="1 leaves given for a structure of 2"):
        tree.unflatten(tree.flatten((1.0, 2.0))[1], [1.0])


def test_the_gradient_has_the_structure_of_the_argument() -> None:
    x = {"pair": Pair(f64([1.0, 2.0]), f64(3.0)), "list": [f64(4.0)], "none": None, "record": Record(f64(5.0), ())}
    g = wg.grad(lambda t: wg.sum(t["pair"].left ** 2) * t["list"][0] + t["pair"].right * t["record"].a)(x)
    assert tree.flatten(g)[1] == tree.flatten(x)[1]
    np.testing.assert_array_equal(g["pair"].left, [8.0, 16.0])
    assert (float(g["pair"].right), float(g["list"][0]), float(g["record"].a)) == (5.0, 5.0, 3.0)


def test_registered_classes_are_containers() -> None:
    class Interval:
        def __init__(self, low: Any, high: Any, unit: str):
            self.low, self.high, self.unit = low, high, unit

    tree.register(Interval, lambda i: ((i.low, i.high), i.unit), lambda unit, parts: Interval(*parts, unit))
    g = wg.grad(lambda i: i.high * i.high - i.low)(Interval(f64(1.0), f64(3.0), "m"))
    assert (float(g.low), float(g.high), g.unit) == (-1.0, 6.0, "m")
    with pytest.raises(ArgumentError, match="registered already"):
        tree.register(Interval, lambda i: ((), None), lambda s, p: None)


def test_leaves_are_named() -> None:
    net = Net(Linear(f64(1.0), f64(2.0)), Linear(f64(3.0)))
    assert tree.leaf_paths(net) == ["layers[0].weight", "layers[0].bias", "layers[1].weight", "calls"]
    assert tree.leaf_paths({"a b": [1.0]}) == ["['a b'][0]"]


def test_settings_of_a_module_belong_to_its_structure() -> None:
    a, b = Linear(f64(1.0)), Linear(f64(2.0))
    assert tree.flatten(a)[1] == tree.flatten(b)[1]
    b.size = 4
    assert tree.flatten(a)[1] != tree.flatten(b)[1]
    a.size, b.size = 0.0, -0.0
    assert tree.flatten(a)[1] != tree.flatten(b)[1]


def test_a_tied_weight_is_one_leaf_with_one_derivative() -> None:
    w = f64(2.0)
    tied = Net(Linear(w), Linear(w))
    assert len(tree.leaves(tied)) == 2  # the weight and `calls`
    g = wg.grad(lambda net: net(f64(5.0)))(tied)
    assert g.layers[0].weight is g.layers[1].weight
    assert float(g.layers[0].weight) == 2 * 2.0 * 5.0
    again = tree.unflatten(*reversed(tree.flatten(tied)))
    assert again.layers[0].weight is again.layers[1].weight


class Sum(Module):
    """Both parameters get one and the same cotangent."""

    def __init__(self) -> None:
        self.a, self.b = f64([1.0, 2.0]), f64([3.0, 4.0])

    def loss(self, x: Any) -> Any:
        return wg.sum(x * (self.a + self.b) ** 3)


@pytest.mark.parametrize(
    "transformed",
    [
        lambda f, m, x: f(m, x),
        lambda f, m, x: wg.jit(f, executor="numpy")(m, x),
        lambda f, m, x: wg.jit(f, executor="native")(m, x),
        lambda f, m, x: wg.checkpoint(f)(m, x),
        lambda f, m, x: wg.vmap(f, in_axes=(None, 0))(m, wg.stack([x, x])),
        lambda f, m, x: wg.jvp(f, (m, x), (m, x))[0],
        lambda f, m, x: wg.jvp(f, (m, x), (m, x))[1],
        lambda f, m, x: wg.linearize(f, m, x)[1](m, x),
        lambda f, m, x: wg.vjp(f, m, x)[1](f(m, x))[0],
        lambda f, m, x: wg.scan(lambda c, x: (c, f(m, x)), 0.0, wg.stack([x, x]))[1],
    ],
)
def test_equal_cotangents_are_two_leaves_in_every_transformation(transformed: Any) -> None:
    """What a user's own step does, `tree.map` over a model and its gradient, where two gradients are one value."""

    def step(m: Any, x: Any) -> Any:
        return tree.map(lambda p, g: p - 0.1 * g, m, wg.grad(Sum.loss)(m, x))

    m, x = Sum(), f64([0.5, 0.25])
    assert tree.flatten(transformed(wg.grad(Sum.loss), m, x))[1] == tree.flatten(m)[1]
    assert tree.flatten(transformed(step, m, x))[1] == tree.flatten(m)[1]


def test_one_array_mapped_to_every_leaf_is_many_leaves() -> None:
    zero = f64(0.0)
    assert len(tree.leaves(tree.map(lambda _: zero, Net(Linear(f64(1.0)), Linear(f64(2.0)))))) == 3


def test_the_same_array_in_plain_containers_is_two_leaves() -> None:
    w = f64(2.0)
    a, b = wg.grad(lambda p: p[0] * p[1] ** 2)((w, w))
    assert (float(a), float(b)) == (4.0, 8.0)


def test_a_shared_module_is_flattened_once() -> None:
    shared = Linear(f64(3.0), f64(1.0))
    net = Net(shared, shared)
    assert len(tree.leaves(net)) == 3
    g = wg.grad(lambda n: n(f64(2.0)))(net)  # w·(w·x + b) + b
    assert g.layers[0] is g.layers[1]
    assert (float(g.layers[0].weight), float(g.layers[0].bias)) == (2 * 3 * 2 + 1, 3 + 1)


def test_a_cycle_is_refused() -> None:
    net = Net()
    net.layers.append(Linear(f64(1.0)))
    net.layers[0].parent = net
    with pytest.raises(
        TreeError, match=r"a Net contains itself \(at argument 0: layers\[0\]\.parent\); a model must be a tree"
    ):
        wg.grad(lambda n: n(f64(1.0)))(net)
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TreeError, match="a list contains itself"):
        tree.flatten(loop)


def test_leaves_of_a_module_that_are_not_floating_have_no_derivative() -> None:
    net = Linear(f64(2.0))
    net.count = wg.asarray(np.int64(3))
    g = wg.grad(lambda m: m(f64(1.0)) * m.count)(net)
    assert g.count is None and float(g.weight) == 3.0


def loss(net: Any, x: Any) -> Any:
    return wg.sum(net(x) ** 2)


@pytest.mark.parametrize(
    "transformed",
    [
        wg.grad(loss),
        wg.value_and_grad(loss, argnums=(0, 1)),
        lambda net, x: wg.vjp(loss, net, x),
        lambda net, x: wg.linearize(loss, net, x),
        lambda net, x: wg.jvp(lambda y: loss(net, y), (x,), (x,)),
        lambda net, x: wg.jvp(loss, (net, x), (tree.map(lambda a: a, net), x)),
        lambda net, x: wg.grad(lambda y: wg.grad(lambda z: loss(net, z))(y) * 1.0)(x),
        lambda net, x: wg.vmap(lambda n, y: wg.sum(y), in_axes=(None, 0))(net, wg.reshape(x, (1,))) * 0 + loss(net, x),
        lambda net, x: wg.vmap(loss, in_axes=(None, 0))(net, wg.stack([x, x])),
        lambda net, x: wg.vmap(wg.grad(loss), in_axes=(None, 0), out_axes=0)(net, wg.stack([x, x])),
        wg.grad(lambda n, y: wg.value_and_grad(loss)(n, y)[0]),
        lambda net, x: wg.hvp(lambda y: loss(net, y), (x,), (x,)),
    ],
)
def test_an_assigned_attribute_is_written_back(transformed: Any) -> None:
    """`net.calls` counts one call, as a plain number, whatever transformations the call went through."""
    net = Net(Linear(f64(2.0), f64(0.5)))
    transformed(net, f64(1.5))
    assert type(net.calls).__name__ == "Array" and net.calls.trace is None
    assert float(net.calls) == 1.0


class Normalise(Module):
    """Keeps a running mean, as a batch norm does."""

    def __init__(self) -> None:
        self.scale = f64(2.0)
        self.mean = f64(0.0)

    def __call__(self, x: Any) -> Any:
        m = wg.mean(x)
        self.mean = 0.9 * self.mean + 0.1 * m
        return self.scale * (x - m)


def test_a_running_mean_is_kept_and_its_gradient_is_right() -> None:
    layer, x = Normalise(), f64([1.0, 2.0, 6.0])
    value, g = wg.value_and_grad(lambda m: wg.sum(m(x) ** 2))(layer)
    assert float(layer.mean) == pytest.approx(0.3)
    assert float(value) == pytest.approx(4 * 14) and float(g.scale) == pytest.approx(4 * 14)
    assert float(g.mean) == 0.0
    assert isinstance(g, Normalise) and g is not layer


def test_the_argument_itself_is_not_touched_until_the_end() -> None:
    """An error inside leaves the caller's module as it was."""
    layer = Normalise()

    def broken(m: Any) -> Any:
        m(f64([1.0, 2.0]))
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        wg.grad(broken)(layer)
    assert float(layer.mean) == 0.0


def test_new_and_deleted_attributes_are_written_back() -> None:
    net = Linear(f64(2.0), f64(1.0))

    def step(m: Any) -> Any:
        m.extra = {"seen": m.weight * 3}
        del m.bias
        return m.weight

    wg.grad(step)(net)
    assert float(net.extra["seen"]) == 6.0 and not hasattr(net, "bias")


def test_an_attribute_that_differs_between_examples_is_refused() -> None:
    def run(m: Any, x: Any) -> Any:
        m.last = x
        return x

    with pytest.raises(ArgumentError, match="assigned 'last'"):
        wg.vmap(run, in_axes=(None, 0))(Linear(f64(1.0)), f64([1.0, 2.0]))


def test_a_mutable_dataclass_is_written_back() -> None:
    box = Box(f64(3.0))

    def f(b: Any) -> Any:
        out = b.content**2
        b.content = b.content + 1
        return out

    g = wg.grad(f)(box)
    assert float(g.content) == 6.0 and float(box.content) == 4.0 and g.label == "box"


def test_vmapped_arguments_that_share_a_module_are_refused() -> None:
    shared = Linear(f64(2.0))
    both = wg.vmap(lambda a, b, x: a.weight * b.weight * x, in_axes=(None, None, 0))
    with pytest.raises(ArgumentError, match="pass it once"):
        both(shared, shared, f64([1.0, 2.0]))


def test_arguments_that_share_a_module_are_refused_by_name() -> None:
    net = Linear(f64(2.0))
    with pytest.raises(ArgumentError, match="share a module"):
        wg.grad(lambda a, b: a.weight * b.weight, argnums=(0, 1))(net, net)
    assert float(wg.grad(lambda a, b: a.weight * b.weight)(net, net).weight) == 4.0


def test_an_attribute_may_be_a_numpy_array() -> None:
    assert wg.grad(lambda m: wg.sum(m.weight * m.weight))(Linear(np.ones(2))).weight.shape == (2,)
