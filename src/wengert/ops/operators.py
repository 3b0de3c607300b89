"""Python's operators on arrays. With them, every rule reads like its formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, WengertError
from wengert.ir.array import Array, WeakArray
from wengert.ir.primitive import watchers
from wengert.ir.quiet import SILENCE, quiet
from wengert.ops import arithmetic, bits, compare
from wengert.ops.contract import matmul
from wengert.ops.elementwise import Elementwise
from wengert.ops.promote import promote


_KNOWN = (Array, int, float, complex, np.ndarray, np.generic)


def _known(x: Any) -> bool:
    return isinstance(x, _KNOWN)


def _binary(primitive: Elementwise) -> tuple[Callable[[Array, Any], Any], Callable[[Array, Any], Any]]:
    ufunc = primitive.ufunc
    kinds = frozenset(primitive.takes.replace("i", "iu"))
    with_float = kinds & {"f", "c"}

    def at_once(cls: type, a: Any, b: Any) -> Any:
        token = quiet.set(SILENCE)
        try:
            return cls(ufunc(a, b))
        except (ValueError, OverflowError, WengertError):
            return primitive(cls(a), cls(b) if hasattr(b, "dtype") else b)  # fails again, in the user's terms
        finally:
            quiet.reset(token)

    # concrete arrays of one type, or one beside a Python number, go to NumPy at once; everything else takes the general
    # way, with the same result
    def forward(x: Array, y: Any) -> Any:
        cls = type(x)
        if (cls is Array or cls is WeakArray) and not watchers:
            a = x.data
            other = type(y)
            if other is cls:
                b = y.data
                if a.dtype is b.dtype and a.dtype.kind in kinds:
                    return at_once(cls, a, b)
            elif (other is float or other is int) and a.dtype.kind in with_float:
                return at_once(cls, a, y)
        return primitive(x, y) if isinstance(y, _KNOWN) else NotImplemented

    def backward(x: Array, y: Any) -> Any:
        cls, other = type(x), type(y)
        if (other is float or other is int) and (cls is Array or cls is WeakArray) and not watchers:
            if x.data.dtype.kind in with_float:
                return at_once(cls, y, x.data)
        return primitive(y, x) if isinstance(y, _KNOWN) else NotImplemented

    return forward, backward


def _power(x: Any, y: Any) -> Array:
    if type(y) is int or (type(y) is float and y.is_integer() and abs(y) < 100):
        base = promote("power", (x, y))[0]
        if type(y) is float and base.dtype.kind in "iu":
            return arithmetic.power(x, y)
        return arithmetic.integer_power.bind(base, exponent=int(y))
    return arithmetic.power(x, y)


def _bitwise(logical: Elementwise, bitwise: Elementwise) -> Elementwise:
    class Either:  # `&` is `and` for booleans and bitwise for integers
        ufunc = bitwise.ufunc
        takes = "bi"

        def __call__(self, x: Any, y: Any) -> Array:
            a, b = promote(bitwise.name, (x, y))
            return (logical if a.dtype.kind == "b" else bitwise)(a, b)

    return Either()  # type: ignore[return-value]


def install() -> None:
    """Attach the operators to `Array`."""
    for name, primitive in (
        ("add", arithmetic.add), ("sub", arithmetic.subtract), ("mul", arithmetic.multiply),
        ("truediv", arithmetic.divide), ("floordiv", arithmetic.floor_divide), ("mod", arithmetic.remainder),
        ("and", _bitwise(compare.logical_and, bits.bitwise_and)), ("or", _bitwise(compare.logical_or, bits.bitwise_or)),
        ("xor", _bitwise(compare.logical_xor, bits.bitwise_xor)),
        ("lshift", bits.left_shift), ("rshift", bits.right_shift),
    ):  # fmt: skip
        forward, backward = _binary(primitive)
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
    Array.__matmul__ = lambda x, y: matmul(*promote("matmul", (x, y))) if _known(y) else NotImplemented  # type: ignore[attr-defined]
    Array.__rmatmul__ = lambda x, y: matmul(*promote("matmul", (y, x))) if _known(y) else NotImplemented  # type: ignore[attr-defined]


def _no_hash(x: Array) -> int:
    raise ArgumentError("an Array has no hash, because == compares elementwise; use id(x) to tell arrays apart")


install()
