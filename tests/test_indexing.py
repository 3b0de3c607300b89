"""`x[...]`, `x.at[...]`, take, and windows at traced places.

Values against NumPy, derivatives against identities and JAX.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import wengert as wg
from tests.checks import Point, check_pull, check_push, check_second
from wengert.array.indexing import Plan
from wengert.errors import AbstractValueError, ArgumentError, DTypeError, ShapeError
from wengert.ir.record import stage
from wengert.ops.index import gather, scatter

RNG = np.random.default_rng(7)


def numbers(*shape: int, span: float = 2.0) -> np.ndarray:
    """Different numbers from 0.5 to 0.5 + span in some order, always the same."""
    return np.random.default_rng(5).permutation(np.linspace(0.5, 0.5 + span, math.prod(shape))).reshape(shape)


# Random index expressions


@st.composite
def positions(draw: Any, d: int, shapes: tuple[tuple[int, ...], ...] = ((2,), (1, 2), (2, 1), ())) -> np.ndarray:
    shape = draw(st.sampled_from(shapes))
    flat = draw(st.lists(st.integers(-d, d - 1), min_size=math.prod(shape), max_size=math.prod(shape)))
    return np.array(flat, np.int64).reshape(shape)


def bound(d: int) -> Any:
    return st.none() | st.integers(-d - 2, d + 2)


@st.composite
def expressions(draw: Any, masks: bool = True) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """A shape, and an index that NumPy accepts for it."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    used = draw(st.integers(0, len(shape)))
    front = draw(st.integers(0, used))  # these index the first axes, the others the last ones, an ellipsis between
    axes = [*range(front), *range(len(shape) - (used - front), len(shape))]
    items: list[Any] = []
    k = 0
    while k < len(axes):
        d = shape[axes[k]]
        if k == front and k and used < len(shape):
            items.append(Ellipsis)
        kind = draw(st.sampled_from(["integer", "slice", "whole", "array", *(["mask", "wide mask"] if masks else [])]))
        if kind == "integer":
            items.append(draw(st.integers(-d, d - 1)))
        elif kind == "slice":
            items.append(slice(draw(bound(d)), draw(bound(d)), draw(st.sampled_from([None, 1, 2, 3, -1, -2]))))
        elif kind == "array":
            items.append(draw(positions(d)))
        elif kind == "mask":
            k_true = draw(st.integers(0, d - 1))
            items.append(np.arange(d) == k_true)
        elif kind == "wide mask" and k + 1 < len(axes) and axes[k + 1] == axes[k] + 1 and k + 1 != front:
            size = d * shape[axes[k + 1]]
            items.append((np.arange(size) == draw(st.integers(0, size - 1))).reshape(d, -1))
            k += 1
        else:
            items.append(slice(None))
        k += 1
    if front == 0 and axes and used < len(shape):
        items.insert(0, Ellipsis)
    elif Ellipsis not in [i for i in items if not isinstance(i, np.ndarray)] and draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))) if used == len(shape) else len(items), Ellipsis)
    for _ in range(draw(st.integers(0, 2))):
        items.insert(draw(st.integers(0, len(items))), None)
    if masks and draw(st.integers(0, 9)) == 0:
        items.insert(draw(st.integers(0, len(items))), draw(st.booleans()))
    x = np.zeros(shape)
    try:
        x[tuple(items)]
    except IndexError:  # False beside an array of two positions
        with pytest.raises(ShapeError):
            Plan(shape, tuple(items))
        assume(False)
    return shape, tuple(items)


def traced(f: Any, *args: Any) -> np.ndarray:
    return np.asarray(wg.jit(f)(*args))


TWICE = np.array([1, 0, 1])


