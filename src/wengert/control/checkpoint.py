"""`checkpoint`: trade time for memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from wengert import tree
from wengert.control.call import checkpoint_p, reference_run
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ir.record import stage
from wengert.ops.promote import as_array
from wengert.source import at_user_line


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, whose derivative keeps only the arguments and computes everything between them again when it is needed.

    A chain of n steps, checkpointed in √n groups, needs memory for 2√n values instead of n, for one more run forward.

    Args:
        f: function of pytrees of arrays, or a module. It is traced on types, as under `jit`; what it assigns to
            attributes of its arguments is written back.

    Source: Griewank, "Achieving logarithmic growth of temporal and spatial complexity in reverse automatic
    differentiation" (1992).
    """

    if not callable(f):
        raise ArgumentError(f"checkpoint takes a function, got {type(f).__name__}{at_user_line()}")
    if isinstance(f, tree.Module):
        return functools.partial(checkpoint(type(f).__call__), f)  # its arrays are arguments

    @functools.wraps(f)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        opened = tree.Opened((args, kwargs))
        leaves = [as_array(v, "checkpoint") for v in opened.leaves]
        found: list[Any] = []

        def flat(*variables: Array) -> list[Array]:
            own_args, own_kwargs = opened.rebuild(variables)
            out_leaves, out_tree = tree.flatten(f(*own_args, **own_kwargs))
            changed, where = opened.changes()
            found[:] = [out_tree, len(out_leaves), where]
            return [as_array(o, "the result of a function given to checkpoint") for o in (*out_leaves, *changed)]

        graph, captured = stage(flat, [v.type for v in leaves], getattr(f, "__name__", "checkpoint"))
        outs = checkpoint_p.bind(*captured, *leaves, graph=graph, run=reference_run)
        out_tree, count, where = found
        opened.write_back(where, outs[count:])
        return tree.unflatten(out_tree, outs[:count])

    return checkpointed
