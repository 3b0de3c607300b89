"""Records for TensorBoard: scalars and histograms as event files. Needs the extra `tensorboard`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from wengert.errors import ArgumentError
from wengert.source import at_user_line

Record = Mapping[str, Any]


class TensorBoard:
    """Writes records of a `Monitor`, or of a run folder, as TensorBoard's event files.

    Scalars are called as in the record: `parameters/0.weight/gradient/norm`.

    Args:
        folder: where the event files go.

    Raises:
        ArgumentError: tensorboardX is not installed, or the folder can't be written.

    Example:
        >>> with flow.TensorBoard("logs/first") as board:
        ...     board.write_all(flow.read_run("runs/first").records)
    """

    def __init__(self, folder: str | os.PathLike[str]):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ArgumentError(
                "TensorBoard's files are written by the package tensorboardX, which is not installed: "
                f'pip install "wengert[tensorboard]"{at_user_line()}'
            ) from error
        try:
            self.writer = SummaryWriter(str(folder))
        except OSError as error:
            raise ArgumentError(
                f"TensorBoard's folder {str(folder)!r} can't be written: {error}{at_user_line()}"
            ) from error

    def write(self, record: Record) -> None:
        """The scalars and histograms of one record; those that are not finite are left out."""
        kind = record.get("kind", "step")
        if kind == "epoch":
            self._walk(record.get("metrics", {}), "epoch", record["step"])
        elif kind == "step":
            parts = {k: v for k, v in record.items() if k in ("loss", "whole", "parameters", "activations")}
            self._walk(parts, "", record["step"])
        elif kind == "note":
            self.text("note", str(record.get("text", "")), record["step"])

    def write_all(self, records: Iterable[Record]) -> None:
        """Several records."""
        for record in records:
            self.write(record)

    def text(self, name: str, text: str, step: int = 0) -> None:
        """A text, such as `str(report)` of a diagnosis."""
        self.writer.add_text(name, "    " + text.replace("\n", "\n    "), step)  # indented: Markdown keeps the lines

    def _walk(self, x: Any, name: str, step: int) -> None:
        if isinstance(x, Mapping):
            if set(x) == {"low", "high", "counts"}:
                self._histogram(x, name, step)
                return
            for key, value in x.items():
                self._walk(value, f"{name}/{key}" if name else str(key), step)
        elif isinstance(x, (int, float)) and np.isfinite(x):
            self.writer.add_scalar(name, x, step)

    def _histogram(self, x: Mapping[str, Any], name: str, step: int) -> None:
        counts = np.asarray(x["counts"], float)
        if not counts.sum():
            return
        edges = np.linspace(x["low"], x["high"], len(counts) + 1)
        middle = (edges[1:] + edges[:-1]) / 2
        self.writer.add_histogram_raw(
            name,
            min=float(x["low"]),
            max=float(x["high"]),
            num=int(counts.sum()),
            sum=float(counts @ middle),
            sum_squares=float(counts @ middle**2),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=step,
        )

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
