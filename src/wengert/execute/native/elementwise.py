"""Which elementwise primitives have code, and how dear they are. `emit` makes LLVM IR for scalars and vectors alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from wengert.execute.native import vmath

FLAGS = ("contract",)  # fused multiply-add is allowed; NaN, infinities and signed zeros keep their meaning

Emit = Callable[..., ir.Value]


def _is_float(v: ir.Value) -> bool:
    t = v.type.element if isinstance(v.type, ir.VectorType) else v.type
    return isinstance(t, (ir.FloatType, ir.DoubleType))


def _constant(like: ir.Value, number: Any) -> ir.Constant:
    if isinstance(like.type, ir.VectorType):
        return ir.Constant(like.type, [ir.Constant(like.type.element, number)] * like.type.count)
    return ir.Constant(like.type, number)


def _arithmetic(floating: str, integer: str) -> Emit:
    def emit(b: ir.IRBuilder, dtype: np.dtype, x: ir.Value, y: ir.Value) -> ir.Value:
        return getattr(b, floating)(x, y, flags=FLAGS) if _is_float(x) else getattr(b, integer)(x, y)

    return emit


def _compare(sign: str, ordered: bool = True) -> Emit:
    def emit(b: ir.IRBuilder, dtype: np.dtype, x: ir.Value, y: ir.Value) -> ir.Value:
        if _is_float(x):
            return b.fcmp_ordered(sign, x, y) if ordered else b.fcmp_unordered(sign, x, y)
        return b.icmp_unsigned(sign, x, y) if dtype.kind in "bu" else b.icmp_signed(sign, x, y)

    return emit


def _guarded(b: ir.IRBuilder, dtype: np.dtype, t: ir.Value, d: ir.Value) -> ir.Value:
    if not _is_float(t):
        return b.mul(t, d)
    zero = _constant(t, 0.0)
    return b.select(b.fcmp_ordered("==", t, zero), zero, b.fmul(t, d))


def _annihilating(b: ir.IRBuilder, dtype: np.dtype, t: ir.Value, d: ir.Value) -> ir.Value:
    if not _is_float(t):
        return b.mul(t, d)
    zero = _constant(t, 0.0)
    either = b.or_(b.fcmp_ordered("==", t, zero), b.fcmp_ordered("==", d, zero))
    return b.select(either, zero, b.fmul(t, d))


def _extreme(sign: str) -> Emit:
    def emit(b: ir.IRBuilder, dtype: np.dtype, x: ir.Value, y: ir.Value) -> ir.Value:
        if not _is_float(x):
            better = b.icmp_unsigned(sign, x, y) if dtype.kind in "bu" else b.icmp_signed(sign, x, y)
            return b.select(better, x, y)
        # x if it is better or NaN, else y: NaN of either side comes through
        better = b.or_(b.fcmp_ordered(sign, x, y), b.fcmp_unordered("uno", x, x))
        return b.select(better, x, y)

    return emit


def _negative(b: ir.IRBuilder, dtype: np.dtype, x: ir.Value) -> ir.Value:
    return b.fneg(x) if _is_float(x) else b.neg(x)


def _absolute(b: ir.IRBuilder, dtype: np.dtype, x: ir.Value) -> ir.Value:
    if _is_float(x):
        return intrinsic(b, "fabs", x)
    return x if dtype.kind == "u" else b.select(b.icmp_signed("<", x, _constant(x, 0)), b.neg(x), x)


def _sign(b: ir.IRBuilder, dtype: np.dtype, x: ir.Value) -> ir.Value:
    zero, one = _constant(x, 0), _constant(x, 1)
    if _is_float(x):
        signed = intrinsic(b, "copysign", one, x)
        plain = b.or_(b.fcmp_unordered("uno", x, x), b.fcmp_ordered("==", x, zero))  # NaN stays, zeros keep their sign
        return b.select(plain, b.select(b.fcmp_ordered("==", x, zero), zero, x), signed)
    positive = b.select(b.icmp_signed(">", x, zero), one, zero)
    return positive if dtype.kind == "u" else b.select(b.icmp_signed("<", x, zero), _constant(x, -1), positive)


def intrinsic(b: ir.IRBuilder, name: str, *args: ir.Value) -> ir.Value:
    return b.call(_declared(b, name, *args), args)


def _declared(b: ir.IRBuilder, name: str, *args: ir.Value) -> ir.Function:
    t = args[0].type
    mangled = f"v{t.count}" if isinstance(t, ir.VectorType) else ""
    scalar = t.element if isinstance(t, ir.VectorType) else t
    full = f"llvm.{name}.{mangled}{'f32' if isinstance(scalar, ir.FloatType) else 'f64'}"
    known = b.module.globals.get(full)
    return known or ir.Function(b.module, ir.FunctionType(t, [a.type for a in args]), full)


def _rounding(name: str) -> Emit:
    return lambda b, dtype, x: intrinsic(b, name, x) if _is_float(x) else x


def _select(b: ir.IRBuilder, dtype: np.dtype, c: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    return b.select(c, x, y)


def _finite(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    return b.fcmp_ordered("<", intrinsic(b, "fabs", x), _constant(x, float("inf")))


def _divided(quotient: bool) -> Emit:
    """The floor of the quotient of integers, or the remainder with the divisor's sign; 0 for a divisor of 0."""

    def emit(b: ir.IRBuilder, dtype: np.dtype, x: ir.Value, y: ir.Value) -> ir.Value:
        zero, one = _constant(x, 0), _constant(x, 1)
        none = b.icmp_unsigned("==", y, zero)
        if dtype.kind == "u":
            d = b.select(none, one, y)
            return b.select(none, zero, b.udiv(x, d) if quotient else b.urem(x, d))
        minus = b.icmp_signed("==", y, _constant(x, -1))  # the least number by -1 would trap
        d = b.select(b.or_(none, minus), one, y)
        q = b.sdiv(x, d)
        r = b.sub(x, b.mul(q, d))
        other_sign = b.icmp_signed("<", b.xor(r, d), zero)
        correct = b.and_(b.icmp_signed("!=", r, zero), other_sign)
        if quotient:
            floor = b.select(correct, b.sub(q, one), q)
            return b.select(none, zero, b.select(minus, b.neg(x), floor))
        return b.select(none, zero, b.select(correct, b.add(r, d), r))

    return emit


