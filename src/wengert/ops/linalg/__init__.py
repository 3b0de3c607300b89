"""Linear algebra: decompositions, systems and determinants of stacks of matrices, one family a file.

Evaluation is NumPy's LAPACK, except substitution, LU and the exponential, which are written here. A decomposition that
fails gives NaN for that matrix and never raises, because a compiled program cannot.
"""

from wengert.ops.linalg import cholesky as cholesky
from wengert.ops.linalg import determinant as determinant
from wengert.ops.linalg import eigh as eigh
from wengert.ops.linalg import expm as expm
from wengert.ops.linalg import lu as lu
from wengert.ops.linalg import qr as qr
from wengert.ops.linalg import solve as solve
from wengert.ops.linalg import svd as svd
from wengert.ops.linalg import triangular as triangular
