"""Moving elements without changing them: every primitive here is linear, and its map is itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.maps import Linear, Map
from wengert.ir.primitive import Params, Primitive, registry
from wengert.ir.types import ArrayType, Shape, broadcast_shapes
from wengert.ops.elementwise import sum_to
from wengert.ops.promote import number
from wengert.source import at_user_line

_SMALL = 4096


class Structural(Primitive):
    """A primitive that moves elements: linear in its first input, differentiable for floats."""

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        return Linear(self, i, values, params) if out.dtype.kind in "fc" else None

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        # the bits of a pattern are moved as the elements are, word by word
        words = [self.evaluate(patterns[0][..., w], **params) for w in range(patterns[0].shape[-1])]
        return np.stack(words, axis=-1)


class Reshape(Structural):
    """The same elements in row-major order in another shape."""

    def type(self, x: ArrayType, *, shape: Shape) -> ArrayType:  # type: ignore[override]
        if ArrayType(shape, x.dtype).size != x.size:
            raise ShapeError(
                f"reshape: {x.size} elements of shape {x.shape} do not fill shape {shape}, which has "
                f"{ArrayType(shape, x.dtype).size}{at_user_line()}"
            )
        return ArrayType(shape, x.dtype)

    def evaluate(self, x: Any, *, shape: Shape) -> Any:  # type: ignore[override]
        return x.reshape(shape)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        return reshape(ct, values[0].shape)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        return self.bind(to_front(values[0], axes[0]), shape=(size, *params["shape"])), 0


class Permute(Structural):
    """Axes in another order: output axis k is input axis `axes[k]`."""

    def type(self, x: ArrayType, *, axes: tuple[int, ...]) -> ArrayType:  # type: ignore[override]
        if sorted(axes) != list(range(x.ndim)):
            raise ShapeError(
                f"permute_dims: axes {axes} are no permutation of the {x.ndim} axes of shape {x.shape}{at_user_line()}"
            )
        return ArrayType(tuple(x.shape[a] for a in axes), x.dtype)

    def evaluate(self, x: Any, *, axes: tuple[int, ...]) -> Any:  # type: ignore[override]
        return x.transpose(axes)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        axes = params["axes"]
        return self.bind(ct, axes=tuple(sorted(range(len(axes)), key=axes.__getitem__)))

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        at = axes[0]
        assert at is not None
        return self.bind(values[0], axes=(at, *(a + (a >= at) for a in params["axes"]))), 0


class BroadcastTo(Structural):
    """The array stretched to `shape` by NumPy's rule, without a copy."""

    def type(self, x: ArrayType, *, shape: Shape) -> ArrayType:  # type: ignore[override]
        if broadcast_shapes([x.shape, shape], "broadcast_to") != shape:
            raise ShapeError(f"broadcast_to: shape {x.shape} does not stretch to {shape}{at_user_line()}")
        return ArrayType(shape, x.dtype)

    def evaluate(self, x: Any, *, shape: Shape) -> Any:  # type: ignore[override]
        if math.prod(shape) > _SMALL:
            return np.broadcast_to(x, shape)
        out = np.empty(shape, x.dtype)  # for few elements a copy is quicker than a view
        out[...] = x
        return out

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        return sum_to(ct, values[0].shape)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        x, shape = to_front(values[0], axes[0]), params["shape"]
        x = reshape(x, (size, *(1,) * (len(shape) + 1 - x.ndim), *x.shape[1:]))
        return self.bind(x, shape=(size, *shape)), 0


