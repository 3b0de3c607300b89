"""Control flow against plain Python loops: values and derivatives of every order and mode, batched and staged."""

import numpy as np
import pytest

import wengert as wg
from wengert.errors import AbstractValueError, ArgumentError, DTypeError, ShapeError

rng = np.random.default_rng(0)
XS = rng.normal(size=(7, 3))
W = wg.asarray(rng.normal(size=(3, 3)) * 0.5)
H0 = wg.asarray(np.zeros(3))
V = rng.normal(size=(3, 3))


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def rnn(w, xs, h, **options):
    def step(h, x):
        h = wg.tanh(w @ h + x)
        return h, 2 * h

    h, ys = wg.scan(step, h, xs, **options)
    return wg.sum(h) + wg.sum(ys * ys)


def unrolled(w, xs, h, reverse=False):
    total = 0.0
    for x in xs[::-1] if reverse else xs:
        h = wg.tanh(w @ h + x)
        total = total + wg.sum((2 * h) ** 2)
    return wg.sum(h) + total


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("checkpoint", [None, "sqrt", "log", 2, 3])
def test_scan_gradient_equals_the_loop(reverse, checkpoint):
    ours = wg.grad(rnn, (0, 2))(W, XS, H0, reverse=reverse, checkpoint=checkpoint)
    loop = wg.grad(unrolled, (0, 2))(W, XS, H0, reverse)
    for a, b in zip(ours, loop, strict=True):
        close(a, b)


def test_scan_gradient_by_the_sequence():
    xs = wg.asarray(XS)
    ours = wg.grad(rnn, 1)(W, xs, H0)
    basis = np.zeros_like(XS)
    basis[2, 1] = 1e-6
    numeric = (rnn(W, xs + basis, H0) - rnn(W, xs - basis, H0)) / 2e-6
    close(ours[2, 1], numeric, 1e-7)


def second(f):
    return wg.grad(lambda w: wg.sum(wg.grad(f)(w) * V))


@pytest.mark.parametrize("wrap", [lambda f: f, wg.jit], ids=["eager", "jit"])
def test_scan_second_order_in_every_nesting(wrap):
    scanned, loop = (lambda w: rnn(w, XS, H0)), (lambda w: unrolled(w, XS, H0))
    expected = second(loop)(W)
    close(wrap(second(scanned))(W), expected)
    close(second(wrap(scanned))(W), expected)
    close(wrap(lambda w: wg.hvp(scanned, (w,), (V,)))(W), expected)
    close(wg.hvp(wrap(scanned), (W,), (V,)), expected)
    close(wg.grad(lambda w: wg.jvp(wrap(scanned), (w,), (V,))[1])(W), expected)


@pytest.mark.parametrize("f", [lambda w: rnn(w, XS, H0), lambda w: rnn(w, XS, H0, checkpoint="sqrt")])
def test_scan_batched_equals_looped(f):
    many = rng.normal(size=(4, 3, 3)) * 0.3
    for derivative in (wg.grad(f), second(f)):
        close(wg.vmap(derivative)(many), np.stack([np.asarray(derivative(m)) for m in many]))


def test_scan_examples_and_lengths():
    carry, ys = wg.scan(lambda c, x: (c + x, c), 0.0, wg.asarray([1.0, 2.0, 3.0]))
    assert carry.dtype == wg.float32 and float(carry) == 6.0
    close(ys, [0.0, 1.0, 3.0])
    carry, ys = wg.scan(lambda c, _: (c * 2, None), 1, length=10)
    assert int(carry) == 1024 and ys is None
    carry, ys = wg.scan(lambda c, x: (c + x, x), 0.0, wg.zeros((0,)))
    assert float(carry) == 0.0 and ys.shape == (0,)
    carry, (a, b) = wg.scan(lambda c, x: ({"s": c["s"] + x["u"]}, (x["u"], 1)), {"s": 0.0}, {"u": wg.ones((4,))})
    assert float(carry["s"]) == 4.0 and a.shape == b.shape == (4,)


def power_until(x, **options):
    return wg.while_loop(lambda y: y < 100, lambda y: y * x, x, **options)  # x⁷ at 2


def test_while_loop_of_unknown_length_in_every_mode_and_order():
    assert float(wg.grad(power_until)(2.0)) == 7 * 2.0**6
    assert float(wg.jvp(power_until, (2.0,), (1.0,))[1]) == 7 * 2.0**6
    assert float(wg.grad(wg.grad(power_until))(2.0)) == 42 * 2.0**5
    assert float(wg.grad(wg.grad(wg.grad(power_until)))(2.0)) == 210 * 2.0**4
    assert float(wg.jit(wg.grad(wg.grad(power_until)))(2.0)) == 42 * 2.0**5
    assert float(wg.grad(wg.jit(wg.grad(power_until)))(2.0)) == 42 * 2.0**5


