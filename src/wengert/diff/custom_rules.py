"""The steps behind `custom_jvp` and `custom_vjp`: `custom_jvp_call` and `custom_vjp_call`.

A rule is an object on flat lists of arrays, in one of three forms:

    Direct    the user's own functions, run on whatever values arrive
    Staged    graphs of them, with the values that they close over as the first inputs of the step
    Batched   another rule, on many examples at once

A `JvpRule` has `jvp(primals, tangents) -> (outs, tangents of outs)`; a `VjpRule` has `fwd(*primals) -> (outs, residuals,
settings)` and `bwd(residuals, settings, cotangents) -> cotangents of primals`. None is a zero (co)tangent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.batch import batched, batched_graph, place_batch
from wengert.diff.linearize import forward, linearize
from wengert.diff.pull import pull
from wengert.diff.push import push
from wengert.diff.zeros import zeros
from wengert.errors import ArgumentError, EscapedTraceError, ShapeError, UnsupportedError
from wengert.ir.array import Array
from wengert.ir.graph import Graph, evaluate, replay
from wengert.ir.primitive import Params, Primitive, Unsupported
from wengert.ir.record import Staging, Tape, stage
from wengert.ir.source import at_user_line
from wengert.ir.types import ArrayType
from wengert.ops.promote import as_array, convert
from wengert.ops.reduce import sum_p
from wengert.ops.shape import to_front

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
            at = {p: v for p, v in zip(positions, graph.inputs, strict=False)}
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
                "a custom rule calls its own function inside another transformation (vmap, a loop), and both close over "
                f"values that are being differentiated or traced; make those values arguments{at_user_line()}"
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


class CustomCall(Primitive):
    """What both kinds share: one step that applies a function; `graph` is the function staged, or None."""

    multiple = True

    def type(self, *types: ArrayType, graph: Graph | None, rule: Rule) -> Any:
        return (graph or stage(rule.function, types)[0]).out_types

    def weak_result(self, args: Sequence[Any], params: Params) -> Any:
        graph = params["graph"]
        return super().weak_result(args, params) if graph is None else tuple(t.weak for t in graph.out_types)

    def evaluate(self, *values: Any, graph: Graph | None, rule: Rule) -> Any:
        if graph is not None:
            return tuple(np.asarray(o) for o in evaluate(graph, values))
        outs = rule.function(*[Array(v) for v in values])
        if any(o.trace is not None for o in outs):
            raise ClosesOverTracer
        return tuple(o.data for o in outs)

    def _batch(
        self, make: Any, values: Arrays, axes: Sequence[int | None], size: int, graph: Graph | None, rule: Rule
    ) -> Any:
        flags = [a is not None for a in axes]
        moved = [v if a is None else to_front(v, a) for v, a in zip(values, axes, strict=True)]
        level = None
        if graph is not None:
            graph = batched_graph(graph, flags, size, [True] * len(graph.outputs))[0]
        else:
            level = max([0, *(v.trace.level for v in moved if v.trace is not None)]) or None
        outs = self.bind(*moved, graph=graph, rule=make(rule, flags, size, level))
        return outs, (0,) * len(outs)


class CustomJvpCall(CustomCall):
    """A function whose derivative is stated as a linear function of tangents."""

    def linearize(self, values: Arrays, params: Params, active: Sequence[bool]) -> Any:
        rule: JvpRule = params["rule"]
        slots = [i for i, (v, a) in enumerate(zip(values, active, strict=True)) if a and is_float(v)]
        below, tape = Staging(), Tape()
        try:
            tangents: list[Array | None] = [None] * len(values)
            for i in slots:
                tangents[i] = tape.input(below.input(values[i].type))
            outs, pushed = rule.jvp(values, tangents)
            check_levels(outs, rule.level)
            for node in tape.nodes:
                check_levels([a for a in node.inputs if a.trace is not tape and a.trace is not below], rule.level)
            pushed = [t if t is not None and t.trace is tape else None for t in pushed]
            graph = tape.finish([t for t in pushed if t is not None])
        finally:
            tape.closed = below.closed = True
        return tuple(outs), StatedDerivative(graph, slots, len(values), [t is not None for t in pushed])

    def forward(self, values: Arrays, tangents: Optional, params: Params) -> Any:
        rule: JvpRule = params["rule"]
        outs, pushed = rule.jvp(values, tangents)
        check_levels([*outs, *pushed], rule.level)
        return tuple(outs), pushed

    def batch(self, values: Arrays, axes: Sequence[int | None], size: int, params: Params) -> Any:
        return self._batch(BatchedJvp, values, axes, size, **params)


class CustomVjpCall(CustomCall):
    """A function whose derivative is stated as a function of cotangents."""

    def linearize(self, values: Arrays, params: Params, active: Sequence[bool]) -> Any:
        rule: VjpRule = params["rule"]
        outs, residuals, settings = rule.fwd(*values)
        check_levels([*outs, *residuals], rule.level)
        return tuple(outs), StatedPullback(rule, residuals, settings, [o.type for o in outs])

    def forward(self, values: Arrays, tangents: Optional, params: Params) -> Any:
        _refuse_forward()

    def batch(self, values: Arrays, axes: Sequence[int | None], size: int, params: Params) -> Any:
        return self._batch(BatchedVjp, values, axes, size, **params)


class StatedDerivative:
    """The derivative of one call of a `custom_jvp` function: the rule's tangent code, recorded as a linear graph."""

    __slots__ = ("graph", "marks", "size", "slots")

    def __init__(self, graph: Graph, slots: list[int], size: int, marks: list[bool]):
        self.graph, self.slots, self.size, self.marks = graph, slots, size, marks

    def push(self, tangents: Optional) -> list[Array | None]:
        with _NotLinear():
            found = iter(push(self.graph, [tangents[i] for i in self.slots]))
            return [next(found) if m else None for m in self.marks]

    def pull(self, cotangents: Optional) -> list[Array | None]:
        result: list[Array | None] = [None] * self.size
        with _NotLinear():
            back = pull(self.graph, [c for c, m in zip(cotangents, self.marks, strict=True) if m])
        for i, c in zip(self.slots, back, strict=True):
            result[i] = c
        return result

    def patterns(self, walk: Any, arriving: Sequence[Any]) -> list[Any]:
        """What `sparsity` states for a primitive: the patterns of the outputs, by the rule's own graph."""
        found = iter(walk(self.graph, [arriving[i] for i in self.slots]))
        return [next(found) if m else None for m in self.marks]