class Slice(Structural):
    """Elements `start, start + step, …` below `stop` along every axis; steps are positive (see `flip`)."""

    def type(self, x: ArrayType, *, start: Shape, stop: Shape, step: Shape) -> ArrayType:  # type: ignore[override]
        shape = []
        for d, a, b, s in zip(x.shape, start, stop, step, strict=True):
            if not 0 <= a <= b <= d or s < 1:
                raise ShapeError(
                    f"slice {a}:{b}:{s} does not lie in an axis of length {d} (shape {x.shape}){at_user_line()}"
                )
            shape.append(-(-(b - a) // s))
        return ArrayType(tuple(shape), x.dtype)

    def evaluate(self, x: Any, *, start: Shape, stop: Shape, step: Shape) -> Any:  # type: ignore[override]
        return x[tuple(slice(a, b, s) for a, b, s in zip(start, stop, step, strict=True))]

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        padding = []
        for d, n, a, s in zip(values[0].shape, ct.shape, params["start"], params["step"], strict=True):
            padding.append((a, d - a - (n * s - s + 1), s - 1) if n else (0, d, 0))
        return pad_p.bind(ct, number(0, ct.dtype), padding=tuple(padding))

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        at = axes[0]
        assert at is not None
        whole = {"start": 0, "stop": size, "step": 1}
        return self.bind(values[0], **{k: (*v[:at], whole[k], *v[at:]) for k, v in params.items()}), at


class Pad(Structural):
    """`padding[k] = (low, high, interior)`: elements put before, after and between; negative low and high cut off.

    The second input is the value that fills.
    """

    def type(self, x: ArrayType, fill: ArrayType, *, padding: tuple[tuple[int, int, int], ...]) -> ArrayType:  # type: ignore[override]
        if fill.dtype != x.dtype or fill.shape != ():
            raise DTypeError(
                f"pad: the fill value is {fill!r}, expected one number of type {x.dtype.name}{at_user_line()}"
            )
        shape = tuple(
            low + high + d + max(d - 1, 0) * inner for d, (low, high, inner) in zip(x.shape, padding, strict=True)
        )
        if any(d < 0 for d in shape):
            raise ShapeError(f"pad: {padding} cuts more than there is from shape {x.shape}{at_user_line()}")
        return ArrayType(shape, x.dtype)

    def evaluate(self, x: Any, fill: Any, *, padding: tuple[tuple[int, int, int], ...]) -> Any:  # type: ignore[override]
        spread, steps, shape, taken, place = _placement(x.shape, padding)
        if spread != x.shape:
            wide = np.full(spread, fill, x.dtype)
            wide[steps] = x
            x = wide
        out = np.empty(shape, x.dtype)
        out.fill(fill)
        out[place] = x[taken]
        return out

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        # linear in one input where the other is zero
        zeros = [broadcast_to(number(0, v.dtype), v.shape) for v in values]
        return Linear(self, i, zeros, params) if out.dtype.kind in "fc" else None

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        x, padding = values[0], params["padding"]
        if i == 1:
            inside = self.transpose(0, ct, values, params)
            axes = tuple(range(ct.ndim))
            return registry["sum"].bind(ct, axes=axes) - registry["sum"].bind(inside, axes=axes)
        uncut = self.bind(ct, number(0, ct.dtype), padding=tuple((-low, -high, 0) for low, high, _ in padding))
        if all(inner == 0 for _, _, inner in padding):
            return uncut
        return slice_p.bind(uncut, start=(0,) * x.ndim, stop=uncut.shape, step=tuple(p[2] + 1 for p in padding))

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (x, fill), (at, fill_at), padding = values, axes, params["padding"]
        if fill_at is None:
            return self.bind(x, fill, padding=(*padding[:at], (0, 0, 0), *padding[at:])), at
        # each batch member fills with its own value: pad with zeros, then choose
        x = to_front(x, at) if at is not None else broadcast_to(x, (size, *x.shape))
        wide = ((0, 0, 0), *padding)
        inside = self.bind(broadcast_to(Array(np.bool_(True)), x.shape), Array(np.bool_(False)), padding=wide)
        padded = self.bind(x, number(0, x.dtype), padding=wide)
        return registry["select"].bind(inside, padded, reshape(fill, (size, *(1,) * (x.ndim - 1)))), 0

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        x, fill = patterns
        words = (fill if fill is not None else x).shape[-1]
        x = np.zeros((*types[0].shape, words), np.uint64) if x is None else x
        planes = [
            self.evaluate(x[..., w], x.dtype.type(0) if fill is None else fill[w], **params) for w in range(words)
        ]
        return np.stack(planes, axis=-1)


@lru_cache(maxsize=1024)
def _placement(x: Shape, padding: tuple[tuple[int, int, int], ...]) -> Any:
    """How a padded array is filled: the shape with the gaps and the places in it, the final shape, what goes where."""
    spread = tuple(max(d + (d - 1) * inner, 0) for d, (_, _, inner) in zip(x, padding, strict=True))
    shape = tuple(d + low + high for d, (low, high, _) in zip(spread, padding, strict=True))
    taken, place = [], []  # element j comes to stand at j + low, if that is inside
    for d, n, (low, _, _) in zip(spread, shape, padding, strict=True):
        first = max(0, -low)
        last = max(min(d, n - low), first)
        taken.append(slice(first, last))
        place.append(slice(first + low, last + low))
    return spread, tuple(slice(None, None, inner + 1) for _, _, inner in padding), shape, tuple(taken), tuple(place)


class Concat(Structural):
    """Arrays put one after the other along `axis`."""

    def type(self, *types: ArrayType, axis: int) -> ArrayType:  # type: ignore[override]
        first = types[0]
        for t in types[1:]:
            if t.dtype != first.dtype:
                raise DTypeError(f"concat: arrays of types {first.dtype.name} and {t.dtype.name}{at_user_line()}")
            if t.ndim != first.ndim or any(
                a != b for k, (a, b) in enumerate(zip(first.shape, t.shape, strict=True)) if k != axis
            ):
                raise ShapeError(
                    f"concat along axis {axis}: shapes {first.shape} and {t.shape} differ elsewhere{at_user_line()}"
                )
        shape = (*first.shape[:axis], sum(t.shape[axis] for t in types), *first.shape[axis + 1 :])
        return ArrayType(shape, first.dtype)

    def evaluate(self, *values: Any, axis: int) -> Any:
        return np.concatenate(values, axis=axis)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        if out.dtype.kind not in "fc":
            return None
        axis, x = params["axis"], values[i]
        before = sum(v.shape[axis] for v in values[:i])
        after = out.shape[axis] - before - x.shape[axis]
        padding = tuple((before, after, 0) if k == axis else (0, 0, 0) for k in range(x.ndim))
        return Linear(pad_p, 0, (x, number(0, x.dtype)), {"padding": padding})

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        moved = [
            to_front(v, at) if at is not None else broadcast_to(v, (size, *v.shape))
            for v, at in zip(values, axes, strict=True)
        ]
        return self.bind(*moved, axis=params["axis"] + 1), 0

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        words = next(p.shape[-1] for p in patterns if p is not None)
        full = [
            np.zeros((*t.shape, words), np.uint64) if p is None else p for p, t in zip(patterns, types, strict=True)
        ]
        return np.concatenate(full, axis=params["axis"])


class Flip(Structural):
    """Elements in reverse order along `axes`."""

    def type(self, x: ArrayType, *, axes: tuple[int, ...]) -> ArrayType:  # type: ignore[override]
        return ArrayType(x.shape, x.dtype)

    def evaluate(self, x: Any, *, axes: tuple[int, ...]) -> Any:  # type: ignore[override]
        return np.flip(x, axes)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        return self.bind(ct, **params)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        at = axes[0]
        assert at is not None
        return self.bind(values[0], axes=tuple(a + (a >= at) for a in params["axes"])), at


reshape_p, permute_p, broadcast_to_p = Reshape("reshape"), Permute("permute"), BroadcastTo("broadcast_to")
slice_p, pad_p, concat_p, flip_p = Slice("slice"), Pad("pad"), Concat("concat"), Flip("flip")


def reshape(x: Array, shape: Shape) -> Array:
    """`x` in the given shape (no -1 here; see `wg.reshape`)."""
    return x if x.shape == shape else reshape_p.bind(x, shape=shape)


def permute(x: Array, axes: tuple[int, ...]) -> Array:
    """`x` with output axis k taken from input axis `axes[k]`."""
    return x if axes == tuple(range(len(axes))) else permute_p.bind(x, axes=axes)


def broadcast_to(x: Array, shape: Shape) -> Array:
    """`x` stretched to `shape`."""
    return x if x.shape == shape else broadcast_to_p.bind(x, shape=shape)


def move_axis(x: Array, source: int, target: int) -> Array:
    """`x` with one axis moved, the others in their order."""
    rest = [i for i in range(x.ndim) if i != source]
    rest.insert(target, source)
    return permute(x, tuple(rest))


def to_front(x: Array, axis: int | None) -> Array:
    """`x` with the batch axis first."""
    assert axis is not None
    return move_axis(x, axis, 0)
