"""The end of a loop's turn: what it emits, and what it hands on, computed in place where that is possible.

What a turn emits goes to a window that nobody reads in the loop, so it can be computed there. The new carry can stand
where the old one stood if nothing reads the old one afterwards, or only the very loop that writes the new one, at the
index that it writes. What cannot be in place is copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wengert.execute.native.inplace import only_own, views_of
from wengert.execute.native.lower import Lowering, load
from wengert.execute.native.plan import windows_read, windows_written
from wengert.execute.native.statements import Expr, Nest, Product, Root
from wengert.execute.native.views import Buffer, View, dense, move


def end_turn(
    inner: Lowering, new: Sequence[Expr], places: Sequence[View], emitted: Sequence[Expr], windows: Sequence[View]
) -> None:
    """`emitted` into `windows`, and `new` into the carry's `places`."""
    moved: dict[int, View] = {}  # buffers of the turn, by id, that lie in windows of others instead
    both = {id(v) for v in new} & {id(v) for v in emitted}
    kept = [inner.place(v) for v in new if v.view is not None or id(v) in inner.stored or id(v) in both]
    carried = {id(view.buffer) for view in kept}
    for value, window in zip(emitted, windows, strict=True):
        if value.view is None and id(value) not in inner.stored:
            inner.store(value, window)
            continue
        view = inner.place(value)
        if not any(id(v.buffer) in inner.made_by for v in (view, *view.positions)):
            _copy_first(inner, load(view), window)
        elif _own(inner, view) and id(view.buffer) not in moved and id(view.buffer) not in carried:
            moved[id(view.buffer)] = window
        else:
            inner.store(Expr("copy", (load(view),), view.shape, window.buffer.dtype), window)
    _turn_over(inner, new, places, moved)
    for view in list(_windows(inner)):
        if id(view.buffer) in moved:
            move(view, moved[id(view.buffer)])
    for s in inner.statements:
        if isinstance(s, Nest):
            s.roots = [r for r in s.roots if not _stays(r)]
    inner.statements = [s for s in inner.statements if not isinstance(s, Nest) or s.roots]


def _turn_over(inner: Lowering, new: Sequence[Expr], places: Sequence[View], moved: dict[int, View]) -> None:
    """The new carry into the carry's places, once nothing reads the old one any more."""
    own = {id(p.buffer) for p in places}
    ready: list[tuple[View, View]] = []
    for value, place in zip(new, places, strict=True):
        view = inner.place(value)
        here = view.buffer is place.buffer and not view.steps
        if here and view.strides == place.strides and view.offset == place.offset:
            continue  # unchanged
        if id(view.buffer) in own or view.steps:  # it hangs on the carry: read it before that is overwritten
            kept = dense(Buffer("work", -1, place.buffer.dtype, place.buffer.size), place.shape)
            inner.copy(load(view), kept)
            view = kept
        ready.append((view, place))
    copies = []
    for view, place in ready:
        free = _own(inner, view) and id(view.buffer) not in moved
        if free and _may_overwrite(inner, view.buffer, place.buffer):
            moved[id(view.buffer)] = place
        else:
            copies.append((view, place))
    for view, place in copies:
        inner.copy(load(view), place)


def _stays(root: Root) -> bool:
    """Whether it copies a window to itself: what was written at positions in a copy is now written in place."""
    e, target = root.expr, root.target
    source = e.args[0].view if e.op == "copy" else None
    if source is None or source.buffer is not target.buffer or source.steps or target.steps:
        return False
    return (source.shape, source.strides, source.offset) == (target.shape, target.strides, target.offset)


def _own(inner: Lowering, view: View) -> bool:
    """Whether a window is all of a buffer that this turn makes."""
    whole = view.contiguous and view.offset == 0 and not view.steps and view.buffer.kind == "work"
    size = 1
    for d in view.shape:
        size *= d
    return whole and size == view.buffer.size and id(view.buffer) in inner.made_by


def _may_overwrite(inner: Lowering, new: Buffer, old: Buffer) -> bool:
    """Whether `new` can be computed where `old` lies."""
    writers = [k for k, s in enumerate(inner.statements) if any(b is new for b in windows_written(s))]
    first, writer = writers[0], inner.statements[writers[0]]
    if any(b is old for s in inner.statements[first + 1 :] for b in windows_read(s)):
        return False
    if all(b is not old for b in windows_read(writer)):
        return True
    if not isinstance(writer, (Nest, Product)):
        return False
    roots = [k for k, r in enumerate(writer.roots) if r.target.buffer is new]
    target = writer.roots[roots[0]].target
    whole = target.contiguous and target.offset == 0 and not target.steps and target.shape == writer.shape
    return len(roots) == 1 and whole and only_own(writer, roots[0], old)


def _copy_first(inner: Lowering, value: Expr, target: View) -> None:
    """What was there before the turn, copied before the turn changes it, in a loop that reads it anyway if possible."""
    copied = Expr("copy", (value,), target.shape, target.buffer.dtype)
    root = Root(copied, target, load(target))
    for s in inner.statements:
        reads = isinstance(s, Nest) and s.shape == target.shape and len(s.roots) < 12
        if reads and any(b is value.view.buffer for b in windows_read(s)):  # type: ignore[union-attr]
            s.roots.insert(0, root)  # type: ignore[union-attr]
            return
    inner.statements.insert(0, Nest(target.shape, [root]))
    inner.renumbered()
    inner.made_by.update({b: k + 1 for b, k in inner.made_by.items()})


def _windows(inner: Lowering) -> Iterator[View]:
    for s in inner.statements:
        yield from views_of(s)
