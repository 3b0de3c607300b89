"""PyTorch's words for what an attribute of a module is."""

from __future__ import annotations

from typing import Any

from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ops.promote import as_array
from wengert.source import at_user_line


class Buffer:
    """Marks an array as state when it is assigned: `self.mean = nn.Buffer(wg.zeros(3))` is `register_buffer`."""

    def __init__(self, data: Any, persistent: bool = True):
        self.data = as_array(data, "nn.Buffer")
        self.persistent = persistent


def Parameter(data: Any, requires_grad: bool = True) -> Array:
    """`data` as an array. Every real or complex array of a module is a parameter unless it is a buffer."""
    if not requires_grad:
        raise ArgumentError(
            "nn.Parameter with requires_grad=False: assign nn.Buffer(data) for state, or freeze the parameter with "
            f"module.freeze(name){at_user_line()}"
        )
    return as_array(data, "nn.Parameter")
