"""The program between graph and machine code: a list of statements over buffers.

    Nest       loops over one index space; stores roots, each an expression evaluated at every index
    Rows       a nest over many rows of few elements; its vectors run along the rows
    Reduction  loops over one index space; combines an expression over some of its axes
    Direct     systems, factors and determinants of small matrices
    Scatter    elements written at positions that are data
    Product    a matrix product, with roots computed from each finished element (its epilogue)
    Convolution  the same for a convolution
    Loop       statements again and again, over windows that may move
    Branch     one of several lists of statements
    Block      statements over few numbers, as one function that keeps them in registers
    Single     statements of the first thread, where several run
    Barrier    a place where they wait for each other
    Evaluate   a step that has no kernel: NumPy evaluates it

An expression is a tree of `Expr`: an operation applied at the same index to others, a window read at an index, or a
number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wengert.execute.native.conv.spec import ConvSpec
from wengert.execute.native.views import Counter, Store, View
from wengert.ir.graph import Node
from wengert.ir.types import Shape


class Expr:
    """A value at an index. `op` is "load", "number", "fold" or the name of an elementwise primitive, among others.

    Operands of another shape are read by the rules of broadcasting; `view`s change the index on the way.
    """

    __slots__ = ("args", "depth", "dtype", "op", "params", "shape", "view")

    def __init__(
        self,
        op: str,
        args: tuple[Expr, ...],
        shape: Shape,
        dtype: np.dtype,
        view: View | None = None,
        params: Any = None,
    ):
        self.op = op
        self.args = args
        self.shape = shape
        self.dtype = dtype
        self.view = view
        self.params = params
        self.depth: int = 1 + max((a.depth for a in args), default=0)

    def key(self, windows: Any, known: dict[int, int]) -> Any:
        """Equal for expressions that compile to the same code; `windows` numbers the windows read."""
        if id(self) in known:
            return known[id(self)]
        if self.view is not None:
            number = windows.number(self.view)
            here: Any = ("load", number, self.view.strides, self.shape, self.dtype.num)
        elif self.op == "number":  # bit by bit: 0 and -0 are equal, and NaN is not
            here = ("number", np.asarray(self.params, self.dtype).tobytes(), self.dtype.num)
        else:
            here = (self.op, self.params, self.shape, self.dtype.num, *(a.key(windows, known) for a in self.args))
        known[id(self)] = len(known)
        return here


@dataclass(eq=False)
class Root:
    """An expression to be stored, and where."""

    expr: Expr
    target: View
    loaded: Expr  # how others read it
    stored: bool = True  # False where only later roots of the same statement read it, from registers
    over: str | None = None  # of rows: how the results of all rows are combined; the target has no axis for them


@dataclass(frozen=True)
class Split:
    """How a kernel is dealt to threads: `grains` pieces of `size` along an axis, or of a product's units."""

    axis: int | None
    extent: int
    grains: int
    size: int


@dataclass(frozen=True)
class Parts:
    """A reduction in `count` parts of `size` elements along an axis, whose results stand side by side."""

    axis: int
    count: int
    size: int


@dataclass(eq=False)
class Nest:
    shape: Shape
    roots: list[Root] = field(default_factory=list)
    split: Split | None = None


@dataclass(eq=False)
class Rows(Nest):
    """`shape` is `(rows,)`; each root has that many rows of its own elements. Targets of what is combined over all rows
    have an axis in front for the parts, if there are any.
    """

    parts: Parts | None = None


@dataclass(eq=False)
class Reduction:
    op: str
    expr: Expr
    axes: tuple[int, ...]
    target: View  # its axes are the kept ones, behind one for the parts if there are any
    split: Split | None = None
    parts: Parts | None = None


@dataclass(eq=False)
class Scatter(Reduction):
    """Elements written at positions, one after another along the first axes, `axes`, of `expr`.

    `expr` holds the updates, the positions along the first axes of `target`, and whether they lie inside; the other
    axes of both are the same. `op` says how an update and what it meets are combined.
    """


@dataclass(eq=False)
class Direct(Reduction):
    """A direct method of linear algebra, `op`, on each matrix of a stack; `expr` holds the operands as they lie."""

    scratch: int = 0  # bytes of memory that each thread needs for itself meanwhile

    @property
    def flops(self) -> int:
        """About how many operations: those of the factors, and two triangular systems for each right side."""
        *stack, n, _ = self.expr.args[0].shape
        columns = self.target.shape[-1] if len(self.expr.args) > 1 else n if self.op == "inv" else 0
        return math.prod(stack) * (2 * n**3 // 3 + 2 * n * n * columns)


@dataclass(eq=False)
class Product:
    """`x[b…, m, k] · y[b…, k, n]`, matrix by matrix."""

    x: View
    y: View
    shape: Shape
    dtype: np.dtype
    value: Expr  # stands for the finished element in the roots
    roots: list[Root] = field(default_factory=list)
    scratch: int = 0  # bytes of memory that each thread needs for itself meanwhile
    split: Split | None = None
    rows: int = 0  # that a thread computes, about, if rows are dealt
    sums: View | None = None  # where the sum over k of `y[k, n]` is wanted too


@dataclass(eq=False)
class Convolution(Product):
    """`ops.conv` of `x` and the kernel `y`; `shape` is what the kernel's index runs over (`conv.out_shape`)."""

    spec: ConvSpec | None = None


@dataclass(eq=False)
class Evaluate:
    node: Node
    inputs: list[View]
    outputs: list[View]


@dataclass(eq=False)
class Loop:
    """The body `turns` times (of a store: once a record), or (with `turns` None) as long as the test's value holds.

    What the turns emit into `store` overwrites what lay there; the store then has as many records as there were turns.
    """

    counter: Counter
    turns: int | Store | None
    reverse: bool
    test: list[Statement]
    test_value: View | None
    body: list[Statement]
    store: Store | None = None


@dataclass(eq=False)
class Branch:
    """One of the bodies, by the number at `index`."""

    index: View
    bodies: list[list[Statement]]


@dataclass(eq=False)
class Block:
    """Statements over few numbers, loops among them. Buffers that it alone uses are of kind "local": registers."""

    body: list[Statement]


@dataclass(eq=False)
class Single:
    """What the first thread alone does."""

    body: list[Statement]


@dataclass(eq=False)
class Barrier:
    """Every thread waits for the others."""


Kernel = Nest | Reduction | Product  # what becomes a function of its own
Statement = Nest | Reduction | Product | Evaluate | Loop | Branch | Block | Single | Barrier


@dataclass(eq=False)
class Program:
    """Statements, the windows of the results, the constants' arrays, and how many stores there are."""

    statements: list[Statement]
    results: list[View]
    constants: list[np.ndarray]
    stores: int = 0
    scratch: int = 0  # bytes, the most that a statement needs for each thread
    parallel: bool = False
