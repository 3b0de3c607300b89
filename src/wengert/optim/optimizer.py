"""Optimizer: what all of them share. A kind of optimizer adds its settings and the rule for one parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wengert.array.elementwise import conj, imag, real
from wengert.array.manipulation import stack
from wengert.errors import ArgumentError, NoAttributeError
from wengert.ir.array import Array
from wengert.ir.types import float64, int64
from wengert.module import Module
from wengert.ops.complex import complex_
from wengert.ops.promote import as_array, as_setting, convert
from wengert.optim.parameters import Chooser, Slot, Where, describe, listed, matching_gradients, parameters
from wengert.source import at_user_line
from wengert.spelling import OPTIMIZER, instead

State = dict[str, Array]
Settings = dict[str, Any]


class Plan:
    """What an optimizer knows of its model beside arrays: names, groups and settings. Compared by content."""

    def __init__(
        self,
        model: str,
        slots: Sequence[Slot],
        group_of: Sequence[int],
        groups: Sequence[Settings],
        left_out: Sequence[str],
    ):
        self.model = model
        self.left_out = frozenset(left_out)  # parameters that this optimizer was told not to touch
        self.names = tuple(s.name for s in slots)
        self.known = self.left_out.union(self.names)
        self.types = tuple((tuple(s.value.shape), s.value.dtype) for s in slots)
        self.group_of = tuple(group_of)
        self.groups = tuple(groups)
        self._key = (self.names, self.types, self.group_of, tuple(tuple(sorted(g.items())) for g in self.groups))
        self._hash = hash(self._key)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Plan) and self._hash == other._hash and self._key == other._key)

    def __hash__(self) -> int:
        return self._hash


class Optimizer(Module):
    """Base of the optimizers: a Module whose arrays (state, step count, rates) go through `jit` like a model's.

    Args:
        model: the module whose parameters are updated. The optimizer keeps no reference to it.
        learning_rate: how far a step goes; PyTorch's spelling `lr` is accepted too.
        groups: parameters with settings of their own, as dicts `{"params": where, **settings}`; the first that fits
            counts, the rest takes the optimizer's settings. `where` is a pattern of names (`"*.bias"`), a module, an
            array, a function of `(name, array)`, or a list of these.
        frozen: `where` of parameters that stay as they are.
        schedule: a `wengert.optim.schedule.Schedule`, a function of the step that is computed inside the compiled step.
        maximize: climb instead of descending.

    A subclass states `defaults` by its constructor, and three functions: `start(p, settings)`, the state of one
    parameter; `coefficients(rate, t, settings, shared)`, numbers that all parameters of a group share at step `t`
    (counted from 1); `rule(p, g, state, c, settings)`, the new parameter and state.
    """

    def __init__(
        self,
        model: Any,
        learning_rate: Any,
        settings: Settings,
        *,
        lr: Any = None,
        groups: Sequence[Mapping[str, Any]] = (),
        frozen: Where = (),
        schedule: Any = None,
        maximize: bool = False,
    ):
        what = type(self).__name__
        rate = learning_rate if lr is None else lr
        settings = as_setting({**settings, "maximize": maximize})
        self.check(settings)
        every = parameters(model)
        is_frozen = Chooser(frozen)
        free = [s for s in every if not s.frozen and not is_frozen(s)]
        if not free:
            held = "; all are frozen: model.unfreeze() sets them free" if every and all(s.frozen for s in every) else ""
            raise ArgumentError(
                f"{what}: the {type(model).__name__} has no parameter to update (its parameters: "
                f"{listed([s.name for s in every])}){held}{at_user_line()}"
            )
        group_of, sets, rates = self._sort(free, rate, settings, groups)
        for slot in free:
            slot.check()
        self.plan = Plan(type(model).__name__, free, group_of, sets, [s.name for s in every if is_frozen(s)])
        self.steps = Array(np.zeros((), int64))  # updates made
        self.rates = rates
        self.schedule = schedule
        self.shared = [self.begin(s) for s in sets]
        # in the order of attributes it comes last: by far the largest part
        self.state = {s.name: self.start(_plain(s.value), sets[g]) for s, g in zip(free, group_of, strict=True)}

    def _sort(
        self, free: Sequence[Slot], rate: Any, settings: Settings, groups: Sequence[Mapping[str, Any]]
    ) -> tuple[list[int], list[Settings], list[Array]]:
        """The group of each parameter, and the settings and learning rates of the groups; group 0 is the rest."""
        what = type(self).__name__
        sets, rates, choosers = [settings], [self._rate(rate)], []
        for group in groups:
            own = dict(group)
            if "params" not in own:
                raise ArgumentError(f"{what}: a group needs 'params' to say whom it is for, got {own}{at_user_line()}")
            where = own.pop("params")
            own_rate = own.pop("lr", own.pop("learning_rate", rate))
            unknown = [k for k in own if k not in settings]
            if unknown:
                raise ArgumentError(
                    f"{what}: a group sets {', '.join(unknown)}; {what} knows learning_rate, "
                    f"{', '.join(settings)}{at_user_line()}"
                )
            sets.append(as_setting({**settings, **own}))
            self.check(sets[-1])
            rates.append(self._rate(own_rate))
            chooser = Chooser(where)
            if not any(map(chooser, free)):
                raise ArgumentError(
                    f"{what}: no parameter is meant by the group's params, {describe(where)}; there are "
                    f"{listed([s.name for s in free])}{at_user_line()}"
                )
            choosers.append(chooser)
        group_of = [next((i + 1 for i, c in enumerate(choosers) if c(s)), 0) for s in free]
        return group_of, sets, rates

    def _rate(self, rate: Any) -> Array:
        value = as_array(rate, f"{type(self).__name__}: the learning rate")
        if value.shape != ():
            raise ArgumentError(
                f"{type(self).__name__}: the learning rate has shape {value.shape}; expected one number{at_user_line()}"
            )
        if value.trace is None and not float(value) >= 0:
            raise ArgumentError(f"{type(self).__name__}: the learning rate is {value}, below 0{at_user_line()}")
        return convert(value, float64, True)

    @property
    def learning_rate(self) -> Array:
        """The learning rate that a schedule starts from, a number in double precision; assignable at any time."""
        return self.rates[0]

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.rates = [self._rate(value), *self.rates[1:]]

    lr = learning_rate

    def __getattr__(self, name: str) -> Any:  # nothing of that name is there
        raise NoAttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{instead(name, OPTIMIZER)}")

    def current_rates(self) -> list[Array]:
        """The learning rate of each group (first that of the rest) at the next update."""
        return [r if self.schedule is None else self.schedule(r, self.steps) for r in self.rates]

    def update(self, model: Any, grads: Any) -> None:
        """One step: assigns the model's parameters, and this optimizer's state, in place.

        Args:
            model: the model that the optimizer was made for, or one of the same structure.
            grads: what `wg.grad(loss_fn)(model, …)` returns: the model's structure. Where it holds None, the
                parameter stays as it is.

        Raises:
            ArgumentError: the model or the gradients belong to another tree; the message names both sides.
        """
        mine = self.own(model)
        found = matching_gradients(model, mine, grads)
        values, self.state, self.shared = self.advance(
            [s.value for s in mine], found, self.state, self.shared, self.steps
        )
        for slot, value in zip(mine, values, strict=True):
            slot.assign(value)
        self.steps = self.steps + 1

    def own(self, model: Any) -> list[Slot]:
        """The parameters of `model` that this optimizer updates."""
        by_name = {s.name: s for s in parameters(model)}
        missing = [n for n in self.plan.names if n not in by_name]
        if missing:
            raise ArgumentError(
                f"{type(self).__name__} was made for a {self.plan.model} with {listed(self.plan.names)}; the "
                f"{type(model).__name__} given has no {listed(missing)}, but {listed(list(by_name))}{at_user_line()}"
            )
        new = [s.name for s in by_name.values() if not s.frozen and s.name not in self.plan.known]
        if new:
            raise ArgumentError(
                f"{type(self).__name__} was made for a {self.plan.model} with {listed(self.plan.names)}; it "
                f"doesn't know {listed(new)}, frozen then or new. Make a new optimizer.{at_user_line()}"
            )
        mine = [by_name[n] for n in self.plan.names]
        for slot, (shape, dtype) in zip(mine, self.plan.types, strict=True):
            if tuple(slot.value.shape) != shape or slot.value.dtype != dtype:
                raise ArgumentError(
                    f"{type(self).__name__} was made for a {slot.name} of {dtype.name}{list(shape)}; the "
                    f"{type(model).__name__} given has {slot.value.dtype.name}{list(slot.value.shape)}{at_user_line()}"
                )
        return mine

    def advance(
        self, values: Sequence[Any], grads: Sequence[Any], state: dict[str, State], shared: list[State], step: Array
    ) -> tuple[list[Any], dict[str, State], list[State]]:
        """New parameters and state, as a function that assigns nothing."""
        t = convert(step + 1, float64, True)
        sets = [dict(s) for s in self.plan.groups]
        rates = list(self.rates)
        if self.schedule is not None:
            rates = [self.schedule(r, step) for r in rates]
            for s in sets:
                self.schedule.adjust(s, step)
        shared = [dict(s) for s in shared]
        numbers = [self.coefficients(r, t, s, h) for r, s, h in zip(rates, sets, shared, strict=True)]
        new_values: list[Any] = []
        new_state: dict[str, State] = {}
        for name, group, p, g in zip(self.plan.names, self.plan.group_of, values, grads, strict=True):
            if g is None:
                new_values.append(p)
                new_state[name] = state[name]
                continue
            p = as_array(p)
            settings = sets[group]
            g = as_array(g)
            if p.dtype.kind == "c":
                # our gradient of complex numbers is the conjugate of the direction of ascent, which PyTorch takes
                q, g = _pair(p), _pair(conj(g))
            else:
                q = p
            if settings["maximize"]:
                g = -g
            new, new_state[name] = self.rule(q, g, state[name], numbers[group], settings)
            new_values.append(complex_(new[..., 0], new[..., 1]) if p.dtype.kind == "c" else new)
        return new_values, new_state, shared

    def __repr__(self) -> str:
        parts = [", ".join(f"{k}={v!r}" for k, v in s.items() if v is not False) for s in self.plan.groups]
        rates = [r if r.trace is not None else float(r) for r in self.rates]
        first, *more = (f"learning_rate={r}, {p}" for r, p in zip(rates, parts, strict=True))
        groups = "".join(f"; group {i + 1}: {g}" for i, g in enumerate(more))
        schedule = "" if self.schedule is None else f", schedule={self.schedule!r}"
        what = f"{len(self.plan.names)} parameters of a {self.plan.model}"
        return f"{type(self).__name__}({what}, {first}{groups}{schedule})"

    # What a kind of optimizer states.

    def check(self, settings: Settings) -> None:
        """Refuse settings that make no sense."""
        for name in ("weight_decay", "eps", "momentum", "alpha", "rho", "lr_decay"):
            if settings.get(name, 0) < 0:
                raise ArgumentError(f"{type(self).__name__}: {name} is {settings[name]}, below 0{at_user_line()}")
        for b in settings.get("betas", ()):
            if not 0 <= b < 1:
                raise ArgumentError(
                    f"{type(self).__name__}: betas are {settings['betas']}; each lies in [0, 1){at_user_line()}"
                )

    def begin(self, settings: Settings) -> State:
        """State that all parameters of a group share."""
        return {}

    def start(self, p: Any, settings: Settings) -> State:
        """State of one parameter, made of zeros of its shape; complex parameters come as pairs of real numbers."""
        raise NotImplementedError

    def coefficients(self, rate: Array, t: Array, settings: Settings, shared: State) -> State:
        """Numbers that all parameters of a group share at step `t`; may put new values into `shared`."""
        return {"rate": rate}

    def rule(self, p: Array, g: Array, state: State, c: State, settings: Settings) -> tuple[Array, State]:
        """The new parameter and its new state."""
        raise NotImplementedError


def _pair(z: Array) -> Array:
    return stack([real(z), imag(z)], axis=-1)


def _plain(p: Any) -> np.ndarray:
    """A stand-in with the shape and real type of a parameter, of which states are made."""
    if p.dtype.kind == "c":
        return np.zeros((*p.shape, 2), np.dtype(f"f{p.dtype.itemsize // 2}"))
    return np.zeros(p.shape, p.dtype)


def zeros_like(p: np.ndarray) -> Array:
    return Array(np.zeros_like(p))
