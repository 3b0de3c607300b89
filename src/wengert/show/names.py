"""Names of values: of inputs from the parameters, of everything else from the local variables that held it."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from wengert import tree
from wengert.errors import TreeError
from wengert.ir.array import Array

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_DEEP = 3  # containers of containers in a local variable are looked into so far
_LONG = 1000  # and so many elements of each


def code_of(f: Any) -> CodeType | None:
    """The user's code that a call of `f` runs; None where that is not Python, or not the user's."""
    for _ in range(20):
        if isinstance(f, functools.partial):
            f = f.func
        elif hasattr(f, "__wrapped__"):
            f = f.__wrapped__
        elif inspect.ismethod(f):
            f = f.__func__
        elif (code := getattr(f, "__code__", None)) is not None:
            return None if code.co_filename.startswith(_PACKAGE) else code
        else:
            calls: list[Any] = [getattr(type(f), name, None) for name in ("__call__", "forward")]
            mine = [c for c in calls if hasattr(c, "__code__") and not c.__code__.co_filename.startswith(_PACKAGE)]
            if not mine:
                return None
            f = mine[0]
    return None


class LocalNames:
    """Watches the local variables of one function while it runs.

    At each call that the function makes, and at its return, its variables are compared with what was seen before, so
    that a variable assigned in a loop is seen with each of its values. The profile function of the thread is
    borrowed for this and given back; where a profiler written in C has it, the names are done without.
    """

    def __init__(self, code: CodeType | None):
        self.code = code
        self.frame: FrameType | None = None
        self.arrays: dict[str, list[Array]] = {}  # variable -> the arrays that it held, in order
        self.last: dict[str, Any] = {}
        self.previous: Any = None
        self.installed = False

    def __enter__(self) -> LocalNames:
        self.previous = sys.getprofile()
        if self.code is not None and (self.previous is None or callable(self.previous)):
            sys.setprofile(self._event)
            self.installed = True
        return self

    def __exit__(self, *exception: object) -> None:
        if self.installed:
            sys.setprofile(self.previous)
        self.frame = None

    def _event(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            if self.frame is None:
                if frame.f_code is self.code:
                    self.frame = frame
            elif frame.f_back is self.frame:
                self._look(self.frame)
        elif event == "return" and frame is self.frame:
            self._look(frame)

    def _look(self, frame: FrameType) -> None:
        arrays, last = self.arrays, self.last
        for name, value in frame.f_locals.items():
            if last.get(name) is not value:
                last[name] = value
                if isinstance(value, Array):
                    arrays.setdefault(name, []).append(value)

    def found(self) -> tuple[list[tuple[str, Array]], list[tuple[str, list[Array]]]]:
        """Names with their last array (also inside containers), and each variable with its earlier arrays in order."""
        final = [(name, arrays[-1]) for name, arrays in self.arrays.items()]
        for name, value in self.last.items():
            if not isinstance(value, Array):
                final += inside(name, value)
        return final, [(name, arrays[:-1]) for name, arrays in self.arrays.items()]


def inside(name: str, x: Any, depth: int = 0) -> list[tuple[str, Array]]:
    """The arrays in nested tuples, lists and dicts, named as one would write them."""
    if isinstance(x, Array):
        return [(name, x)]
    if depth == _DEEP or not isinstance(x, (tuple, list, dict)) or len(x) > _LONG:
        return []
    items = x.items() if isinstance(x, dict) else enumerate(x)
    return [found for k, v in items for found in inside(f"{name}[{k!r}]", v, depth + 1)]


def parameter_names(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
    """For each positional argument the name of its parameter."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    rest = next((i for i, p in enumerate(parameters) if p.kind is p.VAR_POSITIONAL), None)
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named: list[tuple[str, Any]] = []
    for i, value in enumerate(args):
        if i < len(plain):
            named.append((plain[i], value))
        else:
            named.append((f"arg{i}" if rest is None else f"{parameters[rest].name}[{i - rest}]", value))
    return named


def leaf_name(name: str, x: Any, path: tuple[Any, ...]) -> str:
    """What a user writes for the leaf of `x` at `path`: `params['w']`, `model.layers[0].weight`."""
    for k, step in enumerate(path):
        if isinstance(x, dict):
            name, x = f"{name}[{step!r}]", x[step]
        elif isinstance(step, str):
            name, x = f"{name}.{step}", getattr(x, step)
        elif isinstance(x, (tuple, list)):
            field = getattr(x, "_fields", None)
            name, x = (f"{name}.{field[step]}" if field else f"{name}[{step}]"), x[step]
        else:  # a registered class: its children are numbered
            return tree.path_name((name, *path[k:]))
    return name


def free_names(f: Any, code: CodeType | None) -> list[tuple[str, Any]]:
    """Arrays that `f` uses from outside: what its closure and its module's globals hold, with names."""
    while isinstance(f, functools.partial) or hasattr(f, "__wrapped__"):
        f = f.func if isinstance(f, functools.partial) else f.__wrapped__
    outside: dict[str, Any] = {}
    if code is not None:
        for name, cell in zip(code.co_freevars, getattr(f, "__closure__", None) or (), strict=False):
            try:
                outside[name] = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        known = getattr(f, "__globals__", {})
        outside |= {n: known[n] for n in code.co_names if n in known}
    elif isinstance(f, tree.Module):
        outside["model"] = f
    found = []
    for name, value in outside.items():
        if tree.is_leaf(value):
            found.append((name, value))
        elif isinstance(value, (tuple, list, dict, tree.Module)) or hasattr(value, "__dataclass_fields__"):
            try:
                opened = tree.Opened(value)
            except (TreeError, RecursionError):
                continue
            found += [(leaf_name(name, value, p), v) for v, p in zip(opened.leaves, opened.paths, strict=True)]
    return found


class Namer:
    """Gives out each name once."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.counts: dict[str, int] = {}

    def claim(self, name: str) -> bool:
        """Whether the name was free; it is taken from now on."""
        if name in self.taken:
            return False
        self.taken.add(name)
        return True

    def numbered(self, stem: str) -> str:
        """`mul1`, `mul2`, …"""
        while True:
            n = self.counts[stem] = self.counts.get(stem, 0) + 1
            if self.claim(f"{stem}{n}"):
                return f"{stem}{n}"
