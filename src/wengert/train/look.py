"""A training step seen from inside: every module's call with its cotangent, parameters before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from wengert import tree
from wengert.diff.derivatives import value_and_grad_watching
from wengert.ir.array import Array
from wengert.ir.scope import Frame, noticing
from wengert.nn.module import Module, around_calls
from wengert.optim.parameters import slots


class Call(NamedTuple):
    """One call of a module, or of an activation function, within a step.

    Attributes:
        name: the module's dotted name, or that of the module which called the function and the function's
            (`encoder.relu`); behind it `#2`, `#3`, … at the next calls in the same step.
        module: the module as it was called (its settings; its arrays are the step's); None for an activation function
            that a module calls by itself.
        function: the activation function, also that of a module which is no more than that ("relu"); else the module's
            class.
        input: the first argument, if that is an array.
        output: what the call returned; the first array, where that is a container.
        cotangent: the gradient of the loss by it; None where nothing depends on it.
    """

    name: str
    module: Module | None
    function: str
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
        ...         return [wg.mean(call.output == 0) for call in step.calls if call.function == "relu"]
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
        calls: list[_Noted] = []
        trained = {s.name: s.value for s in slots(self.model) if not s.buffer and not s.frozen}
        f = value_and_grad_watching(_noting_calls(self.loss_fn, watched, calls), watched)
        (self.loss, metrics), self.grads, seen = f(self.model, *self.batch)
        count: Counter[str] = Counter()
        for (name, module, function), (x, _), (y, c) in zip(calls, seen[::2], seen[1::2], strict=True):
            if y is not None:
                count[name] += 1
                number = "" if count[name] == 1 else f"#{count[name]}"
                self.calls.append(Call(name + number, module, function, None if x is y else x, y, c))
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


class _Noted(NamedTuple):
    name: str
    module: Module | None
    function: str


def _noting_calls(loss_fn: Callable[..., Any], watched: list[Any], calls: list[_Noted]) -> Callable[..., Any]:
    """The loss function, noting calls; behind each go its input and its output into `watched`."""

    def noting(model: Any, *batch: Any) -> Any:
        names = {id(m): n for n, m in model.named_modules()} if isinstance(model, Module) else {}
        known: set[int] = set()  # identities of arrays
        inside = [""]  # names of the modules that are being called
        calls.clear()

        def note(noted: _Noted, args: tuple[Any, ...], out: Array) -> None:
            known.add(id(out))
            calls.append(noted)
            x = args[0] if args and isinstance(args[0], Array) and args[0].dtype.kind == "f" else out
            watched.extend((x, out))

        def around(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if id(module) not in names:
                return module.forward(*args, **kwargs)
            name, start = names[id(module)], len(calls)
            inside.append(name)
            try:
                out = module.forward(*args, **kwargs)
            finally:
                inside.pop()
            first = next((a for a in tree.leaves(out) if isinstance(a, Array) and a.dtype.kind == "f"), None)
            if first is not None and id(first) not in known:
                note(_Noted(name or type(module).__name__, module, type(module).__name__), args, first)
            elif first is not None and len(calls) == start + 1 and calls[-1].module is None and watched[-1] is first:
                calls[-1] = _Noted(name or type(module).__name__, module, calls[-1].function)  # it is this function
            return out

        def after(frame: Frame, args: tuple[Any, ...], out: Any) -> None:
            if frame.kind != "activation" or "softm" in frame.name or not isinstance(out, Array):
                return
            if calls and calls[-1].module is None and watched[-1] is out:  # relu6 calls hardtanh
                calls[-1] = calls[-1]._replace(name=f"{inside[-1]}.{frame.name}".lstrip("."), function=frame.name)
            elif id(out) not in known:
                note(_Noted(f"{inside[-1]}.{frame.name}".lstrip("."), None, frame.name), args, out)

        with around_calls(around), noticing(after):
            return loss_fn(model, *batch)

    noting.__name__ = getattr(loss_fn, "__name__", "loss_fn")
    return noting
