"""Every primitive keeps what its facets promise, checked by numbers at the points of `samples.py`."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checks import Point, arrays, check_pull, check_push, check_second, close, is_float
from tests.samples import SAMPLES, Sample
from wengert import contract
from wengert.batch import vmap
from wengert.diff.derivatives import jvp
from wengert.errors import UnsupportedError
from wengert.ir.array import Array
from wengert.ir.primitive import Primitive, Unsupported, registry
from wengert.ir.types import ArrayType
from wengert.ops.promote import as_array

CASES = [pytest.param(name, s, id=f"{name}-{k}") for name in sorted(SAMPLES) for k, s in enumerate(SAMPLES[name])]
# A sample's derivative is that of its quantile, not of the draw: tests/test_random.py checks it against distributions.
BY_DISTRIBUTION = ("random_gamma", "log_gamma_slope")
DIFFERENTIABLE = [
    case
    for case in CASES
    if registry[case.values[0]].differentiable
    and any(is_float(x) for x in case.values[1].inputs)
    and case.values[0] not in BY_DISTRIBUTION
]


# Derivatives that a primitive refuses with a reason, by check: there, the refusal itself is checked.
REFUSED = {
    ("log_gamma_slope", "push"), ("log_gamma_slope", "pull"), ("log_gamma_slope", "second"),
    ("log_gamma_slope", "sparsity"), ("random_gamma", "second"),
    ("custom_vjp_call", "push"), ("custom_vjp_call", "pull"),
}  # fmt: skip


# A linear map of which only the transpose is known: it stands in graphs that are transposed before they run.
NEVER_RUN = {"custom_vjp_transposed"}


def refusal(name: str, check: str) -> Any:
    refused = (name, check) in REFUSED
    return pytest.raises(UnsupportedError) if refused else contextlib.nullcontext()


def applied(name: str, params: dict[str, Any]) -> Any:
    return lambda *xs: registry[name].bind(*[as_array(x) for x in xs], **params)


def stated(primitive: Primitive, types: list[ArrayType], params: dict[str, Any]) -> list[ArrayType]:
    result = primitive.type(*types, **params)
    return list(result) if primitive.multiple else [result]


def test_nothing_is_missing() -> None:
    assert contract.holes() == []


def test_every_primitive_has_a_sample() -> None:
    assert sorted(set(registry) - set(SAMPLES) - NEVER_RUN) == []


def test_the_table_in_the_docs_is_current() -> None:
    path = Path(__file__).parent.parent / "docs" / "primitives.md"
    assert path.read_text() == contract.table(), "run `make table`"


def test_a_hole_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "registry", known := dict(registry))
    monkeypatch.delitem(registry, "sin")

    class Sine(Primitive):
        batch = Unsupported("for the sake of the test")

    known["sin"] = Sine("sin")
    found = [hole for hole in contract.holes() if hole.startswith("sin.")]
    assert found == ["sin.type", "sin.evaluate", "sin.derivative", "sin.sparsity"]
    assert contract.contract()["sin"]["batch"] == "Unsupported: for the sake of the test"


@pytest.mark.parametrize(("name", "s"), CASES)
def test_type(name: str, s: Sample) -> None:
    """The value has the type that the type rule states, in double and in single precision."""
    single = {"float64": np.float32, "complex128": np.complex64}
    for inputs in (s.inputs, [x.astype(single.get(x.dtype.name, x.dtype)) for x in s.inputs]):
        try:
            types = stated(registry[name], [ArrayType(x.shape, x.dtype) for x in inputs], s.params)
        except TypeError:
            if inputs is s.inputs:
                raise
            continue  # its parameters fix double precision
        with np.errstate(all="ignore"):
            out = registry[name].evaluate(*inputs, **s.params)
        out = list(out) if registry[name].multiple else [out]
        for o, t in zip(out, types, strict=True):
            assert isinstance(o, (np.ndarray, np.generic)), type(o)
            assert (o.shape, o.dtype) == (t.shape, t.dtype)


@pytest.mark.parametrize(("name", "s"), DIFFERENTIABLE)
def test_push(name: str, s: Sample) -> None:
    with refusal(name, "push"):
        check_push(Point(applied(name, s.params), s.inputs))


@pytest.mark.parametrize(("name", "s"), DIFFERENTIABLE)
def test_pull(name: str, s: Sample) -> None:
    with refusal(name, "pull"):
        check_pull(Point(applied(name, s.params), s.inputs))


@pytest.mark.parametrize(("name", "s"), DIFFERENTIABLE)
def test_second(name: str, s: Sample) -> None:
    with refusal(name, "second"):
        check_second(Point(applied(name, s.params), s.inputs))


@pytest.mark.parametrize(("name", "s"), CASES)
def test_constants_push_nothing(name: str, s: Sample) -> None:
    """What is declared not to be differentiable sends no tangent on."""
    if registry[name].differentiable:
        return
    at = [x for x in s.inputs if is_float(x)]
    out, pushed = jvp(Point(applied(name, s.params), s.inputs), tuple(at), tuple(np.ones_like(x) for x in at))
    assert all(not np.any(t) for t in arrays(pushed)) and len(arrays(out)) == len(arrays(pushed))


def variant(x: np.ndarray, k: int) -> np.ndarray:
    """Another input of the same kind: floats scaled a little (which keeps domains), others permuted."""
    return x * (1 + 0.05 * k) if is_float(x) else np.roll(x, k)


def choices(n: int) -> list[tuple[bool, ...]]:
    """Which inputs are batched: every choice for up to three inputs, otherwise each alone and all together."""
    if n <= 3:
        return [c for c in itertools.product((True, False), repeat=n) if any(c)]
    return [tuple(i == k for i in range(n)) for k in range(n)] + [(True,) * n]


@pytest.mark.parametrize(("name", "s"), CASES)
def test_batch(name: str, s: Sample) -> None:
    """A batched step is the step in a loop, whichever inputs are batched and along whichever axis."""
    if isinstance(registry[name].batch, Unsupported) or not s.inputs:
        return
    f = applied(name, s.params)
    variants = [[variant(x, k) for k in range(3)] for x in s.inputs]
    for batched in choices(len(s.inputs)):
        members = [[v[k] if b else v[0] for v, b in zip(variants, batched, strict=True)] for k in range(3)]
        looped = [arrays(f(*m)) for m in members]
        for last in (False, True):
            axes = [(x.ndim if last else 0) if b else None for x, b in zip(s.inputs, batched, strict=True)]
            stacked = [v[0] if a is None else np.stack(v, a) for v, a in zip(variants, axes, strict=True)]
            out = arrays(vmap(f, in_axes=tuple(axes))(*stacked))
            for i, o in enumerate(out):
                wanted = np.stack([m[i] for m in looped])
                assert o.dtype == wanted.dtype
                if is_float(o):
                    close(o, wanted, 1e-11, 1.0, f"{name} batched along {axes}")
                else:
                    np.testing.assert_array_equal(o, wanted)


@pytest.mark.parametrize(("name", "s"), DIFFERENTIABLE)
def test_sparsity(name: str, s: Sample) -> None:
    """Every entry of the Jacobian that is not zero has its bit in the pattern."""
    primitive = registry[name]
    if isinstance(primitive.sparsity, Unsupported) or (name, "sparsity") in REFUSED:
        return
    point = Point(applied(name, s.params), s.inputs)
    if not point.at or not sum(x.size for x in point.at):
        return
    patterns, total = identity_patterns(s)
    types = [ArrayType(x.shape, x.dtype) for x in s.inputs]
    found = primitive.sparsity(patterns, types, s.params)
    found = list(found) if primitive.multiple else [found]
    for j, column in enumerate(jacobian_columns(point)):
        for t, p, kind in zip(column, found, stated(primitive, types, s.params), strict=True):
            assert p is None or p.shape == (*t.shape, -(-total // 64)), "the pattern has the shape of the output"
            bit = np.zeros(t.shape, bool) if p is None else (p[..., j // 64] >> np.uint64(j % 64)) & np.uint64(1) != 0
            if kind.dtype.kind in "fc":
                assert not np.any((t != 0) & ~bit), f"input element {j} reaches more outputs than the pattern says"


def identity_patterns(s: Sample) -> tuple[list[Any], int]:
    """A bit of its own for every element of the floating inputs."""
    total = sum(x.size for x in s.inputs if is_float(x))
    words, j, patterns = -(-total // 64), 0, []
    for x in s.inputs:
        if not is_float(x):
            patterns.append(None)
            continue
        p = np.zeros((x.size, words), np.uint64)
        for k in range(x.size):
            p[k, (j + k) // 64] = np.uint64(1) << np.uint64((j + k) % 64)
        patterns.append(p.reshape(*x.shape, words))
        j += x.size
    return patterns, total


def jacobian_columns(point: Point) -> Any:
    for i, x in enumerate(point.at):
        for k in range(x.size):
            e = [np.zeros_like(y) for y in point.at]
            e[i].reshape(-1)[k] = 1
            yield arrays(jvp(point, tuple(point.at), tuple(e))[1])


def test_arrays_are_what_the_samples_hold() -> None:
    assert all(isinstance(as_array(x), Array) for rows in SAMPLES.values() for s in rows for x in s.inputs)
