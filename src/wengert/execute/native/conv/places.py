"""Finished outputs on their way out: from rows of channels to rows of places, then to the epilogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from wengert.execute.native.conv.gather import spans
from wengert.execute.native.product.code import I64, Code, Index, mask_of, value
from wengert.execute.native.product.pack import turn_function
from wengert.execute.native.product.tile import whole

# epilogue(builder, vector, index up to the last axis, start along it, lanes, mask, extra arguments)
Epilogue = Callable[[ir.IRBuilder, ir.Value, list[ir.Value], ir.Value, int, "ir.Value | None", Sequence[ir.Value]], Any]


class Finish:
    """Hands finished sums to the epilogue, each once; its code is emitted in a loop, so a few times only."""

    def __init__(self, code: Code, epilogue: Epilogue, extra: Sequence[ir.Value]):
        self.code, self.epilogue, self.extra = code, epilogue, extra
        lanes = code.machine.lanes
        with code.b.goto_entry_block():
            square = code.b.alloca(ir.ArrayType(code.machine.number, lanes * lanes))
        square.align = 64
        self.square = code.b.bitcast(square, code.machine.number.as_pointer())

    def row(self, sums: ir.Value, count: int, channels: int, first: Index, index: tuple[Index, Index, Index]) -> None:
        """A row of places, `round_up(channels, lanes)` sums each: `[i, first + c, d, h, :]` with `index` = i, d, h."""
        code = self.code
        lanes = code.machine.lanes
        step = -(-channels // lanes) * lanes
        i, d, h = map(value, index)
        for w, valid in spans(code, count, lanes):
            turn = turn_function(code.b.module, code.machine, valid, lanes)
            for c in code.loop(0, channels, lanes):
                source = code.at(sums, code.add(code.mul(w, step), c))
                code.b.call(turn, [source, I64(step), self.square, I64(lanes)])
                for r in code.loop(0, code.least(lanes, code.add(channels, code.mul(c, -1)))):
                    at = value(code.add(first, code.add(c, r)))
                    self.hand_over(code.at(self.square, code.mul(r, lanes)), [i, at, d, h], w, valid)

    def hand_over(self, sums: ir.Value, index: list[ir.Value], start: Index, count: int) -> None:
        code = self.code
        for p in code.machine.pieces(count):
            x = code.load(code.at(sums, p.offset), whole(p))
            self.epilogue(code.b, x, index, value(code.add(start, p.offset)), p.lanes, mask_of(p), self.extra)
