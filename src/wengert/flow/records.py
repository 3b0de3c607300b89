"""Records of a monitor: packed while training, plain dicts once somebody reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.flow.statistics import BINS, Path, layout

Record = dict[str, Any]


class Packed(NamedTuple):
    """One record as it left the compiled step."""

    step: int
    epoch: int
    time: float
    thorough: bool
    paths: Sequence[tuple[Path, int]]
    labels: Mapping[str, Mapping[str, str]]
    row: np.ndarray


def unpacked(p: Packed) -> Record:
    """The record as nested dicts of Python numbers; see `Monitor` for its keys."""
    found = layout(p.paths, p.row)
    record: Record = {
        "kind": "step",
        "step": p.step,
        "epoch": p.epoch,
        "time": p.time,
        "thorough": p.thorough,
        "loss": found.pop(("loss",)),
        "whole": {},
        "parameters": {},
        "activations": {},
    }
    special = {path: found.pop(path) for path in list(found) if path[0] in ("noise", "step")}
    for path, value in found.items():
        where = record
        for key in path[:-1]:
            where = where.setdefault(key, {})
        where[path[-1]] = value
    totals = {"weight": 0.0, "gradient": 0.0, "update": 0.0}
    for entry in record["parameters"].values():
        n = int(entry.pop("size"))
        gradient = entry.pop("gradient")
        update = entry.pop("update")
        totals["weight"] += n * entry["square"]
        totals["gradient"] += n * gradient["square"]
        totals["update"] += update
        entry["gradient"] = finished(gradient, n)
        finished(entry, n)
        entry["update_norm"] = math.sqrt(update)
        entry["update_ratio"] = ratio(entry["update_norm"], entry["norm"])
    for name, entry in record["activations"].items():
        entry |= p.labels.get(name, {})
        n = int(entry.pop("size"))
        if "gradient" in entry:
            entry["gradient"] = finished(entry["gradient"], n)
        finished(entry, n)
    whole = record["whole"]
    for name, key in (("param_norm", "weight"), ("grad_norm", "gradient"), ("update_norm", "update")):
        whole[name] = math.sqrt(totals[key]) if totals[key] >= 0 else math.nan
    whole["update_ratio"] = ratio(whole["update_norm"], whole["param_norm"])
    whole |= beyond(special, totals["update"])
    return record


def beyond(special: Mapping[Path, float], update: float) -> dict[str, float]:
    """Curvature and noise, where they were looked at."""
    found = {}
    if ("step", "change") in special:
        change, promised = special["step", "change"], special["step", "promised"]
        found["loss_change"], found["loss_promised"] = change, promised
        found["gain_ratio"] = ratio(change, promised)
        found["curvature"] = ratio(2 * (change - promised), update)
    if ("noise", "trace") in special:
        trace, square = special["noise", "trace"], special["noise", "square"]
        found["noise_trace"], found["noise_square"] = trace, square
        found["noise_scale"] = trace / square if square > 0 else math.inf
    return found


def finished(entry: dict[str, Any], n: int) -> dict[str, Any]:
    """Mean square to root mean square, norm and standard deviation; counts below edges to a histogram."""
    square = entry.pop("square")
    entry["rms"] = math.sqrt(square) if square >= 0 else math.nan
    entry["norm"] = entry["rms"] * math.sqrt(n)
    if "mean" in entry:
        variance = square - entry["mean"] ** 2
        entry["std"] = math.sqrt(variance) if variance > 0 else (0.0 if variance <= 0 else math.nan)
    if "below" in entry:
        below = entry.pop("below")
        count = entry.pop("count")
        counts = np.diff(np.concatenate([[0.0], below, [count]]))
        if np.all(np.isfinite(counts)) and math.isfinite(entry["max"] - entry["min"]):
            entry["histogram"] = {
                "low": entry["min"],
                "high": entry["max"],
                "counts": [int(c) for c in counts],
            }
            assert len(counts) == BINS
    return entry


def ratio(a: float, b: float) -> float:
    """a / b; 0 where both are 0."""
    return a / b if b else (0.0 if a == 0 else math.inf if a > 0 else math.nan)


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """`record["parameters"]["0.weight"]["norm"]` for "parameters/0.weight/norm"; None where there is no such thing."""
    where: Any = record
    for key in path.split("/"):
        if not isinstance(where, Mapping) or key not in where:
            return None
        where = where[key]
    return where
