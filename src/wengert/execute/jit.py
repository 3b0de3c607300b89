"""jit: a function staged once for each combination of argument types, then run as one program."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import tree
from wengert.control.call import Run, call_p
from wengert.errors import ArgumentError, UnsupportedError
from wengert.execute.collector import collector_held
from wengert.execute.donation import Donated, candidates
from wengert.execute.static import StaticArguments
from wengert.explain import GraphSummary
from wengert.ir.array import Array, WeakArray, concrete
from wengert.ir.claims import Claims, claim, claims_of
from wengert.ir.graph import Graph
from wengert.ir.primitive import watchers
from wengert.ir.record import stage
from wengert.ops.promote import as_array
from wengert.source import at_user_line

# modules with `run(graph, ndarrays)`; a compiler is loaded when it is first asked for
EXECUTORS = {"numpy": "wengert.execute.numpy", "native": "wengert.execute.native"}
BEST = ("native", "numpy")  # the first that this machine has


class Program:
    """One staged form of a function: its graph, and how results and assigned attributes are put together again."""

    __slots__ = (
        "assigned", "calls", "captured", "claims", "enterable", "entry", "gone", "graph", "num_outputs", "out_tree",
        "spent",
    )  # fmt: skip

    def __init__(self, graph: Graph, captured: list[Array], out_tree: tree.TreeDef, num_outputs: int, assigned: Any):
        self.spent: list[int] = []  # leaves that the caller gives up
        self.gone: Any = None  # what their Arrays hold afterwards
        self.calls = 0  # that went through Python
        self.enterable = True  # whether they may go another way: by its entry, which the executor makes
        self.entry: Any = None
        self.graph = graph
        self.captured = captured
        self.out_tree = out_tree
        self.num_outputs = num_outputs
        self.assigned = assigned
        self.claims = claims_of(graph, num_outputs)


class Plain:
    """A program for arguments that are concrete arrays and Python numbers, run without looking at anything twice."""

    __slots__ = ("graph", "kinds", "out_tree", "run", "single")

    def __init__(self, program: Program, run: Run):
        self.graph = program.graph
        self.run = run
        self.out_tree = program.out_tree
        self.kinds = [WeakArray if t.weak else Array for t in program.graph.out_types]
        self.single = program.out_tree.kind == "leaf"

    def run_plain(self, args: Sequence[Any]) -> Any:
        outs = self.run(self.graph, [a.data if isinstance(a, Array) else _number(a) for a in args])
        if self.single:
            return self.kinds[0](outs[0])
        return tree.unflatten(self.out_tree, [kind(o) for kind, o in zip(self.kinds, outs, strict=True)])


def _number(a: Any) -> Any:
    return a if isinstance(a, np.ndarray) else as_array(a).data


def plain_key(args: Sequence[Any]) -> Any:
    """What the arguments' types are, if all are concrete arrays or Python numbers; else None."""
    key: list[Any] = []
    for a in args:
        cls = type(a)
        if cls is Array or cls is WeakArray:
            a = a.data
        elif cls is float or cls is int or cls is complex:
            key.append(cls)
            continue
        elif cls is not np.ndarray or not a.dtype.isnative:
            return None
        key.append((cls, a.dtype.num, a.shape))
    return tuple(key)


TRIED = 8  # entries of a function that a call tries, one after the other
AGAIN = 64  # calls through Python after which a program's entry is made again
MOST = 1024  # programs kept for one function: settings that are new at each call must not fill the memory


def keep(programs: dict[Any, Any], key: Any, program: Any) -> None:
    """Remember `program`, and forget the oldest where there are too many."""
    while len(programs) >= MOST:
        programs.pop(next(iter(programs)), None)
    programs[key] = program


