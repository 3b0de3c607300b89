"""Einstein's summation: any product of arrays over named axes, in a good order, from pairwise contractions."""

from __future__ import annotations

from collections.abc import Sequence, Set
from functools import lru_cache
from typing import Any

from wengert.array.contraction_path import Label, contraction_path
from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.primitive import Primitive
from wengert.ir.types import ArrayType, Shape, float32
from wengert.ops.arithmetic import multiply
from wengert.ops.contract import dot_general_p
from wengert.ops.promote import as_array, promote
from wengert.ops.reduce import sum_p
from wengert.ops.shape import permute_p, reshape_p, slice_p
from wengert.source import at_user_line

Labels = tuple[Label, ...]
Step = tuple[Primitive, dict[str, Any]]
Pair = tuple[int, int, tuple[Step, ...], tuple[Step, ...], dict[str, Any] | None]
Plan = tuple[tuple[tuple[Step, ...], ...], tuple[Pair, ...], tuple[Step, ...]]


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
        inputs, output = _read(subscripts, tuple([len(a.shape) for a in arrays]))
    else:
        arrays, inputs, output = _interleaved((subscripts, *operands))
    return _contract(arrays, _plan(inputs, output, tuple([a.shape for a in arrays])))


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


class _Term:
    """An operand while the plan is made: its labels and shape, and the steps that bring it there."""

    def __init__(self, labels: Labels, shape: Shape):
        self.labels, self.shape = labels, shape
        self.steps: list[Step] = []

    def do(self, primitive: Primitive, labels: Labels, **params: Any) -> None:
        self.shape = primitive.type(ArrayType(self.shape, float32), **params).shape
        self.labels = labels
        self.steps.append((primitive, params))

    def drain(self) -> tuple[Step, ...]:
        steps, self.steps = tuple(self.steps), []
        return steps

    def diagonal(self, label: Label) -> None:
        """Of the first two axes of this label, the elements at equal places."""
        i, j = [k for k, c in enumerate(self.labels) if c == label][:2]
        rest = [k for k in range(len(self.labels)) if k not in (i, j)]
        labels = (*(self.labels[k] for k in rest), label)
        self.do(permute_p, (*labels, label), axes=(*rest, i, j))
        *lead, n, _ = self.shape
        self.do(reshape_p, labels, shape=(*lead, n * n))  # of which the diagonal is every (n+1)-th element
        ones = (1,) * len(lead)
        self.do(slice_p, labels, start=(0,) * len(self.shape), stop=self.shape, step=(*ones, n + 1))

    def sum_out(self, needed: Set[Label]) -> None:
        axes = tuple(k for k, c in enumerate(self.labels) if c not in needed)
        if axes:
            self.do(sum_p, tuple(c for c in self.labels if c in needed), axes=axes)

    def align(self, target: Labels) -> None:
        """Axes in the order of `target`, of length 1 where there is none."""
        order = tuple(sorted(range(len(self.labels)), key=lambda k: target.index(self.labels[k])))
        labels = tuple(self.labels[k] for k in order)
        if labels != self.labels:
            self.do(permute_p, labels, axes=order)
        lengths = dict(zip(labels, self.shape, strict=True))
        if labels != target:
            self.do(reshape_p, target, shape=tuple(lengths.get(c, 1) for c in target))


@lru_cache(maxsize=1024)
def _plan(inputs: tuple[Labels, ...], output: Labels, shapes: tuple[Shape, ...]) -> Plan:
    sizes: dict[Label, int] = {}
    for labels, shape in zip(inputs, shapes, strict=True):
        for label, d in zip(labels, shape, strict=True):
            known = sizes.get(label, 1)
            twice = d != shape[labels.index(label)]  # a diagonal wants equal lengths, not one that stretches
            if twice or (1 not in (known, d) and known != d):
                raise ShapeError(
                    f"einsum: the axis {label!r} has lengths {known} and {d} in shapes {', '.join(map(str, shapes))}"
                    + at_user_line()
                )
            sizes[label] = d if known == 1 else known
    for label in output:
        if label not in sizes or output.count(label) > 1:
            why = "stands twice in the result" if label in sizes else "of the result is in no operand"
            raise ArgumentError(f"einsum: the axis {label!r} {why}{at_user_line()}")
    terms = [_Term(labels, shape) for labels, shape in zip(inputs, shapes, strict=True)]
    for t in terms:
        for label in set(t.labels):
            while t.labels.count(label) > 1:
                t.diagonal(label)
        kept = tuple(c for c, d in zip(t.labels, t.shape, strict=True) if d == sizes[c])
        if kept != t.labels:  # without axes of length 1 that others stretch
            t.do(reshape_p, kept, shape=tuple(sizes[c] for c in kept))
    for k, t in enumerate(terms):
        t.sum_out(set(output).union(*(o.labels for i, o in enumerate(terms) if i != k)))
    prepare = tuple(t.drain() for t in terms)
    pairs = []
    for i, j in contraction_path([frozenset(t.labels) for t in terms], frozenset(output), sizes):
        x, y = terms[i], terms[j]
        del terms[j], terms[i]
        params, labels = _pair(x, y, set(output).union(*(t.labels for t in terms)))
        pairs.append((i, j, x.drain(), y.drain(), params))
        terms.append(_Term(labels, tuple(sizes[c] for c in labels)))
    (last,) = terms
    last.align(output)
    return prepare, tuple(pairs), last.drain()


def _pair(x: _Term, y: _Term, needed: Set[Label]) -> tuple[dict[str, Any] | None, Labels]:
    """How to multiply two terms: the parameters of `dot_general`, or None where broadcasting does it."""
    a, b = x.labels, y.labels
    summed = [c for c in a if c in b and c not in needed]
    if not summed:
        labels = (*a, *(c for c in b if c not in a))
        x.align(labels)
        y.align(labels)
        return None, labels
    both = [c for c in a if c in b and c in needed]
    shared = {*both, *summed}
    labels = (*both, *(c for c in a if c not in shared), *(c for c in b if c not in shared))
    batch = tuple(map(a.index, both)), tuple(map(b.index, both))
    return {"batch": batch, "contract": (tuple(map(a.index, summed)), tuple(map(b.index, summed)))}, labels


def _run(x: Array, steps: tuple[Step, ...]) -> Array:
    for primitive, params in steps:
        x = primitive.bind(x, **params)
    return x


def _contract(arrays: Sequence[Array], plan: Plan) -> Array:
    prepare, pairs, finish = plan
    terms = [_run(x, steps) for x, steps in zip(arrays, prepare, strict=True)]
    for i, j, left, right, params in pairs:
        x, y = _run(terms[i], left), _run(terms[j], right)
        del terms[j], terms[i]
        terms.append(multiply.bind(x, y) if params is None else dot_general_p.bind(x, y, **params))
    return _run(terms[0], finish)
