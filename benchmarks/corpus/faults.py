"""Faults by rule: a plan that learns, what is changed in it, and what an instrument ought to say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from corpus.plan import Plan


class Label(NamedTuple):
    """What is wrong: by which names a symptom may go, which cause is the true one, and which parts it sits in.

    `where` are beginnings of names of modules; none where the fault is in no part (a learning rate).
    """

    rule: str
    kinds: frozenset[str]
    causes: frozenset[str]
    where: tuple[str, ...]


class Faulty(NamedTuple):
    """A network with a fault, and the same without."""

    plan: Plan
    twin: Plan
    label: Label


def _label(rule: str, kinds: str, causes: str, where: tuple[str, ...] = ()) -> Label:
    return Label(rule, frozenset(kinds.split(", ")), frozenset(causes.split(", ")), where)


Rule = Callable[[Plan], Iterator[tuple[dict[str, Any], Label]]]
ROWS = ("mlp", "cnn", "bag")
VECTORS = ("digits", "blobs", "teacher")


def parts(plan: Plan, start: int = 0, stop: int | None = None) -> tuple[str, ...]:
    """Names of hidden layers with what belongs to them."""
    inside = "body." if plan.arch == "bag" else ""
    return tuple(f"{inside}{kind}{i}" for i in range(start, plan.depth if stop is None else stop)
                 for kind in ("layer", "act", "norm", "block"))  # fmt: skip


def small(p: Plan) -> bool:
    return p.depth <= 6


def squashing(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    """Sigmoid-like functions in a deep plain net: each derivative is a quarter at most."""
    for act in ("Sigmoid", "Hardsigmoid") if p.depth > 3 else ():
        label = _label("squashing activation", "vanishing", "activation", parts(p))
        yield {"act": act, "gain": 1.0}, label
        if act == "Sigmoid":
            yield {"act": act, "gain": None}, label


def squashing_block(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    """The same in part of the layers."""
    for a, b in {(p.depth // 3, p.depth // 3 + 6), (2, p.depth - 2)}:
        if b >= p.depth or b - a < 5:
            continue
        yield (
            {"at": (a, b), "act_at": "Sigmoid"},
            _label("squashing activation in some layers", "vanishing", "activation", parts(p, 0, b)),
        )


def small_weights(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    """Initial weights far below the scale that keeps a signal."""
    for gain in (0.01, 0.05, 0.2):
        yield {"gain": gain}, _label("small initial weights", "vanishing, small initialisation", "weights", parts(p))


def small_block(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    """Three layers with far too small weights."""
    a = p.depth // 2
    for gain in (1e-2, 1e-3) if p.optimizer == "SGD" else (1e-4, 1e-6):
        yield (
            {"at": (a, a + 3), "gain_at": gain},
            _label(
                "small initial weights in some layers", "vanishing, small initialisation", "weights", parts(p, 0, a + 4)
            ),
        )


def zero_weights(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    yield {"gain": 0.0}, _label("weights of zero", "vanishing, small initialisation, dead units", "weights", parts(p))


def large_weights(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    """Initial weights far above that scale: rectifiers explode."""
    for gain in (6.0, 12.0, 30.0):
        yield (
            {"gain": gain},
            _label("large initial weights", "exploding, large initialisation, non-finite", "weights", parts(p)),
        )


def saturated(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    """The same with tanh, which saturates."""
    for gain in (20.0, 60.0):
        yield (
            {"gain": gain, "act": "Tanh"},
            _label(
                "large initial weights before tanh", "saturation, large initialisation, exploding", "weights", parts(p)
            ),
        )


def dead(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    """Rectifiers whose bias keeps them off."""
    for a, bias in ((p.depth // 2, -15.0), (0, -30.0), (p.depth - 1, -15.0)):
        yield (
            {"at": (a, a + 1), "bias_at": bias},
            _label("dead rectifiers", "dead units", "activation, weights, bias", parts(p, max(0, a - 1), a + 2)),
        )


def too_deep(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    """A plain net so deep that it needs shortcuts, though its weights have the right scale."""
    arch = {"resmlp": "mlp", "rescnn": "cnn"}[p.arch]
    yield (
        {"arch": arch, "norm": ""},
        _label(
            "deep without shortcuts",
            "missing shortcut, shattered, vanishing",
            "depth",
            tuple(f"layer{i}" for i in range(p.depth)) + tuple(f"act{i}" for i in range(p.depth)),
        ),
    )


def wild_branches(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    """Residual branches that each multiply the signal, without normalisation."""
    for gain in (4.0, 8.0):
        yield (
            {"norm": "", "gain": gain * p.depth**0.5},
            _label("residual branches too large", "exploding, large initialisation, non-finite", "weights", parts(p)),
        )


def fast(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    for times in (100.0, 1000.0):
        yield (
            {"lr": p.lr * times},
            _label("learning rate too high", "learning rate too high, exploding, non-finite", "learning rate"),
        )


def slow(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    yield {"lr": p.lr / 3000}, _label("learning rate too low", "learning rate too low", "learning rate")
    yield {"lr": p.lr / 300}, _label("learning rate too low", "learning rate too low", "learning rate")


def softmax_twice(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    if p.data.classes > 3:
        for out in ("Softmax", "Sigmoid"):
            yield {"output": out}, _label("softmax twice", "loss pairing", "loss", ("out", "head.out", "body.out"))


def bounded_output(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    """A rectifier as the last step, in front of the loss, whose units begin dead."""
    yield (
        {"output": "ReLU", "head_bias": -20.0},
        _label(
            "rectified output",
            "dead units, loss pairing, disconnected, vanishing",
            "activation, loss, graph",
            ("out", "head"),
        ),
    )


def cut(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    """A narrow place through which no gradient comes: detached, or a step function."""
    for by, a in itertools.product(("detach", "sign", "round"), (p.depth // 2, p.depth - 1)):
        yield (
            {"cut": a, "cut_by": by},
            _label(
                f"gradient cut ({by})",
                "disconnected, vanishing",
                "graph, operation",
                (*parts(p, 0, a + 1), "cut", "body.cut"),
            ),
        )


def held(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    yield {"frozen": ("*",)}, _label("everything frozen", "frozen", "frozen")


def forgotten_log(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    if p.data.classes:
        yield {"loss": "negative_probability"}, _label("probabilities for their logarithm", "loss pairing", "loss")
        yield (
            {"loss": "log_of_softmax", "head_gain": 1e4},
            _label("logarithm of 0", "non-finite, loss pairing", "loss, operation, weights"),
        )


def logarithm(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    yield {"cut": 1, "cut_by": "log"}, _label("logarithm of 0 inside", "non-finite", "operation", ("cut", "act1"))


def short_memory(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    """A plain recurrent net that forgets on the way: its Jacobian shrinks everything."""
    cell = "cell" if p.arch.endswith("cell") else ""
    label = _label("recurrence forgets", "short memory, vanishing", "recurrence, weights", ("rnn", "cell"))
    for gain in (0.05, 0.1, 0.2, 0.3, 0.4):
        yield {"arch": "rnn" + cell, "act": "Tanh", "recurrent_gain": gain, "gate_bias": None}, label
    gate = {"lstm": -5.0, "gru": -5.0}[p.arch.removesuffix("cell")]
    yield (
        {"gate_bias": gate, "recurrent_gain": 0.3},
        _label("gates that forget", "short memory, vanishing", "recurrence, gates, weights", ("rnn", "cell")),
    )


def wild_recurrence(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    for gain in (6.0, 12.0):
        yield (
            {"recurrent_gain": gain},
            _label(
                "recurrent weights too large",
                "exploding, large initialisation, non-finite, saturation",
                "recurrence, weights",
                ("rnn", "cell"),
            ),
        )


def plain_attention(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    yield (
        {"norm": "none"},
        _label(
            "transformer without shortcuts",
            "missing shortcut, vanishing, small initialisation",
            "depth, weights, attention, shortcut",
            ("layers",),
        ),
    )
    yield (
        {"norm": "none", "gain": 0.3},
        _label(
            "transformer without shortcuts, small weights",
            "missing shortcut, vanishing, small initialisation",
            "depth, weights, attention, shortcut",
            ("layers",),
        ),
    )


def wild_feed(p: Plan) -> Iterator[tuple[dict[str, Any], Label]]:
    for gain in (30.0, 100.0):
        yield (
            {"gain": gain},
            _label(
                "feed-forward weights too large", "exploding, large initialisation, non-finite", "weights", ("layers",)
            ),
        )


def bases() -> Iterator[tuple[Plan, tuple[Rule, ...]]]:
    """Plans that learn, with the rules that may be put on them."""
    common: tuple[Rule, ...] = (fast, slow, cut, softmax_twice, forgotten_log, held)
    for t, depth, width, seed in itertools.product(VECTORS, (3, 5), (24, 40), (0, 1)):
        p = Plan("mlp", t, depth, width, seed=seed)
        yield p, (*common, dead, zero_weights, large_weights, bounded_output, logarithm)
        yield p.but(act="Tanh", seed=seed + 2), (fast, slow, saturated)
        sgd = p.but(optimizer="SGD", lr=0.02, momentum=0.9, seed=seed + 4)
        yield sgd, (fast, slow, large_weights, small_weights)
    for t, depth, seed in itertools.product(VECTORS, (9, 13), (0, 1)):
        p = Plan("mlp", t, depth, 32, seed=seed, lr=2e-3)
        yield (
            p,
            (
                squashing,
                squashing_block,
                small_weights,
                small_block,
                zero_weights,
                large_weights,
                dead,
                cut,
                fast,
                slow,
            ),
        )
        yield p.but(act="Tanh", seed=seed + 2), (small_weights, saturated, squashing, zero_weights)
        yield (
            p.but(optimizer="SGD", lr=0.02, momentum=0.9),
            (squashing, small_weights, small_block, large_weights, fast, slow),
        )
        yield p.but(norm="layer", act="GELU", seed=seed + 6), (fast, slow, cut)
    for t, depth, seed in itertools.product(VECTORS, (18, 24), (0, 1)):
        p = Plan("mlp", t, depth, 32, seed=seed, norm="layer", act="ReLU", lr=2e-3)
        yield p.but(norm=""), (squashing, squashing_block, small_weights, large_weights)
        yield p, (fast, slow, cut)
    for t, depth, seed in itertools.product(VECTORS, (30, 50, 80), (0, 1)):
        p = Plan("resmlp", t, depth, 24, seed=seed, norm="layer", lr=2e-3, steps=200)
        yield p, (too_deep, wild_branches, fast)
        yield p.but(optimizer="SGD", lr=0.02, momentum=0.9), (too_deep, wild_branches, slow)
    for depth, seed in itertools.product((3, 6), (0, 1)):
        p = Plan("cnn", "images", depth, 12, seed=seed, lr=5e-3)
        yield p, (*common, dead, zero_weights, large_weights, small_weights)
        yield p.but(norm="batch", seed=seed + 2), (fast, slow, cut)
    for depth, seed in itertools.product((9, 12), (0, 1)):
        p = Plan("cnn", "images", depth, 12, seed=seed, norm="", lr=5e-3)
        yield p, (squashing, squashing_block, small_weights, small_block, large_weights, dead, slow)
        yield p.but(act="Tanh"), (saturated, small_weights)
    for depth, seed in itertools.product((8, 16), (0, 1)):
        p = Plan("rescnn", "images", depth, 12, seed=seed, norm="batch", lr=5e-3, steps=200)
        yield p, (wild_branches, fast, slow)
    for depth, seed in itertools.product((20, 28), (0, 1)):
        p = Plan("rescnn", "images", depth, 10, seed=seed, norm="batch", lr=5e-3, steps=200)
        yield p, (too_deep, wild_branches)
        yield p.but(optimizer="SGD", lr=0.05, momentum=0.9), (too_deep, slow)
    for t, arch, seed in itertools.product(("recall30", "recall50"), ("gru", "lstm", "grucell", "lstmcell"), (0, 1)):
        if not (arch.endswith("cell") and t == "recall50"):
            bias = 4.0
            yield (
                Plan(arch, t, 1, 20, seed=seed, gate_bias=bias, recurrent_gain=1.0, lr=1e-2),
                (short_memory, fast, slow),
            )
    for t, seed, act in itertools.product(("rows", "pixels"), (0, 1, 2), ("Tanh", "ReLU")):
        p = Plan("rnn", t, 1, 24, act=act, seed=seed, recurrent_gain=0.9, lr=5e-3)
        yield p, (wild_recurrence, fast, slow)
    for t, depth, seed in itertools.product(("rows", "words", "pixels"), (2, 4, 6), (0, 1)):
        p = Plan("transformer", t, depth, 16, seed=seed, norm="pre", gain=None, lr=5e-3)
        yield p, (plain_attention, fast, slow, softmax_twice)
        yield p.but(optimizer="SGD", lr=0.05, momentum=0.9), (wild_feed, fast)
    for depth, seed in itertools.product((3, 9), (0, 1)):
        p = Plan("bag", "words", depth, 24, seed=seed, lr=1e-2)
        yield p, (squashing, dead, large_weights, zero_weights, fast, slow, cut, softmax_twice, small_weights)


# What a fault and its twin have in common beside the plan: a narrow place to be cut, an optimizer that shows a loss.
SHARED: dict[Any, Callable[[dict[str, Any]], dict[str, Any]]] = {
    cut: lambda change: {"cut": change["cut"], "cut_by": "", "narrow": 3},
    softmax_twice: lambda change: {"optimizer": "SGD", "momentum": 0.9, "lr": 0.008},
    forgotten_log: lambda change: {"optimizer": "SGD", "momentum": 0.9, "lr": 0.004},
}


def faulty() -> list[Faulty]:
    """Every fault on every plan that may have it; those on the same plan one after the other, in a mixed order."""
    found: dict[Plan, tuple[int, Faulty]] = {}
    for (base, rules), more in itertools.product(bases(), (0, 100, 200)):
        base = base.but(seed=base.seed + more)
        for rule in rules:
            for change, label in rule(base):
                twin = base.but(**SHARED.get(rule, lambda change: {})(change))
                broken = twin.but(**change)  # the same may come about on two bases
                found.setdefault(broken, (base.number, Faulty(broken, twin, label)))
    return [f for _, f in sorted(found.values(), key=lambda row: (row[0], row[1].plan.number))]
