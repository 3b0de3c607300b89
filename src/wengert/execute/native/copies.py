"""Values that are copied into a window of another buffer as they are computed: computed there alone, and read there.

A rotation reads its operand from a copy that goes on at both ends (`moves.rotated`), and so does a join of values. The
statement that computes the operand also writes the copy, number by number. Where everything else that reads the operand
could as well read the copy, nothing else is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from wengert.execute.native.inplace import views_of
from wengert.execute.native.plan import flat, windows_read, windows_written
from wengert.execute.native.statements import Block, Branch, Loop, Nest, Program, Reduction, Root, Statement
from wengert.execute.native.views import View, extent, move


def join_copies(program: Program) -> None:
    """Change the program's windows onto such values to windows onto their copies, which become the values."""
    kernels = [s for s in flat(program.statements) if not isinstance(s, (Loop, Branch, Block))]
    pairs = [(s, q, r) for s in kernels if type(s) is Nest for q, r in _copied(s)]
    if not pairs:
        return
    touched: dict[int, list[Statement]] = {}
    for s in kernels:
        for b in {id(b): b for b in (*windows_read(s), *windows_written(s))}:
            touched.setdefault(b, []).append(s)
    windows: dict[int, list[View]] = {}
    for view in {id(v): v for v in (*program.results, *(v for s in program.statements for v in views_of(s)))}.values():
        windows.setdefault(id(view.buffer), []).append(view)
    for s, value, copy in pairs:
        old, new = value.target.buffer, copy.target.buffer
        if _may_join(s, value, copy, touched[id(old)], touched[id(new)]):
            s.roots.remove(copy)
            moved = windows.pop(id(old))
            for view in moved:
                move(view, copy.target)
            windows[id(new)] += moved
            touched[id(new)] += touched.pop(id(old))


def _copied(s: Nest) -> Iterator[tuple[Root, Root]]:
    """Roots, and others that copy them."""
    made = {id(r.loaded): r for r in s.roots}
    for r in s.roots:
        if r.expr.op == "copy" and (value := made.get(id(r.expr.args[0]))) is not None:
            yield value, r


def _may_join(s: Nest, value: Root, copy: Root, old: list[Statement], new: list[Statement]) -> bool:
    """Whether the value's buffer, which the statements `old` touch, can give way to the copy's, which `new` touch."""
    a, b = value.target, copy.target
    if a.buffer is b.buffer or not all(v.buffer.kind == "work" and not v.steps for v in (a, b)):
        return False
    whole = a.contiguous and a.offset == 0 and extent(a) == (0, a.buffer.size) and b.contiguous
    if not whole or not all(type(t) in (Nest, Reduction) for t in old):
        return False
    if any(t is not s and any(w is a.buffer for w in windows_written(t)) for t in old):
        return False
    if sum(r.target.buffer is a.buffer for r in s.roots) > 1 or any(w is b.buffer for w in windows_read(s)):
        return False
    writers = [t for t in new if any(w is b.buffer for w in windows_written(t))]
    if not all(type(t) is Nest for t in writers):
        return False
    others = [r.target for t in writers for r in t.roots if r.target.buffer is b.buffer and r is not copy]  # type: ignore[union-attr]
    first, end = extent(b)
    return not any(v.steps or (extent(v)[0] < end and first < extent(v)[1]) for v in others)