class Lowered:
    """What `jit` made of a function for arguments of certain types, stage by stage.

    `.graph` is the staged graph. With `executor="native"`, `.loops` is the program as fused loops and products, `.llvm`
    the LLVM code and `.assembly` the machine's; all print.
    """

    def __init__(self, program: Program, executor: Any):
        self.graph = program.graph
        self._executor = executor

    def __repr__(self) -> str:
        return str(self.graph)

    def __getattr__(self, name: str) -> Any:
        if name not in ("loops", "llvm", "assembly"):
            raise AttributeError(f"a lowered function has .graph, .loops, .llvm and .assembly, but no {name!r}")
        if not hasattr(self._executor, "stage_text"):
            raise UnsupportedError(
                f'.{name}: the {self._executor.name} executor makes no such stage; use jit(f, executor="native")'
            )
        return self._executor.stage_text(self.graph, name)


@functools.cache
def best_executor() -> Any:
    """The module of the quickest executor that works here: the compiler needs LLVM and CPython."""
    for name in BEST[:-1]:
        try:
            return importlib.import_module(EXECUTORS[name])
        except UnsupportedError:
            continue
        except ImportError as error:  # of what it stands on; an error of its own is one
            if (error.name or "").startswith(__name__.split(".", maxsplit=1)[0]):
                raise
    return importlib.import_module(EXECUTORS[BEST[-1]])


