"""What every derivative must satisfy, as checks of a function of NumPy arrays at a point.

The function takes and returns arrays (one or a tuple). Inputs that are not floating stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.diff.derivatives import jvp, vjp

Function = Callable[..., Any]
STEP = 1e-3  # of the five-point difference in double precision: its error is of the order of step⁴ and of eps/step


def arrays(out: Any) -> list[np.ndarray]:
    """The outputs of a function as a list of ndarrays."""
    return [np.asarray(o) for o in (out if isinstance(out, (tuple, list)) else (out,))]


def is_float(x: Any) -> bool:
    return np.asarray(x).dtype.kind in "fc"


def direction(rng: np.random.Generator, x: Any) -> np.ndarray:
    """A random change of `x`, of its shape and type."""
    x = np.asarray(x)
    v = rng.standard_normal(x.shape)
    if x.dtype.kind == "c":
        v = v + 1j * rng.standard_normal(x.shape)
    return np.asarray(v, x.dtype)


def inner(us: Sequence[np.ndarray], vs: Sequence[np.ndarray]) -> float:
    """`Re Σ u·v`, without conjugation: the product under which `pull` is the transpose of `push`."""
    return float(sum(np.sum(u * v).real for u, v in zip(us, vs, strict=True) if is_float(v)))


def close(got: Any, wanted: Any, rtol: float, scale: float, what: str) -> None:
    """`got` and `wanted` agree to `rtol` of the larger of `scale` and their own size."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape, f"{what}: shapes {got.shape} and {wanted.shape}"
    size = max(scale, float(np.max(np.abs(wanted), initial=0.0)))
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol * size, err_msg=what)


class Point:
    """A function at a point: its floating inputs are open, the others fixed."""

    def __init__(self, f: Function, inputs: Sequence[Any], seed: int = 0):
        self.all = [np.asarray(x) for x in inputs]
        self.open = [i for i, x in enumerate(self.all) if is_float(x)]
        self.f = f
        self.rng = np.random.default_rng(seed)
        self.at = [self.all[i] for i in self.open]

    def __call__(self, *xs: Any) -> Any:
        full: list[Any] = list(self.all)
        for i, x in zip(self.open, xs, strict=True):
            full[i] = x
        return self.f(*full)

    def directions(self) -> list[np.ndarray]:
        return [direction(self.rng, x) for x in self.at]

    def difference(self, f: Function, vs: Sequence[np.ndarray], step: float = STEP) -> list[np.ndarray]:
        """The derivative of `f` in direction `vs` by a five-point central difference."""

        def along(t: float) -> list[np.ndarray]:
            return arrays(f(*[x + t * v for x, v in zip(self.at, vs, strict=True)]))

        rows = zip(along(step), along(-step), along(2 * step), along(-2 * step), strict=True)
        return [(8 * (a - b) - (c - d)) / (12 * step) if is_float(a) else np.zeros(a.shape) for a, b, c, d in rows]

    def cotangents(self) -> list[np.ndarray]:
        return [direction(self.rng, o) if is_float(o) else np.asarray(o) for o in arrays(self(*self.at))]

    def pull(self, us: Sequence[np.ndarray]) -> Function:
        """The gradient of `⟨u, f(x)⟩` as a function of `x`."""

        def pulled(*xs: Any) -> Any:
            out, back = vjp(self, *xs)
            return back(tuple(us) if isinstance(out, (tuple, list)) else us[0])

        return pulled


def check_push(p: Point, rtol: float = 1e-6) -> None:
    """The tangent that `jvp` computes is the finite difference."""
    vs = p.directions()
    out, pushed = jvp(p, tuple(p.at), tuple(vs))
    for o, t, d in zip(arrays(out), arrays(pushed), p.difference(p, vs), strict=True):
        if is_float(o):
            close(t, d, rtol, 1.0, "push against finite difference")


def check_pull(p: Point, rtol: float = 1e-9) -> None:
    """`⟨pull(u), v⟩ = ⟨u, push(v)⟩`."""
    vs, us = p.directions(), p.cotangents()
    pushed = arrays(jvp(p, tuple(p.at), tuple(vs))[1])
    pulled = arrays(p.pull(us)(*p.at))
    for x, c in zip(p.at, pulled, strict=True):
        assert c.shape == x.shape and c.dtype == x.dtype, f"a cotangent {c.dtype}{c.shape} for {x.dtype}{x.shape}"
    left, right = inner(pulled, vs), inner(us, pushed)
    size = sum(float(np.sum(np.abs(c * v))) for c, v in zip(pulled, vs, strict=True))
    assert abs(left - right) <= rtol * max(1.0, size), f"⟨pull(u), v⟩ = {left!r}, ⟨u, push(v)⟩ = {right!r}"


def check_second(p: Point, rtol: float = 1e-5) -> None:
    """Push over pull is the finite difference of the gradient; pull over pull is its transpose."""
    vs, us = p.directions(), p.cotangents()
    gradient = p.pull(us)
    pushed = arrays(jvp(gradient, tuple(p.at), tuple(vs))[1])
    for t, d in zip(pushed, p.difference(gradient, vs), strict=True):
        close(t, d, rtol, 1.0, "second derivative against the difference of the gradient")
    ws = p.directions()
    _, back = vjp(gradient, *p.at)
    pulled = arrays(back(tuple(ws)))
    left, right = inner(pulled, vs), inner(ws, pushed)
    size = sum(float(np.sum(np.abs(c * v))) for c, v in zip(pulled, vs, strict=True))
    assert abs(left - right) <= 1e-8 * max(1.0, size), f"reverse over reverse {left!r}, forward over reverse {right!r}"
