"""Findings about units: dead ones, which get no gradient from any example, saturated ones, and ones all alike."""

from __future__ import annotations

import math

import numpy as np

from wengert import nn
from wengert.flow.finding import Case, Finding, finite, percent
from wengert.flow.findings_depth import by_hand, main_activation, mending
from wengert.flow.profile import Call
from wengert.flow.remedies import activations, initial
from wengert.flow.remedies.remedy import Remedy, on_model, together
from wengert.flow.remedies.surgery import exchange
from wengert.flow.thresholds import holding
from wengert.nn.module import Module

DEAD = 0.8  # of a layer's units
SATURATED = 0.5  # of a layer's outputs
HOPELESS = 0.8  # of them: what is learned then doesn't carry over to other examples
FLAT = 0.02  # share of a derivative's largest value that counts as saturated


def dead_share(c: Call) -> float:
    """The share of a layer's units (features or channels) that get no gradient from any example."""
    g = c.gradient
    if g is None or g.ndim < 2:
        return 0.0
    axis = 1 if hasattr(c.module, "kernel_size") else g.ndim - 1
    others = tuple(a for a in range(g.ndim) if a != axis)
    return float(np.mean(~np.any(g != 0, axis=others)))


def dead_findings(case: Case) -> list[Finding]:
    """Layers most of whose units are dead, while others get gradient."""
    ends = sorted(case.output_activations())
    if ends and case.layers and dead_share(case.layers[-1]) == 1.0 and case.profile.loss != 0:
        return [_dead_output(case, ends)]
    shares = [(c, dead_share(c)) for c in case.layers[:-1]]
    whole = [c for c, s in shares if s == 1.0]
    part = [(c, s) for c, s in shares if s >= DEAD]
    if not part or case.profile.examples < 2 or any(not np.any(np.asarray(c.module.weight)) for c in case.layers[:-1]):
        return []  # weights of zero are a fault of their own
    # below a layer that is wholly dead nothing arrives: the layer itself is the place
    rectified = _rectified(case)
    if not rectified and not any(s < 1 for _, s in part):
        return []
    off = [c for c in whole if _zero_output(case, c)][:1]  # those behind it are off because it is
    place = off if whole else [c for c, _ in part]
    if not place:
        return []
    worst = max(s for _, s in part)
    behind = main_activation(case)
    bias = [float(np.mean(np.asarray(c.module.bias))) for c in place if getattr(c.module, "bias", None) is not None]
    cause = (
        f"{percent(worst)} of the units get no gradient from any of {case.profile.examples} examples: {behind} is "
        "flat there"
    )
    if bias and min(bias) < -0.5:
        cause += f" (their bias is {min(bias):.2g} on average)"
    evidence = {"dead share by layer": [finite(s, 3) for _, s in shares]}
    return [Finding("dead units", [c.name for c in place], cause, "activation", min(1.0, 0.6 + worst / 3), evidence,
                    {"activation": 1.0}, _revive(case, [c.name for c, _ in part]))]  # fmt: skip


def _dead_output(case: Case, ends: list[str]) -> Finding:
    """An activation that makes the output, and is flat for all examples."""
    last = case.layers[-1].name
    kind = type(case.model.get_submodule(ends[0])).__name__
    cause = f"the output is made by a {kind} that is flat for all {case.profile.examples} examples: no gradient passes"

    def without(model: Module) -> Module:
        return exchange(model, lambda name, m: nn.Identity() if name in ends else None)[0]

    free = on_model(f"no {kind} at the output", "the loss then reaches every layer", without)
    again = on_model("output layer drawn anew", "its units start where they are not flat",
                     lambda model: initial.redrawn(model, {last}, 1.0))  # fmt: skip
    return Finding("dead units", [last, *ends], cause, "activation", 1.0, {"dead share": 1.0}, {"activation": 1.0},
                   [again, together(free, again), free])  # fmt: skip


def _rectified(case: Case) -> bool:
    return any(isinstance(c.module, (nn.ReLU, nn.ReLU6, nn.Threshold, nn.LeakyReLU)) for c in case.activations()) or (
        not case.activations()
    )


def _zero_output(case: Case, layer: Call) -> bool:
    """Whether what follows a layer is flat: its units are off for all, or what is made of them."""
    calls = case.profile.calls
    at = next(i for i, c in enumerate(calls) if c is layer)
    for c in calls[at + 1 :]:
        if c.weighted:
            return c.given is not None and (float(np.mean(c.given == 0)) > DEAD or bool(np.all(c.given == c.given[:1])))
    return False


