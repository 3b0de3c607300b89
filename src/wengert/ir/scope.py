"""Where in a model a step runs: the modules, regions and turns of loops that are open, for those who look on.

    module   the call of a part of a model
    region   a function that does one thing in several steps (a normalisation, a loss)
    turn     one turn of a loop

While nobody looks on, nothing is kept.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Frame(NamedTuple):
    """One open scope.

    Attributes:
        what: "module", "region" or "turn".
        name: the module's path, the function's name, the loop's number.
        number: which call of that module, or which turn, from 0.
        kind: what a region or module does ("normalisation", say), if that is known.
    """

    what: str
    name: str
    number: int = 0
    kind: str | None = None


Scope = tuple[Frame, ...]
_open: ContextVar[Scope | None] = ContextVar("_open", default=None)

Notice = Callable[[Frame, tuple[Any, ...], Any], None]
_notice: ContextVar[Notice | None] = ContextVar("_notice", default=None)


def scope() -> Scope | None:
    """What is open now, outermost first; None while nobody looks on."""
    return _open.get()


@contextmanager
def standing_in(frames: Scope) -> Iterator[None]:
    """While this is open, steps belong to these scopes."""
    token = _open.set(frames)
    try:
        yield
    finally:
        _open.reset(token)


@contextmanager
def opened(frame: Frame) -> Iterator[None]:
    """While this is open, steps belong to one more scope, if anybody looks on."""
    frames = _open.get()
    if frames is None:
        yield
    else:
        with standing_in((*frames, frame)):
            yield


@contextmanager
def noticing(notice: Notice) -> Iterator[None]:
    """While this is open, `notice(frame, arguments, result)` is called after every region."""
    outside = _notice.set(notice)
    try:
        with standing_in(_open.get() or ()):
            yield
    finally:
        _notice.reset(outside)


def region(kind: str) -> Callable[[F], F]:
    """Decorates a function that does one thing in several steps."""

    def decorate(f: F) -> F:
        frame = Frame("region", f.__name__, 0, kind)

        @functools.wraps(f)
        def inside(*args: Any, **kwargs: Any) -> Any:
            frames = _open.get()
            if frames is None:
                return f(*args, **kwargs)
            with standing_in((*frames, frame)):
                out = f(*args, **kwargs)
            notice = _notice.get()
            if notice is not None:
                notice(frame, args, out)
            return out

        return inside  # type: ignore[return-value]

    return decorate
