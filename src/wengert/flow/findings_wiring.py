"""Findings about wiring: numbers that aren't finite, parameters that the loss doesn't reach, losses that don't fit."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from wengert import tree
from wengert.diff.derivatives import value_and_grad
from wengert.errors import WengertError
from wengert.flow.finding import Case, Finding, finite, place
from wengert.flow.findings_depth import mending
from wengert.flow.ledger import where
from wengert.flow.profile import Batch, Call, checked_loss, first_nonfinite, norm, rms
from wengert.flow.recipe import copied
from wengert.flow.remedies import pairing, passing, training
from wengert.flow.remedies.activations import is_activation
from wengert.flow.remedies.remedy import Remedy
from wengert.ir.array import Array
from wengert.ir.record import Tape, live_nodes
from wengert.nn import functional as F
from wengert.optim.parameters import slots

SAME = 1e-4  # relative difference of two losses that are computed the same way


def nonfinite_findings(case: Case) -> list[Finding]:
    """A loss or gradient that is NaN or infinite, with the operation that makes the first such number."""
    p = case.profile
    bad = [q.name for q in p.parameters if q.gradient is not None and not np.isfinite(q.gradient).all()]
    held = [q.name for q in p.parameters if not np.isfinite(q.value).all()]
    if math.isfinite(p.loss) and not bad and not held:
        return []
    if held:
        cause = f"the parameter {held[0]!r} itself holds NaN or infinity ({len(held)} parameters do)"
        return [Finding("non-finite", held, cause, "parameters", 1.0, {"parameters": len(held)}, {},
                        mending(case, "weights", small=False)[:2])]  # fmt: skip
    first = first_nonfinite(case.model, case.loss_fn, case.batch)
    text = (first or "the loss is not finite").split("\n")
    line = text[-1].strip().removeprefix("at ") if len(text) > 1 else None
    what = "the loss is " + str(p.loss) if not math.isfinite(p.loss) else f"the gradient of {place(bad)} is not finite"
    sizes = [(c.name, rms(c.made)) for c in case.layers if c.made is not None]
    finite_sizes = [(n, s) for n, s in sizes if math.isfinite(s)]
    grown = max((s for _, s in finite_sizes), default=0.0) / max(finite_sizes[0][1], 1e-30) if finite_sizes else 1.0
    evidence: dict[str, Any] = {"size of outputs by layer": {n: finite(s, 3) for n, s in sizes}}
    remedies = mending(case, "weights", small=False) if case.layers else []
    if grown > 1e6:
        cause = f"{what}: outputs grow {grown:.2g} times from layer to layer until they overflow. First: {text[0]}"
        return [Finding("exploding", [n for n, _ in sizes], cause, "weights", 1.0, evidence, {"weights": 1.0}, remedies,
                        line)]  # fmt: skip
    if isinstance(p.output, np.ndarray) and np.isfinite(p.output).all() and p.output.dtype.kind == "f":
        inside = bool(((p.output >= 0) & (p.output <= 1)).all())
        if not inside and " log" in f" {text[0]}":
            sigmoid = pairing.with_output("sigmoid", "the loss takes logarithms of what has to be probabilities")
            remedies = [sigmoid, *remedies]
    remedies = [*remedies, training.clip_norm(1.0, "keeps steps in bounds")]
    made_by = _first_bad(p.calls)
    if made_by is not None and not list(made_by.module.parameters()) and not is_activation(made_by.module):
        remedies = [passing.left_out_remedy(made_by.name, type(made_by.module).__name__), *remedies]
    at = [made_by.name] if made_by is not None else bad[:1]
    return [Finding("non-finite", at, f"{what}. First: {text[0]}", "operation", 1.0, evidence, {},
                    remedies, line)]  # fmt: skip


def _first_bad(calls: list[Call]) -> Call | None:
    """The part that makes numbers that aren't finite of finite ones; or whose derivative does, the last such first."""
    for c in calls:
        if c.made is not None and not np.isfinite(c.made).all():
            return c if c.given is None or c.given.dtype.kind != "f" or np.isfinite(c.given).all() else None
    for before, c in reversed(list(itertools.pairwise(calls))):
        if c.gradient is None or before.gradient is None or not np.isfinite(c.gradient).all():
            return None
        if not np.isfinite(before.gradient).all():
            return c
    return None


