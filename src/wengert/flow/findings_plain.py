"""Findings about depth in models that are plain functions of arrays: their layers are the products with parameters.

The measure is that of `findings_depth`: the gradient's norm behind each layer, relative to the last hidden one. What a
loop does from turn to turn is not looked at here.
"""

from __future__ import annotations

import math
from collections import Counter

from wengert.flow.finding import Case, Finding, finite, percent
from wengert.flow.findings_depth import EXPLODING, VANISHING, WILD, mending, shares_of
from wengert.flow.kinds import is_product
from wengert.flow.walk import Walk
from wengert.ir.graph import Node


def plain_findings(case: Case) -> list[Finding]:
    """Vanishing and exploding gradients of a model without modules."""
    walk = None if case.is_module else case.walk
    if walk is None or "normalisation" in walk.kinds:
        return []
    steps = layers(walk)
    norms = list(steps.values())
    if len(norms) < 3 or not math.isfinite(norms[-2]):
        return []
    decades = {name: n - norms[-2] for name, n in steps.items()}
    low, high = min(decades.values()), max(decades.values())
    if low <= VANISHING:
        kind, total, where = "vanishing", low, [n for n, d in decades.items() if d <= VANISHING / 2]
    elif high >= EXPLODING:
        kind, total, where = "exploding", high, [n for n, d in decades.items() if d >= EXPLODING / 2]
    else:
        return []
    shares = shares_of(case, total)
    source = "activation" if next(iter(shares), "") == "activation" else "weights"
    evidence = {"decades by layer": [finite(d, 3) for d in decades.values()]}
    severity = 0.95 if total > WILD else min(1.0, 0.6 + abs(total) / 20)
    line = next((r.line for r in case.ledger.rows if r.kind == "activation"), None) if source == "activation" else None
    cause = _cause(walk, shares, total, len(decades))
    return [Finding(kind, where, cause, source, severity, evidence, shares, mending(case, source, low < 0), line)]


def layers(walk: Walk) -> dict[str, float]:
    """log10 of the gradient's norm behind each product with a parameter; of a parameter's uses, the largest counts."""
    named = {v.index: name for name, v in walk.recording.parameters.items()}
    found: dict[str, float] = {}
    for node in walk.recording.steps:
        name = _parameter(node, walk, named)
        if name is not None and not any(f.what == "turn" for f in node.scope):
            found[name] = max(found.get(name, -math.inf), walk.norms[node.outputs[0].index])
    return found


def _parameter(node: Node, walk: Walk, named: dict[int, str]) -> str | None:
    """The parameter that a signal is multiplied by."""
    if not is_product(node) or walk.alone[node.outputs[0].index]:
        return None
    tape = walk.recording.graph.trace
    return next((named[a.index] for a in node.inputs if a.trace is tape and a.index in named), None)  # type: ignore[attr-defined]


def _cause(walk: Walk, shares: dict[str, float], total: float, count: int) -> str:
    used = Counter(n.primitive.name for n, k in zip(walk.recording.steps, walk.kinds, strict=True) if k == "activation")
    names = {"activation": f"the derivatives of {used.most_common(1)[0][0]}" if used else "", "weight": "the weights"}
    parts = [f"{percent(v)} from {names.get(k, k)}" for k, v in shares.items() if v >= 0.005]
    word = "loss" if total < 0 else "growth"
    size = "all of the gradient is lost" if total == -math.inf else f"of a {word} of {abs(total):.1f} decades"
    return f"{size} over {count} layers {', '.join(parts)}".rstrip()
