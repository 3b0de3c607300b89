"""A training step seen from inside: every module's call with its cotangent, parameters before and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from wengert import tree
from wengert.diff.derivatives import value_and_grad_watching
from wengert.ir.array import Array
from wengert.nn.module import Module, around_calls
from wengert.optim.parameters import slots


class Call(NamedTuple):
    """One call of a module within a step.

    Attributes:
        name: the module's dotted name; behind it `#2`, `#3`, … at its next calls in the same step.
        module: the module as it was called (its settings; its arrays are the step's).
        input: the first argument, if that is an array.
        output: what the call returned; the first array, where that is a container.
        cotangent: the gradient of the loss by it; None where nothing depends on it.
    """

    name: str
    module: Module
    input: Array | None
    output: Array
    cotangent: Array | None


class Look:
    """One step of training while it is traced. Functions of it are made of `wg` operations, as everything compiled.

    Attributes:
        loss_fn: returns the loss and a dict of metrics.
        batch: the arguments of the loss function beside the model.
        model: as it is after the update.
        loss, grads: of the step, before clipping.
        calls: calls of modules that returned arrays, in order, each array once (a container that returns what its last
            part returned is left out). Calls inside compiled loops and checkpoints are not among them.
        before, gradients, after: the trained parameters and their gradients by name.

    Example:
        >>> class Dead(train.Callback):
        ...     every, passive = 50, True
        ...     def look(self, step):
        ...         return [wg.mean(call.output == 0) for call in step.calls if isinstance(call.module, nn.ReLU)]
    """

    def __init__(self, loss_fn: Callable[..., Any], model: Any, batch: tuple[Any, ...]):
        self.loss_fn = loss_fn
        self.model = model
        self.batch = batch
        self.loss: Any = None
        self.grads: Any = None
        self.calls: list[Call] = []
        self._leaves, self._structure = tree.flatten(model)
        self.before: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.after: dict[str, Array] = {}

    def derivative(self) -> Any:
        """Loss, metrics and gradients, as `value_and_grad` gives them, with a look at every call."""
        watched: list[Any] = []
        calls: list[tuple[str, Module]] = []
        trained = {s.name: s.value for s in slots(self.model) if not s.buffer and not s.frozen}
        f = value_and_grad_watching(_noting_calls(self.loss_fn, watched, calls), watched)
        (self.loss, metrics), self.grads, seen = f(self.model, *self.batch)
        for (name, module), (x, _), (y, c) in zip(calls, seen[::2], seen[1::2], strict=True):
            if y is not None:
                self.calls.append(Call(name, module, None if x is y else x, y, c))
        self.gradients = {s.name: s.value for s in slots(self.grads) if s.name in trained}
        self.before = {n: trained[n] for n in self.gradients}
        return (self.loss, metrics), self.grads

    def updated(self) -> None:
        """The model has got its new parameters."""
        self.after = {s.name: s.value for s in slots(self.model) if s.name in self.before}

    def again(self) -> Any:
        """The loss of the same batch with the new parameters, but buffers (random keys, say) as they were."""
        old = tree.unflatten(self._structure, self._leaves)
        for s in slots(old):
            if s.name in self.after:
                s.assign(self.after[s.name])
        return self.loss_fn(old, *self.batch)[0]


def _noting_calls(
    loss_fn: Callable[..., Any], watched: list[Any], calls: list[tuple[str, Module]]
) -> Callable[..., Any]:
    def noting(model: Any, *batch: Any) -> Any:
        names = {id(m): n for n, m in model.named_modules()} if isinstance(model, Module) else {}
        count: dict[str, int] = {}
        known: set[int] = set()

        def around(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            out = module.forward(*args, **kwargs)
            first = next((a for a in tree.leaves(out) if isinstance(a, Array) and a.dtype.kind == "f"), None)
            if first is not None and id(first) not in known and id(module) in names:
                known.add(id(first))
                name = names[id(module)] or type(module).__name__
                count[name] = count.get(name, 0) + 1
                calls.append((name if count[name] == 1 else f"{name}#{count[name]}", module))
                x = args[0] if args and isinstance(args[0], Array) and args[0].dtype.kind == "f" else first
                watched.extend((x, first))
            return out

        with around_calls(around):
            return loss_fn(model, *batch)

    noting.__name__ = getattr(loss_fn, "__name__", "loss_fn")
    return noting
