"""What an array does for Python and NumPy: printing, truth, numbers, iteration, exchange."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from wengert.array.dtypes import require_cpu
from wengert.array.manipulation import unstack
from wengert.errors import ArgumentError, DTypeError, NoAttributeError
from wengert.ir.array import Array, concrete
from wengert.ops.shape import permute
from wengert.source import at_user_line, numpy_function
from wengert.spelling import PACKAGE, instead


def _repr(x: Array) -> str:
    try:
        data = np.asarray(concrete(x))
    except TypeError:
        return f"Array({x.type!r}, abstract)"
    kind = "weak" if x.weak else f"dtype={x.dtype.name}"
    inside = "" if x.trace is None else f", inside {x.trace.what}"
    return f"Array({np.array2string(data, separator=', ', prefix='Array(')}, {kind}{inside})"


def _numbers(x: Array, wanted: str) -> Any:
    """The numbers in `x`, for code that knows nothing of derivatives: refused while `x` is being differentiated."""
    below: Any = x
    while below is not None and below.trace is not None:
        if below.trace.differentiates and x.dtype.kind in "fc":
            raise ArgumentError(
                f"{wanted} of a value that is being differentiated was asked for; the derivative would be lost there. "
                f"{_advice(wanted)}; for a number that is to count as a constant (to print it, say) take "
                f"wg.stop_gradient(x) first.{at_user_line()}"
            )
        below = below.data
    return concrete(x, wanted)


def _advice(wanted: str) -> str:
    """What to write instead, by the NumPy function that was called where one can be seen."""
    name = numpy_function()
    if name is not None:
        there: Any = sys.modules["wengert"]
        for part in name.split("."):
            there = getattr(there, part, None)
        known = f": wg.{name}" if there is not None else instead(name, PACKAGE).removeprefix("; here")
        return f"Take the function of wg that does what np.{name} does{known}"
    if "float" in wanted:
        return (
            "Compute with wg functions (wg.sin, not math.sin); NumPy's arrays can't hold such values: collect them in "
            "a list, and take wg.stack(values) in the end"
        )
    return "Compute with wg functions (wg.sin, not np.sin; wg.array([a, b]), not np.array([a, b]))"


def _single(x: Array, wanted: str) -> Any:
    if x.size != 1:
        raise ArgumentError(
            f"{wanted} of an array of shape {x.shape} was asked for; only an array of one element is a number. For a "
            f"test over all elements use wg.any(x) or wg.all(x).{at_user_line()}"
        )
    return np.asarray(concrete(x, wanted)).reshape(())[()]


def _real(x: Array, wanted: str, lossy: bool = True) -> Any:
    if lossy:
        _numbers(x, wanted)
    value = _single(x, wanted)
    if x.dtype.kind == "c":
        raise DTypeError(
            f"{wanted} of a complex number was asked for; take wg.real(x) or wg.abs(x) first{at_user_line()}"
        )
    return value


def _complex(x: Array) -> complex:
    _numbers(x, "the value as a complex number")
    return complex(_single(x, "the value as a complex number"))


def _item(x: Array) -> Any:
    _numbers(x, "the number")
    return _single(x, "the number").item()


def _index(x: Array) -> int:
    if x.dtype.kind not in "iu" or x.shape != ():
        raise DTypeError(f"an index is one integer, got {x.type!r}{at_user_line()}")
    return int(_single(x, "the integer value"))


def _array(x: Array, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    data = np.asarray(_numbers(x, "the NumPy array"))
    if dtype is not None and np.dtype(dtype) != data.dtype:
        if copy is False:
            raise ArgumentError(
                f"np.asarray(x, dtype={dtype}, copy=False): {x.dtype.name} cannot be shown as {dtype} without a copy"
            )
        return data.astype(dtype)
    return data.copy() if copy else data


def _iterate(x: Array) -> Iterator[Array]:
    if x.ndim == 0:
        raise ArgumentError(f"iteration over a single number (shape ()){at_user_line()}")
    return iter(unstack(x))


def _length(x: Array) -> int:
    if x.ndim == 0:
        raise ArgumentError(f"len() of a single number (shape ()){at_user_line()}")
    return x.shape[0]


def _transposed(x: Array) -> Array:
    if x.ndim != 2:
        raise NoAttributeError("T")  # said by Array.__getattr__, so that hasattr(x, "T") is False
    return permute(x, (1, 0))


def _matrix_transposed(x: Array) -> Array:
    if x.ndim < 2:
        raise NoAttributeError("mT")
    return permute(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _dlpack(
    x: Array, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
) -> Any:
    data = np.asarray(_numbers(x, "the DLPack capsule"))
    if stream is not None or (dl_device is not None and tuple(dl_device) != (1, 0)):
        raise BufferError(f"this array is on the CPU, device (1, 0), without streams; asked for {dl_device}, {stream}")
    if copy or (copy is None and not data.flags.writeable and (max_version is None or max_version[0] < 1)):
        data = data.copy()  # the first version of the protocol cannot say that memory is read-only
    try:
        return data.__dlpack__(max_version=max_version)
    except TypeError:  # a NumPy that knows the first version only
        return data.__dlpack__()


def _to_device(x: Array, device: Any, /, *, stream: Any = None) -> Array:
    require_cpu(device, "to_device")
    return x


def _no_assignment(x: Array, key: Any, value: Any) -> None:
    mask = any(getattr(k, "dtype", None) == np.bool_ for k in (key if isinstance(key, tuple) else (key,)))
    where = "; by a mask, wg.where(mask, value, x) does it, too" if mask else ""
    raise ArgumentError(
        f"an Array does not change in place: for x[i] = v write x = x.at[i].set(v), for x[i] += v write x = "
        f"x.at[i].add(v), here with i = {_spelled(key)}; there are .multiply, .min and .max, too{where}{at_user_line()}"
    )


def _spelled(key: Any) -> str:
    """An index as it is typed: `1:-1, 0`; an array by its shape."""
    if isinstance(key, tuple):
        return ", ".join(map(_spelled, key)) or "()"
    if isinstance(key, slice):
        ends = ["" if v is None else _spelled(v) for v in (key.start, key.stop, key.step)]
        return ":".join(ends[:2] if key.step is None else ends)
    if key is Ellipsis:
        return "..."
    shape = getattr(key, "shape", None)
    return repr(key) if not shape else f"an array of shape {shape}"


def _copy(x: Array) -> Array:
    """The same value as another object; inside a transformation too, where a tracer's slots are what it is."""
    if x.trace is None:
        return type(x)(x.data)
    other: Array = object.__new__(type(x))
    for cls in type(x).__mro__:
        for name in getattr(cls, "__slots__", ()):
            if name != "__weakref__":
                setattr(other, name, getattr(x, name))
    return other


