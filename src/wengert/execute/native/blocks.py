"""Statements over few numbers as one function: what they alone use becomes registers, and nothing is called.

A loop over scalars would otherwise spend its time on calls, and on values that go through memory from turn to turn.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from wengert.execute.native import elementwise
from wengert.execute.native.emit import I8, I64, Function, Windows, emit_nest, vector_axis
from wengert.execute.native.emit_reduction import emit_reduction
from wengert.execute.native.emit_scatter import emit_scatter
from wengert.execute.native.flow import BYTES, Flow, Turns
from wengert.execute.native.latency import Prompt
from wengert.execute.native.lower import elements
from wengert.execute.native.plan import inner_statements, windows_read, windows_written
from wengert.execute.native.statements import (
    Block,
    Branch,
    Expr,
    Kernel,
    Loop,
    Nest,
    Program,
    Reduction,
    Root,
    Scatter,
    Statement,
)
from wengert.execute.native.target import Target
from wengert.execute.native.views import Buffer, Counter, View

LINE = 64  # bytes of a line of the cache, and of the longest vectors
FEW = 64  # elements: the most that a statement in a block runs over
MOST_LOCAL = 4096  # bytes of a buffer in registers, or on the stack
GUARDED = ("guarded_multiply", "annihilating_multiply")
SUMS = ("add", "subtract")
EARLY = -1000
MOST_STEPS = 4000  # operations in a block: beyond, compiling takes long


def make_blocks(program: Program) -> None:
    """Put runs of statements that are small enough, and have a loop among them, into blocks."""
    program.statements = _grouped(program.statements)
    users: dict[int, set[int]] = {}
    buffers: dict[int, Buffer] = {}
    for block, statement in _with_block(program.statements, 0):
        for buffer in (*windows_read(statement), *windows_written(statement)):
            users.setdefault(id(buffer), set()).add(block)
            buffers[id(buffer)] = buffer
    for key, buffer in buffers.items():
        own = len(users[key]) == 1 and 0 not in users[key]
        if own and buffer.kind == "work" and buffer.size * buffer.dtype.itemsize <= MOST_LOCAL:
            buffer.kind = "local"


def _with_block(statements: Sequence[Statement], block: int) -> Iterator[tuple[int, Statement]]:
    for s in statements:
        if isinstance(s, Block):
            yield id(s), s
        elif isinstance(s, (Loop, Branch)):
            yield from _with_block(inner_statements(s), block)
            header = Loop(Counter(), 0, False, [], s.test_value, []) if isinstance(s, Loop) else Branch(s.index, [])
            yield block, header
        else:
            yield block, s


def _grouped(statements: list[Statement]) -> list[Statement]:
    result: list[Statement] = []
    run: list[Statement] = []
    left = MOST_STEPS

    def close() -> None:
        nonlocal run, left
        if any(isinstance(s, (Loop, Branch)) for s in run):
            result.append(Block(run))
        else:
            result.extend(run)
        run, left = [], MOST_STEPS

    for s in statements:
        steps = _steps(s)
        if steps > left:
            close()
        if steps <= left:
            run.append(s)
            left -= steps
            continue
        if isinstance(s, Loop):
            s.test, s.body = _grouped(s.test), _grouped(s.body)
        elif isinstance(s, Branch):
            s.bodies = [_grouped(body) for body in s.bodies]
        result.append(s)
    close()
    return result


def _steps(s: Statement) -> int:
    """About how many operations the code of a statement has; too many, if it does not belong in a block."""
    if isinstance(s, (Loop, Branch)):
        return 1 + sum(map(_steps, inner_statements(s)))
    if type(s) not in (Nest, Reduction, Scatter):
        return MOST_STEPS + 1
    exprs = [s.expr] if isinstance(s, Reduction) else [r.expr for r in s.roots]  # type: ignore[union-attr]
    if max(elements(e.shape) for e in exprs) > FEW:
        return MOST_STEPS + 1
    return len(parts(exprs))


def parts(exprs: Sequence[Expr]) -> list[Expr]:
    """The expressions and all that they are made of, each once."""
    seen: dict[int, Expr] = {}
    todo = list(exprs)
    while todo:
        e = todo.pop()
        if id(e) not in seen:
            seen[id(e)] = e
            todo += e.args
    return list(seen.values())


def call_block(flow: Flow, block: Block, turns: Turns, target: Target) -> None:
    """A call of the block's function, with the buffers it shares with others and the turns of loops around it."""
    shared: dict[int, Buffer] = {}
    for buffer in (*windows_read(block), *windows_written(block)):
        if buffer.kind != "local" and buffer.store is None:
            shared[id(buffer)] = buffer
    outer = list(turns)
    types = [*[BYTES] * len(shared), *[I64] * len(outer), BYTES]
    module = flow.b.module
    name = module.get_unique_name("block")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    for a in function.args:
        if a.type == BYTES:
            a.add_attribute("noalias")
    entry, start = function.append_basic_block("entry"), function.append_basic_block("start")
    b = ir.IRBuilder(entry)
    b.branch(start)
    b.position_at_end(start)
    _BlockFlow(b, function, shared, target).run(
        block.body, dict(zip(outer, function.args[len(shared) : len(shared) + len(outer)], strict=True))
    )
    b.ret_void()
    flow.b.call(function, [*(flow.base(s) for s in shared.values()), *(turns[k] for k in outer), flow.work])


