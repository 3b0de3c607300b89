"""Draws of recurrent layers, their cells, attention and transformers: masks, lengths, states, truncation."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.draws import Drawn, Part, coin, function, layer, library, like, number, one_of, sizes

Random = np.random.Generator


def joined(*parts: Any) -> Any:
    """Everything that was put out, in one line."""
    return library(parts[0]).concatenate([p.reshape(-1) for p in parts])


def everything(out: Any) -> Any:
    y, last = out
    return joined(y, *(last if isinstance(last, tuple) else (last,)))


def stack(rng: Random, name: str) -> tuple[tuple[int, int], dict[str, Any], list[int]]:
    """Sizes, settings, and the widths of the states."""
    size, hidden = number(rng, 1, 3), number(rng, 2, 5)
    kwargs: dict[str, Any] = {
        "num_layers": number(rng, 1, 3), "bias": coin(rng), "batch_first": coin(rng), "bidirectional": coin(rng),
    }  # fmt: skip
    widths = [hidden] * (2 if name == "LSTM" else 1)
    if name == "LSTM" and coin(rng, 0.4):
        widths[0] = kwargs["proj_size"] = number(rng, 1, hidden - 1)
    if name == "RNN":
        kwargs["nonlinearity"] = one_of(rng, "tanh", "relu")
    return (size, hidden), kwargs, widths


def recurrent(rng: Random, name: str) -> Drawn:
    """With an initial state or none; one sequence alone, many of one length, or many of many lengths."""
    (size, hidden), kwargs, widths = stack(rng, name)
    turns, n = number(rng, 1, 4), number(rng, 1, 3)
    alone = coin(rng, 0.2)
    lengths = None if alone or coin(rng) else rng.integers(1, turns + 1, size=n)
    shape = (turns, size) if alone else (n, turns, size) if kwargs["batch_first"] else (turns, n, size)
    count = kwargs["num_layers"] * (1 + kwargs["bidirectional"])
    states = [rng.normal(size=(count, w) if alone else (count, n, w)) for w in widths] if coin(rng) else []

    def call(model: Any, x: Any, *state: Any) -> Any:
        given = None if not state else state if len(state) > 1 else state[0]
        if lengths is None:
            return everything(model(x, given))
        lib = library(x)
        if lib.__name__ == "wengert":
            return everything(model(x, given, lengths=lengths))
        rnn, first = lib.nn.utils.rnn, kwargs["batch_first"]
        packed = rnn.pack_padded_sequence(x, lib.tensor(lengths), batch_first=first, enforce_sorted=False)
        y, last = model(packed, given)
        return everything((rnn.pad_packed_sequence(y, batch_first=first, total_length=turns)[0], last))

    return Drawn((size, hidden), kwargs, [rng.normal(size=shape), *states], call)


for _name in ("RNN", "LSTM", "GRU"):
    layer(_name, seeds=12)(lambda rng, name=_name: recurrent(rng, name))


def cell(rng: Random, name: str) -> Drawn:
    size, hidden = sizes(rng, 1, 4, 2)
    lead = one_of(rng, (), (number(rng, 1, 3),))
    states = [rng.normal(size=(*lead, hidden)) for _ in range(2 if name == "LSTMCell" else 1)] if coin(rng, 0.7) else []
    kwargs = {"bias": coin(rng)} | ({"nonlinearity": one_of(rng, "tanh", "relu")} if name == "RNNCell" else {})

    def call(model: Any, x: Any, *state: Any) -> Any:
        out = model(x, None if not state else state if len(state) > 1 else state[0])
        return joined(*out) if isinstance(out, tuple) else out

    return Drawn((size, hidden), kwargs, [rng.normal(size=(*lead, size)), *states], call)


for _name in ("RNNCell", "LSTMCell", "GRUCell"):
    layer(_name, seeds=5)(lambda rng, name=_name: cell(rng, name))


def some_left_out(rng: Random, *shape: int) -> np.ndarray:
    """Of every row some places, never the first one: of a row that is left out PyTorch makes NaN."""
    off = rng.uniform(size=shape) < 0.4
    off[..., 0] = False
    return off


@layer("MultiheadAttention", seeds=20)
def multihead_attention(rng: Random) -> Drawn:
    heads = number(rng, 1, 3)
    width, n = heads * number(rng, 1, 2), number(rng, 1, 3)
    rows, columns = sizes(rng, 1, 4, 2)
    first, alone, kind = coin(rng), coin(rng, 0.2), one_of(rng, "self", "one memory", "three")
    kwargs: dict[str, Any] = {
        "bias": coin(rng), "add_bias_kv": coin(rng, 0.3), "add_zero_attn": coin(rng, 0.3), "batch_first": first,
    }  # fmt: skip
    if kind == "self":
        columns = rows
    elif coin(rng, 0.4) and kind == "three":
        kwargs |= {"kdim": number(rng, 1, 4), "vdim": number(rng, 1, 4)}

    def places(length: int, features: int) -> np.ndarray:
        whole = (length, features) if alone else (n, length, features) if first else (length, n, features)
        return rng.normal(size=whole)

    inputs = [places(rows, width)]
    if kind != "self":
        inputs += [places(columns, kwargs.get("kdim", width))]
    if kind == "three":
        inputs += [places(columns, kwargs.get("vdim", width))]
    masks: dict[str, Any] = {}
    whole = one_of(rng, (rows, columns), (rows, columns) if alone else (n * heads, rows, columns))
    keys = (columns,) if alone else (n, columns)
    if coin(rng):  # masks of one kind, as PyTorch asks
        masks = {"attn_mask": some_left_out(rng, *whole)} if coin(rng, 0.6) else {}
        masks |= {"key_padding_mask": some_left_out(rng, *keys)} if coin(rng, 0.6) else {}
    else:
        masks = {"attn_mask": rng.normal(size=whole)} if coin(rng, 0.6) else {}
        masks |= {"key_padding_mask": rng.normal(size=keys)} if coin(rng, 0.6) else {}
    average = coin(rng)

    def call(model: Any, *xs: Any) -> Any:
        q, k, v = {1: xs * 3, 2: (*xs, xs[-1]), 3: xs}[len(xs)]
        own = {name: like(q, mask) for name, mask in masks.items()}
        return joined(*model(q, k, v, average_attn_weights=average, **own))

    return Drawn((width, heads), kwargs, inputs, call)


@function("scaled_dot_product_attention", seeds=12)
def attention(rng: Random) -> Drawn:
    lead, (rows, columns, width, values) = sizes(rng, 1, 3, number(rng, 0, 2)), sizes(rng, 1, 4, 4)
    kwargs: dict[str, Any] = {}
    kind = one_of(rng, "none", "booleans", "numbers", "causal")
    if kind == "booleans":
        kwargs["attn_mask"] = ~some_left_out(rng, rows, columns)
    if kind == "numbers":
        kwargs["attn_mask"] = rng.normal(size=(*lead[: number(rng, 0, len(lead))], rows, columns)[-len(lead) - 2 :])
        if len(kwargs["attn_mask"].shape) == 3 and len(lead) == 2:
            kwargs["attn_mask"] = rng.normal(size=(lead[0], 1, rows, columns))
    if kind == "causal":
        kwargs["is_causal"] = True
    if coin(rng):
        kwargs["scale"] = float(rng.uniform(0.2, 2))
    shapes = [(*lead, rows, width), (*lead, columns, width), (*lead, columns, values)]
    if len(lead) == 2 and coin(rng):
        kwargs["enable_gqa"] = True
        shapes[0] = (lead[0], lead[1] * number(rng, 1, 3), rows, width)
        if kind == "numbers":
            kwargs["attn_mask"] = rng.normal(size=(rows, columns))
    return Drawn((), kwargs, [rng.normal(size=s) for s in shapes])


def block(rng: Random) -> tuple[tuple[Any, ...], dict[str, Any]]:
    heads = number(rng, 1, 2)
    kwargs = {
        "dropout": 0.0, "dim_feedforward": number(rng, 2, 5), "activation": one_of(rng, "relu", "gelu"),
        "layer_norm_eps": one_of(rng, 1e-5, 1e-2), "batch_first": coin(rng), "norm_first": coin(rng), "bias": coin(rng),
    }  # fmt: skip
    return (heads * number(rng, 1, 3), heads), kwargs


def sequences(rng: Random, kwargs: dict[str, Any], width: int, n: int, *lengths: int) -> list[np.ndarray]:
    return [rng.normal(size=(n, d, width) if kwargs["batch_first"] else (d, n, width)) for d in lengths]


def masks_for(rng: Random, n: int, **lengths: int) -> dict[str, np.ndarray]:
    """Of each name a causal mask, and a mask of keys."""
    masks = {}
    for name, length in lengths.items():
        if coin(rng) and name != "memory":
            masks["mask" if not name else f"{name}_mask"] = np.triu(np.ones((length, length), bool), 1)
        if coin(rng):
            masks[f"{name or 'src'}_key_padding_mask"] = some_left_out(rng, n, length)
    return masks


def masked(masks: dict[str, np.ndarray]) -> Any:
    return lambda model, x, *rest: model(x, *rest, **{name: like(x, m) for name, m in masks.items()})


@layer("TransformerEncoderLayer", seeds=6)
def encoder_layer(rng: Random) -> Drawn:
    args, kwargs = block(rng)
    n, length = number(rng, 1, 3), number(rng, 1, 4)
    return Drawn(args, kwargs, sequences(rng, kwargs, args[0], n, length), masked(masks_for(rng, n, src=length)))


@layer("TransformerDecoderLayer", seeds=6)
def decoder_layer(rng: Random) -> Drawn:
    args, kwargs = block(rng)
    n, length, memory = number(rng, 1, 3), number(rng, 1, 4), number(rng, 1, 4)
    inputs = sequences(rng, kwargs, args[0], n, length, memory)
    return Drawn(args, kwargs, inputs, masked(masks_for(rng, n, tgt=length, memory=memory)))


def stacked(rng: Random, name: str) -> tuple[tuple[Any, ...], dict[str, Any], int]:
    """A stack of blocks, with a norm behind or none; the block's settings and width."""
    args, kwargs = block(rng)
    norm = Part("LayerNorm", (args[0],)) if coin(rng) else None
    return (Part(f"{name}Layer", args, kwargs), number(rng, 1, 2), norm), kwargs, args[0]


