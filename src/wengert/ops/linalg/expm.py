"""The exponential of a matrix, and its derivatives of every order in one primitive."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np

from wengert.errors import ShapeError
from wengert.ir.array import Array
from wengert.ir.maps import Linear, Map
from wengert.ir.primitive import Params
from wengert.ir.types import ArrayType
from wengert.ops.linalg.matrix import MatrixPrimitive, check_matrix, transpose
from wengert.source import at_user_line

# the coefficients of the [13/13] Padé approximant of eˣ, from the constant up
_PADE = [1.0]
for _j in range(13):
    _PADE.append(_PADE[-1] * (13 - _j) / ((26 - _j) * (_j + 1)))
_LARGEST = 5.371920351148152  # the 1-norm up to which it is exact to double precision


def exponential(a: Any) -> Any:
    """`eᵃ` by scaling, the [13/13] Padé approximant, and squaring (Higham 2005, doi 10.1137/04061101X)."""
    if a.size == 0:
        return a.copy()
    n = a.shape[-1]
    norm = np.abs(a).sum(axis=-2).max(axis=-1)
    finite = np.isfinite(norm)
    halvings = np.ceil(np.log2(np.maximum(np.where(finite, norm, 0) / _LARGEST, 1))).astype(int)
    x = a / np.exp2(halvings)[..., None, None].astype(norm.dtype)
    c = [x.dtype.type(p) for p in _PADE]
    identity = np.eye(n, dtype=x.dtype)
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2
    odd = x @ (x6 @ (c[13] * x6 + c[11] * x4 + c[9] * x2) + c[7] * x6 + c[5] * x4 + c[3] * x2 + c[1] * identity)
    even = x6 @ (c[12] * x6 + c[10] * x4 + c[8] * x2) + c[6] * x6 + c[4] * x4 + c[2] * x2 + c[0] * identity
    bad = ~finite[..., None, None]
    result = np.linalg.solve(np.where(bad, identity, even - odd), even + odd)
    for step in range(int(halvings.max(initial=0))):
        result = np.where((step < halvings)[..., None, None], result @ result, result)
    return np.where(bad, x.dtype.type(np.nan), result)


class MatrixExponential(MatrixPrimitive):
    """`D^k exp(a)[e₁, …, e_k]`: the exponential of `a` (k = 0), or its k-th derivative in k directions.

    It is linear in every direction, one more direction is its derivative by `a`, and it stands in the corner of the
    exponential of a block matrix: `exp([[a, e], [0, a]]) = [[exp a, D exp(a)[e]], [0, exp a]]` (Higham, *Functions of
    Matrices*, 2008, section 3.2). Its transpose in one direction is itself, with all other matrices transposed.
    """

    ranks = repeat(2)  # however many directions

    def type(self, *types: ArrayType) -> ArrayType:
        check_matrix("expm", types[0], square=True)
        for t in types[1:]:
            if t.shape != types[0].shape:
                raise ShapeError(
                    f"expm: a direction of shape {t.shape} for a matrix of {types[0].shape}{at_user_line()}"
                )
        return types[0]

    def evaluate(self, *values: Any) -> Any:
        block, n = values[0], values[0].shape[-1]
        if block.shape[-2] != n or block.dtype.kind not in "fc":
            raise ValueError("no square matrix of floats")
        for e in values[1:]:
            block = np.block([[block, _repeat(e, block)], [np.zeros_like(block), block]])
        return np.ascontiguousarray(exponential(block)[..., :n, block.shape[-1] - n :])

    def partial(self, i: int, values: Sequence[Array], out: Array, params: Params) -> Map:
        if i == 0:
            return Linear(self, len(values), (*values, values[0]), params)
        return Linear(self, i, values, params)

    def transpose(self, i: int, ct: Array, values: Sequence[Array], params: Params) -> Array:
        return self.bind(*[ct if j == i else transpose(v) for j, v in enumerate(values)])


def _repeat(e: Any, block: Any) -> Any:
    # the direction acts on every diagonal block alike
    copies = block.shape[-1] // max(e.shape[-1], 1)
    return np.kron(np.eye(copies, dtype=e.dtype), e)


expm_p = MatrixExponential("expm")
