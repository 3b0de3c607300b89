"""Formulas written on LLVM values: `Lanes` has Python's operators, so that a function reads like its mathematics.

A `Lanes` is a scalar or a vector of floats, integers of the same width, or truth values. Nothing is reassociated and
nothing is contracted but the `fma` that is written out, so every lane gets the same result, whatever the width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from wengert.execute.native.vmath import tables
from wengert.execute.native.vmath.constants import bits_of


@dataclass(frozen=True)
class Format:
    """A binary floating-point type: its width, the digits of its fraction, and the bias of its exponent."""

    width: int
    fraction: int
    bias: int

    @property
    def digits(self) -> int:
        return self.fraction + 1

    @property
    def float_type(self) -> ir.Type:
        return ir.FloatType() if self.width == 32 else ir.DoubleType()

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)


SINGLE = Format(32, 23, 127)
DOUBLE = Format(64, 52, 1023)
FORMATS = {32: SINGLE, 64: DOUBLE}


class Code:
    """Where instructions go, and the type that is computed with.

    `has_fma`: whether a fused multiply-add is an instruction. `digits`: how many the result needs; fewer than the type
    has where a float32 is computed in float64.
    """

    def __init__(self, builder: ir.IRBuilder, width: int, count: int | None, has_fma: bool, digits: int | None = None):
        self.builder = builder
        self.format = FORMATS[width]
        self.count = count
        self.has_fma = has_fma
        self.digits = digits or self.format.digits
        self._known: dict[Any, Lanes] = {}

    @property
    def table(self) -> Mapping[str, Sequence[float]]:
        if self.format is SINGLE:
            return tables.SINGLE
        return tables.WIDE if self.digits <= SINGLE.digits else tables.DOUBLE

    def type(self, kind: str) -> ir.Type:
        element = {"f": self.format.float_type, "i": ir.IntType(self.format.width), "b": ir.IntType(1)}[kind]
        return element if self.count is None else ir.VectorType(element, self.count)

    def constant(self, number: float | int, kind: str = "f") -> Lanes:
        key = (kind, repr(number))
        if key not in self._known:
            t = self.type(kind)
            value = float(number) if kind == "f" else int(number)
            constant = ir.Constant(t, value if self.count is None else [ir.Constant(t.element, value)] * self.count)
            self._known[key] = Lanes(self, constant, kind)
        return self._known[key]

    def intrinsic(self, name: str, *args: Lanes) -> Lanes:
        t = args[0].value.type
        full = f"llvm.{name}.{'' if self.count is None else f'v{self.count}'}f{self.format.width}"
        module = self.builder.module
        function = module.globals.get(full) or ir.Function(module, ir.FunctionType(t, [t] * len(args)), full)
        return Lanes(self, self.builder.call(function, [a.value for a in args]), "f")

    def widened(self) -> Code:
        """The same for float64 in place of float32, with float32's precision."""
        return Code(self.builder, 64, self.count, self.has_fma, self.digits)


