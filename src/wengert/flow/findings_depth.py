"""Findings about depth: gradients that vanish or explode from layer to layer, and weights whose scale is wrong.

The measure is the gradient's norm at each layer with weights, relative to the last: a ratio, so that neither the loss's
scale nor how far training has come matters. Where a layer is normalised it is taken behind the normalisation, because
before it the gradient has the scale of 1/weights.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np

from wengert import nn
from wengert.flow.finding import Case, Finding, finite, percent
from wengert.flow.profile import Call, distinct, log10, norm, profile, rms
from wengert.flow.remedies import activations, initial, layers
from wengert.flow.remedies.remedy import Remedy, together
from wengert.flow.remedies.surgery import Call as Shape
from wengert.flow.thresholds import holding

VANISHING = -2.2  # decades at which plain nets of digits stop learning; PyTorch's own start loses 0.4 a ReLU layer
EXPLODING = 1.5
WILD = 3.7  # decades from which on what is learned doesn't carry over to other examples
LARGE_GAIN = 2.9  # σ_w √fan_in, of which √2 keeps a ReLU's scale, and twice that no activation's
OUTSIZED = 6.0  # the same in nets that are normalised elsewhere
SMALL_SIGNAL = 1e-2  # rms of the last layer's input over that of the first's
DEEP = 16  # layers with weights from which on plain nets of good scale shatter
NEAR, SHATTERED = 0.1, 0.3  # distance of inputs, as a share of their size; cosine of their gradients
SQUASHING = ("Sigmoid", "Hardsigmoid", "LogSigmoid", "Softsign", "Softmax")
PRIMITIVES = {"logistic": "Sigmoid", "tanh": "Tanh", "select": "ReLU", "erf": "GELU", "expm1": "ELU"}
SUITED = {"ReLU": 1.41, "LeakyReLU": 1.41, "PReLU": 1.35, "ELU": 1.25, "GELU": 1.5, "SiLU": 1.6, "Sigmoid": 1.0}


def decades(case: Case) -> list[tuple[Call, float]]:
    """log10 of the gradient's norm at each layer relative to the last hidden one."""
    found = case.scale_free()
    norms = [n for _, n in found]
    if len(found) < 2 or not norms[-1] > 0:
        return []
    return [(c, log10(n / norms[-1])) for c, n in found]


def gain(c: Call) -> float:
    """`σ_w √fan_in` of a layer."""
    w = np.asarray(c.module.weight, np.float64)
    return rms(w) * math.sqrt(max(math.prod(w.shape[1:]), 1))


def depth_findings(case: Case) -> list[Finding]:
    """Vanishing, exploding, too large or small initialisation, missing shortcuts."""
    steps = decades(case)
    if len(steps) < 2:
        return [*wrong_scale(case)]
    lowest = min(steps, key=lambda s: s[1])
    highest = max(steps, key=lambda s: s[1])
    found: list[Finding] = []
    if lowest[1] <= VANISHING and lowest[1] > -math.inf:
        found.append(vanishing(case, steps, *lowest))
    elif lowest[1] == -math.inf and (v := vanished(case, steps)):
        found.append(v)
    growth = highest[1] >= EXPLODING and not case.normalised
    if growth:
        found.append(exploding(case, steps, *highest))
    if not found:
        found += wrong_scale(case)
    if not found:
        found += shattered(case, steps)
    return found


def main_activation(case: Case) -> str:
    """The class of activation that occurs most often between layers, or the function that was recorded."""
    out = case.output_activations()
    names = Counter(type(c.module).__name__ for c in case.activations() if c.name not in out)
    if case.recurrent and not names:
        names = Counter(m.nonlinearity.capitalize() for _, m in case.modules(nn.RNN))  # type: ignore[attr-defined]
    if not names and case.ledger is not None:  # functions were called: their steps tell
        steps = Counter(r.primitive for r in case.ledger.rows if r.kind == "activation")
        names = Counter({PRIMITIVES[n]: k for n, k in steps.items() if n in PRIMITIVES})
    return names.most_common(1)[0][0] if names else "functions"


def derivatives(case: Case) -> str:
    """What activations' derivatives are called in a sentence."""
    name = main_activation(case)
    return "activations' derivatives" if name == "functions" else f"{name} derivatives"


def shares_of(case: Case, total: float) -> dict[str, float]:
    """The share of each kind in a change of that many decades, of the kinds that go the same way."""
    by_kind = case.ledger.by_kind if case.ledger is not None else rough(case)
    same = {k: v for k, v in by_kind.items() if v * total > 0 and k != "loss"}
    whole = sum(same.values())
    if not whole or not math.isfinite(whole):
        return {}
    return dict(sorted(((k, v / whole) for k, v in same.items()), key=lambda kv: -kv[1]))


