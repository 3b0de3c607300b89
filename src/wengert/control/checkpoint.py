"""`checkpoint`: trade time for memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from wengert import tree
from wengert.control.call import checkpoint_p, reference_run
from wengert.control.functions import flatten_arrays, stage_function


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, whose derivative keeps only the arguments and computes everything between them again when it is needed.

    A chain of n steps, checkpointed in √n groups, needs memory for 2√n values instead of n, for one more run forward.

    Args:
        f: function of pytrees of arrays. It is traced on types, as under `jit`.

    Source: Griewank, "Achieving logarithmic growth of temporal and spatial complexity in reverse automatic
    differentiation" (1992).
    """

    @functools.wraps(f)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        leaves, in_tree = flatten_arrays((args, kwargs), "checkpoint")
        staged = stage_function(lambda a, k: f(*a, **k), in_tree, [v.type for v in leaves], "checkpoint")
        outs = checkpoint_p.bind(*staged.captured, *leaves, graph=staged.graph, run=reference_run)
        return tree.unflatten(staged.out_tree, outs)

    return checkpointed
