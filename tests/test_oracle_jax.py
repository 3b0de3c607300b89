"""JAX as an oracle: values and derivatives of every primitive that it shares, at the points of `samples.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.checks import Point, arrays, is_float
from tests.samples import SAMPLES, Sample
from wengert.diff.derivatives import jvp, vjp
from wengert.ir.primitive import registry
from wengert.ops.promote import as_array

jax = pytest.importorskip("jax")
jnp, lax = jax.numpy, jax.lax


@pytest.fixture(autouse=True)
def double_precision() -> Any:
    with jax.enable_x64(True):
        yield


def spread(f: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.lax` takes equal shapes; ours broadcast."""
    return lambda *xs: f(*jnp.broadcast_arrays(*xs))


ELEMENTWISE = {
    "abs": lax.abs, "acos": lax.acos, "acosh": lax.acosh, "add": lax.add, "asin": lax.asin, "asinh": lax.asinh,
    "atan": lax.atan, "atan2": lax.atan2, "atanh": lax.atanh, "bitwise_and": lax.bitwise_and,
    "bitwise_invert": lax.bitwise_not, "bitwise_or": lax.bitwise_or, "bitwise_xor": lax.bitwise_xor, "cbrt": lax.cbrt,
    "ceil": lax.ceil, "conj": lax.conj, "copysign": jnp.copysign, "cos": lax.cos, "cosh": lax.cosh,
    "digamma": lax.digamma, "divide": lax.div, "equal": lax.eq, "erf": lax.erf, "erfc": lax.erfc, "erfinv": lax.erf_inv,
    "exp": lax.exp, "exp2": lax.exp2, "expm1": lax.expm1, "floor": lax.floor, "floor_divide": jnp.floor_divide,
    "fmod": lax.rem, "greater": lax.gt, "greater_equal": lax.ge, "hypot": jnp.hypot, "imag": lax.imag,
    "isfinite": jnp.isfinite, "isinf": jnp.isinf, "isnan": jnp.isnan, "left_shift": lax.shift_left, "less": lax.lt,
    "less_equal": lax.le, "lgamma": lax.lgamma, "log": lax.log, "log10": jnp.log10, "log1p": lax.log1p,
    "log2": jnp.log2, "logaddexp": jnp.logaddexp, "logical_and": jnp.logical_and, "logical_not": jnp.logical_not,
    "logical_or": jnp.logical_or, "logical_xor": jnp.logical_xor, "logistic": lax.logistic, "maximum": lax.max,
    "minimum": lax.min, "multiply": lax.mul, "negative": lax.neg, "nextafter": lax.nextafter, "not_equal": lax.ne,
    "population_count": lax.population_count, "positive": jnp.positive, "power": jnp.power, "real": lax.real,
    "reciprocal": jnp.reciprocal, "remainder": jnp.remainder, "right_shift": lax.shift_right_arithmetic,
    "round": jnp.round, "rsqrt": lax.rsqrt, "select": jnp.where, "sign": jnp.sign, "signbit": jnp.signbit,
    "sin": lax.sin, "sinh": lax.sinh, "softplus": jax.nn.softplus, "sqrt": lax.sqrt, "square": lax.square,
    "subtract": lax.sub, "tan": lax.tan, "tanh": lax.tanh, "trunc": jnp.trunc,
}  # fmt: skip

