"""Random numbers: the published answers of the generator, keys, and the distributions against what they should be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import random
from wengert.errors import ArgumentError, DTypeError, ShapeError, UnsupportedError
from wengert.ops.gamma_sample import log_gamma_slope
from wengert.ops.random import DRAW, SPLIT, random_bits_p, random_words, threefry, threefry_int

KEY = random.key(20111112)
KNOWN = [  # of Threefry-2x32 with 20 rounds: key, counter, words
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("key", "counter", "words"), KNOWN)
def test_known_answers(key: Any, counter: Any, words: Any) -> None:
    assert threefry_int(*key, *counter) == words
    x0, x1 = (np.full(3, c, np.uint32) for c in counter)
    threefry(np.uint32(key[0]), np.uint32(key[1]), x0, x1)
    assert (x0.tolist(), x1.tolist()) == ([words[0]] * 3, [words[1]] * 3)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 23, 24, 25, 26, 510, 511, 512, 1000, 16383, 16384, 16385, 40001])
@pytest.mark.parametrize("rows", [1, 2, 5, 70])
def test_every_way_of_computing_gives_the_same_words(n: int, rows: int) -> None:
    """Few blocks, many blocks and many keys take different ways; the words are those of the definition."""
    keys = np.arange(2 * rows, dtype=np.uint32).reshape(rows, 2) * np.uint32(2654435761)
    got = random_words(keys, n, SPLIT)
    half = -(-n // 2)
    for row, (k0, k1) in enumerate(keys.tolist()):
        for i in {0, 1, half - 1, half, n // 3, n - 1} & set(range(n)):
            assert got[row, i] == threefry_int(k0, k1, SPLIT, i % half)[i // half]


def test_seeds() -> None:
    for seed in (0, 1, -1, 2**31, 2**40 + 7, -(2**63)):
        wanted = [seed >> 32 & 0xFFFFFFFF, seed & 0xFFFFFFFF]
        assert random.key(seed).tolist() == wanted
        assert random.key(np.int64(seed)).tolist() == wanted
        assert random.key(np.array(seed)).tolist() == wanted
        assert wg.jit(random.key)(wg.asarray(seed)).tolist() == wanted
    assert random.key(2**64 - 1).tolist() == random.key(-1).tolist() == random.key(np.array(-1, np.int32)).tolist()
    assert random.key(np.array(2**64 - 1, np.uint64)).tolist() == [0xFFFFFFFF, 0xFFFFFFFF]
    assert random.key(np.array(7, np.uint8)).tolist() == [0, 7]
    assert wg.vmap(random.key)(np.arange(3)).tolist() == [[0, 0], [0, 1], [0, 2]]


def test_keys_made_from_a_key_all_differ() -> None:
    made = {tuple(KEY.tolist())}
    for k in (
        *random.split(KEY, 50),
        *(random.fold_in(KEY, i) for i in range(50)),
        *(random.key(i) for i in range(50)),
    ):
        made.add(tuple(k.tolist()))
    for i in range(3):  # neighbouring keys with neighbouring numbers
        for j in range(3):
            made.add(tuple(random.fold_in(random.key(i), j).tolist()))
    made.update(map(tuple, random.bits(KEY, (50, 2)).tolist()))
    assert len(made) == 1 + 50 + 50 + 50 + 9 + 50
    assert random.split(KEY, (2, 3)).shape == (2, 3, 2)
    a, b = random.split(KEY)
    assert a.shape == b.shape == (2,) and a.tolist() != b.tolist()


def test_fold_in_takes_traced_numbers() -> None:
    wanted = [random.fold_in(KEY, i).tolist() for i in range(4)]
    assert wg.vmap(random.fold_in, in_axes=(None, 0))(KEY, np.arange(4)).tolist() == wanted
    assert [wg.jit(random.fold_in)(KEY, np.uint32(i)).tolist() for i in range(4)] == wanted
    assert random.fold_in(KEY, -1).tolist() == random.fold_in(KEY, 2**32 - 1).tolist()


# name: draw, distribution function of scipy.stats, and whether numbers are continuous
DRAWS: dict[str, Callable[..., Any]] = {
    "uniform": lambda k, s, d=np.float32: random.uniform(k, s, d),
    "uniform between": lambda k, s, d=np.float32: random.uniform(k, s, d, -2.0, 3.0),
    "normal": lambda k, s, d=np.float32: random.normal(k, s, d),
    "truncated_normal": lambda k, s, d=np.float32: random.truncated_normal(k, -0.5, 2.0, s, d),
    "gumbel": lambda k, s, d=np.float32: random.gumbel(k, s, d),
    "exponential": lambda k, s, d=np.float32: random.exponential(k, s, d),
    "laplace": lambda k, s, d=np.float32: random.laplace(k, s, d),
    "logistic": lambda k, s, d=np.float32: random.logistic(k, s, d),
    "cauchy": lambda k, s, d=np.float32: random.cauchy(k, s, d),
    "gamma small": lambda k, s, d=np.float32: random.gamma(k, 0.3, s, d),
    "gamma": lambda k, s, d=np.float32: random.gamma(k, 4.5, s, d),
    "beta": lambda k, s, d=np.float32: random.beta(k, 0.7, 2.0, s, d),
}
DISCRETE: dict[str, Callable[..., Any]] = {
    "bits": random.bits,
    "bits 64": lambda k, s: random.bits(k, s, np.uint64),
    "bernoulli": lambda k, s: random.bernoulli(k, 0.3, s),
    "categorical": lambda k, s: random.categorical(k, np.log([0.2, 0.3, 0.5]), shape=s),
    "randint": lambda k, s: random.randint(k, s, -3, 9),
    "choice": lambda k, s: random.choice(k, 7, s),
    "choice by weight": lambda k, s: random.choice(k, 3, s, p=[0.2, 0.3, 0.5]),
    "split": random.split,
    "permutation": lambda k, s: random.permutation(k, 5),
    "some of many": lambda k, s: random.choice(k, 9, (4,), replace=False),
    "some by weight": lambda k, s: random.choice(k, 4, (2,), replace=False, p=[0.1, 0.2, 0.3, 0.4]),
    "rows": lambda k, s: random.permutation(k, np.arange(12.0).reshape(4, 3)),
    "dirichlet": lambda k, s: random.dirichlet(k, np.array([0.5, 2.0]), s),
    "multivariate": lambda k, s: random.multivariate_normal(k, np.zeros(2), np.array([[2.0, 0.5], [0.5, 1.0]]), s),
}


@pytest.mark.parametrize("name", [*DRAWS, *DISCRETE])
def test_eager_jit_and_vmap_draw_the_same(name: str) -> None:
    draw = {**DRAWS, **DISCRETE}[name]
    keys = random.split(KEY, 4)
    looped = np.stack([np.asarray(draw(k, (3, 2))) for k in keys])
    assert len(np.unique(looped.reshape(4, -1), axis=0)) > 1
    batched = wg.vmap(lambda k: draw(k, (3, 2)))(keys)
    np.testing.assert_array_equal(batched, looped)
    np.testing.assert_array_equal(wg.vmap(lambda k: draw(k, (3, 2)), in_axes=1)(keys.T), looped)
    one, every = (lambda k: draw(k, (3, 2))), wg.vmap(lambda k: draw(k, (3, 2)))
    np.testing.assert_array_equal(wg.jit(one, executor="numpy")(keys[0]), looped[0])
    np.testing.assert_array_equal(wg.jit(every, executor="numpy")(keys), looped)
    # compiled code draws the same bits and rounds in its own way: results of order 1 in float32
    np.testing.assert_allclose(wg.jit(one, executor="native")(keys[0]), looped[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(wg.jit(every, executor="native")(keys), looped, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", DRAWS)
def test_types_shapes_and_ranges(name: str, dtype: str) -> None:
    for shape in ((), (0,), (5,), (2, 3)):
        x = DRAWS[name](KEY, shape, np.dtype(dtype))
        assert x.shape == shape and x.dtype == dtype and not x.weak
    x = np.asarray(DRAWS[name](KEY, (20000,), np.dtype(dtype)))
    assert np.all(np.isfinite(x))
    low, high = {"uniform": (0, 1), "uniform between": (-2, 3), "truncated_normal": (-0.5, 2), "beta": (0, 1)}.get(
        name, (0 if name in ("exponential", "gamma", "gamma small") else -np.inf, np.inf)
    )
    assert x.min() >= low and (x.max() < high if "uniform" in name else x.max() <= high)


N = 40000


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", DRAWS)
def test_distributions(name: str, dtype: str) -> None:
    """Kolmogorov's and Smirnov's test on a fixed key, halves of one draw, and the draws of many keys."""
    stats = pytest.importorskip("scipy.stats")
    wanted = {
        "uniform": stats.uniform(), "uniform between": stats.uniform(-2, 5), "normal": stats.norm(),
        "truncated_normal": stats.truncnorm(-0.5, 2), "gumbel": stats.gumbel_r(), "exponential": stats.expon(),
        "laplace": stats.laplace(), "logistic": stats.logistic(), "cauchy": stats.cauchy(),
        "gamma small": stats.gamma(0.3), "gamma": stats.gamma(4.5), "beta": stats.beta(0.7, 2.0),
    }[name]  # fmt: skip
    x = np.asarray(DRAWS[name](KEY, (N,), np.dtype(dtype)), np.float64)
    assert stats.kstest(x, wanted.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(stats.rankdata(x[: N // 2]), stats.rankdata(x[N // 2 :]))[0, 1]) < 4 / math.sqrt(N / 2)
    each = np.asarray(wg.vmap(lambda k: DRAWS[name](k, (), np.dtype(dtype)))(random.split(KEY, 4000)), np.float64)
    assert stats.kstest(each, wanted.cdf).pvalue > 1e-3


def test_moments() -> None:
    u = np.asarray(random.uniform(KEY, (N,), np.float64))
    z = np.asarray(random.normal(KEY, (N,), np.float64))
    for got, wanted, spread in (
        (u.mean(), 1 / 2, math.sqrt(1 / 12)), (u.var(), 1 / 12, math.sqrt(1 / 180)), (z.mean(), 0, 1),
        (z.var(), 1, math.sqrt(2)), ((z**3).mean(), 0, math.sqrt(15)), ((z**4).mean(), 3, math.sqrt(96)),
    ):  # fmt: skip
        assert abs(got - wanted) < 4 * spread / math.sqrt(N)


def test_bits_are_fair_and_independent() -> None:
    stats = pytest.importorskip("scipy.stats")
    words = np.asarray(random.bits(KEY, (N,)))
    for shift in range(32):
        ones = int(np.sum(words >> np.uint32(shift) & np.uint32(1)))
        assert abs(ones - N / 2) < 4.5 * math.sqrt(N) / 2
    for byte in range(4):
        counts = np.bincount(words >> np.uint32(8 * byte) & np.uint32(255), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-3
    assert random.bits(KEY, (5,), np.uint8).tolist() == (words_of(5) >> np.uint32(24)).tolist()


def words_of(n: int) -> np.ndarray:
    return np.asarray(random_bits_p.bind(KEY, shape=(n,), stream=DRAW))


def test_streams_are_independent() -> None:
    """Draws of a key, of the keys it is split into, and of keys folded with successive numbers do not correlate."""
    n = 20000
    keys = [KEY, *random.split(KEY), *(random.fold_in(KEY, i) for i in range(3)), *(random.key(i) for i in range(3))]
    draws = np.stack([np.asarray(random.normal(k, (n,), np.float64)) for k in keys])
    correlation = np.corrcoef(draws) - np.eye(len(keys))
    assert np.max(np.abs(correlation)) < 4.5 / math.sqrt(n)
    first = np.asarray(wg.vmap(lambda i: random.normal(random.fold_in(KEY, i), ()))(np.arange(n)))
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 4.5 / math.sqrt(n)


def test_tails_of_the_truncated_normal() -> None:
    stats = pytest.importorskip("scipy.stats")
    for low, high in ((10.0, np.inf), (-np.inf, -20.0), (5.0, 5.1), (-0.1, 30.0)):
        x = np.asarray(random.truncated_normal(KEY, low, high, (5000,), np.float64))
        assert np.all((x >= low) & (x <= high))
        assert stats.kstest(x, stats.truncnorm(low, high).cdf).pvalue > 1e-3
    slope = wg.grad(lambda a: random.truncated_normal(KEY, a, 2.0))(0.3)
    step = 1e-6
    f = lambda a: float(random.truncated_normal(KEY, a, 2.0, dtype=np.float64))  # noqa: E731
    np.testing.assert_allclose(slope, (f(0.3 + step) - f(0.3 - step)) / (2 * step), rtol=1e-4)


def test_whole_numbers() -> None:
    stats = pytest.importorskip("scipy.stats")
    x = np.asarray(random.randint(KEY, (N,), -3, 9))
    assert x.dtype == np.int64 and set(x.tolist()) == set(range(-3, 9))
    assert stats.chisquare(np.bincount(x + 3)).pvalue > 1e-3
    wide = np.asarray(random.randint(KEY, (1000,), -(2**63), 2**63 - 1))
    assert wide.min() < -(2**62) and wide.max() > 2**62 and abs(np.mean(wide > 0) - 0.5) < 0.07
    assert random.randint(KEY, (1000,), 0, 255, np.uint8).dtype == np.uint8
    low = np.array([[0], [100]])
    y = np.asarray(random.randint(KEY, (2, 50), low, low + 10))
    assert np.all((y >= low) & (y < low + 10))
    traced = wg.jit(lambda a: random.randint(KEY, (20,), 0, a))(np.int64(7))
    np.testing.assert_array_equal(traced, random.randint(KEY, (20,), 0, 7))


def test_choices() -> None:
    stats = pytest.importorskip("scipy.stats")
    p = np.array([0.2, 0.0, 0.5, 0.3])
    live = p > 0
    logits = np.log(np.where(live, p, 1)) + np.where(live, 0, -np.inf)
    for x in (random.choice(KEY, 4, (N,), p=p), random.categorical(KEY, logits, shape=(N,))):
        counts = np.bincount(np.asarray(x), minlength=4)
        assert counts[1] == 0 and stats.chisquare(counts[live], N * p[live]).pvalue > 1e-3
    ones = np.asarray(random.bernoulli(KEY, 0.3, (N,)))
    assert abs(ones.mean() - 0.3) < 4 * math.sqrt(0.21 / N)
    assert not wg.any(random.bernoulli(KEY, 0.0, (999,))) and wg.all(random.bernoulli(KEY, 1.0, (999,)))
    keys = random.split(KEY, 3000)
    firsts = wg.vmap(lambda k: random.choice(k, 4, (2,), replace=False, p=p)[0])(keys)
    assert stats.chisquare(np.bincount(firsts, minlength=4)[live], 3000 * p[live]).pvalue > 1e-3
    logits = np.log(np.array([[0.9, 0.1], [0.1, 0.9]]))
    by_column = np.asarray(random.categorical(KEY, logits, axis=0, shape=(2000, 2)))
    np.testing.assert_allclose(by_column.mean(0), [0.1, 0.9], atol=0.03)


def test_orders() -> None:
    stats = pytest.importorskip("scipy.stats")
    assert sorted(random.permutation(KEY, 1000).tolist()) == list(range(1000))
    orders = np.asarray(wg.vmap(lambda k: random.permutation(k, 4))(random.split(KEY, 4800)))
    codes = orders @ (4 ** np.arange(4))
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == 24 and stats.chisquare(counts).pvalue > 1e-3
    x = np.arange(24.0).reshape(2, 3, 4)
    for axis in (0, 1, 2, -1):
        y = np.asarray(random.permutation(KEY, x, axis=axis))
        order = np.asarray(random.permutation(KEY, x.shape[axis]))
        np.testing.assert_array_equal(y, np.take(x, order, axis))
        picked = np.asarray(random.choice(KEY, x, (2, 2), axis=axis))
        places = np.asarray(random.choice(KEY, x.shape[axis], (2, 2)))
        np.testing.assert_array_equal(picked, np.take(x, places, axis))
    gradient = wg.grad(lambda x: wg.sum(random.permutation(KEY, x, axis=1) * x))(x)
    assert gradient.shape == x.shape


def test_samples_are_differentiable_in_their_parameters() -> None:
    f = lambda mean, scale: wg.sum(mean + scale * random.normal(KEY, (50,), np.float64))  # noqa: E731
    by_mean, by_scale = wg.grad(f, (0, 1))(1.0, 2.0)
    assert float(by_mean) == 50.0
    np.testing.assert_allclose(by_scale, np.sum(np.asarray(random.normal(KEY, (50,), np.float64))))
    low, high = wg.grad(lambda a, b: random.uniform(KEY, (), np.float64, a, b), (0, 1))(1.0, 2.0)
    u = float(random.uniform(KEY, (), np.float64))
    np.testing.assert_allclose([float(low), float(high)], [1 - u, u])
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    x = np.asarray(random.multivariate_normal(KEY, np.array([1.0, -1.0]), covariance, (N,)))
    np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.05)
    assert wg.all(wg.isfinite(wg.grad(lambda c: wg.sum(random.multivariate_normal(KEY, np.zeros(2), c)))(covariance)))


@pytest.mark.parametrize("a", [0.003, 0.3, 1.0, 4.5, 300.0])
def test_the_gamma_sample_follows_its_quantile(a: float) -> None:
    """`dz/da` is the slope of the quantile at the sample's own probability: SciPy's, by differences."""
    special = pytest.importorskip("scipy.special")
    for p in (0.02, 0.3, 0.6, 0.95):
        z = special.gammaincinv(a, p)
        if z < 1e-280:
            continue
        h = 1e-4 * a
        far, near = ((math.log(special.gammaincinv(a + k * h, p) / special.gammaincinv(a - k * h, p))) for k in (2, 1))
        wanted = (8 * near - far) / (12 * h)
        np.testing.assert_allclose(log_gamma_slope(a, math.log(z)), wanted, rtol=1e-7)


def test_gamma_derivatives_tell_the_mean() -> None:
    """`d E[f(z)] / da` by the mean of derivatives: for z it is 1, for log z it is ψ'(a), for z² it is 2a + 1."""
    n = 40000
    for a in (0.4, 2.0, 30.0):
        z, back = wg.vjp(lambda a: random.gamma(KEY, a, (n,), np.float64), a)
        for cotangent, wanted in ((np.ones(n), 1.0), (2 * np.asarray(z), 2 * a + 1)):
            slopes = np.asarray(wg.jvp(lambda a: random.gamma(KEY, a, (n,), np.float64), (a,), (1.0,))[1]) * cotangent
            assert abs(slopes.mean() - wanted) < 4.5 * slopes.std() / math.sqrt(n)
            np.testing.assert_allclose(back(cotangent)[0], slopes.sum(), rtol=1e-10)
        logs = np.asarray(wg.jvp(lambda a: random.loggamma(KEY, a, (n,), np.float64), (a,), (1.0,))[1])
        assert abs(logs.mean() - float(wg.polygamma(1, a))) < 4.5 * logs.std() / math.sqrt(n)
    tiny = random.loggamma(KEY, 1e-5, (100,))
    assert wg.all(wg.isfinite(tiny)) and np.all(np.asarray(tiny) < 0)
    assert wg.all(wg.isfinite(wg.grad(lambda a: wg.sum(random.gamma(KEY, a, (100,))))(1e-5)))
    assert (
        np.isnan(random.gamma(KEY, -1.0))
        and float(random.gamma(KEY, 0.0)) == 0.0
        and wg.isinf(random.gamma(KEY, np.inf))
    )


