"""What a module's attribute may be: anything else would be lost in a transformation, and is refused when assigned."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import numpy as np

from wengert import tree
from wengert.errors import ArgumentError
from wengert.module import Module
from wengert.source import at_user_line

_FUNCTIONS = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, np.dtype)


def refuse_untraceable(value: Any, where: str) -> None:
    """Raise ArgumentError if `value`, assigned to the attribute that is called `where`, could not be traced."""
    if reason := _reason(value):
        raise ArgumentError(
            f"{where} was assigned {reason}. An attribute is an array, a module, a list, tuple, dict or dataclass of "
            f"these, or a setting: a number, a string, a function or another hashable object without arrays."
            + at_user_line()
        )


def _reason(x: Any) -> str | None:
    kind = f"a {type(x).__name__}"
    if isinstance(x, np.ndarray):
        return None if x.dtype.kind in "biufc" else f"a NumPy array of type {x.dtype}, which holds no numbers"
    if x is None or isinstance(x, (Module, str, bytes, bool, *_FUNCTIONS)) or tree.is_leaf(x):
        return None
    if isinstance(x, (list, tuple)):
        return next((r for r in map(_reason, x) if r), None)
    if isinstance(x, dict):
        return next((r for r in map(_reason, x.values()) if r), None)
    if type(x) in tree._registered or dataclasses.is_dataclass(x):
        return None
    if hasattr(x, "__next__"):
        return f"{kind}, an iterator, which a transformation can't run again"
    try:
        hash(x)
    except TypeError:
        return f"{kind}, which can't be traced: it is no known container and has no hash to compare it by"
    if _holds_arrays(x):
        return f"{kind}, which holds arrays but is no known container, so that they would be taken for constants"
    return None


def _holds_arrays(x: Any, depth: int = 2) -> bool:
    parts = vars(x).values() if hasattr(x, "__dict__") else ()
    for part in parts:
        inner = list(part.values()) if isinstance(part, dict) else part if isinstance(part, (list, tuple)) else [part]
        for p in inner:
            if isinstance(p, Module) or (tree.is_leaf(p) and not isinstance(p, (int, float, complex))):
                return True
            if depth and not isinstance(p, (str, bytes, *_FUNCTIONS)) and _holds_arrays(p, depth - 1):
                return True
    return False