def rough(case: Case) -> dict[str, float]:
    """Decades by kind from module to module, for chains of modules; what lies between them counts as "activation"."""
    calls = [c for c in case.profile.calls if c.gradient is not None and norm(c.gradient) > 0]
    ends = [i for i, c in enumerate(calls) if c.weighted]
    if len(ends) < 2:
        return {}
    chain = calls[ends[0] : ends[-1] + 1]
    total: dict[str, float] = {}
    for a, b in itertools.pairwise(chain):
        kind = "weight" if b.weighted else "normalisation" if isinstance(b.module, layers.NORMS) else "activation"
        total[kind] = total.get(kind, 0.0) + log10(norm(a.gradient) / norm(b.gradient))
    return total


def _shares_text(shares: dict[str, float], total: float, case: Case, count: int) -> str:
    if not shares:
        return f"{abs(total):.1f} decades over {count} layers"
    word = "loss" if total < 0 else "growth"
    names = {
        "activation": f"the {derivatives(case)}",
        "weights": "the weights",
        "weight": "the weights",
    }
    parts = [f"{percent(v)} from {names.get(k, k)}" for k, v in shares.items() if v >= 0.005]
    return f"of a {word} of {abs(total):.1f} decades over {count} layers " + ", ".join(parts)


def _evidence(case: Case, steps: list[tuple[Call, float]]) -> dict[str, Any]:
    last = case.layers[-1]
    return {
        "decades by layer": [finite(d, 3) for _, d in steps],
        "gain of weights (median)": finite(float(np.median([gain(c) for c, _ in steps])), 3),
        "signal that differs between examples": finite(distinct(last.given), 3) if last.given is not None else None,
        "rms of the output": finite(rms(last.made), 3) if last.made is not None else None,
    }


def source_of(case: Case, shares: dict[str, float], total: float) -> str:
    """The kind of cause that counts most; weights whose scale is that of a usual start are not blamed for losses."""
    excess = weight_excess(case)
    if total < 0:
        if excess < max(total, -30.0) / 2:
            return "weights"
        if any(type(c.module).__name__ in SQUASHING for c in case.activations()) or main_activation(case) in SQUASHING:
            return "activation"
        if len(case.layers) >= DEEP:
            return "depth"
        kind = next(iter(shares), "weight")
        return "weights" if kind in ("weight", "activation", "other") else kind
    if excess > total / 3 or len(case.layers) < DEEP:
        return "weights"
    return "depth"


def weight_excess(case: Case) -> float:
    """By how many decades the weights of all hidden layers together exceed what suits the activations behind them."""
    total, calls = 0.0, case.profile.calls
    for c in case.layers[:-1]:
        at = next(i for i, other in enumerate(calls) if other is c)
        behind = next((d for d in calls[at + 1 : at + 3] if d in case.activations()), None)
        if any(isinstance(d.module, layers.NORMS) for d in calls[at + 1 : at + 2]):
            continue
        suited = SUITED.get(type(behind.module).__name__, 1.0) if behind is not None else 1.2
        size = gain(c)
        total += log10(size / suited) if size > 0 else -30.0
    return total


def vanishing(case: Case, steps: list[tuple[Call, float]], at: Call, total: float) -> Finding:
    """Gradients that get smaller on their way back."""
    count = len(steps)
    shares = shares_of(case, total)
    source = source_of(case, shares, total)
    where = [c.name for c, d in steps if d <= VANISHING / 2]
    return Finding(
        "vanishing", where, _shares_text(shares, total, case, count), source, min(1.0, 0.6 + abs(total) / 20),
        _evidence(case, steps), shares, mending(case, source, small=True),
    )  # fmt: skip


def vanished(case: Case, steps: list[tuple[Call, float]]) -> Finding | None:
    """Gradients that are exactly zero below some layer, by weights of zero or numbers too small to hold."""
    zero = [c for c, d in steps if d == -math.inf]
    weights = [c for c in case.layers if not np.any(np.asarray(c.module.weight))]
    if len(weights) == 1 and weights[0].name == case.last and len(zero) < len(steps):
        return None  # a last layer of zeros is a good start: it moves at the first step
    if any(isinstance(m, nn.Residual) for _, m in case.modules(nn.Residual)):
        return None  # branches that end in zeros
    live = [d for _, d in steps if d > -math.inf]
    if weights:
        cause, source = f"{len(weights)} layers have weights of zero, through which no gradient comes", "weights"
    else:
        cause = f"the gradient ends: it is exactly 0 at {len(zero)} of {len(steps)} layers"
        source = source_of(case, {}, -1.0)
    evidence = {"layers without gradient": len(zero), "smallest decades": finite(min(live), 3) if live else None}
    return Finding(
        "vanishing", [c.name for c in zero], cause, source, 1.0, evidence, {}, mending(case, source, small=True)
    )


