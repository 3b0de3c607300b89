"""The graph as an object: what `wg.graph(f)(*args)` returns."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from os import PathLike
from typing import Any

from wengert.diff.zeros import ones_like
from wengert.errors import ArgumentError, DTypeError, GraphError, ShapeError
from wengert.ir.array import Array
from wengert.ir.graph import Graph
from wengert.ops.promote import as_array, convert
from wengert.show import paths as path_walks
from wengert.show.derivative import Maps, connect, edge_maps, sweep
from wengert.show.node import Edge, GraphNode
from wengert.show.save import save as save_file
from wengert.show.step import Step, steps
from wengert.show.svg import svg
from wengert.show.text import listing, rails
from wengert.source import at_user_line


class ComputationGraph:
    """A function's graph at one point: every value, the operation that made it, and how they hang together.

    Attributes:
        nodes: all values, in the order of computation.
        inputs, outputs: those among them that came in and that were returned.
        name: the name of the function.
        ir: the graph as the engine sees it.

    `print(g)` lists it, `g.show()` draws it, `g["h"]` is the node of that name.
    """

    def __init__(self, ir: Graph, nodes: list[GraphNode], outputs: list[GraphNode]):
        self.ir = ir
        self.name = ir.name
        self.nodes = nodes
        self.inputs = [n for n in nodes if n.kind == "input"]
        self.outputs = outputs
        self._by_name: dict[str, GraphNode] = {}
        for n in nodes:
            for name in (n.name, *n.aliases):
                if not n.is_number or name != n.term:
                    self._by_name.setdefault(name, n)
        self._known_maps: Maps | None = None

    # Finding nodes.

    def node(self, key: str | GraphNode) -> GraphNode:
        """The node of this name (or this node, also if it was taken from the derivative of this graph).

        Raises:
            GraphError: there is none; the message lists near names.
        """
        if isinstance(key, GraphNode):
            if key.index < len(self.nodes) and self.nodes[key.index].value is key.value:
                return self.nodes[key.index]
            raise GraphError(f"{key!r} is a node of another graph than that of {self.name}{at_user_line()}")
        found = self._by_name.get(key) if isinstance(key, str) else None
        if found is None:
            raise GraphError(
                f"the graph of {self.name} has no value named {key!r}; {self._near(str(key))}{at_user_line()}"
            )
        return found

    __getitem__ = node

    def _near(self, name: str) -> str:
        names = list(self._by_name)
        near = difflib.get_close_matches(name, names[:20000], n=5, cutoff=0.5)
        if near:
            return f"near it: {', '.join(map(repr, near))}"
        some = list(dict.fromkeys(n.name for n in (*self.inputs, *self.outputs)))[:12]
        return f"its inputs and outputs are {', '.join(map(repr, some))}; print(g) lists all"

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[GraphNode]:
        return iter(self.nodes)

    # The derivative.

    @property
    def _maps(self) -> Maps:
        if self._known_maps is None:
            self._known_maps = edge_maps(self.ir, self.nodes)
        return self._known_maps

    def _linked(self) -> list[GraphNode]:
        """Nodes with edges on them; in a derivative graph, its own."""
        copies = [_copy(n) for n in self.nodes]
        for n in copies:
            n.inputs = [copies[m.index] for m in n.inputs]
        connect(copies, self._maps)
        return copies

    def derivative(self, of: str | GraphNode | None = None, cotangent: Any = None) -> DerivativeGraph:
        """The same graph with the local partial on each edge and the adjoint on each node.

        Args:
            of: the value that is differentiated, by name or node; by default the output, if there is one, and else the
                sum of all outputs.
            cotangent: where the backward pass starts, of the shape of `of`; by default ones, which for a single number
                is its derivative and for an array that of the sum of its elements.

        Raises:
            DTypeError: the value is an integer or a boolean, or no output is a float.
            ShapeError: the cotangent does not have its shape.
            UnsupportedError: an operation has no derivative, with the reason.
        """
        chosen = [n for n in self.outputs if n.dtype.kind in "fc"] if of is None else [self.node(of)]
        if not chosen or chosen[0].dtype.kind not in "fc":
            what = f"{chosen[0].name} is {chosen[0].dtype.name}" if chosen else "no output is a float"
            raise DTypeError(f"derivative of the graph of {self.name}: {what}; only floats change{at_user_line()}")
        if cotangent is not None and len(set(chosen)) > 1:
            raise ArgumentError(f"a cotangent is given for one value; say which: derivative(of=...){at_user_line()}")
        seeds = {n.index: _seed(n, cotangent) for n in chosen}
        nodes = self._linked()
        sweep(nodes, seeds)
        return DerivativeGraph(self, nodes, [nodes[n.index] for n in dict.fromkeys(chosen)], cotangent is not None)

    def steps(self) -> Iterator[Step]:
        """The forward pass, then the backward pass from the output, one node at a time.

        Example:
            >>> for step in g.steps():
            ...     print(step)
        """
        return self.derivative().steps()

    def edge(self, target: str | GraphNode, source: str | GraphNode, slot: int | None = None) -> Edge:
        """The edge `∂target/∂source` of `derivative()`, which a graph without derivatives has none of."""
        return self.derivative().edge(target, source, slot)

    def count_paths(self, output: str | GraphNode, source: str | GraphNode) -> int:
        """How many paths lead from `source` to `output`: exact, in time linear in the graph, however many there are."""
        nodes = self._path_nodes()
        return path_walks.count_paths(nodes, nodes[self.node(output).index], nodes[self.node(source).index])

    def paths(
        self, output: str | GraphNode, source: str | GraphNode, limit: int = 1000, cotangent: Any = None
    ) -> path_walks.Paths:
        """Every path from `source` to `output`, with its factors; the sum of their products is `∂output/∂source`.

        Args:
            output, source: names or nodes; the output comes first, as in `∂loss/∂w`.
            limit: how many paths are listed at most.
            cotangent: what is pulled back along each path, of the shape of the output; by default ones, so that the
                values of the paths add up to the derivative of the output, or of the sum of its elements.

        Raises:
            GraphError: there are more (with the exact count), or a name is unknown (with near names).
            DTypeError, ShapeError: one of the two is no float; the cotangent does not fit.

        Example:
            >>> print(g.paths("loss", "w1"))
        """
        nodes = self._path_nodes()
        a, b = nodes[self.node(output).index], nodes[self.node(source).index]
        for n in (a, b):
            if n.dtype.kind not in "fc":
                raise DTypeError(f"paths of derivatives: {n.name} is {n.dtype.name}, not a float{at_user_line()}")
        return path_walks.find_paths(nodes, a, b, limit, _seed(a, cotangent))

    def _path_nodes(self) -> list[GraphNode]:
        if not hasattr(self, "_linked_nodes"):
            self._linked_nodes = self._linked()
        return self._linked_nodes

    # Pictures and text.

    def show(self, max_nodes: int = 200) -> None:
        """Draw the graph: a picture in a notebook, lines of text in a terminal."""
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython is not None else None
        if shell is not None and hasattr(shell, "kernel"):
            sys.modules["IPython"].display.display(self)
        else:
            print(rails(self, max_nodes))

    def save(self, path: str | PathLike[str], max_nodes: int | None = None) -> None:
        """Write the graph to a file; the suffix says how.

        `.svg` is a picture, `.html` a page that works offline, with details of each node and both passes step by step,
        `.dot` is for Graphviz, `.mmd` for Mermaid, `.txt` the text of `show()`. Of a graph with more operations than
        `max_nodes` the middle is folded into one box.

        Raises:
            ArgumentError: another suffix.
            OSError: the file can't be written; an older file of that name is left as it was.
        """
        save_file(self, path, max_nodes)

    def __str__(self) -> str:
        return listing(self)

    def __repr__(self) -> str:
        operations = sum(n.step is not None for n in self.nodes)
        inputs = ", ".join(n.name for n in self.inputs[:6]) + (", …" if len(self.inputs) > 6 else "")
        return f"<{type(self).__name__} {self.name}({inputs}): {operations} operations>"

    def _repr_html_(self) -> str:
        return f'<div style="overflow:auto">{svg(self, 500)}</div>'


class DerivativeGraph(ComputationGraph):
    """A graph with the local partial on each edge and the adjoint on each node.

    Attributes:
        edges: every edge that a derivative flows along; see `Edge`.
        of: the nodes that are differentiated.
        label: what is differentiated, in words: the `loss` of `∂loss/∂w`.
    """

    def __init__(self, primal: ComputationGraph, nodes: list[GraphNode], of: list[GraphNode], weighted: bool):
        super().__init__(primal.ir, nodes, [nodes[n.index] for n in primal.outputs])
        self._known_maps = primal._maps
        self._linked_nodes = nodes
        self.of = of
        first = of[0]
        if len(of) > 1:
            self.label = "Σ(outputs)"
        elif weighted:
            self.label = f"⟨c, {first.name}⟩"
        else:
            self.label = first.name if first.value.size == 1 else f"Σ{first.name}"

    @property
    def edges(self) -> list[Edge]:
        return [e for n in self.nodes for e in n.edges]

    def edge(self, target: str | GraphNode, source: str | GraphNode, slot: int | None = None) -> Edge:
        """The edge `∂target/∂source`; `slot` chooses where an operation uses a value twice.

        Raises:
            GraphError: the two are no neighbours, or no derivative flows between them.
        """
        t, s = self.node(target), self.node(source)
        found = [e for e in t.edges if e.source is s and slot in (None, e.slot)]
        if not found and any(e.source is t for e in s.edges):
            raise GraphError(
                f"no derivative flows from {s.name} to {t.name}, but one flows the other way: what is made comes "
                f"first, edge({s.name!r}, {t.name!r}){at_user_line()}"
            )
        if not found:
            raise GraphError(
                f"no derivative flows directly from {s.name} to {t.name}; edges into {t.name}: "
                f"{', '.join(e.name for e in t.edges) or 'none'}. For longer ways use paths.{at_user_line()}"
            )
        return found[0]

    def adjoint(self, key: str | GraphNode) -> Array | None:
        """The derivative of the output by this value; None where it is zero because no path leads there."""
        return self.node(key).adjoint

    def steps(self) -> Iterator[Step]:
        return steps(self.nodes, self.label)


def _seed(n: GraphNode, cotangent: Any) -> Array:
    """Where a backward pass from `n` starts."""
    if cotangent is None:
        return ones_like(n.value)
    c = as_array(cotangent, "the cotangent of a graph")
    if c.shape != n.shape:
        raise ShapeError(f"the cotangent of {n.name} has shape {c.shape}; expected {n.shape}{at_user_line()}")
    return convert(c, n.dtype, n.value.weak)


def _copy(n: GraphNode) -> GraphNode:
    copy = GraphNode(n.index, n.value, n.kind, n.step, n.output)
    copy.name, copy.aliases, copy.inputs = n.name, n.aliases, n.inputs
    return copy
