"""sparsity_pattern, sparse_jacobian, sparse_hessian: what users call."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.diff.arguments import check_function
from wengert.diff.derivatives import grad
from wengert.diff.jacobian import Point
from wengert.diff.sparse.compress import MODES, Compression, Pattern, todense
from wengert.diff.sparse.order import ORDERS
from wengert.diff.sparse.pattern import detect
from wengert.errors import ArgumentError, MissingExtraError
from wengert.ir.array import Array, concrete
from wengert.source import at_user_line

__all__ = ["SparseMatrix", "sparse_hessian", "sparse_jacobian", "sparsity_pattern"]


class SparseMatrix:
    """The nonzeros of a matrix: `data[e]` stands at row `rows[e]` and column `cols[e]`, sorted by rows.

    `sweeps` says how many pushes and pulls it took, `compression` how (the colours); `shape` is `(outputs, inputs)`.
    """

    def __init__(self, data: Array, compression: Compression):
        self.data = data
        self.compression = compression
        self.rows, self.cols = compression.pattern.rows, compression.pattern.cols
        self.shape = compression.pattern.shape
        self.sweeps = compression.sweeps

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def nnz(self) -> int:
        """How many entries are stored."""
        return len(self.rows)

    def todense(self) -> Array:
        """The whole matrix as an array of shape `shape`."""
        return todense(self.data, self.compression.pattern)

    def to_scipy(self) -> Any:
        """The matrix as a `scipy.sparse.coo_array`.

        Raises:
            MissingExtraError: SciPy is not installed.
        """
        try:
            from scipy import sparse
        except ImportError:
            raise MissingExtraError("to_scipy needs SciPy: pip install scipy") from None
        return sparse.coo_array((np.asarray(concrete(self.data)), (self.rows, self.cols)), shape=self.shape)

    def __repr__(self) -> str:
        pushes, pulls = self.sweeps
        return (
            f"SparseMatrix(shape={self.shape}, nnz={self.nnz}, dtype={self.dtype.name}, from {pushes} pushes and "
            f"{pulls} pulls)"
        )


def sparsity_pattern(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns which entries of the Jacobian of `f` can be nonzero, as a boolean NumPy array.

    Row i is element i of the outputs, flattened one after the other; column j likewise of the chosen arguments. An
    entry is False only if the derivative is zero for every value of the arguments that takes the same Python branches.

    Example:
        >>> wg.sparsity_pattern(lambda x: x[1:] * x[:-1])(wg.zeros(3))
        array([[ True,  True, False],
               [False,  True,  True]])
    """
    check_function(f, "sparsity_pattern")

    @functools.wraps(f)
    def pattern_of(*args: Any, **kwargs: Any) -> np.ndarray:
        point = Point(f, argnums, args, kwargs, False, False, "sparsity_pattern", everything=True)
        found = _pattern(point)
        whole = np.zeros(found.shape, bool)
        whole[found.rows, found.cols] = True
        return whole

    return pattern_of


def sparse_jacobian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    mode: str = "auto",
    order: str = "natural",
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `f` as a `SparseMatrix`, from as many sweeps as its pattern has colours.

    The pattern is found by carrying bit sets along the recorded graph; columns that share no row are pushed together
    (or rows that share no column pulled together), and the nonzeros are read off: a tridiagonal Jacobian of any size
    takes 3 sweeps.

    Args:
        f: function of pytrees; outputs and arguments are flattened, one after the other.
        argnums: which positional argument(s) to differentiate by.
        mode: "forward" (push columns), "reverse" (pull rows), "both" (some of each, for a matrix with dense rows and
            dense columns), or "auto".
        order: how vertices are ordered before the greedy colouring: "natural", "largest_first" or "smallest_last".
        chunk_size: how many sweeps to run side by side.

    Raises:
        ArgumentError: an unknown mode or order.
        DTypeError: complex arguments or outputs.

    Example:
        >>> wg.sparse_jacobian(lambda x: x[1:] * x[:-1])(wg.asarray([1.0, 2.0, 3.0])).todense()
        Array([[2., 1., 0.],
               [0., 3., 2.]], dtype=float32)

    Source: Gebremedhin, Manne and Pothen, "What color is your Jacobian?" (SIAM Review 47, 2005).
    """
    check_function(f, "sparse_jacobian")
    _check_options("sparse_jacobian", mode, order)

    @functools.wraps(f)
    def sparse_jacobian_of(*args: Any, **kwargs: Any) -> SparseMatrix:
        point = Point(f, argnums, args, kwargs, False, False, "sparse_jacobian")
        return _nonzeros(point, Compression(_pattern(point), mode, order), chunk_size)

    return sparse_jacobian_of


def sparse_hessian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    order: str = "natural",
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that returns the Hessian of the scalar function `f` as a `SparseMatrix`, by a star colouring.

    Each sweep is one Hessian-vector product, forward over reverse. A tridiagonal Hessian takes 3 sweeps, an
    arrow-shaped one 2. Arguments and errors as for `sparse_jacobian`.

    Example:
        >>> wg.sparse_hessian(lambda x: wg.sum(x[1:] * x[:-1]))(wg.zeros(3)).todense()
        Array([[0., 1., 0.],
               [1., 0., 1.],
               [0., 1., 0.]], dtype=float32)
    """
    check_function(f, "sparse_hessian")
    _check_options("sparse_hessian", "symmetric", order)
    gradient = grad(f, argnums)

    @functools.wraps(f)
    def sparse_hessian_of(*args: Any, **kwargs: Any) -> SparseMatrix:
        point = Point(gradient, argnums, args, kwargs, False, False, "sparse_hessian")
        found = _pattern(point)
        # the rules of pulls may see a dependence on one side only; the Hessian itself is symmetric
        n = found.shape[0]
        both = np.unique(np.concatenate([found.rows * n + found.cols, found.cols * n + found.rows]))
        return _nonzeros(point, Compression(Pattern(both // n, both % n, (n, n)), "symmetric", order), chunk_size)

    return sparse_hessian_of


def _pattern(point: Point) -> Pattern:
    return Pattern.of(detect(point.linear.graph))


def _nonzeros(point: Point, how: Compression, chunk_size: int | None) -> SparseMatrix:
    if not how.nonzeros:
        dtype = point.out_types[0].dtype if point.out_types else np.dtype(np.float32)
        return SparseMatrix(Array(np.zeros(0, dtype)), how)
    return SparseMatrix(how.data(point.linear, point.in_types, point.out_types, point.chunk(chunk_size)), how)


def _check_options(what: str, mode: str, order: str) -> None:
    if mode not in MODES or (mode == "symmetric" and what == "sparse_jacobian"):
        raise ArgumentError(f"{what}: mode is {mode!r}; choose {', '.join(map(repr, MODES[:-1]))}{at_user_line()}")
    if order not in ORDERS:
        raise ArgumentError(f"{what}: order is {order!r}; choose {', '.join(map(repr, ORDERS))}{at_user_line()}")
