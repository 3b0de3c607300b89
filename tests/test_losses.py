"""Where a derivative or a value would get lost, an error says so: NumPy in derivatives, odd containers, closures."""

from __future__ import annotations

import collections
import dataclasses
import math
import types
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError, EscapedTraceError, TreeError
from wengert.tree import Module

ONES = np.ones(2)


@pytest.mark.parametrize(
    "f",
    [
        lambda a: np.exp(a).sum(),
        lambda a: wg.sum(np.linalg.norm(a) * a),
        lambda a: wg.sum(a * np.asarray(a)),
        lambda a: math.sin(a[0]) * a[1],
        lambda a: float(a[0]) * a[1],
        lambda a: a[0].item() * a[1],
        lambda a: a.tolist()[0] * a[1],
        lambda a: wg.sum(a * np.from_dlpack(a)),
    ],
)
def test_numbers_are_not_taken_out_of_a_derivative(f: Any) -> None:
    with pytest.raises(ArgumentError, match="is being differentiated"):
        wg.grad(f)(ONES)
    with pytest.raises(ArgumentError, match="is being differentiated"):
        wg.jvp(f, (ONES,), (ONES,))


def test_constants_may_be_taken_out() -> None:
    f = lambda a: float(wg.stop_gradient(a)[0]) * a[1] + np.asarray(wg.stop_gradient(a))[0]  # noqa: E731
    np.testing.assert_array_equal(np.asarray(wg.grad(f)(ONES)), [0, 1])
    assert int(wg.grad(lambda a: a * int(a))(3.0)) == 3  # rounding has derivative 0


def test_subclasses_of_containers_are_opened() -> None:
    class Bag(dict):  # type: ignore[type-arg]
        pass

    for d in (
        collections.defaultdict(float, a=3.0),
        collections.OrderedDict(a=3.0),
        Bag(a=3.0),
        collections.Counter(a=3.0),
    ):
        g = wg.grad(lambda d: d["a"] ** 2)(d)
        assert type(g) is type(d) and float(g["a"]) == 6.0
    g = wg.grad(lambda q: q[0] * q[1])(collections.deque([2.0, 3.0], maxlen=5))
    assert g.maxlen == 5 and [float(v) for v in g] == [3.0, 2.0]


def test_unknown_mutable_objects_are_refused() -> None:
    for transform in (wg.jit, wg.grad, wg.vmap):
        with pytest.raises(TreeError, match=r"register its class with wg\.tree\.register"):
            transform(lambda s: s.a * 2)(types.SimpleNamespace(a=wg.asarray(2.0)))


def test_other_libraries_arrays_are_arrays() -> None:
    torch = pytest.importorskip("torch")
    t = torch.tensor([1.0, 2.0])
    np.testing.assert_array_equal(np.asarray(wg.grad(lambda a: wg.sum(wg.asarray(a) ** 2))(t)), [2, 4])
    f = wg.jit(lambda a: a * 2)
    f(t)
    t[0] = 10
    assert float(f(t)[0]) == 20.0


def test_dataclasses_with_settings() -> None:
    @dataclasses.dataclass
    class Norm:
        weight: Any
        count: int = 0
        training: bool = True
        name: str = "norm"
        sizes: Any = dataclasses.field(default=3, metadata={"static": True})

    def f(n: Norm) -> Any:
        return wg.sum(n.weight) * (2 if n.training else 1) * n.sizes

    n = Norm(wg.asarray(ONES))
    g = wg.grad(f)(n)
    np.testing.assert_array_equal(np.asarray(g.weight), [6, 6])
    assert g.count is None and g.training is True
    assert float(wg.jit(f)(n)) == 12.0 and n.training is True
    n.training = False
    assert float(wg.jit(f)(n)) == 6.0


class Counter(Module):
    def __init__(self) -> None:
        self.total = wg.asarray(0.0)

    def __call__(self, v: Any) -> Any:
        self.total = self.total + wg.sum(v)
        return v * 2


