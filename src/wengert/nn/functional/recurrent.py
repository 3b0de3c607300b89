"""One step of each recurrent cell, and the loop over a sequence that all recurrent layers share.

The products of the inputs are taken for all times at once, before the loop, in which only those of the state are left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.control.loops import scan
from wengert.diff.stop_gradient import stop_gradient_p
from wengert.ir.array import Array
from wengert.nn.functional.activation import relu
from wengert.nn.functional.linear import linear
from wengert.ops.compare import select
from wengert.ops.shape import slice_p
from wengert.ops.transcendental import logistic, tanh

State = tuple[Array, ...]
Step = Callable[[Array, State, Any, Any, Any], State]  # (input's part, state, W_hh, b_hh, W_hr) -> new state


def parts(x: Array, n: int) -> list[Array]:
    """The last axis in n equal parts."""
    size = x.shape[-1] // n
    start, stop, step = [0] * x.ndim, list(x.shape), (1,) * x.ndim
    found = []
    for k in range(n):
        start[-1], stop[-1] = k * size, (k + 1) * size
        found.append(slice_p.bind(x, start=tuple(start), stop=tuple(stop), step=step))
    return found


def rnn_step(activation: Callable[[Any], Array]) -> Step:
    """`h' = activation(gx + W_hh h)`; the input's part `gx` holds both biases."""

    def step(gx: Array, state: State, w: Any, b: Any, _: Any) -> State:
        return (activation(gx + linear(state[0], w)),)

    return step


rnn_tanh, rnn_relu = rnn_step(tanh), rnn_step(relu)


def lstm_step(gx: Array, state: State, w: Any, b: Any, project: Any) -> State:
    """`i, f, g, o = gx + W_hh h;  c' = σ(f) c + σ(i) tanh(g);  h' = σ(o) tanh(c')`, then projected if there is W_hr."""
    h, c = state
    i, f, g, o = parts(gx + linear(h, w), 4)
    c = logistic(f) * c + logistic(i) * tanh(g)
    h = logistic(o) * tanh(c)
    return (h if project is None else linear(h, project), c)


def gru_step(gx: Array, state: State, w: Any, b: Any, _: Any) -> State:
    """`r = σ(xᵣ + hᵣ);  z = σ(x_z + h_z);  n = tanh(xₙ + r hₙ);  h' = n + z (h - n)`; `hᵣ, h_z, hₙ = W_hh h + b`."""
    (h,) = state
    xr, xz, xn = parts(gx, 3)
    hr, hz, hn = parts(linear(h, w, b), 3)
    r, z = logistic(xr + hr), logistic(xz + hz)
    n = tanh(xn + r * hn)
    return (n + z * (h - n),)


def run(
    step: Step, gx: Array, state: State, w: Any, b: Any, project: Any, reverse: bool, alive: Array | None,
    truncate: int | None,
) -> tuple[Array, State]:  # fmt: skip
    """The step along axis 0 of `gx`; returns all outputs (T, N, H) and the last state.

    Args:
        alive: (T, N, 1), False where an example has ended: its state stays, its output is 0.
        truncate: the state is a constant to derivatives at every so many steps.
    """
    xs: dict[str, Array] = {"gx": gx}
    if alive is not None:
        xs["alive"] = alive
    if truncate is not None:
        times = np.arange(gx.shape[0])[::-1] if reverse else np.arange(gx.shape[0])
        xs["cut"] = Array((times % truncate == 0) & (times > 0))

    def body(state: State, x: dict[str, Array]) -> tuple[State, Array]:
        if "cut" in x:
            state = tuple(select(x["cut"], stop_gradient_p.bind(s), s) for s in state)
        new = step(x["gx"], state, w, b, project)
        if "alive" not in x:
            return new, new[0]
        kept = tuple(select(x["alive"], n, s) for n, s in zip(new, state, strict=True))
        return kept, select(x["alive"], new[0], 0)

    last, outputs = scan(body, state, xs, reverse=reverse)
    return outputs, last
