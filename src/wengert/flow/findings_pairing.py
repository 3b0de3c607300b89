"""Findings about outputs and losses that don't belong together.

The loss is computed from the output in the ways known, and compared with what the loss function returned. A range is
no proof of an activation (a few untrained logits lie between 0 and 1 by chance): the step that made them is asked.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from wengert import tree
from wengert.errors import WengertError
from wengert.flow.finding import Case, Finding, finite
from wengert.flow.profile import Batch
from wengert.flow.remedies import pairing
from wengert.flow.remedies.remedy import by_hand
from wengert.ir.graph import Node
from wengert.nn import functional as F

SAME = 1e-4  # relative difference of two losses that are computed the same way
SUM = 1e-3  # by which a row of probabilities may miss 1
SQUASHING = ("logistic", "divide", "reciprocal")  # the last step of a sigmoid: one step, or 1 / (1 + exp(-z))


class Output(NamedTuple):
    """What the model made, and the targets, as classification losses see them."""

    z: np.ndarray
    y: np.ndarray
    labels: bool  # whether the targets are class numbers, one for each row of z
    softmax: bool  # whether each row holds probabilities
    logs: bool  # or their logarithms
    part: str | None  # the softmax or sigmoid module that made it


def pairing_findings(case: Case) -> list[Finding]:
    """Outputs and losses that don't belong together, found by computing the loss from the output in the ways known."""
    z, y = case.profile.output, _targets(case.batch)
    if z is None or y is None or z.ndim < 1 or not z.size or z.dtype.kind != "f" or not np.isfinite(z).all():
        return []
    wide = z.reshape(-1, z.shape[-1]) if z.ndim == 2 and z.shape[1] > 1 else None
    labels = y.dtype.kind in "iu" and y.ndim == 1 and wide is not None and len(y) == len(z)
    softmax = wide is not None and wide.min() >= 0 and wide.max() <= 1 and _sum_to_one(wide)
    logs = wide is not None and wide.max() <= 0 and _sum_to_one(np.exp(np.float64(wide)))
    out = Output(z, y, labels, softmax, logs, _last_output(case))
    found = _upside_down(case, out) or _across(case, out) or _of_classes(case, out) or _of_bits(case, out)
    return [] if found is None else [found]


def _sum_to_one(rows: np.ndarray) -> bool:
    return bool(np.all(abs(rows.sum(axis=1, dtype=np.float64) - 1) < SUM))


def _finding(cause: str, part: str | None, remedies: list[Any], line: Any = None, **evidence: Any) -> Finding:
    where = [] if part is None else [part]
    return Finding("loss pairing", where, cause, "loss", 0.95, evidence, {"loss": 1.0}, remedies, line)


def _of_classes(case: Case, out: Output) -> Finding | None:
    """A softmax too many, or one too few, for losses of class numbers."""
    z, y, part, loss = out.z, out.y, out.part, case.profile.loss
    if not out.labels:
        return None
    unit = bool(z.min() >= 0 and z.max() <= 1)
    sure = "nll_loss is given probabilities, not their logarithms: errors that are sure of themselves cost little"
    if -1 <= loss < 0 and _same(loss, lambda: F.nll_loss(F.softmax(z, -1), y)):
        return _finding(sure, None, [pairing.with_cross_entropy()])
    if not out.softmax and unit and part is not None and _same(loss, lambda: F.cross_entropy(z, y)):
        cause = (
            f"the output is a {type(case.model.get_submodule(part)).__name__} between 0 and 1, and cross entropy takes "
            "its softmax: logits that differ by at most 1 give no class much more than the others"
        )
        return _finding(cause, part, [pairing.without_output(part, True, "cross entropy takes logits of any size")])
    if out.softmax and _same(loss, lambda: F.cross_entropy(z, y)):
        lowest = math.log(1 + (z.shape[1] - 1) / math.e)
        cause = (
            "the output is a softmax already, and cross entropy applies another: that sees numbers between 0 and 1, "
            f"so that the loss can't fall below {lowest:.2f}"
        )
        remove = pairing.without_output(part, False, "cross entropy applies its own, to logits")
        return _finding(cause, part, [remove], **{"lowest loss possible": finite(lowest, 3)})
    if not out.logs and _same(loss, lambda: F.nll_loss(z, y)):
        if out.softmax:
            undo = pairing.without_output(None, False, "takes the logarithm of the probabilities")
            return _finding(sure, part, [undo])
        cause = "nll_loss is given numbers that are no logarithms of probabilities: it has no lower bound"
        return _finding(
            cause, part, [pairing.with_output("log_softmax", "the loss expects logarithms of probabilities")]
        )
    return None


