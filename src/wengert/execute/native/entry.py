"""Calls of compiled programs without Python: a jitted function's `__call__` as machine code.

For each program of a function there is an *entry*: a record of how its arguments look and how its results are put
together, which one piece of machine code, compiled once for all programs, follows (`entry_code`). It walks lists,
tuples, dictionaries and modules anew at every call, which costs a few nanoseconds an array; so nothing is remembered
of the arguments of a call, and nothing can go stale.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np

from wengert import tree
from wengert.diff.cost import graph_cost
from wengert.errors import UnsupportedError
from wengert.execute.native import entry_layout as at
from wengert.execute.native import workspaces
from wengert.execute.native.entry_code import ALIGNMENT, load_entry
from wengert.execute.native.entry_plan import Arguments, Results, Untranslatable
from wengert.execute.native.entry_record import ALONE, FIELDS, REPLACED, SPEC_WORDS, SPENT
from wengert.execute.native.program import Compiled, free_stores
from wengert.ir.array import Array, WeakArray
from wengert.ir.graph import Graph
from wengert.ir.primitive import watchers
from wengert.ops.promote import as_array

_METHOD = 0x0080 | 0x0002  # METH_FASTCALL | METH_KEYWORDS
QUICK = 2e-6  # seconds below which a program doesn't let other threads run
_FLOPS, _BYTES = 5e10, 2e10  # a second, roughly
_POP = workspaces.idle.pop


class Entry:
    """How to call one program: the record that the machine code reads, and what must live as long."""

    __slots__ = ("__weakref__", "kept", "record")

    def __init__(self, record: np.ndarray, kept: list[Any]):
        self.record = record
        self.kept = kept


class Call(Protocol):
    """A staged program as its calls see it."""

    graph: Graph
    out_tree: tree.TreeDef
    num_outputs: int  # of the result; assigned attributes follow
    assigned: Any  # see `tree.Opened.changes`
    spent: Sequence[int]  # inputs that the caller gives up
    gone: Any  # what stands in their place afterwards
    claims: Any  # what it takes for granted of its inputs, see `ir.claims`


def make_entry(cls: Any, call: Call, arguments_tree: tree.TreeDef, compiled: Compiled) -> Entry | None:
    """The entry of a program for functions of class `cls`, called with `(args, kwargs)` of this structure.

    None where it has a structure that only Python walks, or where this Python is another one.
    """
    try:
        install(cls)
        given = {*compiled.in_place.values(), *call.spent}
        arguments = Arguments(arguments_tree, call.graph.in_types, given)
    except (Untranslatable, UnsupportedError):
        return None
    whole = compiled.whole
    finish, build = None, Results()
    try:
        build.write(call)
    except Untranslatable:
        finish, build = _finishing(call), Results()
    python = None if whole is not None else _running(compiled)
    sizes = _sizes(call, arguments, build, compiled)
    record = _assembled(call, arguments, build, compiled, sizes)
    block = np.zeros(sizes["bytes"] + 2 * ALIGNMENT, np.uint8)
    start = block.ctypes.data + ALIGNMENT
    start += -start % ALIGNMENT
    checks = () if call.claims is None else (call.claims.doubtful, _looking(call.claims))
    settings = {
        "block": start,
        "run": 0 if whole is None else ctypes.cast(whole, ctypes.c_void_p).value,
        "python": 0 if python is None else id(python),
        "finish": 0 if finish is None else id(finish),
        "gone": id(call.gone),
        "doubtful": id(checks[0]) if checks else 0,
        "look": id(checks[1]) if checks else 0,
        "watched": call.claims.output if checks else 0,
        "release": int(not _is_quick(call.graph)),
        "idle": id(workspaces.idle) if whole is not None and compiled.lent else 0,
        "pop": id(_POP),
        "wanted": compiled.workspace_bytes,
    }
    for name, value in settings.items():
        record[FIELDS.index(name)] = value
    entry = Entry(record, [call, compiled, arguments, build, python, finish, block, checks])
    work = block[start - block.ctypes.data + sizes["work"] :]
    weakref.finalize(entry, free_stores, work, sizes["stores"])
    if whole is not None:
        compiled.close()
    return entry


def _sizes(call: Call, arguments: Arguments, build: Results, compiled: Compiled) -> dict[str, int]:
    """The numbers in a record, and where the parts of its block begin."""
    inputs, outputs, objects = len(call.graph.inputs), len(call.graph.outputs), arguments.objects
    sizes = {"inputs": inputs, "outputs": outputs, "num_objects": objects, "num_constants": len(compiled.constants)}
    sizes["num_spent"] = len(call.spent)
    sizes["stores"] = compiled.stores if compiled.whole is not None else 0
    done = 8 * inputs
    for part, words in (
        ("dicts", objects), ("results", outputs), ("wrapped", outputs), ("objects", objects),
        ("givers", inputs if arguments.given else 0), ("stack", build.deepest),
    ):  # fmt: skip
        sizes[part], done = done, done + 8 * words
    sizes["references"] = done // 8
    marks = 1
    while marks < 2 * (arguments.inside + objects):
        marks *= 2
    sizes["mask"] = marks - 1
    for part, words in (
        ("table", inputs + outputs + len(compiled.constants)), ("scalars", 4 * inputs), ("values", arguments.values),
        ("frames", 2 * arguments.deepest), ("leaves", inputs), ("uneven", 1), ("marks", marks),
    ):  # fmt: skip
        sizes[part], done = done, done + 8 * words
    sizes["work"] = done + -done % ALIGNMENT
    sizes["bytes"] = sizes["work"] + (0 if compiled.whole is None or compiled.lent else compiled.workspace_bytes)
    return sizes


def _assembled(
    call: Call, arguments: Arguments, build: Results, compiled: Compiled, sizes: dict[str, int]
) -> np.ndarray:
    """Header and instructions in one array; addresses within it are known once it is there."""
    words = [sizes.get(name, 0) for name in FIELDS]
    inner: dict[int, int] = {}  # place of an address -> place that it points to

    def here(name: str) -> None:
        inner[FIELDS.index(name)] = len(words)

    words[FIELDS.index("positional")] = arguments.positional
    words[FIELDS.index("keywords")] = arguments.keywords
    here("match")
    words += arguments.words
    here("build")
    words += build.words
    here("constants")
    words += [id(c) for c in compiled.constants]
    here("spent")
    kinds = [id(WeakArray if t.weak else Array) for t in call.graph.in_types]
    for i in call.spent:
        words += [i, kinds[i]]
    here("specs")
    shapes = len(words) + SPEC_WORDS * len(compiled.outputs)
    for k, ((shape, dtype), t) in enumerate(zip(compiled.outputs, call.graph.out_types, strict=True)):
        shape = shape if compiled.whole is not None else ()  # Python makes its own arrays
        inner[len(words) + 2] = shapes
        words += [id(arguments.keep(at.standard(dtype))), len(shape), 0, id(WeakArray if t.weak else Array)]
        mode = ALONE if k not in compiled.in_place else SPENT if k < call.num_outputs else REPLACED
        words += [compiled.in_place.get(k, 0), mode, math.prod(shape) * dtype.itemsize]
        shapes += len(shape)
    for shape, _ in compiled.outputs:
        words += shape if compiled.whole is not None else ()
    record = np.array(words, np.int64)
    for place, target in inner.items():
        record[place] = record.ctypes.data + 8 * target
    return record


def _running(compiled: Compiled) -> Any:
    """A program with steps of NumPy's, as a function of the values as they come."""

    def run(*values: Any) -> tuple[Any, ...]:
        made = compiled([v if type(v) is np.ndarray else as_array(v).data for v in values])
        if len(made) != len(compiled.outputs):
            raise AssertionError("as many results as the program has")
        return tuple(made)

    return run


