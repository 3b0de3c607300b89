"""Where values lie: buffers, and strided windows onto them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wengert.ir.types import Shape


@dataclass(eq=False)
class Store:
    """Memory that grows while the program runs: a record of so many bytes for each turn of a loop.

    Its state in the workspace: the address, the number of records that have room, and that of the turns taken.
    """

    index: int
    record: int


STATE_BYTES = 24


@dataclass(eq=False)
class Buffer:
    """Memory for one value: an argument, a constant, a result, or a place in the program's own workspace."""

    kind: str  # "input", "constant", "output", "work", "local", "store", or "loose": NumPy's, as large as it turns out
    index: int  # which input, constant or output; the byte offset, for "work" once planned, for "store" in a record
    dtype: np.dtype
    size: int  # elements; of "store", those of one record
    store: Store | None = None

    def __repr__(self) -> str:
        return f"{self.kind}{self.index}"


@dataclass(eq=False)
class Counter:
    """The turn of a loop."""


@dataclass(eq=False)
class Chosen:
    """A position that the program computes along an axis of this length; negative ones wrap, then it is clipped so that
    `room` elements follow.
    """

    position: View
    length: int
    room: int = 1


@dataclass(frozen=True, eq=False)
class View:
    """A window: element `[i, j, …]` stands at `offset + Σ strides·index`, counted in elements.

    It may move while the program runs: by `stride` elements for each turn of a loop or unit of a chosen position, for
    every `(what, stride)` in `steps`.
    """

    buffer: Buffer
    shape: Shape
    strides: tuple[int, ...]
    offset: int = 0
    steps: tuple[tuple[Counter | Chosen, int], ...] = ()

    @property
    def contiguous(self) -> bool:
        expected = row_major(self.shape)
        return all(d == 1 or s == e for d, s, e in zip(self.shape, self.strides, expected, strict=True))

    def permuted(self, axes: tuple[int, ...]) -> View:
        return replace(self, shape=tuple(self.shape[a] for a in axes), strides=tuple(self.strides[a] for a in axes))

    def broadcast(self, shape: Shape) -> View:
        lead = len(shape) - len(self.shape)
        strides = (0,) * lead + tuple(0 if d == 1 else s for d, s in zip(self.shape, self.strides, strict=True))
        return replace(self, shape=shape, strides=strides)

    def sliced(self, start: Shape, step: Shape, shape: Shape) -> View:
        offset = self.offset + sum(a * s for a, s in zip(start, self.strides, strict=True))
        strides = tuple(s * k for s, k in zip(self.strides, step, strict=True))
        return replace(self, shape=shape, strides=strides, offset=offset)

    def flipped(self, axes: tuple[int, ...]) -> View:
        offset = self.offset + sum((self.shape[a] - 1) * self.strides[a] for a in axes)
        strides = tuple(-s if k in axes else s for k, s in enumerate(self.strides))
        return replace(self, strides=strides, offset=offset)

    def element(self, loop: Counter) -> View:
        """What stands at the loop's turn along the first axis."""
        moved = (*self.steps, (loop, self.strides[0]))
        return replace(self, shape=self.shape[1:], strides=self.strides[1:], steps=moved)

    def chosen(self, axis: int, position: View) -> View:
        """What stands at a computed position along an axis."""
        moved = (*self.steps, (Chosen(position, self.shape[axis]), self.strides[axis]))
        shape, strides = (t[:axis] + t[axis + 1 :] for t in (self.shape, self.strides))
        return replace(self, shape=shape, strides=strides, steps=moved)

    def beginning(self, starts: tuple[View | None, ...], sizes: Shape) -> View:
        """The window of these sizes that begins at computed positions, or (None) where this one begins."""
        steps = tuple(
            (Chosen(start, length, room), stride)
            for start, length, room, stride in zip(starts, self.shape, sizes, self.strides, strict=True)
            if start is not None
        )
        return replace(self, shape=sizes, steps=(*self.steps, *steps))

    @property
    def positions(self) -> list[View]:
        """Where the positions lie that it depends on; those that are chosen by others depend on these as well."""
        own = [step.position for step, _ in self.steps if isinstance(step, Chosen)]
        return [q for p in own for q in (p, *p.positions)]

    def reshaped(self, shape: Shape) -> View | None:
        """The window in another shape, if no element has to move: axes may merge or split only where they are dense."""
        if 0 in shape:
            return replace(self, shape=shape, strides=row_major(shape))
        old = [(d, s) for d, s in zip(self.shape, self.strides, strict=True) if d != 1]
        strides: list[int] = []
        k = 0
        dims = [d for d in shape if d != 1]
        i = 0
        while i < len(dims):
            # collect a run of old axes and a run of new ones with the same number of elements
            size, stride = old[k]
            k += 1
            group = [dims[i]]
            i += 1
            product = group[0]
            while product != size:
                if product < size:
                    group.append(dims[i])
                    product *= dims[i]
                    i += 1
                else:
                    d, s = old[k]
                    k += 1
                    if stride != d * s:
                        return None
                    size, stride = size * d, s
            inner = stride
            run = []
            for d in reversed(group):
                run.append(inner)
                inner *= d
            strides += reversed(run)
        dense = iter(strides)
        return replace(self, shape=shape, strides=tuple(0 if d == 1 else next(dense) for d in shape))

    def array(self, memory: np.ndarray) -> np.ndarray:
        """The window as an ndarray; `memory` is the buffer's flat array."""
        size = memory.dtype.itemsize
        strides = tuple(s * size for s in self.strides)
        return np.ndarray(self.shape, memory.dtype, memory, self.offset * size, strides)


def extent(view: View) -> tuple[int, int]:
    """The first element of a window that does not move, in its buffer, and the one after the last."""
    ends = [(d - 1) * s for d, s in zip(view.shape, view.strides, strict=True)]
    return view.offset + sum(e for e in ends if e < 0), view.offset + sum(e for e in ends if e > 0) + 1


def move(view: View, window: View) -> None:
    """Make a view of a whole buffer, or part of it, the same view of a window that takes the buffer's place."""
    object.__setattr__(view, "offset", view.offset + window.offset)
    object.__setattr__(view, "steps", (*view.steps, *window.steps))
    object.__setattr__(view, "buffer", window.buffer)


def row_major(shape: Shape) -> tuple[int, ...]:
    """The strides of a dense array in row-major order."""
    strides, n = [], 1
    for k in reversed(range(len(shape))):
        strides.append(n)
        n = n * shape[k] if k else n  # the first length may be unknown
    return tuple(reversed(strides))


def dense(buffer: Buffer, shape: Shape) -> View:
    return View(buffer, shape, row_major(shape))
