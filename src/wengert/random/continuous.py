"""Continuous distributions: functions of uniform bits, differentiable in their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import DEFAULT_FLOAT, Shape, as_dtype, broadcast_shapes, float32, int32
from wengert.ops.arithmetic import nextafter
from wengert.ops.bits import right_shift
from wengert.ops.compare import greater, less, select
from wengert.ops.contract import dot_general
from wengert.ops.erf import erfinv as erfinv_
from wengert.ops.erf import ndtr, ndtri
from wengert.ops.gamma_sample import random_gamma_p
from wengert.ops.linalg.cholesky import cholesky_p
from wengert.ops.logsumexp import softmax
from wengert.ops.promote import convert, number, promote
from wengert.ops.random import DRAW, random_bits_p
from wengert.ops.shape import broadcast_to
from wengert.ops.transcendental import log, log1p, tan
from wengert.ops.transcendental import logistic as expit
from wengert.random.keys import as_shape, one_key, two_words
from wengert.random.keys import split as split_key
from wengert.source import at_user_line

SQRT_2 = 1.4142135623730951
PI = 3.141592653589793


def open_uniform(key: Array, shape: Shape, dtype: np.dtype) -> Array:
    """Uniform in (0, 1): odd multiples of 2⁻¹¹, 2⁻²⁴ or 2⁻⁵³, which are symmetric about 1/2."""
    return 0.5 + 0.5 * _symmetric(key, shape, dtype, 1)


def _symmetric(key: Array, shape: Shape, dtype: np.dtype, less_bits: int = 0) -> Array:
    """Uniform in (-1, 1): odd multiples of a power of 2, each exact in this type."""
    digits = np.finfo(dtype).nmant + 1 - less_bits
    if digits <= 24:
        words = right_shift(random_bits_p.bind(key, shape=shape, stream=DRAW), number(32 - digits, np.dtype("uint32")))
        odd = convert(words, int32) * 2 + (1 - 2**digits)
        return convert(convert(odd, float32) * 2.0**-digits, dtype)
    high, low = two_words(key, shape)
    high = convert(right_shift(high, number(5, high.dtype)), dtype) - 2.0**26
    low = convert(right_shift(low, number(32 - (digits - 27), low.dtype)), dtype)
    return (high * 2.0 ** (digits - 26) + (2 * low + 1)) * 2.0**-digits


def _unit(key: Array, shape: Shape, dtype: np.dtype) -> Array:
    """Uniform in [0, 1): multiples of 2⁻¹¹, 2⁻²⁴ or 2⁻⁵³."""
    digits = np.finfo(dtype).nmant + 1
    if digits <= 24:
        words = random_bits_p.bind(key, shape=shape, stream=DRAW)
        return convert(right_shift(words, number(32 - digits, words.dtype)), dtype) * 2.0**-digits
    high, low = two_words(key, shape)
    high = convert(right_shift(high, number(5, high.dtype)), dtype)
    return (high * 2.0**26 + convert(right_shift(low, number(6, low.dtype)), dtype)) * 2.0**-53


def as_float(dtype: Any, what: str) -> np.dtype:
    dtype = as_dtype(dtype)
    if dtype.kind != "f":
        raise DTypeError(f"random.{what} of {dtype.name}; expected float16, float32 or float64{at_user_line()}")
    return dtype


def parameters(what: str, shape: Any, dtype: Any, *values: Any) -> tuple[list[Array], Shape, np.dtype]:
    """Parameters of a distribution in one float type, and the shape of a sample: that given, or theirs."""
    arrays = promote(f"random.{what}", values)
    if dtype is None:
        strong = arrays[0].dtype.kind == "f" and not arrays[0].weak
        dtype = arrays[0].dtype if strong else DEFAULT_FLOAT
    dtype = as_float(dtype, what)
    arrays = [convert(a, dtype) for a in arrays]
    theirs = broadcast_shapes([a.shape for a in arrays], f"random.{what}")
    if shape is None:
        return arrays, theirs, dtype
    shape = as_shape(shape, what)
    if broadcast_shapes([shape, theirs], f"random.{what}") != shape:
        raise ShapeError(
            f"random.{what}: parameters of shape {theirs} do not stretch to a sample of shape {shape}{at_user_line()}"
        )
    return arrays, shape, dtype


def uniform(
    key: Any, shape: int | Sequence[int] = (), dtype: Any = float32, minval: Any = 0.0, maxval: Any = 1.0
) -> Array:
    """Uniform in [minval, maxval), differentiable in both.

    Args:
        key: a key, uint32[2].
        shape: of the result; `minval` and `maxval` stretch to it.
        dtype: a real float type; from 0 to 1 the result is a multiple of 2⁻¹¹, 2⁻²⁴ or 2⁻⁵³.

    Raises:
        DTypeError, ShapeError: no key, no float type, or bounds that do not stretch to the shape.

    Example:
        >>> wg.random.uniform(wg.random.key(0), (2, 3)).shape
        (2, 3)
    """
    (low, high), shape, dtype = parameters("uniform", shape, dtype, minval, maxval)
    u = _unit(one_key(key, "uniform"), shape, dtype)
    if type(minval) in (int, float) and type(maxval) in (int, float) and (minval, maxval) == (0, 1):
        return u
    x = low + (high - low) * u
    return select(less(x, high), x, nextafter(high, low))  # the sum may be rounded up to maxval


def normal(key: Any, shape: int | Sequence[int] = (), dtype: Any = float32) -> Array:
    """Standard normal: `√2·erfinv(u)`, u uniform in (-1, 1). For others, `mean + scale * normal(…)`.

    Example:
        >>> wg.random.normal(wg.random.key(0), (2, 3)).shape
        (2, 3)
    """
    u = _symmetric(one_key(key, "normal"), as_shape(shape, "normal"), as_float(dtype, "normal"))
    return SQRT_2 * erfinv_(u)


def truncated_normal(
    key: Any, lower: Any, upper: Any, shape: int | Sequence[int] | None = None, dtype: Any = None
) -> Array:
    """Standard normal given that it lies between `lower` and `upper`; accurate also far out in a tail.

    Args:
        lower, upper: arrays that stretch to the shape (by default, theirs); the sample is differentiable in both.

    Example:
        >>> wg.random.truncated_normal(wg.random.key(0), -2.0, 2.0, (3,)).shape
        (3,)
    """
    (low, high), shape, dtype = parameters("truncated_normal", shape, dtype, lower, upper)
    ordered(low, high, "truncated_normal: lower", "upper")
    right = greater(low, 0)  # there the left tail, mirrored, has the digits
    a, b = select(right, -high, low), select(right, -low, high)
    below = ndtr(a)
    x = ndtri(below + (ndtr(b) - below) * open_uniform(one_key(key, "truncated_normal"), shape, dtype))
    x = select(right, -x, x)
    return select(less(x, low), low, select(greater(x, high), high, x))


def gumbel(key: Any, shape: int | Sequence[int] = (), dtype: Any = float32) -> Array:
    """Standard Gumbel: `-log(-log(u))`, u uniform in (0, 1)."""
    return -log(-log(_open(key, shape, dtype, "gumbel")))


def exponential(key: Any, shape: int | Sequence[int] = (), dtype: Any = float32) -> Array:
    """Exponential with mean 1: `-log(1 - u)`, u uniform in [0, 1)."""
    u = _unit(one_key(key, "exponential"), as_shape(shape, "exponential"), as_float(dtype, "exponential"))
    return -log1p(-u)


def laplace(key: Any, shape: int | Sequence[int] = (), dtype: Any = float32) -> Array:
    """Laplace with scale 1: `-sign(u)·log(1 - |u|)`, u uniform in (-1, 1)."""
    u = _symmetric(one_key(key, "laplace"), as_shape(shape, "laplace"), as_float(dtype, "laplace"))
    return select(less(u, 0), log1p(u), -log1p(-u))


def logistic(key: Any, shape: int | Sequence[int] = (), dtype: Any = float32) -> Array:
    """Logistic with scale 1: `log(u / (1 - u))`, u uniform in (0, 1)."""
    u = _open(key, shape, dtype, "logistic")
    return log(u) - log1p(-u)


def cauchy(key: Any, shape: int | Sequence[int] = (), dtype: Any = float32) -> Array:
    """Cauchy with scale 1: `tan(πu/2)`, u uniform in (-1, 1)."""
    u = _symmetric(one_key(key, "cauchy"), as_shape(shape, "cauchy"), as_float(dtype, "cauchy"))
    return tan(PI / 2 * u)


def gamma(key: Any, a: Any, shape: int | Sequence[int] | None = None, dtype: Any = None) -> Array:
    """Gamma of shape parameter `a` and scale 1, density `z^(a-1) e^-z / Γ(a)`; differentiable once in `a`.

    Args:
        a: positive array that stretches to the shape (by default, its own).
        dtype: by default that of `a`, for Python numbers float32.

    Returns:
        A sample, NaN where `a` is negative. Its derivative by `a` is that of the value with the same probability below
        it (implicit reparameterisation, Figurnov, Mohamed and Mnih 2018, arXiv 1805.08498).

    Example:
        >>> wg.random.gamma(wg.random.key(0), 2.5, (3,)).shape
        (3,)
    """
    (a,), shape, _ = parameters("gamma", shape, dtype, a)
    return random_gamma_p.bind(one_key(key, "gamma"), broadcast_to(a, shape), log=False)


def loggamma(key: Any, a: Any, shape: int | Sequence[int] | None = None, dtype: Any = None) -> Array:
    """The logarithm of `gamma(key, a, shape)`, also where that is too small to be told from 0."""
    (a,), shape, _ = parameters("loggamma", shape, dtype, a)
    return random_gamma_p.bind(one_key(key, "loggamma"), broadcast_to(a, shape), log=True)


def beta(key: Any, a: Any, b: Any, shape: int | Sequence[int] | None = None, dtype: Any = None) -> Array:
    """Beta of parameters `a` and `b`, density `x^(a-1) (1-x)^(b-1) / B(a, b)`; differentiable once in both."""
    (a, b), shape, dtype = parameters("beta", shape, dtype, a, b)
    first, second = split_key(one_key(key, "beta"))
    return expit(loggamma(first, a, shape, dtype) - loggamma(second, b, shape, dtype))


def dirichlet(key: Any, alpha: Any, shape: int | Sequence[int] = (), dtype: Any = None) -> Array:
    """Dirichlet of parameters `alpha`, of shape (k,): arrays of shape (*shape, k) that sum to 1 along the last axis."""
    (alpha,), _, dtype = parameters("dirichlet", None, dtype, alpha)
    if alpha.ndim != 1:
        raise ShapeError(f"random.dirichlet: alpha has shape {alpha.shape}; expected (k,){at_user_line()}")
    x = loggamma(key, alpha, (*as_shape(shape, "dirichlet"), *alpha.shape), dtype)
    return softmax(x, axis=-1)


def multivariate_normal(
    key: Any, mean: Any, covariance: Any, shape: int | Sequence[int] = (), dtype: Any = None
) -> Array:
    """Normal with a mean of shape (k,) and a positive definite covariance (k, k), as arrays (*shape, k).

    `mean + L z` with the Cholesky factor L of the covariance; differentiable in both.
    """
    (mean, covariance), _, dtype = parameters("multivariate_normal", None, dtype, mean, covariance)
    if mean.ndim != 1 or covariance.shape != mean.shape * 2:
        raise ShapeError(
            f"random.multivariate_normal: mean {mean.shape} and covariance {covariance.shape}; expected (k,) and (k, k)"
            + at_user_line()
        )
    z = normal(key, (*as_shape(shape, "multivariate_normal"), *mean.shape), dtype)
    return mean + dot_general(z, cholesky_p.bind(covariance), ((), ()), ((z.ndim - 1,), (1,)))


def _open(key: Any, shape: Any, dtype: Any, what: str) -> Array:
    return open_uniform(one_key(key, what), as_shape(shape, what), as_float(dtype, what))


def ordered(low: Array, high: Array, first: str, second: str) -> None:
    """Refuse bounds in the wrong order, where they are known."""
    if low.trace is None and high.trace is None and not np.all(low.data < high.data):
        raise ArgumentError(f"random.{first} is not below {second} everywhere{at_user_line()}")
