"""Primitives: the elementary steps. One class states everything about one step, its *facets*.

    type        types of the inputs -> type of the output (or a tuple, if `multiple`)
    evaluate    NumPy arrays -> NumPy array: the reference meaning
    partial     the local linear map from input i to the output (see `maps`)
    transpose   for a primitive that is linear in an input: the adjoint of that linear map
    batch       inputs with a batch axis -> outputs with one
    sparsity    which inputs each output element depends on

A primitive with several outputs, or whose map is not one map per edge, states `jvp` (tangents in, tangents out, in
primitives) instead of `partial`; its pullback follows by transposing that code. Structured control flow states
`linearize`, because it must do its forward work differently when a derivative will follow.
A facet that cannot exist is `Unsupported("reason")`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.errors import EscapedTraceError, UnsupportedError, WengertError
from wengert.ir.array import Array, Tracer, WeakArray
from wengert.ir.quiet import SILENCE, quiet
from wengert.ir.types import ArrayType
from wengert.source import at_user_line

Params = dict[str, Any]

FACETS = ("type", "evaluate", "partial", "transpose", "batch", "sparsity")


class Unsupported:
    """Stands in for a facet that a primitive does not have, and says why; calling it raises `UnsupportedError`."""

    def __init__(self, reason: str):
        self.reason = reason
        self.facet = "facet"

    def __set_name__(self, owner: type, name: str) -> None:
        self.facet = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise UnsupportedError(f"no {self.facet} rule: {self.reason}{at_user_line()}")


registry: dict[str, Primitive] = {}


class Primitive:
    """One elementary step; a subclass states its facets, an instance is the step itself."""

    multiple = False
    differentiable = True  # False: the output is constant as far as derivatives go (integers, booleans, rounding)
    inline = False  # True: a recording takes the steps of its graph (`expand`) instead of the one step
    linearize: Callable[..., Any] | None = None
    forward: Any = None  # values and tangents -> outputs and their tangents; stated beside `linearize`
    jvp: Callable[..., Any] | None = None
    transpose: Any = Unsupported("not linear in any of its inputs")

    def __init__(self, name: str):
        if name in registry:
            raise WengertError(f"a primitive named {name!r} exists already")
        self.name = self.__name__ = name
        self.settle()
        registry[name] = self

    def settle(self) -> None:
        """Note what the hot paths ask: whether this is one plain step to a tape, and the usual rule for weakness."""
        structured = self.linearize is not None or self.multiple or self.inline
        self.plain = self.differentiable and self.jvp is None and not structured
        self.usual_weakness = type(self).weak_result is Primitive.weak_result

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> Any:
        return registry.__getitem__, (self.name,)

    # The facets, stated by subclasses.

    def type(self, *types: ArrayType, **params: Any) -> Any:
        raise NotImplementedError(f"{self.name} states no type rule")

    def evaluate(self, *values: Any, **params: Any) -> Any:
        raise NotImplementedError(f"{self.name} states no evaluation")

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Any:
        """The map from a change of input `i` to a change of the output; None where it is zero."""
        raise NotImplementedError(f"{self.name} states no partial")

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> tuple[Any, Any]:
        raise NotImplementedError(f"{self.name} states no batching")

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        raise NotImplementedError(f"{self.name} states no sparsity")

    def weak_result(self, args: Sequence[Any], params: Params) -> bool | tuple[bool, ...]:
        """Whether the outputs (or each of them) are Python numbers at heart: by default, when all inputs are."""
        for a in args:
            if not a.weak:
                return False
        return bool(args)

    def expand(self, args: Sequence[Array], params: Params) -> Any:
        """For an `inline` primitive: apply the steps it stands for."""
        raise NotImplementedError

    # Application.

    def bind(self, *args: Array, **params: Any) -> Any:
        """Apply to arrays: by the topmost transformation among the arguments, or at once where there is none."""
        if len(args) == 1:
            top = args[0].trace
        else:
            top = None
            for a in args:
                trace = a.trace
                if trace is not None and trace is not top and (top is None or trace.level > top.level):
                    top = trace
        if top is None:
            return evaluate_now(self, args, params)
        if top.closed:
            raise escaped(f"{self.name}: an argument", next(a for a in args if a.trace is top))
        return top.process(self, args, params)


def escaped(what: str, a: Array) -> EscapedTraceError:
    """The error for a value whose transformation has ended."""
    return EscapedTraceError(
        f"{what} of type {a.type} escaped: it was made inside {a.trace.what} that has ended. Return it from the "
        f"transformed function instead of keeping it in a global, an attribute or a closure.{at_user_line()}"
    )


watchers: list[Callable[[Primitive, Sequence[Any], Params, Any], None]] = []  # see debug.py


def evaluate_now(primitive: Primitive, args: Sequence[Array], params: Params) -> Any:
    """Evaluate on concrete arrays with NumPy."""
    token = quiet.set(SILENCE)
    try:
        if len(args) == 2:  # the common cases, without a comprehension's frame
            out = primitive.evaluate(args[0].data, args[1].data, **params)
        elif len(args) == 1:
            out = primitive.evaluate(args[0].data, **params)
        else:
            out = primitive.evaluate(*[a.data for a in args], **params)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise explained(error, primitive, args, params) from error
    finally:
        quiet.reset(token)
    if watchers:
        for watch in watchers:
            watch(primitive, args, params, out)
    if primitive.usual_weakness and not (args and args[0].weak):
        return tuple([Array(o) for o in out]) if primitive.multiple else Array(out)
    weak = primitive.weak_result(args, params)
    if primitive.multiple:
        each = weak if isinstance(weak, tuple) else (weak,) * len(out)
        return tuple([(WeakArray if w else Array)(o) for o, w in zip(out, each, strict=True)])
    return (WeakArray if weak else Array)(out)


def explained(error: Exception, primitive: Primitive, args: Sequence[Array], params: Params) -> Exception:
    """NumPy's refusal in the user's terms: as the type rule says it, if it refuses too."""
    if isinstance(error, WengertError):
        return error
    try:
        primitive.type(*[a.type for a in args], **params)
    except WengertError as stated:
        return stated
    given = ", ".join(repr(a.type) for a in args)
    return WengertError(f"{primitive.name} of {given} failed: {error}{at_user_line()}")


def out_type(primitive: Primitive, args: Sequence[Array], params: Params) -> Any:
    """The type(s) of an application, weak where every input is weak."""
    types = [a.type for a in args]
    result = primitive.type(*types, **params)
    weak = primitive.weak_result(types, params)
    if primitive.multiple:
        each = weak if isinstance(weak, tuple) else (weak,) * len(result)
        return tuple([ArrayType(t.shape, t.dtype, w) for t, w in zip(result, each, strict=True)])
    return ArrayType(result.shape, result.dtype, weak)  # type: ignore[arg-type]


__all__ = ["FACETS", "Params", "Primitive", "Tracer", "Unsupported", "evaluate_now", "out_type", "registry"]
