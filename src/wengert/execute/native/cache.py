"""A folder of compiled programs, so that the next process need not compile them again.

An entry is one file, named by its key: a magic word, a checksum of the rest, the key, the content. It is written
under another name and moved into place, so that a reader sees all of it or nothing; whatever does not check is taken
for absent. Machine code comes from here, hence the folder must belong to the user and be writable by nobody else.
No file is unpickled or executed to be read.

`WENGERT_CACHE_DIR` names another folder than the user's usual one; empty or `0`, there is no cache.
`WENGERT_CACHE_BYTES` bounds its size (256 MiB by default): entries that were not used for longest go first. A folder
that can't be written or isn't private means no cache, silently, except that one named by hand brings a warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import sys
import time
import warnings
from pathlib import Path

MAGIC = b"wengert1"
HEAD = len(MAGIC) + 32 + 32
SUFFIX = ".program"
MOST_BYTES = 256 << 20
STALE = 3600  # seconds after which a file that was not finished is nobody's


def folder() -> Path | None:
    """Where entries lie, made if need be; None where there is no cache."""
    named = os.environ.get("WENGERT_CACHE_DIR")
    if named is not None and named in ("", "0"):
        return None
    place = Path(named) if named else _usual()
    if place is None:
        return None
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        wrong = _unsafe(place.stat()) or ("" if os.access(place, os.R_OK | os.W_OK | os.X_OK) else "can't be written")
    except OSError as error:
        wrong = error.strerror or str(error)
    if wrong and named:
        warnings.warn(
            f"WENGERT_CACHE_DIR={named} is not used, since it {wrong}; compiled programs are not kept. Name a "
            "folder of your own that others can't write to, or set it to 0.",
            stacklevel=2,
        )
    return None if wrong else place


def _usual() -> Path | None:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "wengert" if base and os.path.isabs(base) else None


def _unsafe(status: os.stat_result) -> str:
    """Why others could have put something there; empty if they could not."""
    if not hasattr(os, "getuid"):  # Windows: the user's folders are private by their access lists
        return ""
    if status.st_uid != os.getuid():
        return "belongs to another user"
    return "can be written by others" if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else ""


def read(key: bytes) -> bytes | None:
    """The content kept under `key`; None if there is none, or what there is does not check."""
    place = folder()
    if place is None:
        return None
    path = place / (key.hex() + SUFFIX)
    try:
        with path.open("rb") as file:
            if _unsafe(os.fstat(file.fileno())):
                return None
            data = file.read()
    except OSError:
        return None
    checksum = data[len(MAGIC) : len(MAGIC) + 32]
    rest = memoryview(data)[len(MAGIC) + 32 :]
    if data[: len(MAGIC)] != MAGIC or hashlib.sha256(rest).digest() != checksum or rest[:32] != key:
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # used now
    return data[HEAD:]


def write(key: bytes, content: bytes) -> bool:
    """Keep `content`; whether that worked."""
    place, most = folder(), _most_bytes()
    if place is None or len(content) + HEAD > most:
        return False
    rest = key + content
    data = MAGIC + hashlib.sha256(rest).digest() + rest
    path = place / (key.hex() + SUFFIX)
    unfinished = place / f".{os.getpid()}-{secrets.token_hex(8)}"
    try:
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        os.replace(unfinished, path)
    except OSError:  # the disk is full, say
        with contextlib.suppress(OSError):
            unfinished.unlink()
        return False
    trim(place, most, path)
    return True


def trim(place: Path, most: int, newest: Path | None = None) -> None:
    """Remove what was used longest ago, but not `newest`, until all take at most `most` bytes; and unfinished files."""
    found: list[tuple[int, int, str]] = []
    with contextlib.suppress(OSError), os.scandir(place) as files:
        for file in files:
            with contextlib.suppress(OSError):  # others remove, too
                status = file.stat(follow_symlinks=False)
                if file.name.endswith(SUFFIX):
                    found.append((status.st_mtime_ns, status.st_size, file.path))
                elif file.name.startswith(".") and status.st_mtime < time.time() - STALE:
                    os.unlink(file.path)
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= most:
            break
        if newest is None or path != str(newest):
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size


def _most_bytes() -> int:
    try:
        return int(os.environ["WENGERT_CACHE_BYTES"])
    except (KeyError, ValueError):
        return MOST_BYTES
