"""A compressed Jacobian: as many sweeps as there are colours, and the nonzeros read off the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wengert.diff.linearize import Linearized
from wengert.diff.sparse.coloring import TwoSided, color_columns, color_rows, star_coloring
from wengert.diff.sparse.decompress import from_both, from_columns, from_rows, from_star
from wengert.diff.sparse.graph import Bipartite, adjacency
from wengert.diff.sparse.order import ORDERS, Order
from wengert.diff.sparse.pattern import Detected
from wengert.diff.sweep import Blocks, Walk, seeded
from wengert.ir.array import Array, WeakArray
from wengert.ir.types import ArrayType
from wengert.ops.index import scatter
from wengert.ops.promote import convert
from wengert.ops.shape import concat_p, reshape, slice_p

MODES = ("auto", "forward", "reverse", "both", "symmetric")


class Pattern:
    """The entries of a matrix that can be nonzero, sorted by rows."""

    __slots__ = ("cols", "rows", "shape")

    def __init__(self, rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]):
        self.rows, self.cols, self.shape = rows, cols, shape

    @classmethod
    def of(cls, detected: Detected) -> Pattern:
        return cls(*detected.entries(), detected.shape)


class Compression:
    """A pattern with a colouring; computes the nonzeros from a linearised function.

    `mode` is "forward" (columns are pushed), "reverse" (rows are pulled), "both" (some of each), "symmetric" (columns
    of a symmetric matrix are pushed), or "auto": forward or reverse, whichever takes fewer sweeps, or both if that
    takes fewer still.
    """

    def __init__(self, pattern: Pattern, mode: str = "auto", order: str = "natural"):
        self.pattern = pattern
        self.columns: np.ndarray | None = None  # a colour for each column that is pushed, -1 where it is not
        self.rows: np.ndarray | None = None
        self.two: TwoSided | None = None
        bipartite = Bipartite(pattern.rows, pattern.cols, pattern.shape)
        choose = ORDERS[order]
        self.mode = mode
        if mode == "symmetric":
            self.columns = star_coloring(adjacency(pattern.rows, pattern.cols, pattern.shape[0]), choose)
        if mode == "forward":
            self.columns = color_columns(bipartite, choose)
        if mode == "reverse":
            self.rows = color_rows(bipartite, choose)
        if mode == "auto":
            self._one_side(bipartite, choose)
        if mode == "both" or (mode == "auto" and self._hidden_structure(bipartite)):
            two = TwoSided(bipartite)
            if mode == "both" or two.count_columns + two.count_rows < self.count:
                self.two, self.mode = two, "both"
                self.columns = two.columns if two.count_columns else None
                self.rows = two.rows_color if two.count_rows else None

    def _one_side(self, bipartite: Bipartite, choose: Order) -> None:
        # a row of k entries needs k colours for its columns: first the side with the lower bound, then what may win
        need_columns = int(bipartite.columns_of.sizes.max(initial=0))
        need_rows = int(bipartite.rows_of.sizes.max(initial=0))
        if need_columns <= need_rows:
            self.columns = color_columns(bipartite, choose)
        if need_rows < need_columns or _count(self.columns) > need_rows:
            self.rows = color_rows(bipartite, choose)
            if self.columns is None and _count(self.rows) > need_columns:
                self.columns = color_columns(bipartite, choose)
        if self.columns is not None and (self.rows is None or _count(self.columns) <= _count(self.rows)):
            self.rows, self.mode = None, "forward"
        else:
            self.columns, self.mode = None, "reverse"

    def _hidden_structure(self, bipartite: Bipartite) -> bool:
        # a dense row and a dense column spoil one-sided colouring; the mean tells whether there is anything to win
        m, n = self.pattern.shape
        mean = len(self.pattern.rows) / max(1, min(m, n))
        return self.count > 4 * mean + 4

    @property
    def shape(self) -> tuple[int, int]:
        return self.pattern.shape

    @property
    def nonzeros(self) -> int:
        return len(self.pattern.rows)

    @property
    def sweeps(self) -> tuple[int, int]:
        """How many pushes and how many pulls."""
        return _count(self.columns), _count(self.rows)

    @property
    def count(self) -> int:
        return sum(self.sweeps)

    def data(self, linear: Linearized, ins: Sequence[ArrayType], outs: Sequence[ArrayType], chunk: int) -> Array:
        """The values of the pattern's entries, in its order."""
        rows, cols = self.pattern.rows, self.pattern.cols
        pushed = pulled = None
        if self.columns is not None:
            pushed = _compressed(linear.push, self.columns, ins, outs, chunk)
        if self.rows is not None:
            pulled = _compressed(linear.pull, self.rows, outs, ins, chunk)
        if self.two is not None:
            return from_both(pushed, pulled, self.two)
        if pushed is None:
            assert pulled is not None and self.rows is not None
            return from_rows(pulled, rows, cols, self.rows)
        assert self.columns is not None
        if self.mode == "symmetric":
            return from_star(pushed, rows, cols, self.columns)
        return from_columns(pushed, rows, cols, self.columns)

    def dense_blocks(
        self, linear: Linearized, ins: Sequence[ArrayType], outs: Sequence[ArrayType], chunk: int
    ) -> Blocks:
        """The whole Jacobian with its zeros, as blocks."""
        whole = todense(self.data(linear, ins, outs, chunk), self.pattern)
        blocks: Blocks = []
        i = 0
        for o in outs:
            row, j = [], 0
            for t in ins:
                row.append(slice_p.bind(whole, start=(i, j), stop=(i + o.size, j + t.size), step=(1, 1)))
                j += t.size
            blocks.append(row)
            i += o.size
        return blocks


def todense(data: Array, pattern: Pattern) -> Array:
    """The matrix with its zeros."""
    empty = Array(np.zeros(pattern.shape, data.dtype))
    return scatter(empty, data, [Array(pattern.rows), Array(pattern.cols)], (0, 1), "set", unique=True)


def _count(color: np.ndarray | None) -> int:
    return 0 if color is None else int(color.max(initial=-1)) + 1


def _compressed(
    walk: Walk, color: np.ndarray, sources: Sequence[ArrayType], targets: Sequence[ArrayType], chunk: int
) -> Array:
    """One row for each colour: the sum of the lines of that colour, over all targets one after the other."""
    count = _count(color)
    seeds: list[Array | None] = []
    first = 0
    for t in sources:
        mine = color[first : first + t.size]
        seed = np.zeros((count, t.size), t.dtype)
        given = np.flatnonzero(mine >= 0)
        seed[mine[given], given] = 1
        seed = seed.reshape(count, *t.shape)
        seeds.append(WeakArray(seed) if t.weak else Array(seed))
        first += t.size
    found = seeded(walk, seeds, count, chunk)
    dtype = targets[0].dtype
    parts = []
    for f, t in zip(found, targets, strict=True):
        part = Array(np.zeros((count, t.size), t.dtype)) if f is None else reshape(f, (count, t.size))
        parts.append(convert(part, dtype))
    return parts[0] if len(parts) == 1 else concat_p.bind(*parts, axis=1)
