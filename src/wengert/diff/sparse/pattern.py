"""Which outputs can depend on which inputs: bit sets carried along a recorded graph by the `sparsity` facets.

The pattern of a value has a bit for each input element, for each of its own elements: an array of `uint64` of shape
`(*shape, words)`. Inputs are taken some thousands at a time, so that patterns stay within a bounded memory.

A primitive without the facet is taken to be dense: every output depends on all that any input depends on. Steps that
carry a graph walk into it. Zeros of constants are zeros of the pattern: a product with a banded constant matrix is
banded.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from wengert.ir.graph import Graph, Node
from wengert.ir.primitive import Primitive
from wengert.ir.types import ArrayType

Pattern = np.ndarray | None
BUDGET = 1 << 25  # bytes for the pattern of one value


def detect(graph: Graph) -> Detected:
    """The entries of the Jacobian of `graph` that can be nonzero."""
    sizes = [v.size for v in graph.inputs]
    total = sum(sizes)
    widest = max([1, *(o.size for n in graph.nodes for o in n.outputs), *sizes])
    words = max(1, min(-(-total // 64), BUDGET // (8 * widest)))
    parts = []
    for start in range(0, total, 64 * words):
        offset = 0
        for o, p in zip(
            graph.outputs, walk(graph, _inputs(graph, sizes, start, min(start + 64 * words, total))), strict=True
        ):
            if p is not None:
                parts.append((offset, start, p.reshape(o.size, -1)))
            offset += o.size
    return Detected(parts, (sum(o.size for o in graph.outputs), total))


class Detected:
    """A pattern as bit sets, one for each row: quick to count, and expanded only where it is worth it."""

    __slots__ = ("parts", "shape")

    def __init__(self, parts: list[tuple[int, int, np.ndarray]], shape: tuple[int, int]):
        self.parts = parts
        self.shape = shape

    @property
    def count(self) -> int:
        """How many entries can be nonzero."""
        return sum(int(np.bitwise_count(p).sum()) for _, _, p in self.parts)

    def entries(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the entries, sorted by rows; both count the elements of all arrays in order."""
        rows, cols = [np.zeros(0, int)], [np.zeros(0, int)]
        for row, col, p in self.parts:
            i, j = _bits(p)
            rows.append(i + row)
            cols.append(j + col)
        r, c = np.concatenate(rows), np.concatenate(cols)
        order = np.lexsort((c, r))
        return r[order], c[order]


