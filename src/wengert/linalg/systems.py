"""Systems of linear equations, inverses and pseudoinverses."""

from __future__ import annotations

from typing import Any, NamedTuple

from wengert.array.reductions import sum as total
from wengert.errors import ShapeError
from wengert.ir.array import Array
from wengert.ir.types import broadcast_shapes
from wengert.linalg.inputs import floating, matrices, tolerance
from wengert.linalg.norms import matrix_rank, squares
from wengert.ops.contract import matmul
from wengert.ops.linalg.matrix import check_matrix, column
from wengert.ops.linalg.solve import inv_p, solve_p
from wengert.ops.linalg.svd import pinv_p, svdvals_p
from wengert.ops.linalg.triangular import triangular_solve_p
from wengert.ops.shape import broadcast_to, reshape
from wengert.source import at_user_line


def _system(name: str, x1: Any, x2: Any) -> tuple[Array, Array, bool]:
    """The matrices and right sides as stacks of equal leading shape; whether the right side was one vector."""
    a, b = floating(name, x1, x2)
    check_matrix(name, a.type, square=True)
    vector = b.ndim == 1
    if b.ndim == 0 or b.shape[0 if vector else -2] != a.shape[-1]:
        raise ShapeError(
            f"{name}: {a.shape[-1]} equations, but a right side of shape {b.shape}; expected ({a.shape[-1]},) or "
            f"(..., {a.shape[-1]}, K){at_user_line()}"
        )
    b = column(b) if vector else b
    lead = broadcast_shapes([a.shape[:-2], b.shape[:-2]], name)
    return broadcast_to(a, (*lead, *a.shape[-2:])), broadcast_to(b, (*lead, *b.shape[-2:])), vector


def solve(x1: Any, x2: Any, /) -> Array:
    """The solution `x` of `x1 x = x2`: `dx = x1⁻¹ (dx2 - dx1 x)`.

    Args:
        x1: square matrices, shape (…, M, M).
        x2: one vector (M,), or right sides in columns (…, M, K); leading axes broadcast.

    Returns:
        An array of shape (…, M) or (…, M, K). Infinite or NaN where a matrix is singular.

    Raises:
        ShapeError: `x1` is not square, or the shapes do not fit.

    Example:
        >>> wg.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [1.0, 1.0])
        Array([0.5 , 0.25], dtype=float32)
    """
    a, b, vector = _system("solve", x1, x2)
    x = solve_p.bind(a, b, flipped=False)
    return reshape(x, x.shape[:-1]) if vector else x


def solve_triangular(
    x1: Any, x2: Any, /, *, lower: bool = False, transpose: bool = False, unit_diagonal: bool = False
) -> Array:
    """The solution `x` of `t(x1) x = x2`, where `t` takes the upper or lower triangle; the other is not read.

    Args:
        x1: square matrices, shape (…, M, M).
        x2: one vector (M,), or right sides in columns (…, M, K); leading axes broadcast.
        lower: whether the lower triangle is meant.
        transpose: whether to solve with the triangle transposed (not conjugated).
        unit_diagonal: whether the diagonal counts as ones.

    Raises:
        ShapeError: `x1` is not square, or the shapes do not fit.

    Example:
        >>> wg.linalg.solve_triangular([[1.0, 1.0], [0.0, 2.0]], [3.0, 2.0])
        Array([2., 1.], dtype=float32)
    """
    a, b, vector = _system("solve_triangular", x1, x2)
    x = triangular_solve_p.bind(a, b, is_lower=bool(lower), flipped=bool(transpose), unit=bool(unit_diagonal))
    return reshape(x, x.shape[:-1]) if vector else x


def inv(x: Any, /) -> Array:
    """The inverse: `d(x⁻¹) = -x⁻¹ dx x⁻¹`. Infinite or NaN where a matrix is singular.

    To solve a system, `solve` is cheaper and more exact.

    Args:
        x: square matrices, shape (…, M, M).

    Raises:
        ShapeError: not square.

    Example:
        >>> wg.linalg.inv([[2.0, 0.0], [0.0, 4.0]])
        Array([[0.5 , 0.  ],
               [0.  , 0.25]], dtype=float32)
    """
    return inv_p.bind(matrices("inv", x, square=True))


def pinv(x: Any, /, *, rtol: Any = None) -> Array:
    """The Moore-Penrose pseudoinverse.

    The derivative is that among matrices of equal rank (Golub & Pereyra 1973, doi 10.1137/0710036).

    Args:
        x: matrices of shape (…, M, N).
        rtol: singular values up to `rtol` times the largest count as 0; a number or one for each matrix. By default
            `max(M, N)` times machine epsilon.

    Returns:
        An array of shape (…, N, M).

    Example:
        >>> wg.linalg.pinv([[2.0], [0.0]])
        Array([[0.5, 0. ]], dtype=float32)
    """
    a = matrices("pinv", x)
    return pinv_p.bind(a, tolerance("pinv", rtol, a.type))


class LeastSquares(NamedTuple):
    """The solution, the sums of squared residuals, the rank and the singular values of the matrix."""

    x: Array
    residuals: Array
    rank: Array
    s: Array


def lstsq(x1: Any, x2: Any, /, *, rtol: Any = None) -> LeastSquares:
    """The `x` of smallest norm among those that minimise `‖x1 x - x2‖₂`: `pinv(x1) x2`.

    Args:
        x1: matrices of shape (…, M, N).
        x2: one vector (M,), or right sides in columns (…, M, K).
        rtol: as for `pinv`.

    Returns:
        The named tuple `LeastSquares(x, residuals, rank, s)`: `x` of shape (…, N) or (…, N, K); `residuals`
        `Σ |x1 x - x2|²` for each right side, whatever the rank.

    Raises:
        ShapeError: the shapes do not fit.

    Example:
        >>> wg.linalg.lstsq([[2.0], [0.0]], [4.0, 1.0]).x
        Array([2.], dtype=float32)
    """
    a, b = floating("lstsq", x1, x2)
    check_matrix("lstsq", a.type)
    vector = b.ndim == 1
    if b.ndim == 0 or b.shape[0 if vector else -2] != a.shape[-2]:
        raise ShapeError(
            f"lstsq: {a.shape[-2]} equations, but a right side of shape {b.shape}; expected ({a.shape[-2]},) or "
            f"(..., {a.shape[-2]}, K){at_user_line()}"
        )
    b = column(b) if vector else b
    x = matmul(pinv_p.bind(a, tolerance("lstsq", rtol, a.type)), b)
    error = matmul(a, x) - b
    residuals = total(squares(error), axis=-2)
    if vector:
        x, residuals = reshape(x, x.shape[:-1]), reshape(residuals, residuals.shape[:-1])
    return LeastSquares(x, residuals, matrix_rank(a, rtol=rtol), svdvals_p.bind(a))
