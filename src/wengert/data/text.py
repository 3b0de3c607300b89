"""A small text that ships with the package, and characters as numbers.

`sonnets.txt` holds nine sonnets of William Shakespeare (1, 18, 29, 30, 55, 60, 73, 116, 130), first printed in 1609, in
modernised spelling. The text is in the public domain everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wengert.errors import ArgumentError
from wengert.source import at_user_line


def sonnets() -> str:
    """Nine sonnets of Shakespeare, some 5,500 characters; in the public domain."""
    return (Path(__file__).parent / "sonnets.txt").read_text(encoding="utf-8")


class Characters:
    """Characters as numbers: each different character of a text has one, in the order of their codes.

    Args:
        text: what the alphabet is taken from.

    Example:
        >>> characters = data.Characters("hello")
        >>> characters.encode("hell")
        array([1, 0, 2, 2])
        >>> characters.decode([1, 0, 2, 2, 3])
        'hello'
    """

    def __init__(self, text: str):
        self.alphabet = "".join(sorted(set(text)))
        self._number = {c: i for i, c in enumerate(self.alphabet)}

    def __len__(self) -> int:
        return len(self.alphabet)

    def encode(self, text: str) -> np.ndarray:
        """The numbers of the characters, int64.

        Raises:
            ArgumentError: a character that is not in the alphabet.
        """
        unknown = sorted(set(text) - set(self.alphabet))
        if unknown:
            raise ArgumentError(f"no number for {unknown}; the alphabet is {self.alphabet!r}{at_user_line()}")
        return np.array([self._number[c] for c in text], np.int64)

    def decode(self, numbers: object) -> str:
        """The characters of the numbers."""
        return "".join(self.alphabet[int(i)] for i in np.asarray(numbers).ravel())


def windows(numbers: np.ndarray, length: int, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """All stretches of a sequence and, for each place, what comes next.

    Args:
        numbers: a sequence (n,).
        length: of a stretch.
        stride: how far apart stretches begin.

    Returns:
        `x` and `y`, (m, length), `y[i, j]` being what follows `x[i, j]`.

    Raises:
        ArgumentError: the sequence is too short for one stretch.
    """
    numbers = np.asarray(numbers)
    if len(numbers) <= length:
        raise ArgumentError(f"windows of {length} need more than {length} numbers, got {len(numbers)}{at_user_line()}")
    views = np.lib.stride_tricks.sliding_window_view(numbers, length)[: len(numbers) - length][::stride]
    after = np.lib.stride_tricks.sliding_window_view(numbers[1:], length)[::stride]
    return views.copy(), after.copy()
