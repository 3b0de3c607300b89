"""Activation functions as modules; formulas stand with the functions of the same names in `nn.functional`.

`inplace` is accepted where PyTorch has it, and means nothing: arrays don't change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.ir.array import Array
from wengert.ir.types import DEFAULT_FLOAT, as_dtype
from wengert.nn import functional as F
from wengert.nn.module import Module
from wengert.nn.sizes import size


class _Activation(Module):
    """A function with settings that are attributes of the same names."""

    function: Any  # one of nn.functional
    settings: tuple[str, ...] = ()

    def forward(self, x: Any) -> Array:
        values = {n: getattr(self, n) for n in self.settings}
        return self.function(x, **values)

    def extra_repr(self) -> str:
        return ", ".join(f"{n}={getattr(self, n)!r}" for n in self.settings)


def _plain(name: str, function: Callable[..., Array], inplace: bool = False) -> type[_Activation]:
    """The module of a function without settings."""

    def start(self: _Activation) -> None: ...

    def start_inplace(self: _Activation, inplace: bool = False) -> None: ...

    members = {
        "__init__": start_inplace if inplace else start,
        "function": staticmethod(function),
        "__doc__": function.__doc__,
    }
    return type(name, (_Activation,), {**members, "__module__": __name__})


Sigmoid = _plain("Sigmoid", F.sigmoid)
Tanh = _plain("Tanh", F.tanh)
ReLU = _plain("ReLU", F.relu, inplace=True)
ReLU6 = _plain("ReLU6", F.relu6, inplace=True)
SELU = _plain("SELU", F.selu, inplace=True)
SiLU = _plain("SiLU", F.silu, inplace=True)
Mish = _plain("Mish", F.mish, inplace=True)
Softsign = _plain("Softsign", F.softsign)
Hardsigmoid = _plain("Hardsigmoid", F.hardsigmoid, inplace=True)
Hardswish = _plain("Hardswish", F.hardswish, inplace=True)
LogSigmoid = _plain("LogSigmoid", F.logsigmoid)
Tanhshrink = _plain("Tanhshrink", F.tanhshrink)


class LeakyReLU(_Activation):
    """`x` where positive, else `negative_slope · x`."""

    function, settings = staticmethod(F.leaky_relu), ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        self.negative_slope = negative_slope


class PReLU(Module):
    """`x` where positive, else `a · x`, where a is learned: one for all channels (axis 1), or one for each.

    Parameter: `weight` (num_parameters,), at first `init`.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: Any = None):
        self.num_parameters = size(num_parameters, "PReLU: num_parameters")
        self.weight = Array(np.full((num_parameters,), init, DEFAULT_FLOAT if dtype is None else as_dtype(dtype)))

    def forward(self, x: Any) -> Array:
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(_Activation):
    """`x` where positive, else `α (eˣ - 1)`."""

    function, settings = staticmethod(F.elu), ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        self.alpha = alpha


class CELU(_Activation):
    """`x` where positive, else `α (e^(x/α) - 1)`."""

    function, settings = staticmethod(F.celu), ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        self.alpha = alpha


class GELU(_Activation):
    """`x Φ(x)`, or with `approximate="tanh"` its approximation."""

    function, settings = staticmethod(F.gelu), ("approximate",)

    def __init__(self, approximate: str = "none"):
        self.approximate = approximate


class Softplus(_Activation):
    """`log(1 + e^(βx)) / β`."""

    function, settings = staticmethod(F.softplus), ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        self.beta = beta
        self.threshold = threshold


class Hardtanh(_Activation):
    """`x` held between `min_val` and `max_val`."""

    function, settings = staticmethod(F.hardtanh), ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        self.min_val = min_val
        self.max_val = max_val


class Softshrink(_Activation):
    """`x` moved towards 0 by `lambd`, and 0 where it is nearer than that."""

    function, settings = staticmethod(F.softshrink), ("lambd",)

    def __init__(self, lambd: float = 0.5):
        self.lambd = lambd


class Hardshrink(_Activation):
    """0 where `|x| ≤ lambd`, else `x`."""

    function, settings = staticmethod(F.hardshrink), ("lambd",)

    def __init__(self, lambd: float = 0.5):
        self.lambd = lambd


class Threshold(_Activation):
    """`x` where it is above the threshold, else `value`."""

    function, settings = staticmethod(F.threshold), ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False):
        self.threshold = threshold
        self.value = value


class GLU(_Activation):
    """`a · sigmoid(b)`, with the halves a and b of `x` along `dim`."""

    function, settings = staticmethod(F.glu), ("dim",)

    def __init__(self, dim: int = -1):
        self.dim = dim


class Softmax(_Activation):
    """`exp(x) / Σ exp(x)`, the sum along `dim`."""

    function, settings = staticmethod(F.softmax), ("dim",)

    def __init__(self, dim: int = -1):
        self.dim = dim


class Softmax2d(_Activation):
    """`softmax` over the channels of (N, C, H, W), or (C, H, W)."""

    def forward(self, x: Any) -> Array:
        return F.softmax(x, -3)


class Softmin(_Activation):
    """`softmax(-x)` along `dim`."""

    function, settings = staticmethod(F.softmin), ("dim",)

    def __init__(self, dim: int = -1):
        self.dim = dim


class LogSoftmax(_Activation):
    """`x - log Σ exp(x)`, the sum along `dim`."""

    function, settings = staticmethod(F.log_softmax), ("dim",)

    def __init__(self, dim: int = -1):
        self.dim = dim
