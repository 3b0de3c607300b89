"""Recurrent layers: several layers deep, in one direction or both, over sequences of one length or many."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from wengert.errors import ArgumentError, DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.nn.functional import recurrent as core
from wengert.nn.functional.dropout import check_probability, dropout
from wengert.nn.functional.inputs import as_input
from wengert.nn.functional.linear import linear
from wengert.nn.init.distributions import uniform
from wengert.nn.module import Module
from wengert.nn.seed import next_key
from wengert.nn.sizes import size
from wengert.ops.index import iota, zeros
from wengert.ops.promote import as_array, convert
from wengert.ops.shape import concat_p, permute, reshape
from wengert.random.keys import split
from wengert.source import at_user_line


class _Recurrent(Module):
    """What all share: parameters by PyTorch's names, the order of axes, initial states, ends of sequences."""

    _buffers = frozenset(("key",))
    _transient = frozenset(("key",))
    gates: ClassVar[int]
    states: ClassVar[int] = 1
    merged: ClassVar[bool] = True  # whether both biases are added to the input's part
    proj_size: int = 0

    def _start(
        self, input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool, dropout: float,
        bidirectional: bool, truncate: int | None, dtype: Any, key: Any,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        check_probability(dropout, f"{name}: dropout")
        if truncate is not None and (not isinstance(truncate, int) or truncate < 1):
            raise ArgumentError(f"{name}: truncate is {truncate!r}; expected a number of steps or None{at_user_line()}")
        self.input_size = size(input_size, f"{name}: input_size")
        self.hidden_size = size(hidden_size, f"{name}: hidden_size")
        self.num_layers = size(num_layers, f"{name}: num_layers")
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.truncate = truncate
        bound = 1 / math.sqrt(hidden_size)
        key, held = split(next_key(key))
        self.key = held if dropout and num_layers > 1 else None
        out = self.proj_size or hidden_size
        width = self.gates * hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        for k in range(num_layers):
            for end in self._ends():
                read = input_size if k == 0 else out * len(self._ends())
                shapes[f"weight_ih_l{k}{end}"] = (width, read)
                shapes[f"weight_hh_l{k}{end}"] = (width, out)
                if bias:
                    shapes[f"bias_ih_l{k}{end}"] = shapes[f"bias_hh_l{k}{end}"] = (width,)
                if self.proj_size:
                    shapes[f"weight_hr_l{k}{end}"] = (out, hidden_size)
        for own, (what, shape) in zip(split(key, len(shapes)), shapes.items(), strict=True):
            setattr(self, what, uniform(shape, -bound, bound, key=own, dtype=dtype))

    def _ends(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def _step(self) -> core.Step:
        raise NotImplementedError

    def _sizes(self) -> tuple[int, ...]:
        """Lengths of the states."""
        return (self.proj_size or self.hidden_size, self.hidden_size)[: self.states]

    def forward(self, x: Any, hx: Any = None, *, lengths: Any = None, mask: Any = None) -> tuple[Array, Any]:
        """Outputs of the last layer for all times, and the last state of every layer.

        Args:
            x: (T, N, input), with `batch_first` (N, T, input), or (T, input).
            hx: the first state (layers · directions, N, H), for an LSTM a pair (h, c); 0 by default.
            lengths: (N,), how long each sequence is; what follows doesn't count, and the output there is 0.
            mask: booleans (T, N), with `batch_first` (N, T), False where a sequence has no element.

        Returns:
            Outputs (T, N, directions · H), in the order of axes of `x`, and states like `hx`.
        """
        x = as_input(x, self.weight_ih_l0, self)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{self!r}: the input has shape {x.shape}; expected two or three axes, the last of {self.input_size} "
                f"features{at_user_line()}"
            )
        alone = x.ndim == 2
        swapped = self.batch_first and not alone
        if alone:
            x = reshape(x, (x.shape[0], 1, x.shape[1]))
        elif swapped:
            x = permute(x, (1, 0, 2))
        if x.shape[0] == 0:
            raise ShapeError(f"{self!r}: the sequence is empty, the input has shape {x.shape}{at_user_line()}")
        first = self._first_states(hx, x, alone)
        alive = self._alive(x, lengths, mask, swapped)
        lasts: list[tuple[Array, ...]] = []
        for k in range(self.num_layers):
            if k and self.key is not None and self.training and self.dropout:
                x = dropout(x, self.dropout, key=self.draw_key(x))
            outputs = []
            for end in self._ends():
                state = tuple(s[len(lasts)] for s in first)
                y, last = self._direction(x, state, f"l{k}{end}", bool(end), alive)
                outputs.append(y)
                lasts.append(last)
            x = outputs[0] if len(outputs) == 1 else concat_p.bind(*outputs, axis=2)
        final = tuple(_stacked([last[i] for last in lasts]) for i in range(self.states))
        if alone:
            x, final = reshape(x, (x.shape[0], x.shape[2])), tuple(reshape(s, (len(lasts), s.shape[2])) for s in final)
        elif swapped:
            x = permute(x, (1, 0, 2))
        return x, final if self.states > 1 else final[0]

    def _direction(
        self, x: Array, state: tuple[Array, ...], which: str, reverse: bool, alive: Array | None
    ) -> tuple[Array, tuple[Array, ...]]:
        inner = getattr(self, f"bias_hh_{which}", None)
        outer = getattr(self, f"bias_ih_{which}", None)
        if self.merged and outer is not None:
            outer, inner = outer + inner, None
        gx = linear(x, getattr(self, f"weight_ih_{which}"), outer)
        weight, project = getattr(self, f"weight_hh_{which}"), getattr(self, f"weight_hr_{which}", None)
        return core.run(self._step(), gx, state, weight, inner, project, reverse, alive, self.truncate)

    def _first_states(self, hx: Any, x: Array, alone: bool) -> list[list[Array]]:
        """For each kind of state, those of all layers and directions."""
        count, n = self.num_layers * len(self._ends()), x.shape[1]
        if hx is None:
            return [[zeros((n, size), x.dtype)] * count for size in self._sizes()]
        given = tuple(hx) if self.states > 1 and isinstance(hx, (tuple, list)) else (hx,)
        if len(given) != self.states:
            raise ArgumentError(f"{self!r}: the first state is a pair (h, c){at_user_line()}")
        result = []
        for s, width in zip(given, self._sizes(), strict=True):
            s = as_input(s, x, self, "the first state", "the input")
            expected = (count, width) if alone else (count, n, width)
            if s.shape != expected:
                raise ShapeError(
                    f"{self!r}: a first state of shape {s.shape}; expected {expected}, (layers · directions, batch, "
                    f"size){at_user_line()}"
                )
            result.append([reshape(s[i], (n, width)) for i in range(count)])
        return result

    def _alive(self, x: Array, lengths: Any, mask: Any, swapped: bool) -> Array | None:
        turns, n = x.shape[:2]
        if lengths is not None and mask is not None:
            raise ArgumentError(f"{self!r}: give lengths or a mask, not both{at_user_line()}")
        if lengths is not None:
            lengths = as_array(lengths, "lengths")
            if lengths.dtype.kind not in "iu" or lengths.shape != (n,):
                raise ShapeError(
                    f"{self!r}: lengths are {lengths.type!r}; expected {n} integers, one for each sequence"
                    + at_user_line()
                )
            if lengths.trace is None and n and not 0 <= np.min(lengths.data) <= np.max(lengths.data) <= turns:
                raise ArgumentError(
                    f"{self!r}: lengths lie between {np.min(lengths.data)} and {np.max(lengths.data)}; the input has "
                    f"{turns} times{at_user_line()}"
                )
            return iota(turns, 0, 3) < reshape(convert(lengths, np.dtype(np.int64)), (1, n, 1))
        if mask is None:
            return None
        mask = as_array(mask, "mask")
        if mask.dtype.kind != "b":
            raise DTypeError(f"{self!r}: the mask is {mask.dtype.name}; expected booleans{at_user_line()}")
        if mask.shape != ((n, turns) if swapped else (turns, n)) and mask.shape != (turns,) * (n == 1):
            raise ShapeError(
                f"{self!r}: a mask of shape {mask.shape} for {n} sequences of {turns} times, in the order of the "
                f"input's axes{at_user_line()}"
            )
        return reshape(permute(mask, (1, 0)) if swapped else mask, (turns, n, 1))

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        plain = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        for name, default in {**plain, "truncate": None, "proj_size": 0}.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


def _stacked(states: list[Array]) -> Array:
    return concat_p.bind(*(reshape(s, (1, *s.shape)) for s in states), axis=0)


class RNN(_Recurrent):
    """`hₜ = tanh(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh)`, or with `nonlinearity="relu"` that of ReLU.

    Args:
        input_size, hidden_size: lengths of xₜ and hₜ.
        num_layers: how many layers, each reading the outputs of the one before.
        bias: whether there are b_ih and b_hh.
        batch_first: whether inputs and outputs are (N, T, …) instead of (T, N, …); states are not concerned.
        dropout: probability of dropout between layers, in training.
        bidirectional: whether a second layer reads backwards; the outputs stand side by side.
        truncate: k for a truncated derivative: the state is taken as a constant at steps k, 2k, 3k, …, so that the
            gradient reaches back over less than k of them (Williams and Peng 1990, doi 10.1162/neco.1990.2.4.490).
        dtype, key: as for `Linear`; the key serves dropout too.

    Parameters: for each layer k `weight_ih_lk`, `weight_hh_lk`, `bias_ih_lk`, `bias_hh_lk`, backwards with `_reverse`
    behind, uniform within `±1/√hidden`. For calls see `forward`.

    Example:
        >>> outputs, last = nn.RNN(3, 5)(wg.ones((7, 2, 3)))
        >>> outputs.shape, last.shape
        ((7, 2, 5), (1, 2, 5))
    """

    gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, *, truncate: int | None = None,
        dtype: Any = None, key: Any = None,
    ):  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f'RNN: nonlinearity is {nonlinearity!r}; expected "tanh" or "relu"{at_user_line()}')
        self.nonlinearity = nonlinearity
        self._start(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, truncate, dtype, key
        )

    def _step(self) -> core.Step:
        return core.rnn_tanh if self.nonlinearity == "tanh" else core.rnn_relu


