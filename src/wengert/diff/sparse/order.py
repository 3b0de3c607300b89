"""The order in which a greedy colouring meets the vertices; it decides how many colours are spent.

natural         as they come: for banded matrices the best there is
largest_first   most rivals first (Welsh and Powell 1967)
smallest_last   always leave the vertex with the fewest rivals among those left for the end (Matula and Beck 1983)
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

Rivals = Callable[[int], np.ndarray]
Order = Callable[[int, Rivals], np.ndarray]


def natural(count: int, rivals: Rivals) -> np.ndarray:
    return np.arange(count)


def largest_first(count: int, rivals: Rivals) -> np.ndarray:
    return np.argsort(-_degrees(count, rivals), kind="stable")


def smallest_last(count: int, rivals: Rivals) -> np.ndarray:
    degree = _degrees(count, rivals)
    heap = [(int(d), v) for v, d in enumerate(degree)]
    heapq.heapify(heap)
    left = np.ones(count, bool)
    order: list[int] = []
    while heap:
        d, v = heapq.heappop(heap)
        if not left[v] or d != degree[v]:
            continue  # an entry that has been overtaken
        left[v] = False
        order.append(v)
        for w in _others(rivals(v), v):
            if left[w]:
                degree[w] -= 1
                heapq.heappush(heap, (int(degree[w]), int(w)))
    return np.array(order[::-1], dtype=int)


def _others(rivals: np.ndarray, v: int) -> np.ndarray:
    distinct = np.unique(rivals)
    return distinct[distinct != v]


def _degrees(count: int, rivals: Rivals) -> np.ndarray:
    return np.array([len(_others(rivals(v), v)) for v in range(count)], dtype=int)


ORDERS: dict[str, Order] = {"natural": natural, "largest_first": largest_first, "smallest_last": smallest_last}
