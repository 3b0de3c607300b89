"""Recurrent layers, cells, attention and transformers against PyTorch, and what PyTorch has no name for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.draws_sequences import stack
from tests.torch_layers import compare_layer, first, generator, move
from wengert import nn

torch = pytest.importorskip("torch")

T = torch.nn

RECURRENT: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("RNN", {}),
    "rnn, relu": ("RNN", {"nonlinearity": "relu", "bias": False}),
    "rnn, deep": ("RNN", {"num_layers": 2, "bidirectional": True}),
    "lstm": ("LSTM", {}),
    "lstm, deep": ("LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    "lstm, no bias": ("LSTM", {"bias": False}),
    "lstm, projected": ("LSTM", {"proj_size": 2, "num_layers": 2, "bidirectional": True}),
    "gru": ("GRU", {}),
    "gru, deep": ("GRU", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    "gru, no bias": ("GRU", {"bias": False}),
}
TIMES, BATCH, IN, HIDDEN = 5, 3, 2, 4


def recurrent(name: str) -> tuple[Any, Any, np.ndarray]:
    cls, kwargs = RECURRENT[name]
    theirs, mine = move(getattr(T, cls)(IN, HIDDEN, **kwargs), getattr(nn, cls)(IN, HIDDEN, **kwargs))
    shape = (BATCH, TIMES, IN) if kwargs.get("batch_first") else (TIMES, BATCH, IN)
    return theirs, mine, generator(name).normal(size=shape)


def states(name: str, alone: bool = False) -> list[np.ndarray]:
    cls, kwargs = RECURRENT[name]
    count = kwargs.get("num_layers", 1) * (1 + kwargs.get("bidirectional", False))
    sizes = [kwargs.get("proj_size", HIDDEN), HIDDEN][: 2 if cls == "LSTM" else 1]
    rng = generator(name + "states")
    return [rng.normal(size=(count, s) if alone else (count, BATCH, s)) for s in sizes]


def everything(out: Any) -> Any:
    """Outputs and last states as one vector."""
    y, last = out
    parts = [y, *(last if isinstance(last, tuple) else (last,))]
    lib = torch if isinstance(y, torch.Tensor) else wg
    return lib.concatenate([p.reshape(-1) for p in parts])


def with_state(model: Any, x: Any, *s: Any) -> Any:
    return everything(model(x, s if len(s) > 1 else s[0]))


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layer(name: str) -> None:
    theirs, mine, x = recurrent(name)
    compare_layer(theirs, mine, [x], call=lambda m, x: everything(m(x)))


@pytest.mark.parametrize("name", RECURRENT)
def test_initial_state(name: str) -> None:
    theirs, mine, x = recurrent(name)
    compare_layer(theirs, mine, [x, *states(name)], call=with_state)


@pytest.mark.parametrize("name", ["rnn, deep", "lstm", "gru, deep"])
def test_one_sequence_alone(name: str) -> None:
    theirs, mine, _ = recurrent(name)
    x = np.random.default_rng(0).normal(size=(TIMES, IN))
    compare_layer(theirs, mine, [x, *states(name, alone=True)], call=with_state)
    assert [tuple(np.shape(a)) for a in first_and_last(mine(x))] == [
        tuple(a.shape) for a in first_and_last(theirs(t(x)))
    ]


def first_and_last(out: Any) -> list[Any]:
    return [out[0], *(out[1] if isinstance(out[1], tuple) else (out[1],))]


def t(x: Any) -> Any:
    return torch.tensor(np.asarray(x))


@pytest.mark.parametrize("name", ["rnn, deep", "lstm, deep", "gru", "lstm, projected"])
def test_sequences_of_many_lengths(name: str) -> None:
    theirs, mine, x = recurrent(name)
    batch_first = mine.batch_first
    lengths = np.array([3, TIMES, 1])

    def packed(model: Any, x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            return everything(model(x, lengths=lengths))
        sequence = T.utils.rnn.pack_padded_sequence(x, t(lengths), batch_first=batch_first, enforce_sorted=False)
        y, last = model(sequence)
        y, _ = T.utils.rnn.pad_packed_sequence(y, batch_first=batch_first, total_length=TIMES)
        return everything((y, last))

    compare_layer(theirs, mine, [x], call=packed)
    mask = np.arange(TIMES) < lengths[:, None]
    a, b = mine(x, lengths=lengths), mine(x, mask=mask if batch_first else mask.T)
    np.testing.assert_array_equal(np.asarray(everything(a)), np.asarray(everything(b)))


def in_pieces(model: Any, x: Any, k: int) -> Any:
    """PyTorch's layer with the state detached at steps k, 2k, …; backwards the pieces count from the end."""
    for layer in range(model.num_layers):
        sides = []
        for back in ("", "_reverse")[: 1 + model.bidirectional]:
            end = f"_l{layer}{back}"
            own = {n.removesuffix(end) + "_l0": p for n, p in model.named_parameters() if n.endswith(end)}
            settings = {"nonlinearity": model.nonlinearity} if model.mode.startswith("RNN") else {}
            settings |= {"proj_size": model.proj_size} if model.proj_size else {}
            one = type(model)(x.shape[-1], model.hidden_size, bias=model.bias, **settings)
            state, parts = None, []
            for piece in torch.split(x.flip(0) if back else x, k):
                y, state = torch.func.functional_call(one, own, (piece, state))
                state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
                parts.append(y)
            sides.append(torch.cat(parts).flip(0) if back else torch.cat(parts))
        x = torch.cat(sides, dim=-1)
    return x


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_truncated_derivative(name: str, seed: int) -> None:
    rng = generator(f"{name} truncated {seed}")
    sizes, kwargs, _ = stack(rng, name)
    kwargs |= {"num_layers": 1 + seed % 2, "bidirectional": seed > 1, "batch_first": False}
    k = int(rng.integers(1, TIMES + 1))
    theirs, mine = move(getattr(T, name)(*sizes, **kwargs), getattr(nn, name)(*sizes, **kwargs, truncate=k))

    def call(model: Any, x: Any) -> Any:
        return in_pieces(model, x, k) if isinstance(x, torch.Tensor) else model(x)[0]

    compare_layer(theirs, mine, [rng.normal(size=(TIMES, BATCH, sizes[0]))], call=call)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell", "RNNCell relu"])