def _deepcopy(x: Array, memo: Any) -> Array:
    return x if x.trace is not None else type(x)(np.array(x.data) if x.ndim else x.data)


def _reduce(x: Array) -> Any:
    if x.trace is not None:
        raise ArgumentError(
            f"a traced value {x.type!r} cannot be pickled; return it from the function first{at_user_line()}"
        )
    return type(x), (np.ascontiguousarray(x.data) if x.ndim else x.data,)


def _format(x: Array, spec: str) -> str:
    return format(x.item(), spec) if spec else str(x)


def _namespace(x: Array, *, api_version: str | None = None) -> Any:
    if api_version is not None and api_version not in ("2021.12", "2022.12", "2023.12", "2024.12"):
        raise ArgumentError(f"array API version {api_version!r} is not supported; this is 2024.12")
    return sys.modules["wengert"]


def install() -> None:
    """Attach the methods to `Array`."""
    methods = {
        "__repr__": _repr,
        "__bool__": lambda x: bool(_single(x, "the truth value")),
        "__int__": lambda x: int(_real(x, "the integer value", lossy=False)),
        "__float__": lambda x: float(_real(x, "the value as a float")),
        "__complex__": _complex,
        "__index__": _index,
        "__array__": _array,
        "__iter__": _iterate,
        "__len__": _length,
        "__dlpack__": _dlpack,
        "__setitem__": _no_assignment,
        "__copy__": _copy,
        "__deepcopy__": _deepcopy,
        "__reduce__": _reduce,
        "__format__": _format,
        "to_device": _to_device,
        "__dlpack_device__": lambda x: (1, 0),
        "__array_namespace__": _namespace,
        "item": _item,
        "tolist": lambda x: np.asarray(_numbers(x, "the list of numbers")).tolist(),
        "T": property(_transposed),
        "mT": property(_matrix_transposed),
        "device": property(lambda x: "cpu"),
    }
    for name, method in methods.items():
        setattr(Array, name, method)


install()
