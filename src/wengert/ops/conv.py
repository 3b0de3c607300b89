"""Convolution over any number of axes, and the steps that a front end makes of it.

One primitive, linear in both inputs, whose two adjoints are the same primitive again with other settings: a stride
turns into a dilation of the input, and the other way round.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.maps import Linear, Map
from wengert.ir.primitive import Params, Primitive
from wengert.ir.types import ArrayType
from wengert.ops.shape import flip_p, permute, reshape, to_front
from wengert.ops.window import Pairs, Steps, padded, spread, windows
from wengert.source import at_user_line

BLOCK = 1 << 19  # elements of unfolded input at a time, so that they stay in the cache between copy and product
DIRECT = 32  # up to this many taps, a depthwise convolution is a sum over taps


class Conv(Primitive):
    """`out[n, o, p…] = Σ_{c, k…} x[n, g·C + c, p·stride + k·kernel_dilation - low] · kernel[o, c, k…]`.

    `x` has shape `(N, groups·C, *S)`, `kernel` shape `(groups·O, C, *K)` and the output shape `(N, groups·O, *P)`;
    group g of the output's channels reads group g of the input's. `padding` holds a pair (low, high) for each of the
    axes S; negative numbers cut off. `input_dilation` d puts d - 1 zeros between neighbours of `x` beforehand.
    """

    def type(  # type: ignore[override]
        self, x: ArrayType, kernel: ArrayType, *, stride: Steps, padding: Pairs, input_dilation: Steps,
        kernel_dilation: Steps, groups: int,
    ) -> ArrayType:  # fmt: skip
        n = len(stride)
        given = f"conv of {x.shape} with kernel {kernel.shape}"
        if x.dtype != kernel.dtype:
            raise DTypeError(f"{given}: types {x.dtype.name} and {kernel.dtype.name} must be equal{at_user_line()}")
        if x.dtype.kind == "b":
            raise DTypeError(f"{given}: booleans have no sums; convert with wg.astype{at_user_line()}")
        if x.ndim != n + 2 or kernel.ndim != n + 2:
            raise ShapeError(
                f"{given}: for {n} spatial axes expected x of shape (batch, channels, …) and a kernel of shape "
                f"(channels out, channels in / groups, …), {n + 2} axes each{at_user_line()}"
            )
        if kernel.shape[1] * groups != x.shape[1] or kernel.shape[0] % groups:
            raise ShapeError(
                f"{given}: x has {x.shape[1]} channels, but the kernel reads {kernel.shape[1]} in each of {groups} "
                f"group(s) and writes {kernel.shape[0]}. Expected channels of x = groups · kernel.shape[1], and "
                f"kernel.shape[0] divisible by groups.{at_user_line()}"
            )
        shape = []
        for k, (d, (low, high)) in enumerate(zip(x.shape[2:], padding, strict=True)):
            length, reach = spread(d, input_dilation[k]) + low + high, spread(kernel.shape[k + 2], kernel_dilation[k])
            if kernel.shape[k + 2] < 1 or length < reach:
                raise ShapeError(
                    f"{given}: the kernel reaches over {reach} places of spatial axis {k}, which has {length} (padding "
                    f"{low, high} included); pad more or take a smaller kernel{at_user_line()}"
                )
            shape.append((length - reach) // stride[k] + 1)
        return ArrayType((x.shape[0], kernel.shape[0], *shape), x.dtype)

    def evaluate(  # type: ignore[override]
        self, x: Any, kernel: Any, *, stride: Steps, padding: Pairs, input_dilation: Steps, kernel_dilation: Steps,
        groups: int,
    ) -> Any:  # fmt: skip
        if x.dtype != kernel.dtype or x.ndim != len(stride) + 2 or kernel.ndim != x.ndim or x.dtype.kind == "b":
            raise ValueError("operands")
        if kernel.shape[1] * groups != x.shape[1] or kernel.shape[0] % groups or 0 in kernel.shape[2:]:
            raise ValueError("channels")
        dtype = x.dtype
        if dtype == np.float16:  # has no matrix product of its own
            x, kernel = x.astype(np.float32), kernel.astype(np.float32)
        if any(base > 1 and step == 1 for base, step in zip(input_dilation, stride, strict=True)):
            out = _by_phases(x, kernel, stride, padding, input_dilation, kernel_dilation, groups)
        else:
            x = padded(x, padding, input_dilation, x.dtype.type(0))
            out = _convolve(windows(x, kernel.shape[2:], stride, kernel_dilation), kernel, groups)
        return out if out.dtype == dtype else out.astype(dtype)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        return Linear(self, i, values, params) if out.dtype.kind in "fc" else None

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        x, kernel = values
        groups, stride, dilation = params["groups"], params["stride"], params["kernel_dilation"]
        reach = [spread(k, d) for k, d in zip(kernel.shape[2:], dilation, strict=True)]
        length = [spread(d, s) for d, s in zip(x.shape[2:], params["input_dilation"], strict=True)]
        out = [spread(d, s) for d, s in zip(ct.shape[2:], stride, strict=True)]
        lows = [low for low, _ in params["padding"]]
        if i == 0:  # every input element meets the turned kernel, at distances that the stride spreads
            padding = [(r - low - 1, n - o + low) for r, low, n, o in zip(reach, lows, length, out, strict=True)]
            return self.bind(
                ct,
                turned(kernel, groups),
                stride=params["input_dilation"],
                padding=tuple(padding),
                input_dilation=stride,
                kernel_dilation=dilation,
                groups=groups,
            )
        # every kernel element sums over batch and positions: these are now the channels and the kernel
        padding = [(low, o + r - n - low - 1) for r, low, n, o in zip(reach, lows, length, out, strict=True)]
        result = self.bind(
            _channels_to_batch(x, groups),
            swap(ct),
            stride=dilation,
            padding=tuple(padding),
            input_dilation=params["input_dilation"],
            kernel_dilation=stride,
            groups=groups,
        )
        return swap(result)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        (x, kernel), (x_at, kernel_at), groups = values, axes, params["groups"]
        if kernel_at is None:  # more examples
            x = to_front(x, x_at)
            out = self.bind(reshape(x, (size * x.shape[1], *x.shape[2:])), kernel, **params)
            return reshape(out, (size, x.shape[1], *out.shape[1:])), 0
        kernel = to_front(kernel, kernel_at)
        o = kernel.shape[1]
        if x_at is not None:  # more groups
            x = permute(to_front(x, x_at), (1, 0, *range(2, x.ndim)))
            x = reshape(x, (x.shape[0], size * x.shape[2], *x.shape[3:]))
            kernel = reshape(kernel, (size * o, *kernel.shape[2:]))
            out = self.bind(x, kernel, **{**params, "groups": size * groups})
            return reshape(out, (out.shape[0], size, o, *out.shape[2:])), 1
        # more channels out, within each group
        tail = kernel.shape[2:]
        kernel = permute(reshape(kernel, (size, groups, o // groups, *tail)), (1, 0, *range(2, len(tail) + 3)))
        out = self.bind(x, reshape(kernel, (size * o, *tail)), **params)
        lead, spatial = out.shape[0], out.shape[2:]
        out = reshape(out, (lead, groups, size, o // groups, *spatial))
        out = permute(out, (2, 0, 1, *range(3, out.ndim)))
        return reshape(out, (size, lead, o, *spatial)), 0

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        (x, kernel), (x_type, kernel_type), groups = patterns, types, params["groups"]
        shape = self.type(*types, **params).shape
        n, o = shape[0], shape[1]
        out: Any = None
        if x is not None:
            planes = np.moveaxis(x, -1, 0).reshape(-1, *x_type.shape[1:])  # words count as more examples
            planes = padded(planes, params["padding"], params["input_dilation"], np.uint64(0))
            view = windows(planes, kernel_type.shape[2:], params["stride"], params["kernel_dilation"])
            spatial = len(shape) - 2
            seen = np.bitwise_or.reduce(view, axis=tuple(range(2 + spatial, 2 + 2 * spatial)))
            seen = seen.reshape(len(seen), groups, -1, *seen.shape[2:])
            seen = np.repeat(np.bitwise_or.reduce(seen, axis=2), o // groups, axis=1)
            out = np.moveaxis(seen.reshape(-1, n, *seen.shape[1:]), 0, -1)
        if kernel is not None:
            seen = np.bitwise_or.reduce(kernel, axis=tuple(range(1, kernel.ndim - 1)))
            seen = seen.reshape(1, o, *(1,) * (len(shape) - 2), seen.shape[-1])
            seen = np.broadcast_to(seen, (*shape, seen.shape[-1]))
            out = seen if out is None else out | seen
        return out


def swap(x: Array) -> Array:
    """The first two axes exchanged."""
    return permute(x, (1, 0, *range(2, x.ndim)))


def turned(kernel: Array, groups: int) -> Array:
    """The kernel of the adjoint: channels in and out exchanged within each group, flipped along every spatial axis."""
    o, c, *spatial = kernel.shape
    if groups == 1:
        kernel = swap(kernel)
    else:
        kernel = reshape(kernel, (groups, o // groups, c, *spatial))
        kernel = permute(kernel, (0, 2, 1, *range(3, kernel.ndim)))
        kernel = reshape(kernel, (groups * c, o // groups, *spatial))
    return flip_p.bind(kernel, axes=tuple(range(2, kernel.ndim))) if spatial else kernel


def _channels_to_batch(x: Array, groups: int) -> Array:
    """(N, groups·C, *S) -> (C, groups·N, *S)."""
    if groups == 1:
        return swap(x)
    n, c, *spatial = x.shape
    x = permute(reshape(x, (n, groups, c // groups, *spatial)), (2, 1, 0, *range(3, len(spatial) + 3)))
    return reshape(x, (c // groups, groups * n, *spatial))


# Evaluation: the windows are copied out (unfolded) so that one matrix product does the sum.


def _by_phases(x: Any, kernel: Any, stride: Steps, padding: Pairs, base: Steps, dilation: Steps, groups: int) -> Any:
    """A convolution of dilated input, without meeting the zeros in between.

    Along an axis of base d and stride 1, output places that are equal modulo d see the same part of the kernel.
    """
    lengths = [
        (spread(n, b) + sum(pair) - spread(k, d)) // s + 1
        for n, b, pair, k, d, s in zip(x.shape[2:], base, padding, kernel.shape[2:], dilation, stride, strict=True)
    ]
    if min(lengths, default=1) < 1:
        raise ValueError("a window that does not fit")
    out = np.zeros((x.shape[0], kernel.shape[0], *lengths), x.dtype)
    axes: list[list[_Phase]] = [
        list(_phases(n, p, k, pair[0], d, b)) if b > 1 and s == 1 else [_Phase(slice(None), slice(None), pair, b, d)]
        for n, p, k, pair, d, b, s in zip(
            x.shape[2:], lengths, kernel.shape[2:], padding, dilation, base, stride, strict=True
        )
    ]
    for phases in itertools.product(*axes):
        taps: Any = (..., *[f.taps for f in phases])
        places: Any = (..., *[f.places for f in phases])
        part = kernel[taps]
        seen = padded(x, tuple(f.padding for f in phases), tuple(f.base for f in phases), x.dtype.type(0))
        view = windows(seen, part.shape[2:], stride, tuple(f.dilation for f in phases))
        out[places] = _convolve(view, part, groups)
    return out


class _Phase(NamedTuple):
    """Along one axis: some places of the output, the taps that they see, and the convolution between the two."""

    places: slice
    taps: slice
    padding: tuple[int, int]
    base: int
    dilation: int


def _phases(length: int, places: int, taps: int, low: int, dilation: int, base: int) -> Iterator[_Phase]:
    every = base // math.gcd(dilation, base)  # of the taps, this one sees an element, not a zero
    for first in range(min(base, places)):
        for tap in range(min(every, taps)):
            start = first + tap * dilation - low
            if start % base == 0:
                start //= base
                step = every * dilation // base
                end = start + -(-(places - first) // base) - 1 + spread(-(-(taps - tap) // every), step)
                yield _Phase(slice(first, None, base), slice(tap, None, every), (-start, end - length), 1, step)


def _convolve(view: Any, kernel: Any, groups: int) -> Any:
    """The product of windows (N, groups·C, *P, *K) with a kernel (groups·O, C, *K)."""
    spatial = kernel.ndim - 2
    n, places, taps = len(view), view.shape[2 : 2 + spatial], kernel.shape[2:]
    o, c, p, k = kernel.shape[0] // groups, kernel.shape[1], math.prod(places), math.prod(taps)
    view = view.reshape(n, groups, c, *places, *taps) if groups == 1 else _split(view, groups)
    matrices = kernel.reshape(groups, o, c * k)
    out = np.empty((n, groups * o, *places), view.dtype)
    if 0 in (out.size, c):
        out[...] = 0
        return out
    if c == 1 and o <= 2 and k <= DIRECT:
        return _by_taps(view, matrices, out)
    at_p, at_k = tuple(range(3, 3 + spatial)), tuple(range(3 + spatial, 3 + 2 * spatial))
    if p >= 32:  # an unfolded matrix for each example
        result = out.reshape(n, groups, o, p)
        columns = view.transpose((0, 1, 2, *at_k, *at_p))
        step = max(1, BLOCK // (groups * c * k * p))
        for i in range(0, n, step):
            part = columns[i : i + step]
            np.matmul(matrices, part.reshape(len(part), groups, c * k, p), out=result[i : i + step])
        return out
    # few places: one matrix for all examples
    if k > p:
        columns = view.transpose((1, 0, *at_p, 2, *at_k)).reshape(groups, n * p, c * k).swapaxes(1, 2)
    else:
        columns = view.transpose((1, 2, *at_k, 0, *at_p)).reshape(groups, c * k, n * p)
    product = np.matmul(matrices, columns).reshape(groups * o, n, *places)
    return product.swapaxes(0, 1)


def _split(view: Any, groups: int) -> Any:
    """The channel axis of a view as two, (groups, C), without a copy."""
    n, c, *rest = view.shape
    a, b, *strides = view.strides
    shape, strides = (n, groups, c // groups, *rest), (a, b * (c // groups), b, *strides)
    return np.lib.stride_tricks.as_strided(view, shape, strides, writeable=False)


def _by_taps(view: Any, matrices: Any, out: Any) -> Any:
    """One channel in for each group: the sum over taps, without unfolding."""
    groups, o, _ = matrices.shape
    spatial = (view.ndim - 3) // 2
    n, places, taps = len(view), view.shape[3 : 3 + spatial], view.shape[3 + spatial :]
    result = out.reshape(n, groups, o, *places)
    ones = (1,) * spatial
    for j, tap in enumerate(np.ndindex(*taps)):
        factor = matrices[:, :, j].reshape(groups, o, *ones)
        part = view[(..., *tap)]
        if j == 0:
            np.multiply(part, factor, out=result)
        else:
            result += part * factor
    return out


conv_p = Conv("conv")
