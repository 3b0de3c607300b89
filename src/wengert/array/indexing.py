"""`x[...]`: NumPy's index language, lowered to slices, flips and reshapes; to a gather only where positions are data.

    integer              takes the axis away; a traced one is a gather at a single place
    slice                any step; its bounds are Python integers, because they decide a shape
    None, ...            a new axis; as many full slices as are missing
    integer array        positions along an axis; several broadcast together
    boolean array        the positions where it holds; its numbers must be known, because they decide a shape

Axes made by arrays stand where the arrays stood if those are side by side, and in front otherwise, as in NumPy.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache
from types import EllipsisType, NoneType
from typing import Any

import numpy as np

from wengert.errors import AbstractValueError, ArgumentError, DTypeError, OutOfRangeError, WengertError
from wengert.ir.array import Array, WeakArray, concrete
from wengert.ir.primitive import watchers
from wengert.ir.types import Shape, broadcast_shapes
from wengert.ops.index import gather
from wengert.ops.promote import as_array
from wengert.ops.shape import broadcast_to, flip_p, permute, reshape, slice_p
from wengert.source import at_user_line

_BASIC = frozenset((int, slice, NoneType, EllipsisType))
_BOUNDS = frozenset((int, NoneType))


def getitem(x: Array, index: Any) -> Array:
    """`x[index]`; see the module's head. Out of range, a number that is known raises and a traced one is clipped.

    Raises:
        ShapeError: an index is out of range, there are more indices than axes, or index arrays do not broadcast.
        DTypeError: an index is a float or complex number.
        AbstractValueError: the shape of the result would depend on a traced value.
    """
    cls = type(x)
    if (cls is Array or cls is WeakArray) and not watchers:  # nothing is traced: NumPy's own view
        kind = type(index)
        if kind not in _BASIC and not (kind is tuple and _BASIC.issuperset(map(type, index))):
            index = _known(index)
        try:
            return cls(x.data[index])
        except (IndexError, TypeError, WengertError):
            pass  # fails again below, in the user's terms
    shape = x.shape
    if type(index) is int and shape and -shape[0] <= index < shape[0]:  # the commonest index of all
        i, rest = index % shape[0], shape[1:]
        row = slice_p.bind(x, start=(i, *(0,) * len(rest)), stop=(i + 1, *rest), step=(1,) * len(shape))
        return reshape(row, rest)
    key = _static(index)
    try:
        return (Plan(shape, index) if key is None else _plan(shape, key)).get(x)
    except MaskError as error:
        raise AbstractValueError(error.args[0] + at_user_line()) from None


def _known(index: Any) -> Any:
    """The index with NumPy's arrays in place of ours, as far as their numbers are known."""
    if type(index) is tuple:
        return tuple([_known(i) if isinstance(i, Array) else i for i in index])
    return index.data if isinstance(index, Array) and index.trace is None else index


class MaskError(AbstractValueError):
    """The numbers of a boolean index are not known; `at` turns a `mask` that is the whole index into a `where`."""

    def __init__(self, mask: Array):
        super().__init__(
            f"a boolean index of shape {mask.shape} is traced ({mask.trace.what}), so how many elements it takes, "
            "which is the shape of the result, is not known. Keep the shape: wg.where(mask, x, 0), or wg.sum(mask * x) "
            "for a sum; or compute the mask outside."
        )
        self.mask = mask


def _static(index: Any) -> Any:
    """An index of Python's integers, slices, None and `...` as something that can be looked up; None for any other."""
    items = index if type(index) is tuple else (index,)
    key = []
    for i in items:
        if type(i) is slice:
            i = (i.start, i.stop, i.step)
            if not _BOUNDS.issuperset(map(type, i)):
                return None
        elif type(i) not in _BASIC:
            return None
        key.append(i)
    return tuple(key)


@lru_cache(maxsize=1024)
def _plan(shape: Shape, key: tuple[Any, ...]) -> Plan:
    return Plan(shape, tuple([slice(*i) if type(i) is tuple else i for i in key]))


