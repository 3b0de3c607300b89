"""Modules as text, in PyTorch's form."""

from __future__ import annotations

from typing import Any

from wengert.module import Module
from wengert.nn.naming import submodules


def module_text(module: Any) -> str:
    """`Name(settings)`, or over several lines with the parts, of which equal neighbours are told once."""
    name, extra = type(module).__name__, module.extra_repr()
    lines = _parts(module)
    if not lines:
        return f"{name}({extra})"
    body = "\n".join(f"  {line}" for text in ([extra] if extra else []) + lines for line in text.split("\n"))
    return f"{name}(\n{body}\n)"


def _parts(module: Module) -> list[str]:
    found: list[tuple[str, str, str, int]] = []  # first name, last name, text, how many
    for name, part in submodules(module):
        text = repr(part)
        if found and found[-1][2] == text and name.isdecimal():
            first, _, _, count = found[-1]
            found[-1] = (first, name, text, count + 1)
        else:
            found.append((name, name, text, 1))
    return [f"({a}): {t}" if n == 1 else f"({a}-{b}): {n} x {t}" for a, b, t, n in found]
