"""The probe: one eager run of a loss, recorded as a plain graph in which every loop is its turns.

`record(model, loss_fn, *batch)` runs `loss_fn(model, *batch)` on the numbers at hand. Each step is kept with its value,
the user's line and its scope: the modules, regions and turns that were open. Loops, branches, compiled and checkpointed
functions are taken apart on the way, because the numbers are known; so everything that reads the recording reads one
list of elementary steps. The model is not changed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from wengert import tree
from wengert.diff.arguments import Chosen, split_aux
from wengert.errors import ArgumentError, ShapeError
from wengert.flow.kinds import kind_of_module
from wengert.flow.unroll import UNROLLED, mark
from wengert.ir.array import Array
from wengert.ir.graph import Graph, Node, NotedNode, Var
from wengert.ir.primitive import Params, Primitive, registry
from wengert.ir.record import Tape
from wengert.ir.scope import Frame, opened, scope, standing_in
from wengert.nn.cells import GRUCell, LSTMCell, RNNCell
from wengert.nn.module import Module, around_calls
from wengert.nn.naming import parts
from wengert.source import Source, at_user_line, user_source

CELLS = (RNNCell, LSTMCell, GRUCell)


class Stop(NamedTuple):
    """A step without a derivative that recorded values went into: a comparison, `round`, `stop_gradient`."""

    name: str
    inputs: tuple[Var, ...]
    source: Source | None


class Call(NamedTuple):
    """One call of a module.

    Attributes:
        path: the module's name in the model, "" for the model itself.
        number: which of its calls, from 0.
        module: the module, as it stood during the call.
        inputs, outputs: the recorded values that went in and came out.
        frame: its scope; steps of the call have it among theirs.
    """

    path: str
    number: int
    module: Module
    inputs: tuple[Var, ...]
    outputs: tuple[Var, ...]
    frame: Frame

    @property
    def name(self) -> str:
        """The path, with `#2` behind it for a second call."""
        return self.path if not self.number else f"{self.path}#{self.number + 1}"


@dataclass(eq=False)
class Recording:
    """What a probe found.

    Attributes:
        graph: the steps, in order; their values are in `var.data`.
        loss: the value that was differentiated, None if it depends on nothing that was recorded.
        value: the loss as a number.
        parameters: the model's parameters by name; those that are frozen or no floats are left out.
        inputs: the floating arrays of the batch, by position and path (`"0"`, `"1.mask"`, `"1[0]"`).
        calls: module calls in the order in which they ended; without those inside loops.
        model: what was given.
        stops: steps without a derivative, where gradients end.
    """

    graph: Graph
    loss: Var | None
    value: float
    parameters: dict[str, Var]
    inputs: dict[str, Var]
    calls: list[Call] = field(default_factory=list)
    model: Any = None
    stops: list[Stop] = field(default_factory=list)

    @property
    def steps(self) -> list[Node]:
        return self.graph.nodes


class Probe(Tape):
    """A tape that keeps scopes and lines, and takes structured steps apart."""

    __slots__ = ("loops", "stops")
    what = "flow's recording"

    def __init__(self) -> None:
        super().__init__()
        self.loops = 0  # how many were met
        self.stops: list[Stop] = []

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: Params) -> Any:
        unroll = UNROLLED.get(primitive.name)
        return self.whole(args, params, primitive.name) if unroll is None else unroll(self, args, params)

    def whole(self, args: tuple[Array, ...], params: Params, name: str) -> Any:
        """The step as one node."""
        primitive = registry[name]
        if primitive.inline:
            return primitive.expand(args, params)
        values = [a.data if a.trace is self else a for a in args]
        if not primitive.differentiable:
            traced = tuple(a for a in args if isinstance(a, Var) and a.trace is self)
            self.stops.append(Stop(name, traced, user_source()))
            return primitive.bind(*values, **params)
        differential = None
        if primitive.linearize is not None:
            out, differential = primitive.linearize(values, params, [a.trace is self for a in args])
        else:
            out = primitive.bind(*values, **params)
        return self.keep(primitive, args, params, out, differential)

    def new_loop(self) -> int:
        """The number of a loop."""
        self.loops += 1
        return self.loops

    def keep(
        self, primitive: Primitive, args: Sequence[Array], params: Params, out: Any, differential: Any = None
    ) -> Any:
        """A step whose value is known."""
        outs = tuple([self._var(o) for o in (out if primitive.multiple else (out,))])
        self.nodes.append(NotedNode(primitive, args, params, outs, user_source(), differential, scope() or ()))
        return outs if primitive.multiple else outs[0]


def record(model: Any, loss_fn: Callable[..., Any], *batch: Any) -> Recording:
    """Run `loss_fn(model, *batch)` and keep every step that the loss's derivative goes through.

    Args:
        model: a module, or any tree of arrays.
        loss_fn: returns the loss, or a pair of the loss and anything.
        batch: the other arguments.

    Raises:
        ShapeError: the loss is not a single number.
        ArgumentError: the loss is no array, or the model holds no floating array.
    """
    if not callable(loss_fn):
        raise ArgumentError(
            f"flow: the loss function is a {type(loss_fn).__name__}; expected a function of the model and the batch"
            f"{at_user_line()}"
        )
    probe = Probe()
    names: dict[int, str] = {}
    counts: dict[int, int] = {}
    last: dict[int, list[Any]] = {}  # what each module's last call returned
    calls: list[Call] = []
    inputs: dict[str, Var] = {}

    @functools.wraps(loss_fn)
    def run(model: Any, *batch: Any) -> Any:
        names.update((id(m), path) for path, m in _paths(model))
        return loss_fn(model, *[_traced(probe, b, str(k), inputs) for k, b in enumerate(batch)])

    def around(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        path = names.get(id(module), type(module).__name__)
        number = counts[id(module)] = counts.get(id(module), -1) + 1
        frame = Frame("module", path, number, kind_of_module(module))
        with opened(frame):
            if number:
                args, kwargs = _handed_on(probe, module, last[id(module)], args, kwargs)
            out = module.forward(*args, **kwargs)
        last[id(module)] = tree.leaves(out)
        calls.append(Call(path, number, module, _vars(probe, (args, kwargs)), _vars(probe, out), frame))
        return out

    chosen = Chosen(run, (0,), (model, *batch), {})
    if not chosen.values:
        raise ArgumentError(
            f"flow: the model (a {type(model).__name__}) has no parameters to differentiate by: it holds no floating "
            f"array that isn't frozen{at_user_line()}"
        )
    variables = [probe.input(v) for v in chosen.values]
    try:
        with around_calls(around), standing_in(()):
            loss, _ = split_aux(out, True) if isinstance(out := chosen.call(variables), tuple) else (out, None)
        loss = _checked(loss)
        graph = probe.finish([loss])
    finally:
        probe.close()
    paths = [chosen.opened.paths[k] for k in chosen.slots]
    parameters = {".".join(map(str, p[2:])): v for p, v in zip(paths, variables, strict=True)}
    traced = loss if isinstance(loss, Var) and loss.trace is probe else None
    value = float(np.asarray(loss.data if traced is None else loss.data.data))
    return Recording(graph, traced, value, parameters, inputs, calls, model, probe.stops)


def _handed_on(
    probe: Probe, module: Module, before: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a module's further call, marked where they are a state: a cell's second argument, and what any
    module with parameters returned from its call before."""
    if isinstance(module, CELLS):
        return (*args[:1], *_marked(probe, args[1:])), _marked(probe, kwargs)
    known = {id(x) for x in before if isinstance(x, Array)}
    if not any(id(x) in known for x in tree.leaves((args, kwargs))) or not any(True for _ in module.parameters()):
        return args, kwargs
    marked: tuple[tuple[Any, ...], dict[str, Any]] = tree.map(
        lambda x: mark(probe, x) if id(x) in known else x, (args, kwargs)
    )
    return marked