def exploding(case: Case, steps: list[tuple[Call, float]], at: Call, total: float) -> Finding:
    """Gradients that get larger on their way back."""
    shares = shares_of(case, total)
    source = source_of(case, shares, total)
    where = [c.name for c, d in steps if d >= EXPLODING / 2]
    return Finding(
        "exploding", where, _shares_text(shares, total, case, len(steps)), source,
        0.95 if total > WILD else 0.6 + total / 20,
        _evidence(case, steps), shares, [*mending(case, source, small=False), *holding(case)],
    )  # fmt: skip


def mending(case: Case, source: str, small: bool) -> list[Remedy]:
    """Remedies for a gradient whose size changes from layer to layer, the most promising first."""
    if not case.is_module:
        return [_redraw(case)]
    shapes, last, out = case.shapes(), case.last, case.output_activations()
    old = main_activation(case)
    found: list[Remedy] = []
    swappable = [c for c in case.activations() if c.name not in out]
    squashing = old in ("Sigmoid", "Tanh", "Hardsigmoid", "Hardtanh", "Softsign", "LogSigmoid", "Softplus")
    relu = None
    if swappable and squashing:
        why = "its derivative is 1 where it is active, instead of at most 1/4" if old == "Sigmoid" else (
            "its derivative is 1 where it is active, instead of falling to 0 on both sides")  # fmt: skip
        relu = activations.activation_remedy("relu", old, why, out, last)
    advice = by_hand(case, old, "relu") if squashing and not swappable else None
    redraw = _redraw(case)
    norm_ = None if not case.layers[:-1] else layers.normalisation_remedy(
        case.look, case.profile.examples, "sets the scale of every layer's signal, and so of its gradient"
    )  # fmt: skip
    cut = None
    if len(layers.shortcut_rows(shapes)) >= 2 and not case.shortcuts:
        cut = layers.shortcut_remedy(case.look, "the gradient passes every block with factor 1")
    if source == "activation" and relu is not None:
        found += [relu]
    if source == "weights" or not found:
        found += [redraw]
    if relu is not None and relu not in found:
        found += [relu]
    if norm_ is not None and not case.normalised:
        found += [norm_]
    start = relu or redraw
    if norm_ is not None and not case.normalised and start:
        found += [together(start, norm_)]
    if cut is not None:
        found += [together(start, cut)]
        if norm_ is not None and not case.normalised:
            found += [together(start, norm_, cut)]
    if advice is not None:
        found.insert(1, advice)
    return found


def by_hand(case: Case, old: str, new: str) -> Remedy | None:
    """Advice where activations are functions called in somebody's `forward`: which lines to change."""
    rows = [] if case.ledger is None else case.ledger.rows
    lines = [str(r.line) for r in rows if r.kind == "activation" and r.line is not None]
    return activations.by_hand(new, old, list(dict.fromkeys(lines))) if lines else None


def usual_gain(case: Case) -> float:
    """The gain of weights that keeps the scale through this model's activations."""
    by_name = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu", "SELU": "selu", "GELU": "gelu", "SiLU": "silu",
               "Tanh": "tanh"}  # fmt: skip
    name = main_activation(case)
    if name in by_name:
        return 1.1 if name == "Tanh" else activations.GAINS[by_name[name]]
    return 3.0 if name == "Sigmoid" else math.sqrt(2)


def _redraw(case: Case) -> Remedy:
    suited = main_activation(case)
    why = f"keeps the scale of signals and gradients through {suited if suited != 'functions' else 'the layers'}"
    if not case.activations() and case.is_module and case.layers:
        return initial.lsuv_remedy(case.loss_fn, case.batch, case.last, why + ", measured on this batch")
    return initial.initial_remedy(usual_gain(case), case.last, why)


