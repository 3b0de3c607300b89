"""Keys: made from a seed, split into others, folded with a number; and the raw bits that a key stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import Shape, as_dtype, int64, uint32, uint64
from wengert.ops.bits import bitwise_and, bitwise_or, bitwise_xor, left_shift, right_shift
from wengert.ops.promote import as_array, convert, number
from wengert.ops.random import DRAW, FOLD, MASK, SPLIT, check_key, random_bits_p
from wengert.ops.shape import concat_p, reshape, slice_p
from wengert.source import at_user_line


def key(seed: Any) -> Array:
    """A key made from a seed.

    Args:
        seed: an integer, or an integer array of shape () (also a traced one); 64 bits of it count.

    Returns:
        A key: an array uint32[2].

    Raises:
        DTypeError: the seed is no integer.
        ShapeError: the seed is not a single number; for several keys, split one.

    Example:
        >>> wg.random.key(0)
        Array([0, 0], dtype=uint32)
    """
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, (bool, np.bool_)):
        return Array(np.array([int(seed) >> 32 & MASK, int(seed) & MASK], uint32))
    x = _integer(seed, "random.key: the seed")
    x = convert(x, uint64 if x.dtype.kind == "u" else int64)
    high = convert(bitwise_and(right_shift(x, number(32, x.dtype)), number(MASK, x.dtype)), uint32)
    return _pair(high, convert(bitwise_and(x, number(MASK, x.dtype)), uint32))


def split(key: Any, num: int | Sequence[int] = 2) -> Array:
    """New keys made from one, which is then used up.

    Args:
        key: a key, uint32[2].
        num: how many, or a shape of many.

    Returns:
        An array uint32[num, 2]; iterating over it (`a, b = split(key)`) gives keys.

    Raises:
        DTypeError, ShapeError: no key.

    Example:
        >>> a, b = wg.random.split(wg.random.key(0))
    """
    return random_bits_p.bind(one_key(key, "split"), shape=(*as_shape(num, "split"), 2), stream=SPLIT)


def fold_in(key: Any, data: Any) -> Array:
    """A new key made from a key and a number: the number of a step, a layer or an example, say.

    Args:
        key: a key, uint32[2].
        data: an integer, or an integer array of shape () (also a traced one); its lowest 32 bits count.

    Raises:
        DTypeError, ShapeError: no key, or `data` is no single integer.

    Example:
        >>> step_key = wg.random.fold_in(wg.random.key(0), 17)
    """
    key = one_key(key, "fold_in")
    x = _integer(data, "random.fold_in: data")
    if x.dtype != uint32:
        wide = convert(x, uint64 if x.dtype.kind == "u" else int64)
        x = convert(bitwise_and(wide, number(MASK, wide.dtype)), uint32)
    # a pseudorandom key of its own first, so that neighbouring keys and numbers never meet
    own = random_bits_p.bind(key, shape=(2,), stream=FOLD)
    return random_bits_p.bind(bitwise_xor(own, _pair(number(0, uint32), x)), shape=(2,), stream=FOLD)


def bits(key: Any, shape: int | Sequence[int] = (), dtype: Any = uint32) -> Array:
    """Uniformly random bits, as unsigned integers.

    Args:
        key: a key, uint32[2].
        shape: of the result.
        dtype: uint8, uint16, uint32 or uint64.

    Raises:
        DTypeError: another type, or no key.

    Example:
        >>> wg.random.bits(wg.random.key(0), (2,))
        Array([1797259609, 2579123966], dtype=uint32)
    """
    return draw(one_key(key, "bits"), as_shape(shape, "bits"), as_dtype(dtype))


def draw(key: Array, shape: Shape, dtype: np.dtype) -> Array:
    """Random bits of an unsigned type."""
    if dtype.kind != "u":
        raise DTypeError(f"random.bits of {dtype.name}; expected an unsigned integer type{at_user_line()}")
    if dtype.itemsize < 8:
        words = random_bits_p.bind(key, shape=shape, stream=DRAW)
        return convert(right_shift(words, number(32 - 8 * dtype.itemsize, uint32)) if dtype != uint32 else words, dtype)
    high, low = (convert(w, uint64) for w in two_words(key, shape))
    return bitwise_or(left_shift(high, number(32, uint64)), low)


def two_words(key: Array, shape: Shape) -> tuple[Array, Array]:
    """Two random words for each element."""
    words = random_bits_p.bind(key, shape=(2, *shape), stream=DRAW)
    return tuple(
        reshape(slice_p.bind(words, start=(k, *(0,) * len(shape)), stop=(k + 1, *shape), step=(1,) * words.ndim), shape)
        for k in range(2)
    )  # type: ignore[return-value]


def one_key(key: Any, what: str) -> Array:
    """`key` as an array, checked to be one key."""
    if isinstance(key, (int, float, np.integer, np.floating)):
        raise DTypeError(
            f"random.{what}: the key is the number {key!r}; make one: wg.random.key({key!r}){at_user_line()}"
        )
    key = as_array(key, f"random.{what}")
    check_key(key.type, f"random.{what}")
    if key.shape != (2,):
        raise ShapeError(
            f"random.{what}: one key is expected, got an array of keys of shape {key.shape}; take one (keys[0]) or map "
            f"over them (wg.vmap){at_user_line()}"
        )
    return key


def as_shape(shape: Any, what: str) -> Shape:
    """A shape from a length or a sequence of lengths."""
    lengths = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 0 for n in lengths):
        raise ArgumentError(
            f"random.{what}: the shape is {shape!r}; expected a tuple of integers that are not negative{at_user_line()}"
        )
    return tuple(int(n) for n in lengths)


def _integer(x: Any, what: str) -> Array:
    x = as_array(x, what)
    if x.dtype.kind not in "iu":
        raise DTypeError(f"{what} is {x!r}; expected an integer{at_user_line()}")
    if x.shape != ():
        raise ShapeError(
            f"{what} has shape {x.shape}; expected one integer. Use wg.random.split for many keys{at_user_line()}"
        )
    return x


def _pair(first: Array, second: Array) -> Array:
    return concat_p.bind(reshape(first, (1,)), reshape(second, (1,)), axis=0)
