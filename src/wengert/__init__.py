"""Wengert: differentiates array programs, and shows how gradient flows through them."""

import importlib as _importlib

# linear algebra and Fourier transforms
from wengert import fft as fft
from wengert import linalg as linalg

# namespaces
from wengert import random as random

# arrays: the functions of the array API standard
from wengert.array.conv import avg_pool as avg_pool
from wengert.array.conv import conv as conv
from wengert.array.conv import conv_transpose as conv_transpose
from wengert.array.conv import max_pool as max_pool
from wengert.array.creation import arange as arange
from wengert.array.creation import array as array
from wengert.array.creation import asarray as asarray
from wengert.array.creation import empty as empty
from wengert.array.creation import empty_like as empty_like
from wengert.array.creation import eye as eye
from wengert.array.creation import from_dlpack as from_dlpack
from wengert.array.creation import full as full
from wengert.array.creation import full_like as full_like
from wengert.array.creation import linspace as linspace
from wengert.array.creation import meshgrid as meshgrid
from wengert.array.creation import ones as ones
from wengert.array.creation import ones_like as ones_like
from wengert.array.creation import tril as tril
from wengert.array.creation import triu as triu
from wengert.array.creation import zeros as zeros
from wengert.array.creation import zeros_like as zeros_like
from wengert.array.cumulative import cumprod as cumprod
from wengert.array.cumulative import cumsum as cumsum
from wengert.array.cumulative import cumulative_prod as cumulative_prod
from wengert.array.cumulative import cumulative_sum as cumulative_sum
from wengert.array.cumulative import diff as _diff
from wengert.array.dtypes import astype as astype
from wengert.array.dtypes import can_cast as can_cast
from wengert.array.dtypes import finfo as finfo
from wengert.array.dtypes import iinfo as iinfo
from wengert.array.dtypes import isdtype as isdtype
from wengert.array.dtypes import result_type as result_type
from wengert.array.einsum import einsum as einsum
from wengert.array.elementwise import abs as abs
from wengert.array.elementwise import acos as acos
from wengert.array.elementwise import acosh as acosh
from wengert.array.elementwise import add as add
from wengert.array.elementwise import angle as angle
from wengert.array.elementwise import asin as asin
from wengert.array.elementwise import asinh as asinh
from wengert.array.elementwise import atan as atan
from wengert.array.elementwise import atan2 as atan2
from wengert.array.elementwise import atanh as atanh
from wengert.array.elementwise import bitwise_and as bitwise_and
from wengert.array.elementwise import bitwise_count as bitwise_count
from wengert.array.elementwise import bitwise_invert as bitwise_invert
from wengert.array.elementwise import bitwise_left_shift as bitwise_left_shift
from wengert.array.elementwise import bitwise_or as bitwise_or
from wengert.array.elementwise import bitwise_right_shift as bitwise_right_shift
from wengert.array.elementwise import bitwise_xor as bitwise_xor
from wengert.array.elementwise import cbrt as cbrt
from wengert.array.elementwise import ceil as ceil
from wengert.array.elementwise import conj as conj
from wengert.array.elementwise import copysign as copysign
from wengert.array.elementwise import cos as cos
from wengert.array.elementwise import cosh as cosh
from wengert.array.elementwise import divide as divide
from wengert.array.elementwise import equal as equal
from wengert.array.elementwise import exp as exp
from wengert.array.elementwise import exp2 as exp2
from wengert.array.elementwise import expm1 as expm1
from wengert.array.elementwise import floor as floor
from wengert.array.elementwise import floor_divide as floor_divide
from wengert.array.elementwise import fmod as fmod
from wengert.array.elementwise import greater as greater
from wengert.array.elementwise import greater_equal as greater_equal
from wengert.array.elementwise import hypot as hypot
from wengert.array.elementwise import imag as imag
from wengert.array.elementwise import isfinite as isfinite
from wengert.array.elementwise import isinf as isinf
from wengert.array.elementwise import isnan as isnan
from wengert.array.elementwise import less as less
from wengert.array.elementwise import less_equal as less_equal
from wengert.array.elementwise import log as log
from wengert.array.elementwise import log1p as log1p
from wengert.array.elementwise import log2 as log2
from wengert.array.elementwise import log10 as log10
from wengert.array.elementwise import logaddexp as logaddexp
from wengert.array.elementwise import logical_and as logical_and
from wengert.array.elementwise import logical_not as logical_not
from wengert.array.elementwise import logical_or as logical_or
from wengert.array.elementwise import logical_xor as logical_xor
from wengert.array.elementwise import maximum as maximum
from wengert.array.elementwise import minimum as minimum
from wengert.array.elementwise import multiply as multiply
from wengert.array.elementwise import negative as negative
from wengert.array.elementwise import nextafter as nextafter
from wengert.array.elementwise import not_equal as not_equal
from wengert.array.elementwise import positive as positive
from wengert.array.elementwise import pow as pow
from wengert.array.elementwise import real as real
from wengert.array.elementwise import reciprocal as reciprocal
from wengert.array.elementwise import remainder as remainder
from wengert.array.elementwise import round as round
from wengert.array.elementwise import rsqrt as rsqrt
from wengert.array.elementwise import sign as sign
from wengert.array.elementwise import signbit as signbit
from wengert.array.elementwise import sin as sin
from wengert.array.elementwise import sinh as sinh
from wengert.array.elementwise import sqrt as sqrt
from wengert.array.elementwise import square as square
from wengert.array.elementwise import subtract as subtract
from wengert.array.elementwise import tan as tan
from wengert.array.elementwise import tanh as tanh
from wengert.array.elementwise import trunc as trunc
from wengert.array.info import __array_namespace_info__ as __array_namespace_info__
from wengert.array.manipulation import broadcast_arrays as broadcast_arrays
from wengert.array.manipulation import broadcast_to as broadcast_to
from wengert.array.manipulation import concat as concat
from wengert.array.manipulation import expand_dims as expand_dims
from wengert.array.manipulation import flip as flip
from wengert.array.manipulation import matrix_transpose as matrix_transpose
from wengert.array.manipulation import moveaxis as moveaxis
from wengert.array.manipulation import permute_dims as permute_dims
from wengert.array.manipulation import ravel as ravel
from wengert.array.manipulation import repeat as repeat
from wengert.array.manipulation import reshape as reshape
from wengert.array.manipulation import roll as roll
from wengert.array.manipulation import squeeze as squeeze
from wengert.array.manipulation import stack as stack
from wengert.array.manipulation import swapaxes as swapaxes
from wengert.array.manipulation import tile as tile
from wengert.array.manipulation import transpose as transpose
from wengert.array.manipulation import unstack as unstack
from wengert.array.products import matmul as matmul
from wengert.array.products import outer as outer
from wengert.array.products import tensordot as tensordot
from wengert.array.products import vecdot as vecdot
from wengert.array.reductions import all as all
from wengert.array.reductions import any as any
from wengert.array.reductions import argmax as argmax
from wengert.array.reductions import argmin as argmin
from wengert.array.reductions import count_nonzero as count_nonzero
from wengert.array.reductions import max as max
from wengert.array.reductions import mean as mean
from wengert.array.reductions import min as min
from wengert.array.reductions import prod as prod
from wengert.array.reductions import std as std
from wengert.array.reductions import sum as sum
from wengert.array.reductions import var as var
from wengert.array.searching import allclose as allclose
from wengert.array.searching import clip as clip
from wengert.array.searching import isclose as isclose
from wengert.array.searching import nonzero as nonzero
from wengert.array.searching import searchsorted as searchsorted
from wengert.array.searching import where as where
from wengert.array.sets import unique_all as unique_all
from wengert.array.sets import unique_counts as unique_counts
from wengert.array.sets import unique_inverse as unique_inverse
from wengert.array.sets import unique_values as unique_values
from wengert.array.special import digamma as digamma
from wengert.array.special import erf as erf
from wengert.array.special import erfc as erfc
from wengert.array.special import erfinv as erfinv
from wengert.array.special import expit as expit
from wengert.array.special import lgamma as lgamma
from wengert.array.special import logit as logit
from wengert.array.special import ndtr as ndtr
from wengert.array.special import ndtri as ndtri
from wengert.array.special import polygamma as polygamma
from wengert.array.special import sinc as sinc
from wengert.array.special import xlog1py as xlog1py
from wengert.array.special import xlogy as xlogy
from wengert.array.taking import one_hot as one_hot
from wengert.array.taking import take as take
from wengert.array.taking import take_along_axis as take_along_axis

