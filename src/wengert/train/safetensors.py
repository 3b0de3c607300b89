"""The safetensors format: eight bytes of length, a JSON header, raw numbers. Reading it runs no code.

Source: the format's description by Hugging Face (https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wengert.errors import CheckpointError
from wengert.source import at_user_line

NAMES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1", "C64": "<c8",
}  # fmt: skip
BY_TYPE = {np.dtype(v): k for k, v in NAMES.items()}
CHECKSUM = "sha256"  # of everything else, among the metadata
WIDE = "complex128"  # names of arrays kept as pairs of F64, because the format has no such type
LONGEST_HEADER = 100_000_000


def write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a file as a whole or not at all: under a temporary name, synced, then renamed.

    Args:
        path: of the file, which is replaced if there is one.
        arrays: names and arrays.
        metadata: names and strings; a checksum is added.
    """
    path = Path(path)
    wide = sorted(n for n, a in arrays.items() if a.dtype == np.complex128)
    facts = dict(metadata) | ({WIDE: json.dumps(wide)} if wide else {})
    header: dict[str, Any] = {"__metadata__": facts}
    blocks: list[Any] = []
    at = 0
    # the widest types first, so that every array is aligned
    for name, a in sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        a = np.ascontiguousarray(a).reshape(a.shape)
        if a.dtype == np.complex128:
            a = a.view(np.float64).reshape(*a.shape, 2)
        a = a.astype(a.dtype.newbyteorder("<"), copy=False)
        if a.dtype not in BY_TYPE:
            raise CheckpointError(f"{name!r} is of type {a.dtype}, which safetensors does not know{at_user_line()}")
        header[name] = {"dtype": BY_TYPE[a.dtype], "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        blocks.append(a.reshape(-1).view(np.uint8))
        at += a.nbytes
    facts[CHECKSUM] = checksum(header, blocks)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(len(text).to_bytes(8, "little"))
            file.write(text)
            for block in blocks:
                file.write(memoryview(block))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder lasting, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(header: Mapping[str, Any], blocks: list[Any]) -> str:
    facts = {k: v for k, v in header.get("__metadata__", {}).items() if k != CHECKSUM}
    text = json.dumps({**header, "__metadata__": facts}, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode())
    for block in blocks:
        digest.update(memoryview(block))
    return digest.hexdigest()


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a file.

    Raises:
        CheckpointError: the file is no safetensors file, cut short, or does not have its checksum.
        FileNotFoundError: there is no such file.
    """
    data = Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(len(data) - 8, LONGEST_HEADER):
        raise damaged(path, f"it has {len(data)} bytes, of which the header alone should take {size + 8}")
    try:
        header = json.loads(data[8 : 8 + size])
        if not isinstance(header, dict):
            raise ValueError("the header is no object")
        facts = header.get("__metadata__", {})
        if not isinstance(facts, dict) or not all(isinstance(v, str) for v in facts.values()):
            raise ValueError("the metadata are no strings")
        entries = {n: entry(e) for n, e in header.items() if n != "__metadata__"}
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, f"its header can't be read ({error})") from None
    body = memoryview(data)[8 + size :]
    at = 0
    for name, (_, _, begin, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if begin != at:
            raise damaged(path, f"{name!r} begins at byte {begin}, where {at} was expected")
        at = end
    if at != len(body):
        raise damaged(path, f"its arrays take {at} bytes, but {len(body)} follow the header")
    ours = facts.get("format") == "wengert"  # a damaged name of the checksum must not make it optional
    if (ours or CHECKSUM in facts) and facts.get(CHECKSUM) != checksum(header, [body]):
        raise damaged(path, "its checksum is wrong")
    wide = set(json.loads(facts.get(WIDE, "[]")))
    arrays = {}
    for name, (kind, shape, begin, end) in entries.items():
        a = decoded(kind, body[begin:end]).reshape(shape)
        arrays[name] = a.view(np.complex128)[..., 0] if name in wide else a
    return arrays, facts


def entry(e: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape, begin and end of an array, checked against each other."""
    kind, shape, (begin, end) = e["dtype"], tuple(e["shape"]), e["data_offsets"]
    width = 2 if kind == "BF16" else np.dtype(NAMES[kind]).itemsize
    if not all(isinstance(n, int) and n >= 0 for n in (*shape, begin, end)):
        raise ValueError(f"shape {shape} at {begin} to {end}")
    if math.prod(shape) * width != end - begin:
        raise ValueError(f"{kind} of shape {shape} in {end - begin} bytes")
    return kind, shape, begin, end


def decoded(kind: str, block: Any) -> np.ndarray:
    """A copy of the numbers of a block; bfloat16 as float32, which holds it exactly."""
    if kind == "BF16":
        return (np.frombuffer(block, "<u2").astype(np.uint32) << 16).view(np.float32)
    a = np.frombuffer(block, NAMES[kind])
    return a.astype(a.dtype.newbyteorder("="), copy=True)


def damaged(path: str | os.PathLike[str], why: str) -> CheckpointError:
    return CheckpointError(f"{os.fspath(path)} is damaged, or no safetensors file: {why}{at_user_line()}")
