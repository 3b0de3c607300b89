"""Comparisons, logic, and the choice between two arrays."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import DTypeError
from wengert.ir.array import Array
from wengert.ir.maps import Map
from wengert.ir.primitive import Params, registry
from wengert.ir.types import ArrayType, Shape, broadcast_shapes
from wengert.ops.elementwise import Elementwise, NotDifferentiable, stretch_to, sum_to
from wengert.ops.promote import as_array, promote
from wengert.source import at_user_line


def _comparison(name: str, ufunc: Any, sign: str, takes: str = "bif") -> NotDifferentiable:
    return NotDifferentiable(name, ufunc, arity=2, takes=takes, gives="bool", doc=f"`x {sign} y`, elementwise.")


equal = _comparison("equal", operator.eq, "==", "bifc")
not_equal = _comparison("not_equal", operator.ne, "!=", "bifc")
less = _comparison("less", operator.lt, "<")
less_equal = _comparison("less_equal", operator.le, "<=")
greater = _comparison("greater", operator.gt, ">")
greater_equal = _comparison("greater_equal", operator.ge, ">=")

isfinite = NotDifferentiable(
    "isfinite", np.isfinite, arity=1, takes="bifc", gives="bool", doc="Whether `x` is neither NaN nor infinite."
)
isinf = NotDifferentiable("isinf", np.isinf, arity=1, takes="bifc", gives="bool", doc="Whether `x` is infinite.")
isnan = NotDifferentiable("isnan", np.isnan, arity=1, takes="bifc", gives="bool", doc="Whether `x` is NaN.")
signbit = NotDifferentiable(
    "signbit", np.signbit, arity=1, takes="f", gives="bool", doc="Whether the sign bit of `x` is set."
)

logical_and = NotDifferentiable(
    "logical_and", np.logical_and, arity=2, takes="b", gives="bool", doc="`x and y`, elementwise."
)
logical_or = NotDifferentiable(
    "logical_or", np.logical_or, arity=2, takes="b", gives="bool", doc="`x or y`, elementwise."
)
logical_xor = NotDifferentiable(
    "logical_xor", np.logical_xor, arity=2, takes="b", gives="bool", doc="Exactly one of `x` and `y`."
)
logical_not = NotDifferentiable(
    "logical_not", np.logical_not, arity=1, takes="b", gives="bool", doc="`not x`, elementwise."
)


class Select(Elementwise):
    """`x` where the condition holds, else `y`. The side that is not taken has derivative exactly 0."""

    def __init__(self) -> None:
        super().__init__("select", np.where, arity=3)
        self.differentiable = True
        self.factors = (None, "one", "one")

    def __call__(self, condition: Any, x: Any, y: Any) -> Array:  # type: ignore[override]
        condition = as_array(condition, self.name)
        return self.bind(condition, *promote(self.name, (x, y)))

    def type(self, condition: ArrayType, x: ArrayType, y: ArrayType) -> ArrayType:  # type: ignore[override]
        if condition.dtype.kind != "b":
            raise DTypeError(
                f"where: the condition is {condition.dtype.name}, expected bool; compare it (x != 0){at_user_line()}"
            )
        if x.dtype != y.dtype:
            raise DTypeError(f"where: the two sides are {x.dtype.name} and {y.dtype.name}{at_user_line()}")
        return ArrayType(broadcast_shapes([condition.shape, x.shape, y.shape], "where"), x.dtype)

    def weak_result(self, args: Sequence[Any], params: Params) -> bool:
        return args[1].weak and args[2].weak

    def evaluate(self, condition: Any, x: Any, y: Any) -> Any:  # type: ignore[override]
        if condition.dtype.kind != "b":
            raise ValueError("condition is not boolean")
        return np.where(condition, x, y)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        return Mask(values[0], values[i].shape, out.shape, keep=i == 1) if i else None


class Mask(Map):
    """Keeps the elements where `condition` is `keep`, sets the others to 0."""

    __slots__ = ("condition", "keep", "out_shape", "shape")
    kind = "mask"

    def __init__(self, condition: Array, shape: Shape, out_shape: Shape, keep: bool):
        self.condition = condition
        self.shape = shape
        self.out_shape = out_shape
        self.keep = keep

    @property
    def factor(self) -> Array:
        mask = self.condition if self.keep else logical_not.bind(self.condition)
        return registry["convert"].bind(mask, dtype=np.dtype(np.float32), weak=False)

    def _apply(self, t: Array) -> Array:
        return select(self.condition, t, 0) if self.keep else select(self.condition, 0, t)

    def push(self, tangent: Array) -> Array:
        return stretch_to(self._apply(tangent), self.out_shape)

    def pull(self, cotangent: Array) -> Array:
        return sum_to(self._apply(cotangent), self.shape)


select = Select()
