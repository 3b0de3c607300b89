"""Rows of a table at integer positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.array.taking import one_hot as classes_one_hot
from wengert.diff.stop_gradient import stop_gradient_p
from wengert.errors import ArgumentError, OutOfRangeError, ShapeError
from wengert.ir.array import Array, concrete
from wengert.ir.scope import region
from wengert.nn.functional.inputs import as_floating, as_input, as_integers
from wengert.ops.arithmetic import maximum
from wengert.ops.compare import select
from wengert.ops.index import gather, iota, scatter
from wengert.ops.promote import as_array, convert, number
from wengert.ops.shape import broadcast_to, reshape
from wengert.source import at_user_line


@region("embedding")
def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Array:
    """`weight[input]`: for each position its row.

    Args:
        input: integers of any shape.
        weight: (rows, features).
        padding_idx: a row that gets no gradient.

    Returns:
        An array of the shape of `input`, and features behind.

    Raises:
        OutOfRangeError: a position is not a row, where its number is known (a traced one is clipped).
        DTypeError: positions that are no integers.
    """
    positions = as_integers(input, "embedding: the positions")
    weight = as_array(weight, "embedding: the weight")
    if weight.ndim != 2:
        raise ShapeError(f"embedding: the weight has shape {weight.shape}; expected (rows, features){at_user_line()}")
    rows = weight.shape[0]
    _check_positions(positions, rows, "embedding")
    out = gather(weight, [positions], (0,))
    if padding_idx is None:
        return out
    if not -rows <= padding_idx < rows:
        raise ArgumentError(f"embedding: padding_idx is {padding_idx}, but there are {rows} rows{at_user_line()}")
    padding = reshape(positions == padding_idx % rows, (*positions.shape, 1))
    return select(padding, stop_gradient_p.bind(out), out)


def one_hot(x: Any, num_classes: int = -1) -> Array:
    """Zeros with a 1 at position `x` along a new last axis, as integers; see `wg.one_hot` for other types and axes.

    Args:
        x: integers of any shape.
        num_classes: length of the new axis; -1 for one more than the largest, where the numbers are known.

    Raises:
        OutOfRangeError: a number is no class, where it is known.
    """
    x = as_integers(x, "one_hot: the classes")
    if num_classes == -1:
        num_classes = int(np.max(concrete(x, "one_hot without num_classes: the largest class"), initial=-1)) + 1
    _check_positions(x, num_classes, "one_hot")
    return classes_one_hot(x, num_classes, dtype=np.int64)


def _check_positions(positions: Array, rows: int, what: str) -> None:
    if positions.trace is None and positions.size:
        low, high = np.min(positions.data), np.max(positions.data)
        if low < 0 or high >= rows:
            raise OutOfRangeError(
                f"{what}: positions lie between {low} and {high}, but there are {rows} rows, counted from 0 to "
                f"{rows - 1}{at_user_line()}"
            )


@region("embedding")
def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    mode: str = "mean",
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Array:
    """Sums, means or largest elements of bags of rows: `Σ_j weight[input[i, j]]`.

    Args:
        input: integers (bags, length); or one axis of them, with `offsets`.
        weight: (rows, features).
        offsets: where each bag begins in `input`; a bag ends where the next begins.
        mode: "sum", "mean" or "max".
        per_sample_weights: a factor for each position, of the shape of `input` ("sum" only).
        include_last_offset: whether the last offset is the end of the last bag.
        padding_idx: a row that counts in no bag.

    Returns:
        (bags, features); an empty bag gives 0.

    Raises:
        OutOfRangeError: a position is not a row, where its number is known.
        ShapeError, DTypeError, ArgumentError: arguments that do not belong together.
    """
    what = "embedding_bag"
    positions = as_integers(input, f"{what}: the positions")
    table = as_floating(weight, f"{what}: the weight")
    if table.ndim != 2 or positions.ndim not in (1, 2):
        raise ShapeError(
            f"{what}: positions of shape {positions.shape} in a weight of shape {table.shape}; expected (bags, length) "
            f"or (positions,), and (rows, features){at_user_line()}"
        )
    if mode not in ("sum", "mean", "max"):
        raise ArgumentError(f'{what}: mode is {mode!r}; expected "sum", "mean" or "max"{at_user_line()}')
    if (offsets is None) != (positions.ndim == 2):
        raise ArgumentError(
            f"{what}: positions of shape {positions.shape}, offsets {'not ' if offsets is None else ''}given; a single "
            f"axis needs them, (bags, length) has none{at_user_line()}"
        )
    _check_positions(positions, table.shape[0], what)
    flat = reshape(positions, (positions.size,))
    bag, bags = _bags(positions, offsets, include_last_offset)
    counted = None if padding_idx is None else flat != padding_idx % table.shape[0]
    rows = gather(table, [flat], (0,))
    if per_sample_weights is not None:
        factor = as_input(per_sample_weights, table, what, "per_sample_weights", "the weight")
        if mode != "sum" or factor.shape != positions.shape:
            raise ArgumentError(
                f'{what}: per_sample_weights of shape {factor.shape} with mode {mode!r}; expected "sum" and the shape '
                f"of the positions, {positions.shape}{at_user_line()}"
            )
        rows = rows * reshape(factor, (flat.size, 1))
    start = -np.inf if mode == "max" else 0.0
    if counted is not None:
        rows = select(reshape(counted, (flat.size, 1)), rows, start)
    empty = broadcast_to(number(start, table.dtype), (bags, table.shape[1]))
    out = scatter(empty, rows, [bag], (0,), "max" if mode == "max" else "add")
    if mode == "max":
        return select(out == -np.inf, 0, out)
    if mode == "sum":
        return out
    ones = broadcast_to(number(1, table.dtype), flat.shape) if counted is None else convert(counted, table.dtype)
    count = scatter(broadcast_to(number(0, table.dtype), (bags,)), ones, [bag], (0,), "add")
    return out / reshape(maximum(count, 1), (bags, 1))


def _bags(positions: Array, offsets: Any, include_last: bool) -> tuple[Array, int]:
    """The number of the bag that each position belongs to, and how many there are."""
    if offsets is None:
        bags, length = positions.shape
        return Array(np.repeat(np.arange(bags), length)), bags
    begin = as_integers(offsets, "embedding_bag: the offsets")
    if begin.ndim != 1 or begin.shape[0] < 1 + include_last:
        raise ShapeError(f"embedding_bag: offsets of shape {begin.shape}; expected one axis{at_user_line()}")
    bags = begin.shape[0] - include_last
    if begin.trace is None:
        ends = begin.data
        beyond = ends[-1] != positions.size if include_last else ends[-1] > positions.size
        if ends[0] != 0 or (np.diff(ends) < 0).any() or beyond:
            raise ArgumentError(
                f"embedding_bag: offsets {ends.tolist()} for {positions.size} positions; expected numbers that begin "
                f"with 0, do not fall and end {'with' if include_last else 'at or before'} {positions.size}"
                + at_user_line()
            )
    started = reshape(iota(positions.size, 0, 1), (positions.size, 1)) >= convert(
        reshape(begin, (1, begin.shape[0])), np.dtype(np.int64)
    )
    return convert(started, np.dtype(np.int64)).sum(axis=1) - 1, bags
