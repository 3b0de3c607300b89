"""Graph to statements: what is computed where, and what is only an expression inside something else."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.execute.native.elementwise import has_code, has_registers, is_dear
from wengert.execute.native.merging import merged, merges
from wengert.execute.native.statements import Evaluate, Expr, Nest, Product, Program, Root, Statement
from wengert.execute.native.target import Target
from wengert.execute.native.views import Buffer, Store, View, dense
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node
from wengert.ir.primitive import registry
from wengert.ir.types import Shape
from wengert.ops.elementwise import Elementwise
from wengert.passes.cse import place_of

MOST_ROOTS = 12  # of one nest: beyond, registers spill
MOST_NUMBERS = 40  # the same for single numbers: a loop's body in one piece lets LLVM choose what to spill
SHORT_ROW = 96  # elements: see `rows`
DEEPEST = 40  # an expression this deep is cut by storing it


def lower(graph: Graph, target: Target) -> Program:
    """The statements that compute the outputs of `graph`."""
    return Lowering(graph, target).program()


class NoCodeError(Exception):
    """A step has no code for these operands, or one inside a loop or a branch; the whole is left to NumPy."""


class Lowering:
    def __init__(self, graph: Graph, target: Target, outer: Lowering | None = None):
        self.graph = graph
        self.target = target
        self.outer = outer  # set for the body of a loop or a branch
        self.changing: set[int] | None = None  # set for the body of a loop: the buffers, by id, that hold its carry
        self.orderly: dict[Any, tuple[View, View]] = {}  # windows and their copies, see `in_order`
        self.circles: dict[Any, tuple[View, View]] = {}  # windows, and copies that go on at both ends
        self.written: dict[int, Expr] = {}  # by id, what was written at positions of a copy
        self.carries: dict[int, Buffer] = {}  # of loops, the small ones, by id: see `_result`
        self.values: dict[int, Expr] = {}  # what each Var is
        self.statements: list[Statement] = []
        self.made_by: dict[int, int] = {}  # id of a buffer -> its statement
        self.by_shape: dict[Shape, list[int]] = {}  # the loop nests and products among the first `sorted_in` statements
        self.sorted_in = 0
        self.constants: list[np.ndarray] = outer.constants if outer else []
        self.known_constants: dict[Any, Expr] = outer.known_constants if outer else {}
        self.stores: list[Store] = outer.stores if outer else []
        self.stored: dict[int, Expr] = {}  # id of an expression -> its load, once it has a place
        self.alive: list[Expr] = []  # those expressions: an id means something only as long as its object lives
        self.uses = _uses(graph)
        self.orders = _orders(graph)
        self.num_outputs = 0
        for k, var in enumerate(graph.inputs if outer is None else ()):
            self.values[var.index] = load(dense(Buffer("input", k, var.dtype, var.size), var.shape))

    def program(self) -> Program:
        for node in self.graph.nodes:
            self.node(node)
        results = [self._result(a) for a in self.graph.outputs]
        return Program(self.statements, results, self.constants, len(self.stores))

    def steps_of(self, graph: Graph, args: Sequence[Expr]) -> list[Expr]:
        """The outputs of another graph, applied to these values among the statements of this one."""
        mine = self.graph, self.values, self.uses, self.orders
        self.graph, self.uses, self.orders, self.written = graph, _uses(graph), _orders(graph), {}
        self.values = {v.index: a for v, a in zip(graph.inputs, args, strict=True)}
        try:
            for node in graph.nodes:
                self.node(node)
            return [self.value(a) for a in graph.outputs]
        finally:
            self.graph, self.values, self.uses, self.orders = mine
            self.written = {}

    # Values

    def value(self, a: Array) -> Expr:
        if a.trace is self.graph.trace:
            return self.values[a.index]
        known = self.known_constants.get(id(a))
        if known is None:
            place = place_of(a.data)  # another array may show the same memory
            known = self.known_constants.get(place) or self._constant(np.asarray(a.data))
            self.known_constants[place] = self.known_constants[id(a)] = known
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
        types = [a.dtype for a in args]
        if name in CONTROL and self._control(node, args):
            return None
        coded = (
            all(has_registers(a.dtype) for a in (*args, *node.outputs))
            and all(is_static(a.shape) for a in (*args, *node.outputs))
            and not any(a.view is not None and a.view.buffer.kind == "loose" for a in args)
        )
        if coded and isinstance(node.primitive, Elementwise) and has_code(name, types):
            return self._elementwise(node, args)
        if coded and name in LOWERINGS:
            try:
                self.values.update(LOWERINGS[name](self, node, args))
                return None
            except NoCodeError:
                pass
        return self._evaluate(node, args)

    def _elementwise(self, node: Node, args: list[Expr]) -> None:
        out = node.outputs[0]
        args = [self.stored.get(id(a), a) for a in args]  # what lies in memory by now is read, not computed anew
        params = tuple(sorted((k, v) for k, v in node.params.items() if k not in ("dtype", "weak")))
        expr = Expr(node.primitive.name, tuple(args), out.shape, out.dtype, params=params)
        shared = self.uses[out.index] > 1 and (is_dear(node.primitive.name) or expr.depth > 4)
        stored = shared or expr.depth > DEEPEST
        self.values[out.index] = self.store(expr, self.ordered(expr, self.orders.get(out.index))) if stored else expr

    # Statements

    def place(self, x: Expr) -> View:
        """Where `x` lies; it is stored if it lies nowhere."""
        view = x.view if x.view is not None else self.store(x).view
        assert view is not None
        return view

    def ordered(self, expr: Expr, order: tuple[int, ...] | None) -> View | None:
        """A place for an expression whose axes lie in another order in memory."""
        if order is None:
            return None
        shape = tuple(expr.shape[k] for k in order)
        whole = dense(Buffer("work", -1, expr.dtype, elements(shape)), shape)
        return whole.permuted(tuple(order.index(k) for k in range(len(order))))

    def store(self, expr: Expr, target: View | None = None) -> Expr:
        """Give an expression a place: as a root of an earlier loop over the same indices, or of a new one."""
        if target is None:
            if id(expr) in self.stored:
                return self.stored[id(expr)]
            target = dense(Buffer("work", -1, expr.dtype, elements(expr.shape)), expr.shape)
        loaded = load(target)
        self.stored[id(expr)] = loaded
        self.alive.append(expr)
        leaves: dict[int, bool] = {}  # statement -> whether all its values are read at the root's own index
        _leaves(expr, True, self.made_by, leaves, set())
        at = self._merge(expr, target, leaves)
        if at is None:
            root = Root(expr, target, loaded)
            at = self._host(expr, leaves)
            if at is None:
                self.statements.append(Nest(expr.shape, [root]))
                at = len(self.statements) - 1
            else:
                self.statements[at].roots.append(root)  # type: ignore[union-attr]
        self.made_by[id(target.buffer)] = at
        return loaded

    def _merge(self, expr: Expr, target: View, leaves: dict[int, bool]) -> int | None:
        """Make an expression a root of the product that it reads from, where that has merged axes into its rows."""
        at = max(leaves, default=0)
        host = self.statements[at] if leaves.get(at, False) else None
        if not isinstance(host, Product) or not merges(expr.shape, host) or len(host.roots) >= MOST_ROOTS:
            return None
        over = merged(expr, host, expr.shape, {id(r.target.buffer): r.loaded for r in host.roots}, {})
        place = target.reshaped(host.shape)
        if over is None or place is None:
            return None
        host.roots.append(Root(over, place, load(place)))
        return at

    def _host(self, expr: Expr, leaves: dict[int, bool]) -> int | None:
        for at, host in enumerate(self.statements[self.sorted_in :], self.sorted_in):
            if isinstance(host, (Nest, Product)):
                self.by_shape.setdefault(host.shape, []).append(at)
        self.sorted_in = len(self.statements)
        alike = self.by_shape.get(expr.shape, [])
        most = MOST_ROOTS if elements(expr.shape) > 1 else MOST_NUMBERS
        for k in range(bisect_left(alike, max(leaves, default=0)), len(alike)):
            at = alike[k]
            if len(self.statements[at].roots) < most and leaves.get(at, True):  # type: ignore[union-attr]
                return at
        return None

    def renumbered(self) -> None:
        """Statements were taken out or put in between."""
        self.by_shape, self.sorted_in = {}, 0

    def append(self, statement: Statement, *targets: View) -> None:
        self.statements.append(statement)
        for t in targets:
            self.made_by[id(t.buffer)] = len(self.statements) - 1

    def made(self, view: View) -> Expr:
        """How to read a window: where it is what a loop stores, from that loop's registers if possible."""
        at = self.made_by.get(id(view.buffer))
        for r in getattr(self.statements[at], "roots", ()) if at is not None else ():
            if r.target.buffer is view.buffer and r.target.shape == view.shape and view.contiguous and not view.offset:
                return r.loaded
        return load(view)

    def new(self, a: Array) -> View:
        if not is_static(a.shape):  # its size is known when the program runs
            return View(Buffer("loose", len(self.statements), a.dtype, 0), a.shape, (0,) * a.ndim)
        return dense(Buffer("work", -1, a.dtype, a.size), a.shape)

    def copy(self, value: Expr, target: View) -> None:
        """`value` at `target`, after everything so far: for windows of a buffer that others also write to."""
        copied = Expr("copy", (value,), target.shape, target.buffer.dtype)
        self.append(Nest(target.shape, [Root(copied, target, load(target))]), target)

    def in_order(self, view: View) -> View:
        """The window, or a dense copy of it if that need not be made again in each turn of the loops around."""
        at = self
        fixed = not view.steps
        while fixed and at.changing is not None and at.outer is not None:
            if id(view.buffer) in at.made_by or id(view.buffer) in at.changing:
                break
            at = at.outer
        if at is self or view.contiguous:
            return view
        key = id(view.buffer), view.offset, view.shape, view.strides
        if key not in at.orderly:
            copied = at.place(at.store(Expr("copy", (load(view),), view.shape, view.buffer.dtype)))
            at.orderly[key] = view, copied
        return at.orderly[key][1]

    def put(self, value: Expr, target: View) -> None:
        """`value` at `target`, a window that nothing reads yet: computed there, unless it lies elsewhere already."""
        if value.view is None and id(value) not in self.stored:
            self.store(value, target)
        else:
            self.copy(load(self.place(value)), target)

    def _control(self, node: Node, args: list[Expr]) -> bool:
        """Loops and branches as statements; False where a step inside has no code."""
        statements, roots = len(self.statements), [len(getattr(s, "roots", ())) for s in self.statements]
        made_by, stored, orderly = dict(self.made_by), dict(self.stored), dict(self.orderly)
        try:
            self.values.update(CONTROL[node.primitive.name](self, node, args))
            return True
        except NoCodeError:
            del self.statements[statements:]
            self.renumbered()
            for s, n in zip(self.statements, roots, strict=True):
                if isinstance(s, (Nest, Product)):
                    del s.roots[n:]
            self.made_by, self.stored, self.orderly = made_by, stored, orderly
            return False

    def _evaluate(self, node: Node, args: list[Expr]) -> None:
        inside = self.outer is not None
        if inside and not all(
            is_static(a.shape) and has_registers(a.dtype) and elements(a.shape) for a in (*args, *node.outputs)
        ):
            raise NoCodeError
        targets = [self.new(o) for o in node.outputs]
        operands = [self.place(a) if inside else self._still(a) for a in args]
        self.append(Evaluate(node, operands, targets), *targets)
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
            and id(view.buffer) not in self.carries  # in the workspace they begin on a cache line
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


