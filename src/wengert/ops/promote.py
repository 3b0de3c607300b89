"""What users pass to an operation, made into arrays of one type."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, DTypeError
from wengert.ir.array import Array, WeakArray
from wengert.ir.primitive import registry
from wengert.ir.source import at_user_line
from wengert.ir.types import (
    DEFAULT_FLOAT,
    DTYPES,
    complex64,
    promote_dtypes,
    weak_dtype,
)

_WEAK_KIND = {int: "i", float: "f", complex: "c"}
_WEAK_DTYPE = {int: np.dtype("int64"), float: np.dtype("float64"), complex: np.dtype("complex128")}


def as_array(x: Any, what: str = "an operation") -> Array:
    """`x` as an Array: arrays as they are, NumPy's without a copy, Python numbers weakly typed, lists as float32."""
    if isinstance(x, Array):
        return x
    cls = type(x)
    if cls in _WEAK_KIND:
        return _weak_number(x, cls)
    if isinstance(x, (np.ndarray, np.generic)):
        if x.dtype not in DTYPES:
            raise DTypeError(
                f"{what} was given a NumPy array of type {x.dtype}; convert it to a number type first (x.astype(...))"
                + at_user_line()
            )
        return Array(x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("=")))
    if isinstance(x, bool):
        return Array(np.bool_(x))
    if isinstance(x, (int, float, complex)):  # a subclass, such as an IntEnum
        return as_array(next(t for t in (int, float, complex) if isinstance(x, t))(x))
    if isinstance(x, (list, tuple)):
        return Array(ndarray_of(x, what))
    if hasattr(x, "__array__"):
        return as_array(np.asarray(x), what)
    raise ArgumentError(
        f"{what} was given {_describe(x)}; expected an array, a number or a nested list of numbers{at_user_line()}"
    )


def _describe(x: Any) -> str:
    return "None" if x is None else f"a {type(x).__name__}"


def _weak_number(x: Any, cls: type) -> Array:
    try:
        return WeakArray(_WEAK_DTYPE[cls].type(x))
    except OverflowError:
        raise DTypeError(f"the integer {x} does not fit int64{at_user_line()}") from None


def ndarray_of(x: Any, what: str = "asarray") -> np.ndarray:
    """A nested list of numbers as an ndarray; floats become float32 unless an array inside is wider."""
    flat: list[Any] = [x]
    strong = weak_float = weak_complex = False
    while flat:
        item = flat.pop()
        if isinstance(item, (list, tuple)):
            flat.extend(item)
        elif isinstance(item, (Array, np.ndarray, np.generic)):
            strong = True
        elif isinstance(item, float):
            weak_float = True
        elif isinstance(item, complex):
            weak_complex = True
    try:
        result = np.asarray(x)
    except (ValueError, OverflowError) as error:
        raise ArgumentError(f"{what}: the nested list is no array: {error}{at_user_line()}") from None
    if result.dtype not in DTYPES:
        raise ArgumentError(
            f"{what}: the nested list holds something that is no number (NumPy made it {result.dtype}){at_user_line()}"
        )
    if not strong:
        if weak_complex:
            return result.astype(complex64)
        if weak_float or result.size == 0:
            return result.astype(DEFAULT_FLOAT)
    return result


@lru_cache(maxsize=4096)
def _number(kind: type, value: Any, sign: float, dtype: np.dtype) -> Array:
    return Array(dtype.type(value))


def number(value: Any, dtype: np.dtype) -> Array:
    """A Python number as a constant of this type."""
    if type(value) is complex or value != value:  # NaN never equals itself, and -0j equals 0j
        return Array(dtype.type(value))
    sign = 1.0 if value else np.copysign(1.0, value)  # 0.0 and -0.0 are equal keys, but not equal numbers
    try:
        return _number(type(value), value, sign, dtype)
    except OverflowError:
        raise DTypeError(f"the number {value} does not fit {dtype.name}{at_user_line()}") from None


def convert(x: Array, dtype: np.dtype, weak: bool = False) -> Array:
    """`x` in another element type, by the primitive of that name."""
    if x.dtype == dtype and x.weak == weak:
        return x
    return registry["convert"].bind(x, dtype=dtype, weak=weak)


def promote(name: str, args: Sequence[Any]) -> list[Array]:
    """Arguments of an operation as arrays of one type: arrays decide, Python numbers follow."""
    strong: list[np.dtype] = []
    weak: list[str] = []
    items: list[Any] = []
    for a in args:
        cls = type(a)
        if cls in _WEAK_KIND:
            weak.append(_WEAK_KIND[cls])
        else:
            a = as_array(a, name)
            if a.weak:
                weak.append(a.dtype.kind)
            else:
                strong.append(a.dtype)
        items.append(a)
    dtype = promote_dtypes(strong) if strong else None
    if weak:
        dtype = weak_dtype(dtype, weak)
    assert dtype is not None
    all_weak = not strong
    result = []
    for a in items:
        if isinstance(a, Array):
            result.append(a if a.dtype == dtype and a.weak == all_weak else convert(a, dtype, all_weak))
        else:
            result.append(WeakArray(dtype.type(a)) if all_weak else number(a, dtype))
    return result