def test_a_module_outside_of_a_transformation_is_not_given_its_tracers() -> None:
    for transform in (wg.jit, lambda f: wg.grad(lambda v: wg.sum(f(v)))):
        counter = Counter()
        with pytest.raises(ArgumentError, match="Pass the module as an argument"):
            transform(lambda v, c=counter: c(v))(ONES)
        assert float(counter.total) == 0.0
    counter = Counter()
    with pytest.raises(ArgumentError, match="after the loop"):
        wg.jit(lambda c, v: wg.scan(lambda s, x: (s, c(x)), 0.0, v))(counter, ONES)
    assert float(counter.total) == 0.0


def test_a_module_that_is_an_argument_or_made_inside_may_be_assigned_to() -> None:
    counter = Counter()
    wg.jit(lambda c, v: c(v))(counter, ONES)
    wg.grad(lambda v, c: wg.sum(c(v)))(ONES, counter)
    wg.jit(wg.grad(lambda v, c: wg.sum(c(v))))(ONES, counter)
    assert float(counter.total) == 6.0

    def fresh(v: Any) -> Any:
        c = Counter()
        return wg.sum(c(c(v))) + c.total

    np.testing.assert_array_equal(np.asarray(wg.jit(wg.grad(fresh))(ONES)), [7, 7])


def test_a_jitted_module_sees_its_new_weights() -> None:
    class Scale(Module):
        def __init__(self) -> None:
            self.w = wg.asarray(2.0)

        def __call__(self, v: Any) -> Any:
            return self.w * v

        @wg.jit
        def twice(self, v: Any) -> Any:
            return self(v) * 2.0

    m = Scale()
    calls = (wg.jit(m), wg.jit(m.__call__), lambda v: m.twice(v) / 2.0)
    assert [float(f(3.0)) for f in calls] == [6.0] * 3
    m.w = wg.asarray(5.0)
    assert [float(f(3.0)) for f in calls] == [15.0] * 3
    assert len(wg.jit(m).lower(3.0).graph.inputs) == len(m.twice.lower(3.0).graph.inputs) == 2


def test_results_that_escaped_from_elsewhere() -> None:
    kept: list[Any] = []
    wg.jit(lambda a: kept.append(a) or a)(1.0)
    for use in (wg.grad, wg.jit):
        with pytest.raises(EscapedTraceError, match="has ended"):
            use(lambda b: kept[0])(1.0)


def test_lists_beside_arrays() -> None:
    np.testing.assert_array_equal(np.asarray(wg.ones(2) * [2.0, 3.0]), [2, 3])
    np.testing.assert_array_equal(np.asarray([1.0, 2.0] - wg.ones(2)), [0, 1])
    np.testing.assert_array_equal(np.asarray(wg.ones(2) == [1.0, 2.0]), [True, False])
    assert float(wg.ones(2) @ [1.0, 2.0]) == 3.0


def test_loops_of_their_own_length_batched_and_staged() -> None:
    def root(a: Any) -> Any:
        return wg.while_loop(lambda c: wg.abs(c * c - a) > 1e-13, lambda c: 0.5 * (c + a / c), a)

    x = np.array([2.0, 3.0])
    for f in (wg.jit(wg.vmap(root)), wg.vmap(wg.jit(root)), wg.checkpoint(wg.vmap(root))):
        g = wg.grad(lambda a, f=f: wg.sum(f(a)))
        np.testing.assert_allclose(np.asarray(g(x)), 0.5 / np.sqrt(x), rtol=1e-12)
        np.testing.assert_allclose(np.asarray(wg.jit(g)(x)), 0.5 / np.sqrt(x), rtol=1e-12)
    h = wg.hessian(lambda a: wg.sum(wg.jit(wg.vmap(root))(a)))(x)
    np.testing.assert_allclose(np.asarray(h), np.diag(-0.25 * x**-1.5), rtol=1e-8, atol=1e-12)