class StatedPullback:
    """The derivative of one call of a `custom_vjp` function."""

    __slots__ = ("out_types", "residuals", "rule", "settings")

    def __init__(self, rule: VjpRule, residuals: list[Array], settings: Any, out_types: list[ArrayType]):
        self.rule, self.residuals, self.settings, self.out_types = rule, residuals, settings, out_types

    def push(self, tangents: Optional) -> list[Array | None]:
        slots = [i for i, t in enumerate(tangents) if t is not None]
        given = [t for t in tangents if t is not None]
        return list(transposed_p.bind(*self.residuals, *given, stated=self, slots=tuple(slots)))

    def pull(self, cotangents: Optional) -> list[Array | None]:
        given = [zeros(t) if c is None else c for c, t in zip(cotangents, self.out_types, strict=True)]
        return self.rule.bwd(self.residuals, self.settings, given)


class StatedTranspose(Primitive):
    """The linear map of which only the transpose is known: (residuals, tangents) -> tangents of the outputs.

    It stands in the graphs from which `jit` and loops make their reverse mode, which are linear graphs transposed. It
    cannot be run.
    """

    multiple = True
    batch = Unsupported("only the transpose of this map is known")  # type: ignore[assignment]

    def type(self, *types: ArrayType, stated: StatedPullback, slots: tuple[int, ...]) -> Any:
        return tuple(stated.out_types)

    def evaluate(self, *values: Any, stated: StatedPullback, slots: tuple[int, ...]) -> Any:
        _refuse_forward()

    def linearize(self, values: Arrays, params: Params, active: Sequence[bool]) -> Any:
        stated, slots = params["stated"], params["slots"]
        n = len(values) - len(slots)
        here = StatedPullback(stated.rule, list(values[:n]), stated.settings, stated.out_types)
        return self.bind(*values, **params), TransposeOf(here, slots)

    def forward(self, values: Arrays, tangents: Optional, params: Params) -> Any:
        _refuse_forward()


class TransposeOf:
    """The derivative of `StatedTranspose` by its tangents: itself."""

    __slots__ = ("slots", "stated")

    def __init__(self, stated: StatedPullback, slots: tuple[int, ...]):
        self.stated, self.slots = stated, slots

    def push(self, tangents: Optional) -> list[Array | None]:
        _refuse_forward()
        raise AssertionError

    def pull(self, cotangents: Optional) -> list[Array | None]:
        back = self.stated.pull(cotangents)
        return [*[None] * len(self.stated.residuals), *[back[i] for i in self.slots]]


class _NotLinear:
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if isinstance(error, EscapedTraceError):
            raise ArgumentError(
                "custom_jvp: the rule's tangent is not linear in the tangents (it squares one, say, or branches on it); a "
                f"derivative is J·t with a J made of the primals alone{at_user_line()}"
            ) from error


def _refuse_forward() -> None:
    raise UnsupportedError(
        "forward mode through a custom_vjp function: it states only how to pull cotangents back. State a custom_jvp rule "
        "instead (reverse mode follows from it), or use reverse mode: wg.grad, wg.vjp, wg.jacrev; for a Hessian, "
        f"wg.jacrev(wg.grad(f)).{at_user_line()}"
    )


def is_float(v: Any) -> bool:
    """Whether an array, or a type, is of real or complex floats."""
    return v.dtype.kind in "fc"


def fitted(found: Sequence[Any], like: Sequence[Any], what: str) -> list[Array | None]:
    """(Co)tangents as arrays of the types of the values (or of these types) they belong to; None where not floating."""
    result: list[Array | None] = []
    for t, v in zip(found, like, strict=True):
        if t is None or not is_float(v):
            result.append(None)
            continue
        t = as_array(t, what)
        if t.shape != v.shape:
            raise ShapeError(f"{what} has shape {t.shape}; its value has shape {v.shape}{at_user_line()}")
        if t.dtype.kind == "c" and v.dtype.kind != "c":
            raise ArgumentError(f"{what} is complex; its value is {v.dtype.name}{at_user_line()}")
        result.append(convert(t, v.dtype, v.weak))
    return result


custom_jvp_p = CustomJvpCall("custom_jvp_call")
custom_vjp_p = CustomVjpCall("custom_vjp_call")
transposed_p = StatedTranspose("custom_vjp_transposed")
