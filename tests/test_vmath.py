"""The vector functions of the native executor against NumPy in higher precision, on every target that can run here."""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

llvm = pytest.importorskip("llvmlite.binding")
from llvmlite import ir  # noqa: E402

import wengert as wg  # noqa: E402
from wengert.errors import ArgumentError, UnsupportedError  # noqa: E402
from wengert.execute.native.target import Target, host_target  # noqa: E402
from wengert.execute.native.vmath import NAMES, constants, emit  # noqa: E402
from wengert.ir.primitive import registry  # noqa: E402

TARGETS = ("native", "x86-64-v3", "x86-64-v2")
TWO_ARGUMENTS = ("atan2", "hypot", "logaddexp", "power")
LONG = np.longdouble
PI = np.arccos(LONG(-1))
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
extended = pytest.mark.skipif(np.finfo(LONG).nmant < 63, reason="long double is no more precise than double here")


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setenv("WENGERT_CPU", request.param)
    try:
        return host_target()
    except UnsupportedError as error:
        pytest.skip(str(error))


@functools.cache
def kernel(name: str, dtype: np.dtype, target: Target, count: int | None = 0) -> Callable[..., np.ndarray]:
    """A loop that applies the function to arrays, `count` numbers at a time; None for scalars, 0 for a register."""
    element = ir.FloatType() if dtype == F32 else ir.DoubleType()
    count = target.vector_bytes // dtype.itemsize if count == 0 else count
    vector = element if count is None else ir.VectorType(element, count)
    arity = 2 if name in TWO_ARGUMENTS else 1
    i64, step = ir.IntType(64), count or 1
    module = ir.Module("kernel")
    function = ir.Function(
        module, ir.FunctionType(ir.VoidType(), [element.as_pointer()] * (arity + 1) + [i64]), "kernel"
    )
    b = ir.IRBuilder(function.append_basic_block())
    before, loop, after = b.block, function.append_basic_block(), function.append_basic_block()
    b.branch(loop)
    b.position_at_end(loop)
    i = b.phi(i64)
    i.add_incoming(i64(0), before)
    places = [b.bitcast(b.gep(p, [i]), vector.as_pointer()) for p in function.args[:-1]]
    inputs = [b.load(p, align=dtype.itemsize) for p in places[:-1]]
    b.store(emit(name, b, *inputs), places[-1], align=dtype.itemsize)
    following = b.add(i, i64(step))
    i.add_incoming(following, b.block)
    b.cbranch(b.icmp_unsigned("<", following, function.args[-1]), loop, after)
    b.position_at_end(after)
    b.ret_void()
    compiled = llvm.parse_assembly(str(module))
    compiled.verify()
    engine = llvm.create_mcjit_compiler(compiled, target.target_machine())
    engine.finalize_object()
    address = engine.get_function_address("kernel")
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (arity + 1), ctypes.c_int64)(address)

    def run(*args: np.ndarray) -> np.ndarray:
        size = args[0].size
        padded = [np.concatenate([a, np.ones(-size % step, dtype)]) for a in args]
        out = np.empty_like(padded[0])
        call(*[a.ctypes.data for a in padded], out.ctypes.data, out.size)
        return out[:size]

    run.engine = engine  # type: ignore[attr-defined]  # it owns the code
    return run


def _erfc_from_one(x: np.ndarray) -> np.ndarray:
    """erfc by its continued fraction, for x ≥ 1; the square is taken apart so that the exponential sees it exactly."""
    fraction = x
    for k in range(400, 0, -1):
        fraction = x + LONG(k) / 2 / fraction
    head = x.astype(np.float32).astype(LONG)
    return np.exp(-head * head) * np.exp(-(x - head) * (x + head)) / fraction / np.sqrt(PI)


def _erf_to_one(x: np.ndarray) -> np.ndarray:
    total = term = x
    for k in range(1, 40):
        term = -term * x * x / k
        total = total + term / (2 * k + 1)
    return 2 * total / np.sqrt(PI)


def _erf(x: np.ndarray) -> np.ndarray:
    a = np.minimum(np.abs(x), 1e4).astype(LONG)
    size = np.where(a < 1, _erf_to_one(np.minimum(a, 1)), 1 - _erfc_from_one(np.maximum(a, 1)))
    return np.where(np.isnan(x), x, np.copysign(size, x))


