"""A compiled program as data: all that running it needs, and how that is written to a file and read again.

The file is a JSON text about numbers and names, followed by arrays and machine code as they lie in memory.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType, NoneType
from typing import Any

import numpy as np

from wengert.execute.native.statements import Evaluate
from wengert.execute.native.views import Buffer, Store, View
from wengert.ir.array import Array, WeakArray
from wengert.ir.graph import Graph, Node, Var
from wengert.ir.primitive import registry
from wengert.ir.record import Staging
from wengert.ir.types import ArrayType, Length, Shape

Typed = tuple[Shape, np.dtype]
ALIGNMENT = 64
PACKAGE = __name__.split(".", maxsplit=1)[0]


class NotDataError(Exception):
    """A step for NumPy has a parameter that is not written to files."""


@dataclass(eq=False)
class Code:
    """Segments are the names of functions `(table, workspace)` in `object`, and the steps for NumPy between them.

    `steps` are those that the functions themselves call for.
    """

    object: bytes
    segments: list[str | Evaluate]
    steps: list[Evaluate]
    inputs: list[Typed]
    outputs: list[Typed]
    constants: list[np.ndarray]
    in_place: dict[int, int]  # result -> the input that it is written over
    workspace_bytes: int
    stores: int
    parallel: bool  # whether it calls for threads


def to_bytes(code: Code, given: Sequence[np.ndarray]) -> bytes:
    """The content of a file. Constants that are among the arrays `given` are not repeated. Raises NotDataError."""
    writer = _Writer()
    known = {id(a): k for k, a in enumerate(given)}
    head = {
        "segments": [s if isinstance(s, str) else writer.step(s) for s in code.segments],
        "steps": list(map(writer.step, code.steps)),
        "inputs": list(map(writer.typed, code.inputs)),
        "outputs": list(map(writer.typed, code.outputs)),
        "constants": [known[id(c)] if id(c) in known else writer.array(c) for c in code.constants],
        "in_place": list(code.in_place.items()),
        "workspace_bytes": code.workspace_bytes,
        "stores": code.stores,
        "parallel": code.parallel,
        "buffers": writer.buffers,
        "object": writer.blob(code.object),
    }
    text = json.dumps(head).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *writer.blobs])


def from_bytes(content: bytes, given: Sequence[np.ndarray]) -> Code:
    """What `to_bytes` wrote."""
    start = 8 + int.from_bytes(content[:8], "little")
    head = json.loads(content[8:start])
    reader = _Reader(memoryview(content)[start:], head["buffers"])
    return Code(
        bytes(reader.blob(head["object"])),
        [s if isinstance(s, str) else reader.step(s) for s in head["segments"]],
        [reader.step(s) for s in head["steps"]],
        [reader.typed(t) for t in head["inputs"]],
        [reader.typed(t) for t in head["outputs"]],
        [np.ascontiguousarray(given[c]) if isinstance(c, int) else reader.array(c) for c in head["constants"]],
        dict(head["in_place"]),
        head["workspace_bytes"],
        head["stores"],
        head["parallel"],
    )


class _Writer:
    def __init__(self) -> None:
        self.blobs: list[bytes] = []
        self.size = 0
        self.buffers: list[Any] = []
        self.numbers: dict[int, int] = {}  # of buffers and unknown lengths, by their ids

    def blob(self, data: bytes) -> list[int]:
        place = [self.size, len(data)]
        self.blobs.append(data + bytes(-len(data) % ALIGNMENT))
        self.size += len(self.blobs[-1])
        return place

    def array(self, a: np.ndarray) -> Any:
        return [*self.typed((a.shape, a.dtype)), *self.blob(a.tobytes())]

    def typed(self, t: Typed) -> Any:
        return [self.value(t[0]), t[1].str]

    def step(self, s: Evaluate) -> Any:
        views = (list(map(self.view, views)) for views in (s.inputs, s.outputs))
        return [s.node.primitive.name, self.params(s.node), *views]

    def params(self, node: Node) -> dict[str, Any]:
        return {k: self.value(v) for k, v in node.params.items()}

    def view(self, v: View) -> Any:
        b = v.buffer
        if v.steps:
            raise NotDataError("a window that moves")
        if id(b) not in self.numbers:
            self.numbers[id(b)] = len(self.buffers)
            store = None if b.store is None else [b.store.index, b.store.record]
            self.buffers.append([b.kind, b.index, b.dtype.str, b.size, store])
        return [self.numbers[id(b)], self.value(v.shape), v.strides, v.offset]

    def value(self, v: Any) -> Any:
        if type(v) in (int, bool, str, float, NoneType):
            return v
        if type(v) in (tuple, list):
            return [self.value(x) for x in v]
        if isinstance(v, np.dtype):
            return {"dtype": v.str}
        if isinstance(v, complex):
            return {"complex": [v.real, v.imag]}
        if isinstance(v, Length):
            return {"length": self.numbers.setdefault(id(v), len(self.numbers))}
        if isinstance(v, Graph):  # the body of a loop that is left to NumPy
            return {"graph": self.graph(v)}
        if isinstance(v, FunctionType) and v.__module__.split(".")[0] == PACKAGE:
            place = v.__module__, v.__name__
            if vars(sys.modules[place[0]]).get(place[1]) is v:
                return {"function": place}
        raise NotDataError(f"a parameter of type {type(v).__name__}")

    def graph(self, graph: Graph) -> Any:
        def used(a: Any) -> Any:
            return a.index if a.trace is graph.trace else [a.weak, *self.array(np.asarray(a.data))]

        def made(v: Var) -> Any:
            return [v.index, self.value(v.shape), v.dtype.str, v.weak]

        nodes = [
            [n.primitive.name, list(map(used, n.inputs)), self.params(n), list(map(made, n.outputs))]
            for n in graph.nodes
        ]
        return [list(map(made, graph.inputs)), nodes, list(map(used, graph.outputs)), graph.size, graph.name]


class _Reader:
    def __init__(self, blobs: memoryview, buffers: list[Any]):
        self.blobs = blobs
        self.lengths: dict[int, Length] = {}
        self.buffers = [
            Buffer(kind, index, np.dtype(dtype), size, None if store is None else Store(*store))
            for kind, index, dtype, size, store in buffers
        ]

    def blob(self, place: Sequence[int]) -> memoryview:
        start, size = place
        return self.blobs[start : start + size]

    def array(self, written: Any) -> np.ndarray:
        shape, dtype = self.typed(written[:2])
        flat = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
        flat[:] = np.frombuffer(self.blob(written[2:]), np.uint8)
        return flat.view(dtype).reshape(shape)

    def typed(self, written: Any) -> Typed:
        return self.value(written[0]), np.dtype(written[1])

    def step(self, written: Any) -> Evaluate:
        name, params, *places = written
        node = Node(registry[name], (), self.params(params), ())
        return Evaluate(node, *([self.view(v) for v in views] for views in places))

    def params(self, written: dict[str, Any]) -> dict[str, Any]:
        return {k: self.value(v) for k, v in written.items()}

    def graph(self, written: Any) -> Graph:
        inputs, nodes, outputs, size, name = written
        trace = Staging()
        known: dict[int, Var] = {}

        def used(a: Any) -> Array:
            return known[a] if isinstance(a, int) else (WeakArray if a[0] else Array)(self.array(a[1:])[()])

        def made(v: Any) -> Var:
            index, shape, dtype, weak = v
            known[index] = Var(trace, None, index, ArrayType(self.value(shape), np.dtype(dtype), weak))
            return known[index]

        variables = list(map(made, inputs))
        steps = [
            Node(registry[step], tuple(map(used, read)), self.params(params), tuple(map(made, outs)))
            for step, read, params, outs in nodes
        ]
        graph = Graph(variables, steps, list(map(used, outputs)), trace, size, name)
        trace.close()
        return graph

    def view(self, written: Any) -> View:
        buffer, shape, strides, offset = written
        return View(self.buffers[buffer], self.value(shape), tuple(strides), offset)

    def value(self, v: Any) -> Any:
        if isinstance(v, list):
            return tuple([self.value(x) for x in v])
        if not isinstance(v, dict):
            return v
        if "dtype" in v:
            return np.dtype(v["dtype"])
        if "complex" in v:
            return complex(*v["complex"])
        if "graph" in v:
            return self.graph(v["graph"])
        if "function" in v:
            module, name = v["function"]
            return vars(sys.modules[module])[name]
        return self.lengths.setdefault(v["length"], Length())
