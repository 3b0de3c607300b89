"""Transformers: encoder and decoder layers, stacks of them, and both together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.errors import ArgumentError
from wengert.ir.array import Array
from wengert.nn import functional as F
from wengert.nn.attention import MultiheadAttention, xavier_bound
from wengert.nn.containers import ModuleList
from wengert.nn.dropout import Dropout
from wengert.nn.functional.attention import square_subsequent_mask
from wengert.nn.init.distributions import uniform
from wengert.nn.linear import Linear
from wengert.nn.module import Module
from wengert.nn.naming import entries
from wengert.nn.normalization import LayerNorm
from wengert.nn.seed import next_key
from wengert.random.keys import split
from wengert.source import at_user_line

Activation = str | Callable[[Any], Any]
_ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu}


def _activation(given: Activation, what: str) -> Callable[[Any], Any]:
    found = _ACTIVATIONS.get(given) if isinstance(given, str) else given
    if not callable(found):
        raise ArgumentError(f'{what}: activation is {given!r}; expected "relu", "gelu" or a function{at_user_line()}')
    return found


class TransformerEncoderLayer(Module):
    """Self-attention and a net of two linear layers, each behind a shortcut and normalised.

    `x = norm1(x + attention(x)); x = norm2(x + linear2(activation(linear1(x))))`, or with `norm_first`
    `x = x + attention(norm1(x)); x = x + linear2(activation(linear1(norm2(x))))`.

    Args:
        d_model: number of features.
        nhead: heads of attention.
        dim_feedforward: width between the two linear layers.
        dropout: probability of dropout, in four places.
        activation: "relu", "gelu" or a function.
        layer_norm_eps: eps of the normalisations.
        batch_first: whether arrays are (N, T, d_model) instead of (T, N, d_model).
        norm_first: where normalisation stands.
        bias: whether linear layers and normalisations have biases.

    Vaswani et al. 2017 (arXiv 1706.03762); for `norm_first`, Xiong et al. 2020 (arXiv 2002.04745).
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Activation = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, dtype: Any = None, key: Any = None,
    ):  # fmt: skip
        keys = split(next_key(key), 6)
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype, key=keys[0]
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype, keys[1])
        self.dropout = Dropout(dropout, key=keys[2])
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype, keys[3])
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout, key=keys[4])
        self.dropout2 = Dropout(dropout, key=keys[5])
        self.activation = _activation(activation, "TransformerEncoderLayer")

    def forward(
        self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
    ) -> Array:
        """Masks as for `MultiheadAttention`: True (or -inf) is left out."""

        def attend(x: Any) -> Array:
            y, _ = self.self_attn(
                x, x, x, key_padding_mask=src_key_padding_mask, need_weights=False, attn_mask=src_mask,
                is_causal=is_causal and src_mask is None,
            )  # fmt: skip
            return self.dropout1(y)

        if self.norm_first:
            x = src + attend(self.norm1(src))
            return x + self._feed(self.norm2(x))
        x = self.norm1(src + attend(src))
        return self.norm2(x + self._feed(x))

    def _feed(self, x: Array) -> Array:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerDecoderLayer(Module):
    """Self-attention, attention to the encoder's result (`memory`) and a net of two linear layers.

    Arguments as for `TransformerEncoderLayer`.
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Activation = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, dtype: Any = None, key: Any = None,
    ):  # fmt: skip
        keys = split(next_key(key), 8)
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype, key=keys[0]
        )
        self.multihead_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype, key=keys[1]
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype, keys[2])
        self.dropout = Dropout(dropout, key=keys[3])
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype, keys[4])
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout, key=keys[5])
        self.dropout2 = Dropout(dropout, key=keys[6])
        self.dropout3 = Dropout(dropout, key=keys[7])
        self.activation = _activation(activation, "TransformerDecoderLayer")

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None,
        tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None, tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Array:  # fmt: skip
        """Masks as for `MultiheadAttention`: True (or -inf) is left out."""

        def attend(x: Any) -> Array:
            y, _ = self.self_attn(
                x, x, x, key_padding_mask=tgt_key_padding_mask, need_weights=False, attn_mask=tgt_mask,
                is_causal=tgt_is_causal and tgt_mask is None,
            )  # fmt: skip
            return self.dropout1(y)

        def remember(x: Any) -> Array:
            y, _ = self.multihead_attn(
                x, memory, memory, key_padding_mask=memory_key_padding_mask, need_weights=False, attn_mask=memory_mask,
                is_causal=memory_is_causal and memory_mask is None,
            )  # fmt: skip
            return self.dropout2(y)

        if self.norm_first:
            x = tgt + attend(self.norm1(tgt))
            x = x + remember(self.norm2(x))
            return x + self._feed(self.norm3(x))
        x = self.norm1(tgt + attend(tgt))
        x = self.norm2(x + remember(x))
        return self.norm3(x + self._feed(x))

    def _feed(self, x: Array) -> Array:
        return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerEncoder(Module):
    """Copies of an encoder layer one after the other, and a normalisation behind, if one is given.

    As in PyTorch, all copies begin with the weights of the layer that is given (their dropout keys differ).
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None):
        self.layers = ModuleList([encoder_layer.copy(fold=i) for i in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool | None = None
    ) -> Array:
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """Copies of a decoder layer one after the other, and a normalisation behind, if one is given."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None):
        self.layers = ModuleList([decoder_layer.copy(fold=i) for i in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None,
        tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None, tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Array:  # fmt: skip
        for layer in self.layers:
            tgt = layer(
                tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
                bool(tgt_is_causal), memory_is_causal,
            )  # fmt: skip
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder, and a decoder that attends to its result.

    Arguments as in PyTorch; matrices are uniform within `±√(6/(rows + columns))`.

    Vaswani et al. 2017 (arXiv 1706.03762).
    """

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
        dim_feedforward: int = 2048, dropout: float = 0.1, activation: Activation = "relu",
        custom_encoder: Any = None, custom_decoder: Any = None, layer_norm_eps: float = 1e-5,
        batch_first: bool = False, norm_first: bool = False, bias: bool = True, dtype: Any = None, key: Any = None,
    ):  # fmt: skip
        keys = split(next_key(key), 3)
        settings = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype,
        )  # fmt: skip
        norms = [LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype) for _ in range(2)]
        if custom_encoder is None:
            layer: Any = TransformerEncoderLayer(*settings, key=keys[0])
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norms[0])
        self.encoder = custom_encoder
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*settings, key=keys[1])
            custom_decoder = TransformerDecoder(layer, num_decoder_layers, norms[1])
        self.decoder = custom_decoder
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first
        matrices = [e for e in entries(self) if not e.buffer and e.value.ndim > 1]
        for e, own in zip(matrices, split(keys[2], max(len(matrices), 1)), strict=False):
            bound = xavier_bound(*e.value.shape)
            e.assign(uniform(e.value, -bound, bound, key=own))

    def forward(
        self, src: Any, tgt: Any, src_mask: Any = None, tgt_mask: Any = None, memory_mask: Any = None,
        src_key_padding_mask: Any = None, tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None, tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Array:  # fmt: skip
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal,
            memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(size: int) -> Array:
        """Floats (size, size): 0 where place i may look at place j ≤ i, else -inf."""
        return square_subsequent_mask(size)
