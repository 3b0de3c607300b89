"""What a diagnosis finds, and the case that it looks at."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import nn, tree
from wengert.errors import WengertError
from wengert.flow.kinds import is_product
from wengert.flow.ledger import ledger
from wengert.flow.probe import record
from wengert.flow.profile import RECURRENT, Batch, Call, Profile, checked_batch, checked_model, norm, profile
from wengert.flow.recipe import Recipe, copied
from wengert.flow.remedies import surgery
from wengert.flow.remedies.activations import is_activation
from wengert.flow.remedies.layers import NORMS
from wengert.flow.remedies.remedy import Remedy
from wengert.flow.walk import Walk, walk
from wengert.nn.module import Module
from wengert.train.objective import checked_call, checked_loss_fn

EXAMPLES = 256  # of a batch that are looked at
CELLS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)
KINDS = (
    "vanishing", "exploding", "dead units", "saturation", "large initialisation", "small initialisation",
    "missing shortcut", "short memory", "learning rate too high", "learning rate too low", "gradient noise",
    "non-finite", "disconnected", "frozen", "shattered", "loss pairing", "input scale", "target scale",
    "identical inputs", "regularisation too strong",
)  # fmt: skip
TRANSFORMERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


@dataclasses.dataclass
class Finding:
    """Something that keeps a model from learning, or may.

    Attributes:
        kind: what: "vanishing", "exploding", "dead units", ….
        where: names of the parts concerned.
        cause: why, in a sentence with numbers.
        source: the cause in a word: "activation", "weights", "depth", "recurrence", "learning rate", "loss", ….
        shares: the share of each kind of cause, adding up to 1, where it could be attributed.
        evidence: the numbers that it rests on.
        remedies: what may help, the most promising first.
        severity: from 0 (worth knowing) to 1 (cannot learn); findings below 1/2 leave the verdict "healthy".
        line: the user's line, where there is one.
    """

    kind: str
    where: list[str]
    cause: str
    source: str
    severity: float
    evidence: dict[str, Any] = dataclasses.field(default_factory=dict)
    shares: dict[str, float] = dataclasses.field(default_factory=dict)
    remedies: list[Remedy] = dataclasses.field(default_factory=list)
    line: Any = None

    def __str__(self) -> str:
        parts = f" at {place(self.where)}" if self.where else ""
        text = f"{self.kind}{parts}: {self.cause}"
        if self.line is not None:
            text += f"\n    at {self.line}"
        for r in self.remedies:
            text += f"\n    remedy: {r}"
        return text


def place(names: list[str]) -> str:
    """The parts concerned: one, or the first and last of several."""
    names = [n or "the model" for n in names]
    if len(names) <= 3:
        return ", ".join(names)
    return f"{names[0]} … {names[-1]} ({len(names)} parts)"


class Case:
    """A model with its loss on one batch: what was measured, and what its parts are."""

    def __init__(self, recipe: Recipe, batch: Batch, settled: bool = False):
        self.recipe = recipe
        self.model: Any = recipe.model
        self.loss_fn: Callable[..., Any] = recipe.loss_fn  # type: ignore[assignment]
        checked_model(self.model)
        checked_loss_fn(self.loss_fn, "flow.diagnose")
        checked_call(self.loss_fn, self.model, tuple(batch), "flow.diagnose")
        checked_batch(batch)
        self.batch = batch = fewer(batch, EXAMPLES)
        self.trains = settled  # whether the optimizer is the user's own
        self.profile: Profile = profile(self.model, self.loss_fn, batch)

    @functools.cached_property
    def walk(self) -> Any:
        """The recorded steps of the loss with every edge's gain; None where they can't be recorded."""
        try:
            return walk(record(copied(self.model), self.loss_fn, *self.batch))
        except (WengertError, NotImplementedError):
            return None

    @functools.cached_property
    def ledger(self) -> Any:
        """The gain ledger from the loss back to the input; None where it can't be had."""
        return None if self.walk is None else ledger(self.walk)

    @property
    def is_module(self) -> bool:
        return isinstance(self.model, Module)

    @property
    def layers(self) -> list[Call]:
        """Layers with weights, each once (its first call), in order."""
        seen: set[str] = set()
        return [c for c in self.profile.layers if not (c.name in seen or seen.add(c.name))]  # type: ignore[func-returns-value]

    @property
    def last(self) -> str | None:
        """The layer with weights that makes the output."""
        layers = self.layers
        return layers[-1].name if layers else None

    def look(self, model: Any) -> list[surgery.Call]:
        """Names and shapes of all calls of a model like this one."""
        return surgery.calls(model, self.loss_fn, self.batch)

    def shapes(self) -> list[surgery.Call]:
        """Names and shapes of all calls, for surgery."""
        return surgery.calls(self.model, self.loss_fn, self.batch) if self.is_module else []

    def modules(self, *kinds: type) -> list[tuple[str, Module]]:
        """The parts of these classes."""
        if not self.is_module:
            return []
        return [(n, m) for n, m in self.model.named_modules() if isinstance(m, kinds)]  # type: ignore[misc]

    def activations(self) -> list[Call]:
        """Calls of activations between layers."""
        return [c for c in self.profile.calls if is_activation(c.module)]

    @property
    def normalised(self) -> bool:
        """Whether most layers with weights have a normalisation."""
        return 2 * len(self.modules(*NORMS)) >= max(len(self.layers) - 1, 1) and bool(self.modules(*NORMS))

    @functools.cached_property
    def shortcuts(self) -> bool:
        """Whether there are ways around at least half of the layers, by modules or in the functions that call them."""
        if self.modules(nn.Residual, *TRANSFORMERS):
            return True
        return self.walk is not None and 2 * shortest_way(self.walk) < len(self.layers)

    @property
    def recurrent(self) -> bool:
        return bool(self.modules(*RECURRENT, *CELLS))

    def output_activations(self) -> frozenset[str]:
        """Names of activations that stand behind the last layer with weights, and make the output."""
        calls = self.profile.calls
        ends = [i for i, c in enumerate(calls) if c.weighted]
        behind = calls[ends[-1] + 1 :] if ends else []
        return frozenset(c.name for c in behind if is_activation(c.module) or isinstance(c.module, nn.Softmax))

    def scale_free(self) -> list[tuple[Call, float]]:
        """The gradient's norm at each layer, behind its normalisation if one follows: there weights' scale is gone."""
        calls = self.profile.calls
        seen: set[str] = set()
        found = []
        for i, c in enumerate(calls):
            if not c.weighted or c.name in seen or c.gradient is None:
                continue
            seen.add(c.name)
            behind = calls[i + 1] if i + 1 < len(calls) else None
            at = behind if behind is not None and isinstance(behind.module, NORMS) else c
            g = at.gradient if at.gradient is not None else c.gradient
            found.append((c, norm(g)))
        return found


