"""The gradient by path length and by time lag: exact shares, by one graded pull.

    by_path_length   how many weighted layers each part of the gradient has crossed
    by_lag           from how many time steps back each part of a recurrent layer's gradient comes

Veit, Wilber and Belongie 2016, "Residual networks behave like ensembles of relatively shallow networks" (arXiv
1605.06431), sampled the first; Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural
networks" (arXiv 1211.5063), write the gradient as the sum that the second lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from wengert.diff.graded import Graded, pull_graded
from wengert.errors import ArgumentError
from wengert.flow.kinds import is_product, parameters_only
from wengert.flow.probe import Recording, record
from wengert.flow.unroll import MARK
from wengert.ir.graph import Var
from wengert.source import at_user_line

NONE = 5e-5  # a share that rounds to 0.00 %


@dataclass(frozen=True)
class Shares:
    """A gradient by degree (layers crossed, or steps back).

    Attributes:
        of: what it is the gradient by.
        by: "path length" or "lag".
        shares: for each degree from 0, `⟨g_k, g⟩ / ⟨g, g⟩` of the part g_k in the gradient g. They add up to 1; a part
            that points away from the whole counts below 0.
        norms: for each degree, log10 ‖g_k‖; -inf where there is none.
    """

    of: str
    by: str
    shares: tuple[float, ...]
    norms: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean degree, weighted by `‖g_k‖²`."""
        most = max(self.norms, default=-math.inf)
        if most == -math.inf:
            return math.nan
        weights = [100.0 ** (n - most) for n in self.norms]
        return sum(k * w for k, w in enumerate(weights)) / sum(weights)

    def within(self, k: int) -> float:
        """The share of degrees up to k."""
        return math.fsum(self.shares[: k + 1])

    def reach(self, share: float = 0.9) -> int:
        """The least degree up to which the parts make up this share of the sum of their norms."""
        most = max(self.norms, default=-math.inf)
        sizes = [10.0 ** (n - most) if n > -math.inf else 0.0 for n in self.norms]
        total, so_far = math.fsum(sizes), 0.0
        for k, s in enumerate(sizes):
            so_far += s
            if so_far >= share * total:
                return k
        return len(sizes) - 1

    def __str__(self) -> str:
        unit = "weighted layers crossed" if self.by == "path length" else "steps back"
        lines = [f"The gradient by {self.of}, by {self.by}: share and log10 norm of what comes over so many {unit}"]
        rows = [(k, s, n) for k, (s, n) in enumerate(zip(self.shares, self.norms, strict=True)) if n > -math.inf]
        for none, group in groupby(rows, lambda row: abs(row[1]) < NONE):
            run = list(group)
            if none and len(run) > 2:
                (first, _, high), (last, _, low) = run[0], run[-1]
                lines.append(f"  {first:4d} to {last}: 0.00 % each, norms {high:.2f} to {low:.2f}")
            else:
                lines += [
                    f"  {k:4d}  {100 * s:7.2f} %  {n:8.2f}  {'█' * round(30 * min(max(s, 0), 1))}" for k, s, n in run
                ]
        return "\n".join(lines)


def by_path_length(model: Any, loss_fn: Callable[..., Any], *batch: Any, of: str | None = None) -> Shares:
    """The gradient by the number of weighted layers that it has crossed on its way from the loss.

    A layer counts where the path goes through its product with weights (of a linear layer, a convolution, …); products
    of two signals, as in attention, don't.

    Args:
        model, loss_fn, batch: as for `diagnose`.
        of: the name of a parameter (its own layer doesn't count); by default the first input of the batch that carries
            the signal, else the first layer's weight.

    Raises:
        ArgumentError: there is no such parameter, or the loss doesn't depend on it.

    Example:
        >>> shares = flow.by_path_length(model, loss_fn, x, y)
        >>> shares.shares[3]        # of the gradient crossed 3 layers
    """
    recording = record(model, loss_fn, *batch)
    return path_length(recording, of)


def path_length(recording: Recording, of: str | None = None) -> Shares:
    """`by_path_length` of a recording."""
    alone = _alone(recording)
    tape = recording.graph.trace
    marked = [
        is_product(node) and sum(a.trace is tape and not alone[a.index] for a in node.inputs) == 1  # type: ignore[attr-defined]
        for node in recording.steps
    ]

    def degree(at: int, v: Var) -> int:
        return int(marked[at] and not alone[v.index])

    if of is not None:
        name, value = _named(recording, of)
    else:
        name, value = _first(recording, alone)
    found = _pulled(recording, degree, [value])
    return _shares(name, "path length", [found[value.index]], recording)


