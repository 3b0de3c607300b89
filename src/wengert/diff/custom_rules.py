"""What a custom derivative is made of: rules, objects on flat lists of arrays, in one of three forms.

    Direct    the user's own functions, run on whatever values arrive (in `custom`)
    Staged    graphs of them, with the values that they close over as the first inputs of the step
    Batched   another rule, on many examples at once

A `JvpRule` has `jvp(primals, tangents) -> (outs, tangents of outs)`; a `VjpRule` has `fwd(*primals) -> (outs,
residuals, settings)` and `bwd(residuals, settings, cotangents) -> cotangents of primals`. None is a zero (co)tangent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.batch import batched, place_batch
from wengert.diff.linearize import forward, linearize
from wengert.diff.zeros import zeros
from wengert.errors import (
    ArgumentError,
    ShapeError,
)
from wengert.ir.array import Array
from wengert.ir.graph import Graph, replay
from wengert.ir.record import stage
from wengert.ops.promote import as_array, convert
from wengert.ops.reduce import sum_p
from wengert.source import at_user_line

Arrays = Sequence[Array]
Optional = Sequence[Array | None]


class ClosesOverTracer(Exception):
    """A function given to a custom rule uses a value of the transformation that is asking: it must be staged."""


def check_levels(arrays: Optional, level: int | None) -> None:
    """Refuse values that belong to a transformation at or above `level`."""
    if level is not None:
        for a in arrays:
            if a is not None and a.trace is not None and a.trace.level >= level:
                raise ClosesOverTracer


class Rule:
    """A function with a derivative of its own. `level` is that of the transformation which asks, if it matters."""

    level: int | None = None
    name = ""

    def __repr__(self) -> str:
        return self.name or type(self).__name__

    def function(self, *values: Array) -> list[Array]:
        raise NotImplementedError


class JvpRule(Rule):
    def jvp(self, primals: Arrays, tangents: Optional) -> tuple[list[Array], list[Array | None]]:
        raise NotImplementedError


class VjpRule(Rule):
    def fwd(self, *primals: Array) -> tuple[list[Array], list[Array], Any]:
        raise NotImplementedError

    def bwd(self, residuals: Arrays, settings: Any, cotangents: Arrays) -> list[Array | None]:
        raise NotImplementedError


class StagedRule:
    """What staged rules share.

    The inputs of the step are the values that the function captures (`num_mine` of them), those that its rules capture
    beside them, and the leaves of the arguments. Each graph takes the captured values that it uses, at `positions`, and
    then its own arguments. A rule may call the function itself: such a step carries this same object.
    """

    def __init__(self, graph: Graph, num_mine: int, num_leaves: int):
        self.graph, self.num_mine, self.num_leaves = graph, num_mine, num_leaves
        self.num_captured: int | None = None

    def function(self, *values: Array) -> list[Array]:
        return replay(self.graph, [*values[: self.num_mine], *values[len(values) - self.num_leaves :]])

    def complete(self, graphs: Sequence[Graph], captured: Arrays, others: Sequence[Arrays]) -> list[Array]:
        """Note which captured values each graph takes; returns all of them. Calls of the function by its own rules get
        the captured values, too, which were not known when they were recorded."""
        everything = list({id(a): a for a in (*captured, *(a for group in others for a in group))}.values())
        place = {id(a): i for i, a in enumerate(everything)}
        self.positions = [[place[id(a)] for a in group] for group in others]
        self.num_captured = len(everything)
        leaf_types = self.graph.in_types[self.num_mine :]
        self.whole = stage(self.function, [*[a.type for a in everything], *leaf_types], self.graph.name)[0]
        for graph, positions in zip(graphs, self.positions, strict=True):
            at = dict(zip(positions, graph.inputs, strict=False))
            for node in graph.nodes:
                if node.params.get("rule") is self:
                    extra = [at.get(p) for p in range(self.num_mine, len(everything))]
                    filled = [
                        zeros(everything[self.num_mine + k].type) if v is None else v for k, v in enumerate(extra)
                    ]
                    node.inputs = (*node.inputs[: self.num_mine], *filled, *node.inputs[self.num_mine :])
                    node.params = {**node.params, "graph": self.whole}
        return everything

    def split(self, values: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        """Captured values and leaves."""
        k = len(values) - self.num_leaves
        if k != self.num_captured:
            raise ArgumentError(
                "a custom rule calls its own function inside another transformation (vmap, a loop), and both close "
                f"over values that are being differentiated or traced; make those values arguments{at_user_line()}"
            )
        return values[:k], values[k:]


class StagedJvp(StagedRule, JvpRule):
    """A rule as a graph of (captured values, leaves, tangents of the floating leaves). By the values that the function
    captures it is differentiated as usual."""

    def fill(self, rule: Graph, marks: Sequence[bool], captured: Arrays, others: Arrays) -> list[Array]:
        self.rule, self.marks = rule, list(marks)
        return self.complete([rule], captured, [others])

    def jvp(self, primals: Arrays, tangents: Optional) -> tuple[list[Array], list[Array | None]]:
        captured, leaves = self.split(primals)
        moving, leaf_tangents = self.split(tangents)
        given = [zeros(v.type) if t is None else t for v, t in zip(leaves, leaf_tangents, strict=True) if is_float(v)]
        found = replay(self.rule, [*[captured[i] for i in self.positions[0]], *leaves, *given])
        n = len(self.marks)
        rest = iter(found[n:])
        pushed: list[Array | None] = [next(rest) if m else None for m in self.marks]
        k = self.num_mine
        if any(t is not None for t in moving[:k]):
            usual = forward(lambda *c: replay(self.graph, [*c, *leaves]), captured[:k], moving[:k])[1]
            pushed = [b if a is None else a if b is None else a + b for a, b in zip(pushed, usual, strict=True)]
        return found[:n], pushed


class StagedVjp(StagedRule, VjpRule):
    """The halves of a rule as graphs of (captured values, leaves) and (captured values, residuals, cotangents)."""

    def fill(
        self, halves: tuple[Graph, Graph], marks: Sequence[bool], captured: Arrays, others: tuple[Arrays, Arrays]
    ) -> list[Array]:
        self.forward_half, self.backward_half = halves
        self.marks = list(marks)
        return self.complete(halves, captured, others)

    def fwd(self, *primals: Array) -> tuple[list[Array], list[Array], Any]:
        captured, leaves = self.split(primals)
        found = replay(self.forward_half, [*[captured[i] for i in self.positions[0]], *leaves])
        n = len(self.graph.outputs)
        residuals = [*[captured[i] for i in self.positions[1]], *found[n:]]
        kept = [*captured[: self.num_mine], *leaves] if self.num_mine else []
        return found[:n], [*residuals, *kept], len(residuals)

    def bwd(self, residuals: Arrays, settings: Any, cotangents: Arrays) -> list[Array | None]:
        found = iter(replay(self.backward_half, [*residuals[:settings], *cotangents]))
        of_captured: list[Array | None] = [None] * (self.num_captured or 0)
        kept = list(residuals[settings:])
        slots = [i for i in range(self.num_mine) if is_float(kept[i])]
        if slots:

            def usual(*captured: Array) -> list[Array]:
                inputs = list(kept)
                for i, v in zip(slots, captured, strict=True):
                    inputs[i] = v
                return replay(self.graph, inputs)

            back = linearize(usual, [kept[i] for i in slots]).pull(cotangents)
            for i, c in zip(slots, back, strict=True):
                of_captured[i] = c
        return [*of_captured, *[next(found) if m else None for m in self.marks]]


class BatchedJvp(JvpRule):
    """Another rule on `size` examples; inputs marked in `flags` and all outputs have the batch axis in front."""

    def __init__(self, rule: JvpRule, flags: Sequence[bool], size: int, level: int | None):
        self.rule, self.axes, self.size, self.level = rule, [0 if f else None for f in flags], size, level

    def function(self, *values: Array) -> list[Array]:
        outs, at = batched(self.rule.function, values, self.axes, self.size)
        return [place_batch(o, a, 0, self.size) for o, a in zip(outs, at, strict=True)]

    def jvp(self, primals: Arrays, tangents: Optional) -> tuple[list[Array], list[Array | None]]:
        slots = [i for i, t in enumerate(tangents) if t is not None]
        present: list[bool] = []

        def run(*args: Array) -> list[Array]:
            spread: list[Array | None] = [None] * len(primals)
            for i, t in zip(slots, args[len(primals) :], strict=True):
                spread[i] = t
            outs, pushed = self.rule.jvp(args[: len(primals)], spread)
            present[:] = [t is not None for t in pushed]
            return [*outs, *[t for t in pushed if t is not None]]

        given = [t for t in tangents if t is not None]
        found, at = batched(run, [*primals, *given], [*self.axes, *[self.axes[i] for i in slots]], self.size)
        placed = [place_batch(o, a, 0, self.size) for o, a in zip(found, at, strict=True)]
        rest = iter(placed[len(present) :])
        return placed[: len(present)], [next(rest) if p else None for p in present]


class BatchedVjp(VjpRule):
    """Another rule on `size` examples; inputs marked in `flags` and all outputs have the batch axis in front."""

    def __init__(self, rule: VjpRule, flags: Sequence[bool], size: int, level: int | None):
        self.rule, self.flags, self.size, self.level = rule, list(flags), size, level
        self.axes = [0 if f else None for f in flags]

    def function(self, *values: Array) -> list[Array]:
        outs, at = batched(self.rule.function, values, self.axes, self.size)
        return [place_batch(o, a, 0, self.size) for o, a in zip(outs, at, strict=True)]

    def fwd(self, *primals: Array) -> tuple[list[Array], list[Array], Any]:
        inside: list[Any] = []

        def run(*args: Array) -> list[Array]:
            outs, residuals, settings = self.rule.fwd(*args)
            inside[:] = [len(outs), settings]
            return [*outs, *residuals]

        found, at = batched(run, primals, self.axes, self.size)
        n, settings = inside
        outs = [place_batch(o, a, 0, self.size) for o, a in zip(found[:n], at[:n], strict=True)]
        return outs, found[n:], (settings, tuple(at[n:]))

    def bwd(self, residuals: Arrays, settings: Any, cotangents: Arrays) -> list[Array | None]:
        inner, axes = settings
        present: list[bool] = []

        def run(*args: Array) -> list[Array]:
            back = self.rule.bwd(args[: len(residuals)], inner, args[len(residuals) :])
            present[:] = [c is not None for c in back]
            return [c for c in back if c is not None]

        found, at = batched(run, [*residuals, *cotangents], [*axes, *[0] * len(cotangents)], self.size)
        given = iter(zip(found, at, strict=True))
        result: list[Array | None] = []
        for p, flag in zip(present, self.flags, strict=True):
            if not p:
                result.append(None)
                continue
            c, a = next(given)
            if flag:
                result.append(place_batch(c, a, 0, self.size))
            elif a is None:  # an input shared by all examples: the same cotangent from each of them
                result.append(c * self.size)
            else:
                result.append(sum_p.bind(c, axes=(a,)))
        return result


def is_float(v: Any) -> bool:
    """Whether an array, or a type, is of real or complex floats."""
    return v.dtype.kind in "fc"


def fitted(found: Sequence[Any], like: Sequence[Any], what: str) -> list[Array | None]:
    """(Co)tangents as arrays of the types of the values (or of these types) they belong to; None where not floating."""
    result: list[Array | None] = []
    for given, v in zip(found, like, strict=True):
        if given is None or not is_float(v):
            result.append(None)
            continue
        t = as_array(given, what)
        if t.shape != v.shape:
            raise ShapeError(f"{what} has shape {t.shape}; its value has shape {v.shape}{at_user_line()}")
        if t.dtype.kind == "c" and v.dtype.kind != "c":
            raise ArgumentError(f"{what} is complex; its value is {v.dtype.name}{at_user_line()}")
        result.append(convert(t, v.dtype, v.weak))
    return result
