"""The entry to compiled programs as machine code: what runs when a jitted function is called.

`enter` is what CPython calls. It tries the records of the function's programs one after the other: match the
arguments, allocate the results, run, put the results together. Where none fits, or anything looks on, the call takes
the general way, through Python, which always gives the same result.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from wengert.execute.native import cache
from wengert.execute.native import entry_layout as at
from wengert.execute.native.cache_key import environment
from wengert.execute.native.entry_match import emit_match
from wengert.execute.native.entry_record import FIELDS, field
from wengert.execute.native.entry_result import emit_allocate, emit_build, emit_even, emit_spend, emit_taken, emit_wrap
from wengert.execute.native.entry_words import OBJECTS, SERVICES, WORD, Words
from wengert.execute.native.target import Target, host_target
from wengert.execute.native.views import STATE_BYTES

MISMATCH = 1  # returned in place of an object: nothing was done
ALIGNMENT = 64


def _emit_perform(module: ir.Module, parts: dict[str, ir.Function], data_slot: int) -> ir.Function:
    """`perform(record, block, workspace) -> result, MISMATCH or 0 with an exception`: arguments have matched."""
    w = Words(module, "perform", 3)
    record, block, work = w.args
    failed, refused, i = w.returns(0), w.returns(MISMATCH), w.variable()
    run, outputs = field(w, record, "run"), field(w, record, "outputs")
    with w.b.if_else(w.differ(run, 0)) as (machine, python):
        with machine:
            with w.b.if_then(w.differ(w.load(w.b.add(block, field(w, record, "uneven"))), 0)):
                w.leave_if(w.is_(w.b.call(parts["even"], [record, block]), 0), failed)
            w.leave_if(w.is_(w.b.call(parts["allocate"], [record, block]), 0), failed)
            where = [w.b.add(block, field(w, record, "table")), work]
            with w.b.if_else(w.differ(field(w, record, "release"), 0)) as (apart, quick):
                with apart:
                    state = w.call("PyEval_SaveThread")
                    w.call_at(run, *where)
                    w.call("PyEval_RestoreThread", state)
                with quick:
                    w.call_at(run, *where)
        with python:
            made = w.call("PyObject_Vectorcall", field(w, record, "python"), block, field(w, record, "inputs"), 0)
            with w.b.if_then(w.is_(made, 0)):
                w.call("PyErr_Clear")  # the general way meets the same error, and says it better
                w.b.branch(refused)
            results = w.b.add(block, field(w, record, "results"))
            with w.counted(outputs, i) as k:
                w.store(w.element(results, k), w.held(w.load(w.element(made, k), at.TUPLE_ITEMS)))
            w.call("Py_DecRef", made)
    w.b.call(parts["spend"], [record, block])
    w.leave_if(w.is_(w.b.call(parts["wrap"], [record, block]), 0), failed)
    doubtful = field(w, record, "doubtful")
    with w.b.if_then(w.differ(doubtful, 0)):
        result = w.load(w.element(w.b.add(block, field(w, record, "wrapped")), field(w, record, "watched")))
        verdict = w.call("PyObject_Vectorcall", doubtful, w.address(result, data_slot), 1, 0)
        w.leave_if(w.is_(verdict, 0), failed)
        w.call("Py_DecRef", verdict)
        with w.b.if_then(w.is_(verdict, w.known("True"))):
            fine = w.call("PyObject_Vectorcall", field(w, record, "look"), block, field(w, record, "inputs"), 0)
            w.leave_if(w.is_(fine, 0), failed)
            w.call("Py_DecRef", fine)
    finish = field(w, record, "finish")
    with w.b.if_then(w.differ(finish, 0)):
        start = w.b.add(block, field(w, record, "wrapped"))
        number = w.b.add(outputs, field(w, record, "num_objects"))  # which stand behind them
        w.b.ret(w.call("PyObject_Vectorcall", finish, start, number, 0))
    w.b.ret(w.b.call(parts["build"], [record, block]))
    return w.function


def _emit_lend(module: ir.Module, perform: ir.Function) -> ir.Function:
    """`lend(record, block)`: `perform`, in a workspace that is borrowed where the record says so.

    Where no idle one is large enough, the call goes through Python, which makes one.
    """
    w = Words(module, "lend", 2)
    record, block = w.args
    idle, refused = field(w, record, "idle"), w.returns(MISMATCH)
    with w.b.if_then(w.is_(idle, 0)):
        w.b.ret(w.b.call(perform, [record, block, w.b.add(block, field(w, record, "work"))]))
    lent = w.call("PyObject_Vectorcall", field(w, record, "pop"), block, 0, 0)
    with w.b.if_then(w.is_(lent, 0)):
        w.call("PyErr_Clear")
        w.b.branch(refused)
    with w.b.if_then(w.b.icmp_signed("<", w.load(w.load(lent, at.NDARRAY["shape"])), field(w, record, "wanted"))):
        w.call("Py_DecRef", lent)
        w.b.branch(refused)
    result = w.b.call(perform, [record, block, w.load(lent, at.NDARRAY["data"])])
    w.call("PyList_Append", idle, lent)
    w.call("Py_DecRef", lent)
    w.b.ret(result)
    return w.function


def _emit_attempt(module: ir.Module, parts: dict[str, ir.Function]) -> ir.Function:
    """`attempt(record, arguments, number, names) -> result, MISMATCH or 0 with an exception`."""
    w = Words(module, "attempt", 4)
    record, *given = w.args
    refused = w.returns(MISMATCH)
    i, block, result = w.variable(), w.variable(field(w, record, "block")), w.variable(MISMATCH)
    with w.b.if_else(w.differ(block.get(), 0)) as (idle, busy):
        with idle:
            w.store(record, 0, 8 * FIELDS.index("block"))
        with busy:  # another call is under way, in another thread or further out in this one
            raw = w.call("PyMem_RawMalloc", w.b.add(field(w, record, "bytes"), WORD(2 * ALIGNMENT)))
            w.leave_if(w.is_(raw, 0), refused)
            block.set(w.b.and_(w.b.add(raw, WORD(2 * ALIGNMENT - 1)), WORD(-ALIGNMENT)))
            w.store(block.get(), raw, -8)
            states = w.b.mul(field(w, record, "stores"), WORD(STATE_BYTES // 8))
            w.clear(w.b.add(block.get(), field(w, record, "work")), states)
    w.store(w.b.add(block.get(), field(w, record, "uneven")), 0)
    here, references, mask = block.get(), field(w, record, "references"), field(w, record, "mask")
    w.clear(here, references)
    with w.b.if_then(w.differ(mask, 0)):
        w.clear(w.b.add(here, field(w, record, "marks")), w.b.add(mask, WORD(1)))
    collecting = w.variable()
    with w.b.if_then(w.differ(field(w, record, "num_objects"), 0)):
        collecting.set(w.call("PyGC_Disable"))
    matched = w.b.call(parts["match"], [record, here, *given])
    with w.b.if_then(w.differ(collecting.get(), 0)):
        w.call("PyGC_Enable")
    with w.b.if_then(w.differ(matched, 0)):
        result.set(w.b.call(parts["lend"], [record, here]))
    with w.counted(references, i) as k:
        held = w.load(w.element(here, k))
        with w.b.if_then(w.differ(held, 0)):
            w.call("Py_DecRef", held)
    raw = w.load(here, -8)
    with w.b.if_else(w.is_(raw, 0)) as (own, extra):
        with own:
            w.store(record, here, 8 * FIELDS.index("block"))
        with extra:
            with w.counted(field(w, record, "stores"), i) as k:  # memory that grew, see `store`
                state = w.b.add(field(w, record, "work"), w.b.mul(k, WORD(STATE_BYTES)))
                w.call("PyMem_RawFree", w.load(w.b.add(here, state)))
            w.call("PyMem_RawFree", raw)
    w.b.ret(result.get())
    return w.function


def _emit_enter(module: ir.Module, attempt: ir.Function, entries_slot: int, record_slot: int) -> None:
    """`enter(self, arguments, number, names)`, the method of a jitted function."""
    w = Words(module, "enter", 4)
    me, arguments, number, names = w.args
    i = w.variable()
    entries = w.load(me, entries_slot)
    with w.block() as general:
        _emit_general(w, w.known("general"))
    w.leave_if(w.is_(entries, 0), general)
    w.leave_if(w.differ(w.load(w.known("watchers"), at.SIZE), 0), general)
    w.call("Py_IncRef", entries)
    with w.counted(w.load(entries, at.SIZE), i) as k:
        entry = w.load(w.element(entries, k), at.TUPLE_ITEMS)
        record = w.load(w.load(entry, record_slot), at.NDARRAY["data"])
        result = w.b.call(attempt, [record, arguments, number, names])
        with w.b.if_then(w.differ(result, MISMATCH)):
            w.call("Py_DecRef", entries)
            w.b.ret(result)
    w.call("Py_DecRef", entries)
    w.b.branch(general)


def _emit_general(w: Words, function: ir.Value) -> None:
    """The same call of the function in Python."""
    me, arguments, number, names = w.args
    count, i = w.variable(number), w.variable()
    with w.b.if_then(w.differ(names, 0)):
        count.set(w.b.add(number, w.load(names, at.SIZE)))
    everything = w.b.ptrtoint(w.b.alloca(WORD, w.b.add(count.get(), WORD(1))), WORD)
    w.store(everything, me)
    with w.counted(count.get(), i) as k:
        w.store(w.element(everything, k), w.load(w.element(arguments, k)), 8)
    w.b.ret(w.call("PyObject_Vectorcall", function, everything, w.b.add(number, WORD(1)), names))


def entry_module(slots: dict[str, int]) -> ir.Module:
    """The code; `slots` are the offsets of the slots that it reads."""
    module = ir.Module("entry")
    services = ir.GlobalVariable(module, ir.ArrayType(WORD, len(SERVICES)), "services")
    services.initializer = ir.Constant(services.value_type, None)
    parts = {
        "match": emit_match(module, slots["data"]),
        "even": emit_even(module),
        "allocate": emit_allocate(module, emit_taken(module, slots)),
        "spend": emit_spend(module, slots["data"]),
        "wrap": emit_wrap(module, slots["data"]),
        "build": emit_build(module),
    }
    parts["lend"] = _emit_lend(module, _emit_perform(module, parts, slots["data"]))
    _emit_enter(module, _emit_attempt(module, parts), slots["entries"], slots["record"])
    return module


def compiled_entry(slots: dict[str, int], target: Target) -> bytes:
    """The code for a machine, from the cache on disk or new."""
    key = hashlib.sha256(repr(("entry", environment(target), slots)).encode()).digest()
    known = cache.read(key)
    if known is not None:
        return known
    machine = target.target_machine()
    module = llvm.parse_assembly(str(entry_module(slots)))
    module.verify()
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    manager = llvm.create_new_function_pass_manager()
    manager.add_sroa_pass()
    manager.add_instruction_combine_pass()
    for function in module.functions:
        if not function.is_declaration:
            manager.run(function, passes)
    code = machine.emit_object(module)
    cache.write(key, code)
    return code


def load_entry(slots: dict[str, int], objects: Sequence[object]) -> tuple[Any, int]:
    """The engine that keeps the code alive, and the address of `enter`; `objects` are those that OBJECTS names."""
    target = host_target()
    empty = llvm.parse_assembly(f'target triple = "{target.triple}"')
    engine = llvm.create_mcjit_compiler(empty, target.target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(compiled_entry(slots, target)))
    engine.finalize_object()
    known = {**at.addresses(), **{name: id(o) for name, o in zip(OBJECTS, objects, strict=True)}}
    table = (ctypes.c_int64 * len(SERVICES)).from_address(engine.get_global_value_address("services"))
    table[:] = [known[name] for name in SERVICES]
    return engine, engine.get_function_address("enter")
