"""`jit` with static arguments: one compiled function for each of their values."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.setting import distinct
from wengert.source import at_user_line

MOST = 256  # values for which programs are kept


class StaticArguments:
    """A function of which some arguments are Python values to the program, not traced.

    Args:
        f: the function.
        positions, names: which arguments, as JAX's `static_argnums` and `static_argnames`.
        compile: makes a compiled function of one whose static arguments are fixed, and of the positions that the
            remaining ones had before.
    """

    def __init__(
        self, f: Callable[..., Any], positions: Sequence[int], names: Sequence[str],
        compile: Callable[[Callable[..., Any], Sequence[int]], Any],
    ):  # fmt: skip
        functools.update_wrapper(self, f, updated=())
        known: list[str] = []
        anything = True  # whether it may have other arguments than those known
        with contextlib.suppress(TypeError, ValueError):  # of some builtins nothing is known
            parameters = inspect.signature(f).parameters.values()
            known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)]
            anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
            wrong = [] if anything else [n for n in names if n not in {p.name for p in parameters}]
        if not anything and wrong:
            raise ArgumentError(
                f"jit: static_argnames holds {', '.join(map(repr, wrong))}, but {self.__name__} has "  # type: ignore[attr-defined]
                f"{', '.join(known)}{at_user_line()}"
            )
        # as in JAX, a name stands for its position too, and a position for its name
        self._positions = frozenset(positions) | {known.index(n) for n in names if n in known}
        self._names = frozenset(names) | {known[i] for i in positions if i < len(known)}
        self._f = f
        self._compile = compile
        self._made: dict[Any, Any] = {}

    def _split(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Any], dict[str, Any]]:
        """The compiled function for these static values, and the other arguments."""
        fixed = {i: a for i, a in enumerate(args) if i in self._positions}
        named = {n: a for n, a in kwargs.items() if n in self._names}
        free = tuple(i for i in range(len(args)) if i not in fixed)
        if any(isinstance(a, Array) for a in (*fixed.values(), *named.values())):
            raise ArgumentError(
                f"{self.__name__}: a static argument is an Array; only Python values can be static, arrays are traced"  # type: ignore[attr-defined]
                + at_user_line()
            )
        key = (
            tuple((i, distinct(a)) for i, a in fixed.items()),
            tuple((n, distinct(a)) for n, a in sorted(named.items())),
            free,
        )
        try:
            made = self._made.get(key)
        except TypeError:
            odd = next(a for a in (*fixed.values(), *named.values()) if not hashable(a))
            raise ArgumentError(
                f"{self.__name__}: a static argument is a {type(odd).__name__}, which has no hash to find its program "  # type: ignore[attr-defined]
                f"by; pass a tuple in place of a list, or let it be traced{at_user_line()}"
            ) from None
        if made is None:
            while len(self._made) >= MOST:
                self._made.pop(next(iter(self._made)))
            made = self._made[key] = self._compile(self._with(fixed, named, free), free)
        return made, [args[i] for i in free], {n: a for n, a in kwargs.items() if n not in named}

    def _with(self, fixed: dict[int, Any], named: dict[str, Any], free: Sequence[int]) -> Callable[..., Any]:
        f, count = self._f, len(fixed) + len(free)

        def call(*args: Any, **kwargs: Any) -> Any:
            placed = dict(zip(free, args, strict=True)) | fixed
            return f(*[placed[i] for i in range(count)], **kwargs, **named)

        call.__name__ = self.__name__  # type: ignore[attr-defined]
        return call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        made, rest, more = self._split(args, kwargs)
        return made(*rest, **more)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """The program for arguments like these; see `jit`."""
        made, rest, more = self._split(args, kwargs)
        return made.lower(*rest, **more)

    def explain(self, *args: Any, **kwargs: Any) -> Any:
        """What that program does; see `wg.explain`."""
        made, rest, more = self._split(args, kwargs)
        return made.explain(*rest, **more)

    def profile(self, *args: Any, **kwargs: Any) -> Any:
        """The same, with the time of each kernel."""
        made, rest, more = self._split(args, kwargs)
        return made.profile(*rest, **more)


def hashable(x: Any) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True
