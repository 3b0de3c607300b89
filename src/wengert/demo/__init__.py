"""`wengert demo`: two networks that learn nothing, why, in numbers, and the same mended.

Each program is a file of cells that begin with `# %%`; a cell is printed and then run, so that what is shown is what
runs. They can be run alone and cell by cell, too.
"""

from __future__ import annotations

import linecache
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ACCURACY = 0.95  # that the mended net has to reach on test images
ERROR = 0.01  # squared error that the mended recurrent net has to reach; 1/6 without memory
CELL = re.compile(r"^# %% ?(.*)\n", re.M)


class Cell(NamedTuple):
    """A piece of a program.

    Attributes:
        title: what stands behind `# %%`.
        code: its lines.
        line: the number of the first.
    """

    title: str
    code: str
    line: int


def main(folder: Path) -> bool:
    """Run both programs, which write their pages to `folder`; returns whether the mended nets learned."""
    start = time.perf_counter()
    digits = run("digits", folder)
    adding = run("adding", folder)
    heading("Before and after")
    print(f"{'':<24}{'before':>10}{'after':>10}")
    print(f"{'digits: test accuracy':<24}{digits['before']:>10.1%}{digits['after']:>10.1%}   (chance: 10 %)")
    print(f"{'adding: squared error':<24}{adding['before']:>10.4f}{adding['after']:>10.4f}   (without memory: 0.1667)")
    print(f"\n{time.perf_counter() - start:.0f} seconds. Pages to open in a browser; they need no network:")
    for page in ("digits.html", "adding.html"):
        print(f"    {(folder / page).resolve()}")
    print(f"The training of the mended net, step by step:\n    wengert watch {folder / 'run'}")
    learned = digits["after"] >= ACCURACY and adding["after"] <= ERROR
    if not learned:
        print(f"\nThat is not what it should be: accuracy {ACCURACY:.0%} and a squared error of {ERROR} were expected.")
    return learned


def run(program: str, folder: Path) -> dict[str, Any]:
    """Print and run the cells of a program; returns its variables."""
    file = Path(__file__).with_name(f"{program}.py")
    text, shown = file.read_text(encoding="utf-8"), file.name  # a name outside the package: these are a user's lines
    linecache.cache[shown] = len(text), None, text.splitlines(keepends=True), shown
    held: dict[str, Any] = {"__name__": f"{__name__}.{program}"}
    for cell in cells(text):
        if cell.title:
            heading(cell.title)
            print("".join(f"    {line}\n" if line else "\n" for line in cell.code.strip().splitlines()), flush=True)
        exec(compile("\n" * (cell.line - 1) + cell.code, shown, "exec", dont_inherit=True), held)
        held["folder"] = folder
    return held


def cells(text: str) -> Iterator[Cell]:
    """The pieces of a program, first what stands before the first title."""
    found = list(CELL.finditer(text))
    ends = [m.start() for m in found] + [len(text)]
    yield Cell("", text[: ends[0]], 1)
    for m, end in zip(found, ends[1:], strict=True):
        yield Cell(m[1], text[m.end() : end], text.count("\n", 0, m.end()) + 1)


def heading(title: str) -> None:
    """A title, bold in a terminal."""
    print(f"\n\033[1m{title}\033[0m\n" if sys.stdout.isatty() else f"\n{title}\n{'-' * len(title)}\n", flush=True)
