"""scan and fori_loop as users call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import tree
from wengert.control.carry import follow_types, settle_carry
from wengert.control.checkpoint import checkpoint as recompute
from wengert.control.functions import Staged, flatten_arrays, stage_function
from wengert.control.scan import scan_p
from wengert.control.while_loop import FAN, while_loop
from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array, concrete
from wengert.ir.types import ArrayType
from wengert.ops.promote import as_array, convert
from wengert.ops.shape import concat_p, reshape, slice_p
from wengert.source import at_user_line


def scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    checkpoint: int | str | None = None,
) -> tuple[Any, Any]:
    """Run `carry, y = f(carry, x)` over a sequence; returns the last carry and all the ys, stacked.

        carry₀ = init;  carryₜ₊₁, yₜ = f(carryₜ, xₜ);  scan returns (carry_T, [y₀, …, y_{T-1}])

    Args:
        f: function of a carry and one element, both pytrees. It is traced once, on types.
        init: the first carry; `f` must return a carry of the same structure and types.
        xs: a pytree of arrays whose first axes all count the turns; None for none (then `length` is needed).
        length: the number of turns, where `xs` is None.
        reverse: whether to go from the last element to the first; ys keep the order of xs.
        checkpoint: what the derivative keeps. None: residuals of every turn. "sqrt": about 2√T carries, for one more
            run forward. "log": about 8·log₈ T carries, for log₈ T more runs forward. An integer k: a carry every k
            turns.

    Raises:
        ArgumentError: `f` returns no pair, or a carry of another structure.
        DTypeError, ShapeError: the carry changes its type or shape.

    Example:
        >>> wg.scan(lambda c, x: (c + x, c), 0.0, wg.asarray([1.0, 2.0, 3.0]))
        (Array(6., dtype=float32), Array([0., 1., 3.], dtype=float32))
    """
    x_leaves, _ = flatten_arrays(xs, "scan")
    turns = _turns(x_leaves, length)
    if checkpoint is not None:
        return _checkpointed(f, init, xs, turns, reverse, checkpoint)
    carry, carry_tree = flatten_arrays(init, "scan")
    in_tree = tree.flatten((init, xs))[1]
    x_types = [ArrayType(x.shape[1:], x.dtype, x.weak) for x in x_leaves]

    def stage(types: list[ArrayType]) -> Staged:
        return stage_function(_pair(f, types), in_tree, [*types, *x_types], "scan")

    carry, staged = settle_carry(stage, carry, carry_tree, "scan")
    outs = scan_p.bind(
        *staged.captured,
        *carry,
        *x_leaves,
        body=staged.graph,
        num_consts=len(staged.captured),
        num_carry=len(carry),
        length=turns,
        reverse=bool(reverse),
    )
    return tuple(tree.unflatten(staged.out_tree, outs))  # type: ignore[return-value]


def _pair(f: Callable[..., Any], types: list[ArrayType]) -> Callable[..., Any]:
    def checked(carry: Any, x: Any) -> Any:
        out = f(carry, x)
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            what = "an array" if isinstance(out, Array) else type(out).__name__
            raise ArgumentError(
                f"scan: the function returned {what}; expected a pair (new carry, y), with y None if "
                f"there is nothing to stack{at_user_line()}"
            )
        return follow_types(out[0], types), out[1]

    return checked


def _turns(xs: list[Array], length: int | None) -> int:
    found = {x.shape[0] if x.ndim else None for x in xs}
    if None in found:
        raise ShapeError(
            f"scan: a single number (shape ()) is no sequence; xs are scanned along axis 0{at_user_line()}"
        )
    if length is not None:
        found.add(int(length))
    if len(found) != 1:
        what = f"sequences of different lengths {sorted(found)}" if found else "neither xs nor length"  # type: ignore[type-var]
        raise ShapeError(f"scan was given {what}; it needs one number of turns{at_user_line()}")
    turns = found.pop()
    assert turns is not None
    return turns


def _checkpointed(f: Any, init: Any, xs: Any, turns: int, reverse: bool, how: int | str) -> tuple[Any, Any]:
    """A scan of scans: the inner ones are run again for their derivative."""
    if how == "log":
        group = max(turns // FAN, 1)
    elif how in ("sqrt", True):
        group = max(round(turns**0.5), 1)
    elif isinstance(how, int) and how > 0:
        group = how
    else:
        raise ArgumentError(
            f'scan: checkpoint={how!r}; expected "sqrt", "log" or a positive number of turns{at_user_line()}'
        )
    if turns <= group or group == 1:
        return scan(f, init, xs, turns, reverse)
    whole = turns // group
    inner = "log" if how == "log" and group > FAN else None

    def part(sequence: Any, start: int, stop: int) -> Any:
        return tree.map(lambda x: _rows(as_array(x), start, stop), sequence)

    def run_group(carry: Any, x: Any) -> Any:
        return recompute(lambda c, s: scan(f, c, s, group, reverse, inner))(carry, x)

    rest = turns - whole * group
    grouped = tree.map(lambda x: reshape(_rows(as_array(x), 0, whole * group), (whole, group, *x.shape[1:])), xs)

    def main(carry: Any) -> tuple[Any, Any]:
        carry, ys = scan(run_group, carry, grouped, whole, reverse)
        return carry, tree.map(lambda y: reshape(y, (whole * group, *y.shape[2:])), ys)

    def tail(carry: Any) -> tuple[Any, Any]:
        return recompute(lambda c, s: scan(f, c, s, rest, reverse))(carry, part(xs, whole * group, turns))

    if not rest:
        return main(init)
    if reverse:
        carry, last = tail(init)
        carry, first = main(carry)
    else:
        carry, first = main(init)
        carry, last = tail(carry)
    return carry, tree.map(lambda a, b: concat_p.bind(a, b, axis=0), first, last)


def _rows(x: Array, start: int, stop: int) -> Array:
    if (start, stop) == (0, x.shape[0]):
        return x
    zeros = (0,) * (x.ndim - 1)
    return slice_p.bind(x, start=(start, *zeros), stop=(stop, *x.shape[1:]), step=(1,) * x.ndim)


def fori_loop(lower: Any, upper: Any, body: Callable[[Any, Any], Any], init: Any) -> Any:
    """`carry = body(i, carry)` for i from `lower` below `upper`; returns the last carry.

    With bounds that are plain integers it is a `scan` over their range, otherwise a `while_loop`; both can be
    differentiated in either mode.
    """
    bounds = [as_array(b, "fori_loop") for b in (lower, upper)]
    for b in bounds:
        if b.dtype.kind not in "iu" or b.shape != ():
            raise DTypeError(f"fori_loop: a bound is {b.type!r}; expected one integer{at_user_line()}")
    if all(b.trace is None for b in bounds):
        first, last = (int(concrete(b)) for b in bounds)
        count = Array(np.arange(first, max(first, last)))
        return scan(lambda carry, i: (body(i, carry), None), init, count)[0]
    start = convert(bounds[0], np.dtype(np.int64))
    stop = convert(bounds[1], np.dtype(np.int64))
    return while_loop(
        lambda state: state[0] < state[2], lambda s: (s[0] + 1, body(s[0], s[1]), s[2]), (start, init, stop)
    )[1]
