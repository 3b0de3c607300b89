"""Numbers as people read them: four significant digits, and a summary where there are too many."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.errors import AbstractValueError
from wengert.ir.array import Array, concrete
from wengert.ir.types import ArrayType

FEW = 4  # so many elements are written out


def number_text(x: Any, digits: int = 4) -> str:
    """One number: `0.4621`, `1.2e-05`, `3`, `True`."""
    kind = np.asarray(x).dtype.kind
    if kind == "b":
        return str(bool(x))
    if kind in "iu":
        return str(int(x))
    if x == 0:
        return "0"  # also where it is -0
    if kind == "c":
        return f"{float(np.real(x)):.{digits}g}{float(np.imag(x)):+.{digits}g}i"
    return f"{float(x):.{digits}g}"


def operand_text(x: Any) -> str:
    """A number as it stands in a product: a complex one in brackets."""
    text = number_text(x)
    return f"({text})" if text.endswith("i") else text


def number_latex(x: Any, digits: int = 4) -> str:
    """One number for LaTeX: `1.2 \\cdot 10^{-5}`."""
    text = number_text(x, digits)
    mantissa, e, exponent = text.partition("e")
    if e and exponent.lstrip("+-").isdigit():
        return rf"{mantissa} \cdot 10^{{{int(exponent)}}}"
    return {"inf": r"\infty", "-inf": r"-\infty", "nan": r"\text{NaN}"}.get(text, text)


def count_text(n: int) -> str:
    """An exact count, with its size where it has more digits than a line holds."""
    digits = int(n.bit_length() * 0.30102999566398120)  # one too few at most
    if digits <= 120:
        return str(n)
    shift = max(0, n.bit_length() - 64)
    exponent = np.log10(float(n >> shift)) + shift * 0.30102999566398120
    return f"about {10 ** (exponent % 1):.2f}·10^{int(exponent)}"


def ndarray_or_none(x: Array) -> Any:
    """The numbers of `x`; None where only its type is known."""
    try:
        return np.asarray(concrete(x))
    except AbstractValueError:
        return None


def shape_text(type: ArrayType) -> str:
    """`float32 64×128`; a single number is just `float32`."""
    return f"{type.dtype.name} {'×'.join(map(str, type.shape))}".rstrip()


def value_text(x: Array) -> str:
    """A value on one line: the number, a few numbers, or the type with the range."""
    data = ndarray_or_none(x)
    if data is None:
        return shape_text(x.type)
    if data.ndim == 0:
        return number_text(data[()])
    if data.ndim == 1 and data.size <= FEW:
        return "[" + ", ".join(number_text(v, 3) for v in data) + "]"
    if data.size == 0 or data.dtype.kind == "c":
        return shape_text(x.type)
    lost = int(np.isnan(data).sum()) if data.dtype.kind == "f" else 0
    if lost == data.size:
        return f"{shape_text(x.type)}: all NaN"
    low, high = np.nanmin(data), np.nanmax(data)
    between = number_text(low, 3) if low == high else f"{number_text(low, 3)} … {number_text(high, 3)}"
    return f"{shape_text(x.type)}: {between}{f', {lost} NaN' if lost else ''}"


def norm(x: Array) -> float | None:
    """The Euclidean norm of all elements; None where they are not known."""
    data = ndarray_or_none(x)
    if data is None:
        return None
    if data.ndim == 0:
        return float(abs(data))
    return float(np.linalg.norm(data.astype(np.complex128 if data.dtype.kind == "c" else np.float64).ravel()))


def adjoint_text(x: Array) -> str:
    """A cotangent in a sum: the number, a few numbers, or the norm."""
    return value_text(x) if _few(x) else f"array of norm {number_text(norm(x), 3)}"


def adjoint_equation(name: str, x: Array | None) -> str:
    """A cotangent with its name: `∂loss/∂w = 0.3`, or `‖∂loss/∂w‖ = 2.1` for an array."""
    if x is None:
        return f"{name} = 0"
    return f"{name} = {value_text(x)}" if _few(x) else f"‖{name}‖ = {number_text(norm(x), 3)}"


def _few(x: Array) -> bool:
    data = ndarray_or_none(x)
    return data is None or data.ndim == 0 or (data.ndim == 1 and data.size <= FEW)