class Plan:
    """An index taken apart for an array of a given shape.

    `region[k]` is `(first, step, count)` along axis k; `arrays` are `(axis, positions)` on top of it; `layout` says
    where each axis of the result comes from: an axis of `x`, None for a new one, or "lead" for those of the arrays.
    """

    __slots__ = ("arrays", "layout", "lead", "region", "shape", "single", "unique", "x_shape")

    def __init__(self, shape: Shape, index: Any):
        self.x_shape = shape
        self.region: list[tuple[int, int, int]] = [(0, 1, d) for d in shape]
        self.arrays: list[tuple[int | None, Array]] = []
        self.layout: list[Any] = []
        self.unique = True  # no position is named twice
        self.single: set[int] = set()  # the axes that a known integer takes away
        self._read(index if type(index) is tuple else (index,))
        self.lead: Shape = broadcast_shapes([a.shape for _, a in self.arrays], "index arrays") if self.arrays else ()
        lengths: list[int] = []
        for part in self.layout:
            lengths += self.lead if part == "lead" else (1,) if part is None else (self.region[part][2],)
        self.shape = tuple(lengths)

    # Reading the index.

    def _read(self, index: tuple[Any, ...]) -> None:
        items = [_classify(i) for i in index]
        used = sum(_width(i) for i in items)
        missing = len(self.x_shape) - used
        if missing < 0:
            raise OutOfRangeError(
                f"{used} indices for an array of {len(self.x_shape)} axes (shape {self.x_shape}){at_user_line()}"
            )
        where = [k for k, i in enumerate(items) if i is Ellipsis]
        if len(where) > 1:
            raise ArgumentError(f"an index may hold one ellipsis (...), got {len(where)}{at_user_line()}")
        at = where[0] if where else len(items)
        items[at : at + 1] = [slice(None)] * missing
        advanced = any(isinstance(i, (Array, bool)) for i in items)
        blocks: list[bool] = []  # one for each stretch of the result: made by arrays, or not
        axis = groups = 0
        for item in items:
            made_by_arrays = advanced and isinstance(item, (Array, bool, int))
            if made_by_arrays and not (blocks and blocks[-1]):
                groups += 1
                if groups == 1:
                    self.layout.append("lead")
            blocks.append(made_by_arrays)
            axis = self._take(item, axis)
        if where and advanced and missing == 0 and self._split_by_empty_ellipsis(items, at):
            groups = 2
        if groups > 1:
            self.layout.remove("lead")
            self.layout.insert(0, "lead")

    @staticmethod
    def _split_by_empty_ellipsis(items: Sequence[Any], at: int) -> bool:
        """NumPy counts an ellipsis between arrays as a separation even where it stands for no axis."""
        return 0 < at < len(items) and all(isinstance(i, (Array, bool, int)) for i in (items[at - 1], items[at]))

    def _take(self, item: Any, axis: int) -> int:
        """Note one item of the index, which begins at `axis`; returns the axis after it."""
        if item is None:
            self.layout.append(None)
            return axis
        if isinstance(item, bool):  # a condition of no axes: an axis of length 1 or 0
            self._add(None, Array(np.zeros(int(item), np.int64)))
            return axis
        if isinstance(item, slice):
            first, stop, step = item.indices(self.x_shape[axis])
            self.region[axis] = (first, step, len(range(first, stop, step)))
            self.layout.append(axis)
            return axis + 1
        if isinstance(item, int):
            d = self.x_shape[axis]
            if not -d <= item < d:
                raise out_of_range(item, axis, self.x_shape)
            self.region[axis] = (item % d, 1, 1)
            self.single.add(axis)
            return axis + 1
        if item.dtype.kind == "b":
            return self._take_mask(item, axis)
        check_range(item, axis, self.x_shape)
        self.unique = self.unique and item.ndim == 0
        self._add(axis, item)
        return axis + 1

    def _take_mask(self, mask: Array, axis: int) -> int:
        after = axis + mask.ndim
        if mask.shape != self.x_shape[axis:after]:
            raise OutOfRangeError(
                f"a boolean index of shape {mask.shape} for axes {axis} to {after - 1} of shape {self.x_shape}: they "
                f"must be equal{at_user_line()}"
            )
        try:
            known = np.asarray(concrete(mask))
        except AbstractValueError:
            raise MaskError(mask) from None
        for k, positions in enumerate(known.nonzero()):
            self._add(axis + k, Array(positions))
        return after

    def _add(self, axis: int | None, positions: Array) -> None:
        self.arrays.append((axis, positions))

    # Reading the array.

    def get(self, x: Array) -> Array:
        x = self._sliced(x)
        if not self.arrays:
            return reshape(x, self.shape)
        whole = [k for k in range(x.ndim) if k not in self.single]
        x = reshape(x, tuple(x.shape[k] for k in whole))
        lead = [a for axis, a in self.arrays if axis is not None]
        axes = tuple(whole.index(axis) for axis, _ in self.arrays if axis is not None)
        if axes:
            if broadcast_shapes([a.shape for a in lead]) != self.lead:  # a condition of no axes stretches the others
                lead[0] = broadcast_to(lead[0], self.lead)
            x = gather(x, lead, axes, self.unique)
        else:
            x = broadcast_to(reshape(x, (*(1,) * len(self.lead), *x.shape)), (*self.lead, *x.shape))
        n = len(self.lead)
        rest = [k for i, k in enumerate(whole) if i not in axes]
        order: list[int] = []
        for part in self.layout:
            order += range(n) if part == "lead" else () if part is None else (n + rest.index(part),)
        return reshape(permute(x, tuple(order)), self.shape)

    def _sliced(self, x: Array) -> Array:
        start, stop, step, backwards = [], [], [], []
        for k, (first, stride, count) in enumerate(self.region):
            last = first + (count - 1) * stride
            low = min(first, last) if count else 0
            start.append(low)
            stop.append(max(first, last) + 1 if count else 0)
            step.append(abs(stride))
            if stride < 0 and count > 1:
                backwards.append(k)
        if any(start) or tuple(stop) != x.shape or any(s != 1 for s in step):
            x = slice_p.bind(x, start=tuple(start), stop=tuple(stop), step=tuple(step))
        return flip_p.bind(x, axes=tuple(backwards)) if backwards else x


