"""Single steps of recurrent layers, for loops of one's own."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.nn.functional import recurrent as core
from wengert.nn.functional.inputs import as_input
from wengert.nn.functional.linear import linear
from wengert.nn.init.distributions import uniform
from wengert.nn.module import Module
from wengert.nn.seed import next_key
from wengert.nn.sizes import size
from wengert.ops.index import zeros
from wengert.random.keys import split
from wengert.source import at_user_line


class _Cell(Module):
    gates: ClassVar[int]
    states: ClassVar[int] = 1
    merged: ClassVar[bool] = True

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: Any = None, key: Any = None):
        self.input_size = size(input_size, f"{type(self).__name__}: input_size")
        self.hidden_size = size(hidden_size, f"{type(self).__name__}: hidden_size")
        bound, width = 1 / math.sqrt(hidden_size), self.gates * hidden_size
        keys = split(next_key(key), 4)
        self.weight_ih = uniform((width, input_size), -bound, bound, key=keys[0], dtype=dtype)
        self.weight_hh = uniform((width, hidden_size), -bound, bound, key=keys[1], dtype=dtype)
        self.bias_ih = uniform((width,), -bound, bound, key=keys[2], dtype=dtype) if bias else None
        self.bias_hh = uniform((width,), -bound, bound, key=keys[3], dtype=dtype) if bias else None

    def _step(self) -> core.Step:
        raise NotImplementedError

    def forward(self, x: Any, hx: Any = None) -> Any:
        """The new state from an input (N, input), or (input,), and a state like it; 0 by default."""
        x = as_input(x, self.weight_ih, self)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{self!r}: the input has shape {x.shape}; expected (batch, {self.input_size}) or "
                f"({self.input_size},){at_user_line()}"
            )
        shape = (*x.shape[:-1], self.hidden_size)
        if hx is None:
            state: tuple[Array, ...] = (zeros(shape, x.dtype),) * self.states
        else:
            state = tuple(hx) if self.states > 1 else (hx,)
            state = tuple(as_input(s, x, self, "the state", "the input") for s in state)
            if len(state) != self.states or any(s.shape != shape for s in state):
                raise ShapeError(
                    f"{self!r}: a state of shapes {[s.shape for s in state]}; expected {self.states} of {shape}"
                    + at_user_line()
                )
        outer, inner = self.bias_ih, self.bias_hh
        if self.merged and outer is not None and inner is not None:
            outer, inner = outer + inner, None
        new = self._step()(linear(x, self.weight_ih, outer), state, self.weight_hh, inner, None)
        return new if self.states > 1 else new[0]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias_ih is not None else ", bias=False")


class RNNCell(_Cell):
    """One step of `RNN`: `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`.

    Parameters: `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, uniform within `±1/√hidden`.
    """

    gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", *, dtype: Any = None,
        key: Any = None,
    ):  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f'RNNCell: nonlinearity is {nonlinearity!r}; expected "tanh" or "relu"{at_user_line()}')
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, dtype=dtype, key=key)

    def _step(self) -> core.Step:
        return core.rnn_tanh if self.nonlinearity == "tanh" else core.rnn_relu


class LSTMCell(_Cell):
    """One step of `LSTM`: takes and returns a state (h, c). Parameters as for `RNNCell`."""

    gates, states = 4, 2

    def _step(self) -> core.Step:
        return core.lstm_step


class GRUCell(_Cell):
    """One step of `GRU`. Parameters as for `RNNCell`."""

    gates, merged = 3, False

    def _step(self) -> core.Step:
        return core.gru_step
