"""Axes that run on in memory become one: vectors then run along 8 × 8 numbers of an image instead of 8.

A loop's innermost axis may be shorter than a vector. Where every window of a nest or a reduction goes through its last
axes without a jump, those are one axis of as many elements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from wengert.execute.native.lower import elements, load
from wengert.execute.native.statements import Branch, Expr, Loop, Nest, Program, Reduction, Root, Statement
from wengert.execute.native.views import View
from wengert.ir.types import Shape

ENOUGH = 64  # elements of an axis that is long enough
VECTOR = 16  # of one that is too short for a vector: the first axis, which threads share out, is spared otherwise

Axes = tuple[int | None, ...]  # for each axis of an expression, which one of the statement it is; None: read at 0


def collapse_axes(program: Program) -> None:
    """Make the innermost axes of the program's loops longer, where they are short."""
    program.statements = _collapsed(program.statements)


def _collapsed(statements: list[Statement]) -> list[Statement]:
    for s in statements:
        if isinstance(s, Loop):
            s.test, s.body = _collapsed(s.test), _collapsed(s.body)
        elif isinstance(s, Branch):
            s.bodies = [_collapsed(body) for body in s.bodies]
    return [_nest(s) if type(s) is Nest else _reduction(s) if type(s) is Reduction else s for s in statements]


def _nest(s: Nest) -> Nest:
    whole = _axes(s.shape)
    windows = [(r.target, whole) for r in s.roots]
    first = _first(s.shape, windows, [r.expr for r in s.roots], ())
    if first is None:
        return s
    space = _Space(s.shape, first)
    roots: list[Root] = []
    for r in s.roots:
        expr, target = _whole(space.expr(r.expr, whole), space.merged), space.view(r.target, whole)
        loaded = load(target)
        space.known[id(r.loaded), whole] = loaded
        roots.append(replace(r, expr=expr, target=target, loaded=loaded))
    return Nest(space.merged, roots)


def _reduction(s: Reduction) -> Reduction:
    shape = s.expr.shape
    kept = tuple(k for k in range(len(shape)) if k not in s.axes)
    first = _first(shape, [(s.target, kept)], [s.expr], s.axes)
    if first is None:
        return s
    space = _Space(shape, first)
    expr = space.expr(s.expr, _axes(shape))
    axes, target = tuple(k for k in s.axes if k <= first), s.target
    if first not in s.axes:
        wide = space.view(target, kept)
        left = [k for k in range(first + 1) if k not in axes]
        target = replace(wide, shape=tuple(wide.shape[k] for k in left), strides=tuple(wide.strides[k] for k in left))
    return Reduction(s.op, _whole(expr, space.merged), axes, target)


def _whole(e: Expr, shape: Shape) -> Expr:
    """The expression, over the whole shape also where it is the same along some axes."""
    return e if e.shape == shape else Expr("broadcast", (e,), shape, e.dtype)


def _first(shape: Shape, windows: list[tuple[View, Axes]], exprs: Sequence[Expr], reduced: Sequence[int]) -> int | None:
    """From which axis on the axes become one; None if it is the last."""
    last = len(shape) - 1
    if last < 1 or not 1 < shape[-1] < ENOUGH or not elements(shape):
        return None
    seen: set[tuple[int, Axes]] = set()
    for e in exprs:
        found = _windows(e, _axes(shape), seen)
        for view, axes in found:
            if view is None:
                return None
            windows.append((view, axes))
    strides = [_strides(view, axes, len(shape)) for view, axes in windows]
    first, extent = last, shape[-1]
    while first > 0 and extent < (ENOUGH if first > 1 else VECTOR):
        before = first - 1
        alike = (before in reduced) == (last in reduced)
        if not alike or shape[before] == 1 or any(s[before] != shape[first] * s[first] for s in strides):
            break
        first, extent = before, extent * shape[before]
    return None if first == last else first


def _axes(shape: Shape) -> Axes:
    return tuple(None if d == 1 else k for k, d in enumerate(shape))


def _windows(e: Expr, axes: Axes, seen: set[tuple[int, Axes]]) -> Iterator[tuple[View | None, Axes]]:
    """The windows that an expression reads, and along which axes; None for what reads at positions that are data."""
    if (id(e), axes) in seen:
        return
    seen.add((id(e), axes))
    if e.view is not None:
        yield e.view, axes
    elif e.op == "gather":
        yield None, axes
    for a, inner in zip(e.args, _inner(e, axes), strict=False):
        yield from _windows(a, inner, seen)


def _inner(e: Expr, axes: Axes) -> list[Axes]:
    """For each operand of an expression, which axes its own are."""
    if e.op == "permute":
        return [tuple(axes[e.params.index(k)] for k in range(len(axes)))]
    if e.op == "squeeze":
        rest = iter([k for d, k in zip(e.shape, axes, strict=True) if d != 1])
        return [tuple(None if d == 1 else next(rest) for d in e.args[0].shape)]
    tails = (axes[len(axes) - len(a.shape) :] if a.shape else () for a in e.args)
    return [
        tuple(None if d == 1 else k for d, k in zip(a.shape, tail, strict=True))
        for a, tail in zip(e.args, tails, strict=True)
    ]


def _strides(view: View, axes: Axes, rank: int) -> list[int]:
    """The window's stride along each axis of the statement."""
    strides = [0] * rank
    for d, stride, k in zip(view.shape, view.strides, axes, strict=True):
        if k is not None and d != 1:
            strides[k] = stride
    return strides


@dataclass
class _Space:
    """Expressions over `shape` become ones over `merged`: the axes from `first` on are one."""

    shape: Shape
    first: int
    known: dict[tuple[int, Axes], Expr] = field(default_factory=dict)

    @property
    def merged(self) -> Shape:
        return (*self.shape[: self.first], elements(self.shape[self.first :]))

    def extents(self, shape: Shape, axes: Axes) -> Shape:
        there = {min(k, self.first) for d, k in zip(shape, axes, strict=True) if k is not None and d != 1}
        return tuple(d if k in there else 1 for k, d in enumerate(self.merged))

    def view(self, view: View, axes: Axes) -> View:
        strides = _strides(view, axes, len(self.shape))
        shape = self.extents(view.shape, axes)
        return replace(view, shape=shape, strides=(*strides[: self.first], strides[-1]))

    def expr(self, e: Expr, axes: Axes) -> Expr:
        key = id(e), axes
        if key not in self.known:
            self.known[key] = self._expr(e, axes)
        return self.known[key]

    def _expr(self, e: Expr, axes: Axes) -> Expr:
        if e.view is not None:
            return load(self.view(e.view, axes))
        if not e.shape:
            return e
        args = tuple(self.expr(a, inner) for a, inner in zip(e.args, _inner(e, axes), strict=True))
        if e.op in ("permute", "squeeze"):
            return args[0]
        return Expr(e.op, args, self.extents(e.shape, axes), e.dtype, params=e.params)
