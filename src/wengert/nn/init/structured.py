"""Initial values that are matrices of a kind: identities, orthogonal, sparse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array
from wengert.ir.types import float64
from wengert.linalg.decompose import qr
from wengert.nn.init.distributions import normal, shape_and_dtype
from wengert.nn.seed import next_key
from wengert.ops.compare import select
from wengert.ops.promote import convert
from wengert.ops.shape import permute, reshape
from wengert.ops.sort import argsort
from wengert.random.keys import bits, split
from wengert.source import at_user_line


def orthogonal(like: Any, gain: float = 1.0, *, key: Any = None, dtype: Any = None) -> Array:
    """A random matrix with orthogonal rows or columns (whichever are fewer), of length `gain`.

    Axes behind the first count as one. Saxe, McClelland and Ganguli 2013 (arXiv 1312.6120).
    """
    shape, dtype = shape_and_dtype(like, dtype, "orthogonal")
    if len(shape) < 2:
        raise ShapeError(f"init.orthogonal: shape {shape}; expected at least two axes{at_user_line()}")
    rows, columns = shape[0], math.prod(shape[1:])
    flat = normal((max(rows, columns), min(rows, columns)), key=key, dtype=float64)
    q, r = qr(flat)
    diagonal = (r * Array(np.eye(r.shape[0]))).sum(axis=0)
    q = q * select(diagonal < 0, -1.0, 1.0)  # which makes all rotations equally likely
    if rows < columns:
        q = permute(q, (1, 0))
    return convert(reshape(gain * q, shape), dtype)


def eye(like: Any, *, dtype: Any = None) -> Array:
    """Ones on the diagonal of a matrix, else 0."""
    shape, dtype = shape_and_dtype(like, dtype, "eye")
    if len(shape) != 2:
        raise ShapeError(f"init.eye: shape {shape}; expected two axes{at_user_line()}")
    return Array(np.eye(*shape, dtype=dtype))


def dirac(like: Any, groups: int = 1, *, dtype: Any = None) -> Array:
    """The kernel of a convolution that leaves each channel as it is, as far as there are as many out as in.

    Args:
        like: shape (out, in, *window), or an array like that.
        groups: of the convolution; each group's channels begin anew.
    """
    shape, dtype = shape_and_dtype(like, dtype, "dirac")
    if not 3 <= len(shape) <= 5 or shape[0] % groups:
        raise ShapeError(
            f"init.dirac: shape {shape} with {groups} groups; expected (out, in, *1 to 3 lengths), out divisible by "
            f"groups{at_user_line()}"
        )
    kernel = np.zeros(shape, dtype)
    per_group = shape[0] // groups
    middle = tuple(d // 2 for d in shape[2:])
    for g in range(groups):
        for c in range(min(per_group, shape[1])):
            kernel[(g * per_group + c, c, *middle)] = 1
    return Array(kernel)


def sparse(like: Any, sparsity: float, std: float = 0.01, *, key: Any = None, dtype: Any = None) -> Array:
    """A normal matrix of deviation `std`, of each column of which the fraction `sparsity` (rounded up) is 0.

    Martens 2010, *Deep learning via Hessian-free optimization*.
    """
    shape, dtype = shape_and_dtype(like, dtype, "sparse")
    if len(shape) != 2:
        raise ShapeError(f"init.sparse: shape {shape}; expected two axes{at_user_line()}")
    if not 0 <= sparsity <= 1:
        raise ArgumentError(f"init.sparse: sparsity is {sparsity}; expected 0 to 1{at_user_line()}")
    values, order = split(next_key(key))
    ranks = argsort(argsort(bits(order, shape), axis=0), axis=0)  # a random order in each column
    return select(ranks < math.ceil(sparsity * shape[0]), 0, normal(shape, 0.0, std, key=values, dtype=dtype))
