"""The contract table: which primitive states which facet, and the reason where it states none.

Nothing here knows a particular primitive; `tests/test_contract.py` checks what the facets say by numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from wengert.ir.primitive import Primitive, Unsupported, registry

FACETS = ("type", "evaluate", "derivative", "transpose", "batch", "sparsity")
MISSING = "missing"
_DERIVATIVES = ("linearize", "jvp", "partial")  # the ways to state one; the first that is stated holds


def facet(primitive: Primitive, name: str) -> str:
    """What `primitive` says of the facet `name`: how it is stated, `Unsupported: reason`, or `missing`."""
    if name != "derivative":
        return _stated(primitive, name) or MISSING
    for way in _DERIVATIVES:
        if answer := _stated(primitive, way):
            return way if answer == "yes" else answer
    return MISSING


def _stated(primitive: Primitive, name: str) -> str | None:
    rule = getattr(primitive, name)
    if isinstance(rule, Unsupported):
        return f"Unsupported: {rule.reason}"
    inherited = getattr(type(primitive), name) is getattr(Primitive, name) and name not in vars(primitive)
    return None if rule is None or inherited else "yes"


def contract() -> dict[str, dict[str, str]]:
    """For every primitive, in alphabetical order, what it says of each facet."""
    return {name: {f: facet(registry[name], f) for f in FACETS} for name in sorted(registry)}


def holes() -> list[str]:
    """The facets that a primitive neither states nor refuses with a reason, as `primitive.facet`."""
    return [f"{name}.{f}" for name, row in contract().items() for f, answer in row.items() if answer == MISSING]


def table() -> str:
    """The contract as Markdown: a row for each primitive, a column for each facet, the reasons below."""
    reasons: list[str] = []
    rows = [["primitive", "meaning", *FACETS]]
    for name, answers in contract().items():
        rows.append([f"`{name}`", _meaning(registry[name]), *[_cell(answers[f], reasons) for f in FACETS]])
    lines = [_row(rows[0]), _row(["---"] * len(rows[0])), *map(_row, rows[1:])]
    notes = [f"{k}. {reason}" for k, reason in enumerate(reasons, 1)]
    return _HEAD + "\n".join(lines) + "\n\nWhy a facet does not exist:\n\n" + "\n".join(notes) + "\n"


def _cell(answer: str, reasons: list[str]) -> str:
    if not answer.startswith("Unsupported"):
        return answer
    reason = answer.removeprefix("Unsupported: ")
    if reason not in reasons:
        reasons.append(reason)
    return f"— ({reasons.index(reason) + 1})"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _meaning(primitive: Primitive) -> str:
    """The first sentence of the primitive's docstring, on one line."""
    text = inspect.cleandoc(primitive.__doc__ or "").split("\n\n", maxsplit=1)[0]
    first, stop, _ = " ".join(text.split()).partition(". ")
    return (first + "." if stop else first).replace("|", "\\|")


_HEAD = """# Primitives

What each primitive states. `derivative` names the way: `partial` (a linear map for each input), `jvp` (tangents of all
outputs at once) or `linearize` (forward work of its own, for steps that carry graphs). A dash with a number refers to
the reasons below the table. Written by `make table`; a test holds it to the code.

"""
