"""Who computes what: the threads of a team share out each large enough kernel, and wait for each other where they must.

All threads run the whole program at the same time. A kernel is dealt in *grains*, equal pieces of one axis; thread t
of T gets the grains from `N·t // T` to `N·(t+1) // T`. What is small is left to the first thread. Where a statement
reads by grains what others wrote by the same grains, each thread meets its own numbers, and none waits (`barriers`):
a batch runs through layer after layer, and through the turns of a loop, without any barrier.

    Split     how a kernel is dealt
    Single    statements of the first thread
    Barrier   all threads wait for the last
"""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence

from wengert.execute.native.barriers import kernels_in, runs
from wengert.execute.native.delays import put_off
from wengert.execute.native.elementwise import is_dear
from wengert.execute.native.emit import vector_axis
from wengert.execute.native.emit_reduction import PARTS
from wengert.execute.native.plan import inner_statements
from wengert.execute.native.products import (
    columns_to_deal,
    has_rows,
    product_flops,
    product_run,
    product_scratch,
    product_units,
)
from wengert.execute.native.rows import expressions
from wengert.execute.native.statements import (
    Block,
    Branch,
    Convolution,
    Direct,
    Expr,
    Kernel,
    Loop,
    Nest,
    Product,
    Program,
    Reduction,
    Rows,
    Single,
    Split,
    Statement,
)
from wengert.execute.native.target import Target
from wengert.execute.native.threads import most_threads

WORTH = 15_000.0  # nanoseconds: a program that takes less is run by one thread
LEAST = 400.0  # nanoseconds: a kernel that takes less is left to the first thread
LEAST_ALIKE = 30.0  # if it is dealt like its neighbours, so that nobody has to wait
LEAST_TURN = 10_000.0  # nanoseconds: the same for the turn of a loop, which has a barrier or more
LEAST_EXTENT = 8  # of an axis that is dealt
IN_REGISTERS = 0.5  # what rows cost, beside statements that hand on their results through memory
FLOPS = 100.0  # a nanosecond, of one thread
UNKNOWN_TURNS = 10


def deal(program: Program, in_place: Mapping[int, int], target: Target) -> None:
    """Split the kernels of each run between two of NumPy's steps, if that pays, and put off what would have to wait."""
    result: list[Statement] = []
    for run in runs(program.statements):
        if sum(map(cost, run)) >= WORTH:
            _deal(run, target)
            if any(k.split is not None for k in kernels_in(run)):
                run = put_off(run, in_place)
                program.parallel = True
        result += run
    program.statements = result
    program.scratch = max((k.scratch for k in kernels_in(result) if isinstance(k, (Product, Direct))), default=0)


# What it costs, and how it is dealt


def cost(s: Statement) -> float:
    """About how many nanoseconds one thread needs."""
    if isinstance(s, Loop):
        return _turns(s) * sum(map(cost, inner_statements(s)))
    if isinstance(s, Branch):
        return max((sum(map(cost, body)) for body in s.bodies), default=0.0)
    if isinstance(s, (Block, Single)):
        return sum(map(cost, s.body))
    if isinstance(s, Product):
        return product_flops(s) / FLOPS * (s.dtype.itemsize / 4)
    if isinstance(s, Direct):
        return float(s.flops)  # one a nanosecond
    if isinstance(s, Rows):
        every = expressions([r.expr for r in s.roots])
        return sum(_each(e) * math.prod(e.shape) * (e.dtype.itemsize / 4) for e in every) * IN_REGISTERS
    if isinstance(s, (Nest, Reduction)):
        exprs = [s.expr] if isinstance(s, Reduction) else [r.expr for r in s.roots]
        seen: dict[int, Expr] = {}
        todo = list(exprs)
        while todo:
            e = todo.pop()
            if id(e) not in seen:
                seen[id(e)] = e
                todo += e.args
        each = sum(map(_each, seen.values()))
        return max(math.prod(e.shape) for e in exprs) * each * (exprs[0].dtype.itemsize / 4)
    return 0.0


