"""A plan says everything about a network and its training; a fault is a plan with some fields changed."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numpy as np

from corpus.tasks import LOSSES, Task, loss_name, task
from wengert import optim
from wengert.flow import Recipe

SEEDS = (0, 1)  # of the order of batches, in each validation
HELD_OUT = 2  # of every five families


@dataclasses.dataclass(frozen=True)
class Plan:
    """A network and how it is trained; with the defaults, one that learns.

    `at` is the range of hidden layers that `act_at`, `gain_at` and `bias_at` apply to.
    """

    arch: str
    task: str
    depth: int = 4
    width: int = 24
    act: str = "ReLU"
    gain: float | None = 1.0  # times the scale that suits the activation; None: PyTorch's own start
    norm: str = ""
    at: tuple[int, int] = (0, 0)
    act_at: str = ""
    gain_at: float | None = None
    bias_at: float | None = None
    cut: int = -1  # hidden layer behind which `cut_by` stands
    cut_by: str = "detach"
    narrow: int = 0  # width of the layer before the cut
    frozen: tuple[str, ...] = ()
    output: str = ""
    head_gain: float = 1.0
    head_bias: float = 0.0
    recurrent_gain: float | None = None
    gate_bias: float | None = None
    embedding: float = 1.0
    queries: float = 1.0  # times the weights that make attention's queries and keys
    dropout: float = 0.0
    pretrain: int = 0  # steps trained before anybody looks
    noise: float = 0.0  # share of labels drawn at random
    dead: float = 0.0  # share of units of the first layer that are dead
    optimizer: str = "Adam"
    momentum: float = 0.0
    lr: float = 3e-3
    batch: int = 32
    steps: int = 250
    loss: str = ""
    double: bool = False
    seed: int = 0

    def but(self, **changes: Any) -> Plan:
        return dataclasses.replace(self, **changes)

    @property
    def data(self) -> Task:
        return task(self.task)

    @property
    def family(self) -> str:
        """Task, architecture and depth: what is held out is held out as a whole."""
        depth = "shallow" if self.depth <= 6 else "middle" if self.depth <= 14 else "deep"
        return f"{self.task.rstrip('0123456789')}/{self.arch}/{depth}"

    @property
    def held_out(self) -> bool:
        return zlib.crc32(self.family.encode()) % 5 < HELD_OUT

    @property
    def text(self) -> str:
        """Everything that differs from the default, in a line."""
        plain = type(self)(self.arch, self.task)
        return " ".join([self.arch, self.task, *(f"{k}={v}" for k, v in self.changes(plain).items())])

    @property
    def structure(self) -> str:
        """What a compiled step depends on: everything but numbers."""
        return self.but(seed=0, gain=1.0, gain_at=None, bias_at=None, recurrent_gain=None, gate_bias=None, lr=0.0,
                        head_gain=1.0, head_bias=0.0, dead=0.0, noise=0.0, steps=0, pretrain=0).text  # fmt: skip

    @property
    def number(self) -> int:
        """A checksum of the plan."""
        return zlib.crc32(self.text.encode())

    def changes(self, other: Plan) -> dict[str, Any]:
        """The fields in which this differs from another."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != getattr(other, f.name)
        }

    def recipe(self, model: Any) -> Recipe:
        settings = {"momentum": self.momentum} if self.momentum else {}
        loss = LOSSES[self.loss or loss_name(self.data)]
        return Recipe(model, loss, getattr(optim, self.optimizer), self.lr, settings)

    def batches(self, count: int = 40) -> list[tuple[np.ndarray, np.ndarray]]:
        """Batches to train on, the same in every run; labels with noise where the plan says so."""
        t, rng = self.data, np.random.default_rng(self.seed)
        x, y = t.x.astype(np.float64) if self.double and t.x.dtype.kind == "f" else t.x, t.y.copy()
        if self.noise:
            drawn = rng.random(len(y)) < self.noise
            y[drawn] = rng.integers(0, t.classes, int(drawn.sum()))
        y = y.astype(np.float64) if self.double and y.dtype.kind == "f" else y
        count = max(count, 1280 // self.batch)
        order = np.concatenate([rng.permutation(len(x)) for _ in range(-(-count * self.batch // len(x)))])
        rows = order[: count * self.batch].reshape(count, self.batch)
        return [(x[r], y[r]) for r in rows]
