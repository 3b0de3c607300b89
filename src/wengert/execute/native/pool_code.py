"""The pool's machine code: how a team forms, meets and parts, and how its workers wait for the next one."""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir

from wengert.execute.native.target import host_target

RUN, BARRIER = "wengert_run", "wengert_barrier"
I64, I32, I8, I1 = (ir.IntType(n) for n in (64, 32, 8, 1))
BYTES = I8.as_pointer()
VOID = ir.VoidType()
PART = ir.FunctionType(VOID, [I64, I64, BYTES, BYTES])

# The state: words of 64 bits, on cache lines of their own where threads wait for them
_LINE = 8
_JOB, _GO, _ARRIVED, _PHASE, _DONE, _BUSY, _SLEEPING, _WORKERS = (_LINE * k for k in range(8))
WANTED, _PART, _TABLE, _WORK = (_LINE * 8 + k for k in range(4))  # WANTED: threads in a team
_WAITED, LEVEL, UNTIL, ALWAYS = (_LINE * 8 + 4 + k for k in range(4))  # of the caller; two are nanoseconds
_MUTEX, _CONDITION = _LINE * 9, _LINE * 17
SIZE = _LINE * 25
# _JOB: the job's number, how many workers may join, how many have. _GO: the number, and how many threads there are
_COUNT_BITS = 8
_COUNT = (1 << _COUNT_BITS) - 1
_LOOKS = 60_000  # for new work, before a worker sleeps: about a millisecond
_PATIENCE = 4_000  # looks at a barrier before the core is offered to somebody else
_LITTLE = 200_000  # nanoseconds that a team may wait for somebody without being held up
_FACTOR, _MOST = 4, 4  # after a team was held up, programs run alone for 4 times as long, doubled for each level
_MONOTONIC = 6 if sys.platform == "darwin" else 1
_SIGNALS = 16  # words of a set of signals
_BLOCK_SIGNALS = 1 if sys.platform == "darwin" else 0
_THREADS = ("create", "detach", "sigmask", "mutex_init", "mutex_lock", "mutex_unlock", "cond_init", "cond_wait")
NEEDED = (*(f"pthread_{name}" for name in (*_THREADS, "cond_broadcast")), "sched_yield", "clock_gettime")


class _Words:
    """The state's words, read and written at once or in turn with other threads."""

    def __init__(self, b: ir.IRBuilder, state: ir.GlobalVariable):
        self.b = b
        self.state = state

    def at(self, word: int) -> ir.Value:
        return self.b.gep(self.state, [I64(0), I64(word)], inbounds=True)

    def get(self, word: int) -> ir.Value:
        return self.b.load_atomic(self.at(word), "seq_cst", 8)

    def set(self, word: int, value: ir.Value) -> None:
        self.b.store_atomic(value, self.at(word), "seq_cst", 8)

    def add(self, word: int, n: int) -> ir.Value:
        """What was there before."""
        return self.b.atomic_rmw("add", self.at(word), I64(n), "seq_cst")

    def opaque(self, word: int) -> ir.Value:
        return self.b.bitcast(self.at(word), BYTES)


