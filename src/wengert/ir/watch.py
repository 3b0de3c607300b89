"""Who looks on while steps are linearised, pushed and pulled; see `wengert.debug`. Costs nothing while nobody does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.ir.array import Array
from wengert.ir.primitive import Primitive
from wengert.source import Source

step_watchers: list[Any] = []  # objects with `begin()`, `end()` and `check(direction, primitive, values, arriving, …)`


def _unseen(rule: Callable[[], Any]) -> Any:
    """`rule()`, whose own steps are not looked at: the factor 1/x at 0, say, which is masked out before it matters."""
    watchers = list(step_watchers)
    for w in watchers:
        w.begin()
    try:
        return rule()
    finally:
        for w in watchers:
            w.end()


def watched(
    direction: str,
    primitive: Primitive,
    values: Sequence[Array],
    arriving: Sequence[Array | None],
    source: Source | None,
    rule: Callable[[], Sequence[Any]],
) -> Sequence[Any]:
    """`rule()`, one push or pull through one step; its result is shown to those who look on."""
    result = _unseen(rule)
    leaving = [r[1] if isinstance(r, tuple) else r for r in result]
    for w in list(step_watchers):
        w.check(direction, primitive, values, arriving, leaving, source)
    return result


def watched_linearize(primitive: Primitive, values: Sequence[Array], rule: Callable[[], tuple[Any, Any]]) -> Any:
    """`rule()`, the linearisation of one step: outputs and differential; the outputs are shown."""
    out, differential = _unseen(rule)
    for w in list(step_watchers):
        w.check("step", primitive, (), values, out if primitive.multiple else (out,), None)
    return out, differential
