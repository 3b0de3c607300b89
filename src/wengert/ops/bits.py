"""Bits of integers."""

from __future__ import annotations

import numpy as np

from wengert.ops.elementwise import NotDifferentiable

bitwise_and = NotDifferentiable("bitwise_and", np.bitwise_and, arity=2, takes="bi", doc="Bits set in both.")
bitwise_or = NotDifferentiable("bitwise_or", np.bitwise_or, arity=2, takes="bi", doc="Bits set in either.")
bitwise_xor = NotDifferentiable("bitwise_xor", np.bitwise_xor, arity=2, takes="bi", doc="Bits set in exactly one.")
bitwise_invert = NotDifferentiable("bitwise_invert", np.invert, arity=1, takes="bi", doc="Every bit changed.")
left_shift = NotDifferentiable(
    "left_shift", np.left_shift, arity=2, takes="i", doc="`x · 2ʸ`; bits that leave are lost."
)
right_shift = NotDifferentiable(
    "right_shift", np.right_shift, arity=2, takes="i", doc="`floor(x / 2ʸ)`: the sign is kept."
)
population_count = NotDifferentiable(
    "population_count", lambda x: np.bitwise_count(x).astype(x.dtype), arity=1, takes="i", doc="How many bits are set."
)
