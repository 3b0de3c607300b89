"""Types of values: a shape, an element type, and whether the value is a Python number at heart (weak).

Python numbers are *weakly typed*: they compute in double precision among themselves and take the type of the
first array they meet, so `x64 * 0.1` is exact and `x32 * 0.1` stays float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from wengert.errors import DTypeError, OutOfRangeError, ShapeError
from wengert.source import at_user_line

Shape = tuple[int, ...]

bool_ = np.dtype(np.bool_)
int8, int16, int32, int64 = (np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float16, float32, float64 = (np.dtype(f"float{n}") for n in (16, 32, 64))
complex64, complex128 = np.dtype("complex64"), np.dtype("complex128")

DTYPES = frozenset(
    (bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, float32, float64, complex64, complex128)
)
DEFAULT_INT, DEFAULT_FLOAT, DEFAULT_COMPLEX = int64, float32, complex64


class Length:
    """A length known only when the program runs, such as how often a `while_loop` turns; equal only to itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "?"


class ArrayType:
    """The type of an array: what is known of it without its numbers."""

    __slots__ = ("dtype", "shape", "weak")

    def __init__(self, shape: Shape, dtype: np.dtype, weak: bool = False):
        self.shape = shape
        self.dtype = dtype
        self.weak = weak

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        n = 1
        for d in self.shape:
            n *= d
        return n

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ArrayType)
            and self.shape == other.shape
            and self.dtype == other.dtype
            and self.weak == other.weak
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype.num, self.weak))

    def __repr__(self) -> str:
        return f"{self.dtype.name}{'*' if self.weak else ''}[{','.join(map(str, self.shape))}]"

    def with_shape(self, shape: Shape) -> ArrayType:
        return ArrayType(shape, self.dtype, self.weak)


def is_float(dtype: np.dtype) -> bool:
    """Whether values of this type can change continuously: real or complex floating point."""
    return dtype.kind in "fc"


def as_dtype(dtype: object) -> np.dtype:
    """`dtype` as one of the fourteen element types; Python's `bool`, `int`, `float`, `complex` mean the defaults."""
    python = {bool: bool_, int: DEFAULT_INT, float: DEFAULT_FLOAT, complex: DEFAULT_COMPLEX}
    if isinstance(dtype, type) and dtype in python:
        return python[dtype]
    try:
        result = None if dtype is None else np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError:
        result = None
    if result not in DTYPES:
        names = ", ".join(sorted(d.name for d in DTYPES))
        raise DTypeError(f"{dtype!r} is not an element type of Wengert; choose one of {names}{at_user_line()}")
    return result.newbyteorder("=") if result.byteorder not in "=|" else result


_KIND = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def promote_dtypes(dtypes: Sequence[np.dtype]) -> np.dtype:
    """The type that an operation on arrays of these types computes in.

    Within a kind, the standard's table. Across kinds, the wider kind wins and an integer beside a float takes the
    float's own type (so int64 with float32 is float32, unlike NumPy, like PyTorch and JAX).
    """
    first = dtypes[0]
    if all(d is first or d == first for d in dtypes):
        return first
    top = max(_KIND[d.kind] for d in dtypes)
    if top < 2:
        return np.result_type(*dtypes)
    floats = [d for d in dtypes if _KIND[d.kind] >= 2]
    return np.result_type(*floats)


def weak_dtype(strong: np.dtype | None, kinds: Iterable[str]) -> np.dtype:
    """The type of an operation of arrays of type `strong` (if any) with weak numbers of these `kinds`: b, i, f or c."""
    kind = max(kinds, key=lambda k: _KIND[k])
    if strong is None:
        return {"b": bool_, "i": int64, "u": int64, "f": float64, "c": complex128}[kind]
    if _KIND[kind] <= _KIND[strong.kind]:
        return strong
    if kind in "iu":
        return DEFAULT_INT
    if kind == "f":
        return DEFAULT_FLOAT
    return complex128 if strong == float64 else DEFAULT_COMPLEX


def float_dtype(dtype: np.dtype, weak: bool = False) -> np.dtype:
    """`dtype` if it is floating, else the default float: the type in which `sqrt` of integers computes."""
    if dtype.kind in "fc":
        return dtype
    return float64 if weak else DEFAULT_FLOAT


def real_dtype(dtype: np.dtype) -> np.dtype:
    """The type of the real part of a complex type; any other type unchanged."""
    return {"complex64": float32, "complex128": float64}.get(dtype.name, dtype)


def complex_dtype(dtype: np.dtype) -> np.dtype:
    """The complex type whose parts have this real type."""
    return {"float64": complex128, "complex128": complex128}.get(dtype.name, complex64)


def broadcast_shapes(shapes: Sequence[Shape], what: str = "broadcast") -> Shape:
    """The common shape of arrays of these shapes by NumPy's rule: align at the right, 1 stretches."""
    first = shapes[0]
    for s in shapes:
        if s != first:
            break
    else:
        return first
    ndim = max(len(s) for s in shapes)
    result = [1] * ndim
    for shape in shapes:
        for i, d in enumerate(shape, ndim - len(shape)):
            if d == 1 or d == result[i]:
                continue
            if result[i] != 1:
                raise ShapeError(
                    f"{what}: shapes {' and '.join(map(str, shapes))} do not broadcast: counted from the right, axis "
                    f"{i - ndim} has lengths {result[i]} and {d}. Lengths must be equal or 1; reshape one operand, or "
                    f"insert an axis of length 1 with x[:, None].{at_user_line()}"
                )
            result[i] = d
    return tuple(result)


def normalize_axis(axis: int, ndim: int, what: str) -> int:
    """`axis` counted from the front."""
    if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
        raise ShapeError(f"{what}: an axis is an integer, got {axis!r}{at_user_line()}")
    if not -ndim <= axis < ndim:
        raise OutOfRangeError(f"{what}: axis {axis} does not exist in an array of {ndim} dimensions{at_user_line()}")
    return int(axis) % ndim


def normalize_axes(axis: int | Iterable[int] | None, ndim: int, what: str) -> tuple[int, ...]:
    """One axis, several, or None for all, as a sorted tuple counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    result = tuple(sorted(normalize_axis(a, ndim, what) for a in axes))
    if len(set(result)) != len(result):
        raise ShapeError(f"{what}: axes {axes} name one axis twice{at_user_line()}")
    return result
