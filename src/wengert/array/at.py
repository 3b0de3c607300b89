"""`x.at[...]`: changed copies, in the index language of `x[...]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.array.indexing import MaskError, Plan, getitem
from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import broadcast_shapes
from wengert.ops.arithmetic import add, divide, maximum, minimum, multiply, power
from wengert.ops.compare import select
from wengert.ops.dynamic import dynamic_update_slice_p
from wengert.ops.index import scatter
from wengert.ops.promote import number, promote
from wengert.ops.shape import broadcast_to, flip_p, pad_p, permute, reshape
from wengert.source import at_user_line

_OPERATIONS = {"add": add, "mul": multiply, "min": minimum, "max": maximum, "divide": divide, "power": power}


class At:
    """`x.at`: takes an index and gives the changes that can be made there."""

    __slots__ = ("_x",)

    def __init__(self, x: Array):
        self._x = x

    def __getitem__(self, index: Any) -> Place:
        return Place(self._x, index)


class Place:
    """Some elements of an array: `x.at[index]`. Every method gives a new array of the shape and type of `x`.

    Values broadcast to the shape of `x[index]` and must not be of a wider type than `x`: nothing is down-cast silently.
    Where an index names an element twice, `set` keeps the last value, and `add`, `multiply`, `divide`, `power`, `min`
    and `max` apply every one. A traced index that is out of range changes nothing. A traced boolean mask may stand
    alone, with a single number as value. All are differentiable in `x` and in the value.

    Raises (by every method):
        ShapeError: a known index is out of range, or the value does not broadcast.
        DTypeError: the value is of a wider type than `x`.

    Example:
        >>> wg.zeros(3).at[1].set(5.0)
        Array([0., 5., 0.], dtype=float32)
    """

    __slots__ = ("_index", "_x")

    def __init__(self, x: Array, index: Any):
        self._x = x
        self._index = index

    def get(self) -> Array:
        """`x[index]`."""
        return getitem(self._x, self._index)

    def set(self, value: Any) -> Array:
        """`x` with `value` there."""
        return self._change("set", value)

    def add(self, value: Any) -> Array:
        """`x` with `value` added there."""
        return self._change("add", value)

    def multiply(self, value: Any) -> Array:
        """`x` multiplied by `value` there."""
        return self._change("mul", value)

    mul = multiply

    def min(self, value: Any) -> Array:
        """The smaller of `x` and `value` there; NaN if either is."""
        return self._change("min", value)

    def max(self, value: Any) -> Array:
        """The larger of `x` and `value` there; NaN if either is."""
        return self._change("max", value)

    def divide(self, value: Any) -> Array:
        """`x` divided by `value` there; `x` is floating."""
        if self._x.dtype.kind not in "fc":
            raise DTypeError(
                f"x.at[…].divide: a quotient does not fit into {self._x.dtype.name}; convert first{at_user_line()}"
            )
        return self._change("divide", value)

    def power(self, value: Any) -> Array:
        """`x` to the power `value` there."""
        return self._change("power", value)

    def apply(self, f: Callable[[Array], Any]) -> Array:
        """`f(x[index])` put back; where an element is named twice, the last result stays."""
        return self.set(f(self.get()))

    # How it is done.

    def _operands(self, value: Any) -> tuple[Array, Array]:
        x, v = promote("x.at[…]", (self._x, value))
        if x.dtype != self._x.dtype:
            raise DTypeError(
                f"x.at[…]: a value of {v.dtype.name} does not fit into an array of {self._x.dtype.name}; convert the "
                f"value (value.astype(x.dtype)) or the array{at_user_line()}"
            )
        return x, v

    def _change(self, mode: str, value: Any) -> Array:
        x, value = self._operands(value)
        try:
            plan = Plan(x.shape, self._index)
        except MaskError as error:
            return self._where(error, mode, x, value)
        if broadcast_shapes([value.shape, plan.shape], "x.at[…]") != plan.shape:
            raise ShapeError(
                f"x.at[…].{mode}: a value of shape {value.shape} does not broadcast to the {plan.shape} of "
                f"x[index]{at_user_line()}"
            )
        value = broadcast_to(value, plan.shape)
        if not plan.arrays and mode == "add":
            return x + _spread(plan, value)
        if mode in ("divide", "power") and not plan.unique:  # (x / a) / b = x / (a·b), and (x ** a) ** b = x ** (a·b)
            ones = broadcast_to(number(1, x.dtype), x.shape)
            return _OPERATIONS[mode](x, _scattered(plan, ones, value, "mul"))
        if mode != "set" and (not plan.arrays or mode in ("divide", "power")):
            mode, value = "set", _OPERATIONS[mode](plan.get(x), value)
        if not plan.arrays and all(step in (1, -1) or count <= 1 for _, step, count in plan.region):
            return _written(plan, x, value)
        return _scattered(plan, x, value, mode)

    def _where(self, error: MaskError, mode: str, x: Array, value: Array) -> Array:
        index = self._index[0] if type(self._index) is tuple and len(self._index) == 1 else self._index
        if value.ndim or type(index) is tuple:
            raise error
        mask = reshape(error.mask, (*error.mask.shape, *(1,) * (x.ndim - error.mask.ndim)))
        return select(mask, value if mode == "set" else _OPERATIONS[mode](x, value), x)


def _block(plan: Plan, value: Array) -> Array:
    """A value in the shape of `x[index]`, without arrays in the index, as a block of `x` with its axes forward."""
    value = reshape(value, tuple(count for _, _, count in plan.region))
    back = tuple(k for k, (_, step, count) in enumerate(plan.region) if step < 0 and count > 1)
    return flip_p.bind(value, axes=back) if back else value


def _low(first: int, step: int, count: int) -> int:
    """The smallest of the positions of a region that is not empty."""
    return min(first, first + (count - 1) * step) if count else 0


def _spread(plan: Plan, value: Array) -> Array:
    """The value at its place in zeros of the shape of `x`."""
    padding = []
    for d, (first, step, count) in zip(plan.x_shape, plan.region, strict=True):
        low, inner = _low(first, step, count), abs(step) - 1
        padding.append((low, d - low - (count - 1) * (inner + 1) - 1, inner) if count else (0, d, 0))
    return pad_p.bind(_block(plan, value), number(0, value.dtype), padding=tuple(padding))


def _written(plan: Plan, x: Array, value: Array) -> Array:
    starts = [Array(np.int64(_low(*r))) for r in plan.region]
    return dynamic_update_slice_p.bind(x, _block(plan, value), *starts)


def _scattered(plan: Plan, x: Array, value: Array, mode: str) -> Array:
    """By a scatter, in which every axis that is not taken whole has an index array.

    The value is brought into the order of a scatter: axes made by arrays, axes cut by slices, whole axes.
    """
    region = plan.region
    named = [axis for axis, _ in plan.arrays if axis is not None]
    others = [k for k in range(x.ndim) if k not in named and k not in plan.single]
    cut = [k for k in others if region[k] != (0, 1, plan.x_shape[k])]
    whole = [k for k in others if k not in cut]
    n, p = len(plan.lead), len(cut)
    at: list[int] = []  # where each part of the layout that is no new axis begins in the value without new axes
    width = 0
    layout = [part for part in plan.layout if part is not None]
    for part in layout:
        at.append(width)
        width += n if part == "lead" else 1
    lead = [at[layout.index("lead")] + i for i in range(n)] if n else []
    value = reshape(value, tuple(d for part in layout for d in (plan.lead if part == "lead" else (region[part][2],))))
    value = permute(value, (*lead, *(at[layout.index(k)] for k in (*cut, *whole))))
    indices = [reshape(a, (*a.shape, *(1,) * p)) for axis, a in plan.arrays if axis is not None]
    for j, k in enumerate(cut):
        first, step, count = region[k]
        positions = np.arange(count) * step + first
        indices.append(Array(positions.reshape((count, *(1,) * (p - 1 - j)))))
    single = sorted(plan.single)
    indices += [Array(np.int64(region[k][0])) for k in single]
    axes = (*named, *cut, *single)
    shape = broadcast_shapes([i.shape for i in indices]) if indices else ()
    made = (*plan.lead, *(region[k][2] for k in cut))
    if indices and shape != made:  # a condition of no axes stretches the others
        indices[0] = broadcast_to(indices[0], made)
    elif not indices and n:  # and may stand alone: nothing is indexed then, so take the only axis that it makes away
        return x if 0 in plan.lead else Place(x, ...)._change(mode, reshape(value, x.shape))
    return scatter(x, value, indices, tuple(axes), mode, plan.unique)


def install() -> None:
    """Attach `at` to `Array`."""
    Array.at = property(At)  # type: ignore[attr-defined]


install()
