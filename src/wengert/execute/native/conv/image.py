"""The padded input in scratch memory, its channels innermost, and which of its places each output sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from wengert.execute.native.conv.formula import Formula
from wengert.execute.native.conv.gather import clear, gather_function
from wengert.execute.native.conv.spec import Axis
from wengert.execute.native.product.code import I64, Code, Index


@dataclass(frozen=True)
class Phase:
    """Every `period`-th place of an axis, from `first`, which see the same taps: every `every`-th, from `tap`.

    The first of them sees the packed input at `start`, the next ones each `step` further, and a tap `tap_step`.
    """

    first: int
    period: int
    tap: int
    every: int
    taps: int
    start: int
    step: int
    tap_step: int


@dataclass(frozen=True)
class Packed:
    """An axis of the padded input in scratch memory: element j of x lies at `j · dilation + start`."""

    extent: int
    start: int
    dilation: int
    phases: tuple[Phase, ...]


def packed(axis: Axis) -> Packed:
    """With dilated input and no stride, the zeros in between are never met; else they are written."""
    if axis.base == 1 or axis.stride > 1:
        phase = Phase(0, 1, 0, 1, axis.taps, 0, axis.stride, axis.dilation)
        return Packed(axis.reach, axis.low, axis.base, (phase,))
    base = axis.base
    start = -(axis.low // base)  # the first element of x that any place could see
    every = base // math.gcd(axis.dilation, base)
    phases, extent = [], 1
    for first in range(min(base, axis.places)):
        fitting = [t for t in range(min(every, axis.taps)) if (first + t * axis.dilation - axis.low) % base == 0]
        tap = fitting[0] if fitting else 0
        taps = -(-(axis.taps - tap) // every) if fitting else 0
        at = (first + tap * axis.dilation - axis.low) // base - start if fitting else 0
        tap_step = every * axis.dilation // base
        phases.append(Phase(first, base, tap, every, taps, at, 1, tap_step))
        count = -(-(axis.places - first) // base)
        extent = max(extent, at + count - 1 + max(taps - 1, 0) * tap_step + 1)
    return Packed(extent, -start, 1, tuple(phases))


def pack_image(
    code: Code,
    axes: Sequence[Axis],
    packed: Sequence[Packed],
    shifts: tuple[Index, Index],
    channels: tuple[int, int, int],
    x: ir.Value,
    target: ir.Value,
    formula: Formula | None = None,
) -> None:
    """What outputs see of x, with zeros where nothing is; `channels` holds their number, stride, and room.

    The shifts, not positive, move x along the first two axes.
    """
    count, across, room = channels
    steps = (packed[1].extent * packed[2].extent * room, packed[2].extent * room, room)
    starts = (code.add(packed[0].start, shifts[0]), code.add(packed[1].start, shifts[1]), packed[2].start)
    ranges = [_inside(code, a.size, p, start) for a, p, start in zip(axes, packed, starts, strict=True)]
    full = [p.dilation == 1 and r == (0, p.extent, 0) for p, r in zip(packed, ranges, strict=True)]
    if not all(full) or room > count:
        clear(code, target, steps[0] * packed[0].extent)
    low, high, at = ranges[2]
    assert isinstance(low, int) and isinstance(high, int) and isinstance(at, int)
    if high <= low:
        return
    source = (axes[2].x, across)
    gather = gather_function(code.b.module, code.machine, high - low, count, source, packed[2].dilation * room, formula)

    def there(k: int, i: Index) -> Index:
        first, _, place = ranges[k]
        return code.mul(code.add(place, code.mul(code.add(i, code.mul(first, -1)), packed[k].dilation)), steps[k])

    for i in code.loop(*ranges[0][:2]):
        for j in code.loop(*ranges[1][:2]):
            here = code.add(code.add(code.mul(i, axes[0].x), code.mul(j, axes[1].x)), low * axes[2].x)
            place = code.add(code.add(there(0, i), there(1, j)), at * room)
            code.b.call(gather, [code.at(x, here), code.at(target, place)])


def _inside(code: Code, size: int, axis: Packed, start: Index) -> tuple[Index, Index, Index]:
    """The elements [low, high) of x that a packed axis holds, and the place of the first."""
    back = code.mul(start, -1)
    low, _ = divide(code, code.add(most(code, back, 0), axis.dilation - 1), axis.dilation)
    room = most(code, code.add(back, axis.extent + axis.dilation - 1), 0)
    high = code.least(divide(code, room, axis.dilation)[0], size)
    return low, high, code.add(start, code.mul(low, axis.dilation))


def divide(code: Code, x: Index, count: int) -> tuple[Index, Index]:
    """Quotient and rest of a number that is not negative."""
    if isinstance(x, int):
        return divmod(x, count)
    if count == 1:
        return x, 0
    return code.b.udiv(x, I64(count)), code.b.urem(x, I64(count))


def most(code: Code, x: Index, y: Index) -> Index:
    """The larger."""
    return code.mul(code.least(code.mul(x, -1), code.mul(y, -1)), -1)
