"""Batches made ahead by a thread, while the step before them runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from threading import Condition, Thread
from typing import Any

from wengert.data.arrays import Epochs, State
from wengert.data.streams import batches
from wengert.errors import ArgumentError
from wengert.source import at_user_line


class Prefetch(Epochs):
    """A source of batches that a thread keeps `size` batches ahead; made by `prefetch`.

    An error in the source arrives where the batch would have. The thread ends with the epoch, or when the loop over
    it is left. `state()` is that of the batch handed out last, not of the one made last.
    """

    def __init__(self, source: Any, size: int = 2):
        if size < 1:
            raise ArgumentError(f"prefetch: size is {size}; expected at least 1{at_user_line()}")
        self.source = batches(source)
        self.ahead = size
        self._state = self.source.state()

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        line = Line(self.source, self.ahead)
        line.thread.start()
        try:
            while (item := line.take()) is not None:
                batch, self._state = item
                yield batch
            self._state = self.source.state()
        finally:
            line.close()
            self.source.restore(self._state)
            self.source._restored = False

    def state(self) -> State:
        return self._state

    def restore(self, state: Mapping[str, int]) -> None:
        self.source.restore(state)
        self._state = self.source.state()


class Line:
    """What waits between the thread that makes and the one that takes."""

    def __init__(self, source: Epochs, size: int):
        self.source = source
        self.size = size
        self.waiting: deque[tuple[Any, State]] = deque()
        self.done = False  # nothing more will come
        self.closed = False  # nothing more is wanted
        self.error: BaseException | None = None
        self.changed = Condition()
        self.thread = Thread(target=self.make, name="wengert prefetch", daemon=True)

    def make(self) -> None:
        try:
            for batch in self.source:
                with self.changed:
                    self.waiting.append((batch, dict(self.source.state())))
                    self.changed.notify_all()
                    self.changed.wait_for(lambda: self.closed or len(self.waiting) < self.size)
                    if self.closed:
                        return
        except BaseException as error:  # handed over to the thread that waits for it
            self.error = error
        finally:
            with self.changed:
                self.done = True
                self.changed.notify_all()

    def take(self) -> tuple[Any, State] | None:
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.done)
            if self.waiting:
                item = self.waiting.popleft()
                self.changed.notify_all()
                return item
        if self.error is not None:
            raise self.error
        return None

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self.thread.join()


def prefetch(source: Any, size: int = 2) -> Prefetch:
    """Batches that a thread keeps `size` ahead of the loop over them.

    Args:
        source: whatever `data.batches` takes.
        size: how many batches may wait.

    Example:
        >>> for x, y in data.prefetch(data.Batches(images, labels)):
        ...     train_step(model, optimizer, x, y)
    """
    return Prefetch(source, size)
