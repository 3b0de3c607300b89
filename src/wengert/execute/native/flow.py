"""Loops, branches and windows as LLVM: what surrounds kernels in a function."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from wengert.execute.native.emit import I8, I64, memory_type
from wengert.execute.native.pool_code import BARRIER
from wengert.execute.native.statements import Barrier, Block, Branch, Kernel, Loop, Single, Statement
from wengert.execute.native.views import STATE_BYTES, Buffer, Chosen, Store, View

Turns = dict[int, ir.Value]  # the number of the turn that each loop is in, by the id of its counter
BYTES = I8.as_pointer()
REALLOC = "PyMem_RawRealloc"  # Python's own allocator: on every system, and seen by its tools
llvm.add_symbol(REALLOC, ctypes.cast(ctypes.pythonapi.PyMem_RawRealloc, ctypes.c_void_p).value)
FIRST_RECORDS = 64  # of a store, when it gets its first memory
MOST_KEPT = 64 << 20  # bytes: a larger store that a run hardly used is made smaller when it is begun anew


class Flow:
    """Emits statements into `function`, whose last argument is the workspace.

    Where statements are for several threads, the first arguments are the thread's number and how many there are.

    `base(buffer)` is a pointer to the first byte of a buffer, unless it lies in a store; `kernel(statement, turns)`
    emits a nest, a reduction, a product or a block.
    """

    def __init__(
        self,
        b: ir.IRBuilder,
        function: ir.Function,
        base: Callable[[Buffer], ir.Value],
        kernel: Callable[[Kernel | Block, Turns], None],
    ):
        self.b = b
        self.function = function
        self.work = function.args[-1]
        self.base = base
        self.kernel = kernel

    def run(self, statements: list[Statement], turns: Turns) -> None:
        for statement in statements:
            if isinstance(statement, Loop):
                self.loop(statement, turns)
            elif isinstance(statement, Barrier):
                self.barrier()
            elif isinstance(statement, Single):
                with self.b.if_then(self.b.icmp_unsigned("==", self.function.args[0], I64(0))):
                    self.run(statement.body, turns)
            elif isinstance(statement, Branch):
                self.branch(statement, turns)
            else:
                self.kernel(statement, turns)  # type: ignore[arg-type]

    def barrier(self) -> None:
        b, (thread, threads) = self.b, self.function.args[:2]
        meet, _ = _function(b.module, BARRIER, [I64, I64], ir.VoidType())
        with b.if_then(b.icmp_unsigned("!=", threads, I64(1))):
            b.call(meet, [thread, threads])

    def loop(self, loop: Loop, turns: Turns) -> None:
        if loop.turns == 0:
            return
        b = self.b
        count = self._count(loop.turns)
        if loop.store is not None:
            self._begin(loop.store, count)
        head, body, after = (self.function.append_basic_block() for _ in range(3))
        before = b.block
        b.branch(head)
        b.position_at_end(head)
        i = b.phi(I64)
        i.add_incoming(I64(0), before)
        if count is None:
            assert loop.test_value is not None
            self.run(loop.test, turns)
            alive = b.load(self.pointer(loop.test_value, turns))
            b.cbranch(b.icmp_unsigned("!=", alive, I8(0)), body, after)
        else:
            b.cbranch(b.icmp_signed("<", i, count), body, after)
        b.position_at_end(body)
        if loop.store is not None and count is None:
            self._make_room(loop.store, i)
        turn = b.sub(b.sub(count, I64(1)), i) if loop.reverse else i
        self.run(loop.body, {**turns, id(loop.counter): turn})
        i.add_incoming(b.add(i, I64(1)), b.block)
        b.branch(head)
        b.position_at_end(after)
        if loop.store is not None and count is None:
            b.store(i, self._state(loop.store, 2))

    def branch(self, branch: Branch, turns: Turns) -> None:
        b = self.b
        which = b.load(self.pointer(branch.index, turns))
        after = self.function.append_basic_block()
        blocks = [self.function.append_basic_block() for _ in branch.bodies]
        choice = b.switch(which, blocks[-1])
        for k, (block, body) in enumerate(zip(blocks, branch.bodies, strict=True)):
            if k < len(blocks) - 1:
                choice.add_case(ir.Constant(which.type, k), block)
            b.position_at_end(block)
            self.run(body, turns)
            b.branch(after)
        b.position_at_end(after)

    # Windows

    def pointer(self, view: View, turns: Turns) -> ir.Value:
        """The address of the window's first element."""
        b, buffer = self.b, view.buffer
        size = buffer.dtype.itemsize
        offset = view.offset * size
        if buffer.store is not None:
            p, offset = b.load(b.bitcast(self._state(buffer.store, 0), BYTES.as_pointer())), offset + buffer.index
        else:
            p = self.base(buffer)
        p = b.gep(p, [I64(offset)]) if offset else p
        for step, stride in view.steps:
            i = self._position(step, turns) if isinstance(step, Chosen) else turns[id(step)]
            p = b.gep(p, [b.mul(i, I64(stride * size))])
        return b.bitcast(p, memory_type(buffer.dtype).as_pointer())

    def _position(self, step: Chosen, turns: Turns) -> ir.Value:
        b, dtype = self.b, step.position.buffer.dtype
        i = b.load(self.pointer(step.position, turns))
        if dtype.itemsize < I64.width // 8:
            i = b.sext(i, I64) if dtype.kind == "i" else b.zext(i, I64)
        last = I64(step.length - step.room)
        if dtype.kind == "i":
            i = b.select(b.icmp_signed("<", i, I64(0)), b.add(i, I64(step.length)), i)
            i = b.select(b.icmp_signed("<", i, I64(0)), I64(0), i)
        return b.select(b.icmp_unsigned(">", i, last), last, i)

    # Stores

    def _state(self, store: Store, word: int) -> ir.Value:
        p = self.b.gep(self.work, [I64(STATE_BYTES * store.index + 8 * word)])
        return self.b.bitcast(p, I64.as_pointer())

    def _count(self, turns: int | Store | None) -> ir.Value | None:
        if isinstance(turns, Store):
            return self.b.load(self._state(turns, 2))
        return None if turns is None else I64(turns)

    def _begin(self, store: Store, count: ir.Value | None) -> None:
        """An empty store, or one of `count` records."""
        b = self.b
        capacity = b.load(self._state(store, 1))
        enough = I64(FIRST_RECORDS)
        if count is not None:
            enough = b.select(b.icmp_unsigned(">", count, enough), count, enough)
        # one comparison tells that there is neither too little nor very much
        fits = b.icmp_unsigned("<=", b.sub(capacity, enough), I64(max(MOST_KEPT // store.record, 1)))
        with b.if_then(b.not_(fits), likely=False):
            b.call(begin_function(b.module), [self._state(store, 0), I64(store.record), enough])
        if count is not None:
            b.store(count, self._state(store, 2))

    def _make_room(self, store: Store, i: ir.Value) -> None:
        """Memory for record `i`, twice as much as before where there is none."""
        b = self.b
        capacity = b.load(self._state(store, 1))
        with b.if_then(b.icmp_unsigned(">=", i, capacity), likely=False):
            b.call(resize_function(b.module), [self._state(store, 0), I64(store.record), b.shl(capacity, I64(1))])


def _function(module: ir.Module, name: str, types: list[ir.Type], result: ir.Type) -> tuple[ir.Function, bool]:
    """The module's function of this name, and whether it is new."""
    known: Any = module.globals.get(name)
    if known is not None:
        return known, False
    return ir.Function(module, ir.FunctionType(result, types), name), True


def resize_function(module: ir.Module) -> ir.Function:
    """`(state, record, wanted)`: the store gets memory for so many records."""
    function, new = _function(module, "store.resize", [I64.as_pointer(), I64, I64], ir.VoidType())
    if new:
        function.linkage = "internal"
        function.attributes.add("noinline")
        b = ir.IRBuilder(function.append_basic_block())
        state, record, wanted = function.args
        realloc, _ = _function(module, REALLOC, [BYTES, I64], BYTES)
        place = b.bitcast(state, BYTES.as_pointer())
        memory = b.call(realloc, [b.load(place), b.mul(wanted, record)])
        with b.if_then(b.icmp_unsigned("==", memory, ir.Constant(BYTES, None)), likely=False):
            b.call(_function(module, "llvm.trap", [], ir.VoidType())[0], [])
        b.store(memory, place)
        b.store(wanted, b.gep(state, [I64(1)]))
        b.ret_void()
    return function


def begin_function(module: ir.Module) -> ir.Function:
    """`(state, record, least)`: room for so many records; much that was not used the last time is given back."""
    function, new = _function(module, "store.begin", [I64.as_pointer(), I64, I64], ir.VoidType())
    if new:
        function.linkage = "internal"
        function.attributes.add("noinline")
        b = ir.IRBuilder(function.append_basic_block())
        state, record, least = function.args
        capacity, used = b.load(b.gep(state, [I64(1)])), b.load(b.gep(state, [I64(2)]))
        idle = b.and_(
            b.icmp_unsigned(">", b.mul(capacity, record), I64(MOST_KEPT)),
            b.icmp_unsigned("<", b.shl(b.select(b.icmp_unsigned("<", used, least), least, used), I64(2)), capacity),
        )
        half = b.lshr(capacity, I64(1))
        wanted = b.select(idle, half, b.select(b.icmp_unsigned("<", capacity, least), least, capacity))
        with b.if_then(b.icmp_unsigned("!=", wanted, capacity), likely=False):
            b.call(resize_function(module), [state, record, wanted])
        b.ret_void()
    return function
