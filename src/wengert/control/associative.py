"""Prefix sums of any associative operation, in logarithmic depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert import tree
from wengert.control.functions import flatten_arrays
from wengert.errors import ShapeError
from wengert.ir.array import Array
from wengert.ir.types import normalize_axis
from wengert.ops.arithmetic import add
from wengert.ops.promote import number
from wengert.ops.shape import concat_p, flip_p, pad_p, slice_p
from wengert.source import at_user_line


def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """All prefixes `x₀, x₀∘x₁, x₀∘x₁∘x₂, …` of an associative operation.

    Args:
        fn: the operation on two pytrees of arrays, elementwise along `axis`; it must be associative.
        elems: a pytree of arrays with the same number of elements along `axis`.
        reverse: whether to combine from the end.

    The work is about 2n applications in 2·log₂ n calls of `fn`.

    Source: Blelloch, "Prefix sums and their applications" (1990).

    Example:
        >>> wg.associative_scan(wg.multiply, wg.asarray([1.0, 2.0, 3.0]))
        Array([1., 2., 6.], dtype=float32)
    """
    leaves, treedef = flatten_arrays(elems, "associative_scan")
    axes = [normalize_axis(axis, x.ndim, "associative_scan") for x in leaves]
    lengths = {x.shape[a] for x, a in zip(leaves, axes, strict=True)}
    if len(lengths) != 1:
        raise ShapeError(
            f"associative_scan: the arrays have {sorted(lengths)} elements along axis {axis}; expected one number"
            f"{at_user_line()}"
        )
    if reverse:
        leaves = [flip_p.bind(x, axes=(a,)) for x, a in zip(leaves, axes, strict=True)]

    def combine(left: list[Array], right: list[Array]) -> list[Array]:
        return flatten_arrays(fn(tree.unflatten(treedef, left), tree.unflatten(treedef, right)), "associative_scan")[0]

    result = _prefixes(combine, leaves, axes)
    if reverse:
        result = [flip_p.bind(x, axes=(a,)) for x, a in zip(result, axes, strict=True)]
    return tree.unflatten(treedef, result)


def _prefixes(combine: Callable[..., list[Array]], xs: list[Array], axes: list[int]) -> list[Array]:
    n = xs[0].shape[axes[0]]
    if n < 2:
        return xs
    pairs = combine(_every_other(xs, axes, 0, n - 1), _every_other(xs, axes, 1, n))
    odd = _prefixes(combine, pairs, axes)  # prefixes that end at 1, 3, 5, …
    m = odd[0].shape[axes[0]]
    earlier = odd if n % 2 else [_part(o, a, 0, m - 1) for o, a in zip(odd, axes, strict=True)]
    firsts = [_part(x, a, 0, 1) for x, a in zip(xs, axes, strict=True)]
    if n > 2:
        later = combine(earlier, _every_other(xs, axes, 2, n))
        firsts = [concat_p.bind(f, e, axis=a) for f, e, a in zip(firsts, later, axes, strict=True)]
    return [_interleave(e, o, a) for e, o, a in zip(firsts, odd, axes, strict=True)]


def _part(x: Array, axis: int, start: int, stop: int, step: int = 1) -> Array:
    starts, stops, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    starts[axis], stops[axis], steps[axis] = start, max(start, min(stop, x.shape[axis])), step
    return slice_p.bind(x, start=tuple(starts), stop=tuple(stops), step=tuple(steps))


def _every_other(xs: list[Array], axes: list[int], start: int, stop: int) -> list[Array]:
    return [_part(x, a, start, stop, 2) for x, a in zip(xs, axes, strict=True)]


def _interleave(even: Array, odd: Array, axis: int) -> Array:
    """even₀, odd₀, even₁, odd₁, …: both spread with gaps of one, and added."""
    n = even.shape[axis] + odd.shape[axis]
    spread = []
    for x, offset in ((even, 0), (odd, 1)):
        length = 2 * x.shape[axis] - 1
        padding = tuple((offset, n - offset - length, 1) if k == axis else (0, 0, 0) for k in range(x.ndim))
        spread.append(pad_p.bind(x, number(0, x.dtype), padding=padding))
    return add.bind(*spread)
