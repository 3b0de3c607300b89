"""One value of a shown graph, and one edge of its linearisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.diff.zeros import filled
from wengert.errors import ShapeError
from wengert.ir.array import Array
from wengert.ir.graph import Node
from wengert.ir.maps import Map
from wengert.ir.types import Shape
from wengert.show import formula
from wengert.show.numbers import ndarray_or_none, norm, number_latex, operand_text, value_text
from wengert.source import Source

SMALL = 4096  # elements of a Jacobian that is written out


class GraphNode:
    """A value in the graph: an input, a constant, or the result of an operation.

    Attributes:
        name: what it is called; `aliases` are its other names.
        kind: "input", "constant", "operation" or "output".
        operation: the name of the primitive that made it; "" for inputs and constants.
        params: the settings of that primitive.
        inputs: the nodes that the operation was applied to.
        value, shape, dtype: the forward value.
        source: the user's line (`source.filename`, `.line`, `.text`), or None.
        adjoint: in a derivative graph, the derivative of its output by this value; None where it is zero.
        edges: in a derivative graph, the edges from the inputs to this value.
        index: its place in `graph.nodes`.
    """

    __slots__ = (
        "adjoint",
        "aliases",
        "edges",
        "index",
        "inputs",
        "kind",
        "name",
        "output",
        "source",
        "step",
        "value",
    )

    def __init__(self, index: int, value: Array, kind: str, step: Node | None = None, output: int = 0):
        self.index = index
        self.value = value
        self.kind = kind
        self.step = step
        self.output = output  # which of the outputs of its step it is
        self.source: Source | None = step.source if step is not None else None
        self.name = ""
        self.aliases: tuple[str, ...] = ()
        self.inputs: list[GraphNode] = []
        self.adjoint: Array | None = None
        self.edges: list[Edge] = []

    @property
    def operation(self) -> str:
        return "" if self.step is None else self.step.primitive.name

    @property
    def params(self) -> dict[str, Any]:
        return {} if self.step is None else self.step.params

    @property
    def shape(self) -> Shape:
        return self.value.shape

    @property
    def dtype(self) -> np.dtype:
        return self.value.dtype

    @property
    def is_number(self) -> bool:
        """Whether it is a constant that is written where it is used: a single number."""
        return self.kind == "constant" and self.value.ndim == 0

    @property
    def term(self) -> str:
        """What stands for it in formulas: its name, or the number."""
        if self.is_number and (data := ndarray_or_none(self.value)) is not None:
            return operand_text(data[()])
        return self.name

    @property
    def term_latex(self) -> str:
        if self.is_number and (data := ndarray_or_none(self.value)) is not None:
            return number_latex(data[()])
        return formula.latex_name(self.name)

    @property
    def expression(self) -> str:
        """The operation as a formula, such as `w·x`; "" for inputs and constants."""
        return self._expression({i: n.term for i, n in enumerate(self.inputs)})

    def expression_with_values(self) -> str:
        """The operation with numbers put in, such as `0.5·2`; "" where an input is no single number."""
        numbers = {}
        for i, n in enumerate(self.inputs):
            data = ndarray_or_none(n.value) if n.value.ndim == 0 else None
            if data is None:
                return ""
            numbers[i] = operand_text(data[()])
        return self._expression(numbers)

    def _expression(self, terms: dict[int, str]) -> str:
        if self.step is None:
            return ""
        names = formula.letters(list(terms.values()), self.name)
        text = formula.text(formula.operation(self.operation, len(terms), self.params), names)
        return f"{text} [{self.output}]" if len(self.step.outputs) > 1 else text

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}{' = ' + self.expression if self.inputs else ''} = {value_text(self.value)}>"


class Edge:
    """The local derivative `∂target/∂source` through one input of one operation: a linear map.

    Attributes:
        source, target: the nodes that it connects; `slot` is the place of the source among the target's inputs.
        map: the map, with `push` and `pull`; `kind` names it ("scale", "identity", "dot_general", …).
        contribution: what it adds to the adjoint of `source`: `pull(target.adjoint)`; None where no cotangent arrives.
    """

    __slots__ = ("contribution", "map", "slot", "source", "target")

    def __init__(self, source: GraphNode, target: GraphNode, slot: int, map: Map):
        self.source = source
        self.target = target
        self.slot = slot
        self.map = map
        self.contribution: Array | None = None

    @property
    def kind(self) -> str:
        return self.map.kind

    @property
    def factor(self) -> Array | None:
        """The number(s) that the map multiplies by, elementwise; None for other maps."""
        return self.map.factor

    @property
    def value(self) -> Array | None:
        """`∂target/∂source` as a number, where both are single numbers; else None."""
        if self.source.value.ndim or self.target.value.ndim:
            return None
        return self.pull(filled(1, self.target.value.type))

    @property
    def gain(self) -> float | None:
        """`‖pull(δ)‖ / ‖δ‖` for the cotangent δ that arrives here; None where none does or it is zero."""
        arriving = self.target.adjoint
        if arriving is None or self.contribution is None:
            return None
        before, after = norm(arriving), norm(self.contribution)
        return after / before if before and after is not None else None

    @property
    def shape(self) -> Shape:
        """The shape of the Jacobian: that of the target, then that of the source."""
        return (*self.target.shape, *self.source.shape)

    def push(self, tangent: Array) -> Array:
        """The tangent of `target` for a tangent of `source`."""
        return self.map.push(tangent)

    def pull(self, cotangent: Array) -> Array:
        """The cotangent of `source` for a cotangent of `target`."""
        return self.map.pull(cotangent)

    def jacobian(self) -> np.ndarray:
        """The Jacobian as an ndarray of shape `self.shape`, a row for each element of the target.

        Raises:
            ShapeError: it has more than 4096 elements.
        """
        return jacobian_by_rows(self.pull, self.target, self.source)

    @property
    def twin(self) -> str:
        """Which operand it comes from, counted from 1, where the operation uses one value several times; else ""."""
        several = sum(n is self.source for n in self.target.inputs) > 1
        return str(self.slot + 1) if several else ""

    @property
    def name(self) -> str:
        mark = f"⁽{self.twin.translate(formula.RAISED)}⁾" if self.twin else ""
        return f"∂{self.target.name}/∂{self.source.name}{mark}"

    @property
    def latex_name(self) -> str:
        over, under = self.target.term_latex, self.source.term_latex
        mark = f"^{{[{self.twin}]}}" if self.twin else ""
        return rf"\frac{{\partial {over}}}{{\partial {under}{mark}}}"

    @property
    def symbol(self) -> str | None:
        """The local derivative as a formula, such as `1 - h²`; None where no short one is known."""
        return self._symbol(False)

    @property
    def symbol_latex(self) -> str | None:
        return self._symbol(True)

    def _symbol(self, tex: bool) -> str | None:
        target = self.target
        expression = formula.local_derivative(target.operation, self.slot, target.params)
        if expression is None or (target.operation == "abs" and self.source.dtype.kind == "c"):
            return None
        terms = [n.term_latex if tex else n.term for n in target.inputs]
        names = formula.letters(terms, target.term_latex if tex else target.name)
        return (formula.latex if tex else formula.text)(expression, names)

    def __repr__(self) -> str:
        value = self.value
        return f"<{self.name}: {self.kind}{'' if value is None else ' ' + value_text(value)}>"


def jacobian_by_rows(pull: Any, target: GraphNode, source: GraphNode) -> np.ndarray:
    """The Jacobian of a small map, by pulling each unit cotangent."""
    size = target.value.size * source.value.size
    if size > SMALL:
        raise ShapeError(
            f"the Jacobian of {target.name} (shape {target.shape}) by {source.name} (shape {source.shape}) has {size} "
            f"elements; it is written out up to {SMALL}. Pull a cotangent instead (pull), or look at the gain."
        )
    rows = []
    for k in range(target.value.size):
        unit = np.zeros(target.value.size, target.dtype)
        unit[k] = 1
        rows.append(np.asarray(pull(Array(unit.reshape(target.shape)))).ravel())
    return np.asarray(rows).reshape((*target.shape, *source.shape))
