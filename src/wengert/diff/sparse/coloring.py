"""Colourings: which columns, rows or both can be computed in one sweep.

    column colouring   columns of one colour share no row (partial distance-2 colouring); each entry stands alone in its
                       row among the columns of its colour
    row colouring      the same for the transpose
    star colouring     of a symmetric matrix: neighbours differ, and every path on four vertices has three colours; each
                       entry or its mirror image stands alone
    two-sided          a star colouring of rows and columns together: some entries by push, the others by pull

All are greedy. Source: Gebremedhin, Manne and Pothen, "What color is your Jacobian?" (SIAM Review 47, 2005), algorithms
3.2 and 4.1.
"""

from __future__ import annotations

import numpy as np

from wengert.diff.sparse.graph import Bipartite, Compressed, two_sided
from wengert.diff.sparse.order import Order, Rivals, largest_first, natural


def color_columns(pattern: Bipartite, order: Order = natural) -> np.ndarray:
    """A colour for each column, counted from 0; columns that share a row differ."""
    return _greedy(pattern.shape[1], pattern.rivals_of_column, order)


def color_rows(pattern: Bipartite, order: Order = natural) -> np.ndarray:
    """A colour for each row; rows that share a column differ."""
    return _greedy(pattern.shape[0], pattern.rivals_of_row, order)


def star_coloring(neighbours: Compressed, order: Order = natural) -> np.ndarray:
    """A colour for each vertex; neighbours differ, and no path on four vertices has only two colours."""
    count = len(neighbours)
    lists = [neighbours[v].tolist() for v in range(count)]
    color = [-1] * count
    for v in order(count, neighbours.__getitem__).tolist():
        forbidden = set()
        for w in lists[v]:
            cw = color[w]
            if cw >= 0:
                forbidden.add(cw)
            for x in lists[w]:
                cx = color[x]
                if x == v or cx < 0 or cx in forbidden:
                    continue
                # v - w - x: equal ends are a danger if w may take any colour later, or the path goes on to w's colour
                if cw < 0 or any(y != w and color[y] == cw for y in lists[x]):
                    forbidden.add(cx)
        color[v] = _smallest_free(forbidden)
    return np.array(color, dtype=int)


class TwoSided:
    """A colouring of columns and rows together; -1 marks a column that is never pushed, a row that is never pulled.

    `by_push[e]` says for entry e of the pattern (in the order of its rows of columns) which of the two reads it.
    """

    __slots__ = ("by_push", "cols", "columns", "count_columns", "count_rows", "rows", "rows_color")

    def __init__(self, pattern: Bipartite, order: Order = largest_first):
        m, n = pattern.shape
        color = star_coloring(two_sided(pattern), order)
        self.rows = np.repeat(np.arange(m), pattern.columns_of.sizes)
        self.cols = pattern.columns_of.indices
        by_col, by_row = color[:n][self.cols], color[n:][self.rows]
        push_alone = alone(self.rows, by_col, m)
        pull_alone = alone(self.cols, by_row, n)
        self.by_push = self._choose(by_col, by_row, push_alone, pull_alone)
        self.columns, self.count_columns = _renumber(color[:n], by_col[self.by_push])
        self.rows_color, self.count_rows = _renumber(color[n:], by_row[~self.by_push])

    @staticmethod
    def _choose(by_col: np.ndarray, by_row: np.ndarray, push: np.ndarray, pull: np.ndarray) -> np.ndarray:
        """Push or pull for each entry, with few colours in all: forced entries first, then what is at hand already."""
        chosen = push & ~pull
        pushed, pulled = set(by_col[push & ~pull].tolist()), set(by_row[pull & ~push].tolist())
        for e in np.flatnonzero(push & pull).tolist():
            if by_col[e] in pushed:
                chosen[e] = True
            elif by_row[e] not in pulled:
                pushed.add(int(by_col[e]))
                chosen[e] = True
        return chosen


def alone(lines: np.ndarray, color: np.ndarray, count: int) -> np.ndarray:
    """For each entry whether its colour occurs once in its line."""
    if not len(lines):
        return np.zeros(0, bool)
    key = lines * (int(color.max()) + 1) + color
    _, where, times = np.unique(key, return_inverse=True, return_counts=True)
    return times[where] == 1


def _greedy(count: int, rivals: Rivals, order: Order) -> np.ndarray:
    color = np.full(count, -1)
    for v in order(count, rivals).tolist():
        taken = color[rivals(v)]
        free = np.ones(int(taken.max(initial=-1)) + 2, bool)
        free[taken[taken >= 0]] = False
        color[v] = free.argmax()
    return color


def _smallest_free(forbidden: set[int]) -> int:
    c = 0
    while c in forbidden:
        c += 1
    return c


def _renumber(color: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, int]:
    names = np.unique(used)
    place = {int(c): k for k, c in enumerate(names)}
    return np.array([place.get(int(c), -1) for c in color], dtype=int), len(names)
