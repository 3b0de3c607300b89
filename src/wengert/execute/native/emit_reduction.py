"""Reductions to LLVM: accumulators in registers, whole or in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from wengert.execute.native import elementwise
from wengert.execute.native.elementwise import llvm_type
from wengert.execute.native.emit import I32, I64, LANE, Body, Function, vector_axis
from wengert.execute.native.statements import Expr, Reduction

_START = {"sum": 0, "prod": 1}
CHAINS = 4  # running results: each addition or comparison waits for the last one
SHALLOW = 8  # steps of an expression that is written out that often


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

    def combine(x: ir.Value, y: ir.Value) -> ir.Value:
        name = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}[r.op]
        return elementwise.emit(b, name, dtype, dtype, (), [x, y])

    def start(lanes: int) -> ir.Constant:
        one = ir.Constant(scalar, identity(r.op, dtype))
        return one if lanes == 1 else ir.Constant(ir.VectorType(scalar, lanes), [one] * lanes)

    def splits(extent: int) -> bool:
        if r.op == "prod" or along not in r.axes or f.lanes == 1 or extent < CHAINS * f.lanes:
            return False
        return r.expr.depth <= SHALLOW and not _dear(r.expr)

    def leaf(outer: Body, index: list[Any]) -> None:
        # cells hold the running results: registers, once LLVM has promoted them
        with b.goto_entry_block():
            wide = b.alloca(start(outer.lanes).type)
            chains = CHAINS if along is not None and splits(shape[along]) else 1
            vectors = [b.alloca(start(f.lanes).type) for _ in range(chains)]
        b.store(start(outer.lanes), wide)
        inner = [k for k in r.axes if shape[k] != 1 and k != along]
        by_vectors = along in r.axes
        if by_vectors:
            for cell in vectors:
                b.store(start(f.lanes), cell)
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

                def run(first: ir.Value, lanes: int, chain: int = 0) -> None:
                    place[along] = first if lanes == 1 else LANE
                    cell = wide if lanes == 1 else vectors[chain]
                    b.store(combine(b.load(cell), f.body(first, lanes).at(r.expr, list(place))), cell)

                own = part if along == of_parts else None
                start_at: Any = own[0] if own else 0
                if len(vectors) > 1:
                    start_at = _by_chains(f, shape[along], run, own)
                f.lanes_of(shape[along], run, own, start_at)

        go(0)
        result = b.load(wide)
        if by_vectors and shape[along] >= f.lanes and f.lanes > 1:  # type: ignore[index]
            v = b.load(vectors[0])
            for cell in vectors[1:]:
                v = combine(v, b.load(cell))
            result = combine(result, across(b, v, combine))
        outer.store(result, r.target, [*place_of_part, *(index[k] for k in kept)])

    outer_shape = tuple(d if k in kept else 1 for k, d in enumerate(shape))
    f.nest(outer_shape, along if along in kept else None, leaf)


def identity(op: str, dtype: np.dtype) -> Any:
    """What a reduction begins with."""
    if op in _START:
        return _START[op]
    if dtype.kind == "f":
        return float("-inf") if op == "max" else float("inf")
    return np.iinfo(dtype).min if op == "max" else np.iinfo(dtype).max


def across(b: ir.IRBuilder, v: ir.Value, combine: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Value:
    """The elements of a vector combined: halves against each other."""
    n = v.type.count
    while n > 1:
        n //= 2
        low = ir.Constant(ir.VectorType(I32, n), [I32(k) for k in range(n)])
        high = ir.Constant(ir.VectorType(I32, n), [I32(k + n) for k in range(n)])
        undefined = ir.Constant(v.type, ir.Undefined)
        v = combine(b.shuffle_vector(v, undefined, low), b.shuffle_vector(v, undefined, high))
    return b.extract_element(v, I32(0))


def _dear(expr: Expr) -> bool:
    return elementwise.is_dear(expr.op) or any(_dear(a) for a in expr.args)


def _by_chains(f: Function, count: int, run: Any, part: tuple[ir.Value, ir.Value] | None) -> Any:
    """Most of an axis or a part of it, by as many vectors at a time as there are chains; returns how far it came."""
    b, step = f.b, CHAINS * f.lanes

    def several(i: ir.Value) -> None:
        for k in range(CHAINS):
            run(b.add(i, I64(k * f.lanes)), f.lanes, k)

    if part is None:
        f.loop(count // step * step, several, step=step)
        return count // step * step
    begin, end = part
    whole = I64(count // f.lanes * f.lanes)
    until = b.select(b.icmp_signed("<", end, whole), end, whole)
    span = b.select(b.icmp_signed("<", begin, until), b.sub(until, begin), I64(0))
    reached = b.add(begin, b.mul(b.sdiv(span, I64(step)), I64(step)))
    f.loop(reached, several, step=step, start=begin)
    return reached
