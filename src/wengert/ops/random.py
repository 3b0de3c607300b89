"""Random bits as a function of a key: the counter-based generator Threefry-2x32 with 20 rounds.

A block of two words is a bijection of a counter of two words, chosen by a key of two words: no state, so that any
element can be computed anywhere, by any executor, with the same result. J. K. Salmon, M. A. Moraes, R. O. Dror and
D. E. Shaw, *Parallel random numbers: as easy as 1, 2, 3* (SC 2011).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.primitive import Params, Primitive, Unsupported
from wengert.ir.types import ArrayType, Shape, uint32
from wengert.ops.shape import to_front
from wengert.source import at_user_line

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA  # of the key schedule
MASK = 0xFFFFFFFF
BLOCK = 8192  # counters at a time, so that both words stay in the cache for all rounds
LONG = 256  # from this many blocks on, one key alone keeps NumPy busy
FEW = 12  # up to this many blocks, Python's integers are quicker than NumPy's calls

# The first word of the counter: what a key draws, what it is split into and what it is folded into never coincide.
DRAW, SPLIT, FOLD = 0, 1, 2


def threefry(k0: Any, k1: Any, x0: Any, x1: Any) -> None:
    """Replace counters (x0, x1), uint32 arrays, by random words in place; the key: numbers or arrays likewise."""
    schedule = (k0, k1, k0 ^ k1 ^ uint32.type(PARITY))
    low = np.empty_like(x1)
    x0 += k0
    x1 += k1
    for group in range(5):
        for r in ROTATIONS[group % 2]:
            x0 += x1
            np.left_shift(x1, uint32.type(r), out=low)
            np.right_shift(x1, uint32.type(32 - r), out=x1)
            x1 |= low
            x1 ^= x0
        x0 += schedule[(group + 1) % 3]
        x1 += schedule[(group + 2) % 3]
        x1 += uint32.type(group + 1)


def threefry_int(k0: int, k1: int, x0: int, x1: int) -> tuple[int, int]:
    """One block in Python's integers."""
    schedule = (k0, k1, k0 ^ k1 ^ PARITY)
    x0, x1 = (x0 + k0) & MASK, (x1 + k1) & MASK
    for group in range(5):
        for r in ROTATIONS[group % 2]:
            x0 = (x0 + x1) & MASK
            x1 = ((x1 << r) & MASK | x1 >> (32 - r)) ^ x0
        x0 = (x0 + schedule[(group + 1) % 3]) & MASK
        x1 = (x1 + schedule[(group + 2) % 3] + group + 1) & MASK
    return x0, x1


def random_words(keys: Any, n: int, stream: int) -> Any:
    """`n` words for each row of `keys`, shape (rows, 2): the first words of all blocks, then the second ones."""
    rows, blocks = len(keys), -(-n // 2)
    out = np.empty((rows, 2 * blocks), uint32)
    if rows * blocks <= FEW:
        for row, (k0, k1) in enumerate(keys.tolist()):
            for b in range(blocks):
                out[row, b], out[row, blocks + b] = threefry_int(k0, k1, stream, b)
        return out[:, :n]
    first, second = out[:, :blocks], out[:, blocks:]
    counters = np.arange(blocks, dtype=uint32)
    if blocks >= LONG:  # key by key
        first[...] = stream
        second[...] = counters
        for row, (k0, k1) in enumerate(keys):
            for start in range(0, blocks, BLOCK):
                part = slice(start, start + BLOCK)
                threefry(k0, k1, first[row, part], second[row, part])
        return out[:, :n]
    step = max(1, BLOCK // max(blocks, 1))
    for start in range(0, rows, step):  # many keys side by side, along the axis that NumPy runs through innermost
        part = slice(start, start + step)
        k0, k1 = np.ascontiguousarray(keys[part].T)
        x0 = np.full((blocks, len(k0)), stream, uint32)
        x1 = np.repeat(counters[:, None], len(k0), axis=1)
        threefry(k0, k1, x0, x1)
        first[part], second[part] = x0.T, x1.T
    return out[:, :n]


def check_key(key: ArrayType, what: str) -> None:
    """Refuse what is no key or array of keys."""
    if key.dtype != uint32 or not key.shape or key.shape[-1] != 2:
        raise (DTypeError if key.dtype != uint32 else ShapeError)(
            f"{what}: the key is {key!r}; expected uint32[2], as wg.random.key(seed) and wg.random.split make it. For "
            f"an array of keys, use wg.vmap.{at_user_line()}"
        )


class RandomBits(Primitive):
    """Random words of the given shape for each key: `key` (…, 2) -> (…, *shape), both uint32.

    Word i of n belongs to counter `(stream, i mod m)` with m = ⌈n/2⌉: the first m are the first words of the blocks.
    """

    differentiable = False
    partial = Unsupported("random bits are constant as far as derivatives go")  # type: ignore[assignment]

    def type(self, key: ArrayType, *, shape: Shape, stream: int) -> ArrayType:  # type: ignore[override]
        check_key(key, "random_bits")
        if math.prod(shape) > 2**33:
            raise ShapeError(f"random_bits: {shape} asks one key for more than 2³³ words; split it{at_user_line()}")
        return ArrayType((*key.shape[:-1], *shape), uint32)

    def evaluate(self, key: Any, *, shape: Shape, stream: int) -> Any:  # type: ignore[override]
        n = math.prod(shape)
        if key.dtype != uint32 or key.shape[-1:] != (2,) or n > 2**33:
            raise ValueError("key")
        return random_words(key.reshape(-1, 2), n, stream).reshape((*key.shape[:-1], *shape))

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        return self.bind(to_front(values[0], axes[0]), **params), 0

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        return None


random_bits_p = RandomBits("random_bits")