def test_cell(name: str) -> None:
    cls, kwargs = name.split(maxsplit=1)[0], {"nonlinearity": "relu"} if "relu" in name else {}
    theirs, mine = move(getattr(T, cls)(3, 4, **kwargs), getattr(nn, cls)(3, 4, **kwargs))
    rng = np.random.default_rng(2)
    x, s = rng.normal(size=(5, 3)), [rng.normal(size=(5, 4)) for _ in range(2 if cls == "LSTMCell" else 1)]

    def call(m: Any, x: Any, *s: Any) -> Any:
        out = m(x, s if len(s) > 1 else s[0])
        return out if len(s) == 1 else out[0] + 2 * out[1]

    compare_layer(theirs, mine, [x, *s], call=call)
    compare_layer(theirs, mine, [x[0]], call=lambda m, x: first(m(x)))


def test_dropout_between_layers() -> None:
    x = np.ones((4, 2, 3), np.float32)
    model = nn.LSTM(3, 5, num_layers=3, dropout=0.5)
    a, b = (np.asarray(model(x)[0]) for _ in range(2))
    assert not np.array_equal(a, b)
    model.eval()
    a, b = (np.asarray(model(x)[0]) for _ in range(2))
    np.testing.assert_array_equal(a, b)


ATTENTION: dict[str, tuple[dict[str, Any], list[tuple[int, ...]]]] = {
    "self": ({}, [(5, 2, 6)]),
    "self, batch first": ({"batch_first": True}, [(2, 5, 6)]),
    "cross": ({}, [(5, 2, 6), (4, 2, 6)]),
    "three": ({"kdim": 3, "vdim": 4, "bias": False}, [(5, 2, 6), (4, 2, 3), (4, 2, 4)]),
    "same size": ({"batch_first": True}, [(2, 5, 6), (2, 4, 6), (2, 4, 6)]),
    "more places": ({"add_bias_kv": True, "add_zero_attn": True}, [(5, 2, 6), (4, 2, 6)]),
    "one example": ({}, [(5, 6), (4, 6)]),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTENTION)
