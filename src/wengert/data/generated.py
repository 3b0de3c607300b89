"""Data sets made by a formula: for tests of memory over time, and for pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.data.arrays import as_key
from wengert.errors import ArgumentError
from wengert.random.continuous import normal, uniform
from wengert.random.discrete import randint
from wengert.random.keys import split
from wengert.source import at_user_line


def adding_problem(key: Any, examples: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of numbers, two of which are marked; the answer is their sum.

    Args:
        key: a key or a seed.
        examples: how many.
        length: of a sequence, at least 2.

    Returns:
        `x`, float32 (examples, length, 2): numbers uniform in [0, 1) and marks, one in each half; `y`, float32
        (examples, 1). The mean answer, 1, has a squared error of 1/6.

    Source: Hochreiter and Schmidhuber 1997, *Long short-term memory*, experiment 4, in the form of Le et al. 2015.
    """
    if length < 2:
        raise ArgumentError(f"adding_problem: the length is {length}; two numbers are added{at_user_line()}")
    numbers, first, second = split(_key(key), 3)
    x = np.zeros((examples, length, 2), np.float32)
    x[..., 0] = uniform(numbers, (examples, length))
    half = length // 2
    rows = np.arange(examples)
    marked = [np.asarray(randint(first, (examples,), 0, half)), np.asarray(randint(second, (examples,), half, length))]
    for where in marked:
        x[rows, where, 1] = 1
    return x, np.sum(x[..., 0] * x[..., 1], axis=1, keepdims=True)


def copy_task(
    key: Any, examples: int, delay: int, symbols: int = 8, memorise: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Symbols to be said again after a delay.

    Args:
        key: a key or a seed.
        examples: how many.
        delay: how many blanks stand between the symbols and the signal to repeat them.
        symbols: how many different ones; numbers 1 to `symbols`. 0 is the blank, `symbols + 1` the signal.
        memorise: how many symbols are to be repeated.

    Returns:
        `x` and `y`, int64 (examples, memorise + delay + memorise): what comes in, and what should come out.

    Source: Arjovsky, Shah and Bengio 2016, *Unitary evolution recurrent neural networks*, section 5.1.
    """
    if delay < 1 or memorise < 1 or symbols < 1:
        raise ArgumentError(
            f"copy_task: delay {delay}, symbols {symbols} and memorise {memorise}; each is at least 1{at_user_line()}"
        )
    said = np.asarray(randint(_key(key), (examples, memorise), 1, symbols + 1))
    x = np.zeros((examples, 2 * memorise + delay), np.int64)
    y = np.zeros_like(x)
    x[:, :memorise] = said
    x[:, memorise + delay - 1] = symbols + 1
    y[:, -memorise:] = said
    return x, y


def spirals(
    key: Any, examples: int, classes: int = 2, turns: float = 1.5, noise: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """Points of the plane on spirals that are wound into each other.

    Args:
        key: a key or a seed.
        examples: how many, spread evenly over the classes.
        classes: how many spirals.
        turns: how often each goes around.
        noise: standard deviation of the points around their spiral.

    Returns:
        `x`, float32 (examples, 2), within about the unit circle, and the class `y`, int64 (examples,).
    """
    along, around = split(_key(key))
    y = np.arange(examples) % classes
    t = np.sqrt(np.asarray(uniform(along, (examples,))))
    angle = 2 * math.pi * (turns * t + y / classes)
    points = np.stack([t * np.cos(angle), t * np.sin(angle)], axis=1)
    return (points + noise * np.asarray(normal(around, (examples, 2)))).astype(np.float32), y


def _key(key: Any) -> Any:
    made = as_key(key)
    if made is None:
        raise ArgumentError(f"a generated data set needs a key or a seed, got {key!r}{at_user_line()}")
    return made
