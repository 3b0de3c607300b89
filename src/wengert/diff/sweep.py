"""Jacobians by sweeps: many tangents pushed, or many cotangents pulled, through one linearised graph at once.

A Jacobian is kept here as blocks: `blocks[k][j]` is the matrix of output k by input j, both flattened, or None where
it is zero. The seeds of a sweep are the unit vectors; `vmap` takes a chunk of them along, and memory stays bounded
by the size of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.batch import batched, place_batch
from wengert.errors import AbstractValueError
from wengert.ir.array import Array, WeakArray
from wengert.ir.graph import Graph
from wengert.ir.types import ArrayType
from wengert.ops.contract import matmul
from wengert.ops.promote import promote
from wengert.ops.shape import concat_p, permute, reshape

Block = Array | None
Blocks = list[list[Block]]
Walk = Callable[[Sequence[Array | None]], Sequence[Array | None]]

BUDGET = 1 << 26  # bytes that one chunk of a sweep may hold at its widest place, unless the user says otherwise


def default_chunk(graph: Graph) -> int:
    """How many sweeps to run at once: as many as fit the budget, by the largest value that a sweep carries."""
    widest = max((o.size * o.dtype.itemsize for n in graph.nodes for o in n.outputs), default=1)
    widest = max(widest, *(v.size * v.dtype.itemsize for v in graph.inputs), 1)
    return max(1, BUDGET // (4 * widest))


def columns(push: Walk, ins: Sequence[ArrayType], outs: Sequence[ArrayType], chunk: int) -> Blocks:
    """The Jacobian blocks by pushing every unit tangent of every input."""
    parts = [_unit_sweeps(push, j, ins, outs, chunk) for j in range(len(ins))]  # [input][output]: (size of input, ...)
    return [[_transposed(parts[j][k]) for j in range(len(ins))] for k in range(len(outs))]


def rows(pull: Walk, ins: Sequence[ArrayType], outs: Sequence[ArrayType], chunk: int) -> Blocks:
    """The Jacobian blocks by pulling every unit cotangent of every output."""
    return [_unit_sweeps(pull, k, outs, ins, chunk) for k in range(len(outs))]


def seeded(walk: Walk, seeds: Sequence[Array | None], size: int, chunk: int) -> list[Block]:
    """`walk` applied to `size` seeds, stacked along the first axes; the flattened results are stacked likewise."""
    parts = []
    for start in range(0, size, chunk):
        stop = min(start + chunk, size)
        cut = [None if s is None else s if stop - start == size else _rows(s, start, stop) for s in seeds]
        parts.append(_walk_batch(walk, cut, stop - start))
    return [_stack([p[k] for p in parts], size, chunk) for k in range(len(parts[0]))] if parts else []


def _unit_sweeps(
    walk: Walk, slot: int, sources: Sequence[ArrayType], targets: Sequence[ArrayType], chunk: int
) -> list[Block]:
    """One block for each target, of shape (size of source, size of target)."""
    type = sources[slot]
    parts = []
    for start in range(0, type.size, chunk):
        stop = min(start + chunk, type.size)
        seeds: list[Array | None] = [None] * len(sources)
        seeds[slot] = unit_vectors(type, start, stop)
        parts.append(_walk_batch(walk, seeds, stop - start))
    return [_stack([p[k] for p in parts], type.size, chunk) for k in range(len(targets))]


def unit_vectors(type: ArrayType, start: int, stop: int) -> Array:
    """Unit vectors `start … stop - 1` of the space of arrays of this type, stacked along the first axis."""
    data = np.zeros((stop - start, type.size), type.dtype)
    data[np.arange(stop - start), np.arange(start, stop)] = 1
    data = data.reshape((stop - start, *type.shape))
    return WeakArray(data) if type.weak else Array(data)


def _walk_batch(walk: Walk, seeds: Sequence[Array | None], size: int) -> list[Block]:
    """The results for `size` stacked seeds, each of shape (size, elements)."""
    if size == 1:
        return _one_by_one(walk, seeds, size)
    slots = [i for i, s in enumerate(seeds) if s is not None]
    present: list[bool] = []

    def run(*arriving: Array) -> list[Array]:
        spread: list[Array | None] = [None] * len(seeds)
        for i, t in zip(slots, arriving, strict=True):
            spread[i] = t
        outs = walk(spread)
        present[:] = [o is not None for o in outs]
        return [o for o in outs if o is not None]

    try:
        found, axes = batched(run, [seeds[i] for i in slots], [0] * len(slots), size)  # type: ignore[misc]
    except (NotImplementedError, AbstractValueError):  # a rule that cannot be batched: a loop does the same
        return _one_by_one(walk, seeds, size)
    flat = iter([_flat(place_batch(o, at, 0, size), size) for o, at in zip(found, axes, strict=True)])
    return [next(flat) if p else None for p in present]


def _one_by_one(walk: Walk, seeds: Sequence[Array | None], size: int) -> list[Block]:
    results = []
    for i in range(size):
        one = [None if s is None else reshape(_rows(s, i, i + 1), s.shape[1:]) for s in seeds]
        results.append([None if o is None else _flat(o, 1) for o in walk(one)])
    return [_stack([r[k] for r in results], size, 1) for k in range(len(results[0]))]


def _stack(parts: Sequence[Block], size: int, chunk: int) -> Block:
    known = [p for p in parts if p is not None]
    if not known:
        return None
    filled = []
    for i, part in enumerate(parts):
        count = min(chunk, size - i * chunk)  # a part may be zero for this chunk of seeds only
        filled.append(Array(np.zeros((count, known[0].shape[1]), known[0].dtype)) if part is None else part)
    return filled[0] if len(filled) == 1 else concat_p.bind(*filled, axis=0)


def _rows(x: Array, start: int, stop: int) -> Array:
    from_type = type(x)
    if x.trace is None:
        return from_type(x.data[start:stop])
    raise AssertionError("seeds are constants")


def _flat(x: Array, size: int) -> Array:
    width = 1
    for d in x.shape if size == 1 else x.shape[1:]:
        width *= d
    return reshape(x, (size, width))


def _transposed(x: Block) -> Block:
    return None if x is None else permute(x, (1, 0))


def product(left: Blocks, right: Blocks) -> Blocks:
    """The blocks of a composition: `left` after `right`."""
    width = len(right[0]) if right else 0
    return [[_sum_of_products(row, [r[j] for r in right]) for j in range(width)] for row in left]


def _sum_of_products(row: Sequence[Block], column: Sequence[Block]) -> Block:
    total: Any = None
    for a, b in zip(row, column, strict=True):
        if a is not None and b is not None:
            term = matmul(*promote("jacobian", (a, b)))
            total = term if total is None else total + term
    return total
