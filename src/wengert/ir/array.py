"""The value that users hold. `ops.operators` and `array`, which see the primitives, attach operators and methods.

A concrete `Array` holds an `ndarray` (or a NumPy scalar, for a single number). A `Tracer` stands for a value inside
a running transformation (a `Trace`); traces nest, and each has a level: the transformation entered last is on top.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from wengert.errors import AbstractValueError, NoAttributeError
from wengert.ir.types import ArrayType, Shape
from wengert.module import moments
from wengert.source import at_user_line
from wengert.spelling import ARRAY, instead


class Array:  # noqa: PLW1641  its operators and its hash are attached with the rest
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

    if TYPE_CHECKING:  # attached by `ops.operators` and `array`; stated here for type checkers and editors

        def __add__(self, other: Any, /) -> Array: ...
        def __radd__(self, other: Any, /) -> Array: ...
        def __sub__(self, other: Any, /) -> Array: ...
        def __rsub__(self, other: Any, /) -> Array: ...
        def __mul__(self, other: Any, /) -> Array: ...
        def __rmul__(self, other: Any, /) -> Array: ...
        def __truediv__(self, other: Any, /) -> Array: ...
        def __rtruediv__(self, other: Any, /) -> Array: ...
        def __floordiv__(self, other: Any, /) -> Array: ...
        def __rfloordiv__(self, other: Any, /) -> Array: ...
        def __mod__(self, other: Any, /) -> Array: ...
        def __rmod__(self, other: Any, /) -> Array: ...
        def __pow__(self, other: Any, /) -> Array: ...
        def __rpow__(self, other: Any, /) -> Array: ...
        def __matmul__(self, other: Any, /) -> Array: ...
        def __rmatmul__(self, other: Any, /) -> Array: ...
        def __and__(self, other: Any, /) -> Array: ...
        def __rand__(self, other: Any, /) -> Array: ...
        def __or__(self, other: Any, /) -> Array: ...
        def __ror__(self, other: Any, /) -> Array: ...
        def __xor__(self, other: Any, /) -> Array: ...
        def __rxor__(self, other: Any, /) -> Array: ...
        def __lshift__(self, other: Any, /) -> Array: ...
        def __rlshift__(self, other: Any, /) -> Array: ...
        def __rshift__(self, other: Any, /) -> Array: ...
        def __rrshift__(self, other: Any, /) -> Array: ...
        def __lt__(self, other: Any, /) -> Array: ...
        def __le__(self, other: Any, /) -> Array: ...
        def __gt__(self, other: Any, /) -> Array: ...
        def __ge__(self, other: Any, /) -> Array: ...
        def __eq__(self, other: Any, /) -> Array: ...  # type: ignore[override]
        def __ne__(self, other: Any, /) -> Array: ...  # type: ignore[override]
        def __neg__(self) -> Array: ...
        def __pos__(self) -> Array: ...
        def __abs__(self) -> Array: ...
        def __invert__(self) -> Array: ...
        def __getitem__(self, index: Any, /) -> Array: ...
        def __iter__(self) -> Iterator[Array]: ...
        def __len__(self) -> int: ...
        def __bool__(self) -> bool: ...
        def __int__(self) -> int: ...
        def __float__(self) -> float: ...
        def __complex__(self) -> complex: ...
        def __index__(self) -> int: ...
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray: ...

    def __getattr__(self, name: str) -> Any:  # attached methods are found before this is reached
        if name in ("T", "mT"):  # a property that raised
            fits = "matrices; use x.mT for stacks of them" if name == "T" else "matrices and stacks of them"
            raise NoAttributeError(
                f"x.{name} is for {fits}, or wg.permute_dims; got shape {self.shape}{at_user_line()}"
            )
        other = instead(name, ARRAY)
        raise NoAttributeError(
            f"an Array has no attribute {name!r}"
            + (other or "; functions live at top level, as in the array API standard (wg.sin(x))")
        )


class WeakArray(Array):
    """A Python number as a value: computes in double precision, takes the type of the first array it meets."""

    __slots__ = ()
    weak = True


class Trace:
    """A running transformation: `process` applies a primitive to arguments of which at least one is its tracer."""

    __slots__ = ("closed", "level")
    what = "a transformation"
    differentiates = False  # whether turning a tracer into plain numbers loses a derivative

    def __init__(self) -> None:
        self.level = next(moments)  # never the same number twice, whatever threads ask
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
