"""grad, value_and_grad, vjp, jvp, linearize, hvp: derivatives of plain Python functions over pytrees."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from wengert import tree
from wengert.diff.arguments import (
    Chosen,
    as_result,
    as_scalar,
    below,
    check_function,
    choose,
    matching,
    matching_leaves,
    positions,
    split_aux,
)
from wengert.diff.linearize import forward
from wengert.diff.linearize import linearize as linearize_flat
from wengert.diff.pull import dense, pull
from wengert.diff.zeros import ones_like
from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.ir.record import Tape
from wengert.source import at_user_line

__all__ = ["grad", "hvp", "jvp", "linearize", "value_and_grad", "vjp"]


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the value of `f` and its gradient, by reverse mode, in one pass.

    Args:
        f: function of pytrees that returns one real number (an array of shape `()`); with `has_aux`, a pair
            `(number, anything)`.
        argnums: which positional argument(s) to differentiate by: an integer, or a sequence for a tuple of gradients.
        has_aux: whether `f` returns something beside the number, which is passed through.

    Returns:
        A function with the arguments of `f` that returns `(value, gradient)`, or `((value, aux), gradient)`. The
        gradient has the structure, shapes and types of the argument; leaves of a module that are not floating hold
        None. For complex arguments it is `∂f/∂x - i·∂f/∂y` (JAX's convention), so steepest descent follows its
        conjugate.

    Raises:
        ShapeError: `f` returns an array that is not a single number.
        DTypeError: an argument is an integer, or the result is no real float.
        ArgumentError: `f` returns no array, or an argument is missing.

    Example:
        >>> wg.value_and_grad(lambda w: 0.5 * w**4)(2.0)
        (Array(8., weak), Array(16., weak))
    """
    check_function(f, "grad")
    nums, several = positions(argnums, "grad")

    @functools.wraps(f)
    def value_and_grad_of(*args: Any, **kwargs: Any) -> Any:
        result, aux, answer, _ = _reverse(f, nums, args, kwargs, has_aux)
        grads = tuple(answer) if several else answer[0]
        return ((result, aux), grads) if has_aux else (result, grads)

    return value_and_grad_of


