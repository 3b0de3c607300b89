"""One of several functions, chosen when the program runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import tree
from wengert.batch import batched_graph
from wengert.control.call import floating, forward_graph, split_static
from wengert.control.functions import Staged, check_types, flatten_arrays, stage_function
from wengert.diff.linearize import SplitGraph, transpose_at
from wengert.diff.sparse.pattern import union, walk
from wengert.diff.zeros import zeros
from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array, Tracer
from wengert.ir.graph import Graph, evaluate, replay
from wengert.ir.primitive import Params, Primitive
from wengert.ir.record import stage
from wengert.ir.types import ArrayType, int64
from wengert.ops.arithmetic import maximum, minimum
from wengert.ops.compare import equal, select
from wengert.ops.promote import as_array, convert
from wengert.ops.shape import reshape, to_front
from wengert.source import at_user_line


class Switch(Primitive):
    """`branches[index](*operands)`, the index between 0 and the last branch."""

    multiple = True

    def type(self, index: ArrayType, *types: ArrayType, branches: tuple[Graph, ...]) -> Any:
        check_types(branches[0], types, "switch")
        return branches[0].out_types

    def weak_result(self, args: Sequence[Any], params: Params) -> tuple[bool, ...]:
        return tuple(t.weak for t in params["branches"][0].out_types)

    def evaluate(self, index: Any, *values: Any, branches: tuple[Graph, ...]) -> Any:
        return tuple(evaluate(branches[int(index)], values))

    def linearize(self, values: Sequence[Array], params: Params, active: Sequence[bool]) -> Any:
        derivative = SwitchDerivative(params["branches"], floating(values, active)[1:])
        outs = self.bind(*values, branches=derivative.primal)
        n = len(params["branches"][0].outputs)
        derivative.index = values[0]
        derivative.residuals = [*derivative.read(values[1:]), *outs[n:]]
        return outs[:n], derivative

    def forward(self, values: Sequence[Array], tangents: Sequence[Array | None], params: Params) -> Any:
        branches, active = params["branches"], tuple(t is not None for t in tangents[1:])
        each = [forward_graph(b, active) for b in branches]
        marks = [any(column) for column in zip(*(m for _, m in each), strict=True)]
        n = len(branches[0].outputs)

        def complete(graph: Graph, mine: Sequence[bool]) -> Graph:
            def run(*args: Array) -> list[Array]:
                outs = replay(graph, args)
                rest = iter(outs[n:])
                found = [next(rest) if m else None for m in mine]
                return outs[:n] + [
                    zeros(o.type) if t is None else t for o, t, m in zip(outs, found, marks, strict=False) if m
                ]

            return stage(run, graph.in_types, graph.name)[0]

        outs = self.bind(
            *values, *(t for t in tangents[1:] if t is not None), branches=tuple(complete(g, m) for g, m in each)
        )
        rest = iter(outs[n:])
        return outs[:n], [next(rest) if m else None for m in marks]

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        branches, flags = params["branches"], [a is not None for a in axes]
        moved = [v if a is None else to_front(v, a) for v, a in zip(values, axes, strict=True)]
        plain = [batched_graph(b, flags[1:], size) for b in branches]
        marks = [any(column) or flags[0] for column in zip(*(m for _, m in plain), strict=True)]
        graphs = tuple(batched_graph(b, flags[1:], size, marks)[0] for b in branches)
        places = [0 if m else None for m in marks]
        if not flags[0]:
            return self.bind(*moved, branches=graphs), places
        # every example chooses for itself: run all branches, keep what was chosen
        results = [replay(g, moved[1:]) for g in graphs]
        chosen = list(results[-1])
        for k in range(len(graphs) - 2, -1, -1):
            for j, out in enumerate(results[k]):
                here = reshape(equal(moved[0], k), (size, *(1,) * (out.ndim - 1)))
                chosen[j] = select(here, out, chosen[j])
        return tuple(chosen), places

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        each = [walk(b, patterns[1:]) for b in params["branches"]]
        return [union(*column) for column in zip(*each, strict=True)]


class SwitchDerivative:
    """The derivative of one choice.

    A residual that is an operand is read from it again. The rest is emitted: each branch has its own places among the
    outputs, and the places of the others hold zeros.
    """

    __slots__ = ("active", "active_out", "index", "parts", "primal", "residuals", "sources")

    def __init__(self, branches: tuple[Graph, ...], active: Sequence[bool]):
        self.active = active
        self.parts: list[SplitGraph] = [split_static(b, active) for b in branches]
        n = len(branches[0].outputs)
        self.active_out = [any(column) for column in zip(*(p.active_out for p in self.parts), strict=True)]
        self.sources: list[list[tuple[bool, int]]] = []  # for each branch's residuals: emitted?, which
        emitted: list[list[int]] = []
        at = 0
        for p in self.parts:
            operand = {v.index: i for i, v in enumerate(p.primal.inputs)}
            source, mine = [], []
            for k, r in enumerate(p.primal.outputs[n:]):
                if r.trace is p.primal.trace and r.index in operand:
                    source.append((False, operand[r.index]))
                else:
                    source.append((True, at))
                    mine.append(n + k)
                    at += 1
            self.sources.append(source)
            emitted.append(mine)
        types = [[p.primal.outputs[k].type for k in mine] for p, mine in zip(self.parts, emitted, strict=True)]
        self.primal = tuple(self._with_places(p.primal, k, emitted[k], types, n) for k, p in enumerate(self.parts))
        self.index: Any = None
        self.residuals: Sequence[Array] = ()  # the operands, then what was emitted

    def _with_places(self, primal: Graph, k: int, mine: list[int], types: list[list[ArrayType]], n: int) -> Graph:
        def run(*args: Array) -> list[Array]:
            outs = replay(primal, args)
            places = [[outs[i] for i in mine] if j == k else [zeros(t) for t in ts] for j, ts in enumerate(types)]
            return outs[:n] + [r for group in places for r in group]

        return stage(run, primal.in_types, primal.name)[0]

    def read(self, operands: Sequence[Array]) -> list[Array]:
        """The operands, with zeros in place of those that no branch's derivative reads."""
        used = {i for source in self.sources for emitted, i in source if not emitted}
        return [v if i in used else zeros(v.type) for i, v in enumerate(operands)]

    def _mine(self, k: int, residuals: Sequence[Array]) -> list[Array]:
        n = len(self.active)
        return [residuals[n + i if emitted else i] for emitted, i in self.sources[k]]

    def push(self, tangents: Sequence[Array | None]) -> list[Array | None]:
        given = [t for t, a in zip(tangents[1:], self.active, strict=True) if a]
        tangent_types = self.parts[0].linear.in_types[self.parts[0].num_residuals :]
        filled = [zeros(k) if t is None else t for t, k in zip(given, tangent_types, strict=True)]
        m = len(self.residuals)
        out_types = self._out_types()

        def branch(k: int) -> Graph:
            def run(*args: Array) -> list[Array]:
                part = self.parts[k]
                outs = iter(replay(part.linear, [*self._mine(k, args[:m]), *args[m:]]))
                found = [next(outs) if a else None for a in part.active_out]
                wanted = [t for t, a in zip(found, self.active_out, strict=True) if a]
                return [zeros(z) if t is None else t for t, z in zip(wanted, out_types, strict=True)]

            return self._staged(run, [v.type for v in filled])

        outs = iter(switch_p.bind(self.index, *self.residuals, *filled, branches=self._all(branch)))
        return [next(outs) if a else None for a in self.active_out]

    def pull(self, cotangents: Sequence[Array | None]) -> list[Array | None]:
        out_types = self._out_types()
        mine = [c for c, a in zip(cotangents, self.active_out, strict=True) if a]
        filled = [zeros(z) if c is None else c for c, z in zip(mine, out_types, strict=True)]
        m = len(self.residuals)

        def branch(k: int) -> Graph:
            def run(*args: Array) -> list[Array]:
                part = self.parts[k]
                arriving = iter(args[m:])
                all_c = [next(arriving) if a else None for a in self.active_out]
                its_c = [c for c, a in zip(all_c, part.active_out, strict=True) if a]
                return transpose_at(part.linear, self._mine(k, args[:m]), its_c)

            return self._staged(run, [v.type for v in filled])

        outs = iter(switch_p.bind(self.index, *self.residuals, *filled, branches=self._all(branch)))
        return [None, *(next(outs) if a else None for a in self.active)]

    def _out_types(self) -> list[ArrayType]:
        outs = self.primal[0].out_types
        return [t for t, a in zip(outs, self.active_out, strict=False) if a]

    def _staged(self, run: Callable[..., list[Array]], types: list[ArrayType]) -> Graph:
        return stage(run, [*(r.type for r in self.residuals), *types], "branch")[0]

    def _all(self, branch: Callable[[int], Graph]) -> tuple[Graph, ...]:
        return tuple(branch(k) for k in range(len(self.parts)))


