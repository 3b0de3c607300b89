"""Data sets that come with installed packages; nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.data.arrays import as_key
from wengert.errors import ArgumentError, MissingExtraError
from wengert.random.discrete import permutation
from wengert.source import at_user_line

Pair = tuple[np.ndarray, np.ndarray]


def digits(test: float = 0.2, seed: Any = 0, flat: bool = True) -> tuple[Pair, Pair]:
    """Handwritten digits of 8 × 8 pixels, 1797 of them, as scikit-learn ships them.

    Args:
        test: the share that is kept apart for testing.
        seed: a seed or key of the split.
        flat: whether an image is a vector of 64 numbers; else it has shape (1, 8, 8), one channel.

    Returns:
        `(x, y), (x_test, y_test)`: images as float32 from 0 to 1, labels as int64.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        ArgumentError: a share that is not between 0 and 1.

    Source: E. Alpaydin and C. Kaynak 1998, *Optical recognition of handwritten digits* (UCI repository, CC BY 4.0).
    """
    if not 0 < test < 1:
        raise ArgumentError(f"digits: test is {test}; expected a share between 0 and 1{at_user_line()}")
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtraError(
            f"data.digits are those that scikit-learn ships; install scikit-learn, or wengert[data]{at_user_line()}"
        ) from None
    loaded = load_digits()
    x = (loaded.data / 16).astype(np.float32)
    y = loaded.target.astype(np.int64)
    order = np.asarray(permutation(as_key(seed), len(x)))
    x, y = (x if flat else x.reshape(-1, 1, 8, 8))[order], y[order]
    kept = round(len(x) * test)
    return (x[kept:], y[kept:]), (x[:kept], y[:kept])
