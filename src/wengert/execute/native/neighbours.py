"""Windows beside each other: each vector of memory is read once, and shifted in registers.

A stencil, `x[i+1] - x[i-2]`, reads nearly the same numbers through several windows. Where a vector is as long as a line
of the cache, every window that does not begin where a line does touches two lines for each vector. So the window that
lies furthest along is read alone; what lies behind it is put together from that vector and those of the turns before,
which the loop carries:

    before:   the vectors behind the first one (of them no more than some window reads)
    turn:     v0 = next vector;  window d behind = the last d elements of v1, then the first of v0;  v2, v1 = v1, v0

On machines with shorter vectors half or more of the windows touch one line anyway, and a shift across the halves of
a register takes two instructions; there nothing is shifted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llvmlite import ir

from wengert.execute.native.blocks import LINE, lanes
from wengert.execute.native.emit import I64, LANE, Body, Function, Turn, over_nest, store_roots, vector_axis
from wengert.execute.native.statements import Expr, Kernel, Nest
from wengert.execute.native.target import Target
from wengert.execute.native.views import View

REACH = 2  # vectors that a loop carries at most for a group of windows
TURNS = 4  # vectors along the loop, at least: the first ones cost a little more


class Behind(NamedTuple):
    """A window that lies `distance` elements behind another one, `last`; some windows lie `reach` behind it."""

    view: View
    last: View
    distance: int
    reach: int


def neighbours(nest: Kernel, target: Target) -> dict[int, Behind]:
    """By id, the windows of a nest that are read together with others."""
    if type(nest) is not Nest or target.vector_bytes < LINE:
        return {}
    along, width = vector_axis(nest.shape), lanes(nest, target)
    if along is None or nest.shape[along] < TURNS * width:
        return {}
    groups: dict[Any, list[View]] = {}
    for v in _read_as_they_lie(nest):
        axis = along - len(nest.shape)  # from behind: there all expressions have the same axes
        runs = len(v.shape) >= -axis and v.shape[axis] == nest.shape[along] and v.strides[axis] == 1
        if runs and v.buffer.dtype.itemsize * width == LINE:
            still = tuple(0 if d == 1 else s for d, s in zip(v.shape, v.strides, strict=True))
            steps = tuple((id(what), stride) for what, stride in v.steps)
            groups.setdefault((id(v.buffer), still, steps), []).append(v)
    found: dict[int, Behind] = {}
    for views in groups.values():
        views.sort(key=lambda v: -v.offset)
        while views:
            last = views[0]
            near = [v for v in views if last.offset - v.offset <= REACH * width]
            reach = last.offset - near[-1].offset
            if reach:
                found.update({id(v): Behind(v, last, last.offset - v.offset, reach) for v in near})
            views = views[len(near) :]
    return found


def _read_as_they_lie(nest: Nest) -> list[View]:
    """The windows that are read at the index of the nest, and at no other one."""
    loads: dict[int, View] = {}
    moved: set[int] = set()
    seen = {(id(r.loaded), here) for r in nest.roots for here in (True, False)}  # those are in registers

    def visit(e: Expr, here: bool) -> None:
        if (id(e), here) in seen:
            return
        seen.add((id(e), here))
        if e.op == "load" and e.view is not None:
            loads[id(e.view)] = e.view
            if not here:
                moved.add(id(e.view))
        for a in e.args:
            visit(a, here and e.op not in ("permute", "squeeze", "gather"))

    for r in nest.roots:
        visit(r.expr, True)
    return [v for k, v in loads.items() if k not in moved]


def emit_neighbours(f: Function, nest: Nest, behind: Mapping[int, Behind]) -> None:
    """A nest some of whose windows are read together."""

    def leaf(body: Body, index: list[Any]) -> None:
        if body.lanes > 1 and f.turn is not None:
            body = _Shifting(body, behind, f.turn)
        store_roots(body, nest.roots, index)

    over_nest(f, nest, leaf)


class _Shifting(Body):
    def __init__(self, body: Body, behind: Mapping[int, Behind], turn: Turn):
        super().__init__(body.b, body.pointers, body.start, body.lanes)
        self.behind, self.turn = behind, turn
        self.vectors: dict[Any, list[ir.Value]] = {}

    def _at(self, e: Expr, index: Sequence[Any]) -> ir.Value:
        if e.op != "load" or id(e.view) not in self.behind:
            return super()._at(e, index)
        _, last, distance, reach = self.behind[id(e.view)]
        key = id(last), tuple(i if i is LANE else id(i) for i in index)
        if key not in self.vectors:
            self.keep.append(index)
            self.vectors[key] = self.carried(last, reach, index)
        vectors = self.vectors[key]
        back, rest = divmod(distance, self.lanes)
        return self.shifted(vectors[back + 1], vectors[back], self.lanes - rest) if rest else vectors[back]

    def carried(self, last: View, reach: int, index: Sequence[Any]) -> list[ir.Value]:
        """The next vector of a window, and those before it as far as `reach` elements back."""
        b, dtype, turn = self.b, last.buffer.dtype, self.turn
        vectors = [self.load(last, index)]
        for k in range(1, -(-reach // self.lanes) + 1):
            back = k * self.lanes
            with b.goto_block(turn.before):
                p, _ = Body(b, self.pointers, turn.first, self.lanes).address(last, index)
                first = self.lanes_at(b.gep(p, [I64(-back)]), dtype, [back - j <= reach for j in range(self.lanes)])
            with b.goto_block(turn.head):
                b.position_at_start(turn.head)
                phi = b.phi(first.type)
            phi.add_incoming(first, turn.before)
            turn.carried.append((phi, vectors[-1]))
            vectors.append(phi)
        return vectors
