"""grad, value_and_grad, vjp, jvp, linearize, hvp: derivatives of plain Python functions over pytrees."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import tree
from wengert.diff.linearize import forward
from wengert.diff.linearize import linearize as linearize_flat
from wengert.diff.pull import dense, pull
from wengert.diff.zeros import ones_like
from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array, WeakArray
from wengert.ir.graph import Var
from wengert.ir.record import Tape
from wengert.ir.source import at_user_line
from wengert.ops.promote import as_array, convert

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
    _check_function(f, "grad")
    several = not isinstance(argnums, int)
    nums = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(f)
    def value_and_grad_of(*args: Any, **kwargs: Any) -> Any:
        chosen = choose(f, nums, args, kwargs)
        tape = Tape()
        try:
            variables = [tape.input(v) for v in chosen.values]
            out = chosen.call(variables)
            value, aux = _split_aux(out, has_aux)
            value = _scalar(value, f)
            changed = chosen.assigned()
            graph = tape.finish([value])
        finally:
            tape.close()
        chosen.write_back([_below(c, tape) for c in changed])
        result = _below(value, tape)
        cotangents = pull(graph, [ones_like(result)], once=True)
        grads = chosen.unpack([dense(c, v) for c, v in zip(cotangents, chosen.values, strict=True)])
        answer = tuple(grads) if several else grads[0]
        if has_aux:
            return (result, tree.map(lambda a: _below(a, tape), aux)), answer
        return result, answer

    return value_and_grad_of


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
    _check_function(f, "vjp")
    chosen = Chosen(f, tuple(range(len(primals))), primals, {})
    structure: list[Any] = []

    def run(*variables: Array) -> list[Array]:
        out, aux = _split_aux(chosen.call(variables), has_aux)
        leaves, treedef = tree.flatten(out)
        structure[:] = [treedef, aux]
        flat = [_result(o, f) for o in leaves]
        structure.append(len(flat))
        return flat + chosen.assigned()

    linear = linearize_flat(run, chosen.values)
    treedef, aux, n = structure
    outs = linear.outputs[:n]
    chosen.write_back(linear.outputs[n:])
    zeros: list[Array | None] = [None] * (len(linear.outputs) - n)

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        cotangents = _matching(cotangent, outs, treedef, "the cotangent given to a pullback")
        back = linear.pull([*cotangents, *zeros])
        return tuple(chosen.unpack([dense(c, v) for c, v in zip(back, chosen.values, strict=True)]))

    out = tree.unflatten(treedef, outs)
    tape = linear.graph.trace
    return (out, pullback, tree.map(lambda a: _below(a, tape), aux)) if has_aux else (out, pullback)


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
    _check_function(f, "jvp")
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
    arriving = _matching_leaves(tangent_leaves, chosen.values, "a tangent given to jvp")
    structure: list[Any] = []

    def run(*variables: Array) -> list[Array]:
        leaves, treedef = tree.flatten(chosen.call(variables))
        structure[:] = [treedef, len(leaves)]
        return [_result(o, f) for o in leaves] + chosen.assigned()

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
    _check_function(f, "linearize")
    chosen = Chosen(f, tuple(range(len(primals))), primals, {})
    structure: list[Any] = []

    def run(*variables: Array) -> list[Array]:
        leaves, treedef = tree.flatten(chosen.call(variables))
        structure[:] = [treedef, len(leaves)]
        return [_result(o, f) for o in leaves] + chosen.assigned()

    linear = linearize_flat(run, chosen.values)
    treedef, n = structure
    chosen.write_back(linear.outputs[n:])

    def pushforward(*tangents: Any) -> Any:
        arriving = _matching_leaves(chosen.pick(tangents), chosen.values, "a tangent given to a pushforward")
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


_PLAIN = frozenset((Array, WeakArray, Var, float, np.ndarray))


def choose(f: Callable[..., Any], nums: tuple[int, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The arguments of one call to differentiate by; `Chosen`, or its quick form where they are just arrays."""
    if not kwargs and len(nums) == 1 and 0 <= nums[0] < len(args):
        for a in args:
            if type(a) not in _PLAIN:
                break
        else:
            value = as_array(args[nums[0]])
            if value.dtype.kind in "fc":
                return PlainArguments(f, nums[0], args, value)
    return Chosen(f, nums, args, kwargs)


