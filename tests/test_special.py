"""Special functions: values in units of the last place, limits and poles, derivatives by what they must equal."""

from __future__ import annotations

import decimal
import doctest
import importlib
import math

import numpy as np
import pytest

import wengert as wg

rng = np.random.default_rng(1969)
N = 4000


def uniform(low: float, high: float) -> np.ndarray:
    return rng.uniform(low, high, N)


def ulps(got: object, wanted: object) -> float:
    """The largest error in units of the last place of the wanted value."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    return float(np.max(np.abs(got - wanted) / np.spacing(np.abs(wanted))))


RANGES = {
    "erf": [(-0.5, 0.5), (-6, 6), (-1e-8, 1e-8)],
    "erfc": [(-6, 0.5), (0.4, 4), (4, 26)],
}


@pytest.mark.parametrize("name", sorted(RANGES))
def test_against_the_mathematics_library(name: str) -> None:
    reference = np.vectorize(getattr(math, name))
    for low, high in RANGES[name]:
        x = uniform(low, high)
        assert ulps(getattr(wg, name)(x), reference(x)) <= 5  # of which the library may own one


def test_lgamma_is_accurate_beside_its_zeros() -> None:
    """`lgamma(1 + d) = -γd + Σ ζ(k)(-d)ᵏ/k`, and with ζ(k) - 1 and 1 - γ for `lgamma(2 + d)`."""
    zeta = {
        2: 1.6449340668482264,
        3: 1.2020569031595942,
        4: 1.0823232337111382,
        5: 1.03692775514337,
        6: 1.0173430619844,
    }
    for zero, slope, less in ((1.0, -0.5772156649015329, 0), (2.0, 0.42278433509846714, 1)):
        x = zero + rng.uniform(-1e-3, 1e-3, N)
        d = x - zero
        series = slope * d + sum((z - less) * (-d) ** k / k for k, z in zeta.items())
        assert ulps(wg.lgamma(x), series) <= 6


SCIPY = {
    "erfinv": [(-0.999, 0.999), (0.999, 1), (-1e-8, 1e-8)],
    "ndtr": [(-1, 8)],
    "gammaln": [(0, 2), (2, 9), (9, 1e4), (1e4, 1e300), (-0.9, -0.1)],
    "ndtri": [(0.001, 0.999), (0, 1e-3), (0, 1e-300)],
    "digamma": [(0, 1), (1.6, 10), (10, 1e6), (-0.4, 0)],
    "logit": [(0.01, 0.4), (0.6, 1)],
}
SLACK = {"gammaln": 5e-16}  # SciPy's own error beside the zeros


@pytest.mark.parametrize("name", sorted(SCIPY))
def test_against_scipy(name: str) -> None:
    special = pytest.importorskip("scipy.special")
    for low, high in SCIPY[name]:
        x = uniform(low, high)
        ours = getattr(wg, {"gammaln": "lgamma"}.get(name, name))
        np.testing.assert_allclose(ours(x), getattr(special, name)(x), rtol=3e-15, atol=SLACK.get(name, 0))


def test_the_tail_of_the_normal_distribution() -> None:
    """Against Laplace's continued fraction in long decimals: `Q(x) = φ(x) / (x + 1/(x + 2/(x + 3/…)))`."""
    decimal.getcontext().prec = 40
    root = (2 * decimal.Decimal("3.14159265358979323846264338327950288419716939937510")).sqrt()
    for x in [4.0, 7.3, 12.68121301288101, 20.1, 35.450797873447925, 37.4]:
        t = decimal.Decimal(x)
        fraction = t
        for k in range(400, 0, -1):
            fraction = t + k / fraction
        wanted = float((-t * t / 2).exp() / root / fraction)
        assert ulps(wg.ndtr(-x), wanted) <= 4


@pytest.mark.parametrize("n", [1, 2, 3, 5, 12])
def test_polygamma_against_scipy(n: int) -> None:
    special = pytest.importorskip("scipy.special")
    for low, high in ((0.01, 1), (1, 30), (30, 1e4)):
        x = uniform(low, high)
        np.testing.assert_allclose(wg.polygamma(n, x), special.polygamma(n, x), rtol=4e-15)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7])
