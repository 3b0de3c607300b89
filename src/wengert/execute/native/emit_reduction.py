"""Reductions to LLVM: accumulators in registers, whole or in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from wengert.execute.native import elementwise
from wengert.execute.native.elementwise import llvm_type
from wengert.execute.native.emit import I32, I64, LANE, Body, Function, vector_axis
from wengert.execute.native.statements import Reduction

_START = {"sum": 0, "prod": 1}


PARTS = -1  # in place of an axis to split: the parts of a reduction are dealt


def emit_reduction(f: Function, r: Reduction) -> None:
    """Combine over axes, with an accumulator in registers for each kept element or vector of them."""
    if r.parts is None:
        return _reduce(f, r, None, ())
    axis, count, size = r.parts.axis, r.parts.count, r.parts.size

    def one(p: ir.Value) -> None:
        begin, extent = f.b.mul(p, I64(size)), I64(r.expr.shape[axis])
        end = f.b.add(begin, I64(size))
        end = f.b.select(f.b.icmp_signed("<", end, extent), end, extent)
        _reduce(f, r, (begin, end), (p,))

    begin, end = f.part() if f.split == PARTS else (0, count)
    f.loop(end, one, start=begin)


def _reduce(
    f: Function, r: Reduction, part: tuple[ir.Value, ir.Value] | None, place_of_part: tuple[ir.Value, ...]
) -> None:
    b, shape, dtype = f.b, r.expr.shape, r.expr.dtype
    kept = [k for k in range(len(shape)) if k not in r.axes]
    along = vector_axis(shape)
    of_parts = r.parts.axis if r.parts else None
    scalar = llvm_type(dtype)

    def identity() -> Any:
        if r.op in _START:
            return _START[r.op]
        worst = -1 if r.op == "max" else 1
        return (
            worst * float("inf")
            if dtype.kind == "f"
            else (np.iinfo(dtype).min if r.op == "max" else np.iinfo(dtype).max)
        )

    def combine(x: ir.Value, y: ir.Value) -> ir.Value:
        name = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}[r.op]
        return elementwise.emit(b, name, dtype, dtype, (), [x, y])

    def start(lanes: int) -> ir.Constant:
        one = ir.Constant(scalar, identity())
        return one if lanes == 1 else ir.Constant(ir.VectorType(scalar, lanes), [one] * lanes)

    def leaf(outer: Body, index: list[Any]) -> None:
        # cells hold the running results: registers, once LLVM has promoted them
        with b.goto_entry_block():
            wide = b.alloca(start(outer.lanes).type)
            vectors = b.alloca(start(f.lanes).type)
        b.store(start(outer.lanes), wide)
        inner = [k for k in r.axes if shape[k] != 1 and k != along]
        by_vectors = along in r.axes
        if by_vectors:
            b.store(start(f.lanes), vectors)
        place = list(index)

        def go(depth: int) -> None:
            if depth < len(inner):

                def one(i: ir.Value) -> None:
                    place[inner[depth]] = i
                    go(depth + 1)

                first, last = part if part and inner[depth] == of_parts else (0, shape[inner[depth]])
                f.loop(last, one, start=first)
            elif not by_vectors:
                body = f.body(outer.start, outer.lanes)
                b.store(combine(b.load(wide), body.at(r.expr, list(place))), wide)
            else:
                assert along is not None

                def run(first: ir.Value, lanes: int) -> None:
                    place[along] = first if lanes == 1 else LANE
                    cell = wide if lanes == 1 else vectors
                    b.store(combine(b.load(cell), f.body(first, lanes).at(r.expr, list(place))), cell)

                f.lanes_of(shape[along], run, part if along == of_parts else None)

        go(0)
        result = b.load(wide)
        if by_vectors and shape[along] >= f.lanes and f.lanes > 1:  # type: ignore[index]
            v = b.load(vectors)
            n = f.lanes
            while n > 1:  # halves against each other
                n //= 2
                low = ir.Constant(ir.VectorType(I32, n), [I32(k) for k in range(n)])
                high = ir.Constant(ir.VectorType(I32, n), [I32(k + n) for k in range(n)])
                undefined = ir.Constant(v.type, ir.Undefined)
                v = combine(b.shuffle_vector(v, undefined, low), b.shuffle_vector(v, undefined, high))
            result = combine(result, b.extract_element(v, I32(0)))
        outer.store(result, r.target, [*place_of_part, *(index[k] for k in kept)])

    outer_shape = tuple(d if k in kept else 1 for k, d in enumerate(shape))
    f.nest(outer_shape, along if along in kept else None, leaf)