class LSTM(_Recurrent):
    """Long short-term memory: `i, f, g, o = W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh`, `cₜ = σ(f) cₜ₋₁ + σ(i) tanh(g)`,
    `hₜ = σ(o) tanh(cₜ)`.

    Arguments and parameters as for `RNN`, the gates i, f, g, o one below the other in each matrix. With `proj_size`,
    hₜ is multiplied by `weight_hr_lk` (proj_size, hidden). The state is a pair (h, c).

    Hochreiter and Schmidhuber 1997 (doi 10.1162/neco.1997.9.8.1735).
    """

    gates, states = 4, 2

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, *, truncate: int | None = None,
        dtype: Any = None, key: Any = None,
    ):  # fmt: skip
        if not 0 <= proj_size < hidden_size:
            raise ArgumentError(
                f"LSTM: proj_size is {proj_size}; expected 0 (none) to less than hidden_size {hidden_size}"
                + at_user_line()
            )
        self.proj_size = proj_size
        self._start(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, truncate, dtype, key
        )

    def _step(self) -> core.Step:
        return core.lstm_step


class GRU(_Recurrent):
    """Gated recurrent unit: `r = σ(W_ir xₜ + b_ir + W_hr h + b_hr)`, z likewise,
    `n = tanh(W_in xₜ + b_in + r (W_hn h + b_hn))`, `hₜ = (1 - z) n + z h`, with `h = hₜ₋₁`.

    Arguments and parameters as for `RNN`, the gates r, z, n one below the other in each matrix.

    Cho et al. 2014 (arXiv 1406.1078).
    """

    gates, merged = 3, False

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, *, truncate: int | None = None, dtype: Any = None,
        key: Any = None,
    ):  # fmt: skip
        self._start(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, truncate, dtype, key
        )

    def _step(self) -> core.Step:
        return core.gru_step
