"""Reductions over axes: sum, product, extremes, logic. The result drops the axes; `keepdims` is a reshape outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.maps import Compose, Linear, Map
from wengert.ir.primitive import Params, Primitive, Unsupported
from wengert.ir.types import ArrayType, Shape, bool_, int64
from wengert.ops.compare import equal
from wengert.ops.elementwise import Scale
from wengert.ops.promote import convert, number
from wengert.ops.shape import broadcast_to, broadcast_to_p, concat_p, permute, reshape, slice_p
from wengert.source import at_user_line


def kept_shape(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """The shape with the reduced axes kept at length 1."""
    return tuple(1 if i in axes else d for i, d in enumerate(shape))


def expand(x: Array, shape: Shape, axes: tuple[int, ...]) -> Array:
    """A reduced array stretched back over the reduced axes to `shape`."""
    if axes != tuple(range(len(axes))):  # leading axes come back by broadcasting alone
        x = reshape(x, kept_shape(shape, axes))
    return broadcast_to(x, shape)


class Reduction(Primitive):
    """What all reductions share: the type rule, batching and sparsity."""

    def __init__(
        self,
        name: str,
        ufunc: Callable[..., Any],
        takes: str,
        gives: np.dtype | None = None,
        identity: bool = True,
        doc: str = "",
    ):
        super().__init__(name)
        self.ufunc = ufunc
        self.takes = takes
        self.gives = gives
        self.identity = identity
        self.__doc__ = doc

    def type(self, x: ArrayType, *, axes: tuple[int, ...]) -> ArrayType:  # type: ignore[override]
        kind = "i" if x.dtype.kind == "u" else x.dtype.kind
        if kind not in self.takes:
            raise DTypeError(f"{self.name} is not defined for {x.dtype.name}{at_user_line()}")
        if not self.identity and any(x.shape[i] == 0 for i in axes):
            raise ShapeError(
                f"{self.name} over axes {axes} of shape {x.shape}: no elements to choose from{at_user_line()}"
            )
        return ArrayType(tuple(d for i, d in enumerate(x.shape) if i not in axes), self.gives or x.dtype)

    def evaluate(self, x: Any, *, axes: tuple[int, ...]) -> Any:  # type: ignore[override]
        out = self.ufunc(x, axis=axes)
        wanted = x.dtype if self.gives is None else self.gives
        return out if out.dtype is wanted or out.dtype == wanted else out.astype(wanted)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (x,), (at,) = values, axes
        assert at is not None
        moved = {**params, "axes": tuple(i + (i >= at) for i in params["axes"])}
        return self.bind(x, **moved), at - sum(i < at for i in moved["axes"])

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        return np.bitwise_or.reduce(patterns[0], axis=params["axes"]) if params["axes"] else patterns[0]


class Sum(Reduction):
    """The sum over `axes`."""

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map:
        return Linear(self, 0, values, params)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        shape, axes = values[0].shape, params["axes"]
        if axes and len(axes) == len(shape):  # over everything, the commonest of sums
            return broadcast_to_p.bind(ct, shape=shape)
        return expand(ct, shape, axes)


class Extreme(Reduction):
    """The largest or smallest element over `axes`; elements that tie share the derivative equally."""

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map:
        (x,), axes = values, params["axes"]
        chosen = convert(equal(x, expand(out, x.shape, axes)), x.dtype)
        share = chosen / expand(sum_p.bind(chosen, axes=axes), x.shape, axes)
        return Compose(Scale(share, x.shape, x.shape), Linear(sum_p, 0, (x,), params))


class Product(Reduction):
    """The product over `axes`. The derivative by an element is the product of the others, also where some are 0."""

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map:
        (x,), axes = values, params["axes"]
        kept = tuple(k for k in range(x.ndim) if k not in axes)
        rows = permute(x, kept + axes)
        flat = reshape(rows, (*(x.shape[k] for k in kept), ArrayType(tuple(x.shape[k] for k in axes), x.dtype).size))
        order = kept + axes
        factor = permute(reshape(_others(flat), rows.shape), tuple(order.index(k) for k in range(x.ndim)))
        return Compose(Scale(factor, x.shape, x.shape), Linear(sum_p, 0, (x,), params))


def _others(x: Array) -> Array:
    """For each element along the last axis, the product of the others: up and down a binary tree, without division."""
    *lead, n = x.shape
    one = broadcast_to(number(1, x.dtype), (*lead, 1))
    if n < 2:
        return broadcast_to(one, x.shape)
    if n % 2:
        return _part(_others(concat_p.bind(x, one, axis=len(lead))), 0, n, 1)
    left, right = _part(x, 0, n, 2), _part(x, 1, n, 2)
    above = _others(left * right)
    pairs = [reshape(p, (*p.shape, 1)) for p in (above * right, above * left)]
    return reshape(concat_p.bind(*pairs, axis=len(lead) + 1), x.shape)


def _part(x: Array, start: int, stop: int, step: int) -> Array:
    last = x.ndim - 1
    return slice_p.bind(x, start=(0,) * last + (start,), stop=(*x.shape[:-1], stop), step=(1,) * last + (step,))


class Logical(Reduction):
    """`any` or `all`."""

    differentiable = False
    partial = Unsupported("a truth value does not change continuously")  # type: ignore[assignment]


class ArgExtreme(Reduction):
    """The index of the first largest or smallest element along one axis."""

    differentiable = False
    partial = Unsupported("an index does not change continuously")  # type: ignore[assignment]

    def evaluate(self, x: Any, *, axes: tuple[int, ...]) -> Any:  # type: ignore[override]
        return self.ufunc(x, axis=axes[0]).astype(int64)


sum_p = Sum("sum", np.add.reduce, "bifc")
prod_p = Product("prod", np.multiply.reduce, "ifc")
max_p = Extreme("max", np.maximum.reduce, "bif", identity=False)
min_p = Extreme("min", np.minimum.reduce, "bif", identity=False)
any_p = Logical("any", np.logical_or.reduce, "bifc", gives=bool_)
all_p = Logical("all", np.logical_and.reduce, "bifc", gives=bool_)
argmax_p = ArgExtreme("argmax", np.argmax, "bif", gives=int64, identity=False)
argmin_p = ArgExtreme("argmin", np.argmin, "bif", gives=int64, identity=False)
