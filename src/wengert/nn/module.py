"""nn.Module: what all layers and models share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Self

import numpy as np

from wengert import tree
from wengert.errors import ArgumentError, NoAttributeError
from wengert.ir.array import Array, WeakArray
from wengert.ir.types import as_dtype, uint32
from wengert.module import Module as Traced
from wengert.nn.freezing import hold
from wengert.nn.naming import Entry, entries, submodules
from wengert.nn.parameter import Buffer
from wengert.nn.settings import refuse_untraceable
from wengert.nn.state import load
from wengert.nn.text import module_text
from wengert.ops.promote import as_array, as_setting, convert
from wengert.random.keys import fold_in, split
from wengert.source import at_user_line
from wengert.spelling import DEVICE, MODULE, instead

Around = Callable[["Module", tuple[Any, ...], dict[str, Any]], Any]
_around: ContextVar[Around | None] = ContextVar("_around", default=None)
_SCALARS = (np.number, np.bool_)
_NUMBERS = (int, float, *_SCALARS)
_PLAIN = frozenset((Array, WeakArray, bool, int, float, str, type(None)))


class Loaded(NamedTuple):
    """Names that a state dict lacked, and those that the model didn't know."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def abstract_level(x: Array) -> tuple[int, str]:
    """The level and name of the trace in which `x` has a type but no number; level 0 where it has one."""
    while x.trace is not None:
        if x.data is None:
            return x.trace.level, x.trace.what
        x = x.data
    return 0, ""


@contextmanager
def around_calls(f: Around) -> Iterator[None]:
    """While this is open, every module's call is `f(module, args, kwargs)`, which calls `module.forward` itself."""
    token = _around.set(f)
    try:
        yield
    finally:
        _around.reset(token)


