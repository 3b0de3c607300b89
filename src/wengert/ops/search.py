"""Where numbers belong in a sorted array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.primitive import Params, Primitive, Unsupported
from wengert.ir.types import ArrayType, int64
from wengert.ops.shape import broadcast_to, to_front
from wengert.source import at_user_line


class SearchSorted(Primitive):
    """For each number in `v[b…, m…]` the index at which it keeps `x[b…, n]` sorted; `lead` counts the axes b.

    With `side="left"`, `x[i-1] < v <= x[i]`; with "right", `x[i-1] <= v < x[i]`.
    """

    differentiable = False
    partial = Unsupported("an index does not change continuously")  # type: ignore[assignment]

    def type(self, x: ArrayType, v: ArrayType, *, side: str, lead: int) -> ArrayType:  # type: ignore[override]
        if x.ndim != lead + 1 or x.shape[:lead] != v.shape[:lead]:
            raise ShapeError(
                f"searchsorted: the sorted array has shape {x.shape[lead:]}; it must have one axis (for several "
                f"sorted arrays use wg.vmap){at_user_line()}"
            )
        if x.dtype != v.dtype or x.dtype.kind == "c":
            raise DTypeError(
                f"searchsorted: {v.dtype.name} among {x.dtype.name}; expected equal real types{at_user_line()}"
            )
        return ArrayType(v.shape, int64)

    def evaluate(self, x: Any, v: Any, *, side: str, lead: int) -> Any:  # type: ignore[override]
        if x.ndim != lead + 1 or x.shape[:lead] != v.shape[:lead] or x.dtype.kind == "c":
            raise ValueError("the sorted array")
        if lead == 0:
            return np.asarray(np.searchsorted(x, v, side=side), int64)  # type: ignore[call-overload]
        out = np.empty(v.shape, int64)
        for k in np.ndindex(*x.shape[:lead]):
            out[k] = np.searchsorted(x[k], v[k], side=side)  # type: ignore[call-overload]
        return out

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (x, v), (x_at, v_at), lead = values, axes, params["lead"]
        if x_at is None and lead == 0:  # one sorted array for all
            return self.bind(x, v, **params), v_at
        x, v = (
            broadcast_to(a, (size, *a.shape)) if at is None else to_front(a, at) for a, at in ((x, x_at), (v, v_at))
        )
        return self.bind(x, v, side=params["side"], lead=lead + 1), 0

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        return None


searchsorted_p = SearchSorted("searchsorted")