def _marked(probe: Probe, x: Any) -> Any:
    return tree.map(lambda leaf: mark(probe, leaf), x)


def _checked(loss: Any) -> Array:
    if not isinstance(loss, (Array, int, float, np.generic, np.ndarray)):
        raise ArgumentError(
            f"flow: the loss function returned a {type(loss).__name__}; expected one number, the loss{at_user_line()}"
        )
    loss = loss if isinstance(loss, Array) else Array(np.asarray(loss))
    if loss.shape != ():
        raise ShapeError(
            f"flow: the loss has shape {loss.shape}; expected a single number: take its mean or sum{at_user_line()}"
        )
    if loss.dtype.kind != "f":
        raise ArgumentError(f"flow: the loss is {loss.dtype.name}; expected a real floating number{at_user_line()}")
    return loss


def _paths(model: Any, path: str = "") -> Iterator[tuple[str, Module]]:
    """Every module of a tree, with its dotted name; the first name of one that stands in several places."""
    seen: set[int] = set()

    def visit(x: Any, path: str) -> Iterator[tuple[str, Module]]:
        if isinstance(x, Module):
            if id(x) in seen:
                return
            seen.add(id(x))
            yield path, x
        for key, part in parts(x):
            yield from visit(part, f"{path}.{key}" if path else str(key))

    yield from visit(model, path)


def _traced(probe: Probe, x: Any, name: str, found: dict[str, Var]) -> Any:
    """A batch's argument, its floating arrays recorded."""
    leaves, treedef = tree.flatten(x)
    paths = tree.leaf_paths(x)
    new = []
    for path, leaf in zip(paths, leaves, strict=True):
        data = leaf if isinstance(leaf, Array) else Array(leaf) if isinstance(leaf, np.ndarray) else None
        if data is not None and data.dtype.kind == "f" and data.trace is None:
            label = f"{name}.{path}" if path and not path.startswith("[") else f"{name}{path}"
            leaf = found[label] = probe.input(data)
        new.append(leaf)
    return tree.unflatten(treedef, new)


def _vars(probe: Probe, x: Any) -> tuple[Var, ...]:
    return tuple(leaf for leaf in tree.leaves(x) if isinstance(leaf, Var) and leaf.trace is probe)
