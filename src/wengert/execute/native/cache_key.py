"""The key of a program in the cache: a digest of everything that its machine code depends on.

That is the staged graph (steps, parameters, types, constants), the inputs that may be written over, the machine, and
this package with what it builds on. A graph with something in it whose meaning may change from process to process, a
user's own primitive say, has no key.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from types import FunctionType, NoneType
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from wengert.execute.native.target import Target
from wengert.ir.array import Array
from wengert.ir.graph import Graph
from wengert.ir.primitive import Primitive, registry
from wengert.ir.types import Length, Shape

PACKAGE = __name__.split(".", maxsplit=1)[0]
PLAIN = frozenset({int, bool, str, float, complex, NoneType})
SHORT = 64  # bytes of a constant that stands in the text itself


class KeylessError(Exception):
    """The program has no key."""


def program_key(
    graph: Graph, donated: Mapping[int, Sequence[int]], threads: int, target: Target
) -> tuple[bytes, list[np.ndarray]]:
    """32 bytes, equal for equal programs, and the program's constants. Raises KeylessError."""
    writer = Writer()
    text = repr((environment(target), threads, sorted(donated.items()), writer.graph(graph)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), writer.constants


def environment(target: Target) -> tuple[Any, ...]:
    """What code depends on besides the program. Of the machine, the compiler sees what `target` states."""
    return _build(), repr(target)


@cache
def _build() -> tuple[Any, ...]:
    """The versions of this package, file by file, and of what lies below."""
    files: list[Any] = []
    for place, folders, names in os.walk(Path(__file__).parents[2]):
        folders[:] = sorted(f for f in folders if f != "__pycache__")
        for name in sorted(n for n in names if n.endswith(".py")):
            status = os.stat(os.path.join(place, name))
            files.append((os.path.basename(place), name, status.st_size, status.st_mtime_ns))
    versions = getattr(sys.modules[PACKAGE], "__version__", ""), llvmlite.__version__, llvm.llvm_version_info
    python = sys.implementation.cache_tag, sys.hexversion, getattr(sys, "abiflags", ""), sys.byteorder, os.name
    return *versions, np.__version__, *python, object.__basicsize__, hashlib.sha256(repr(files).encode()).hexdigest()


class Writer:
    """Writes a program as nested lists and tuples of plain values, whose `repr` says all there is to know.

    Tuples are tagged by a word; what was a tuple or a list in a parameter is a list.
    """

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}  # graphs and unknown lengths, numbered as they are met
        self.own = own_primitives()
        self.constants: list[np.ndarray] = []

    def graph(self, graph: Graph) -> tuple[Any, ...]:
        if id(graph) in self.seen:
            return "graph", self.seen[id(graph)]
        self.seen[id(graph)] = len(self.seen)
        trace, own = graph.trace, self.own
        inputs = [(v.index, self.shape(v.shape), v.dtype.str, v.weak) for v in graph.inputs]
        nodes = []
        for node in graph.nodes:
            name = own.get(node.primitive)
            if name is None:
                raise KeylessError(f"{node.primitive.name}: a primitive from outside the package")
            read = [a.index if a.trace is trace else self.constant(a) for a in node.inputs]  # type: ignore[attr-defined]
            params = node.params
            written = [(k, self.value(v)) for k, v in params.items()] if params else None
            nodes.append((name, read, [o.index for o in node.outputs], written))
        outputs = [a.index if a.trace is trace else self.constant(a) for a in graph.outputs]  # type: ignore[attr-defined]
        return "graph", inputs, nodes, outputs

    def shape(self, shape: Shape) -> list[Any]:
        return [d if type(d) is int else self.value(d) for d in shape]

    def constant(self, a: Array) -> tuple[Any, ...]:
        if a.trace is not None:
            raise KeylessError("a value of another program")
        data = np.asarray(a.data)
        self.constants.append(data)
        content = data.tobytes() if data.nbytes <= SHORT else hashlib.sha256(np.ascontiguousarray(data).data).digest()
        return "constant", data.dtype.str, data.shape, a.weak, content

    def value(self, v: Any) -> Any:
        """A parameter."""
        kind = type(v)
        if kind in PLAIN:
            return v
        if kind is tuple or kind is list:
            return [x if type(x) is int else self.value(x) for x in v]
        if isinstance(v, np.dtype):
            return "dtype", v.str
        if kind is Graph:
            return self.graph(v)
        if kind is Length:
            return "length", self.seen.setdefault(id(v), len(self.seen))
        if isinstance(v, FunctionType) and v.__module__.split(".")[0] == PACKAGE:
            name = v.__module__, v.__name__
            if vars(sys.modules[name[0]]).get(name[1]) is v:  # not one made anew each time
                return "function", *name
        raise KeylessError(f"a parameter of type {kind.__name__}")


def own_primitives() -> dict[Primitive, str]:
    """The primitives that the package's modules hold, and their names."""
    return _held_by(tuple([n for n in list(sys.modules) if n.split(".", 1)[0] == PACKAGE]))


@lru_cache(1)
def _held_by(modules: Sequence[str]) -> dict[Primitive, str]:
    known = {id(p): p for p in registry.values()}
    found = [known[id(v)] for n in modules for v in list(vars(sys.modules[n]).values()) if id(v) in known]
    return {p: p.name for p in found}