def _revive(case: Case, names: list[str]) -> list[Remedy]:
    if not case.is_module:
        return mending(case, "weights", small=True)
    out = case.output_activations()

    def zero_bias(model: Module) -> Module:
        return initial.redrawn(model, set(names), math.sqrt(2))

    again = on_model("dead layers drawn anew", "units start on their active side for some examples; others are kept",
                     zero_bias)  # fmt: skip
    found = [again]
    if any(c.name not in out for c in case.activations()):
        leaky = activations.activation_remedy(
            "leaky_relu", main_activation(case), "its derivative is never 0, so that no unit can die", out, case.last
        )
        elu = activations.activation_remedy(
            "elu", main_activation(case), "it goes on falling below 0, and keeps a derivative there", out, case.last
        )
        found += [leaky, elu]
    elif (advice := by_hand(case, main_activation(case), "leaky_relu")) is not None:
        found += [advice]
    more = mending(case, "weights", small=True)
    normed = [together(r, n) for r in found[1:2] for n in more if n.name.endswith("normalisation") and n.parts == ()]
    return [*found, *more, *normed[:1]]


def flat_share(c: Call) -> float:
    """The share of a bounded activation's outputs that lie where its derivative is below 2 % of its largest."""
    if c.made is None:
        return 0.0
    y = np.asarray(c.made, np.float64)
    if isinstance(c.module, nn.Sigmoid):
        slope = 4 * y * (1 - y)
    elif isinstance(c.module, nn.Tanh):
        slope = 1 - y * y
    elif isinstance(c.module, nn.Softsign):
        slope = (1 - np.abs(y)) ** 2
    elif isinstance(c.module, (nn.Hardtanh, nn.Hardsigmoid)) and c.given is not None:
        low, high = (c.module.min_val, c.module.max_val) if isinstance(c.module, nn.Hardtanh) else (0.0, 1.0)
        slope = ((y > low) & (y < high)).astype(float)
    else:
        return 0.0
    return float(np.mean(slope < FLAT))


def saturation_findings(case: Case) -> list[Finding]:
    """Layers most of whose outputs lie where a bounded activation is flat."""
    out = case.output_activations()
    shares = [(c, flat_share(c)) for c in case.activations() if c.name not in out]
    shares = [(c, s) for c, s in shares if isinstance(c.module, nn.Module)]
    bad = [(c, s) for c, s in shares if s >= SATURATED]
    if not bad or 2 * len(bad) < len([1 for c, _ in shares if flat_kind(c)]):
        return []
    worst = max(s for _, s in bad)
    size = max(float(np.abs(np.asarray(c.given, np.float64)).mean()) for c, _ in bad if c.given is not None)
    cause = (
        f"{percent(worst)} of the outputs of {main_activation(case)} lie where it is flat (derivative below 2 % of its "
        f"largest): what it reads has size {size:.2g} on average"
    )
    evidence = {"saturated share by layer": [finite(s, 3) for _, s in shares], "mean size of inputs": finite(size, 3)}
    severity = 0.95 if worst > HOPELESS else 0.6 + worst / 4
    where = [c.name for c, _ in bad]
    remedies = [*mending(case, "weights", small=True), *holding(case)]
    return [Finding("saturation", where, cause, "weights", severity, evidence, {"activation": 1.0}, remedies)]


def flat_kind(c: Call) -> bool:
    """Whether an activation is bounded on both sides."""
    return isinstance(c.module, (nn.Sigmoid, nn.Tanh, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid))


def alike_findings(case: Case) -> list[Finding]:
    """Layers whose units are all the same: they stay the same for ever."""
    bad = []
    for c in case.layers[:-1]:
        w = np.asarray(c.module.weight)
        if len(w) > 1 and np.any(w) and np.all(w == w[:1]):
            bad.append(c.name)
    if not bad:
        return []
    cause = (
        f"in {len(bad)} of {len(case.layers)} layers all units have the same weights, so they get the same "
        "gradient and never differ"
    )
    return [Finding("small initialisation", bad, cause, "weights", 0.9, {"layers of equal units": len(bad)},
                    {"weights": 1.0}, mending(case, "weights", small=True))]  # fmt: skip
