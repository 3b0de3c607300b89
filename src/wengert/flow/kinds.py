"""What kind of map an edge is: what an instrument adds up by.

    activation     an elementwise nonlinear function
    weight         a product with, or a scaling or shift by, parameters alone
    normalisation  batch, layer, … normalisation, its own scale and shift included
    shortcut       a sum of two values that both carry the signal, and what that does where they meet again
    attention      a product of two values that both carry the signal, and the softmax between two of them
    gate           an elementwise product of two such values
    pooling        means, maxima and sums over axes
    dropout, embedding
    time           a state handed from turn to turn, a sequence taken apart or put together
    loss           what comes after the model, and leads to none of its modules
    other          reshapes, slices, scalings by constants

The scope is asked first (the outermost region or module with a kind of its own), then the step itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.ir.graph import Node, Var

KINDS = (
    "activation", "weight", "normalisation", "shortcut", "attention", "gate", "pooling", "dropout", "embedding", "time",
    "loss", "other",
)  # fmt: skip

_BY_FILE = {
    "wengert.nn.activation": "activation",
    "wengert.nn.normalization": "normalisation",
    "wengert.nn.pooling": "pooling",
    "wengert.nn.dropout": "dropout",
    "wengert.nn.embedding": "embedding",
    "wengert.nn.losses": "loss",
    "wengert.nn.attention": "attention",
}
_PRODUCTS = frozenset(("dot_general", "conv", "solve", "solve_triangular"))
_SUMS = frozenset(("add", "subtract"))
_FACTORS = frozenset(("multiply", "divide", "guarded_multiply", "annihilating_multiply"))
_GATHERS = frozenset(("gather", "take", "dynamic_slice"))
_TIME = frozenset(("handed on", "unstack", "stack"))
_POOLS = frozenset(
    ("sum", "mean", "max", "min", "prod", "logsumexp", "avg_pool", "max_pool", "window_sum", "cumulative_sum")
)
_COSTS = frozenset(("square", "power", "integer_power", "abs", "log", "sqrt"))  # no activations of a last layer
_SHAPES = frozenset(
    ("reshape", "permute", "broadcast_to", "slice", "pad", "concat", "flip", "squeeze", "convert", "copy", "negative",
     "real", "imag", "scatter_add", "scatter", "dynamic_update_slice", "identity", "stop_gradient")
)  # fmt: skip


def kind_of_module(module: Any) -> str | None:
    """The kind of everything that a module does, if it is of one kind."""
    return next((k for c in type(module).__mro__ if (k := _BY_FILE.get(c.__module__))), None)


def is_product(node: Node) -> bool:
    """Whether a step multiplies matrices, or convolves."""
    return node.primitive.name in _PRODUCTS


def parameters_only(nodes: Sequence[Node], parameters: Sequence[Var], size: int, tape: Any) -> list[bool]:
    """For each value, whether it comes from parameters alone, so that no signal goes through it."""
    alone = [False] * size
    for p in parameters:
        alone[p.index] = True
    for node in nodes:
        traced = [a for a in node.inputs if a.trace is tape]
        data = node.primitive.name in _PRODUCTS | _GATHERS and any(a.trace is not tape and a.ndim for a in node.inputs)
        mine = not data and all(alone[a.index] for a in traced)  # type: ignore[attr-defined]
        for o in node.outputs:
            alone[o.index] = mine
    return alone


def kinds_of(nodes: Sequence[Node], alone: Sequence[bool], tape: Any, modular: bool) -> list[str]:
    """The kind of each step.

    `modular`: whether the model is a module, so that steps outside of all modules are the loss's.
    """
    after = _after(nodes, tape) if modular else [False] * len(nodes)
    kinds = [_kind(node, alone, tape, last) for node, last in zip(nodes, after, strict=True)]
    if not modular and "weight" in kinds:  # after the last layer begins the loss
        last = len(kinds) - 1 - kinds[::-1].index("weight")
        used = {a.index for a in nodes[last].outputs}
        for k in range(last + 1, len(kinds)):
            scoped = any(f.kind for f in nodes[k].scope)
            hidden = kinds[k] == "activation" and any(a.trace is tape and a.index in used for a in nodes[k].inputs)
            hidden = hidden and nodes[k].primitive.name not in _COSTS
            if not scoped and not hidden and kinds[k] != "weight":
                kinds[k] = "loss"
    return kinds


def _after(nodes: Sequence[Node], tape: Any) -> list[bool]:
    """For each step, whether it is outside of all modules, and so is everything that is made of it."""
    leads: set[int] = set()  # values that something in a module is made of
    after = [False] * len(nodes)
    for k in reversed(range(len(nodes))):
        node = nodes[k]
        inside = any(f.what == "module" for f in node.scope)
        if inside or any(o.index in leads for o in node.outputs):
            leads.update(a.index for a in node.inputs if a.trace is tape)  # type: ignore[attr-defined]
        else:
            after[k] = True
    return after


def _kind(node: Node, alone: Sequence[bool], tape: Any, after: bool) -> str:
    frames = node.scope or ()
    named = next((f.kind for f in frames if f.kind is not None), None)
    if named is not None and named != "attention":
        return named
    if after:
        return "loss"
    own = _by_step(node, alone, tape)
    return own if named is None or own == "weight" else named


def _by_step(node: Node, alone: Sequence[bool], tape: Any) -> str:
    name = node.primitive.name
    traced = [a for a in node.inputs if a.trace is tape]
    signals = sum(not alone[a.index] for a in traced)  # type: ignore[attr-defined]
    helped = len(traced) > signals  # by parameters
    if name in _TIME:
        return "time"
    if name in _PRODUCTS:
        return "attention" if signals > 1 else "weight"
    if name in _GATHERS and helped and not signals:
        return "embedding"
    if name in _SUMS:
        return "shortcut" if signals > 1 else "weight" if helped else "other"
    if name == "divide" and signals == 1 and any(node.inputs[1] is a and not alone[a.index] for a in traced):  # type: ignore[attr-defined]
        return "activation"  # 1/x is as nonlinear as any
    if name in _FACTORS:
        return "gate" if signals > 1 else "weight" if helped else "other"
    if name in _SHAPES:
        return "other"
    if name in _POOLS:
        return "pooling"
    return "activation"
