"""The pool of threads that programs share, itself machine code: no Python runs in a worker.

A program's parallel part is a function `part(thread, threads, table, work)` that every thread of a team runs at the
same time, meeting the others at barriers. `RUN` forms the team of the calling thread and the workers, if nobody else is
using them, and comes back when all are done. A worker that doesn't join within some percent of the program's time,
because its core is busy with something else, is not waited for. Where the caller has waited for others more than half
of a program's time, since they were sent off their cores in the middle of it, the next programs run alone, up to a
thousand of them if it happens again. How the work is dealt depends on nothing but the number of threads, and no result
does on that. A worker looks for new work for about a millisecond, then sleeps until it is woken.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from wengert.execute.native.objects import kept, loaded
from wengert.execute.native.pool_code import (
    ALWAYS,
    BARRIER,
    BYTES,
    I64,
    LEVEL,
    NEEDED,
    RUN,
    SIZE,
    UNTIL,
    VOID,
    WANTED,
    pool_module,
)
from wengert.execute.native.statements import Split
from wengert.execute.native.target import Target, host_target
from wengert.execute.threads import available, get_num_threads, told

_PER_LOOK = 600.0  # nanoseconds of a program for each look at who joins: some percent of its time
_FEWEST_LOOKS, _MOST_LOOKS = 50, 5_000


def most_threads() -> int:
    """How many threads a program compiled now should be made for."""
    return max(available(), get_num_threads())


def connect() -> None:
    """Make the names RUN and BARRIER known to compiled code."""
    _pool().connect()


def always_in_teams(on: bool) -> None:
    """Whether programs run in teams however long threads wait for each other, for tests; what was seen is forgotten."""
    connect()
    state = _pool().state
    state[ALWAYS], state[LEVEL], state[UNTIL] = on, 0, 0


def part_of(b: ir.IRBuilder, split: Split, thread: ir.Value, threads: ir.Value) -> list[ir.Value]:
    """Begin and end of what a thread does of a kernel."""

    def bound(t: ir.Value) -> ir.Value:
        at = b.mul(b.udiv(b.mul(t, I64(split.grains)), threads), I64(split.size))
        if split.grains * split.size == split.extent:
            return at
        return b.select(b.icmp_unsigned("<", at, I64(split.extent)), at, I64(split.extent))

    return [bound(thread), bound(b.add(thread, I64(1)))]


def run_by_all(module: ir.Module, name: str, part: ir.Function, most: int, cost: float) -> None:
    """`name(table, work)`: the part, by a team of at most so many threads; one alone would take `cost` nanoseconds."""
    function = ir.Function(module, ir.FunctionType(VOID, [BYTES.as_pointer(), BYTES]), name)
    run = module.globals.get(RUN)
    if run is None:
        run = ir.Function(module, ir.FunctionType(VOID, [BYTES, BYTES, BYTES, I64, I64]), RUN)
    b = ir.IRBuilder(function.append_basic_block())
    table, work = function.args
    looks = min(max(int(cost / _PER_LOOK), _FEWEST_LOOKS), _MOST_LOOKS)
    b.call(run, [b.bitcast(part, BYTES), b.bitcast(table, BYTES), work, I64(most), I64(looks)])
    b.ret_void()


class Pool:
    """The state that the machine code works on, and the code."""

    def __init__(self) -> None:
        self.engine: Any = None
        told.append(self.want)

    def want(self, count: int) -> None:
        if self.engine is not None:
            self.state[WANTED] = count

    def connect(self) -> None:
        if self.engine is not None:
            return
        usable, target = _found(NEEDED), host_target()
        made = kept(("pool", usable), target, lambda: _compiled(str(pool_module(usable)), target))
        self.engine = loaded(made, target)
        self.state = (ctypes.c_int64 * SIZE).from_address(self.engine.get_global_value_address("state"))
        for name in (RUN, BARRIER):
            llvm.add_symbol(name, self.engine.get_function_address(name))
        self.reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """No workers, nothing going on: at the start, and in a child process, where its parent's threads are not."""
        ctypes.memset(self.state, 0, ctypes.sizeof(self.state))
        self.state[WANTED] = get_num_threads()
        ctypes.CFUNCTYPE(None)(self.engine.get_function_address("prepare"))()


def _compiled(text: str, target: Target) -> bytes:
    machine = target.target_machine()
    llvm.initialize_native_asmparser()
    return machine.emit_object(llvm.parse_assembly(text))


def _found(names: Sequence[str]) -> bool:
    """Whether the C library of this process has these functions; compiled code knows them then."""
    try:
        library = ctypes.CDLL(None)
        addresses = {name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in names}
    except (AttributeError, OSError, TypeError):
        return False
    for name, address in addresses.items():
        llvm.add_symbol(name, address)
    return True


@cache
def _pool() -> Pool:
    return Pool()
