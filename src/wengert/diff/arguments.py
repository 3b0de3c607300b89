"""The arguments and results of a derivative function: pytrees of any kind on one side, flat arrays on the other."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import tree
from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array, WeakArray
from wengert.ir.graph import Var
from wengert.ops.promote import as_array, convert
from wengert.source import at_user_line

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

    __slots__ = ("args", "f", "leaves_of", "nums", "opened", "slots", "values", "where")

    def __init__(self, f: Callable[..., Any], nums: tuple[int, ...], args: tuple[Any, ...], kwargs: dict[str, Any]):
        for n in nums:
            if not -len(args) <= n < len(args):
                raise ArgumentError(
                    f"derivative of {name_of(f)} by argument {n}, but only {len(args)} positional arguments were given"
                    f"{at_user_line()}"
                )
        self.f = f
        self.args = args
        self.nums = tuple(n % len(args) for n in nums)
        self.opened = tree.Opened((args, kwargs))
        self.slots: list[int] = []
        self.values: list[Array] = []
        self.leaves_of: dict[int, list[int]] = {n: [] for n in self.nums}
        opened = self.opened
        for k, (leaf, path) in enumerate(zip(opened.leaves, opened.paths, strict=True)):
            if path[0] == 0 and path[1] in self.leaves_of:
                self.leaves_of[path[1]].append(k)
                if opened.fixed[k]:
                    continue
                value = as_array(leaf, "a derivative")
                if value.dtype.kind in "fc":
                    self.slots.append(k)
                    self.values.append(value)
                elif not opened.in_object[k]:
                    raise DTypeError(
                        f"derivative of {name_of(f)} by {tree.path_name(path[2:]) or f'argument {path[1]}'}, which is "
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
        # two leaves may have got one and the same array (the terms of a sum); as one object they would seem tied
        seen: set[int] = set()
        apart = [copy.copy(r) if id(r) in seen or seen.add(id(r)) else r for r in results]  # type: ignore[func-returns-value]
        by_slot = dict(zip(self.slots, apart, strict=True))
        answer = []
        for n in self.nums:
            mine = [by_slot.get(k) for k in self.leaves_of[n]]
            treedef = tree.flatten(self.args[n])[1]
            if treedef.num_leaves != len(mine):
                raise ArgumentError(
                    f"arguments of {name_of(self.f)} share a module, so they cannot be differentiated by separately; "
                    f"pass it once{at_user_line()}"
                )
            answer.append(tree.unflatten(treedef, mine))
        return answer

    def pick(self, tangents: tuple[Any, ...]) -> list[Any]:
        """The leaves of `tangents` that belong to the chosen leaves."""
        leaves: list[Any] = []
        differentiated = set(self.slots)
        if len(tangents) != len(self.nums):
            raise ArgumentError(
                f"{len(tangents)} tangents for {len(self.nums)} primals of {name_of(self.f)}{at_user_line()}"
            )
        for n, t in zip(self.nums, tangents, strict=True):
            mine = self.leaves_of[n]
            theirs, treedef = tree.flatten(t)
            if len(theirs) == len(mine):
                leaves += [x for k, x in zip(mine, theirs, strict=True) if k in differentiated]
            elif len(theirs) == sum(k in differentiated for k in mine):
                leaves += theirs  # a gradient: None at the other leaves
            else:
                raise ArgumentError(
                    f"the tangent of argument {n} of {name_of(self.f)} has structure {treedef}, the argument "
                    f"{tree.flatten(self.args[n])[1]}{at_user_line()}"
                )
        return leaves


def matching(given: Any, outs: Sequence[Array], treedef: tree.TreeDef, what: str) -> list[Array | None]:
    """The leaves of `given`, a tree like `outs` in `treedef`, checked and in the types of `outs`; None at integers."""
    leaves, its_def = tree.flatten(given)
    if its_def != treedef and len(leaves) != len(outs):
        raise ArgumentError(f"{what} has structure {its_def}; expected that of the output, {treedef}{at_user_line()}")
    return matching_leaves(leaves, outs, what)


def matching_leaves(leaves: Sequence[Any], like: Sequence[Array], what: str) -> list[Array | None]:
    """`leaves` as tangents or cotangents of `like`: of equal shapes and in the same types; None at integers."""
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


def positions(argnums: int | Sequence[int], what: str) -> tuple[tuple[int, ...], bool]:
    """`argnums` as a tuple, and whether it was a sequence."""
    several = not isinstance(argnums, (int, np.integer))
    try:
        return tuple(operator.index(n) for n in (argnums if several else (argnums,))), several  # type: ignore
    except TypeError:
        raise ArgumentError(
            f"{what}: argnums is {argnums!r}; expected an integer or a sequence of integers{at_user_line()}"
        ) from None


def check_function(f: Any, what: str) -> None:
    """Refuse what cannot be called, such as `f(x)` in place of `f`."""
    if not callable(f):
        raise ArgumentError(
            f"{what} takes a function, got {type(f).__name__}; write {what}(f)(x), not {what}(f(x)){at_user_line()}"
        )


def name_of(f: Any) -> str:
    """What messages call `f`."""
    name = getattr(f, "__name__", type(f).__name__)
    return "the function" if name == "<lambda>" else f"`{name}`"


def split_aux(out: Any, has_aux: bool) -> tuple[Any, Any]:
    """What a function returned, as the result proper and what it passes through (None without `has_aux`)."""
    if not has_aux:
        return out, None
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise ArgumentError(
            f"with has_aux=True the function returns a pair (number, anything), got {type(out).__name__}"
            + at_user_line()
        )
    return out[0], out[1]


def as_result(o: Any, f: Any) -> Array:
    """A leaf that `f` returned, as an array."""
    return as_array(o, f"the derivative of {name_of(f)}, as its result,")


def as_scalar(value: Any, f: Any) -> Array:
    """What `f` returned, if it is the one real number that a gradient needs."""
    if isinstance(value, Array) and value.shape == () and value.dtype.kind == "f":
        return value
    if not tree.is_leaf(value):
        raise ArgumentError(
            f"grad of {name_of(f)}: it returned {'None' if value is None else f'a {type(value).__name__}'}; expected "
            "one real number. Return the loss (with has_aux=True, a pair of the loss and anything else); for several "
            f"outputs use wg.vjp or wg.jacobian.{at_user_line()}"
        )
    result = as_array(value)
    if result.shape != ():
        raise ShapeError(
            f"grad of {name_of(f)}: it returned an array of shape {result.shape}; expected one number, shape (). "
            "Reduce it (wg.mean, wg.sum), or use wg.vjp or wg.jacobian for the derivative of many outputs."
            + at_user_line()
        )
    if result.dtype.kind != "f" and not (result.weak and result.dtype.kind == "i"):
        raise DTypeError(
            f"grad of {name_of(f)}: it returned {result.type!r}; expected a real float. For a complex result take its "
            f"real part or its absolute value first; an integer result has no derivative.{at_user_line()}"
        )
    return result


def below(x: Any, tape: Any) -> Any:
    """`x` without the tape: a value of it as the value one level down, anything else unchanged."""
    return x.data if isinstance(x, Array) and x.trace is tape else x
