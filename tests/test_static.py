"""Arguments of compiled functions that are Python values to the program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import nn
from wengert.errors import ArgumentError


def power(x: Any, n: int, *, times: int = 1) -> Any:
    assert isinstance(n, int) and isinstance(times, int)
    out = x
    for _ in range(n - 1):
        out = out * x
    return wg.sum(out) * times


@pytest.mark.parametrize("how", [{"static_argnums": 1}, {"static_argnames": "n"}, {"static_argnums": (1,)}])
def test_by_position_and_by_name(how: Any) -> None:
    x = wg.asarray([1.0, 2.0])
    names = {"times", "n"} if "static_argnames" in how else {"times"}
    f = wg.jit(power, **how | {"static_argnames": sorted(names)})
    for _ in range(4):
        assert float(f(x, 2)) == 5 and float(f(x, n=3, times=2)) == 18
    assert float(wg.grad(lambda x: f(x, 3))(x)[1]) == 12
    assert len(f.lower(x, 5).graph.nodes) > len(f.lower(x, 2).graph.nodes)
    assert float(wg.jit(lambda x: f(x, 2))(x)) == 5


def test_values_of_another_type_are_other_programs() -> None:
    f = wg.jit(lambda x, n: x + len(n) if isinstance(n, tuple) else x * n, static_argnums=1)
    assert [float(f(2.0, n)) for n in (3, 3.5, True, (1, 2))] == [6, 7, 2, 4]
    assert type(f.__name__) is str


def test_of_modules_and_with_donation() -> None:
    class Power(nn.Module):
        def __init__(self) -> None:
            self.w = wg.asarray(2.0)
            self.calls = nn.Buffer(wg.asarray(0))

        def forward(self, x: Any, n: int) -> Any:
            self.calls = self.calls + 1
            return power(x * self.w, n)

    model = Power()
    f = wg.jit(model, static_argnums=1)
    assert [float(f(wg.ones(2), n)) for n in (1, 2, 2)] == [4, 8, 8] and int(model.calls) == 3
    x = wg.ones(1000)
    g = wg.jit(lambda n, x: x * n, donate_argnums=1, static_argnums=0)
    assert float(g(3, x)[0]) == 3
    with pytest.raises(ArgumentError, match="given up to"):
        np.asarray(x)


@pytest.mark.parametrize("values", [(0.0, -0.0, 0), ((1,), (1.0,), (True,)), (((0.0,),), ((-0.0,),))])
def test_equal_values_of_other_meaning_have_programs_of_their_own(values: tuple[Any, ...]) -> None:
    seen: list[Any] = []

    def told(n: Any, x: Any) -> Any:
        seen.append(n)
        return x

    f = wg.jit(told, static_argnums=0)
    for n in (*values, *values):
        f(n, wg.ones(2))
    assert list(map(repr, seen)) == list(map(repr, values))


def test_bad_ones() -> None:
    f = wg.jit(power, static_argnums=1)
    with pytest.raises(ArgumentError, match="a static argument is a list, which has no hash"):
        f(wg.ones(2), [2])
    with pytest.raises(ArgumentError, match="a static argument is an Array"):
        f(wg.ones(2), wg.asarray(2))
    with pytest.raises(ArgumentError, match="static_argnames holds 'm', but power has x, n"):
        wg.jit(power, static_argnames="m")
    with pytest.raises(ArgumentError, match="static_argnums=-1; expected numbers"):
        wg.jit(power, static_argnums=-1)
    with pytest.raises(ArgumentError, match="argument 1 is static, so it can't be donated"):
        wg.jit(power, donate_argnums=1, static_argnums=1)