@given(expressions())
@example(((4, 2, 3), (slice(None), TWICE, ..., TWICE)))  # an ellipsis for no axes separates all the same
@example(((4, 2, 3), (slice(None), 0, ..., TWICE)))
@example(((4, 2, 3), (slice(None), TWICE, TWICE, ...)))
@example(((4, 2, 3), (TWICE, None, TWICE)))
@example(((2, 3), (True, TWICE)))
@example(((2, 3), (False, ..., None)))
@settings(max_examples=400)
def test_values(case: Any) -> None:
    """Eagerly, by the general way, and traced, an index gives what NumPy gives."""
    shape, index = case
    x = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    wanted = x[index]
    eager, general = wg.asarray(x)[index], Plan(shape, index).get(wg.asarray(x))
    for got in (np.asarray(eager), np.asarray(general), traced(lambda a: a[index], x)):
        assert got.shape == wanted.shape and got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


@given(expressions(masks=False))
@settings(max_examples=150)
def test_values_with_traced_positions(case: Any) -> None:
    """Integers and integer arrays may be traced, all or some."""
    shape, index = case
    x = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    slots = [k for k, i in enumerate(index) if isinstance(i, (int, np.ndarray))]

    def f(a: Any, given: Any) -> Any:
        items = list(index)
        for k, v in zip(slots, given, strict=True):
            items[k] = v
        return a[tuple(items)]

    for some in (slots, slots[::2]):
        slots = some
        got = traced(f, x, [np.asarray(index[k]) for k in slots])
        np.testing.assert_array_equal(got, x[index])
        assert got.shape == x[index].shape


@given(expressions(), st.sampled_from(["set", "add", "multiply", "min", "max", "divide", "power"]))
@settings(max_examples=300)
def test_changed_copies(case: Any, name: str) -> None:
    """A changed copy is what NumPy's assignment or `ufunc.at` leaves; the value may broadcast."""
    shape, index = case
    x = numbers(*shape)
    kept = x.copy()
    ufunc = {"add": np.add, "multiply": np.multiply, "min": np.minimum, "max": np.maximum, "divide": np.divide,
             "power": np.power}.get(name)  # fmt: skip
    for value in (numbers(*x[index].shape), 1.25):
        wanted = x.copy()
        if ufunc is None:
            wanted[index] = value
        else:
            ufunc.at(wanted, index, value)
        got = np.asarray(getattr(wg.asarray(x).at[index], name)(value))
        np.testing.assert_allclose(got, wanted, rtol=1e-13)
        np.testing.assert_allclose(traced(lambda a, v: getattr(a.at[index], name)(v), x, value), wanted, rtol=1e-13)
    np.testing.assert_array_equal(x, kept)


@given(expressions())
@settings(max_examples=60)
def test_derivative_of_reading(case: Any) -> None:
    shape, index = case
    p = Point(lambda a: wg.asarray(a)[index] ** 3, [numbers(*shape)])
    check_push(p)
    check_pull(p)
    check_second(p)


@given(expressions(), st.sampled_from(["set", "add", "multiply", "min", "max", "divide", "power"]))
@settings(max_examples=60)
def test_derivative_of_writing(case: Any, name: str) -> None:
    """In the array and in the value, also where an element is named twice."""
    shape, index = case
    n = math.prod(np.zeros(shape)[index].shape)
    total = math.prod(shape) + n
    both = numbers(
        total, span=0.05 * total if name in ("min", "max") else 1.0
    )  # no two are close: there is no kink here
    x, v = both[n:].reshape(shape), both[:n].reshape(np.zeros(shape)[index].shape)
    p = Point(lambda a, b: wg.sin(getattr(wg.asarray(a).at[index], name)(b)), [x, v])
    check_push(p)
    check_pull(p)
    check_second(p)


# Lowering


def primitives(f: Any, *types: Any) -> list[str]:
    return [n.primitive.name for n in stage(lambda *a: [f(*a)], [wg.asarray(t).type for t in types])[0].nodes]


def test_basic_indexing_needs_no_gather() -> None:
    x = np.zeros((4, 5, 6))
    assert primitives(lambda a: a[1:3], x) == ["slice"]
    assert primitives(lambda a: a[..., :], x) == []
    assert primitives(lambda a: a[None], x) == ["reshape"]
    assert primitives(lambda a: a[1], x) == ["slice", "reshape"]
    assert primitives(lambda a: a[:, ::-2, 3], x) == ["slice", "flip", "reshape"]
    assert primitives(lambda a: a.at[1:3].set(1.0), x)[-1] == "dynamic_update_slice"
    assert "scatter" not in primitives(lambda a: a.at[::2, 1].add(1.0), x)


