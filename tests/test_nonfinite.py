"""debug_nonfinite blames the step that made the first NaN or infinity, and nobody else."""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import NonFiniteError

ZERO = np.array([0.0, 1.0, 2.0])


def net(x: Any) -> Any:
    a = wg.sin(x)
    b = wg.sqrt(a)
    return wg.sum(b * 2.0)


def blamed(run: Callable[[], Any], **options: bool) -> tuple[str, str]:
    """The message, and the text of the user's line that it names."""
    with pytest.raises(NonFiniteError) as caught, wg.debug_nonfinite(**options):
        run()
    message = str(caught.value)
    found = re.search(r"at (.*):(\d+) in ", message)
    assert found is not None
    return message, linecache.getline(found[1], int(found[2])).strip()


def test_forward_value() -> None:
    message, line = blamed(lambda: net(ZERO - 1.0))
    assert line == "b = wg.sqrt(a)"
    assert message.startswith("sqrt made 1 NaN (of 3 numbers)")
    assert "input: float64[3], from -0.841471 to 0.841471, 0 not finite" in message
    assert "output: float64[3], from 0 to 0.917317, 1 not finite" in message


@pytest.mark.parametrize(
    ("way", "run"),
    [
        ("backward", lambda: wg.grad(net)(ZERO)),
        ("backward", lambda: wg.vjp(net, ZERO)[1](1.0)),
        ("backward", lambda: wg.grad(wg.jit(net))(ZERO)),
        ("backward", lambda: wg.jacrev(net)(ZERO)),
        ("forward", lambda: wg.jvp(net, (ZERO,), (np.ones(3),))),
        ("forward", lambda: wg.linearize(net, ZERO)[1](np.ones(3))),
        ("forward", lambda: wg.jacfwd(net)(ZERO)),
    ],
)
def test_derivative_blames_the_line_of_the_step(way: str, run: Callable[[], Any]) -> None:
    message, line = blamed(run)
    assert line == "b = wg.sqrt(a)"
    assert message.startswith(f"the derivative of sqrt, going {way}, made ")
    assert "input of the step: float64[3], from 0 to 0.909297, 0 not finite" in message


def test_values_inside_jit_name_the_inner_line() -> None:
    message, line = blamed(lambda: wg.jit(net)(ZERO - 1.0))
    assert line == "b = wg.sqrt(a)" and message.startswith("sqrt made 1 NaN")
    assert np.isnan(float(wg.jit(net)(ZERO - 1.0)))  # and afterwards nobody looks on


def test_loops_are_named_as_one_step() -> None:
    message, _ = blamed(lambda: wg.scan(lambda c, x: (c + wg.log(x), c), 0.0, ZERO))
    assert message.startswith("scan made ")


@pytest.mark.parametrize(
    "run",
    [
        # a mask of -inf is put in on purpose, and exp of it is 0
        lambda: wg.grad(lambda x: wg.sum(wg.exp(x + wg.asarray(np.array([-np.inf, 0.0, 0.0]))) ** 2))(ZERO),
        lambda: wg.logsumexp(wg.where(wg.asarray(ZERO) > 0, ZERO, -np.inf)),
        lambda: wg.grad(lambda x: wg.logsumexp(wg.where(x > 0, x, -np.inf)))(ZERO),
        # constants of the user, and what passes through
        lambda: wg.asarray(np.array([np.nan, 1.0])) * 2.0,
        lambda: wg.full((3,), np.inf) + 1.0,
        lambda: wg.sum(wg.asarray(np.array([np.nan, np.inf])) * ZERO[:2]),
        # the rule of sqrt computes 0.5/0 on its way, but the mask has set the cotangent to 0
        lambda: wg.grad(lambda x: wg.sum(wg.where(x > 0, wg.sqrt(x), 0.0)))(ZERO),
        lambda: wg.grad(wg.jit(lambda x: wg.sum(wg.where(x > 0, wg.sqrt(x), 0.0))))(ZERO),
        lambda: wg.vmap(wg.grad(lambda x: wg.where(x > 0, wg.sqrt(x), 0.0)))(ZERO),
        lambda: wg.grad(lambda v: wg.scan(lambda c, x: (c + wg.where(x > 0, wg.sqrt(x), 0.0), c), 0.0, v)[0])(ZERO),
        lambda: net(ZERO + 0.5),
    ],
)
def test_innocent(run: Callable[[], Any]) -> None:
    with wg.debug_nonfinite():
        run()


def test_nan_from_infinities_is_new() -> None:
    infinite = wg.asarray(np.array([np.inf, 1.0]))
    message, line = blamed(lambda: infinite - infinite)
    assert message.startswith("subtract made 1 NaN (of 2 numbers)") and "lambda: infinite - infinite" in line
    assert "input 0: float64[2], from 1 to 1, 1 not finite" in message


def test_options() -> None:
    with wg.debug_nonfinite(inf=False):
        assert float(wg.log(np.float64(0.0))) == -np.inf
    assert blamed(lambda: wg.log(np.float64(-1.0)), inf=False)[0].startswith("log made 1 NaN (of 1 number)")
    with wg.debug_nonfinite(nan=False):
        assert np.isnan(float(wg.log(np.float64(-1.0))))
    assert blamed(lambda: wg.log(np.float64(0.0)), nan=False)[0].startswith("log made 1 infinity")


def test_watching_ends_with_the_context_also_after_an_error() -> None:
    blamed(lambda: wg.log(np.float64(0.0)))
    assert float(wg.log(np.float64(0.0))) == -np.inf
    assert float(wg.grad(wg.log)(0.0)) == np.inf


def test_indexing_and_operators_are_watched() -> None:
    x = wg.asarray(ZERO)
    assert blamed(lambda: 1.0 / x)[0].startswith("divide made 1 infinity")
    assert blamed(lambda: x[0] / x[0])[0].startswith("divide made 1 NaN")


def test_products_say_where_they_overflow() -> None:
    big = wg.asarray(np.full((2, 2), 1e200))
    message, _ = blamed(lambda: big @ big)
    assert message.startswith("dot_general made 4 infinities (of 4 numbers)")
    assert "input 0: float64[2,2], from 1e+200 to 1e+200, 0 not finite" in message
