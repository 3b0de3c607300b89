"""Functions of the standard as methods: `x.sum(axis=0)` is `wg.sum(x, axis=0)`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from wengert.array import cumulative, dtypes, elementwise, manipulation, reductions, searching
from wengert.array.creation import copied
from wengert.errors import ArgumentError
from wengert.ir.array import Array

_SAME = (
    reductions.all, reductions.any, reductions.argmax, reductions.argmin, reductions.max, reductions.mean,
    reductions.min, reductions.prod, reductions.std, reductions.sum, reductions.var, dtypes.astype,
    cumulative.cumsum, cumulative.cumprod, elementwise.conj, elementwise.round,
    manipulation.ravel, manipulation.repeat, manipulation.squeeze, manipulation.swapaxes, searching.clip,
    searching.nonzero,
)  # fmt: skip


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def method(x: Array, *args: Any, out: None = None, **options: Any) -> Any:
        if out is not None:  # NumPy's own functions, np.sum(x) say, call methods with out=None
            raise ArgumentError(f"{function.__name__}: an Array does not change in place, so out= has no meaning")
        if options.get("dtype", ...) is None:  # and with dtype=None
            del options["dtype"]
        if "ddof" in options:  # NumPy's word for the standard's `correction`
            options["correction"] = options.pop("ddof")
        return function(x, *args, **options)

    return method


def _reshape(x: Array, *shape: Any, copy: bool | None = None) -> Array:
    """`x.reshape(2, 3)` or `x.reshape((2, 3))`; see `wg.reshape`."""
    return manipulation.reshape(x, shape[0] if len(shape) == 1 else shape, copy=copy)


def _transpose(x: Array, *axes: Any) -> Array:
    """`x.transpose()` reverses the axes; `x.transpose(1, 0)` or `x.transpose((1, 0))` orders them."""
    order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
    return manipulation.transpose(x, order or None)


def _copy(x: Array) -> Array:
    """An array with memory of its own."""
    return copied(x)


def install() -> None:
    """Attach them to `Array`."""
    for function in _SAME:
        setattr(Array, function.__name__, _method(function))
    Array.reshape, Array.transpose, Array.copy = _reshape, _transpose, _copy  # type: ignore[attr-defined]
    Array.flatten = manipulation.ravel  # type: ignore[attr-defined]
    Array.real, Array.imag = property(elementwise.real), property(elementwise.imag)  # type: ignore[attr-defined]
    Array.nbytes = property(lambda x: x.size * x.dtype.itemsize)  # type: ignore[attr-defined]
    Array.itemsize = property(lambda x: x.dtype.itemsize)  # type: ignore[attr-defined]


install()
