"""The primitives, a family a file: each with its type rule, NumPy evaluation, partials, batching and sparsity."""

from wengert.ops import arithmetic as arithmetic
from wengert.ops import bits as bits
from wengert.ops import compare as compare
from wengert.ops import contract as contract
from wengert.ops import operators as operators
from wengert.ops import reduce as reduce
from wengert.ops import shape as shape
from wengert.ops import transcendental as transcendental