class Module(Traced):
    """Base of all layers and models: a mutable pytree of arrays with PyTorch's names.

    A model states its arrays and parts as attributes, and `forward(x)`; it is called as `model(x)`. Arrays are
    *parameters* if they are real or complex, unless they were declared *buffers* (`register_buffer`), state that gets
    no gradient: `wg.grad(loss)(model, …)` holds None in their place, as for frozen parameters (`freeze`). A class can
    declare them too, as `_buffers = ("mean", "var")`. Assigning an array inside a transformed function, of which the
    model is an argument, is written back when that function returns.

    Example:
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         self.hidden = nn.Linear(4, 8)
        ...         self.out = nn.Linear(8, 2)
        ...     def forward(self, x):
        ...         return self.out(nn.functional.relu(self.hidden(x)))
    """

    _transient: frozenset[str] = frozenset()  # buffers that a state dict leaves out
    training: bool
    key: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for kind in ("_buffers", "_transient"):  # a class adds to what its parents declare
            inherited = [getattr(parent, kind, ()) for parent in cls.__mro__[1:]]
            setattr(cls, kind, frozenset().union(cls.__dict__.get(kind, ()), *inherited))

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        module = super().__new__(cls)
        object.__setattr__(module, "training", True)
        return module  # type: ignore[return-value]

    def __init__(self) -> None:
        pass

    def __setattr__(self, name: str, value: Any) -> None:
        if type(value) is Buffer:
            return self.register_buffer(name, value.data, value.persistent)
        if isinstance(value, _SCALARS) or (type(value) is tuple and all(isinstance(v, _NUMBERS) for v in value)):
            value = as_setting(value)  # as a Python number is; an array of one number has shape ()
        elif type(value) not in _PLAIN:
            refuse_untraceable(value, f"{type(self).__name__}.{name}")
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:  # nothing of that name is there
        raise NoAttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{instead(name, MODULE)}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        around = _around.get()
        return self.forward(*args, **kwargs) if around is None else around(self, args, kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What a call computes; each model states its own."""
        raise ArgumentError(
            f"{type(self).__name__} states no `forward`, so it can't be called; define forward(self, x){at_user_line()}"
        )

    # Modes.

    def train(self, mode: bool = True) -> Self:
        """Behave as in training (dropout drops, batch normalisation uses the batch), here and in all parts."""
        for _, module in self.named_modules():
            object.__setattr__(module, "training", bool(mode))
        return self

    def eval(self) -> Self:
        """Behave as in use: nothing is dropped, running statistics are used."""
        return self.train(False)

    # Arrays by name.

    def register_buffer(self, name: str, value: Any, persistent: bool = True) -> None:
        """Declare the attribute `name`, with this value, to be state: no gradient, not for the optimizer.

        Unless `persistent`, it is left out of state dicts.
        """
        self._buffers = self._buffers | {name}
        if not persistent:
            self._transient = self._transient | {name}
        setattr(self, name, value)

    def register_parameter(self, name: str, value: Any) -> None:
        """The same as assigning the attribute."""
        setattr(self, name, value)

    def named_parameters(self, trainable_only: bool = False) -> Iterator[tuple[str, Array]]:
        """`(name, array)` of every parameter; one that stands in several places (a tied weight) comes once."""
        return self._named(lambda e: e.trainable if trainable_only else not e.buffer)

    def parameters(self, trainable_only: bool = False) -> Iterator[Array]:
        """Every parameter, once."""
        return (p for _, p in self.named_parameters(trainable_only))

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """`(name, array)` of every array that is state: running statistics, random keys, counters."""
        return self._named(lambda e: e.buffer)

    def buffers(self) -> Iterator[Array]:
        """Every buffer, once."""
        return (b for _, b in self.named_buffers())

    def _named(self, wanted: Callable[[Entry], bool]) -> Iterator[tuple[str, Array]]:
        seen: set[int] = set()
        for e in entries(self):
            if wanted(e) and id(e.value) not in seen:
                seen.add(id(e.value))
                yield e.name, e.value

    def count_parameters(self, trainable_only: bool = False) -> int:
        """How many numbers the parameters hold."""
        return sum(int(np.prod(p.shape)) for p in self.parameters(trainable_only))

    # Parts by name.

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """`(name, module)` of the direct parts, also those in lists and dicts."""
        yield from ((n, m) for n, m in submodules(self) if isinstance(m, Module))

    def children(self) -> Iterator[Module]:
        """The direct parts."""
        return (m for _, m in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """`(name, module)` of this module and all parts, each once, from the outside in."""
        yield from self._walk(prefix, set())

    def _walk(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, part in self.named_children():
            yield from part._walk(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all parts."""
        return (m for _, m in self.named_modules())

    def get_submodule(self, name: str) -> Module:
        """The part with this dotted name."""
        known = dict(self.named_modules())
        if name not in known:
            raise ArgumentError(
                f"{type(self).__name__} has no part {name!r}; there are {', '.join(filter(None, known)) or 'none'}"
                + at_user_line()
            )
        return known[name]

    def apply(self, f: Callable[[Module], Any]) -> Self:
        """Call `f(module)` for every part, the innermost first, and for this module; returns the module."""
        for module in reversed(list(self.modules())):
            f(module)
        return self

    def draw_key(self, x: Array) -> Array:
        """A random key for one call on `x`, made from the buffer `key`, which is replaced.

        Raises:
            ArgumentError: the call is compiled, but the module is no argument of the compiled function, so that every
                run would draw the same numbers.
        """
        level, what = abstract_level(x)
        if level > self._born:
            raise ArgumentError(
                f"{self!r} draws random numbers inside {what}, but the module comes from outside of it and is no "
                "argument, so every run would draw the same. Pass the model as an argument of the transformed function "
                f"(in a loop, as part of the carry), or call model.eval().{at_user_line()}"
            )
        self.key, key = split(self.key)
        return key

    # Freezing.

    def freeze(self, *patterns: str) -> Self:
        """Hold parameters fixed: their gradients are None and optimizers leave them alone.

        Args:
            patterns: dotted names, with `*` for anything (`"encoder.*"`, `"*.bias"`); without any, all parameters.

        A parameter inside a list or dict is frozen with the whole attribute.

        Raises:
            ArgumentError: a pattern fits no parameter.
        """
        return self._hold(patterns, True)

    def unfreeze(self, *patterns: str) -> Self:
        """Undo `freeze` for the parameters that are meant."""
        return self._hold(patterns, False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """PyTorch's name for `unfreeze()`, or `freeze()`."""
        return self._hold((), not requires_grad)

    @property
    def trainable(self) -> bool:
        """Whether any parameter is trained; assigning it freezes or unfreezes all of them."""
        return any(e.trainable for e in entries(self))

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._hold((), not value)

    def _hold(self, patterns: tuple[str, ...], held: bool) -> Self:
        hold(self, patterns, held)
        return self

    # State dicts and types.

    def state_dict(self, transient: bool = False) -> dict[str, Array]:
        """The arrays by their dotted names, as PyTorch calls them: parameters and buffers.

        With `transient`, random keys and other buffers that PyTorch keeps elsewhere are there too. For PyTorch:
        `{k: torch.tensor(np.asarray(v)) for k, v in model.state_dict().items()}`.
        """
        return {e.name: as_array(e.value) for e in entries(self) if transient or e.saved}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Loaded:
        """Assign arrays by their dotted names: PyTorch tensors, NumPy arrays or what `state_dict` returned.

        Each takes the type that the model has. Where anything is wrong, nothing is assigned.

        Args:
            state: names and arrays.
            strict: whether missing and extra names are errors; otherwise they are returned. A shape that doesn't fit
                always is one.

        Raises:
            TreeError: lists every missing, extra and misshaped name.
        """
        return Loaded(*load(self, state, strict))

    def to(self, dtype: Any) -> Self:
        """Convert all floating parameters and buffers to `dtype`, in place; returns the module."""
        if isinstance(dtype, str) and dtype.split(":")[0] in ("cpu", "cuda", "mps", "gpu"):
            raise ArgumentError(f"model.to({dtype!r}): {DEVICE}; model.to takes an element type{at_user_line()}")
        target = as_dtype(dtype)
        for e in entries(self):
            if e.value.dtype.kind == "f" and e.value.dtype != target:
                e.assign(convert(as_array(e.value), target))
        return self

    def float(self) -> Self:
        """`to(wg.float32)`."""
        return self.to(np.float32)

    def double(self) -> Self:
        """`to(wg.float64)`."""
        return self.to(np.float64)

    def half(self) -> Self:
        """`to(wg.float16)`."""
        return self.to(np.float16)

    def copy(self, fold: int | None = None) -> Self:
        """A module like this one with arrays of its own; with `fold`, a number, with other random keys too."""
        leaves, structure = tree.flatten(self)
        other = tree.unflatten(structure, [copy.copy(x) for x in leaves])
        if fold is not None:
            for e in entries(other):
                if not e.saved and e.value.dtype == uint32 and e.value.shape == (2,):
                    e.assign(fold_in(e.value, fold))
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()

    # Text.

    def extra_repr(self) -> str:
        """The settings that `repr` shows."""
        return ""

    def __repr__(self) -> str:
        return module_text(self)
