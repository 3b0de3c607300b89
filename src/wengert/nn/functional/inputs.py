"""What layers are given: brought to the type of their parameters, or refused in terms of both."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ops.promote import as_array, convert
from wengert.source import at_user_line


def as_input(x: Any, parameter: Any, what: Any, mine: str = "the input", theirs: str = "the parameters") -> Array:
    """`x` in the type of `parameter`: Python numbers follow it, arrays must have it already.

    `what` (a layer, or a name), and what `x` and the other are called, are for the message.

    Raises:
        DTypeError: another type, which is never converted in silence.
    """
    x = as_array(x, what)
    if parameter is None:
        return as_floating(x, what)
    if x.dtype != parameter.dtype:
        if not x.weak:
            name = parameter.dtype.name
            other = f", or model.to(wg.{x.dtype.name})" if theirs == "the parameters" and x.dtype.kind == "f" else ""
            raise DTypeError(
                f"{what}: {mine} has type {x.dtype.name}, {theirs} {name}; convert one of them: "
                f"x.astype(wg.{name}){other}{at_user_line()}"
            )
        x = convert(x, np.dtype(parameter.dtype))
    return x


def as_floating(x: Any, what: Any) -> Array:
    """`x` as an array of real or complex numbers; integers and booleans are refused."""
    x = as_array(x, what)
    if x.weak and x.dtype.kind == "i":
        return convert(x, np.dtype(np.float64), True)
    if x.dtype.kind not in "fc":
        raise DTypeError(f"{what}: the input is {x.dtype.name}; expected a float: x.astype(wg.float32){at_user_line()}")
    return x


def as_integers(x: Any, what: str) -> Array:
    """`x` as an array of integers, such as labels or positions in a table."""
    x = as_array(x, what)
    if x.dtype.kind not in "iu":
        raise DTypeError(f"{what} are {x.dtype.name}; expected integers: x.astype(wg.int64){at_user_line()}")
    return x


def check_features(x: Array, n: int, what: Any, axis: int = -1, name: str = "features") -> None:
    """Refuse an input that doesn't have `n` features (or channels) along `axis`."""
    if x.ndim < (axis + 1 if axis >= 0 else -axis) or x.shape[axis] != n:
        given = f"{x.shape[axis]}" if x.ndim >= (axis + 1 if axis >= 0 else -axis) else "none"
        raise ShapeError(
            f"{what}: the input of shape {x.shape} has {given} {name} (axis {axis}), the layer expects {n}"
            + at_user_line()
        )
