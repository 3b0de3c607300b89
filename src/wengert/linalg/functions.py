"""Determinants, traces, powers and products of matrices."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

from wengert.array.manipulation import moveaxis, roll
from wengert.array.reductions import sum as total
from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import normalize_axis
from wengert.linalg.inputs import matrices
from wengert.ops.contract import matmul
from wengert.ops.linalg import matrix
from wengert.ops.linalg.determinant import det_p, slogdet_p
from wengert.ops.linalg.expm import expm_p
from wengert.ops.linalg.solve import inv_p
from wengert.ops.promote import as_array, promote
from wengert.ops.shape import broadcast_to, move_axis, reshape
from wengert.source import at_user_line


def det(x: Any, /) -> Array:
    """The determinant, with `∂det/∂x[i, j]` the cofactor of that element.

    Cofactors come from the singular value decomposition, so that first and second derivatives are right for singular
    matrices too; third and higher ones need the inverse and are infinite or NaN there.

    Args:
        x: square matrices, shape (…, M, M).

    Returns:
        An array of shape (…). The determinant of a 0×0 matrix is 1.

    Raises:
        ShapeError: not square.

    Example:
        >>> wg.linalg.det([[2.0, 0.0], [0.0, 3.0]])
        Array(6., dtype=float32)
    """
    return det_p.bind(matrices("det", x, square=True))


class Slogdet(NamedTuple):
    """`det = sign · exp(logabsdet)`."""

    sign: Array
    logabsdet: Array


def slogdet(x: Any, /) -> Slogdet:
    """Sign and logarithm of the magnitude of the determinant, without overflow: `d log|det x| = Re tr(x⁻¹ dx)`.

    A singular matrix has sign 0 and logarithm -inf; its derivative is infinite or NaN.

    Args:
        x: square matrices, shape (…, M, M).

    Returns:
        The named tuple `Slogdet(sign, logabsdet)`, each of shape (…); the sign of a complex matrix is a number of
        magnitude 1 in the complex plane.

    Example:
        >>> wg.linalg.slogdet([[-1.0, 0.0], [0.0, 1.0]]).sign
        Array(-1., dtype=float32)
    """
    return Slogdet(*slogdet_p.bind(matrices("slogdet", x, square=True)))


def diagonal(x: Any, /, *, offset: int = 0) -> Array:
    """A diagonal of each matrix, of shape (…, K): the main one, or `offset` places above (below, if negative).

    Raises:
        ShapeError: fewer than two axes.

    Example:
        >>> wg.linalg.diagonal([[1, 2], [3, 4]])
        Array([1, 4], dtype=int64)
    """
    a = as_array(x, "diagonal")
    if a.ndim < 2:
        raise ShapeError(f"diagonal takes matrices, shape (..., M, N), got shape {a.shape}{at_user_line()}")
    return matrix.diagonal(a, operator.index(offset))


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """The sum of a diagonal of each matrix; types as for `wg.sum`.

    Example:
        >>> wg.linalg.trace([[1.0, 2.0], [3.0, 4.0]])
        Array(5., dtype=float32)
    """
    return total(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    """The vector product of vectors of length 3 along `axis`; the other axes broadcast.

    Raises:
        ShapeError: an axis whose length is not 3, or shapes that do not broadcast.

    Example:
        >>> wg.linalg.cross([1, 0, 0], [0, 1, 0])
        Array([0, 0, 1], dtype=int64)
    """
    a, b = (move_axis(v, normalize_axis(axis, v.ndim, "cross"), v.ndim - 1) for v in promote("cross", (x1, x2)))
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ShapeError(
            f"cross: vectors of lengths {a.shape[-1]} and {b.shape[-1]} along axis {axis}; expected 3{at_user_line()}"
        )
    turned = a * roll(b, -1, axis=-1) - roll(a, -1, axis=-1) * b
    return moveaxis(roll(turned, -1, axis=-1), -1, axis)


def kron(x1: Any, x2: Any, /) -> Array:
    """The Kronecker product: every element of `x1` times all of `x2`, of shape `x1.shape · x2.shape`.

    An operand with fewer axes gets axes of length 1 in front.

    Example:
        >>> wg.linalg.kron([[1, 2]], [[1, 1]])
        Array([[1, 1, 2, 2]], dtype=int64)
    """
    a, b = promote("kron", (x1, x2))
    n = max(a.ndim, b.ndim)
    left, right = ((1,) * (n - v.ndim) + v.shape for v in (a, b))
    outer = reshape(a, tuple(d for m in left for d in (m, 1))) * reshape(b, tuple(d for m in right for d in (1, m)))
    return reshape(outer, tuple(p * q for p, q in zip(left, right, strict=True)))


def matrix_power(x: Any, n: int, /) -> Array:
    """`xⁿ` for a Python integer `n` by repeated squaring; `x⁰` is the identity, negative powers are of the inverse.

    Raises:
        ArgumentError: `n` is no integer. ShapeError: not square.

    Example:
        >>> wg.linalg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 3)
        Array([[1., 3.],
               [0., 1.]], dtype=float32)
    """
    a = matrices("matrix_power", x, square=True)
    try:
        exponent = operator.index(n)
    except TypeError:
        raise ArgumentError(
            f"matrix_power: the exponent is an integer, got {n!r}; see expm for exponentials{at_user_line()}"
        ) from None
    if exponent < 0:
        a, exponent = inv_p.bind(a), -exponent
    result = None
    while exponent:
        if exponent & 1:
            result = a if result is None else matmul(result, a)
        exponent >>= 1
        if exponent:
            a = matmul(a, a)
    return broadcast_to(matrix.eye(a.shape[-1], a.dtype), a.shape) if result is None else result


def expm(x: Any, /) -> Array:
    """The exponential `Σ xᵏ / k!`, by scaling and squaring with the [13/13] Padé approximant.

    Derivatives of all orders are exact (Higham, *Functions of Matrices*, 2008); NaN where `x` is not finite.

    Args:
        x: square matrices, shape (…, M, M).

    Raises:
        ShapeError: not square.

    Example:
        >>> wg.linalg.expm([[0.0, 1.0], [0.0, 0.0]])
        Array([[1., 1.],
               [0., 1.]], dtype=float32)
    """
    return expm_p.bind(matrices("expm", x, square=True))
