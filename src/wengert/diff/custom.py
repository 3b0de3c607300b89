"""custom_jvp, custom_vjp: derivatives that the user states.

A call of such a function is one step. Differentiated outside `jit`, it runs the user's rule on the numbers themselves,
so Python's `if` and `while` work in the function and in its rules. Under `jit` the function is staged as a graph, which
the step carries, and the rule is run when a derivative of that graph is made. Where the function or a rule uses values
of a transformation that is under way, both are staged and those values become inputs of the step: the rule speaks about
the arguments; by what the function closes over it is differentiated as usual.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, NamedTuple

from wengert import tree
from wengert.diff.custom_call import custom_jvp_p, custom_vjp_p
from wengert.diff.custom_direct import Call, DirectJvp, DirectVjp
from wengert.diff.custom_rules import (
    ClosesOverTracer,
    StagedJvp,
    StagedVjp,
    is_float,
)
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ir.graph import Graph
from wengert.ir.record import stage
from wengert.ir.types import ArrayType
from wengert.source import at_user_line

__all__ = ["custom_jvp", "custom_vjp"]


class Pending(NamedTuple):
    """A custom function whose rules are being staged: how those rules call it."""

    types: list[ArrayType]
    captured: list[Array]
    graph: Graph
    rule: Any


_pending: ContextVar[dict[int, Pending]] = ContextVar("_pending")


class _Custom:
    """What `custom_jvp` and `custom_vjp` share: a function that waits for its rule."""

    what = ""
    primitive: Any

    def __init__(self, f: Callable[..., Any], nondiff_argnums: Sequence[int] = ()):
        if not callable(f):
            raise ArgumentError(f"{self.what} takes a function, got {type(f).__name__}{at_user_line()}")
        functools.update_wrapper(self, f)  # type: ignore[arg-type]
        self.f = f
        self.nondiff_argnums = tuple(nondiff_argnums)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)  # type: ignore[arg-type, misc, operator]

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], rules: Sequence[Any], form: str) -> Any:
        if any(r is None for r in rules):
            raise ArgumentError(f"{self.what}: {self.__name__} has no rule yet; state one with .{form}{at_user_line()}")
        if kwargs:
            bound = inspect.signature(self.f).bind(*args, **kwargs)
            bound.apply_defaults()
            if bound.kwargs:
                raise ArgumentError(f"{self.what}: {self.__name__} has keyword-only arguments{at_user_line()}")
            args = bound.args
        call = Call(self.f, self.nondiff_argnums, args)
        lowest, highest, abstract = call.levels()
        if not highest:  # nothing asks for this derivative
            return self.f(*args)
        outs: Any = None
        if not abstract and not call.uses_tracers((self.f, *rules), lowest):
            with suppress(ClosesOverTracer):
                outs = self._direct(call, highest)
        if outs is None:
            outs = self._staged(call, rules)
        return tree.unflatten(call.out_tree, outs)

    def _staged(self, call: Call, rules: Sequence[Any]) -> Any:
        types = [v.type for v in call.leaves]
        pending = _pending.get({}).get(id(self))
        if pending is not None:
            return self._again(call, types, pending)
        leaves = list(call.leaves)
        graph, captured = stage(call.function, types, self.__name__)
        out_tree = call.out_tree
        if not captured and not call.uses_tracers(rules, 1):
            call.leaves = []  # the rule outlives this call
            outs = self.primitive.bind(*leaves, graph=graph, rule=self._direct_rule(call, None))
        else:
            staged = self._empty_rule(graph, len(captured), len(leaves))
            token = _pending.set({**_pending.get({}), id(self): Pending(types, captured, graph, staged)})
            try:
                everything = self._stage_rules(call, graph, captured, staged)
            finally:
                _pending.reset(token)
            outs = self.primitive.bind(*everything, *leaves, graph=staged.whole, rule=staged)
        call.out_tree = out_tree
        return outs

    def _again(self, call: Call, types: list[ArrayType], pending: Pending) -> Any:
        """A call by the function's own rule, while that is being staged: the same step once more."""
        if types != pending.types:
            raise ArgumentError(
                f"{self.what}: the rule of {self.__name__} calls it with types {types} instead of {pending.types}, and "
                f"it closes over values of a transformation; make those values arguments{at_user_line()}"
            )
        call.function(*call.leaves)  # for the structure of the result; the steps are dropped as unused
        return self.primitive.bind(*pending.captured, *call.leaves, graph=pending.graph, rule=pending.rule)

    def _direct(self, call: Call, level: int) -> Any:
        return self.primitive.bind(*call.leaves, graph=None, rule=self._direct_rule(call, level))

    def _direct_rule(self, call: Call, level: int | None) -> Any:
        """The user's rules as they are."""
        raise NotImplementedError

    def _empty_rule(self, graph: Graph, num_captured: int, num_leaves: int) -> Any:
        """A staged rule that waits for its graphs."""
        raise NotImplementedError

    def _stage_rules(self, call: Call, graph: Graph, captured: list[Array], staged: Any) -> list[Array]:
        """Stage the user's rules into `staged`; returns all values that function and rules close over."""
        raise NotImplementedError


