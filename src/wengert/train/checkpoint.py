"""save and load: models, optimizers, schedules, averages, random keys and positions in data, in one file."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, CheckpointError
from wengert.ir.array import Array, WeakArray, concrete
from wengert.module import Module
from wengert.optim.parameters import Slot, listed, slots
from wengert.source import at_user_line
from wengert.train import safetensors

FACTS = "wengert"  # what of a file isn't arrays, as JSON among its metadata
KINDS = "biufc"


def save(path: str | os.PathLike[str], model: Any = None, optimizer: Any = None, **more: Any) -> None:
    """Write everything that is given into one file, as a whole or not at all.

    The file is a safetensors file: arrays by name (`model.layers.0.weight`), the rest as JSON in its metadata, and a
    checksum of both. It is written under a temporary name, synced, and renamed.

    Args:
        path: of the file, which is replaced if there is one.
        model, optimizer: modules.
        more: modules (schedulers, averages), arrays (random keys), sources of batches (their position), and plain
            data that JSON can hold.

    Raises:
        ArgumentError: something that is none of these.

    Example:
        >>> train.save("run.safetensors", model, optimizer, batches=batches, epoch=3)
    """
    parts = given(model, optimizer, more)
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, Any] = {"version": 1, "classes": {}, "plain": {}, "positions": {}}
    for name, x in parts.items():
        facts["classes"][name] = type(x).__name__
        if is_source(x):
            facts["positions"][name] = x.state()
        elif not isinstance(x, (Module, Array, np.ndarray)):
            facts["plain"][name] = x
    for slot in found(parts):
        arrays[slot.name] = np.asarray(concrete(slot.value) if isinstance(slot.value, Array) else slot.value)
    try:
        text = json.dumps(facts)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"save takes modules, arrays, sources of batches and what JSON can hold; {error}{at_user_line()}"
        ) from None
    safetensors.write(path, arrays, {"format": "wengert", FACTS: text})


def load(path: str | os.PathLike[str], model: Any = None, optimizer: Any = None, **more: Any) -> dict[str, Any]:
    """Read a file of `save` into the objects that are given, in place. No code is run.

    A safetensors file that something else wrote (a PyTorch `state_dict`) is read into `model` by its names.

    Args:
        path: of the file.
        model, optimizer, more: what to fill: modules, and sources of batches. They may be fewer than were saved.

    Returns:
        What was saved as arrays of their own or as plain data, by name.

    Raises:
        CheckpointError: a damaged file, or one of another model: every missing, extra and misshaped name is listed, and
            nothing is assigned.
        FileNotFoundError: there is no such file.

    Example:
        >>> epoch = train.load("run.safetensors", model, optimizer, batches=batches)["epoch"]
    """
    arrays, metadata = safetensors.read(path)
    parts = given(model, optimizer, more)
    if FACTS not in metadata:
        if set(parts) != {"model"}:
            raise CheckpointError(
                f"{os.fspath(path)} holds a state dict and nothing else; load it into a model alone{at_user_line()}"
            )
        if hasattr(model, "load_state_dict"):
            model.load_state_dict(arrays)
        else:
            fill(path, model, found(model), arrays)
        return {}
    facts = json.loads(metadata[FACTS])
    known = facts["classes"]
    absent = [n for n in parts if n not in known]
    if absent:
        raise CheckpointError(f"{os.fspath(path)} holds {listed(list(known))}; no {listed(absent)}{at_user_line()}")
    # in the order of saving: what stands in several parts has the name of the first
    mine = [n for n in known if n in parts and not is_source(parts[n])]
    wanted = {n: a for n, a in arrays.items() if n.split(".", 1)[0] in mine}
    classes = ", ".join(f"{n}: a {known[n]} saved, a {type(parts[n]).__name__} given" for n in parts)
    fill(path, parts, found({n: parts[n] for n in mine}), wanted, f" ({classes})")
    for name, state in facts["positions"].items():
        if name in parts:
            parts[name].restore(state)
    alone = {n: Array(a) for n, a in arrays.items() if n in known and n not in parts}
    return {**facts["plain"], **alone}


def given(model: Any, optimizer: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    return {n: x for n, x in {"model": model, "optimizer": optimizer, **more}.items() if x is not None}


def is_source(x: Any) -> bool:
    """Whether `x` is a source of batches, which has a position."""
    return not isinstance(x, Module) and hasattr(x, "state") and hasattr(x, "restore")


def found(x: Any) -> list[Slot]:
    """Every array, of any type; dicts of parts leave out what is no module and no array."""
    if isinstance(x, dict):
        x = {n: p for n, p in x.items() if isinstance(p, (Module, Array, np.ndarray))}
    return slots(x, kinds=KINDS)


def fill(
    path: str | os.PathLike[str], whole: Any, mine: list[Slot], arrays: Mapping[str, np.ndarray], what: str = ""
) -> None:
    """Assign arrays to slots by name, after everything has been checked."""
    by_name = {s.name: s for s in mine}
    also = {s.name for s in slots(whole, tied=False, kinds=KINDS)} if not isinstance(whole, dict) else set()
    loose = set(free_shapes(whole))
    missing = [n for n in by_name if n not in arrays]
    extra = [n for n in arrays if n not in by_name and n not in also]
    wrong = [
        f"{n} (saved {a.dtype.name}{list(a.shape)}, here {by_name[n].value.dtype.name}{list(by_name[n].value.shape)})"
        for n, a in arrays.items()
        if n in by_name and not fits(a, by_name[n].value, n in loose)
    ]
    if missing or extra or wrong:
        raise CheckpointError(
            f"{os.fspath(path)} does not fit{what}, and nothing was loaded."
            + "".join(
                f"\n  {title}: {', '.join(sorted(names))}"
                for title, names in (
                    ("not in the file", missing),
                    ("only in the file", extra),
                    ("of another shape or type", wrong),
                )
                if names
            )
            + at_user_line()
        )
    for name, slot in by_name.items():
        a = arrays[name].astype(slot.value.dtype, copy=False)
        slot.assign((WeakArray if isinstance(slot.value, WeakArray) else Array)(a))


def fits(a: np.ndarray, value: Any, any_shape: bool) -> bool:
    """Whether a saved array may take the place of `value`: equal shapes, and a type that loses nothing."""
    if a.dtype != value.dtype and not (a.dtype.kind == "f" and value.dtype.kind == "f"):
        return False
    return any_shape or a.shape == tuple(value.shape)


def free_shapes(whole: Any) -> list[str]:
    """Names of arrays whose shapes change over time (the history of L-BFGS)."""
    parts = whole.items() if isinstance(whole, dict) else ()
    return [f"{name}.{attribute}" for name, x in parts for attribute in getattr(x, "_any_shape", ())]


def save_state_dict(path: str | os.PathLike[str], model: Any) -> None:
    """Write the model's arrays by their names alone, as PyTorch users expect a safetensors file.

    Example:
        >>> train.save_state_dict("model.safetensors", model)   # safetensors.torch.load_file reads it
    """
    state = model.state_dict() if hasattr(model, "state_dict") else {s.name: s.value for s in found(model)}
    safetensors.write(path, {n: np.asarray(a) for n, a in state.items()}, {"format": "pt"})


def load_state_dict(path: str | os.PathLike[str], model: Any, strict: bool = True) -> Any:
    """Read a state dict's safetensors file (PyTorch's, or `save_state_dict`'s) into the model, by name.

    Args:
        path: of the file.
        model: an `nn.Module`.
        strict: whether missing and extra names are errors.

    Raises:
        CheckpointError: a damaged file.
        TreeError: names or shapes that don't fit; all are listed, and nothing is assigned.
    """
    return model.load_state_dict(safetensors.read(path)[0], strict)


class Checkpoints:
    """A folder of checkpoints, of which the last few are kept.

    Args:
        folder: made if there is none.
        keep: how many to keep.

    Example:
        >>> checkpoints = train.Checkpoints("runs/one", keep=3)
        >>> checkpoints.save(step, model, optimizer)
        >>> checkpoints.load_latest(model, optimizer)
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 3):
        if keep < 1:
            raise ArgumentError(f"Checkpoints: keep is {keep}; expected at least 1{at_user_line()}")
        self.folder = Path(folder)
        self.keep = keep

    def files(self) -> list[tuple[int, Path]]:
        """`(step, path)` of the checkpoints there are, oldest first; damaged ones too."""
        if not self.folder.is_dir():
            return []
        named = ((re.fullmatch(r"step-(\d+)\.safetensors", p.name), p) for p in self.folder.iterdir())
        return sorted((int(m[1]), p) for m, p in named if m)

    def save(self, step: int, model: Any = None, optimizer: Any = None, **more: Any) -> Path:
        """Save under the number of the step, then delete what is older than the last few."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:09d}.safetensors"
        save(path, model, optimizer, **more)
        for _, old in self.files()[: -self.keep]:
            old.unlink(missing_ok=True)
        for torn in self.folder.glob(".step-*.tmp"):  # of a process that was killed
            torn.unlink(missing_ok=True)
        return path

    def latest(self) -> Path | None:
        """The newest checkpoint that is whole; a damaged one is passed over with a warning."""
        return self._newest(lambda path: safetensors.read(path) and path)

    def load_latest(self, model: Any = None, optimizer: Any = None, **more: Any) -> dict[str, Any] | None:
        """Load the newest checkpoint that is whole; None where there is none. Otherwise as `load`."""
        path = self.latest()
        return None if path is None else load(path, model, optimizer, **more)

    def _newest(self, use: Callable[[Path], Any]) -> Any:
        for _, path in reversed(self.files()):
            try:
                return use(path)
            except CheckpointError as error:
                warnings.warn(f"a damaged checkpoint is passed over: {error}", RuntimeWarning, stacklevel=4)
        return None
