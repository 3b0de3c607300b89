"""Fourier transforms: NumPy's values, known spectra, finite differences, and JAX as oracle."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.checks import Point, arrays, check_pull, check_push, check_second, close
from wengert import fft
from wengert.errors import ArgumentError, DTypeError, ShapeError

NORMS = ("backward", "ortho", "forward")
ONE_AXIS = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
REAL = ("rfft", "ihfft", "rfftn", "rfft2")


def signal(name: str, shape: tuple[int, ...] = (4, 5), dtype: str = "float64", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x if name in REAL else x + 1j * rng.standard_normal(shape)).astype(
        dtype if name in REAL else {"float64": "complex128", "float32": "complex64"}[dtype]
    )


@pytest.mark.parametrize(("name", "norm"), list(itertools.product(ONE_AXIS, NORMS)))
def test_one_axis_against_numpy(name: str, norm: str) -> None:
    x = signal(name)
    for axis, n in itertools.product((-1, 0), (None, 1, 2, 3, 6, 9)):
        got = getattr(fft, name)(x, n=n, axis=axis, norm=norm)
        close(got, getattr(np.fft, name)(x, n=n, axis=axis, norm=norm), 1e-13, 1.0, f"{name} axis={axis} n={n}")


@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2"])
def test_several_axes_against_numpy(name: str) -> None:
    x = signal(name, (3, 4, 5))
    for norm, (s, axes) in itertools.product(
        NORMS, ((None, (0, 2)), ((4, 7), (-1, 0)), (None, (1, 2)), ((2, -1), (0, 1)))
    ):
        got = getattr(fft, name)(x, s=s, axes=axes, norm=norm)
        full = None if s is None else [x.shape[a] if n == -1 else n for n, a in zip(s, axes, strict=True)]
        if "irfft" in name and s is not None and s[-1] == -1:
            full[-1] = 2 * (x.shape[axes[-1]] - 1)
        close(got, getattr(np.fft, name)(x, s=full, axes=axes, norm=norm), 1e-13, 1.0, name)
    close(getattr(fft, name)(x), getattr(np.fft, name)(x), 1e-13, 1.0, f"{name} by default")


def test_types() -> None:
    for dtype, wide in (("float32", "complex64"), ("float64", "complex128")):
        assert fft.fft(np.ones(3, dtype)).dtype.name == wide
        assert fft.fft(np.ones(3, wide)).dtype.name == wide
        assert fft.rfft(np.ones(3, dtype)).dtype.name == wide
        assert fft.ihfft(np.ones(3, dtype)).dtype.name == wide
        assert fft.irfft(np.ones(3, wide)).dtype.name == dtype
        assert fft.hfft(np.ones(3, wide)).dtype.name == dtype
    assert fft.fft([1, 2, 3]).dtype == wg.complex64
    assert fft.rfft(np.ones(3, "int32")).dtype == wg.complex64
    assert fft.fftn(np.ones((0, 4)), axes=(1,)).shape == (0, 4)
    assert fft.fftn(np.ones((2, 4)), axes=()).dtype == wg.complex128


def test_known_spectra() -> None:
    n, k = 8, 3
    wave = np.exp(2j * np.pi * k * np.arange(n) / n)
    close(fft.fft(wave), n * (np.arange(n) == k), 1e-13, 1.0, "a wave has one line")
    close(fft.rfft(np.cos(2 * np.pi * k * np.arange(n) / n)), n / 2 * (np.arange(5) == k), 1e-13, 1.0, "half of it")
    x = signal("fft")
    close(np.sum(np.abs(np.asarray(fft.fftn(x, norm="ortho"))) ** 2), np.sum(np.abs(x) ** 2), 1e-13, 1.0, "Parseval")
    for there, back in (("fft", "ifft"), ("fftn", "ifftn"), ("hfft", "ihfft"), ("rfft", "irfft"), ("rfftn", "irfftn")):
        for norm in NORMS:
            x = signal(there, (3, 6))
            if there == "hfft":
                x[..., [0, -1]] = x[..., [0, -1]].real
            close(getattr(fft, back)(getattr(fft, there)(x, norm=norm), norm=norm), x, 1e-13, 1.0, f"{back}({there})")


FUNCTIONS = {
    "fft": lambda x: fft.fft(x, n=6, axis=0),
    "ifft real": lambda x: fft.ifft(wg.real(x), n=3, norm="forward"),
    "rfft even": lambda x: fft.rfft(wg.real(x), n=6, norm="ortho"),
    "rfft odd": lambda x: fft.rfft(wg.real(x), axis=0, n=3),
    "irfft even": fft.irfft,
    "irfft odd": lambda x: fft.irfft(x, n=7, axis=0, norm="ortho"),
    "hfft": lambda x: fft.hfft(x, n=6),
    "ihfft": lambda x: fft.ihfft(wg.imag(x)),
    "fftn": lambda x: fft.fftn(x, norm="ortho"),
    "rfftn": lambda x: fft.rfftn(wg.imag(x), s=(3, 6)),
    "irfftn": lambda x: fft.irfftn(x, s=(4, 5)),
    "fftshift": lambda x: fft.fftshift(x, axes=1),
    "power spectrum": lambda x: abs(fft.rfft(wg.real(x))) ** 2 * fft.ifftshift(wg.imag(x))[:, :3],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name: str) -> None:
    p = Point(FUNCTIONS[name], [signal("fft")])
    check_push(p, 1e-9)
    check_pull(p, 1e-11)
    check_second(p)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_is_a_loop_and_jit_changes_nothing(name: str) -> None:
    f, xs = FUNCTIONS[name], signal("fft", (3, 4, 5))
    close(wg.vmap(f)(xs), np.stack([np.asarray(f(x)) for x in xs]), 1e-13, 1.0, "batched")
    close(wg.vmap(f, in_axes=1)(xs.swapaxes(0, 1)), np.stack([np.asarray(f(x)) for x in xs]), 1e-13, 1.0, "batched")
    close(wg.jit(f)(xs[0]), f(xs[0]), 1e-14, 1.0, "compiled")


def test_a_convolution_and_its_gradient() -> None:
    rng = np.random.default_rng(1)
    x, h, u = rng.standard_normal((3, 8))

    def convolve(x: Any, h: Any) -> Any:
        return fft.irfft(fft.rfft(x) * fft.rfft(h))

    matrix = np.stack([np.roll(h, k) for k in range(8)], axis=1)
    close(convolve(x, h), matrix @ x, 1e-13, 1.0, "circular convolution")
    got = wg.grad(lambda x: wg.sum(u * convolve(x, h)))(x)
    assert got.dtype == wg.float64
    close(got, matrix.T @ u, 1e-13, 1.0, "its transpose is correlation")


def test_frequencies_and_shifts() -> None:
    for n in (1, 2, 5, 8):
        for d in (1.0, 0.25):
            close(fft.fftfreq(n, d=d, dtype=wg.float64), np.fft.fftfreq(n, d), 1e-15, 1.0, "fftfreq")
            close(fft.rfftfreq(n, d=d, dtype=wg.float64), np.fft.rfftfreq(n, d), 1e-15, 1.0, "rfftfreq")
        x = np.arange(3 * n).reshape(3, n)
        for axes in (None, 0, (1,), (0, 1), ()):
            np.testing.assert_array_equal(fft.fftshift(x, axes=axes), np.fft.fftshift(x, axes=axes))
            np.testing.assert_array_equal(fft.ifftshift(fft.fftshift(x, axes=axes), axes=axes), x)
    assert fft.fftfreq(3).dtype == wg.float32 and fft.rfftfreq(3, device="cpu").dtype == wg.float32


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fft.rfft(np.ones(3, "complex64")), DTypeError, "real numbers"),
        (lambda: fft.fft(np.ones(3), norm="unitary"), ArgumentError, "norm"),
        (lambda: fft.fft(np.ones(3), axis=1), ShapeError, "axis 1"),
        (lambda: fft.fft(np.ones((3, 0))), ShapeError, "no samples"),
        (lambda: fft.fft(np.ones(3), n=0), ShapeError, "length 0"),
        (lambda: fft.irfft(np.ones(1)), ShapeError, "length 0"),
        (lambda: fft.fftn(np.ones((3, 3)), axes=(0, -2)), ShapeError, "twice"),
        (lambda: fft.fftn(np.ones((3, 3)), s=(3,), axes=(0, 1)), ShapeError, "lengths"),
        (lambda: fft.fftfreq(0), ArgumentError, "at least 1"),
        (lambda: fft.fftfreq(3, dtype=wg.int32), DTypeError, "real floats"),
        (lambda: fft.fftfreq(3, device="gpu"), ArgumentError, "device"),
    ],
)
def test_errors(call: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words) as raised:
        call()
    assert "test_fft.py" in str(raised.value), "the message names the user's line"


def test_against_jax() -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        for name, n, norm in (
            ("fft", 6, "ortho"), ("ifft", 3, "backward"), ("rfft", 5, "forward"), ("rfft", 6, "backward"),
            ("irfft", 5, "backward"), ("irfft", 8, "ortho"), ("hfft", 7, "backward"), ("ihfft", 6, "forward"),
        ):  # fmt: skip
            x = signal(name)
            out, back = wg.vjp(lambda x, name=name, n=n, norm=norm: getattr(fft, name)(x, n=n, norm=norm), x)
            u = signal("rfft" if out.dtype == wg.float64 else "fft", out.shape, seed=1)

            @jax.jit
            def oracle(x: Any, u: Any, name: str = name, n: int = n, norm: str = norm) -> Any:
                value, pull = jax.vjp(lambda x: getattr(jax.numpy.fft, name)(x, n=n, norm=norm), x)
                return value, pull(u)[0]

            for got, wanted in zip((out, back(u)[0]), oracle(x, u), strict=True):
                close(arrays(got)[0], np.asarray(wanted), 1e-12, 1.0, name)
