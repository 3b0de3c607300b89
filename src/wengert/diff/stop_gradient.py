"""stop_gradient: a value as a constant."""

from __future__ import annotations

from typing import Any

from wengert import tree
from wengert.ir.array import Array
from wengert.ops.elementwise import NotDifferentiable

__all__ = ["stop_gradient"]

stop_gradient_p = NotDifferentiable(
    "stop_gradient", lambda x: x, arity=1, takes="bifc", doc="`x`, as a constant to every derivative."
)


def stop_gradient(x: Any) -> Any:
    """`x` itself, but constant to every derivative: nothing flows back through it, and its tangent is zero.

    Args:
        x: pytree; leaves that are not arrays are returned as they are.

    Example:
        >>> wg.grad(lambda x: x * wg.stop_gradient(x))(3.0)
        Array(3., weak)
    """
    return tree.map(lambda v: stop_gradient_p.bind(v) if isinstance(v, Array) else v, x)
