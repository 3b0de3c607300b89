"""Results written over inputs: a new weight where the old one stood.

An input whose memory the caller gives up (see `jit`) may hold a result of the same type, if nothing reads it
afterwards. It may be read by the very loop that writes the result, at the index that is written, but there not anew
after that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wengert.execute.native.plan import flat, inner_statements, windows_read, windows_written
from wengert.execute.native.statements import (
    Block,
    Branch,
    Evaluate,
    Expr,
    Loop,
    Nest,
    Product,
    Program,
    Reduction,
    Statement,
)
from wengert.execute.native.views import Buffer, View


def write_over_inputs(program: Program, candidates: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """For each result, the input that it is written over, of those that `candidates` lists for it.

    The program's windows onto such results become windows onto the inputs.
    """
    if any(isinstance(s, Evaluate) for s in flat(program.statements)):
        return {}  # NumPy runs between the parts: such a program is not short of copies
    inputs = {b.index: b for s in program.statements for b in windows_read(s) if b.kind == "input"}
    last = {id(b): k for k, s in enumerate(program.statements) for b in windows_read(s)}
    writers: dict[int, list[int]] = {}
    for k, s in enumerate(program.statements):
        for b in windows_written(s):
            writers.setdefault(id(b), []).append(k)
    found: dict[int, int] = {}
    taken: set[int] = set()
    for o, donors in candidates.items():
        buffer = program.results[o].buffer
        place = _written_once(program, buffer, sorted(set(writers.get(id(buffer), ()))))
        if place is None:
            continue
        k, root = place
        free = [j for j in donors if j in inputs and j not in taken and inputs[j].size == _size(program, o)]
        read = {j: last[id(inputs[j])] for j in free}  # the last statement that does
        fit = [j for j in free if read[j] < k or (read[j] == k and only_own(program.statements[k], root, inputs[j]))]
        if fit:  # the one that is read there, if there is one: it is in the cache
            found[o] = max(fit, key=read.__getitem__)
            taken.add(found[o])
    _rename(program, {id(program.results[o].buffer): inputs[j] for o, j in found.items()})
    return found


def _size(program: Program, output: int) -> int:
    return program.results[output].buffer.size


def _written_once(program: Program, buffer: Buffer, writers: Sequence[int]) -> tuple[int, int] | None:
    """The statement and the root that write the whole buffer, if of its `writers` there is one that does."""
    if buffer.kind != "output" or len(writers) != 1:
        return None
    statement = program.statements[writers[0]]
    if type(statement) not in (Nest, Product):
        return None
    roots = [k for k, r in enumerate(statement.roots) if r.target.buffer is buffer]  # type: ignore[union-attr]
    if not roots:
        return None
    target = statement.roots[roots[0]].target  # type: ignore[union-attr]
    whole = target.contiguous and target.offset == 0 and not target.steps
    return (writers[0], roots[0]) if len(roots) == 1 and whole else None


def only_own(statement: Statement, root: int, buffer: Buffer) -> bool:
    """Whether the statement reads `buffer` only at each root's own index, and not for the first time after `root`."""
    assert isinstance(statement, (Nest, Product))
    if isinstance(statement, Product):
        operands = (statement.x, statement.y)
        if any(b is buffer for v in operands for b in (v.buffer, *(p.buffer for p in v.positions))):
            return False
    known: set[int] = set()  # loads that are in registers when `root` is stored
    registers = {id(q.loaded) for q in statement.roots}
    for k, r in enumerate(statement.roots):
        for load, own in _loads(r.expr, buffer, registers):
            if not own or (k > root and id(load) not in known):
                return False
            known.add(id(load))
    return True


def _loads(expr: Expr, buffer: Buffer, registers: set[int]) -> Iterator[tuple[Expr, bool]]:
    """Every load of `buffer` in an expression, and whether it is at the expression's own index."""
    left, seen = [(expr, True)], set()
    while left:
        e, own = left.pop()
        if (id(e), own) in seen or id(e) in registers:
            continue
        seen.add((id(e), own))
        if e.view is not None:
            if e.view.buffer is buffer:
                yield e, own and e.view.contiguous and e.view.offset == 0 and not e.view.steps
            if any(p.buffer is buffer for p in e.view.positions):
                yield e, False
        for a in e.args:
            moved = e.op in ("permute", "squeeze", "broadcast", "gather") or a.shape != e.shape
            left.append((a, own and not moved))


def _rename(program: Program, new: Mapping[int, Buffer]) -> None:
    """Windows onto buffers become windows onto others, by the identity of the old ones."""
    if not new:
        return
    for view in (*program.results, *(v for s in program.statements for v in views_of(s))):
        if id(view.buffer) in new:
            object.__setattr__(view, "buffer", new[id(view.buffer)])


def views_of(statement: Statement) -> Iterator[View]:
    """Every window that a statement mentions."""
    direct: list[View] = []
    exprs: list[Expr] = []
    if isinstance(statement, (Loop, Branch, Block)):
        for inner in inner_statements(statement):
            yield from views_of(inner)
        if isinstance(statement, Branch):
            direct.append(statement.index)
        elif isinstance(statement, Loop) and statement.test_value is not None:
            direct.append(statement.test_value)
    elif isinstance(statement, Evaluate):
        direct += [*statement.inputs, *statement.outputs]
    elif isinstance(statement, Reduction):
        direct.append(statement.target)
        exprs.append(statement.expr)
    elif isinstance(statement, (Nest, Product)):
        for r in statement.roots:
            direct.append(r.target)
            exprs += [r.expr, r.loaded]
        if isinstance(statement, Product):
            direct += [statement.x, statement.y, *([statement.sums] if statement.sums is not None else [])]
    seen: set[int] = set()
    while exprs:
        e = exprs.pop()
        if id(e) not in seen:
            seen.add(id(e))
            exprs.extend(e.args)
            if e.view is not None:
                direct.append(e.view)
    for view in direct:
        yield view
        yield from view.positions