def _erfc(x: np.ndarray) -> np.ndarray:
    b = np.clip(x, -1e4, 1e4).astype(LONG)
    near, far = 1 - _erf_to_one(np.clip(b, -1, 1)), _erfc_from_one(np.maximum(np.abs(b), 1))
    return np.where(np.isnan(x), x, np.where(np.abs(b) < 1, near, np.where(b < 0, 2 - far, far)))


REFERENCES: dict[str, Callable[..., np.ndarray]] = {
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "logistic": lambda x: np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x))),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": _erf,
    "erfc": _erfc,
}


def reference(name: str, *args: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        wide = [a.astype(F64 if a.dtype == F32 and name not in ("erf", "erfc") else LONG) for a in args]
        return REFERENCES.get(name, getattr(np, name, None))(*wide)  # type: ignore[misc]


def errors(name: str, got: np.ndarray, want: np.ndarray, args: list[np.ndarray]) -> np.ndarray:
    """The error of each number in units in the last place; infinite where NaN or infinities differ."""
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        size = np.abs(want)
        if name == "logaddexp":  # where its terms cancel, it is as exact as the larger argument
            size = np.maximum(size, np.maximum(np.abs(args[0]), np.abs(args[1])))
        exponent = np.frexp(np.where(np.isfinite(size), size, 1))[1]
        unit = np.ldexp(np.ones_like(want), np.maximum(exponent - info.nmant - 1, info.minexp - info.nmant))
        error = np.abs(got.astype(want.dtype) - want) / unit
        rounded = want.astype(got.dtype)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    # the largest number beside infinity is one unit away from it
    brink = (np.isinf(got) & (np.abs(rounded) == info.max)) | (np.isinf(rounded) & (np.abs(got) == info.max))
    regular = np.isfinite(got) & np.isfinite(rounded)
    return np.where(regular, error, np.where(same, 0, np.where(brink & (np.sign(got) == np.sign(rounded)), 1, np.inf)))


# where a function has most to show; everything else is reached by numbers of any size
RANGES = {
    "exp": (-105, 89, -746, 710),
    "exp2": (-151, 129, -1076, 1025),
    "expm1": (-20, 89, -40, 710),
    "sinh": (-90, 90, -711, 711),
    "cosh": (-90, 90, -711, 711),
    "logistic": (-105, 40, -746, 40),
    "softplus": (-105, 40, -746, 40),
    "tanh": (-10, 10, -20, 20),
    "asin": (-1, 1, -1, 1),
    "acos": (-1, 1, -1, 1),
    "atanh": (-1, 1, -1, 1),
    "erf": (-4, 4, -6, 6),
    "erfc": (-4, 10.1, -6, 27),
    "sin": (-200, 200, -1e5, 1e5),
    "cos": (-200, 200, -1e5, 1e5),
    "tan": (-200, 200, -1e5, 1e5),
}


def samples(name: str, dtype: np.dtype, count: int) -> list[np.ndarray]:
    """Numbers of every size, near 1, near 0, and of the range of interest; for two arguments pairs of them."""
    rng = np.random.default_rng(NAMES.index(name))
    single = dtype == F32
    low, high = RANGES.get(name, (-10, 10) * 2)[0 if single else 2 :][:2]
    whole = np.uint32 if single else np.uint64
    start, stride = int(rng.integers(1 << 12)), (2 ** (8 * dtype.itemsize) - (1 << 12)) // count

    def one() -> np.ndarray:
        part = count // 4
        sign = rng.choice([-1.0, 1.0], part)
        parts = [
            rng.uniform(low, high, part),
            1 + rng.uniform(-0.5, 1, part) * np.exp(rng.uniform(-15, 0, part)),
            sign * np.exp(rng.uniform(-20, 5, part)),
            np.round(rng.uniform(-1e4, 1e4, part)) * (math.pi / 2),
        ]
        bits = (np.arange(count, dtype=np.uint64) * np.uint64(stride) + np.uint64(start)).astype(whole).view(dtype)
        return np.concatenate([*(p.astype(dtype) for p in parts), bits])

    x = one()
    if name not in TWO_ARGUMENTS:
        return [x]
    y = rng.permutation(one())
    if name == "power":  # results within the range
        base = np.exp(rng.uniform(-80 if single else -700, 80 if single else 700, count)).astype(dtype)
        with np.errstate(all="ignore"):
            exponent = rng.uniform(-85 if single else -705, 85 if single else 705, count) / np.log(base)
        x, y = np.concatenate([x, base]), np.concatenate([y, exponent.astype(dtype)])
    return [x, y]


def limit(name: str) -> float:
    return 1.0 if name == "power" else 2.0


def check(name: str, dtype: np.dtype, target: Target, args: list[np.ndarray]) -> None:
    got, want = kernel(name, dtype, target)(*args), reference(name, *args)
    error = errors(name, got, want, args)
    worst = int(np.argmax(error))
    case = [float(a[worst]) for a in args]
    assert error[worst] <= limit(name), f"{name}{case} = {got[worst]!r}, not {want[worst]!r}: {error[worst]} ulp"


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("erf", "erfc")])
def test_float32_on_a_million_points(name: str, target: Target) -> None:
    check(name, F32, target, samples(name, F32, 1 << 19))


