"""What is done to each number of the input on its way into a convolution: an activation that was never stored."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from llvmlite import ir

from wengert.execute.native import elementwise

Formula = tuple[Any, ...]  # ("x",), ("number", value), or (primitive, params, formula, …)


def formula_name(formula: Formula | None) -> str:
    """What tells functions apart that differ in the formula."""
    return "" if formula is None else "_" + hashlib.sha1(repr(formula).encode()).hexdigest()[:8]


def evaluated(b: ir.IRBuilder, formula: Formula | None, x: ir.Value) -> ir.Value:
    """The formula at x, a number or a vector."""
    if formula is None or formula[0] == "x":
        return x
    if formula[0] == "number":
        if isinstance(x.type, ir.VectorType):
            return ir.Constant(x.type, [ir.Constant(x.type.element, formula[1])] * x.type.count)
        return ir.Constant(x.type, formula[1])
    name, params, *args = formula
    number = x.type.element if isinstance(x.type, ir.VectorType) else x.type
    dtype = np.dtype(np.float32 if isinstance(number, ir.FloatType) else np.float64)
    return elementwise.emit(b, name, dtype, dtype, params, [evaluated(b, a, x) for a in args])


def formula_text(formula: Formula, x: str) -> str:
    if formula[0] == "x":
        return x
    if formula[0] == "number":
        return format(formula[1], "g")
    name, _, *args = formula
    return f"{name}({', '.join(formula_text(a, x) for a in args)})"
