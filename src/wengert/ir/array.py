"""The value that users hold. Operators and methods are attached in `ops.operators` and `array`, which see the primitives.

A concrete `Array` holds an `ndarray` (or a NumPy scalar, for a single number). A `Tracer` stands for a value inside
a running transformation (a `Trace`); traces nest, and each has a level: the transformation entered last is on top.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from wengert.errors import AbstractValueError
from wengert.ir.source import at_user_line
from wengert.ir.types import ArrayType, Shape


class Array:
    """An n-dimensional array of one element type. Immutable: `x.at[i].set(v)` gives a changed copy.

    Made by `wg.asarray`, the creation functions and every operation; `np.asarray(x)` shows it without a copy.
    """

    __slots__ = ("__weakref__", "data")
    trace: Any = None
    weak: bool = False
    __array_priority__: ClassVar[float] = 100.0

    def __init__(self, data: Any):
        self.data = data

    @property
    def shape(self) -> Shape:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        n = 1
        for d in self.shape:
            n *= d
        return n

    @property
    def type(self) -> ArrayType:
        return ArrayType(self.shape, self.dtype, self.weak)

    def __getattr__(self, name: str) -> Any:  # attached methods are found before this is reached
        raise AttributeError(
            f"an Array has no attribute {name!r}; functions live at top level, as in the array API standard (wg.sin(x))"
        )


class WeakArray(Array):
    """A Python number as a value: computes in double precision, takes the type of the first array it meets."""

    __slots__ = ()
    weak = True


class Trace:
    """A running transformation: `process` applies a primitive to arguments of which at least one is its tracer."""

    __slots__ = ("closed", "level")
    what = "a transformation"
    _entered = 0

    def __init__(self) -> None:
        Trace._entered += 1
        self.level = Trace._entered
        self.closed = False

    def process(self, primitive: Any, args: tuple[Array, ...], params: dict[str, Any]) -> Any:
        raise NotImplementedError


class Tracer(Array):
    """A value inside a transformation; `data` is the value one level down, or None where only the type is known."""

    __slots__ = ("trace",)

    def __init__(self, trace: Trace, data: Any):
        self.trace = trace
        self.data = data

    @property
    def weak(self) -> bool:  # type: ignore[override]
        return self.data.weak


def concrete(x: Array, wanted: str = "its value") -> Any:
    """The ndarray at the bottom of `x`; an error that says what to do when `x` is abstract."""
    while x.trace is not None:
        below = x.concrete_below() if hasattr(type(x), "concrete_below") else x.data
        if below is None:
            raise AbstractValueError(
                f"{wanted} of an abstract value {x.type} was asked for while {x.trace.what} was tracing: there, values "
                "have types but no numbers. A Python `if` or `while` on it: use wg.where, wg.cond or wg.while_loop. A "
                "shape or an index made from it: pass that number as a plain Python int, outside the traced arguments."
                + at_user_line()
            )
        x = below
    return x.data
