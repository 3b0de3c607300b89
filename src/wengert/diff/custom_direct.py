"""Rules of custom derivatives as users state them: functions of pytrees, run on whatever values arrive."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from wengert import tree
from wengert.diff.custom_rules import Arrays, JvpRule, Optional, VjpRule, fitted, is_float
from wengert.diff.stop_gradient import stop_gradient
from wengert.diff.zeros import zeros
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ops.promote import as_array
from wengert.source import at_user_line


class Call:
    """One call: the leaves of the differentiable arguments, and how to put arguments and results together again."""

    def __init__(self, f: Callable[..., Any], nondiff: Sequence[int], args: tuple[Any, ...]):
        n = len(args)
        if any(not -n <= i < n for i in nondiff):
            raise ArgumentError(
                f"nondiff_argnums {tuple(nondiff)} of a function called with {n} arguments{at_user_line()}"
            )
        self.f = f
        self.fixed = {i % n: stop_gradient(args[i]) for i in nondiff}
        self.places = [i for i in range(n) if i not in self.fixed]
        self.num_args = n
        leaves, self.in_tree = tree.flatten(tuple(args[i] for i in self.places))
        self.leaves = [as_array(v, "a function with a custom derivative") for v in leaves]
        self.out_tree: Any = None

    @property
    def nondiff(self) -> list[Any]:
        return [self.fixed[i] for i in sorted(self.fixed)]

    def args(self, leaves: Sequence[Any]) -> list[Any]:
        """All arguments, in order."""
        rest = iter(tree.unflatten(self.in_tree, leaves))
        return [self.fixed[i] if i in self.fixed else next(rest) for i in range(self.num_args)]

    def primals(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        return tree.unflatten(self.in_tree, leaves)

    def flat_out(self, out: Any) -> list[Array]:
        leaves, self.out_tree = tree.flatten(out)
        return [as_array(o, "the result of a function with a custom derivative") for o in leaves]

    def function(self, *leaves: Array) -> list[Array]:
        return self.flat_out(self.f(*self.args(leaves)))

    def levels(self) -> tuple[int, int, bool]:
        """The lowest and the highest level of a transformation among the leaves, and whether a leaf has no number."""
        lowest, highest, abstract = 0, 0, False
        for a in self.leaves:
            while a is not None and a.trace is not None:
                level = a.trace.level
                lowest, highest = min(lowest or level, level), max(highest, level)
                a = a.data
            abstract = abstract or a is None
        return lowest, highest, abstract

    def uses_tracers(self, functions: Sequence[Any], level: int) -> bool:
        """Whether one of the functions closes over a value of a transformation at or above `level`."""
        held = list(self.fixed.values())
        for g in functions:
            g = inspect.unwrap(g) if callable(g) else g
            for cell in getattr(g, "__closure__", None) or ():
                try:
                    held.append(cell.cell_contents)
                except ValueError:  # an empty cell: a function that refers to itself, being defined
                    continue
        return any(
            isinstance(v, Array) and v.trace is not None and v.trace.level >= level
            for x in held
            for v in tree.leaves(x)
        )


class DirectJvp(JvpRule):
    """The user's function and rule, as they are."""

    def __init__(self, call: Call, rule: Callable[..., Any], level: int | None):
        self.call, self.rule, self.level = call, rule, level
        self.name = getattr(rule, "__name__", "")
        self.function = call.function  # type: ignore[method-assign]

    def jvp(self, primals: Arrays, tangents: Optional) -> tuple[list[Array], list[Array | None]]:
        call = self.call
        given = [
            (zeros(v.type) if t is None else t) if is_float(v) else None for v, t in zip(primals, tangents, strict=True)
        ]
        answer = self.rule(*call.nondiff, call.primals(primals), call.primals(given))
        if not isinstance(answer, (tuple, list)) or len(answer) != 2:
            raise ArgumentError(
                f"custom_jvp: the rule returns a pair (output, its tangent), got {type(answer).__name__}"
                f"{at_user_line()}"
            )
        outs = call.flat_out(answer[0])
        pushed = spread(answer[1], outs, "the tangent that a custom_jvp rule returned")
        return outs, fitted(pushed, outs, "a tangent that a custom_jvp rule returned")


class DirectVjp(VjpRule):
    """The user's function, and forward and backward halves, as they are."""

    def __init__(self, call: Call, fwd: Callable[..., Any], bwd: Callable[..., Any], level: int | None):
        self.call, self.forward_half, self.backward_half, self.level = call, fwd, bwd, level
        self.name = getattr(bwd, "__name__", "")
        self.function = call.function  # type: ignore[method-assign]

    def fwd(self, *primals: Array) -> tuple[list[Array], list[Array], Any]:
        call = self.call
        answer = self.forward_half(*call.args(primals))
        if not isinstance(answer, (tuple, list)) or len(answer) != 2:
            raise ArgumentError(
                f"custom_vjp: the forward half returns a pair (output, residuals), got {type(answer).__name__}"
                f"{at_user_line()}"
            )
        outs = call.flat_out(answer[0])
        leaves, treedef = tree.flatten(answer[1])
        numbers = {i: v for i, v in enumerate(leaves) if isinstance(v, (bool, int, float, complex))}
        arrays = [as_array(v, "a residual") for i, v in enumerate(leaves) if i not in numbers]
        return outs, arrays, (treedef, tuple(numbers.items()), call.out_tree, tuple(v.type for v in primals))

    def bwd(self, residuals: Arrays, settings: Any, cotangents: Arrays) -> list[Array | None]:
        treedef, items, out_tree, types = settings
        numbers, rest = dict(items), iter(residuals)
        leaves = [numbers[i] if i in numbers else next(rest) for i in range(len(residuals) + len(numbers))]
        back = self.backward_half(
            *self.call.nondiff, tree.unflatten(treedef, leaves), tree.unflatten(out_tree, cotangents)
        )
        if not isinstance(back, (tuple, list)) or len(back) != len(self.call.places):
            count = len(back) if isinstance(back, (tuple, list)) else type(back).__name__
            raise ArgumentError(
                f"custom_vjp: the backward half returns a tuple with a cotangent for each of the "
                f"{len(self.call.places)} differentiable arguments, got {count}; None stands for zero{at_user_line()}"
            )
        found: list[Any] = []
        for b, part in zip(back, self.call.in_tree.children, strict=True):
            mine = types[len(found) : len(found) + part.num_leaves]
            found += spread(b, mine, "a cotangent that a custom_vjp rule returned")
        return fitted(found, types, "a cotangent that a custom_vjp rule returned")


def spread(given: Any, like: Sequence[Any], what: str) -> list[Any]:
    """The leaves of a (co)tangent, one for each leaf of its value; None where it leaves one out."""
    leaves = tree.leaves(given)
    if len(leaves) == len(like):
        return leaves
    floating = [is_float(v) for v in like]
    if given is None or not leaves:
        return [None] * len(like)
    if len(leaves) == sum(floating):
        rest = iter(leaves)
        return [next(rest) if f else None for f in floating]
    raise ArgumentError(f"{what} has {len(leaves)} arrays; its value has {len(like)}{at_user_line()}")