def shortest_way(walk: Walk) -> float:
    """The least number of products with weights on a way from what modules read to the loss; inf if there is none."""
    recording, tape = walk.recording, walk.recording.graph.trace
    read = {v.index for c in recording.calls for v in c.inputs}
    crossed = {v.index: 0.0 for v in recording.inputs.values() if v.index in read}
    for node in recording.steps:
        before = [crossed.get(a.index, math.inf) for a in node.inputs if a.trace is tape]  # type: ignore[attr-defined]
        weighted = any(a.trace is tape and walk.alone[a.index] for a in node.inputs)  # type: ignore[attr-defined]
        least = min(before, default=math.inf) + (is_product(node) and weighted)
        crossed.update((o.index, least) for o in node.outputs)
    return math.inf if recording.loss is None else crossed.get(recording.loss.index, math.inf)


def fewer(batch: Batch, most: int) -> Batch:
    """The first examples of a batch, if its arrays (two at least) share their first length, and it is larger."""
    leaves = tree.leaves(batch)
    lengths = {a.shape[0] if getattr(a, "shape", ()) else -1 for a in leaves}
    if len(leaves) < 2 or len(lengths) != 1 or max(lengths) <= most:
        return batch
    return tree.map(lambda a: a[:most], batch)


def percent(x: float) -> str:
    """A share for reading."""
    return f"{100 * x:.0f} %" if x >= 0.095 or x == 0 else f"{100 * x:.1f} %"


def finite(x: float, digits: int = 4) -> float | None:
    """A number rounded for evidence; None where it isn't finite."""
    return float(f"{x:.{digits}g}") if math.isfinite(x) else None


def spread(x: np.ndarray) -> float:
    """The standard deviation in double precision."""
    return float(np.asarray(x, np.float64).std()) if x.size else math.nan
