"""Expressions of loops over few numbers, where each operation waits for the last: what is ready last goes last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from wengert.execute.native.elementwise import intrinsic
from wengert.execute.native.emit import I32, I64, LANE, Body
from wengert.execute.native.statements import Expr
from wengert.execute.native.views import View

WAITS = {"fmul": 4, "fadd": 3, "fsub": 3, "fdiv": 13, "call": 4}  # cycles, about


class Prompt(Body):
    """Fuses, of two products that are added, the one that is ready later: `x²·x + a·x` waits for one product less.

    Left to itself, LLVM takes whichever stands first.
    """

    def __init__(
        self, b: ir.IRBuilder, pointers: Callable[[View], ir.Value], start: ir.Value | None, lanes: int, has_fma: bool
    ):
        super().__init__(b, pointers, start, lanes)
        self.has_fma = has_fma
        self.ready: dict[int, int] = {}  # when a value is there, in cycles from the first

    def combine(self, e: Expr, args: list[ir.Value]) -> ir.Value:
        if e.op not in ("add", "subtract") or not self.has_fma or not all(_is_product(a) for a in args):
            return super().combine(e, args)
        x, y = args
        b, minus = self.b, e.op == "subtract"
        if self._ready(x) >= self._ready(y):
            return intrinsic(b, "fma", *x.operands, b.fneg(y) if minus else y)
        first, second = y.operands
        return intrinsic(b, "fma", b.fneg(first) if minus else first, second, x)

    def load(self, view: View, index: Sequence[Any]) -> ir.Value:
        """A window onto memory of the block's own, from vectors as they are stored, so that these stay in registers."""
        at, along = self._known_place(view, index)
        if along != 1 or at is None or at % self.lanes == 0:
            return super().load(view, index)
        rest, b = at % self.lanes, self.b
        p, _ = self.address(view, index)
        parts = [
            self.lanes_at(b.gep(p, [I64(k)]), view.buffer.dtype, [True] * self.lanes)
            for k in (-rest, self.lanes - rest)
        ]
        picked = ir.Constant(ir.VectorType(I32, self.lanes), [I32(rest + k) for k in range(self.lanes)])
        return self._from_memory(b.shuffle_vector(*parts, picked), view.buffer.dtype)

    def _known_place(self, view: View, index: Sequence[Any]) -> tuple[int | None, int]:
        """The element of its buffer where a vector begins, if that is known here, and the stride along the vector."""
        at, along = view.offset, 0
        if self.lanes == 1 or self.valid != self.lanes or view.buffer.kind != "local" or view.steps:
            return None, 0
        for d, stride, i in zip(view.shape, view.strides, index, strict=True):
            if d == 1 or stride == 0:
                continue
            if i is LANE:
                along, i = stride, self.start
            if not isinstance(i, ir.Constant):
                return None, 0
            at += stride * i.constant
        return at, along

    def _ready(self, value: Any) -> int:
        if id(value) not in self.ready:
            self.keep.append(value)
            wait = WAITS.get(getattr(value, "opname", ""), 0)
            before = max((self._ready(v) for v in value.operands), default=0) if wait else 0
            self.ready[id(value)] = before + wait
        return self.ready[id(value)]


def _is_product(value: ir.Value) -> bool:
    return getattr(value, "opname", "") == "fmul"