# transformations
from wengert.batch import vmap as vmap
from wengert.control.associative import associative_scan as associative_scan
from wengert.control.checkpoint import checkpoint as checkpoint
from wengert.control.cond import cond as cond
from wengert.control.cond import switch as switch
from wengert.control.loops import fori_loop as fori_loop
from wengert.control.loops import scan as scan
from wengert.control.while_loop import while_loop as while_loop
from wengert.debug import debug_nonfinite as debug_nonfinite
from wengert.diff.custom import custom_jvp as custom_jvp
from wengert.diff.custom import custom_vjp as custom_vjp
from wengert.diff.derivatives import grad as grad
from wengert.diff.derivatives import hvp as hvp
from wengert.diff.derivatives import jvp as jvp
from wengert.diff.derivatives import linearize as linearize
from wengert.diff.derivatives import value_and_grad as value_and_grad
from wengert.diff.derivatives import vjp as vjp
from wengert.diff.jacobian import hessian as hessian
from wengert.diff.jacobian import jacfwd as jacfwd
from wengert.diff.jacobian import jacobian as jacobian
from wengert.diff.jacobian import jacrev as jacrev
from wengert.diff.sparse.api import SparseMatrix as SparseMatrix
from wengert.diff.sparse.api import sparse_hessian as sparse_hessian
from wengert.diff.sparse.api import sparse_jacobian as sparse_jacobian
from wengert.diff.sparse.api import sparsity_pattern as sparsity_pattern
from wengert.diff.stop_gradient import stop_gradient as stop_gradient
from wengert.execute.jit import jit as jit
from wengert.execute.threads import get_num_threads as get_num_threads
from wengert.execute.threads import set_num_threads as set_num_threads
from wengert.explain import explain as explain

