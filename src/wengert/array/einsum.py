"""Einstein's summation: any product of arrays over named axes, in a good order, from pairwise contractions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.source import at_user_line
from wengert.ops.arithmetic import multiply
from wengert.ops.contract import dot_general
from wengert.ops.promote import as_array, promote
from wengert.ops.reduce import sum_p
from wengert.ops.shape import permute, reshape, slice_p

Label = Hashable
Labels = tuple[Label, ...]
EXACT = 8  # operands up to which every order is considered


def einsum(subscripts: Any, /, *operands: Any) -> Array:
    """The product of arrays, summed over every named axis that the result does not have.

    `einsum("ik,kj->ij", x, y)` is `out[i, j] = Σ_k x[i, k] · y[k, j]`. A letter twice in one operand takes the
    diagonal; `...` stands for axes that broadcast; without `->` the result has the letters that occur once, sorted.
    Products of three and more arrays are taken pair by pair in the order with the fewest multiplications (up to
    8 operands; beyond that greedily).

    Args:
        subscripts: the letters, as above; or arrays alternating with lists of labels:
            `einsum(x, [0, 2], y, [2, 1], [0, 1])`.
        operands: the arrays.

    Raises:
        ArgumentError: the subscripts cannot be read, or don't match the number of operands.
        ShapeError: one letter stands for different lengths, or the number of letters differs from that of axes.

    Example:
        >>> wg.einsum("ij,ij->i", wg.ones((2, 3)), wg.ones((2, 3)))
        Array([3., 3.], dtype=float32)
    """
    if isinstance(subscripts, str):
        arrays = promote("einsum", operands) if operands else []
        inputs, output = _read(subscripts, tuple(a.ndim for a in arrays))
    else:
        arrays, inputs, output = _interleaved((subscripts, *operands))
    return _contract(arrays, *_plan(inputs, output, tuple(a.shape for a in arrays)))


@lru_cache(maxsize=1024)
def _read(subscripts: str, ndims: tuple[int, ...]) -> tuple[tuple[Labels, ...], Labels]:
    text = subscripts.replace(" ", "").replace("...", "…")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ArgumentError(
            f"einsum: {subscripts!r} names {len(terms)} operands, but {len(ndims)} were given{at_user_line()}"
        )
    for term in (*terms, right):
        if term.count("…") > 1 or not all(c.isalpha() or c == "…" for c in term):
            raise ArgumentError(
                f"einsum: {term!r} in {subscripts!r} is not made of letters and one '...'{at_user_line()}"
            )
    inputs = tuple(_spread(tuple(term), n, subscripts) for term, n in zip(terms, ndims, strict=True))
    rest = max(
        (len(labels) - len(term) + 1 for term, labels in zip(terms, inputs, strict=True) if "…" in term), default=0
    )
    dots = tuple(_dots(rest))
    if arrow:
        output = tuple(label for c in right for label in (dots if c == "…" else (c,)))
    else:
        letters = left.replace("…", "").replace(",", "")
        output = (*dots, *sorted(c for c in set(letters) if letters.count(c) == 1))
    return inputs, output


def _dots(n: int) -> list[Label]:
    """Labels of the axes that `...` stands for, counted from the right."""
    return [("…", i) for i in range(-n, 0)]


def _spread(term: Labels, ndim: int, what: Any) -> Labels:
    letters = sum(c is not Ellipsis and c != "…" for c in term)
    if letters != ndim and (letters == len(term) or letters > ndim):
        raise ShapeError(f"einsum: {what!r} gives {letters} letters to an operand of {ndim} axes{at_user_line()}")
    return tuple(label for c in term for label in (_dots(ndim - letters) if c is Ellipsis or c == "…" else (c,)))


def _interleaved(parts: Sequence[Any]) -> tuple[list[Array], tuple[Labels, ...], Labels]:
    n = len(parts) // 2
    if n == 0 or any(not isinstance(p, (list, tuple)) for p in parts[1 : 2 * n : 2]):
        raise ArgumentError(
            f"einsum: expected a string of subscripts, or arrays alternating with lists of labels{at_user_line()}"
        )
    arrays = promote("einsum", [as_array(p, "einsum") for p in parts[: 2 * n : 2]])
    terms = [tuple(p) for p in parts[1 : 2 * n : 2]]
    inputs = tuple(_spread(t, a.ndim, t) for t, a in zip(terms, arrays, strict=True))
    rest = max((len(s) - len(t) + 1 for t, s in zip(terms, inputs, strict=True) if Ellipsis in t), default=0)
    if len(parts) % 2:
        output = tuple(label for c in parts[-1] for label in (_dots(rest) if c is Ellipsis else (c,)))
    else:
        named = [c for t in terms for c in t if c is not Ellipsis]
        output = (*_dots(rest), *sorted(c for c in set(named) if named.count(c) == 1))  # type: ignore[type-var]
    return arrays, inputs, output


@lru_cache(maxsize=1024)
def _plan(
    inputs: tuple[Labels, ...], output: Labels, shapes: tuple[tuple[int, ...], ...]
) -> tuple[tuple[Labels, ...], Labels, dict[Label, int], tuple[tuple[int, int], ...]]:
    sizes: dict[Label, int] = {}
    for labels, shape in zip(inputs, shapes, strict=True):
        for label, d in zip(labels, shape, strict=True):
            known = sizes.get(label, 1)
            if 1 not in (known, d) and known != d:
                raise ShapeError(
                    f"einsum: the axis {label!r} has lengths {known} and {d} in shapes {', '.join(map(str, shapes))}"
                    + at_user_line()
                )
            sizes[label] = d if known == 1 else known
    for label in output:
        if label not in sizes or output.count(label) > 1:
            why = "stands twice in the result" if label in sizes else "of the result is in no operand"
            raise ArgumentError(f"einsum: the axis {label!r} {why}{at_user_line()}")
    sets = [
        frozenset(c for c, d in zip(labels, shape, strict=True) if d == sizes[c])
        for labels, shape in zip(inputs, shapes, strict=True)
    ]
    return inputs, output, sizes, _path(sets, frozenset(output), sizes)


def _volume(labels: frozenset[Label], sizes: dict[Label, int]) -> int:
    return math.prod(sizes[c] for c in labels)


def _path(
    terms: list[frozenset[Label]], output: frozenset[Label], sizes: dict[Label, int]
) -> tuple[tuple[int, int], ...]:
    """Which operands to multiply, step by step; the product of a pair is appended to the list of what is left."""
    if len(terms) <= 2:
        return ((0, 1),) if len(terms) == 2 else ()
    return _exact(terms, output, sizes) if len(terms) <= EXACT else _greedy(terms, output, sizes)


def _exact(
    terms: list[frozenset[Label]], output: frozenset[Label], sizes: dict[Label, int]
) -> tuple[tuple[int, int], ...]:
    """The order with the fewest multiplications, by dynamic programming over sets of operands."""
    n = len(terms)
    everything = (1 << n) - 1

    def kept(members: int) -> frozenset[Label]:
        inside = frozenset().union(*(terms[i] for i in range(n) if members >> i & 1))
        outside = output.union(*(terms[i] for i in range(n) if not members >> i & 1))
        return inside & outside

    labels = {members: kept(members) for members in range(1, everything + 1)}
    best: dict[int, tuple[int, Any]] = {1 << i: (0, i) for i in range(n)}
    for size in range(2, n + 1):
        for chosen in combinations(range(n), size):
            members = sum(1 << i for i in chosen)
            first = 1 << chosen[0]
            part = (members - 1) & members
            found: tuple[int, Any] | None = None
            while part:
                if part & first:
                    rest = members ^ part
                    cost = best[part][0] + best[rest][0] + _volume(labels[part] | labels[rest], sizes)
                    if found is None or cost < found[0]:
                        found = cost, (best[part][1], best[rest][1])
                part = (part - 1) & members
            assert found is not None
            best[members] = found
    left: list[Any] = list(range(n))
    path: list[tuple[int, int]] = []

    def walk(node: Any) -> Any:
        if isinstance(node, int):
            return node
        i, j = sorted(left.index(walk(child)) for child in node)
        del left[j], left[i]
        left.append(node)
        path.append((i, j))
        return node

    walk(best[everything][1])
    return tuple(path)


def _greedy(
    terms: list[frozenset[Label]], output: frozenset[Label], sizes: dict[Label, int]
) -> tuple[tuple[int, int], ...]:
    """At each step the pair whose product saves most memory; among equals the one with the fewest multiplications."""
    left = list(terms)
    path = []
    while len(left) > 1:
        choices = []
        for i, j in combinations(range(len(left)), 2):
            others = output.union(*(t for k, t in enumerate(left) if k not in (i, j)))
            both = left[i] | left[j]
            result = both & others
            grown = _volume(result, sizes) - _volume(left[i], sizes) - _volume(left[j], sizes)
            choices.append((grown, _volume(both, sizes), i, j, result))
        _, _, i, j, result = min(choices, key=lambda c: c[:4])
        del left[j], left[i]
        left.append(result)
        path.append((i, j))
    return tuple(path)


def _contract(
    arrays: Sequence[Array],
    inputs: tuple[Labels, ...],
    output: Labels,
    sizes: dict[Label, int],
    path: tuple[tuple[int, int], ...],
) -> Array:
    terms = [_tidy(x, labels, sizes) for x, labels in zip(arrays, inputs, strict=True)]
    for k, (x, labels) in enumerate(terms):
        needed = set(output).union(*(t[1] for i, t in enumerate(terms) if i != k))
        terms[k] = _summed(x, labels, needed)
    for i, j in path:
        a, b = terms[i], terms[j]
        del terms[j], terms[i]
        needed = set(output).union(*(t[1] for t in terms))
        terms.append(_pair(*a, *b, needed))
    ((x, labels),) = terms
    return permute(x, tuple(labels.index(c) for c in output))


def _tidy(x: Array, labels: Labels, sizes: dict[Label, int]) -> tuple[Array, Labels]:
    """Without repeated labels (the diagonal is taken) and without axes of length 1 that others stretch."""
    while len(set(labels)) < len(labels):
        label = next(c for c in labels if labels.count(c) > 1)
        i, j = [k for k, c in enumerate(labels) if c == label][:2]
        rest = [k for k in range(x.ndim) if k not in (i, j)]
        d = max(x.shape[i], x.shape[j])
        x, labels = permute(x, (*rest, i, j)), (*(labels[k] for k in rest), label)
        if x.shape[-1] != x.shape[-2]:  # one of the two has length 1 and stretches
            x = reshape(x, (*x.shape[:-2], d))
        else:  # the diagonal of n × n is every (n+1)-th element
            lead = x.shape[:-2]
            x = reshape(x, (*lead, d * d))
            n = len(lead)
            x = slice_p.bind(x, start=(0,) * (n + 1), stop=x.shape, step=(*(1,) * n, d + 1))
    gone = [k for k, c in enumerate(labels) if x.shape[k] == 1 and sizes[c] != 1]
    if gone:
        x = reshape(x, tuple(d for k, d in enumerate(x.shape) if k not in gone))
        labels = tuple(c for k, c in enumerate(labels) if k not in gone)
    return x, labels


def _summed(x: Array, labels: Labels, needed: set[Label]) -> tuple[Array, Labels]:
    axes = tuple(k for k, c in enumerate(labels) if c not in needed)
    if not axes:
        return x, labels
    return sum_p.bind(x, axes=axes), tuple(c for c in labels if c in needed)


def _pair(x: Array, a: Labels, y: Array, b: Labels, needed: set[Label]) -> tuple[Array, Labels]:
    summed = [c for c in a if c in b and c not in needed]
    if not summed:  # a product without a sum: broadcasting does it
        labels = (*a, *(c for c in b if c not in a))
        return multiply(_aligned(x, a, labels), _aligned(y, b, labels)), labels
    both = [c for c in a if c in b and c in needed]
    shared = {*both, *summed}
    labels = (*both, *(c for c in a if c not in shared), *(c for c in b if c not in shared))
    batch = tuple(a.index(c) for c in both), tuple(b.index(c) for c in both)
    pairs = tuple(a.index(c) for c in summed), tuple(b.index(c) for c in summed)
    return dot_general(x, y, batch, pairs), labels


def _aligned(x: Array, labels: Labels, target: Labels) -> Array:
    """`x` with axes in the order of `target`, of length 1 where it has none."""
    order = sorted(range(len(labels)), key=lambda k: target.index(labels[k]))
    x = permute(x, tuple(order))
    have = iter(x.shape)
    return reshape(x, tuple(next(have) if c in labels else 1 for c in target))
