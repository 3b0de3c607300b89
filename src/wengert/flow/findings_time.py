"""Findings about recurrence: how the gradient's size changes from the last time steps back to the first."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from wengert import nn
from wengert.flow.finding import CELLS, Case, Finding, finite
from wengert.flow.profile import RECURRENT, Call, log10, norm, rms
from wengert.flow.remedies import recurrent, training
from wengert.flow.remedies.remedy import Remedy, together
from wengert.flow.thresholds import clip_threshold

DROWNED = -3.0  # decades between the gradients of the last steps and of the first
LOST = -5.0  # below which, and from how many steps on, no trial excuses it
LONG = 25
SHUT = 0.6  # decades a step that gates lose which begin nearly shut; half open ones, of a usual start, lose 0.3
BURST = 2.5
STRETCHED = 2.4  # rms singular value of recurrent weights
SHORTEST = 8  # steps, below which nothing is said


class Times(NamedTuple):
    """The gradient's norm at each time step of a recurrent part, the first step first."""

    name: str
    module: Any
    norms: list[float]

    @property
    def decades(self) -> float:
        """From the largest of the last quarter to the largest of the first, on the way back."""
        quarter = max(len(self.norms) // 4, 1)
        late, early = max(self.norms[-quarter:]), max(self.norms[:quarter])
        return log10(early / late) if late > 0 else (0.0 if early == 0 else math.inf)


def over_time(case: Case) -> list[Times]:
    """What each recurrent layer's input, or each cell's state, gets of the gradient, step by step."""
    found = []
    cells: dict[str, list[Call]] = {}
    for c in case.profile.calls:
        if isinstance(c.module, RECURRENT) and c.arriving is not None and c.arriving.ndim >= 2:
            swapped = c.module.batch_first and c.arriving.ndim == 3
            g = np.swapaxes(c.arriving, 0, 1) if swapped else c.arriving
            found.append(Times(c.name, c.module, [norm(row) for row in g]))
        elif isinstance(c.module, CELLS):
            cells.setdefault(c.name, []).append(c)
    for name, calls in cells.items():
        found.append(Times(name, calls[0].module, [norm(c.gradient) for c in calls]))
    return [t for t in found if len(t.norms) >= SHORTEST]


def time_findings(case: Case) -> list[Finding]:
    """Far steps drowned by near ones, and gradients that grow from step to step."""
    found = large_recurrence(case)
    times = [t for t in over_time(case) if not getattr(t.module, "bidirectional", False)]
    if not times:
        return found
    least, most = min(times, key=lambda t: t.decades), max(times, key=lambda t: t.decades)
    if least.decades <= DROWNED:
        found.append(_drowned(case, least))
    if most.decades >= BURST:
        found.append(_burst(case, most))
    return found


def large_recurrence(case: Case) -> list[Finding]:
    """Recurrent weights that stretch a state so far that it is thrown to and fro."""
    found = []
    for name, m in case.modules(*RECURRENT, *CELLS):
        sizes = {n: rms(np.asarray(w)) * math.sqrt(w.shape[1]) for n, w in vars(m).items() if n.startswith("weight_hh")}
        worst = max(sizes.values(), default=0.0)
        if worst > STRETCHED:
            cause = f"recurrent weights make a state {worst:.2g} times as long at every step; 1 keeps its length"
            turn = recurrent.orthogonal_remedy("keep a state's length from step to step")
            clip = training.clip_norm(1.0, "bounds what single steps do")
            more = [g for g in (_gated(m, 2),) if g is not None]
            remedies = [turn, together(turn, clip), *(together(turn, g) for g in more)]
            evidence: dict[str, Any] = {n: finite(v, 3) for n, v in sizes.items()}
            found.append(Finding("large initialisation", [name], cause, "recurrence", 0.95, evidence,
                                 {"recurrence": 1.0}, remedies))  # fmt: skip
    return found


def _evidence(t: Times) -> dict[str, Any]:
    length = len(t.norms)
    picked = sorted({0, length // 4, length // 2, 3 * length // 4, length - 1})
    top = max(t.norms) or 1.0
    return {
        "steps": length,
        "decades from the last steps to the first": finite(t.decades, 3),
        "gradient by step": {str(i): finite(t.norms[i] / top, 3) for i in picked},
    }


def reach(t: Times) -> int:
    """How many steps back 99 % of the sum of norms comes from."""
    back = np.cumsum(np.array(t.norms[::-1]))
    return int(np.searchsorted(back, 0.99 * back[-1])) + 1


def _drowned(case: Case, t: Times) -> Finding:
    length, plain = len(t.norms), isinstance(t.module, (nn.RNN, nn.RNNCell))
    lost = "all of it" if t.decades == -math.inf else f"{-t.decades:.1f} decades"
    cause = (
        f"going back from step {length} to step 1 the gradient loses {lost}, {abs(t.decades) / length:.2f} a step: "
        f"99 % of it comes from the last {reach(t)} of {length} steps"
    )
    if math.isinf(t.decades):
        cause = (
            f"going back from step {length} the gradient ends before step 1: 99 % of it comes from the last "
            f"{reach(t)} of {length} steps"
        )
    learnable = not plain and -t.decades / length < SHUT  # gates learn to open where near steps don't do
    sure = (t.decades <= LOST or length >= LONG) and not learnable
    return Finding(
        "short memory", [t.name], cause, "recurrence", 0.75 + min(abs(t.decades), 20) / 80 if sure else 0.6,
        _evidence(t), {"recurrence": 1.0}, remember(case, length, plain),
    )  # fmt: skip


def remember(case: Case, length: int, plain: bool) -> list[Remedy]:
    """Remedies for a memory that is too short."""
    clip = training.clip_norm(1.0, "gradients through many steps are sometimes large")
    quick = training.adaptive(3e-3, "steps of the same size whatever the size of the gradient")
    if not plain:
        gates = recurrent.gates_remedy(length, f"gates that keep begin so that units forget after about {length} steps")
        return [gates, together(gates, quick, clip)]
    gru = recurrent.gated_remedy(
        "gru", length, f"its state is kept by gates, which begin open for about {length} steps"
    )
    lstm = recurrent.gated_remedy(
        "lstm", length, f"its cell is kept by gates, which begin open for about {length} steps"
    )
    turn = recurrent.orthogonal_remedy("keep the gradient's length from step to step as far as tanh lets it")
    return [gru, lstm, turn, together(gru, quick, clip), together(lstm, quick, clip)]


def _burst(case: Case, t: Times) -> Finding:
    length = len(t.norms)
    grown = "without bound" if math.isinf(t.decades) else f"by {t.decades:.1f} decades, {t.decades / length:.2f} a step"
    cause = f"going back from step {length} to step 1 the gradient grows {grown}: the recurrent weights stretch it"
    bound = clip_threshold(case)
    turn = recurrent.orthogonal_remedy("keep the gradient's length from step to step")
    clip = training.clip_norm(bound, f"the gradient's norm of the last layer is about {bound:.2g}")
    gates = _gated(t.module, length)
    found = [turn, clip, together(turn, clip)] + ([gates, together(gates, clip)] if gates else [])
    return Finding(
        "exploding", [t.name], cause, "recurrence", min(1.0, 0.6 + min(t.decades, 20) / 50), _evidence(t),
        {"recurrence": 1.0}, found,
    )  # fmt: skip


def _gated(m: Any, length: int) -> Remedy | None:
    if isinstance(m, (nn.RNN, nn.RNNCell)):
        return recurrent.gated_remedy("gru", length, "its state is kept by gates, which neither stretch nor shrink it")
    return None
