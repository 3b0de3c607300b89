"""What a monitor computes of one training step: a light look, and a thorough one."""

from __future__ import annotations

from typing import Any

from wengert import nn
from wengert.array.manipulation import stack
from wengert.array.reductions import mean
from wengert.array.reductions import sum as sum_
from wengert.array.searching import where
from wengert.flow import statistics as of
from wengert.flow.statistics import Path, Sheet
from wengert.ir.array import Array
from wengert.ops.arithmetic import abs_
from wengert.train.look import Call, Look
from wengert.train.step import examples_in

SLOPE = 0.05  # a unit is saturated where the derivative is less than this share of its largest

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
RECTIFIERS = ("relu", "relu6", "threshold")  # whose units are dead where they put out nothing but zeros


def light(look: Look, sample: int) -> Sheet:
    """Sizes of parameters, gradients, updates, activations and of their gradients; units that are dead or saturated."""
    sheet = Sheet()
    whole(sheet, look)
    for name, p in look.before.items():
        sheet.add(("parameters", name, "square"), of.square(p) / max(p.size, 1))
    for call in look.calls:
        activation(sheet, call, sample)
    return sheet


def thorough(look: Look, sample: int) -> Sheet:
    """That, and ranges, histograms, ranks, shattering, gradient noise and the curvature along the step."""
    sheet = light(look, sample)
    for name, p in look.before.items():
        sheet.add(("parameters", name, "mean"), mean(p))
        of.ranges(sheet, ("parameters", name), p)
        gradient = look.gradients[name]
        sheet.add(("parameters", name, "gradient", "mean"), mean(gradient))
        of.ranges(sheet, ("parameters", name, "gradient"), gradient)
    for call in look.calls:
        path = ("activations", call.name)
        y = of.some_examples(call.output, sample)
        sheet.add((*path, "mean"), mean(y))
        of.ranges(sheet, path, y)
        a = of.matrix(call.output)
        if a is not None and a.shape[1] > 1:
            sheet.add((*path, "rank"), of.effective_rank(a))
            sheet.add((*path, "rank_most"), min(a.shape[0] - 1, a.shape[1]))
        if call.cotangent is not None:
            some = of.some_examples(call.cotangent, sample)
            sheet.add((*path, "gradient", "mean"), mean(some))
            of.ranges(sheet, (*path, "gradient"), some)
            if isinstance(call.module, WEIGHTED):
                sheet.add((*path, "dead"), of.never(some))
            g = of.matrix(call.cotangent)
            if g is not None and g.shape[1] > 1:
                sheet.add((*path, "shattering"), of.shattering(g))
    gradient_noise(sheet, look)
    curvature(sheet, look)
    return sheet


def whole(sheet: Sheet, look: Look) -> None:
    """The loss, and for each parameter the squares of its gradient and of its update."""
    sheet.add(("loss",), look.loss)
    sheet.add(("whole", "batch"), examples_in(look.batch))
    for name, g in look.gradients.items():
        sheet.add(("parameters", name, "gradient", "square"), of.square(g) / max(g.size, 1))
        sheet.add(("parameters", name, "update"), of.square(look.after[name] - look.before[name]))
        sheet.add(("parameters", name, "size"), g.size)


def activation(sheet: Sheet, call: Call, sample: int) -> None:
    path: Path = ("activations", call.name)
    inside = call.name.partition("#")[0]
    sheet.labels[call.name] = {
        "module": inside if call.module is not None else inside.rpartition(".")[0],
        "class": type(call.module).__name__ if call.module is not None else call.function,
    }
    y = of.some_examples(call.output, sample)
    sheet.add((*path, "square"), of.square(y) / max(y.size, 1))
    sheet.add((*path, "size"), call.output.size)
    slow = saturated(call, y)
    if slow is not None:
        sheet.add((*path, "saturated"), mean(where(slow, 1.0, 0.0)))
    if call.function in RECTIFIERS:
        sheet.add((*path, "dead"), of.never(y))
    if call.cotangent is not None:
        c = of.some_examples(call.cotangent, sample)
        sheet.add((*path, "gradient", "square"), of.square(c) / max(c.size, 1))


def saturated(call: Call, y: Array) -> Any:
    """Where an activation with bounds is so near to one that its derivative, told by its value y, is almost 0."""
    function, m = call.function, call.module
    if function == "sigmoid":
        return y * (1 - y) < SLOPE / 4
    if function in ("tanh", "RNN", "RNNCell"):
        return 1 - y * y < SLOPE
    if function == "softsign":
        return (1 - abs_(y)) ** 2 < SLOPE
    if function == "hardtanh":
        low, high = (m.min_val, m.max_val) if isinstance(m, nn.Hardtanh) else (-1.0, 1.0)
        return (y <= low) | (y >= high)
    if function == "hardsigmoid":
        return (y <= 0) | (y >= 1)
    if function == "relu6":
        return y >= 6
    return None


def gradient_noise(sheet: Sheet, look: Look) -> None:
    """Trace of the covariance and squared mean, over those linear layers whose single gradients are known."""
    found = []
    calls = [c.name for c in look.calls]
    for call in look.calls:
        weight, x, c = f"{call.name}.weight", call.input, call.cotangent
        if not isinstance(call.module, nn.Linear) or weight not in look.gradients or f"{call.name}#2" in calls:
            continue
        if x is None or c is None or x.ndim != 2 or x.shape[0] < 2:
            continue
        found.append(of.noise(x, c, look.gradients[weight], f"{call.name}.bias" in look.gradients))
    if found:
        sheet.add(("noise", "trace"), sum_(stack([t for t, _ in found])))
        sheet.add(("noise", "square"), sum_(stack([s for _, s in found])))


def curvature(sheet: Sheet, look: Look) -> None:
    """How the loss of the same batch changed by the step, and what its gradient promised, `⟨g, Δ⟩`."""
    terms = [sum_(g * (look.after[n] - look.before[n])) for n, g in look.gradients.items()]
    if terms:
        sheet.add(("step", "change"), look.again() - look.loss)
        sheet.add(("step", "promised"), sum_(stack(terms)))
