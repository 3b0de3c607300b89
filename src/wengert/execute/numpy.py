"""The reference executor: the graph's steps one after the other by NumPy, values dropped after their last use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.ir.graph import Graph, evaluate
from wengert.ir.quiet import SILENCE, quiet

name = "numpy"


def run(graph: Graph, values: Sequence[Any]) -> list[Any]:
    """Evaluate `graph` on ndarrays."""
    token = quiet.set(SILENCE)
    try:
        return [np.asarray(v) for v in evaluate(graph, values)]
    finally:
        quiet.reset(token)
