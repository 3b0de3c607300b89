"""New arrays. Floats are float32 unless a type is given; what comes in as float64 stays float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from wengert.array.dtypes import require_cpu
from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import DEFAULT_COMPLEX, DEFAULT_FLOAT, DEFAULT_INT, Shape, as_dtype, bool_
from wengert.ops.compare import select
from wengert.ops.promote import as_array, convert, list_to_array, number
from wengert.ops.shape import broadcast_to, reshape
from wengert.source import at_user_line

_DEFAULTS = {"b": bool_, "i": DEFAULT_INT, "f": DEFAULT_FLOAT, "c": DEFAULT_COMPLEX}


def as_shape(shape: Any, what: str) -> Shape:
    """A shape as a tuple of lengths; one integer is a shape of one axis."""
    lengths = (shape,) if not isinstance(shape, (tuple, list)) else tuple(shape)
    for n in lengths:
        if isinstance(n, Array) or not hasattr(n, "__index__"):
            raise ShapeError(
                f"{what}: a shape is an integer or a tuple of integers, got {shape!r}; the numbers must be Python "
                f"integers, known without running the program{at_user_line()}"
            )
        if n < 0:
            raise ShapeError(f"{what}: negative length {n} in shape {lengths}{at_user_line()}")
    return tuple(int(n) for n in lengths)


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Array:
    """An array of numbers, of nested lists of numbers, or of another library's array.

    NumPy arrays, and what speaks the buffer protocol or `__array__`, are taken over without a copy; change them later
    and the Array changes too, unless `copy=True`. Inside a nested list arrays may stand, also traced ones.

    Args:
        obj: numbers, nested lists, an Array, a NumPy array, or anything that NumPy understands.
        dtype: element type; without it Python's floats become float32, integers int64, and arrays keep theirs.
        copy: True always copies, False never does, None copies only where it must.

    Raises:
        ArgumentError: not numbers, ragged lists, or `copy=False` where a copy is needed.

    Example:
        >>> wg.asarray([[1.0, 2.0], [3.0, 4.0]]).shape
        (2, 2)
    """
    require_cpu(device, "asarray")
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(obj, (list, tuple, bool, int, float, complex)) and not isinstance(obj, np.generic):
        if copy is False:
            raise ArgumentError(f"asarray: Python numbers are always copied, but copy=False was given{at_user_line()}")
        if isinstance(obj, (list, tuple)):
            return list_to_array(obj, "asarray", wanted)
        wanted = wanted or _DEFAULTS["b" if isinstance(obj, bool) else as_array(obj).dtype.kind]
        try:
            return number(obj, wanted)
        except (TypeError, ValueError):
            raise DTypeError(f"asarray: {obj!r} is no {wanted.name}{at_user_line()}") from None
    if not isinstance(obj, (Array, np.ndarray, np.generic)) and not hasattr(obj, "__array__"):
        obj = _from_buffer(obj)
    x = as_array(obj, "asarray")
    wanted = wanted or (_DEFAULTS[x.dtype.kind] if x.weak else x.dtype)
    if wanted != x.dtype or x.weak:
        if copy is False and wanted != x.dtype:
            raise ArgumentError(
                f"asarray: {x.dtype.name} becomes {wanted.name} by a copy, but copy=False was given{at_user_line()}"
            )
        return convert(x, wanted)
    return copied(x) if copy else x


def copied(x: Array) -> Array:
    """A concrete array with memory of its own; what is traced is a value and needs none."""
    return Array(np.array(x.data)) if x.trace is None else x


def _from_buffer(obj: Any) -> Any:
    try:
        return np.asarray(memoryview(obj))
    except TypeError:
        return obj  # as_array says what was expected


array = asarray


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Array:
    """Another library's array, by the DLPack protocol, sharing its memory.

    Args:
        x: any object with `__dlpack__`, on the CPU.
        copy: True gives an array with memory of its own.

    Example:
        >>> wg.from_dlpack(np.arange(3))
        Array([0, 1, 2], dtype=int64)
    """
    require_cpu(device, "from_dlpack")
    if isinstance(x, Array):
        return copied(x) if copy else x
    if not hasattr(x, "__dlpack__"):
        raise ArgumentError(
            f"from_dlpack: a {type(x).__name__} has no __dlpack__ method; see wg.asarray{at_user_line()}"
        )
    data = as_array(np.from_dlpack(x), "from_dlpack")
    return copied(data) if copy else data


def empty(shape: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """An array of this shape; its numbers are zeros, because what is uninitialised cannot be differentiated."""
    return zeros(shape, dtype=dtype, device=device)


def zeros(shape: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """Zeros of this shape, float32 unless `dtype` is given.

    Example:
        >>> wg.zeros((2, 3)).shape
        (2, 3)
    """
    require_cpu(device, "zeros")
    return Array(np.zeros(as_shape(shape, "zeros"), DEFAULT_FLOAT if dtype is None else as_dtype(dtype)))


def ones(shape: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """Ones of this shape, float32 unless `dtype` is given."""
    require_cpu(device, "ones")
    return Array(np.ones(as_shape(shape, "ones"), DEFAULT_FLOAT if dtype is None else as_dtype(dtype)))


def full(shape: Any, fill_value: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """One number in every place; without `dtype`, Python's floats become float32 and integers int64.

    The number may be traced: its derivative is the sum of the cotangent.

    Example:
        >>> wg.full(2, 7)
        Array([7, 7], dtype=int64)
    """
    value = asarray(fill_value, dtype=dtype, device=device)
    if value.trace is not None:
        return broadcast_to(value, as_shape(shape, "full"))
    return Array(np.full(as_shape(shape, "full"), value.data, value.dtype))


def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Array:
    """An array of the shape and type of `x`; see `empty`."""
    return zeros_like(x, dtype=dtype, device=device)


def zeros_like(x: Any, /, dtype: Any = None, *, device: Any = None) -> Array:
    """Zeros of the shape of `x`, and of its type unless `dtype` is given."""
    x = as_array(x, "zeros_like")
    return zeros(x.shape, dtype=_like(x, dtype), device=device)


def ones_like(x: Any, /, dtype: Any = None, *, device: Any = None) -> Array:
    """Ones of the shape of `x`, and of its type unless `dtype` is given."""
    x = as_array(x, "ones_like")
    return ones(x.shape, dtype=_like(x, dtype), device=device)


def full_like(x: Any, /, fill_value: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """One number in every place of the shape of `x`, of its type unless `dtype` is given."""
    x = as_array(x, "full_like")
    return full(x.shape, fill_value, dtype=_like(x, dtype), device=device)


def _like(x: Array, dtype: Any) -> Any:
    if dtype is not None:
        return dtype
    return _DEFAULTS[x.dtype.kind] if x.weak else x.dtype


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Array:
    """`start, start + step, …` below `stop`; with one argument, `0, 1, …` below it.

    Args:
        start, stop, step: Python numbers; integers give int64, a float among them float32.

    Raises:
        ArgumentError: `step` is zero, or a number is traced (the length would depend on it).

    Example:
        >>> wg.arange(4)
        Array([0, 1, 2, 3], dtype=int64)
    """
    require_cpu(device, "arange")
    if stop is None:
        start, stop = 0, start
    bounds = [_plain(v, "arange") for v in (start, stop, step)]
    if bounds[2] == 0:
        raise ArgumentError(f"arange: step is 0{at_user_line()}")
    wanted = (
        as_dtype(dtype)
        if dtype is not None
        else (DEFAULT_INT if all(isinstance(b, int) for b in bounds) else DEFAULT_FLOAT)
    )
    return Array(np.arange(*bounds).astype(wanted))


def _plain(value: Any, what: str) -> Any:
    if isinstance(value, (np.generic, np.ndarray)) or (isinstance(value, Array) and value.trace is None):
        value = np.asarray(value).item()
    if not isinstance(value, (int, float)):
        raise ArgumentError(f"{what}: expected a plain number, got {value!r}{at_user_line()}")
    return value


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Array:
    """`num` numbers from `start` to `stop` at equal distances, the last of them `stop` if `endpoint`.

    Traced bounds (or arrays of bounds, along a new first axis) are welcome: the result is linear in both.

    Example:
        >>> wg.linspace(0, 1, 5)
        Array([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    require_cpu(device, "linspace")
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(start, (int, float, complex)) and isinstance(stop, (int, float, complex)):
        if wanted is None:
            wanted = DEFAULT_COMPLEX if isinstance(start, complex) or isinstance(stop, complex) else DEFAULT_FLOAT
        return Array(np.linspace(start, stop, num, endpoint=endpoint).astype(wanted))
    a, b = as_array(start, "linspace"), as_array(stop, "linspace")
    steps = num - 1 if endpoint else num
    t = np.arange(num) / max(steps, 1)
    share = Array(t.reshape(-1, *(1,) * max(a.ndim, b.ndim)))
    real = [convert(v, v.dtype if v.dtype.kind in "fc" else DEFAULT_FLOAT, v.weak) for v in (a, b)]
    width = next((v.dtype for v in real if not v.weak), DEFAULT_FLOAT)
    share = convert(share, np.dtype(np.float64) if width.name in ("float64", "complex128") else DEFAULT_FLOAT)
    out = real[0] * (1 - share) + real[1] * share
    return out if wanted is None else convert(out, wanted)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Array:
    """Ones on the k-th diagonal of a matrix, zeros elsewhere.

    Example:
        >>> wg.eye(2)
        Array([[1., 0.],
               [0., 1.]], dtype=float32)
    """
    require_cpu(device, "eye")
    rows, columns = as_shape((n_rows, n_rows if n_cols is None else n_cols), "eye")
    return Array(np.eye(rows, columns, k=k, dtype=DEFAULT_FLOAT if dtype is None else as_dtype(dtype)))


def tril(x: Any, /, *, k: int = 0) -> Array:
    """The lower triangle: zeros above the k-th diagonal of the last two axes.

    Raises:
        ShapeError: fewer than two axes.
    """
    return _triangle(x, k, "tril", lower=True)


def triu(x: Any, /, *, k: int = 0) -> Array:
    """The upper triangle: zeros below the k-th diagonal of the last two axes.

    Raises:
        ShapeError: fewer than two axes.
    """
    return _triangle(x, k, "triu", lower=False)


def _triangle(x: Any, k: int, what: str, lower: bool) -> Array:
    x = as_array(x, what)
    if x.ndim < 2:
        raise ShapeError(f"{what}: a triangle needs two axes, got shape {x.shape}{at_user_line()}")
    rows, columns = x.shape[-2:]
    mask = np.tri(rows, columns, k if lower else k - 1, dtype=np.bool_)
    return select.bind(Array(mask if lower else ~mask), x, number(0, x.dtype))


def meshgrid(*arrays: Any, indexing: Literal["xy", "ij"] = "xy") -> list[Array]:
    """Coordinate arrays on the grid that one-dimensional arrays span.

    Args:
        arrays: one-dimensional arrays of lengths n1, n2, …
        indexing: "ij" gives shape (n1, n2, …), "xy" (n2, n1, …).

    Raises:
        ShapeError: an array of more than one dimension.
        ArgumentError: another indexing.
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"meshgrid: indexing is 'xy' or 'ij', got {indexing!r}{at_user_line()}")
    xs = [as_array(a, "meshgrid") for a in arrays]
    for x in xs:
        if x.ndim > 1:
            raise ShapeError(f"meshgrid: coordinates have one axis, got shape {x.shape}{at_user_line()}")
    order = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        order[:2] = [1, 0]
    lengths: Sequence[int] = [xs[i].size for i in order]
    result = []
    for i, x in enumerate(xs):
        at = order.index(i)
        result.append(broadcast_to(reshape(x, tuple(x.size if j == at else 1 for j in range(len(xs)))), tuple(lengths)))
    return result
