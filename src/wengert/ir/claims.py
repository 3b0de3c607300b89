"""What a program takes for granted of its inputs (labels name classes, say) and can't look at while it is staged.

A claim costs nothing while it holds: what breaks it makes results NaN, and only a program whose result is NaN has its
claims looked at, on the values that it was called with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.ir.array import Array
from wengert.ir.graph import Graph, Var, evaluate
from wengert.ir.quiet import SILENCE, quiet
from wengert.ir.record import Staging, live_nodes

Complaint = Callable[[np.ndarray], Exception | None]


class Claim(NamedTuple):
    """`complaint(value)` is the error where the claim doesn't hold."""

    value: Var
    complaint: Complaint


def claim(value: Array, complaint: Complaint) -> None:
    """Check `value` now where its numbers are known; else where the program that is being staged gives NaN.

    Inside loops, branches and checkpoints, whose bodies are staged apart, nothing is checked.
    """
    while value.trace is not None and value.data is not None:  # differentiated or batched
        value = value.data
    if value.trace is None:
        if value.size and (error := complaint(np.asarray(value.data))):
            raise error
    elif isinstance(value.trace, Staging):
        value.trace.claims.append(Claim(value, complaint))  # type: ignore[arg-type]


class Claims:
    """The claims of a staged program.

    Attributes:
        output: number of the result that becomes NaN where one is broken.
        doubtful: whether that result, an ndarray, holds NaN, so that one has to `look`.
    """

    def __init__(self, graph: Graph, claims: Sequence[Claim], output: int):
        self.graph = graph
        self.claims = claims
        self.output = output
        self.doubtful: Callable[[Any], bool] = holds_nan if graph.outputs[output].ndim else math.isnan

    def look(self, *values: Any) -> None:
        """Raise what the first broken claim says of a call with these inputs."""
        graph = self.graph
        wanted = [c.value for c in self.claims]
        nodes, _ = live_nodes(graph.nodes, wanted, graph.trace)  # type: ignore[arg-type]
        token = quiet.set(SILENCE)
        try:
            found = evaluate(Graph(graph.inputs, nodes, wanted, graph.trace, graph.size), values)
        finally:
            quiet.reset(token)
        for c, value in zip(self.claims, found, strict=True):
            if error := c.complaint(np.asarray(value)):
                raise error


def holds_nan(x: np.ndarray) -> bool:
    return math.isnan(x.sum())


def claims_of(graph: Graph, results: int) -> Claims | None:
    """The claims that a staged graph rests on; `results` of its outputs are seen by the caller."""
    claims = graph.cache.get("claims", ())
    tainted = {c.value.index for c in claims}
    if not tainted:
        return None
    for node in graph.nodes:
        if any(a.trace is graph.trace and a.index in tainted for a in node.inputs):  # type: ignore[union-attr]
            tainted.update(o.index for o in node.outputs)
    able = [
        (k >= results, int(np.prod(o.shape)), k)
        for k, o in enumerate(graph.outputs)
        if o.trace is graph.trace and o.index in tainted and o.dtype.kind == "f"  # type: ignore[union-attr]
    ]
    return Claims(graph, claims, min(able)[2]) if able else None
