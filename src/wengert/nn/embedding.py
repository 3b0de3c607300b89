"""Embedding, and encodings of positions."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import DEFAULT_FLOAT, as_dtype
from wengert.nn import functional as F
from wengert.nn.dropout import Dropout
from wengert.nn.functional.inputs import as_input
from wengert.nn.init.distributions import normal
from wengert.nn.module import Module
from wengert.nn.sizes import size
from wengert.ops.promote import as_array
from wengert.source import at_user_line


class Embedding(Module):
    """A table of vectors, looked up by integers: `y = weight[x]`.

    Args:
        num_embeddings: number of rows.
        embedding_dim: their length.
        padding_idx: a row that is 0 at first and gets no gradient.
        dtype, key: as for `Linear`.

    Parameter: `weight` (num_embeddings, embedding_dim), standard normal.

    Raises:
        OutOfRangeError: a position is not a row, where its number is known.

    Example:
        >>> nn.Embedding(10, 3)(wg.asarray([1, 5])).shape
        (2, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, *, dtype: Any = None,
        key: Any = None,
    ):  # fmt: skip
        self.num_embeddings = size(num_embeddings, "Embedding: num_embeddings")
        self.embedding_dim = size(embedding_dim, "Embedding: embedding_dim")
        self.padding_idx = None
        weight = normal((num_embeddings, embedding_dim), key=key, dtype=dtype)
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ArgumentError(
                    f"Embedding: padding_idx is {padding_idx}, but there are {num_embeddings} rows{at_user_line()}"
                )
            self.padding_idx = padding_idx % num_embeddings
            weight = weight.at[self.padding_idx].set(0.0)
        self.weight = weight

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None) -> Self:
        """An embedding with the given table, held fixed unless `freeze` is false."""
        table = as_array(embeddings, "Embedding.from_pretrained")
        if table.ndim != 2:
            raise ShapeError(
                f"Embedding.from_pretrained: the table has shape {table.shape}; expected (rows, features)"
                + at_user_line()
            )
        layer = cls(table.shape[0], table.shape[1], padding_idx, key=0)
        layer.weight = table
        return layer.freeze() if freeze else layer

    def forward(self, x: Any) -> Array:
        return F.embedding(x, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"


class EmbeddingBag(Embedding):
    """Sums, means or largest elements of bags of rows, without their single vectors; see `functional.embedding_bag`.

    Args:
        num_embeddings, embedding_dim, padding_idx, dtype, key: as for `Embedding`; the padding counts in no bag.
        mode: "mean", "sum" or "max".
        include_last_offset: whether the last offset is the end of the last bag.

    Called with positions (bags, length), or with one axis of them and `offsets`, where each bag begins; and with
    `per_sample_weights`, for mode "sum".

    Parameter: `weight` (num_embeddings, embedding_dim), standard normal.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, mode: str = "mean", include_last_offset: bool = False,
        padding_idx: int | None = None, *, dtype: Any = None, key: Any = None,
    ):  # fmt: skip
        super().__init__(num_embeddings, embedding_dim, padding_idx, dtype=dtype, key=key)
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, x: Any, offsets: Any = None, per_sample_weights: Any = None) -> Array:
        return F.embedding_bag(
            x, self.weight, offsets, self.mode, per_sample_weights, self.include_last_offset, self.padding_idx
        )

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None, **kwargs: Any
    ) -> Self:
        """As `Embedding.from_pretrained`; further arguments go to `EmbeddingBag`."""
        table = as_array(embeddings, "EmbeddingBag.from_pretrained")
        plain = Embedding.from_pretrained(table)
        layer = cls(plain.num_embeddings, plain.embedding_dim, padding_idx=padding_idx, key=0, **kwargs)
        layer.weight = table
        return layer.freeze() if freeze else layer

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, mode={self.mode!r}"


class SinusoidalPositionalEncoding(Module):
    """`x + p`, with `p[t, 2i] = sin(t / 10000^(2i/d))` and `p[t, 2i+1] = cos(t / 10000^(2i/d))`, then dropout.

    Args:
        d_model: d, the number of features, the last axis of `x`.
        max_len: the longest sequence.
        dropout: the probability that an element of the sum is dropped.
        batch_first: whether the sequence is axis 1 of (N, T, d), or axis 0 of (T, N, d).

    Vaswani et al. 2017, *Attention is all you need* (arXiv 1706.03762).
    """

    _buffers = frozenset(("encoding",))
    _transient = frozenset(("encoding",))

    def __init__(
        self, d_model: int, max_len: int = 5000, dropout: float = 0.0, batch_first: bool = True, dtype: Any = None,
        key: Any = None,
    ):  # fmt: skip
        self.d_model = size(d_model, f"{type(self).__name__}: d_model")
        self.max_len = size(max_len, f"{type(self).__name__}: max_len")
        self.batch_first = batch_first
        angle = np.arange(max_len)[:, None] * np.exp(np.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        table = np.stack((np.sin(angle), np.cos(angle)), axis=-1).reshape(max_len, -1)[:, :d_model]
        self.encoding = Array(table.astype(DEFAULT_FLOAT if dtype is None else as_dtype(dtype)))
        self.dropout = Dropout(dropout, key=key)

    def forward(self, x: Any) -> Array:
        return self.dropout(_with_positions(x, self.encoding, self.batch_first, self))

    def extra_repr(self) -> str:
        return f"{self.d_model}, max_len={self.max_len}, batch_first={self.batch_first}"


class LearnedPositionalEncoding(Module):
    """`x + p`, with a learned vector `p[t]` for each place in the sequence, then dropout.

    Args: as for `SinusoidalPositionalEncoding`. Parameter: `weight` (max_len, d_model), normal with deviation 0.02.
    """

    def __init__(
        self, d_model: int, max_len: int, dropout: float = 0.0, batch_first: bool = True, dtype: Any = None,
        key: Any = None,
    ):  # fmt: skip
        self.d_model = size(d_model, f"{type(self).__name__}: d_model")
        self.max_len = size(max_len, f"{type(self).__name__}: max_len")
        self.batch_first = batch_first
        self.weight = normal((max_len, d_model), std=0.02, key=key, dtype=dtype)
        self.dropout = Dropout(dropout)

    def forward(self, x: Any) -> Array:
        return self.dropout(_with_positions(x, self.weight, self.batch_first, self))

    def extra_repr(self) -> str:
        return f"{self.d_model}, max_len={self.max_len}, batch_first={self.batch_first}"


def _with_positions(x: Any, table: Array, batch_first: bool, layer: Module) -> Array:
    x = as_input(x, table, type(layer).__name__)
    alone = x.ndim == 2
    if x.ndim not in (2, 3) or x.shape[-1] != table.shape[1]:
        raise ShapeError(
            f"{type(layer).__name__}: the input has shape {x.shape}; expected two or three axes, the last of "
            f"{table.shape[1]} features{at_user_line()}"
        )
    length = x.shape[0] if alone or not batch_first else x.shape[1]
    if length > table.shape[0]:
        raise ShapeError(
            f"{type(layer).__name__}: a sequence of {length} places (input of shape {x.shape}), but there are "
            f"encodings for {table.shape[0]}; make it with a larger max_len{at_user_line()}"
        )
    rows = table[:length]
    return x + (rows if alone or batch_first else rows[:, None, :])