def pool_module(usable: bool) -> ir.Module:
    """The code of the pool; without threads to be had on this system, every team is the calling thread."""
    m = ir.Module("pool")
    m.triple = host_target().triple
    state = ir.GlobalVariable(m, ir.ArrayType(I64, SIZE), "state")
    state.initializer = ir.Constant(state.value_type, None)
    state.align = 64

    def external(name: str, result: ir.Type, *types: ir.Type) -> ir.Function:
        return m.globals.get(name) or ir.Function(m, ir.FunctionType(result, types), name)

    def define(name: str, result: ir.Type, *types: ir.Type) -> tuple[ir.Function, ir.IRBuilder, _Words]:
        function = ir.Function(m, ir.FunctionType(result, types), name)
        b = ir.IRBuilder(function.append_basic_block())
        return function, b, _Words(b, state)

    def call(b: ir.IRBuilder, name: str, *args: ir.Value) -> ir.Value:
        return b.call(external(name, I32, *(a.type for a in args)), args)

    def breathe(b: ir.IRBuilder) -> None:
        kind = ir.FunctionType(VOID, [])
        if m.triple.startswith("x86_64"):
            b.asm(kind, "pause", "", [], side_effect=True)
        elif m.triple.startswith(("aarch64", "arm64")):
            b.asm(kind, "yield", "", [], side_effect=True)

    def until(b: ir.IRBuilder, ready: Any, looks: int, otherwise: Any) -> None:
        """Look at `ready()` again and again; every `looks` times, do something else."""
        before, (head, again, tired, after) = b.block, (b.append_basic_block() for _ in range(4))
        b.branch(head)
        b.position_at_end(head)
        n = b.phi(I64)
        n.add_incoming(I64(0), before)
        more = b.add(n, I64(1))
        b.cbranch(ready(), after, again)
        b.position_at_end(again)
        breathe(b)
        n.add_incoming(more, again)
        b.cbranch(b.icmp_unsigned("<", more, I64(looks)), head, tired)
        b.position_at_end(tired)
        otherwise()
        n.add_incoming(I64(0), b.block)
        b.branch(head)
        b.position_at_end(after)

    # now(): nanoseconds
    now, b, w = define("now", I64)
    time = b.alloca(ir.ArrayType(I64, 2))
    b.store(ir.Constant(time.type.pointee, None), time)
    if usable:
        call(b, "clock_gettime", I32(_MONOTONIC), b.bitcast(time, BYTES))
    seconds, rest = (b.load(b.gep(time, [I64(0), I64(k)])) for k in range(2))
    b.ret(b.add(b.mul(seconds, I64(1_000_000_000)), rest))

    def wait(b: ir.IRBuilder, w: _Words, ready: Any, caller: ir.Value) -> None:
        """For other threads. What takes the caller longer than its patience, it takes down."""

        def patiently() -> None:
            begin = b.call(now, [])
            until(b, ready, _PATIENCE, lambda: call(b, "sched_yield"))
            with b.if_then(caller):
                w.set(_WAITED, b.add(w.get(_WAITED), b.sub(b.call(now, []), begin)))

        until(b, ready, _PATIENCE, patiently)

    # barrier(thread, threads): the last to arrive lets the others go
    barrier, b, w = define(BARRIER, VOID, I64, I64)
    phase = w.get(_PHASE)
    last = b.icmp_unsigned("==", w.add(_ARRIVED, 1), b.sub(barrier.args[1], I64(1)))
    with b.if_else(last) as (yes, no):
        with yes:
            w.set(_ARRIVED, I64(0))
            w.set(_PHASE, b.add(phase, I64(1)))
        with no:
            caller = b.icmp_unsigned("==", barrier.args[0], I64(0))
            wait(b, w, lambda: b.icmp_unsigned("!=", w.get(_PHASE), phase), caller)
    b.ret_void()

    # prepare(): the lock that sleepers wait with
    _, b, w = define("prepare", VOID)
    if usable:
        null = ir.Constant(BYTES, None)
        call(b, "pthread_mutex_init", w.opaque(_MUTEX), null)
        call(b, "pthread_cond_init", w.opaque(_CONDITION), null)
    b.ret_void()

    def number_of(b: ir.IRBuilder, job: ir.Value) -> ir.Value:
        return b.lshr(job, I64(2 * _COUNT_BITS))

    def enter(b: ir.IRBuilder, w: _Words, thread: ir.Value, threads: ir.Value) -> None:
        part = b.inttoptr(w.get(_PART), PART.as_pointer())
        table, work = (b.inttoptr(w.get(word), BYTES) for word in (_TABLE, _WORK))
        b.call(part, [thread, threads, table, work])

    # worker(…): wait for a job, join if there is room, do its part when all are there, say so
    worker, b, w = define("worker", BYTES, BYTES)
    if usable:
        signals = b.alloca(ir.ArrayType(I64, _SIGNALS))  # they are for Python's threads
        b.store(ir.Constant(ir.ArrayType(I64, _SIGNALS), [I64(-1)] * _SIGNALS), signals)
        call(b, "pthread_sigmask", I32(_BLOCK_SIGNALS), b.bitcast(signals, BYTES), ir.Constant(BYTES, None))
        seen = b.alloca(I64)
        b.store(I64(0), seen)
        loop = b.append_basic_block()
        b.branch(loop)
        b.position_at_end(loop)

        def news() -> ir.Value:
            return b.icmp_unsigned("!=", number_of(b, w.get(_JOB)), b.load(seen))

        def sleep() -> None:
            call(b, "pthread_mutex_lock", w.opaque(_MUTEX))
            w.add(_SLEEPING, 1)
            head, asleep, awake = (b.append_basic_block() for _ in range(3))
            b.branch(head)
            b.position_at_end(head)
            b.cbranch(news(), awake, asleep)
            b.position_at_end(asleep)
            call(b, "pthread_cond_wait", w.opaque(_CONDITION), w.opaque(_MUTEX))
            b.branch(head)
            b.position_at_end(awake)
            w.add(_SLEEPING, -1)
            call(b, "pthread_mutex_unlock", w.opaque(_MUTEX))

        until(b, news, _LOOKS, sleep)
        first = w.get(_JOB)
        number = number_of(b, first)
        b.store(number, seen)
        before, (trying, joining, missed, joined) = b.block, (b.append_basic_block() for _ in range(4))
        b.branch(trying)
        b.position_at_end(trying)
        job = b.phi(I64)
        job.add_incoming(first, before)
        mine, already = number_of(b, job), b.and_(job, I64(_COUNT))
        room = b.and_(b.lshr(job, I64(_COUNT_BITS)), I64(_COUNT))
        wanted = b.and_(b.icmp_unsigned("==", mine, number), b.icmp_unsigned("<", already, room))
        b.cbranch(wanted, joining, loop)
        b.position_at_end(joining)
        change = b.cmpxchg(w.at(_JOB), job, b.add(job, I64(1)), "seq_cst")
        b.cbranch(b.extract_value(change, 1), joined, missed)
        b.position_at_end(missed)
        job.add_incoming(b.extract_value(change, 0), missed)
        b.branch(trying)
        b.position_at_end(joined)

        def gone() -> ir.Value:
            return b.icmp_unsigned("==", b.lshr(w.get(_GO), I64(_COUNT_BITS)), number)

        until(b, gone, _PATIENCE, lambda: call(b, "sched_yield"))
        enter(b, w, b.add(already, I64(1)), b.and_(w.get(_GO), I64(_COUNT)))
        w.add(_DONE, 1)
        b.branch(loop)
    else:
        b.ret(ir.Constant(BYTES, None))

    # run(part, table, work, most, looks): a team of at most so many threads, of those that come in time
    run, b, w = define(RUN, VOID, PART.as_pointer(), BYTES, BYTES, I64, I64)
    part, table, work, most, looks = run.args
    wanted = w.get(WANTED)
    threads = b.select(b.icmp_unsigned("<", wanted, most), wanted, most)
    alone, together, done = (b.append_basic_block() for _ in range(3))
    if usable:
        take, held = b.append_basic_block(), b.append_basic_block()
        b.cbranch(b.icmp_unsigned(">", threads, I64(1)), held, alone)
        b.position_at_end(held)
        until_then = w.get(UNTIL)
        with b.if_then(b.icmp_signed("!=", until_then, I64(0))):
            with b.if_then(b.icmp_signed("<", b.call(now, []), until_then)):
                b.branch(alone)
            w.set(UNTIL, I64(0))
        b.branch(take)
        b.position_at_end(take)
        free = b.cmpxchg(w.at(_BUSY), I64(0), I64(1), "seq_cst")
        b.cbranch(b.extract_value(free, 1), together, alone)
        b.position_at_end(together)
        ready = b.append_basic_block()
        hire = b.append_basic_block()
        b.branch(hire)
        b.position_at_end(hire)  # workers that are missing; where none can be had, fewer must do
        number = b.add(w.get(_WORKERS), I64(1))
        more, team = b.append_basic_block(), b.append_basic_block()
        b.cbranch(b.icmp_unsigned("<", number, threads), more, team)
        b.position_at_end(more)
        handle = b.alloca(I64)
        create = external("pthread_create", I32, I64.as_pointer(), BYTES, worker.type, BYTES)
        failed = b.call(create, [handle, ir.Constant(BYTES, None), worker, ir.Constant(BYTES, None)])
        hired = b.append_basic_block()
        b.cbranch(b.icmp_unsigned("!=", failed, I32(0)), team, hired)
        b.position_at_end(hired)
        call(b, "pthread_detach", b.load(handle))
        w.set(_WORKERS, number)
        b.branch(hire)
        b.position_at_end(team)
        there = b.add(w.get(_WORKERS), I64(1))
        threads = b.select(b.icmp_unsigned("<", there, threads), there, threads)
        for word, value in ((_PART, part), (_TABLE, table), (_WORK, work)):
            w.set(word, b.ptrtoint(value, I64))
        w.set(_DONE, I64(0))
        w.set(_WAITED, I64(0))
        begin = b.call(now, [])
        others = b.sub(threads, I64(1))
        number = b.add(number_of(b, w.get(_JOB)), I64(1))
        job = b.shl(number, I64(2 * _COUNT_BITS))
        everybody = b.or_(b.or_(job, b.shl(others, I64(_COUNT_BITS))), others)
        w.set(_JOB, b.or_(job, b.shl(others, I64(_COUNT_BITS))))
        with b.if_then(b.icmp_unsigned("!=", w.get(_SLEEPING), I64(0))):
            call(b, "pthread_mutex_lock", w.opaque(_MUTEX))
            call(b, "pthread_cond_broadcast", w.opaque(_CONDITION))
            call(b, "pthread_mutex_unlock", w.opaque(_MUTEX))
        before, (watch, enough) = b.block, (b.append_basic_block() for _ in range(2))
        b.branch(watch)
        b.position_at_end(watch)
        n = b.phi(I64)
        n.add_incoming(I64(0), before)
        breathe(b)
        more = b.add(n, I64(1))
        n.add_incoming(more, watch)
        waiting = b.and_(b.icmp_unsigned("!=", w.get(_JOB), everybody), b.icmp_unsigned("<", more, looks))
        b.cbranch(waiting, watch, enough)
        b.position_at_end(enough)
        closed = b.atomic_rmw("xchg", w.at(_JOB), job, "seq_cst")  # nobody joins from here on
        others = b.and_(closed, I64(_COUNT))
        threads = b.add(others, I64(1))
        w.set(_GO, b.or_(b.shl(number, I64(_COUNT_BITS)), threads))
        b.call(part, [I64(0), threads, table, work])
        b.branch(ready)
        b.position_at_end(ready)
        wait(b, w, lambda: b.icmp_unsigned("==", w.get(_DONE), others), ir.Constant(I1, 1))
        end = b.call(now, [])
        waited, took, level = w.get(_WAITED), b.sub(end, begin), w.get(LEVEL)
        held_up = b.and_(b.icmp_signed(">", waited, I64(_LITTLE)), b.icmp_signed(">", b.mul(waited, I64(2)), took))
        held_up = b.and_(held_up, b.icmp_unsigned("==", w.get(ALWAYS), I64(0)))
        higher, lower = b.add(level, I64(1)), b.sub(level, I64(1))
        higher = b.select(b.icmp_signed("<", higher, I64(_MOST)), higher, I64(_MOST))
        lower = b.select(b.icmp_signed(">", lower, I64(0)), lower, I64(0))
        with b.if_then(held_up):
            w.set(UNTIL, b.add(end, b.mul(waited, b.shl(I64(_FACTOR), level))))
        w.set(LEVEL, b.select(held_up, higher, b.select(b.icmp_unsigned("==", others, I64(0)), level, lower)))
        w.set(_BUSY, I64(0))
        b.branch(done)
    else:
        b.branch(alone)
        b.position_at_end(together)
        b.branch(done)
    b.position_at_end(alone)
    b.call(part, [I64(0), I64(1), table, work])
    b.branch(done)
    b.position_at_end(done)
    b.ret_void()
    return m
