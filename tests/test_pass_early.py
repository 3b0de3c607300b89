"""Single numbers of the inputs come first, so that a product's results can leave updated."""

from __future__ import annotations

from typing import Any

import numpy as np

import wengert as wg
from wengert.ir.verify import verify
from wengert.passes.pipeline import simplify


def step(w: Any, x: Any, rate: Any, t: Any) -> Any:
    gradient = wg.transpose(x) @ (x @ w)
    correction = rate / (1 - 0.9**t)
    return w - correction * gradient, wg.sum(gradient) * rate


def test_numbers_of_the_inputs_come_first() -> None:
    rng = np.random.default_rng(0)
    args = (rng.normal(size=(8, 4)), rng.normal(size=(16, 8)), np.float64(0.1), np.float64(3))
    lowered = wg.jit(step).lower(*args)
    graph = simplify(lowered.graph)
    verify(graph)
    names = [node.primitive.name for node in graph.nodes]
    assert max(names.index("power"), names.index("divide")) < names.index("dot_general") < names.index("sum")
    assert names[-1] == "multiply", "what waits for the gradient stays behind it"
    for mine, plain in zip(wg.jit(step)(*args), step(*args), strict=True):
        np.testing.assert_allclose(mine, plain, rtol=1e-12)
    loops = str(wg.jit(step, executor="native").lower(*args).loops)
    assert loops.count("for [8, 4]") == 0, "the update is done where the product's numbers are"
