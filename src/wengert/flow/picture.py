"""The network as plain data for the page: its modules, recorded steps and edges, each with what was measured there.

modules   by the path in which they were called: "encoder.layers.0", "cell#2" for a second call
nodes     parameters, inputs and steps, with values, cotangents, local derivative and the user's line
edges     from each value to the steps that read it, with their kind and gains
ledger    backward and forward: by kind, by path (what lies inside included), by layer, by turn
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np

from wengert.diff.pull import pull_node
from wengert.errors import ArgumentError
from wengert.flow.ledger import Ledger, ledger, through_time
from wengert.flow.probe import Recording, record
from wengert.flow.shares import lag, path_length
from wengert.flow.spectrum import quick
from wengert.flow.walk import Scaled, Walk, log10, norm, walk
from wengert.ir.array import Array
from wengert.ir.graph import Node, Var
from wengert.ir.scope import Frame
from wengert.ops.elementwise import Elementwise
from wengert.show.formula import local_derivative
from wengert.source import Source

BINS = 24
DETAILED = 4000  # steps up to which each has its histograms
SHARED = 3000  # steps up to which the gradient is told apart by path length and lag
LINES = 64  # singular values that are shown of a Jacobian
SAMPLED = 1 << 16  # elements that a histogram looks at
SAID = {"dot_general": "matmul", "logistic": "sigmoid", "handed on": "hand on"}


def picture(model: Any, loss_fn: Callable[..., Any], *batch: Any) -> dict[str, Any]:
    """Record `loss_fn(model, *batch)` and describe it as the page reads it: "modules", "nodes", "edges", "ledger", …"""
    recording = record(model, loss_fn, *batch)
    detailed = len(recording.steps) <= DETAILED
    gradients: dict[int, dict[str, Any]] = {}

    def seen(value: Var, cotangent: Scaled) -> None:
        gradients[value.index] = statistics(cotangent.array.data, cotangent.exponent, detailed)

    return network(walk(recording, seen), gradients, detailed) | _shares(recording) | _spectra(recording)


def _shares(recording: Recording) -> dict[str, Any]:
    """The gradient by path length and by lag, where the model has what they tell apart."""
    found = {}
    if len(recording.steps) <= SHARED:
        for key, by in (("path_length", path_length), ("lag", lag)):
            with suppress(ArgumentError):  # no recurrence, or nothing that the loss depends on
                s = by(recording)
                norms = [_finite(n) for n in s.norms]
                found[key] = {"parameter": s.of, "shares": [_finite(x) for x in s.shares], "norms": norms}
    return found


def _spectra(recording: Recording) -> dict[str, Any]:
    """Singular values of the Jacobians from layer to layer for one example, where they are cheap to have."""
    if len(recording.steps) > SHARED:
        return {}
    rows = []
    for s in quick(recording):
        values = [_finite(x) for x in s.values[:: max(1, len(s.values) // LINES)]]
        rows.append({"from": s.start, "to": s.end, "values": values, "rms": _finite(s.rms)})
    return {"spectrum": rows} if rows else {}


def network(walked: Walk, gradients: dict[int, dict[str, Any]], detailed: bool = True) -> dict[str, Any]:
    """What a walk found, as plain data; `gradients` are statistics of cotangents by value."""
    back = ledger(walked)
    ahead = ledger(walked, forward=True)
    trails = [trail(node) for node in walked.recording.steps]
    return {
        "modules": _modules(walked.recording, trails, gradients),
        "nodes": _nodes(walked, trails, gradients, detailed),
        "edges": _edges(walked, back),
        "ledger": {
            "backward": _ledger(back, trails, False, through_time(walked)),
            "forward": _ledger(ahead, trails, True, None),
        },
    }


def trail(node: Node) -> tuple[tuple[str, Frame], ...]:
    """The scopes of a step as (path, frame), outermost first; what is no step of the way inside is left out."""
    found: list[tuple[str, Frame]] = []
    base = path = outer = ""
    for f in getattr(node, "scope", None) or ():
        if f.what == "module":
            inner = f.name[len(outer) :].lstrip(".") if f.name.startswith(outer) else f.name
            if not inner:
                continue
            outer, base = f.name, path
            path = f"{base}.{inner}" if base else inner
            path += f"#{f.number + 1}" if f.number else ""
        elif f.what == "turn":
            path = f"{path}.{f.name} turn {f.number}" if path else f"{f.name} turn {f.number}"
        elif found and found[-1][1].kind == f.kind:  # a module that is nothing but this function
            continue
        else:
            path = f"{path}.{f.name}" if path else f.name
        found.append((path, f))
    return tuple(found)


def _path(parts: tuple[tuple[str, Frame], ...]) -> str:
    return parts[-1][0] if parts else ""


def _common(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x for x, y in zip(a, b, strict=False) if x[0] == y[0])


def _modules(recording: Recording, trails: Iterable[Any], gradients: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    calls = {c.frame: c for c in recording.calls}
    found: dict[str, dict[str, Any]] = {"": {"path": "", "class": type(recording.model).__name__}}
    for parts in trails:
        for path, frame in parts:
            if path in found:
                continue
            entry: dict[str, Any] = {"path": path, "class": "turn" if frame.what == "turn" else "function"}
            if frame.what == "module":
                entry["call"] = frame.name + (f"#{frame.number + 1}" if frame.number else "")
                entry["class"] = ""
            if (call := calls.get(frame)) is not None:
                entry["class"] = type(call.module).__name__
                if call.outputs:
                    entry["forward"] = statistics(call.outputs[0].data.data)
                    entry["gradient"] = gradients.get(call.outputs[0].index)
            found[path] = {k: v for k, v in entry.items() if v}
    return list(found.values())


def _nodes(walked: Walk, trails: list[Any], gradients: dict[int, Any], detailed: bool) -> list[dict[str, Any]]:
    recording = walked.recording
    home: dict[int, Any] = {}  # a parameter stands where all its uses are
    for node, parts in zip(recording.steps, trails, strict=True):
        for a in node.inputs:
            if a.trace is recording.graph.trace:
                index = a.index  # type: ignore[attr-defined]
                home[index] = _common(home[index], parts) if index in home else parts
    nodes = []
    for role, named in (("input", recording.inputs), ("parameter", recording.parameters)):
        for name, v in named.items():
            if role == "input":
                name = f"input {name}"
            if v.index in home or role == "parameter":
                about = _about(v, gradients, detailed)
                module = _path(home.get(v.index, ())) if role == "parameter" else ""
                nodes.append({"id": v.index, "name": name, "role": role, "module": module, **about})
    touched = {e.source for e in walked.edges} | {o for e in walked.edges for o in _outputs(recording, e.step)}
    for node, parts in zip(recording.steps, trails, strict=True):
        out = node.outputs[0]
        if out.index not in touched:  # computed, but no part of the loss
            continue
        name, turn = node.primitive.name, next((f.number for _, f in reversed(parts) if f.what == "turn"), None)
        nodes.append(
            {
                **{"id": out.index, "primitive": SAID.get(name, name), "role": "step", "module": _path(parts)},
                **({} if turn is None else {"turn": turn}),
                **({"name": "loss"} if out is recording.loss else {}),
                **_about(out, gradients, detailed),
                **_derivative(node, recording.graph.trace, detailed),
                **said_line(getattr(node, "source", None)),
            }
        )
    return nodes


def _outputs(recording: Recording, step: int) -> list[int]:
    return [o.index for o in recording.steps[step].outputs]


def _about(v: Var, gradients: dict[int, Any], detailed: bool) -> dict[str, Any]:
    about = {"shape": list(v.shape), "dtype": v.dtype.name, "forward": statistics(v.data.data, 0, detailed)}
    return {**about, "gradient": gradients.get(v.index) or {"norm": 0.0}}


def _derivative(node: Node, tape: Any, detailed: bool) -> dict[str, Any]:
    """What a step of one input multiplies by, element by element; else its formula, where there is one."""
    slots = [i for i, a in enumerate(node.inputs) if a.trace is tape]
    out = node.outputs[0]
    if not isinstance(node.primitive, Elementwise) or len(node.outputs) > 1 or out.dtype.kind != "f":
        return {}
    if len(slots) == 1 and node.inputs[slots[0]].shape == out.shape and detailed:
        with np.errstate(all="ignore"):
            pulled = pull_node(node, tape, [Array(np.ones(out.shape, out.dtype))])
        return {"derivative": statistics(pulled[0][1].data)} if pulled else {}
    told = [t for i in slots if (t := local_derivative(node.primitive.name, i, node.params))]
    return {"derivative": ", ".join(told)} if told else {}


def said_line(source: Any) -> dict[str, Any]:
    """A source line under the key "line"; nothing for None."""
    if source is None:
        return {}
    if not isinstance(source, Source):
        return {"line": {"text": str(source)}}
    file = os.path.basename(source.filename)
    return {"line": {"file": file, "line": source.line, "function": source.function, "text": source.text}}


def _edges(walked: Walk, back: Ledger) -> list[dict[str, Any]]:
    steps, shares = walked.recording.steps, {(r.step, r.source): r.share for r in back.rows}
    edges = []
    made = {o.index: node.outputs[0].index for node in steps for o in node.outputs}  # a step is known by its first
    for e in reversed(walked.edges):
        out = steps[e.step].outputs[0].index
        ahead = walked.sizes[out] - walked.sizes[e.source]
        edges.append(
            {
                **{
                    "from": made.get(e.source, e.source),
                    "to": out,
                    "kind": walked.kinds[e.step],
                    "gain": _finite(e.gain),
                },
                "forward": _finite(ahead),
                **({"share": _finite(s)} if (s := shares.get((e.step, e.source))) is not None else {}),
            }
        )
    return edges


def _ledger(found: Ledger, trails: list[Any], forward: bool, times: Ledger | None) -> dict[str, Any]:
    """A ledger for the page; what lies in turns is told by `times`, whose chains cross all of them."""
    by_path: dict[str, dict[str, float]] = {}
    by_turn = found.by_turn if times is None else times.by_turn
    told = [(r, False) for r in found.rows] + ([] if times is None else [(r, True) for r in times.rows])
    for row, timed in told:
        turned = False
        for path, frame in trails[row.step]:
            turned |= frame.what == "turn"
            if times is not None and turned != timed:
                continue
            sums = by_path.setdefault(path, {})
            for kind, term in row.terms(forward):
                if term:
                    sums[kind] = sums.get(kind, 0.0) + term
    return {
        "total": _finite(found.total),
        "start": found.start,
        "by_kind": _rounded(found.by_kind),
        "by_module": [{"path": p, "total": _sum(k), "by_kind": _rounded(k)} for p, k in by_path.items()],
        "by_layer": [{"name": n, "total": _sum(k), "by_kind": _rounded(k)} for n, k in found.by_layer.items()],
        "by_turn": [{"turn": n, "total": _sum(k), "by_kind": _rounded(k)} for n, k in sorted(by_turn.items())],
    }


def _sum(kinds: dict[str, float]) -> float | None:
    return _finite(math.fsum(kinds.values()))


def _rounded(kinds: dict[str, float]) -> dict[str, float | None]:
    return {k: _finite(v) for k, v in kinds.items()}


def _finite(x: float) -> float | None:
    return float(f"{x:.5g}") if math.isfinite(x) else None


def statistics(x: Any, exponent: int = 0, histogram: bool = True) -> dict[str, Any]:
    """Norm, mean, deviation, range, share of zeros and a histogram of `x · 2**exponent`."""
    v = np.asarray(x)
    if not v.size or v.dtype.kind not in "fiub":
        return {}
    v = v.astype(np.float64).ravel()
    power = 2.0 ** max(min(exponent, 1000), -1000)
    low, high = float(v.min()), float(v.max())
    with np.errstate(all="ignore"):
        numbers = {"mean": v.mean() * power, "std": v.std() * power, "min": low * power, "max": high * power}
    size = log10(norm(v)) + exponent * log10(2.0)
    found: dict[str, Any] = {"norm": _finite(10.0**size) if -300 < size < 300 else None if size > 0 else 0.0}
    found |= {k: _finite(float(n)) for k, n in numbers.items()} if v.size > 1 else {"mean": _finite(low * power)}
    found["zero"] = _finite(float(np.mean(v == 0)))
    if histogram and v.size > 1 and math.isfinite(low) and math.isfinite(high) and high > low:
        some = v[:: max(1, v.size // SAMPLED)]
        counts, _ = np.histogram(some, bins=BINS, range=(low, high))
        found["histogram"] = {"low": _finite(low * power), "high": _finite(high * power), "counts": counts.tolist()}
    return found
