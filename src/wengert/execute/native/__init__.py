"""The native executor: a graph compiled to machine code by LLVM and called once.

The stages, each in its own file: `lower` and `control` turn the graph into statements (loop nests, reductions,
products, loops, and steps left to NumPy) over windows of memory; `plan` lays out the workspace; `emit` and `products`
write LLVM; `program` compiles and runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.execute.collector import collector_held
from wengert.execute.native import cache

# the families, which teach `lower` their steps
from wengert.execute.native import contraction as contraction
from wengert.execute.native import control as control
from wengert.execute.native import convolution as convolution
from wengert.execute.native import cumulative as cumulative
from wengert.execute.native import indexing as indexing
from wengert.execute.native import linalg as linalg
from wengert.execute.native import moves as moves
from wengert.execute.native import pooling as pooling
from wengert.execute.native import random as random
from wengert.execute.native import reductions as reductions
from wengert.execute.native.cache_key import KeylessError, program_key
from wengert.execute.native.code import NotDataError, from_bytes, to_bytes
from wengert.execute.native.entry import Entry
from wengert.execute.native.entry import make_entry as _make_entry
from wengert.execute.native.program import Build, Compiled
from wengert.execute.native.report import NativeSummary
from wengert.execute.native.target import Target, host_target
from wengert.execute.native.text import program_text
from wengert.execute.native.threads import most_threads
from wengert.ir.graph import Graph
from wengert.passes.pipeline import simplify
from wengert.tree import TreeDef

name = "native"


def compiled(graph: Graph) -> Compiled:
    """The machine code for `graph`, made once.

    `graph.cache["donated"]` tells, if it is there, for results which inputs they may be written over.
    """
    if name not in graph.cache:
        with collector_held():
            graph.cache[name] = _made(graph, host_target())
    return graph.cache[name]


def _made(graph: Graph, target: Target) -> Compiled:
    """From the cache on disk, or new."""
    donated = graph.cache.get("donated") or {}
    # the graph itself will hold what is made here, and the two would hold each other
    source = Graph(graph.inputs, graph.nodes, graph.outputs, graph.trace, graph.size, graph.name)

    def build() -> Build:
        return Build(simplify(source), target, donated)

    if cache.folder() is None:
        return Compiled(build().code(), target, build)
    try:
        key, given = program_key(graph, donated, most_threads(), target)
        content = cache.read(key)
        if content is not None:
            return Compiled(from_bytes(content, given), target, build)
        code = build().code()
        cache.write(key, to_bytes(code, given))
    except (KeylessError, NotDataError):
        code = build().code()
    return Compiled(code, target, build)


def run(graph: Graph, values: Sequence[Any]) -> list[Any]:
    """Run `graph` on ndarrays."""
    return compiled(graph)(values)


def make_entry(cls: type, program: Any, arguments: TreeDef) -> Entry | None:
    """How functions of class `cls` call `program` without Python; see `entry`."""
    return _make_entry(cls, program, arguments, compiled(program.graph))


def explain(graph: Graph, values: Sequence[Any] | None) -> NativeSummary:
    """What `graph` compiles to, kernel by kernel; with `values`, how long each takes."""
    source = Graph(graph.inputs, graph.nodes, graph.outputs, graph.trace, graph.size, graph.name)
    return NativeSummary(simplify(source), host_target(), graph.cache.get("donated") or {}, values)


def stage_text(graph: Graph, stage: str) -> str:
    """A stage of the compilation of `graph` as text: "loops", "llvm" or "assembly"."""
    made = compiled(graph)
    if stage == "loops":
        return program_text(made.program)
    return made.text if stage == "llvm" else made.assembly()
