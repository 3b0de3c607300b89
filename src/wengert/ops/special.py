"""Elementwise functions with a removable singularity: `x·log y`, the log-odds, the cardinal sine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.ir.array import Array
from wengert.ops.approximation import in_double, nearest_whole
from wengert.ops.compare import equal, less, select
from wengert.ops.elementwise import Elementwise
from wengert.ops.transcendental import cos, log, log1p


def _zero_wins(log_: Any) -> Any:
    def evaluate(x: Any, y: Any) -> Any:
        return np.where((x == 0) & ~np.isnan(y), x.dtype.type(0), x * log_(y))

    return evaluate


def _log_factor(log_: Any, pole: float) -> Any:
    def factor(o: Array, x: Array, y: Array) -> Array:
        corner = equal(x, 0) & equal(y, pole)
        return select(corner, 0, log_(select(corner, 0 if pole else 1, y)))

    return factor


def _quotient_factor(shift: float) -> Any:
    def factor(o: Array, x: Array, y: Array) -> Array:
        zero = equal(x, 0)
        return select(zero, 0, x / select(zero, 1, y + shift if shift else y))

    return factor


xlogy = Elementwise(
    "xlogy",
    _zero_wins(np.log),
    _log_factor(log, 0.0),
    _quotient_factor(0.0),
    takes="f",
    doc="`x·log(y)`, but 0 where `x = 0`. At (0, 0) both derivatives are 0.",
)
xlog1py = Elementwise(
    "xlog1py",
    _zero_wins(np.log1p),
    _log_factor(log1p, -1.0),
    _quotient_factor(1.0),
    takes="f",
    doc="`x·log(1 + y)`, but 0 where `x = 0`. At (0, -1) both derivatives are 0.",
)


def _logit(p: Any) -> Any:
    middle = (p > 0.25) & (p < 0.75)  # there p - 1/2 is exact, and the quotient would lose what is small
    return np.where(middle, 2 * np.arctanh(2 * (np.where(middle, p, 0.5) - 0.5)), np.log(p / (1 - p)))


logit = Elementwise(
    "logit", in_double(_logit), lambda y, p: 1 / (p * (1 - p)), takes="f", doc="`log(p / (1 - p))`, the log-odds."
)


def _sinc(x: Any) -> Any:
    whole, rest = nearest_whole(x)
    sine = np.where(whole % 2 == 0, 1, -1) * np.sin(np.pi * rest)
    return np.where(x == 0, 1.0, np.where(np.isinf(x), 0.0, sine / (np.pi * x)))


_SINC_SLOPE = [(-1) ** k * 2 * k * math.pi ** (2 * k) / math.factorial(2 * k + 1) for k in range(1, 11)]


def _sinc_slope(y: Array, x: Array) -> Array:
    # near 0 the difference below cancels, and the series takes its place
    small = less(x * x, 0.1)
    near, far = select(small, x, 0), select(small, 1, x)
    square = near * near
    series: Any = _SINC_SLOPE[-1]
    for c in _SINC_SLOPE[-2::-1]:
        series = series * square + c
    return select(small, series * near, (cos(math.pi * far) - y) / far)


sinc = Elementwise("sinc", in_double(_sinc), _sinc_slope, takes="f", doc="`sin(πx) / (πx)`, and 1 at 0.")