class PlainArguments:
    """Arguments that are arrays and floats, no containers: nothing to flatten, nothing to write back."""

    __slots__ = ("args", "f", "num", "values")

    def __init__(self, f: Callable[..., Any], num: int, args: tuple[Any, ...], value: Array):
        self.f = f
        self.num = num
        self.args = args
        self.values = [value]

    def call(self, variables: Sequence[Array]) -> Any:
        return self.f(*self.args[: self.num], variables[0], *self.args[self.num + 1 :])

    def assigned(self) -> list[Array]:
        return []

    def write_back(self, leaves: Sequence[Array]) -> None:
        pass

    def unpack(self, results: list[Array]) -> list[Array]:
        return results


class Chosen:
    """The arguments of one call, with those leaves chosen that are differentiated by."""

    __slots__ = ("args", "f", "nums", "opened", "slots", "values", "where")

    def __init__(self, f: Callable[..., Any], nums: tuple[int, ...], args: tuple[Any, ...], kwargs: dict[str, Any]):
        for n in nums:
            if not -len(args) <= n < len(args):
                raise ArgumentError(
                    f"derivative of {_name(f)} by argument {n}, but only {len(args)} positional arguments were given"
                    f"{at_user_line()}"
                )
        self.f = f
        self.args = args
        self.nums = tuple(n % len(args) for n in nums)
        self.opened = tree.Opened((args, kwargs))
        self.slots: list[int] = []
        self.values: list[Array] = []
        opened = self.opened
        for k, (leaf, path) in enumerate(zip(opened.leaves, opened.paths, strict=True)):
            if path[0] == 0 and path[1] in self.nums:
                value = as_array(leaf, "a derivative")
                if value.dtype.kind in "fc":
                    self.slots.append(k)
                    self.values.append(value)
                elif not opened.in_module[k]:
                    raise DTypeError(
                        f"derivative of {_name(f)} by {tree.path_name(path[2:]) or f'argument {path[1]}'}, which is "
                        f"{value.type!r}: only real and complex floats change continuously. Pass a float "
                        f"(2.0 for 2, x.astype(wg.float32)) or leave the argument out of argnums.{at_user_line()}"
                    )

    def call(self, variables: Sequence[Array]) -> Any:
        leaves = list(self.opened.leaves)
        for k, v in zip(self.slots, variables, strict=True):
            leaves[k] = v
        args, kwargs = self.opened.rebuild(leaves)
        return self.f(*args, **kwargs)

    def assigned(self) -> list[Array]:
        changed, self.where = self.opened.changes()
        return [as_array(c, "an attribute assigned in a transformed function") for c in changed]

    def write_back(self, leaves: Sequence[Array]) -> None:
        self.opened.write_back(self.where, leaves)

    def unpack(self, results: Sequence[Array]) -> list[Any]:
        """One tree per chosen argument, with the results in place of its leaves and None at the other leaves."""
        by_slot = dict(zip(self.slots, results, strict=True))
        answer = []
        for n in self.nums:
            mine = [by_slot.get(k) for k, p in enumerate(self.opened.paths) if p[0] == 0 and p[1] == n]
            treedef = tree.flatten(self.args[n])[1]
            if treedef.num_leaves != len(mine):
                raise ArgumentError(
                    f"arguments of {_name(self.f)} share a module, so they cannot be differentiated by separately; "
                    f"pass it once{at_user_line()}"
                )
            answer.append(tree.unflatten(treedef, mine))
        return answer

    def pick(self, tangents: tuple[Any, ...]) -> list[Any]:
        """The leaves of `tangents` that belong to the chosen leaves."""
        leaves: list[Any] = []
        if len(tangents) != len(self.nums):
            raise ArgumentError(
                f"{len(tangents)} tangents for {len(self.nums)} primals of {_name(self.f)}{at_user_line()}"
            )
        for n, t in zip(self.nums, tangents, strict=True):
            mine = [k for k, p in enumerate(self.opened.paths) if p[0] == 0 and p[1] == n]
            theirs, treedef = tree.flatten(t)
            if len(theirs) == len(mine):
                leaves += [x for k, x in zip(mine, theirs, strict=True) if k in self.slots]
            elif len(theirs) == sum(k in self.slots for k in mine):  # a gradient: None where nothing is differentiated
                leaves += theirs
            else:
                raise ArgumentError(
                    f"the tangent of argument {n} of {_name(self.f)} has structure {treedef}, the argument "
                    f"{tree.flatten(self.args[n])[1]}{at_user_line()}"
                )
        return leaves