def _inputs(graph: Graph, sizes: Sequence[int], start: int, stop: int) -> list[Pattern]:
    """Input element number e has bit e - start; inputs outside the range have no pattern."""
    words = -(-(stop - start) // 64)
    found: list[Pattern] = []
    first = 0
    for v, size in zip(graph.inputs, sizes, strict=True):
        mine = np.arange(max(first, start), min(first + size, stop))
        if len(mine) == 0:
            found.append(None)
        else:
            p = np.zeros((size, words), np.uint64)
            bit = mine - start
            p[mine - first, bit // 64] = np.uint64(1) << (bit % 64).astype(np.uint64)
            found.append(p.reshape(*v.shape, words))
        first += size
    return found


def _bits(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and bit number of every bit that is set."""
    rows, words = np.nonzero(p)
    octets = np.ascontiguousarray(p[rows, words].astype("<u8")).view(np.uint8).reshape(-1, 8)
    which, bit = np.nonzero(np.unpackbits(octets, axis=1, bitorder="little"))
    return rows[which], words[which] * 64 + bit


def walk(graph: Graph, patterns: Sequence[Pattern]) -> list[Pattern]:
    """The patterns of the outputs of `graph` from those of its inputs."""
    trace = graph.trace
    known: list[Pattern] = [None] * graph.size
    for v, p in zip(graph.inputs, patterns, strict=True):
        known[v.index] = p
    for node in graph.nodes:
        arriving = [known[a.index] if a.trace is trace else None for a in node.inputs]  # type: ignore[attr-defined]
        if any(p is not None for p in arriving):
            for o, p in zip(node.outputs, node_patterns(node, trace, arriving), strict=True):
                known[o.index] = p
    return [known[o.index] if o.trace is trace else None for o in graph.outputs]  # type: ignore[attr-defined]


def node_patterns(node: Node, trace: Any, arriving: Sequence[Pattern]) -> Sequence[Pattern]:
    """The patterns of the outputs of one node."""
    primitive = node.primitive
    if not primitive.differentiable:
        return [None] * len(node.outputs)
    if hasattr(node.differential, "patterns"):
        return node.differential.patterns(walk, arriving)
    types = [a.type for a in node.inputs]
    constants = [a.data if a.trace is None else None for a in node.inputs]
    if (special := _WITH_CONSTANT.get(primitive.name)) is not None:
        found = special(arriving, types, node.params, constants)
        if found is not None:
            return [found]
    known = (constants,) if _takes_constants(type(primitive)) else ()  # type: ignore[arg-type]
    try:
        out = primitive.sparsity(arriving, types, node.params, *known)
    except NotImplementedError:
        return dense(arriving, [o.type for o in node.outputs])
    return out if primitive.multiple else [out]


def union(*patterns: Pattern) -> Pattern:
    """What any of several patterns of one value depends on."""
    given = [p for p in patterns if p is not None]
    return np.bitwise_or.reduce(given) if given else None


def dense(arriving: Sequence[Pattern], types: Sequence[ArrayType]) -> list[Pattern]:
    """Every output depends on everything."""
    given = [p for p in arriving if p is not None]
    union = np.bitwise_or.reduce([np.bitwise_or.reduce(p.reshape(-1, p.shape[-1]), axis=0) for p in given])
    return [np.broadcast_to(union, (*t.shape, len(union))) if t.dtype.kind in "fc" else None for t in types]


@cache
def _takes_constants(cls: type[Primitive]) -> bool:
    return "constants" in inspect.signature(cls.sparsity).parameters


def _times_constant(
    patterns: Sequence[Pattern], types: Sequence[ArrayType], params: Any, constants: Sequence[Any]
) -> Pattern:
    """A product with a constant depends on nothing where the constant is 0."""
    i = 0 if patterns[1] is None else 1
    p, factor = patterns[i], constants[1 - i]
    if p is None or factor is None:
        return None
    shape = np.broadcast_shapes(types[0].shape, types[1].shape)
    nonzero = np.broadcast_to(np.asarray(factor) != 0, shape)
    lead = (1,) * (len(shape) + 1 - p.ndim)
    full = np.broadcast_to(p.reshape(lead + p.shape), (*shape, p.shape[-1]))
    return full if nonzero.all() else np.where(nonzero[..., None], full, np.uint64(0))


def _matrix_constant(
    patterns: Sequence[Pattern], types: Sequence[ArrayType], params: Any, constants: Sequence[Any]
) -> Pattern:
    """A product with a constant matrix that has zeros: an output depends on what meets a nonzero."""
    i = 0 if patterns[1] is None else 1
    p, constant = patterns[i], constants[1 - i]
    if p is None or constant is None or any(params["batch"]):
        return None
    nonzero = np.asarray(constant) != 0
    count = np.count_nonzero(nonzero)
    if count == nonzero.size:
        return None
    cp, cc = params["contract"][i], params["contract"][1 - i]
    free_p = tuple(a for a in range(p.ndim - 1) if a not in cp)
    free_c = tuple(a for a in range(nonzero.ndim) if a not in cc)
    shape_p, shape_c = tuple(p.shape[a] for a in free_p), tuple(nonzero.shape[a] for a in free_c)
    depth = int(np.prod([p.shape[a] for a in cp], dtype=int))
    lines = nonzero.transpose(free_c + cc).reshape(-1, depth)
    rows = p.transpose((*cp, *free_p, p.ndim - 1)).reshape(depth, -1)
    if 2 * count > nonzero.size and count * rows.shape[1] * 8 > BUDGET:
        return None  # not worth the memory
    out = np.zeros((len(lines), rows.shape[1]), np.uint64)
    which, k = np.nonzero(lines)
    if len(which):
        lines_met, starts = np.unique(which, return_index=True)
        out[lines_met] = np.bitwise_or.reduceat(rows[k], starts, axis=0)
    out = out.reshape(*shape_c, *shape_p, p.shape[-1])
    nc, np_ = len(shape_c), len(shape_p)
    if i == 0:  # the pattern's own axes come first
        out = out.transpose(*range(nc, nc + np_), *range(nc), nc + np_)
    return out


_WITH_CONSTANT = {
    "multiply": _times_constant,
    "guarded_multiply": _times_constant,
    "annihilating_multiply": _times_constant,
    "dot_general": _matrix_constant,
}
