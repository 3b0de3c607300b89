"""Whether a model learns: how much of what a constant output costs is gone, on examples that were kept back.

`L₀` is the lowest mean loss among outputs that are the same for every example (for classes their entropy, for squares
the variance); a model that has *learned* a share s has loss `(1 - s) L₀`. That is free of the loss's scale, and unlike
the distance from the start it can't be had by forgetting a bad start.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import tree
from wengert.array.creation import zeros
from wengert.diff.derivatives import value_and_grad
from wengert.errors import WengertError
from wengert.flow.profile import Batch, checked_batch, checked_loss
from wengert.flow.recipe import copied, endless
from wengert.flow.remedies.layers import last_of
from wengert.flow.remedies.surgery import calls
from wengert.nn.module import Module, around_calls

SHARE = 0.2  # of the examples, that are kept back to judge by
ENOUGH, MOST = 16, 256  # examples that are kept back at least and at most
TURNS = 15  # of the search for the best constant
LEARNS = 0.3  # of the constant's loss that is gone, from which on a model is said to learn
SETTLED = 0.5  # at which a repair is content


def split(data: Any) -> tuple[Any, Batch]:
    """What is trained on, and examples that are kept back: of arrays or a list of batches a fifth.

    Where there are too few, or a loader hands them out, the first batch is judged by, without being kept back.

    Raises:
        ArgumentError: arrays that hold NaN or nothing.
    """
    if isinstance(data, (tuple, list)):
        for batch in data if isinstance(data, list) else [data]:
            checked_batch(batch)
    if isinstance(data, list) and len(data) >= 1 / SHARE and _alike(data):
        kept = max(1, min(int(SHARE * len(data)), MOST // max(len(data[0][0]), 1)))
        return data[:-kept], tree.map(lambda *parts: np.concatenate([np.asarray(p) for p in parts]), *data[-kept:])
    if isinstance(data, tuple) and data and all(getattr(a, "shape", ()) for a in data):
        n = len(data[0])
        kept = min(int(SHARE * n), MOST)
        if kept >= ENOUGH and all(len(a) == n for a in data):
            order = np.random.default_rng(0).permutation(n)
            return tuple(np.asarray(a)[order[kept:]] for a in data), tuple(np.asarray(a)[order[:kept]] for a in data)
    return data, tuple(tree.map(np.asarray, next(endless(data))))


def _alike(batches: list[Any]) -> bool:
    """Whether all are pairs (or more) of arrays that can be put one behind the other."""
    shapes = set()
    for b in batches:
        if not isinstance(b, (tuple, list)) or not b or not all(getattr(a, "shape", ()) for a in b):
            return False
        shapes.add((len(b), *(tuple(a.shape[1:]) for a in b)))
    return len(shapes) == 1


def judged(model: Any, loss_fn: Callable[..., Any], batch: Batch) -> float:
    """The loss of a model that isn't in training: no dropout, running statistics; nothing is assigned."""
    model = copied(model)
    if isinstance(model, Module):
        model.eval()
    return float(np.asarray(checked_loss(loss_fn(model, *batch))))


def learned(model: Any, loss_fn: Callable[..., Any], batch: Batch, constant: float) -> float:
    """The share of the constant's loss that is gone, at most 1; -inf for a loss that isn't finite."""
    try:
        loss = judged(model, loss_fn, batch)
    except WengertError:
        return -math.inf
    if not math.isfinite(loss) or not math.isfinite(constant):
        return -math.inf
    return min(1.0, (constant - loss) / max(abs(constant), 1e-30))


def constant_loss(model: Any, loss_fn: Callable[..., Any], batch: Batch) -> float:
    """The lowest loss of an output that is the same for every example.

    What the last layer makes is exchanged for such an output, which is looked for by gradient steps of the length that
    Barzilai and Borwein (1988) give. Without such a layer: the loss with the targets given to other examples.
    """
    model = copied(model)
    name = last_of(calls(model, loss_fn, batch)) if isinstance(model, Module) else None
    if name is None:
        return shuffled(model, loss_fn, batch)
    model.eval()
    layer = model.get_submodule(name) if name else model
    parts = {id(m) for n, m in model.named_modules() if not n or name == n or name.startswith(n + ".")}
    kept: list[Any] = []  # what was made before the last layer was called

    def of_bias(b: Any) -> Any:
        turn, inside, past = 0, False, False

        def around(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            nonlocal turn, inside, past
            past = past or module is layer
            if module is layer:
                out = zeros(module.forward(*args, **kwargs).shape, dtype=layer.weight.dtype)
                return out + (b.reshape(-1, *(1,) * (out.ndim - 2)) if hasattr(layer, "kernel_size") else b)
            if id(module) in parts or inside or past:
                return module.forward(*args, **kwargs)
            if turn == len(kept):
                inside = True
                kept.append(module.forward(*args, **kwargs))
                inside = False
            turn += 1
            return kept[turn - 1]

        with around_calls(around):
            return checked_loss(loss_fn(model, *batch))

    width = layer.weight.shape[1 if hasattr(layer, "output_padding") else 0]
    b, best = np.zeros(width, layer.weight.dtype), math.inf
    old: tuple[np.ndarray, np.ndarray] | None = None
    for _ in range(TURNS):
        value, g = value_and_grad(of_bias)(b)
        value, g = float(np.asarray(value)), np.asarray(g, np.float64)
        if not math.isfinite(value) or not np.isfinite(g).all():
            break
        best = min(best, value)
        size = 1.0
        if old is not None:
            s, y = b - old[0], g - old[1]
            size = float(np.vdot(s, y)) / max(float(np.vdot(y, y)), 1e-300)
        if not 0 < size < 1e6 or not np.any(g):
            break
        old, b = (b, g), (b - size * g).astype(b.dtype)
    return best


def shuffled(model: Any, loss_fn: Callable[..., Any], batch: Batch) -> float:
    """The loss with the last argument given to other examples; the loss itself where there is none."""
    if len(batch) > 1 and np.ndim(batch[-1]):
        batch = (*batch[:-1], np.roll(np.asarray(batch[-1]), max(1, len(batch[-1]) // 2), axis=0))
    return judged(model, loss_fn, batch)
