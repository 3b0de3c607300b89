"""Discrete Fourier transforms.

The matrix of the transform is symmetric, so a complex transform is its own transpose. Real transforms keep half of
the spectrum: the transpose of one is the other, with the frequencies that stand for two weighted for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.maps import Linear, Map
from wengert.ir.primitive import Params, Primitive
from wengert.ir.types import ArrayType, complex64, complex128, complex_dtype, float32, float64, real_dtype
from wengert.ops.complex import conj
from wengert.source import at_user_line

SCALES = {"backward": "forward", "forward": "backward", "ortho": "ortho"}  # each with its opposite


class Transform(Primitive):
    """What all transforms share: linear, dense along their axes."""

    takes: tuple[np.dtype, ...] = (complex64, complex128)

    def _check(self, x: ArrayType, axes: Sequence[int]) -> None:
        if x.dtype not in self.takes:
            raise DTypeError(
                f"{self.name} takes {' or '.join(t.name for t in self.takes)}, got {x.dtype.name}; convert with "
                f"wg.astype{at_user_line()}"
            )
        if any(x.shape[a] == 0 for a in axes):
            raise ShapeError(f"{self.name} along axes {tuple(axes)} of shape {x.shape}: no samples{at_user_line()}")

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map:
        return Linear(self, 0, values, params)

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        (pattern,), out = patterns, self.type(*types, **params)
        axes = params["axes"] if "axes" in params else (params["axis"],)
        union = np.bitwise_or.reduce(pattern, axis=axes, keepdims=True)
        return np.broadcast_to(union, (*out.shape, pattern.shape[-1]))


class FFT(Transform):
    """`y[k] = c Σ_j x[j] exp(∓2πi jk/n)` along each of `axes`; the sign is + if `inverse`.

    `norm` says which direction is divided by n: "forward", "backward" (the inverse one), or both by √n: "ortho".
    """

    def type(self, x: ArrayType, *, axes: tuple[int, ...], inverse: bool, norm: str) -> ArrayType:  # type: ignore[override]
        self._check(x, axes)
        return x

    def evaluate(self, x: Any, *, axes: tuple[int, ...], inverse: bool, norm: Any) -> Any:  # type: ignore[override]
        if x.dtype.kind != "c":
            raise TypeError("not complex")
        return (np.fft.ifftn if inverse else np.fft.fftn)(x, axes=axes, norm=norm)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        return self.bind(ct, **params)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        at = axes[0]
        assert at is not None
        return self.bind(values[0], **{**params, "axes": tuple(a + (a >= at) for a in params["axes"])}), at


@lru_cache(maxsize=256)
def _weights(n: int, ndim: int, axis: int, twice: float, dtype: np.dtype) -> Array:
    # 1 for the frequencies that stand for themselves (0, and n/2 if n is even), `twice` for those that stand for two
    w = np.full(n // 2 + 1, twice, dtype)
    w[0] = 1
    if n % 2 == 0:
        w[-1] = 1
    return Array(w.reshape([-1 if a == axis else 1 for a in range(ndim)]))


class HalfTransform(Transform):
    """A real transform along `axis`, of which `n` is the length on the real side."""

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        at = axes[0]
        assert at is not None
        axis = params["axis"]
        return self.bind(values[0], **{**params, "axis": axis + (axis >= at)}), at


class RFFT(HalfTransform):
    """The frequencies `0 … n//2` of a real signal of length `n`; the others are their conjugates."""

    takes = (float32, float64)

    def type(self, x: ArrayType, *, axis: int, n: int, norm: str) -> ArrayType:  # type: ignore[override]
        self._check(x, (axis,))
        if x.shape[axis] != n:
            raise ShapeError(f"rfft: axis {axis} of shape {x.shape} does not have length {n}{at_user_line()}")
        return ArrayType((*x.shape[:axis], n // 2 + 1, *x.shape[axis + 1 :]), complex_dtype(x.dtype))

    def evaluate(self, x: Any, *, axis: int, n: int, norm: Any) -> Any:  # type: ignore[override]
        return np.fft.rfft(x, axis=axis, norm=norm)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        half = _weights(params["n"], ct.ndim, params["axis"], 0.5, ct.dtype)
        return irfft_p.bind(conj(ct) * half, **{**params, "norm": SCALES[params["norm"]]})


class IRFFT(HalfTransform):
    """The real signal of length `n` with the given frequencies `0 … n//2`; imaginary parts of 0 and n/2 don't count."""

    def type(self, x: ArrayType, *, axis: int, n: int, norm: str) -> ArrayType:  # type: ignore[override]
        self._check(x, (axis,))
        if n < 1 or x.shape[axis] != n // 2 + 1:
            raise ShapeError(
                f"irfft: axis {axis} of shape {x.shape} lacks the {n // 2 + 1} frequencies of a signal of length {n}"
                + at_user_line()
            )
        return ArrayType((*x.shape[:axis], n, *x.shape[axis + 1 :]), real_dtype(x.dtype))

    def evaluate(self, x: Any, *, axis: int, n: int, norm: Any) -> Any:  # type: ignore[override]
        return np.fft.irfft(x, n, axis=axis, norm=norm)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        spectrum = rfft_p.bind(ct, **{**params, "norm": SCALES[params["norm"]]})
        return conj(spectrum) * _weights(params["n"], ct.ndim, params["axis"], 2, spectrum.dtype)


fft_p, rfft_p, irfft_p = FFT("fft"), RFFT("rfft"), IRFFT("irfft")