def _each(e: Expr) -> float:
    return 0.4 if is_dear(e.op) else 0.05 if e.op == "load" else 0.02


def _deal(statements: Sequence[Statement], target: Target) -> None:
    """Choose the axis of each kernel, and how many grains it has: the same number for as many kernels as possible."""
    costs = [(s, cost(s), times) for s, times in _kernels(statements)]
    weight: Tally[int] = Tally()
    for s, took, times in costs:
        if took >= LEAST and (found := _axis(s, target, 0)) is not None and found[2] == 1:
            weight[found[1]] += int(took * times)
    # a batch of 16 × 64 rows and one of 16 matrices are both dealt in 16 grains
    base = 0
    for extent, _ in weight.most_common():
        shared = math.gcd(base, extent)
        base = shared if shared >= LEAST_EXTENT or not base else base
    for s, took, _ in costs:
        found = _axis(s, target, base) if base else None
        if found is not None:
            axis, extent, least = found
            like_others = extent % base == 0 and (extent // base) % least == 0
            if took >= (LEAST_ALIKE if like_others else LEAST):
                size = extent // base if like_others else least
                s.split = Split(axis, extent, -(-extent // size), size)
                if isinstance(s, Product) and axis == len(s.shape) - 2 >= 0 and not isinstance(s, Convolution):
                    s.rows = -(-extent // most_threads())
                    s.scratch = product_scratch(s, target)


def _short(loop: Loop) -> bool:
    """Whether a turn is a little elementwise work; products are mostly shared out by rows, without a barrier."""
    products = any(isinstance(k, Product) for k in kernels_in([loop]))
    return not products and sum(map(cost, inner_statements(loop))) < LEAST_TURN


def _kernels(statements: Sequence[Statement], times: int = 1) -> Iterator[tuple[Kernel, int]]:
    """The kernels that can be dealt, and how often each runs."""
    for s in statements:
        if isinstance(s, Loop) and (s.store is not None or _short(s)):
            continue  # only one thread may let a store grow; short turns would wait more than they work
        if isinstance(s, (Loop, Branch)):
            yield from _kernels(inner_statements(s), times * _turns(s))
        elif isinstance(s, (Nest, Reduction, Product)):
            yield s, times


def _turns(s: Loop | Branch) -> int:
    if isinstance(s, Branch):
        return 1
    return s.turns if isinstance(s.turns, int) else UNKNOWN_TURNS


def _axis(s: Kernel, target: Target, base: int) -> tuple[int | None, int, int] | None:
    """The axis to split, its extent, and the least size of a grain; None for the axis where a product has its own.

    An axis of `base` elements is preferred to one before it.
    """
    if isinstance(s, Product):
        lead = s.shape[0] if len(s.shape) > 2 else 0
        if lead >= LEAST_EXTENT:
            return 0, lead, product_run(s, target)[0]
        if width := columns_to_deal(s, target):
            return len(s.shape) - 1, s.shape[-1], width
        if has_rows(s, target) and s.shape[-2] >= 2 * LEAST_EXTENT:
            return len(s.shape) - 2, s.shape[-2], 1
        units = product_units(s, target)
        return (None, units, 1) if units > 1 else None
    if isinstance(s, (Reduction, Rows)) and s.parts is not None:
        return PARTS, s.parts.count, 1
    if isinstance(s, Direct):
        dealt = len(s.expr.shape) == len(s.expr.args[0].shape) > 2 and s.expr.shape[0] >= LEAST_EXTENT
        return (0, s.expr.shape[0], 1) if dealt else None
    if isinstance(s, Rows) and any(r.over is not None for r in s.roots):
        return None
    shape = s.expr.shape if isinstance(s, Reduction) else s.shape
    kept = [k for k in range(len(shape)) if not isinstance(s, Reduction) or k not in s.axes]
    if not kept:
        return None
    wide = [k for k in kept if shape[k] >= LEAST_EXTENT]
    if not wide:
        return None
    axis = next((k for k in wide[:-1] if shape[k] == base), wide[0])
    return axis, shape[axis], 64 if axis == vector_axis(shape) else 1
