"""Initial values whose scale follows from the shape of the weight, so that signals neither grow nor shrink."""

from __future__ import annotations

import math
from typing import Any

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import Shape
from wengert.nn.init.distributions import normal, shape_and_dtype, uniform
from wengert.source import at_user_line

_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the scale of signals through a nonlinearity: 1 for "linear", √2 for "relu".

    Also "sigmoid" (1), "tanh" (5/3), "leaky_relu" (√(2/(1 + param²)), slope 0.01 by default) and "selu" (3/4).
    """
    if nonlinearity in _LINEAR or nonlinearity == "sigmoid":
        return 1.0
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    known = {"tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
    if nonlinearity not in known:
        raise ArgumentError(
            f"init.calculate_gain: nonlinearity is {nonlinearity!r}; expected one of linear, sigmoid, tanh, relu, "
            f"leaky_relu, selu{at_user_line()}"
        )
    return known[nonlinearity]


def fans(shape: Shape, what: str) -> tuple[int, int]:
    """How many inputs a unit reads, and how many units read an input: for a weight (out, in, *window)."""
    if len(shape) < 2:
        raise ShapeError(
            f"init.{what}: a weight of shape {shape} has no fan in and fan out; expected (out, in, …){at_user_line()}"
        )
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def xavier_uniform(like: Any, gain: float = 1.0, *, key: Any = None, dtype: Any = None) -> Array:
    """Uniform within `±gain·√(6 / (fan_in + fan_out))`.

    Args:
        like: the shape (out, in, …) of the result, or an array whose shape and type it gets.
        gain: see `calculate_gain`.
        key: a random key or seed; by default the next of the package's (`nn.manual_seed`).

    Glorot and Bengio 2010, *Understanding the difficulty of training deep feedforward neural networks*.
    """
    shape, dtype = shape_and_dtype(like, dtype, "xavier_uniform")
    bound = gain * math.sqrt(6 / max(sum(fans(shape, "xavier_uniform")), 1))
    return uniform(shape, -bound, bound, key=key, dtype=dtype)


def xavier_normal(like: Any, gain: float = 1.0, *, key: Any = None, dtype: Any = None) -> Array:
    """Normal with deviation `gain·√(2 / (fan_in + fan_out))`; arguments as for `xavier_uniform`."""
    shape, dtype = shape_and_dtype(like, dtype, "xavier_normal")
    return normal(shape, 0.0, gain * math.sqrt(2 / max(sum(fans(shape, "xavier_normal")), 1)), key=key, dtype=dtype)


def _deviation(shape: Shape, a: float, mode: str, nonlinearity: str, what: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f'init.{what}: mode is {mode!r}; expected "fan_in" or "fan_out"{at_user_line()}')
    fan = fans(shape, what)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform(
    like: Any, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", *, key: Any = None,
    dtype: Any = None,
) -> Array:  # fmt: skip
    """Uniform within `±gain·√(3 / fan)`.

    Args:
        like, key: as for `xavier_uniform`.
        a: the negative slope of a leaky ReLU.
        mode: "fan_in" keeps the scale going forward, "fan_out" going back.
        nonlinearity: chooses the gain.

    He, Zhang, Ren and Sun 2015, *Delving deep into rectifiers* (arXiv 1502.01852).
    """
    shape, dtype = shape_and_dtype(like, dtype, "kaiming_uniform")
    bound = math.sqrt(3.0) * _deviation(shape, a, mode, nonlinearity, "kaiming_uniform")
    return uniform(shape, -bound, bound, key=key, dtype=dtype)


def kaiming_normal(
    like: Any, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", *, key: Any = None,
    dtype: Any = None,
) -> Array:  # fmt: skip
    """Normal with deviation `gain / √fan`; arguments as for `kaiming_uniform`."""
    shape, dtype = shape_and_dtype(like, dtype, "kaiming_normal")
    return normal(shape, 0.0, _deviation(shape, a, mode, nonlinearity, "kaiming_normal"), key=key, dtype=dtype)