def by_lag(model: Any, loss_fn: Callable[..., Any], *batch: Any, of: str | None = None) -> Shares:
    """The gradient of recurrent weights by time lag: how many steps lie between their use and the loss it acts on.

    A step back is a state's way from one turn to the one before: in `nn.RNN`, `LSTM`, `GRU`, any `wg.scan` or
    `wg.while_loop`, where one of nn's cells is called again in a Python loop, and where any module with parameters is
    called with what its last call returned. Stacked layers add up.

    Args:
        model, loss_fn, batch: as for `diagnose`. The loss may be taken at the end or at every step.
        of: the name of a parameter; by default all that are used within turns, together.

    Raises:
        ArgumentError: no state is handed on from turn to turn, or there is no such parameter.

    Example:
        >>> lags = flow.by_lag(model, loss_fn, x, y)
        >>> lags.within(3)          # the share of lags 0 to 3
    """
    recording = record(model, loss_fn, *batch)
    return lag(recording, of)


def lag(recording: Recording, of: str | None = None) -> Shares:
    """`by_lag` of a recording."""
    marked = [node.primitive is MARK for node in recording.steps]
    if not any(marked):
        raise ArgumentError(
            "flow.by_lag: no state is handed on from one turn to the next: the model has no recurrent layer, or its "
            "sequence has one element. A loop in Python over plain arrays can't be told from layers: write it with "
            f"wg.scan, or as a module that is called at every step with what it returned before{at_user_line()}"
        )
    if of is not None:
        name, value = _named(recording, of)
        values = [value]
    else:
        values = _recurrent(recording)
        name = "the recurrent weights" if len(values) != 1 else _name(recording, values[0])
    found = _pulled(recording, lambda at, v: int(marked[at]), values)
    return _shares(name, "lag", [found[v.index] for v in values], recording)


def _pulled(recording: Recording, degree: Callable[[int, Var], int], values: Sequence[Var]) -> dict[int, Graded | None]:
    if recording.loss is None:
        raise ArgumentError(f"flow: the loss depends on no parameter and no input{at_user_line()}")
    return pull_graded(recording.graph, recording.loss, degree, values)


def _alone(recording: Recording) -> list[bool]:
    graph = recording.graph
    return parameters_only(recording.steps, list(recording.parameters.values()), graph.size, graph.trace)


def _named(recording: Recording, of: str) -> tuple[str, Var]:
    if of not in recording.parameters:
        names = ", ".join(list(recording.parameters)[:20])
        raise ArgumentError(f"flow: no parameter is called {of!r}; there are {names}{at_user_line()}")
    return of, recording.parameters[of]


def _name(recording: Recording, value: Var) -> str:
    return next(n for n, v in recording.parameters.items() if v is value)


def _first(recording: Recording, alone: Sequence[bool]) -> tuple[str, Var]:
    """The first input that steps read as a signal, else the first weight that is used."""
    used = {a.index for node in recording.steps for a in node.inputs if a.trace is recording.graph.trace}  # type: ignore[attr-defined]
    for n, v in recording.inputs.items():
        if v.index in used:
            return f"input {n}", v
    for node in recording.steps:
        for n, v in recording.parameters.items():
            if any(a is v for a in node.inputs):
                return n, v
    raise ArgumentError(f"flow: the loss depends on no parameter and no input{at_user_line()}")


def _recurrent(recording: Recording) -> list[Var]:
    """The parameters that steps within turns, or of cells called again, read."""
    tape = recording.graph.trace
    reads: dict[int, set[Any]] = {}
    for node in recording.steps:
        turns = tuple(f for f in node.scope if f.what == "turn" or (f.what == "module" and f.number))
        for a in node.inputs:
            if a.trace is tape:
                reads.setdefault(a.index, set()).add(turns)  # type: ignore[attr-defined]
    values = [v for v in recording.parameters.values() if any(reads.get(v.index, ()))]
    return values or list(recording.parameters.values())


def _shares(name: str, by: str, found: Sequence[Graded | None], recording: Recording) -> Shares:
    present = [g for g in found if g is not None]
    if not present:
        raise ArgumentError(f"flow: the loss doesn't depend on {name}{at_user_line()}")
    exponent, high = max(g.exponent for g in present), max(g.high for g in present)
    flat = [g.spread(0, high, exponent).reshape(high + 1, -1) for g in present]
    whole = Graded(np.concatenate(flat, axis=1), 0, exponent)
    shares, norms = whole.shares(), whole.norms()
    return Shares(
        name, by, tuple(shares.get(k, 0.0) for k in range(high + 1)), tuple(norms[k] for k in range(high + 1))
    )
