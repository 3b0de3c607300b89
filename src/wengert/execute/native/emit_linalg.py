"""Direct methods to LLVM: each matrix is copied to rows of whole vectors in scratch memory, and worked on there.

Elimination subtracts multiples of rows, from the vector on that holds the first element that matters; what lies before
it is not read again. Right sides begin at a vector of their own. The order of the steps is LAPACK's (partial pivoting,
a column without a pivot is passed over), their rounding may differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir

from wengert.execute.native import elementwise
from wengert.execute.native.elementwise import llvm_type
from wengert.execute.native.emit import I1, I32, I64, ZERO, Function
from wengert.execute.native.statements import Direct
from wengert.execute.native.views import View

Number: TypeAlias = ir.Value


class Tile:
    """A matrix in scratch memory: rows of `width` numbers, a whole number of vectors."""

    def __init__(self, f: Function, rows: int, width: int, dtype: np.dtype, lanes: int):
        self.f, self.b, self.width, self.lanes = f, f.b, width, lanes
        self.scalar, self.align = llvm_type(dtype), dtype.itemsize
        self.vector = ir.VectorType(self.scalar, lanes) if lanes > 1 else self.scalar
        self.memory = f.function.args[len(f.windows.views)]
        zero = ir.Constant(self.vector, [ir.Constant(self.scalar, 0.0)] * lanes if lanes > 1 else 0.0)
        f.loop(rows * width, lambda k: self._store(zero, f.b.gep(self.memory, [k])), step=lanes)

    def _at(self, i: Number, j: Number) -> Number:
        return self.b.gep(self.memory, [self.b.add(self.b.mul(i, I64(self.width)), j)])

    def get(self, i: Number, j: Number) -> Number:
        return self.b.load(self._at(i, j))

    def put(self, x: Number, i: Number, j: Number) -> None:
        self.b.store(x, self._at(i, j))

    def row(self, i: Number, j: Number) -> Number:
        """The vector that begins with element `j`."""
        p = self.b.bitcast(self._at(i, j), self.vector.as_pointer())
        return self.b.load(p, align=self.align)

    def put_row(self, x: Number, i: Number, j: Number) -> None:
        self._store(x, self._at(i, j))

    def _store(self, x: Number, p: Number) -> None:
        self.b.store(x, self.b.bitcast(p, self.vector.as_pointer()), align=self.align)

    def splat(self, x: Number) -> Number:
        if self.lanes == 1:
            return x
        v = self.b.insert_element(ir.Constant(self.vector, ir.Undefined), x, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [I32(0)] * self.lanes)
        return self.b.shuffle_vector(v, ir.Constant(self.vector, ir.Undefined), zeros)

    def from_vector(self, j: Number) -> Number:
        """The beginning of the vector that holds element `j`."""
        return self.b.mul(self.b.sdiv(j, I64(self.lanes)), I64(self.lanes)) if self.lanes > 1 else j

    def each(self, start: Number | int, stop: int, step: Callable[[Number], None]) -> None:
        """`step(j)` for the vectors of a row."""
        self.f.loop(stop, step, step=self.lanes, start=start)

    def subtract(self, factor: Number, source: Number, i: Number, start: Number | int, stop: int | None = None) -> None:
        """Row `i` minus `factor` times row `source`, from `start` on."""
        times = self.splat(factor)

        def one(j: Number) -> None:
            self.put_row(self.b.fsub(self.row(i, j), self.b.fmul(times, self.row(source, j), ("contract",)),
                                     ("contract",)), i, j)  # fmt: skip

        self.each(start, self.width if stop is None else stop, one)

    def divide(self, by: Number, i: Number, start: Number | int) -> None:
        """Row `i` over a number, from `start` on."""
        all_ = self.splat(by)
        self.each(start, self.width, lambda j: self.put_row(self.b.fdiv(self.row(i, j), all_), i, j))


class Method:
    """The steps for one matrix of a stack, whose place in it is `index`."""

    def __init__(self, f: Function, s: Direct, index: list[Number]):
        self.f, self.s, self.b, self.index = f, s, f.b, index
        self.views = [a.view for a in s.expr.args]
        self.dtype = s.target.buffer.dtype
        self.scalar = llvm_type(self.dtype)
        self.n = s.expr.args[0].shape[-1]
        self.body = f.body(None, 1)
        self.lanes = 1
        while self.lanes < min(f.lanes, self.n):
            self.lanes *= 2
        self.padded = -(-self.n // self.lanes) * self.lanes

    def tile(self, columns: int) -> Tile:
        """Rows for the matrix and, behind it, so many columns."""
        width = self.padded + -(-columns // self.lanes) * self.lanes
        return Tile(self.f, self.n, width, self.dtype, self.lanes)

    def cell(self, x: Number) -> Number:
        """A variable."""
        with self.b.goto_entry_block():
            place = self.b.alloca(x.type)
        self.b.store(x, place)
        return place

    def number(self, x: float) -> ir.Constant:
        return ir.Constant(self.scalar, x)

    def rows(self, count: int, step: Callable[[Number], None], start: Number | int = 0, back: bool = False) -> None:
        """`step(i)` for rows from `start` on, or from the last one back to the first."""
        last = I64(count - 1)
        self.f.loop(count, (lambda k: step(self.b.sub(last, k))) if back else step, start=start)

    def read(self, view: View | None, t: Tile, at: int = 0, flipped: bool = False) -> None:
        """Copy a matrix into a tile, from column `at` on."""
        assert view is not None
        rows, columns = view.shape[-2:]

        def element(i: Number, j: Number) -> None:
            x = self.body.load(view, [*self.index, i, j])
            to, over = (j, i) if flipped else (i, j)
            t.put(x, to, self.b.add(over, I64(at)))

        self.rows(rows, lambda i: self.rows(columns, lambda j: element(i, j)))

    def write(self, t: Tile, at: int, columns: int) -> None:
        target = self.s.target

        def element(i: Number, j: Number) -> None:
            self.body.store(t.get(i, self.b.add(j, I64(at))), target, [*self.index, i, j])

        self.rows(self.n, lambda i: self.rows(columns, lambda j: element(i, j)))

    # The methods.

    def eliminate(self, t: Tile) -> Number:
        """Bring the matrix to upper triangular form by partial pivoting; a cell with the sign of the permutation."""
        b, f, n = self.b, self.f, self.n
        sign = self.cell(self.number(1.0))
        best, where = self.cell(self.number(0.0)), self.cell(ZERO)

        def size(x: Number) -> Number:
            return elementwise.emit(b, "abs", self.dtype, self.dtype, (), [x])

        def column(k: Number) -> None:
            b.store(size(t.get(k, k)), best)
            b.store(k, where)

            def compare(i: Number) -> None:
                here = size(t.get(i, k))
                larger = b.fcmp_ordered(">", here, b.load(best))
                b.store(b.select(larger, here, b.load(best)), best)
                b.store(b.select(larger, i, b.load(where)), where)

            below = b.add(k, I64(1))
            self.rows(n, compare, below)
            other = b.load(where)
            with b.if_then(b.icmp_signed("!=", other, k)):
                b.store(b.fneg(b.load(sign)), sign)

                def swap(j: Number) -> None:
                    x, y = t.row(k, j), t.row(other, j)
                    t.put_row(y, k, j)
                    t.put_row(x, other, j)

                t.each(t.from_vector(k), t.width, swap)
            pivot = t.get(k, k)
            any_ = b.fcmp_unordered("!=", pivot, self.number(0.0))
            start = t.from_vector(below)

            def lower(i: Number) -> None:
                t.subtract(b.fdiv(t.get(i, k), pivot), k, i, start)

            with b.if_then(any_):
                self.rows(n, lower, below)

        f.loop(n, column)
        return sign

    def substitute(self, t: Tile, upper: bool, unit: bool = False) -> None:
        """Solve the triangular system of the tile for the right sides behind it, in place."""
        b = self.b

        def row(i: Number) -> None:
            if not unit:
                t.divide(t.get(i, i), i, self.padded)

            def other(r: Number) -> None:
                t.subtract(t.get(r, i), i, r, self.padded)

            if upper:
                self.f.loop(i, other)
            else:
                self.rows(self.n, other, b.add(i, I64(1)))

        self.rows(self.n, row, back=upper)

    def solve(self) -> None:
        (a, right), (flipped,) = self.views, self.s.expr.params
        columns = self.s.target.shape[-1]
        t = self.tile(columns)
        self.read(a, t, flipped=flipped)
        self.read(right, t, self.padded)
        self.eliminate(t)
        self.substitute(t, True)
        self.write(t, self.padded, columns)

    linear_solve = solve

    def inv(self) -> None:
        t = self.tile(self.n)
        self.read(self.views[0], t)
        self.rows(self.n, lambda i: t.put(self.number(1.0), i, self.b.add(i, I64(self.padded))))
        self.eliminate(t)
        self.substitute(t, True)
        self.write(t, self.padded, self.n)

    def triangular_solve(self) -> None:
        (a, right), (is_lower, flipped, unit) = self.views, self.s.expr.params
        columns = self.s.target.shape[-1]
        t = self.tile(columns)
        self.read(a, t, flipped=flipped)
        self.read(right, t, self.padded)
        self.substitute(t, is_lower == flipped, unit)
        self.write(t, self.padded, columns)

    def cholesky(self) -> None:
        """`a = uᵀ u` row by row; the result is `uᵀ`, or NaN throughout where a pivot isn't positive."""
        b, n, target = self.b, self.n, self.s.target
        view = self.views[0]
        assert view is not None
        t = self.tile(0)
        good = self.cell(I1(1))
        half = self.number(0.5)

        def read(i: Number, j: Number) -> None:
            x, y = self.body.load(view, [*self.index, i, j]), self.body.load(view, [*self.index, j, i])
            t.put(b.fmul(b.fadd(x, y), half), i, j)

        self.rows(n, lambda i: self.rows(n, lambda j: read(i, j)))

        def row(k: Number) -> None:
            pivot = t.get(k, k)
            b.store(b.and_(b.load(good), b.fcmp_ordered(">", pivot, self.number(0.0))), good)
            root = elementwise.emit(b, "sqrt", self.dtype, self.dtype, (), [pivot])
            t.divide(root, k, t.from_vector(k))
            t.put(root, k, k)
            self.rows(n, lambda i: t.subtract(t.get(k, i), k, i, t.from_vector(i)), b.add(k, I64(1)))

        self.rows(n, row)

        def write(i: Number, j: Number) -> None:
            x = b.select(b.icmp_signed("<=", j, i), t.get(j, i), self.number(0.0))
            self.body.store(b.select(b.load(good), x, self.number(float("nan"))), target, [*self.index, i, j])

        self.rows(n, lambda i: self.rows(n, lambda j: write(i, j)))

    def positive(self, x: Number) -> Number:
        """`x`, a zero without a sign."""
        return self.b.fadd(x, self.number(0.0))

    def det(self) -> None:
        t = self.tile(0)
        self.read(self.views[0], t)
        product = self.eliminate(t)
        self.rows(self.n, lambda i: self.b.store(self.b.fmul(self.b.load(product), t.get(i, i)), product))
        self.body.store(self.positive(self.b.load(product)), self.s.target, self.index)

    def slogdet(self) -> None:
        b = self.b
        t = self.tile(0)
        self.read(self.views[0], t)
        sign, total = self.eliminate(t), self.cell(self.number(0.0))

        def unary(name: str, x: Number) -> Number:
            return elementwise.emit(b, name, self.dtype, self.dtype, (), [x])

        def one(i: Number) -> None:
            x = t.get(i, i)
            b.store(b.fmul(b.load(sign), unary("sign", x)), sign)
            b.store(b.fadd(b.load(total), unary("log", unary("abs", x))), total)

        self.rows(self.n, one)
        for k, x in enumerate((self.positive(b.load(sign)), b.load(total))):
            self.body.store(x, self.s.target, [*self.index, I64(k)])


def emit_direct(f: Function, s: Direct) -> None:
    """The method for every matrix of the stack, or of the part of it that is wanted."""
    stack = s.expr.args[0].shape[:-2]
    index: list[Any] = [ZERO] * len(stack)

    def go(depth: int) -> None:
        if depth == len(stack):
            getattr(Method(f, s, list(index)), s.op)()
            return

        def one(i: Number) -> None:
            index[depth] = i
            go(depth + 1)

        begin, end = f.part() if depth == f.split else (0, stack[depth])
        f.loop(end, one, start=begin)

    go(0)
