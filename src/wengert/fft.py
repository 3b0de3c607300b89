"""Discrete Fourier transforms, `wg.fft`: the functions of the array API standard, and NumPy's in two dimensions.

    fft:   y[k] = Σ_j x[j] exp(-2πi jk/n)          ifft:  x[j] = 1/n Σ_k y[k] exp(+2πi jk/n)

`norm` says which direction is divided by n: "backward" (the inverse one), "forward", or both by √n: "ortho". A length
`n` cuts the input or fills it with zeros. float32 gives complex64, float64 gives complex128; integers become float32.
Every transform is linear; a complex one is its own transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.array.dtypes import require_cpu
from wengert.array.manipulation import roll
from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import DEFAULT_FLOAT, as_dtype, complex_dtype, float_dtype, normalize_axes, normalize_axis
from wengert.ops.complex import conj
from wengert.ops.fft import SCALES, fft_p, irfft_p, rfft_p
from wengert.ops.promote import as_array, convert, number
from wengert.ops.shape import pad_p
from wengert.source import at_user_line

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip


def _real(x: Any, what: str) -> Array:
    a = as_array(x, what)
    if a.dtype.kind == "c":
        raise DTypeError(f"{what} takes real numbers, got {a.dtype.name}; use fft or ifft{at_user_line()}")
    return convert(a, float_dtype(a.dtype, a.weak))


def _complex(x: Any, what: str) -> Array:
    a = as_array(x, what)
    return convert(a, complex_dtype(a.dtype))


def _norm(norm: Any, what: str) -> str:
    if norm not in SCALES:
        raise ArgumentError(f"{what}: norm is 'backward', 'ortho' or 'forward', got {norm!r}{at_user_line()}")
    return norm


def _fit(x: Array, axis: int, n: int | None, what: str) -> Array:
    """`x` cut or filled with zeros to length `n` along `axis`."""
    if n is None or x.shape[axis] == n:
        return x
    if n < 1:
        raise ShapeError(f"{what}: a transform of length {n}; expected at least 1{at_user_line()}")
    padding = tuple((0, n - d if a == axis else 0, 0) for a, d in enumerate(x.shape))
    return pad_p.bind(x, number(0, x.dtype), padding=padding)


def _axes(x: Array, s: Any, axes: Any, what: str) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    """The axes to transform along, in the order given, and the length wanted for each."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    axes = tuple(normalize_axis(a, x.ndim, what) for a in axes)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{what}: axes {axes} name one axis twice{at_user_line()}")
    lengths = (None,) * len(axes) if s is None else tuple(None if n == -1 else n for n in s)
    if len(lengths) != len(axes):
        raise ShapeError(f"{what}: {len(lengths)} lengths for {len(axes)} axes{at_user_line()}")
    return axes, lengths


def _transform(x: Any, s: Any, axes: Any, norm: Any, inverse: bool, what: str) -> Array:
    a = _complex(x, what)
    where, lengths = _axes(a, s, axes, what)
    for axis, n in zip(where, lengths, strict=True):
        a = _fit(a, axis, n, what)
    norm = _norm(norm, what)
    return fft_p.bind(a, axes=where, inverse=inverse, norm=norm) if where else a


def _half(a: Array, n: int | None, axis: int, norm: str, what: str) -> Array:
    a = _fit(a, axis, n, what)
    return rfft_p.bind(a, axis=axis, n=a.shape[axis], norm=norm)


