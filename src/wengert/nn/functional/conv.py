"""Convolutions with a bias, in PyTorch's layout and argument order."""

from __future__ import annotations

from typing import Any

from wengert.array.conv import Padding, Setting
from wengert.array.conv import conv as conv_
from wengert.array.conv import conv_transpose as conv_transpose_
from wengert.errors import ShapeError
from wengert.ir.array import Array
from wengert.nn.functional.inputs import as_input
from wengert.ops.promote import as_array
from wengert.ops.shape import reshape
from wengert.source import at_user_line


def _operands(what: str, n: int, x: Any, weight: Any) -> tuple[Array, Array]:
    weight = as_array(weight, f"{what}: the weight")
    x = as_input(x, weight, what)
    if weight.ndim != n + 2 or x.ndim not in (n + 1, n + 2):
        raise ShapeError(
            f"{what}: an input of shape {x.shape} and a weight of shape {weight.shape}; expected (batch, channels, "
            f"*{n} spatial axes), the batch optional, and (channels, channels, *{n} lengths){at_user_line()}"
        )
    return x, weight


def _biased(y: Array, bias: Any, n: int) -> Array:
    return y if bias is None else y + reshape(as_array(bias), (bias.shape[0], *(1,) * n))


def conv_n(
    n: int, x: Any, weight: Any, bias: Any, stride: Setting, padding: Padding, dilation: Setting, groups: int
) -> Array:
    """The convolution over n axes that `conv1d`, `conv2d` and `conv3d` are."""
    x, weight = _operands(f"conv{n}d", n, x, weight)
    y = conv_(x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return _biased(y, bias, n)


def conv_transpose_n(
    n: int, x: Any, weight: Any, bias: Any, stride: Setting, padding: Padding, output_padding: Setting, groups: int,
    dilation: Setting,
) -> Array:  # fmt: skip
    """The transposed convolution over n axes."""
    x, weight = _operands(f"conv_transpose{n}d", n, x, weight)
    y = conv_transpose_(
        x, weight, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups
    )
    return _biased(y, bias, n)


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: Setting = 1, padding: Padding = 0, dilation: Setting = 1,
    groups: int = 1,
) -> Array:  # fmt: skip
    """`y[n, o, p] = b[o] + Σ_{c, k} x[n, c, p·stride + k·dilation - padding] · W[o, c, k]`.

    Args:
        x: (N, in, L), or (in, L).
        weight: (out, in / groups, K).
        bias: (out,), or None.
        padding: zeros on both sides, "valid" or "same".

    Returns:
        (N, out, L'), or (out, L').

    Raises:
        ShapeError, DTypeError: input and weight do not belong together.
    """
    return conv_n(1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Setting = 1, padding: Padding = 0, dilation: Setting = 1,
    groups: int = 1,
) -> Array:  # fmt: skip
    """`conv1d` with two spatial axes: x (N, in, H, W), weight (out, in / groups, K, L)."""
    return conv_n(2, x, weight, bias, stride, padding, dilation, groups)


def conv3d(
    x: Any, weight: Any, bias: Any = None, stride: Setting = 1, padding: Padding = 0, dilation: Setting = 1,
    groups: int = 1,
) -> Array:  # fmt: skip
    """`conv1d` with three spatial axes: x (N, in, D, H, W), weight (out, in / groups, K, L, M)."""
    return conv_n(3, x, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    x: Any, weight: Any, bias: Any = None, stride: Setting = 1, padding: Padding = 0, output_padding: Setting = 0,
    groups: int = 1, dilation: Setting = 1,
) -> Array:  # fmt: skip
    """The adjoint of `conv1d` by its input, plus a bias.

    Args:
        x: (N, in, L), or (in, L).
        weight: (in, out / groups, K).

    Returns:
        (N, out, L') with `L' = (L - 1)·stride - 2·padding + dilation·(K - 1) + output_padding + 1`.
    """
    return conv_transpose_n(1, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    x: Any, weight: Any, bias: Any = None, stride: Setting = 1, padding: Padding = 0, output_padding: Setting = 0,
    groups: int = 1, dilation: Setting = 1,
) -> Array:  # fmt: skip
    """`conv_transpose1d` with two spatial axes."""
    return conv_transpose_n(2, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    x: Any, weight: Any, bias: Any = None, stride: Setting = 1, padding: Padding = 0, output_padding: Setting = 0,
    groups: int = 1, dilation: Setting = 1,
) -> Array:  # fmt: skip
    """`conv_transpose1d` with three spatial axes."""
    return conv_transpose_n(3, x, weight, bias, stride, padding, output_padding, groups, dilation)