def _looking(claims: Any) -> Any:
    """A look at the claims of a program, for the values as they come."""

    def look(*values: Any) -> None:
        claims.look(*[v if type(v) is np.ndarray else as_array(v).data for v in values])

    return look


class _Objects(tree.Opened):
    """Objects to write back to."""

    def __init__(self, objects: Sequence[Any]):
        self.objects = list(objects)


def _finishing(call: Call) -> Any:
    """Results that only Python puts together."""

    def finish(*values: Any) -> Any:
        end = len(call.graph.outputs)
        _Objects(values[end:]).write_back(call.assigned, values[call.num_outputs : end])
        return tree.unflatten(call.out_tree, values[: call.num_outputs])

    return finish


def _is_quick(graph: Graph) -> bool:
    """Whether letting other threads run would cost more than it gives."""
    cost = graph_cost(graph)
    known = all(n.primitive.name != "while_loop" for g in (graph, *_inner(graph)) for n in g.nodes)
    return known and cost.flops / _FLOPS + cost.bytes / _BYTES < QUICK


def _inner(graph: Graph) -> list[Graph]:
    direct = [g for _, _, g in graph.subgraphs()]
    return direct + [deep for g in direct for deep in _inner(g)]


class _MethodDef(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("call", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


_kept: list[Any] = []  # the code, which lives as long as the process


@cache
def install(cls: Any) -> None:
    """Make the machine code the `__call__` of `cls`, whose slot `_entries` holds a tuple of entries to be tried.

    Where none fits it calls `cls.__call__` as it was. Raises UnsupportedError where this Python is another one.
    """
    slots = {
        "data": at.slot(Array, "data"), "weak": at.weak_slot(Array),
        "entries": at.slot(cls, "_entries"), "record": at.slot(Entry, "record"),
    }  # fmt: skip
    at.addresses()
    general = cls.__call__
    engine, address = load_entry(slots, (np.ndarray, dict, True, watchers, general))
    method = _MethodDef(b"__call__", address, _METHOD, general.__doc__ and general.__doc__.encode())
    _kept.append((engine, method, general, cls))
    new = ctypes.pythonapi.PyDescr_NewMethod
    new.restype, new.argtypes = ctypes.py_object, [ctypes.py_object, ctypes.c_void_p]
    cls.__call__ = new(cls, ctypes.addressof(method))
