"""Findings about data: inputs of a size that networks aren't made for, outputs that can't meet their targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wengert import tree
from wengert.flow.finding import Case, Finding, finite, percent
from wengert.flow.profile import Call, rms
from wengert.flow.remedies import scaling, training
from wengert.flow.remedies.layers import NORMS
from wengert.flow.remedies.remedy import Remedy, by_hand, together

LARGE = 20.0  # of inputs: initial weights are made for 1
OFF_CENTRE = 20.0  # spreads that a feature's mean is away from 0
UNEVEN = 300.0  # largest spread of a feature over the median one
FAR = 30.0  # times the output's size
OUTSIDE = 0.1  # share of the targets that the output can't reach
RANGES = {
    "Sigmoid": (0, 1), "Hardsigmoid": (0, 1), "Softmax": (0, 1), "Tanh": (-1, 1), "Hardtanh": (-1, 1),
    "Softsign": (-1, 1), "ReLU": (0, np.inf), "ReLU6": (0, 6), "Softplus": (0, np.inf), "LogSoftmax": (-np.inf, 0),
}  # fmt: skip
DISTANCES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda e: e * e,
    lambda e: 0.5 * e * e,
    np.abs,
    lambda e: np.where(np.abs(e) < 1, 0.5 * e * e, np.abs(e) - 0.5),  # smooth L1, and Huber's with 1
)
SAME = 1e-4


class Meeting(NamedTuple):
    """How a loss compares outputs with targets: each with its own, or, by broadcasting, with all of them."""

    output: np.ndarray
    target: np.ndarray
    distance: Callable[[np.ndarray], np.ndarray]
    crossed: bool


def data_findings(case: Case) -> list[Finding]:
    """What is wrong with the numbers that go in and are to come out."""
    found = [*_alike(case), *_inputs(case)]
    meeting = _meeting(case)
    if meeting is None:
        return [*found, *_across(case)]
    if meeting.crossed:
        return [*found, _crossed(meeting)]
    return [*found, *_out_of_reach(case, meeting), *_targets(meeting)]


def _alike(case: Case) -> list[Finding]:
    leaves = [np.asarray(x) for x in tree.leaves(case.batch)]
    if len(leaves) < 2 or any(x.ndim < 1 or len(x) < 2 for x in leaves):
        return []
    *inputs, target = leaves
    if any(np.any(x != x[:1]) for x in inputs) or not np.any(target != target[:1]):
        return []
    cause = f"all {len(target)} examples have the same input, but not the same target: nothing tells them apart"
    return [Finding("identical inputs", [], cause, "data", 1.0, {"examples": len(target)}, {"data": 1.0}, [])]


def _inputs(case: Case) -> list[Finding]:
    """Inputs of a size, or of features of sizes, that the first layer isn't made for."""
    first = _first(case)
    x = np.asarray(tree.leaves(case.batch)[0])
    if first is None or x.dtype.kind not in "fiu" or x.ndim < 2 or first.given is None or first.given.size != x.size:
        return []
    if not np.array_equal(first.given.reshape(x.shape), x.astype(first.given.dtype)):
        return []
    axis = 1 if hasattr(first.module, "kernel_size") else x.ndim - 1
    others = tuple(a for a in range(x.ndim) if a != axis)
    mean, std = x.mean(axis=others, dtype=np.float64), x.std(axis=others, dtype=np.float64)
    varies = std > 1e-12 * max(rms(x), 1e-300)
    if not varies.any():
        return []
    size, middle = rms(x), float(np.median(std[varies]))
    off = float(np.median(np.abs(mean[varies]) / std[varies]))
    uneven = float(std.max()) / middle
    told = []
    if size > LARGE:
        told.append(f"their size (root mean square) is {size:.3g}")
    if off > OFF_CENTRE:
        told.append(f"a feature's mean is {off:.3g} times its spread away from 0")
    if uneven > UNEVEN and size > 1:
        told.append(f"the widest feature spreads {uneven:.3g} times as far as the middle one")
    if not told:
        return []
    cause = f"the inputs are far from mean 0 and size 1, which initial weights are made for: {', and '.join(told)}"
    evidence = {"size": finite(size), "mean over spread": finite(off), "widest over middle": finite(uneven)}
    shape = [1] * (x.ndim - 1)
    shape[axis - 1] = -1
    kind = first.given.dtype
    centre = mean.reshape(shape).astype(kind)
    spread = np.where(varies, std, 1.0).reshape(shape).astype(kind)
    return [Finding("input scale", [first.name], cause, "data", 0.85, evidence, {"data": 1.0},
                    [scaling.standardised(centre, spread)])]  # fmt: skip


def _first(case: Case) -> Call | None:
    """The layer with weights that reads the input, unless it is normalised before."""
    for c in case.profile.calls:
        if isinstance(c.module, NORMS):
            return None
        if c.weighted:
            return c
    return None


