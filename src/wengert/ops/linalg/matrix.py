"""What matrix primitives share: leading batch axes, sparsity, type checks, and the formulas that rules are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.primitive import Params, Primitive
from wengert.ir.types import ArrayType, complex64, complex128, float32, float64
from wengert.ops.compare import equal, select
from wengert.ops.complex import conj
from wengert.ops.promote import convert
from wengert.ops.reduce import max_p, sum_p
from wengert.ops.shape import broadcast_to, permute, reshape, slice_p, to_front
from wengert.source import at_user_line

LAPACK_TYPES = (float32, float64, complex64, complex128)


class MatrixPrimitive(Primitive):
    """A function of matrices, applied to each matrix of a stack: the leading axes of all inputs are equal.

    `ranks[i]` says how many trailing axes of input i belong to one matrix (2), vector (1) or number (0).
    """

    ranks: Iterable[int] = (2,)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        moved = [
            broadcast_to(v, (size, *v.shape)) if at is None else to_front(v, at)
            for v, at in zip(values, axes, strict=True)
        ]
        out = self.bind(*moved, **params)
        return (out, (0,) * len(out)) if self.multiple else (out, 0)

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        # every output of one matrix depends on all of that matrix, and on no other matrix of the stack
        union = None
        for pattern, rank in zip(patterns, self.ranks, strict=False):
            if pattern is not None:
                last = pattern.ndim - 1
                bits = np.bitwise_or.reduce(pattern, axis=tuple(range(last - rank, last)))
                union = bits if union is None else union | bits
        outs = self.type(*types, **params)
        result = tuple([_spread(union, t) for t in (outs if self.multiple else (outs,))])
        return result if self.multiple else result[0]


def _spread(union: Any, type: ArrayType) -> Any:
    if union is None or type.dtype.kind not in "fc":
        return None
    ones = (1,) * (type.ndim + 1 - union.ndim)
    return np.broadcast_to(union.reshape(*union.shape[:-1], *ones, union.shape[-1]), (*type.shape, union.shape[-1]))


def check_matrix(name: str, x: ArrayType, square: bool = False) -> None:
    """Raise unless `x` is a stack of (square) matrices of a type that linear algebra computes in."""
    if x.ndim < 2:
        raise ShapeError(
            f"{name} takes a matrix or a stack of them, shape (..., M, N), got shape {x.shape}{at_user_line()}"
        )
    if square and x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{name} takes square matrices, shape (..., M, M), got shape {x.shape}{at_user_line()}")
    if x.dtype not in LAPACK_TYPES:
        raise DTypeError(
            f"{name} computes in float32, float64, complex64 or complex128, got {x.dtype.name}; convert with "
            f"x.astype(wg.float32){at_user_line()}"
        )


def check_system(name: str, a: ArrayType, b: ArrayType) -> None:
    """Raise unless `a` is a stack of square matrices and `b` a stack of as many right-hand sides of fitting height."""
    check_matrix(name, a, square=True)
    if a.dtype != b.dtype:
        raise DTypeError(f"{name}: a matrix of {a.dtype.name} with a right side of {b.dtype.name}{at_user_line()}")
    if b.ndim != a.ndim or b.shape[:-1] != a.shape[:-1]:
        raise ShapeError(
            f"{name}: a right side of shape {b.shape} for matrices of shape {a.shape}; expected "
            f"{(*a.shape[:-1], 'K')}{at_user_line()}"
        )


def or_nan(primitive: Primitive, function: Callable[..., Any], *arrays: Any, **params: Any) -> Any:
    """`function(*arrays)`; where LAPACK gives up on a matrix, NaN for that one.

    A compiled program cannot raise, so no executor does: NaN is what a failed decomposition gives everywhere.
    """
    try:
        return function(*arrays)
    except np.linalg.LinAlgError:
        types = primitive.type(*[ArrayType(a.shape, a.dtype) for a in arrays], **params)  # raises for wrong shapes
    outs = [np.full(t.shape, np.nan, t.dtype) for t in (types if primitive.multiple else (types,))]
    for at in np.ndindex(arrays[0].shape[:-2]):
        try:
            results = function(*[a[at] for a in arrays])
        except np.linalg.LinAlgError:
            continue
        for out, r in zip(outs, results if primitive.multiple else (results,), strict=True):
            out[at] = r
    return tuple(outs) if primitive.multiple else outs[0]


def hermitian_part(a: Any) -> Any:
    """`(a + aᴴ) / 2` of ndarrays: what a decomposition of Hermitian matrices reads of its input."""
    if a.shape[-1:] != a.shape[-2:-1] or a.dtype.kind not in "fc":
        raise ValueError("no square matrix of floats")
    return (a + a.swapaxes(-1, -2).conj()) / 2


# The formulas. `x` is a stack of matrices, `v` a stack of vectors.


def transpose(x: Array) -> Array:
    """`xᵀ` of each matrix."""
    n = x.ndim
    return permute(x, (*range(n - 2), n - 1, n - 2))


def adjoint(x: Array) -> Array:
    """`xᴴ` of each matrix."""
    return conj(transpose(x))


def rows(v: Array) -> Array:
    """`v` as one row, so that `x * rows(v)` scales the columns of `x`."""
    return reshape(v, (*v.shape[:-1], 1, v.shape[-1]))


def column(v: Array) -> Array:
    """`v` as one column, so that `x * column(v)` scales the rows of `x`."""
    return reshape(v, (*v.shape, 1))


def number_of(v: Array) -> Array:
    """One number for each matrix, made to broadcast against the matrices."""
    return reshape(v, (*v.shape, 1, 1))


@lru_cache(maxsize=256)
def below(m: int, n: int, k: int = 0) -> Array:
    """Which elements of an m×n matrix lie on or below diagonal k."""
    return Array(np.tri(m, n, k, dtype=bool))


@lru_cache(maxsize=256)
def eye(n: int, dtype: np.dtype) -> Array:
    """The identity."""
    return Array(np.eye(n, dtype=dtype))


def lower(x: Array, k: int = 0) -> Array:
    """The part on and below diagonal k, zeros elsewhere."""
    return select(below(x.shape[-2], x.shape[-1], k), x, 0)


def upper(x: Array, k: int = 0) -> Array:
    """The part on and above diagonal k, zeros elsewhere."""
    return select(below(x.shape[-2], x.shape[-1], k - 1), 0, x)


def diagonal(x: Array, offset: int = 0) -> Array:
    """Diagonal `offset` of each matrix (above the main one if positive)."""
    m, n = x.shape[-2:]
    down, right = max(-offset, 0), max(offset, 0)
    k = max(min(m - down, n - right), 0)
    whole = (0,) * (x.ndim - 2)
    lead = x.shape[:-2]
    if (k, k) != (m, n):
        down, right = min(down, m), min(right, n)
        x = slice_p.bind(
            x, start=(*whole, down, right), stop=(*lead, down + k, right + k), step=(*(1,) * len(lead), 1, 1)
        )
    flat = reshape(x, (*lead, k * k))  # a diagonal element every k + 1 places
    return slice_p.bind(flat, start=(*whole, 0), stop=flat.shape, step=(*(1,) * len(lead), k + 1))


def diagonal_matrix(v: Array) -> Array:
    """The matrix with `v` on its diagonal."""
    n = v.shape[-1]
    return select(eye(n, np.dtype(bool)), broadcast_to(rows(v), (*v.shape[:-1], n, n)), 0)


def trace(x: Array) -> Array:
    """The sum of the diagonal."""
    return sum_p.bind(diagonal(x), axes=(x.ndim - 2,))


def symmetrize(x: Array) -> Array:
    """`(x + xᴴ) / 2`."""
    return (x + adjoint(x)) * 0.5


def permutation_rows(permutation: Array, dtype: np.dtype) -> Array:
    """The matrix P with `(P x)[i] = x[permutation[i]]`."""
    m = permutation.shape[-1]
    return convert(equal.bind(column(permutation), Array(np.arange(m, dtype=permutation.dtype))), dtype)


def extent(v: Array) -> Array:
    """The largest magnitude in each vector, kept as a vector of length 1: the scale of its rounding errors."""
    return reshape(max_p.bind(abs(v), axes=(v.ndim - 1,)), (*v.shape[:-1], 1))


def reciprocal_where_distinct(gap: Array, scale: Array) -> Array:
    """`1 / gap`, but 0 where the gap is no larger than rounding (machine epsilon times `scale`)."""
    near = abs(gap) <= scale * float(np.finfo(gap.dtype).eps)
    return select(near, 0, 1 / select(near, 1, gap))
