"""Bounds and weights of remedies, measured on the case: where to clip, how strongly to hold weights."""

from __future__ import annotations

import math

import numpy as np

from wengert.flow.finding import Case
from wengert.flow.findings_training import blank_loss
from wengert.flow.profile import norm
from wengert.flow.remedies import training
from wengert.flow.remedies.remedy import Remedy

PENALTY = 0.1  # of the loss, or of what an output of zeros costs, that a penalty on weights costs at first


def clip_threshold(case: Case) -> float:
    """A bound for the gradient's norm: that of the last layer, which no deeper layer has grown; at most 1."""
    size = math.sqrt(sum(norm(g) ** 2 for g in _last(case) if math.isfinite(norm(g))))
    return min(max(size, 1e-3), 1.0) if size > 0 else 1.0


def value_threshold(case: Case) -> float:
    """A bound for each number of the gradient: the largest of the last layer's, at most 1."""
    size = max((float(np.abs(g).max()) for g in _last(case) if g.size and np.isfinite(g).all()), default=0.0)
    return min(max(size, 1e-4), 1.0) if size > 0 else 1.0


def _last(case: Case) -> list[np.ndarray]:
    """The gradients of the last layer's parameters."""
    found = [p for p in case.profile.parameters if p.gradient is not None and p.name.startswith(case.last or "")]
    return [p.gradient for p in found if p.gradient is not None]


def holding(case: Case) -> list[Remedy]:
    """Clipping at measured bounds, and penalties that cost a tenth of the loss at first."""
    bound, largest = clip_threshold(case), value_threshold(case)
    found = [
        training.clip_norm(bound, f"bounds the step; the gradient's norm of the last layer is about {bound:.2g}"),
        training.clip_value(largest, f"bounds each number; the last layer's are at most about {largest:.2g}"),
    ]
    weights = [np.asarray(p.value, np.float64) for p in case.profile.parameters if p.value.ndim >= 2 and not p.frozen]
    squares, sizes = sum(float((w * w).sum()) for w in weights), sum(float(abs(w).sum()) for w in weights)
    blank = blank_loss(case)  # a loss that is wild says nothing about the size of penalties
    cost = PENALTY * min(abs(case.profile.loss), abs(blank) if math.isfinite(blank) else math.inf)
    if math.isfinite(cost) and 0 < squares < math.inf and cost > 0:
        found.append(training.l2(2 * cost / squares, "draws weights together that are too large"))
        found.append(training.l1(cost / sizes, "the same, and lets few of them be large"))
    return found


__all__ = ["clip_threshold", "holding", "value_threshold"]
