"""Python's operators on arrays. With them, every rule reads like its formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.errors import ArgumentError
from wengert.ir.array import Array, WeakArray
from wengert.ir.primitive import watchers
from wengert.ops import arithmetic, bits, compare
from wengert.ops.contract import matmul
from wengert.ops.elementwise import Elementwise
from wengert.ops.promote import promote

_KNOWN = (Array, int, float, complex, np.ndarray, np.generic, list, tuple)


def _known(x: Any) -> bool:
    return isinstance(x, _KNOWN)


def _binary(primitive: Elementwise) -> tuple[Callable[[Array, Any], Any], Callable[[Array, Any], Any]]:
    # a concrete array of floats beside a Python number goes to NumPy at once: NumPy's weak numbers are ours
    at_once, pair, direct = primitive.at_once, primitive.pair, primitive.direct and "f" in primitive.takes

    def forward(x: Array, y: Any) -> Any:
        if isinstance(y, Array):
            out = pair(x, y)
            return primitive(x, y) if out is None else out
        cls, other = type(x), type(y)
        if (other is float or other is int) and (cls is Array or cls is WeakArray) and direct and not watchers:
            if x.data.dtype.kind == "f":
                return at_once(cls, x.data, y)
        return primitive(x, y) if isinstance(y, _KNOWN) else NotImplemented

    def backward(x: Array, y: Any) -> Any:
        cls, other = type(x), type(y)
        if (other is float or other is int) and (cls is Array or cls is WeakArray) and direct and not watchers:
            if x.data.dtype.kind == "f":
                return at_once(cls, y, x.data)
        return primitive(y, x) if isinstance(y, _KNOWN) else NotImplemented

    return forward, backward


def _power(x: Any, y: Any) -> Array:
    if type(y) is int or (type(y) is float and y.is_integer() and abs(y) < 100):
        base = x if isinstance(x, Array) and x.dtype.kind in "fc" else promote("power", (x, y))[0]
        if type(y) is float and base.dtype.kind in "iu":
            return arithmetic.power(x, y)
        return arithmetic.integer_power.bind(base, exponent=int(y))
    return arithmetic.power(x, y)


def _matmul(x: Array, y: Any) -> Any:
    if isinstance(y, Array) and x.dtype is y.dtype and x.weak == y.weak:
        return matmul(x, y)
    return matmul(*promote("matmul", (x, y))) if isinstance(y, _KNOWN) else NotImplemented


def _rmatmul(y: Array, x: Any) -> Any:
    return matmul(*promote("matmul", (x, y))) if isinstance(x, _KNOWN) else NotImplemented


def _bitwise(
    logical: Elementwise, bitwise: Elementwise
) -> tuple[Callable[[Array, Any], Any], Callable[[Array, Any], Any]]:
    # `&` is `and` for booleans, and works on the bits of integers
    def either(x: Any, y: Any) -> Array:
        a, b = promote(bitwise.name, (x, y))
        return (logical if a.dtype.kind == "b" else bitwise)(a, b)

    def forward(x: Array, y: Any) -> Any:
        return either(x, y) if isinstance(y, _KNOWN) else NotImplemented

    def backward(x: Array, y: Any) -> Any:
        return either(y, x) if isinstance(y, _KNOWN) else NotImplemented

    return forward, backward


def install() -> None:
    """Attach the operators to `Array`."""
    for name, (forward, backward) in {
        "add": _binary(arithmetic.add),
        "sub": _binary(arithmetic.subtract),
        "mul": _binary(arithmetic.multiply),
        "truediv": _binary(arithmetic.divide),
        "floordiv": _binary(arithmetic.floor_divide),
        "mod": _binary(arithmetic.remainder),
        "lshift": _binary(bits.left_shift),
        "rshift": _binary(bits.right_shift),
        "and": _bitwise(compare.logical_and, bits.bitwise_and),
        "or": _bitwise(compare.logical_or, bits.bitwise_or),
        "xor": _bitwise(compare.logical_xor, bits.bitwise_xor),
    }.items():
        setattr(Array, f"__{name}__", forward)
        setattr(Array, f"__r{name}__", backward)
    for name, comparison in (
        ("eq", compare.equal), ("ne", compare.not_equal), ("lt", compare.less),
        ("le", compare.less_equal), ("gt", compare.greater), ("ge", compare.greater_equal),
    ):  # fmt: skip
        setattr(Array, f"__{name}__", _binary(comparison)[0])
    Array.__hash__ = _no_hash  # type: ignore[method-assign, assignment]
    Array.__neg__ = lambda x: arithmetic.negative(x)  # type: ignore[attr-defined]
    Array.__pos__ = lambda x: arithmetic.positive(x)  # type: ignore[attr-defined]
    Array.__abs__ = lambda x: arithmetic.abs_(x)  # type: ignore[attr-defined]
    Array.__invert__ = lambda x: (compare.logical_not if x.dtype.kind == "b" else bits.bitwise_invert)(x)  # type: ignore[attr-defined]
    Array.__pow__ = lambda x, y: _power(x, y) if _known(y) else NotImplemented  # type: ignore[attr-defined]
    Array.__rpow__ = lambda x, y: arithmetic.power(y, x) if _known(y) else NotImplemented  # type: ignore[attr-defined]
    Array.__matmul__ = _matmul  # type: ignore[attr-defined]
    Array.__rmatmul__ = _rmatmul  # type: ignore[attr-defined]


def _no_hash(x: Array) -> int:
    raise ArgumentError("an Array has no hash, because == compares elementwise; use id(x) to tell arrays apart")


install()