def test_one_traced_integer_is_one_gather() -> None:
    assert primitives(lambda a, i: a[i], np.zeros((4, 5)), np.int64(0)) == ["gather"]


def test_eager_basic_indexing_is_a_view() -> None:
    x = wg.asarray(np.zeros((3, 4)))
    assert np.shares_memory(np.asarray(x[1:, ::2]), np.asarray(x))


# What NumPy does not say: positions outside, elements named twice, traced masks


def test_traced_positions_outside() -> None:
    """Reading clips, writing drops, and the derivatives agree with it."""
    x, i = numbers(4), np.array([-9, -1, 2, 7])
    np.testing.assert_array_equal(traced(lambda a, k: a[k], x, i), x[[0, 3, 2, 3]])
    wanted = x.copy()
    wanted[[3, 2]] += 1
    np.testing.assert_array_equal(traced(lambda a, k: a.at[k].add(1.0), x, i), wanted)
    assert traced(lambda a, k: a[k], x, np.int64(9)) == x[3]
    np.testing.assert_array_equal(traced(lambda a, k: a.at[k].set(0.0), x, np.int64(-9)), x)
    for f in (
        lambda a, b: gather(a, [wg.asarray(i)], (0,)) * b,
        lambda a, b: wg.sin(scatter(a, b, [wg.asarray(i)], (0,), "set")),
        lambda a, b: wg.sin(scatter(a, b, [wg.asarray(i)], (0,), "mul")),
        lambda a, b: wg.sin(scatter(a, b, [wg.asarray(np.int64(9))], (0,), "add")) if b.ndim == 0 else b,
    ):
        for p in (Point(lambda a, b, f=f: f(wg.asarray(a), wg.asarray(b)), [x, numbers(4)]),):
            check_push(p)
            check_pull(p)
            check_second(p)


@pytest.mark.parametrize("name", ["add", "multiply", "divide", "power", "min", "max"])
def test_elements_named_twice_take_every_change(name: str) -> None:
    x, v, w = numbers(2, 3), numbers(3), 1.5
    for index in (TWICE, (slice(None), TWICE), (1, TWICE), (TWICE, slice(0, 2))):
        change = np.broadcast_to(v if np.zeros((2, 3))[index].shape[-1] == 3 else w, x[index].shape)
        wanted = x.copy()
        ufunc = {"min": np.minimum, "max": np.maximum}.get(name) or getattr(np, name)
        ufunc.at(wanted, index, change)
        np.testing.assert_allclose(np.asarray(getattr(wg.asarray(x).at[index], name)(change)), wanted)


def test_the_last_of_several_values_wins() -> None:
    x, v, i = numbers(3), numbers(4), np.array([1, 0, 1, 1])
    gx, gv = wg.grad(lambda a, b: wg.sum(a.at[i].set(b) * wg.asarray([1.0, 2.0, 3.0])), (0, 1))(x, v)
    np.testing.assert_array_equal(np.asarray(gx), [0, 0, 3])
    np.testing.assert_array_equal(np.asarray(gv), [0, 1, 0, 2])


def test_several_extremes_share() -> None:
    x, v, i = np.array([2.0, 5.0]), np.array([2.0, 1.0, 2.0]), np.array([0, 0, 0])
    gx, gv = wg.grad(lambda a, b: wg.sum(a.at[i].max(b)), (0, 1))(x, v)
    np.testing.assert_allclose(np.asarray(gx), [1 / 3, 1])
    np.testing.assert_allclose(np.asarray(gv), [1 / 3, 0, 1 / 3])


