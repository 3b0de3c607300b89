"""Initialisation of whole models: by rule, from data (LSUV), and for residual nets without normalisation (Fixup)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.errors import ArgumentError, NonFiniteError
from wengert.ir.array import concrete
from wengert.module import Module as Traced
from wengert.nn.containers import Residual
from wengert.nn.init.distributions import zeros
from wengert.nn.init.scaling import kaiming_normal
from wengert.nn.init.structured import orthogonal
from wengert.nn.module import Module, around_calls
from wengert.nn.seed import next_key
from wengert.random.keys import split
from wengert.source import at_user_line


def is_weighted(module: Traced) -> bool:
    """Whether a module has a weight matrix or kernel of its own (a linear layer, a convolution), not a scale."""
    weight = vars(module).get("weight")
    return weight is not None and len(weight.shape) >= 2 and hasattr(module, "bias") and not _is_norm(module)


def _is_norm(module: Traced) -> bool:
    return hasattr(module, "normalized_shape")


def initialize(
    model: Module, weight: Callable[..., Any] | None = None, bias: Callable[..., Any] | None = None, *, key: Any = None
) -> Module:
    """Draw the weights (and biases) of all linear layers and convolutions anew, in place; returns the model.

    Args:
        model: a module.
        weight: an initialiser that takes the array and a key, such as `nn.init.orthogonal`.
        bias: one for biases, such as `nn.init.zeros`.
        key: a random key or seed; by default the next of the package's.

    Example:
        >>> model = nn.init.initialize(nn.Linear(3, 3), nn.init.orthogonal, nn.init.zeros)
    """
    layers = [m for m in model.modules() if is_weighted(m)]
    for layer, own in zip(layers, split(next_key(key), max(len(layers), 1)), strict=False):
        if weight is not None:
            layer.weight = _called(weight, layer.weight, own)
        if bias is not None and layer.bias is not None:
            layer.bias = _called(bias, layer.bias, own)
    return model


def _called(initialiser: Callable[..., Any], like: Any, key: Any) -> Any:
    try:
        return initialiser(like, key=key)
    except TypeError as error:
        if "key" not in str(error):
            raise
        return initialiser(like)  # draws nothing


def lsuv(
    model: Module, *inputs: Any, tolerance: float = 0.01, most: int = 10, orthonormal: bool = True, key: Any = None
) -> Module:
    """Layer-sequential unit variance, from data: each layer's output gets variance 1, in the order of the calls.

    Every linear layer and convolution starts with an orthogonal weight, which is then divided by the standard deviation
    of what the layer puts out for the data, until that is 1 within the tolerance. The model runs once.

    Args:
        model: a module; changed in place and returned.
        inputs: what it is called with: a batch of data.
        tolerance: how far the variance may be from 1.
        most: how often a weight is divided.
        orthonormal: whether weights are drawn anew.
        key: a random key or seed; by default the next of the package's.

    Raises:
        NonFiniteError: a layer's output is constant or not finite, so that no scale helps.

    Mishkin and Matas 2015, *All you need is a good init* (arXiv 1511.06422).
    """
    if orthonormal:
        initialize(model, orthogonal, zeros, key=key)
    done: set[int] = set()

    def around(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if is_weighted(module) and id(module) not in done:
            done.add(id(module))
            for _ in range(most):
                variance = float(concrete(module.forward(*args, **kwargs).var()))
                if not 0 < variance < float("inf"):
                    raise NonFiniteError(
                        f"init.lsuv: the output of {module!r} has variance {variance}; data of another kind, or "
                        f"another start, is needed{at_user_line()}"
                    )
                if abs(variance - 1) <= tolerance:
                    break
                module.weight = module.weight / variance**0.5
        return module.forward(*args, **kwargs)

    with around_calls(around):
        model(*inputs)
    if not done:
        raise ArgumentError(
            f"init.lsuv: {type(model).__name__} called no linear layer and no convolution{at_user_line()}"
        )
    return model


def fixup(model: Module, *, last: str | None = None, key: Any = None) -> Module:
    """For nets of `nn.Residual` blocks, to train without normalisation however deep they are.

    With L blocks, the weights in a branch of m weighted layers are Kaiming normal times `L^(-1/(2m - 2))`, the last of
    each branch is 0, and so is the last layer of the model; biases are 0. At first every block is its shortcut, and a
    step changes the whole by the learning rate, whatever L is. (The scalar biases and multipliers of the paper are not
    added.)

    Args:
        model: a module with `nn.Residual` blocks; changed in place and returned.
        last: dotted name of the layer that makes the result; by default the last that is not in a branch, if it comes
            behind all blocks.
        key: a random key or seed; by default the next of the package's.

    Raises:
        ArgumentError: there are no residual blocks.

    Zhang, Dauphin and Ma 2019, *Fixup initialization* (arXiv 1901.09321).
    """
    named = [(n, m) for n, m in model.named_modules() if is_weighted(m)]
    blocks = [m for m in model.modules() if isinstance(m, Residual)]
    if not blocks:
        raise ArgumentError(f"init.fixup: {type(model).__name__} has no nn.Residual block{at_user_line()}")
    scales: dict[int, float] = {}
    for block in blocks:
        branch = [m for m in block.branch.modules() if is_weighted(m)]
        for layer in branch[:-1]:
            scales[id(layer)] = len(blocks) ** (-1 / (2 * len(branch) - 2))
        scales.update((id(layer), 0.0) for layer in branch[-1:])
    for (_, layer), own in zip(named, split(next_key(key), max(len(named), 1)), strict=False):
        scale = scales.get(id(layer), 1.0)
        fresh = kaiming_normal(layer.weight, nonlinearity="relu", key=own)
        layer.weight = zeros(layer.weight) if scale == 0 else scale * fresh
        if layer.bias is not None:
            layer.bias = zeros(layer.bias)
    inside = {id(m) for b in blocks for m in b.modules()}
    final = model.get_submodule(last) if last is not None else named[-1][1]
    if last is not None or id(final) not in inside:
        final.weight = zeros(final.weight)
    return model
