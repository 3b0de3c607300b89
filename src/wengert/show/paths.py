"""Paths from one value to another: counted by dynamic programming, listed while they are few.

The derivative of `a` by `b` is the sum over all paths from `b` to `a` of the product of the local derivatives along
the path (Bauer 1974, *Computational Graphs and Rounding Error*). There may be exponentially many; reverse mode adds
them up without listing them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert.diff.zeros import zeros_like
from wengert.errors import GraphError
from wengert.ir.array import Array
from wengert.ops.arithmetic import add
from wengert.show.node import Edge, GraphNode, jacobian_by_rows
from wengert.show.numbers import adjoint_text, count_text, ndarray_or_none, number_latex, value_text
from wengert.source import at_user_line

SHOWN = 20  # paths that are printed in full
_WHOLE = re.compile(r"[^\s()·/+-][^\s()·/+]*|[^\s()·/+-]*\([^()]*\)")  # a name, a power, a number, a call
_WHOLE_LATEX = re.compile(r"[^\s()+-][^\s()+]*|\\[a-z]+\\left\([^()]*\\right\)|\\frac\{[^{}]*\}\{[^{}]*\}")


def count_paths(nodes: Sequence[GraphNode], output: GraphNode, source: GraphNode) -> int:
    """How many paths lead from `source` to `output` along edges with a derivative; exact."""
    arriving: dict[int, int] = {output.index: 1}
    for k in range(output.index, source.index, -1):
        ways = arriving.pop(k, 0)  # counts may have thousands of digits: none is kept longer than it is needed
        if ways:
            for edge in nodes[k].edges:
                i = edge.source.index
                if i >= source.index:
                    arriving[i] = arriving.get(i, 0) + ways
    return arriving.get(source.index, 0)


def reachable(nodes: Sequence[GraphNode], output: GraphNode, source: GraphNode) -> set[int]:
    """The nodes on paths from `source` to `output`."""
    forward = {source.index}
    for n in nodes[source.index + 1 : output.index + 1]:
        if any(e.source.index in forward for e in n.edges):
            forward.add(n.index)
    found = {output.index} & forward
    for k in range(output.index, source.index, -1):
        if k in found:
            found.update(e.source.index for e in nodes[k].edges if e.source.index in forward)
    return found


class Path:
    """One path from an input to an output, with the product of the local derivatives along it.

    Attributes:
        value: what this path adds to the derivative, of the shape of the input: the cotangent of the output pulled back
            along the edges. For single numbers it is the product of the factors.
        edges, nodes: from the input to the output.
    """

    __slots__ = ("_link", "output", "source", "value")

    def __init__(self, output: GraphNode, source: GraphNode, link: Any, value: Array):
        self.output = output
        self.source = source
        self._link = link  # (edge next to the input, (the edge after it, …)): paths share their ends
        self.value = value

    @property
    def edges(self) -> list[Edge]:
        edges = []
        link = self._link
        while link is not None:
            edge, link = link
            edges.append(edge)
        return edges

    @property
    def nodes(self) -> list[GraphNode]:
        return [self.source, *(e.target for e in self.edges)]

    @property
    def factors(self) -> list[Array | Edge]:
        """The local derivatives from the output to the input: numbers, or the edge itself for a map of arrays."""
        return [e if (v := e.value) is None else v for e in reversed(self.edges)]

    @property
    def text(self) -> str:
        """The product in names: `∂loss/∂y · ∂y/∂w1`."""
        return " · ".join(e.name for e in reversed(self.edges)) or "1"

    @property
    def symbols(self) -> str:
        """The product with each local derivative written out: `(2·e) · (1 - h²) · x`."""
        return " · ".join(_bracket(e.symbol or e.name) for e in reversed(self.edges)) or "1"

    @property
    def numbers(self) -> str:
        """The product in numbers: `0.42 · 2`; of arrays, the kind and shape of each map."""
        return " · ".join(_factor_text(e) for e in reversed(self.edges)) or "1"

    @property
    def latex(self) -> str:
        return r" \cdot ".join(e.latex_name for e in reversed(self.edges)) or "1"

    def jacobian(self) -> np.ndarray:
        """What this path adds to the Jacobian, of shape `(*output.shape, *source.shape)`; for small sizes only."""
        edges = self.edges

        def pull(cotangent: Array) -> Array:
            for edge in reversed(edges):
                cotangent = edge.pull(cotangent)
            return cotangent

        return jacobian_by_rows(pull, self.output, self.source)

    def __len__(self) -> int:
        return len(self.edges)

    def __repr__(self) -> str:
        nodes = self.nodes
        names = [n.name for n in nodes] if len(nodes) <= 12 else [*(n.name for n in nodes[:5]), "…", nodes[-1].name]
        return f"<path {' → '.join(names)}: {adjoint_text(self.value)}>"


class Paths(Sequence[Path]):
    """All paths from one value to another; their products add up to the derivative.

    `print` shows each path as names, formula and numbers; `total` is the sum, `text` and `latex` the formula.
    """

    def __init__(self, output: GraphNode, source: GraphNode, paths: list[Path]):
        self.output = output
        self.source = source
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, i: Any) -> Any:
        return self._paths[i]

    @property
    def total(self) -> Array:
        """The sum over the paths: the derivative of the output by the input."""
        total: Array | None = None
        for path in self._paths:
            total = path.value if total is None else add.bind(total, path.value)
        return zeros_like(self.source.value) if total is None else total

    @property
    def name(self) -> str:
        of = f"∂{self.output.name}" if self.output.value.size == 1 else f"∂Σ{self.output.name}"
        return f"{of}/∂{self.source.name}"

    @property
    def text(self) -> str:
        """The derivative as a sum of products: `∂loss/∂w = ∂loss/∂a · ∂a/∂w + ∂loss/∂b · ∂b/∂w`."""
        return f"{self.name} = {' + '.join(p.text for p in self._paths) or '0'}"

    @property
    def latex(self) -> str:
        """The same formula for LaTeX, aligned, with the numbers below where all factors are numbers."""
        over, under = self.output.term_latex, self.source.term_latex
        total = over if self.output.value.size == 1 else rf"\textstyle\sum {over}"
        left = rf"\frac{{\partial {total}}}{{\partial {under}}}"
        lines = [rf"{left} &= {self._sum([p.latex for p in self._paths])}"]
        known = [[e.symbol_latex for e in reversed(p.edges)] for p in self._paths]
        if self._paths and all(s is not None for row in known for s in row) and self._all_numbers():
            products = [r" \cdot ".join(_bracket(s, True) for s in row if s is not None) or "1" for row in known]
            lines.append(rf"&= {self._sum(products)}")
            numbers = [
                r" \cdot ".join(_signed(number_latex(f.item())) for f in p.factors) or "1"  # type: ignore[union-attr]
                for p in self._paths
            ]
            lines.append(rf"&= {self._sum(numbers)}")
            lines.append(rf"&= {number_latex(np.asarray(self.total)[()])}")
        body = " \\\\\n".join(lines)
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    @staticmethod
    def _sum(terms: list[str]) -> str:
        return " \\\\\n&\\quad + ".join(terms) if sum(map(len, terms)) > 200 else " + ".join(terms) or "0"

    def _all_numbers(self) -> bool:
        values = [n.value for p in self._paths for n in p.nodes]
        return all(v.ndim == 0 and ndarray_or_none(v) is not None for v in values)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        n = len(self)
        if not n:
            yield f"{self.name} = 0: no path leads from {self.source.name} to {self.output.name}"
            return
        yield f"{self.name}: {n} path{'s' if n > 1 else ''}"
        for k, path in enumerate(self._paths[:SHOWN], 1):
            yield ""
            yield f"  path {k}:  {' → '.join(m.name for m in path.nodes)}"
            yield f"     {path.text}"
            if any(e.symbol for e in path.edges):
                yield f"   = {path.symbols}"
            yield f"   = {path.numbers}"
            yield f"   = {adjoint_text(path.value)}"
        if n > SHOWN:
            yield f"\n  … and {n - SHOWN} more paths"
        yield ""
        terms = " + ".join(_signed(adjoint_text(p.value)) for p in self._paths[:SHOWN])
        if n == 1:
            yield f"{self.name} = {adjoint_text(self.total)}"
        elif self.source.value.ndim == 0:
            yield f"{self.name} = {terms}{' + …' if n > SHOWN else ''} = {adjoint_text(self.total)}"
        else:
            yield f"{self.name} = the sum over the {n} paths: {adjoint_text(self.total)}"

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self)} paths, sum {adjoint_text(self.total)}>"


def find_paths(nodes: Sequence[GraphNode], output: GraphNode, source: GraphNode, limit: int, cotangent: Array) -> Paths:
    """Every path from `source` to `output`, or an error that says how many there are."""
    n = count_paths(nodes, output, source)
    if n > limit:
        raise GraphError(
            f"{count_text(n)} paths lead from {source.name} to {output.name}, more than the limit of {limit}. Raise it "
            f"(paths(..., limit={n if n < 10**6 else '...'})), ask between nearer nodes, count them with count_paths, "
            f"or let reverse mode add them up: derivative() shows the sum on every node.{at_user_line()}"
        )
    if not n and count_paths(nodes, source, output):
        raise GraphError(
            f"no path leads from {source.name} to {output.name}, but one leads the other way: the output comes first, "
            f"paths({source.name!r}, {output.name!r}){at_user_line()}"
        )
    on_path = reachable(nodes, output, source) if n else set()
    paths: list[Path] = []
    stack: list[tuple[GraphNode, Any, Array]] = [(output, None, cotangent)] if n else []
    while stack:
        node, link, arriving = stack.pop()
        if node is source:
            paths.append(Path(output, source, link, arriving))
            continue
        for edge in reversed(node.edges):
            if edge.source.index in on_path:
                stack.append((edge.source, (edge, link), edge.pull(arriving)))
    return Paths(output, source, paths)


def _bracket(s: str, tex: bool = False) -> str:
    """A factor, in brackets unless it holds together by itself."""
    whole = _WHOLE_LATEX if tex else _WHOLE
    return s if whole.fullmatch(s) else rf"\left({s}\right)" if tex else f"({s})"


def _signed(s: str) -> str:
    return f"({s})" if s.startswith("-") or s.endswith("i") else s


def _factor_text(edge: Edge) -> str:
    value = edge.value
    if value is not None:
        return _signed(value_text(value))
    if edge.factor is not None:
        return f"diag({value_text(edge.factor)})"
    if edge.kind == "identity":
        return "I"
    out, inp = edge.target.shape, edge.source.shape
    return f"{edge.kind}[{_dims(out)} ← {_dims(inp)}]"


def _dims(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "1"
