"""Recurrent layers that remember longer: gates in the place of plain recurrence, and gates that begin open."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import nn
from wengert.flow.remedies.remedy import Remedy, nothing_to, on_model
from wengert.flow.remedies.surgery import exchange
from wengert.ir.array import Array
from wengert.nn.module import Module


class HiddenLSTM(nn.LSTM):
    """An LSTM that is called like an RNN: its state is h alone; c begins at 0 and is not handed out."""

    def forward(self, x: Any, hx: Any = None, *, lengths: Any = None, mask: Any = None) -> tuple[Array, Any]:
        both = None if hx is None else (hx, hx * 0)
        y, (h, _) = super().forward(x, both, lengths=lengths, mask=mask)
        return y, h


def gated(model: Module, kind: str = "gru", memory: int = 0) -> Module:
    """The model with GRUs, or LSTMs that hide their cell, in the places of plain recurrent layers and cells.

    The plain layer's weights become those of the candidate (n of a GRU, g of an LSTM).

    Args:
        kind: "gru" or "lstm"; a cell becomes a GRUCell in any case, because its state is one array.
        memory: how many steps are to be remembered; gates begin so that units forget after about that many.
    """

    def change(name: str, m: Module) -> Module | None:
        if isinstance(m, nn.RNNCell):
            return opened(
                _filled(nn.GRUCell(m.input_size, m.hidden_size, m.bias_ih is not None, dtype=m.weight_hh.dtype), m, 2),
                memory,
            )
        if not isinstance(m, nn.RNN):
            return None
        made = HiddenLSTM if kind == "lstm" else nn.GRU
        new = made(
            m.input_size, m.hidden_size, m.num_layers, m.bias, m.batch_first, m.dropout, m.bidirectional,
            truncate=m.truncate, dtype=m.weight_ih_l0.dtype,
        )  # fmt: skip
        return opened(_filled(new, m, 2), memory)

    changed, count = exchange(model, change)
    if not count:
        raise nothing_to(f"{kind.upper()} for RNN", model)
    return changed


def _filled(new: Module, old: Module, gate: int) -> Module:
    """The old layer's weights as those of one gate; both kinds have their candidate in the third place."""
    for name, value in list(vars(old).items()):
        if name.startswith(("weight_", "bias_")) and hasattr(value, "shape"):
            all_gates = np.array(getattr(new, name))
            h = value.shape[0]
            all_gates[gate * h : (gate + 1) * h] = np.asarray(value)
            setattr(new, name, Array(all_gates))
    return new


def opened(m: Module, memory: int = 0) -> Module:
    """Biases of the gates that keep the state: 1, or by the lengths that are to be remembered.

    With `memory` T, `b = log(uniform(T/2, 2T))` for the gate that keeps, so that a unit's time scale lies around T
    steps; an LSTM's input gate gets -b/2. After Tallec and Ollivier 2018, *Can recurrent neural networks warp time?*
    (arXiv 1804.11188), who take the scales from 1 to T. Changes the module that is given.
    """
    rng = np.random.default_rng(memory)
    lstm = isinstance(m, (nn.LSTM, nn.LSTMCell))
    for name, value in list(vars(m).items()):
        if name.startswith("bias_ih") and hasattr(value, "shape"):
            b = np.array(value)
            h = len(b) // (4 if lstm else 3)
            kept = np.log(rng.uniform(memory / 2, 2 * memory, h)) if memory > 2 else np.ones(h)
            b[h : 2 * h] = kept
            if lstm and memory > 2:
                b[:h] = -kept / 2
            setattr(m, name, Array(b))
            other = name.replace("_ih", "_hh")
            inner = np.array(getattr(m, other))
            inner[h : 2 * h] = 0
            if lstm and memory > 2:
                inner[:h] = 0
            setattr(m, other, Array(inner))
    return m


def open_gates(model: Module, memory: int = 0) -> Module:
    """The model with the gates of its LSTMs and GRUs open at first; see `opened`."""

    def change(name: str, m: Module) -> Module | None:
        return opened(m, memory) if isinstance(m, (nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell)) else None

    changed, count = exchange(model, change)
    if not count:
        raise nothing_to("open gates", model)
    return changed


def orthogonal_recurrence(model: Module, gain: float = 1.0) -> Module:
    """The model with orthogonal recurrent weights, gate by gate (Saxe et al. 2013), which keep lengths over time."""

    def change(name: str, m: Module) -> Module | None:
        if not isinstance(m, (nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell)):
            return None
        for what, value in list(vars(m).items()):
            if what.startswith("weight_hh"):
                h = value.shape[1]
                blocks = [nn.init.orthogonal((h, h), gain, key=k) for k in range(value.shape[0] // h)]
                setattr(m, what, Array(np.concatenate([np.asarray(b) for b in blocks]).astype(value.dtype)))
            elif what.startswith("weight_ih") and float(np.abs(np.asarray(value)).std()) > 10 / math.sqrt(
                value.shape[1]
            ):
                setattr(m, what, nn.init.xavier_uniform(value, key=7))
        return m

    changed, count = exchange(model, change)
    if not count:
        raise nothing_to("orthogonal recurrence", model)
    return changed


def gated_remedy(kind: str, memory: int, why: str) -> Remedy:
    """GRU or LSTM for RNN."""
    return on_model(f"{kind.upper()} for RNN", why, lambda model: gated(model, kind, memory))


def gates_remedy(memory: int, why: str) -> Remedy:
    """Gates that begin open."""
    return on_model("forget gates open at first", why, lambda model: open_gates(model, memory))


def orthogonal_remedy(why: str) -> Remedy:
    """Orthogonal recurrent weights."""
    return on_model("orthogonal recurrent weights", why, orthogonal_recurrence)
