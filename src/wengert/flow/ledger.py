"""The gain ledger: where a gradient grows and shrinks, in decades, and what does it.

Along any chain of edges from the loss to a value, three kinds of terms add up to log10(‖δ_value‖ / ‖δ_loss‖):

    edge    log10(‖k‖ / N): what the step's map does (see `walk`)
    merge   log10(‖Σ k_i‖ / ‖k_i‖), where the chain comes along edge i to a value that several edges lead to
    fork    log10(N / ‖δ_o‖), where the chain comes through output o of a step with several

So no chain needs to be singled out: the ledger is the mean over a random walk from the value up to the loss, which
takes edge i with probability ‖k_i‖² / Σ ‖k_j‖² and output o with ‖δ_o‖² / N². One dynamic programme gives the
probability of every edge, and the expected terms add up to the whole exactly. The forward ledger has the same walk and,
for every edge, the term log10(rms(output) / rms(input)) of what went forward there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from wengert.flow.walk import Edge, Walk
from wengert.ir.graph import Node, Var


@dataclass(eq=False)
class Row:
    """One edge's part of a ledger.

    Attributes:
        step: the position of the step; `primitive`, `module`, `turn` and `line` say what and where it is.
        source: the index of the value that the edge leads to.
        kind: see `flow.kinds`.
        share: the probability that the walk takes this edge.
        gain: the edge's own term, log10(‖k‖ / N).
        merge: the term of the value where it ends, log10(‖Σ k‖ / ‖k‖); 0 where no other edge leads there.
        forward: log10(rms(output) / rms(input)).
        fork: the mean term of going on to one of the step's outputs; 0 where there is one.
    """

    step: int
    source: int
    primitive: str
    module: str
    turn: int | None
    kind: str
    share: float
    gain: float
    merge: float
    forward: float
    line: Any = None
    fork: float = 0.0


@dataclass(eq=False)
class Ledger:
    """What happens to the gradient between the loss and a value, or to the signal the other way; all in decades.

    Attributes:
        start: the value's name, or its step.
        total: log10(‖δ_value‖ / ‖δ_loss‖): the sum of everything below. -inf where nothing arrives.
        by_kind: the total by kind of map.
        by_module: by the innermost module's call, in the order of the forward pass; "" is what is outside of all.
        by_turn: by turn of a loop.
        rows: the edges that the walk can take, in the order of the forward pass.
        ends: positions of steps that received a gradient and passed on none, where the total is -inf.
    """

    start: str
    total: float
    by_kind: dict[str, float] = field(default_factory=dict)
    by_module: dict[str, dict[str, float]] = field(default_factory=dict)
    by_turn: dict[int, dict[str, float]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def module_total(self, name: str) -> float:
        return math.fsum(self.by_module.get(name, {}).values())


def ledger(walk: Walk, start: Var | None = None, name: str = "", forward: bool = False) -> Ledger:
    """The ledger from the loss back to `start`; with `forward`, that of the signal from `start` to the loss.

    Without `start`, it is the first value that carries the signal: a floating input of the batch, or else the first
    value that is computed from data and parameters.
    """
    value = first_signal(walk) if start is None else start
    if value is None:
        return Ledger(name or "nothing", -math.inf)
    found = Ledger(name or name_of(walk, value), walk.norms[value.index])
    if walk.norms[value.index] == -math.inf:
        found.ends = [e.step for e in walk.edges if e.leaving == -math.inf < e.arriving and not walk.alone[e.source]]
        return found
    rows = _rows(walk, value, found, forward)
    found.rows = sorted(rows, key=lambda r: r.step)
    if forward:
        loss = walk.recording.loss
        assert loss is not None
        found.total = walk.sizes[loss.index] - walk.sizes[value.index]
    return found


def _rows(walk: Walk, value: Var, found: Ledger, forward: bool) -> list[Row]:
    nodes = walk.recording.steps
    visits = {value.index: 1.0}  # the probability that the walk comes to a value
    order = sorted({value.index} | {o.index for node in nodes for o in node.outputs})
    rows = []
    for index in order:
        p = visits.get(index, 0.0)
        if p == 0.0 or not walk.into[index]:
            continue
        most = max(e.leaving for e in walk.into[index])
        weights = [100.0 ** (e.leaving - most) for e in walk.into[index]]
        total = math.fsum(weights)
        for e, w in zip(walk.into[index], weights, strict=True):
            share = p * w / total
            if not share > 0.0:
                continue
            node = nodes[e.step]
            row = _row(walk, e, node, share, walk.norms[index] - e.leaving)
            rows.append(row)
            among = [(o.index, 100.0 ** (walk.norms[o.index] - e.arriving)) for o in node.outputs]
            fork = math.fsum(q * (e.arriving - walk.norms[o]) for o, q in among if q > 0)
            out = math.fsum(q * walk.sizes[o] for o, q in among if q > 0)
            row.forward, row.fork = out - walk.sizes[index], fork
            for o, q in among:
                visits[o] = visits.get(o, 0.0) + share * q
            if forward:
                _book(found, row, row.kind, row.forward)
                continue
            _book(found, row, row.kind, row.gain + fork)
            _book(found, row, _meeting(row.kind), row.merge)
    return rows


def _book(found: Ledger, row: Row, kind: str, term: float) -> None:
    if term == 0.0:
        return
    amount = row.share * term
    found.by_kind[kind] = found.by_kind.get(kind, 0.0) + amount
    part = found.by_module.setdefault(row.module, {})
    part[kind] = part.get(kind, 0.0) + amount
    if row.turn is not None:
        turn = found.by_turn.setdefault(row.turn, {})
        turn[kind] = turn.get(kind, 0.0) + amount


def _meeting(kind: str) -> str:
    """Inside of a normalisation, attention or loss, its own paths meet; elsewhere shortcuts and branches do."""
    return kind if kind in ("normalisation", "attention", "loss", "gate", "time", "activation") else "shortcut"


def _row(walk: Walk, e: Edge, node: Node, share: float, merge: float) -> Row:
    module, turn = where(node)
    kind, gain = walk.kinds[e.step], e.gain
    return Row(e.step, e.source, node.primitive.name, module, turn, kind, share, gain, merge, 0.0, node.source)


def where(node: Node) -> tuple[str, int | None]:
    """The innermost module's call, and the innermost turn, that a step ran in."""
    frames = node.scope or ()
    module = next((f for f in reversed(frames) if f.what == "module"), None)
    turn = next((f.number for f in reversed(frames) if f.what == "turn"), None)
    if module is None:
        return "", turn
    return module.name if not module.number else f"{module.name}#{module.number + 1}", turn


def first_signal(walk: Walk) -> Var | None:
    """The first value that carries the signal and that the loss depends on."""
    recording = walk.recording
    reached = {e.source for e in walk.edges}
    for v in recording.inputs.values():
        if v.index in reached:
            return v
    for node in recording.steps:
        for o in node.outputs:
            if not walk.alone[o.index] and o.index in reached:
                return o
    return None


def name_of(walk: Walk, value: Var) -> str:
    """What a value is called: a parameter, an input, or the module and the step that made it."""
    recording = walk.recording
    for n, v in recording.parameters.items():
        if v is value:
            return n
    for n, v in recording.inputs.items():
        if v is value:
            return f"input {n}"
    node = next(n for n in recording.steps if value in n.outputs)
    module, _ = where(node)
    return f"{module or 'the loss'}: {node.primitive.name}"