def _from_half(a: Array, n: int | None, axis: int, norm: str, what: str) -> Array:
    n = 2 * (a.shape[axis] - 1) if n is None else n
    if n < 1:
        raise ShapeError(f"{what}: a signal of length {n} along axis {axis}; expected at least 1{at_user_line()}")
    return irfft_p.bind(_fit(a, axis, n // 2 + 1, what), axis=axis, n=n, norm=norm)


def fft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The discrete Fourier transform along one axis: `y[k] = Σ_j x[j] exp(-2πi jk/n)`.

    Args:
        x: array; real ones are converted.
        n: length of the transform; `x` is cut or filled with zeros. By default that of the axis.
        axis: the axis to transform along.
        norm: "backward", "ortho" (divided by √n) or "forward" (divided by n).

    Returns:
        A complex array, of length `n` along the axis.

    Raises:
        ShapeError: no such axis, or no samples. ArgumentError: another `norm`.

    Example:
        >>> wg.fft.fft([1.0, 0.0, 0.0])
        Array([1.+0.j, 1.+0.j, 1.+0.j], dtype=complex64)
    """
    return _transform(x, None if n is None else (n,), (axis,), norm, False, "fft")


def ifft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The inverse of `fft`: `x[j] = 1/n Σ_k y[k] exp(2πi jk/n)`. Arguments as there.

    Example:
        >>> wg.fft.ifft([3.0, 0.0, 0.0])
        Array([1.+0.j, 1.+0.j, 1.+0.j], dtype=complex64)
    """
    return _transform(x, None if n is None else (n,), (axis,), norm, True, "ifft")


def fftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Array:
    """The transform along several axes.

    Args:
        x: array; real ones are converted.
        s: a length for each axis (-1: as it is); `x` is cut or filled with zeros.
        axes: the axes; by default all, or the last `len(s)`.
        norm: as for `fft`; n is the product of the lengths.

    Raises:
        ShapeError: axes and lengths that do not match, an axis named twice, or no samples.

    Example:
        >>> wg.fft.fftn([[1.0, 1.0], [1.0, 1.0]])[0, 0]
        Array(4.+0.j, dtype=complex64)
    """
    return _transform(x, s, axes, norm, False, "fftn")


def ifftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Array:
    """The inverse of `fftn`. Arguments as there."""
    return _transform(x, s, axes, norm, True, "ifftn")


def fft2(x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str = "backward") -> Array:
    """`fftn` along the last two axes."""
    return _transform(x, s, axes, norm, False, "fft2")


def ifft2(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str = "backward"
) -> Array:
    """`ifftn` along the last two axes."""
    return _transform(x, s, axes, norm, True, "ifft2")


def rfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The frequencies `0 … n//2` of real numbers along one axis; the others are their conjugates.

    Args:
        x: real array.
        n, axis, norm: as for `fft`.

    Returns:
        A complex array, of length `n//2 + 1` along the axis.

    Raises:
        DTypeError: `x` is complex. ShapeError: no such axis, or no samples.

    Example:
        >>> wg.fft.rfft([1.0, 2.0, 3.0, 4.0]).shape
        (3,)
    """
    a = _real(x, "rfft")
    return _half(a, n, normalize_axis(axis, a.ndim, "rfft"), _norm(norm, "rfft"), "rfft")


def irfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The real numbers with these frequencies: the inverse of `rfft`. Imaginary parts of 0 and n/2 do not count.

    Args:
        x: frequencies `0 … n//2`.
        n: length of the result along the axis; by default `2 (m - 1)` for `m` frequencies.

    Raises:
        ShapeError: no such axis, or `n < 1`.

    Example:
        >>> wg.fft.irfft([4.0, 0.0, 0.0])
        Array([1., 1., 1., 1.], dtype=float32)
    """
    a = _complex(x, "irfft")
    return _from_half(a, n, normalize_axis(axis, a.ndim, "irfft"), _norm(norm, "irfft"), "irfft")


def rfftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Array:
    """`rfft` along the last of the axes, then `fft` along the others. Arguments as for `fftn`."""
    a = _real(x, "rfftn")
    where, lengths = _axes(a, s, axes, "rfftn")
    if not where:
        raise ShapeError(f"rfftn: at least one axis is needed (shape {a.shape}){at_user_line()}")
    a = _half(a, lengths[-1], where[-1], _norm(norm, "rfftn"), "rfftn")
    return _transform(a, _as_s(lengths[:-1]), where[:-1], norm, False, "rfftn")


def irfftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Array:
    """The inverse of `rfftn`: `ifft` along all axes but the last, then `irfft`. `s` are the lengths of the result."""
    a = _complex(x, "irfftn")
    where, lengths = _axes(a, s, axes, "irfftn")
    if not where:
        raise ShapeError(f"irfftn: at least one axis is needed (shape {a.shape}){at_user_line()}")
    a = _transform(a, _as_s(lengths[:-1]), where[:-1], norm, True, "irfftn")
    return _from_half(a, lengths[-1], where[-1], norm, "irfftn")


def rfft2(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str = "backward"
) -> Array:
    """`rfftn` along the last two axes."""
    return rfftn(x, s=s, axes=axes, norm=norm)


def irfft2(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str = "backward"
) -> Array:
    """`irfftn` along the last two axes."""
    return irfftn(x, s=s, axes=axes, norm=norm)


def _as_s(lengths: Sequence[int | None]) -> tuple[int, ...]:
    """Lengths as `s` spells them: -1 for a length left as it is."""
    return tuple(-1 if n is None else n for n in lengths)


def hfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The real spectrum of a signal with Hermitian symmetry, given by its first `n//2 + 1` samples.

    Args:
        x: samples `0 … n//2`.
        n: length of the result along the axis; by default `2 (m - 1)` for `m` samples.

    Raises:
        ShapeError: no such axis, or `n < 1`.
    """
    a = conj(_complex(x, "hfft"))
    return _from_half(a, n, normalize_axis(axis, a.ndim, "hfft"), SCALES[_norm(norm, "hfft")], "hfft")


def ihfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The inverse of `hfft`: the first `n//2 + 1` samples of the signal with this real spectrum."""
    a = _real(x, "ihfft")
    return conj(_half(a, n, normalize_axis(axis, a.ndim, "ihfft"), SCALES[_norm(norm, "ihfft")], "ihfft"))


def _frequencies(n: int, d: float, dtype: Any, device: Any, what: str, numbers: Any) -> Array:
    require_cpu(device, what)
    if n < 1:
        raise ArgumentError(f"{what}: a transform of length {n}; expected at least 1{at_user_line()}")
    wanted = DEFAULT_FLOAT if dtype is None else as_dtype(dtype)
    if wanted.kind != "f":
        raise DTypeError(f"{what}: frequencies are real floats, not {wanted.name}{at_user_line()}")
    return Array((numbers / (n * d)).astype(wanted))


def fftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Array:
    """The frequency of each element of `fft`, in cycles per unit of the sample distance `d`.

    `[0, 1, …, (n-1)//2, -(n//2), …, -1] / (d n)`.

    Raises:
        ArgumentError: `n < 1`. DTypeError: `dtype` is no real float.

    Example:
        >>> wg.fft.fftfreq(4)
        Array([ 0.  ,  0.25, -0.5 , -0.25], dtype=float32)
    """
    return _frequencies(n, d, dtype, device, "fftfreq", (np.arange(n) + n // 2) % max(n, 1) - n // 2)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Array:
    """The frequency of each element of `rfft` of `n` samples: `[0, 1, …, n//2] / (d n)`.

    Example:
        >>> wg.fft.rfftfreq(4)
        Array([0.  , 0.25, 0.5 ], dtype=float32)
    """
    return _frequencies(n, d, dtype, device, "rfftfreq", np.arange(n // 2 + 1))


def _shift(x: Any, axes: Any, what: str, back: bool) -> Array:
    a = as_array(x, what)
    where = normalize_axes(axes, a.ndim, what)
    if not where:
        return a
    return roll(a, tuple(-(a.shape[i] // 2) if back else a.shape[i] // 2 for i in where), axis=where)


def fftshift(x: Any, /, *, axes: int | Sequence[int] | None = None) -> Array:
    """Elements moved so that frequency 0 stands in the middle of the axes.

    Example:
        >>> wg.fft.fftshift(wg.fft.fftfreq(4))
        Array([-0.5 , -0.25,  0.  ,  0.25], dtype=float32)
    """
    return _shift(x, axes, "fftshift", False)


def ifftshift(x: Any, /, *, axes: int | Sequence[int] | None = None) -> Array:
    """The inverse of `fftshift`; they differ for odd lengths."""
    return _shift(x, axes, "ifftshift", True)
