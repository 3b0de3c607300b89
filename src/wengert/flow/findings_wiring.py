"""Findings about wiring: numbers that aren't finite, parameters that the loss doesn't reach."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from wengert import nn, tree
from wengert.diff.derivatives import value_and_grad
from wengert.errors import WengertError
from wengert.flow.finding import Case, Finding, finite, place
from wengert.flow.findings_depth import mending
from wengert.flow.ledger import where
from wengert.flow.probe import Stop, record
from wengert.flow.profile import Batch, Call, checked_loss, first_nonfinite, norm, rms
from wengert.flow.recipe import copied
from wengert.flow.remedies import pairing, passing, training
from wengert.flow.remedies.activations import is_activation
from wengert.flow.remedies.remedy import Remedy, by_hand
from wengert.ir.array import Array
from wengert.ir.graph import Node
from wengert.ir.record import Tape, live_nodes
from wengert.optim.parameters import slots


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
        nodes = [n for n in tape.nodes if not _to_whole(n)]
        _, used = live_nodes(nodes, [loss], tape) if isinstance(loss, Array) else ([], set())
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
            found.append(_lost(case, lost, len(free)))
        elif blind := _blind(case, set(idle)):
            cause = (
                f"{len(blind)} attentions look at nothing: their mask hides every place from every query (True, or "
                "-inf, hides a place), so that only their last bias is trained"
            )
            found.append(Finding("disconnected", blind, cause, "attention", 0.9, {"attentions": len(blind)}))
        elif flat := flat_step(case):
            name, place_, line = flat
            cause = (
                f"the derivative of {name} is 0 everywhere: no gradient reaches {len(idle)} of {len(free)} parameters"
            )
            before = sorted({n.rsplit(".", 1)[0] for n in idle})
            found.append(Finding("disconnected", [place_] if place_ else before, cause, "operation", 1.0,
                                 {"parameters": len(idle), "of": len(free)}, {}, _joined(case), line))  # fmt: skip
    held = [n for n in case.recipe.left_out if n not in frozen]
    if held:
        told = f"the optimizer leaves {len(held)} of {len(free)} parameters as they are"
        found.append(Finding("frozen", held, told, "frozen", 0.2, {"left out": len(held)}, {},
                             [training.updated("lets all parameters be trained")]))  # fmt: skip
    if frozen:
        names = f"{len(frozen)} of {len(case.profile.parameters)} parameters are frozen"
        found.append(Finding("frozen", frozen, names, "frozen", 0.2, {"frozen": len(frozen)}, {},
                             [training.unfreeze((), "lets all parameters be trained")]))  # fmt: skip
    return found


def _blind(case: Case, idle: set[str]) -> list[str]:
    """Attentions whose result is 0 for each query: their last weights get no gradient either, only the bias does."""
    found = []
    for name, m in case.modules(nn.MultiheadAttention):
        mine = {f"{name}.{n}" if name else n for n, _ in m.named_parameters()}
        live = mine - idle
        if live and all(n.endswith("out_proj.bias") for n in live):
            found.append(name)
    return found


def _lost(case: Case, lost: list[str], count: int) -> Finding:
    """Parameters from which nothing with a derivative leads to the loss, and the step where their gradient ends."""
    share = len(lost) / count
    stop = stopping(case, lost)
    through = "" if stop is None else f"through {stop.name}, which has no derivative"
    cause = (
        f"the loss depends on no parameter at all: it is computed {through or 'from constants'}"
        if share == 1
        else f"the loss doesn't depend on {len(lost)} of {count} parameters: what is made of them "
        + (f"goes {through}" if through else "is not used")
    )
    evidence = {"parameters": len(lost), "of": count}
    line = None if stop is None else stop.source
    remedies = _joined(case)
    if stop is not None and not remedies and line is not None:
        remedies = [by_hand(f"the loss without {stop.name}", str(line))]
    return Finding("disconnected", lost, cause, "graph", 1.0 if share > 0.5 else 0.7, evidence, {}, remedies, line)


def stopping(case: Case, lost: list[str]) -> Stop | None:
    """The step without a derivative that what is made of these parameters goes through last."""
    try:
        recording = record(copied(case.model), case.loss_fn, *case.batch)
    except (WengertError, NotImplementedError):
        return None
    tape = recording.graph.trace
    made = {recording.parameters[n].index for n in lost if n in recording.parameters}
    converted = []
    for node in recording.steps:
        if not any(a.trace is tape and a.index in made for a in node.inputs):  # type: ignore[attr-defined]
            continue
        if _to_whole(node):
            converted.append(Stop(f"a conversion to {node.outputs[0].dtype.name}", (), node.source))
        else:
            made.update(o.index for o in node.outputs)
    ends = [s for s in recording.stops if any(v.index in made for v in s.inputs)]
    known = [s for s in ends if s.name in (*FLAT, "argmax", "argmin", "argsort")] or converted or ends
    return known[-1] if known else None


def _to_whole(node: Node) -> bool:
    """Whether a step makes integers or booleans, which have no derivative, of floats."""
    return node.primitive.name == "convert" and node.outputs[0].dtype.kind not in "fc"


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


__all__ = ["nonfinite_findings", "norm", "reached", "wiring_findings"]