def test_while_loop_batched_with_a_length_for_each_example():
    xs = np.array([2.0, 3.0, 50.0])
    for f in (
        power_until,
        wg.grad(power_until),
        wg.grad(wg.grad(power_until)),
        lambda x: wg.jvp(power_until, (x,), (1.0,))[1],
    ):
        expected = [float(f(x)) for x in xs]
        close(wg.vmap(f)(xs), expected)
        close(wg.jit(wg.vmap(f))(xs), expected)
    close(wg.grad(lambda xs: wg.sum(wg.vmap(power_until)(xs)))(xs), [float(wg.grad(power_until)(x)) for x in xs])


@pytest.mark.parametrize("checkpoint", ["sqrt", "log", 3])
def test_while_loop_checkpointed(checkpoint):
    def f(x, **options):
        return wg.while_loop(lambda s: s[0] < 50, lambda s: (s[0] + 1, wg.sin(s[1]) * x), (0, x), **options)[1]

    close(wg.grad(lambda x: f(x, checkpoint=checkpoint))(1.3), wg.grad(f)(1.3))
    close(wg.grad(wg.jit(lambda x: f(x, checkpoint=checkpoint)))(1.3), wg.grad(f)(1.3))


def test_while_loop_that_never_turns_has_the_derivative_of_its_start():
    assert float(wg.grad(lambda x: wg.while_loop(lambda y: y < 0, lambda y: y * y, 3 * x))(1.0)) == 3.0


def test_nested_loops():
    def newton(a):  # √a by Newton's iteration, to convergence
        return wg.while_loop(lambda x: wg.abs(x * x - a) > 1e-13, lambda x: 0.5 * (x + a / x), a)

    def total(a):
        return wg.scan(lambda c, s: (c + newton(a * s), None), 0.0, wg.asarray(np.array([1.0, 2.0, 3.0])))[0]

    factors = sum(np.sqrt([1.0, 2.0, 3.0]))
    close(wg.grad(total)(2.0), 0.5 / np.sqrt(2) * factors)
    close(wg.grad(wg.grad(total))(2.0), -0.25 * 2**-1.5 * factors, 1e-9)
    close(wg.jit(wg.grad(total))(2.0), 0.5 / np.sqrt(2) * factors)


def choose(p, x):
    return wg.cond(p, lambda x: wg.sin(x) * 2, lambda x: x * x * x, x)


@pytest.mark.parametrize("p", [True, False])
def test_cond(p):
    first = 2 * np.cos(0.7) if p else 3 * 0.7**2
    then = -2 * np.sin(0.7) if p else 6 * 0.7
    close(wg.grad(choose, 1)(p, 0.7), first)
    close(wg.grad(wg.jit(choose), 1)(p, 0.7), first)
    close(wg.jit(wg.grad(wg.grad(choose, 1), 1))(p, 0.7), then)
    close(wg.grad(wg.jit(wg.grad(choose, 1)), 1)(p, 0.7), then)
    close(wg.jit(lambda p, x: wg.jvp(lambda x: choose(p, x), (x,), (1.0,))[1])(p, 0.7), first)


def test_cond_batched():
    ps, xs = np.array([True, False, True]), np.array([0.1, 0.2, 0.3])
    for f in (choose, wg.grad(choose, 1), wg.grad(wg.grad(choose, 1), 1)):
        close(wg.vmap(f)(ps, xs), [float(f(bool(p), x)) for p, x in zip(ps, xs, strict=True)])
        close(wg.jit(wg.vmap(f))(ps, xs), [float(f(bool(p), x)) for p, x in zip(ps, xs, strict=True)])


def test_switch_moves_an_index_outside_to_the_nearest_branch():
    branches = [wg.sin, wg.cos, wg.tanh]
    f = wg.jit(lambda i, x: wg.switch(i, branches, x))
    for i, expected in ((-3, np.sin), (1, np.cos), (9, np.tanh)):
        close(f(i, 0.3), expected(0.3))
        close(wg.switch(i, branches, 0.3), expected(0.3))


def test_fori_loop_with_known_and_traced_bounds():
    assert float(wg.grad(lambda x: wg.fori_loop(0, 3, lambda i, y: y * x, x))(2.0)) == 32.0
    f = wg.jit(wg.grad(lambda x, n: wg.fori_loop(0, n, lambda i, y: y * x, x)))
    assert float(f(2.0, 3)) == 32.0 and float(f(2.0, 1)) == 4.0


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13])
def test_associative_scan(n):
    a = rng.normal(size=n)
    close(wg.associative_scan(wg.add, a), np.cumsum(a))
    close(wg.associative_scan(wg.multiply, a, reverse=True), np.cumprod(a[::-1])[::-1])

    def linear(left, right):  # x ↦ a·x + b, composed
        return left[0] * right[0], left[1] * right[0] + right[1]

    factors, offsets = rng.normal(size=(2, n))
    state, expected = 0.0, []
    for f, o in zip(factors, offsets, strict=True):
        state = f * state + o
        expected.append(state)
    close(wg.associative_scan(linear, (factors, offsets))[1], expected)