class custom_jvp(_Custom):
    """A function whose derivative is stated by hand, as a rule for tangents; reverse mode follows by transposing it.

    Args:
        f: function of pytrees.
        nondiff_argnums: positional arguments that the derivative is not taken by: functions, settings. They come first
            among the arguments of the rule, and no derivative flows through them.

    State the rule with `defjvp`: `rule(primals, tangents) -> (out, tangent of out)`, linear in the tangents. `primals`
    and `tangents` are tuples of the (other) arguments; the tangent of an integer is None. Or with `defjvps`, one for
    each argument.

    Raises:
        ArgumentError: there is no rule, or it returns something else than it should.

    Example:
        >>> @wg.custom_jvp
        ... def safe_sqrt(x):
        ...     return wg.sqrt(x)
        >>> @safe_sqrt.defjvp
        ... def rule(primals, tangents):
        ...     (x,), (t,) = primals, tangents
        ...     y = safe_sqrt(x)
        ...     return y, t * 0.5 / wg.maximum(y, 1e-3)
        >>> wg.grad(safe_sqrt)(0.0)
        Array(500., weak)
    """

    what = "custom_jvp"
    primitive = custom_jvp_p

    def __init__(self, f: Callable[..., Any], nondiff_argnums: Sequence[int] = ()):
        super().__init__(f, nondiff_argnums)
        self.rule: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """State the rule; returns it, so that it works as a decorator."""
        self.rule = rule
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """State one rule for each argument: `rule(tangent, out, *primals) -> tangent of out`, or None for zero."""
        if self.nondiff_argnums:
            raise ArgumentError(f"custom_jvp: defjvps does not go with nondiff_argnums; use defjvp{at_user_line()}")

        def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
            if len(rules) != len(primals):
                raise ArgumentError(
                    f"custom_jvp: {len(rules)} rules stated for {len(primals)} arguments of {self.__name__}"
                    f"{at_user_line()}"
                )
            out = self(*primals)
            total: Any = None
            for r, t in zip(rules, tangents, strict=True):
                if r is not None and tree.leaves(t):
                    term = r(t, out, *primals)
                    total = term if total is None else tree.map(lambda a, b: a + b, total, term)
            return out, total

        self.rule = rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(args, kwargs, (self.rule,), "defjvp(rule)")

    def _direct_rule(self, call: Call, level: int | None) -> DirectJvp:
        assert self.rule is not None
        return DirectJvp(call, self.rule, level)

    def _empty_rule(self, graph: Graph, num_captured: int, num_leaves: int) -> StagedJvp:
        return StagedJvp(graph, num_captured, num_leaves)

    def _stage_rules(self, call: Call, graph: Graph, captured: list[Array], staged: StagedJvp) -> list[Array]:
        direct = self._direct_rule(call, None)
        types = [v.type for v in call.leaves]
        n = len(types)
        active = [i for i, v in enumerate(call.leaves) if is_float(v)]
        marks: list[bool] = []

        def rule(*args: Array) -> list[Array]:
            tangents: list[Array | None] = [None] * n
            for i, t in zip(active, args[n:], strict=True):
                tangents[i] = t
            outs, pushed = direct.jvp(args[:n], tangents)
            marks[:] = [t is not None for t in pushed]
            return [*outs, *[t for t in pushed if t is not None]]

        rule_graph, others = stage(rule, [*types, *[types[i] for i in active]], f"{self.__name__}: rule")
        return staged.fill(rule_graph, marks, captured, others)