def _meeting(case: Case) -> Meeting | None:
    """The targets as the loss compares them with the output, if it is the mean or sum of a distance known here."""
    leaves = [np.asarray(x) for x in tree.leaves(case.batch)]
    z = case.profile.output
    if z is None or len(leaves) < 2 or leaves[-1].dtype.kind not in "fiu" or z.dtype.kind != "f":
        return None
    y = leaves[-1].astype(np.float64)
    z = z.astype(np.float64)
    if y.size != z.size or not y.size:
        return None
    ways = [(z.reshape(y.shape), y, False)]
    if z.shape != y.shape and {z.ndim, y.ndim} == {1, 2} and len(y) > 1:
        ways.append((z, y, True))
    for a, b, crossed in ways:
        for distance in DISTANCES:
            d = distance(a - b)
            if any(abs(v - case.profile.loss) <= SAME * max(abs(v), 1e-12) for v in (d.mean(), d.sum())):
                return Meeting(a, b, distance, crossed)
    return None


def _across(case: Case) -> list[Finding]:
    """Targets (n,) taken from something (n, 1) that the model made, by the step that does so."""
    walk = case.walk
    if walk is None or not case.is_module:
        return []
    tape = walk.recording.graph.trace
    batch = {v.index for v in walk.recording.inputs.values()}
    for node in walk.recording.steps:
        shapes = sorted((a.shape for a in node.inputs), key=len)
        n = node.outputs[0].shape[0] if node.outputs[0].ndim == 2 else 0
        if node.primitive.name != "subtract" or n < 2 or shapes != [(n,), (n, 1)]:
            continue
        given = [a.trace is not tape or a.index in batch for a in node.inputs]  # type: ignore[attr-defined]
        if sum(given) == 1 and walk.kinds[walk.recording.steps.index(node)] == "loss":
            made, target = (a.shape for a, g in sorted(zip(node.inputs, given, strict=True), key=lambda p: p[1]))
            cause = (
                f"outputs of shape {made} and targets of shape {target} broadcast to {(n, n)}: the loss compares every "
                "output with every target, so that their mean is the best that can be learned"
            )
            return [Finding("loss pairing", [], cause, "loss", 0.97, {"compared": [n, n]}, {"loss": 1.0},
                            [by_hand("outputs and targets of one shape", str(node.source))], node.source)]  # fmt: skip
    return []


def _crossed(m: Meeting) -> Finding:
    both = (m.output - m.target).shape
    cause = (
        f"outputs of shape {m.output.shape} and targets of shape {m.target.shape} broadcast to {both}: the loss "
        "compares every output with every target, so that their mean is the best that can be learned"
    )
    wider = m.target.ndim > m.output.ndim
    return Finding("loss pairing", [], cause, "loss", 0.97, {"compared": list(both)}, {"loss": 1.0},
                   [scaling.of_target_shape(wider)])  # fmt: skip


def _out_of_reach(case: Case, m: Meeting) -> list[Finding]:
    """Targets outside of the range of the activation that makes the output."""
    ends = case.output_activations()
    calls = [c for c in case.profile.calls if c.name in ends]
    kind = type(calls[-1].module).__name__ if calls else ""
    if kind not in RANGES or calls[-1].made is None or calls[-1].made.size != m.output.size:
        return []
    if not np.array_equal(calls[-1].made.reshape(m.output.shape).astype(np.float64), m.output):
        return []
    low, high = RANGES[kind]
    margin = 0.02 * float(m.target.std())
    outside = float(np.mean((m.target < low - margin) | (m.target > high + margin)))
    least = float(m.distance(np.clip(m.target, low, high) - m.target).mean())
    constant = float(m.distance(np.median(m.target) - m.target).mean())
    if outside < OUTSIDE or least < 0.05 * constant:
        return []
    reach = (
        f"never below {low}" if high == np.inf else f"never above {high}" if low == -np.inf else f"from {low} to {high}"
    )
    cause = (
        f"the output is made by a {kind}, {reach}, but {percent(outside)} of the targets lie outside, from "
        f"{m.target.min():.3g} to {m.target.max():.3g}: the mean distance can't fall below {least:.3g} (one constant "
        f"output reaches {constant:.3g})"
    )
    evidence = {"targets outside": finite(outside), "least": finite(least), "of a constant": finite(constant)}
    return [Finding("loss pairing", sorted(ends), cause, "loss", 0.95, evidence, {"loss": 1.0},
                    [scaling.without_activation(ends, kind)])]  # fmt: skip


def _targets(m: Meeting) -> list[Finding]:
    """Targets much larger than anything that comes out."""
    mean, std, out = float(m.target.mean()), float(m.target.std()), rms(m.output)
    size = max(abs(mean), std)
    if not std > 0 or size < FAR * max(out, 1.0):
        return []
    cause = (
        f"the targets are {mean:.3g} ± {std:.3g}, the outputs of size {out:.2g}: a learning rate that suits the "
        "weights takes very long to get there"
    )
    evidence = {"targets' mean": finite(mean), "targets' spread": finite(std), "outputs' size": finite(out)}
    kind = np.float32
    scale: Remedy = scaling.rescaled(np.asarray(mean, kind), np.asarray(std, kind))
    quick = training.adaptive(1e-3, "its steps don't grow with the loss")
    return [Finding("target scale", [], cause, "data", 0.8, evidence, {"data": 1.0}, [scale, together(scale, quick)])]
