"""Writing a graph to a file: the suffix says how; the file appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from wengert.errors import ArgumentError
from wengert.show.dot import dot
from wengert.show.html import html
from wengert.show.mermaid import mermaid
from wengert.show.svg import svg
from wengert.show.text import rails
from wengert.source import at_user_line

if TYPE_CHECKING:
    from wengert.show.graph import ComputationGraph

# the writer, and how many operations it draws unless told otherwise
WRITERS: dict[str, tuple[Callable[[ComputationGraph, int], str], int]] = {
    ".svg": (svg, 600),
    ".html": (html, 400),
    ".dot": (dot, 5000),
    ".mmd": (mermaid, 200),
    ".txt": (rails, 5000),
}


def save(graph: ComputationGraph, path: str | os.PathLike[str], max_nodes: int | None = None) -> None:
    """Write the graph to `path`, under a temporary name first."""
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in WRITERS:
        given = f"the suffix {suffix!r}" if suffix else "no suffix"
        raise ArgumentError(
            f"graph.save({path!r}): {given} names no format; use one of {', '.join(WRITERS)}{at_user_line()}"
        )
    if max_nodes is not None and max_nodes < 2:
        raise ArgumentError(f"graph.save: max_nodes={max_nodes}; a picture takes at least 2{at_user_line()}")
    write, usual = WRITERS[suffix]
    text = write(graph, usual if max_nodes is None else max_nodes)
    temporary = f"{path}.{os.getpid()}.part"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