def test_polygamma_obeys_its_recurrence_below_zero(n: int) -> None:
    """`ψₙ(x + 1) - ψₙ(x) = (-1)ⁿ n! x^-(n+1)` across the poles, which the reflection formula does not know of."""
    x = uniform(-6, 0.9)
    step = (-1) ** n * math.factorial(n) * x ** -(n + 1.0)
    above, below = np.asarray(wg.polygamma(n, x + 1)), np.asarray(wg.polygamma(n, x))
    moved = np.spacing(np.abs(x) + 1) * np.abs(wg.polygamma(n + 1, x))  # x + 1 is rounded
    assert np.all(np.abs(above - below - step) <= 1e-13 * (np.abs(above) + np.abs(below)) + 4 * moved)


def test_known_constants() -> None:
    euler, apery = 0.5772156649015329, 1.2020569031595942
    np.testing.assert_allclose(wg.digamma(1.0), -euler, rtol=1e-15)
    np.testing.assert_allclose(wg.polygamma(1, 1.0), math.pi**2 / 6, rtol=1e-15)
    np.testing.assert_allclose(wg.polygamma(2, 1.0), -2 * apery, rtol=1e-15)
    np.testing.assert_allclose(wg.lgamma(0.5), math.log(math.pi) / 2, rtol=1e-15)
    assert np.asarray(wg.lgamma(np.array([1.0, 2.0]))).tolist() == [0.0, 0.0]
    np.testing.assert_allclose(
        np.exp(wg.lgamma(np.arange(1.0, 20))), [math.factorial(k) for k in range(19)], rtol=1e-13
    )


inf, nan = np.inf, np.nan
CORNERS = {
    "erf": ([0.0, -0.0, inf, -inf, nan, 5e-324, 100.0], [0.0, -0.0, 1.0, -1.0, nan, 5e-324, 1.0]),
    "erfc": ([0.0, -0.0, inf, -inf, nan, 30.0, -30.0], [1.0, 1.0, 0.0, 2.0, nan, 0.0, 2.0]),
    "erfinv": ([0.0, -0.0, 1.0, -1.0, 1.5, -2.0, nan], [0.0, -0.0, inf, -inf, nan, nan, nan]),
    "ndtr": ([0.0, inf, -inf, nan, 50.0, -50.0], [0.5, 1.0, 0.0, nan, 1.0, 0.0]),
    "ndtri": ([0.5, 0.0, 1.0, -0.1, 1.1, nan], [0.0, -inf, inf, nan, nan, nan]),
    "lgamma": ([0.0, -0.0, -1.0, -2e9, inf, -inf, nan, -1e300], [inf] * 6 + [nan, inf]),
    "digamma": ([0.0, -0.0, -1.0, -1e300, inf, nan], [-inf, inf, nan, nan, inf, nan]),
    "logit": ([0.0, 1.0, 0.5, -0.1, 1.1, nan], [-inf, inf, 0.0, nan, nan, nan]),
    "sinc": ([0.0, -0.0, 1.0, -3.0, 1e300, inf, nan], [1.0, 1.0, 0.0, -0.0, 0.0, 0.0, nan]),
}


@pytest.mark.parametrize("name", sorted(CORNERS))
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_corners(name: str, dtype: str) -> None:
    x, wanted = (np.array(v).astype(dtype) if dtype == "float64" else _narrow(v, dtype) for v in CORNERS[name])
    got = getattr(wg, name)(x)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, wanted)
    zero = (wanted == 0) & (x == 0)
    np.testing.assert_array_equal(np.signbit(got)[zero], np.signbit(wanted)[zero])


