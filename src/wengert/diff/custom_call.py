"""The steps behind `custom_jvp` and `custom_vjp`, and their derivatives; they carry a rule of `custom_rules`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.batch import batched_graph
from wengert.diff.custom_rules import (
    Arrays,
    BatchedJvp,
    BatchedVjp,
    ClosesOverTracer,
    JvpRule,
    Optional,
    Rule,
    VjpRule,
    check_levels,
    is_float,
)
from wengert.diff.pull import pull
from wengert.diff.push import push
from wengert.diff.sparse.pattern import dense, walk
from wengert.diff.zeros import zeros
from wengert.errors import AbstractValueError, ArgumentError, DTypeError, EscapedTraceError, UnsupportedError
from wengert.ir.array import Array
from wengert.ir.graph import Graph, evaluate
from wengert.ir.primitive import Params, Primitive, Unsupported
from wengert.ir.record import Staging, Tape, stage
from wengert.ir.types import ArrayType
from wengert.ops.shape import to_front
from wengert.source import at_user_line


class CustomCall(Primitive):
    """What both kinds share: one step that applies a function; `graph` is the function staged, or None."""

    multiple = True

    def type(self, *types: ArrayType, graph: Graph | None, rule: Rule) -> Any:
        if graph is None:
            return stage(rule.function, types)[0].out_types
        if any((t.shape, t.dtype) != (g.shape, g.dtype) for t, g in zip(types, graph.in_types, strict=True)):
            raise DTypeError(f"{self.name}: staged for {graph.in_types}, applied to {types}{at_user_line()}")
        return graph.out_types

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
        return self._record(values, params["rule"], active, params["rule"].level)

    def _record(self, values: Arrays, rule: JvpRule, active: Sequence[bool], level: int | None) -> Any:
        slots = [i for i, (v, a) in enumerate(zip(values, active, strict=True)) if a and is_float(v)]
        below, tape = Staging(), Tape()
        try:
            tangents: list[Array | None] = [None] * len(values)
            for i in slots:
                tangents[i] = tape.input(below.input(values[i].type))
            outs, pushed = rule.jvp(values, tangents)
            check_levels(outs, level)
            for node in tape.nodes:
                check_levels([a for a in node.inputs if a.trace is not tape and a.trace is not below], level)
            pushed = [t if t is not None and t.trace is tape else None for t in pushed]
            graph = tape.finish([t for t in pushed if t is not None])
        finally:
            tape.close()
            below.close()
        return tuple(outs), StatedDerivative(graph, slots, len(values), [t is not None for t in pushed])

    def forward(self, values: Arrays, tangents: Optional, params: Params) -> Any:
        rule: JvpRule = params["rule"]
        outs, pushed = rule.jvp(values, tangents)
        check_levels([*outs, *pushed], rule.level)
        return tuple(outs), pushed

    def batch(self, values: Arrays, axes: Sequence[int | None], size: int, params: Params) -> Any:
        return self._batch(BatchedJvp, values, axes, size, **params)

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        below = Staging()
        try:
            values = [below.input(t) for t in types]
            _, derivative = self._record(values, params["rule"], [p is not None for p in patterns], None)
        except AbstractValueError:  # a rule that looks at numbers
            return dense(patterns, self.type(*types, **params))
        finally:
            below.close()
        return derivative.patterns(walk, patterns)


class CustomVjpCall(CustomCall):
    """A function whose derivative is stated as a function of cotangents."""

    sparsity = Unsupported("a stated pullback is any Python function of cotangents; taken to be dense")  # type: ignore[assignment]

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
    sparsity = Unsupported("only the transpose of this map is known")  # type: ignore[assignment]

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
                "custom_jvp: the tangent that the rule returns is not linear in the tangents (it squares one, say); "
                f"a derivative is J·t with a J made of the primals alone{at_user_line()}"
            ) from error


def _refuse_forward() -> None:
    raise UnsupportedError(
        "forward mode through a custom_vjp function: it states only how to pull cotangents back. State a custom_jvp "
        "rule instead (reverse mode follows from it), or use reverse mode: wg.grad, wg.vjp, wg.jacrev; for a Hessian, "
        f"wg.jacrev(wg.grad(f)).{at_user_line()}"
    )


custom_jvp_p = CustomJvpCall("custom_jvp_call")
custom_vjp_p = CustomVjpCall("custom_vjp_call")
transposed_p = StatedTranspose("custom_vjp_transposed")
