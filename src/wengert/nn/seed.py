"""Where layers that are given no key take their random numbers from: one seed for the whole package."""

from __future__ import annotations

import threading
from typing import Any

from wengert.ir.array import Array
from wengert.random.keys import fold_in, one_key
from wengert.random.keys import key as make_key

_lock = threading.Lock()
_state: dict[str, Any] = {"key": None, "drawn": 0}


def manual_seed(seed: Any) -> None:
    """Start the sequence of keys from which layers and initialisers are drawn that are given no `key`.

    The sequence starts from seed 0 where this is never called, so that a program is reproducible unless it asks not to
    be. A key is drawn when a layer is *made*; dropout draws its masks from the key that it holds.

    Example:
        >>> nn.manual_seed(0)
    """
    with _lock:
        _state["key"], _state["drawn"] = make_key(seed), 0


def next_key(key: Any = None) -> Array:
    """`key` if one is given (a number is a seed), else the next of the package's sequence."""
    if isinstance(key, int) and not isinstance(key, bool):
        return make_key(key)
    if key is not None:
        return one_key(key, "nn")
    with _lock:
        if _state["key"] is None:
            _state["key"] = make_key(0)
        _state["drawn"] += 1
        root, number = _state["key"], _state["drawn"]
    return fold_in(root, number)
