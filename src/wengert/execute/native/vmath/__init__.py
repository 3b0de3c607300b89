"""Vector mathematics: the elementary functions as LLVM code for scalars and vectors of float32 and float64.

`emit(name, builder, *args)` writes the code of a function of `NAMES` where the builder stands. The error is at most 2
units in the last place (of `logaddexp`, where its terms cancel, those of the larger argument). Infinities, NaN, signed
zeros and subnormal numbers are as in IEEE 754 and C99. A lane's result depends on that lane alone, not on their number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from wengert.execute.native.target import host_target
from wengert.execute.native.vmath import (
    error,
    exponential,
    hyperbolic,
    inverse,
    logarithm,
    power,
    roots,
    sigmoid,
    trigonometric,
)  # fmt: skip
from wengert.execute.native.vmath.lanes import Code, Lanes

_FUNCTIONS: dict[str, Callable[..., Lanes]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "log": logarithm.log,
    "log1p": logarithm.log1p,
    "log2": logarithm.log2,
    "log10": logarithm.log10,
    "sqrt": roots.sqrt,
    "rsqrt": roots.rsqrt,
    "cbrt": roots.cbrt,
    "hypot": roots.hypot,
    "power": power.power,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "tan": trigonometric.tan,
    "asin": inverse.asin,
    "acos": inverse.acos,
    "atan": inverse.atan,
    "atan2": inverse.atan2,
    "sinh": hyperbolic.sinh,
    "cosh": hyperbolic.cosh,
    "tanh": hyperbolic.tanh,
    "asinh": hyperbolic.asinh,
    "acosh": hyperbolic.acosh,
    "atanh": hyperbolic.atanh,
    "logistic": sigmoid.logistic,
    "softplus": sigmoid.softplus,
    "logaddexp": sigmoid.logaddexp,
    "erf": error.erf,
    "erfc": error.erfc,
}
NAMES = tuple(_FUNCTIONS)

# float32 is computed in float64 where that is simpler than pairs of float32
_WIDE = {"erfc", "logaddexp"}
# code that is long or has a loop is a function of the module, called; the rest stands where it is used
_INLINE = {
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "sqrt",
    "rsqrt",
    "tanh",
    "logistic",
    "softplus",
    "erf",
}


def emit(name: str, builder: ir.IRBuilder, *args: ir.Value, has_fma: bool | None = None) -> ir.Value:
    """Write code for the function `name` of `args`, all of one type: float, double, or a vector of either.

    `has_fma` says whether the machine has a fused multiply-add; if not given, the target does (`host_target`). The code
    may be a call of a private function added to the builder's module.

        y = emit("tanh", builder, x)
    """
    if has_fma is None:
        has_fma = host_target().has_fma
    if name in _INLINE:
        return _write(name, builder, args, has_fma)
    return builder.call(_function(name, builder.module, args[0].type, len(args), has_fma), args)


def _function(name: str, module: ir.Module, t: ir.Type, arity: int, has_fma: bool) -> ir.Function:
    kind = f"v{t.count}" if isinstance(t, ir.VectorType) else ""
    full = f"wengert.{name}.{kind}f{_width(t)}{'' if has_fma else '.nofma'}"
    known = module.globals.get(full)
    if known is not None:
        return known
    function = ir.Function(module, ir.FunctionType(t, [t] * arity), full)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    b = ir.IRBuilder(function.append_basic_block())
    b.ret(_write(name, b, function.args, has_fma))
    return function


def _width(t: ir.Type) -> int:
    element = t.element if isinstance(t, ir.VectorType) else t
    return 32 if isinstance(element, ir.FloatType) else 64


def _write(name: str, builder: ir.IRBuilder, args: Any, has_fma: bool) -> ir.Value:
    t = args[0].type
    width, count = _width(t), t.count if isinstance(t, ir.VectorType) else None
    code = Code(builder, width, count, has_fma)
    lanes = [Lanes(code, a) for a in args]
    if width == 32 and name in _WIDE:
        return _FUNCTIONS[name](*(x.widened() for x in lanes)).narrowed(lanes[0]).value
    return _FUNCTIONS[name](*lanes).value
