"""Statements to LLVM: one function a statement, loops around expressions on vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from llvmlite import ir

from wengert.execute.native import elementwise
from wengert.execute.native.elementwise import llvm_type
from wengert.execute.native.statements import Expr, Nest, Root
from wengert.execute.native.views import View
from wengert.ir.types import Shape

I64, I32, I8, I1 = ir.IntType(64), ir.IntType(32), ir.IntType(8), ir.IntType(1)
LANE = "lane"  # an index that runs along a vector


class Windows:
    """The windows that a function reads and writes: its pointer arguments, in the order met."""

    def __init__(self) -> None:
        self.views: list[View] = []
        self.numbers: dict[int, int] = {}

    def number(self, view: View) -> int:
        if id(view) not in self.numbers:
            self.numbers[id(view)] = len(self.views)
            self.views.append(view)
        return self.numbers[id(view)]


def memory_type(dtype: np.dtype) -> ir.Type:
    return I8 if dtype.kind == "b" else llvm_type(dtype)


class Body:
    """Emits expressions at one index: integers, or `LANE` along the vector axis with `lanes` elements from `start`.

    Of those only the first `valid` exist; the rest is neither read nor written.
    """

    def __init__(
        self,
        b: ir.IRBuilder,
        pointers: Callable[[View], ir.Value],
        start: ir.Value | None,
        lanes: int,
        valid: int | None = None,
    ):
        self.valid = lanes if valid is None else valid
        self.b = b
        self.pointers = pointers
        self.start = start
        self.lanes = lanes
        self.memo: dict[Any, ir.Value] = {}
        self.keep: list[Any] = []  # ids in memo stay valid while what they name lives

    def key(self, e: Expr, index: Sequence[Any]) -> Any:
        # along an axis of one element every index is the same
        return id(e), tuple(0 if d == 1 else i if i is LANE else id(i) for d, i in zip(e.shape, index, strict=True))

    def set(self, e: Expr, index: Sequence[Any], value: ir.Value) -> None:
        self.keep.append(index)
        self.memo[self.key(e, index)] = value

    def at(self, e: Expr, index: Sequence[Any]) -> ir.Value:
        key = self.key(e, index)
        if key not in self.memo:
            self.keep.append(index)
            self.memo[key] = self._at(e, index)
        return self.memo[key]

    def _at(self, e: Expr, index: Sequence[Any]) -> ir.Value:
        if e.op == "load":
            assert e.view is not None
            return self.load(e.view, index)
        if e.op == "number":
            return self.splat(ir.Constant(llvm_type(e.dtype), e.params))
        if e.op == "permute":
            moved: list[Any] = [None] * len(index)
            for k, axis in enumerate(e.params):
                moved[axis] = index[k]
            return self.at(e.args[0], moved)
        if e.op == "squeeze":
            rest = iter([i for d, i in zip(e.shape, index, strict=True) if d != 1])
            return self.at(e.args[0], [ZERO if d == 1 else next(rest) for d in e.args[0].shape])
        if e.op == "gather":
            return self.gathered(e, index)
        args = [self.at(a, aligned(a.shape, index)) for a in e.args]
        if e.op in ("broadcast", "copy"):
            return args[0]
        return self.combine(e, args)

    def gathered(self, e: Expr, index: Sequence[Any]) -> ir.Value:
        """`x[…, position, …]`: the positions, for the axes `e.params`, come first; `index` goes on with the others."""
        x, *positions = e.args
        assert x.view is not None
        lead = len(index) - (len(x.shape) - len(e.params))
        found = [self.at(p, aligned(p.shape, index)) for p in positions]
        if LANE not in index[:lead]:
            return self.load(x.view, self.place(x.view, e.params, [self.uniform(p) for p in found], index[lead:]))
        b = self.b
        result: Any = ir.Constant(ir.VectorType(memory_type(e.dtype), self.lanes), ir.Undefined)
        for k in range(self.valid):
            here = [b.extract_element(p, I32(k)) for p in found]
            p, _ = self.address(x.view, self.place(x.view, e.params, here, index[lead:]))
            result = b.insert_element(result, b.load(p), I32(k))
        return self._from_memory(result, e.dtype)

    def place(self, view: View, axes: Sequence[int], found: Sequence[ir.Value], rest: Sequence[Any]) -> list[Any]:
        """The index with these positions along some axes of a window, and the rest along the others."""
        others = iter(rest)
        at = dict(zip(axes, found, strict=True))
        wide = {k: v if v.type == I64 else self.b.sext(v, I64) for k, v in at.items()}
        return [wide[k] if k in wide else next(others) for k in range(len(view.shape))]

    def uniform(self, x: ir.Value) -> ir.Value:
        """The number that all lanes hold."""
        return self.b.extract_element(x, I32(0)) if isinstance(x.type, ir.VectorType) else x

    def combine(self, e: Expr, args: list[ir.Value]) -> ir.Value:
        return elementwise.emit(self.b, e.op, e.args[-1].dtype, e.dtype, e.params, args)

    def splat(self, x: ir.Value) -> ir.Value:
        if self.lanes == 1:
            return x
        t = ir.VectorType(x.type, self.lanes)
        if isinstance(x, ir.Constant):
            return ir.Constant(t, [x] * self.lanes)
        v = self.b.insert_element(ir.Constant(t, ir.Undefined), x, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [I32(0)] * self.lanes)
        return self.b.shuffle_vector(v, ir.Constant(t, ir.Undefined), zeros)

    def address(self, view: View, index: Sequence[Any]) -> tuple[ir.Value, int]:
        """A pointer to the element (the first one, along a vector), and the stride along the vector."""
        offset: ir.Value | None = None
        along = 0
        for d, stride, i in zip(view.shape, view.strides, index, strict=True):
            if d == 1 or stride == 0:
                continue
            if i is LANE:
                along, i = stride, self.start
            term = i if stride == 1 else self.b.mul(i, I64(stride))
            offset = term if offset is None else self.b.add(offset, term)
        p = self.pointers(view)
        return (p if offset is None else self.b.gep(p, [offset])), along

    def load(self, view: View, index: Sequence[Any]) -> ir.Value:
        b, dtype = self.b, view.buffer.dtype
        p, stride = self.address(view, index)
        if self.lanes == 1:
            return self._from_memory(b.load(p), dtype)
        if stride == 0:
            return self.splat(self._from_memory(b.load(p), dtype))
        if stride == 1:
            return self._from_memory(self.lanes_at(p, dtype, [k < self.valid for k in range(self.lanes)]), dtype)
        x: Any = ir.Constant(ir.VectorType(memory_type(dtype), self.lanes), ir.Undefined)
        for k in range(self.valid):
            x = b.insert_element(x, b.load(b.gep(p, [I64(k * stride)])), I32(k))
        return self._from_memory(x, dtype)

    def lanes_at(self, p: ir.Value, dtype: np.dtype, wanted: Sequence[bool]) -> ir.Value:
        """The vector of memory at `p`; what isn't wanted isn't touched."""
        t = ir.VectorType(memory_type(dtype), self.lanes)
        if all(wanted):
            return self.b.load(self.b.bitcast(p, t.as_pointer()), align=dtype.itemsize)
        mask, zeros = _mask(wanted), ir.Constant(t, [ir.Constant(t.element, 0)] * self.lanes)
        masked = self._masked("load", t, ir.FunctionType(t, [t.element.as_pointer(), I32, mask.type, t]))
        return self.b.call(masked, [self.b.bitcast(p, masked.args[0].type), I32(dtype.itemsize), mask, zeros])

    def shifted(self, low: ir.Value, high: ir.Value, by: int) -> ir.Value:
        """A vector out of two that follow each other: it begins `by` elements after the first."""
        picked = [I32(by + k) for k in range(self.lanes)]
        return self.b.shuffle_vector(low, high, ir.Constant(ir.VectorType(I32, self.lanes), picked))

    def _masked(self, what: str, t: ir.VectorType, kind: ir.FunctionType) -> ir.Function:
        number = {ir.FloatType: "f32", ir.DoubleType: "f64"}.get(type(t.element)) or f"i{t.element.width}"
        name = f"llvm.masked.{what}.v{t.count}{number}.p0"
        return self.b.module.globals.get(name) or ir.Function(self.b.module, kind, name)

    def _from_memory(self, x: ir.Value, dtype: np.dtype) -> ir.Value:
        if dtype.kind != "b":
            return x
        zero = ir.Constant(x.type, [I8(0)] * self.lanes) if isinstance(x.type, ir.VectorType) else I8(0)
        return self.b.icmp_unsigned("!=", x, zero)

    def store(self, value: ir.Value, view: View, index: Sequence[Any]) -> None:
        b, dtype = self.b, view.buffer.dtype
        if dtype.kind == "b":
            value = b.zext(value, ir.VectorType(I8, self.lanes) if self.lanes > 1 else I8)
        p, stride = self.address(view, index)
        if self.lanes == 1:
            b.store(value, p)
        elif stride == 1 and self.valid == self.lanes:
            b.store(value, b.bitcast(p, value.type.as_pointer()), align=dtype.itemsize)
        elif stride == 1:
            t, mask = value.type, _mask([k < self.valid for k in range(self.lanes)])
            masked = self._masked(
                "store", t, ir.FunctionType(ir.VoidType(), [t, t.element.as_pointer(), I32, mask.type])
            )
            b.call(masked, [value, b.bitcast(p, masked.args[1].type), I32(dtype.itemsize), mask])
        else:
            for k in range(self.valid):
                b.store(b.extract_element(value, I32(k)), b.gep(p, [I64(k * stride)]))


ZERO = I64(0)


def _mask(wanted: Sequence[bool]) -> ir.Constant:
    return ir.Constant(ir.VectorType(I1, len(wanted)), [I1(int(w)) for w in wanted])


def aligned(shape: Shape, index: Sequence[Any]) -> list[Any]:
    """The index into an operand of this shape, by the rules of broadcasting."""
    tail = index[len(index) - len(shape) :] if shape else []
    return [ZERO if d == 1 else i for d, i in zip(shape, tail, strict=True)]


@dataclass
class Turn:
    """A loop while its body is emitted: from which block and index it begins, and what its turns hand on."""

    before: ir.Block
    head: ir.Block
    first: ir.Value
    carried: list[tuple[ir.PhiInstr, ir.Value]] = field(default_factory=list)


class Function:
    """One statement's function: pointer arguments for its windows, loops, and bodies.

    With memory of its own, `scratch`, a pointer to that follows. With an axis to `split`, two more arguments say which
    part of it is wanted, `[begin, end)`; along the vector axis, `begin` is a multiple of a vector's elements, so that
    no element is computed otherwise than in one piece.
    """

    split: int | None = None
    turn: Turn | None = None  # the innermost loop whose body is being emitted; None in one that takes a single turn

    def __init__(
        self,
        module: ir.Module,
        name: str,
        windows: Windows,
        lanes: int,
        split: int | None = None,
        scratch: ir.Type | None = None,
    ):
        self.windows = windows
        self.lanes = lanes
        self.split = split
        types: list[ir.Type] = [memory_type(v.buffer.dtype).as_pointer() for v in windows.views]
        types += [scratch.as_pointer()] if scratch is not None else []
        types += [I64, I64] if split is not None else []
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
        self.function.linkage = "internal"
        self.b = ir.IRBuilder(self.function.append_basic_block())

    def pointer(self, view: View) -> ir.Value:
        return self.function.args[self.windows.numbers[id(view)]]

    def body(self, start: ir.Value | None, lanes: int) -> Body:
        return Body(self.b, self.pointer, start, lanes)

    def loop(
        self, count: int | ir.Value, body: Callable[[ir.Value], None], step: int = 1, start: int | ir.Value = 0
    ) -> None:
        """`for i in range(start, count, step)`; `count - start`, if positive, is a multiple of `step`."""
        known = isinstance(count, int) and isinstance(start, int)
        if known and count <= start:  # type: ignore[operator]
            return
        outer = self.turn
        if known and count - start == step:  # type: ignore[operator]
            self.turn = None
            body(I64(start))
            self.turn = outer
            return
        first, last = (I64(x) if isinstance(x, int) else x for x in (start, count))
        b, before = self.b, self.b.block
        block, after = self.function.append_basic_block(), self.function.append_basic_block()
        b.branch(block) if known else b.cbranch(b.icmp_signed("<", first, last), block, after)
        b.position_at_end(block)
        i = b.phi(I64)
        i.add_incoming(first, before)
        self.turn = Turn(before, block, first)
        body(i)
        following = b.add(i, I64(step))
        for phi, value in [(i, following), *self.turn.carried]:
            phi.add_incoming(value, b.block)
        self.turn = outer
        b.cbranch(b.icmp_signed("<", following, last), block, after)
        b.position_at_end(after)

    def part(self) -> tuple[ir.Value, ir.Value]:
        """Begin and end of what is wanted of the split axis."""
        begin, end = self.function.args[-2:]
        return begin, end

    def lanes_of(
        self,
        count: int,
        body: Callable[[ir.Value, int], None],
        part: tuple[ir.Value, ir.Value] | None = None,
        first: Any = None,
    ) -> None:
        """`body(start, lanes)` over an axis, or part of it, from `first`: whole vectors, then single elements."""
        whole = count // self.lanes * self.lanes
        if part is None:
            self.loop(whole, lambda i: body(i, self.lanes), step=self.lanes, start=first or 0)
            self.loop(count, lambda i: body(i, 1), start=whole)
            return
        begin, end = part
        b = self.b
        until = b.select(b.icmp_signed("<", end, I64(whole)), end, I64(whole))
        self.loop(until, lambda i: body(i, self.lanes), step=self.lanes, start=begin if first is None else first)
        if count > whole:
            self.loop(end, lambda i: body(i, 1), start=b.select(b.icmp_signed("<", begin, until), until, begin))

    def nest(
        self,
        shape: Shape,
        vector: int | None,
        leaf: Callable[[Body, list[Any]], None],
        order: Sequence[int] | None = None,
    ) -> None:
        """Loops over every axis, in this order, but the `vector` axis innermost and by vectors."""
        index: list[Any] = [ZERO] * len(shape)
        outer = [k for k in order or range(len(shape)) if shape[k] != 1 and k != vector]

        def go(depth: int) -> None:
            if depth < len(outer):

                def one(i: ir.Value) -> None:
                    index[outer[depth]] = i
                    go(depth + 1)

                begin, end = self.part() if outer[depth] == self.split else (0, shape[outer[depth]])
                self.loop(end, one, start=begin)
            elif vector is None:
                leaf(self.body(None, 1), list(index))
            else:

                def run(start: ir.Value, lanes: int) -> None:
                    index[vector] = start if lanes == 1 else LANE
                    leaf(self.body(start, lanes), list(index))

                self.lanes_of(shape[vector], run, self.part() if vector == self.split else None)

        go(0)


def vector_axis(shape: Shape) -> int | None:
    """The last axis that has more than one element."""
    return next((k for k in reversed(range(len(shape))) if shape[k] != 1), None)


def store_roots(body: Body, roots: Sequence[Root], index: list[Any]) -> None:
    """Evaluate and store each root; later ones read earlier ones from registers."""
    for root in roots:
        value = body.at(root.expr, index)
        body.set(root.loaded, index, value)
        if root.stored:
            body.store(value, root.target, index)


def over_nest(f: Function, nest: Nest, leaf: Callable[[Body, list[Any]], None]) -> None:
    """The loops of a nest, in the order in which its first result lies in memory."""
    strides = next((r.target.strides for r in nest.roots if r.stored), ())
    order = sorted(range(len(strides)), key=lambda k: -strides[k])
    f.nest(nest.shape, vector_axis(nest.shape), leaf, order)


def emit_nest(f: Function, nest: Nest) -> None:
    over_nest(f, nest, lambda body, index: store_roots(body, nest.roots, index))
