"""Penalties on chosen parameters, to be added to a loss."""

from __future__ import annotations

from typing import Any

from wengert.array.elementwise import abs as absolute
from wengert.array.reductions import sum as total
from wengert.ir.array import Array
from wengert.ops.promote import as_array
from wengert.optim.parameters import Where, choose


def l1_penalty(model: Any, where: Where = "*") -> Array:
    """The sum of sizes of the chosen parameters, `Σ|w|`.

    Args:
        model: a module.
        where: which parameters: a pattern of names, a module, a function of (name, array), or a list of these.

    Raises:
        ArgumentError: no parameter is meant.

    Example:
        >>> def loss_fn(model, x, y):
        ...     return cross_entropy(model(x), y) + 1e-4 * optim.l1_penalty(model, "*.weight")
    """
    sums = [total(absolute(as_array(s.value))) for s in choose(model, where)]
    return sum(sums[1:], start=sums[0])


def l2_penalty(model: Any, where: Where = "*") -> Array:
    """The sum of squares of the chosen parameters, `Σ|w|²`; arguments as for `l1_penalty`.

    Its gradient is `2w`, so half of it times `weight_decay` is what an optimizer's coupled weight decay amounts to.
    """
    values = [as_array(s.value) for s in choose(model, where)]
    sizes = [absolute(v) if v.dtype.kind == "c" else v for v in values]
    sums = [total(v * v) for v in sizes]
    return sum(sums[1:], start=sums[0])