# What the outputs of a step become, by the primitive's name; each family's file fills in its own. One that can't, for
# some operands, raises NoCodeError before it adds any statement. Operands have static shapes and types with registers.
LOWERINGS: dict[str, Callable[[Lowering, Node, list[Expr]], dict[int, Expr]]] = {}
# The same for loops and branches, which see any operand and may give up at any time.
CONTROL: dict[str, Callable[[Lowering, Node, list[Expr]], dict[int, Expr]]] = {}


def _uses(graph: Graph) -> list[int]:
    """How many steps read each value of the graph, and how many outputs are it."""
    uses = [0] * graph.size
    for arrays in (*(node.inputs for node in graph.nodes), *((a,) for a in graph.outputs)):
        for index in {a.index for a in arrays if a.trace is graph.trace}:  # type: ignore[attr-defined]
            uses[index] += 1
    return uses


def _orders(graph: Graph) -> dict[int, tuple[int, ...]]:
    """How the axes of a product's operands had better lie: matrix by matrix, where the batch is not in front."""
    found: dict[int, tuple[int, ...]] = {}
    for node in graph.nodes:
        if node.primitive.name == "dot_general":
            for a, batch in zip(node.inputs, node.params["batch"], strict=True):
                if a.trace is graph.trace and (order := matrices_first(a.shape, batch)) is not None:
                    found.setdefault(a.index, order)  # type: ignore[attr-defined]
    return found


