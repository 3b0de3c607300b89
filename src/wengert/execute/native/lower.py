"""Graph to statements: what is computed where, and what is only an expression inside something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.execute.native.elementwise import has_code, has_registers, is_dear
from wengert.execute.native.products import product_scratch
from wengert.execute.native.statements import Evaluate, Expr, Nest, Product, Program, Reduction, Root, Statement
from wengert.execute.native.target import Target
from wengert.execute.native.views import Buffer, View, dense
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node
from wengert.ir.primitive import registry
from wengert.ir.types import Shape
from wengert.ops.elementwise import Elementwise

REDUCTIONS = {"sum", "prod", "max", "min", "peak"}
MOST_ROOTS = 12  # of one nest: beyond, registers spill
DEEPEST = 40  # an expression this deep is cut by storing it


def lower(graph: Graph, target: Target) -> Program:
    """The statements that compute the outputs of `graph`."""
    return Lowering(graph, target).program()


class NoCodeError(Exception):
    """A step inside a loop or a branch has no code; the whole is left to NumPy."""


class Lowering:
    def __init__(self, graph: Graph, target: Target, outer: Lowering | None = None):
        self.graph = graph
        self.target = target
        self.outer = outer  # set for the body of a loop or a branch
        self.values: dict[int, Expr] = {}  # what each Var is
        self.statements: list[Statement] = []
        self.made_by: dict[int, int] = {}  # id of a buffer -> its statement
        self.constants: list[np.ndarray] = outer.constants if outer else []
        self.known_constants: dict[int, Expr] = outer.known_constants if outer else {}
        self.stored: dict[int, Expr] = {}  # id of an expression -> its load, once it has a place
        self.uses = [0] * graph.size
        self.num_outputs = 0
        for node in graph.nodes:
            for a in node.inputs:
                self._count(a)
        for a in graph.outputs:
            self._count(a)
        for k, var in enumerate(graph.inputs if outer is None else ()):
            self.values[var.index] = load(dense(Buffer("input", k, var.dtype, var.size), var.shape))

    def _count(self, a: Array) -> None:
        if a.trace is self.graph.trace:
            self.uses[a.index] += 1

    def program(self) -> Program:
        for node in self.graph.nodes:
            self.node(node)
        results = [self._result(a) for a in self.graph.outputs]
        return Program(self.statements, results, self.constants)

    # Values

    def value(self, a: Array) -> Expr:
        if a.trace is self.graph.trace:
            return self.values[a.index]
        known = self.known_constants.get(id(a))
        if known is None:
            known = self.known_constants[id(a)] = self._constant(np.asarray(a.data))
        return known

    def _constant(self, data: np.ndarray) -> Expr:
        if data.size and has_registers(data.dtype) and (data.ndim == 0 or _uniform(data)):
            number = Expr("number", (), (), data.dtype, params=data.flat[0].item())
            return number if data.ndim == 0 else Expr("broadcast", (number,), data.shape, data.dtype)
        self.constants.append(np.ascontiguousarray(data))
        return load(dense(Buffer("constant", len(self.constants) - 1, data.dtype, data.size), data.shape))

    def node(self, node: Node) -> None:
        name = node.primitive.name
        args = [self.value(a) for a in node.inputs]
        out = node.outputs[0]
        types = [a.dtype for a in args]
        loose = any(a.view is not None and a.view.buffer.kind == "loose" for a in args) or not _static(out.shape)
        if name in CONTROL and self._control(node, args):
            return
        if node.primitive.multiple or loose or not all(map(has_registers, (*types, out.dtype))):
            self._evaluate(node, args)
        elif isinstance(node.primitive, Elementwise) and has_code(name, types):
            self._elementwise(node, args)
        elif (move := getattr(self, f"_{name}", None)) is not None and name in MOVES:
            self.values[out.index] = move(args[0], out.shape, node.params)
        elif name in REDUCTIONS and out.size and args[0].dtype.kind in "fi":
            self._reduction(node, args[0])
        elif name == "dot_general" and out.dtype.kind == "f" and out.size:
            self._product(node, args)
        elif name == "gather" and node.params["outside"] == "clip" and not any(a.shape for a in args[1:]):
            self._element(node, args)
        elif name == "pad" and out.size:
            self._pad(node, args)
        elif name == "concat" and out.size:
            self._concat(node, args)
        else:
            self._evaluate(node, args)

    def _elementwise(self, node: Node, args: list[Expr]) -> None:
        out = node.outputs[0]
        params = tuple(sorted((k, v) for k, v in node.params.items() if k not in ("dtype", "weak")))
        expr = Expr(node.primitive.name, tuple(args), out.shape, out.dtype, params=params)
        shared = self.uses[out.index] > 1 and (is_dear(node.primitive.name) or expr.depth > 4)
        self.values[out.index] = self.store(expr) if shared or expr.depth > DEEPEST else expr

    # Moving elements: windows where the operand has a place, a changed index where it has none

    def _broadcast_to(self, x: Expr, shape: Shape, params: Any) -> Expr:
        return load(x.view.broadcast(shape)) if x.view is not None else Expr("broadcast", (x,), shape, x.dtype)

    def _permute(self, x: Expr, shape: Shape, params: Any) -> Expr:
        axes = params["axes"]
        if x.view is not None:
            return load(x.view.permuted(axes))
        return Expr("permute", (x,), shape, x.dtype, params=axes)

    def _reshape(self, x: Expr, shape: Shape, params: Any) -> Expr:
        if x.view is None and [d for d in x.shape if d != 1] == [d for d in shape if d != 1]:
            return Expr("squeeze", (x,), shape, x.dtype)
        view = self.place(x).reshaped(shape)
        if view is None:
            moved = self.store(Expr("copy", (x,), x.shape, x.dtype)).view
            assert moved is not None
            view = moved.reshaped(shape)
        assert view is not None
        return load(view)

    def _slice(self, x: Expr, shape: Shape, params: Any) -> Expr:
        return load(self.place(x).sliced(params["start"], params["step"], shape))

    def _flip(self, x: Expr, shape: Shape, params: Any) -> Expr:
        return load(self.place(x).flipped(params["axes"]))

    # Statements

    def place(self, x: Expr) -> View:
        """Where `x` lies; it is stored if it lies nowhere."""
        view = x.view if x.view is not None else self.store(x).view
        assert view is not None
        return view

    def store(self, expr: Expr, target: View | None = None) -> Expr:
        """Give an expression a place: as a root of an earlier loop over the same indices, or of a new one."""
        if target is None:
            if id(expr) in self.stored:
                return self.stored[id(expr)]
            target = dense(Buffer("work", -1, expr.dtype, _size(expr.shape)), expr.shape)
        loaded = load(target)
        root = Root(expr, target, loaded)
        self.stored[id(expr)] = loaded
        at = self._host(expr)
        if at is None:
            self.statements.append(Nest(expr.shape, [root]))
            at = len(self.statements) - 1
        else:
            self.statements[at].roots.append(root)  # type: ignore[union-attr]
        self.made_by[id(target.buffer)] = at
        return loaded

    def _host(self, expr: Expr) -> int | None:
        leaves: dict[int, bool] = {}  # statement -> whether all its values are read at the root's own index
        _leaves(expr, True, self.made_by, leaves, set())
        earliest = max(leaves, default=0)
        for at in range(earliest, len(self.statements)):
            host = self.statements[at]
            if isinstance(host, (Nest, Product)) and host.shape == expr.shape and len(host.roots) < MOST_ROOTS:
                if leaves.get(at, True):
                    return at
        return None

    def append(self, statement: Statement, *targets: View) -> None:
        self.statements.append(statement)
        for t in targets:
            self.made_by[id(t.buffer)] = len(self.statements) - 1

    def _new(self, a: Array) -> View:
        if not _static(a.shape):  # its size is known when the program runs
            return View(Buffer("loose", len(self.statements), a.dtype, 0), a.shape, (0,) * a.ndim)
        return dense(Buffer("work", -1, a.dtype, a.size), a.shape)

    def _reduction(self, node: Node, x: Expr) -> None:
        target, name = self._new(node.outputs[0]), node.primitive.name
        self.append(Reduction("max" if name == "peak" else name, x, node.params["axes"], target), target)
        result = load(target)
        if name == "peak":  # the largest where it is finite, else 0
            finite = Expr("isfinite", (result,), target.shape, np.dtype(np.bool_))
            result = Expr(
                "select", (finite, result, Expr("number", (), (), result.dtype, params=0.0)), target.shape, result.dtype
            )
        self.values[node.outputs[0].index] = result

    def _element(self, node: Node, args: list[Expr]) -> None:
        """What stands at computed positions along some axes: a window."""
        view = self.place(args[0])
        along = sorted(zip(node.params["axes"], args[1:], strict=True), key=lambda pair: -pair[0])
        for axis, position in along:
            view = view.chosen(axis, self.place(position))
        self.values[node.outputs[0].index] = load(view)

    def _pad(self, node: Node, args: list[Expr]) -> None:
        """The fill everywhere, then the operand into its window."""
        (x, fill), padding = args, node.params["padding"]
        target = self._new(node.outputs[0])
        self.copy(Expr("broadcast", (fill,), target.shape, fill.dtype), target)
        source = self.place(x)
        # what negative padding cuts off lies before `start` or from `stop` on, counted in the operand's own elements
        start: list[int] = []
        first: list[int] = []
        count: list[int] = []
        for d, (low, _, inner) in zip(x.shape, padding, strict=True):
            step = inner + 1
            skip = -(-max(-low, 0) // step)
            size = max(target.shape[len(start)], 0)
            begin = low + skip * step
            n = 0 if begin >= size or skip >= d else min(d - skip, (size - 1 - begin) // step + 1)
            start.append(skip)
            first.append(max(begin, 0) if n else 0)
            count.append(n)
        if all(count):
            shape = tuple(count)
            window = target.sliced(tuple(first), tuple(p[2] + 1 for p in padding), shape)
            self.copy(load(source.sliced(tuple(start), (1,) * len(shape), shape)), window)
        self.values[node.outputs[0].index] = load(target)

    def _concat(self, node: Node, args: list[Expr]) -> None:
        target, axis, at = self._new(node.outputs[0]), node.params["axis"], 0
        for x in args:
            if _size(x.shape):
                start = tuple(at if k == axis else 0 for k in range(len(x.shape)))
                self.copy(load(self.place(x)), target.sliced(start, (1,) * len(start), x.shape))
            at += x.shape[axis]
        self.values[node.outputs[0].index] = load(target)

    def copy(self, value: Expr, target: View) -> None:
        """`value` at `target`, after everything so far: for windows of a buffer that others also write to."""
        copied = Expr("copy", (value,), target.shape, target.buffer.dtype)
        self.append(Nest(target.shape, [Root(copied, target, load(target))]), target)

    def _product(self, node: Node, args: list[Expr]) -> None:
        out = node.outputs[0]
        (bx, by), (cx, cy) = node.params["batch"], node.params["contract"]
        lead = tuple(out.shape[: len(bx)])
        fx, fy = (
            tuple(a for a in range(len(e.shape)) if a not in b + c)
            for e, b, c in zip(args, (bx, by), (cx, cy), strict=True)
        )
        m, n, k = (_size(tuple(e.shape[a] for a in axes)) for e, axes in ((args[0], fx), (args[1], fy), (args[0], cx)))
        x = self._as_matrices(args[0], bx + fx + cx, (*lead, m, k))
        y = self._as_matrices(args[1], by + cy + fy, (*lead, k, n))
        shape = (*lead, m, n)
        value = Expr("product", (), shape, out.dtype)
        target = dense(Buffer("work", -1, out.dtype, out.size), shape)
        loaded = load(target)
        self.stored[id(value)] = loaded
        statement = Product(x, y, shape, out.dtype, value, [Root(value, target, loaded)])
        scratch = product_scratch(statement, self.target)
        if scratch:
            statement.scratch = dense(Buffer("work", -1, np.dtype(np.uint8), scratch), (scratch,))
        self.append(statement, target)
        reshaped = target.reshaped(out.shape)
        assert reshaped is not None
        self.values[out.index] = loaded if shape == out.shape else load(reshaped)

    def _as_matrices(self, x: Expr, axes: tuple[int, ...], shape: Shape) -> View:
        """The operand as a stack of matrices: a window where its axes merge, else a copy."""
        view = self.place(x).permuted(axes)
        merged = view.reshaped(shape)
        if merged is None:
            merged = self.place(self.store(Expr("copy", (load(view),), view.shape, x.dtype))).reshaped(shape)
        assert merged is not None
        return merged

    def _control(self, node: Node, args: list[Expr]) -> bool:
        """Loops and branches as statements; False where a step inside has no code."""
        statements, roots = len(self.statements), [len(getattr(s, "roots", ())) for s in self.statements]
        made_by, stored = dict(self.made_by), dict(self.stored)
        try:
            self.values.update(CONTROL[node.primitive.name](self, node, args))
            return True
        except NoCodeError:
            del self.statements[statements:]
            for s, n in zip(self.statements, roots, strict=True):
                if isinstance(s, (Nest, Product)):
                    del s.roots[n:]
            self.made_by, self.stored = made_by, stored
            return False

    def _evaluate(self, node: Node, args: list[Expr]) -> None:
        if self.outer is not None:
            raise NoCodeError
        targets = [self._new(o) for o in node.outputs]
        self.append(Evaluate(node, [self._still(a) for a in args], targets), *targets)
        for o, t in zip(node.outputs, targets, strict=True):
            self.values[o.index] = load(t)

    def _still(self, x: Expr) -> View:
        """Where `x` lies, copied there if it is a window that moves."""
        view = self.place(x)
        return self.place(self.store(Expr("copy", (x,), x.shape, x.dtype))) if view.steps else view

    def _result(self, a: Array) -> View:
        expr = self.value(a)
        k, self.num_outputs = self.num_outputs, self.num_outputs + 1
        view = expr.view
        if (
            view is not None
            and view.buffer.kind == "work"
            and view.contiguous
            and not view.steps
            and view.buffer.size == a.size
        ):
            view.buffer.kind, view.buffer.index = "output", k
            return view
        target = dense(Buffer("output", k, a.dtype, a.size), a.shape)
        if has_registers(a.dtype):
            self.store(Expr("copy", (expr,), a.shape, a.dtype), target)
        else:
            same = Node(registry["reshape"], (a,), {"shape": a.shape}, ())
            self.append(Evaluate(same, [self.place(expr)], [target]), target)
        return target


CONTROL: dict[str, Callable[[Lowering, Node, list[Expr]], dict[int, Expr]]] = {}  # filled by `control`
MOVES = {"broadcast_to", "permute", "reshape", "slice", "flip"}


def _static(shape: Shape) -> bool:
    return all(isinstance(d, int) for d in shape)


def load(view: View) -> Expr:
    return Expr("load", (), view.shape, view.buffer.dtype, view)


def _uniform(data: np.ndarray) -> bool:
    first = data.flat[0]
    same = bool(np.all(data == first))  # a NaN is not
    return same and (data.dtype.kind != "f" or bool(np.all(np.signbit(data) == np.signbit(first))))


def _size(shape: Shape) -> int:
    n = 1
    for d in shape:
        n *= d
    return n


def _leaves(e: Expr, same: bool, made_by: dict[int, int], leaves: dict[int, bool], seen: set[Any]) -> None:
    """Which statements an expression reads from, and whether only at its own index."""
    if (id(e), same) in seen:
        return
    seen.add((id(e), same))
    if e.view is not None:
        at = made_by.get(id(e.view.buffer))
        if at is not None:
            leaves[at] = leaves.get(at, True) and same and e.view.contiguous
        for position in e.view.positions:  # read before the statement begins
            if (at := made_by.get(id(position.buffer))) is not None:
                leaves[at] = False
    for a in e.args:
        moved = e.op in ("permute", "squeeze", "broadcast") or a.shape != e.shape
        _leaves(a, same and not moved, made_by, leaves, seen)