def test_the_second_derivative_of_a_gamma_sample_is_refused_with_a_reason() -> None:
    with pytest.raises(UnsupportedError, match="no closed form"):
        wg.grad(wg.grad(lambda a: random.gamma(KEY, a)))(2.0)


def test_compositions_sum_to_one() -> None:
    alpha = np.array([0.01, 0.5, 3.0])
    x = np.asarray(random.dirichlet(KEY, alpha, (N,)))
    np.testing.assert_allclose(x.sum(-1), 1, rtol=1e-12)
    spread = np.sqrt(alpha * (alpha.sum() - alpha) / (alpha.sum() ** 2 * (alpha.sum() + 1)) / N)
    assert np.all(np.abs(x.mean(0) - alpha / alpha.sum()) < 4.5 * spread)


BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: random.normal(0), DTypeError, r"the key is the number 0; make one: wg.random.key\(0\)"),
    (lambda: random.normal(np.zeros(2)), DTypeError, r"the key is float64\[2\]; expected uint32\[2\]"),
    (lambda: random.normal(np.zeros(3, np.uint32)), ShapeError, r"the key is uint32\[3\]; expected uint32\[2\]"),
    (lambda: random.normal(random.split(KEY)), ShapeError, r"one key is expected, got an array of keys"),
    (lambda: random.normal(KEY, -1), ArgumentError, r"the shape is -1; expected a tuple of integers"),
    (lambda: random.normal(KEY, (2,), np.int32), DTypeError, r"random.normal of int32; expected float16"),
    (lambda: random.bits(KEY, (), np.int32), DTypeError, r"random.bits of int32; expected an unsigned"),
    (lambda: random.key(1.5), DTypeError, r"the seed is .*1.5.*; expected an integer"),
    (lambda: random.key(True), DTypeError, r"expected an integer"),
    (lambda: random.key(np.arange(2)), ShapeError, r"the seed has shape \(2,\); expected one integer"),
    (lambda: random.fold_in(KEY, 0.5), DTypeError, r"expected an integer"),
    (lambda: random.bernoulli(KEY, 1.5), ArgumentError, r"a probability is 1.5; expected 0 to 1"),
    (lambda: random.bernoulli(KEY, np.array([0.5, np.nan])), ArgumentError, r"a probability is nan"),
    (lambda: random.uniform(KEY, (3,), minval=np.zeros(2)), ShapeError, r"do not (stretch|broadcast)"),
    (lambda: random.randint(KEY, (3,), 5, 5), ArgumentError, r"minval is not below maxval"),
    (lambda: random.randint(KEY, (3,), 0.0, 5), DTypeError, r"bound 0.0 is no integer"),
    (lambda: random.truncated_normal(KEY, 1.0, 0.0), ArgumentError, r"lower is not below upper"),
    (lambda: random.choice(KEY, 3, (4,), replace=False), ArgumentError, r"4 of 3 elements without replacement"),
    (lambda: random.choice(KEY, 3, (4,), p=np.ones(2) / 2), ShapeError, r"p has shape \(2,\); expected \(3,\)"),
    (lambda: random.categorical(KEY, 0.0), ShapeError, r"expected an axis to draw from"),
    (lambda: random.dirichlet(KEY, np.ones((2, 2))), ShapeError, r"alpha has shape \(2, 2\)"),
]


@pytest.mark.parametrize(("call", "error", "text"), BAD)
def test_errors_say_what_was_given(call: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        call()
