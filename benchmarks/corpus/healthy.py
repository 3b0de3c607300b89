"""Healthy networks by rule, the hard ones included: converged, frozen in part, sparse, small batches, noise, …."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from corpus.faults import VECTORS, bases
from corpus.plan import Plan


class Healthy(NamedTuple):
    """A network that learns, and what is special about it."""

    plan: Plan
    rule: str


def plain() -> Iterator[Healthy]:
    """What the faults are put on."""
    for plan, _ in bases():
        yield Healthy(plan, "plain")


def activations() -> Iterator[Healthy]:
    for act, t, depth in itertools.product(
        ("LeakyReLU", "ELU", "GELU", "SiLU", "Tanh", "PReLU", "Softplus", "Mish"), VECTORS, (2, 4, 7)
    ):
        yield Healthy(Plan("mlp", t, depth, 32, act=act, seed=11), "activation")
    for t, depth in itertools.product(VECTORS, (4, 10, 20)):
        yield Healthy(Plan("mlp", t, depth, 32, act="SELU", seed=12, lr=2e-3), "activation")


def usual_start() -> Iterator[Healthy]:
    """PyTorch's own initial weights, which are smaller than a rectifier would like."""
    for t, depth, act in itertools.product((*VECTORS, "spirals"), (2, 3, 5), ("ReLU", "Tanh", "GELU")):
        yield Healthy(Plan("mlp", t, depth, 40, act=act, gain=None, seed=13, lr=5e-3, steps=350), "usual start")
    for t, act in itertools.product(VECTORS, ("Sigmoid",)):
        yield Healthy(Plan("mlp", t, 1, 40, act=act, gain=None, seed=14, lr=1e-2), "one sigmoid layer")


def normalised() -> Iterator[Healthy]:
    """Deep sigmoid and tanh nets that normalisation keeps alive."""
    for t, depth, act, norm in itertools.product(
        VECTORS, (6, 12), ("ReLU", "Tanh", "Sigmoid", "GELU"), ("batch", "layer")
    ):
        yield Healthy(Plan("mlp", t, depth, 32, act=act, norm=norm, seed=15, lr=5e-3), "normalised")


def residual() -> Iterator[Healthy]:
    for t, depth, norm, act in itertools.product(VECTORS, (10, 30, 60), ("layer", ""), ("ReLU", "Tanh")):
        yield Healthy(Plan("resmlp", t, depth, 24, act=act, norm=norm, seed=16, lr=2e-3, steps=200), "residual")


def converged() -> Iterator[Healthy]:
    """Trained to the end: tiny gradients, saturated outputs."""
    for t, depth, act, opt in itertools.product(VECTORS, (2, 4), ("ReLU", "Tanh"), ("Adam", "SGD")):
        settings = {"optimizer": "SGD", "lr": 0.05, "momentum": 0.9} if opt == "SGD" else {}
        p = Plan("mlp", t, depth, 40, act=act, pretrain=800, steps=100, seed=17, **settings)  # type: ignore[arg-type]
        yield Healthy(p, "converged")
    for arch, t, depth in (
        ("cnn", "images", 3),
        ("rescnn", "images", 8),
        ("bag", "words", 3),
        ("transformer", "rows", 2),
    ):
        norm = {"rescnn": "batch", "transformer": "pre"}.get(arch, "")
        gain = None if arch == "transformer" else 1.0
        yield Healthy(Plan(arch, t, depth, 16, norm=norm, gain=gain, pretrain=600, steps=100, seed=18), "converged")
    for arch in ("gru", "lstm"):
        p = Plan(arch, "recall30", 1, 20, gate_bias=4.0, recurrent_gain=1.0, lr=1e-2, pretrain=500, steps=100, seed=18)
        yield Healthy(p, "converged")


def half_trained() -> Iterator[Healthy]:
    for t, depth, steps in itertools.product(VECTORS, (3, 6), (30, 100)):
        yield Healthy(Plan("mlp", t, depth, 32, pretrain=steps, steps=200, seed=19), "half trained")


def frozen() -> Iterator[Healthy]:
    """A trunk that is trained and held, a head that learns; or words' vectors that are held."""
    for t, depth, held in itertools.product(VECTORS, (3, 5), (1, 2)):
        patterns = tuple(f"layer{i}.*" for i in range(held))
        yield Healthy(Plan("mlp", t, depth, 32, frozen=patterns, pretrain=150, steps=200, seed=20), "frozen parts")
        yield Healthy(Plan("mlp", t, depth, 48, frozen=patterns, steps=300, seed=21), "frozen parts")
    for depth, seed in itertools.product((2, 4), (0, 1, 2)):
        yield Healthy(
            Plan("bag", "words", depth, 32, frozen=("embedding.*",), steps=300, seed=seed), "frozen embedding"
        )


def sparse() -> Iterator[Healthy]:
    """Embeddings of which a batch touches few rows."""
    for depth, batch, scale in itertools.product((1, 2, 4), (8, 32), (0.1, 1.0)):
        yield Healthy(
            Plan("bag", "words", depth, 24, batch=batch, embedding=scale, lr=1e-2, seed=22, steps=350),
            "sparse embedding",
        )
    for depth, batch in itertools.product((1, 2), (8, 32)):
        p = Plan("transformer", "words", depth, 16, norm="pre", gain=None, batch=batch, lr=5e-3, seed=23, steps=300)
        yield Healthy(p, "sparse embedding")


