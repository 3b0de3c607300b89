"""Run a function on values and keep its graph, with names that its author would recognise."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import tree
from wengert.errors import ArgumentError
from wengert.execute.jit import Jitted
from wengert.ir.array import Array
from wengert.ir.graph import Graph
from wengert.ir.record import Tape
from wengert.ir.types import float64
from wengert.ops.promote import as_array, convert
from wengert.show.graph import ComputationGraph
from wengert.show.names import LocalNames, Namer, code_of, free_names, leaf_name, parameter_names
from wengert.show.node import GraphNode
from wengert.source import at_user_line

SHORT = {
    "multiply": "mul",
    "guarded_multiply": "mul",
    "annihilating_multiply": "mul",
    "subtract": "sub",
    "divide": "div",
    "negative": "neg",
    "integer_power": "pow",
    "power": "pow",
    "dot_general": "matmul",
    "broadcast_to": "broadcast",
    "logistic": "sigmoid",
    "convert": "cast",
}


def graph(f: Callable[..., Any], argnums: int | Sequence[int] | None = None) -> Callable[..., ComputationGraph]:
    """A function with the arguments of `f` that runs `f` on them and returns its graph, with all values.

    Args:
        f: function of pytrees that returns arrays, in any structure. Of a jitted function the inside is shown.
        argnums: which positional arguments are inputs of the graph: an integer, a sequence, or None for every array and
            number in all arguments. What is no input is passed on as it is, so that a Python `int` can steer a loop.

    Returns:
        A function that returns a `ComputationGraph`. Its inputs are named by parameter and path (`w1`, `params['w']`,
        `model.layers[0].weight`), other values by the local variable of `f` that held them (an earlier value of `h` is
        `h.1`, `h.2`, …), and what no variable held by its operation and a number (`mul3`). The output also answers to
        the name of `f`, to "out" and to "output".

    Raises:
        ArgumentError: `f` is no function, returns no array, or no argument is an array.

    Example:
        >>> def loss(w, x):
        ...     return (w * x - 1) ** 2
        >>> print(wg.graph(loss)(0.5, 3.0))
        loss(w, x): 2 inputs, 3 operations
        ...
    """
    if not callable(f):
        raise ArgumentError(
            f"graph takes a function, got {type(f).__name__}; write graph(f)(x), not graph(f(x)){at_user_line()}"
        )
    if isinstance(f, Jitted):
        f = f.__wrapped__  # what is inside is what one wants to see
    nums = (argnums,) if isinstance(argnums, int) else None if argnums is None else tuple(argnums)

    @functools.wraps(f)
    def graph_of(*args: Any, **kwargs: Any) -> ComputationGraph:
        if nums is not None and (wrong := [n for n in nums if not -len(args) <= n < len(args)]):
            raise ArgumentError(
                f"graph by argument {wrong[0]}, but only {len(args)} positional arguments were given{at_user_line()}"
            )
        chosen = None if nums is None else {n % len(args) for n in nums}
        opened = tree.Opened((args, kwargs))
        slots = [
            k
            for k, (leaf, path) in enumerate(zip(opened.leaves, opened.paths, strict=True))
            if not isinstance(leaf, bool) and (chosen is None or (path[0] == 0 and path[1] in chosen))
        ]
        if not slots:
            raise ArgumentError(
                f"graph of {getattr(f, '__name__', f)!r}: no argument holds an array or a number, so there is nothing "
                f"to draw from. Pass the inputs as arguments: graph(lambda w: f(w))(w).{at_user_line()}"
            )
        tape = Tape(everything=True)
        code = code_of(f)
        watched = LocalNames(code)
        try:
            leaves = list(opened.leaves)
            for k in slots:
                leaves[k] = tape.input(_input(leaves[k]))
            new_args, new_kwargs = opened.rebuild(leaves)
            with watched:
                out = f(*new_args, **new_kwargs)
            outputs, names = _outputs(out, f)
            changed, where = opened.changes()
            arrays = [as_array(c, "an attribute assigned in a function") for c in changed]
            recorded = tape.finish(outputs, getattr(f, "__name__", type(f).__name__))
        finally:
            tape.close()
        opened.write_back(where, [a.data if a.trace is tape else a for a in arrays])
        named = parameter_names(f, args, kwargs)
        inputs = []
        for k in slots:
            side, key, *rest = opened.paths[k]
            stem, x = named[key] if side == 0 else (key, kwargs[key])
            inputs.append(leaf_name(stem, x, tuple(rest)))
        return _Builder(recorded, tape).build(inputs, names, watched, free_names(f, code))

    return graph_of


def _input(leaf: Any) -> Array:
    value = as_array(leaf, "graph")
    if value.weak and value.dtype.kind == "i":  # the Python number 2 is a fine place for a derivative
        return convert(value, float64, True)
    return value


def _outputs(out: Any, f: Any) -> tuple[list[Array], list[str]]:
    """The arrays that the function returned, and the path of each."""
    opened = tree.Opened(out)
    if not opened.leaves:
        raise ArgumentError(
            f"graph of {getattr(f, '__name__', f)!r}: it returned {'None' if out is None else type(out).__name__}, "
            f"which holds no array; return the value(s) to look at{at_user_line()}"
        )
    arrays = [as_array(o, "the result of a graphed function") for o in opened.leaves]
    return arrays, [leaf_name("", out, path) for path in opened.paths]


class _Builder:
    """Makes the public nodes of a recorded graph."""

    def __init__(self, recorded: Graph, tape: Tape):
        self.recorded = recorded
        self.tape = tape
        self.nodes: list[GraphNode] = []
        self.of_value: list[GraphNode | None] = [None] * recorded.size
        self.of_constant: dict[Any, GraphNode] = {}
        self.namer = Namer()

    def build(
        self, inputs: list[str], output_paths: list[str], watched: LocalNames, outside: list[tuple[str, Any]]
    ) -> ComputationGraph:
        recorded = self.recorded
        for var in recorded.inputs:
            self.of_value[var.index] = self._add(GraphNode(len(self.nodes), var.data, "input"))
        for step in recorded.nodes:
            operands = [self._node(a) for a in step.inputs]
            for j, var in enumerate(step.outputs):
                n = self._add(GraphNode(len(self.nodes), var.data, "operation", step, j))
                n.inputs = operands
                self.of_value[var.index] = n
        outputs = [self._node(a) for a in recorded.outputs]
        for n in outputs:
            if n.kind == "operation":
                n.kind = "output"
        self._name_all(inputs, outputs, output_paths, watched, outside)
        return ComputationGraph(recorded, self.nodes, outputs)

    def _add(self, n: GraphNode) -> GraphNode:
        self.nodes.append(n)
        return n

    def _node(self, a: Array) -> GraphNode:
        if a.trace is self.tape:
            n = self.of_value[a.index]  # type: ignore[attr-defined]
            assert n is not None
            return n
        key: Any = id(a)
        if a.trace is None and a.ndim == 0:
            key = (a.data.dtype, a.weak, a.data.tobytes())
        if key not in self.of_constant:
            self.of_constant[key] = self._add(GraphNode(len(self.nodes), a, "constant"))
        return self.of_constant[key]

    def _name_all(
        self,
        inputs: list[str],
        outputs: list[GraphNode],
        paths: list[str],
        watched: LocalNames,
        outside: list[tuple[str, Any]],
    ) -> None:
        """Names, the most telling first: parameters, local variables, the function's own name, the operation."""
        for n, name in zip(self.nodes, inputs, strict=False):
            self._give(n, name)
        final, earlier = watched.found()
        at_end = dict(final)
        for name, a in final:
            if (held := self._known(a)) is not None:
                self._give(held, name)
        for name, arrays in earlier:
            made = [m for m in map(self._known, arrays) if m is not None and m.kind != "input"]
            for i, m in enumerate(made, 1):
                self._give(m, f"{name}.{i}")
            last = self._known(at_end[name])
            if last is not None and not last.name:  # an input has the plain name
                self._give(last, f"{name}.{len(made) + 1}")
        own = self.recorded.name if self.recorded.name.isidentifier() else ""
        for n, path in zip(outputs, paths, strict=True):
            for stem in (own, "out", "output"):
                if stem:
                    self._give(n, stem + (path if path.startswith(("[", ".")) or not path else f".{path}"))
        by_data = {id(np.asarray(v) if isinstance(v, np.ndarray) else getattr(v, "data", v)): s for s, v in outside}
        for n in self.nodes:
            if n.kind == "constant" and not n.name:
                known = by_data.get(id(n.value.data)) if n.value.trace is None else None
                if known is None or not self._give(n, known):
                    n.name = n.term if n.is_number else self.namer.numbered("constant")
            elif not n.name:
                n.name = self.namer.numbered(SHORT.get(n.operation, n.operation))

    def _known(self, a: Array) -> GraphNode | None:
        if a.trace is self.tape:
            return self.of_value[a.index]  # type: ignore[attr-defined]
        return self.of_constant.get(id(a)) if a.trace is None and a.ndim else None

    def _give(self, n: GraphNode, name: str) -> bool:
        """The first name that a node gets is its own, the others are aliases."""
        if name == n.name or not self.namer.claim(name):
            return False
        if n.name:
            n.aliases += (name,)
        else:
            n.name = name
        return True
