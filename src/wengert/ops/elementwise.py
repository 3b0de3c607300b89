"""The elementwise family: everything that all of its members share is said here once.

A member is `Elementwise(name, ufunc, *factors)`: NumPy's function and, for each input, the local derivative as a
function of the output and the inputs. Shapes broadcast as in NumPy; the inputs are of one type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.errors import DTypeError
from wengert.ir.array import Array, WeakArray
from wengert.ir.maps import IDENTITY, Compose, Linear, Map
from wengert.ir.primitive import Params, Primitive, Unsupported, explained, registry, watchers
from wengert.ir.quiet import SILENCE, quiet
from wengert.ir.record import Tape
from wengert.ir.types import ArrayType, Shape, bool_, broadcast_shapes, float_dtype, real_dtype
from wengert.ops.promote import convert, number, promote
from wengert.source import at_user_line

ONE = "one"  # the derivative is 1: the map is the identity
MINUS = "minus"  # the derivative is -1
_NUMBERS = (float, int)
REFUSALS = (ValueError, TypeError, OverflowError)  # by which NumPy refuses operands
Factor = Callable[..., Any] | str | None  # a function gives an Array or a Map


class Elementwise(Primitive):
    """One function applied to every element.

    `factors[i]` is the derivative by input `i`: a function `(out, *inputs) -> Array`, `ONE`, `MINUS`, or None where it
    is zero. `bounded` says that factors are finite for all inputs, infinities and NaN included, so that no guard is
    needed.
    `takes` names the kinds of element type accepted: any of `b`, `i` (which includes unsigned), `f`, `c`; `"float"`
    means that integers are first converted to the default float. `gives` is "same", "bool" or "real".
    """

    def __init__(
        self,
        name: str,
        ufunc: Callable[..., Any],
        *factors: Factor,
        takes: str = "ifc",
        gives: str = "same",
        bounded: bool = False,
        arity: int | None = None,
        doc: str = "",
    ):
        super().__init__(name)
        self.ufunc = ufunc
        self.factors = factors
        self.takes = takes
        self.gives = gives
        self.bounded = bounded
        self.arity = arity or max(1, len(factors))
        self.differentiable = any(f is not None for f in factors)
        self.__doc__ = doc
        self.kinds = frozenset(takes.replace("i", "iu"))
        # whether evaluation is the plain function, on arguments of one kind
        self.direct = type(self).evaluate is Elementwise.evaluate and type(self).weak_result is Primitive.weak_result
        if self.direct:
            self.evaluate = ufunc  # type: ignore[method-assign]
        self.settle()

    def __call__(self, *args: Any) -> Array:
        # arrays of one type, and an array of floats beside a Python number, need no promotion
        if len(args) == 1:
            x = args[0]
            if isinstance(x, Array):
                out = self.single(x)
                if out is not None:
                    return out
                if x.dtype.kind in self.kinds:
                    return self.bind(x)
        elif len(args) == 2:
            x, y = args
            if not isinstance(y, Array):
                y = self._beside(x, y)
            elif not isinstance(x, Array):
                x = self._beside(y, x)
            if x is not None and y is not None:
                out = self.pair(x, y)
                if out is not None:
                    return out
                dtype = x.dtype
                if dtype is y.dtype and dtype.kind in self.kinds and x.weak == y.weak:
                    return self.bind(x, y)
        arrays = promote(self.name, args)
        kind = arrays[0].dtype.kind
        if kind not in self.takes:
            arrays = self._coerce(arrays, kind)
        return self.bind(*arrays)

    def _beside(self, x: Any, value: Any) -> Array | None:
        """A Python number or an ndarray in the type of the float array `x`; None where that takes thought."""
        if isinstance(x, Array) and (dtype := x.dtype).kind == "f" and "f" in self.kinds:
            if type(value) in _NUMBERS:
                return WeakArray(dtype.type(value)) if x.weak else number(value, dtype)
            if type(value) is np.ndarray and value.dtype is dtype and not x.weak:
                return Array(value)
        return None

    def bind(self, *args: Array, **params: Any) -> Any:
        if len(args) == 1:
            out = self.single(args[0]) if not params else None
        elif len(args) == 2:
            out = self.pair(*args) if not params else None
        else:
            out = None
        return Primitive.bind(self, *args, **params) if out is None else out

    # The short ways: concrete arrays go to NumPy at once, and on a plain tape over concrete arrays likewise. They
    # return None where the case is another.

    def single(self, x: Array) -> Any:
        """The step on one operand by the short way."""
        tape = x.trace
        value = x if tape is None else x.data
        cls = type(value)
        if (cls is not Array and cls is not WeakArray) or not self.direct or watchers:
            return None
        if tape is not None and (type(tape) is not Tape or tape.noting or tape.closed or not self.plain):
            return None
        data = value.data
        if data.dtype.kind not in self.kinds:
            return None
        token = quiet.set(SILENCE)
        try:
            out = cls(self.ufunc(data))
        except REFUSALS as error:
            raise explained(error, self, (value,), {}) from error
        finally:
            quiet.reset(token)
        return out if tape is None else tape.append(self, (x,), {}, out)

    def pair(self, x: Array, y: Array) -> Any:
        """The step on two operands of one type by the short way."""
        tape = x.trace
        if tape is None:
            tape = y.trace
        if tape is None:
            a, b = x, y
        elif type(tape) is not Tape or tape.noting or tape.closed or not self.plain:
            return None
        else:
            a = x.data if x.trace is tape else x
            b = y.data if y.trace is tape else y
        cls = type(a)
        if (cls is not Array and cls is not WeakArray) or type(b) is not cls or not self.direct or watchers:
            return None
        u, v = a.data, b.data
        dtype = u.dtype
        if dtype is not v.dtype or dtype.kind not in self.kinds:
            return None
        token = quiet.set(SILENCE)
        try:
            out = cls(self.ufunc(u, v))
        except REFUSALS as error:
            raise explained(error, self, (a, b), {}) from error
        finally:
            quiet.reset(token)
        return out if tape is None else tape.append(self, (x, y), {}, out)

    def at_once(self, cls: type, *values: Any) -> Any:
        """Evaluate on NumPy values and Python numbers; the result is of class `cls`."""
        token = quiet.set(SILENCE)
        try:
            return cls(self.ufunc(*values))
        except REFUSALS as error:
            args = [v if isinstance(v, (int, float)) else cls(v) for v in values]
            raise explained(error, self, promote(self.name, args), {}) from error
        finally:
            quiet.reset(token)

    def _coerce(self, arrays: list[Array], kind: str) -> list[Array]:
        if kind == "u" and "i" in self.takes:
            return arrays
        if kind in "biu" and "i" not in self.takes and "f" in self.takes:
            return [convert(a, float_dtype(a.dtype, a.weak), a.weak) for a in arrays]
        if kind == "b" and "i" in self.takes:
            return [convert(a, np.dtype(np.int64)) for a in arrays]
        self._refuse(arrays[0].dtype)
        raise AssertionError

    def _refuse(self, dtype: np.dtype) -> None:
        names = {"b": "booleans", "i": "integers", "f": "real floats", "c": "complex numbers"}
        wanted = ", ".join(names[k] for k in self.takes)
        raise DTypeError(
            f"{self.name} is defined for {wanted}, but was given {dtype.name}; convert with wg.astype{at_user_line()}"
        )

    def type(self, *types: ArrayType, **params: Any) -> ArrayType:
        dtype = types[0].dtype
        if len(types) > 1 and any(t.dtype != dtype for t in types):
            raise DTypeError(
                f"{self.name}: inputs of types {', '.join(t.dtype.name for t in types)}; they must be equal"
                + at_user_line()
            )
        shape = broadcast_shapes([t.shape for t in types], self.name)
        if self.gives == "bool":
            return ArrayType(shape, bool_)
        return ArrayType(shape, real_dtype(dtype) if self.gives == "real" else dtype)

    def evaluate(self, *values: Any, **params: Any) -> Any:
        return self.ufunc(*values, **params)

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        factor = self.factors[i]
        if factor is None:
            return None
        shape, out_shape = values[i].shape, out.shape
        if factor is ONE:
            return IDENTITY if shape == out_shape else Stretch(shape, out_shape)
        if factor is MINUS:
            negate = Linear(registry["negative"], 0, (values[i],), {})
            return negate if shape == out_shape else Compose(Stretch(shape, out_shape), negate)
        d = factor(out, *values, **params)  # type: ignore[operator]
        if isinstance(d, Map):
            return d
        if out.weak and not d.weak:  # the derivative of a Python number by another is one too
            d = convert(d, d.dtype, True)
        return Scale(d, shape, out_shape, self.bounded)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        return self.bind(*align(values, axes), **params), 0

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        shape = broadcast_shapes([t.shape for t in types])
        result: Any = None
        for pattern, factor in zip(patterns, self.factors, strict=False):
            if pattern is None or factor is None:
                continue
            lead = (1,) * (len(shape) + 1 - pattern.ndim)
            full = np.broadcast_to(pattern.reshape(lead + pattern.shape), (*shape, pattern.shape[-1]))
            result = full if result is None else result | full
        return result


def align(values: Sequence[Array], axes: Sequence[int | None]) -> list[Array]:
    """Batched operands with the batch in front and equal ranks behind it, so that they broadcast as before."""
    move, reshape = registry["permute"], registry["reshape"]
    ndim = max(v.ndim - (axis is not None) for v, axis in zip(values, axes, strict=True))
    result = []
    for v, axis in zip(values, axes, strict=True):
        if axis is not None:
            if axis != 0:
                v = move.bind(v, axes=(axis, *(i for i in range(v.ndim) if i != axis)))
            if v.ndim < ndim + 1:
                v = reshape.bind(v, shape=(v.shape[0], *(1,) * (ndim + 1 - v.ndim), *v.shape[1:]))
        result.append(v)
    return result


class Stretch(Map):
    """Broadcasting from `shape` to `out_shape`; its transpose is a sum."""

    __slots__ = ("out_shape", "shape")
    kind = "broadcast"

    def __init__(self, shape: Shape, out_shape: Shape):
        self.shape = shape
        self.out_shape = out_shape

    def push(self, tangent: Array) -> Array:
        return stretch_to(tangent, self.out_shape)

    def pull(self, cotangent: Array) -> Array:
        return sum_to(cotangent, self.shape)


class Scale(Map):
    """Elementwise multiplication by `factor`, with broadcasting.

    Where the tangent or cotangent is exactly zero the product is zero, even if the factor is infinite or NaN: what
    does not influence the result has no influence on the derivative.
    """

    __slots__ = ("_factor", "bounded", "out_shape", "shape")
    kind = "scale"

    def __init__(self, factor: Array, shape: Shape, out_shape: Shape, bounded: bool = False):
        self._factor = factor
        self.shape = shape
        self.out_shape = out_shape
        self.bounded = bounded

    @property
    def factor(self) -> Array:
        return self._factor

    def push(self, tangent: Array) -> Array:
        product = self._times(tangent)
        return product if product.shape == self.out_shape else stretch_to(product, self.out_shape)

    def _times(self, change: Array) -> Array:
        primitive: Any = registry["scale" if self.bounded else "guarded_multiply"]
        product = primitive.pair(change, self._factor)
        return primitive.bind(change, self._factor) if product is None else product

    def pull(self, cotangent: Array) -> Array:
        product = self._times(cotangent)
        return product if product.shape == self.shape else sum_to(product, self.shape)


class Guarded(Scale):
    """How a guarded product depends on the factor that does not guard: `Scale`, but 0 also where its own factor is 0.

    There the product is 0 whatever the other factor, so an infinite change of that (of 1/x at 0, say) changes nothing.
    """

    __slots__ = ()

    def push(self, tangent: Array) -> Array:
        product = registry["annihilating_multiply"].bind(tangent, self._factor)
        return product if product.shape == self.out_shape else stretch_to(product, self.out_shape)

    def pull(self, cotangent: Array) -> Array:
        product = registry["annihilating_multiply"].bind(cotangent, self._factor)
        return product if product.shape == self.shape else sum_to(product, self.shape)


def sum_to(x: Array, shape: Shape) -> Array:
    """The adjoint of broadcasting from `shape`: sums over the axes that broadcasting added or stretched."""
    if x.shape == shape:
        return x
    extra = x.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, d in enumerate(shape) if d == 1 and x.shape[i + extra] != 1)
    if axes:
        x = registry["sum"].bind(x, axes=axes)
    return x if x.shape == shape else registry["reshape"].bind(x, shape=shape)


def stretch_to(x: Array, shape: Shape) -> Array:
    """`x` broadcast to `shape`."""
    return x if x.shape == shape else registry["broadcast_to"].bind(x, shape=shape)


class Signed(Elementwise):
    """A sum of the inputs with signs: linear, so it has a transpose."""

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        signed = registry["negative"].bind(ct) if self.factors[i] is MINUS else ct
        return sum_to(signed, values[i].shape)


class Convert(Elementwise):
    """The same numbers in another element type. From complex to real is refused."""

    differentiable = True

    def __init__(self, name: str):
        super().__init__(name, np.asarray, ONE, takes="bifc")

    def type(self, x: ArrayType, *, dtype: np.dtype, weak: bool) -> ArrayType:  # type: ignore[override]
        if x.dtype.kind == "c" and dtype.kind not in "cb":
            raise DTypeError(
                f"astype: complex numbers ({x.dtype.name}) do not convert to {dtype.name}; take wg.real(x) or wg.abs(x)"
                + at_user_line()
            )
        return ArrayType(x.shape, dtype)

    def evaluate(self, x: Any, *, dtype: np.dtype, weak: bool) -> Any:  # type: ignore[override]
        if x.dtype.kind == "c" and dtype.kind not in "cb":
            raise ValueError("complex to real")
        return x.astype(dtype)

    def weak_result(self, args: Sequence[Any], params: Params) -> bool:
        return params["weak"]

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map | None:
        both_float = values[0].dtype.kind in "fc" and out.dtype.kind in "fc"
        return Linear(self, 0, values, params) if both_float else None

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        x = values[0]
        if ct.dtype.kind == "c" and x.dtype.kind == "f":
            ct = registry["real"].bind(ct)
        return convert(ct, x.dtype, x.weak)


class NotDifferentiable(Elementwise):
    """An elementwise member whose output does not change continuously: comparisons, logic, bits, rounding."""

    partial = Unsupported("the output is piecewise constant, so its derivative is zero wherever it exists")  # type: ignore[assignment]

    def __init__(
        self, name: str, ufunc: Callable[..., Any], *, arity: int, takes: str, gives: str = "same", doc: str = ""
    ):
        super().__init__(name, ufunc, *(None,) * arity, takes=takes, gives=gives, doc=doc)


convert_p = Convert("convert")