@extended
@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("erf", "erfc")])
def test_float64(name: str, target: Target) -> None:
    check(name, F64, target, samples(name, F64, 1 << 15))


@extended
@pytest.mark.parametrize("name", ["erf", "erfc"])
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_error_function(name: str, dtype: np.dtype, target: Target) -> None:
    check(name, dtype, target, samples(name, dtype, 1 << 13))


def corners(dtype: np.dtype) -> np.ndarray:
    info = np.finfo(dtype)
    sizes = [0, 1, 2, 3, 0.5, 0.25, 1.5, 4, 5, 7, 10, 100, 0.1, 1e-3, 1e-8, 88.8, 709.9, 104, 745.2, 1e5, 1e9, 1e30]
    sizes += [2.0**-60, 2.0**60, 2.0**23 + 1, 2.0**24 - 1, 2.0**53 - 1, 1 - info.epsneg, 1 + info.eps, info.eps]
    sizes += [info.max, info.max / 2, info.tiny, info.tiny / 2, info.tiny * 1.5, info.smallest_subnormal, np.inf]
    return np.array([s * dtype.type(v) for v in sizes for s in (1, -1)] + [np.nan], dtype)


@extended
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_corners(name: str, dtype: np.dtype, target: Target) -> None:
    """Zeros with their signs, infinities, NaN, subnormal numbers, limits of the range; for two arguments all pairs."""
    x = corners(dtype)
    args = (
        [x] if name not in TWO_ARGUMENTS else [np.array(c, dtype) for c in zip(*itertools.product(x, x), strict=True)]
    )
    check(name, dtype, target, args)
    got = kernel(name, dtype, target)(*args)
    with np.errstate(over="ignore", under="ignore"):
        want = reference(name, *args).astype(dtype)
    zeros = (got == 0) & (want == 0)
    wrong = zeros & (np.signbit(got) != np.signbit(want))
    assert not wrong.any(), f"{name}: the sign of zero at {[a[wrong][0] for a in args]}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_a_lane_does_not_know_its_neighbours(name: str, dtype: np.dtype) -> None:
    args = [a[:: a.size // 999] for a in samples(name, dtype, 1 << 12)]
    whole = kernel(name, dtype, host_target())(*args)
    for count in (None, 2, 3, 32):
        np.testing.assert_array_equal(kernel(name, dtype, host_target(), count)(*args), whole)


@pytest.mark.parametrize(("name", "expected"), [("sin", -0.8522008497671888), ("cos", 0.5232147853951389)])
def test_a_known_value_far_out(name: str, expected: float, target: Target) -> None:
    """sin and cos of 10²², which is a double: the standard test of argument reduction."""
    assert abs(kernel(name, F64, target)(np.array([1e22]))[0] - expected) < 2e-16


def test_exact_results() -> None:
    k = np.arange(-140, 128)
    assert np.array_equal(kernel("log2", F32, host_target())(np.ldexp(np.float32(1), k)), k.astype(F32))
    assert np.array_equal(kernel("exp2", F32, host_target())(k.astype(F32)), np.ldexp(np.float32(1), k))
    squares = np.arange(1000.0)
    assert np.array_equal(kernel("power", F64, host_target())(squares, np.full(1000, 2.0)), squares**2)
    assert np.array_equal(kernel("hypot", F64, host_target())(3 * squares, 4 * squares), 5 * squares)
    assert np.array_equal(kernel("cbrt", F64, host_target())(squares**3), squares)


@pytest.mark.parametrize("exponent", [k / 2 for k in range(-8, 9)])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_powers_with_constant_exponents(exponent: float, dtype: np.dtype) -> None:
    """Some are made of products and roots: at most 4 ulp, also among subnormal results, and the corners of pow."""
    reach = 85 if dtype == F32 else 700
    x = np.exp(np.random.default_rng(0).uniform(-reach, reach, 100_000)).astype(dtype)
    corners = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, -2.0, 5e-324, 1e-40], dtype)
    power = wg.jit(lambda x: x**exponent if exponent != int(exponent) else wg.pow(x, wg.asarray(exponent, dtype=dtype)))
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.longdouble), np.longdouble(exponent))
        error = np.abs(np.asarray(power(x)).astype(np.longdouble) - want) / np.spacing(np.abs(want.astype(dtype)))
        within = np.isfinite(want.astype(dtype))
        np.testing.assert_array_equal(np.isfinite(np.asarray(power(x))), within)
        assert np.max(error[within], initial=0) <= 4
        expected = np.power(corners, np.full_like(corners, exponent))  # for one exponent, NumPy has ways of its own
    found = np.asarray(power(corners))
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(expected[zero]))