EMIT: dict[str, Emit] = {
    "add": _arithmetic("fadd", "add"),
    "subtract": _arithmetic("fsub", "sub"),
    "multiply": _arithmetic("fmul", "mul"),
    "scale": _arithmetic("fmul", "mul"),
    "guarded_multiply": _guarded,
    "annihilating_multiply": _annihilating,
    "divide": lambda b, dtype, x, y: b.fdiv(x, y),
    "negative": _negative,
    "positive": lambda b, dtype, x: x,
    "square": lambda b, dtype, x: b.fmul(x, x) if _is_float(x) else b.mul(x, x),
    "reciprocal": lambda b, dtype, x: b.fdiv(_constant(x, 1.0), x),
    "abs": _absolute,
    "sign": _sign,
    "maximum": _extreme(">"),
    "minimum": _extreme("<"),
    "select": _select,
    "equal": _compare("=="),
    "not_equal": _compare("!=", ordered=False),
    "less": _compare("<"),
    "less_equal": _compare("<="),
    "greater": _compare(">"),
    "greater_equal": _compare(">="),
    "logical_and": lambda b, dtype, x, y: b.and_(x, y),
    "logical_or": lambda b, dtype, x, y: b.or_(x, y),
    "logical_xor": lambda b, dtype, x, y: b.xor(x, y),
    "logical_not": lambda b, dtype, x: b.not_(x),
    "bitwise_and": lambda b, dtype, x, y: b.and_(x, y),
    "bitwise_or": lambda b, dtype, x, y: b.or_(x, y),
    "bitwise_xor": lambda b, dtype, x, y: b.xor(x, y),
    "bitwise_invert": lambda b, dtype, x: b.not_(x),
    "floor": _rounding("floor"),
    "ceil": _rounding("ceil"),
    "trunc": _rounding("trunc"),
    "round": _rounding("rint"),
    "isnan": lambda b, dtype, x: b.fcmp_unordered("uno", x, x),
    "isfinite": lambda b, dtype, x: _finite(b, x),
    "isinf": lambda b, dtype, x: b.fcmp_ordered("==", intrinsic(b, "fabs", x), _constant(x, float("inf"))),
    "copysign": lambda b, dtype, x, y: intrinsic(b, "copysign", x, y),
    "floor_divide": _divided(True),
    "remainder": _divided(False),
    "sqrt": lambda b, dtype, x: intrinsic(b, "sqrt", x),
    "rsqrt": lambda b, dtype, x: b.fdiv(_constant(x, 1.0), intrinsic(b, "sqrt", x)),
}
FLOAT_ONLY = {"isnan", "isfinite", "isinf", "copysign", "divide", "reciprocal", "sqrt", "rsqrt"}
INTEGER_ONLY = {"floor_divide", "remainder"}
HALVES = (-3.0, 3.5)  # constant exponents between which products and a square root stay within 4 ulp
_TRANSCENDENTAL = set(vmath.NAMES) - set(EMIT)


def has_code(name: str, dtypes: list[np.dtype]) -> bool:
    """Whether the primitive has code for operands of these types."""
    if name in ("convert", "integer_power"):
        return name == "convert" or dtypes[0].kind == "f"
    if name in FLOAT_ONLY:
        return dtypes[0].kind == "f"
    if name in INTEGER_ONLY:
        return dtypes[0].kind in "iu"
    if name in EMIT:
        return True
    return name in _TRANSCENDENTAL and dtypes[0].kind == "f"


