"""Short rows taken apart into columns, in registers, and put together again."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

I32 = ir.IntType(32)


def columns(b: ir.IRBuilder, vectors: Sequence[ir.Value]) -> list[ir.Value]:
    """Vectors that hold rows of as many elements as there are vectors, as columns: one factor after another."""
    width = len(vectors)
    factor = next((f for f in range(2, width + 1) if width % f == 0), 1)
    if factor == 1:
        return list(vectors)
    lanes = vectors[0].type.count
    found: list[ir.Value] = [None] * width
    runs = [vectors[k : k + factor] for k in range(0, width, factor)]
    for c in range(factor):
        every = [_picked(b, run, [divmod(c + factor * k, lanes) for k in range(lanes)]) for run in runs]
        found[c::factor] = columns(b, every)
    return found


def rows_of(b: ir.IRBuilder, vectors: Sequence[ir.Value]) -> list[ir.Value]:
    """The inverse of `columns`."""
    width = len(vectors)
    factor = next((f for f in range(2, width + 1) if width % f == 0), 1)
    if factor == 1:
        return list(vectors)
    lanes = vectors[0].type.count
    every = [rows_of(b, vectors[c::factor]) for c in range(factor)]
    found = []
    for run in zip(*every, strict=True):
        for j in range(factor):
            places = [divmod(j * lanes + k, factor) for k in range(lanes)]
            found.append(_picked(b, run, [(c, at) for at, c in places]))
    return found


def _picked(b: ir.IRBuilder, vectors: Sequence[ir.Value], places: Sequence[tuple[int, int]]) -> ir.Value:
    """A vector of elements of others: (which vector, which element)."""
    lanes = vectors[0].type.count
    result, used = None, sorted({v for v, _ in places})
    first = used[0]
    if len(used) == 1:
        mask = ir.Constant(ir.VectorType(I32, lanes), [I32(at) for _, at in places])
        return b.shuffle_vector(vectors[first], ir.Constant(vectors[first].type, ir.Undefined), mask)
    for v in used[1:]:
        begun = result is not None
        before = [k if begun else at if own == first else 0 for k, (own, at) in enumerate(places)]
        picks = [lanes + at if own == v else p for p, (own, at) in zip(before, places, strict=True)]
        mask = ir.Constant(ir.VectorType(I32, lanes), [I32(x) for x in picks])
        result = b.shuffle_vector(result if begun else vectors[first], vectors[v], mask)
    return result
