"""What each statement of a program costs: operations, bytes, and the least time that this machine needs for them.

An elementary function counts as 20 operations, about what its polynomial takes, a division or a root as 5. Bytes are
those of the windows read and written, each once, wherever they come from. The floor is the larger of operations over
the measured peak of the threads that take part, and bytes over the measured bandwidth of the cache (or the memory) that
would hold the statement's numbers. It is an estimate: numbers still in a nearer cache come quicker.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm
import numpy as np

from wengert.execute.native.elementwise import is_dear
from wengert.execute.native.products import product_flops
from wengert.execute.native.statements import (
    Barrier,
    Block,
    Branch,
    Convolution,
    Direct,
    Evaluate,
    Expr,
    Loop,
    Nest,
    Product,
    Reduction,
    Rows,
    Scatter,
    Single,
    Statement,
)
from wengert.execute.native.target import Target, host_target
from wengert.execute.native.views import View

DEAR = 20  # operations of an elementary function
DIVISION = 5
DIVISIONS = frozenset(("divide", "sqrt", "rsqrt", "reciprocal"))
MOVES = frozenset(
    (
        "load",
        "number",
        "index",
        "permute",
        "squeeze",
        "broadcast",
        "copy",
        "product",
        "convert",
        "select",
        "gather",
        "written",
    )
)
CHAINS = 12  # independent sums: more than the latency of a multiply-add times the number of units
TURNS = 20_000


@dataclass
class Kernel:
    """A statement: what it is, what it costs, and (in seconds) its floor and the time that was measured, if it was."""

    name: str
    flops: int
    bytes: int
    floor: float
    seconds: float | None = None


def kernels(statements: Iterable[Statement], threads: int) -> Iterator[tuple[Statement, Kernel]]:
    """Every statement that has code, but barriers, with its cost; loops are one, with all their turns."""
    for s in statements:
        if isinstance(s, Single):
            yield from kernels(s.body, 1)
        elif not isinstance(s, (Evaluate, Barrier)):
            flops, moved = cost(s)
            team = threads if _is_dealt(s) else 1
            yield s, Kernel(name(s), flops, moved, floor(flops, moved, _itemsize(s), team))


def cost(s: Statement) -> tuple[int, int]:
    """Operations and bytes."""
    if isinstance(s, (Loop, Branch, Block, Single)):
        if isinstance(s, Branch):
            return max((_total(body) for body in s.bodies), default=(0, 0))
        if isinstance(s, Loop):
            turns = s.turns if isinstance(s.turns, int) else 1  # unknown before the run
            flops, moved = _total([*s.test, *s.body])
            return turns * flops, turns * moved
        return _total(s.body)
    if isinstance(s, (Evaluate, Barrier)):
        return 0, 0
    exprs = [s.expr] if isinstance(s, Reduction) else [r.expr for r in s.roots]
    written = [s.target] if isinstance(s, Reduction) else [r.target for r in s.roots if r.stored]
    own = set() if isinstance(s, Reduction) else {id(r.loaded) for r in s.roots}
    flops = s.flops if isinstance(s, Direct) else math.prod(s.expr.shape) if isinstance(s, Reduction) else 0
    read: list[View] = []
    for e in _parts(exprs):
        if e.op == "fold":
            flops += math.prod(e.args[0].shape)
        elif e.op not in MOVES:
            flops += math.prod(e.shape) * (DIVISION if e.op in DIVISIONS else DEAR if is_dear(e.op) else 1)
        elif e.view is not None and id(e) not in own:
            read.append(e.view)
    if isinstance(s, Product):
        flops += product_flops(s)
        read += [s.x, s.y]
        if s.sums is not None:
            flops += math.prod(s.y.shape)
            written.append(s.sums)
    return flops, sum(map(_window_bytes, {_place(v): v for v in (*read, *written)}.values()))


def name(s: Statement) -> str:
    """A few words; equal for kernels that do the same."""
    if isinstance(s, Product):
        sizes = f"{'×'.join(map(str, s.shape))}, depth {s.x.shape[-1]}"
        if isinstance(s, Convolution):
            sizes = f"{'×'.join(map(str, s.shape))}, kernel {'×'.join(map(str, s.y.shape))}"
        follow = _operations([r.expr for r in s.roots])
        beside = " and sums of columns" if s.sums is not None else ""
        return f"{type(s).__name__.lower()} {sizes}{beside}{f', then {follow}' if follow else ''}"
    if isinstance(s, Rows):
        return f"for {s.shape[0]} rows: {_operations([r.expr for r in s.roots])}"
    if isinstance(s, Nest):
        return f"for {list(s.shape)}: {_operations([r.expr for r in s.roots]) or 'copy'}"
    if isinstance(s, Scatter):
        return f"scatter ({s.op}) of {list(s.expr.shape)}"
    if isinstance(s, Direct):
        return f"{s.op} of {list(s.expr.args[0].shape)}"
    if isinstance(s, Reduction):
        inside = _operations([s.expr])
        return f"{s.op} over axes {s.axes} of {list(s.expr.shape)}{f': {inside}' if inside else ''}"
    if isinstance(s, Loop):
        turns = "while" if s.turns is None else f"{s.turns} turns" if isinstance(s.turns, int) else "as often as before"
        return f"loop, {turns}: {_kinds([*s.test, *s.body])}"
    if isinstance(s, Branch):
        return f"one of {len(s.bodies)} branches: {_kinds([t for body in s.bodies for t in body])}"
    if isinstance(s, Evaluate):
        return s.node.primitive.name
    if isinstance(s, Block):
        return (
            f"in registers: {'; '.join(map(name, s.body))}" if len(s.body) == 1 else f"in registers: {_kinds(s.body)}"
        )
    return type(s).__name__.lower()


def _operations(exprs: list[Expr]) -> str:
    counts = Counter(e.op for e in _parts(exprs) if e.op not in MOVES)
    return ", ".join(f"{op}" if n == 1 else f"{n} {op}" for op, n in counts.most_common(4)) + (
        ", …" if len(counts) > 4 else ""
    )


def _kinds(statements: list[Statement]) -> str:
    counts = Counter(type(s).__name__.lower() for s in statements if not isinstance(s, Barrier))
    return ", ".join(f"{n} {kind}" for kind, n in counts.most_common())


def _total(statements: Iterable[Statement]) -> tuple[int, int]:
    each = [cost(s) for s in statements]
    return sum(f for f, _ in each), sum(b for _, b in each)


def _parts(exprs: Iterable[Expr]) -> list[Expr]:
    """Every different part of the expressions."""
    seen: dict[int, Expr] = {}
    left = list(exprs)
    while left:
        e = left.pop()
        if id(e) not in seen:
            seen[id(e)] = e
            left += e.args
    return list(seen.values())


def _place(v: View) -> tuple[object, ...]:
    return id(v.buffer), v.offset, v.shape, v.strides, tuple((id(what), stride) for what, stride in v.steps)


def _window_bytes(v: View) -> int:
    if v.buffer.kind == "local":  # in registers
        return 0
    return math.prod(d for d, s in zip(v.shape, v.strides, strict=True) if s) * v.buffer.dtype.itemsize


def _is_dealt(s: Statement) -> bool:
    if isinstance(s, Branch):
        return any(_is_dealt(t) for body in s.bodies for t in body)
    if isinstance(s, Loop):
        return any(map(_is_dealt, (*s.test, *s.body)))
    return getattr(s, "split", None) is not None


def _itemsize(s: Statement) -> int:
    if isinstance(s, (Loop, Branch, Block, Single)):
        inner = [*s.test, *s.body] if isinstance(s, Loop) else s.bodies[0] if isinstance(s, Branch) else s.body
        return max(map(_itemsize, inner), default=4)
    if isinstance(s, Reduction):
        return s.expr.dtype.itemsize
    return s.roots[0].expr.dtype.itemsize if isinstance(s, (Nest, Product)) and s.roots else 4


# What the machine can do


def floor(flops: int, moved: int, itemsize: int, threads: int) -> float:
    """The least time in seconds, of so many threads."""
    target = host_target()
    return max(flops / peak(target, itemsize), moved / bandwidth(target, moved)) / threads


@cache
def peak(target: Target, itemsize: int) -> float:
    """Operations a second of one thread: fused multiply-adds on numbers of so many bytes, in registers."""
    kind = "double" if itemsize == 8 else "float"
    lanes = target.vector_bytes // (8 if itemsize == 8 else 4)
    t, f = f"<{lanes} x {kind}>", f"llvm.fmuladd.v{lanes}f{64 if itemsize == 8 else 32}"
    text = "\n".join(
        [
            f"declare {t} @{f}({t}, {t}, {t})",
            f"define {kind} @peak({kind} %x, i64 %turns) {{\nentry:\n  %v = insertelement {t} undef, {kind} %x, i32 0",
            f"  %m = shufflevector {t} %v, {t} undef, <{lanes} x i32> zeroinitializer\n  br label %loop\nloop:",
            "  %i = phi i64 [0, %entry], [%j, %loop]",
            *(f"  %a{k} = phi {t} [%m, %entry], [%b{k}, %loop]" for k in range(CHAINS)),
            *(f"  %b{k} = call {t} @{f}({t} %a{k}, {t} %m, {t} %m)" for k in range(CHAINS)),
            "  %j = add i64 %i, 1\n  %c = icmp slt i64 %j, %turns\n  br i1 %c, label %loop, label %end\nend:",
            *(f"  %s{k} = fadd {t} {f'%s{k - 1}' if k else '%b0'}, %b{k}" for k in range(CHAINS)),
            f"  %r = extractelement {t} %s{CHAINS - 1}, i32 0\n  ret {kind} %r\n}}",
        ]
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), target.target_machine())
    engine.finalize_object()
    number = ctypes.c_double if itemsize == 8 else ctypes.c_float
    run = ctypes.CFUNCTYPE(number, number, ctypes.c_int64)(engine.get_function_address("peak"))
    return 2 * lanes * CHAINS * TURNS / _best(lambda: run(0.5, TURNS))


def bandwidth(target: Target, moved: int) -> float:
    """Bytes a second, read and written, where so many lie: in the second cache, the last one, or memory."""
    _, second, last = target.caches
    return _copied(second // 4 if moved <= second else min(last // 4, 8 << 20) if moved <= last else 32 << 20)


@cache
def _copied(size: int) -> float:
    x, y = np.zeros(size, np.uint8), np.ones(size, np.uint8)
    return 2 * size / _best(lambda: np.copyto(y, x))


def _best(run: Callable[[], object], tries: int = 15) -> float:
    best = math.inf
    for _ in range(tries):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best
