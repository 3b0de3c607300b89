"""What users pass to an operation, made into arrays of one type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, DTypeError
from wengert.ir.array import Array, WeakArray
from wengert.ir.primitive import registry
from wengert.ir.types import (
    DEFAULT_COMPLEX,
    DEFAULT_FLOAT,
    DEFAULT_INT,
    DTYPES,
    bool_,
    promote_dtypes,
    weak_dtype,
)
from wengert.source import at_user_line

_WEAK_KIND = {int: "i", float: "f", complex: "c"}
_DEFAULT = {"i": DEFAULT_INT, "f": DEFAULT_FLOAT, "c": DEFAULT_COMPLEX, "b": bool_}
_WEAK_DTYPE = {int: np.dtype("int64"), float: np.dtype("float64"), complex: np.dtype("complex128")}


def as_array(x: Any, what: str = "an operation") -> Array:
    """`x` as an Array: arrays as they are, NumPy's without a copy, Python numbers weakly typed, lists as float32."""
    if isinstance(x, Array):
        return x
    cls = type(x)
    if cls in _WEAK_KIND:
        return _weak_number(x, cls)
    if isinstance(x, (np.ndarray, np.generic)):
        if not x.dtype.isnative:  # the other byte order
            x = x.astype(x.dtype.newbyteorder("="))
        if x.dtype not in DTYPES:
            raise DTypeError(
                f"{what} was given a NumPy array of type {x.dtype}; convert it to a number type first (x.astype(...))"
                + at_user_line()
            )
        return Array(x)
    if isinstance(x, bool):
        return Array(np.bool_(x))
    if isinstance(x, (int, float, complex)):  # a subclass, such as an IntEnum
        plain: Any = next(t for t in (int, float, complex) if isinstance(x, t))
        return as_array(plain(x))
    if isinstance(x, (list, tuple)):
        return list_to_array(x, what)
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


def list_to_array(x: Any, what: str = "asarray", dtype: np.dtype | None = None) -> Array:
    """A nested list of numbers and arrays as one array, by default of the type that an operation on them computes in.

    Python's floats mean float32 where no array stands among them. Traced arrays stay traced: they are stacked.
    """
    kinds, arrays = _survey(x)
    strong = [a.dtype for a in arrays if not a.weak]
    kinds.update(a.dtype.kind for a in arrays if a.weak)
    if dtype is None and strong:
        dtype = promote_dtypes(strong)
        dtype = weak_dtype(dtype, kinds) if kinds else dtype
    if any(a.trace is not None for a in arrays):
        return _stacked(x, dtype or _DEFAULT[weak_dtype(None, kinds).kind], what)
    try:
        result = np.asarray(x, dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise ArgumentError(f"{what}: the nested list is no array of numbers: {error}{at_user_line()}") from None
    if result.dtype not in DTYPES:
        raise ArgumentError(
            f"{what}: the nested list holds something that is no number (NumPy made it {result.dtype}){at_user_line()}"
        )
    if dtype is None:
        wanted = _DEFAULT.get(result.dtype.kind, result.dtype) if result.size else DEFAULT_FLOAT
        result = result.astype(wanted, copy=False)
    return Array(result)


def _survey(x: Any) -> tuple[set[str], list[Array]]:
    """The kinds of Python's numbers in a nested list, and the arrays in it."""
    kinds: set[str] = set()
    arrays: list[Array] = []
    rows = [x]
    while rows:
        row = rows.pop()
        types = set(map(type, row))
        kinds.update(_WEAK_KIND[t] for t in types & _WEAK_KIND.keys())
        if not types <= _WEAK_KIND.keys():
            rows.extend(item for item in row if isinstance(item, (list, tuple)))
            arrays.extend(as_array(item) for item in row if isinstance(item, (Array, np.ndarray, np.generic)))
            kinds.update("b" for item in row if isinstance(item, bool))
    return kinds, arrays


def _stacked(x: Any, dtype: np.dtype, what: str) -> Array:
    if not isinstance(x, (list, tuple)):
        return convert(as_array(x, what), dtype)
    parts = [_stacked(item, dtype, what) for item in x]
    shapes = {p.shape for p in parts}
    if len(shapes) != 1:
        raise ArgumentError(f"{what}: the parts of a nested list have shapes {sorted(shapes)}{at_user_line()}")
    rows = [registry["reshape"].bind(p, shape=(1, *p.shape)) for p in parts]
    return registry["concat"].bind(*rows, axis=0)


_numbers: dict[tuple[Any, type, int], Array] = {}


def number(value: Any, dtype: np.dtype) -> Array:
    """A Python number as a constant of this type."""
    key = (value, type(value), dtype.num)
    known = _numbers.get(key)
    if known is not None:
        return known
    try:
        result = Array(dtype.type(value))
    except OverflowError:
        raise DTypeError(f"the number {value} does not fit {dtype.name}{at_user_line()}") from None
    # 0.0 and -0.0, alone or as a part of a complex number, would share a key, and NaN never finds its own
    nonzero = value.real and value.imag if type(value) is complex else value
    if nonzero and value == value and len(_numbers) < 4096:
        _numbers[key] = result
    return result


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


def as_setting(x: Any) -> Any:
    """NumPy's scalars as Python numbers, which leave their type to the arrays they meet; also inside containers."""
    if isinstance(x, (np.number, np.bool_)):
        return x.item()
    if type(x) is dict:
        return {k: as_setting(v) for k, v in x.items()}
    return tuple(map(as_setting, x)) if type(x) in (tuple, list) else x
