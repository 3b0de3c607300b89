"""Scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.errors import DTypeError, ShapeError
from wengert.ir.array import Array
from wengert.ir.scope import region
from wengert.nn.functional.dropout import dropout
from wengert.nn.functional.inputs import as_floating, as_input
from wengert.ops.compare import select
from wengert.ops.contract import dot_general, matmul
from wengert.ops.index import iota
from wengert.ops.logsumexp import softmax
from wengert.ops.promote import as_array
from wengert.ops.shape import broadcast_to, permute, reshape
from wengert.source import at_user_line


def causal_mask(rows: int, columns: int) -> Array:
    """Booleans (rows, columns): place i may look at places 0 … i."""
    return Array(np.tril(np.ones((rows, columns), np.bool_)))


def masked(scores: Array, mask: Any, what: str) -> Array:
    """Scores with a mask: of booleans, which keep what is True, or of numbers, which are added."""
    mask = as_array(mask, f"{what}: the mask")
    if mask.dtype.kind == "b":
        return select(mask, scores, -np.inf)
    if mask.dtype.kind != "f":
        raise DTypeError(
            f"{what}: the mask is {mask.dtype.name}; expected booleans, or floats to be added{at_user_line()}"
        )
    return scores + as_input(mask, scores, what, "the mask", "the query")


@region("attention")
def attention_weights(query: Array, key: Array, scale: float | None, masks: list[Any], what: str) -> Array:
    """`softmax(scale · Q Kᵀ + masks)`; a row whose every place is masked is 0."""
    n = query.ndim
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    lead = tuple(range(n - 2))
    scores = dot_general(query * scale, key, (lead, lead), ((n - 1,), (n - 1,)))
    for mask in masks:
        scores = masked(scores, mask, what)
    return softmax(scores, axis=-1)


@region("attention")
def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False, *, dropout_key: Any = None,
) -> Array:  # fmt: skip
    """`softmax(scale · Q Kᵀ + mask) V`.

    Args:
        query: (…, L, E).
        key: (…, S, E).
        value: (…, S, V).
        attn_mask: stretches to (…, L, S): booleans, True where a place takes part, or floats that are added.
        dropout_p: probability that a weight is dropped; needs `dropout_key`, a random key.
        is_causal: whether place i looks at places 0 … i only.
        scale: `1/√E` by default.
        enable_gqa: whether key and value may have fewer heads (axis -3), each for several of the query.

    Returns:
        (…, L, V). Where a mask leaves no place, 0.

    Vaswani et al. 2017, *Attention is all you need* (arXiv 1706.03762).
    """
    what = "scaled_dot_product_attention"
    q = as_floating(query, what)
    k = as_input(key, q, what, "the key", "the query")
    v = as_input(value, q, what, "the value", "the query")
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            f"{what}: query {q.shape}, key {k.shape}, value {v.shape}; expected (…, L, E), (…, S, E) and (…, S, V)"
            + at_user_line()
        )
    if enable_gqa and q.ndim > 2:
        k, v = _shared_heads(k, q.shape[-3], what), _shared_heads(v, q.shape[-3], what)
    try:
        lead = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ValueError:
        raise ShapeError(
            f"{what}: the axes in front of query {q.shape}, key {k.shape} and value {v.shape} don't fit{at_user_line()}"
        ) from None
    q, k, v = (broadcast_to(a, (*lead, *a.shape[-2:])) for a in (q, k, v))
    masks = [] if attn_mask is None else [attn_mask]
    if is_causal:
        masks.append(causal_mask(q.shape[-2], k.shape[-2]))
    weights = attention_weights(q, k, scale, masks, what)
    if dropout_p:
        weights = dropout(weights, dropout_p, key=dropout_key)
    return matmul(weights, v)


def _shared_heads(x: Array, heads: int, what: str) -> Array:
    """Each head of axis -3 repeated, so that there are `heads`."""
    mine = x.shape[-3]
    if heads % mine:
        raise ShapeError(f"{what}: {heads} heads of the query for {mine} of key and value{at_user_line()}")
    if heads == mine:
        return x
    lead, tail = x.shape[:-3], x.shape[-2:]
    wide = broadcast_to(reshape(x, (*lead, mine, 1, *tail)), (*lead, mine, heads // mine, *tail))
    return reshape(wide, (*lead, heads, *tail))


def split_heads(x: Array, heads: int, batch_first: bool) -> Array:
    """(N, L, H·D) or (L, N, H·D) -> (N, H, L, D)."""
    a, b, width = x.shape
    apart = reshape(x, (a, b, heads, width // heads))
    return permute(apart, (0, 2, 1, 3) if batch_first else (1, 2, 0, 3))


def join_heads(x: Array, batch_first: bool) -> Array:
    """(N, H, L, D) -> (N, L, H·D) or (L, N, H·D)."""
    n, heads, length, size = x.shape
    if batch_first:
        return reshape(permute(x, (0, 2, 1, 3)), (n, length, heads * size))
    return reshape(permute(x, (2, 0, 1, 3)), (length, n, heads * size))


def padding_to_scores(mask: Any, n: int, length: int, what: str) -> Array:
    """A mask (N, S) or (S,) for the keys, as one that stretches to scores (N, H, L, S): True (or -inf) is left out."""
    mask = as_array(mask, f"{what}: key_padding_mask")
    if mask.shape not in ((n, length), (length,)):
        raise ShapeError(
            f"{what}: key_padding_mask has shape {mask.shape}; expected {(n, length)}, (batch, keys){at_user_line()}"
        )
    rows = 1 if mask.ndim == 1 else n
    return _left_out(reshape(mask, (rows, 1, 1, length)))


def layer_mask(mask: Any, n: int, heads: int, rows: int, columns: int, what: str) -> Array:
    """A mask (L, S) or (N·H, L, S) as one that stretches to scores (N, H, L, S): True (or -inf) is left out."""
    mask = as_array(mask, f"{what}: attn_mask")
    if mask.shape == (rows, columns):
        return _left_out(mask)
    if mask.shape == (n * heads, rows, columns):
        return _left_out(reshape(mask, (n, heads, rows, columns)))
    raise ShapeError(
        f"{what}: attn_mask has shape {mask.shape}; expected {(rows, columns)} or {(n * heads, rows, columns)}, "
        f"(queries, keys) or (batch · heads, queries, keys){at_user_line()}"
    )


def _left_out(mask: Array) -> Array:
    return ~mask if mask.dtype.kind == "b" else mask


def square_subsequent_mask(size: int) -> Array:
    """Floats (size, size): 0 where place i may look at place j ≤ i, else -inf."""
    ahead = iota(size, 1, 2).data > iota(size, 0, 2).data
    return Array(np.where(ahead, np.float32(-np.inf), np.float32(0)))
