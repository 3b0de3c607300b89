"""Singular values of the Jacobian from one layer's output to another's: whether a stretch of the network shrinks, keeps
or stretches what goes through it, and how evenly.

The recorded steps between the two values push and pull. Up to some hundred numbers on the smaller side the Jacobian is
put together row by row and decomposed exactly; beyond, its largest singular values are found by Golub-Kahan-Lanczos
bidiagonalisation with full reorthogonalisation, and their root mean square by random probes.

Golub and Kahan 1965 (doi 10.1137/0702016); Saxe, McClelland and Ganguli 2014 (arXiv 1312.6120) on why it matters that
all are near 1 ("dynamical isometry").
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.diff.pull import pull_node
from wengert.diff.push import push_through
from wengert.errors import ArgumentError
from wengert.flow.probe import Call, Recording, record
from wengert.ir.array import Array
from wengert.ir.graph import Var
from wengert.nn.init.whole import is_weighted
from wengert.source import at_user_line

EXACT = 512  # numbers on the smaller side, up to which the decomposition is exact
STEPS = 30  # of Lanczos' iteration
PROBES = 8


@dataclass(frozen=True)
class Spectrum:
    """Singular values of one Jacobian.

    Attributes:
        start, end: the calls of the modules whose outputs it leads from and to.
        shape: (numbers at the end, numbers at the start).
        values: singular values, largest first: all of them if `exact`, else the largest.
        exact: whether those are all.
        rms: the root of the mean square of all singular values, `‖J‖_F / √min(shape)`; estimated unless `exact`.
    """

    start: str
    end: str
    shape: tuple[int, int]
    values: np.ndarray
    exact: bool
    rms: float

    @property
    def condition(self) -> float:
        """The largest over the smallest; NaN unless `exact`."""
        if not self.exact:
            return math.nan
        return float(self.values[0] / self.values[-1]) if self.values[-1] > 0 else math.inf

    def __str__(self) -> str:
        what = "all" if self.exact else f"the largest {len(self.values)}"
        ends = f"{self.values[0]:.3g} … {self.values[-1]:.3g}"
        return f"{self.start} → {self.end}: {what} singular values {ends}, root mean square {self.rms:.3g}"


def spectrum(
    model: Any,
    loss_fn: Callable[..., Any],
    *batch: Any,
    start: str | None = None,
    end: str | None = None,
    example: int | None = 0,
) -> list[Spectrum]:
    """Singular values of the Jacobians between the outputs of layers.

    Args:
        model, loss_fn, batch: as for `diagnose`.
        start, end: names of two modules (`"0"`, `"encoder.1#2"` for a second call): one Jacobian, from the output of
            the first to that of the second. By default one for each pair of successive layers with weights, and one
            from the first to the last.
        example: which example of the batch, along the first axis, both values are restricted to; None for the whole.

    Raises:
        ArgumentError: no such module was called outside of loops, or nothing leads from the one to the other.

    Example:
        >>> [s.rms for s in flow.spectrum(model, loss_fn, x, y)]
    """
    recording = record(model, loss_fn, *batch)
    calls = {c.name: c for c in recording.calls if c.outputs}
    if start is not None or end is not None:
        pairs = [(_called(calls, start, "start"), _called(calls, end, "end"))]
    else:
        pairs = successive(recording)
    found = [_between(recording, a, b, example) for a, b in pairs]
    if (start is not None or end is not None) and found[0] is None:
        raise ArgumentError(f"flow.spectrum: nothing leads from {start!r} to {end!r}{at_user_line()}")
    return [s for s in found if s is not None]


def successive(recording: Recording) -> list[tuple[Call, Call]]:
    """Each pair of successive layers with weights, and the first with the last."""
    layers = [c for c in {c.name: c for c in recording.calls if c.outputs}.values() if is_weighted(c.module)]
    pairs = list(itertools.pairwise(layers))
    return [*pairs, (layers[0], layers[-1])] if len(layers) > 2 else pairs


def quick(recording: Recording, work: int = 1 << 24) -> list[Spectrum]:
    """Those of successive layers that are exact and cheap to have, as long as there is work left: numbers touched."""
    found = []
    for start, end in reversed(successive(recording)):  # the whole way first
        a, b = start.outputs[0], end.outputs[0]
        if not (a.shape and b.shape and a.shape[0] == b.shape[0]):  # not one row for each example
            continue
        stretch = Stretch(recording, a, b, 0)
        side = min(stretch.size(a), stretch.size(b))
        cost = side * sum(_touched(node) for node in stretch.nodes)
        if side <= EXACT and cost <= work:
            work -= cost
            with suppress(np.linalg.LinAlgError):  # values that aren't finite
                found.append(_between(recording, start, end, 0))
    return [s for s in reversed(found) if s is not None]


def _touched(node: Any) -> int:
    """About how many numbers are touched to differentiate a step once."""
    numbers = sum(math.prod(o.shape) for o in node.outputs)
    return 32 * numbers if "conv" in node.primitive.name else numbers


def _checked(start: Var, end: Var, example: int | None) -> None:
    for v in (start, end):
        if example is not None and not (v.shape and -v.shape[0] <= example < v.shape[0]):
            raise ArgumentError(
                f"flow.spectrum: there is no example {example} in a value of shape {v.shape}, whose first axis counts "
                f"examples; example=None takes the whole{at_user_line()}"
            )


def _called(calls: dict[str, Call], name: str | None, what: str) -> Call:
    if name not in calls:
        raise ArgumentError(
            f"flow.spectrum: {what} is {name!r}; expected a module that is called outside of loops: "
            f"{', '.join(list(calls)[:20])}{at_user_line()}"
        )
    return calls[name]


class Stretch:
    """The recorded steps from one value to another, as a linear map between one example's numbers."""

    def __init__(self, recording: Recording, start: Var, end: Var, example: int | None):
        graph = recording.graph
        self.tape, self.start, self.end, self.example = graph.trace, start, end, example
        depends = [False] * graph.size
        depends[start.index] = True
        forward = []
        for node in graph.nodes:
            if any(a.trace is self.tape and depends[a.index] for a in node.inputs):  # type: ignore[attr-defined]
                forward.append(node)
                for o in node.outputs:
                    depends[o.index] = True
        needed = [False] * graph.size
        needed[end.index] = True
        self.nodes = []
        for node in reversed(forward):
            if any(needed[o.index] for o in node.outputs):
                self.nodes.append(node)
                for a in node.inputs:
                    if a.trace is self.tape:
                        needed[a.index] = True  # type: ignore[attr-defined]
        self.nodes.reverse()
        self.leads = depends[end.index]
        self.depends = depends

    def size(self, v: Var) -> int:
        return math.prod(v.shape if self.example is None else v.shape[1:])

    def spread(self, x: np.ndarray, v: Var) -> Array:
        """One example's numbers as a value of the whole batch, zero elsewhere."""
        if self.example is None:
            return Array(x.reshape(v.shape).astype(v.dtype))
        whole = np.zeros(v.shape, v.dtype)
        whole[self.example] = x.reshape(v.shape[1:])
        return Array(whole)

    def part(self, x: Array | None, v: Var) -> np.ndarray:
        if x is None:
            return np.zeros(self.size(v))
        data = np.asarray(x.data, np.float64)
        return np.ravel(data if self.example is None else data[self.example])

    def push(self, tangent: np.ndarray) -> np.ndarray:
        tangents: dict[int, Array | None] = {self.start.index: self.spread(tangent, self.start)}
        for node in self.nodes:
            given = [tangents.get(a.index) if a.trace is self.tape else None for a in node.inputs]  # type: ignore[attr-defined]
            if node.differential is not None:
                outs = node.differential.push(given)
            else:
                values = [a.data if a.trace is self.tape else a for a in node.inputs]
                outs = push_through(node.primitive, values, [o.data for o in node.outputs], given, node.params)
            for o, t in zip(node.outputs, outs, strict=True):
                if t is not None and o is not self.start:
                    tangents[o.index] = t
        return self.part(tangents.get(self.end.index), self.end)

    def pull(self, cotangent: np.ndarray) -> np.ndarray:
        cotangents: dict[int, Any] = {self.end.index: self.spread(cotangent, self.end)}
        for node in reversed(self.nodes):
            arriving = [cotangents.get(o.index) for o in node.outputs]
            if all(c is None for c in arriving):
                continue
            for v, c in pull_node(node, self.tape, arriving):
                if self.depends[v.index]:
                    known = cotangents.get(v.index)
                    cotangents[v.index] = c if known is None else known + c
        return self.part(cotangents.get(self.start.index), self.start)