class custom_vjp(_Custom):
    """A function whose derivative is stated by hand, as a rule for cotangents. Reverse mode only.

    Args:
        f: function of pytrees.
        nondiff_argnums: positional arguments that the derivative is not taken by. The forward half takes them in their
            places, the backward half first of all; no derivative flows through them.

    State the rule with `defvjp(fwd, bwd)`: `fwd(*args) -> (out, residuals)`, and `bwd(residuals, cotangent of out)`,
    which returns a tuple with a cotangent for each (other) argument, None for zero.

    Raises:
        ArgumentError: there is no rule, or it returns something else than it should.
        UnsupportedError: forward mode (`jvp`, `jacfwd`, `hessian`) meets the function; use `custom_jvp` for both modes.

    Example:
        >>> @wg.custom_vjp
        ... def clipped(x):          # the identity, whose gradient is clipped
        ...     return x
        >>> clipped.defvjp(lambda x: (x, None), lambda residuals, ct: (wg.clip(ct, -1.0, 1.0),))
        >>> wg.grad(lambda x: 5.0 * clipped(x))(2.0)
        Array(1., weak)
    """

    what = "custom_vjp"
    primitive = custom_vjp_p

    def __init__(self, f: Callable[..., Any], nondiff_argnums: Sequence[int] = ()):
        super().__init__(f, nondiff_argnums)
        self.fwd: Callable[..., Any] | None = None
        self.bwd: Callable[..., Any] | None = None

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """State the forward and the backward half."""
        self.fwd, self.bwd = fwd, bwd

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(args, kwargs, (self.fwd, self.bwd), "defvjp(fwd, bwd)")

    def _direct_rule(self, call: Call, level: int | None) -> DirectVjp:
        assert self.fwd is not None and self.bwd is not None
        return DirectVjp(call, self.fwd, self.bwd, level)

    def _empty_rule(self, graph: Graph, num_captured: int, num_leaves: int) -> StagedVjp:
        return StagedVjp(graph, num_captured, num_leaves)

    def _stage_rules(self, call: Call, graph: Graph, captured: list[Array], staged: StagedVjp) -> list[Array]:
        direct = self._direct_rule(call, None)
        types = [v.type for v in call.leaves]
        found: list[Any] = []
        marks: list[bool] = []

        def fwd(*leaves: Array) -> list[Array]:
            outs, residuals, settings = direct.fwd(*leaves)
            found[:] = [[r.type for r in residuals], settings]
            return [*outs, *residuals]

        fwd_graph, of_fwd = stage(fwd, types, f"{self.__name__}: forward half")
        residual_types, settings = found

        def bwd(*args: Array) -> list[Array]:
            k = len(residual_types)
            back = direct.bwd(args[:k], settings, args[k:])
            marks[:] = [c is not None for c in back]
            return [c for c in back if c is not None]

        bwd_graph, of_bwd = stage(bwd, [*residual_types, *graph.out_types], f"{self.__name__}: backward half")
        return staged.fill((fwd_graph, bwd_graph), marks, captured, (of_fwd, of_bwd))
