"""Batches of arrays held in memory: shuffled by a key, epoch by epoch, from any position on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.random.discrete import permutation
from wengert.random.keys import fold_in, key
from wengert.source import at_user_line

State = dict[str, int]


class Epochs:
    """Base of all sources of batches: `for batch in source` is one epoch; the next `for` is the next epoch.

    `state()` says which batch comes next, `restore(state)` makes the next `for` go on from there. A subclass states
    `epoch_from(epoch, position)`, an iterator over the batches of an epoch from the given one on.
    """

    def __init__(self) -> None:
        self.epoch = 0  # under way, or to come
        self.position = 0  # batches of it that were handed out
        self._restored = False

    def __iter__(self) -> Iterator[Any]:
        if self.position and not self._restored:  # the last epoch was broken off
            self.epoch, self.position = self.epoch + 1, 0
        self._restored = False
        return self._run()

    def _run(self) -> Iterator[Any]:
        epoch = self.epoch
        for batch in self.epoch_from(epoch, self.position):
            self.position += 1
            yield batch
        self.epoch, self.position = epoch + 1, 0

    def epoch_from(self, epoch: int, position: int) -> Iterator[Any]:
        raise NotImplementedError

    def state(self) -> State:
        """Which batch comes next, as plain numbers."""
        return {"epoch": self.epoch, "position": self.position}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on from `state` at the next `for`."""
        self.epoch, self.position = int(state["epoch"]), int(state["position"])
        self._restored = True


class Batches(Epochs):
    """Batches of arrays that lie in memory.

    Args:
        arrays: arrays (or PyTorch tensors, or lists) with one entry for each example along the first axis; or one dict
            of them.
        batch_size: examples in a batch.
        shuffle: False for the given order; True, a seed or a key (`wg.random.key`) for an order that is new in each
            epoch, and the same in each run.
        drop_last: leave out the last batch where it is smaller than the others.

    Yields:
        A tuple with a slice of each array (of a dict, a dict), as NumPy arrays.

    Raises:
        ShapeError: arrays of different lengths, or no batch at all.

    Example:
        >>> for x, y in data.Batches(images, labels, batch_size=64, shuffle=0):
        ...     loss = train_step(model, optimizer, x, y)
    """

    def __init__(self, *arrays: Any, batch_size: int = 32, shuffle: Any = False, drop_last: bool = False):
        super().__init__()
        self.names: tuple[str, ...] | None = None
        if len(arrays) == 1 and isinstance(arrays[0], Mapping):
            self.names = tuple(arrays[0])
            arrays = tuple(arrays[0].values())
        self.arrays = [as_ndarray(a) for a in arrays]
        shapes = [a.shape for a in self.arrays]
        if not shapes or any(not s for s in shapes) or len({s[0] for s in shapes}) != 1:
            raise ShapeError(
                f"Batches needs arrays with one entry for each example along the first axis, got shapes "
                f"{', '.join(map(str, shapes)) or 'of nothing'}{at_user_line()}"
            )
        self.size = shapes[0][0]
        self.batch_size = checked_size(batch_size, "Batches")
        self.key = as_key(shuffle)
        self.drop_last = drop_last
        self._order: tuple[int, np.ndarray | None] = (-1, None)  # of one epoch
        if len(self) == 0:
            raise ShapeError(
                f"Batches: {self.size} examples make no batch of {batch_size}"
                f"{' (drop_last leaves out the smaller one)' if self.size else ''}{at_user_line()}"
            )

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return self.size // self.batch_size if self.drop_last else -(-self.size // self.batch_size)

    def order(self, epoch: int) -> np.ndarray | None:
        """The order of the examples in an epoch; None for the given order."""
        if self.key is None:
            return None
        if self._order[0] != epoch:
            self._order = epoch, np.asarray(permutation(fold_in(self.key, epoch), self.size))
        return self._order[1]

    def again(self, epoch: int, position: int) -> Any:
        """The batch at a position, once more."""
        return next(self.epoch_from(epoch, position))

    def epoch_from(self, epoch: int, position: int) -> Iterator[Any]:
        order = self.order(epoch)
        for i in range(position, len(self)):
            which = slice(i * self.batch_size, (i + 1) * self.batch_size)
            rows = [a[which] if order is None else a.take(order[which], axis=0) for a in self.arrays]
            yield tuple(rows) if self.names is None else dict(zip(self.names, rows, strict=True))


def as_ndarray(x: Any) -> np.ndarray:
    """An array of any library, or a nested list, as NumPy's; Python's floats become float32."""
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, Array):
        return np.asarray(x)
    if hasattr(x, "detach"):  # a PyTorch tensor
        x = x.detach().cpu()
        return x.numpy()
    if hasattr(x, "__array__"):
        return np.asarray(x)
    made = np.asarray(x)
    return made.astype(np.float32) if made.dtype == np.float64 else made


def as_key(shuffle: Any) -> Any:
    """A key from True, a seed or a key; None for no shuffling."""
    if shuffle is False or shuffle is None:
        return None
    if shuffle is True:
        return key(0)
    return key(shuffle) if isinstance(shuffle, (int, np.integer)) else shuffle


def checked_size(batch_size: Any, what: str, name: str = "batch_size") -> int:
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ArgumentError(f"{what}: {name} is {batch_size!r}; expected an integer above 0{at_user_line()}")
    return int(batch_size)


def as_batch(batch: Any) -> Any:
    """A batch of any library, in tuples, lists and dicts, with NumPy arrays in place of its tensors."""
    if isinstance(batch, (np.ndarray, Array)):
        return batch
    if isinstance(batch, Mapping):
        return {k: as_batch(v) for k, v in batch.items()}
    if isinstance(batch, (tuple, list)) and any(_is_array(v) or isinstance(v, (tuple, list, dict)) for v in batch):
        return tuple(as_batch(v) for v in batch)
    return as_ndarray(batch)


def _is_array(x: Any) -> bool:
    return hasattr(x, "__array__") or hasattr(x, "detach")


def arguments(batch: Any) -> tuple[Any, ...]:
    """A batch as the arguments of a loss function: a tuple's items; anything else is one argument."""
    return tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
