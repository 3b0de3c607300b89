"""Element types: conversion, promotion, limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, DTypeError
from wengert.ir.array import Array
from wengert.ir.types import (
    DEFAULT_COMPLEX,
    DEFAULT_FLOAT,
    DEFAULT_INT,
    as_dtype,
    bool_,
    promote_dtypes,
    real_dtype,
    weak_dtype,
)
from wengert.ops.promote import as_array, convert
from wengert.source import at_user_line

_WEAK_KIND = {int: "i", float: "f", complex: "c"}
_WEAK_DEFAULT = {"b": bool_, "i": DEFAULT_INT, "f": DEFAULT_FLOAT, "c": DEFAULT_COMPLEX}
KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def require_cpu(device: Any, what: str) -> None:
    """There is one device here, "cpu"."""
    if device is not None and str(device) != "cpu":
        raise ArgumentError(f"{what}: device {device!r} is not available; the only one is 'cpu'{at_user_line()}")


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Array:
    """The same numbers in another element type.

    Between floating types the derivative passes unchanged. Arrays are immutable, so `copy` makes no difference that
    could be seen, and an array that has the type already is returned as it is.

    Args:
        x: array of any shape.
        dtype: element type, or Python's `bool`, `int`, `float`, `complex` for the defaults.

    Raises:
        DTypeError: complex numbers to a real type; take `wg.real(x)` or `wg.abs(x)`.

    Example:
        >>> wg.astype(wg.asarray([1.7, -1.7]), wg.int32)
        Array([ 1, -1], dtype=int32)
    """
    require_cpu(device, "astype")
    return convert(as_array(x, "astype"), as_dtype(dtype))


def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    """The type that an operation on these arrays, numbers and types computes in.

    Within a kind the wider type wins, as the standard demands. An integer beside a float takes the float's type.
    Python numbers follow the arrays; alone they mean the defaults (int64, float32, complex64).

    Example:
        >>> wg.result_type(wg.int16, wg.float32, 1.5)
        dtype('float32')
    """
    if not arrays_and_dtypes:
        raise ArgumentError(f"result_type needs at least one array, number or type{at_user_line()}")
    strong: list[np.dtype] = []
    weak: list[str] = []
    for a in arrays_and_dtypes:
        if type(a) in _WEAK_KIND:
            weak.append(_WEAK_KIND[type(a)])
        elif isinstance(a, bool):
            weak.append("b")
        elif isinstance(a, (np.dtype, type, str)):
            strong.append(as_dtype(a))
        else:
            x = as_array(a, "result_type")
            if x.weak:
                weak.append(x.dtype.kind)
            else:
                strong.append(x.dtype)
    if not strong:
        return _WEAK_DEFAULT[weak_dtype(None, weak).kind]
    dtype = promote_dtypes(strong)
    return weak_dtype(dtype, weak) if weak else dtype


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether promotion may turn `from_` (a type or an array) into the type `to`.

    Example:
        >>> wg.can_cast(wg.int8, wg.int32), wg.can_cast(wg.float64, wg.float32)
        (True, False)
    """
    source = from_.dtype if isinstance(from_, Array) else as_dtype(from_)
    target = as_dtype(to)
    return promote_dtypes((source, target)) == target


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether `dtype` is of a kind: a type, one of the names below, or a tuple of these.

    "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric".

    Raises:
        ArgumentError: an unknown kind.

    Example:
        >>> wg.isdtype(wg.float32, ("real floating", "complex floating"))
        True
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str):
        if kind not in KINDS:
            raise ArgumentError(
                f"isdtype: {kind!r} is not a kind; choose of {', '.join(map(repr, KINDS))}{at_user_line()}"
            )
        return as_dtype(dtype).kind in KINDS[kind]
    return as_dtype(dtype) == as_dtype(kind)


@dataclass(frozen=True)
class FloatLimits:
    """What `wg.finfo` returns: limits of a floating type; of a complex one, those of its parts."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype


@dataclass(frozen=True)
class IntegerLimits:
    """What `wg.iinfo` returns: limits of an integer type."""

    bits: int
    max: int
    min: int
    dtype: np.dtype


def finfo(type: Any, /) -> FloatLimits:
    """The limits of a floating type (or of an array's type).

    Returns:
        An object with `bits`, `eps` (the step after 1), `max`, `min`, `smallest_normal`, `dtype`.

    Raises:
        DTypeError: no floating type.

    Example:
        >>> wg.finfo(wg.float64).eps
        2.220446049250313e-16
    """
    dtype = type.dtype if isinstance(type, Array) else as_dtype(type)
    if dtype.kind not in "fc":
        raise DTypeError(f"finfo is for floating types, got {dtype.name}; see wg.iinfo{at_user_line()}")
    info = np.finfo(dtype)
    return FloatLimits(
        int(info.bits),
        float(info.eps),
        float(info.max),
        float(info.min),
        float(info.smallest_normal),
        real_dtype(dtype),
    )


def iinfo(type: Any, /) -> IntegerLimits:
    """The limits of an integer type (or of an array's type): an object with `bits`, `max`, `min`, `dtype`.

    Raises:
        DTypeError: no integer type.

    Example:
        >>> wg.iinfo(wg.int8).max
        127
    """
    dtype = type.dtype if isinstance(type, Array) else as_dtype(type)
    if dtype.kind not in "iu":
        raise DTypeError(f"iinfo is for integer types, got {dtype.name}; see wg.finfo{at_user_line()}")
    info = np.iinfo(dtype)
    return IntegerLimits(int(info.bits), int(info.max), int(info.min), dtype)
