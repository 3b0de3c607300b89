"""Normalisation put in, and shortcuts put around, the layers of a model; weights are kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from wengert import nn
from wengert.flow.remedies.activations import is_activation
from wengert.flow.remedies.remedy import Remedy, nothing_to, on_model
from wengert.flow.remedies.surgery import Call, Spliced, exchange
from wengert.nn.init.whole import is_weighted
from wengert.nn.module import Module
from wengert.nn.normalization import _RunningNorm

NORMS = (_RunningNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
SMALLEST_BATCH = 16  # examples, from which on the batch's statistics are good enough to normalise by


def normalisation_for(call: Call, batch_norm: bool) -> Module | None:
    """The normalisation behind a layer, by the shape of what it makes: (N, C), (N, C, …) or (…, C)."""
    shape, m = call.made, call.module
    if shape is None or len(shape) < 2:
        return None
    dtype = m.weight.dtype
    if not hasattr(m, "kernel_size"):  # a linear layer
        if batch_norm and len(shape) == 2:
            return nn.BatchNorm1d(shape[1], dtype=dtype)
        return nn.LayerNorm(shape[-1], dtype=dtype)
    c = m.weight.shape[0] if not hasattr(m, "output_padding") else shape[1]
    if batch_norm:
        rank = {3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}.get(len(shape))
        return rank(c, dtype=dtype) if rank else None
    groups = next(g for g in (8, 4, 2, 1) if c % g == 0)
    return nn.GroupNorm(groups, c, dtype=dtype)


def with_normalisation(model: Module, found: list[Call], last: str | None, batch_norm: bool) -> Module:
    """The model with a normalisation behind every linear layer and convolution but the last one.

    Args:
        found: the calls of the model's parts (`surgery.calls`).
        last: name of the layer that makes the output.
        batch_norm: over the batch, or over the features of each example.

    Layers that are followed by a normalisation already, and those inside attention and recurrent layers, stay.
    """
    by_name = {c.name: c for c in found if is_weighted(c.module)}
    normed = _followed_by_norm(found)

    def change(name: str, m: Module) -> Module | None:
        if isinstance(m, nn.MultiheadAttention | nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
            return m
        call = by_name.get(name)
        if call is None or name == last or name in normed or not is_weighted(m) or isinstance(m, nn.Embedding):
            return None
        norm = normalisation_for(call, batch_norm)
        return None if norm is None else Spliced(m, norm)

    changed, count = exchange(model, change)
    if not count:
        raise nothing_to("normalisation", model)
    return changed


def _followed_by_norm(found: list[Call]) -> set[str]:
    leaves = [c for c in found if not list(c.module.named_children())]
    pairs = itertools.pairwise(leaves)
    return {a.name for a, b in pairs if is_weighted(a.module) and isinstance(b.module, NORMS)}


Look = Callable[[Any], list[Call]]  # the calls of a model's parts, as it is when a remedy is applied


def last_of(found: list[Call]) -> str | None:
    """The layer with weights that is called last."""
    names = [c.name for c in found if is_weighted(c.module)]
    return names[-1] if names else None


def normalisation_remedy(look: Look, batch: int, why: str) -> Remedy:
    """Batch normalisation for batches that are large enough, else layer (or group) normalisation."""
    large = batch >= SMALLEST_BATCH
    name = "batch normalisation" if large else "layer normalisation"

    def change(model: Any) -> Any:
        found = look(model)
        return with_normalisation(model, found, last_of(found), large)

    return on_model(name, why, change)


def shortcut_rows(found: list[Call]) -> dict[str, str]:
    """Names of layers around which a shortcut fits, because what comes has the shape of what goes."""
    return {c.name: type(c.module).__name__ for c in found if is_weighted(c.module) and c.given == c.made}


def with_shortcuts(model: Module, found: list[Call], per: int = 1) -> Module:
    """The model with a shortcut around every block of equal width.

    In a `Sequential`, a block is a layer whose output has its input's shape, with the normalisation, activation and
    dropout behind it; elsewhere it is the layer alone. Each branch's weights are divided by √(number of blocks), so
    that the sum of all of them keeps its scale (as in Fixup; Zhang, Dauphin and Ma 2019, arXiv 1901.09321).
    """
    fits = {
        c.name for c in found if is_weighted(c.module) and c.given == c.made and not isinstance(c.module, nn.Embedding)
    }
    inside = tuple(c.name + "." for c in found if isinstance(c.module, (nn.Residual, nn.TransformerEncoderLayer)))
    fits = {n for n in fits if not n.startswith(inside)} if inside else fits
    shapes = {c.name: (c.given, c.made) for c in found}
    if not fits:
        raise nothing_to("residual shortcuts", model)
    moved = _moved({c.name for c in found if is_weighted(c.module)}, model)
    if moved:  # a normalisation was put in before
        fits, shapes = {moved[n] for n in fits}, {}
    scale = 1 / math.sqrt(len(fits))

    def change(name: str, m: Module) -> Module | None:
        if type(m) is nn.Sequential:
            return _row(name, m, fits, shapes, scale)
        if name in fits and is_weighted(m):
            return nn.Residual(_smaller(m, scale))
        return None

    changed, _ = exchange(model, change)
    return changed


def _moved(weighted: set[str], model: Module) -> dict[str, str]:
    """The new names of layers with weights, where other parts were put between them; empty where none has changed."""
    there = {n for n, m in model.named_modules() if is_weighted(m)}
    if there == weighted or len(there) != len(weighted):
        return {}
    return dict(zip(sorted(weighted, key=_order), sorted(there, key=_order), strict=True))


def _order(name: str) -> list[tuple[int, str]]:
    """Names in the order of their numbers."""
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in name.split(".")]


def _smaller(m: Module, scale: float) -> Module:
    m.weight = m.weight * scale
    return m


def _row(name: str, row: Module, fits: set[str], shapes: dict[str, Any], scale: float) -> Module | None:
    """A Sequential with its blocks behind shortcuts; None if none of its own parts is the start of one."""
    children = list(row.named_children())
    path = {n: f"{name}.{n}" if name else n for n, _ in children}
    if not any(path[n] in fits for n, _ in children):
        return None
    parts: list[Any] = []
    i = 0
    while i < len(children):
        n, m = children[i]
        i += 1
        if path[n] not in fits:
            parts.append(m)
            continue
        block = [_smaller(m, scale)]
        while i < len(children):
            follower, f = children[i]
            given, made = shapes.get(path[follower], (None, None))
            if not (is_activation(f) or isinstance(f, (*NORMS, nn.Dropout))) or given != made:
                break
            block.append(f)
            i += 1
        parts.append(nn.Residual(*block))
    return nn.Sequential(*parts)


def shortcut_remedy(look: Look, why: str) -> Remedy:
    """Shortcuts around blocks of equal width."""
    return on_model("residual shortcuts", why, lambda model: with_shortcuts(model, look(model)))
