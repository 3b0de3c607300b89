"""Norms, rank and condition. Every norm has derivative 0 at 0, where it has a kink."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.array.manipulation import moveaxis
from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import int64, normalize_axes, normalize_axis
from wengert.linalg.inputs import floating, matrices, tolerance
from wengert.ops.arithmetic import abs_, power, square
from wengert.ops.compare import equal, greater, select
from wengert.ops.complex import imag, real
from wengert.ops.linalg.solve import inv_p
from wengert.ops.linalg.svd import svdvals_p
from wengert.ops.promote import as_array, convert, number
from wengert.ops.reduce import Reduction, expand, kept_shape, max_p, min_p, sum_p
from wengert.ops.shape import broadcast_to, reshape
from wengert.ops.transcendental import sqrt
from wengert.source import at_user_line

Axes = tuple[int, ...]


def squares(x: Array) -> Array:
    """`|x|²`, elementwise."""
    return square(real(x)) + square(imag(x)) if x.dtype.kind == "c" else square(x)


def _root_where_positive(total: Array, root: Any) -> Array:
    # 0 where the sum is 0, with derivative 0
    zero = equal(total, 0)
    return select(zero, 0, root(select(zero, 1, total)))


def _extreme(reduction: Reduction, x: Array, axes: Axes) -> Array:
    if reduction is max_p and any(x.shape[i] == 0 for i in axes):  # nothing is larger than 0
        return sum_p.bind(x, axes=axes)
    return reduction.bind(x, axes=axes)


def _norm(x: Array, axes: Axes, p: Any) -> Array:
    if p == 2:
        return _root_where_positive(sum_p.bind(squares(x), axes=axes), sqrt)
    size = abs_(x)
    if p == math.inf:
        return _extreme(max_p, size, axes)
    if p == -math.inf:
        return _extreme(min_p, size, axes)
    if p == 1:
        return sum_p.bind(size, axes=axes)
    zero = equal(size, 0)
    if p == 0:
        return sum_p.bind(select(zero, number(0, size.dtype), number(1, size.dtype)), axes=axes)
    # |x|^p has no finite derivative at 0 for p < 1: there it counts as 0, like that of |x|
    terms = select(zero, 0 if p > 0 else math.inf, power(select(zero, 1, size), p))
    total = sum_p.bind(terms, axes=axes)
    if p > 0:
        return _root_where_positive(total, lambda t: power(t, 1 / p))
    gone = equal(total, math.inf)
    return select(gone, 0, power(select(gone, 1, total), 1 / p))


def _order(what: str, ord: Any) -> float:
    if isinstance(ord, (int, float, np.integer, np.floating)) and not isinstance(ord, bool) and ord == ord:
        return float(ord)
    raise ArgumentError(f"{what}: ord is a number, inf or -inf, got {ord!r}{at_user_line()}")


def vector_norm(x: Any, /, *, axis: int | Sequence[int] | None = None, keepdims: bool = False, ord: float = 2) -> Array:
    """`(Σ |x|ᵖ)^(1/p)` over the given axes, with `p = ord`.

    `inf` gives the largest magnitude, `-inf` the smallest, 0 the number of elements that are not 0. The derivative at
    `x = 0`, and by an element that is 0 where that has a kink (p ≤ 1), is 0; extremes that tie share theirs equally.

    Args:
        x: array of any shape.
        axis: one axis, several, or None for all.
        keepdims: whether the reduced axes stay, with length 1.
        ord: the order `p`, a real number or an infinity.

    Returns:
        An array of the real type of `x`.

    Raises:
        ShapeError: an axis does not exist, or `ord=-inf` of no elements. ArgumentError: `ord` is no number.

    Example:
        >>> wg.linalg.vector_norm([3.0, 4.0])
        Array(5., dtype=float32)
    """
    (a,) = floating("vector_norm", x)
    axes = normalize_axes(axis if axis is None or isinstance(axis, int) else tuple(axis), a.ndim, "vector_norm")
    out = _norm(a, axes, _order("vector_norm", ord))
    return reshape(out, kept_shape(a.shape, axes)) if keepdims else out


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: float | str | None = "fro") -> Array:
    """A norm of each matrix.

    Args:
        x: matrices of shape (…, M, N).
        keepdims: whether the matrix axes stay, with length 1.
        ord: "fro", `sqrt(Σ |x|²)`; "nuc", the sum of the singular values; 2 and -2, the largest and smallest singular
            value; 1 and -1, the largest and smallest sum of magnitudes of a column; inf and -inf, of a row.

    Returns:
        An array of the real type of `x`. Derivatives as for `vector_norm` and `svdvals`.

    Raises:
        ArgumentError: another `ord`. ShapeError: fewer than two axes, or the smallest of nothing.

    Example:
        >>> wg.linalg.matrix_norm([[3.0, 0.0], [0.0, 4.0]], ord=2)
        Array(4., dtype=float32)
    """
    a = matrices("matrix_norm", x)
    out = _matrix_norm(a, ord)
    return reshape(out, (*out.shape, 1, 1)) if keepdims else out


def _matrix_norm(a: Array, ord: Any) -> Array:
    last, second = a.ndim - 1, a.ndim - 2
    if ord in ("fro", None):
        return _norm(a, (second, last), 2)
    if ord in ("nuc", 2, -2):
        s = svdvals_p.bind(a)
        return sum_p.bind(s, axes=(second,)) if ord == "nuc" else _extreme(max_p if ord == 2 else min_p, s, (second,))
    if ord in (1, -1, math.inf, -math.inf):
        by_column = ord in (1, -1)
        sums = sum_p.bind(abs_(a), axes=(second if by_column else last,))
        return _extreme(max_p if ord > 0 else min_p, sums, (second,))
    raise ArgumentError(
        f"matrix_norm: ord is 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {ord!r}; for entries taken as a vector use "
        f"vector_norm over two axes{at_user_line()}"
    )


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    """NumPy's `norm`: of a vector or a matrix, whichever `x` (or `axis`) is.

    Without `ord` and `axis`, the root of the sum of all squares. With one axis, `vector_norm`; with two axes, or
    without any for a matrix, `matrix_norm`.

    Raises:
        ShapeError: `ord` without `axis` for an array that is neither vector nor matrix.

    Example:
        >>> wg.linalg.norm([[1.0, 1.0], [1.0, 1.0]])
        Array(2., dtype=float32)
    """
    a = as_array(x, "norm")
    if axis is None and (ord is None or a.ndim == 1):
        return vector_norm(a, keepdims=keepdims, ord=2 if ord is None else ord)
    if axis is None and a.ndim != 2:
        raise ShapeError(f"norm: ord={ord!r} of shape {a.shape} needs axis, one or two of them{at_user_line()}")
    axes = (0, 1) if axis is None else (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    if len(axes) == 1:
        return vector_norm(a, axis=axes[0], keepdims=keepdims, ord=2 if ord is None else ord)
    if len(axes) != 2:
        raise ShapeError(f"norm: axis {axis!r}; expected one axis or two{at_user_line()}")
    axes = tuple(normalize_axis(i, a.ndim, "norm") for i in axes)
    out = matrix_norm(moveaxis(a, axes, (-2, -1)), ord="fro" if ord is None else ord)
    return reshape(out, kept_shape(a.shape, axes)) if keepdims else out


def matrix_rank(x: Any, /, *, rtol: Any = None) -> Array:
    """How many singular values are larger than `rtol` times the largest; no derivative.

    Args:
        x: matrices of shape (…, M, N).
        rtol: a number or one for each matrix; by default `max(M, N)` times machine epsilon.

    Returns:
        int64, of shape (…).

    Example:
        >>> wg.linalg.matrix_rank([[1.0, 1.0], [1.0, 1.0]])
        Array(1, dtype=int64)
    """
    a = matrices("matrix_rank", x)
    s = svdvals_p.bind(a)
    if s.shape[-1] == 0:
        return broadcast_to(number(0, int64), s.shape[:-1])
    last = (s.ndim - 1,)
    least = max_p.bind(s, axes=last) * tolerance("matrix_rank", rtol, a.type)
    return sum_p.bind(convert(greater(s, expand(least, s.shape, last)), int64), axes=last)


def cond(x: Any, /, *, p: Any = None) -> Array:
    """The condition number `‖x‖ ‖x⁻¹‖`; by default the largest singular value over the smallest.

    Args:
        x: matrices of shape (…, M, N), square unless `p` is None, 2 or -2.
        p: a norm of `matrix_norm`.

    Raises:
        ShapeError: not square, for a norm that needs the inverse. ArgumentError: another norm.

    Example:
        >>> wg.linalg.cond([[2.0, 0.0], [0.0, 8.0]])
        Array(4., dtype=float32)
    """
    a = matrices("cond", x, square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        s = svdvals_p.bind(a)
        last = (s.ndim - 1,)
        high, low = max_p.bind(s, axes=last), min_p.bind(s, axes=last)
        return low / high if p == -2 else high / low
    return _matrix_norm(a, p) * _matrix_norm(inv_p.bind(a), p)
