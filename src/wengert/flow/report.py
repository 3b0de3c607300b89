"""A report: what a diagnosis says, as text, data, page and in notebooks."""

from __future__ import annotations

import datetime
import html
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, WengertError
from wengert.flow.depth_model import mean_field
from wengert.flow.finding import Case, Finding, finite, place
from wengert.flow.findings_depth import decades
from wengert.flow.monitor import Monitor
from wengert.flow.picture import picture, said_line
from wengert.flow.profile import norm, rms
from wengert.flow.run import read_run
from wengert.source import at_user_line
from wengert.web import page

VERDICT = 0.5
WIDTH = 24  # characters of a bar


class Report:
    """The result of `flow.diagnose`.

    Attributes:
        verdict: the kind of the most important finding that is a fault, or "healthy".
        findings: `Finding`s, the most important first.
        loss: of the batch.
        layers: for each layer with weights its name, class, decades of gradient relative to the last layer, size of
            output, of gradient and of weights.
    """

    def __init__(self, case: Case, findings: list[Finding]):
        self.case = case
        self.findings = findings
        self.loss = case.profile.loss
        self.repair: Any = None
        self.training: Any = None  # a Monitor, or the run folder that it wrote

    @property
    def ledger(self) -> Any:
        """By how many decades each kind of operation, module and turn changes the gradient; see `flow.ledger`."""
        return self.case.ledger

    @property
    def faults(self) -> list[Finding]:
        """Findings that keep the model from learning."""
        return [f for f in self.findings if f.severity >= VERDICT]

    @property
    def healthy(self) -> bool:
        return not self.faults

    @property
    def verdict(self) -> str:
        return self.faults[0].kind if self.faults else "healthy"

    @property
    def layers(self) -> list[dict[str, Any]]:
        by_name = {c.name: d for c, d in decades(self.case)}
        return [
            {
                "name": c.name,
                "class": type(c.module).__name__,
                "decades": finite(by_name.get(c.name, math.nan), 3),
                "output": finite(rms(c.made), 3) if c.made is not None else None,
                "gradient": finite(norm(c.gradient), 3) if c.gradient is not None else None,
                "weight": finite(rms(np.asarray(c.module.weight)), 3),
            }
            for c in self.case.layers
        ]

    @property
    def summary(self) -> str:
        """The verdict in a sentence."""
        if not self.faults:
            return "No fault was found: the gradient reaches every layer at a size that lets it learn."
        first = self.faults[0]
        where = f" at {place(first.where)}" if first.where else ""
        return f"{first.kind}{where}: {first.cause}."

    def __str__(self) -> str:
        count = sum(p.value.size for p in self.case.profile.parameters)
        model = self.case.model
        lines = [f"{self.verdict.upper()}  {type(model).__name__}, {count:,} parameters, loss {self.loss:.4g}"]
        for i, f in enumerate(self.findings, 1):
            note = "" if f.severity >= VERDICT else " (no fault)"
            where = f" at {place(f.where)}" if f.where else ""
            lines += ["", f"{i}. {f.kind}{where}{note}", f"   {f.cause}"]
            if f.line is not None:
                lines.append(f"   at {f.line}")
            lines += [f"   → {r.name}: {r.reason}" for r in f.remedies[:4]]
        shown = self.layers
        if shown and any(layer["decades"] is not None for layer in shown):
            lines += ["", "gradient by layer (decades relative to the last)"]
            lines += _bars(shown)
        if not self.findings:
            lines += ["", self.summary]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><b>{html.escape(f.kind)}</b></td><td>{html.escape(place(f.where))}</td>"
            f"<td>{html.escape(f.cause)}</td><td>{html.escape('; '.join(r.name for r in f.remedies[:3]))}</td></tr>"
            for f in self.findings
        )
        table = f"<table><tr><th>finding</th><th>where</th><th>cause</th><th>remedies</th></tr>{rows}</table>"
        bars = html.escape("\n".join(_bars(self.layers)))
        told = table if rows else html.escape(self.summary)
        return f"<div><h3>{html.escape(self.verdict)}</h3>{told}<pre>{bars}</pre></div>"

    def data(self) -> dict[str, Any]:
        """Everything as plain data, in the format "wengert-flow" that the page reads."""
        calls = [c for c in self.case.profile.calls if c.made is not None and c.gradient is not None]
        return {
            "format": "wengert-flow",
            "version": 1,
            "title": type(self.case.model).__name__,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "verdict": self.verdict,
            "summary": self.summary,
            "loss": finite(self.loss, 6),
            "findings": [
                {
                    "kind": f.kind, "where": place(f.where) if f.where else "", "cause": f.cause, "source": f.source,
                    "shares": {k: finite(v) for k, v in f.shares.items()}, "evidence": _plain(f.evidence),
                    "severity": f.severity, "modules": f.where,
                    "remedies": [{"name": r.name, "reason": r.reason} for r in f.remedies],
                    **said_line(f.line),
                }
                for f in self.findings
            ],
            "layers": self.layers,
            "modules": [
                {
                    "path": c.name + (f"#{c.turn + 1}" if c.turn else ""), "class": type(c.module).__name__,
                    "forward": statistics(c.made), "gradient": statistics(c.gradient),
                }
                for c in calls
            ],
            **self._network(),
            **self._depth(),
            **({} if self.repair is None else {"repair": self.repair.data()}),
            **({} if self.training is None else {"training": run_data(self.training)}),
        }  # fmt: skip

    def _depth(self) -> dict[str, Any]:
        """What mean-field theory says, where it covers anything."""
        try:
            return {"depth": mean_field(self.case.model).data()}
        except WengertError:
            return {}

    def _network(self) -> dict[str, Any]:
        """The picture of the network, where the loss can be recorded."""
        try:
            return picture(self.case.model, self.case.loss_fn, *self.case.batch)
        except WengertError:
            return {}

    def to_json(self, indent: int | None = None) -> str:
        """`data()` as JSON; numbers that aren't finite are null."""
        return json.dumps(_plain(self.data()), indent=indent, allow_nan=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report: `.json` as data, `.txt` as text, `.html` as a page that needs nothing else.

        The training that `report.training` holds (a Monitor, or its run folder) is part of the data and of the page.

        Raises:
            ArgumentError: another ending, or a path that can't be written.
        """
        target = Path(path)
        kinds = {".json": lambda: self.to_json(2), ".txt": lambda: str(self) + "\n", ".html": self._page}
        if target.suffix not in kinds:
            raise ArgumentError(
                f"report.save: {str(target)!r} ends in {target.suffix or 'nothing'}; expected .html, .json or .txt"
                + at_user_line()
            )
        text = kinds[target.suffix]()
        try:
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ArgumentError(
                f"report.save: {str(target)!r} can't be written ({error.strerror}); choose a folder that exists and is "
                f"yours{at_user_line()}"
            ) from error

    def _page(self) -> str:
        return page(self.data())


def run_data(training: Any) -> dict[str, Any]:
    """What a monitor saw, or its run folder holds, as the page reads it."""
    if isinstance(training, Monitor):
        return {"run": training.started, "records": training.records}
    saved = read_run(training)
    return {"run": saved.meta, "records": saved.records}


def statistics(x: np.ndarray | None) -> dict[str, Any]:
    """Mean, deviation, norm, range, share of zeros and a histogram of an array."""
    if x is None or not x.size:
        return {}
    v = np.asarray(x, np.float64).ravel()
    with np.errstate(all="ignore"):  # infinities and NaN are what some networks make
        numbers = {
            "mean": v.mean(),
            "std": v.std(),
            "norm": norm(v),
            "min": v.min(),
            "max": v.max(),
            "zero": np.mean(v == 0),
        }
    found: dict[str, Any] = {n: finite(float(x)) for n, x in numbers.items()}
    if np.isfinite(v).all() and v.max() > v.min():
        counts, edges = np.histogram(v, bins=32)
        found["histogram"] = {"low": float(edges[0]), "high": float(edges[-1]), "counts": counts.tolist()}
    return found


def _bars(layers: list[dict[str, Any]]) -> list[str]:
    values = [layer["decades"] for layer in layers]
    known = [v for v in values if v is not None]
    top = max([1.0, *(abs(v) for v in known)])
    wide = max((len(layer["name"]) for layer in layers), default=0)
    lines = []
    for layer, v in zip(layers, values, strict=True):
        filled = "" if v is None else ("▮" * round(WIDTH * abs(v) / top))
        text = "  none" if v is None else f"{v:+6.2f}"
        lines.append(f"  {layer['name']:{wide}}  {text}  {filled}")
    if len(lines) > 40:
        lines = [*lines[:20], f"  … {len(lines) - 40} more …", *lines[-20:]]
    return lines


def _plain(x: Any) -> Any:
    """Data without numbers that JSON doesn't know."""
    if isinstance(x, dict):
        return {str(k): _plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_plain(v) for v in x]
    if isinstance(x, (float, np.floating)):
        return float(x) if math.isfinite(x) else None
    if isinstance(x, np.integer):
        return int(x)
    return x
