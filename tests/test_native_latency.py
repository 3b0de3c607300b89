"""What makes loops quick: sums in one pass, values in registers, memory used again, products fused where it matters."""

import numpy as np
import pytest

import wengert as wg


def loss(c, x, y):
    p = 0 * x
    for k in range(8):
        p = p * x + c[k]
    return wg.mean((p - y) * (p - y))


def polynomial(n, seed=0):
    rng = np.random.default_rng(seed)
    c, x = rng.standard_normal(8), rng.uniform(-1, 1, n)
    return wg.asarray(c), wg.asarray(x), wg.asarray(np.sin(3 * x))


@pytest.mark.parametrize("n", [1000, 1003, 100_000])
def test_many_sums_take_one_pass(n):
    args = polynomial(n)
    native = wg.jit(wg.grad(loss), executor="native")
    text = str(native.lower(*args).loops)
    assert text.count("sum over the rows") == 8
    assert not any(f"[{n}]" in line for line in text.splitlines())  # nothing goes over the numbers once more
    c, x, y = map(np.asarray, args)
    powers = x[:, None] ** np.arange(7, -1, -1)
    exact = 2 / n * powers.T @ (powers @ c - y)
    np.testing.assert_allclose(native(*args), exact, rtol=1e-11)


def test_many_sums_are_the_same_by_any_number_of_threads():
    args = polynomial(100_003)
    native = wg.jit(wg.grad(loss), executor="native")
    before, found = wg.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            wg.set_num_threads(threads)
            found.append(np.asarray(native(*args)).tobytes())
    finally:
        wg.set_num_threads(before)
    assert len(set(found)) == 1


def test_many_sums_let_nan_and_infinity_through():
    c, x, y = polynomial(1000)
    for bad in (np.nan, np.inf):
        wild = np.asarray(y).copy()
        wild[17] = bad
        plain = wg.grad(loss)(c, x, wg.asarray(wild))
        native = wg.jit(wg.grad(loss), executor="native")(c, x, wg.asarray(wild))
        np.testing.assert_array_equal(np.isnan(native), np.isnan(plain))
        np.testing.assert_allclose(native, plain, rtol=1e-10)


def turns(x):
    def step(x, _):
        y = x + 0.1 * (wg.roll(x, -1) - wg.roll(x, 2)) * wg.roll(x, 1)
        return x - 0.1 * (wg.roll(y, 1) + wg.roll(y, -1)), None

    return wg.scan(step, x, None, length=20)[0]


@pytest.mark.parametrize("n", [40, 72, 200])
def test_turns_store_once_what_is_read_at_several_places(n):
    x = wg.asarray(np.random.default_rng(n).standard_normal(n))
    native = wg.jit(turns, executor="native")
    # the carry twice, its copy and y with both ends, the result
    assert n <= 64 or str(native.lower(x).loops).count(" = ") == 2 + 2 * 3 + 1
    np.testing.assert_allclose(native(x), turns(x), rtol=1e-12)
    slope = wg.grad(lambda x: wg.sum(turns(x) ** 2))
    np.testing.assert_allclose(wg.jit(slope, executor="native")(x), slope(x), rtol=1e-9)


def test_a_carry_that_is_a_result_twice_and_an_input_again():
    def f(x):
        a, b = wg.scan(lambda c, _: ((c[1] * 0.5, c[0] + 1.0), None), (x, x), None, length=7)[0]
        return a, b, a, a + b

    x = wg.asarray(np.arange(100.0))
    for mine, theirs in zip(wg.jit(f, executor="native")(x), f(x), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_memory_without_threads_is_used_again():
    def f(x):
        def step(x, _):
            for k in range(1, 6):  # each difference needs its operand in memory
                x = wg.roll(x, 1) * 0.5 - wg.roll(x, -k) * 0.25
            return x, None

        return wg.scan(step, x, None, length=3)[0]

    x = wg.asarray(np.random.default_rng(0).standard_normal(200))
    native = wg.jit(f, executor="native")
    assert wg.explain(native)(x).workspace_bytes <= 5 * 2048  # of eleven values
    np.testing.assert_allclose(native(x), f(x), rtol=1e-12)


def test_of_two_products_the_later_one_is_fused():
    def f(a):
        return wg.scan(lambda x, _: (x * x * x + a * x - 1.0, None), a * 0.1, None, length=5)[0]

    native, a = wg.jit(f, executor="native"), wg.asarray(np.float64(0.3))
    np.testing.assert_allclose(native(a), f(a), rtol=1e-12)
    g = wg.jit(lambda a: wg.scan(lambda x, _: (a * x - x * x * x, None), a * 0.1, None, length=5)[0], executor="native")
    x = 0.03
    for _ in range(5):
        x = 0.3 * x - x * x * x
    np.testing.assert_allclose(g(a), x, rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "y"), [(1.5, 0.3), (-2e-200, 1e-100), (3e100, -7e90), (0.0, 2.0), (1.0, np.inf), (2.0, 0.0)]
)
def test_the_derivative_of_a_quotient_by_its_divisor(x, y):
    slope = float(wg.grad(lambda y: x / y)(wg.asarray(np.float64(y))))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(slope, -(np.float64(x) / y) / y, rtol=1e-15)
