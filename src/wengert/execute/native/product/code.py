"""The few LLVM phrases that the matrix kernels are made of: vectors, multiply-adds, loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from llvmlite import ir

from wengert.execute.native.product.spec import Target

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
Index: TypeAlias = ir.Value | int


@dataclass(frozen=True)
class Piece:
    """Elements [offset, offset + valid) of a row, held in one vector of `lanes` (a scalar if 1)."""

    offset: int
    lanes: int
    valid: int


class Machine:
    """The vectors of one target for one type of number."""

    def __init__(self, dtype: str, target: Target):
        self.number: ir.Type = ir.FloatType() if dtype == "float32" else ir.DoubleType()
        self.suffix = "f32" if dtype == "float32" else "f64"
        self.itemsize = 4 if dtype == "float32" else 8
        self.vector_bytes = target.vector_bytes
        self.lanes = target.vector_bytes // self.itemsize
        # masked loads and stores of narrower vectors become a branch for every lane
        self.masks = target.vector_bytes >= 32
        self.fma = target.has_fma
        self.registers = target.registers
        self.near = target.caches[0] // 2  # a panel of so many bytes stays in the first-level cache
        self.block = target.caches[1] // 2  # what a block of B may take of the second-level cache

    def pieces(self, count: int) -> tuple[Piece, ...]:
        """`count` elements of a row: whole vectors, then one under a mask, or smaller ones without masks."""
        whole = [Piece(offset, self.lanes, self.lanes) for offset in range(0, count - self.lanes + 1, self.lanes)]
        offset = len(whole) * self.lanes
        rest = count - offset
        if rest and self.masks:
            lanes = 1 << (rest - 1).bit_length()  # a shorter vector is as good and may need no mask
            whole.append(Piece(offset, lanes, rest))
        lanes = self.lanes
        while not self.masks and (rest := count - offset):
            while lanes > rest:
                lanes //= 2
            whole.append(Piece(offset, lanes, lanes))
            offset += lanes
        return tuple(whole)

    def vector(self, lanes: int) -> ir.Type:
        return self.number if lanes == 1 else ir.VectorType(self.number, lanes)

    def zero(self, lanes: int) -> ir.Constant:
        return ir.Constant(self.vector(lanes), 0.0 if lanes == 1 else [ir.Constant(self.number, 0.0)] * lanes)


def mask_of(piece: Piece) -> ir.Constant | None:
    if piece.valid == piece.lanes:
        return None
    bits = [ir.Constant(I1, int(lane < piece.valid)) for lane in range(piece.lanes)]
    return ir.Constant(ir.VectorType(I1, piece.lanes), bits)


class Code:
    """Emits at the builder's place."""

    def __init__(self, builder: ir.IRBuilder, machine: Machine):
        self.b = builder
        self.machine = machine

    # -- integers: those known at compile time are folded

    def add(self, x: Index, y: Index) -> Index:
        if isinstance(x, int) and isinstance(y, int):
            return x + y
        if isinstance(y, int) and y == 0:
            return x
        if isinstance(x, int) and x == 0:
            return y
        return self.b.add(value(x), value(y))

    def mul(self, x: Index, y: Index) -> Index:
        if isinstance(x, int) and isinstance(y, int):
            return x * y
        if (isinstance(x, int) and x == 0) or (isinstance(y, int) and y == 0):
            return 0
        if isinstance(y, int) and y == 1:
            return x
        return self.b.mul(value(x), value(y))

    def least(self, x: Index, y: Index) -> Index:
        if isinstance(x, int) and isinstance(y, int):
            return min(x, y)
        return self.b.select(self.b.icmp_signed("<", value(x), value(y)), value(x), value(y))

    def at(self, pointer: ir.Value, offset: Index) -> ir.Value:
        if isinstance(offset, int) and offset == 0:
            return pointer
        return self.b.gep(pointer, [value(offset)], source_etype=self.machine.number)

    # -- numbers

    def load(self, pointer: ir.Value, piece: Piece, aligned: bool = False) -> ir.Value:
        """The valid lanes from memory, zeros elsewhere."""
        m, kind = self.machine, self.machine.vector(piece.lanes)
        align = piece.lanes * m.itemsize if aligned else m.itemsize
        mask = mask_of(piece)
        if mask is None:
            return self.b.load(pointer, typ=kind, align=align)
        name = f"llvm.masked.load.v{piece.lanes}{m.suffix}.p0"
        return self._intrinsic(name, kind, [pointer, I32(align), mask, m.zero(piece.lanes)])

    def store(self, x: ir.Value, pointer: ir.Value, piece: Piece, aligned: bool = False) -> None:
        m = self.machine
        align = piece.lanes * m.itemsize if aligned else m.itemsize
        mask = mask_of(piece)
        if mask is None:
            self.b.store(x, self.b.bitcast(pointer, x.type.as_pointer()), align=align)
        else:
            name = f"llvm.masked.store.v{piece.lanes}{m.suffix}.p0"
            self._intrinsic(name, ir.VoidType(), [x, pointer, I32(align), mask])

    def load_some(self, pointer: ir.Value, valid: int) -> ir.Value:
        """A whole vector with `valid` elements from memory and zeros elsewhere, with or without masks."""
        m = self.machine
        if valid == m.lanes or m.masks:
            return self.load(pointer, Piece(0, m.lanes, valid))
        x: ir.Value = m.zero(m.lanes)
        for lane in range(valid):
            x = self.b.insert_element(x, self.b.load(self.at(pointer, lane), typ=m.number), I32(lane))
        return x

    def splat(self, pointer: ir.Value, lanes: int) -> ir.Value:
        """The number at `pointer` in every lane."""
        x = self.b.load(pointer, typ=self.machine.number)
        if lanes == 1:
            return x
        undefined = ir.Constant(self.machine.vector(lanes), ir.Undefined)
        v = self.b.insert_element(undefined, x, I32(0))
        return self.shuffle(v, undefined, [0] * lanes)

    def multiply_add(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """`x · y + z`."""
        if not self.machine.fma:
            return self.b.fadd(self.b.fmul(x, y), z)
        lanes = x.type.count if isinstance(x.type, ir.VectorType) else 1
        shape = f"v{lanes}" if lanes > 1 else ""
        return self._intrinsic(f"llvm.fma.{shape}{self.machine.suffix}", x.type, [x, y, z])

    def shuffle(self, x: ir.Value, y: ir.Value, lanes: Sequence[int]) -> ir.Value:
        return self.b.shuffle_vector(x, y, _choice(tuple(lanes)))

    def _intrinsic(self, name: str, result: ir.Type, args: list[ir.Value]) -> ir.Value:
        module = self.b.module
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(result, [a.type for a in args]), name)
        return self.b.call(function, args)

    # -- loops

    def loop(self, start: Index, stop: Index, step: int = 1) -> Iterator[Index]:
        """`for i in code.loop(start, stop): …` emits the body once; one that runs once is no loop."""
        for i, _ in self.fold(start, stop, [], step):
            yield i

    def fold(self, start: Index, stop: Index, carried: list[ir.Value], step: int = 1) -> Iterator[tuple[Index, list]]:
        """A loop that carries values: the body overwrites them in the list, which holds the last ones afterwards."""
        if isinstance(start, int) and isinstance(stop, int) and stop - start <= step:
            if stop > start:
                yield start, carried
            return
        b, before = self.b, self.b.block
        body = b.append_basic_block()
        if isinstance(start, int) and isinstance(stop, int):
            after = b.append_basic_block()
            b.branch(body)
        else:  # it may not run at all
            after = b.append_basic_block()
            b.cbranch(b.icmp_signed("<", value(start), value(stop)), body, after)
        b.position_at_end(body)
        i = b.phi(I64)
        i.add_incoming(value(start), before)
        phis = [b.phi(x.type) for x in carried]
        initial = list(carried)
        for phi, x in zip(phis, initial, strict=True):
            phi.add_incoming(x, before)
        carried[:] = phis
        yield i, carried
        following = b.add(i, I64(step))
        i.add_incoming(following, b.block)
        for phi, x in zip(phis, carried, strict=True):
            phi.add_incoming(x, b.block)
        last = b.block
        b.cbranch(b.icmp_signed("<", following, value(stop)), body, after)
        b.position_at_end(after)
        if not (isinstance(start, int) and isinstance(stop, int)):
            joined = [b.phi(x.type) for x in initial]
            for phi, x, y in zip(joined, initial, list(carried), strict=True):
                phi.add_incoming(x, before)
                phi.add_incoming(y, last)
            carried[:] = joined


@cache
def _choice(lanes: tuple[int, ...]) -> ir.Constant:
    """Kept, because llvmlite keeps the text of a constant with it."""
    return ir.Constant(ir.VectorType(I32, len(lanes)), [I32(lane) for lane in lanes])


def value(x: Index) -> ir.Value:
    return I64(x) if isinstance(x, int) else x
