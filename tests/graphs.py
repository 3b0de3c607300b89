"""Graphs for the tests of passes and executors: staged, printed in a line, compared by their values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.ir.array import Array
from wengert.ir.graph import Graph, evaluate
from wengert.ir.record import stage
from wengert.ir.types import ArrayType
from wengert.ir.verify import verify
from wengert.ops.promote import as_array

F32, F64, BOOL, INT = (np.dtype(d) for d in ("float32", "float64", "bool", "int64"))


def staged(f: Callable[..., Any], *types: Any) -> Graph:
    """`f` staged for types given as (shape, dtype), a shape (float64) or an example."""
    return stage(lambda *a: listed(f(*a)), [typed(t) for t in types], "f")[0]


def typed(t: Any) -> ArrayType:
    if isinstance(t, (np.ndarray, np.generic)):
        return as_array(t).type
    if t and isinstance(t[0], tuple):
        return ArrayType(t[0], t[1])
    return ArrayType(t, F64)


def listed(out: Any) -> list[Array]:
    return [as_array(o) for o in (out if isinstance(out, (tuple, list)) else (out,))]


def text(graph: Graph) -> str:
    """The nodes in a line, inputs called a, b, c, … and values in order of their making: `v0 = sin a; return v0`."""
    names = {f"%{v.index}": chr(97 + i) for i, v in enumerate(graph.inputs)}
    made = itertools.count()
    for node in graph.nodes:
        for o in node.outputs:
            names[f"%{o.index}"] = f"v{next(made)}"
    lines = [re.sub(r"%\d+", lambda m: names[m.group()], line.strip()) for line in str(graph).splitlines()[1:]]
    return "; ".join(re.sub(r": \w+\*?\[[\d,]*\]", "", line) for line in lines)


def names(graph: Graph) -> list[str]:
    return [n.primitive.name for n in graph.nodes]


def the(graph: Graph, name: str, k: int = 0) -> Any:
    return [n for n in graph.nodes if n.primitive.name == name][k]


def same(before: Graph, after: Graph, inputs: Sequence[Any], tolerance: float = 0.0) -> None:
    """Types and values agree; with no tolerance bit by bit, the sign of zeros included (NaN is NaN)."""
    verify(after)
    assert [(t.shape, t.dtype) for t in after.out_types] == [(t.shape, t.dtype) for t in before.out_types]
    assert after.in_types == before.in_types
    with np.errstate(all="ignore"):
        pairs = zip(evaluate(before, inputs), evaluate(after, inputs), strict=True)
    for x, y in pairs:
        u, v = np.asarray(x), np.asarray(y)
        assert u.shape == v.shape and u.dtype == v.dtype
        if tolerance == 0:
            np.testing.assert_array_equal(u, v)
            if u.dtype.kind == "f":
                np.testing.assert_array_equal(np.signbit(u[u == u]), np.signbit(v[v == v]))
        else:
            size = max(1.0, float(np.max(np.abs(u), initial=0)))
            np.testing.assert_allclose(v, u, rtol=tolerance, atol=tolerance * size)


def unsettled(graph: Graph) -> Graph:
    """The graph with nothing remembered, so that passes look at it again."""
    return Graph(graph.inputs, graph.nodes, graph.outputs, graph.trace, graph.size, graph.name)


def count(graph: Graph) -> int:
    return len(graph.nodes) + sum(count(b) for _, _, b in graph.subgraphs())
