"""A chain of 100,000 nodes is no deeper than one of ten: no walk recurses, and none is slower than linear."""

from __future__ import annotations

import copy
import gc
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.diff.linearize import split
from wengert.ir.graph import Graph, evaluate
from wengert.ir.record import stage
from wengert.ir.types import ArrayType
from wengert.ir.verify import verify

LONG = 100_000
FLOAT = ArrayType((), np.dtype("float64"))


def chain(length: int) -> Callable[[Any], Any]:
    """`length` steps `x · 1`, so that the value and the derivative stay what they are."""
    one = wg.asarray(np.float64(1.0))

    def f(x: Any) -> Any:
        for _ in range(length):
            x = x * one
        return x

    return f


def recorded(length: int) -> Graph:
    return stage(lambda x: [chain(length)(x)], [FLOAT], "chain")[0]


WALKS: dict[str, Callable[[int], Any]] = {
    "grad": lambda n: float(wg.grad(chain(n))(np.float64(2.0))),
    "jvp": lambda n: float(wg.jvp(chain(n), (np.float64(2.0),), (np.float64(1.0),))[1]),
    "linearize": lambda n: float(wg.linearize(chain(n), np.float64(2.0))[1](np.float64(1.0))),
    "vjp": lambda n: float(wg.vjp(chain(n), np.float64(2.0))[1](np.float64(1.0))[0]),
    "vmap": lambda n: float(wg.vmap(chain(n))(np.ones(2))[0]),
    "jvp of grad": lambda n: 1 + float(wg.hvp(chain(n // 4), (np.float64(2.0),), (np.float64(1.0),))),
    "stage": lambda n: len(recorded(n).nodes) / n,
}


@pytest.mark.parametrize("name", WALKS)
def test_a_long_chain(name: str) -> None:
    assert WALKS[name](LONG) == 1.0


def test_graphs_of_a_long_chain() -> None:
    graph = recorded(LONG)
    verify(graph)
    assert evaluate(graph, [np.float64(3.0)]) == [3.0]
    assert len(str(graph).splitlines()) == LONG + 2
    assert len(split(graph, [True]).linear.nodes) == LONG
    assert repr(graph.nodes[-1]) == "<multiply: float64[]>"


def test_garbage_of_a_long_chain_is_collected_without_recursion() -> None:
    """Freeing a long graph must not overflow the stack, neither by counting references nor by the collector."""
    graph = recorded(LONG)
    gone = weakref.ref(graph)
    kept = copy.copy(graph.nodes[:1])
    del graph
    gc.collect()
    assert gone() is None
    out, back = wg.vjp(chain(LONG), np.float64(2.0))
    assert float(out) == 2.0
    del out, back, kept
    gc.collect()


def fastest(walk: Callable[[int], Any], n: int) -> float:
    times = []
    for _ in range(3):
        gc.collect()
        gc.disable()  # its full collections visit all that the tests have made, and come more often in longer walks
        start = time.process_time()
        walk(n)
        times.append(time.process_time() - start)
        gc.enable()
    return min(times)


@pytest.mark.parametrize("name", ["grad", "jvp", "stage"])
def test_time_is_linear(name: str) -> None:
    """Four times the length takes four times as long; a quadratic walk would take sixteen times."""
    short, long = fastest(WALKS[name], 25_000), fastest(WALKS[name], 100_000)
    assert long < 10 * short, f"{name}: {short:.3f} s for 25,000 nodes, {long:.3f} s for 100,000"
