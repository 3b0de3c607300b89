"""Structures of arguments and results as instructions for the machine code of a call; see `entry_record`."""

from __future__ import annotations

import inspect
from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from wengert.execute.native import entry_layout as at
from wengert.execute.native import entry_record as do
from wengert.ir.array import Array, WeakArray
from wengert.ir.types import ArrayType
from wengert.module import Module
from wengert.tree import TreeDef

_NUMBERS = {np.dtype(np.float64): float, np.dtype(np.int64): int, np.dtype(np.complex128): complex}
_WHICH = {int: 1, bool: 2}
_BY_VALUE = {float: 1, int: 2, str: 2, bytes: 2}


class Untranslatable(Exception):
    """A structure that only Python walks."""


class _Words:
    def __init__(self) -> None:
        self.words: list[int] = []
        self.kept: list[Any] = []

    def keep(self, x: Any) -> Any:
        """`x`, whose address stands in the words, and which therefore has to live on."""
        self.kept.append(x)
        return x


class Arguments(_Words):
    """How a call's arguments must look."""

    def __init__(self, call: TreeDef, types: Sequence[ArrayType], given: Container[int]):
        super().__init__()
        self.types = types
        self.given = given  # inputs that results may be written over, or that the caller gives up
        self.inputs = 0
        self.objects = 0
        self.inside = 0  # leaves inside modules
        self.values = 0  # of dictionaries
        self.depth = self.deepest = 0
        args, kwargs = call.children
        names = kwargs.meta[1]
        self.positional, self.keywords = len(args.children), len(names)
        self.words += [id(self.keep(n)) for n in names]
        for d in (*args.children, *kwargs.children):
            self._walk(d, False, False)
        self.words.append(do.END)

    def _walk(self, d: TreeDef, inside: bool, in_object: bool) -> None:
        kind = d.kind
        if kind == "leaf":
            self._leaf(inside, in_object)
        elif kind == "none":
            self.words += [do.STATIC, id(None), 0]
        elif kind == "static":
            value = self.keep(d.meta.value)
            self.words += [do.STATIC, id(value), _BY_VALUE.get(type(value), 0)]
        elif kind == "tied":
            self.words += [do.TIED, d.meta]
        elif kind == "again":
            self.words += [do.AGAIN, d.meta]
        else:
            self._container(d, inside, in_object)

    def _container(self, d: TreeDef, inside: bool, in_object: bool) -> None:
        if d.kind == "sequence" and _is_plain(d.meta):
            op = do.LIST if d.meta is list else do.TUPLE
            self.words += [op, id(self.keep(d.meta)), len(d.children), int(in_object)]
        elif d.kind == "dict" and d.meta[0] is dict:
            self.words += [do.DICT, len(d.children), int(in_object), *(id(self.keep(k)) for k in d.meta[1])]
            self.values += len(d.children)
        elif d.kind == "object" and _keeps_attributes(*d.meta):
            cls, names = d.meta
            self.words += [do.OBJECT, id(self.keep(cls)), self.objects, len(names), *(id(self.keep(n)) for n in names)]
            self.values += len(names)
            self.objects += 1
            inside, in_object = issubclass(cls, Module), True
        else:
            raise Untranslatable
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        for c in d.children:
            self._walk(c, inside, in_object)
        self.depth -= 1
        self.words.append(do.POP)

    def _leaf(self, inside: bool, in_object: bool) -> None:
        t = self.types[self.inputs]
        dtype = at.standard(t.dtype)
        if not all(isinstance(d, int) for d in t.shape):
            raise Untranslatable
        python: type | None = None
        if not t.shape and not inside:  # inside modules Python's numbers are settings, in dataclasses its truth values
            python = _NUMBERS.get(dtype) if t.weak else bool if dtype.kind == "b" and not in_object else None
        scalar = None if t.shape else at.numbers().get(dtype)
        marks = (do.INSIDE if inside else 0) | (do.GIVEN if self.inputs in self.given else 0)
        self.words += [
            do.LEAF, self.inputs, id(WeakArray if t.weak else Array), 0 if t.weak else id(np.ndarray),
            id(scalar) if scalar else 0, id(python) if python else 0, _WHICH.get(python, 0) if python else 0,
            marks, id(self.keep(dtype)), len(t.shape), *t.shape,
        ]  # fmt: skip
        self.inputs += 1
        self.inside += inside


def _is_plain(cls: type) -> bool:
    """A list, a tuple, or a tuple with names: what it holds is where tuples hold it."""
    return cls is list or (issubclass(cls, tuple) and cls.__iter__ is tuple.__iter__)


def _keeps_attributes(cls: type, names: Sequence[str]) -> bool:
    """Whether an attribute of an instance is what stands in its dictionary, for these names."""
    if cls.__getattribute__ is not object.__getattribute__:
        return False
    return not any(inspect.isdatadescriptor(inspect.getattr_static(cls, n, None)) for n in names)


class Results(_Words):
    """How results are put together, and attributes assigned, on a stack."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = 0
        self.height = self.deepest = 0

    def write(self, call: Any) -> None:
        self._make(call.out_tree)
        first = self.outputs
        for number, name, d in call.assigned:
            name = self.keep(name)
            if d is None:
                self.words += [do.DELETE, number, id(name)]
            else:
                self._make(d, first)
                self.words += [do.ASSIGN, number, id(name)]
                self.height -= 1
        self.words.append(do.RETURN)

    def _push(self, *words: int) -> None:
        self.words += words
        self.height += 1
        self.deepest = max(self.deepest, self.height + 1)  # a dictionary stands above its values for a moment

    def _make(self, d: TreeDef, first: int = 0) -> None:
        if d.kind == "leaf":
            self._push(do.PUSH_OUTPUT, self.outputs)
            self.outputs += 1
        elif d.kind == "none":
            self._push(do.PUSH_STATIC, id(None))
        elif d.kind == "static":
            self._push(do.PUSH_STATIC, id(self.keep(d.meta.value)))
        elif d.kind == "tied":
            self._push(do.PUSH_OUTPUT, first + d.meta)
        elif d.kind == "again":
            self._push(do.PUSH_OBJECT, d.meta)
        else:
            self._container(d, first)

    def _container(self, d: TreeDef, first: int) -> None:
        named = d.kind == "sequence" and hasattr(d.meta, "_fields")
        if not (
            named or (d.kind == "sequence" and d.meta in (list, tuple)) or (d.kind == "dict" and d.meta[0] is dict)
        ):
            raise Untranslatable
        for c in d.children:
            self._make(c, first)
        length = len(d.children)
        self.height -= length
        if named:
            self._push(do.MAKE_CALL, id(self.keep(d.meta)), length)
        elif d.kind == "dict":
            self._push(do.MAKE_DICT, length, *(id(self.keep(k)) for k in d.meta[1]))
        else:
            self._push(do.MAKE_LIST if d.meta is list else do.MAKE_TUPLE, length)