# the array class and the element types
from wengert.ir.array import Array as Array
from wengert.ir.types import bool_ as bool_
from wengert.ir.types import complex64 as complex64
from wengert.ir.types import complex128 as complex128
from wengert.ir.types import float16 as float16
from wengert.ir.types import float32 as float32
from wengert.ir.types import float64 as float64
from wengert.ir.types import int8 as int8
from wengert.ir.types import int16 as int16
from wengert.ir.types import int32 as int32
from wengert.ir.types import int64 as int64
from wengert.ir.types import uint8 as uint8
from wengert.ir.types import uint16 as uint16
from wengert.ir.types import uint32 as uint32
from wengert.ir.types import uint64 as uint64

# sorting and running operations, which are public as they stand
from wengert.ops.cumulative import cumulative_logsumexp as cumulative_logsumexp
from wengert.ops.cumulative import cumulative_max as cumulative_max
from wengert.ops.cumulative import cumulative_min as cumulative_min
from wengert.ops.dynamic import dynamic_slice as dynamic_slice
from wengert.ops.dynamic import dynamic_update_slice as dynamic_update_slice
from wengert.ops.logsumexp import log_softmax as log_softmax
from wengert.ops.logsumexp import logsumexp as logsumexp
from wengert.ops.logsumexp import softmax as softmax
from wengert.ops.sort import argsort as argsort
from wengert.ops.sort import sort as sort
from wengert.ops.sort import top_k as top_k

# the graph as an object
from wengert.show import graph as graph
from wengert.spelling import PACKAGE as _PACKAGE
from wengert.spelling import instead as _instead

bool = bool_
diff = _diff  # bound last, because the package wengert.diff has the same name

# NumPy's spellings
absolute = abs
arccos = acos
arccosh = acosh
arcsin = asin
arcsinh = asinh
arctan = atan
arctan2 = atan2
arctanh = atanh
bitwise_not = bitwise_invert
invert = bitwise_invert
left_shift = bitwise_left_shift
right_shift = bitwise_right_shift
conjugate = conj
true_divide = divide
power = pow
mod = remainder
around = round
concatenate = concat
amax = max
amin = min
unique = unique_values


def __getattr__(name: str) -> object:
    """The parts for training (`wg.nn`, …) are loaded when they are first asked for, so that importing stays quick."""
    if name in ("data", "nn", "optim", "train"):
        return _importlib.import_module(f"wengert.{name}")
    raise AttributeError(f"module 'wengert' has no attribute {name!r}{_instead(name, _PACKAGE)}")


e, inf, nan, pi = 2.718281828459045, float("inf"), float("nan"), 3.141592653589793
newaxis = None

__version__ = "0.1.0"
__array_api_version__ = "2024.12"