@layer("TransformerEncoder", seeds=4)
def encoder(rng: Random) -> Drawn:
    args, kwargs, width = stacked(rng, "TransformerEncoder")
    n, length = number(rng, 1, 3), number(rng, 1, 4)
    return Drawn(args, {}, sequences(rng, kwargs, width, n, length), masked(masks_for(rng, n, **{"": length})))


@layer("TransformerDecoder", seeds=4)
def decoder(rng: Random) -> Drawn:
    args, kwargs, width = stacked(rng, "TransformerDecoder")
    n, length, memory = number(rng, 1, 3), number(rng, 1, 4), number(rng, 1, 4)
    inputs = sequences(rng, kwargs, width, n, length, memory)
    return Drawn(args, {}, inputs, masked(masks_for(rng, n, tgt=length, memory=memory)))


@layer("Transformer", seeds=3)
def transformer(rng: Random) -> Drawn:
    args, kwargs = block(rng)
    n, source, target = number(rng, 1, 3), number(rng, 1, 4), number(rng, 1, 4)
    counts = {"num_encoder_layers": number(rng, 1, 2), "num_decoder_layers": number(rng, 1, 2)}
    inputs = sequences(rng, kwargs, args[0], n, source, target)
    return Drawn(args, {**kwargs, **counts}, inputs, masked(masks_for(rng, n, src=source, tgt=target)))