def has_registers(dtype: np.dtype) -> bool:
    """Whether numbers of this type have registers; complex and half-precision ones are left to NumPy."""
    return dtype.kind != "c" and dtype.name != "float16"


def is_dear(name: str) -> bool:
    """Whether the value is worth a place in memory rather than a second computation."""
    return name in _TRANSCENDENTAL or name in ("divide", "sqrt", "rsqrt", "reciprocal", "integer_power")


def emit(b: ir.IRBuilder, name: str, dtype: np.dtype, out: np.dtype, params: Any, args: list[ir.Value]) -> ir.Value:
    """The operation on values of the NumPy type `dtype`; `out` is the type of the result."""
    if name == "convert":
        return _convert(b, args[0], dtype, out)
    if name == "integer_power":
        return _power(b, args[0], dict(params)["exponent"])
    if name in EMIT:
        return EMIT[name](b, dtype, *args)
    if name == "power" and (exponent := _half(args[1])) is not None:
        return _half_power(b, args[0], exponent)
    return vmath.emit(name, b, *args)


def llvm_type(dtype: np.dtype) -> ir.Type:
    """The type in registers: booleans are single bits there, and bytes in memory."""
    if dtype.kind == "b":
        return ir.IntType(1)
    if dtype.kind in "iu":
        return ir.IntType(dtype.itemsize * 8)
    return ir.FloatType() if dtype.itemsize == 4 else ir.DoubleType()


def _convert(b: ir.IRBuilder, x: ir.Value, source: np.dtype, target: np.dtype) -> ir.Value:
    if source == target:
        return x
    scalar = llvm_type(target)
    t = ir.VectorType(scalar, x.type.count) if isinstance(x.type, ir.VectorType) else scalar
    if target.kind == "b":
        zero = _constant(x, 0)
        return b.fcmp_unordered("!=", x, zero) if _is_float(x) else b.icmp_signed("!=", x, zero)
    if source.kind in "bu":
        if target.kind == "f":
            one = ir.Constant(scalar, 1.0) if t is scalar else ir.Constant(t, [ir.Constant(scalar, 1.0)] * t.count)
            return b.uitofp(x, t) if source.kind == "u" else b.select(x, one, ir.Constant(t, None))
        return _resize(b, x, source, target, t, signed=False)
    if source.kind == "i":
        return b.sitofp(x, t) if target.kind == "f" else _resize(b, x, source, target, t, signed=True)
    if target.kind == "f":
        return b.fpext(x, t) if target.itemsize > source.itemsize else b.fptrunc(x, t)
    return b.fptosi(x, t) if target.kind == "i" else b.fptoui(x, t)


def _resize(b: ir.IRBuilder, x: ir.Value, source: np.dtype, target: np.dtype, t: ir.Type, signed: bool) -> ir.Value:
    bits = 1 if source.kind == "b" else source.itemsize * 8
    wanted = target.itemsize * 8
    if wanted == bits:
        return x
    if wanted < bits:
        return b.trunc(x, t)
    return b.sext(x, t) if signed else b.zext(x, t)


def _half(x: ir.Value) -> float | None:
    """The exponent that all lanes hold, if it is a constant in reach of multiplications and a square root."""
    while isinstance(x, ir.Constant) and isinstance(x.constant, (list, tuple)):
        x = x.constant[0]
    y = x.constant if isinstance(x, ir.Constant) else None
    return y if isinstance(y, float) and HALVES[0] <= y <= HALVES[1] and 2 * y == int(2 * y) and y != 0 else None


def _half_power(b: ir.IRBuilder, x: ir.Value, y: float) -> ir.Value:
    """`x^y` for a multiple of 1/2, with the corners of C's pow: +0 and infinities of both signs have a root.

    A negative power divides step by step, so that nothing leaves the range before the result does.
    """
    n, one = int(abs(y)), _constant(x, 1.0)
    whole = _power(b, x, n) if n else one
    if abs(y) == n:
        return whole if y > 0 else _power(b, b.fdiv(one, x), n)
    a = b.select(b.fcmp_ordered("==", x, _constant(x, -math.inf)), _constant(x, math.inf), x)
    a = b.fadd(a, _constant(x, 0.0))
    root = intrinsic(b, "sqrt", a)
    power = _power(b, a, n) if n else one
    if y > 0:
        return b.fmul(power, root) if n else root
    return b.fdiv(_power(b, b.fdiv(one, a), n) if n else one, root)


def _power(b: ir.IRBuilder, x: ir.Value, n: int) -> ir.Value:
    """`xⁿ` by squaring."""
    if n == 0:
        return _constant(x, 1.0)
    result, base, left = None, x, abs(n)
    while left:
        if left & 1:
            result = base if result is None else b.fmul(result, base)
        left >>= 1
        if left:
            base = b.fmul(base, base)
    assert result is not None
    return b.fdiv(_constant(x, 1.0), result) if n < 0 else result
