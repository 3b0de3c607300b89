"""Linear, Bilinear, and what changes only shapes or nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from wengert.errors import ShapeError
from wengert.ir.array import Array
from wengert.nn import functional as F
from wengert.nn.functional.inputs import as_input, check_features
from wengert.nn.init.distributions import uniform
from wengert.nn.module import Module
from wengert.nn.seed import next_key
from wengert.nn.sizes import size
from wengert.ops.promote import as_array
from wengert.ops.shape import reshape
from wengert.random.keys import split
from wengert.source import at_user_line


class Linear(Module):
    """`y = x Wᵀ + b`.

    Args:
        in_features, out_features: lengths of the last axis of `x` and `y`.
        bias: whether b is there.
        dtype: of the parameters, float32 by default.
        key: a random key or seed; by default the next of the package's (`nn.manual_seed`).

    Parameters: `weight` (out, in) and `bias` (out,), uniform within `±1/√in`.

    Example:
        >>> nn.Linear(3, 2)(wg.ones((5, 3))).shape
        (5, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None, key: Any = None):
        self.in_features = size(in_features, "Linear: in_features", least=0)
        self.out_features = size(out_features, "Linear: out_features", least=0)
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        keys = split(next_key(key))
        self.weight = uniform((out_features, in_features), -bound, bound, key=keys[0], dtype=dtype)
        self.bias = uniform((out_features,), -bound, bound, key=keys[1], dtype=dtype) if bias else None

    def forward(self, x: Any) -> Array:
        x = as_input(x, self.weight, self)
        check_features(x, self.in_features, self)
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """`yₖ = x₁ᵀ Wₖ x₂ + bₖ`.

    Parameters: `weight` (out, in1, in2) and `bias` (out,), uniform within `±1/√in1`.
    """

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, dtype: Any = None,
        key: Any = None,
    ):  # fmt: skip
        self.in1_features = size(in1_features, "Bilinear: in1_features")
        self.in2_features = size(in2_features, "Bilinear: in2_features")
        self.out_features = size(out_features, "Bilinear: out_features")
        bound = 1 / math.sqrt(in1_features)
        keys = split(next_key(key))
        self.weight = uniform((out_features, in1_features, in2_features), -bound, bound, key=keys[0], dtype=dtype)
        self.bias = uniform((out_features,), -bound, bound, key=keys[1], dtype=dtype) if bias else None

    def forward(self, x1: Any, x2: Any) -> Array:
        return F.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Identity(Module):
    """`x` itself, whatever arguments it is made with."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Array:
        x = as_array(x, "Flatten")
        if x.ndim == 0:
            return reshape(x, (1,))
        first, last = self.start_dim % x.ndim, self.end_dim % x.ndim
        if not (-x.ndim <= self.start_dim < x.ndim and -x.ndim <= self.end_dim < x.ndim) or first > last:
            raise ShapeError(f"{self!r} of an input of shape {x.shape}: no such axes{at_user_line()}")
        return reshape(x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """The axis `dim` as several, of lengths `unflattened_size`, of which one may be -1."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]):
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, x: Any) -> Array:
        x = as_array(x, "Unflatten")
        if not -x.ndim <= self.dim < x.ndim:
            raise ShapeError(f"{self!r} of an input of shape {x.shape}: no such axis{at_user_line()}")
        axis = self.dim % x.ndim
        sizes, length = list(self.unflattened_size), x.shape[axis]
        if sizes.count(-1) == 1:
            known = -math.prod(sizes)
            sizes[sizes.index(-1)] = length // known if known and length % known == 0 else 0
        if math.prod(sizes) != length:
            raise ShapeError(
                f"{self!r} of an input of shape {x.shape}: axis {axis} has length {length}{at_user_line()}"
            )
        return reshape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