switch_p = Switch("switch")


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """`true_fun(*operands)` if `pred` holds, else `false_fun(*operands)`.

    Where `pred` is known, the chosen function is simply called; inside `jit` both are traced and one runs. Under `vmap`
    with a predicate for each example, both run and each example takes its own.

    Args:
        pred: one boolean.
        true_fun, false_fun: functions of the operands with results of equal structure and types.

    Raises:
        DTypeError, ShapeError: `pred` is not one boolean.
        ArgumentError: the two functions return different structures or types.
    """
    p = as_array(pred, "cond")
    if p.shape != ():
        raise ShapeError(
            f"cond: the predicate has shape {p.shape}; expected one boolean. Use wg.where, or wg.any{at_user_line()}"
        )
    if p.dtype.kind != "b":
        raise DTypeError(f"cond: the predicate is {p.dtype.name}; expected bool. Compare it (x != 0){at_user_line()}")
    if (known := _known(p)) is not None:
        return (true_fun if known else false_fun)(*operands)
    return _switch(convert(p, int64), (false_fun, true_fun), operands, "cond")


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)`; an index outside is moved to the nearest branch.

    Otherwise as `cond`, with an integer in place of the boolean.
    """
    if not branches:
        raise ArgumentError(f"switch needs at least one branch{at_user_line()}")
    i = as_array(index, "switch")
    if i.shape != () or i.dtype.kind not in "iu":
        raise DTypeError(f"switch: the index is {i.type!r}; expected one integer{at_user_line()}")
    i = minimum(maximum(convert(i, int64), 0), len(branches) - 1)
    if (known := _known(i)) is not None:
        return branches[known](*operands)
    return _switch(i, tuple(branches), operands, "switch")


def _known(x: Array) -> Any:
    """The number in `x`, where there is one."""
    while isinstance(x, Tracer):
        x = x.concrete_below() if hasattr(x, "concrete_below") else x.data
    return None if x is None else np.asarray(x.data).item()


def _switch(index: Array, functions: Sequence[Callable[..., Any]], operands: Any, what: str) -> Any:
    leaves, in_tree = flatten_arrays(operands, what)
    types = [v.type for v in leaves]
    staged = [stage_function(f, in_tree, types, what) for f in functions]
    first = staged[0]
    for other in staged[1:]:
        ours, theirs = first.graph.out_types, other.graph.out_types
        if other.out_tree != first.out_tree or [(t.shape, t.dtype) for t in ours] != [
            (t.shape, t.dtype) for t in theirs
        ]:
            raise ArgumentError(
                f"{what}: the functions return different things, {first.out_tree} of {list(ours)} and {other.out_tree} "
                f"of {list(theirs)}; all must return the same structure, shapes and types{at_user_line()}"
            )
    captured = {id(c): c for s in staged for c in s.captured}
    branches = tuple(_of_all(s, captured, len(leaves)) for s in staged)
    outs = switch_p.bind(index, *captured.values(), *leaves, branches=branches)
    return tree.unflatten(first.out_tree, outs)


def _of_all(staged: Staged, captured: dict[int, Array], num_leaves: int) -> Graph:
    """A branch as a graph of everything that any branch captured, by identity, followed by the operands."""
    place = {key: k for k, key in enumerate(captured)}
    mine = [place[id(c)] for c in staged.captured]
    leaf_types = staged.graph.in_types[len(mine) :]
    assert len(leaf_types) == num_leaves

    def run(*args: Array) -> list[Array]:
        return replay(staged.graph, [*(args[i] for i in mine), *args[len(captured) :]])

    return stage(run, [*(c.type for c in captured.values()), *leaf_types], staged.graph.name)[0]
