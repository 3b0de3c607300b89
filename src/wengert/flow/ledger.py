"""The gain ledger: where a gradient grows and shrinks, in decades, and what does it.

Along any chain of edges from the loss to a value, three kinds of terms add up to log10(‖δ_value‖ / ‖δ_loss‖):

    edge    log10(‖k‖ / N): what the step's map does (see `walk`)
    merge   log10(‖Σ k_i‖ / ‖k_i‖), where the chain comes along edge i to a value that several edges lead to
    fork    log10(N / ‖δ_o‖), where the chain comes through output o of a step with several

So no chain needs to be singled out: the ledger is the mean over a random walk from the value up to the loss, which
takes edge i with probability ‖k_i‖² / Σ ‖k_j‖² and output o with ‖δ_o‖² / N². One dynamic programme gives the
probability of every edge, and the expected terms add up to the whole exactly. The forward ledger has the same walk and,
for every edge, the term log10(rms(output) / rms(input)) of what went forward there. A value that is 0 throughout counts
there as large as what it was made of, so that what lies before and behind it still adds up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from wengert.flow.kinds import is_product
from wengert.flow.unroll import MARK
from wengert.flow.walk import Edge, Walk
from wengert.ir.graph import Node, Var

MEETING = ("normalisation", "attention", "loss", "gate", "time", "activation")  # kinds whose merges are their own


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

    def terms(self, forward: bool = False) -> list[tuple[str, float]]:
        """What the edge adds to a ledger, by kind: its own terms, and that of the value where it ends."""
        if forward:
            return [(self.kind, self.share * self.forward)]
        # inside of a normalisation, attention or loss, its own paths meet; elsewhere shortcuts and branches do
        met = self.kind if self.kind in MEETING else "shortcut"
        return [(self.kind, self.share * (self.gain + self.fork)), (met, self.share * self.merge)]


@dataclass(eq=False)
class Ledger:
    """What happens to the gradient between the loss and a value, or to the signal the other way; all in decades.

    Attributes:
        start: the value's name, or its step.
        total: log10(‖δ_value‖ / ‖δ_loss‖): the sum of everything below. -inf where nothing arrives.
        by_kind: the total by kind of map.
        by_module: by the innermost module's call, in the order of the forward pass; "" is what is outside of all.
        by_layer: by layer, in the order of the forward pass. A layer begins with a product with weights, has the name
            of its module's call (or `layer 1`, … outside of modules), and goes on to the next one's beginning; what
            comes before the first is "input", the loss is "loss".
        by_turn: by turn of a loop, or by call of a recurrent cell.
        rows: the edges that the walk can take, in the order of the forward pass.
        ends: positions of steps that received a gradient and passed on none, where the total is -inf.
    """

    start: str
    total: float
    by_kind: dict[str, float] = field(default_factory=dict)
    by_module: dict[str, dict[str, float]] = field(default_factory=dict)
    by_layer: dict[str, dict[str, float]] = field(default_factory=dict)
    by_turn: dict[int, dict[str, float]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def module_total(self, name: str) -> float:
        return math.fsum(self.by_module.get(name, {}).values())

    def __str__(self) -> str:
        lines = [f"Ledger from {self.start} to the loss: {self.total:+.2f} decades"]
        for what, parts in (("by kind", {"": self.by_kind}), ("by layer", self.by_layer)):
            lines.append(f"  {what}")
            for name, kinds in parts.items():
                sizes = sorted(kinds.items(), key=lambda k: -abs(k[1]))
                told = [f"{kind} {t:+.2f}" for kind, t in sizes if abs(t) >= 0.005]
                sum_of = f"{name:24s} {math.fsum(kinds.values()):+8.2f}  " if name else ""
                lines.append(f"    {sum_of}{', '.join(told)}")
        return "\n".join(lines)


def ledger(walk: Walk, start: Var | None = None, name: str = "", forward: bool = False) -> Ledger:
    """The ledger from the loss back to `start`; with `forward`, that of the signal from `start` to the loss.

    Without `start`, it is the first value that carries the signal: a floating input of the batch, or else the first
    value that is computed from data and parameters, or else the first parameter.

    Example:
        >>> walk = flow.walk(flow.record(model, loss_fn, x, y))
        >>> print(flow.ledger(walk))
        >>> flow.ledger(walk).by_kind["activation"]
    """
    value = first_signal(walk) if start is None else start
    if value is None:
        return Ledger(name or "nothing", -math.inf)
    found = Ledger(name or name_of(walk, value), walk.norms[value.index])
    if walk.norms[value.index] == -math.inf:
        found.ends = [e.step for e in walk.edges if e.leaving == -math.inf < e.arriving and not walk.alone[e.source]]
        return found
    sizes = _filled(walk)
    found.rows = sorted(_rows(walk, value, sizes), key=lambda r: r.step)
    layers = _layers(walk.recording.steps)
    for row in found.rows:
        for kind, term in row.terms(forward):
            _book(found, row, layers[row.step] if walk.kinds[row.step] != "loss" else "loss", kind, term)
    if forward:
        loss = walk.recording.loss
        assert loss is not None
        found.total = sizes[loss.index] - sizes[value.index]
    return found


def through_time(walk: Walk) -> Ledger | None:
    """The ledger from the first state that a loop hands on to its next turn; None where no loop hands one on.

    Every chain from there crosses all later turns, so `by_turn` says what each turn does to the gradient. In a ledger
    from the input the walk mostly begins late, for the last turns' inputs get most of a gradient that vanishes.
    """
    first = next((n for n in walk.recording.steps if n.primitive is MARK), None)
    state = None if first is None else first.inputs[0]
    if state is None or state.trace is not walk.recording.graph.trace:  # type: ignore[attr-defined]
        return None
    return ledger(walk, state)  # type: ignore[arg-type]


def _filled(walk: Walk) -> list[float]:
    """The values' sizes; for one that is 0 throughout, that of the largest that it was made of."""
    sizes, tape = list(walk.sizes), walk.recording.graph.trace
    for v in walk.recording.graph.inputs:
        if sizes[v.index] == -math.inf:
            sizes[v.index] = 0.0
    for node in walk.recording.steps:
        for o in node.outputs:
            if sizes[o.index] == -math.inf:
                sizes[o.index] = max(sizes[a.index] for a in node.inputs if a.trace is tape)  # type: ignore[attr-defined]
    return sizes