def _narrow(values: list[float], dtype: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.array(values).astype(dtype)


def test_polygamma_at_its_poles() -> None:
    x = np.array([0.0, -0.0, -1.0, inf, -inf, nan])
    np.testing.assert_array_equal(wg.polygamma(1, x), [inf, inf, inf, 0, nan, nan])
    np.testing.assert_array_equal(wg.polygamma(2, x), [-inf, inf, nan, 0, nan, nan])


@pytest.mark.parametrize("name", ["erf", "erfc", "erfinv", "ndtri", "lgamma", "digamma", "logit"])
def test_single_precision_is_rounded_once(name: str) -> None:
    x = uniform(0.001, 0.999).astype(np.float32)
    f = getattr(wg, name)
    np.testing.assert_array_equal(f(x), np.asarray(f(x.astype(np.float64))).astype(np.float32))


def test_types_and_shapes() -> None:
    assert wg.erf(3).dtype == np.float64 and wg.erf(3).weak  # a Python number
    assert wg.lgamma(np.array([1, 2])).dtype == np.float32
    assert wg.erf(np.zeros((0, 3))).shape == (0, 3)
    assert wg.xlogy(np.ones((2, 1)), np.ones(3)).shape == (2, 3)
    strided = np.arange(1.0, 41).reshape(5, 8)[::2, ::3]
    np.testing.assert_array_equal(wg.lgamma(strided), wg.lgamma(strided.copy()))
    with pytest.raises(TypeError, match="erf is defined for real floats"):
        wg.erf(np.array([1j]))


@pytest.mark.parametrize("n", [-1, 1.5, True, 101, np.ones(2)])
def test_polygamma_refuses_a_strange_order(n: object) -> None:
    with pytest.raises(TypeError, match="the order is a Python integer from 0 to 100"):
        wg.polygamma(n, 1.0)  # type: ignore[arg-type]


def test_xlogy_is_finite_where_x_is_zero() -> None:
    for f, pole in ((wg.xlogy, 0.0), (wg.xlog1py, -1.0)):
        assert float(f(0.0, pole)) == 0.0
        for order in ((0,), (1,)):
            (derivative,) = wg.grad(f, order)(0.0, pole)
            assert float(derivative) == 0.0
        assert np.isnan(f(0.0, nan)) and float(f(0.0, inf)) == 0.0
        assert float(f(2.0, pole)) == -inf
        second = wg.grad(lambda x, f=f, pole=pole: wg.grad(f)(x, pole))(0.0)
        assert float(second) == 0.0
    x = np.array([0.0, 0.5, 0.0])
    entropy = wg.grad(lambda p: -wg.sum(wg.xlogy(p, p)))(x)
    assert np.all(np.isfinite(entropy))


def test_derivatives_of_inverses() -> None:
    y = rng.uniform(-0.99, 0.99, 50)
    for f, g, points in ((wg.erf, wg.erfinv, y), (wg.ndtr, wg.ndtri, (y + 1) / 2), (wg.expit, wg.logit, (y + 1) / 2)):
        for p in points:
            np.testing.assert_allclose(f(g(p)), p, rtol=1e-14)
            np.testing.assert_allclose(float(wg.grad(g)(p)) * float(wg.grad(f)(g(p))), 1.0, rtol=1e-13)


def test_the_gamma_family_is_a_chain_of_derivatives() -> None:
    x = 1.7
    chain = wg.lgamma
    for n in range(4):
        chain = wg.grad(chain)
        np.testing.assert_allclose(chain(x), wg.polygamma(n, x), rtol=1e-14)


def test_sinc_has_smooth_derivatives_at_zero() -> None:
    second, fourth = -(math.pi**2) / 3, math.pi**4 / 5  # of 1 - (πx)²/6 + (πx)⁴/120
    slope = wg.grad(wg.sinc)
    assert float(slope(0.0)) == 0.0
    np.testing.assert_allclose(wg.grad(slope)(0.0), second, rtol=1e-14)
    np.testing.assert_allclose(wg.grad(wg.grad(wg.grad(slope)))(0.0), fourth, rtol=1e-13)
    x = rng.uniform(-3, 3, 200)
    step = 1e-3
    near, far = (np.sinc(x + h) - np.sinc(x - h) for h in (step, 2 * step))
    wanted = (8 * near - far) / (12 * step)
    np.testing.assert_allclose(wg.vmap(slope)(x), wanted, atol=1e-10)


@pytest.mark.parametrize("module", ["array.special", "array.conv", "random"])
def test_examples_in_docstrings(module: str) -> None:
    found = importlib.import_module(f"wengert.{module}")
    runner, finder = doctest.DocTestRunner(), doctest.DocTestFinder(recurse=False)
    for name, function in vars(found).items():
        if callable(function):
            for example in finder.find(function, name, globs={"wg": wg, "np": np}):
                runner.run(example)
    results = runner.summarize()
    assert results.failed == 0 and results.attempted >= 4
