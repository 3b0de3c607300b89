"""The families of random programs whose steps carry programs: loops, branches, bodies mapped over rows.

Those of one carry end in a value of its shape. `several` has more of everything: carries that are handed on as they
are, exchanged or added to; sequences and constants that come in twice; results that are an input, or the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import wengert as wg
from tests.drawing import CONTROL, Program, Step, drawn, run, values_of
from tests.families import FAMILIES, Family, Pick, Proposal, Shape, Value, any_value, broadcast, limits, size, small


def _body(pick: Pick, inputs: Sequence[Value], carry: Shape) -> Program:
    """A program whose result is squashed into (-1, 1) and broadcast or summed to the shape of the carry."""
    body, known = drawn(pick, inputs, steps=1 + pick(3), control=pick(8) == 7)  # seldom a loop within
    last = len(known) - 1
    return body._replace(steps=(*body.steps, Step("fit", (last, 0), ())), out=Value(carry, 1.0))


def _fit(x: Any, like: Any) -> Any:
    squashed = wg.tanh(x)
    if broadcast(squashed.shape, like.shape) != like.shape:
        squashed = wg.mean(squashed)
    return 0.5 * wg.broadcast_to(squashed, like.shape) + 0.25 * like


FAMILIES["fit"] = Family(lambda values, pick: None, _fit)


def _scan(values: Sequence[Value], pick: Pick) -> Proposal | None:
    xs = any_value(values, pick, 1)
    if xs is None:
        return None
    i = pick(len(values))
    carry, each = values[i], Value(values[xs].shape[1:], values[xs].bound)
    body = _body(pick, [Value(carry.shape, max(carry.bound, 1)), each], carry.shape)
    ys = bool(pick(2)) and size(carry.shape) * values[xs].shape[0] <= limits.size and len(carry.shape) < 3
    out = (values[xs].shape[0], *carry.shape) if ys else carry.shape
    return Proposal((i, xs), (body, bool(pick(2)), ys), Value(out, max(carry.bound, 1)))


def _run_scan(init: Any, xs: Any, body: Program, reverse: bool, ys: bool) -> Any:
    def turn(c: Any, x: Any) -> Any:
        new = run(body, [c, x])
        return new, wg.sin(new)

    last, rows = wg.scan(turn, init, xs, reverse=reverse)
    return rows if ys else last


def _while(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i, turns = pick(len(values)), pick(4)
    v = values[i]
    body = _body(pick, [Value(v.shape, max(v.bound, 1))], v.shape)
    kind = ("while", "counted", "until")[pick(3)]
    return Proposal((i,), (body, turns, kind), Value(v.shape, max(v.bound, 1)))


def _run_while(init: Any, body: Program, turns: int, kind: str) -> Any:
    if kind == "counted":
        return wg.fori_loop(0, turns, lambda k, c: run(body, [c]), init)

    def goes_on(s: Any) -> Any:
        return (s[0] < turns) & (wg.mean(s[1]) > -0.13) if kind == "until" else s[0] < turns

    return wg.while_loop(goes_on, lambda s: (s[0] + 1, run(body, [s[1]])), (0, init))[1]


def _cond(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i, j = pick(len(values)), pick(len(values))
    operands = [Value(v.shape, max(v.bound, 1)) for v in (values[i], values[j])]
    bodies = tuple(_body(pick, operands, values[i].shape) for _ in range(2))
    return Proposal((i, j), (*bodies, pick(3) - 1), Value(values[i].shape, max(values[i].bound, 1)))


def _run_cond(x: Any, y: Any, first: Program, second: Program, threshold: int) -> Any:
    return wg.cond(wg.sum(y) > threshold, lambda *a: run(first, a), lambda *a: run(second, a), x, y)


def _rows(values: Sequence[Value], pick: Pick) -> Proposal | None:
    i = any_value(values, pick, 1)
    if i is None:
        return None
    j, row = pick(len(values)), Value(values[i].shape[1:], max(values[i].bound, 1))
    body = _body(pick, [row, Value(values[j].shape, max(values[j].bound, 1))], row.shape)
    return Proposal((i, j), (body,), Value(values[i].shape, row.bound))


def _run_rows(x: Any, y: Any, body: Program) -> Any:
    return wg.vmap(lambda row, whole: run(body, [row, whole]), in_axes=(0, None))(x, y)


# Several carries, sequences, constants and results


class End(NamedTuple):
    """What a carry becomes: a value of the body that is made to fit, another carry (or itself), itself and a value."""

    how: str
    value: int


def _end(pick: Pick, body: Program, known: Sequence[Value], carries: int, k: int, turns: int) -> End:
    """What carry `k` becomes; what `turns` turns add up stays tame."""
    shape = known[k].shape
    how = ("fit", "fit", "carry", "plus", "minus")[pick(5)]
    fit = [i for i in range(carries) if known[i].shape == shape]
    if how in ("plus", "minus"):
        late = _depending(body, carries)
        fit = [i for i in range(carries, len(known)) if known[i].shape == shape and (turns <= 4 or i not in late)]
    return End("fit", pick(len(known))) if how == "fit" or not fit else End(how, fit[pick(len(fit))])


def _depending(body: Program, carries: int) -> set[int]:
    """The values of a body that depend on its carries."""
    late, n = set(range(carries)), len(body.inputs)
    for step in body.steps:
        if late & set(step.args):
            late.update(range(n, n + step.count))
        n += step.count
    return late


def _ended(values: Sequence[Any], k: int, end: End) -> Any:
    x = values[end.value]
    if end.how == "fit":
        return _fit(x, values[k])
    return x if end.how == "carry" else values[k] + x if end.how == "plus" else values[k] - x


def _bound(known: Sequence[Value], k: int, end: End, turns: int) -> Value:
    v = known[k]
    more = turns * known[end.value].bound if end.how in ("plus", "minus") else 0
    return Value(v.shape, max(v.bound, known[end.value].bound if end.how == "carry" else 1) + more)


def _chosen(values: Sequence[Value], pick: Pick, least: int, more: int) -> tuple[int, ...]:
    return tuple(pick(len(values)) for _ in range(least + pick(more + 1)))


def _recent(numbers: Sequence[int], pick: Pick) -> int:
    """One of these values, rather a later one."""
    return numbers[-1 - min(pick(len(numbers)), pick(len(numbers)))]


def _tame(v: Value) -> Value:
    return Value(v.shape, max(v.bound, 1))


def _several(values: Sequence[Value], pick: Pick) -> Proposal | None:
    long = [i for i, v in enumerate(values) if v.shape]
    if not long:
        return None
    first = _recent(long, pick)
    n = values[first].shape[0]
    alike = [i for i in long if values[i].shape[0] == n]
    xs = (first, *(_recent(alike, pick) for _ in range(pick(4))))
    carry, consts = _chosen(values, pick, 1, 2), _chosen(values, pick, 0, 2)
    each = [Value(values[i].shape[1:], values[i].bound) for i in xs]
    inside = [*(_tame(values[i]) for i in carry), *each, *(values[i] for i in consts)]
    body, known = drawn(pick, inside, steps=1 + pick(4), control=pick(6) == 5)
    ends = tuple(_end(pick, body, known, len(carry), k, n) for k in range(len(carry)))
    empty = pick(8) == 7  # no turn at all
    rows = [i for i in range(len(known)) if small((n, *known[i].shape))]
    emits = () if empty or not rows else tuple(rows[pick(len(rows))] for _ in range(pick(4)))
    made = [Value((n, *known[i].shape), known[i].bound) for i in emits]
    made += [_bound(known, k, e, n) for k, e in enumerate(ends)]
    params = (body, (len(carry), len(xs)), ends, emits, bool(pick(2)), empty, (None, "sequence", "carry")[pick(3)])
    return Proposal((*carry, *xs, *consts), params, made[-1], tuple(made[:-1]))


def _run_several(*given: Any) -> list[Any]:
    *arrays, body, (nk, nx), ends, emits, reverse, empty, made = given
    carry, xs, consts = arrays[:nk], arrays[nk : nk + nx], arrays[nk + nx :]
    if made is not None:  # the first sequence, or the first carry, is what another loop makes of it
        place = xs if made == "sequence" else carry
        x = place[0]
        place[0] = wg.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, wg.sin(s[1]) - 0.2), (0, x))[1]

    def turn(c: Any, x: Any) -> Any:
        values = values_of(body, [*c, *x, *consts])
        return tuple(_ended(values, k, e) for k, e in enumerate(ends)), tuple(values[i] for i in emits)

    last, rows = wg.scan(turn, tuple(carry), tuple(x[:0] if empty else x for x in xs), reverse=reverse)
    return [*rows, *last]


def _asking(values: Sequence[Value], pick: Pick) -> Proposal | None:
    carry, consts = _chosen(values, pick, 1, 2), _chosen(values, pick, 0, 1)
    inside = [*(_tame(values[i]) for i in carry), *(values[i] for i in consts)]
    body, known = drawn(pick, inside, steps=1 + pick(3), control=pick(8) == 7)
    turns = pick(4)
    ends = tuple(_end(pick, body, known, len(carry), k, turns) for k in range(len(carry)))
    made = [_bound(known, k, e, turns) for k, e in enumerate(ends)]
    params = (body, len(carry), ends, turns, ("counted", "value", "flag")[pick(3)], pick(len(carry)))
    return Proposal((*carry, *consts), params, made[-1], tuple(made[:-1]))


def _run_asking(*given: Any) -> list[Any]:
    """A loop that goes on while a value of the carry, or of a constant, says so, or what the last turn found."""
    *arrays, body, nk, ends, turns, kind, asked = given
    consts = arrays[nk:]

    def goes_on(s: Any) -> Any:
        count, flag, *c = s
        if kind == "value":
            return (count < turns) & (wg.mean((*c, *consts)[-1 - asked]) > -0.13)
        return (count < turns) & flag if kind == "flag" else count < turns

    def turn(s: Any) -> Any:
        count, _, *c = s
        values = values_of(body, [*c, *consts])
        return (count + 1, wg.mean(values[-1]) > -0.17, *(_ended(values, k, e) for k, e in enumerate(ends)))

    return list(wg.while_loop(goes_on, turn, (0, wg.asarray(True), *arrays[:nk]))[2:])


def _choice(values: Sequence[Value], pick: Pick) -> Proposal | None:
    operands, asked = _chosen(values, pick, 1, 2), pick(len(values))
    inside = [_tame(values[i]) for i in operands]
    bodies, ends = [], []
    for _ in range(2):
        body, known = drawn(pick, inside, steps=1 + pick(3), control=pick(8) == 7)
        bodies.append(body)
        ends.append(tuple(_end(pick, body, known, len(operands), k, 1) for k in range(len(operands))))
    made = [Value(v.shape, 2 * v.bound + 4) for v in inside]
    return Proposal((*operands, asked), (*bodies, *ends, pick(3) - 1), made[-1], tuple(made[:-1]))


def _run_choice(*given: Any) -> list[Any]:
    *operands, asked, first, second, ends, others, threshold = given

    def branch(body: Program, how: Sequence[End]) -> Any:
        def taken(*a: Any) -> Any:
            values = values_of(body, a)
            return tuple(_ended(values, k, e) for k, e in enumerate(how))

        return taken

    return list(wg.cond(wg.sum(asked) > threshold, branch(first, ends), branch(second, others), *operands))


FAMILIES_WITH_BODIES = {
    "scan": Family(_scan, _run_scan),
    "loop": Family(_while, _run_while),
    "cond": Family(_cond, _run_cond),
    "rows": Family(_rows, _run_rows),
    "several": Family(_several, _run_several),
    "asking": Family(_asking, _run_asking),
    "choice": Family(_choice, _run_choice),
}
FAMILIES.update(FAMILIES_WITH_BODIES)
CONTROL.update(FAMILIES_WITH_BODIES)
