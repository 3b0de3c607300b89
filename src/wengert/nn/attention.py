"""Attention with several heads."""

from __future__ import annotations

import math
from typing import Any

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.nn.functional import attention as core
from wengert.nn.functional.dropout import check_probability, dropout
from wengert.nn.functional.inputs import as_input
from wengert.nn.functional.linear import linear
from wengert.nn.functional.recurrent import parts
from wengert.nn.init.distributions import normal, uniform, zeros
from wengert.nn.linear import Linear
from wengert.nn.module import Module
from wengert.nn.seed import next_key
from wengert.nn.sizes import size
from wengert.ops.contract import matmul
from wengert.ops.index import zeros as zero_array
from wengert.ops.promote import number
from wengert.ops.shape import broadcast_to, concat_p, pad_p, reshape
from wengert.random.keys import split
from wengert.source import at_user_line


def xavier_bound(rows: int, columns: int) -> float:
    return math.sqrt(6 / (rows + columns))


class MultiheadAttention(Module):
    """`concat(head₁, …, head_h) W_oᵀ + b_o` with `headᵢ = softmax(Qᵢ Kᵢᵀ / √d + mask) Vᵢ`, d = embed_dim / num_heads.

    Args:
        embed_dim: features of the queries and the result.
        num_heads: h.
        dropout: probability that a weight is dropped, in training.
        bias: whether the projections have biases.
        add_bias_kv: whether a learned place is added to keys and values.
        add_zero_attn: whether a place of zeros is added to them.
        kdim, vdim: features of keys and values; embed_dim by default.
        batch_first: whether arrays are (N, L, E) instead of (L, N, E).
        dtype, key: as for `Linear`; the key serves dropout too.

    Parameters: `in_proj_weight` (3·embed_dim, embed_dim), queries, keys and values one below the other (with other kdim
    or vdim `q_proj_weight`, `k_proj_weight`, `v_proj_weight`), and `in_proj_bias`; `out_proj.weight`, `out_proj.bias`;
    `bias_k`, `bias_v`. Weights are uniform within `±√(6/(rows + columns))`, `out_proj.weight` as in `Linear`, biases 0.

    Vaswani et al. 2017, *Attention is all you need* (arXiv 1706.03762).
    """

    _buffers = frozenset(("key",))
    _transient = frozenset(("key",))

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        dtype: Any = None, key: Any = None,
    ):  # fmt: skip
        if size(embed_dim, "MultiheadAttention: embed_dim") % size(num_heads, "MultiheadAttention: num_heads"):
            raise ArgumentError(
                f"MultiheadAttention: embed_dim {embed_dim} must be divisible by num_heads {num_heads}{at_user_line()}"
            )
        check_probability(dropout, "MultiheadAttention: dropout")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.dropout = dropout
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        keys = split(next_key(key), 7)
        self.key = keys[0] if dropout else None
        if self.kdim == self.vdim == embed_dim:
            names, shapes = ["in_proj_weight"], [(3 * embed_dim, embed_dim)]
        else:
            names = ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
            shapes = [(embed_dim, embed_dim), (embed_dim, self.kdim), (embed_dim, self.vdim)]
        for name, shape, own in zip(names, shapes, keys[1:4], strict=False):
            bound = xavier_bound(*shape)
            setattr(self, name, uniform(shape, -bound, bound, key=own, dtype=dtype))
        self.in_proj_bias = zeros(3 * embed_dim, dtype=dtype) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, dtype=dtype, key=keys[4])
        if bias:
            self.out_proj.bias = zeros(embed_dim, dtype=dtype)
        std = math.sqrt(2 / (embed_dim + embed_dim))
        self.bias_k = normal((1, 1, embed_dim), std=std, key=keys[5], dtype=dtype) if add_bias_kv else None
        self.bias_v = normal((1, 1, embed_dim), std=std, key=keys[6], dtype=dtype) if add_bias_kv else None

    def forward(
        self, query: Any, key: Any, value: Any, key_padding_mask: Any = None, need_weights: bool = True,
        attn_mask: Any = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Array, Array | None]:  # fmt: skip
        """The result, and the weights of the places.

        Args:
            query: (L, N, E), with `batch_first` (N, L, E), or (L, E).
            key: (S, N, kdim) in the same order.
            value: (S, N, vdim).
            key_padding_mask: (N, S) or (S,): booleans, True for keys to *leave out*, or floats to add.
            need_weights: whether to return the weights.
            attn_mask: (L, S) or (N·h, L, S): booleans, True for pairs to *leave out*, or floats to add.
            average_attn_weights: whether the weights are averaged over heads: (N, L, S) instead of (N, h, L, S).
            is_causal: whether place i looks at places 0 … i only.
        """
        q, k, v, alone = self._inputs(query, key, value)
        q, k, v = self._projected(q, k, v)
        at = 1 if self.batch_first else 0  # the axis of places
        n, rows, columns = q.shape[1 - at], q.shape[at], k.shape[at]
        what = "MultiheadAttention"
        masks = []
        if attn_mask is not None:
            masks.append(core.layer_mask(attn_mask, n, self.num_heads, rows, columns, what))
        if is_causal:
            masks.append(core.causal_mask(rows, columns))
        if key_padding_mask is not None:
            masks.append(core.padding_to_scores(key_padding_mask, n, columns, what))
        if self.bias_k is not None and self.bias_v is not None:
            shape = (n, 1, self.embed_dim) if self.batch_first else (1, n, self.embed_dim)
            k = concat_p.bind(k, broadcast_to(self.bias_k, shape), axis=at)
            v = concat_p.bind(v, broadcast_to(self.bias_v, shape), axis=at)
        q, k, v = (core.split_heads(a, self.num_heads, self.batch_first) for a in (q, k, v))
        if self.add_zero_attn:
            nothing = zero_array((n, self.num_heads, 1, k.shape[3]), k.dtype)
            k, v = concat_p.bind(k, nothing, axis=2), concat_p.bind(v, nothing, axis=2)
        masks = [_widened(m, k.shape[2] - columns) for m in masks]
        weights = core.attention_weights(q, k, None, masks, what)
        if self.dropout and self.training:
            weights = dropout(weights, self.dropout, key=self.draw_key(weights))
        out = self.out_proj(core.join_heads(matmul(weights, v), self.batch_first))
        if alone:
            out, weights = reshape(out, (rows, self.embed_dim)), reshape(weights, weights.shape[1:])
        if not need_weights:
            return out, None
        return out, weights.mean(axis=-3) if average_attn_weights else weights

    def _inputs(self, query: Any, key: Any, value: Any) -> tuple[Array, Array, Array, bool]:
        parameter = self.out_proj.weight
        known: dict[int, Array] = {}  # one array given for two stays one
        given = []
        for x, name, width in zip(
            (query, key, value), ("query", "key", "value"), (self.embed_dim, self.kdim, self.vdim), strict=True
        ):
            a = known.setdefault(id(x), as_input(x, parameter, self, f"the {name}"))
            if a.ndim not in (2, 3) or a.shape[-1] != width:
                raise ShapeError(
                    f"{self!r}: the {name} has shape {a.shape}; expected two or three axes, the last of {width} "
                    f"features{at_user_line()}"
                )
            given.append(a)
        q, k, v = given
        batch = 0 if self.batch_first else 1
        if q.ndim != k.ndim or k.shape[:-1] != v.shape[:-1] or (q.ndim == 3 and q.shape[batch] != k.shape[batch]):
            raise ShapeError(
                f"{self!r}: query {q.shape}, key {k.shape} and value {v.shape}; expected one batch, and as many values "
                f"as keys{at_user_line()}"
            )
        if alone := q.ndim == 2:
            one = (lambda d, e: (1, d, e)) if self.batch_first else (lambda d, e: (d, 1, e))
            wide = {id(a): reshape(a, one(*a.shape)) for a in given}
            q, k, v = (wide[id(a)] for a in given)
        return q, k, v, alone

    def _projected(self, q: Array, k: Array, v: Array) -> list[Array]:
        bias, e = self.in_proj_bias, self.embed_dim
        if getattr(self, "in_proj_weight", None) is None:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
            biases: list[Any] = [None] * 3 if bias is None else parts(bias, 3)
            return [linear(x, w, b) for x, w, b in zip((q, k, v), weights, biases, strict=True)]
        weight = self.in_proj_weight
        if q is k and k is v:
            return parts(linear(q, weight, bias), 3)
        if k is v:
            queries = linear(q, weight[:e], None if bias is None else bias[:e])
            return [queries, *parts(linear(k, weight[e:], None if bias is None else bias[e:]), 2)]
        rows = [slice(i * e, (i + 1) * e) for i in range(3)]
        return [linear(x, weight[r], None if bias is None else bias[r]) for x, r in zip((q, k, v), rows, strict=True)]

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, batch_first={self.batch_first}"


def _widened(mask: Array, more: int) -> Array:
    """A mask with places behind that everyone may look at."""
    if not more:
        return mask
    free = number(mask.dtype.kind == "b", mask.dtype)
    return pad_p.bind(mask, free, padding=(*((0, 0, 0),) * (mask.ndim - 1), (0, more, 0)))
