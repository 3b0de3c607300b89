"""Rows of a table at integer positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.diff.stop_gradient import stop_gradient_p
from wengert.errors import ArgumentError, OutOfRangeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.scope import region
from wengert.nn.functional.inputs import as_integers
from wengert.ops.compare import select
from wengert.ops.index import gather
from wengert.ops.promote import as_array
from wengert.ops.shape import reshape
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
    if positions.trace is None and positions.size:
        low, high = np.min(positions.data), np.max(positions.data)
        if low < 0 or high >= rows:
            raise OutOfRangeError(
                f"embedding: positions lie between {low} and {high}, but there are {rows} rows, counted from 0 to "
                f"{rows - 1}{at_user_line()}"
            )
    out = gather(weight, [positions], (0,))
    if padding_idx is None:
        return out
    if not -rows <= padding_idx < rows:
        raise ArgumentError(f"embedding: padding_idx is {padding_idx}, but there are {rows} rows{at_user_line()}")
    padding = reshape(positions == padding_idx % rows, (*positions.shape, 1))
    return select(padding, stop_gradient_p.bind(out), out)
