"""debug_nonfinite: stop at the first step that makes a NaN or an infinity, forward or backward."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from wengert.errors import NonFiniteError
from wengert.ir.array import Array
from wengert.ir.primitive import Params, Primitive, watchers
from wengert.ir.watch import step_watchers
from wengert.source import Source, at_user_line

__all__ = ["debug_nonfinite"]


class debug_nonfinite:
    """A context in which the first step that makes a NaN or an infinity raises `NonFiniteError`.

    The error names the step, the ranges of its inputs and the user's line: the line that computed the value, also when
    it was the derivative of that step that went wrong. A NaN is blamed on the step whose inputs have none, an infinity
    on the step whose inputs are finite: infinities that are put in (a mask of -inf) are nobody's fault, nor is what
    passes through later steps. What a derivative rule computes on its way and then masks out is not looked at.

    Args:
        nan: whether to stop at a NaN.
        inf: whether to stop at an infinity.

    Every evaluation is checked and compiled calls run step by step, so expect it to be slow. Loops (`scan`,
    `while_loop`) are one step. The context holds for all threads.

    Raises:
        NonFiniteError: at the first NaN or infinity.

    Example:
        >>> with wg.debug_nonfinite():
        ...     wg.grad(lambda x: wg.sqrt(x))(0.0)
        NonFiniteError: the derivative of sqrt, going backward, made 1 infinity (of 1 number) …
    """

    def __init__(self, nan: bool = True, inf: bool = True):
        self.nan = nan
        self.inf = inf
        self.inside = 0  # rules under way, whose own steps are not looked at

    def __enter__(self) -> debug_nonfinite:
        watchers.append(self._evaluated)
        step_watchers.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        watchers.remove(self._evaluated)
        step_watchers.remove(self)

    def _evaluated(self, primitive: Primitive, args: Sequence[Array], params: Params, out: Any) -> None:
        """A step was evaluated."""
        if self.inside:
            return
        outs = list(out) if primitive.multiple else [out]
        given = [a.data for a in args]
        blame = self._blame(given, outs)
        if blame is None:
            return
        raise NonFiniteError(
            f"{primitive.name} made {blame}{_ranges('input', given)}{_ranges('output', outs)}{at_user_line()}"
        )

    # What `ir.watch` calls around each push and pull.

    def begin(self) -> None:
        self.inside += 1

    def end(self) -> None:
        self.inside -= 1

    def check(
        self,
        direction: str,
        primitive: Primitive,
        values: Sequence[Array],
        arriving: Sequence[Array | None],
        leaving: Sequence[Array | None],
        source: Source | None,
    ) -> None:
        """A tangent was pushed, or a cotangent pulled, through one step."""
        if self.inside:
            return
        given, made = _numbers(arriving), _numbers(leaving)
        blame = self._blame(given, made)
        if blame is None:
            return
        if direction == "step":
            raise NonFiniteError(
                f"{primitive.name} made {blame}{_ranges('input', given)}{_ranges('output', made)}{at_user_line()}"
            )
        way, what = ("backward", "cotangent") if direction == "pull" else ("forward", "tangent")
        raise NonFiniteError(
            f"the derivative of {primitive.name}, going {way}, made {blame}{_ranges(f'{what} given', given)}"
            f"{_ranges(f'{what} made', made)}{_ranges('input of the step', _numbers(values))}{_at(source)}"
        )

    def _blame(self, given: Sequence[Any], made: Sequence[Any]) -> str | None:
        """What is wrong with `made` and is not inherited from `given`, in words."""
        nans, infs, size = _count(made)
        if not nans and not infs:
            return None
        nans_before, infs_before, _ = _count(given)
        found = []
        if self.nan and nans and not nans_before:
            found.append(f"{nans} NaN{'s' if nans > 1 else ''}")
        if self.inf and infs and not nans_before and not infs_before:
            found.append(f"{infs} infinit{'ies' if infs > 1 else 'y'}")
        if not found:
            return None
        return f"{' and '.join(found)} (of {size} number{'s' if size > 1 else ''})"


def _count(arrays: Sequence[Any]) -> tuple[int, int, int]:
    """NaNs, infinities, and elements in all."""
    nans = infs = size = 0
    for a in arrays:
        x = np.asarray(a)
        size += x.size
        if x.dtype.kind in "fc" and not np.isfinite(x).all():
            nan = int(np.isnan(x).sum())
            nans += nan
            infs += int((~np.isfinite(x)).sum()) - nan
    return nans, infs, size


def _numbers(arrays: Sequence[Array | None]) -> list[Any]:
    """The ndarrays at the bottom of (co)tangents and values; those that are abstract are left out."""
    found = []
    for a in arrays:
        while a is not None and a.trace is not None:
            a = a.data
        if a is not None:
            found.append(a.data)
    return found


def _ranges(what: str, arrays: Sequence[Any]) -> str:
    """One line for each array: type, smallest and largest finite number, how many are not finite."""
    lines = []
    for i, a in enumerate(arrays):
        x = np.asarray(a)
        name = f"{what} {i}" if len(arrays) > 1 else what
        text = f"{x.dtype.name}[{','.join(map(str, x.shape))}]"
        if x.size and x.dtype.kind in "fc":
            finite = np.isfinite(x)
            some = np.abs(x[finite]) if x.dtype.kind == "c" else x[finite]
            if some.size:
                size = "|.| " if x.dtype.kind == "c" else ""
                text += f", {size}from {some.min():.6g} to {some.max():.6g}"
            text += f", {x.size - int(finite.sum())} not finite"
        elif x.size:
            text += f", from {x.min()} to {x.max()}"
        lines.append(f"\n  {name}: {text}")
    return "".join(lines)


def _at(source: Source | None) -> str:
    return f"\n  at {source}" if source is not None else at_user_line()
