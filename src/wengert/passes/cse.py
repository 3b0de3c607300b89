"""Common subexpressions: a step that stands in the graph already, on the same inputs, is not done again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.control.call import checkpoint_p
from wengert.ir.array import Array
from wengert.ir.graph import Graph
from wengert.ir.primitive import Params, Primitive, registry
from wengert.passes.rewrite import rewrite

_COMMUTE = frozenset(
    registry[n]
    for n in ("add", "multiply", "scale", "annihilating_multiply", "equal", "not_equal", "logical_and", "logical_or")
)
_BY_CONTENT = 256  # bytes: constants no larger are compared by their content, larger ones by their place in memory


def share_steps(graph: Graph) -> Graph:
    """`graph` with equal steps merged. A `checkpoint` is never merged: that it computes again is its purpose."""
    return rewrite(graph, {}, step_key)


def step_key(primitive: Primitive, args: Sequence[Array], params: Params) -> Any:
    """What makes two steps equal; None where nothing does."""
    if primitive is checkpoint_p:
        return None
    keys = [a.index if a.trace is not None else _constant(a) for a in args]  # type: ignore[attr-defined]
    if primitive in _COMMUTE and str(keys[1]) < str(keys[0]):
        keys.reverse()
    key = (primitive, *keys, *params.items())
    try:
        hash(key)
    except TypeError:  # a parameter that cannot be compared
        return None
    return key


def _constant(a: Array) -> Any:
    data = np.asarray(a.data)
    if data.nbytes <= _BY_CONTENT:
        return data.dtype.num, data.shape, data.tobytes()
    return "large", place_of(a.data)


def place_of(data: Any) -> Any:
    """Equal for arrays that show the same memory in the same way."""
    if type(data) is not np.ndarray:
        return id(data)
    return data.ctypes.data, data.strides, data.dtype.num, data.shape
