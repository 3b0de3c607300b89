"""Random structures as arguments, changed at random between calls: machine code and Python must not differ.

python -m tests.test_entry_random 0 5000
"""

from __future__ import annotations

import dataclasses
import random
import sys
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.test_entry import Pair, slow_calls


class Node(wg.tree.Module):
    def __init__(self, **attributes: Any):
        vars(self).update(attributes)


@dataclasses.dataclass
class Record:
    first: Any
    second: Any


def leaf(pick: random.Random, inside: bool) -> Any:
    dtype = pick.choice(("f4", "f8", "i8", "?", "u1"))
    shape = pick.choice(((), (3,), (2, 3), (0, 2), (1, 1, 2)))
    a = np.array(np.random.default_rng(pick.randrange(99)).normal(size=shape) * 9, dtype)
    kinds: list[Any] = [lambda: wg.asarray(a), lambda: a, lambda: wg.asarray(a.copy()), lambda: a[..., None][..., 0]]
    if not shape:
        kinds += [lambda: a[()], lambda: wg.asarray(a[()])]
    if not inside:
        kinds += [lambda: 1.5, lambda: pick.randrange(-9, 9), lambda: 2j, lambda: wg.jit(lambda x: x)(0.5)]
    return pick.choice(kinds)()


def setting(pick: random.Random) -> Any:
    return pick.choice((None, "text", "".join(["te", "xt"]), 0.0, -0.0, 7, 10**20, len, True, (1, "a"), frozenset("a")))


def grow(pick: random.Random, depth: int, known: list[Any], inside: bool = False) -> Any:
    """A tree; now and then it holds an array or a module that stands elsewhere too."""
    if depth == 0 or pick.random() < 0.25:
        if inside and known and pick.random() < 0.3:
            return pick.choice(known)
        made = setting(pick) if inside and pick.random() < 0.4 else leaf(pick, inside)
        if inside and isinstance(made, (wg.Array, np.ndarray)):
            known.append(made)
        return made
    number = pick.randrange(4)
    kind = pick.choice(("list", "tuple", "dict", "pair", "module", "module", "record"))
    within = kind == "module" or (inside and kind != "record")
    parts = [grow(pick, depth - 1, known, within) for _ in range(number)]
    if kind in ("pair", "record"):
        parts = [*parts, None, None][:2]
    names = pick.sample("abcdefg", number)
    if kind == "module":
        made = Node(**dict(zip(names, parts, strict=True)))
        known.append(made)
        return made
    make: dict[str, Any] = {"list": list, "tuple": tuple, "dict": lambda v: dict(zip(names, v, strict=True))}
    make |= {"pair": lambda v: Pair(*v), "record": lambda v: Record(*v)}
    return make[kind](parts)


def objects(x: Any, found: list[Any]) -> list[Any]:
    """Everything in a tree that can be changed, each once."""
    if isinstance(x, (list, tuple, dict, Node, Record)) and not any(x is f for f in found):
        if not isinstance(x, tuple):
            found.append(x)
        for c in x if isinstance(x, (list, tuple)) else (x if isinstance(x, dict) else vars(x)).values():
            objects(c, found)
    return found


def change(pick: random.Random, x: Any) -> None:
    """Something else in one place."""
    places = objects(x, [])
    if not places:
        return
    place = pick.choice(places)
    new = leaf(pick, True) if pick.random() < 0.7 else setting(pick)
    if isinstance(place, list):
        if place and pick.random() < 0.7:
            place[pick.randrange(len(place))] = new
        else:
            place.append(new)
        return
    table = place if isinstance(place, dict) else vars(place)
    if table and (isinstance(place, Record) or pick.random() < 0.7):
        table[pick.choice(list(table))] = new
    elif not isinstance(place, Record):
        table[pick.choice("abcdefgh")] = new


def work(*args: Any) -> Any:
    """Something of every leaf, in the same structure; and every module gets new numbers."""
    args = (list(args),)
    out = wg.tree.map(lambda v: v if wg.asarray(v).dtype == wg.bool else v + v, wg.tree.leaves(args))
    for x in objects(args, []):
        if isinstance(x, Node):
            for name, value in list(vars(x).items()):
                if isinstance(value, wg.Array) and value.dtype != wg.bool:
                    setattr(x, name, value * 3 if name < "d" else value)
                elif isinstance(value, list) and name < "c":
                    setattr(x, name, [*value, "grown"] if len(value) < 2 else value)
            if "e" in vars(x):
                x.f = x.e
    return {"out": out, "more": (Pair(None, out[:1]), "end")}


def attempt(seed: int) -> int:
    """Two copies of the arguments, one for each way; returns how many calls bypassed Python."""
    pick = random.Random(seed)
    mine, theirs = (grow_all(random.Random(seed)) for _ in range(2))
    f = wg.jit(work, executor="native")
    g = wg.jit(work, executor="numpy")
    calls = 0
    for turn in range(8):
        choice = pick.randrange(10**6)
        if turn % 3 == 2:
            change(random.Random(choice), mine)
            change(random.Random(choice), theirs)
        try:
            wanted = g(*theirs)
        except wg.errors.WengertError as error:
            with pytest.raises(type(error)):
                f(*mine)
            return calls - slow_calls(f)
        alike(f(*mine), wanted)
        alike(mine, theirs)
        calls += 1
    return calls - slow_calls(f)


def alike(a: Any, b: Any) -> None:
    (mine, here), (theirs, there) = wg.tree.flatten(a), wg.tree.flatten(b)
    assert here == there and [type(v) for v in mine] == [type(v) for v in theirs]
    for x, y in zip(map(np.asarray, mine), map(np.asarray, theirs), strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_array_equal(x, y)


def grow_all(pick: random.Random) -> list[Any]:
    known: list[Any] = []
    return [grow(pick, 3, known) for _ in range(2)]


@pytest.mark.parametrize("block", range(4))
def test_random_structures(block: int) -> None:
    assert sum(attempt(seed) for seed in range(20 * block, 20 * block + 20)) > 10


if __name__ == "__main__":
    total = 0
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        try:
            total += attempt(number)
        except Exception as error:
            print(f"seed {number}: {type(error).__name__}: {error}")
    print(f"{total} calls bypassed Python")
