"""The base of models, and the moment at which each came to be."""

from __future__ import annotations

import itertools
from typing import Any

from wengert.errors import ArgumentError
from wengert.source import at_user_line

moments = itertools.count(1)  # drawn by traces and modules, so that one can tell which was there first


class Module:
    """Base of all models: a mutable object whose attributes are arrays, containers, modules or plain settings.

    Arrays (and containers and modules of arrays) are the leaves; Python numbers, strings and functions are
    settings, which belong to the structure. Assigning an array attribute inside a transformed function is
    allowed where the module is an argument of that function (or made in it): the transformation carries the new value
    out and writes it back.

    A class or an instance names in `_buffers` the attributes that are state and no parameters (running statistics,
    say), and an instance in `_frozen` those that are held fixed for now: derivative functions take both as constants,
    and their place in a gradient holds None.
    """

    __slots__ = ("__dict__", "__weakref__", "_born")
    _buffers: frozenset[str] = frozenset()
    _frozen: frozenset[str] = frozenset()

    def __new__(cls, *args: Any, **kwargs: Any) -> Module:
        module = object.__new__(cls)
        object.__setattr__(module, "_born", next(moments))
        return module

    def __setattr__(self, name: str, value: Any) -> None:
        trace: Any = getattr(value, "trace", None)  # of NumPy's arrays a method
        if getattr(trace, "level", 0) > self._born:
            raise ArgumentError(
                f"{type(self).__name__}.{name} was assigned a value inside {trace.what}, but the module comes from "
                "outside of it and is no argument, so nothing could carry the value out. Pass the module as an "
                "argument of the transformed function; in a loop, carry the value and assign it after the loop."
                + at_user_line()
            )
        object.__setattr__(self, name, value)
