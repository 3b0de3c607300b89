"""The nonzeros of a Jacobian, read off its compressed form; the compressed form has one row for each colour."""

from __future__ import annotations

import numpy as np

from wengert.diff.sparse.coloring import TwoSided, alone
from wengert.ir.array import Array
from wengert.ops.compare import select
from wengert.ops.index import gather


def from_columns(pushed: Array, rows: np.ndarray, cols: np.ndarray, color: np.ndarray) -> Array:
    """`data[e] = pushed[color of its column, its row]`; `pushed` has shape (colours, rows)."""
    return gather(pushed, [Array(color[cols]), Array(rows)], (0, 1))


def from_rows(pulled: Array, rows: np.ndarray, cols: np.ndarray, color: np.ndarray) -> Array:
    """`data[e] = pulled[color of its row, its column]`; `pulled` has shape (colours, columns)."""
    return gather(pulled, [Array(color[rows]), Array(cols)], (0, 1))


def from_star(pushed: Array, rows: np.ndarray, cols: np.ndarray, color: np.ndarray) -> Array:
    """The entries of a symmetric matrix: where column j is not alone of its colour in row i, row i is in column j."""
    direct = alone(rows, color[cols], len(color))
    return gather(
        pushed, [Array(np.where(direct, color[cols], color[rows])), Array(np.where(direct, rows, cols))], (0, 1)
    )


def from_both(pushed: Array | None, pulled: Array | None, coloring: TwoSided) -> Array:
    """Entries in the order of the pattern's rows, each by push or by pull as the colouring says."""
    rows, cols, by_push = coloring.rows, coloring.cols, coloring.by_push
    if pulled is None:
        assert pushed is not None
        return from_columns(pushed, rows, cols, coloring.columns)
    if pushed is None:
        return from_rows(pulled, rows, cols, coloring.rows_color)
    # an entry read on one side reads some element on the other side, too, which is then not used
    left = from_columns(pushed, rows, cols, np.maximum(coloring.columns, 0))
    right = from_rows(pulled, rows, cols, np.maximum(coloring.rows_color, 0))
    return select(Array(by_push), left, right)
