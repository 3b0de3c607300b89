"""Calls of compiled programs that bypass Python: the same results, and nothing leaks, whatever the arguments are."""

from __future__ import annotations

import collections
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import wengert as wg
from wengert.execute.jit import Jitted
from wengert.execute.native import entry_layout as layout

rng = np.random.default_rng(0)
A = rng.normal(size=(3, 4)).astype(np.float32)
B = np.array([0.5, -1.5, 2.0, -0.25])


def slow_calls(f: Any) -> int:
    """How many calls of a jitted function went through Python."""
    return sum(p.calls for p in f._programs.values())


def warm(f: Any, *args: Any, **kwargs: Any) -> Any:
    """Call so often that the next call with such arguments bypasses Python."""
    f(*args, **kwargs)
    return f(*args, **kwargs)


def same(a: Any, b: Any) -> None:
    """One structure, one type and one value, leaf by leaf."""
    (mine, here), (theirs, there) = wg.tree.flatten(a), wg.tree.flatten(b)
    assert here == there and [type(v) for v in mine] == [type(v) for v in theirs]
    for x, y in zip(mine, theirs, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def fast(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The result of a call that bypassed Python, which must be that of the first call."""
    g = wg.jit(f, executor="native")
    first = g(*args, **kwargs)
    g(*args, **kwargs)
    before = slow_calls(g)
    result = g(*args, **kwargs)
    assert slow_calls(g) == before, "the call went through Python"
    same(result, first)
    return result


class Pair(NamedTuple):
    first: Any
    second: Any


STRUCTURES: dict[str, tuple[Any, ...]] = {
    "arrays": (A, B),
    "Arrays": (wg.asarray(A), wg.asarray(B)),
    "a list of tuples": ([(A, B), (A, B)], B),
    "dictionaries": ({"w": A, "more": {"b": B, 3: A}}, {}),
    "tuples with names": (Pair(A, Pair(B, [A])),),
    "numbers": (1.5, 2, 3j, True, -(2**63)),
    "numbers of NumPy's": (np.float32(1.5), np.int64(2), np.bool_(True), np.complex64(2j), np.uint8(3)),
    "arrays of a single number": (wg.sum(wg.asarray(A)), wg.asarray(2.5), np.array(3.0)),
    "weak arrays": (wg.jit(lambda x: x + 1)(1.0), wg.jit(lambda x: x)(2)),
    "nothing": (None, (), [], {}),
    "settings": ("text", len, b"bytes", A),
    "empty arrays": (np.zeros((0, 3)), np.zeros((2, 0), np.int32)),
    "every type": tuple(np.ones((2, 2), t) for t in ("?", "i1", "i2", "i4", "u1", "u2", "u4", "u8", "f2", "f8", "c16")),
}


def twice(x: Any) -> Any:
    """Something of every leaf, in the same structure."""
    return wg.tree.map(lambda v: v if wg.asarray(v).dtype == wg.bool else v * 2, x)


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(name: str) -> None:
    same(fast(lambda *args: twice(args), *STRUCTURES[name]), warm(wg.jit(lambda *a: twice(a)), *STRUCTURES[name]))


def test_keywords() -> None:
    f = wg.jit(lambda x, *, a, b=2.0: x * a - b, executor="native")
    warm(f, B, a=3.0)
    warm(f, B, a=3.0, b=1.0)
    before = slow_calls(f)
    for _ in range(3):
        np.testing.assert_array_equal(f(B, a=4.0), B * 4 - 2)
        np.testing.assert_array_equal(f(B, a=4.0, b=B), B * 4 - B) if _ == 2 else f(B, a=4.0, b=1.0)
    assert slow_calls(f) == before + 1  # only the array called b was new
    np.testing.assert_array_equal(f(B, b=1.0, a=4.0), B * 4 - 1)
    with pytest.raises(TypeError):
        f(B, c=1.0)
    with pytest.raises(TypeError):
        f()


def test_arguments_that_do_not_match_go_through_python() -> None:
    f = wg.jit(lambda x, p, s: (x * 2 + p["a"], s), executor="native")
    p = {"a": B[:, None], "b": B}
    x = rng.normal(size=(4, 4))
    warm(f, x, p, "s")
    others: list[tuple[Any, Any, Any]] = [
        (x.T, p, "s"), (x[::-1], p, "s"), (x.astype(">f8"), p, "s"), (x.astype(np.float32), p, "s"), (x[0], p, "s"),
        (x.view(type("Sub", (np.ndarray,), {})), p, "s"), (x[:1], p, "s"), (np.float64(2), p, "s"), (2.0, p, "s"),
        (x, dict(reversed(p.items())), "s"), (x, collections.OrderedDict(p), "s"), (x, {"a": p["a"]}, "s"),
        (x, {**p, "b": None}, "s"), (x, p, "t"), (x, p, None), (x, p, ("s",)),
        (np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float64).reshape(4, 4), p, "s"),
    ]  # fmt: skip
    for args in others:
        for _ in range(3):
            out, setting = f(*args)
            np.testing.assert_array_equal(np.asarray(out), np.asarray(args[0]) * 2 + args[1]["a"])
            assert setting == args[2]
    before = slow_calls(f)
    f(x, p, "".join(["s"]))  # an equal text, another object
    assert slow_calls(f) == before


def test_a_setting_is_compared_by_its_bits() -> None:
    class Scale(wg.tree.Module):
        def __init__(self) -> None:
            self.w, self.by = wg.asarray(B), 0.0

        @wg.jit(executor="native")
        def __call__(self) -> Any:
            return self.w * self.by

    m = Scale()
    for _ in range(3):
        assert not np.signbit(np.asarray(m())).all()
    m.by = -0.0
    assert np.signbit(np.asarray(m())[B > 0]).all()
    m.by = float("nan")
    for _ in range(3):
        assert np.isnan(np.asarray(m())).all()


def test_errors_are_those_of_python() -> None:
    f = wg.jit(lambda x: x * 2, executor="native")
    warm(f, 3)
    with pytest.raises(wg.errors.DTypeError, match="does not fit int64"):
        f(2**63)
    warm(f, A)
    with pytest.raises(wg.errors.DTypeError):
        f(np.array(["a"]))
    broken = wg.asarray(A)
    del broken.data
    with pytest.raises(AttributeError):
        f(broken)


def test_under_transformations_and_while_somebody_looks_on() -> None:
    f = wg.jit(lambda x: wg.sum(wg.log(x) * x), executor="native")
    x = np.abs(B)
    warm(f, x)
    np.testing.assert_allclose(wg.grad(f)(x), np.log(x) + 1)
    np.testing.assert_allclose(wg.vmap(f)(np.stack([x, x])), [f(x)] * 2)
    np.testing.assert_allclose(wg.jit(lambda x: f(x) * 2)(x), 2 * np.asarray(f(x)))
    with pytest.raises(wg.errors.NonFiniteError), wg.debug_nonfinite():
        f(-x)
    assert np.isnan(f(-x))


def test_arrays_of_any_layout_are_copied() -> None:
    f = wg.jit(lambda x, y: x * 2 + y, executor="native")
    wide = rng.normal(size=(8, 600, 4))
    x, y = wide[0], wide[1]
    warm(f, x, y)
    before = slow_calls(f)
    odd = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float64).reshape(600, 4)
    columns = np.asfortranarray(x)
    for a in (columns, wide[:, :, 0].T[:, ::2], odd, x[::-1], np.broadcast_to(x[0], x.shape), wg.asarray(columns)):
        count = sys.getrefcount(a)
        np.testing.assert_array_equal(np.asarray(f(a, y)), np.asarray(a) * 2 + y)
        np.testing.assert_array_equal(np.asarray(f(a, a)), np.asarray(a) * 2 + np.asarray(a))
        assert sys.getrefcount(a) == count
    assert slow_calls(f) == before


def test_alternating_shapes_and_many_of_them() -> None:
    f = wg.jit(lambda x: wg.sum(x) * 2, executor="native")
    for n in (1, 2, 3):
        warm(f, np.ones(n))
    before = slow_calls(f)
    for _ in range(5):
        assert [float(f(np.ones(n))) for n in (1, 2, 3)] == [2.0, 4.0, 6.0]
    assert slow_calls(f) == before
    for _ in range(4):
        assert [float(f(np.ones(n))) for n in range(20)] == [2.0 * n for n in range(20)]
    assert len(f._entries) == 8


def test_a_step_left_to_numpy() -> None:
    f = lambda x, k: (wg.linalg.svd(x * 2)[1], k * 2)  # noqa: E731
    fast(f, A, 1.5)
    fast(f, A, 2)
    fast(lambda x: wg.linalg.inv(x), np.eye(3))


def test_where_the_layout_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """On another Python every call takes the general way."""
    monkeypatch.setattr(layout.platform, "python_implementation", lambda: "Other")
    layout.addresses.cache_clear()
    with pytest.raises(wg.errors.UnsupportedError, match="another Python"):
        layout.addresses()
    layout.addresses.cache_clear()
    monkeypatch.undo()
    assert layout.addresses()["Py_IncRef"]


def test_without_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    f = wg.jit(lambda x: x * 2, executor="native")
    f._make_entry = lambda *args: None
    for _ in range(4):
        np.testing.assert_array_equal(np.asarray(f(A)), A * 2)
    assert isinstance(f, Jitted) and not f._entries and f._plain