def wrong_scale(case: Case) -> list[Finding]:
    """Weights far larger or smaller than keeps a signal's scale, in nets too shallow to explode or vanish."""
    hidden = case.layers
    if not hidden or case.normalised:
        return outsized(case)
    gains = [gain(c) for c in hidden]
    middle = float(np.median(gains))
    last = hidden[-1]
    if last.made is None or hidden[0].given is None or hidden[0].given.dtype.kind != "f":
        return []
    size = rms(last.made) / max(rms(hidden[0].given), 1e-30)
    evidence = {
        "gain of weights by layer": [finite(g, 3) for g in gains],
        "rms of the output": finite(rms(last.made), 3),
    }
    where = [c.name for c, g in zip(hidden, gains, strict=True) if g > LARGE_GAIN]
    cause = (
        f"weights have σ√fan_in = {middle:.2g} in the middle layer, {usual_gain(case):.2g} would keep the scale; the "
        f"output is {size:.2g} times as large as the input"
    )
    if middle > LARGE_GAIN and size > 5:
        return [Finding("large initialisation", where, cause, "weights", min(1.0, 0.55 + log10(size) / 10), evidence,
                        {"weights": 1.0}, [*mending(case, "weights", small=False), *holding(case)])]  # fmt: skip
    if len(hidden) > 1 and size < SMALL_SIGNAL and middle < 0.5:
        return [Finding("small initialisation", [c.name for c in hidden], cause, "weights", 0.6, evidence,
                        {"weights": 1.0}, mending(case, "weights", small=True))]  # fmt: skip
    return []


def outsized(case: Case) -> list[Finding]:
    """Layers with wild weights in a net that is normalised elsewhere, and not right behind them."""
    calls = case.profile.calls
    behind = {a.name: b.module for a, b in itertools.pairwise(calls)}
    bad = [c for c in case.layers if gain(c) > OUTSIZED and not isinstance(behind.get(c.name), layers.NORMS)]
    if not bad:
        return []
    worst = max(map(gain, bad))
    cause = (
        f"{len(bad)} layers have weights with σ√fan_in up to {worst:.2g}, {usual_gain(case):.2g} would keep the scale; "
        "no normalisation follows them"
    )
    evidence = {"gain of weights by layer": {c.name: finite(gain(c), 3) for c in bad}}
    return [Finding("large initialisation", [c.name for c in bad], cause, "weights", 0.75, evidence, {"weights": 1.0},
                    [*mending(case, "weights", small=False), *holding(case)])]  # fmt: skip


def shattered(case: Case, steps: list[tuple[Call, float]]) -> list[Finding]:
    """Deep plain nets whose gradient keeps its size, but not what it says about the input."""
    count = len(steps)
    if case.shortcuts or count < DEEP or case.recurrent:
        return []
    last = case.layers[-1]
    differs = distinct(last.given) if last.given is not None else math.nan
    total = max(abs(d) for _, d in steps)
    fits = len(layers.shortcut_rows(case.shapes())) >= 2
    if not fits:
        return []
    cause = (
        f"{count} layers with weights one after the other and no way around them; the gradient's norm changes by "
        f"{total:.1f} decades, and {percent(differs)} of what the last layer reads differs between examples"
    )
    evidence, alike = _evidence(case, steps), likeness(case)
    evidence["cosine of gradients of inputs that nearly agree"] = finite(alike, 3)
    kind = "missing shortcut"
    if alike < SHATTERED:
        kind = "shattered"
        cause += f"; gradients of inputs that differ by a tenth have a cosine of {alike:.2f}, as those of noise have"
    return [Finding(kind, [c.name for c, _ in steps], cause, "depth", 0.6, evidence, {"depth": 1.0},
                    _shortcut_first(case))]  # fmt: skip


def likeness(case: Case) -> float:
    """The mean cosine of the gradients at the first layer of each input and of one that differs from it by a tenth.

    1 for a function that is smooth at this distance, 0 for one whose gradient is white noise (Balduzzi et al. 2017,
    arXiv 1702.08591, who follow the correlation along a line of inputs).
    """
    if not all(hasattr(leaf, "dtype") for leaf in case.batch[:1]):
        return math.nan
    x, first = np.asarray(case.batch[0]), case.layers[0].gradient
    if x.dtype.kind != "f" or first is None:
        return math.nan
    near = x + (NEAR * rms(x) * np.random.default_rng(1702).standard_normal(x.shape)).astype(x.dtype)
    other = profile(case.model, case.loss_fn, (near, *case.batch[1:])).layers[0].gradient
    if other is None or other.shape != first.shape:
        return math.nan
    a, b = (g.reshape(len(g), -1).astype(np.float64) for g in (first, other))
    sizes = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return float(np.mean((a * b).sum(1)[sizes > 0] / sizes[sizes > 0])) if np.any(sizes > 0) else math.nan


def _shortcut_first(case: Case) -> list[Remedy]:
    found = mending(case, "depth", small=True)
    plain = layers.shortcut_remedy(case.look, "the gradient passes every block with factor 1")
    return [plain, *reversed(found)]


__all__ = ["Shape", "decades", "depth_findings", "gain", "main_activation", "mending", "usual_gain"]
