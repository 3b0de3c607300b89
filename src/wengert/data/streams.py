"""Batches from anything that yields them: generators, PyTorch's DataLoaders, Hugging Face datasets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from wengert.data.arrays import Batches, Epochs, as_batch, as_key, as_ndarray, checked_size
from wengert.errors import ArgumentError
from wengert.random.discrete import permutation
from wengert.random.keys import fold_in
from wengert.source import at_user_line


class Stream(Epochs):
    """Batches from an iterable, such as a PyTorch DataLoader, or from a function that makes one for each epoch.

    Args:
        source: an iterable of batches; or a function that returns one, called at the start of each epoch, with the
            number of the epoch where it takes an argument. A generator that has been started can serve one epoch only.
        length: how many batches make an epoch, of a source that never ends (or has more). A started generator then goes
            on in the next epoch.

    Tensors in the batches become NumPy arrays, lists become tuples. Restored to a position, the source is run up to it;
    for that, its order must depend on the epoch alone (a DataLoader's generator has to be seeded).

    Example:
        >>> train.fit(model, optimizer, loss_fn, data.Stream(loader))
        >>> train.fit(model, optimizer, loss_fn, data.Stream(endless(), length=100), epochs=5)
    """

    def __init__(self, source: Iterable[Any] | Callable[..., Iterable[Any]], length: int | None = None):
        super().__init__()
        if not callable(source) and not hasattr(source, "__iter__"):
            raise ArgumentError(
                f"batches come from arrays, an iterable or a function that returns one, got a {type(source).__name__}"
                + at_user_line()
            )
        self.source = source
        self.by_epoch = not hasattr(source, "__iter__") and bool(inspect.signature(source).parameters)  # type: ignore[arg-type]
        self.length = None if length is None else checked_size(length, "Stream", "length")
        self.used = False
        self.taken = 0  # batches of a started generator, in all epochs

    def __len__(self) -> int:
        """How many batches an epoch has; TypeError where the source doesn't know."""
        return len(self.source) if self.length is None else self.length  # type: ignore[arg-type]

    def epoch_from(self, epoch: int, position: int) -> Iterator[Any]:
        source = self.source
        if not hasattr(source, "__iter__"):
            source = source(epoch) if self.by_epoch else source()
        elif isinstance(source, Iterator):
            if self.length is not None:
                return self.going_on(source, epoch * self.length + position, self.length - position)
            if self.used:
                raise ArgumentError(
                    f"the batches come from a {type(source).__name__}, which runs only once, and another epoch was "
                    f"asked for; pass the function that makes it{at_user_line()}"
                )
            self.used = True
        return map(as_batch, islice(iter(source), position, self.length))

    def going_on(self, source: Iterator[Any], start: int, count: int) -> Iterator[Any]:
        """`count` batches of a generator that has been started, from the batch with the number `start`."""
        if start < self.taken:
            raise ArgumentError(
                f"the batches come from a {type(source).__name__}, which runs only once: batch {start} was asked for "
                f"after {self.taken} were taken; pass the function that makes it{at_user_line()}"
            )
        for _ in range(start - self.taken):
            next(source, None)
        self.taken = start
        for batch in islice(source, count):
            self.taken += 1
            yield as_batch(batch)


class Rows(Epochs):
    """Batches from a table that is indexed by lists of rows and knows its columns: a Hugging Face dataset.

    Args:
        dataset: has `column_names`, `len` and `dataset[[i, j, …]]`, a dict of columns; a stream, `iter(batch_size)`.
        columns: which columns make a batch, in the order of the loss function's arguments; all by default.
        batch_size, shuffle, drop_last: as for `Batches` (a stream is not shuffled here: use its own `shuffle`).

    Yields:
        A tuple of NumPy arrays, one for each column.

    Raises:
        ArgumentError: a column that isn't there.
    """

    def __init__(
        self,
        dataset: Any,
        columns: Sequence[str] | None = None,
        batch_size: int = 32,
        shuffle: Any = False,
        drop_last: bool = False,
    ):
        super().__init__()
        names = dataset.column_names
        if isinstance(names, dict):
            raise ArgumentError(
                f"this is a dictionary of datasets; choose one, such as dataset[{next(iter(names), 'train')!r}]; there "
                f"are {list(names)}{at_user_line()}"
            )
        chosen = (getattr(dataset, "format", None) or {}).get("columns")  # by its own with_format(columns=…)
        there = list(chosen or names or columns or ())
        self.columns = tuple(columns or there)
        missing = [c for c in self.columns if c not in there]
        if missing:
            raise ArgumentError(f"the dataset has no column {missing}; it has {there}{at_user_line()}")
        self.dataset = dataset
        self.batch_size = checked_size(batch_size, "Rows")
        self.key = as_key(shuffle)
        self.drop_last = drop_last
        self.streams = not hasattr(dataset, "__len__")
        if self.streams and self.key is not None:
            raise ArgumentError(f"a dataset that streams is shuffled by its own .shuffle(…){at_user_line()}")

    def __len__(self) -> int:
        size = len(self.dataset)
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)

    def epoch_from(self, epoch: int, position: int) -> Iterator[Any]:
        if self.streams:
            rows: Iterator[Any] = islice(self.dataset.iter(batch_size=self.batch_size), position, None)
        else:
            size = len(self.dataset)
            order = range(size) if self.key is None else permutation(fold_in(self.key, epoch), size).tolist()
            starts = range(position * self.batch_size, len(self) * self.batch_size, self.batch_size)
            rows = (self.dataset[list(order[i : i + self.batch_size])] for i in starts)
        for row in rows:
            batch = tuple(self.column(row[c], c) for c in self.columns)
            if not self.drop_last or len(batch[0]) == self.batch_size:
                yield batch

    def column(self, values: Any, name: str) -> np.ndarray:
        """One column of a batch, which has to hold numbers."""
        try:
            a = as_ndarray(values)
        except ValueError:  # of lists of many lengths
            a = np.array(None)
        if a.dtype.kind not in "biufc":
            kind = "text" if a.dtype.kind in "US" else "lists of many lengths, or objects"
            raise ArgumentError(
                f"the column {name!r} of the dataset holds {kind}, no numbers; leave it out, with data.Rows(dataset, "
                f"columns=[…]) of {list(self.columns)}, or turn it into arrays with dataset.map(…){at_user_line()}"
            )
        return a


def batches(source: Any, batch_size: int = 32, shuffle: Any = False, drop_last: bool = False) -> Epochs:
    """A source of batches from whatever holds data.

    Args:
        source: a tuple, list or dict of arrays (see `Batches`, which takes the other arguments); a Hugging Face
            dataset (see `Rows`); an iterable of batches or a function that returns one (see `Stream`); or what one of
            these made.
        batch_size, shuffle, drop_last: where examples are still to be put together.

    Example:
        >>> data.batches((x, y), batch_size=64, shuffle=0)
        >>> data.batches(torch_loader)
    """
    if isinstance(source, Epochs):
        return source
    if hasattr(source, "column_names"):
        return Rows(source, None, batch_size, shuffle, drop_last)
    if isinstance(source, dict):
        return Batches(source, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
    if isinstance(source, (tuple, list)) and source and all(hasattr(a, "shape") for a in source):
        return Batches(*source, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
    return Stream(source)