def _classify(item: Any) -> Any:
    """One item of an index as None, `...`, a slice of Python integers, a bool, an int or an Array."""
    if item is None or item is Ellipsis:
        return item
    if isinstance(item, (bool, np.bool_)):
        return bool(item)
    if isinstance(item, (int, np.integer)):
        return int(item)
    if isinstance(item, slice):
        return slice(*(_bound(b) for b in (item.start, item.stop, item.step)))
    if isinstance(item, (list, tuple)) and not item:
        return Array(np.zeros(0, np.int64))
    if not isinstance(item, (Array, np.ndarray, list, tuple, float, complex, np.generic)) and not hasattr(
        item, "__array__"
    ):
        raise ArgumentError(
            "an index is an integer, a slice, None, ... or an array of integers or booleans; got a "
            f"{type(item).__name__}{at_user_line()}"
        )
    a = as_array(item, "an index")
    if a.dtype.kind not in "iub":
        raise DTypeError(
            f"an index is made of integers or booleans, got {a.type!r}; convert it (x.astype(wg.int64)) if its "
            f"numbers are whole{at_user_line()}"
        )
    if a.ndim == 0 and a.trace is None:
        return bool(a.data) if a.dtype.kind == "b" else int(a.data)
    return a


def _bound(b: Any) -> int | None:
    if b is None:
        return None
    try:
        return operator.index(b)
    except AbstractValueError:
        raise AbstractValueError(
            "a bound of a slice is traced, so the length of the result is not known; for a window of known length at a "
            f"traced place use wg.dynamic_slice(x, starts, sizes){at_user_line()}"
        ) from None
    except TypeError:
        raise DTypeError(f"a bound of a slice is an integer or None, got {b!r}{at_user_line()}") from None


def _width(item: Any) -> int:
    """How many axes an item of an index uses up."""
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    return item.ndim if isinstance(item, Array) and item.dtype.kind == "b" else 1


def out_of_range(index: int, axis: int, shape: Shape) -> OutOfRangeError:
    d = shape[axis]
    valid = f"{-d} to {d - 1}" if d else "none"
    return OutOfRangeError(
        f"index {index} is out of range for axis {axis}, which has length {d} (shape {shape}); valid: {valid}"
        + at_user_line()
    )


def check_range(positions: Array, axis: int, shape: Shape) -> None:
    """Positions whose numbers are known must lie inside."""
    if positions.trace is None and positions.size:
        data, d = positions.data, shape[axis]
        low, high = int(data.min()), int(data.max())
        if low < -d or high >= d:
            raise out_of_range(high if high >= d else low, axis, shape)


def install() -> None:
    """Attach indexing to `Array`."""
    Array.__getitem__ = getitem  # type: ignore[attr-defined]


install()
