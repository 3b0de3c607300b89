"""Expressions of loops over few numbers, where each operation waits for the last: what is ready last goes last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from wengert.execute.native.elementwise import intrinsic
from wengert.execute.native.emit import Body
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

    def _ready(self, value: Any) -> int:
        if id(value) not in self.ready:
            self.keep.append(value)
            wait = WAITS.get(getattr(value, "opname", ""), 0)
            before = max((self._ready(v) for v in value.operands), default=0) if wait else 0
            self.ready[id(value)] = before + wait
        return self.ready[id(value)]


def _is_product(value: ir.Value) -> bool:
    return getattr(value, "opname", "") == "fmul"
