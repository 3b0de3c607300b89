"""State dicts: arrays by name, checked as a whole before anything is assigned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, TreeError
from wengert.ir.array import Array
from wengert.ir.types import DTYPES
from wengert.module import Module
from wengert.nn.naming import entries
from wengert.ops.promote import as_array, convert
from wengert.source import at_user_line


def load(model: Module, state: Mapping[str, Any], strict: bool) -> tuple[list[str], list[str]]:
    """Assign `state` to the arrays of `model`; returns the missing and the extra names."""
    if not isinstance(state, Mapping):
        raise ArgumentError(
            f"load_state_dict takes a mapping of names to arrays, got a {type(state).__name__}{at_user_line()}"
        )
    known = {e.name: e for e in entries(model)}
    missing = [n for n, e in known.items() if e.saved and n not in state]
    extra = [n for n in state if n not in known]
    values = {n: from_anywhere(v, n) for n, v in state.items() if n in known}
    misshaped = [
        f"{n}: {v.shape} given, the model has {tuple(known[n].value.shape)}"
        for n, v in values.items()
        if v.shape != tuple(known[n].value.shape)
    ]
    complex_ = [
        f"{n}: {v.dtype.name} given, the model has {known[n].value.dtype.name}"
        for n, v in values.items()
        if v.dtype.kind == "c" and known[n].value.dtype.kind != "c"
    ]
    wrong = [
        f"{title}: {', '.join(names)}"
        for title, names in (
            ("missing", missing if strict else []),
            ("not in the model", extra if strict else []),
            ("of another shape", misshaped),
            ("of another type", complex_),
            ("in a tuple or the like, which can't be assigned to", [n for n in values if not known[n].assignable]),
        )
        if names
    ]
    if wrong:
        raise TreeError(
            f"the state dict doesn't fit this {type(model).__name__}; nothing was loaded.\n  "
            + "\n  ".join(wrong)
            + at_user_line()
        )
    shared: dict[int, Array] = {}  # an array that stands twice stays one
    for name, v in values.items():
        entry = known[name]
        new = shared.get(id(entry.value))
        if new is None:
            new = shared[id(entry.value)] = convert(v, np.dtype(entry.value.dtype))
        entry.assign(new)
    return missing, extra


def from_anywhere(x: Any, name: str) -> Array:
    """An array of its own memory from an Array, a NumPy array or a PyTorch tensor."""
    if isinstance(x, Array):
        return x
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        if str(x.dtype) == "torch.bfloat16":  # which NumPy doesn't know
            x = x.float()
        x = x.numpy()
    try:
        data = np.array(x)
    except Exception as reason:
        raise ArgumentError(f"the state dict's {name!r} is a {type(x).__name__}, no array: {reason}") from None
    if data.dtype not in DTYPES:
        raise ArgumentError(f"the state dict's {name!r} is of type {data.dtype}, no number type{at_user_line()}")
    return as_array(data)
