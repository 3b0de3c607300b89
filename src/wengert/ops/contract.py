"""Contraction: the general product of two arrays, from which matmul, einsum and tensordot are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.maps import Linear, Map
from wengert.ir.primitive import Params, Primitive
from wengert.ir.types import ArrayType, Shape
from wengert.ops.shape import broadcast_to, permute, to_front
from wengert.source import at_user_line

Axes = tuple[int, ...]


class DotGeneral(Primitive):
    """`out[b…, m…, n…] = Σ_k x[b…, m…, k…] · y[b…, n…, k…]`.

    `batch = (bx, by)` and `contract = (cx, cy)` name the axes of each input that are paired; what is left of `x` (m)
    and of `y` (n) follows in order. Axes may stand anywhere in the inputs.
    """

    def type(self, x: ArrayType, y: ArrayType, *, batch: tuple[Axes, Axes], contract: tuple[Axes, Axes]) -> ArrayType:  # type: ignore[override]
        if x.dtype != y.dtype:
            raise DTypeError(f"a product of {x.dtype.name} and {y.dtype.name}; they must be equal{at_user_line()}")
        for what, (ax, ay) in (("batch", batch), ("contracted", contract)):
            for i, j in zip(ax, ay, strict=True):
                if x.shape[i] != y.shape[j]:
                    raise ShapeError(
                        f"a product of shapes {x.shape} and {y.shape}: the {what} axes {i} and {j} have lengths "
                        f"{x.shape[i]} and {y.shape[j]}; they must be equal. For matrices, the columns of the first "
                        f"must match the rows of the second.{at_user_line()}"
                    )
        lead = tuple(x.shape[i] for i in batch[0])
        return ArrayType(
            lead + _left(x.shape, batch[0] + contract[0]) + _left(y.shape, batch[1] + contract[1]), x.dtype
        )

    def evaluate(self, x: Any, y: Any, *, batch: tuple[Axes, Axes], contract: tuple[Axes, Axes]) -> Any:  # type: ignore[override]
        cx, cy = contract
        if len(cx) == 1 and not batch[0] and x.ndim <= 2 and y.ndim <= 2:  # plain: no copies, BLAS takes either layout
            return (x if cx[0] == x.ndim - 1 else x.T).dot(y if cy[0] == 0 else y.T)
        x_order, x_shape, y_order, y_shape, shape = _as_matrices(x.shape, y.shape, batch, contract)
        left, right = x.transpose(x_order).reshape(x_shape), y.transpose(y_order).reshape(y_shape)
        out = np.matmul(left, right) if cx else left * right  # an outer product sums nothing: -0 stays -0
        return out if out.shape == shape else out.reshape(shape)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        return Linear(self, i, values, params) if out.dtype.kind in "fc" else None

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        other = values[1 - i]
        batch, contract, order = _adjoint(i, values[i].ndim, other.ndim, params["batch"], params["contract"])
        first, second = (ct, other) if i == 0 else (other, ct)
        back = self.bind(first, second, batch=batch, contract=contract)
        return back if order is None else permute(back, order)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (x, y), (ax, ay) = values, axes
        (bx, by), (cx, cy) = params["batch"], params["contract"]
        if ax is not None and ay is not None:
            x, y = to_front(x, ax), to_front(y, ay)
            return dot_general(x, y, ((0, *_up(bx)), (0, *_up(by))), (_up(cx), _up(cy))), 0
        if ax is not None:  # the batch becomes one more free axis of x, first among them
            x = to_front(x, ax)
            out = dot_general(x, y, (_up(bx), by), (_up(cx), cy))
            return out, len(bx)
        y = to_front(y, ay)
        free_x = x.ndim - len(bx) - len(cx)
        return dot_general(x, y, (bx, _up(by)), (cx, _up(cy))), len(bx) + free_x

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        # an output depends on everything in its row of x and its column of y
        (px, py), (x, y) = patterns, types
        (bx, by), (cx, cy) = params["batch"], params["contract"]
        nb, mx = len(bx), len(x.shape) - len(bx) - len(cx)
        ny = len(y.shape) - len(by) - len(cy)
        out = None
        shape = self.type(x, y, **params).shape
        for p, t, b, c, lead in ((px, x, bx, cx, True), (py, y, by, cy, False)):
            if p is None:
                continue
            free = tuple(a for a in range(len(t.shape)) if a not in b + c)
            rows = (
                np.bitwise_or.reduce(
                    p.transpose((*b, *free, *c, p.ndim - 1)), axis=tuple(range(len(b) + len(free), len(t.shape)))
                )
                if c
                else p.transpose((*b, *free, p.ndim - 1))
            )
            head = rows.shape[:nb]
            tail = rows.shape[nb:-1]
            full = rows.reshape(
                (*head, *tail, *(1,) * ny, rows.shape[-1]) if lead else (*head, *(1,) * mx, *tail, rows.shape[-1])
            )
            full = np.broadcast_to(full, (*shape, rows.shape[-1]))
            out = full if out is None else out | full
        return out


@lru_cache(maxsize=1024)
def _as_matrices(x: Shape, y: Shape, batch: tuple[Axes, Axes], contract: tuple[Axes, Axes]) -> Any:
    """How a product becomes one of stacked matrices: each input's order of axes and shape, and the result's shape."""
    (bx, by), (cx, cy) = batch, contract
    if any(x[i] != y[j] for i, j in zip(bx + cx, by + cy, strict=True)):
        raise ValueError("paired axes differ")  # where there is no element NumPy would not notice
    fx = tuple(i for i in range(len(x)) if i not in bx + cx)
    fy = tuple(i for i in range(len(y)) if i not in by + cy)
    lead, left, right = tuple(x[i] for i in bx), tuple(x[i] for i in fx), tuple(y[i] for i in fy)
    k = math.prod(x[i] for i in cx)
    x_matrix, y_matrix = (*lead, math.prod(left), k), (*lead, k, math.prod(right))
    return bx + fx + cx, x_matrix, by + cy + fy, y_matrix, lead + left + right


@lru_cache(maxsize=1024)
def _adjoint(i: int, ndim: int, other_ndim: int, batch: Any, contract: Any) -> tuple[Any, Any, Axes | None]:
    """The product that is adjoint in input `i`: its batch and contracted axes; an order to bring its axes to, or None.

    The cotangent has axes (batch, free of x, free of y). It is contracted with the other input over that input's free
    axes, and stands on the side of the free axes that remain, so that for matrices no axes need to move.
    """
    bx, cx = batch[i], contract[i]
    bo, co = batch[1 - i], contract[1 - i]
    free = tuple(a for a in range(ndim) if a not in bx + cx)
    other_free = tuple(a for a in range(other_ndim) if a not in bo + co)
    lead = tuple(range(len(bx)))
    start = len(bx) + (len(free) if i == 0 else 0)
    over = tuple(range(start, start + len(other_free)))
    rest = [cx[co.index(a)] for a in sorted(co)]  # the contracted axes of the other come out in its order
    if i == 0:
        made = [*bx, *free, *rest]
        pairs: Any = ((lead, bo), (over, other_free))
    else:
        made = [*bx, *rest, *free]
        pairs = ((bo, lead), (other_free, over))
    return (*pairs, None if made == sorted(made) else tuple(made.index(a) for a in range(ndim)))


def _left(shape: tuple[int, ...], taken: Axes) -> tuple[int, ...]:
    return tuple(d for i, d in enumerate(shape) if i not in taken)


def _up(axes: Axes) -> Axes:
    return tuple(a + 1 for a in axes)


dot_general_p = DotGeneral("dot_general")


def dot_general(x: Array, y: Array, batch: tuple[Axes, Axes], contract: tuple[Axes, Axes]) -> Array:
    """The general product; see `DotGeneral`."""
    return dot_general_p.bind(x, y, batch=batch, contract=contract)


def matmul(x: Array, y: Array) -> Array:
    """The matrix product over the last two axes, leading axes broadcast; one-dimensional operands are vectors."""
    m, n = x.ndim, y.ndim
    if m == 0 or n == 0:
        raise ShapeError(
            f"matmul of shapes {x.shape} and {y.shape}: a single number is no matrix; multiply with *{at_user_line()}"
        )
    if m == 1 or n <= 2:  # one side without batch: its columns follow the other's rows
        return dot_general_p.bind(x, y, batch=((), ()), contract=((m - 1,), (n - 2 if n > 1 else 0,)))
    if m == 2:
        out = dot_general(x, y, ((), ()), ((1,), (n - 2,)))  # m, batch, n
        return permute(out, (*range(1, n - 1), 0, n - 1))
    lead = _broadcast_lead(x, y)
    x = broadcast_to(x, (*lead, *x.shape[-2:]))
    y = broadcast_to(y, (*lead, *y.shape[-2:]))
    b = tuple(range(len(lead)))
    return dot_general(x, y, (b, b), ((x.ndim - 1,), (y.ndim - 2,)))


def _broadcast_lead(x: Array, y: Array) -> tuple[int, ...]:
    from_shapes = (x.shape[:-2], y.shape[:-2])
    ndim = max(map(len, from_shapes))
    wide = [(1,) * (ndim - len(s)) + s for s in from_shapes]
    for a, b in zip(*wide, strict=True):
        if a != b and 1 not in (a, b):
            raise ShapeError(
                f"matmul of shapes {x.shape} and {y.shape}: the leading axes do not broadcast{at_user_line()}"
            )
    return tuple(max(a, b) if 0 not in (a, b) else 0 for a, b in zip(*wide, strict=True))
