"""Decompositions of matrices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from wengert.ir.array import Array
from wengert.linalg.inputs import matrices
from wengert.ops.linalg.cholesky import cholesky_p
from wengert.ops.linalg.eigh import eigh_p, eigvalsh_p
from wengert.ops.linalg.lu import lu_p, part, square
from wengert.ops.linalg.matrix import adjoint, lower, permutation_rows, transpose, upper
from wengert.ops.linalg.qr import qr_p
from wengert.ops.linalg.svd import svd_p, svdvals_p


class Eigh(NamedTuple):
    """Eigenvalues in increasing order, shape (…, M), and eigenvectors as columns, shape (…, M, M)."""

    eigenvalues: Array
    eigenvectors: Array


class QR(NamedTuple):
    """Orthonormal columns Q and the upper triangle R."""

    Q: Array
    R: Array


class SVD(NamedTuple):
    """Left vectors as columns of U, singular values S in decreasing order, right vectors as rows of Vh (conjugated)."""

    U: Array
    S: Array
    Vh: Array


class LU(NamedTuple):
    """The permutation matrix P, the unit lower triangle L and the upper triangle U: `x = P L U`."""

    P: Array
    L: Array
    U: Array


def cholesky(x: Any, /, *, upper: bool = False) -> Array:
    """The lower triangular `L` with `L Lᴴ = x` and a positive diagonal, or `U = Lᴴ` with `Uᴴ U = x`.

    It reads `(x + xᴴ) / 2`, so the derivative by `x` is Hermitian (Murray 2016, arXiv 1602.07527).

    Args:
        x: Hermitian positive definite matrices, shape (…, M, M).
        upper: whether to return the upper triangle.

    Returns:
        An array of the shape of `x`. NaN where a matrix is not positive definite.

    Raises:
        ShapeError: not square. DTypeError: a type that linear algebra does not compute in (float16).

    Example:
        >>> wg.linalg.cholesky([[4.0, 2.0], [2.0, 5.0]])
        Array([[2., 0.],
               [1., 2.]], dtype=float32)
    """
    factor = cholesky_p.bind(matrices("cholesky", x, square=True))
    return adjoint(factor) if upper else factor


def eigh(x: Any, /) -> Eigh:
    """Eigenvalues and eigenvectors of Hermitian matrices: `x v = v diag(w)`, `vᴴ v = 1`.

    It reads `(x + xᴴ) / 2`. With `C = vᴴ dx v`, `dw = diag C` and `dv = v (F ∘ C)`, `F[i, j] = 1 / (w[j] - w[i])`.
    Among equal eigenvalues (closer than machine epsilon times the largest) F counts as 0, so derivatives are finite
    there: right for functions of the eigenvalues that treat them alike, such as their sum. Vectors of equal eigenvalues
    have no derivative, and a smooth function that is computed through them (`v f(w) vᴴ`) loses a part of its own: use
    `expm`, `inv` or `solve` there. An eigenvector of a complex matrix is turned so that its tangent has no part along
    itself.

    Args:
        x: matrices of shape (…, M, M).

    Returns:
        The named tuple `Eigh(eigenvalues, eigenvectors)`; eigenvalues are real, of shape (…, M).

    Raises:
        ShapeError: not square. DTypeError: a type that linear algebra does not compute in.

    Example:
        >>> wg.linalg.eigh([[2.0, 0.0], [0.0, 1.0]]).eigenvalues
        Array([1., 2.], dtype=float32)
    """
    return Eigh(*eigh_p.bind(matrices("eigh", x, square=True)))


def eigvalsh(x: Any, /) -> Array:
    """The eigenvalues of `eigh` alone: real, increasing, shape (…, M).

    Example:
        >>> wg.linalg.eigvalsh([[0.0, 1.0], [1.0, 0.0]])
        Array([-1.,  1.], dtype=float32)
    """
    return eigvalsh_p.bind(matrices("eigvalsh", x, square=True))


def qr(x: Any, /, *, mode: str = "reduced") -> QR:
    """`x = Q R` with orthonormal columns Q and an upper triangle R.

    Differentiable where the first min(M, N) columns of `x` are independent.

    Args:
        x: matrices of shape (…, M, N).
        mode: "reduced": Q (…, M, K) and R (…, K, N) with K = min(M, N); "complete": Q (…, M, M) and R (…, M, N).

    Raises:
        ArgumentError: another mode.
        UnsupportedError: the derivative of a tall matrix with mode "complete", whose last columns are arbitrary.

    Example:
        >>> wg.linalg.qr([[3.0], [4.0]]).R.shape
        (1, 1)
    """
    return QR(*qr_p.bind(matrices("qr", x), mode=mode))


def svd(x: Any, /, *, full_matrices: bool = True) -> SVD:
    """The singular value decomposition `x = U diag(S) Vh`.

    Derivatives as in Townsend 2016. Among equal singular values, and for vectors of the value 0, the factors that would
    be infinite count as 0 (to rounding: machine epsilon times the largest), with the consequences named at `eigh`.
    Vectors of a complex matrix have an arbitrary phase; derivatives are those of functions that do not depend on it.

    Args:
        x: matrices of shape (…, M, N).
        full_matrices: U (…, M, M) and Vh (…, N, N); otherwise U (…, M, K) and Vh (…, K, N) with K = min(M, N).

    Returns:
        The named tuple `SVD(U, S, Vh)`; S is real, of shape (…, K), decreasing.

    Raises:
        UnsupportedError: the derivative with `full_matrices=True` unless M = N: the added vectors are arbitrary.

    Example:
        >>> wg.linalg.svd([[0.0, 2.0], [1.0, 0.0]]).S
        Array([2., 1.], dtype=float32)
    """
    return SVD(*svd_p.bind(matrices("svd", x), full_matrices=bool(full_matrices)))


def svdvals(x: Any, /) -> Array:
    """The singular values alone: real, decreasing, shape (…, min(M, N)).

    Example:
        >>> wg.linalg.svdvals([[3.0, 0.0], [0.0, 4.0]])
        Array([4., 3.], dtype=float32)
    """
    return svdvals_p.bind(matrices("svdvals", x))


def lu(x: Any, /) -> LU:
    """`x = P L U`: a permutation, a unit lower triangle and an upper triangle, by partial pivoting.

    The permutation does not change under differentiation. Derivatives are infinite or NaN where the leading square part
    of the permuted matrix is singular.

    Args:
        x: matrices of shape (…, M, N); K = min(M, N).

    Returns:
        The named tuple `LU(P, L, U)` of shapes (…, M, M), (…, M, K), (…, K, N).

    Example:
        >>> wg.linalg.lu([[0.0, 1.0], [2.0, 3.0]]).U
        Array([[2., 3.],
               [0., 1.]], dtype=float32)
    """
    a = matrices("lu", x)
    packed, _, permutation = lu_p.bind(a)
    m, n = a.shape[-2:]
    k = min(m, n)
    unit = part(square(lower(part(packed, m, k), -1), m, 0), m, k)
    return LU(transpose(permutation_rows(permutation, np.dtype(a.dtype))), unit, upper(part(packed, k, n)))