STRUCTURED: dict[str, Callable[..., Any]] = {
    "all": lambda x, axes: jnp.all(x, axis=axes),
    "any": lambda x, axes: jnp.any(x, axis=axes),
    "argmax": lambda x, axes: jnp.argmax(x, axis=axes[0]),
    "argmin": lambda x, axes: jnp.argmin(x, axis=axes[0]),
    "argsort": lambda x, axis, descending: jnp.argsort(x, axis=axis, stable=True, descending=descending),
    "broadcast_to": lambda x, shape: jnp.broadcast_to(x, shape=shape),
    "cholesky": lambda x: jnp.linalg.cholesky(x, symmetrize_input=True),
    "concat": lambda *xs, axis: lax.concatenate(xs, axis),
    "convert": lambda x, dtype, weak: lax.convert_element_type(x, dtype),
    "cumulative_max": lambda x, axis, reverse: lax.cummax(x, axis=axis, reverse=reverse),
    "cumulative_min": lambda x, axis, reverse: lax.cummin(x, axis=axis, reverse=reverse),
    "cumulative_prod": lambda x, axis, reverse: lax.cumprod(x, axis=axis, reverse=reverse),
    "cumulative_sum": lambda x, axis, reverse: lax.cumsum(x, axis=axis, reverse=reverse),
    "cumulative_logsumexp": lambda x, axis, reverse: lax.cumlogsumexp(x, axis=axis, reverse=reverse),
    "det": jnp.linalg.det,
    "dot_general": lambda x, y, batch, contract: lax.dot_general(x, y, (contract, batch)),
    "dynamic_slice": lambda x, *starts, sizes: lax.dynamic_slice(x, starts, sizes),
    "dynamic_update_slice": lambda x, y, *starts: lax.dynamic_update_slice(x, y, starts),
    "flip": lambda x, axes: lax.rev(x, dimensions=axes),
    "integer_power": lambda x, exponent: lax.integer_pow(x, y=exponent),
    "inv": jnp.linalg.inv,
    "logsumexp": lambda x, axes: jax.nn.logsumexp(x, axis=axes),
    "max": lambda x, axes: jnp.max(x, axis=axes),
    "min": lambda x, axes: jnp.min(x, axis=axes),
    "pad": lambda x, fill, padding: lax.pad(x, fill, padding_config=padding),
    "permute": lambda x, axes: lax.transpose(x, permutation=axes),
    "prod": lambda x, axes: jnp.prod(x, axis=axes),
    "reshape": lambda x, shape: lax.reshape(x, new_sizes=shape),
    "slice": lambda x, start, stop, step: lax.slice(x, start_indices=start, limit_indices=stop, strides=step),
    "sort": lambda x, axis, descending: jnp.sort(x, axis=axis, descending=descending),
    "sum": lambda x, axes: jnp.sum(x, axis=axes),
    "svdvals": lambda x: jnp.linalg.svd(x, compute_uv=False),
}

# Where the two differ on purpose, or the oracle is not one.
DIFFERENT = {
    ("sign", "c"): "the derivative of a complex sign is 0 in JAX; here it is that of x / |x|",
    ("floor", "i"): "JAX makes a float of a whole integer",
    ("ceil", "i"): "JAX makes a float of a whole integer",
    ("floor_divide", "f"): "JAX rounds the quotient, here is NumPy's floor_divide",
}

ORACLE = {**{name: spread(f) for name, f in ELEMENTWISE.items() if name in registry}, **STRUCTURED}
CASES = [
    pytest.param(name, s, id=f"{name}-{k}")
    for name in sorted(ORACLE.keys() & SAMPLES.keys())
    for k, s in enumerate(SAMPLES[name])
    if (name, s.inputs[0].dtype.kind) not in DIFFERENT
]


def test_the_oracle_covers_what_is_shared() -> None:
    shared = {"exp", "sin", "sum", "dot_general", "pad", "select", "integer_power"}
    assert shared <= ORACLE.keys() & SAMPLES.keys() and len(ORACLE) > 90


def agree(ours: Any, theirs: Any, what: str) -> None:
    for a, b in zip(arrays(ours), arrays(theirs), strict=True):
        assert a.shape == b.shape and a.dtype.kind == b.dtype.kind, (
            f"{what}: {a.dtype}{a.shape}, JAX {b.dtype}{b.shape}"
        )
        size = max(1.0, float(np.max(np.abs(b), initial=0.0))) if is_float(b) else 0
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * size, err_msg=what)


@pytest.mark.parametrize(("name", "s"), CASES)
def test_against_jax(name: str, s: Sample) -> None:
    def theirs(*xs: Any) -> Any:
        return ORACLE[name](*map(jnp.asarray, xs), **s.params)

    ours = Point(lambda *xs: registry[name].bind(*map(as_array, xs), **s.params), s.inputs)
    agree(ours(*ours.at), theirs(*s.inputs), "value")
    if not ours.at or not is_float(arrays(ours(*ours.at))[0]) or not registry[name].differentiable:
        return
    other = Point(theirs, s.inputs)
    at, vs, us = tuple(ours.at), tuple(ours.directions()), ours.cotangents()

    def our_gradient(*xs: Any) -> Any:
        return vjp(ours, *xs)[1](us[0])

    def their_gradient(*xs: Any) -> Any:
        return jax.vjp(other, *xs)[1](jnp.asarray(us[0]))

    agree(jvp(ours, at, vs)[1], jax.jvp(other, at, vs)[1], "push")
    agree(our_gradient(*at), their_gradient(*at), "pull")
    agree(jvp(our_gradient, at, vs)[1], jax.jvp(their_gradient, at, vs)[1], "second derivative")
