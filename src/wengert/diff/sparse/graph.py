"""A sparsity pattern as a graph: compressed rows and columns, or the neighbours of a symmetric matrix."""

from __future__ import annotations

import numpy as np

Index = np.ndarray


class Compressed:
    """Lists of indices one after the other: list k is `indices[starts[k]:starts[k + 1]]`."""

    __slots__ = ("indices", "starts")

    def __init__(self, owners: Index, members: Index, count: int):
        order = np.lexsort((members, owners))
        self.indices = members[order]
        self.starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=count))])

    def __getitem__(self, k: int) -> Index:
        return self.indices[self.starts[k] : self.starts[k + 1]]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def sizes(self) -> Index:
        return np.diff(self.starts)

    def gather(self, which: Index) -> Index:
        """The members of several lists, one after the other."""
        return np.concatenate([self[k] for k in which]) if len(which) else self.indices[:0]


class Bipartite:
    """Rows and columns of a matrix; an edge is an entry that can be nonzero."""

    __slots__ = ("columns_of", "rows_of", "shape")

    def __init__(self, rows: Index, cols: Index, shape: tuple[int, int]):
        self.shape = shape
        self.columns_of = Compressed(rows, cols, shape[0])  # the columns of a row
        self.rows_of = Compressed(cols, rows, shape[1])  # the rows of a column

    def rivals_of_column(self, j: int) -> Index:
        """Columns that share a row with column j (j among them): at distance two in the graph."""
        return self.columns_of.gather(self.rows_of[j])

    def rivals_of_row(self, i: int) -> Index:
        """Rows that share a column with row i."""
        return self.rows_of.gather(self.columns_of[i])


def adjacency(rows: Index, cols: Index, count: int) -> Compressed:
    """The neighbours of each vertex of a symmetric pattern (either triangle will do); no vertex neighbours itself."""
    off = rows != cols
    a, b = rows[off], cols[off]
    both = np.unique(np.concatenate([a * count + b, b * count + a]))
    return Compressed(both // count, both % count, count)


def two_sided(pattern: Bipartite) -> Compressed:
    """Columns and then rows as the vertices of one graph, an edge for every entry."""
    m, n = pattern.shape
    cols = np.repeat(np.arange(n), pattern.rows_of.sizes)
    rows = pattern.rows_of.indices + n
    return adjacency(cols, rows, n + m)
