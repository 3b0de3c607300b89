"""Reading and writing at positions that are data: `gather` and `scatter`, each the adjoint of the other.

Negative positions count from the end. What still lies outside is clipped into the array by `gather` and dropped by
`scatter`, so that every executor does the same; `outside` says otherwise where one is the adjoint of the other
(dropped, a `gather` reads 0). Users meet these through `x[...]`, `x.at[...]` and `wg.take`, which check the numbers
that they can see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.maps import IDENTITY, Compose, Linear, Map
from wengert.ir.primitive import Params, Primitive, registry
from wengert.ir.types import ArrayType, Shape, broadcast_shapes
from wengert.ops.compare import Mask, equal, select
from wengert.ops.elementwise import Scale, align
from wengert.ops.promote import convert, number
from wengert.ops.shape import broadcast_to, reshape, to_front
from wengert.source import at_user_line

_UFUNCS: dict[str, Any] = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}
_LARGEST = np.uint64(2**63 - 1)
MODES = ("set", *_UFUNCS)


def iota(size: int, axis: int = 0, ndim: int = 1) -> Array:
    """`0, 1, …, size - 1` along `axis` of an array of `ndim` axes whose other lengths are 1."""
    return Array(np.arange(size).reshape(tuple(size if k == axis else 1 for k in range(ndim))))


def zeros(shape: Shape, dtype: np.dtype) -> Array:
    return broadcast_to(number(0, dtype), shape)


def others(axes: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """The axes that are not indexed."""
    return tuple(k for k in range(ndim) if k not in axes)


def _check_indices(name: str, indices: Sequence[ArrayType], axes: tuple[int, ...], ndim: int) -> Shape:
    """The common shape of the index arrays."""
    for i in indices:
        if i.dtype.kind not in "iu":
            raise DTypeError(f"{name}: an index array holds integers, got {i!r}{at_user_line()}")
    if len(indices) != len(axes) or len(set(axes)) != len(axes) or not all(0 <= a < ndim for a in axes):
        raise ShapeError(f"{name}: {len(indices)} index arrays for axes {axes} of {ndim}{at_user_line()}")
    return broadcast_shapes([i.shape for i in indices], f"{name}: index arrays") if indices else ()


def _wrap(indices: Sequence[Any], sizes: Sequence[int]) -> tuple[list[Any], Any]:
    """Positions counted from the front, and whether they lie inside (True where all do)."""
    found: list[Any] = []
    inside: Any = np.True_
    for index, d in zip(indices, sizes, strict=True):
        i = np.asarray(np.minimum(index, _LARGEST) if index.dtype == np.uint64 else index).astype(np.int64, copy=False)
        wrapped = np.where(i < 0, i + d, i) if i.size and i.min() < 0 else i
        if i.size and (wrapped.min() < 0 or wrapped.max() >= d):
            inside = inside & (wrapped >= 0) & (wrapped < d)
        found.append(wrapped)
    return found, inside


def _one_place(indices: Sequence[Any], sizes: Sequence[int], outside: str) -> tuple[int, ...] | None:
    """The place as Python integers where every index is a single number and can be met: no index arithmetic needed."""
    place = []
    for index, d in zip(indices, sizes, strict=True):
        if index.ndim:
            return None
        i = int(index)
        i = i + d if i < 0 else i
        if not 0 <= i < d:
            if outside == "drop" or d == 0:
                return None
            i = 0 if i < 0 else d - 1
        place.append(i)
    return tuple(place)


class Gather(Primitive):
    """`out[b…, r…] = x[i₁[b…], i₂[b…], …, r…]`: elements of `x` at positions along `axes`.

    The index arrays, one for each of `axes`, broadcast to a shape B; the output has shape B followed by the other axes
    of `x` in order. `outside` is "clip" or "drop" (reads 0); `unique` promises that no position occurs twice.
    """

    def type(  # type: ignore[override]
        self, x: ArrayType, *indices: ArrayType, axes: tuple[int, ...], outside: str, unique: bool
    ) -> ArrayType:
        lead = _check_indices(self.name, indices, axes, x.ndim)
        for a in axes:
            if x.shape[a] == 0 and 0 not in lead and outside == "clip":
                raise ShapeError(f"gather from axis {a} of length 0: there is nothing to read{at_user_line()}")
        return ArrayType(lead + tuple(x.shape[k] for k in others(axes, x.ndim)), x.dtype)

    def weak_result(self, args: Sequence[Any], params: Params) -> bool:
        return args[0].weak

    def evaluate(self, x: Any, *indices: Any, axes: tuple[int, ...], outside: str, unique: bool) -> Any:  # type: ignore[override]
        rest = others(axes, x.ndim)
        sizes = [x.shape[a] for a in axes]
        if (place := _one_place(indices, sizes, outside)) is not None:
            return x.transpose(axes + rest)[place]
        found, inside = _wrap(indices, sizes)
        if not np.all(inside):
            if 0 in sizes:
                if outside == "clip":
                    raise IndexError("nothing to read")
                lead = np.broadcast_shapes(*[i.shape for i in found])
                return np.zeros(lead + tuple(x.shape[k] for k in rest), x.dtype)
            found = [np.clip(i, 0, d - 1) for i, d in zip(found, sizes, strict=True)]
        if len(axes) == 1 and x.flags.c_contiguous:  # `take` is quicker; then B moves to the front, without a copy
            (a,), (i,) = axes, found
            out = x.take(i, axis=a)
            out = out.transpose((*range(a, a + i.ndim), *range(a), *range(a + i.ndim, out.ndim)))
        else:
            out = x.transpose(axes + rest)[tuple(found)]
        if outside == "drop" and not np.all(inside):
            out = np.where(inside.reshape(inside.shape + (1,) * len(rest)), out, x.dtype.type(0))
        return out

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        return Linear(self, 0, values, params) if i == 0 and out.dtype.kind in "fc" else None

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        x, *indices = values
        return scatter_p.bind(zeros(x.shape, ct.dtype), ct, *indices, mode="add", **params)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (x, *indices), (at, *index_at) = values, axes
        over = params["axes"]
        if all(a is None for a in index_at):
            assert at is not None
            moved = tuple(a + (a >= at) for a in over)
            lead = broadcast_shapes([i.shape for i in indices]) if indices else ()
            return self.bind(x, *indices, **{**params, "axes": moved}), len(lead) + others(moved, x.ndim).index(at)
        indices = align(indices, index_at)
        if at is None:
            return self.bind(x, *indices, **{**params, "unique": False}), 0
        example = iota(size, 0, max(i.ndim for i in indices))
        return self.bind(x, example, *indices, **{**params, "axes": (at, *(a + (a >= at) for a in over))}), 0

    def sparsity(
        self,
        patterns: Sequence[Any],
        types: Sequence[ArrayType],
        params: Params,
        constants: Sequence[Any] | None = None,
    ) -> Any:
        # with the positions known, the bits move as the elements do; without, an output depends on all it might read
        pattern, axes = patterns[0], params["axes"]
        if pattern is None:
            return None
        if constants is not None and all(c is not None for c in constants[1:]):
            return self.evaluate(pattern, *constants[1:], **params)
        shape = self.type(*types, **params).shape
        return np.broadcast_to(np.bitwise_or.reduce(pattern, axis=axes), (*shape, pattern.shape[-1]))


class Scatter(Primitive):
    """A copy of `x` in which the elements at positions along `axes` are set to, or combined with, `updates`.

    The index arrays broadcast to a shape B; `updates` has shape B followed by the other axes of `x` in order. `mode` is
    "set", "add", "mul", "min" or "max". Where a position occurs twice, "set" keeps the last and the others combine
    all; `unique` promises that none does. `outside` is "drop" or "clip".
    """

    def type(  # type: ignore[override]
        self,
        x: ArrayType,
        updates: ArrayType,
        *indices: ArrayType,
        axes: tuple[int, ...],
        mode: str,
        outside: str,
        unique: bool,
    ) -> ArrayType:
        lead = _check_indices(self.name, indices, axes, x.ndim)
        expected = lead + tuple(x.shape[k] for k in others(axes, x.ndim))
        if updates.shape != expected:
            raise ShapeError(f"scatter: the updates have shape {updates.shape}, expected {expected}{at_user_line()}")
        if updates.dtype != x.dtype:
            raise DTypeError(f"scatter: updates of {updates.dtype.name} into {x.dtype.name}{at_user_line()}")
        if mode not in MODES or (mode in ("min", "max") and x.dtype.kind == "c"):
            raise DTypeError(f"scatter: {mode!r} is not defined for {x.dtype.name}{at_user_line()}")
        return ArrayType(x.shape, x.dtype)

    def weak_result(self, args: Sequence[Any], params: Params) -> bool:
        return args[0].weak and args[1].weak

    def evaluate(  # type: ignore[override]
        self,
        x: Any,
        updates: Any,
        *indices: Any,
        axes: tuple[int, ...],
        mode: str,
        outside: str,
        unique: bool,
    ) -> Any:
        if updates.dtype != x.dtype or (x.dtype.kind == "c" and mode in ("min", "max")):
            raise TypeError("types of scatter")
        lead = np.broadcast_shapes(*[i.shape for i in indices])
        if updates.shape != lead + tuple(x.shape[k] for k in others(axes, x.ndim)):
            raise ValueError("shape of updates")
        return _scatter(x, updates, indices, axes, _UFUNCS.get(mode), outside, unique)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        if i > 1 or out.dtype.kind not in "fc":
            return None
        x, updates, *indices = values
        mode, unique = params["mode"], params["unique"]
        where = {k: params[k] for k in ("axes", "outside", "unique")}
        if i == 0:
            if mode == "add":
                return IDENTITY
            if mode == "set":
                return Linear(self, 0, (x, zeros(updates.shape, x.dtype), *indices), params)
            if mode == "mul":
                ones = broadcast_to(number(1, x.dtype), x.shape)
                return Scale(self.bind(ones, updates, *indices, **params), x.shape, x.shape)
            return Scale(convert(equal(x, out), x.dtype) / _ties(values, out, where), x.shape, x.shape, bounded=True)
        write = Linear(self, 1, (zeros(x.shape, x.dtype), updates, *indices), {**where, "mode": "add"})
        if mode == "add" or (mode == "set" and unique):
            return write
        if mode == "set":
            return Compose(Mask(_last(values, where), updates.shape, updates.shape, keep=True), write)
        before = gather_p.bind(x, *indices, **{**where, "outside": "clip"})
        if mode == "mul":
            factor = before if unique else before * _others_at_same_position(values, where)
            return Compose(Scale(factor, updates.shape, updates.shape), write)
        at = {**where, "outside": "clip"}
        hit = convert(equal(updates, gather_p.bind(out, *indices, **at)), x.dtype)
        share = hit / gather_p.bind(_ties(values, out, where), *indices, **at)
        return Compose(Scale(share, updates.shape, updates.shape, bounded=True), write)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        _, updates, *indices = values
        if i == 1:
            return gather_p.bind(ct, *indices, **{k: params[k] for k in ("axes", "outside", "unique")})
        return ct if params["mode"] == "add" else self.bind(ct, zeros(updates.shape, ct.dtype), *indices, **params)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        x, updates, *indices = (v if at is None else to_front(v, at) for v, at in zip(values, axes, strict=True))
        (x_at, updates_at, *index_at), over = axes, params["axes"]
        if x_at is None:
            x = broadcast_to(x, (size, *x.shape))
        if updates_at is None:
            updates = broadcast_to(updates, (size, *updates.shape))
        up = tuple(a + 1 for a in over)
        if all(at is None for at in index_at):  # the batch is one more axis that is not indexed
            lead = len(broadcast_shapes([i.shape for i in indices])) if indices else 0
            order = (*range(1, lead + 1), 0, *range(lead + 1, updates.ndim))
            updates = registry["permute"].bind(updates, axes=order)
            return self.bind(x, updates, *indices, **{**params, "axes": up}), 0
        indices = align(indices, [None if at is None else 0 for at in index_at])
        example = iota(size, 0, max(i.ndim for i in indices))
        return self.bind(x, updates, example, *indices, **{**params, "axes": (0, *up)}), 0

    def sparsity(
        self,
        patterns: Sequence[Any],
        types: Sequence[ArrayType],
        params: Params,
        constants: Sequence[Any] | None = None,
    ) -> Any:
        # with the positions known, the bits move as the elements do; without, any update may have landed anywhere
        kept, new = patterns[:2]
        if kept is None and new is None:
            return None
        words = (new if kept is None else kept).shape[-1]
        x, updates = types[:2]
        kept = np.zeros((*x.shape, words), np.uint64) if kept is None else kept
        new = np.zeros((*updates.shape, words), np.uint64) if new is None else new
        axes = params["axes"]
        if constants is not None and all(c is not None for c in constants[2:]):
            combine = None if params["mode"] == "set" else np.bitwise_or
            return _scatter(kept, new, constants[2:], axes, combine, params["outside"], params["unique"])
        lead = updates.ndim - (x.ndim - len(axes))
        anywhere = np.bitwise_or.reduce(new, axis=tuple(range(lead)))
        return kept | np.expand_dims(anywhere, tuple(sorted(axes)))


def _scatter(x: Any, updates: Any, indices: Any, axes: Any, ufunc: Any, outside: str, unique: bool) -> Any:
    order = axes + others(axes, x.ndim)
    out = np.array(x.transpose(order), order="C")
    sizes = out.shape[: len(axes)]
    if (place := _one_place(indices, sizes, outside)) is not None:
        out[place] = updates if ufunc is None else ufunc(out[place], updates)
        return out.transpose(np.argsort(order))
    found, inside = _wrap(indices, sizes)
    if not np.all(inside):
        if outside == "clip":
            found = [np.clip(i, 0, d - 1) for i, d in zip(found, sizes, strict=True)]
        else:
            lead = updates.shape[: updates.ndim - (x.ndim - len(axes))]
            inside = np.broadcast_to(inside, lead)
            found = [np.broadcast_to(i, lead)[inside] for i in found]
            updates = updates[inside]
    where = tuple(found)
    if ufunc is None:
        out[where] = updates
    elif unique or not where:
        out[where] = ufunc(out[where], updates)
    elif updates.size:
        positions = np.ravel_multi_index(tuple(np.broadcast_arrays(*where)), sizes).ravel()
        flat = out.reshape(math.prod(sizes), -1)
        _combine(flat, positions, updates.reshape(len(positions), -1), ufunc)
    return out.transpose(np.argsort(order))


def _combine(rows: Any, positions: Any, updates: Any, ufunc: Any) -> None:
    """`rows[positions[k]] = ufunc(rows[positions[k]], updates[k])` for each k in turn, in place."""
    if updates.shape[1] == 1:
        ufunc.at(rows[:, 0], positions, updates[:, 0])
        return
    order = np.argsort(positions, kind="stable")
    ranked = positions[order]
    starts = np.concatenate(([0], np.flatnonzero(ranked[1:] != ranked[:-1]) + 1))
    targets = ranked[starts]
    rows[targets] = ufunc(rows[targets], ufunc.reduceat(updates[order], starts, axis=0))


# What the partials of scatter need to know about positions that occur twice.


def _last(values: Sequence[Array], where: Params) -> Array:
    """Whether an update is the last at its position; broadcasts to the shape of the updates."""
    x, updates, *indices = values
    axes = where["axes"]
    rest = x.ndim - len(axes)
    lead = updates.shape[: updates.ndim - rest]
    turn = Array(np.arange(math.prod(lead)).reshape(lead))
    sizes = tuple(x.shape[a] for a in axes)
    at = {**where, "axes": tuple(range(len(axes)))}
    board = scatter_p.bind(zeros(sizes, turn.dtype), turn, *indices, mode="set", **at)
    return reshape(equal(gather_p.bind(board, *indices, **at), turn), (*lead, *(1,) * rest))


def _ties(values: Sequence[Array], out: Array, where: Params) -> Array:
    """For "min" and "max": how many of `x` and the updates equal the result, at each position."""
    x, updates, *indices = values
    hit = equal(updates, gather_p.bind(out, *indices, **{**where, "outside": "clip"}))
    return scatter_p.bind(convert(equal(x, out), x.dtype), convert(hit, x.dtype), *indices, mode="add", **where)


def _others_at_same_position(values: Sequence[Array], where: Params) -> Array:
    """For "mul": the product of the other updates at the same position, exact also where some are 0.

    Updates sorted by position lie in segments; a product that starts anew in each segment is a linear recurrence,
    taken from the left and from the right.
    """
    x, updates, *indices = values
    axes = where["axes"]
    rest = x.ndim - len(axes)
    lead = updates.shape[: updates.ndim - rest]
    count = math.prod(lead)
    rows = reshape(updates, (count, math.prod(updates.shape[len(lead) :])))
    position: Any = 0
    inside: Any = True
    for index, a in zip(indices, axes, strict=True):
        d = x.shape[a]
        signed = convert(index, np.dtype(np.int64))
        wrapped = select(signed < 0, signed + d, signed)
        clipped = select(wrapped < 0, 0, select(wrapped >= d, d - 1, wrapped))
        i = clipped if where["outside"] == "clip" else wrapped
        inside = (i >= 0) & (i < d) & inside
        position = position * d + i
    position = reshape(broadcast_to(select(inside, position, -1), lead), (count,))
    order = registry["argsort"].bind(position, axis=0, descending=False)
    once: Params = {"axes": (0,), "outside": "clip", "unique": True}
    ranked = gather_p.bind(position, order, **once)
    ordered = gather_p.bind(rows, order, **once)

    def product(reverse: bool) -> Array:
        shift = ((-1, 1, 0),) if reverse else ((1, -1, 0),)
        pad, zero = registry["pad"], number(0, x.dtype)
        neighbour = pad.bind(ranked, number(-2, ranked.dtype), padding=shift)
        same = reshape(equal(ranked, neighbour), (count, 1))
        step = select(same, pad.bind(ordered, zero, padding=(*shift, (0, 0, 0))), 0)
        start = broadcast_to(select(same, number(0, x.dtype), number(1, x.dtype)), step.shape)
        return registry["linear_recurrence"].bind(step, start, axis=0, reverse=reverse)

    product_of_others = product(False) * product(True)
    back = registry["argsort"].bind(order, axis=0, descending=False)
    return reshape(gather_p.bind(product_of_others, back, **once), updates.shape)


gather_p = Gather("gather")
scatter_p = Scatter("scatter")


def gather(x: Array, indices: Sequence[Array], axes: tuple[int, ...], unique: bool = False) -> Array:
    """Elements of `x` at positions along `axes`; see `Gather`."""
    return gather_p.bind(x, *indices, axes=axes, outside="clip", unique=unique)


def scatter(
    x: Array, updates: Array, indices: Sequence[Array], axes: tuple[int, ...], mode: str, unique: bool = False
) -> Array:
    """`x` with `updates` written at positions along `axes`; see `Scatter`."""
    return scatter_p.bind(x, updates, *indices, axes=axes, mode=mode, outside="drop", unique=unique)


def along_axis(positions: Array, axis: int) -> list[Array]:
    """Index arrays for every axis that read, at each place of `positions`, the element that it names along `axis`."""
    n = positions.ndim
    return [positions if k == axis else iota(d, k, n) for k, d in enumerate(positions.shape)]


def along_axis_map(x: Array, positions: Array, axis: int, unique: bool) -> Map:
    """The map that reads along `axis` at `positions`, an array of one position for each element of the output."""
    params = {"axes": tuple(range(x.ndim)), "outside": "clip", "unique": unique}
    return Linear(gather_p, 0, (x, *along_axis(positions, axis)), params)