def _between(recording: Recording, start: Call, end: Call, example: int | None) -> Spectrum | None:
    a, b = start.outputs[0], end.outputs[0]
    _checked(a, b, example)
    stretch = Stretch(recording, a, b, example)
    if not stretch.leads or a is b:
        return None
    rows, columns = stretch.size(b), stretch.size(a)
    with np.errstate(all="ignore"):
        if min(rows, columns) <= EXACT:
            side, walk = (rows, stretch.pull) if rows <= columns else (columns, stretch.push)
            matrix = np.stack([walk(unit) for unit in np.eye(side)])
            values = np.linalg.svd(matrix, compute_uv=False)
            rms = float(np.sqrt(np.mean(values**2)))
            return Spectrum(start.name, end.name, (rows, columns), values, True, rms)
        values = largest(stretch.push, stretch.pull, columns)
        rng = np.random.default_rng(0)
        squares = [float(np.sum(stretch.pull(rng.standard_normal(rows)) ** 2)) for _ in range(PROBES)]
    return Spectrum(
        start.name, end.name, (rows, columns), values, False, math.sqrt(np.mean(squares) / min(rows, columns))
    )


def largest(
    push: Callable[[np.ndarray], np.ndarray], pull: Callable[[np.ndarray], np.ndarray], columns: int, steps: int = STEPS
) -> np.ndarray:
    """The largest singular values of a linear map, by Golub-Kahan-Lanczos bidiagonalisation from a random start.

    Half as many as steps are returned; the first of them have converged.
    """
    v = np.random.default_rng(0).standard_normal(columns)
    right = [v / np.linalg.norm(v)]
    left: list[np.ndarray] = []
    alphas: list[float] = []
    betas: list[float] = []
    for _ in range(min(steps, columns)):
        u = push(right[-1])
        for other in left + left:  # twice is enough
            u -= (other @ u) * other
        alpha = float(np.linalg.norm(u))
        alphas.append(alpha)
        if alpha <= 1e-12 * max(alphas):
            break
        left.append(u / alpha)
        v = pull(left[-1])
        for other in right + right:
            v -= (other @ v) * other
        beta = float(np.linalg.norm(v))
        if beta <= 1e-12 * max(alphas):
            break
        betas.append(beta)
        right.append(v / beta)
    n = len(alphas)
    band = np.diag(alphas) + np.diag(betas[: n - 1], 1)
    return np.linalg.svd(band, compute_uv=False)[: max(1, n // 2)]
