"""The native executor: a graph compiled to machine code by LLVM and called once.

The stages, each in its own file: `lower` and `control` turn the graph into statements (loop nests, reductions,
products, loops, and steps left to NumPy) over windows of memory; `plan` lays out the workspace; `emit` and `products`
write LLVM; `program` compiles and runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# the families, which teach `lower` their steps
from wengert.execute.native import contraction as contraction
from wengert.execute.native import control as control
from wengert.execute.native import convolution as convolution
from wengert.execute.native import moves as moves
from wengert.execute.native import pooling as pooling
from wengert.execute.native import reductions as reductions
from wengert.execute.native.entry import Entry
from wengert.execute.native.entry import make_entry as _make_entry
from wengert.execute.native.program import Compiled
from wengert.execute.native.target import host_target
from wengert.execute.native.text import program_text
from wengert.ir.graph import Graph
from wengert.passes.pipeline import simplify
from wengert.tree import TreeDef

name = "native"


def compiled(graph: Graph) -> Compiled:
    """The machine code for `graph`, made once.

    `graph.cache["donated"]` tells, if it is there, for results which inputs they may be written over.
    """
    if name not in graph.cache:
        graph.cache[name] = Compiled(simplify(graph), host_target(), graph.cache.get("donated"))
    return graph.cache[name]


def run(graph: Graph, values: Sequence[Any]) -> list[Any]:
    """Run `graph` on ndarrays."""
    return compiled(graph)(values)


def make_entry(cls: type, program: Any, arguments: TreeDef) -> Entry | None:
    """How functions of class `cls` call `program` without Python; see `entry`."""
    return _make_entry(cls, program, arguments, compiled(program.graph))


def stage_text(graph: Graph, stage: str) -> str:
    """A stage of the compilation of `graph` as text: "loops", "llvm" or "assembly"."""
    made = compiled(graph)
    if stage == "loops":
        return program_text(made.program)
    return made.text if stage == "llvm" else made.assembly()