def test_multihead_attention(name: str) -> None:
    kwargs, shapes = ATTENTION[name]
    theirs, mine = move(T.MultiheadAttention(6, 3, **kwargs), nn.MultiheadAttention(6, 3, **kwargs))
    rng = generator(name)
    inputs = [rng.normal(size=s) for s in shapes]

    def call(m: Any, *xs: Any) -> Any:
        q, k, v = (xs * 3)[:3] if len(xs) == 1 else (*xs, xs[-1])[:3]
        out, weights = m(q, k, v)
        lib = torch if isinstance(q, torch.Tensor) else wg
        return lib.concatenate([out.reshape(-1), weights.reshape(-1)])

    compare_layer(theirs, mine, inputs, call=call)


@pytest.mark.parametrize("kind", ["causal", "bool", "float", "per head", "padding", "both", "float padding"])
def test_attention_masks(kind: str) -> None:
    rng = generator(kind)
    n, heads, length = 2, 3, 4
    theirs, mine = move(T.MultiheadAttention(6, heads), nn.MultiheadAttention(6, heads))
    x = rng.normal(size=(length, n, 6))
    masks: dict[str, Any] = {}
    off = rng.uniform(size=(n * heads, length, length)) < 0.4
    off[:, np.arange(length), np.arange(length)] = False
    if kind in ("bool", "both"):
        masks["attn_mask"] = off[0]
    if kind == "causal":
        masks["attn_mask"] = np.triu(np.ones((length, length), bool), 1)
    if kind == "float":
        masks["attn_mask"] = rng.normal(size=(length, length))
    if kind == "per head":
        masks["attn_mask"] = off
    if kind in ("padding", "both"):
        masks["key_padding_mask"] = np.array([[False] * 4, [False, False, False, True]])
    if kind == "float padding":
        masks["key_padding_mask"] = rng.normal(size=(n, length))

    def call(m: Any, x: Any) -> Any:
        tensors = isinstance(x, torch.Tensor)
        given = {k: t(v) if tensors else v for k, v in masks.items()}
        if kind == "causal" and not tensors:
            given = {"is_causal": True}
        out, weights = m(x, x, x, average_attn_weights=False, **given)
        return (torch if tensors else wg).concatenate([out.reshape(-1), weights.reshape(-1)])

    compare_layer(theirs, mine, [x], call=call)


def test_scaled_dot_product_attention() -> None:
    rng = np.random.default_rng(3)
    q, k, v = rng.normal(size=(2, 4, 5, 3)), rng.normal(size=(2, 4, 6, 3)), rng.normal(size=(2, 4, 6, 7))
    mask = rng.uniform(size=(5, 6)) < 0.7
    mask[:, 0] = True
    for kwargs in (
        {},
        {"attn_mask": mask},
        {"attn_mask": rng.normal(size=(2, 1, 5, 6))},
        {"is_causal": True},
        {"scale": 0.3},
    ):
        given = {n: t(a) if isinstance(a, np.ndarray) else a for n, a in kwargs.items()}
        expected = torch.nn.functional.scaled_dot_product_attention(t(q), t(k), t(v), **given).numpy()
        mine = nn.functional.scaled_dot_product_attention(q, k, v, **kwargs)
        np.testing.assert_allclose(np.asarray(mine), expected, rtol=1e-9)
    k2, v2 = k[:, :2], v[:, :2]
    expected = torch.nn.functional.scaled_dot_product_attention(t(q), t(k2), t(v2), enable_gqa=True).numpy()
    mine = nn.functional.scaled_dot_product_attention(q, k2, v2, enable_gqa=True)
    np.testing.assert_allclose(np.asarray(mine), expected, rtol=1e-9)