def test_products_with_zeros() -> None:
    """The product at one position has a derivative by each factor, whichever of them are 0; also the second."""
    i = np.array([0, 0, 0, 1, 1, 2])
    for v in ([0.0, 2.0, 3.0, 0.0, 0.0, 5.0], [1.0, 2.0, 3.0, 4.0, 0.0, 0.0]):
        p = Point(lambda a, b: wg.asarray(a).at[i].multiply(b), [np.array([2.0, 0.0, 3.0]), np.array(v)])
        check_push(p)
        check_pull(p)
        check_second(p)


def test_masks() -> None:
    x = numbers(3, 4)
    got = wg.grad(lambda a: wg.sum(a[a > 1.0] ** 2))(x)  # under grad the numbers are known
    np.testing.assert_allclose(np.asarray(got), np.where(x > 1, 2 * x, 0))
    with pytest.raises(AbstractValueError, match=r"wg\.where\(mask, x, 0\)[\s\S]*test_indexing"):
        wg.jit(lambda a: a[a > 1.0])(x)
    with pytest.raises(AbstractValueError, match=r"mask \* x"):
        wg.vmap(lambda a: a[a > 1.0])(x)
    for name, wanted in (("set", np.where(x > 1, 0.5, x)), ("add", np.where(x > 1, x + 0.5, x)),
                         ("divide", np.where(x > 1, x / 0.5, x))):  # fmt: skip
        np.testing.assert_allclose(traced(lambda a, n=name: getattr(a.at[a > 1.0], n)(0.5), x), wanted)
    rows = traced(lambda a: a.at[wg.sum(a, axis=1) > 6.0].set(0.0), x)
    np.testing.assert_array_equal(rows, np.where((x.sum(1) > 6)[:, None], 0, x))
    with pytest.raises(AbstractValueError):
        wg.jit(lambda a: a.at[a > 1.0].set(wg.asarray([1.0, 2.0])))(x)


# Batches


@pytest.mark.parametrize("batched", [(True, False), (False, True), (True, True)])
def test_batched_positions(batched: tuple[bool, bool]) -> None:
    xs, ks = numbers(3, 4, 2), np.array([[0, 2], [3, 3], [-1, 1]])
    x, k = xs if batched[0] else xs[0], ks if batched[1] else ks[0]
    axes = tuple(0 if b else None for b in batched)
    pairs = [(xs[j] if batched[0] else x, ks[j] if batched[1] else k) for j in range(3)]
    for f in (
        lambda a, i: a[i],
        lambda a, i: a[i[0], 1:],
        lambda a, i: a[:, i[0] % 2],
        lambda a, i: a.at[i].set(1.0),
        lambda a, i: a.at[i, 0].add(wg.sum(a)),
        lambda a, i: a.at[i].max(1.5),
        lambda a, i: wg.take(a, i, axis=0),
        lambda a, i: wg.dynamic_slice(a, [i[0], 0], [2, 1]),
        lambda a, i: wg.dynamic_update_slice(a, a[:2, :1], [i[0], i[1]]),
        lambda a, i: wg.one_hot(i, 4) @ a.astype(wg.float32),
    ):
        wanted = np.stack([np.asarray(f(wg.asarray(a), wg.asarray(i))) for a, i in pairs])
        np.testing.assert_allclose(np.asarray(wg.vmap(f, in_axes=axes)(x, k)), wanted)
        if batched[0]:
            g = wg.grad(lambda a, i, f=f: wg.sum(wg.sin(f(a, i))))
            wanted = np.stack([np.asarray(g(wg.asarray(a), wg.asarray(i))) for a, i in pairs])
            np.testing.assert_allclose(np.asarray(wg.vmap(g, in_axes=axes)(x, k)), wanted, rtol=1e-6)


def test_unique_positions_of_a_batch_are_not_unique_together() -> None:
    x, order = numbers(3), np.array([[0, 1], [1, 2]])

    def f(a: Any) -> Any:
        return wg.sum(wg.vmap(lambda i: gather(a, [i], (0,), unique=True))(order))

    np.testing.assert_array_equal(np.asarray(wg.grad(f)(wg.asarray(x))), [1, 2, 1])


# Against JAX