def _upside_down(case: Case, out: Output) -> Finding | None:
    """A cross entropy whose sign was forgotten, so that it falls without end while the model gets worse."""
    loss = case.profile.loss
    if loss >= 0:
        return None
    z, y = out.z, out.y
    ways = {"cross entropy": lambda: F.cross_entropy(z, y), "nll_loss": lambda: F.nll_loss(z, y)} if out.labels else {}
    if not out.logs:  # the sign of nll_loss on anything else says nothing
        ways.pop("nll_loss", None)
    if out.softmax and out.labels:
        ways["cross entropy"] = lambda: F.nll_loss(np.log(np.maximum(z, 1e-38)), y)
    if y.size == z.size and _bits(y):
        target = y.reshape(z.shape).astype(z.dtype)
        ways["binary cross entropy"] = lambda: F.binary_cross_entropy_with_logits(z, target)
        if z.min() > 0 and z.max() < 1:
            ways["binary cross entropy "] = lambda: F.binary_cross_entropy(z, target)
    name = next((n for n, f in ways.items() if _same(-loss, f)), None)
    if name is None:
        return None
    cause = f"the loss is {name.strip()} with its sign turned: the lower it gets, the more the output is wrong"
    return _finding(cause, None, [pairing.negated()])


def _across(case: Case, out: Output) -> Finding | None:
    """A softmax over the examples instead of the classes."""
    z = out.z
    if case.walk is None or z.ndim != 2 or z.shape[0] == z.shape[1] or len(out.y) != len(z):
        return None
    tape = case.walk.recording.graph.trace
    made = {o.index: n for n in case.walk.recording.steps for o in n.outputs}
    for node in reversed(case.walk.recording.steps):
        if node.primitive.name != "sum" or node.params.get("axes") != (0,) or node.inputs[0].shape != z.shape:
            continue
        x = node.inputs[0]
        if x.trace is not tape or made[x.index].primitive.name != "exp":  # type: ignore[attr-defined]
            continue
        cause = (
            f"a softmax runs over axis 0, the {z.shape[0]} examples, instead of axis 1, the {z.shape[1]} classes: "
            "what is said about an example depends on which others are in the batch"
        )
        if out.part is not None:
            remedy = pairing.along_classes(out.part)
        elif out.labels and not _inside(node):
            remedy = pairing.with_cross_entropy()
        else:
            remedy = by_hand("softmax over axis 1", str(node.source))
        return _finding(cause, out.part, [remedy], node.source)
    return None


def _of_bits(case: Case, out: Output) -> Finding | None:
    """A sigmoid before a loss that applies its own."""
    y = out.y
    if not _bits(y):
        return None
    for node in reversed([] if case.walk is None else case.walk.recording.steps):
        if node.primitive.name not in SQUASHING or node.outputs[0].size != y.size:
            continue
        z = np.asarray(node.outputs[0].data.data)
        if z.dtype.kind != "f" or not (z.min() >= 0 and z.max() <= 1):
            continue
        if node.primitive.name == "divide" and np.ndim(np.asarray(_constant(node.inputs[0]))) != 0:
            continue  # not 1 / (1 + …)
        target = y.reshape(z.shape).astype(z.dtype)
        if not _same(case.profile.loss, lambda z=z, t=target: F.binary_cross_entropy_with_logits(z, t)):
            continue
        cause = "the output is a sigmoid already, and binary cross entropy with logits applies another"
        if _inside(node):
            remove = pairing.without_output(out.part, True, "the loss applies its own, to logits")
        else:
            remove = by_hand("no sigmoid before the loss", str(node.source))
        return _finding(cause, out.part, [remove], None if out.part else node.source)
    return None


def _constant(x: Any) -> Any:
    """A constant's number; an array of one axis for what was recorded."""
    return np.zeros(1) if x.trace is not None else x.data


def _inside(node: Node) -> bool:
    return any(f.what == "module" for f in node.scope)


def _bits(y: np.ndarray) -> bool:
    return y.dtype.kind in "fiub" and y.size > 0 and bool(np.all((y == 0) | (y == 1)))


def _targets(batch: Batch) -> np.ndarray | None:
    leaves = [np.asarray(x) for x in tree.leaves(batch)]
    return leaves[-1] if len(leaves) > 1 else None


def _same(loss: float, other: Any) -> bool:
    """Whether another way to compute the loss gives the same number."""
    try:
        value = float(np.asarray(other()))
    except (WengertError, TypeError, ValueError, IndexError):
        return False
    return math.isfinite(value) and abs(value - loss) <= SAME * max(abs(value), 1e-6)


def _last_output(case: Case) -> str | None:
    """The module whose result is the model's, if it is a softmax or sigmoid."""
    calls = case.profile.calls
    if not calls or calls[-1].made is None or case.profile.output is None:
        return None
    last = calls[-1]
    kind = type(last.module).__name__
    same = last.made is not None and last.made.shape == case.profile.output.shape
    equal = same and bool(np.array_equal(last.made, case.profile.output))  # type: ignore[arg-type]
    return last.name if equal and kind in ("Softmax", "Sigmoid", "LogSoftmax") else None