def _layers(nodes: list[Node]) -> list[str]:
    """For each step, its layer's name."""
    names, now, count = [], "input", 0
    for node in nodes:
        if is_product(node) and any(f.what == "module" for f in node.scope):
            now = where(node)[0] or "the model"
        elif is_product(node):
            count += 1
            now = f"layer {count}"
        names.append(now)
    return names


def _rows(walk: Walk, value: Var, sizes: list[float]) -> list[Row]:
    nodes = walk.recording.steps
    cells = {f.name for n in nodes if n.primitive is MARK and (f := n.scope[-1]).what == "module"}
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
            row = _row(walk, e, node, share, walk.norms[index] - e.leaving, cells)
            rows.append(row)
            among = [(o.index, 100.0 ** (walk.norms[o.index] - e.arriving)) for o in node.outputs]
            fork = math.fsum(q * (e.arriving - walk.norms[o]) for o, q in among if q > 0)
            out = math.fsum(q * sizes[o] for o, q in among if q > 0)
            row.forward, row.fork = out - sizes[index], fork
            for o, q in among:
                visits[o] = visits.get(o, 0.0) + share * q
    return rows


def _book(found: Ledger, row: Row, layer: str, kind: str, amount: float) -> None:
    if amount == 0.0:
        return
    parts = [found.by_kind, found.by_module.setdefault(row.module, {}), found.by_layer.setdefault(layer, {})]
    if row.turn is not None:
        parts.append(found.by_turn.setdefault(row.turn, {}))
    for part in parts:
        part[kind] = part.get(kind, 0.0) + amount


def _row(walk: Walk, e: Edge, node: Node, share: float, merge: float, cells: set[str]) -> Row:
    module, turn = where(node)
    if turn is None:  # the call of a cell is a turn, too
        turn = next((f.number for f in reversed(node.scope) if f.what == "module" and f.name in cells), None)
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
    return next((p for p in recording.parameters.values() if p.index in reached), None)


def name_of(walk: Walk, value: Var) -> str:
    """What a value is called: a parameter, an input, or the module and the step that made it."""
    recording = walk.recording
    for n, v in recording.parameters.items():
        if v is value:
            return n
    for n, v in recording.inputs.items():
        if v is value:
            return f"input {n}"
    node = next(n for n in recording.steps if any(o is value for o in n.outputs))
    module, _ = where(node)
    return f"{module or 'the loss'}: {node.primitive.name}"
