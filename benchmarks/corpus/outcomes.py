"""What came out, kept as it comes: a line of JSON for each network and part, so that a long run can be taken in pieces.

A line counts for the code it was made by: that of `wengert.flow` and of what judges it. Baselines don't depend on the
diagnosis: they count as long as their own code is the same. Several processes may write to one file.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from wengert import flow

HERE, FLOW = Path(__file__).parent, Path(flow.__file__).parent
PARTS = ("diagnosis", "repair", "baselines")
NETWORKS = [HERE / f"{name}.py" for name in ("judging", "networks", "plan", "tasks", "training")]


class Done(NamedTuple):
    """A part of a network's outcome, as it stands in a line."""

    text: str
    part: str
    values: dict[str, Any]
    seconds: float


@functools.cache
def version(part: str) -> str:
    """A checksum of the code that a part's outcome depends on."""
    files = sorted(NETWORKS) if part == "baselines" else [*sorted(NETWORKS), *sorted(FLOW.rglob("*.py"))]
    return hashlib.sha256(b"".join(f.name.encode() + f.read_bytes() for f in files)).hexdigest()[:12]


def read(path: Path) -> dict[tuple[str, str], Done]:
    """What this code has made so far, by text of the plan and part; lines of other code are passed over."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:  # the last line of a run that was killed
            continue
        if row.pop("code") == version(row["part"]):
            found[row["text"], row["part"]] = Done(**row)
    return found


def write(path: Path, rows: Iterable[Done]) -> None:
    """Append lines, each in one piece, so that several processes can."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        for row in rows:
            os.write(descriptor, (json.dumps({"code": version(row.part), **row._asdict()}) + "\n").encode())
    finally:
        os.close(descriptor)
