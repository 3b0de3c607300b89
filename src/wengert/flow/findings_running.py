"""What the records of a training say: steps too long or too short, noise, units that die or saturate on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wengert.flow.finding import Finding
from wengert.flow.records import value_at
from wengert.flow.remedies.remedy import Remedy, on_settings

Records = Sequence[Mapping[str, Any]]

LAST = 5  # thorough looks that are judged together
LEAST = 3  # how many there must be
MANY = 2000  # that a noise scale is averaged over, at most
ROUNDING = 1e-5  # of a loss in float32, with something to spare
SLOW = 0.01  # the share of the loss that a thousand steps would take away, at most
FALLEN = 0.05  # the share of its first value that the loss has lost, where it has learned something
NOISY = 50.0  # batches that would have to be averaged for a direction
MOST = 0.9  # of the units, dead or saturated


def running_findings(records: Records) -> list[Finding]:
    """Findings from a monitor's records, or those of a run folder; they need thorough looks.

    - *learning rate too high*: the loss of its own batch rises by the step in most of some five thorough looks in a
      row (`gain_ratio < 0`). For a loss that is quadratic along the step, `1 / (2 (1 - gain))` of it would have
      been best.
    - *learning rate too low* (worth knowing): the loss has not fallen, and a thousand steps like the last ones would
      take away less than one percent of it, even if it kept all that its gradient promises.
    - *gradient noise* (worth knowing): the noise scale is more than 50 batches; expected near a minimum.
    - *dead units*, *saturation*: 90 % of a call's units or values now, and at most half at first; or all of them.

    Example:
        >>> for finding in flow.running_findings(monitor.records):
        ...     print(finding)
    """
    steps = [r for r in records if r.get("kind", "step") == "step"]
    lost = [*_lost(steps, "dead", "dead units"), *_lost(steps, "saturated", "saturation")]
    return [*_rate(steps), *lost, *_noise(steps)]


def _numbers(records: Records, *paths: str) -> np.ndarray:
    """One row for each record that has all of these finite."""
    rows = [[value_at(r, p) for p in paths] for r in records]
    found = [row for row in rows if all(isinstance(v, (int, float)) and math.isfinite(v) for v in row)]
    return np.array(found, float).reshape(len(found), len(paths))


def scaled_rate(factor: float, why: str) -> Remedy:
    """The learning rate times a factor."""
    return on_settings(f"learning rate × {factor:.2g}", why, lambda r: r.but(learning_rate=r.learning_rate * factor))


def _rate(records: Records) -> list[Finding]:
    rows = _numbers(records, "step", "loss", "whole/loss_change", "whole/loss_promised")
    rows = rows[rows[:, 3] < 0]  # momentum may carry a step uphill: that says nothing
    if len(rows) < LEAST:
        return []
    gains = rows[:, 2] / rows[:, 3]
    gains[-rows[:, 3] < ROUNDING * np.abs(rows[:, 1])] = 1.0  # a change that float32 does not tell
    shares = {"learning rate": 1.0}
    windows = [slice(k, k + LAST) for k in range(max(len(rows) - LAST, 0) + 1)]
    worst = min(windows, key=lambda w: float(np.median(gains[w])))
    gain = float(np.median(gains[worst]))
    if gain < 0:
        best = 1 / (2 * (1 - gain))
        steps = rows[worst, 0]
        cause = (
            f"in {int(np.sum(gains[worst] < 0))} of {len(steps)} looks, steps {steps[0]:.0f} to {steps[-1]:.0f}, the "
            f"step raised the loss of its own batch; {best:.2g} of it would have been best"
        )
        evidence = {"gain by step": {int(s): float(g) for s, g in zip(steps, gains[worst], strict=True)}}
        remedies = [scaled_rate(best / 2, "half of the best length"), scaled_rate(best / 8, "the same, more careful")]
        return [Finding("learning rate too high", [], cause, "learning rate", 0.9, evidence, shares, remedies)]
    share = float(np.median(-rows[-LAST:, 3] / np.maximum(np.abs(rows[-LAST:, 1]), 1e-30)))
    fallen = 1 - float(np.median(rows[-LAST:, 1])) / rows[0, 1] if rows[0, 1] > 0 else 1.0
    if share * 1000 < SLOW and fallen < FALLEN:
        cause = f"a step promises to take away {share:.1e} of the loss, which has fallen by {100 * fallen:.2g} %"
        remedies = [scaled_rate(10.0, "no curvature is met yet"), scaled_rate(100.0, "the same, bolder")]
        low = {"promised share of the loss": share, "fallen": fallen}
        return [Finding("learning rate too low", [], cause, "learning rate", 0.4, low, shares, remedies)]
    return []


def _noise(records: Records) -> list[Finding]:
    rows = _numbers(records, "whole/noise_trace", "whole/noise_square", "whole/batch")[-MANY:]
    if len(rows) < LEAST or rows[:, 0].sum() <= 0:
        return []
    trace, square, batch = rows.mean(0)  # quotients of means: the square of one record may be negative
    surely = square + 2 * float(np.std(rows[:, 1], ddof=1)) / math.sqrt(len(rows))
    if surely <= 0:  # batches are no independent draws: balanced by class, say
        return []
    scale = trace / surely
    if scale < NOISY * batch:
        return []
    cause = f"a direction would need over {scale:.3g} examples, the batch has {batch:.0f}; expected near a minimum"
    remedy = scaled_rate(0.25, "averages over more batches")
    return [Finding("gradient noise", [], cause, "data", 0.3, {"noise scale": scale, "batch": batch}, {}, [remedy])]


def _lost(records: Records, key: str, kind: str) -> list[Finding]:
    """Calls whose units are dead or saturated now, and were well at first, or all of whose units are."""
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for record in records:
        for name, entry in record.get("activations", {}).items():
            share = entry.get(key)
            if isinstance(share, (int, float)):
                first.setdefault(name, share)
                last[name] = share
    where = [n for n in last if last[n] >= MOST and (first[n] <= 0.5 or last[n] == 1)]
    if not where:
        return []
    worst = max(where, key=lambda n: last[n])
    what = "units are dead" if key == "dead" else "values are saturated"
    cause = f"in {worst!r} {100 * last[worst]:.0f} % of the {what}, {100 * first[worst]:.0f} % at first"
    evidence = {"at first": {n: first[n] for n in where}, "now": {n: last[n] for n in where}}
    remedy = scaled_rate(0.1, "they were lost by steps that went too far")
    return [Finding(kind, where, cause, "activation", 0.7, evidence, {"activation": 1.0}, [remedy])]
