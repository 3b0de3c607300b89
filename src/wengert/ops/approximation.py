"""Evaluation of special functions in NumPy: in double precision, block by block, by region and by rational formulas."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

BLOCK = 8192  # elements at a time, so that the intermediate results of a long formula stay in the cache
Coefficients = tuple[float, ...]
Function = Callable[..., Any]


def in_double(function: Function) -> Function:
    """`function` of float64 vectors, as one of arrays of any one float type: shorter types are computed in double.

    The inputs broadcast; keyword arguments are passed on.
    """

    @functools.wraps(function)
    def evaluate(*inputs: Any, **params: Any) -> Any:
        dtype, wide = inputs[0].dtype, np.broadcast_arrays(*inputs) if len(inputs) > 1 else inputs
        flat = [np.ravel(a) for a in wide]
        out = np.empty(flat[0].size, dtype)
        for start in range(0, out.size, BLOCK):
            block = slice(start, start + BLOCK)
            out[block] = function(*[a[block].astype(np.float64) for a in flat], **params)
        return out.reshape(wide[0].shape)

    return evaluate


def by_region(t: Any, bounds: Sequence[float], functions: Sequence[Function], *inputs: Any) -> Any:
    """`functions[k](*inputs)` where `bounds[k-1] < t <= bounds[k]`; the last function also takes NaN."""
    region = np.searchsorted(bounds, t)
    first, last = (region.min(), region.max()) if region.size else (0, 0)
    if first == last:
        return functions[first](*inputs)
    out = np.empty_like(t)
    for k in range(first, last + 1):
        chosen = np.flatnonzero(region == k)
        if chosen.size:
            out[chosen] = functions[k](*[a[chosen] for a in inputs])
    return out


def rational(t: Any, top: Coefficients, bottom: Coefficients) -> Any:
    """The quotient of two polynomials in `t`, coefficients in increasing order."""
    return polynomial(t, top) / polynomial(t, bottom)


def polynomial(t: Any, coefficients: Coefficients) -> Any:
    """`Σ c_k t^k` by Horner's rule."""
    sum_ = t * coefficients[-1]
    for c in coefficients[-2:0:-1]:
        sum_ += c
        sum_ *= t
    sum_ += coefficients[0]
    return sum_


def nearest_whole(x: Any) -> tuple[Any, Any]:
    """`x` as a whole number and the rest, in [-1/2, 1/2]: both exact, so that `sin(πx)` is accurate for any `x`."""
    whole = np.rint(x)
    return whole, x - whole