class _BlockFlow(Flow):
    def __init__(self, b: ir.IRBuilder, function: ir.Function, shared: dict[int, Buffer], target: Target):
        super().__init__(b, function, self._base, self._kernel)
        self.target = target
        self.bases: dict[int, ir.Value] = dict(zip(shared, function.args, strict=False))

    def _base(self, buffer: Buffer) -> ir.Value:
        if id(buffer) not in self.bases:
            with self.b.goto_entry_block():
                place = self.b.alloca(ir.ArrayType(I8, -(-max(buffer.size * buffer.dtype.itemsize, 1) // LINE) * LINE))
                place.align = 64
                self.bases[id(buffer)] = self.b.bitcast(place, BYTES)
        return self.bases[id(buffer)]

    def _kernel(self, statement: Kernel | Block, turns: Turns) -> None:
        assert isinstance(statement, (Nest, Reduction))
        f = _Inline(self, turns, lanes(statement, self.target))
        if isinstance(statement, Scatter):
            emit_scatter(f, statement)
        elif isinstance(statement, Reduction):
            emit_reduction(f, statement)
        elif _guarded(statement.roots):
            f.nest(statement.shape, vector_axis(statement.shape), partial(_store_roots_twice, statement.roots))
        else:
            emit_nest(f, statement)


class _Inline(Function):
    """A statement's code in the middle of a block's function."""

    def __init__(self, flow: Flow, turns: Turns, lanes: int):
        self.windows = Windows()
        self.lanes = lanes
        self.function = flow.function
        self.b = flow.b
        self.flow = flow
        self.turns = turns

    def pointer(self, view: View) -> ir.Value:
        return self.flow.pointer(view, self.turns)

    def loop(
        self, count: int | ir.Value, body: Callable[[ir.Value], None], step: int = 1, start: int | ir.Value = 0
    ) -> None:
        """A few vectors are written out: at known places LLVM can keep them in registers."""
        if step == 1 or not isinstance(count, int) or not isinstance(start, int):
            return super().loop(count, body, step, start)
        for k in range(start, count, step):
            super().loop(k + step, body, step, k)

    def body(self, start: ir.Value | None, lanes: int) -> Prompt:
        return Prompt(self.b, self.pointer, start, lanes, self.flow.target.has_fma)


def _store_roots_twice(roots: Sequence[Root], body: Prompt, index: list[Any]) -> None:
    """The roots by plain products where guarded ones are meant; if one is NaN, again with the guards.

    A guard makes each product wait for a comparison, in chains of them that are as long as a loop has turns.
    """
    b = body.b
    quick = _Unguarded(roots, b, body.pointers, body.start, body.lanes, body.has_fma)
    first = _values(quick, roots, index)
    total = quick.products[0]
    for p in quick.products[1:]:
        total = b.fadd(total, p)
    wrong = b.fcmp_unordered("uno", total, total)
    if body.lanes > 1:
        bits = ir.IntType(body.lanes)
        wrong = b.icmp_unsigned("!=", b.bitcast(wrong, bits), bits(0))
    before = b.block
    with b.if_then(wrong, likely=False):
        again = Prompt(b, body.pointers, body.start, body.lanes, body.has_fma)
        second = _values(again, roots, index)
        after = b.block
    values = [b.phi(x.type) for x in first]
    for r, value, x, y in zip(roots, values, first, second, strict=True):
        value.add_incoming(x, before)
        value.add_incoming(y, after)
        if r.stored:
            body.store(value, r.target, index)


def _guarded(roots: Sequence[Root]) -> bool:
    """Whether there are guards, and the roots can be stored together: none loads elsewhere what one before stores."""
    written: dict[int, View] = {}
    for r in roots:
        for view, _ in _loads(r):
            if id(view.buffer) in written and not _same(view, written[id(view.buffer)]):
                return False
        if r.stored:
            written[id(r.target.buffer)] = r.target
    return any(e.op in GUARDED and e.dtype.kind == "f" for e in parts([r.expr for r in roots]))


def _values(body: Prompt, roots: Sequence[Root], index: list[Any]) -> list[ir.Value]:
    """The roots in their order. What one loads that one before it would have stored by then is that one's value."""
    values: list[ir.Value] = []
    for k, root in enumerate(roots):
        for view, e in _loads(root):
            stored = [j for j in range(k) if roots[j].stored and _same(view, roots[j].target)]
            if stored and body.key(e, index) not in body.memo:
                body.set(e, index, values[stored[-1]])
        values.append(body.at(root.expr, index))
        body.set(root.loaded, index, values[-1])
    return values


def _loads(root: Root) -> list[tuple[View, Expr]]:
    return [(e.view, e) for e in parts([root.expr]) if e.view is not None]


def _same(view: View, other: View) -> bool:
    here = view.buffer is other.buffer and view.steps == other.steps
    return here and (view.shape, view.strides, view.offset) == (other.shape, other.strides, other.offset)


class _Unguarded(Prompt):
    """Takes guarded products for plain ones, and collects them.

    Sums with such products, which are sums of cotangents, are taken in the order in which the terms come to be: what a
    turn hands to the next should wait for as little as possible.
    """

    def __init__(self, roots: Sequence[Root], *args: Any):
        super().__init__(*args)
        self.products: list[ir.Value] = []
        self.delay = _Delay(roots)
        everything = parts([r.expr for r in roots])
        counts = Counts(id(a) for e in everything for a in e.args) + Counts(id(r.expr) for r in roots)
        self.single = {key for key, n in counts.items() if n == 1}

    def _at(self, e: Expr, index: Sequence[Any]) -> ir.Value:
        terms = self._terms(e, False) if e.op in SUMS and e.dtype.kind == "f" else []
        if len(terms) < 3 or not any(t.op in GUARDED for t, _ in terms):
            return super()._at(e, index)
        queue = [(self.delay.of(t), k, self.at(t, index), minus) for k, (t, minus) in enumerate(terms)]
        heapify(queue)
        while len(queue) > 1:
            d, _, x, minus_x = heappop(queue)
            c, k, y, minus_y = heappop(queue)
            name = "add" if minus_x == minus_y else "subtract"
            x, y = (y, x) if minus_x and not minus_y else (x, y)
            total = elementwise.emit(self.b, name, e.dtype, e.dtype, (), [x, y])
            heappush(queue, (max(c, d) + 1, k, total, minus_x and minus_y))
        _, _, total, minus = queue[0]
        return elementwise.emit(self.b, "negative", e.dtype, e.dtype, (), [total]) if minus else total

    def _terms(self, e: Expr, minus: bool) -> list[tuple[Expr, bool]]:
        """What a sum adds up, and whether it subtracts it."""
        if e.op not in SUMS or any(a.shape != e.shape for a in e.args):
            return [(e, minus)]
        found: list[tuple[Expr, bool]] = []
        for k, a in enumerate(e.args):
            negated = minus != (e.op == "subtract" and k == 1)
            found += self._terms(a, negated) if id(a) in self.single else [(a, negated)]
        return found

    def combine(self, e: Expr, args: list[ir.Value]) -> ir.Value:
        if e.op not in GUARDED or e.dtype.kind != "f":
            return super().combine(e, args)
        product = elementwise.emit(self.b, "multiply", e.dtype, e.dtype, (), args)
        self.products.append(product)
        return product


class _Delay:
    """How many steps a value is behind what the last turn hands on; what comes from sequences is there long before."""

    def __init__(self, roots: Sequence[Root]):
        self.known: dict[int, int] = {}
        for r in roots:
            self.known[id(r.loaded)] = self.of(r.expr)

    def of(self, e: Expr) -> int:
        if id(e) not in self.known:
            if e.view is not None:
                found = 0 if e.view.buffer.kind == "local" and not e.view.steps else EARLY
            else:
                found = max((self.of(a) + 1 for a in e.args), default=EARLY)
            self.known[id(e)] = found
        return self.known[id(e)]


def optimize_block(function: llvm.ValueRef, machine: llvm.TargetMachine) -> None:
    """LLVM's usual simplifications, which bring the values that a block keeps into registers."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, options)
    builder.getFunctionPassManager().run(function, builder)


def lanes(statement: Nest | Reduction, target: Target) -> int:
    """How many elements a vector holds: as many of the widest number as fit a register."""
    exprs = [statement.expr] if isinstance(statement, Reduction) else [r.expr for r in statement.roots]
    widest = max((d for e in exprs for d in _sizes(e)), default=8)
    return max(target.vector_bytes // widest, 1)


def _sizes(expr: Expr) -> set[int]:
    return {e.dtype.itemsize for e in parts([expr]) if e.dtype.kind != "b"} or {4}