def test_a_row_without_places_is_zero_and_poisons_nothing() -> None:
    x = np.random.default_rng(4).normal(size=(1, 3, 4))
    mask = np.array([[True, True, True], [False, False, False], [True, False, True]])

    def f(x: Any) -> Any:
        out = nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask)
        return (out * out).sum(), out

    grad, out = wg.grad(f, has_aux=True)(x)
    assert np.isfinite(np.asarray(grad)).all() and (np.asarray(out)[0, 1] == 0).all()


TRANSFORMERS: dict[str, dict[str, Any]] = {
    "plain": {}, "norm first": {"norm_first": True, "batch_first": True},
    "gelu, no bias": {"activation": "gelu", "bias": False, "batch_first": True},
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformer_layers(name: str) -> None:
    kwargs = {"dropout": 0.0, "dim_feedforward": 7, **TRANSFORMERS[name]}
    rng = generator(name)
    src, tgt = rng.normal(size=(4, 2, 6)), rng.normal(size=(4, 2, 6))
    theirs, mine = move(T.TransformerEncoderLayer(6, 2, **kwargs), nn.TransformerEncoderLayer(6, 2, **kwargs))
    compare_layer(theirs, mine, [src])
    theirs, mine = move(T.TransformerDecoderLayer(6, 2, **kwargs), nn.TransformerDecoderLayer(6, 2, **kwargs))
    compare_layer(theirs, mine, [tgt, src])


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_encoder_decoder_and_both() -> None:
    rng = np.random.default_rng(5)
    src, tgt = rng.normal(size=(4, 2, 6)), rng.normal(size=(3, 2, 6))
    settings = {"dropout": 0.0, "dim_feedforward": 7}
    theirs, mine = move(
        T.TransformerEncoder(
            T.TransformerEncoderLayer(6, 2, **settings), 2, T.LayerNorm(6), enable_nested_tensor=False
        ),
        nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, **settings), 2, nn.LayerNorm(6)),
    )
    mask = np.triu(np.ones((4, 4), bool), 1)

    def masked(m: Any, x: Any) -> Any:
        return m(x, mask=t(mask) if isinstance(x, torch.Tensor) else mask)

    compare_layer(theirs, mine, [src], call=masked)
    both = {"num_encoder_layers": 1, "num_decoder_layers": 2, **settings}
    theirs, mine = move(T.Transformer(6, 2, **both), nn.Transformer(6, 2, **both))
    causal = np.asarray(nn.Transformer.generate_square_subsequent_mask(3))
    np.testing.assert_array_equal(causal, T.Transformer.generate_square_subsequent_mask(3).numpy())

    def call(m: Any, src: Any, tgt: Any) -> Any:
        mask = causal.astype(np.float64)
        return m(src, tgt, tgt_mask=t(mask) if isinstance(src, torch.Tensor) else mask)

    compare_layer(theirs, mine, [src, tgt], call=call)


def test_copies_of_a_layer_are_not_tied_and_draw_for_themselves() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5), 2)
    assert encoder.count_parameters() == 2 * encoder.layers[0].count_parameters()
    keys = [tuple(np.asarray(b)) for n, b in encoder.named_buffers() if n.endswith("key")]
    assert len(set(keys)) == len(keys) == 8


def test_positional_encodings() -> None:
    x = np.zeros((2, 5, 6), np.float32)
    p = np.asarray(nn.SinusoidalPositionalEncoding(6, 10)(x))[0]
    places, rates = np.arange(5)[:, None], 10000.0 ** (-np.arange(0, 6, 2) / 6)
    np.testing.assert_allclose(p[:, 0::2], np.sin(places * rates), atol=1e-6)
    np.testing.assert_allclose(p[:, 1::2], np.cos(places * rates), atol=1e-6)
    learned = nn.LearnedPositionalEncoding(6, 10)
    np.testing.assert_array_equal(np.asarray(learned(x))[1], np.asarray(learned.weight)[:5])
    swapped = nn.LearnedPositionalEncoding(6, 10, batch_first=False)
    np.testing.assert_array_equal(np.asarray(swapped(x))[:, 3], np.asarray(swapped.weight)[:2])
    assert nn.SinusoidalPositionalEncoding(5, 4)(np.zeros((4, 5), np.float32)).shape == (4, 5)
