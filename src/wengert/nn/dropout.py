"""Dropout layers. Each holds a random key, of which a call in training uses one half and assigns the other."""

from __future__ import annotations

from typing import Any

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.nn import functional as F
from wengert.nn.functional.dropout import check_probability
from wengert.nn.module import Module
from wengert.nn.seed import next_key
from wengert.ops.promote import as_array
from wengert.source import at_user_line


class _Dropout(Module):
    _buffers = frozenset(("key",))
    _transient = frozenset(("key",))
    axes: int | None = None  # how many of the last axes share a coin

    def __init__(self, p: float = 0.5, inplace: bool = False, key: Any = None):
        check_probability(p, type(self).__name__)
        self.p = p
        self.key = next_key(key)

    def forward(self, x: Any) -> Array:
        x = as_array(x, type(self).__name__)
        if not self.training or self.p == 0:
            return x
        if self.axes is not None and x.ndim not in (self.axes + 1, self.axes + 2):
            raise ShapeError(
                f"{self!r}: the input has shape {x.shape}; expected (batch, channels, *{self.axes} spatial axes), the "
                f"batch optional{at_user_line()}"
            )
        return F.dropout(x, self.p, key=self.draw_key(x), axes=self.axes)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace=False"


class Dropout(_Dropout):
    """In training, elements are set to 0 with probability p and the others divided by 1 - p; after `eval()`, nothing.

    Args:
        p: the probability.
        key: a random key or seed; by default the next of the package's (`nn.manual_seed`).

    Buffer `key`, which each call in training replaces (it is no part of `state_dict()`). Inside a transformed function
    the model must be an argument: a compiled function that closes over it would draw the same numbers at every call.

    Example:
        >>> nn.Dropout(0.5).eval()(wg.ones(3))
        Array([1., 1., 1.], dtype=float32)
    """


class Dropout1d(_Dropout):
    """Whole channels of (N, C, L) are dropped together; everything else as for `Dropout`."""

    axes = 1


class Dropout2d(_Dropout):
    """Whole channels of (N, C, H, W) are dropped together."""

    axes = 2


class Dropout3d(_Dropout):
    """Whole channels of (N, C, D, H, W) are dropped together."""

    axes = 3


class AlphaDropout(_Dropout):
    """Dropout for nets of SELU, which keeps mean 0 and variance 1."""

    def forward(self, x: Any) -> Array:
        x = as_array(x, "AlphaDropout")
        return F.alpha_dropout(x, self.p, key=self.draw_key(x)) if self.training and self.p else x


class RReLU(Module):
    """`x` where positive, else a slope times `x`: drawn anew for each element in training, after `eval()` the mean.

    Args:
        lower, upper: between which slopes are drawn.
        key: as for `Dropout`, whose buffer of that name it has too.
    """

    _buffers = frozenset(("key",))
    _transient = frozenset(("key",))

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False, key: Any = None):
        if not lower <= upper:
            raise ArgumentError(
                f"RReLU: the slopes lie between {lower} and {upper}; expected lower ≤ upper{at_user_line()}"
            )
        self.lower = lower
        self.upper = upper
        self.key = next_key(key)

    def forward(self, x: Any) -> Array:
        x = as_array(x, "RReLU")
        return F.rrelu(x, self.lower, self.upper, self.training, key=self.draw_key(x) if self.training else None)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}"
