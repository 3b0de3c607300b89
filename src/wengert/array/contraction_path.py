"""In which order to multiply several arrays, so that the work is least: the path of an `einsum`.

A term is the set of its axes; the product of two terms keeps the axes that the result or another term needs, and
costs the product of the lengths of all axes of both.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import Any

Label = Hashable
EXACT = 8  # terms up to which every order is considered


def _volume(labels: frozenset[Label], sizes: dict[Label, int]) -> int:
    return math.prod(sizes[c] for c in labels)


def contraction_path(
    terms: Sequence[frozenset[Label]], output: frozenset[Label], sizes: dict[Label, int]
) -> tuple[tuple[int, int], ...]:
    """Which operands to multiply, step by step; the product of a pair is appended to the list of what is left."""
    if len(terms) <= 2:
        return ((0, 1),) if len(terms) == 2 else ()
    return _exact(terms, output, sizes) if len(terms) <= EXACT else _greedy(terms, output, sizes)


def _exact(
    terms: Sequence[frozenset[Label]], output: frozenset[Label], sizes: dict[Label, int]
) -> tuple[tuple[int, int], ...]:
    """The order with the fewest multiplications, by dynamic programming over sets of operands."""
    n = len(terms)
    everything = (1 << n) - 1

    def kept(members: int) -> frozenset[Label]:
        inside = frozenset().union(*(terms[i] for i in range(n) if members >> i & 1))
        outside = output.union(*(terms[i] for i in range(n) if not members >> i & 1))
        return inside & outside

    labels = {members: kept(members) for members in range(1, everything + 1)}
    labels.update({1 << i: term for i, term in enumerate(terms)})
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
        made = [walk(child) for child in node]
        i, j = sorted(map(left.index, made))
        del left[j], left[i]
        left.append(node)
        path.append((i, j))
        return node

    walk(best[everything][1])
    return tuple(path)


def _greedy(
    terms: Sequence[frozenset[Label]], output: frozenset[Label], sizes: dict[Label, int]
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