def _matching(given: Any, outs: Sequence[Array], treedef: tree.TreeDef, what: str) -> list[Array | None]:
    leaves, its_def = tree.flatten(given)
    if its_def != treedef and len(leaves) != len(outs):
        raise ArgumentError(f"{what} has structure {its_def}; expected that of the output, {treedef}{at_user_line()}")
    return _matching_leaves(leaves, outs, what)


def _matching_leaves(leaves: Sequence[Any], like: Sequence[Array], what: str) -> list[Array | None]:
    result: list[Array | None] = []
    for leaf, out in zip(leaves, like, strict=True):
        c = as_array(leaf, what)
        if c.shape != out.shape:
            raise ShapeError(f"{what} has shape {c.shape}; expected {out.shape}{at_user_line()}")
        if out.dtype.kind not in "fc":
            result.append(None)
            continue
        if c.dtype.kind == "c" and out.dtype.kind != "c":
            raise DTypeError(f"{what} is {c.dtype.name} for a value of type {out.dtype.name}{at_user_line()}")
        result.append(convert(c, out.dtype, out.weak))
    return result


def _check_function(f: Any, what: str) -> None:
    if not callable(f):
        raise ArgumentError(
            f"{what} takes a function, got {type(f).__name__}; write {what}(f)(x), not {what}(f(x)){at_user_line()}"
        )


def _name(f: Any) -> str:
    name = getattr(f, "__name__", type(f).__name__)
    return "the function" if name == "<lambda>" else f"`{name}`"


def _split_aux(out: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return out, None
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise ArgumentError(
            f"with has_aux=True the function returns a pair (number, anything), got {type(out).__name__}"
            + at_user_line()
        )
    return out[0], out[1]


def _result(o: Any, f: Any) -> Array:
    return as_array(o, f"the derivative of {_name(f)}, as its result,")


def _scalar(value: Any, f: Any) -> Array:
    if isinstance(value, Array) and value.shape == () and value.dtype.kind == "f":
        return value
    if not tree.is_leaf(value):
        raise ArgumentError(
            f"grad of {_name(f)}: it returned {'None' if value is None else f'a {type(value).__name__}'}; expected one "
            "real number. Return the loss (with has_aux=True, a pair of the loss and anything else); for several "
            f"outputs use wg.vjp or wg.jacobian.{at_user_line()}"
        )
    result = as_array(value)
    if result.shape != ():
        raise ShapeError(
            f"grad of {_name(f)}: it returned an array of shape {result.shape}; expected one number, shape (). Reduce "
            f"it (wg.mean, wg.sum), or use wg.vjp or wg.jacobian for the derivative of many outputs.{at_user_line()}"
        )
    if result.dtype.kind != "f" and not (result.weak and result.dtype.kind == "i"):
        raise DTypeError(
            f"grad of {_name(f)}: it returned {result.type!r}; expected a real float. For a complex result take its "
            f"real part or its absolute value first; an integer result has no derivative.{at_user_line()}"
        )
    return result


def _below(x: Any, tape: Any) -> Any:
    return x.data if isinstance(x, Array) and x.trace is tape else x
