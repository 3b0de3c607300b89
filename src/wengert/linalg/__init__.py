"""Linear algebra, `wg.linalg`: the functions of the array API standard's extension, and a few more.

All work on stacks of matrices (leading axes), in float32, float64, complex64 and complex128; integers become float32.
What fails for one matrix (a Cholesky factor of one that is not positive definite, the inverse of a singular one) gives
NaN or infinity there and raises nothing, because a compiled program cannot. All are differentiable to any order unless
they say otherwise; complex ones by the convention of `wg.grad`.
"""

from wengert.array.manipulation import matrix_transpose as matrix_transpose
from wengert.array.products import matmul as matmul
from wengert.array.products import outer as outer
from wengert.array.products import tensordot as tensordot
from wengert.array.products import vecdot as vecdot
from wengert.linalg.decompose import LU as LU
from wengert.linalg.decompose import QR as QR
from wengert.linalg.decompose import SVD as SVD
from wengert.linalg.decompose import Eigh as Eigh
from wengert.linalg.decompose import cholesky as cholesky
from wengert.linalg.decompose import eigh as eigh
from wengert.linalg.decompose import eigvalsh as eigvalsh
from wengert.linalg.decompose import lu as lu
from wengert.linalg.decompose import qr as qr
from wengert.linalg.decompose import svd as svd
from wengert.linalg.decompose import svdvals as svdvals
from wengert.linalg.functions import Slogdet as Slogdet
from wengert.linalg.functions import cross as cross
from wengert.linalg.functions import det as det
from wengert.linalg.functions import diagonal as diagonal
from wengert.linalg.functions import expm as expm
from wengert.linalg.functions import kron as kron
from wengert.linalg.functions import matrix_power as matrix_power
from wengert.linalg.functions import slogdet as slogdet
from wengert.linalg.functions import trace as trace
from wengert.linalg.norms import cond as cond
from wengert.linalg.norms import matrix_norm as matrix_norm
from wengert.linalg.norms import matrix_rank as matrix_rank
from wengert.linalg.norms import norm as norm
from wengert.linalg.norms import vector_norm as vector_norm
from wengert.linalg.systems import LeastSquares as LeastSquares
from wengert.linalg.systems import inv as inv
from wengert.linalg.systems import lstsq as lstsq
from wengert.linalg.systems import pinv as pinv
from wengert.linalg.systems import solve as solve
from wengert.linalg.systems import solve_triangular as solve_triangular
