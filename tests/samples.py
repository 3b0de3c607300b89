"""Sample applications of every primitive, at points where it is smooth: `SAMPLES[name]` is a list of (inputs, params).

The contract test checks what a primitive states against numbers at these points and fails for a primitive without one.
Floating inputs are in double precision, so that finite differences are sharp.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import wengert as wg
from wengert.ir.graph import evaluate
from wengert.ir.primitive import registry
from wengert.ir.record import stage
from wengert.ir.types import ArrayType
from wengert.ops.elementwise import Elementwise


class Sample(NamedTuple):
    inputs: tuple[np.ndarray, ...]
    params: dict[str, Any]


SAMPLES: dict[str, list[Sample]] = {}
rng = np.random.default_rng(1964)


def fresh(topic: str) -> None:
    """Random numbers of its own for every topic, so that a new sample leaves those of other topics as they are."""
    global rng  # noqa: PLW0603  every maker of inputs draws from it
    rng = np.random.default_rng(zlib.crc32(topic.encode()))


def sample(name: str, *inputs: Any, **params: Any) -> None:
    SAMPLES.setdefault(name, []).append(Sample(tuple(np.asarray(x) for x in inputs), params))


def real(shape: Sequence[int], low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return rng.uniform(low, high, tuple(shape))


def cplx(shape: Sequence[int], low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return real(shape, low, high) + 1j * real(shape, 0.3, 1.5)


def ints(shape: Sequence[int], low: int = 1, high: int = 6) -> np.ndarray:
    return rng.integers(low, high, tuple(shape))


def bools(shape: Sequence[int]) -> np.ndarray:
    return rng.uniform(size=tuple(shape)) < 0.5


# Elementwise: domains where the function is smooth; everything else takes (-2, 2).

DOMAIN = {
    "log": (0.3, 3), "log2": (0.3, 3), "log10": (0.3, 3), "log1p": (-0.5, 3), "sqrt": (0.3, 3), "rsqrt": (0.3, 3),
    "cbrt": (0.3, 3), "reciprocal": (0.4, 3), "divide": (0.4, 3), "power": (0.4, 3), "asin": (-0.8, 0.8),
    "acos": (-0.8, 0.8), "tan": (-1, 1), "atanh": (-0.8, 0.8), "acosh": (1.4, 3), "hypot": (0.4, 2),
    "atan2": (0.4, 2), "lgamma": (0.4, 3), "digamma": (0.4, 3), "abs": (0.3, 2),
    "xlogy": (0.3, 2), "xlog1py": (0.3, 2), "erfinv": (-0.8, 0.8), "sign": (0.3, 2),
    "ndtri": (0.1, 0.9), "logit": (0.1, 0.9),
}  # fmt: skip
ELSEWHERE = {  # samples of their own, below
    "polygamma", "log_gamma_slope", "remainder", "fmod",
    "integer_power", "select", "convert", "left_shift", "right_shift",
}  # fmt: skip


def elementwise() -> None:
    """Every elementwise primitive in every kind of type it takes: equal shapes, broadcast shapes, single numbers."""
    for name, p in registry.items():
        if not isinstance(p, Elementwise) or name in ELSEWHERE:
            continue
        fresh(name)
        same, mixed = [(2, 3)] * p.arity, [(2, 1), (3,), ()][: p.arity]
        low, high = DOMAIN.get(name, (-2, 2))
        for shapes in (same, mixed, [()] * p.arity):
            if "f" in p.takes:
                sample(name, *[real(s, low, high) for s in shapes])
        if "c" in p.takes:
            sample(name, *[cplx(s, low, high) for s in mixed])
        if "i" in p.takes:
            sample(name, *[ints(s) for s in same])
        if "b" in p.takes:
            sample(name, *[bools(s) for s in same])


elementwise()
fresh("Elementwise")
for name in ("remainder", "fmod"):  # away from where the quotient is whole
    sample(name, real((2, 3), 2.1, 2.4), real((3,), 0.9, 1))
    sample(name, real((), -2.4, -2.1), real((2,), 0.9, 1))
    sample(name, ints((2, 3)), ints((2, 3)))
for n in (-2, 0, 1, 2, 3):
    sample("integer_power", real((2, 3), 0.5, 2), exponent=n)
sample("integer_power", -real((3,), 0.5, 2), exponent=3)
sample("integer_power", cplx((3,)), exponent=-1)
for n in (1, 2):
    sample("polygamma", real((2, 3), 0.4, 3), order=n)
sample("select", bools((2, 3)), real((2, 3)), real((2, 3)))
sample("select", bools((3,)), real((2, 1)), real(()))
sample("select", bools(()), cplx((2,)), cplx((3, 1)))
sample("convert", real((2, 3)), dtype=np.dtype("float64"), weak=False)
sample("convert", ints((2, 3)), dtype=np.dtype("float32"), weak=False)
sample("convert", real((2,)), dtype=np.dtype("complex128"), weak=False)
for shift in ("left_shift", "right_shift"):
    sample(shift, ints((2, 3)), ints((3,), 0, 4))

# Reductions

fresh("Reductions")

for name in ("sum", "prod", "max", "min", "any", "all"):
    for axes in ((0,), (0, 2), (0, 1, 2), ()):
        sample(name, real((2, 3, 2), 0.3, 2), axes=axes)
    sample(name, ints((2, 3)), axes=(1,))
for name in ("sum", "prod"):
    sample(name, cplx((2, 3)), axes=(1,))
sample("prod", np.array([[1.5, 0.0, 2.0], [0.0, 1.0, 0.0]]), axes=(1,))
for name in ("argmax", "argmin"):
    sample(name, real((2, 3)), axes=(1,))
    sample(name, real((4,)), axes=(0,))

# Shape

fresh("Shape")

sample("reshape", real((2, 3)), shape=(3, 2))
sample("reshape", cplx((4,)), shape=(2, 1, 2))
sample("permute", real((2, 3, 2)), axes=(2, 0, 1))
sample("broadcast_to", real((2, 1)), shape=(3, 2, 2))
sample("broadcast_to", real(()), shape=(3,))
sample("slice", real((5, 4)), start=(1, 0), stop=(5, 3), step=(2, 1))
sample("slice", real((4,)), start=(2,), stop=(2,), step=(1,))
sample("pad", real((2, 3)), real(()), padding=((1, 0, 1), (0, 2, 2)))
sample("pad", real((3, 4)), real(()), padding=((-1, 1, 0), (2, -1, 0)))
sample("pad", real((4,)), real(()), padding=((-1, -2, 1),))
sample("concat", real((2, 3)), real((1, 3)), real((2, 3)), axis=0)
sample("concat", cplx((2, 1)), cplx((2, 2)), axis=1)
sample("flip", real((2, 3)), axes=(1,))
sample("flip", real((2, 3)), axes=(0, 1))

# Products

fresh("Products")

sample("dot_general", real((2, 3)), real((3, 4)), batch=((), ()), contract=((1,), (0,)))
sample("dot_general", real((3,)), real((3,)), batch=((), ()), contract=((0,), (0,)))
sample("dot_general", real((2, 3)), real((4,)), batch=((), ()), contract=((), ()))
sample("dot_general", real((2, 3, 2)), real((2, 4, 3)), batch=((0,), (0,)), contract=((1,), (2,)))
sample("dot_general", real((3, 2, 2)), real((2, 3, 2)), batch=((2,), (0,)), contract=((0, 1), (1, 2)))
sample("dot_general", cplx((2, 2)), cplx((2, 2)), batch=((), ()), contract=((0,), (1,)))

# Linear algebra, on generic matrices; singular and eigenvectors of complex ones have no fixed phase, see test_linalg.py

fresh("Linear algebra")


def matrix(*shape: int) -> np.ndarray:
    return real(shape, -1, 1) + 2 * np.eye(*shape[-2:])


def zmatrix(*shape: int) -> np.ndarray:
    return matrix(*shape) + 1j * real(shape, -1, 1)


def positive(x: np.ndarray) -> np.ndarray:
    return x @ x.swapaxes(-1, -2).conj()


for name in ("cholesky", "eigvalsh"):
    sample(name, positive(matrix(3, 3)))
    sample(name, positive(matrix(2, 2, 2)))
    sample(name, positive(zmatrix(3, 3)))
for name in ("inv", "det", "cofactors", "slogdet", "expm"):
    sample(name, matrix(3, 3))
    sample(name, matrix(2, 2, 2))
    sample(name, zmatrix(2, 2))
for name in ("cofactors", "det"):
    sample(name, matrix(1, 1))
for name in ("cofactor_change", "expm"):
    sample(name, matrix(3, 3), real((3, 3)))
    sample(name, zmatrix(2, 2, 2), cplx((2, 2, 2)))
for flipped in (False, True):
    for name in ("solve", "linear_solve"):
        sample(name, matrix(3, 3), real((3, 2)), flipped=flipped)
        sample(name, zmatrix(2, 2, 2), cplx((2, 2, 3)), flipped=flipped)
    for unit in (False, True):
        sample("triangular_solve", matrix(3, 3), real((3, 2)), is_lower=unit, flipped=flipped, unit=unit)
        sample("triangular_solve", zmatrix(2, 2, 2), cplx((2, 2, 1)), is_lower=not unit, flipped=flipped, unit=unit)
for shape in ((3, 3), (4, 2), (2, 4), (2, 2, 3)):
    sample("lu", matrix(*shape))
    sample("svdvals", matrix(*shape))
    sample("qr", matrix(*shape), mode="reduced")
    sample("svd", matrix(*shape), full_matrices=False)
    sample("pinv", matrix(*shape), np.full(shape[:-2], 1e-12))
sample("lu", zmatrix(3, 2))
sample("qr", zmatrix(3, 2), mode="reduced")
sample("qr", zmatrix(2, 3), mode="complete")
sample("svd", matrix(3, 3), full_matrices=True)
sample("svdvals", zmatrix(2, 3))
sample("pinv", zmatrix(2, 3), 1e-12)
sample("eigh", positive(matrix(3, 3)))
sample("eigh", positive(matrix(2, 2, 2)))

# Fourier transforms

fresh("Fourier transforms")

for norm in ("backward", "ortho", "forward"):
    sample("fft", cplx((3, 4)), axes=(0, 1), inverse=norm == "ortho", norm=norm)
    for n in (1, 4, 5):
        sample("rfft", real((2, n)), axis=1, n=n, norm=norm)
        sample("irfft", cplx((n // 2 + 1, 2)), axis=0, n=n, norm=norm)
sample("fft", cplx((2, 3)), axes=(1,), inverse=True, norm="backward")


# Positions, windows, order

fresh("Positions")


def apart(shape: Sequence[int]) -> np.ndarray:
    """Numbers no two of which are close, so that a small change does not alter their order."""
    n = int(np.prod(shape))
    return rng.permutation(np.linspace(-2, 2, n) if n > 1 else np.ones(n)).reshape(tuple(shape))


SEEN = {"outside": "clip", "unique": False}
sample("gather", real((4, 3)), np.array([2, 0, 2, -1]), axes=(0,), **SEEN)
sample("gather", real((2, 3, 4)), np.array([[1], [-1]]), np.array([3, 0, 9]), axes=(1, 2), **SEEN)
sample("gather", real((2, 3, 4)), np.array(1), np.array([1, 0]), axes=(2, 0), **SEEN)
sample("gather", cplx((5,)), np.array([[4, 1], [0, 2]]), axes=(0,), outside="drop", unique=True)
sample("gather", real((3, 2)), np.array([5, 0, -4]), axes=(0,), outside="drop", unique=False)
for mode in ("set", "add", "mul", "min", "max"):
    at = {"mode": mode, "outside": "drop", "unique": False}
    both = apart((9, 3))
    sample("scatter", both[:4], both[4:], np.array([2, 0, 2, 7, 2]), axes=(0,), **at)
    both = apart((18,))
    twice = (np.array([[1], [-1]]), np.array([3, 0, 3]))
    sample("scatter", both[:12].reshape(4, 3), both[12:].reshape(2, 3), *twice, axes=(1, 0), **at)
    both = apart((4, 4))
    one = {**at, "unique": True}
    sample("scatter", both[:3].reshape(2, 3, 2), both[3].reshape(2, 2), np.array(-1), axes=(1,), **one)
    both = apart((7,))
    sample("scatter", both[:3], both[3:], np.array([0, 9, 2, 9]), axes=(0,), **{**at, "outside": "clip"})
    sample("scatter", ints((4,)), ints((3,)), np.array([1, 1, 2]), axes=(0,), **at)
sample("scatter", real((3,)), np.array([0.0, 1.5, 0.0, 2.0, 0.0]), np.array([0, 0, 1, 1, 1]), axes=(0,), mode="mul",
       outside="drop", unique=False)  # fmt: skip
sample("dynamic_slice", real((4, 3)), np.array(1), np.array(-1), sizes=(2, 2))
sample("dynamic_slice", real((4, 3)), np.array(9), np.array(0), sizes=(2, 3))
sample("dynamic_slice", cplx((4,)), np.array(-9), sizes=(3,))
sample("dynamic_update_slice", real((4, 3)), real((2, 2)), np.array(1), np.array(-1))
sample("dynamic_update_slice", real((4, 3)), real((4, 1)), np.array(1), np.array(1))
sample("dynamic_update_slice", cplx((4,)), cplx((3,)), np.array(2))
for name in ("sort", "argsort"):
    sample(name, apart((4, 3)), axis=0, descending=False)
    sample(name, cplx((2, 4)), axis=1, descending=True)
    sample(name, ints((6,), 0, 3), axis=0, descending=True)

for side in ("left", "right"):
    sample("searchsorted", np.sort(real((5,))), real((2, 3)), side=side, lead=0)
    sample("searchsorted", np.sort(real((2, 4)), axis=1), real((2, 3)), side=side, lead=1)
sample("searchsorted", np.array([1, 2, 2, 2, 5]), np.array([0, 2, 5, 9]), side="left", lead=0)

# Running operations, and log-sums

fresh("Running operations")

for name in ("cumulative_sum", "cumulative_prod", "cumulative_max", "cumulative_min", "cumulative_logsumexp"):
    sample(name, apart((3, 4)), axis=1, reverse=False)
    sample(name, apart((4, 2)), axis=0, reverse=True)
for name in ("cumulative_sum", "cumulative_prod"):
    sample(name, cplx((3, 2)), axis=0, reverse=False)
    sample(name, ints((3, 2)), axis=1, reverse=True)
sample("cumulative_prod", np.array([1.5, 0.0, 2.0, 0.0, 3.0]), axis=0, reverse=False)
for name in ("cumulative_max_position", "cumulative_min_position"):
    sample(name, real((3, 4)), axis=1, reverse=True)
sample("linear_recurrence", real((3, 4)), real((3, 4)), axis=1, reverse=False)
sample("linear_recurrence", cplx((4, 2)), cplx((4, 2)), axis=0, reverse=True)
for axes in ((0,), (0, 2), ()):
    sample("logsumexp", real((2, 3, 2)), axes=axes)
    sample("peak", real((2, 3, 2)), axes=axes)

# Convolution and pooling

fresh("Convolution and pooling")

for stride, padding, base, dilation, groups in (
    ((1,), ((0, 0),), (1,), (1,), 1),
    ((2, 1), ((1, 0), (-1, 2)), (1, 2), (1, 2), 2),
):
    shape = (4, 5)[: len(stride)]
    settings = {"stride": stride, "padding": padding, "input_dilation": base, "kernel_dilation": dilation}
    sample("conv", real((2, 2, *shape)), real((2, 2 // groups, *(2, 3)[: len(stride)])), **settings, groups=groups)
settings = {"stride": (2,), "padding": ((1, 1),), "input_dilation": (1,), "kernel_dilation": (1,)}
sample("conv", cplx((1, 1, 4)), cplx((1, 1, 2)), **settings, groups=1)
for pool in (
    {"window": (2,), "stride": (2,), "padding": ((1, 0),), "dilation": (1,)},
    {"window": (2, 2), "stride": (1, 2), "padding": ((0, 1), (1, 1)), "dilation": (2, 1)},
):
    n = len(pool["window"])
    x = rng.permutation(np.linspace(-2, 2, 2 * 5**n)).reshape(2, *(5,) * n)  # no ties
    places = tuple((5 + sum(p) - (w - 1) * d - 1) // s + 1 for w, s, p, d in zip(*pool.values(), strict=True))
    tap = rng.integers(0, 2**n, (2, *places)).astype(np.int32)
    for name in ("max_pool", "argmax_pool", "sum_pool"):
        sample(name, x, **pool)
    sample("take_window", x, tap, **pool)
    sample("put_window", real((2, *places)), tap, lengths=(5,) * n, **pool)
sample("max_pool", ints((2, 4)), window=(2,), stride=(2,), padding=((0, 0),), dilation=(1,))

# Random numbers

fresh("Random numbers")

KEY = np.array([1964, 7], np.uint32)
for shape in ((), (3,), (2, 3)):
    sample("random_bits", KEY, shape=shape, stream=0)
for log in (False, True):
    sample("random_gamma", KEY, real((2, 3), 0.3, 4), log=log)
sample("log_gamma_slope", real((2, 3), 0.3, 4), real((3,), -2, 2))

# Steps that carry graphs

fresh("Steps that carry graphs")


def graph_of(f: Any, *inputs: Any) -> Any:
    """`f` staged for inputs like these."""
    return stage(f, [ArrayType(np.shape(x), np.asarray(x).dtype) for x in inputs], "sample")[0]


def product_and_sine(x: Any, y: Any) -> list[Any]:
    return [wg.sin(x) * y, wg.sum(x * x)]


x3, y3, number = real((3,)), real((3,)), np.array(0.7)
for name in ("call", "checkpoint"):
    sample(name, x3, y3, graph=graph_of(product_and_sine, x3, y3), run=evaluate)
for branch in (0, 1):
    branches = (graph_of(product_and_sine, x3, y3), graph_of(lambda x, y: [x, wg.sum(y)], x3, y3))
    sample("switch", np.array(branch), x3, y3, branches=branches)
for reverse in (False, True):
    body = graph_of(lambda w, c, x: [wg.tanh(c * w + x), wg.sum(c) * x], x3, y3, number)
    sample("scan", x3, y3, real((4,)), body=body, num_consts=1, num_carry=1, length=4, reverse=reverse)
body = graph_of(lambda factor, c: [c * factor], number, number)
test = graph_of(lambda low, c: [c > low], number, number)
sample(
    "while_loop", np.array(0.1), np.array(0.8), np.array(1.1), test=test, body=body, num_test=1, num_body=1, emit=False
)

fresh("Custom derivatives")


@wg.custom_jvp
def product_by_rule(x: Any, y: Any) -> Any:
    return wg.sin(x) * y


product_by_rule.defjvps(lambda t, out, x, y: t * wg.cos(x) * y, lambda t, out, x, y: t * wg.sin(x))


@wg.custom_vjp
def product_by_pullback(x: Any, y: Any) -> Any:
    return wg.sin(x) * y


product_by_pullback.defvjp(
    lambda x, y: (wg.sin(x) * y, (x, y)), lambda kept, ct: (ct * wg.cos(kept[0]) * kept[1], ct * wg.sin(kept[0]))
)
for custom in (product_by_rule, product_by_pullback):
    (node,) = graph_of(lambda x, y, f=custom: [f(x, y)], x3, y3).nodes
    sample(node.primitive.name, x3, y3, **node.params)