def small_batches() -> Iterator[Healthy]:
    for t, depth, batch, opt in itertools.product(VECTORS, (2, 4), (2, 4, 8), ("Adam", "SGD")):
        settings = {"optimizer": "SGD", "lr": 0.01, "momentum": 0.5} if opt == "SGD" else {"lr": 2e-3}
        p = Plan("mlp", t, depth, 32, batch=batch, steps=600, seed=24, **settings)  # type: ignore[arg-type]
        yield Healthy(p, "small batches")


def noisy() -> Iterator[Healthy]:
    for t, depth, share in itertools.product(("digits", "blobs"), (2, 4, 6), (0.2, 0.4)):
        yield Healthy(Plan("mlp", t, depth, 32, noise=share, steps=300, seed=25), "label noise")
    for t, depth in itertools.product(VECTORS, (3, 5)):
        yield Healthy(Plan("mlp", t, depth, 64, dropout=0.3, steps=350, seed=26), "dropout")


def odd_scales() -> Iterator[Healthy]:
    """Losses in other units, numbers of double precision, some dead units, a head that starts at zero."""
    for t, depth in itertools.product(("digits", "blobs"), (2, 4)):
        p = Plan("mlp", t, depth, 32, seed=27)
        for loss in ("small_loss", "summed", "smoothed"):
            yield Healthy(p.but(loss=loss), "another loss")
    for t, depth in itertools.product(VECTORS, (2, 4)):
        p = Plan("mlp", t, depth, 40, seed=28)
        yield Healthy(p.but(double=True), "double precision")
        yield Healthy(p.but(dead=0.25), "some dead units")
        yield Healthy(p.but(head_gain=0.0), "head of zeros")
        yield Healthy(p.but(batch=128, steps=200), "large batches")
        yield Healthy(p.but(lr=3e-4, steps=900), "careful learning rate")
        yield Healthy(p.but(lr=1e-2), "brisk learning rate")
        yield Healthy(p.but(optimizer="RMSprop", lr=1e-3), "optimizer")
        yield Healthy(p.but(optimizer="AdamW"), "optimizer")
        yield Healthy(p.but(optimizer="SGD", lr=0.1), "optimizer")
        yield Healthy(p.but(optimizer="Adagrad", lr=2e-2), "optimizer")


def images() -> Iterator[Healthy]:
    for depth, act, norm, seed in itertools.product((2, 4, 8), ("ReLU", "GELU", "Tanh"), ("", "batch", "layer"), (0,)):
        yield Healthy(
            Plan("cnn", "images", depth, 12, act=act, norm=norm, lr=5e-3, steps=200, seed=30 + seed), "convolutions"
        )
    for depth, norm in itertools.product((4, 12, 20), ("batch", "layer", "")):
        yield Healthy(Plan("rescnn", "images", depth, 8, norm=norm, lr=5e-3, steps=200, seed=31), "convolutions")


def sequences() -> Iterator[Healthy]:
    for t, arch, depth, seed in itertools.product(("rows", "pixels"), ("rnn", "lstm", "gru"), (1, 2), (0, 1)):
        p = Plan(arch, t, depth, 24, act="Tanh", seed=32 + seed, lr=1e-2, steps=300)
        yield Healthy(p, "sequence")
    for arch, length, seed in itertools.product(("rnncell", "lstmcell", "grucell", "lstm", "gru"), (5, 10), (0, 1)):
        p = Plan(arch, f"recall{length}", 1, 20, act="Tanh", seed=34 + seed, lr=1e-2, recurrent_gain=1.0)
        yield Healthy(p, "sequence")
    for arch, length in itertools.product(("lstm", "gru"), (20, 30, 50)):
        p = Plan(arch, f"recall{length}", 1, 24, gate_bias=4.0, recurrent_gain=1.0, seed=36, lr=1e-2, steps=300)
        yield Healthy(p, "long sequence")
    for length, seed in itertools.product((20, 40), (0, 1)):
        p = Plan("rnn", f"recall{length}", 1, 32, act="ReLU", recurrent_gain=1.0, seed=37 + seed, lr=3e-3, steps=300)
        yield Healthy(p, "long sequence")
    for t, depth, norm, batch in itertools.product(("rows", "pixels", "words"), (1, 3, 6), ("pre", "post"), (16, 32)):
        p = Plan("transformer", t, depth, 16, norm=norm, gain=None, batch=batch, lr=3e-3, steps=300, seed=39)
        yield Healthy(p, "transformer")


RULES = (
    plain, activations, usual_start, normalised, residual, converged, half_trained, frozen, sparse, small_batches,
    noisy, odd_scales, images, sequences,
)  # fmt: skip


def healthy() -> Iterator[Healthy]:
    """Every one of them once, and with two more seeds."""
    seen = set()
    for rule in RULES:
        for found, more in itertools.product(rule(), (0, 100, 200)):
            plan = found.plan.but(seed=found.plan.seed + more)
            if plan not in seen:
                seen.add(plan)
                yield Healthy(plan, found.rule)
