"""One pass over a model with its loss: what every part put out, and the gradient that arrived there.

A zero is added to the result of each innermost part; the derivative by these zeros is the gradient at those places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert import nn, tree
from wengert.debug import debug_nonfinite
from wengert.diff.derivatives import value_and_grad
from wengert.errors import ArgumentError, NonFiniteError
from wengert.flow.recipe import copied
from wengert.ir.array import Array
from wengert.nn.init.whole import is_weighted
from wengert.nn.module import Module, around_calls
from wengert.optim.parameters import slots
from wengert.source import at_user_line

Batch = tuple[Any, ...]
RECURRENT = (nn.RNN, nn.LSTM, nn.GRU)


class Call(NamedTuple):
    """One call of an innermost part.

    Attributes:
        name: its dotted name. turn: which of its calls, from 0.
        module: the part.
        given, made: what came and went, as ndarrays; None where it was no array.
        gradient: of the loss by what went; zeros where the loss doesn't depend on it.
        arriving: of the loss by what came, for recurrent layers; else None.
    """

    name: str
    turn: int
    module: Module
    given: np.ndarray | None
    made: np.ndarray | None
    gradient: np.ndarray | None
    arriving: np.ndarray | None = None

    @property
    def weighted(self) -> bool:
        return is_weighted(self.module)


class Parameter(NamedTuple):
    """A parameter and its gradient, which is None where it is frozen."""

    name: str
    value: np.ndarray
    gradient: np.ndarray | None
    frozen: bool

    @property
    def sensitivity(self) -> float:
        """`‖w‖ ‖∂L/∂w‖`: how far the loss changes for a relative change of w; free of the scale w is written in."""
        if self.gradient is None:
            return math.nan
        return norm(self.value) * norm(self.gradient)


class Profile(NamedTuple):
    """A pass: the loss, the calls in the order in which they ended, parameters, and what the whole model put out."""

    loss: float
    calls: list[Call]
    parameters: list[Parameter]
    output: np.ndarray | None
    examples: int

    @property
    def layers(self) -> list[Call]:
        """Calls of layers with weights."""
        return [c for c in self.calls if c.weighted]

    def decades(self) -> list[float]:
        """log10 of the gradient's norm at each layer with weights, over that at the last: the last is 0."""
        norms = [norm(c.gradient) for c in self.layers if c.gradient is not None]
        if not norms or not norms[-1] > 0:
            return []
        return [log10(n / norms[-1]) for n in norms]


def norm(x: Any) -> float:
    """The 2-norm in double precision, without overflow."""
    values = np.asarray(x, np.float64)
    size = float(np.max(np.abs(values))) if values.size else 0.0
    if not 0 < size < math.inf:
        return size
    return size * float(np.sqrt(np.sum((values / size) ** 2)))


def log10(x: float) -> float:
    """The decimal logarithm, -inf of 0."""
    return math.log10(x) if x > 0 else (math.nan if math.isnan(x) else -math.inf)


def checked_loss(loss: Any) -> Any:
    """The loss as one number; a pair with metrics gives its first part."""
    if isinstance(loss, tuple) and len(loss) == 2 and isinstance(loss[1], dict):
        loss = loss[0]
    if not hasattr(loss, "shape") and not isinstance(loss, (int, float)):
        raise ArgumentError(
            f"flow: loss_fn returned a {type(loss).__name__}; expected one number, the loss{at_user_line()}"
        )
    if getattr(loss, "shape", ()) != ():
        raise ArgumentError(
            f"flow: loss_fn returned an array of shape {tuple(loss.shape)}; expected one number: take its mean or sum"
            + at_user_line()
        )
    if not isinstance(loss, (int, float)) and loss.dtype.kind != "f":
        raise ArgumentError(
            f"flow: loss_fn returned {loss.dtype.name}; expected a real floating number{at_user_line()}"
        )
    return loss


def checked_batch(batch: Batch) -> None:
    """Refuse a batch that holds NaN or infinity, or nothing."""
    for i, leaf in enumerate(tree.leaves(batch)):
        values = np.asarray(leaf)
        if values.size == 0:
            raise ArgumentError(
                f"flow: argument {i + 1} of the batch is empty, shape {values.shape}; give at least one example"
                + at_user_line()
            )
        if values.dtype.kind in "fc" and not np.isfinite(values).all():
            bad = int(np.size(values) - np.isfinite(values).sum())
            where = tuple(int(k) for k in np.argwhere(~np.isfinite(values))[0])
            raise ArgumentError(
                f"flow: argument {i + 1} of the batch, shape {values.shape}, holds {bad} numbers that are NaN or "
                f"infinite, the first at {list(where)}; clean the data first, or leave these examples out"
                + at_user_line()
            )


def checked_model(model: Any) -> None:
    """Refuse a model without parameters."""
    if any(c.__module__.split(".")[0] == "torch" for c in type(model).__mro__):
        raise ArgumentError(
            f"flow: the model is a {type(model).__name__} of PyTorch's, whose operations can't be recorded here; write "
            "the same parts with wengert.nn (names and arguments are PyTorch's), take the weights over by "
            f"ours.load_state_dict(theirs.state_dict()), and look at that: docs/flow.md{at_user_line()}"
        )
    if not [s for s in slots(model) if not s.buffer]:
        raise ArgumentError(
            f"flow: the {type(model).__name__} has no parameters (real arrays that aren't buffers); expected a model "
            f"whose arrays are its attributes, or a dict or list of arrays{at_user_line()}"
        )