def test_functions_are_monotone_where_formulas_meet() -> None:
    """Across the places where one formula takes over from another, 2000 neighbours on either side."""
    for name, place in (
        ("tanh", 0.55),
        ("erf", 1.0),
        ("asin", 0.5),
        ("atan", math.sqrt(2) - 1),
        ("atan", 1 + math.sqrt(2)),
    ):
        x = (np.float32(place).view(np.int32) + np.arange(-2000, 2000, dtype=np.int32)).view(F32)
        steps = np.diff(kernel(name, F32, host_target())(x).astype(F64))
        assert steps.min() > -2 * np.spacing(np.float32(1)), name


def test_numbers_in_pieces() -> None:
    fifty = "3.14159265358979323846264338327950288419716939937510"
    assert abs(constants.PI - constants.Fraction(fifty)) < constants.Fraction(1, 10**50)
    assert [float(f) for f in (constants.PI, constants.LN2, constants.LN10)] == [math.pi, math.log(2), math.log(10)]
    pieces = constants.pieces(constants.PI, 24, 24, 24)
    assert all(np.float32(p) == p for p in pieces)
    assert abs(sum(map(constants.Fraction, pieces)) - constants.PI) < constants.Fraction(1, 2**70)


def test_every_name_is_a_primitive() -> None:
    assert set(NAMES) <= set(registry)


def test_long_functions_are_written_once() -> None:
    t = ir.VectorType(ir.FloatType(), 8)
    module = ir.Module()
    b = ir.IRBuilder(ir.Function(module, ir.FunctionType(t, [t]), "f").append_basic_block())
    b.ret(emit("sin", b, emit("sin", b, b.function.args[0])))
    name = "wengert.sin.v8f32" if host_target().has_fma else "wengert.sin.v8f32.nofma"
    assert [f.name for f in module.functions if f.name.startswith("wengert.sin")] == [name]


def test_the_target_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WENGERT_CPU", "i8086")
    with pytest.raises(ArgumentError, match="x86-64-v3"):
        host_target()
    monkeypatch.delenv("WENGERT_CPU")
    native = host_target()
    assert native.vector_bytes in (16, 32, 64)
    assert native.target_machine().triple.split("-")[0] == native.triple.split("-")[0]


def test_smaller_machines_have_smaller_vectors(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WENGERT_CPU", "native")
    assert target.vector_bytes <= host_target().vector_bytes
    assert target.has_fma <= host_target().has_fma