def test_derivatives_against_jax() -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    x, v, w = numbers(4, 3), numbers(3, 3), RNG.standard_normal((4, 3))
    once, twice = np.array([2, 0, -1]), np.array([2, 0, 2])
    for name, i in (
        ("set", once),
        ("add", once),
        ("add", twice),
        ("multiply", once),
        ("divide", once),
        ("power", once),
    ):

        def f(a: Any, b: Any, wrap: Any, i: Any = i, name: str = name, **promise: Any) -> Any:
            return (wrap(getattr(a.at[i], name)(b, **promise)) * w).sum()

        for argnums in (0, 1):
            ours = wg.grad(f, argnums)(wg.asarray(x), wg.asarray(v), wg.sin)
            promise = {"unique_indices": i is once}  # without it JAX has no derivative of a product
            theirs = jax.grad(f, argnums)(jax.numpy.asarray(x), jax.numpy.asarray(v), jax.numpy.sin, **promise)
            np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-12)


def test_windows_against_jax() -> None:
    """Values with starts outside on either side, and derivatives."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    x, u = numbers(4, 5), numbers(2, 3)
    for start in ((0, 0), (1, 2), (9, 9), (-1, -3), (-9, 4)):
        starts = [np.int64(s) for s in start]
        got = traced(lambda a, s: wg.dynamic_slice(a, s, (2, 3)), x, starts)
        np.testing.assert_array_equal(got, jax.lax.dynamic_slice(x, starts, (2, 3)))
        got = traced(wg.dynamic_update_slice, x, u, starts)
        np.testing.assert_array_equal(got, jax.lax.dynamic_update_slice(x, u, starts))
        p = Point(lambda a, b, s=starts: wg.sin(wg.dynamic_update_slice(a, b, s)) * 2, [x, u])
        check_push(p)
        check_pull(p)
        check_second(p)
        ours = wg.grad(lambda a, s=starts: wg.sum(wg.dynamic_slice(a, s, (2, 3)) ** 3))(x)
        theirs = jax.grad(lambda a, s=starts: (jax.lax.dynamic_slice(a, s, (2, 3)) ** 3).sum())(x)
        np.testing.assert_allclose(np.asarray(ours), theirs)


# take, take_along_axis, one_hot


def test_take_against_numpy() -> None:
    x = numbers(3, 4, 2)
    for axis in (0, 1, 2, -1):
        for i in (np.array([1, -1, 0]), np.array([[0, 1], [1, 1]]), np.array(1)):
            np.testing.assert_array_equal(np.asarray(wg.take(x, i, axis=axis)), np.take(x, i, axis=axis))
            check_pull(Point(lambda a, i=i, axis=axis: wg.take(a, i, axis=axis), [x]))
    np.testing.assert_array_equal(np.asarray(wg.take(x[0, :, 0], [])), [])


def test_take_along_axis_against_numpy() -> None:
    x = numbers(3, 4)
    for axis, i in (
        (0, np.array([[0, 1, 2, 1], [2, 2, 0, -1]])),
        (1, np.array([[3], [0], [-1]])),
        (1, np.array([[1, 2]])),
    ):
        wanted = np.take_along_axis(x, np.broadcast_to(i, (3, i.shape[1]) if axis else i.shape), axis=axis)
        np.testing.assert_array_equal(np.asarray(wg.take_along_axis(x, i, axis=axis)), wanted)
        check_pull(Point(lambda a, i=i, axis=axis: wg.take_along_axis(a, i, axis=axis), [x]))


def test_one_hot() -> None:
    x = np.array([[0, 2], [3, -1]])
    got = np.asarray(wg.one_hot(x, 3))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[0], np.eye(3)[[0, 2]])
    np.testing.assert_array_equal(got[1], np.zeros((2, 3)))  # outside
    np.testing.assert_array_equal(np.asarray(wg.one_hot(x, 3, axis=0, dtype=wg.int64)), np.moveaxis(got, -1, 0))


# Sparsity


def test_known_positions_give_a_sharp_pattern() -> None:
    i = np.array([3, 0, 3])
    pattern = wg.sparsity_pattern(lambda x: x[i] * x[:3])(wg.asarray(numbers(4)))
    np.testing.assert_array_equal(pattern != 0, [[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]])


# Bad input


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (4, ShapeError, "index 4 is out of range for axis 0, which has length 3 .*valid: -3 to 2"),
        ((0, -5), ShapeError, "index -5 is out of range for axis 1, which has length 4"),
        ((slice(None), np.array([0, 9])), ShapeError, "index 9 is out of range for axis 1"),
        ((0, 0, 0), ShapeError, "3 indices for an array of 2 axes"),
        ((np.array([0, 1]), np.array([0, 1, 2])), ShapeError, "index arrays.*do not broadcast"),
        (np.array([True, False]), ShapeError, r"boolean index of shape \(2,\)"),
        (1.0, DTypeError, "integers or booleans, got float64"),
        (np.array([0.0]), DTypeError, "integers or booleans, got float64"),
        ("a", ArgumentError, "got a str"),
        ((..., ...), ArgumentError, "one ellipsis"),
        (slice(0, 1.5), DTypeError, "bound of a slice"),
    ],
)
def test_bad_index(index: Any, error: type[Exception], message: str) -> None:
    x = np.zeros((3, 4))
    for f in (lambda a: a[index], lambda a: a.at[index].set(0.0)):
        for run in (f, wg.jit(f)):
            with pytest.raises(error, match=f"(?s){message}.*test_indexing.py"):
                run(wg.asarray(x))


def test_bad_values_and_bounds() -> None:
    x = wg.asarray([1.0, 2.0, 3.0])
    with pytest.raises(AbstractValueError, match="dynamic_slice"):
        wg.jit(lambda a, n: a[:n])(x, np.int64(2))
    with pytest.raises(DTypeError, match="float64 does not fit into an array of float32"):
        x.at[0].set(np.float64(1.0))
    with pytest.raises(DTypeError, match="does not fit"):
        wg.asarray([1, 2]).at[0].set(0.5)
    with pytest.raises(DTypeError, match="quotient"):
        wg.asarray([1, 2]).at[0].divide(2)
    with pytest.raises(ShapeError, match=r"shape \(2,\) does not broadcast"):
        x.at[0].set(wg.asarray([1.0, 2.0]))
    with pytest.raises(ArgumentError, match=r"x\.at\["):
        x[0] = 1.0
    with pytest.raises(ShapeError, match="index 3 is out of range for axis 0"):
        wg.take(x, 3)
    with pytest.raises(ShapeError, match="window of length 4 on axis 0 of length 3"):
        wg.dynamic_slice(x, [0], [4])
    with pytest.raises(DTypeError, match="start is one integer"):
        wg.dynamic_slice(x, [0.5], [1])


def test_apply_and_get() -> None:
    x = numbers(4)
    np.testing.assert_array_equal(np.asarray(wg.asarray(x).at[1:3].get()), x[1:3])
    wanted = x.copy()
    wanted[1:3] = np.sin(x[1:3])
    np.testing.assert_allclose(np.asarray(wg.asarray(x).at[1:3].apply(wg.sin)), wanted)


def test_small_index_types() -> None:
    x = np.arange(300.0)
    for dtype in (np.int8, np.uint8, np.uint64, np.int32):
        i = np.array([3, 100], dtype)
        np.testing.assert_array_equal(traced(lambda a, k: a[k], x, i), x[[3, 100]])
    np.testing.assert_array_equal(traced(lambda a, k: a[k], x, np.array([-1], np.int8)), [299.0])


def test_empty() -> None:
    x = np.zeros((0, 3))
    assert np.asarray(wg.asarray(x)[np.zeros(0, np.int64)]).shape == (0, 3)
    assert traced(lambda a: a[[]], x).shape == (0, 3)
    assert traced(lambda a, k: a[k], x, np.zeros(0, np.int64)).shape == (0, 3)
    with pytest.raises(ShapeError):
        wg.asarray(x)[0]
    assert np.asarray(wg.grad(lambda a: wg.sum(a[1:1]))(np.ones(3))).tolist() == [0, 0, 0]
