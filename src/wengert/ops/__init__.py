"""The primitives, a family a file: each with its type rule, NumPy evaluation, partials, batching and sparsity."""

from wengert.ops import arithmetic as arithmetic
from wengert.ops import bits as bits
from wengert.ops import compare as compare
from wengert.ops import complex as complex
from wengert.ops import contract as contract
from wengert.ops import conv as conv
from wengert.ops import cumulative as cumulative
from wengert.ops import dynamic as dynamic
from wengert.ops import erf as erf
from wengert.ops import fft as fft
from wengert.ops import gamma as gamma
from wengert.ops import gamma_sample as gamma_sample
from wengert.ops import index as index
from wengert.ops import linalg as linalg
from wengert.ops import logsumexp as logsumexp
from wengert.ops import operators as operators
from wengert.ops import pool as pool
from wengert.ops import random as random
from wengert.ops import reduce as reduce
from wengert.ops import search as search
from wengert.ops import shape as shape
from wengert.ops import sort as sort
from wengert.ops import special as special
from wengert.ops import transcendental as transcendental