def reached(model: Any, loss_fn: Any, batch: Batch) -> dict[str, bool]:
    """For each parameter, whether any chain of operations with a derivative leads from it to the loss."""
    model = copied(model)
    known = {s.name: s for s in slots(model) if not s.buffer}
    identity = {id(s.value): n for n, s in known.items()}
    leaves, structure = tree.flatten(model)
    tape = Tape()
    names: dict[int, str] = {}
    new = []
    for x in leaves:
        name = identity.get(id(x))
        if name is None:
            new.append(x)
            continue
        var = tape.input(x if isinstance(x, Array) else Array(np.asarray(x)))
        names[var.index] = name
        new.append(var)
    try:
        loss = checked_loss(loss_fn(tree.unflatten(structure, new), *batch))
        _, used = live_nodes(tape.nodes, [loss], tape) if isinstance(loss, Array) else ([], set())
    finally:
        tape.close()
    return {name: index in used for index, name in names.items()}


def wiring_findings(case: Case) -> list[Finding]:
    """Parameters that the loss doesn't depend on, and models that are held fixed."""
    free = [q for q in case.profile.parameters if not q.frozen]
    frozen = [q.name for q in case.profile.parameters if q.frozen]
    if not free:
        return [Finding("frozen", frozen, f"all {len(frozen)} parameters are frozen, so that nothing can be learned",
                        "frozen", 1.0, {"frozen": len(frozen)}, {},
                        [training.unfreeze((), "lets all parameters be trained")])]  # fmt: skip
    found = []
    idle = [q.name for q in free if q.gradient is None or not np.any(q.gradient)]
    if idle:
        try:
            there = reached(case.model, case.loss_fn, case.batch)
        except (WengertError, TypeError, ValueError):
            there = {}
        lost = [n for n in idle if not there.get(n, True)]
        if lost:
            share = len(lost) / len(free)
            whole = "no parameter" if share == 1 else f"{len(lost)} of {len(free)} parameters"
            cause = (
                "the loss depends on no parameter at all: it is computed from constants"
                if share == 1
                else f"the loss doesn't depend on {whole}: what is made of them is not used, or its derivative is "
                "stopped (stop_gradient, np.asarray, comparison or rounding)"
            )
            found.append(Finding("disconnected", lost, cause, "graph", 1.0 if share > 0.5 else 0.7,
                                 {"parameters": len(lost), "of": len(free)}, {}, _joined(case)))  # fmt: skip
        elif flat := flat_step(case):
            name, place_, line = flat
            cause = (
                f"the derivative of {name} is 0 everywhere: no gradient reaches {len(idle)} of {len(free)} parameters"
            )
            before = sorted({n.rsplit(".", 1)[0] for n in idle})
            found.append(Finding("disconnected", [place_] if place_ else before, cause, "operation", 1.0,
                                 {"parameters": len(idle), "of": len(free)}, {}, _joined(case), line))  # fmt: skip
    if frozen:
        names = f"{len(frozen)} of {len(case.profile.parameters)} parameters are frozen"
        found.append(Finding("frozen", frozen, names, "frozen", 0.2, {"frozen": len(frozen)}, {},
                             [training.unfreeze((), "lets all parameters be trained")]))  # fmt: skip
    return found


def _joined(case: Case) -> list[Remedy]:
    """For parts without parameters at which the gradient ends: each left out, or with a derivative in its place."""
    found = []
    for before, c in itertools.pairwise(case.profile.calls):
        if c.made is None or c.given is None or c.made.shape != c.given.shape or is_activation(c.module):
            continue
        if list(c.module.parameters()) or not (_ends(before, c) or flat(c)):
            continue
        kind = type(c.module).__name__
        found.append(passing.left_out_remedy(c.name, kind))
        if not np.array_equal(c.made, c.given):
            found.append(passing.straight_through_remedy(c.name, kind))
    return found


def _ends(before: Call, c: Call) -> bool:
    """Whether the gradient comes to a part and not to the one before it."""
    if c.gradient is None or before.gradient is None:
        return False
    return bool(np.any(c.gradient)) and not np.any(before.gradient)


def flat(c: Call) -> bool:
    """Whether what a part makes of random numbers differs from place to place, and has derivative 0 by them."""
    if c.given is None or c.given.dtype.kind != "f":
        return False
    size = 3 * max(1.0, rms(c.given))
    x = (size * np.random.default_rng(0).standard_normal(c.given.shape)).astype(c.given.dtype)
    try:
        (_, made), g = value_and_grad(lambda x: _summed(copied(c.module)(x)), has_aux=True)(x)
    except (WengertError, TypeError, ValueError, AttributeError):
        return False
    return not np.any(np.asarray(g)) and bool(np.ptp(np.asarray(made)) > 0)


def _summed(y: Any) -> Any:
    return y.sum(), y


FLAT = ("sign", "round", "floor", "ceil", "trunc", "rint", "stop_gradient", "heaviside")


