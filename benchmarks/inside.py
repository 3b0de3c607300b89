"""What the native executor made of a function: its statements counted by kind, and what it left to NumPy."""

from __future__ import annotations

from collections import Counter
from typing import Any

from wengert.execute import native
from wengert.execute.native.plan import inner_statements
from wengert.execute.native.statements import Block, Branch, Evaluate, Loop


def made_of(jitted: Any, *args: Any) -> str:
    """One line, such as `8 Product, 6 Nest, 1 Evaluate; by NumPy: 1 sort`."""
    kinds: Counter[str] = Counter()
    left: Counter[str] = Counter()
    todo = list(native.compiled(jitted.lower(*args).graph).program.statements)
    while todo:
        s = todo.pop()
        kinds[type(s).__name__] += 1
        if isinstance(s, (Loop, Branch, Block)):
            todo += inner_statements(s)
        elif isinstance(s, Evaluate):
            left[s.node.primitive.name] += 1
    listed = ", ".join(f"{n} {k}" for k, n in kinds.most_common())
    return listed + (f"; by NumPy: {', '.join(f'{n} {k}' for k, n in left.most_common())}" if left else "")
