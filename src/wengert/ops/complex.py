"""Complex numbers: conjugate, real and imaginary part, and the number made of two parts.

All are linear over the real numbers. Transposes are taken with respect to `Re(a·b)`, so that a function that is
complex differentiable has the derivative of the textbook, and `imag` pulls `c` back to `-i·c`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.errors import DTypeError
from wengert.ir.array import Array
from wengert.ir.maps import Compose, Linear, Map
from wengert.ir.primitive import Params, registry
from wengert.ir.types import ArrayType, broadcast_shapes, complex_dtype
from wengert.ops.elementwise import Elementwise, Stretch
from wengert.ops.promote import as_array, convert, number
from wengert.ops.transcendental import atan2
from wengert.source import at_user_line


class RealLinear(Elementwise):
    """An elementwise function of complex numbers that is linear over the reals; real numbers take a short cut."""

    def __init__(self, name: str, ufunc: Callable[..., Any], back: Callable[[Array], Array], gives: str, doc: str):
        super().__init__(name, ufunc, "one", takes="c", gives=gives, doc=doc)
        self.back = back

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        return Linear(self, 0, values, params)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        return convert(self.back(ct), values[0].dtype, values[0].weak)


class Conjugate(RealLinear):
    """`re - i·im`; a real number is its own conjugate."""

    def __call__(self, x: Any) -> Array:  # type: ignore[override]
        x = as_array(x, self.name)
        return self.bind(x) if x.dtype.kind == "c" else x


class RealPart(RealLinear):
    """The real part; a real number is its own."""

    def __call__(self, x: Any) -> Array:  # type: ignore[override]
        x = as_array(x, self.name)
        return self.bind(x) if x.dtype.kind == "c" else x


class ImaginaryPart(RealLinear):
    """The imaginary part; 0 for a real number."""

    def __call__(self, x: Any) -> Array:  # type: ignore[override]
        x = as_array(x, self.name)
        return self.bind(x) if x.dtype.kind == "c" else registry["broadcast_to"].bind(number(0, x.dtype), shape=x.shape)


conj: Elementwise = Conjugate("conj", np.conjugate, lambda c: conj(c), "same", "The complex conjugate.")
real = RealPart("real", np.real, lambda c: c, "real", "The real part.")
imag = ImaginaryPart("imag", np.imag, lambda c: c * number(-1j, complex_dtype(c.dtype)), "real", "The imaginary part.")


def _from_parts(x: Any, y: Any) -> Any:
    # filled part by part, because x + 1j*y makes NaN of an infinite y
    out = np.empty(np.broadcast_shapes(x.shape, y.shape), complex_dtype(x.dtype))
    out.real, out.imag = x, y
    return out


class FromParts(Elementwise):
    """`x + i·y` of two real arrays."""

    def __init__(self) -> None:
        super().__init__("complex", _from_parts, "one", "one", takes="f", doc="`x + i·y` of two real arrays.")

    def type(self, x: ArrayType, y: ArrayType) -> ArrayType:  # type: ignore[override]
        if x.dtype != y.dtype or x.dtype.kind != "f":
            raise DTypeError(
                f"complex: the parts are {x.dtype.name} and {y.dtype.name}; both must be one real type{at_user_line()}"
            )
        return ArrayType(broadcast_shapes([x.shape, y.shape], self.name), complex_dtype(x.dtype))

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        x = values[i]
        zero = number(0, x.dtype)
        place = Linear(self, i, (x, zero) if i == 0 else (zero, x), params)
        return place if x.shape == out.shape else Compose(place, Stretch(x.shape, out.shape))

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        return real.bind(ct) if i == 0 else -imag.bind(ct)


complex_ = FromParts()


def angle(x: Any) -> Array:
    """The angle of a complex number in the plane, in radians: `atan2(im, re)`."""
    x = as_array(x, "angle")
    return atan2(imag(x), real(x))