def flat_step(case: Case) -> tuple[str, str, Any] | None:
    """A step whose derivative is 0 for every input, where the gradient ends: its name, module and line."""
    if case.walk is None:
        return None
    steps = case.walk.recording.steps
    for e in case.walk.edges:
        node = steps[e.step]
        if e.leaving == -math.inf < e.arriving and node.primitive.name in FLAT:
            return node.primitive.name, where(node)[0], node.source
    norms = case.walk.norms
    for node in reversed(steps):  # a step without any derivative has no edge
        if node.primitive.name in FLAT and any(norms[o.index] > -math.inf for o in node.outputs):
            return node.primitive.name, where(node)[0], node.source
    return None


def pairing_findings(case: Case) -> list[Finding]:
    """Outputs and losses that don't belong together, found by computing the loss from the output in the ways known."""
    p, y = case.profile, _targets(case.batch)
    z = p.output
    if z is None or y is None or z.ndim < 1 or not z.size or z.dtype.kind != "f" or not np.isfinite(z).all():
        return []
    wide = z.reshape(-1, z.shape[-1]) if z.ndim == 2 else None
    rows = wide is not None and z.shape[1] > 1
    sums = None if wide is None else wide.sum(axis=1, dtype=np.float64)
    tol = 1e-3
    softmax = rows and wide.min() >= 0 and wide.max() <= 1 and bool(np.all(abs(sums - 1) < tol))  # type: ignore[union-attr,operator]
    logs = rows and wide.max() <= 0 and bool(np.all(abs(np.exp(np.float64(wide)).sum(axis=1) - 1) < tol))  # type: ignore[union-attr,arg-type]
    unit = bool(z.min() >= 0 and z.max() <= 1)
    labels = y.dtype.kind in "iu" and y.ndim == 1 and rows and len(y) == len(z)
    part = _last_output(case)
    if labels and -1 <= p.loss < 0 and _same(p.loss, lambda: F.nll_loss(F.softmax(z, -1), y)):
        cause = "nll_loss is given probabilities, not their logarithms: errors that are sure of themselves cost little"
        return [Finding("loss pairing", [], cause, "loss", 0.95, {}, {"loss": 1.0}, [pairing.with_cross_entropy()])]
    if labels and not softmax and unit and part is not None and _same(p.loss, lambda: F.cross_entropy(z, y)):
        cause = (
            f"the output is a {type(case.model.get_submodule(part)).__name__} between 0 and 1, and cross entropy takes "
            "its softmax: logits that differ by at most 1 give no class much more than the others"
        )
        remove = pairing.without_output(part, True, "cross entropy takes logits of any size")
        return [Finding("loss pairing", _named(part), cause, "loss", 0.95, {}, {"loss": 1.0}, [remove])]
    if labels and softmax and _same(p.loss, lambda: F.cross_entropy(z, y)):
        lowest = math.log(1 + (z.shape[1] - 1) / math.e)
        remove = pairing.without_output(part, False, "cross entropy applies its own, to logits")
        cause = (
            "the output is a softmax already, and cross entropy applies another: that sees numbers between 0 and 1, "
            f"so that the loss can't fall below {lowest:.2f}"
        )
        return [Finding("loss pairing", _named(part), cause, "loss", 0.95, {"lowest loss possible": finite(lowest, 3)},
                        {"loss": 1.0}, [remove])]  # fmt: skip
    if labels and not logs and _same(p.loss, lambda: F.nll_loss(z, y)):
        logsm = pairing.with_output("log_softmax", "the loss expects logarithms of probabilities")
        undo = pairing.without_output(None, False, "takes the logarithm of the probabilities")
        cause = "nll_loss is given numbers that are no logarithms of probabilities: it has no lower bound"
        if softmax:
            cause = (
                "nll_loss is given probabilities, not their logarithms: errors that are sure of themselves cost little"
            )
        both = [undo] if softmax else [logsm]
        return [Finding("loss pairing", _named(part), cause, "loss", 0.95, {}, {"loss": 1.0}, both)]
    if unit and y.dtype.kind in "fiub" and y.shape == z.shape:
        target = y.astype(z.dtype)
        bits = bool(np.all((target == 0) | (target == 1)))
        if bits and _same(p.loss, lambda: F.binary_cross_entropy_with_logits(z, target)):
            cause = "the output is a sigmoid already, and binary cross entropy with logits applies another"
            remove = pairing.without_output(part, True, "the loss applies its own, to logits")
            return [Finding("loss pairing", _named(part), cause, "loss", 0.95, {}, {"loss": 1.0}, [remove])]
    return []


def _named(part: str | None) -> list[str]:
    return [] if part is None else [part]


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


__all__ = ["nonfinite_findings", "norm", "pairing_findings", "reached", "wiring_findings"]