def _reverse(
    f: Callable[..., Any],
    nums: tuple[int, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    has_aux: bool,
    watched: Sequence[Any] = (),
) -> tuple[Array, Any, list[Any], list[tuple[Array | None, Array | None]]]:
    """Value, aux, gradients by each argument; value and cotangent of each array that `f` has put into `watched`."""
    chosen = choose(f, nums, args, kwargs)
    tape = Tape()
    try:
        variables = [tape.input(v) for v in chosen.values]
        out = chosen.call(variables)
        value, aux = split_aux(out, has_aux)
        value = as_scalar(value, f)
        changed = chosen.assigned()
        graph = tape.finish([value])
    finally:
        tape.close()
    chosen.write_back([below(c, tape) for c in changed])
    result = below(value, tape)
    kept: dict[int, Array | None] = {a.index: None for a in watched if a.trace is tape}
    cotangents = pull(graph, [ones_like(result)], once=True, kept=kept or None)
    grads = chosen.unpack([dense(c, v) for c, v in zip(cotangents, chosen.values, strict=True)])
    seen = [_seen(a, tape, kept) for a in watched]
    return result, tree.map(lambda a: below(a, tape), aux), grads, seen


def _seen(a: Array, tape: Tape, kept: dict[int, Array | None]) -> tuple[Array | None, Array | None]:
    if a.trace is tape:
        return a.data, kept[a.index]  # type: ignore[attr-defined]
    return (a, None) if a.trace is None or a.trace.level < tape.level else (None, None)


def value_and_grad_watching(
    f: Callable[..., Any], watched: list[Any]
) -> Callable[..., tuple[tuple[Array, Any], Any, list[tuple[Array | None, Array | None]]]]:
    """As `value_and_grad(f, has_aux=True)`, with the cotangents of values on the way.

    `f` puts arrays into the list `watched` while it runs; the third result holds for each its value and its cotangent.
    The cotangent is None where it is zero; both are, for an array of an inner transformation (a loop's body).
    """

    def watching(*args: Any, **kwargs: Any) -> Any:
        watched.clear()
        value, aux, (answer,), seen = _reverse(f, (0,), args, kwargs, True, watched)
        return (value, aux), answer, seen

    return watching


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of `f`; see `value_and_grad` for everything else.

    With `has_aux`, returns `(gradient, aux)`.

    Example:
        >>> wg.grad(wg.sin)(0.0)
        Array(1., weak)
    """
    both = value_and_grad(f, argnums, has_aux)

    @functools.wraps(f)
    def grad_of(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return grad_of


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `f` at `primals` and its *pullback*.

    `out, pullback = vjp(f, *primals)`: `pullback(cotangent)`, for a cotangent of the structure of `out`, returns a
    tuple with one cotangent for each primal: `vᵀJ`. It can be called any number of times. With `has_aux`, `f` returns a
    pair and the result is `(out, pullback, aux)`.

    Raises:
        ShapeError: a cotangent does not have the shape of its output.
    """
    check_function(f, "vjp")
    chosen = Chosen(f, tuple(range(len(primals))), primals, {})
    structure: list[Any] = []

    def run(*variables: Array) -> list[Array]:
        out, aux = split_aux(chosen.call(variables), has_aux)
        leaves, treedef = tree.flatten(out)
        structure[:] = [treedef, aux]
        flat = [as_result(o, f) for o in leaves]
        structure.append(len(flat))
        return flat + chosen.assigned()

    linear = linearize_flat(run, chosen.values)
    treedef, aux, n = structure
    outs = linear.outputs[:n]
    chosen.write_back(linear.outputs[n:])
    zeros: list[Array | None] = [None] * (len(linear.outputs) - n)

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        cotangents = matching(cotangent, outs, treedef, "the cotangent given to a pullback")
        back = linear.pull([*cotangents, *zeros])
        return tuple(chosen.unpack([dense(c, v) for c, v in zip(back, chosen.values, strict=True)]))

    out = tree.unflatten(treedef, outs)
    tape = linear.graph.trace
    return (out, pullback, tree.map(lambda a: below(a, tape), aux)) if has_aux else (out, pullback)


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The value of `f` and its directional derivative, by forward mode: `(f(x), J·t)`.

    Args:
        f: function of pytrees.
        primals: its arguments, as a tuple or list.
        tangents: for each argument a tangent of the same structure and shapes.

    Returns:
        `(out, tangent_out)`, of equal structure.

    Raises:
        ArgumentError: numbers or structures of primals and tangents differ.
        ShapeError: a tangent does not have the shape of its primal.

    Example:
        >>> wg.jvp(lambda x: x**3, (2.0,), (1.0,))
        (Array(8., weak), Array(12., weak))
    """
    check_function(f, "jvp")
    if (
        not isinstance(primals, (tuple, list))
        or not isinstance(tangents, (tuple, list))
        or len(primals) != len(tangents)
    ):
        raise ArgumentError(
            "jvp takes a tuple of primals and a tuple of as many tangents, also for one argument: "
            f"jvp(f, (x,), (t,)){at_user_line()}"
        )
    chosen = Chosen(f, tuple(range(len(primals))), tuple(primals), {})
    tangent_leaves = chosen.pick(tuple(tangents))
    arriving = matching_leaves(tangent_leaves, chosen.values, "a tangent given to jvp")
    structure: list[Any] = []

    def run(*variables: Array) -> list[Array]:
        leaves, treedef = tree.flatten(chosen.call(variables))
        structure[:] = [treedef, len(leaves)]
        return [as_result(o, f) for o in leaves] + chosen.assigned()

    outs, pushed = forward(run, chosen.values, arriving)
    treedef, n = structure
    chosen.write_back(outs[n:])
    dense_tangents = [dense(t, o) for o, t in zip(outs[:n], pushed[:n], strict=True)]
    return tree.unflatten(treedef, outs[:n]), tree.unflatten(treedef, dense_tangents)


def linearize(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of `f` at `primals` and its *pushforward*.

    `out, pushforward = linearize(f, *primals)`: `pushforward(*tangents)` returns `J·t` for tangents of the structure of
    the primals. The function runs once; each call of the pushforward only walks its linearised graph.
    """
    check_function(f, "linearize")
    chosen = Chosen(f, tuple(range(len(primals))), primals, {})
    structure: list[Any] = []

    def run(*variables: Array) -> list[Array]:
        leaves, treedef = tree.flatten(chosen.call(variables))
        structure[:] = [treedef, len(leaves)]
        return [as_result(o, f) for o in leaves] + chosen.assigned()

    linear = linearize_flat(run, chosen.values)
    treedef, n = structure
    chosen.write_back(linear.outputs[n:])

    def pushforward(*tangents: Any) -> Any:
        arriving = matching_leaves(chosen.pick(tangents), chosen.values, "a tangent given to a pushforward")
        pushed = linear.push(arriving)[:n]
        return tree.unflatten(treedef, [dense(t, o) for t, o in zip(pushed, linear.outputs[:n], strict=True)])

    return tree.unflatten(treedef, linear.outputs[:n]), pushforward


def hvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of a scalar function times a vector, `H·t`, forward over reverse: about as dear as two gradients.

    `primals` and `tangents` are tuples as for `jvp`. Returns the product, of the structure of the primal (a tuple if
    there are several).

    Example:
        >>> wg.hvp(lambda x: x**3, (2.0,), (1.0,))
        Array(12., weak)
    """
    nums = tuple(range(len(primals)))
    return jvp(grad(f, nums if len(nums) > 1 else 0), primals, tangents)[1]