class Jitted:
    """A function compiled at its first call with arguments of given types and structure; see `jit`."""

    __slots__ = ("__dict__", "__weakref__", "_entries")

    def __init__(self, f: Callable[..., Any], executor: str | None, donated: Sequence[int] = ()):
        functools.update_wrapper(self, f, updated=())  # the attributes of a callable object are its own
        self.__name__ = getattr(f, "__name__", type(f).__name__)
        self._f = f
        self._donated = frozenset(donated)  # numbers of positional arguments
        self._executor = importlib.import_module(EXECUTORS[executor]) if executor else best_executor()
        self._run = self._executor.run
        self._programs: dict[Any, Program] = {}
        self._plain: dict[Any, Plain] = {}
        self._entries: tuple[Any, ...] = ()  # ways to call programs without Python, the latest first
        self._make_entry: Any = getattr(self._executor, "make_entry", None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs and not watchers and not self._entries:
            key = plain_key(args)
            if key is not None:
                plain = self._plain.get(key)
                if plain is not None:
                    return plain.run_plain(args)
                program = self._program(tree.Opened((args, kwargs)), [as_array(a) for a in args])
                slow = self._make_entry is None or not program.enterable
                if slow and not (program.captured or program.assigned or program.spent or program.claims):
                    keep(self._plain, key, Plain(program, self._run))
        opened = tree.Opened((args, kwargs))
        leaves = [as_array(v, f"{self.__name__}") for v in opened.leaves]
        program = self._program(opened, leaves)
        outs = call_p.bind(*program.captured, *leaves, graph=program.graph, run=self._run)
        traced = bool(program.captured) or any(v.trace for v in leaves)
        if program.claims is not None:
            self._check(program, program.claims, leaves, outs, traced)
        if not traced:
            program.calls += 1
            if self._make_entry is not None and program.enterable and not watchers:
                self._enter(program, opened.treedef)
            if program.spent:
                self._spend(program, opened.leaves)
        opened.write_back(program.assigned, outs[program.num_outputs :])
        return tree.unflatten(program.out_tree, outs[: program.num_outputs])

    def _check(self, program: Program, claims: Claims, leaves: Sequence[Array], outs: Any, traced: bool) -> None:
        """Look at what the program takes for granted; inside another one, leave that to it."""
        if not traced:
            if claims.doubtful(outs[claims.output].data):
                claims.look(*[v.data for v in leaves])
            return
        at = {v.index: k - len(program.captured) for k, v in enumerate(program.graph.inputs)}
        for c in claims.claims:
            if at.get(c.value.index, -1) >= 0:
                claim(leaves[at[c.value.index]], c.complaint)

    def _enter(self, program: Program, arguments: tree.TreeDef) -> None:
        """From a program's second call on, calls go past this class where they can.

        Where an entry is there and the call came here nevertheless, many times, its settings may be other objects.
        """
        if program.calls % AGAIN == 2:
            old, program.entry = program.entry, self._make_entry(Jitted, program, arguments)
            program.enterable = program.entry is not None
            if program.enterable:
                self._entries = (program.entry, *[e for e in self._entries if e is not old])[:TRIED]
        elif program.entry is not None and program.entry not in self._entries:
            self._entries = (program.entry, *self._entries)[:TRIED]

    def _spend(self, program: Program, leaves: Sequence[Any]) -> None:
        for k in program.spent:
            if type(leaves[k]) in (Array, WeakArray):
                leaves[k].data = program.gone

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else Bound(self, instance)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The program for arguments like these, to look at: `.graph`, and natively `.loops`, `.llvm`, `.assembly`."""
        opened = tree.Opened((args, kwargs))
        return Lowered(self._program(opened, [as_array(v) for v in opened.leaves]), self._executor)

    def explain(self, *args: Any, **kwargs: Any) -> Any:
        """What the program for arguments like these does, step by step or kernel by kernel; see `wg.explain`."""
        return self._explained(args, kwargs, False)

    def profile(self, *args: Any, **kwargs: Any) -> Any:
        """The same, with the time of each kernel on these arguments."""
        return self._explained(args, kwargs, True)

    def _explained(self, args: Any, kwargs: Any, timed: bool) -> Any:
        opened = tree.Opened((args, kwargs))
        leaves = [as_array(v) for v in opened.leaves]
        program = self._program(opened, leaves)
        explain = getattr(self._executor, "explain", None)
        if explain is not None:
            return explain(program.graph, [concrete(v) for v in (*program.captured, *leaves)] if timed else None)
        if timed:
            raise UnsupportedError(
                f"profile=True: the {self._executor.name} executor has no kernels to time; "
                f'use jit(f, executor="native"){at_user_line()}'
            )
        return GraphSummary(program.graph)

    def _program(self, opened: tree.Opened, leaves: Sequence[Array]) -> Program:
        key = (opened.treedef, tuple([v.type for v in leaves]))
        program = self._programs.get(key)
        if program is None:
            program = self._stage(opened, leaves)
            if not program.captured:  # captured tracers belong to this one call
                keep(self._programs, key, program)
        return program

    def _stage(self, opened: tree.Opened, leaves: Sequence[Array]) -> Program:
        found: list[Any] = []

        def flat(*variables: Array) -> list[Array]:
            args, kwargs = opened.rebuild(variables)
            out_leaves, out_tree = tree.flatten(self._f(*args, **kwargs))
            changed, where = opened.changes()
            found[:] = [out_tree, len(out_leaves), where]
            return [as_array(o, f"the result of {self.__name__}, under jit,") for o in (*out_leaves, *changed)]

        with collector_held():
            graph, captured = stage(flat, [v.type for v in leaves], self.__name__)
        program = Program(graph, captured, *found)
        if self._donated:
            given = zip(opened.paths, opened.in_object, strict=True)
            program.spent = [k for k, (p, own) in enumerate(given) if not (own or p[0]) and p[1] in self._donated]
            program.gone = Donated(self.__name__)
        places = opened.treedef, program.assigned, program.num_outputs, program.spent
        graph.cache["donated"] = candidates(*places, graph.in_types, graph.out_types)
        return program


class Bound:
    """A jitted method of one instance, which is its first argument: a module's arrays are traced, not baked in."""

    def __init__(self, jitted: Jitted, instance: Any):
        functools.update_wrapper(self, jitted)
        self._jitted = jitted
        self._instance = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._jitted(self._instance, *args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        return self._jitted.lower(self._instance, *args, **kwargs)

    def explain(self, *args: Any, **kwargs: Any) -> Any:
        return self._jitted.explain(self._instance, *args, **kwargs)

    def profile(self, *args: Any, **kwargs: Any) -> Any:
        return self._jitted.profile(self._instance, *args, **kwargs)


def _argnums(given: Any, name: str) -> tuple[int, ...]:
    numbers = (given,) if isinstance(given, int) else tuple(given)
    if not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ArgumentError(
            f"jit: {name}={given!r}; expected numbers of positional arguments, counted from 0{at_user_line()}"
        )
    return numbers


def jit(
    f: Callable[..., Any] | None = None,
    executor: str | None = None,
    donate_argnums: int | Sequence[int] = (),
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> Any:
    """`f` as one program: traced at the first call with arguments of given types, then run without Python.

    Args:
        f: function of pytrees of arrays. Inside it, values have types but no numbers, so a Python `if` on an argument's
            value is refused (see `wg.where`, `wg.cond`); on shapes, settings and constants it is fine. Strings,
            functions and a module's plain attributes are settings: a new value traces anew.
        executor: "numpy" runs step by step by the reference rules; "native" compiles the whole program to machine code
            (steps without code of their own go to NumPy). None stands for the best that this machine has: "native",
            unless LLVM can't be loaded. Results of the two agree to rounding.
        donate_argnums: positional arguments that the caller gives up, so that results may be written over them. Their
            Arrays can't be used afterwards. An array is really written over where a result of its type can stand in its
            place and nobody else sees its memory (of a NumPy array somebody may; a copy is used). Of the NumPy executor
            nothing is gained. What a module holds needs no donation: assigned attributes replace the old ones in place
            where nobody else holds these.
        static_argnums, static_argnames: arguments, by position or name, that are plain Python values to the program (a
            number of layers, say, which would otherwise be traced): hashable, and each new value is compiled anew.
            Strings, functions, booleans and None need not be named.

    Returns:
        A function with the arguments of `f`, and `.lower(*args)` to look at its graph. Without `f`, a decorator.

    Raises:
        AbstractValueError: Python code asked for a number that is not known while tracing.

    Example:
        >>> wg.jit(lambda x: wg.sin(x) * 2)(0.0)
        Array(0., weak)
    """
    if executor is not None and executor not in EXECUTORS:
        raise ArgumentError(
            f"jit: there is no executor {executor!r} in this installation; available: "
            f"{', '.join(map(repr, EXECUTORS))}, or None for the best of them{at_user_line()}"
        )
    if f is None:
        return lambda g: jit(
            g, executor, donate_argnums, static_argnums=static_argnums, static_argnames=static_argnames
        )
    donated = _argnums(donate_argnums, "donate_argnums")
    if not callable(f):
        raise ArgumentError(
            f"jit takes a function, got {type(f).__name__}; write jit(f)(x), not jit(f(x)){at_user_line()}"
        )
    static, names = _argnums(static_argnums, "static_argnums"), static_argnames
    names = (names,) if isinstance(names, str) else tuple(names)
    if static or names:
        if isinstance(f, tree.Module) or isinstance(getattr(f, "__self__", None), tree.Module):
            module, call = (f, type(f).__call__) if isinstance(f, tree.Module) else (f.__self__, f.__func__)  # type: ignore[attr-defined]
            made = jit(
                call, executor, [n + 1 for n in donated], static_argnums=[n + 1 for n in static], static_argnames=names
            )
            return functools.partial(made, module)
        if given := set(static) & set(donated):
            raise ArgumentError(f"jit: argument {min(given)} is static, so it can't be donated{at_user_line()}")
        return StaticArguments(
            f, static, names, lambda g, free: Jitted(g, executor, [k for k, i in enumerate(free) if i in donated])
        )
    if isinstance(f, tree.Module):
        return Bound(Jitted(type(f).__call__, executor, [n + 1 for n in donated]), f)
    if isinstance(getattr(f, "__self__", None), tree.Module):
        return Bound(Jitted(f.__func__, executor, [n + 1 for n in donated]), f.__self__)  # type: ignore[attr-defined]
    return Jitted(f, executor, donated)