def profile(model: Any, loss_fn: Callable[..., Any], batch: Batch) -> Profile:
    """Run the loss and its derivative once, on a copy of the model.

    Raises:
        ArgumentError: no parameters, a loss that isn't one number, a batch that isn't finite.
    """
    checked_model(model)
    checked_batch(batch)
    model = copied(model)
    if not isinstance(model, Module):
        loss, grads = value_and_grad(lambda m: checked_loss(loss_fn(m, *batch)))(model)
        return Profile(float(loss), [], parameters(model, grads), None, examples(batch))
    names = {id(m): n for n, m in model.named_modules()}
    taps: list[list[Any]] = []  # one for each tapped call: zeros like the arrays that it makes

    def tapped(run: Module, zeros: list[list[Any]] | None) -> tuple[Any, list[Any], Any]:
        """The loss, what the calls made, and what the model put out last."""
        own = {id(m): names[i] for i, m in zip(names, run.modules(), strict=True)} if run is not model else names
        seen: list[Any] = []
        last: list[Any] = [None]

        def around(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            reads = isinstance(module, RECURRENT) and id(module) in own and bool(args) and _is_float(args[0])
            if reads and zeros is not None:
                args = (args[0] + zeros[len(seen)][0], *args[1:])
            out = module.forward(*args, **kwargs)
            if id(module) not in own:
                return out
            if module is run:
                last[0] = out
            if any(True for _ in module.named_children()) or not _floating(out):
                return out
            number = len(seen)
            leaves, structure = tree.flatten(out)
            if zeros is not None:
                leaves = [a + z if z is not None else a for a, z in zip(leaves, zeros[number][1:], strict=True)]
                out = tree.unflatten(structure, leaves)
            else:
                ends = [args[0] if reads else None, *leaves]
                taps.append([Array(np.zeros(a.shape, a.dtype)) if _is_float(a) else None for a in ends])
            seen.append((own[id(module)], module, args[0] if args else None, leaves[0]))
            return out

        with around_calls(around):
            loss = checked_loss(loss_fn(run, *batch))
        return loss, seen, last[0]

    tapped(copied(model), None)
    kept: list[Any] = []

    def f(run: Module, zeros: list[list[Any]]) -> tuple[Any, Any]:
        loss, seen, out = tapped(run, zeros)
        kept.append([(n, m) for n, m, _, _ in seen])
        arrays = [(g if _is_array(g) else None, made) for _, _, g, made in seen]
        return loss, (arrays, out if _is_array(out) else None)

    (loss, (arrays, out)), (grads, at) = value_and_grad(f, argnums=(0, 1), has_aux=True)(model, taps)
    found: list[Call] = []
    turns: dict[str, int] = {}
    by_name = dict(model.named_modules())
    for (name, _), (given, made), gradient in zip(kept[-1], arrays, at, strict=True):
        turn = turns[name] = turns.get(name, -1) + 1
        came, went = _numbers(gradient[0]), _numbers(gradient[1])
        found.append(Call(name, turn, by_name[name], _numbers(given), _numbers(made), went, came))
    return Profile(float(loss), found, parameters(model, grads), _numbers(out), examples(batch))


def parameters(model: Any, grads: Any) -> list[Parameter]:
    """The parameters beside their gradients."""
    gradients = {s.path: s.value for s in slots(grads, tied=False)}
    found = []
    for s in slots(model):
        if s.buffer:
            continue
        g = gradients.get(s.path)
        found.append(Parameter(s.name, np.asarray(s.value), None if g is None else np.asarray(g), s.frozen))
    return found


def examples(batch: Batch) -> int:
    """How many examples the batch has: the first length of its first array."""
    return next((int(a.shape[0]) for a in tree.leaves(batch) if getattr(a, "shape", ())), 1)


def first_nonfinite(model: Any, loss_fn: Callable[..., Any], batch: Batch) -> str | None:
    """Which operation makes the first NaN or infinity, forward or backward, with its line; None if none does."""
    try:
        with debug_nonfinite():
            value_and_grad(lambda m: checked_loss(loss_fn(m, *batch)))(copied(model))
    except NonFiniteError as error:
        return str(error)
    return None


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype")


def _is_float(x: Any) -> bool:
    return _is_array(x) and x.dtype.kind == "f"


def _floating(out: Any) -> bool:
    leaves = tree.leaves(out)
    return bool(leaves) and _is_float(leaves[0])


def _numbers(x: Any) -> np.ndarray | None:
    return None if x is None else np.asarray(x)


def rms(x: Any) -> float:
    """The root of the mean square."""
    values = np.asarray(x)
    return norm(values) / math.sqrt(max(values.size, 1))


def distinct(x: np.ndarray) -> float:
    """How much of a layer's output differs between examples: rms of what is left without their mean, over rms."""
    if x.ndim < 2 or x.shape[0] < 2:
        return math.nan
    size = rms(x)
    return rms(x - x.mean(axis=0, keepdims=True, dtype=np.float64)) / size if size > 0 else 0.0


def median(values: Sequence[float]) -> float:
    """The median, NaN of nothing."""
    return float(np.median(values)) if len(values) else math.nan