class Lanes:
    """A value of kind `f` (float), `i` (integer of the same width) or `b` (truth), with operators."""

    __slots__ = ("code", "kind", "value")

    def __init__(self, code: Code, value: ir.Value, kind: str = "f"):
        self.code = code
        self.value = value
        self.kind = kind

    def like(self, other: Any) -> Lanes:
        return other if isinstance(other, Lanes) else self.code.constant(other, self.kind)

    def _binary(self, names: dict[str, str], other: Any, swapped: bool = False) -> Lanes:
        a, b = (self.like(other), self) if swapped else (self, self.like(other))
        return Lanes(self.code, getattr(self.code.builder, names[self.kind])(a.value, b.value), self.kind)

    def __add__(self, other: Any) -> Lanes:
        return self._binary({"f": "fadd", "i": "add"}, other)

    def __sub__(self, other: Any) -> Lanes:
        return self._binary({"f": "fsub", "i": "sub"}, other)

    def __rsub__(self, other: Any) -> Lanes:
        return self._binary({"f": "fsub", "i": "sub"}, other, swapped=True)

    def __mul__(self, other: Any) -> Lanes:
        return self._binary({"f": "fmul", "i": "mul"}, other)

    def __truediv__(self, other: Any) -> Lanes:
        return self._binary({"f": "fdiv"}, other)

    def __rtruediv__(self, other: Any) -> Lanes:
        return self._binary({"f": "fdiv"}, other, swapped=True)

    def __and__(self, other: Any) -> Lanes:
        return self._binary({"i": "and_", "b": "and_"}, other)

    def __or__(self, other: Any) -> Lanes:
        return self._binary({"i": "or_", "b": "or_"}, other)

    def __xor__(self, other: Any) -> Lanes:
        return self._binary({"i": "xor", "b": "xor"}, other)

    def __lshift__(self, other: int) -> Lanes:
        return self._binary({"i": "shl"}, other)

    def __rshift__(self, other: int) -> Lanes:
        return self._binary({"i": "lshr"}, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Lanes:
        return Lanes(self.code, self.code.builder.fneg(self.value)) if self.kind == "f" else 0 - self

    def __invert__(self) -> Lanes:
        return Lanes(self.code, self.code.builder.not_(self.value), self.kind)

    def __abs__(self) -> Lanes:
        return self.code.intrinsic("fabs", self)

    def _compare(self, sign: str, other: Any) -> Lanes:
        b = self.code.builder
        compare = b.fcmp_ordered if self.kind == "f" else b.icmp_signed
        return Lanes(self.code, compare(sign, self.value, self.like(other).value), "b")

    def __lt__(self, other: Any) -> Lanes:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Lanes:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Lanes:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Lanes:
        return self._compare(">=", other)

    def equals(self, other: Any) -> Lanes:
        return self._compare("==", other)

    def is_nan(self) -> Lanes:
        return Lanes(self.code, self.code.builder.fcmp_unordered("uno", self.value, self.value), "b")

    @property
    def bits(self) -> Lanes:
        """The representation, as integers."""
        return Lanes(self.code, self.code.builder.bitcast(self.value, self.code.type("i")), "i")

    @property
    def as_float(self) -> Lanes:
        """The floats of this representation."""
        return Lanes(self.code, self.code.builder.bitcast(self.value, self.code.type("f")), "f")

    def widened(self) -> Lanes:
        """Of a float32 the same number in float64, to be computed with for a float32's precision."""
        code = self.code.widened()
        return Lanes(code, code.builder.fpext(self.value, code.type("f")))

    def narrowed(self, like: Lanes) -> Lanes:
        """A float64 rounded to float32."""
        return Lanes(like.code, like.code.builder.fptrunc(self.value, like.value.type))

    @property
    def format(self) -> Format:
        return self.code.format

    @property
    def table(self) -> Mapping[str, Sequence[float]]:
        return self.code.table


def where(condition: Lanes, x: Lanes | float, y: Lanes | float) -> Lanes:
    """`x` in the lanes where the condition holds, else `y`."""
    like = x if isinstance(x, Lanes) else y
    assert isinstance(like, Lanes)
    a, b = like.like(x), like.like(y)
    return Lanes(like.code, like.code.builder.select(condition.value, a.value, b.value), like.kind)


def at_most(x: Lanes, limit: float) -> Lanes:
    """min(x, limit); NaN stays."""
    return where(x > limit, limit, x)


def at_least(x: Lanes, limit: float) -> Lanes:
    """max(x, limit); NaN stays."""
    return where(x < limit, limit, x)


def clamp(x: Lanes, limits: tuple[float, float]) -> Lanes:
    """`x`, or the limit beyond which it lies; NaN stays."""
    return at_most(at_least(x, limits[0]), limits[1])


def fma(a: Lanes, b: Lanes | float, c: Lanes | float) -> Lanes:
    """`a·b + c`, rounded once where the machine can, else twice."""
    if not a.code.has_fma:
        return a * b + c
    return a.code.intrinsic("fma", a, a.like(b), a.like(c))


def sqrt(x: Lanes) -> Lanes:
    return x.code.intrinsic("sqrt", x)


def copysign(x: Lanes, sign: Lanes) -> Lanes:
    return x.code.intrinsic("copysign", x, sign)


def polynomial(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """`c₀ + c₁x + c₂x² + …` by Horner's rule; a long one in its even and odd parts, which run side by side."""
    if len(coefficients) > 8:
        square = x * x
        return fma(polynomial(square, coefficients[1::2]), x, polynomial(square, coefficients[::2]))
    result: Any = x.like(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = fma(result, x, c)
    return result


def whole(x: Lanes, factor: float = 1.0, offset: int = 0) -> tuple[Lanes, Lanes]:
    """`n`, the whole number nearest to `x·factor`, and an integer whose low bits are those of `n + offset`.

    Adding 1.5·2^fraction leaves no room for a fraction, so the sum is rounded to a whole number, which then stands in
    its low bits. It serves |x·factor| < 2^(fraction - 2), and needs no conversion from float to integer, which not
    every machine has for vectors.
    """
    large = 1.5 * 2.0**x.format.fraction + offset
    sum_ = fma(x, factor, large) if factor != 1.0 else x + large
    return sum_ - large, sum_.bits


def power_of_two(n: Lanes, offset: int = 0) -> Lanes:
    """`2^(n - bias + offset)` for an integer n; the exponent must be that of a normal number, or 0 for the number 0."""
    return ((n + offset if offset else n) << n.format.fraction).as_float


def bit_constant(x: Lanes, number: float) -> Lanes:
    """The representation of a number, as integers beside `x`."""
    return x.code.constant(bits_of(number, x.format.width), "i")
