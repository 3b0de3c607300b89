"""A run folder: what a monitor saw, written while the training runs, so that others can watch it or read it later.

    run.json         what the run is: format, version, model, parameters
    records.jsonl    one record a line: "start", "step", "epoch", "note", "end", each with "step" and "time"

A line is written at once, so that a killed run loses at most its last one; a reader leaves out lines that are damaged,
and steps that were made again after a restart. Numbers that are not finite are null.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wengert.errors import ArgumentError
from wengert.source import at_user_line

FORMAT, VERSION = "wengert-run", 1
META, RECORDS = "run.json", "records.jsonl"
SYNC = 5.0  # seconds after which what was written is forced to the disk

Record = dict[str, Any]
Folder = str | os.PathLike[str]


class RunWriter:
    """Writes a run folder. A folder that holds a run is continued: what is read later counts from the restart's step.

    Args:
        folder: made if it is not there.
        described: what goes into `run.json` beside format, version and time.

    Raises:
        ArgumentError: the folder can't be written, or holds something else by these names.
    """

    def __init__(self, folder: Folder, described: Mapping[str, Any], step: int = 0):
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if (self.folder / META).exists():
                meta(self.folder)  # of another kind or version: not to be overwritten
            _write_whole(
                self.folder / META,
                as_json({"format": FORMAT, "version": VERSION, "created": time.time(), **described}),
            )
            self.file = (self.folder / RECORDS).open("ab+")
            self._end_damaged_line()
        except OSError as error:
            raise ArgumentError(f"the run folder {str(folder)!r} can't be written: {error}{at_user_line()}") from error
        self.synced = time.monotonic()
        self.write({"kind": "start", "step": step, "time": 0.0, "clock": time.time()})

    def _end_damaged_line(self) -> None:
        if self.file.seek(0, os.SEEK_END):
            self.file.seek(-1, os.SEEK_END)
            if self.file.read(1) != b"\n":
                self.file.write(b"\n")

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record."""
        self.file.write(as_json(record) + b"\n")
        self.file.flush()
        if time.monotonic() - self.synced > SYNC:
            self.sync()

    def sync(self) -> None:
        os.fsync(self.file.fileno())
        self.synced = time.monotonic()

    def close(self) -> None:
        if not self.file.closed:
            self.sync()
            self.file.close()


class SavedRun(NamedTuple):
    """A run folder that was read: `run.json`, the records, and how many lines were damaged."""

    meta: Record
    records: list[Record]
    damaged: int

    @property
    def steps(self) -> list[Record]:
        """The records of steps."""
        return [r for r in self.records if r["kind"] == "step"]


def read_run(folder: Folder) -> SavedRun:
    """Everything that a run folder holds.

    Raises:
        ArgumentError: the folder is none, `run.json` is damaged, or of a newer version.
    """
    about = meta(folder)
    path = Path(folder) / RECORDS
    content = path.read_bytes() if path.exists() else b""
    records: list[Record] = []
    damaged = 0
    for line in content.split(b"\n"):
        record = parsed(line)
        if record is not None:
            take(records, record)
        elif line.strip():
            damaged += 1
    return SavedRun(about, records, damaged)


def follow(folder: Folder, position: int = 0) -> tuple[list[Record], int]:
    """The records written since a position in bytes (0 at first), and the position to go on from.

    A line that is not ended yet is left for the next time. Records of a restart may repeat steps: see `take`.
    """
    path = Path(folder) / RECORDS
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < position:
                position = 0  # somebody has begun the file anew
            file.seek(position)
            content = file.read()
    except FileNotFoundError:
        return [], 0
    end = content.rfind(b"\n") + 1
    found = [r for line in content[:end].split(b"\n") if (r := parsed(line)) is not None]
    return found, position + end


def take(records: list[Record], record: Record) -> None:
    """Append a record; a restart takes away what came after its step, which is going to be made again."""
    if record["kind"] == "start":
        while records and records[-1].get("step", 0) > record["step"]:
            records.pop()
    records.append(record)


def parsed(line: bytes) -> Record | None:
    """A line of records as a record; None if it is damaged."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    well = isinstance(record, dict) and isinstance(record.get("kind"), str) and isinstance(record.get("step"), int)
    return record if well else None


def meta(folder: Folder) -> Record:
    """`run.json`, checked."""
    path = Path(folder) / META
    if not path.is_file():
        raise ArgumentError(
            f"{str(folder)!r} is no run folder: it has no {META}. flow.Monitor(folder=…) writes one{at_user_line()}"
        )
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{str(path)!r} is damaged: {error}{at_user_line()}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ArgumentError(f"{str(path)!r} describes no run: its format is not {FORMAT!r}{at_user_line()}")
    if not isinstance(found.get("version"), int) or found["version"] > VERSION:
        raise ArgumentError(
            f"{str(path)!r} has version {found.get('version')!r}; this Wengert reads up to {VERSION}{at_user_line()}"
        )
    return found


def as_json(x: Any) -> bytes:
    """As one line of strict JSON: numbers that are not finite become null, NumPy's become plain."""
    return json.dumps(plain(x), separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def plain(x: Any) -> Any:
    """`x` made of what JSON has."""
    if isinstance(x, (bool, int, str)) or x is None:
        return x
    if isinstance(x, (float, np.floating)):
        return float(x) if math.isfinite(x) else None
    if isinstance(x, Mapping):
        return {str(k): plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if isinstance(x, np.ndarray):
        return plain(x.tolist())
    if isinstance(x, np.generic):
        return plain(x.item())
    return str(x)


def _write_whole(path: Path, content: bytes) -> None:
    """A file that is there as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