def matrices_first(shape: Shape, batch: Sequence[int]) -> tuple[int, ...] | None:
    """The axes with the batch in front; None where it stands there, where the last axis would not be the last, or where
    rows are so short that they are better gone through row by row.
    """
    rank = len(shape)
    order = (*batch, *(k for k in range(rank) if k not in batch))
    fits = batch and order != tuple(range(rank)) and order[-1] == rank - 1
    return order if fits and is_static(shape) and elements(shape[1:]) > SHORT_ROW else None


def is_static(shape: Shape) -> bool:
    return all(isinstance(d, int) for d in shape)


def load(view: View) -> Expr:
    return Expr("load", (), view.shape, view.buffer.dtype, view)


def _uniform(data: np.ndarray) -> bool:
    first = data.flat[0]
    same = bool(np.all(data == first))  # a NaN is not
    return same and (data.dtype.kind != "f" or bool(np.all(np.signbit(data) == np.signbit(first))))


def elements(shape: Shape) -> int:
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
            leaves[at] = leaves.get(at, True) and same and e.view.contiguous and e.view.offset == 0
        for position in e.view.positions:  # read before the statement begins
            if (at := made_by.get(id(position.buffer))) is not None:
                leaves[at] = False
    for a in e.args:
        moved = e.op in ("permute", "squeeze", "broadcast", "gather") or a.shape != e.shape
        _leaves(a, same and not moved, made_by, leaves, seen)