def test_checkpoint_keeps_derivatives_of_every_order():
    f = lambda x: wg.sin(x) * x  # noqa: E731
    c = wg.checkpoint(f)
    for transform in (
        wg.grad,
        lambda g: wg.grad(wg.grad(g)),
        lambda g: wg.jit(wg.grad(wg.grad(g))),
        lambda g: wg.grad(wg.jit(wg.grad(g))),
    ):
        close(transform(c)(0.5), transform(f)(0.5))
    close(wg.vmap(wg.grad(c))(XS[0]), wg.vmap(wg.grad(f))(XS[0]))
    assert float(wg.grad(lambda y: wg.checkpoint(lambda x: x * y)(2.0))(3.0)) == 2.0  # through a closure


def test_jit_stages_once_and_follows_types():
    calls = []

    @wg.jit
    def f(x, scale):
        calls.append(x.shape)
        return x * scale

    f(wg.ones((3,)), 2.0), f(wg.ones((3,)), 3.0)
    assert len(calls) == 1
    f(wg.ones((4,)), 2.0)
    assert len(calls) == 2
    assert f(np.ones(3), 0.1)[0] == 0.1  # a Python number takes the array's type: double here
    assert f(wg.ones((3,)), 0.1).dtype == wg.float32


def test_jit_of_closures_over_outer_tracers():
    assert float(wg.grad(lambda y: wg.jit(lambda x: x * y)(2.0) * y)(3.0)) == 12.0


BAD = [
    (lambda: wg.jit(lambda x: 1.0 if x > 0 else 2.0)(1.0), AbstractValueError, "wg.where, wg.cond"),
    (lambda: wg.jit(3), ArgumentError, "takes a function"),
    (lambda: wg.jit(abs, executor="fpga"), ArgumentError, "no executor 'fpga'"),
    (lambda: wg.scan(lambda c, x: c, 0.0, wg.ones((3,))), ArgumentError, "expected a pair"),
    (
        lambda: wg.scan(lambda c, x: (wg.stack([c, c]), x), wg.ones((2,)), wg.ones((3,))),
        ShapeError,
        "went in as float32",
    ),
    (lambda: wg.scan(lambda c, x: (c > 0, x), wg.asarray(1.0), wg.ones((3,))), DTypeError, "came out as bool"),
    (lambda: wg.scan(lambda c, x: ((c, c), x), 1.0, wg.ones((3,))), ArgumentError, "structure"),
    (lambda: wg.scan(lambda c, x: (c, x), 1.0, (wg.ones((3,)), wg.ones((4,)))), ShapeError, "different lengths"),
    (lambda: wg.scan(lambda c, x: (c, x), 1.0), ShapeError, "neither xs nor length"),
    (lambda: wg.scan(lambda c, x: (c, x), 1.0, wg.ones((9,)), checkpoint="cube"), ArgumentError, "cube"),
    (lambda: wg.while_loop(lambda c: c, lambda c: c, wg.asarray(1.0)), DTypeError, "expected one boolean"),
    (lambda: wg.while_loop(lambda c: c > 0, lambda c: c, wg.ones((2,))), ShapeError, "wg.any or wg.all"),
    (lambda: wg.cond(1.0, wg.sin, wg.cos, 0.0), DTypeError, "expected bool"),
    (lambda: wg.cond(wg.asarray([True]), wg.sin, wg.cos, 0.0), ShapeError, "expected one boolean"),
    (
        lambda: wg.jit(lambda p: wg.cond(p, lambda: wg.ones((2,)), lambda: wg.ones((3,))))(True),
        ArgumentError,
        "different things",
    ),
    (lambda: wg.switch(0, []), ArgumentError, "at least one branch"),
]


@pytest.mark.parametrize(("bad", "error", "says"), BAD)
def test_bad_input_says_what_to_do(bad, error, says):
    with pytest.raises(error, match=says) as caught:
        bad()
    assert "test_control.py" in str(caught.value)


def test_a_loop_whose_derivative_needs_nothing_of_its_turns():
    """The reverse of the reverse still has to know how many turns there were."""
    x = np.arange(1.0, 4.0)

    def f(x):
        turn = lambda s: (s[0] + 1, 0.25 * s[1] + wg.sum(wg.sign(s[1])))  # noqa: E731
        return wg.while_loop(lambda s: s[0] < 3, turn, (0, x))[1]

    def g(x):
        return wg.vjp(f, x)[1](wg.sin(x))[0]

    for transform in (lambda f: f, wg.jit, lambda f: wg.jit(f, executor="numpy")):
        np.testing.assert_allclose(np.asarray(transform(g)(x)), np.sin(x) / 64, rtol=1e-14)
        bent = transform(lambda x: wg.vjp(g, x)[1](wg.ones(3, dtype=wg.float64))[0])(x)
        np.testing.assert_allclose(np.asarray(bent), np.cos(x) / 64, rtol=1e-14)
